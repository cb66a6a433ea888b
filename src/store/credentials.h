/* credentials.h: where the keys that sign requests come from.
 *
 * A source answers with credentials that are good now. It may keep them, ask a service for others
 * before they expire, and so block; whoever asks holds no lock. Secrets are in no message and no
 * log, and are overwritten when they are given back. */
#ifndef SHARDY_STORE_CREDENTIALS_H
#define SHARDY_STORE_CREDENTIALS_H

#include "../base/context.h"

/* Never changed once made; shared by reference. */
typedef struct credentials credentials;

const char *shardy__credentials_key_id(const credentials *c);
const char *shardy__credentials_secret(const credentials *c);
const char *shardy__credentials_token(const credentials *c); /* NULL: none */
/* NULL is fine. */
void shardy__credentials_drop(credentials *c);

/* What the caller gave; NULL where it gave nothing. */
typedef struct credentials_options {
    const char *access_key_id;
    const char *secret_access_key;
    const char *session_token;
} credentials_options;

typedef struct credentials_source credentials_source;

/* The first of: the options; S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, S3_SESSION_TOKEN;
 * AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN. A key without its secret, or the
 * other way round, is CONFIG: parts of two sets make none.
 * Statuses: OK; CONFIG (none there, or half of a set); NOMEM. */
shardy_status shardy__credentials_open(shardy_context *context, const credentials_options *options,
    credentials_source **source_out, shardy_error *err);
/* NULL is fine. */
void shardy__credentials_close(credentials_source *source);

/* Credentials that are good now; drop them. Any thread. deadline_ns (0: none) and cancel (may be
 * NULL) bound a request for new ones. Statuses: OK, NOMEM. */
shardy_status shardy__credentials_get(credentials_source *source, int64_t deadline_ns,
    const shardy_cancel *cancel, credentials **credentials_out, shardy_error *err);

#endif
