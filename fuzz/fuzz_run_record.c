/* Run records: refused with a message, or the same after writing and reading again. */
#include "catalog/run_record.h"
#include "faults.h"

#include "base/bytebuf.h"

static void check_same(const run_record *a, const run_record *b)
{
    require(same_text(a->run_id, b->run_id), "the run stays");
    require(same_text(a->writer_type, b->writer_type), "the writer stays");
    require(same_text(a->s3_prefix, b->s3_prefix), "the prefix stays");
    require(same_text(a->shard_prefix, b->shard_prefix), "the prefix of shards stays");
    require(same_text(a->db_path_template, b->db_path_template), "the template stays");
    require(same_text(a->manifest_ref, b->manifest_ref), "the ref stays");
    require(same_text(a->error_type, b->error_type), "the type of the error stays");
    require(same_text(a->error_message, b->error_message), "the error stays");
    require(a->status == b->status, "the status stays");
    require(a->status >= RUN_RUNNING && a->status <= RUN_FAILED, "the status is known");
    require(a->started_us == b->started_us, "the start stays");
    require(a->updated_us == b->updated_us, "the time stays");
    require(a->lease_expires_us == b->lease_expires_us, "the lease stays");
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    static run_record r;
    shardy_buf text;
    SHARDY_TRY(shardy__run_record_parse(shardy__bytes(data, size), &r, err));
    SHARDY_TRY(shardy__run_record_render(&r, &text, err));
    shardy_buf_release(&text);
    return SHARDY_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static run_record r;
    static run_record again;
    shardy_error err;
    memset(&err, 0, sizeof err);
    run_with_fault(data, size, run);
    shardy_status st = shardy__run_record_parse(shardy__bytes(data, size), &r, &err);
    require(st == SHARDY_OK || st == SHARDY_CORRUPT, "parsing has two outcomes");
    require((st == SHARDY_OK) == (err.message[0] == '\0'), "a refusal has a message");
    if (st < 0) {
        return 0;
    }
    shardy_buf text;
    st = shardy__run_record_render(&r, &text, &err);
    require(st == SHARDY_OK, "what was read can be written");
    st = shardy__run_record_parse(shardy__bytes(text.data, text.len), &again, &err);
    require(st == SHARDY_OK, "what was written can be read");
    check_same(&r, &again);
    shardy_buf_release(&text);
    return 0;
}
