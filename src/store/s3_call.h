/* s3_call.h: one request to S3: addressed, signed, sent, and its answer as a status. */
#ifndef SHARDY_STORE_S3_CALL_H
#define SHARDY_STORE_S3_CALL_H

#include "credentials.h"
#include "http.h"
#include "s3_place.h"
#include "s3_sign.h"
#include "s3_xml.h"

#include "../base/arena.h"
#include "../base/digest.h"

#define S3_SHA256_BASE64_SIZE SHARDY_BASE64_SIZE(SHARDY_SHA256_LEN)

/* Parameters of a query and headers beyond those that all requests have. */
#define S3_QUERY_MAX   8u
#define S3_HEADERS_OWN 8u

typedef struct s3_client {
    shardy_context *context; /* one reference */
    http_client *http;
    credentials_source *credentials;
    s3_place place;
    char region[64];
    uint64_t part_size;
    char *place_text; /* the place, for a cache */
} s3_client;

/* How a failed condition is to be understood. */
typedef enum s3_condition {
    S3_NO_CONDITION = 0,
    S3_IF_ABSENT, /* 412 is EXISTS */
    S3_IF_MATCH,  /* 412 is CONFLICT; of a put, so is 404 */
    S3_IF_CHANGED /* 304 is NOT_MODIFIED */
} s3_condition;

typedef struct s3_parameter {
    const char *name; /* encoded */
    const char *value;
} s3_parameter;

/* A request that is being made; the caller clears it and fills the first part. All texts are
 * borrowed until it is done. */
typedef struct s3_call {
    s3_client *client;
    http_method method;
    const char *verb;                 /* "get": for messages */
    shardy_bytes key;                 /* below the prefix; without data: the bucket itself */
    s3_parameter query[S3_QUERY_MAX]; /* in byte order of their names */
    size_t query_count;
    s3_header headers[S3_HEADERS_OWN]; /* names in lower case */
    size_t header_count;
    const sha256 *payload; /* SHA-256 of the body; NULL: there is none */
    s3_condition condition;
    int32_t is_put; /* 1: of an object, or the end of its upload */
    void *user;
    void (*done)(struct s3_call *call); /* for shardy__s3_call_start() */

    http_request http; /* its part for the body, the reply, deadline and cancel is the caller's */
    arena memory;      /* of what was put together for it */
    credentials *signer;
    int32_t renewed;      /* 1: signed anew, because its credentials were over */
    uint64_t asked_since; /* of shardy__credentials_get() */
    s3_failure failure;
    uint64_t step; /* of the round trips of the context */
} s3_call;

void shardy__s3_call_header(s3_call *call, const char *name, const char *value);
void shardy__s3_call_query(s3_call *call, const char *name, const char *value);

/* Sends the request and waits for the answer. When the server says that the credentials are over,
 * though they should not be, others are asked for, and it is sent once more. The status is that of
 * the object: OK (2xx), NOT_FOUND, NOT_MODIFIED (304), CONFLICT, EXISTS, or a failure with its
 * message: who did not ask whether there is something new is not told so, and only an error of S3
 * says that there is no object (of HEAD, which has no body, the code alone). Dispose of the call in
 * any case. */
shardy_status shardy__s3_call_run(s3_call *call, shardy_error *err);
/* The same without waiting: `done` is called once, perhaps before this returns, and asks
 * shardy__s3_call_status(). */
void shardy__s3_call_start(s3_call *call);
shardy_status shardy__s3_call_status(s3_call *call, shardy_error *err);
void shardy__s3_call_dispose(s3_call *call);

/* IO, to be repeated: "the reply ...". */
shardy_status shardy__s3_wrong_reply(const s3_call *call, const char *problem, shardy_error *err);
/* The status of an <Error> that came with a code of the protocol, or inside a reply 200. */
shardy_status shardy__s3_failure_status(s3_call *call, shardy_error *err);

#endif
