/* What the reference wrote beside its shards (manifests, pointers, run records) and its hash
 * vectors: our parsers find exactly what is in them, field by field. */
#include "support/support.h"

#include "base/bytebuf.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/uri.h"
#include "catalog/catalog.h"
#include "catalog/run_record.h"
#include "route/router.h"

#include <shardyfusion/sys/text.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static shardy_error err;

#define RUN_ID "0123456789abcdef0123456789abcdef"

static int64_t micros(const char *text)
{
    int64_t us = 0;
    assert_true(shardy__time_parse(text, strlen(text), &us));
    return us;
}

static char *read_source(const char *name, size_t *len_out)
{
    char path[300];
    snprintf(path, sizeof path, "tests/golden/%s", name);
    return support_read_file(support_source(path), len_out);
}

static manifest *parse_manifest(const char *path)
{
    size_t len;
    char *data = support_read_file(path, &len);
    manifest *m = NULL;
    assert_ok(shardy__manifest_parse(shardy__bytes(data, len), &m, &err));
    free(data);
    return m;
}

static void assert_bytes(shardy_bytes got, const char *expected, size_t len)
{
    assert_int_equal(got.len, len);
    assert_memory_equal(got.data, expected, len);
}

static void test_golden__the_manifest_of_a_hash_snapshot_has_these_fields(void **state)
{
    (void)state;
    manifest *m = parse_manifest(support_source("tests/golden/files/manifest_hash.sqlite"));
    assert_string_equal(m->run_id, RUN_ID);
    assert_string_equal(m->created_at, "2026-03-14T10:30:00.123456Z");
    assert_int_equal(m->created_us, micros("2026-03-14T10:30:00.123456Z"));
    assert_int_equal(m->num_dbs, 4);
    assert_string_equal(m->s3_prefix, "s3://b/p");
    assert_string_equal(m->key_col, "_key");
    assert_string_equal(m->db_path_template, "db={db_id:05d}");
    assert_string_equal(m->shard_prefix, "shards");
    assert_int_equal(m->key_encoding, SHARDY_KEY_ENCODING_U64BE);
    assert_int_equal(m->strategy, SHARDY_SHARDING_HASH);
    assert_null(m->cel_expr);
    assert_string_equal(m->sharding,
        "{\"cel_columns\": null, \"cel_expr\": null, \"hash_algorithm\": \"xxh3_64\", "
        "\"routing_values\": null, \"strategy\": \"hash\"}");
    assert_string_equal(m->custom,
        "{\"sqlite_sidecar\":{\"codec\":\"zstd\",\"filename\":\"shard.sidecar\","
        "\"format_version\":8,\"page_size\":4096}}");
    assert_int_equal(m->parsed.has_sidecar, 1);
    assert_int_equal(m->parsed.has_vector, 0);
    assert_string_equal(m->parsed.engine, "");
    assert_int_equal(m->has_objects, 0);
    assert_int_equal(m->object_count, 0);
    static const struct {
        uint32_t db_id;
        uint64_t rows;
        int64_t min;
        int64_t max;
    } shards[] = {{0, 10, 0, 100}, {1, 11, 1, 101}, {3, 13, 3, 103}};
    assert_int_equal(m->shard_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        const manifest_shard *s = &m->shards[i];
        char url[200];
        snprintf(url, sizeof url, "s3://b/p/shards/run_id=" RUN_ID "/db=%05u/attempt=00",
            shards[i].db_id);
        assert_int_equal(s->db_id, shards[i].db_id);
        assert_string_equal(s->db_url, url);
        assert_int_equal(s->attempt, 0);
        assert_int_equal(s->row_count, shards[i].rows);
        assert_int_equal(s->db_bytes, 8192);
        assert_true(s->has_min_key && s->has_max_key);
        assert_int_equal(s->min_key.type, SHARDY_KEY_INT);
        assert_int_equal(s->min_key.i, shards[i].min);
        assert_int_equal(s->max_key.type, SHARDY_KEY_INT);
        assert_int_equal(s->max_key.i, shards[i].max);
        assert_string_equal(s->checkpoint_id, "5b2f1c0a4d3a4e6f9b8c7a6d5e4f3210");
        assert_int_equal(s->duration_ms, 12);
    }
    assert_null(shardy__manifest_shard(m, 2));
    assert_ptr_equal(shardy__manifest_shard(m, 3), &m->shards[2]);
    assert_int_equal(shardy__manifest_row_count(m), 34);
    assert_ok(shardy__manifest_check_urls(m, &err));
    shardy__manifest_free(m);
}

static void test_golden__the_manifest_of_a_cel_snapshot_has_these_fields(void **state)
{
    (void)state;
    manifest *m =
        parse_manifest(support_source("tests/golden/files/manifest_cel_categorical.sqlite"));
    assert_string_equal(m->run_id, RUN_ID);
    assert_string_equal(m->created_at, "2026-03-14T10:30:00.123456Z");
    assert_int_equal(m->num_dbs, 3);
    assert_string_equal(m->s3_prefix, "s3://b/p");
    assert_string_equal(m->key_col, "_key");
    assert_int_equal(m->key_encoding, SHARDY_KEY_ENCODING_UTF8);
    assert_int_equal(m->strategy, SHARDY_SHARDING_CEL);
    assert_string_equal(m->cel_expr, "region");
    assert_string_equal(m->sharding,
        "{\"cel_columns\": {\"region\": \"string\"}, \"cel_expr\": \"region\", "
        "\"hash_algorithm\": \"xxh3_64\", \"routing_values\": [\"ap\", \"eu\", \"us\"], "
        "\"strategy\": \"cel\"}");
    assert_string_equal(m->custom, "{}");
    assert_int_equal(m->shard_count, 1);
    const manifest_shard *s = &m->shards[0];
    assert_int_equal(s->db_id, 1);
    assert_string_equal(s->db_url, "s3://b/p/x");
    assert_int_equal(s->attempt, 2);
    assert_int_equal(s->row_count, 2);
    assert_int_equal(s->db_bytes, 5);
    assert_int_equal(s->min_key.type, SHARDY_KEY_TEXT);
    assert_bytes(s->min_key.bytes, "a\xc3\xa9", 3);
    assert_int_equal(s->max_key.type, SHARDY_KEY_TEXT);
    assert_bytes(s->max_key.bytes, "z", 1);
    assert_null(s->checkpoint_id);
    assert_int_equal(s->duration_ms, 0);
    shardy__manifest_free(m);
}

static void test_golden__the_pointer_has_these_fields(void **state)
{
    (void)state;
    size_t len;
    char *text = read_source("files/CURRENT.json", &len);
    pointer p;
    assert_ok(shardy__pointer_parse(shardy__bytes(text, len), &p, &err));
    assert_string_equal(p.manifest_ref,
        "s3://b/p/manifests/2026-03-14T10:30:01.000000Z_run_id=" RUN_ID "/manifest");
    assert_string_equal(p.manifest_content_type, "application/x-sqlite3");
    assert_string_equal(p.run_id, RUN_ID);
    assert_int_equal(p.updated_us, micros("2026-11-20T07:38:01.980300Z"));
    assert_int_equal(p.has_ours, 0);
    assert_int_equal(p.generation, 0);
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    assert_ok(shardy__catalog_ref(p.manifest_ref, ref, &err));
    assert_string_equal(ref, "manifests/2026-03-14T10:30:01.000000Z_run_id=" RUN_ID "/manifest");
    /* we write the same bytes */
    shardy_buf again;
    assert_ok(shardy__pointer_render(&p, &again, &err));
    assert_bytes(shardy__bytes(again.data, again.len), text, len);
    shardy_buf_release(&again);
    free(text);
}

static void test_golden__the_run_record_has_these_fields(void **state)
{
    (void)state;
    size_t len;
    char *text = read_source("files/run_running.yaml", &len);
    run_record r;
    memset(&r, 0, sizeof r);
    assert_ok(shardy__run_record_parse(shardy__bytes(text, len), &r, &err));
    assert_string_equal(r.run_id, RUN_ID);
    assert_string_equal(r.writer_type, "python");
    assert_string_equal(r.s3_prefix, "s3://b/p");
    assert_string_equal(r.shard_prefix, "shards");
    assert_string_equal(r.db_path_template, "db={db_id:05d}");
    assert_string_equal(r.manifest_ref, "");
    assert_string_equal(r.error_type, "");
    assert_string_equal(r.error_message, "");
    assert_int_equal(r.status, RUN_RUNNING);
    assert_int_equal(r.started_us, micros("2026-01-02T03:04:05.000006Z"));
    assert_int_equal(r.updated_us, micros("2026-01-02T03:04:05.000006Z"));
    assert_int_equal(r.lease_expires_us, micros("2026-01-02T03:14:05.000006Z"));
    free(text);
}

/* --- every catalog of the reference ----------------------------------------------------------- */

static shardy_bytes member(const shardy_json_value *object, const char *name)
{
    return shardy_json_string(shardy_json_get(object, name));
}

static void assert_member(const shardy_json_value *object, const char *name, const char *got)
{
    shardy_bytes expected = member(object, name);
    assert_non_null(got);
    assert_bytes(expected, got, strlen(got));
}

static void assert_number(const shardy_json_value *object, const char *name, uint64_t got)
{
    uint64_t expected;
    assert_true(shardy_json_uint64(shardy_json_get(object, name), &expected));
    assert_true(expected == got);
}

static void assert_bound(
    const shardy_json_value *object, const char *name, int32_t has, const shardy_key *key)
{
    const shardy_json_value *value = shardy_json_get(object, name);
    int64_t i;
    if (shardy_json_type_of(value) == SHARDY_JSON_NULL) {
        assert_int_equal(has, 0);
    } else if (shardy_json_type_of(value) == SHARDY_JSON_STRING) {
        assert_int_equal(key->type, SHARDY_KEY_TEXT);
        shardy_bytes text = shardy_json_string(value);
        assert_bytes(key->bytes, text.data, text.len);
    } else {
        assert_int_equal(has, 1);
        assert_int_equal(key->type, SHARDY_KEY_INT);
        assert_true(shardy_json_int64(value, &i));
        assert_true(key->i == i);
    }
}

/* A member of the sharding object, in both the same. */
static void assert_same_json(const shardy_json_value *expected, const shardy_json_value *got)
{
    bytebuf texts[2];
    for (int i = 0; i < 2; i++) {
        json_writer w;
        shardy__bytebuf_init(&texts[i], 1 << 20);
        shardy__json_writer_init(&w, &texts[i], JSON_COMPACT);
        shardy__json_value(&w, i ? got : expected);
        assert_ok(shardy__json_writer_finish(&w, "test", &err));
        shardy__json_writer_free(&w);
    }
    assert_bytes(shardy__bytes(texts[0].data, texts[0].len), texts[1].data, texts[1].len);
    shardy__bytebuf_free(&texts[0]);
    shardy__bytebuf_free(&texts[1]);
}

static void check_manifest(const manifest *m, const shardy_json_value *root)
{
    const shardy_json_value *info = shardy_json_get(root, "info");
    assert_member(info, "run_id", m->run_id);
    assert_number(info, "num_dbs", m->num_dbs);
    assert_number(info, "row_count", shardy__manifest_row_count(m));
    assert_member(info, "key_encoding", shardy_key_encoding_name(m->key_encoding));
    assert_member(info, "sharding", shardy_sharding_strategy_name(m->strategy));
    shardy_json *json;
    assert_ok(shardy_json_parse(shardy__bytes(m->sharding, strlen(m->sharding)), &json, &err));
    static const char *const fields[] = {"cel_expr", "cel_columns", "routing_values"};
    for (size_t i = 0; i < 3; i++) {
        assert_same_json(
            shardy_json_get(info, fields[i]), shardy_json_get(shardy_json_root(json), fields[i]));
    }
    shardy_json_free(json);
    assert_ok(shardy_json_parse(shardy__bytes(m->custom, strlen(m->custom)), &json, &err));
    assert_same_json(shardy_json_get(root, "custom"), shardy_json_root(json));
    shardy_json_free(json);
    const shardy_json_value *shards = shardy_json_get(root, "shards");
    assert_int_equal(shardy_json_count(shards), m->shard_count);
    for (uint32_t i = 0; i < m->shard_count; i++) {
        const shardy_json_value *expected = shardy_json_at(shards, i);
        const manifest_shard *s = &m->shards[i];
        assert_number(expected, "db_id", s->db_id);
        assert_number(expected, "attempt", s->attempt);
        assert_number(expected, "row_count", s->row_count);
        assert_number(expected, "db_bytes", s->db_bytes);
        assert_member(expected, "db_url", s->db_url);
        assert_bound(expected, "min_key", s->has_min_key, &s->min_key);
        assert_bound(expected, "max_key", s->has_max_key, &s->max_key);
    }
    assert_ok(shardy__manifest_check_urls(m, &err));
}

/* What we would write is read as the same again. */
static void check_round_trip(const manifest *m)
{
    shardy_buf image;
    shardy_buf second;
    manifest *again;
    assert_ok(shardy__manifest_render(m, &image, &err));
    assert_ok(shardy__manifest_parse(shardy__bytes(image.data, image.len), &again, &err));
    assert_ok(shardy__manifest_render(again, &second, &err));
    assert_int_equal(image.len, second.len);
    assert_memory_equal(image.data, second.data, image.len);
    assert_string_equal(again->sharding, m->sharding);
    assert_string_equal(again->custom, m->custom);
    assert_int_equal(again->shard_count, m->shard_count);
    shardy__manifest_free(again);
    shardy_buf_release(&image);
    shardy_buf_release(&second);
}

/* Every run record below `dir`; returns how many there are. */
static size_t check_run_records(const char *dir, const char *name, const manifest *current)
{
    size_t count = 0;
    char prefix[300];
    snprintf(prefix, sizeof prefix, "s3://golden/%s", name);
    DIR *runs = opendir(support_path(dir, "runs"));
    assert_non_null(runs);
    for (struct dirent *e; (e = readdir(runs)) != NULL;) {
        if (e->d_name[0] == '.') {
            continue;
        }
        char path[1200];
        size_t len;
        snprintf(path, sizeof path, "%s/runs/%s/run.yaml", dir, e->d_name);
        char *text = support_read_file(path, &len);
        run_record r;
        memset(&r, 0, sizeof r);
        assert_ok(shardy__run_record_parse(shardy__bytes(text, len), &r, &err));
        char infix[200];
        snprintf(infix, sizeof infix, "_run_id=%s_", r.run_id);
        assert_non_null(strstr(e->d_name, infix));
        assert_string_equal(r.s3_prefix, prefix);
        assert_string_equal(r.shard_prefix, "shards");
        assert_true(r.updated_us >= r.started_us);
        assert_int_equal(
            r.lease_expires_us - r.updated_us, r.status == RUN_RUNNING ? RUN_RECORD_LEASE_US : 0);
        assert_int_equal(r.manifest_ref[0] != '\0', r.status == RUN_SUCCEEDED);
        assert_int_equal(r.error_type[0] != '\0', r.status == RUN_FAILED);
        if (strcmp(r.run_id, current->run_id) == 0) {
            assert_int_equal(r.status, RUN_SUCCEEDED);
        }
        free(text);
        count++;
    }
    closedir(runs);
    return count;
}

static void check_catalog(const char *dir, const char *name)
{
    size_t len;
    char *text = support_read_file(support_path(dir, "expected.json"), &len);
    shardy_json *json;
    assert_ok(shardy_json_parse(shardy__bytes(text, len), &json, &err));
    const shardy_json_value *current = shardy_json_get(shardy_json_root(json), "current");
    free(text);
    text = support_read_file(support_path(dir, "_CURRENT"), &len);
    pointer p;
    assert_ok(shardy__pointer_parse(shardy__bytes(text, len), &p, &err));
    free(text);
    assert_member(current, "manifest_ref", p.manifest_ref);
    assert_member(current, "manifest_content_type", p.manifest_content_type);
    assert_member(current, "run_id", p.run_id);
    shardy_bytes updated = member(current, "updated_at");
    int64_t us;
    assert_true(shardy__time_parse(updated.data, updated.len, &us));
    assert_true(us == p.updated_us);
    assert_int_equal(p.has_ours, 0);
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    assert_ok(shardy__catalog_ref(p.manifest_ref, ref, &err));
    manifest *m = parse_manifest(support_path(dir, ref));
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    assert_ok(shardy__uri_strip(m->s3_prefix, p.manifest_ref, key, &err));
    assert_string_equal(key, ref);
    check_manifest(m, shardy_json_root(json));
    check_round_trip(m);
    assert_true(check_run_records(dir, name, m) >= 1);
    shardy__manifest_free(m);
    shardy_json_free(json);
}

static size_t check_catalogs(const char *folder)
{
    char root[600];
    size_t count = 0;
    snprintf(root, sizeof root, "%s", support_source(folder));
    DIR *dir = opendir(root);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[900];
        if (e->d_name[0] == '.' || strcmp(e->d_name, "README.md") == 0) {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", root, e->d_name);
        check_catalog(path, e->d_name);
        count++;
    }
    closedir(dir);
    return count;
}

static void test_golden__every_catalog_of_the_reference_is_read_field_by_field(void **state)
{
    (void)state;
    assert_int_equal(check_catalogs("tests/golden/snapshots"), 14);
    assert_int_equal(check_catalogs("tests/golden/catalogs"), 22);
}

/* --- hash vectors ----------------------------------------------------------------------------- */

static shardy_key key_of_vector(const shardy_json_value *vector, uint8_t room[64])
{
    const shardy_json_value *value = shardy_json_get(vector, "key");
    shardy_bytes type = member(vector, "type");
    shardy_bytes text = shardy_json_string(value);
    if (type.len == 3 && memcmp(type.data, "int", 3) == 0) {
        int64_t i;
        assert_true(shardy_json_int64(value, &i));
        return shardy_key_int(i);
    }
    if (type.len == 3 && memcmp(type.data, "str", 3) == 0) {
        return shardy_key_text(text.data, text.len);
    }
    assert_bytes(type, "bytes", 5);
    assert_true(text.len % 2 == 0 && text.len <= 128);
    for (size_t i = 0; i < text.len / 2; i++) {
        unsigned byte;
        assert_int_equal(sscanf((const char *)text.data + 2 * i, "%2x", &byte), 1);
        room[i] = (uint8_t)byte;
    }
    return shardy_key_bytes(room, text.len / 2);
}

/* The bytes that are hashed, as formats.md 4.2 tells them. */
static shardy_bytes canonical_bytes(const shardy_key *key, uint8_t room[8])
{
    if (key->type != SHARDY_KEY_INT) {
        return key->bytes;
    }
    for (int i = 0; i < 8; i++) {
        room[i] = (uint8_t)((uint64_t)key->i >> (8 * i));
    }
    return shardy__bytes(room, 8);
}

static void check_encodings(const shardy_key *key)
{
    encoded_key e;
    uint8_t expected[8];
    if (key->type == SHARDY_KEY_INT) {
        int fits_u64 = key->i >= 0;
        int fits_u32 = fits_u64 && key->i <= (int64_t)UINT32_MAX;
        for (int i = 0; i < 8; i++) {
            expected[i] = (uint8_t)((uint64_t)key->i >> (56 - 8 * i));
        }
        assert_status(fits_u64 ? SHARDY_OK : SHARDY_INVALID,
            shardy__key_encode(key, SHARDY_KEY_ENCODING_U64BE, &e, &err));
        if (fits_u64) {
            assert_bytes(e.bytes, (const char *)expected, 8);
        }
        assert_status(fits_u32 ? SHARDY_OK : SHARDY_INVALID,
            shardy__key_encode(key, SHARDY_KEY_ENCODING_U32BE, &e, &err));
        if (fits_u32) {
            assert_bytes(e.bytes, (const char *)expected + 4, 4);
        }
        assert_status(SHARDY_INVALID, shardy__key_encode(key, SHARDY_KEY_ENCODING_UTF8, &e, &err));
        assert_status(SHARDY_INVALID, shardy__key_encode(key, SHARDY_KEY_ENCODING_RAW, &e, &err));
        return;
    }
    assert_ok(shardy__key_encode(key, SHARDY_KEY_ENCODING_UTF8, &e, &err));
    assert_bytes(e.bytes, key->bytes.data, key->bytes.len);
    assert_ok(shardy__key_encode(key, SHARDY_KEY_ENCODING_RAW, &e, &err));
    assert_bytes(e.bytes, key->bytes.data, key->bytes.len);
    int stored_u64 = key->type == SHARDY_KEY_BYTES && key->bytes.len == 8;
    assert_status(stored_u64 ? SHARDY_OK : SHARDY_INVALID,
        shardy__key_encode(key, SHARDY_KEY_ENCODING_U64BE, &e, &err));
}

static void test_golden__hash_vectors_give_digest_shards_and_encodings(void **state)
{
    (void)state;
    size_t len;
    char *text = read_source("files/hash_vectors.json", &len);
    shardy_json *json;
    assert_ok(shardy_json_parse(shardy__bytes(text, len), &json, &err));
    const shardy_json_value *root = shardy_json_root(json);
    assert_int_equal(shardy_json_count(root), 28);
    for (size_t i = 0; i < shardy_json_count(root); i++) {
        const shardy_json_value *vector = shardy_json_at(root, i);
        const shardy_json_value *mods = shardy_json_get(vector, "mod");
        uint8_t room[64];
        uint8_t canonical[8];
        shardy_key key = key_of_vector(vector, room);
        uint64_t hash;
        char hex[17];
        assert_ok(shardy__hash_key(&key, &hash, &err));
        snprintf(hex, sizeof hex, "%016llx", (unsigned long long)hash);
        assert_bytes(member(vector, "digest"), hex, 16);
        /* there is no tag of the type: the canonical bytes hash alike as bytes */
        shardy_bytes bytes = canonical_bytes(&key, canonical);
        shardy_key as_bytes = shardy_key_bytes(bytes.data, bytes.len);
        uint64_t bytes_hash;
        assert_ok(shardy__hash_key(&as_bytes, &bytes_hash, &err));
        assert_true(hash == bytes_hash);
        assert_int_equal(shardy_json_count(mods), 6);
        for (size_t k = 0; k < 6; k++) {
            shardy_bytes name = shardy_json_name_at(mods, k);
            uint64_t expected;
            uint32_t db_id;
            assert_true(shardy_json_uint64(shardy_json_at(mods, k), &expected));
            assert_ok(
                shardy_hash_route(&key, (uint32_t)strtoul(name.data, NULL, 10), &db_id, &err));
            assert_int_equal(db_id, expected);
        }
        check_encodings(&key);
    }
    shardy_json_free(json);
    free(text);
}

/* Appendix A of the description of the formats. */
static void test_golden__times_and_integers_are_written_as_the_reference_does(void **state)
{
    (void)state;
    static const struct {
        int64_t micros;
        const char *iso;
        const char *directory;
    } times[] = {
        {0, "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z"},
        {100, "2026-01-02T03:04:05.000100Z", "2026-01-02T03:04:05.000100Z"},
        {120000, "2026-01-02T03:04:05.120000Z", "2026-01-02T03:04:05.120000Z"},
        {123456, "2026-01-02T03:04:05.123456Z", "2026-01-02T03:04:05.123456Z"},
    };
    int64_t second = micros("2026-01-02T03:04:05Z");
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        char text[SHARDY_TIME_TEXT_SIZE];
        shardy__time_format_iso(second + times[i].micros, text);
        assert_string_equal(text, times[i].iso);
        assert_true(micros(text) == second + times[i].micros);
        shardy__time_format_micros(second + times[i].micros, text);
        assert_string_equal(text, times[i].directory);
    }
    encoded_key e;
    shardy_key key = shardy_key_int(42);
    assert_ok(shardy__key_encode(&key, SHARDY_KEY_ENCODING_U64BE, &e, &err));
    assert_bytes(e.bytes, "\0\0\0\0\0\0\0\x2a", 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden__the_manifest_of_a_hash_snapshot_has_these_fields),
        cmocka_unit_test(test_golden__the_manifest_of_a_cel_snapshot_has_these_fields),
        cmocka_unit_test(test_golden__the_pointer_has_these_fields),
        cmocka_unit_test(test_golden__the_run_record_has_these_fields),
        cmocka_unit_test(test_golden__every_catalog_of_the_reference_is_read_field_by_field),
        cmocka_unit_test(test_golden__hash_vectors_give_digest_shards_and_encodings),
        cmocka_unit_test(test_golden__times_and_integers_are_written_as_the_reference_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
