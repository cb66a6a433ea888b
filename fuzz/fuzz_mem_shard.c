/* Shards of the engine "mem": the input is the file, whose dimension and metric are believed.
 *
 * Properties: it is read or corrupt; keys come in ascending order and each is found;
 * hits are in order and not more than there are vectors; payloads can be asked for. */
#include "engine/engine.h"
#include "faults.h"

#include "base/bytes.h"

#include <shardyfusion/limits.h>
#include <shardyfusion/reader.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct scanned {
    const engine_reader *reader;
    shardy_bytes last;
    size_t count;
} scanned;

static shardy_status next_key(void *user, shardy_bytes key, shardy_error *err)
{
    scanned *s = user;
    shardy_buf value;
    size_t n = s->last.len < key.len ? s->last.len : key.len;
    int order = n ? memcmp(s->last.data, key.data, n) : 0;
    require(s->count == 0 || order < 0 || (order == 0 && s->last.len < key.len),
        "rows are in ascending order");
    require(shardy__engine_get(s->reader, key, NULL, &value, err) == SHARDY_OK, "a row is found");
    shardy_buf_release(&value);
    s->last = key;
    s->count++;
    return SHARDY_OK;
}

static void check_search(const engine_reader *r, uint32_t dim)
{
    float *query = calloc(dim, sizeof *query);
    shardy_engine_search request;
    void *op;
    if (!query) {
        return;
    }
    query[0] = 1.0f;
    memset(&request, 0, sizeof request);
    request.queries = query;
    request.query_count = 1;
    request.stride = dim;
    request.k = 20;
    if (shardy__engine_search(r, &request, &op, NULL) == SHARDY_OK) {
        require(request.offsets[1] <= shardy__engine_vector_count(r), "hits are vectors");
        for (size_t i = 0; i < request.offsets[1]; i++) {
            shardy_buf payload;
            require(
                i == 0 || request.hits[i - 1].score <= request.hits[i].score, "hits are in order");
            require(shardy__engine_payload(r, request.hits[i].row, NULL, &payload, NULL) >= 0,
                "payloads can be asked for");
            shardy_buf_release(&payload);
        }
    }
    shardy__engine_search_finish(r, op);
    free(query);
}

/* The input as a shard, for runs that have no room for a parameter. */
static shardy_store *the_store;

static shardy_engine_reader_spec spec_of(shardy_store *store, const uint8_t *data, size_t size)
{
    shardy_engine_reader_spec spec;
    memset(&spec, 0, sizeof spec);
    spec.struct_size = sizeof spec;
    spec.store = store;
    spec.shard_path = "s";
    spec.io = SHARDY_IO_MMAP;
    spec.dim = size >= 16 ? shardy__get_le32(data + 8) : 0;
    spec.metric = size >= 16 ? (int32_t)shardy__get_le32(data + 12) : 0;
    return spec;
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    shardy_engine_reader_spec spec = spec_of(the_store, data, size);
    engine_reader r;
    shardy_engine_search request;
    float query[4] = {1.0f, 0.0f, -1.0f, 0.5f};
    void *op = NULL;
    shardy_status st = shardy__engine_reader_open(&shardy__engine_mem, &spec, &r, err);
    if (st >= 0 && spec.dim > 0 && spec.dim <= 4) {
        memset(&request, 0, sizeof request);
        request.queries = query;
        request.query_count = 1;
        request.stride = spec.dim;
        request.k = 3;
        st = shardy__engine_search(&r, &request, &op, err);
        shardy__engine_search_finish(&r, op);
    }
    shardy__engine_reader_close(&r);
    return st;
}

static void get_batch(const engine_reader *r, const shardy_bytes *keys, size_t count)
{
    shardy_engine_get request;
    shardy_buf values[2];
    int32_t statuses[2];
    memset(&request, 0, sizeof request);
    memset(values, 0, sizeof values);
    request.keys = keys;
    request.count = count;
    request.values_out = values;
    request.statuses_out = statuses;
    require(shardy__engine_get_many(r, &request, NULL) == SHARDY_OK, "a batch is answered");
    require(statuses[0] == SHARDY_OK, "a row is found in a batch");
    require(statuses[1] == SHARDY_OK || statuses[1] == SHARDY_NOT_FOUND, "or not");
    for (size_t i = 0; i < count; i++) {
        shardy_buf_release(&values[i]);
    }
    shardy_buf_release(&request.hold);
}

static void check(shardy_store *store, const uint8_t *data, size_t size)
{
    shardy_engine_reader_spec spec = spec_of(store, data, size);
    engine_reader r;
    shardy_error err = {0};
    shardy_status st = shardy__engine_reader_open(&shardy__engine_mem, &spec, &r, &err);
    require(st == SHARDY_OK || st == SHARDY_CORRUPT, "it is read or corrupt");
    require(st >= 0 || err.message[0] != '\0', "a failure has a message");
    if (st >= 0) {
        scanned s = {&r, {NULL, 0}, 0};
        const shardy_engine_check request = {next_key, NULL, NULL, &s, NULL, 0, NULL};
        require(shardy__engine_check(&r, &request, &err) == SHARDY_OK, "it can be checked");
        if (s.count > 0) {
            shardy_bytes keys[2] = {s.last, {"no such key, it is longer than those", 36}};
            get_batch(&r, keys, 2);
        }
        if (spec.dim > 0) {
            check_search(&r, spec.dim);
        }
    }
    shardy__engine_reader_close(&r);
}

static shardy_store *store_of(const uint8_t *data, size_t size)
{
    shardy_store *store;
    shardy_store_put put;
    memset(&put, 0, sizeof put);
    put.key = (shardy_bytes){"s/shard.mem", 11};
    put.condition = SHARDY_PUT_ALWAYS;
    put.body = (shardy_bytes){data, size};
    if (shardy_store_open_mem(NULL, &store, NULL) < 0) {
        return NULL;
    }
    if (shardy_store_put_object(store, &put, NULL, NULL) < 0) {
        shardy_store_close(store);
        return NULL;
    }
    return store;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    the_store = store_of(data, size);
    if (the_store) {
        check(the_store, data, size);
        run_with_fault(data, size, run);
    }
    shardy_store_close(the_store);
    return 0;
}
