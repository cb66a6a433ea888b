/* s3_sign.h: AWS Signature Version 4 in the Authorization header. */
#ifndef SHARDY_STORE_S3_SIGN_H
#define SHARDY_STORE_S3_SIGN_H

#include "../base/bytebuf.h"

/* Room for "20130524T000000Z". */
#define S3_TIME_SIZE 17u
/* Headers that one request can have. */
#define S3_HEADERS_MAX 24u

typedef struct s3_header {
    const char *name; /* lower case */
    const char *value;
} s3_header;

typedef struct s3_signing {
    const char *method;
    const char *path;  /* of the URL, percent-encoded once: what the server gets */
    const char *query; /* encoded, parameters in byte order, each with '='; "" when there is none */
    const s3_header *headers; /* the signed ones, in any order; "host" and the date among them */
    size_t header_count;
    const char *payload_hash; /* SHA-256 of the body in hex */
    const char *time;         /* that of x-amz-date */
    const char *region;
    const char *service;
    const char *access_key_id;
    const char *secret_access_key;
} s3_signing;

/* "20130524T000000Z" */
void shardy__s3_time(int64_t wall_us, char text_out[S3_TIME_SIZE]);

/* Appends the value of the Authorization header.
 * Statuses: OK, NOMEM, INVALID (too many headers), INTERNAL (no HMAC). */
shardy_status shardy__s3_sign(const s3_signing *s, bytebuf *value, shardy_error *err);

#endif
