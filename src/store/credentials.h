/* credentials.h: where the keys that sign requests come from.
 *
 * The first of these that says anything: the options; the environment; a profile of the files of
 * AWS; a web identity; the metadata of the container; the metadata of the instance. What it says
 * must be whole: parts of two make no credentials, and what fails is an error, not the next one's
 * turn.
 *
 * Those of a service expire. A source asks for others before, while everybody goes on with the old
 * ones, also when asking fails, until they have expired. Secrets are in no message and no log, and
 * are overwritten when they are given back. */
#ifndef SHARDY_STORE_CREDENTIALS_H
#define SHARDY_STORE_CREDENTIALS_H

#include "http.h"

#include "../base/context.h"

#include <shardyfusion/sys/store.h>

/* Never changed once made; shared by reference. */
typedef struct credentials credentials;

const char *shardy__credentials_key_id(const credentials *c);
const char *shardy__credentials_secret(const credentials *c);
const char *shardy__credentials_token(const credentials *c); /* NULL: none */
/* NULL is fine. */
void shardy__credentials_drop(credentials *c);

/* What the caller gave; texts are NULL or "" where it gave nothing. */
typedef struct credentials_options {
    const char *access_key_id;
    const char *secret_access_key;
    const char *session_token;
    const char *profile;      /* given: the environment has no say */
    const char *region;       /* of the token service; none: that of the profile, or us-east-1 */
    const http_options *http; /* how services that are not on the machine are reached */
} credentials_options;

typedef struct credentials_source credentials_source;

/* Finds out where credentials come from. Reads files, asks no service. Variables, beside those of
 * keys (S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, S3_SESSION_TOKEN; the same with AWS_):
 * AWS_PROFILE, AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE, HOME; AWS_WEB_IDENTITY_TOKEN_FILE,
 * AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME, AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL;
 * AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, AWS_CONTAINER_CREDENTIALS_FULL_URI,
 * AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, AWS_CONTAINER_AUTHORIZATION_TOKEN;
 * AWS_EC2_METADATA_DISABLED, AWS_EC2_METADATA_SERVICE_ENDPOINT.
 * Statuses: OK; CONFIG (there is nothing, with a list of what was tried; half of a set; what is not
 * supported; a file that cannot be understood); IO, AUTH (files), NOMEM. */
shardy_status shardy__credentials_open(shardy_context *context, const credentials_options *options,
    credentials_source **source_out, shardy_error *err);
/* Waits for a request that is under way, which is cancelled. After the last get. NULL is fine. */
void shardy__credentials_close(credentials_source *source);

/* The region that the profile names, if the profile was looked at; NULL: none. Borrowed. */
const char *shardy__credentials_region(const credentials_source *source);

/* Credentials that are good now; drop them. Any thread. When there are none yet, or the old ones
 * have expired, it waits, within the limits; without limits (NULL) it does not, and gives NULL with
 * OK: ask again, with the same `since` (0 at first), when shardy__credentials_settled().
 * Statuses: OK; CONFIG, AUTH (the service gives none); IO, CORRUPT (its reply); TIMEOUT, CANCELLED,
 * NOMEM. */
shardy_status shardy__credentials_get(credentials_source *source, const shardy_store_limits *limits,
    uint64_t *since, credentials **credentials_out, shardy_error *err);

/* A server says that the time of `c`, which are those of a service, is over: others are asked for,
 * unless somebody has done so meanwhile. However many tell it, one asks, and that now and then
 * only. 0: there are no others, because they do not expire, or because these came just now. Never
 * waits. */
int shardy__credentials_refused(credentials_source *source, const credentials *c);
/* 1 when nobody asks for credentials now. */
int shardy__credentials_settled(credentials_source *source);
/* What came instead of `c`, as shardy__credentials_get() gives and waits; AUTH, or the failure of
 * asking, when nothing did. */
shardy_status shardy__credentials_renewed(credentials_source *source, const credentials *c,
    const shardy_store_limits *limits, credentials **credentials_out, shardy_error *err);

#endif
