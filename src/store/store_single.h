/* store_single.h: conditional puts for a store that refuses them, where nobody else writes. */
#ifndef SHARDY_STORE_STORE_SINGLE_H
#define SHARDY_STORE_STORE_SINGLE_H

#include "store.h"

/* A store around `inner`, which is not closed with it, with its name and its context. A conditional
 * put that `inner` answers with UNSUPPORTED is made without its condition once a look at the object
 * says that the condition holds: between the two nobody else may write. What is put from a stream
 * is given on as it is. */
shardy_status shardy__store_wrap_single(
    shardy_store *inner, shardy_store **store_out, shardy_error *err);

#endif
