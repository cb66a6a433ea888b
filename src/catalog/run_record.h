/* run_record.h: the record of one writer run, `runs/<time>_run_id=<id>_<hex>/run.yaml` (formats.md,
 * section 12). For people and for hints only: its lease decides nothing, the fate does. */
#ifndef SHARDY_CATALOG_RUN_RECORD_H
#define SHARDY_CATALOG_RUN_RECORD_H

#include "../base/context.h"

#include <shardyfusion/limits.h>
#include <shardyfusion/sys/store.h>

#define RUN_RECORD_LEASE_US     600000000ll
#define RUN_RECORD_HEARTBEAT_US 60000000ll

typedef enum run_status {
    RUN_RUNNING = 1,
    RUN_SUCCEEDED = 2,
    RUN_FAILED = 3
} run_status;

typedef struct run_record {
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1]; /* of the object */
    char run_id[SHARDY_RUN_ID_LEN_MAX + 1];
    char writer_type[64];
    char s3_prefix[SHARDY_URL_LEN_MAX + 1];
    char shard_prefix[256];
    char db_path_template[256];
    char manifest_ref[SHARDY_URL_LEN_MAX + 1]; /* "" for none */
    char error_type[64];                       /* "" for none */
    char error_message[1024];
    int32_t status;
    int64_t started_us;
    int64_t updated_us;
    int64_t lease_expires_us;
} run_record;

/* Statuses: OK; CORRUPT (what is missing or wrong); NOMEM. `key` is left alone. */
shardy_status shardy__run_record_parse(shardy_bytes text, run_record *out, shardy_error *err);
/* Ownership: release *text_out. */
shardy_status shardy__run_record_render(
    const run_record *r, shardy_buf *text_out, shardy_error *err);

/* Fills key, times and status of a record that begins now. `registry` is the prefix, e.g.
 * "runs". */
void shardy__run_record_begin(shardy_context *context, const char *registry, run_record *r);
/* Renews the lease of a running record, unless the object says by now that the run has ended: who
 * publishes a plan may be another process than who made it. Statuses: OK, and those of parsing and
 * the store. */
shardy_status shardy__run_record_beat(
    shardy_context *context, shardy_store *store, run_record *r, shardy_error *err);
/* Writes it as it is, with updated_us now; a running one gets a new lease. */
shardy_status shardy__run_record_write(
    shardy_context *context, shardy_store *store, run_record *r, shardy_error *err);

#endif
