/* Shards of the engine "sqlite": the input is the file.
 *
 * Properties: opening, iteration and look-ups end within a number of pages that is bounded by the
 * size of the file, with an answer or as corrupt; when the rows come in ascending order, each is
 * found with its value, alone and in a batch, with and without a fence, and what lies between two
 * rows is not. What a check passes can be read. */
#include "shard_target.h"

#include "sqlitefile/btree_fence.h"
#include "sqlitefile/page_cache.h"

#define ROWS_MAX 200u

typedef struct scanned {
    shardy_buf keys[ROWS_MAX];
    shardy_buf values[ROWS_MAX];
    size_t count;
    uint64_t all;
    int ascending;
    bytebuf last;
} scanned;

static int compare(shardy_bytes a, shardy_bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.data, b.data, n) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

typedef struct kv_row {
    shardy_bytes key;
    shardy_bytes value;
} kv_row;

/* All rows, one by one through the B-tree. */
static shardy_status scan_rows(const shard_file *f,
    shardy_status (*next)(void *user, const kv_row *row, shardy_error *err), void *user,
    shardy_error *err)
{
    btree_walk walk;
    shardy__btree_walk_init(&walk, &f->kv);
    shardy__btree_walk_first(&walk);
    shardy_status st;
    while ((st = shardy__btree_walk_run(&walk, err)) == SHARDY_OK) {
        record_value values[8];
        const uint32_t v = f->value_field < 8 ? f->value_field : 0;
        st = shardy__btree_walk_record(
            &walk, (size_t)SHARDY_VALUE_LEN_MAX + SHARDY_KEY_LEN_MAX + 64, values, 8, err);
        if (st >= 0 && (values[0].type != RECORD_BLOB || v == 0 || values[v].type < RECORD_TEXT)) {
            st = shardy__error(err, SHARDY_CORRUPT, "fuzz", "a row is not (blob, blob)");
        }
        if (st >= 0) {
            const kv_row row = {{values[0].data, values[0].len}, {values[v].data, values[v].len}};
            st = next(user, &row, err);
        }
        if (st != SHARDY_OK) {
            break;
        }
        shardy__btree_walk_next(&walk);
    }
    shardy__btree_walk_end(&walk);
    return st;
}

static shardy_status next_row(void *user, const kv_row *row, shardy_error *err)
{
    scanned *s = user;
    shardy_bytes last = {s->last.data, s->last.len};
    s->ascending &= s->all == 0 || compare(last, row->key) < 0;
    s->all++;
    shardy__bytebuf_clear(&s->last);
    shardy__bytebuf_append(&s->last, row->key.data, row->key.len);
    s->ascending &= s->last.status == SHARDY_OK;
    if (s->count < ROWS_MAX) {
        SHARDY_TRY(shardy__buf_copy(row->key.data, row->key.len, &s->keys[s->count], err));
        s->count++;
        SHARDY_TRY(
            shardy__buf_copy(row->value.data, row->value.len, &s->values[s->count - 1], err));
    }
    return SHARDY_OK;
}

static int same(const shardy_buf *a, const shardy_buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void get_each(const shard_file *f, counted *c, const scanned *s, int must)
{
    for (size_t i = 0; i < s->count; i++) {
        shardy_error err = {0};
        shardy_buf value;
        shardy_bytes key = {s->keys[i].data, s->keys[i].len};
        allow(c, 1);
        shardy_status st = shardy__shard_file_get(f, key, NULL, &value, &err);
        require_outcome(st);
        require_message(st, &err);
        require(!must || st == SHARDY_OK, "a row that is there is found");
        require(!must || same(&value, &s->values[i]), "a row has its value");
        shardy_buf_release(&value);
    }
}

static void get_batch(const shard_file *f, counted *c, const scanned *s, int must)
{
    shardy_bytes keys[ROWS_MAX + 1];
    shardy_buf values[ROWS_MAX + 1];
    int32_t statuses[ROWS_MAX + 1];
    shardy_error err = {0};
    for (size_t i = 0; i < s->count; i++) {
        keys[i] = (shardy_bytes){s->keys[i].data, s->keys[i].len};
    }
    keys[s->count] = (shardy_bytes){"no such key", 11};
    memset(values, 0, sizeof values);
    shardy_engine_get request;
    memset(&request, 0, sizeof request);
    request.keys = keys;
    request.count = s->count + 1;
    request.values_out = values;
    request.statuses_out = statuses;
    allow(c, ROWS_MAX);
    shardy_status st = shardy__shard_file_get_many(f, &request, &err);
    require_outcome(st);
    require_message(st, &err);
    require(!must || st == SHARDY_OK, "a batch of rows that are there is found");
    for (size_t i = 0; st >= 0 && i <= s->count; i++) {
        if (must && i < s->count) {
            require(statuses[i] == SHARDY_OK, "a row is found in a batch");
            require(same(&values[i], &s->values[i]), "a row has its value in a batch");
        }
        shardy_buf_release(&values[i]);
    }
    if (st >= 0) {
        shardy_buf_release(&request.hold);
    }
}

/* The same from memory, where look-ups take the short cut. */
static void get_by_fence(const uint8_t *data, counted *c, const scanned *s, int must)
{
    shard_file f;
    shardy_error err = {0};
    page_source *source = NULL;
    if (shardy__page_source_memory(data, c->size, NULL, &source, &err) < 0 ||
        shardy__shard_file_open_take(&f, source, NULL, &err) < 0) {
        return;
    }
    shardy__fence_make(&f.kv);
    get_each(&f, c, s, must);
    get_batch(&f, c, s, must);
    shardy__shard_file_close(&f);
}

/* The same when no page is at hand. */
static void get_late(const uint8_t *data, size_t size, const scanned *s, int must)
{
    counted c;
    shard_file f;
    page_source *source = open_counted(&c, data, size, 1);
    if (!source) {
        return;
    }
    allow(&c, 2);
    require(shardy__shard_file_open_take(&f, source, NULL, NULL) == SHARDY_OK, "it opens again");
    get_each(&f, &c, s, must);
    get_batch(&f, &c, s, must);
    shardy__shard_file_close(&f);
}

/* The same by ranges of an object of a store, through a cache. */
static void get_remote(const uint8_t *data, counted *c, const scanned *s, int must)
{
    shard_file f;
    shardy_error err = {0};
    shardy_object_meta meta;
    shardy_store_put put;
    shardy_store *store = NULL;
    page_cache *cache = NULL;
    page_source *source = NULL;
    page_source_options options;
    memset(&put, 0, sizeof put);
    put.key = (shardy_bytes){"shard.db", 8};
    put.body = (shardy_bytes){data, c->size};
    if (shardy_store_open_mem(NULL, &store, &err) >= 0 &&
        shardy_store_put_object(store, &put, &meta, &err) >= 0 &&
        shardy__page_cache_new(1u << 16, &cache, &err) >= 0) {
        shardy__page_source_options_init(&options);
        options.ranges = cache;
        require(shardy__page_source_open_object(store, "shard.db", &options, &source, &err) ==
                    SHARDY_OK,
            "an object is opened by ranges");
        require(shardy__shard_file_open_take(&f, source, NULL, &err) == SHARDY_OK,
            "it opens by ranges");
        get_each(&f, c, s, must);
        get_batch(&f, c, s, must);
        shardy__shard_file_close(&f);
        require(shardy__page_cache_bytes(cache) == 0, "the cache forgets what was closed");
    }
    shardy__page_cache_drop(cache);
    shardy_store_close(store);
}

/* --- without memory --------------------------------------------------------------------------- */

static shardy_status take_row(void *user, const kv_row *row, shardy_error *err)
{
    bytebuf *first = user;
    if (first->len == 0) {
        shardy__bytebuf_append(first, row->key.data, row->key.len);
    }
    return shardy__bytebuf_check(first, "fuzz", err);
}

static shardy_status get_two(const shard_file *f, const bytebuf *first, shardy_error *err)
{
    shardy_bytes keys[2] = {{first->data, first->len}, {"no such key", 11}};
    shardy_buf values[2];
    int32_t statuses[2];
    shardy_engine_get request;
    memset(values, 0, sizeof values);
    memset(&request, 0, sizeof request);
    request.keys = keys;
    request.count = 2;
    request.values_out = values;
    request.statuses_out = statuses;
    shardy_status st = shardy__shard_file_get_many(f, &request, err);
    shardy_buf_release(&values[0]);
    shardy_buf_release(&values[1]);
    if (st >= 0) {
        shardy_buf_release(&request.hold);
        st = shardy__shard_file_get(f, keys[0], NULL, &values[0], err);
        shardy_buf_release(&values[0]);
    }
    return st;
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    shard_file f;
    page_source *source = NULL;
    bytebuf first;
    shardy__bytebuf_init(&first, SHARDY_KEY_LEN_MAX);
    SHARDY_TRY(shardy__page_source_memory(data, size, NULL, &source, err));
    SHARDY_TRY(shardy__shard_file_open_take(&f, source, NULL, err));
    shardy__fence_make(&f.kv);
    shardy_status st = scan_rows(&f, take_row, &first, err);
    if (st >= 0) {
        st = get_two(&f, &first, err);
    }
    int32_t damaged = 0;
    if (st >= 0) {
        st = check_shard(&f, NULL, &damaged, err);
    }
    shardy__bytebuf_free(&first);
    shardy__shard_file_close(&f);
    return st;
}

/* ---------------------------------------------------------------------------------------------- */

static void check(const shard_file *f, counted *c, const uint8_t *data)
{
    static scanned s;
    shardy_error err = {0};
    memset(&s, 0, sizeof s);
    s.ascending = 1;
    shardy__bytebuf_init(&s.last, SHARDY_KEY_LEN_MAX);
    allow(c, 2);
    shardy_status st = scan_rows(f, next_row, &s, &err);
    require_outcome(st);
    require_message(st, &err);
    require(s.all <= c->size, "there are not more rows than bytes");
    int must = st >= 0 && s.ascending;
    int32_t damaged = 0;
    allow(c, 2);
    require(check_shard(f, NULL, &damaged, &err) == SHARDY_OK, "it can be checked");
    require(damaged || st >= 0, "after a check without damage all rows can be read");
    get_each(f, c, &s, must);
    get_batch(f, c, &s, must);
    get_by_fence(data, c, &s, must);
    get_late(data, c->size, &s, must);
    get_remote(data, c, &s, must);
    for (size_t i = 0; i < s.count; i++) {
        shardy_buf_release(&s.keys[i]);
        shardy_buf_release(&s.values[i]);
    }
    shardy__bytebuf_free(&s.last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    counted c;
    shard_file f;
    shardy_error err = {0};
    page_source *source = open_counted(&c, data, size, 0);
    if (!source) {
        return 0;
    }
    allow(&c, 2);
    shardy_status st = shardy__shard_file_open_take(&f, source, NULL, &err);
    require_outcome(st);
    require_message(st, &err);
    if (st >= 0) {
        check(&f, &c, data);
        shardy__shard_file_close(&f);
    }
    run_with_fault(data, size, run);
    return 0;
}
