/* store_ahead.h: a store that can be told what will be read soon.
 *
 * What was read ahead answers the first read of that object, whole and without a condition; all
 * else is passed on. So several objects that would be read one after the other come in one round
 * trip, and nobody above has to know. Only for objects that are never changed. */
#ifndef SHARDY_STORE_STORE_AHEAD_H
#define SHARDY_STORE_STORE_AHEAD_H

#include "store.h"

#define STORE_AHEAD_MAX 8u

/* A store around `inner`, which is not closed with it. OK, NOMEM. */
shardy_status shardy__store_wrap_ahead(
    shardy_context *context, shardy_store *inner, shardy_store **store_out, shardy_error *err);

/* An object that will be wanted, if it is no longer than that. */
typedef struct ahead_want {
    const char *key;
    uint64_t len_max;
} ahead_want;

/* Reads them in one round trip, and waits. What cannot be read, or is too long, is forgotten: who
 * asks for it finds out why. At most STORE_AHEAD_MAX at any time. */
void shardy__store_ahead(
    shardy_store *ahead, const ahead_want *wants, size_t count, const shardy_store_limits *limits);
/* Forgets what nobody asked for. */
void shardy__store_ahead_clear(shardy_store *ahead);

#endif
