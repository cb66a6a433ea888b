/* store_bound.h: a store that sees to it that calls end in time.
 *
 * Reads and puts have a deadline and a token of their own, but who asks for a pointer, a fate or a
 * listing does not know about time: whoever began the operation does. All calls that go through
 * this store end by the limits of the operation, and by the timeout of a single call; by those that
 * they bring as well. */
#ifndef SHARDY_STORE_STORE_BOUND_H
#define SHARDY_STORE_STORE_BOUND_H

#include "store.h"

/* For what is left to do after a cancellation: a server that answers needs less, and whoever
 * pressed a key does not wait longer for one that does not. */
#define STORE_ENDING_MS 5000u

/* A store around `inner`, which is not closed with it. It has the name of `inner`, which messages
 * speak of. `call_ms` bounds each call; 0: only the operation does. */
shardy_status shardy__store_wrap_bound(shardy_context *context, shardy_store *inner,
    uint32_t call_ms, shardy_store **store_out, shardy_error *err);

/* The limits of the operation from now on, for all calls through `bound`; {0, NULL}: none. The
 * deadline is on the clock of `context`. Not while such a call is under way. The token must outlive
 * them. Nothing for other stores. */
void shardy__store_bound_set(shardy_store *bound, shardy_store_limits limits);

/* The same store for what has to be done when an operation was cancelled: finding out what became
 * of a put that was under way, and taking back what was done. Until then it is as `store`. From
 * then on its calls begin all the same, and have STORE_ENDING_MS for all of them together, from
 * the first one. Closed with `store`; `store` itself when that is not bound. */
shardy_store *shardy__store_bound_after(shardy_store *store);

#endif
