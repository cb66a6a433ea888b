/* build.c: builds a snapshot from JSON lines and publishes it.
 *
 * usage: build DIRECTORY ROWS.jsonl
 *
 * Each row has a "key", and may have a "value", a "vector" and a "payload". */
#include <shardyfusion/shardyfusion.h>

#include <inttypes.h>
#include <stdio.h>

static shardy_status build(
    shardy_context *context, const char *directory, const char *path, shardy_error *err)
{
    shardy_writer_options options;
    shardy_row_source_options fields;
    shardy_writer *writer = NULL;
    shardy_row_source *rows = NULL;
    shardy_build_result result = {0};

    shardy_writer_options_init(&options, sizeof options);
    options.num_dbs = 4;
    options.metric = SHARDY_VECTOR_METRIC_L2;
    shardy_row_source_options_init(&fields, sizeof fields);
    fields.value_column = "value";
    fields.vector_column = "vector";
    fields.payload_column = "payload";

    shardy_status st = shardy_row_source_open(context, &path, 1, &fields, &rows, err);
    if (st == SHARDY_OK) {
        st = shardy_writer_open(context, directory, &options, &writer, err);
    }
    if (st == SHARDY_OK) {
        st = shardy_writer_put_source(writer, rows, err);
    }
    if (st == SHARDY_OK) {
        st = shardy_writer_finish(writer, &result, err);
    }
    if (st == SHARDY_OK) {
        printf("%" PRIu64 " rows and %" PRIu64 " vectors in %" PRIu32 " shards\n", result.row_count,
            result.vector_count, result.shard_count);
    }
    shardy_build_result_dispose(&result);
    shardy_writer_close(writer); /* without a successful finish: removes what was begun */
    shardy_row_source_close(rows);
    return st;
}

int main(int argc, char **argv)
{
    shardy_error err;
    shardy_context *context = NULL;
    if (argc != 3) {
        fprintf(stderr, "usage: build DIRECTORY ROWS.jsonl\n");
        return 2;
    }
    shardy_status st = shardy_context_new(NULL, &context, &err);
    if (st == SHARDY_OK) {
        st = build(context, argv[1], argv[2], &err);
    }
    if (st != SHARDY_OK) {
        fprintf(stderr, "build: %s: %s\n", shardy_status_name(st), err.message);
    }
    shardy_context_free(context);
    return st != SHARDY_OK;
}
