/* verify.c: reading every byte of a snapshot and comparing it with what was promised, from the
 * pointer down. */
#include "../base/alloc.h"
#include "../base/arena.h"
#include "../base/bytebuf.h"
#include "../base/fs.h"
#include "../catalog/catalog.h"
#include "../engine/engine.h"
#include "../read/engine_name.h"
#include "../route/router.h"

#include <shardyfusion/admin.h>
#include <shardyfusion/reader.h>

#include <stdio.h>
#include <string.h>

/* Objects are read in pieces of this size: sixteen chunks. */
#define READ_LEN (16u * SHARDY_CHUNK_LEN)

typedef struct verifier {
    shardy_context *context;
    const shardy_verify_options *options;
    catalog catalog;
    arena *arena; /* of the result */
    shardy_damage *damaged;
    size_t damaged_room;
    shardy_verify_result *result;
    uint64_t bytes_total;
    uint8_t *buf;
    const char *manifest_path; /* in the arena, or static */
} verifier;

void shardy_verify_options_init(shardy_verify_options *options, size_t struct_size)
{
    shardy_verify_options defaults;
    memset(&defaults, 0, sizeof defaults);
    shardy_admin_options_init(&defaults.admin, sizeof defaults.admin);
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

void shardy_verify_result_dispose(shardy_verify_result *result)
{
    if (result) {
        if (result->owner) {
            shardy__arena_free(result->owner);
            shardy__free(result->owner);
        }
        memset(result, 0, sizeof *result);
    }
}

/* Notes damage. The message of an error without its final context serves as reason. */
static shardy_status add_damage(
    verifier *v, const char *path, uint64_t offset, const char *reason, shardy_error *err)
{
    if (v->result->damaged_count == v->damaged_room) {
        size_t room = v->damaged_room ? v->damaged_room * 2 : 16;
        shardy_damage *bigger = shardy__arena_calloc(v->arena, room, sizeof *bigger);
        if (!bigger) {
            return shardy__error_nomem(err, "verify");
        }
        if (v->result->damaged_count) {
            memcpy(bigger, v->damaged, v->result->damaged_count * sizeof *bigger);
        }
        v->damaged = bigger;
        v->damaged_room = room;
    }
    shardy_damage *d = &v->damaged[v->result->damaged_count];
    d->path = shardy__arena_strdup(v->arena, path);
    d->offset = offset;
    d->reason = shardy__arena_strdup(v->arena, reason);
    if (!d->path || !d->reason) {
        return shardy__error_nomem(err, "verify");
    }
    v->result->damaged_count++;
    v->result->damaged = v->damaged;
    return SHARDY_OK;
}

/* Failures that are about the data: they become damage. Everything else stays a failure. */
static int is_damage(shardy_status st)
{
    /* INVALID: what the data name cannot be, such as an object that is a symbolic link. */
    return st == SHARDY_CORRUPT || st == SHARDY_CHECKSUM || st == SHARDY_FORMAT_VERSION ||
           st == SHARDY_GONE || st == SHARDY_INVALID;
}

static shardy_status note(
    verifier *v, const char *path, shardy_status st, const shardy_error *error, shardy_error *err)
{
    if (is_damage(st)) {
        return add_damage(v, path, 0, error->message, err);
    }
    if (err) {
        *err = *error;
    }
    return st;
}

static shardy_status tell(verifier *v, shardy_error *err)
{
    SHARDY_TRY(shardy__check_time(v->context, 0, v->options->admin.cancel, "verify", err));
    if (v->options->progress &&
        v->options->progress(v->options->progress_user, v->result->bytes, v->bytes_total) != 0) {
        return shardy__error(err, SHARDY_CANCELLED, "verify", "the verification was cancelled");
    }
    return SHARDY_OK;
}

/* --- one object ------------------------------------------------------------------------------- */

/* The list of chunk digests beside an object; OK with *sums NULL when there is none. A list that
 * has not the digest of the object is damage of its own: then only the whole object can be
 * judged. */
static shardy_status load_sums(verifier *v, const manifest_object *object, shardy_buf *sums,
    int32_t *usable_out, shardy_error *err)
{
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 8];
    uint64_t chunks = shardy__chunk_count(object->size);
    *usable_out = 0;
    memset(sums, 0, sizeof *sums);
    if (chunks < 2) {
        return SHARDY_OK;
    }
    snprintf(key, sizeof key, "%s.sums", object->path);
    /* One byte more than it may have, to see that there is more. */
    shardy_error error;
    shardy_status st = shardy_store_get(
        v->catalog.store, key, 0, chunks * SHARDY_SHA256_LEN + 1, sums, NULL, &error);
    if (st == SHARDY_NOT_FOUND) {
        return SHARDY_OK;
    }
    if (st < 0) {
        return note(v, key, st, &error, err);
    }
    sha256 digest;
    v->result->objects++;
    v->result->bytes += sums->len;
    SHARDY_TRY(shardy__sha256(sums->data, sums->len, &digest, err));
    if (sums->len != chunks * SHARDY_SHA256_LEN ||
        memcmp(digest.bytes, object->digest.bytes, SHARDY_SHA256_LEN) != 0) {
        return add_damage(
            v, key, 0, "the list of chunk digests has not the digest of its object", err);
    }
    *usable_out = 1;
    return SHARDY_OK;
}

/* Compares one piece with its chunk digests; the first that differs is noted. */
static shardy_status check_piece(verifier *v, const manifest_object *object, const sha256 *sums,
    uint64_t offset, size_t len, int32_t *damaged, shardy_error *err)
{
    for (size_t at = 0; at < len; at += SHARDY_CHUNK_LEN) {
        size_t n = len - at < SHARDY_CHUNK_LEN ? len - at : SHARDY_CHUNK_LEN;
        sha256 digest;
        SHARDY_TRY(shardy__sha256(v->buf + at, n, &digest, err));
        uint64_t chunk = (offset + at) >> SHARDY_CHUNK_SHIFT;
        if (!*damaged && memcmp(digest.bytes, sums[chunk].bytes, SHARDY_SHA256_LEN) != 0) {
            *damaged = 1;
            SHARDY_TRY(add_damage(v, object->path, offset + at,
                "a chunk differs from the digest it was published with", err));
        }
        shardy__count(v->context, SHARDY_METRIC_CHUNKS_VERIFIED, 1);
    }
    return SHARDY_OK;
}

static shardy_status read_object(
    verifier *v, const manifest_object *object, const sha256 *sums, shardy_error *err)
{
    chunk_digest whole;
    shardy__chunk_digest_init(&whole);
    int32_t damaged = 0;
    shardy_status st = SHARDY_OK;
    for (uint64_t offset = 0; st >= 0 && offset < object->size;) {
        shardy_store_read read;
        memset(&read, 0, sizeof read);
        uint64_t left = object->size - offset;
        read.key = shardy__bytes(object->path, strlen(object->path));
        read.offset = offset;
        read.len = left < READ_LEN ? left : READ_LEN;
        read.dest = v->buf;
        read.cancel = v->options->admin.cancel;
        shardy_store_read_all(v->catalog.store, &read, 1);
        if (read.status < 0) {
            if (err) {
                *err = read.error;
            }
            st = read.status;
            break;
        }
        if (read.status != SHARDY_OK || read.received != read.len) {
            st = add_damage(v, object->path, offset + read.received,
                "the object is shorter than it was published", err);
            damaged = 1;
            break;
        }
        st = sums ? check_piece(v, object, sums, offset, (size_t)read.len, &damaged, err)
                  : shardy__chunk_digest_add(&whole, v->buf, (size_t)read.len, err);
        v->result->bytes += read.len;
        offset += read.len;
        if (st >= 0) {
            st = tell(v, err);
        }
    }
    sha256 digest;
    if (st >= 0 && !sums && !damaged) {
        st = shardy__chunk_digest_finish(&whole, &digest, err);
        if (st >= 0 && memcmp(digest.bytes, object->digest.bytes, SHARDY_SHA256_LEN) != 0) {
            st = add_damage(v, object->path, 0,
                "the object differs from the digest it was published with", err);
        }
    }
    shardy__chunk_digest_free(&whole);
    return st;
}

static shardy_status verify_object(verifier *v, const manifest_object *object, shardy_error *err)
{
    shardy_object_meta meta;
    shardy_error error;
    shardy_status st = shardy_store_head(v->catalog.store, object->path, &meta, &error);
    v->result->objects++;
    if (st < 0) {
        return note(v, object->path, st, &error, err);
    }
    if (st == SHARDY_NOT_FOUND) {
        return add_damage(v, object->path, 0, "the object is missing", err);
    }
    if (meta.size != object->size) {
        char reason[128];
        snprintf(reason, sizeof reason, "the object has %llu bytes, %llu were published",
            (unsigned long long)meta.size, (unsigned long long)object->size);
        uint64_t at = meta.size < object->size ? meta.size : object->size;
        return add_damage(v, object->path, at, reason, err);
    }
    shardy_buf sums;
    int32_t usable;
    SHARDY_TRY(load_sums(v, object, &sums, &usable, err));
    st = read_object(v, object, usable ? (const sha256 *)sums.data : NULL, err);
    shardy_buf_release(&sums);
    return st;
}

/* --- the shards, deep ------------------------------------------------------------------------- */

typedef struct deep_scan {
    router router;
    uint32_t db_id;
    uint64_t rows;
    bytebuf first;
    bytebuf last;
    int32_t has_last;
} deep_scan;

static shardy_status check_row(void *user, const shardy_engine_row *row, shardy_error *err)
{
    deep_scan *scan = user;
    shardy_key key;
    routed_key routed;
    size_t common = scan->last.len < row->key.len ? scan->last.len : row->key.len;
    int order = scan->has_last && common ? memcmp(scan->last.data, row->key.data, common) : 0;
    if (scan->has_last && (order > 0 || (order == 0 && scan->last.len >= row->key.len))) {
        return shardy__error(err, SHARDY_CORRUPT, "verify", "row %llu is not in order",
            (unsigned long long)scan->rows);
    }
    if (!scan->has_last) {
        shardy__bytebuf_append(&scan->first, row->key.data, row->key.len);
        SHARDY_TRY(shardy__bytebuf_check(&scan->first, "verify", err));
    }
    scan->has_last = 1;
    shardy__bytebuf_clear(&scan->last);
    shardy__bytebuf_append(&scan->last, row->key.data, row->key.len);
    SHARDY_TRY(shardy__bytebuf_check(&scan->last, "verify", err));
    if (scan->router.strategy == SHARDY_SHARDING_HASH) {
        SHARDY_TRY(shardy__key_decode(row->key, scan->router.key_encoding, &key, err));
        SHARDY_TRY(shardy__router_route(&scan->router, &key, NULL, 0, &routed, err));
        if (routed.db_id != scan->db_id) {
            char text[SHARDY_KEY_TEXT_SIZE];
            return shardy__error(err, SHARDY_CORRUPT, "verify", "key %s belongs to shard %u",
                shardy__key_text(&key, text), routed.db_id);
        }
    }
    scan->rows++;
    return SHARDY_OK;
}

/* Whether a stored key is the one that the manifest names as a bound; 1 when it names none. */
static int is_bound(const router *r, bytebuf *stored, int32_t has, const shardy_key *bound)
{
    shardy_key key;
    shardy_error ignored;
    if (!has) {
        return 1;
    }
    if (shardy__key_decode(
            shardy__bytes(stored->data, stored->len), r->key_encoding, &key, &ignored) < 0) {
        return 0;
    }
    int is_number = key.type == SHARDY_KEY_INT || key.type == SHARDY_KEY_UINT;
    if (is_number) {
        return key.type == bound->type && key.i == bound->i && key.u == bound->u;
    }
    return key.bytes.len == bound->bytes.len &&
           (key.bytes.len == 0 || memcmp(key.bytes.data, bound->bytes.data, key.bytes.len) == 0);
}

/* The first and the last key must be those that the manifest names: whole pages may be lost without
 * a trace otherwise. */
static shardy_status check_bounds(const manifest_shard *shard, deep_scan *scan, shardy_error *err)
{
    if (scan->rows == 0) {
        return shard->row_count == 0 ? SHARDY_OK
                                     : shardy__error(err, SHARDY_CORRUPT, "verify",
                                           "there are no rows, the manifest says %llu",
                                           (unsigned long long)shard->row_count);
    }
    if (!is_bound(&scan->router, &scan->first, shard->has_min_key, &shard->min_key) ||
        !is_bound(&scan->router, &scan->last, shard->has_max_key, &shard->max_key)) {
        return shardy__error(err, SHARDY_CORRUPT, "verify",
            "the first or the last key is not the one that the manifest names");
    }
    return SHARDY_OK;
}

/* A search touches all vectors; its hits, as many as there may be, are looked up by their ids. */
static shardy_status search_all(const engine_reader *reader, uint32_t dim, shardy_error *err)
{
    if (dim == 0 || dim > SHARDY_DIM_MAX) {
        return shardy__error(err, SHARDY_CORRUPT, "verify", "the dimension is %u", dim);
    }
    float *query = shardy__calloc(dim, sizeof *query);
    if (!query) {
        return shardy__error_nomem(err, "verify");
    }
    query[0] = 1.0f;
    shardy_engine_search request;
    memset(&request, 0, sizeof request);
    request.queries = query;
    request.query_count = 1;
    request.stride = dim;
    request.k = SHARDY_TOP_K_MAX;
    void *op = NULL;
    shardy_status st = shardy__engine_search(reader, &request, &op, err);
    shardy__engine_search_finish(reader, op);
    shardy__free(query);
    return st;
}

static shardy_status scan_shard(verifier *v, const manifest *m, const manifest_shard *shard,
    const shardy_engine_ops *engine, const char *path, shardy_error *err)
{
    shardy_object_digest *digests = shardy__calloc(m->object_count, sizeof *digests);
    if (!digests) {
        return shardy__error_nomem(err, "verify");
    }
    for (size_t i = 0; i < m->object_count; i++) {
        digests[i].path = m->objects[i].path;
        digests[i].size = m->objects[i].size;
        memcpy(digests[i].sha256, m->objects[i].digest.bytes, SHARDY_SHA256_LEN);
    }
    shardy_engine_reader_spec spec;
    memset(&spec, 0, sizeof spec);
    spec.struct_size = sizeof spec;
    spec.context = v->context;
    spec.store = v->catalog.store;
    spec.shard_path = path;
    spec.digests = digests;
    spec.digest_count = m->object_count;
    spec.verified = m->has_objects;
    spec.io = SHARDY_IO_MMAP;
    spec.dim = m->parsed.dim;
    spec.metric = m->parsed.metric;
    engine_reader reader;
    deep_scan scan;
    memset(&scan, 0, sizeof scan);
    scan.router = (router){m->strategy, m->key_encoding, m->num_dbs};
    scan.db_id = shard->db_id;
    shardy__bytebuf_init(&scan.first, SHARDY_KEY_LEN_MAX);
    shardy__bytebuf_init(&scan.last, SHARDY_KEY_LEN_MAX);
    shardy_status st = shardy__engine_reader_open(engine, &spec, &reader, err);
    if (st >= 0) {
        st = shardy__engine_scan(&reader, check_row, &scan, err);
        if (st >= 0) {
            st = check_bounds(shard, &scan, err);
        }
        if (st >= 0 && m->parsed.has_vector) {
            st = search_all(&reader, m->parsed.dim, err);
        }
        shardy__engine_reader_close(&reader);
    }
    /* The reference counts rows that were overwritten. */
    if (st >= 0 &&
        (m->has_objects ? scan.rows != shard->row_count : scan.rows > shard->row_count)) {
        st = shardy__error(err, SHARDY_CORRUPT, "verify",
            "there are %llu rows, the manifest says %llu", (unsigned long long)scan.rows,
            (unsigned long long)shard->row_count);
    }
    shardy__bytebuf_free(&scan.first);
    shardy__bytebuf_free(&scan.last);
    shardy__free(digests);
    return st < 0 ? st : SHARDY_OK;
}

/* Walks the B-trees of all shards whose engine is in this build. */
static shardy_status verify_deep(verifier *v, const manifest *m, shardy_error *err)
{
    const char *name = NULL;
    const shardy_engine_ops *engine;
    shardy_error error;
    shardy__error_clear(&error);
    shardy_status found = shardy__engine_name(v->catalog.store, m, &name, &error);
    if (found >= 0) {
        found = shardy__engine_find(name, &engine, &error);
    }
    if (found < 0) {
        return note(v, v->manifest_path, found, &error, err);
    }
    for (uint32_t i = 0; i < m->shard_count; i++) {
        char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
        if (!m->shards[i].db_url) {
            if (m->shards[i].row_count > 0) {
                /* Readers take it as empty. */
                SHARDY_TRY(add_damage(
                    v, v->manifest_path, 0, "a shard has rows, but no URL where they are", err));
            }
            continue;
        }
        shardy_status st = shardy__manifest_shard_path(m, &m->shards[i], path, &error);
        if (st >= 0) {
            st = scan_shard(v, m, &m->shards[i], engine, path, &error);
        }
        if (st < 0) {
            SHARDY_TRY(note(v, path, st, &error, err));
        }
        SHARDY_TRY(tell(v, err));
    }
    return SHARDY_OK;
}

/* --- the whole -------------------------------------------------------------------------------- */

/* The manifest to verify: damage of pointer or manifest is a result, with *manifest_out NULL. */
static shardy_status load_target(verifier *v, loaded_manifest *loaded, shardy_error *err)
{
    shardy_error error;
    shardy_status st;
    const char *path = v->catalog.pointer_key;
    memset(loaded, 0, sizeof *loaded);
    shardy__error_clear(&error);
    if (v->options->ref) {
        char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
        SHARDY_TRY(shardy__manifest_store_ref(&v->catalog.manifests, v->options->ref, ref, err));
        manifest_promise promise = {0};
        char id[SHARDY_OBJECT_KEY_LEN_MAX + 1];
        (void)shardy__manifest_store_ref_run_id(&v->catalog.manifests, ref, id);
        SHARDY_TRY(shardy__catalog_promise(&v->catalog, id, ref, &promise, err));
        st = shardy__catalog_load(&v->catalog, ref, &promise, NULL, loaded, &error);
        path = v->options->ref;
        if (st == SHARDY_INVALID) {
            if (err) {
                *err = error;
            }
            return st;
        }
        if (st == SHARDY_NOT_FOUND) {
            return shardy__error(
                err, SHARDY_INVALID, "verify", "there is no manifest \"%.300s\"", ref);
        }
    } else {
        pointer p;
        shardy_etag version;
        st = shardy__catalog_load_current(&v->catalog, &p, &version, loaded, &error);
        if (st == SHARDY_NOT_FOUND) {
            return shardy__error(err, SHARDY_INVALID, "verify",
                "there is no pointer \"%s\" in \"%.300s\": nothing was published there",
                v->catalog.pointer_key, v->catalog.url);
        }
        v->result->objects++;
        if (p.stranger[0] && !p.has_ours) {
            char reason[200];
            snprintf(reason, sizeof reason,
                "\"%s\" is no member that a pointer has: its own may have been lost", p.stranger);
            SHARDY_TRY(add_damage(v, v->catalog.pointer_key, 0, reason, err));
        }
        if (p.manifest_ref[0]) {
            path = shardy__arena_strdup(v->arena, p.manifest_ref);
            if (!path) {
                return shardy__error_nomem(err, "verify");
            }
            char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
            shardy_error ignored;
            v->result->manifest_ref = path;
            if (shardy__manifest_store_ref(&v->catalog.manifests, path, ref, &ignored) >= 0) {
                path = shardy__arena_strdup(v->arena, ref);
            }
        }
    }
    v->result->objects++;
    v->result->bytes += loaded->size;
    v->manifest_path = path ? path : "manifest";
    return st < 0 ? note(v, v->manifest_path, st, &error, err) : SHARDY_OK;
}

static shardy_status verify_snapshot(verifier *v, shardy_error *err)
{
    loaded_manifest loaded;
    shardy_status st = load_target(v, &loaded, err);
    manifest *m = loaded.manifest;
    if (st < 0 || !m) {
        shardy__manifest_free(m);
        return st;
    }
    for (size_t i = 0; i < m->object_count; i++) {
        v->bytes_total += m->objects[i].size;
    }
    if (!v->result->manifest_ref) {
        v->result->manifest_ref = shardy__arena_strdup(v->arena, loaded.ref);
        st = v->result->manifest_ref ? SHARDY_OK : shardy__error_nomem(err, "verify");
    }
    for (size_t i = 0; st >= 0 && i < m->object_count; i++) {
        st = verify_object(v, &m->objects[i], err);
    }
    if (st >= 0 && (v->options->deep || !m->has_objects)) {
        st = verify_deep(v, m, err);
        if (st == SHARDY_UNSUPPORTED && !v->options->deep) {
            /* an engine that is not in this build: nothing can be said about its shards */
            st = SHARDY_OK;
        }
    }
    v->result->status = v->result->damaged_count            ? SHARDY_VERIFY_DAMAGED
                        : loaded.verified && m->has_objects ? SHARDY_VERIFY_OK
                                                            : SHARDY_VERIFY_UNVERIFIED;
    shardy__manifest_free(m);
    return st;
}

static shardy_status run(verifier *v, const char *url, shardy_error *err)
{
    const shardy_admin_options *admin = &v->options->admin;
    catalog_options o = {
        0, 1, 1, admin->store, admin->manifest_store, admin->timeout_ms, admin->cancel};
    SHARDY_TRY(shardy__catalog_open(v->context, url, &o, &v->catalog, err));
    shardy_status st = verify_snapshot(v, err);
    if (v->result->damaged_count) {
        v->result->status = SHARDY_VERIFY_DAMAGED;
    }
    shardy__catalog_close(&v->catalog);
    return st;
}

shardy_status shardy_verify(shardy_context *context, const char *url,
    const shardy_verify_options *options, shardy_verify_result *result_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(result_out);
    memset(result_out, 0, sizeof *result_out);
    shardy_verify_options o;
    shardy_verify_options_init(&o, sizeof o);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&o, options, err));
    SHARDY_CHECK_ARG(url || o.admin.store);
    verifier v;
    memset(&v, 0, sizeof v);
    v.options = &o;
    v.result = result_out;
    SHARDY_TRY(shardy__context_hold(context, &v.context, err));
    v.arena = shardy__calloc(1, sizeof *v.arena);
    v.buf = shardy__malloc(READ_LEN);
    result_out->owner = v.arena;
    shardy_status st = v.arena && v.buf ? run(&v, url, err) : shardy__error_nomem(err, "verify");
    shardy__free(v.buf);
    shardy__context_drop(v.context);
    if (st < 0) {
        shardy_verify_result_dispose(result_out);
    }
    return st < 0 ? st : SHARDY_OK;
}
