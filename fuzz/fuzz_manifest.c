/* Manifests. An input that begins as a SQLite database is taken as an image. Any other is taken as
 * the values of one: a line for each column, first those of build_meta, then those of rows of
 * shards, then of shardy_objects after a line "o"; a value is its first letter (t text, i integer,
 * r real, b blob, n null) and its text. So the fuzzer gets behind the b-tree.
 *
 * Properties: it is refused with a message, or what was read is what is read again from the image
 * that we write of it, and that image is the same each time; no path of a shard or object leaves
 * the root. */
#include "manifest/manifest.h"
#include "faults.h"

#include "base/bytebuf.h"
#include "base/uri.h"
#include "sqlitefile/btree_write.h"

#include <shardyfusion/vector.h>

#define VALUES_MAX     200u
#define BUILD_COLUMNS  11u
#define SHARD_COLUMNS  9u
#define OBJECT_COLUMNS 4u

/* --- an image from lines ---------------------------------------------------------------------- */

typedef struct values {
    record_value list[VALUES_MAX];
    size_t count;
    size_t objects_from; /* index of the first value of shardy_objects; count: there is no table */
} values;

static record_value parse_value(char *line)
{
    char *text = line + (line[0] != '\0');
    switch (line[0]) {
    case 'i':
        return shardy__record_int(strtoll(text, NULL, 10));
    case 'r': {
        record_value v = shardy__record_null();
        v.type = RECORD_REAL;
        v.real = strtod(text, NULL);
        return v;
    }
    case 'b':
        return shardy__record_blob(text, strlen(text));
    case 'n':
    case '\0':
        return shardy__record_null();
    default:
        return shardy__record_text(text, strlen(text));
    }
}

static void parse_lines(char *text, values *out)
{
    out->count = 0;
    out->objects_from = SIZE_MAX;
    while (text && out->count < VALUES_MAX) {
        char *end = strchr(text, '\n');
        if (end) {
            *end = '\0';
        }
        if (strcmp(text, "o") == 0 && out->objects_from == SIZE_MAX) {
            out->objects_from = out->count;
        } else {
            out->list[out->count++] = parse_value(text);
        }
        text = end ? end + 1 : NULL;
    }
}

static shardy_status write_image(
    void *user, uint64_t offset, const void *data, size_t len, shardy_error *err)
{
    bytebuf *image = user;
    shardy__bytebuf_write(image, offset, data, len);
    return shardy__bytebuf_check(image, "fuzz", err);
}

static void put_rows(btree_writer *w, values *v)
{
    shardy_error err;
    size_t at = BUILD_COLUMNS;
    size_t end = v->objects_from < v->count ? v->objects_from : v->count;
    if (v->count >= BUILD_COLUMNS) {
        (void)shardy__btree_put_row(w, 0, 1, v->list, BUILD_COLUMNS, &err);
    }
    for (int64_t rowid = 1; at + SHARD_COLUMNS <= end; rowid++, at += SHARD_COLUMNS) {
        (void)shardy__btree_put_row(w, 1, rowid, v->list + at, SHARD_COLUMNS, &err);
    }
    at = v->objects_from;
    for (int64_t rowid = 1; at < v->count && at + OBJECT_COLUMNS <= v->count; rowid++) {
        (void)shardy__btree_put_row(w, 2, rowid, v->list + at, OBJECT_COLUMNS, &err);
        at += OBJECT_COLUMNS;
    }
}

static int image_of_lines(char *text, bytebuf *image)
{
    static values v;
    static const btree_object objects[] = {
        {BTREE_OBJECT_TABLE, "build_meta", NULL,
            "CREATE TABLE build_meta (run_id, created_at, num_dbs, s3_prefix, key_col, sharding, "
            "db_path_template, shard_prefix, format_version, key_encoding, custom)",
            0},
        {BTREE_OBJECT_TABLE, "shards", NULL,
            "CREATE TABLE shards (db_id, db_url, attempt, row_count, db_bytes, min_key, max_key, "
            "checkpoint_id, writer_info)",
            0},
        {BTREE_OBJECT_TABLE, "shardy_objects", NULL,
            "CREATE TABLE shardy_objects (path, size, chunk_bytes, sha256)", 0},
    };
    btree_writer_options options;
    btree_writer *w = NULL;
    btree_file_stats stats;
    parse_lines(text, &v);
    shardy__btree_writer_options_init(&options);
    options.digests = 0;
    options.sink.write = write_image;
    options.sink.user = image;
    options.objects = objects;
    options.object_count = v.objects_from == SIZE_MAX ? 2 : 3;
    shardy_status st = shardy__btree_writer_open(&options, &w, NULL);
    if (st >= 0) {
        put_rows(w, &v);
        st = shardy__btree_writer_finish(w, &stats, NULL);
    }
    shardy__btree_writer_close(w);
    return st >= 0;
}

/* --- properties ------------------------------------------------------------------------------- */

static void check_same_bound(int32_t a_has, const shardy_key *a, int32_t b_has, const shardy_key *b)
{
    require(a_has == b_has, "a bound stays");
    if (a_has) {
        require(a->type == b->type && shardy_key_compare(a, b) == 0, "a bound stays itself");
    }
}

static void check_same_shard(const manifest_shard *a, const manifest_shard *b)
{
    require(a->db_id == b->db_id && a->attempt == b->attempt, "a shard stays");
    require(a->row_count == b->row_count && a->db_bytes == b->db_bytes, "its size stays");
    require(a->duration_ms == b->duration_ms, "its duration stays");
    require(same_text(a->db_url, b->db_url), "its URL stays");
    require(same_text(a->checkpoint_id, b->checkpoint_id), "its checkpoint stays");
    check_same_bound(a->has_min_key, &a->min_key, b->has_min_key, &b->min_key);
    check_same_bound(a->has_max_key, &a->max_key, b->has_max_key, &b->max_key);
}

static void check_same(const manifest *a, const manifest *b)
{
    require(same_text(a->run_id, b->run_id), "the run stays");
    require(same_text(a->created_at, b->created_at), "the time stays");
    require(a->created_us == b->created_us, "the time stays itself");
    require(same_text(a->s3_prefix, b->s3_prefix), "the prefix stays");
    require(same_text(a->key_col, b->key_col), "the key column stays");
    require(same_text(a->db_path_template, b->db_path_template), "the template stays");
    require(same_text(a->shard_prefix, b->shard_prefix), "the prefix of shards stays");
    require(same_text(a->cel_expr, b->cel_expr), "the expression stays");
    require(same_text(a->sharding, b->sharding), "the sharding stays");
    require(same_text(a->custom, b->custom), "custom fields stay");
    require(a->num_dbs == b->num_dbs && a->strategy == b->strategy, "the routing stays");
    require(a->key_encoding == b->key_encoding, "the encoding stays");
    require(a->shard_count == b->shard_count, "the shards stay");
    for (uint32_t i = 0; i < a->shard_count; i++) {
        check_same_shard(&a->shards[i], &b->shards[i]);
    }
    require(a->object_count == b->object_count, "the objects stay");
    for (size_t i = 0; i < a->object_count; i++) {
        require(same_text(a->objects[i].path, b->objects[i].path), "an object stays");
        require(a->objects[i].size == b->objects[i].size, "its size stays");
        require(same_bytes(a->objects[i].sha256, SHARDY_SHA256_LEN, b->objects[i].sha256,
                    SHARDY_SHA256_LEN),
            "its digest stays");
    }
}

static void check_path(const char *path)
{
    char wrapped[SHARDY_OBJECT_KEY_LEN_MAX + 3];
    require(shardy__key_problem(path, strlen(path)) == NULL, "a path is a key");
    snprintf(wrapped, sizeof wrapped, "/%s/", path);
    require(!strstr(wrapped, "/../") && !strstr(wrapped, "/./") && !strstr(wrapped, "//"),
        "a path stays below its root");
}

static void check_model(const manifest *m)
{
    require(m->num_dbs >= 1 && m->shard_count <= m->num_dbs, "the counts fit");
    for (uint32_t i = 0; i < m->shard_count; i++) {
        char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
        const manifest_shard *s = &m->shards[i];
        require(s->db_id < m->num_dbs, "a shard is one of the shards");
        require(i == 0 || m->shards[i - 1].db_id < s->db_id, "shards are in order");
        require(shardy__manifest_shard(m, s->db_id) == s, "a shard is found");
        if (s->db_url && shardy__manifest_shard_path(m, s, path, NULL) == SHARDY_OK) {
            check_path(path);
        }
    }
    for (size_t i = 0; i < m->object_count; i++) {
        check_path(m->objects[i].path);
        require(
            shardy__manifest_object(m, m->objects[i].path) == &m->objects[i], "an object is found");
    }
}

/* Custom fields as a build takes them from its user, and as it writes them. */
static void check_custom(const char *user)
{
    manifest_custom ours;
    manifest_custom again;
    bytebuf text;
    shardy_buf canonical = {0};
    shardy_status st = shardy__custom_check_user(user, NULL);
    require(st == SHARDY_OK || st == SHARDY_INVALID, "custom fields may be used or not");
    if (st < 0) {
        return;
    }
    memset(&ours, 0, sizeof ours);
    ours.has_vector = (int32_t)(strlen(user) & 1);
    ours.unified = ours.has_vector;
    ours.dim = ours.has_vector ? 3 : 0;
    ours.metric = SHARDY_VECTOR_METRIC_L2;
    snprintf(ours.backend, sizeof ours.backend, "sqlite-vec");
    snprintf(ours.kv_backend, sizeof ours.kv_backend, "sqlite-vec");
    snprintf(ours.engine, sizeof ours.engine, "sqlite-vec");
    shardy__bytebuf_init(&text, 64u << 20);
    require(shardy__custom_render(user, &ours, &text, NULL) == SHARDY_OK, "they are written");
    st = shardy__custom_parse(shardy__bytes(text.data, text.len), &again, &canonical, NULL);
    require(st == SHARDY_OK, "and read");
    require(same_text(ours.engine, again.engine), "with its engine");
    require(ours.has_vector == again.has_vector && ours.unified == again.unified &&
                ours.dim == again.dim,
        "with its vectors");
    require(!ours.has_vector ||
                (ours.metric == again.metric && same_text(ours.backend, again.backend) &&
                    same_text(ours.kv_backend, again.kv_backend)),
        "with their metric and backends");
    shardy__bytebuf_free(&text);
    shardy_buf_release(&canonical);
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    manifest *m = NULL;
    shardy_buf image = {0};
    shardy_status st = shardy__manifest_parse(shardy__bytes(data, size), &m, err);
    if (st >= 0) {
        bytebuf text;
        manifest_custom ours = m->parsed;
        shardy__bytebuf_init(&text, 64u << 20);
        st = shardy__manifest_check_urls(m, err);
        st = st >= 0 ? shardy__custom_check_user(m->custom, err) : st;
        st = st >= 0 ? shardy__custom_render(m->custom, &ours, &text, err) : st;
        shardy__bytebuf_free(&text);
        st = st >= 0 ? shardy__manifest_render(m, &image, err) : st;
    }
    shardy_buf_release(&image);
    shardy__manifest_free(m);
    return st;
}

static void check_image(shardy_bytes image)
{
    manifest *m = NULL;
    manifest *again = NULL;
    shardy_error err;
    memset(&err, 0, sizeof err);
    run_with_fault(image.data, image.len, run);
    shardy_status st = shardy__manifest_parse(image, &m, &err);
    require(st == SHARDY_OK || st == SHARDY_CORRUPT || st == SHARDY_FORMAT_VERSION,
        "parsing has three outcomes");
    require((st == SHARDY_OK) == (err.message[0] == '\0'), "a refusal has a message");
    require((st == SHARDY_OK) == (m != NULL), "a refusal gives nothing");
    if (st < 0) {
        return;
    }
    check_model(m);
    check_custom(m->custom);
    shardy_buf first;
    shardy_buf second;
    st = shardy__manifest_render(m, &first, &err);
    require(st == SHARDY_OK, "what was read can be written");
    st = shardy__manifest_parse(shardy__bytes(first.data, first.len), &again, &err);
    require(st == SHARDY_OK, "what was written can be read");
    check_same(m, again);
    st = shardy__manifest_render(again, &second, &err);
    require(st == SHARDY_OK && same_bytes(first.data, first.len, second.data, second.len),
        "the same gives the same image");
    shardy_buf_release(&first);
    shardy_buf_release(&second);
    shardy__manifest_free(m);
    shardy__manifest_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 16 && memcmp(data, "SQLite format 3", 16) == 0) {
        check_image(shardy__bytes(data, size));
        return 0;
    }
    char *text = copy_text(data, size);
    bytebuf image;
    shardy__bytebuf_init(&image, 64u << 20);
    if (image_of_lines(text, &image)) {
        check_image(shardy__bytes(image.data, image.len));
    }
    shardy__bytebuf_free(&image);
    free(text);
    return 0;
}
