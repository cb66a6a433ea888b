/* vec_testing.h: what the tests of engines share: vectors, shards of them and a naive search. */
#ifndef SHARDY_TESTS_VEC_TESTING_H
#define SHARDY_TESTS_VEC_TESTING_H

#include "engine/engine.h"
#include "engine/vec_search.h"
#include "simd/exact.h"
#include "sqlite_testing.h"

#include <shardyfusion/reader.h>
#include <shardyfusion/sys/store.h>

#include <math.h>
#include <sys/stat.h>

/* Vectors with ids and payloads; what a shard should hold. */
typedef struct vectors {
    uint32_t dim;
    int32_t metric;
    size_t count;
    float *data;
    shardy_key *ids;
    shardy_bytes *payloads; /* data NULL: none */
} vectors;

static MAYBE_UNUSED void free_vectors(vectors *v)
{
    for (size_t i = 0; i < v->count; i++) {
        if (v->ids[i].type == SHARDY_KEY_TEXT) {
            free((void *)(uintptr_t)v->ids[i].bytes.data);
        }
        free((void *)(uintptr_t)v->payloads[i].data);
    }
    free(v->data);
    free(v->ids);
    free(v->payloads);
    memset(v, 0, sizeof *v);
}

static MAYBE_UNUSED shardy_key text_id(const char *text)
{
    char *copy = strdup(text);
    return shardy_key_text(copy, strlen(copy));
}

/* Integers of both signs and texts of all kinds, in no order. */
static MAYBE_UNUSED shardy_key make_id(size_t i, size_t count)
{
    char text[80];
    size_t mixed = (i * 7919 + 13) % (count ? count : 1);
    switch (i % 4) {
    case 0:
        return shardy_key_int((int64_t)mixed - 50);
    case 1:
        snprintf(text, sizeof text, "id/%zu \"\\\t\xc3\xa9\xf0\x9f\x98\x80", mixed);
        return text_id(text);
    case 2:
        return shardy_key_int((int64_t)(mixed + i) << 34);
    default:
        snprintf(text, sizeof text, "%zu", mixed);
        return text_id(i == 3 ? "" : text);
    }
}

static MAYBE_UNUSED float random_component(support_rand *rand)
{
    return (float)((double)support_rand_below(rand, 1u << 24) / (1 << 23) - 1.0);
}

static MAYBE_UNUSED vectors make_vectors(
    uint32_t dim, int32_t metric, size_t count, support_rand *rand)
{
    vectors v = {dim, metric, count, malloc((count * dim + 1) * sizeof(float)),
        calloc(count + 1, sizeof(shardy_key)), calloc(count + 1, sizeof(shardy_bytes))};
    for (size_t i = 0; i < count * dim; i++) {
        v.data[i] = random_component(rand);
    }
    for (size_t i = 0; i < count; i++) {
        v.data[i * dim] += v.data[i * dim] < 0 ? -0.125f : 0.125f; /* never zero */
        v.ids[i] = make_id(i, count);
        if (i % 3) {
            char text[64];
            snprintf(text, sizeof text, "{\"n\":  %zu, \"t\": \"\\u00e9\"}", i);
            v.payloads[i].len = strlen(text);
            v.payloads[i].data = strdup(text);
        }
    }
    return v;
}

/* --- the naive search ------------------------------------------------------------------------- */

static MAYBE_UNUSED double naive_score(const float *a, const float *b, uint32_t dim, int32_t metric)
{
    long double dot = 0;
    long double aa = 0;
    long double bb = 0;
    long double dd = 0;
    for (uint32_t i = 0; i < dim; i++) {
        long double x = (long double)a[i];
        long double y = (long double)b[i];
        dot += x * y;
        aa += x * x;
        bb += y * y;
        dd += (x - y) * (x - y);
    }
    if (metric == SHARDY_VECTOR_METRIC_L2) {
        return (double)sqrtl(dd);
    }
    return (double)(metric == SHARDY_VECTOR_METRIC_DOT ? 1 - dot : 1 - dot / sqrtl(aa * bb));
}

typedef struct naive_hit {
    double score;
    size_t index;
    const shardy_key *id;
} naive_hit;

static MAYBE_UNUSED int compare_naive(const void *a, const void *b)
{
    const naive_hit *x = a;
    const naive_hit *y = b;
    if (x->score != y->score) {
        return x->score < y->score ? -1 : 1;
    }
    int order = shardy_key_compare(x->id, y->id);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

/* All vectors in the order of hits. Their scores have the bits of exact.h and are near the naive
 * ones. Free with free(). */
static MAYBE_UNUSED naive_hit *naive_search(const vectors *v, const float *query)
{
    naive_hit *hits = calloc(v->count + 1, sizeof *hits);
    exact_query exact;
    shardy__exact_prepare(&exact, query, v->dim, v->metric);
    for (size_t i = 0; i < v->count; i++) {
        const float *row = v->data + i * v->dim;
        hits[i].index = i;
        hits[i].id = &v->ids[i];
        hits[i].score = shardy__exact_score(&exact, row);
        double naive = naive_score(query, row, v->dim, v->metric);
        assert_true(fabs(naive - hits[i].score) <= 1e-7 + 1e-12 * fabs(naive));
    }
    qsort(hits, v->count, sizeof *hits, compare_naive);
    return hits;
}

/* --- shards ----------------------------------------------------------------------------------- */

/* Writes a shard into `dir`, which must be there. */
static MAYBE_UNUSED void write_shard_in(
    const shardy_engine_ops *ops, const char *dir, const vectors *v, uint32_t page_size)
{
    shardy_error err = {0};
    shardy_engine_writer_spec spec;
    engine_writer w;
    shardy_engine_files files;
    memset(&spec, 0, sizeof spec);
    spec.struct_size = sizeof spec;
    spec.scratch_dir = dir;
    spec.page_size = page_size;
    spec.dim = v->dim;
    spec.metric = v->metric;
    assert_ok(shardy__engine_writer_open(ops, &spec, &w, &err));
    shardy_bytes keys[3] = {{"a", 1}, {"b", 1}, {"c", 1}};
    shardy_bytes values[3] = {{"1", 1}, {"", 0}, {"333", 3}};
    shardy_engine_rows rows = {3, keys, values};
    assert_ok(shardy__engine_put(&w, &rows, &err));
    for (size_t done = 0; done < v->count;) {
        size_t n = done % 2 ? 1 : v->count - done < 100 ? v->count - done : 100;
        shardy_engine_vectors batch = {
            n, v->data + done * v->dim, v->dim, v->ids + done, v->payloads + done};
        assert_ok(shardy__engine_add_vectors(&w, &batch, &err));
        done += n;
    }
    assert_ok(shardy__engine_finish(&w, &files, &err));
    assert_int_equal(files.count, 1);
    shardy__engine_writer_free(&w);
}

/* The directory of a shard is `dir`/s. */
static MAYBE_UNUSED char *write_shard(
    const shardy_engine_ops *ops, const vectors *v, uint32_t page_size)
{
    char *dir = support_make_dir();
    const char *inner = support_path(dir, "s");
    assert_int_equal(mkdir(inner, 0700), 0);
    write_shard_in(ops, inner, v, page_size);
    return dir;
}

static MAYBE_UNUSED image read_shard(const char *dir)
{
    image img = {0};
    img.data = (uint8_t *)support_read_file(support_path(dir, "s/shard.db"), &img.len);
    img.room = img.len;
    return img;
}

static MAYBE_UNUSED void put_object(
    shardy_store *store, const char *key, const void *data, size_t len)
{
    shardy_error err = {0};
    shardy_store_put put;
    memset(&put, 0, sizeof put);
    put.key.data = key;
    put.key.len = strlen(key);
    put.condition = SHARDY_PUT_ALWAYS;
    put.body.data = data;
    put.body.len = len;
    assert_ok(shardy_store_put_object(store, &put, NULL, &err));
}

static MAYBE_UNUSED shardy_engine_reader_spec reader_spec(
    shardy_store *store, const vectors *v, int32_t io)
{
    shardy_engine_reader_spec spec;
    memset(&spec, 0, sizeof spec);
    spec.struct_size = sizeof spec;
    spec.store = store;
    spec.shard_path = "s";
    spec.io = io;
    spec.dim = v->dim;
    spec.metric = v->metric;
    return spec;
}

#endif
