/* bucket.h: a data set in a bucket of our S3 server, made once for a program of tests, and put back
 * before each trial. */
#ifndef SHARDY_TESTS_BUCKET_H
#define SHARDY_TESTS_BUCKET_H

#include "server.h"

#include <shardyfusion/sys/store.h>

#define BUCKET_URL "s3://" SERVER_BUCKET "/set"
/* Before the keys of its objects. */
#define BUCKET_PREFIX "set/"

/* The stamps of its snapshots (dataset.h). NEXT is in the second state only. */
#define BUCKET_OLD  "run-old"
#define BUCKET_NOW  "run-now"
#define BUCKET_NEXT "run-next"

typedef enum bucket_state {
    BUCKET_IS_NOW = 0, /* OLD and NOW, which is current, with sidecars */
    BUCKET_IS_NEXT,    /* and NEXT, which is */
    BUCKET_IS_OLD,     /* OLD and NOW, and a rollback to OLD was made */
    BUCKET_IS_AGAIN,   /* and one back to NOW */
    BUCKET_STATES
} bucket_state;

/* Set-up and tear-down of a group of cmocka tests: the server and the data set. The environment
 * has what it takes to use BUCKET_URL. */
int bucket_setup(void **state);
int bucket_teardown(void **state);
/* The server and the environment only; the bucket is empty, and there are no states. */
void bucket_start(void);

server *bucket_server(void);
/* Puts the data set back into that state; no faults, an empty log, nothing held. */
void bucket_restore(bucket_state state);
/* The same without touching faults. */
void bucket_become(bucket_state state);
/* The pointer of a state. Borrowed, zero-terminated. */
const char *bucket_pointer(bucket_state state);

typedef struct bucket_store_options {
    uint32_t read_timeout_ms;
    uint32_t max_attempts; /* 1: nothing is repeated */
    uint32_t backoff_ms;   /* bound of each wait between attempts */
} bucket_store_options;

/* A store of the data set. Close `*inner_out` after it. */
shardy_store *bucket_open(
    shardy_context *context, const bucket_store_options *options, shardy_store **inner_out);

#endif
