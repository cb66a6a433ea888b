/* vec_search.h: exact nearest neighbours over the chunks of a shard. Vectors are compared where
 * they lie (vec_rows.h) in single precision, and scored in double when that leaves a doubt
 * (screen.h). Hits are in the order of shardy_hits: among vectors that tie with the last one the
 * ids decide, however many there are. */
#ifndef SHARDY_ENGINE_VEC_SEARCH_H
#define SHARDY_ENGINE_VEC_SEARCH_H

#include "vec_tables.h"

typedef struct vec_search vec_search;

/* The request outlives the search and is run once. Statuses: OK, NOMEM. Ownership: yours. */
shardy_status shardy__vec_search_new(const vec_tables *tables, shardy_engine_search *request,
    vec_search **search_out, shardy_error *err);
/* Scans all chunks and fills the result of the request, which points into the search. Statuses: OK;
 * CANCELLED, TIMEOUT, CORRUPT, CHECKSUM, those of the source, NOMEM. */
shardy_status shardy__vec_search_run(vec_search *s, shardy_error *err);
void shardy__vec_search_free(vec_search *s); /* NULL is fine */

#endif
