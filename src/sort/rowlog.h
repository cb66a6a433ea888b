/* rowlog.h: rows written down in the order they come, for builds that learn the number of shards
 * only at the end (max_keys_per_shard). */
#ifndef SHARDY_SORT_ROWLOG_H
#define SHARDY_SORT_ROWLOG_H

#include "spool.h"

typedef struct rowlog rowlog;

/* `dir` gets a scratch file without a name. */
shardy_status shardy__rowlog_new(const char *dir, rowlog **log_out, shardy_error *err);
/* Appends a row with its routing key; everything is copied; row->db_id is not kept. */
shardy_status shardy__rowlog_add(
    rowlog *log, const spool_row *row, uint64_t hash, uint32_t dim, shardy_error *err);
uint64_t shardy__rowlog_count(const rowlog *log);
/* Reads from the start: OK with a row borrowed until the next call, or DONE. */
shardy_status shardy__rowlog_next(rowlog *log, spool_row *row_out, shardy_key *id_out,
    uint64_t *hash_out, uint32_t dim, shardy_error *err);
void shardy__rowlog_free(rowlog *log);

#endif
