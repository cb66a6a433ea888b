/* shard_check.h: looking at every table and index of the file of a shard (shardy_engine_ops.check),
 * with btree_check.h, and at what the tables say to each other. */
#ifndef SHARDY_ENGINE_SHARD_CHECK_H
#define SHARDY_ENGINE_SHARD_CHECK_H

#include "vec_tables.h"

/* `vectors`: the vector tables of the same file, or NULL. */
shardy_status shardy__shard_check(const shard_file *file, const vec_tables *vectors,
    const shardy_engine_check *request, shardy_error *err);

#endif
