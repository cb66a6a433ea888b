#include "catalog.h"

#include "../base/uri.h"
#include "../store/store_ahead.h"
#include "../store/store_bound.h"
#include "../store/store_single.h"
#ifdef SHARDY_HAVE_POSTGRES
#include "postgres.h"
#endif

#include <stdio.h>
#include <string.h>

/* How often others may publish and clean up while the current manifest is loaded. */
#define MOVES_MAX 3u

/* Splits a URL into root and pointer key: ".../name" with a name that begins with '_' is the
 * pointer, everything else, and anything with a trailing slash, the root. */
static shardy_status split_url(const char *url, catalog *out, shardy_error *err)
{
    uri u;
    SHARDY_TRY(shardy__uri_parse(url, &u, err));
    snprintf(out->pointer_key, sizeof out->pointer_key, "%s", POINTER_KEY);
    const char *path = u.path.data;
    size_t end = u.path.len;
    size_t at = end;
    while (at > 0 && path[at - 1] != '/') {
        at--;
    }
    if (end == at || path[at] != '_' || path[end] != '\0' || end - at >= sizeof out->pointer_key) {
        return shardy__uri_normalize(url, out->url, err);
    }
    snprintf(out->pointer_key, sizeof out->pointer_key, "%s", path + at);
    if (u.kind == URI_PATH && at == 0) {
        return shardy__uri_normalize(".", out->url, err);
    }
    char root[SHARDY_URL_LEN_MAX + 1];
    snprintf(root, sizeof root, "%.*s", (int)(path + at - url), url);
    return shardy__uri_normalize(root, out->url, err);
}

/* Where a build is to make a pointer that is called otherwise, a directory is meant: as a pointer
 * it would share a place with others, and be found by nobody who looks for pointers. */
static shardy_status check_new_pointer(const catalog *c, const char *url, shardy_error *err)
{
    if (strncmp(c->pointer_key, POINTER_KEY, strlen(POINTER_KEY)) == 0) {
        return SHARDY_OK;
    }
    return shardy__error(err, SHARDY_INVALID, "url",
        "\"%s\" would be a pointer in \"%.200s\": pointers are called " POINTER_KEY
        " or " POINTER_KEY "...; for a directory of that name write \"%.200s/\"",
        c->pointer_key, c->url, url);
}

shardy_status shardy__catalog_no_pointer(const catalog *c, const char *domain, shardy_error *err)
{
    char key[sizeof c->pointer_key + sizeof "/" POINTER_KEY];
    char url[SHARDY_URL_LEN_MAX + 1];
    shardy_object_meta meta;
    shardy_error ignored;
    snprintf(key, sizeof key, "%s/" POINTER_KEY, c->pointer_key);
    if (strncmp(c->pointer_key, POINTER_KEY, strlen(POINTER_KEY)) != 0 &&
        c->pointer_key[0] == '_' &&
        shardy_store_head(c->store, key, &meta, &ignored) == SHARDY_OK &&
        shardy__uri_join(c->url, c->pointer_key, url, &ignored) >= 0) {
        return shardy__error(err, SHARDY_INVALID, domain,
            "there is no pointer (%s) in \"%.300s\"; for the directory of that name write "
            "\"%.300s/\"",
            c->pointer_key, c->url, url);
    }
    return shardy__error(err, SHARDY_INVALID, domain,
        "there is no pointer (%s) in \"%.300s\": nothing was published there", c->pointer_key,
        c->url);
}

#ifdef SHARDY_HAVE_POSTGRES
static shardy_status open_postgres(const catalog_options *options,
    const shardy_manifest_store_options *manifests, catalog *out, shardy_error *err)
{
    postgres_options connection = {0};
    connection.dsn = manifests->dsn;
    connection.timeout_ms = options->timeout_ms;
    connection.cancel = options->cancel;
    SHARDY_TRY(shardy__manifest_store_open_postgres(
        out->context, manifests, &connection, &out->manifests, err));
    /* for messages */
    snprintf(out->pointer_key, sizeof out->pointer_key, "table %s", manifests->pointer_table_name);
    snprintf(
        out->manifests_key, sizeof out->manifests_key, "table %s_builds", manifests->table_name);
    return SHARDY_OK;
}
#endif

static shardy_status open_manifests(const catalog_options *options, catalog *out, shardy_error *err)
{
    shardy_manifest_store_options manifests;
    shardy_manifest_store_options_init(&manifests, sizeof manifests);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&manifests, options->manifests, err));
    switch (manifests.kind) {
    case SHARDY_MANIFEST_OBJECTS:
        snprintf(out->manifests_key, sizeof out->manifests_key, MANIFEST_DIR);
        return shardy__manifest_store_open_object(
            out->store, out->pointer_key, options->sync, &out->manifests, err);
    case SHARDY_MANIFEST_POSTGRES:
#ifdef SHARDY_HAVE_POSTGRES
        return open_postgres(options, &manifests, out, err);
#else
        return shardy__error(err, SHARDY_UNSUPPORTED, "manifest",
            "this build has no manifest store \"postgres\" (SHARDY_WITH_POSTGRES was off)");
#endif
    default:
        return shardy__error(err, SHARDY_INVALID, "manifest",
            "the kind of the manifest store is %d, expected 0 (objects) or 1 (postgres)",
            manifests.kind);
    }
}

/* `around` takes the place of the store of the catalog, and closes it if it is ours. */
static void put_around(catalog *c, shardy_store *around)
{
    if (!c->store_borrowed) {
        shardy__store_own_inner(around);
    }
    c->store = around;
    c->store_borrowed = 0;
}

static shardy_status wrap_store(const catalog_options *options, catalog *c, shardy_error *err)
{
    shardy_store *around = NULL;
    if (options->single_writer) {
        SHARDY_TRY(shardy__store_wrap_single(c->store, &around, err));
        put_around(c, around);
    }
    if (options->ahead && !(shardy_store_caps(c->store) & SHARDY_STORE_CAP_OPEN_LOCAL)) {
        SHARDY_TRY(shardy__store_wrap_ahead(c->context, c->store, &around, err));
        put_around(c, around);
    }
    c->shards = c->store;
    if (options->bound) {
        uint32_t call_ms = options->bound == CATALOG_IN_TIME ? options->timeout_ms : 0;
        SHARDY_TRY(shardy__store_wrap_bound(c->context, c->store, call_ms, &around, err));
        put_around(c, around);
        shardy__catalog_limit(c, 0, options->cancel);
    }
    return SHARDY_OK;
}

void shardy__catalog_limit(catalog *c, int64_t deadline_ns, const shardy_cancel *cancel)
{
    const shardy_store_limits limits = {deadline_ns, cancel};
    c->limits = limits;
    shardy__store_bound_set(c->store, limits);
    if (c->manifests.limit) {
        c->manifests.limit(c->manifests.state, limits);
    }
}

catalog shardy__catalog_after(const catalog *c)
{
    catalog after = *c;
    after.store = shardy__store_bound_after(c->store);
    after.manifests = shardy__manifest_store_after(&c->manifests);
    return after;
}

shardy_status shardy__catalog_open(shardy_context *context, const char *url,
    const catalog_options *options, catalog *out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    SHARDY_CHECK_ARG(url || options->store);
    out->context = context;
    out->trusted = options->single_writer;
    SHARDY_TRY(split_url(url ? url : ".", out, err));
    if (options->create) {
        SHARDY_TRY(check_new_pointer(out, url ? url : ".", err));
    }
    shardy_status st = SHARDY_OK;
    if (options->store) {
        out->store = options->store;
        out->store_borrowed = 1;
    } else {
        store_url_options store_options = {
            options->create, options->sync, options->allow_network_fs};
        st = shardy__store_open_url(context, out->url, &store_options, &out->store, err);
        if (st == SHARDY_NOT_FOUND) {
            st = shardy__error(
                err, SHARDY_INVALID, "url", "there is no directory \"%.300s\"", out->url);
        }
    }
    if (st >= 0) {
        st = wrap_store(options, out, err);
    }
    if (st >= 0) {
        st = open_manifests(options, out, err);
    }
    if (st < 0) {
        shardy__catalog_close(out);
        return st;
    }
    return SHARDY_OK;
}

void shardy__catalog_close(catalog *c)
{
    shardy__manifest_store_close(&c->manifests);
    if (!c->store_borrowed) {
        shardy_store_close(c->store);
    }
    memset(c, 0, sizeof *c);
}

static shardy_status check_image(const char *ref, const manifest_promise *promise,
    shardy_bytes image, loaded_manifest *out, shardy_error *err)
{
    SHARDY_TRY(shardy__object_digest(image.data, image.len, &out->digest, err));
    out->size = image.len;
    if (!promise || !promise->has_digest) {
        return SHARDY_OK;
    }
    out->verified = 1;
    if (image.len != promise->size) {
        return shardy__error(err, SHARDY_CHECKSUM, "manifest",
            "\"%.300s\" has %zu bytes, %llu were published", ref, image.len,
            (unsigned long long)promise->size);
    }
    if (memcmp(out->digest.bytes, promise->digest.bytes, SHARDY_SHA256_LEN) != 0) {
        return shardy__error(err, SHARDY_CHECKSUM, "manifest",
            "\"%.300s\" differs from the digest it was published with", ref);
    }
    return SHARDY_OK;
}

/* A full name must be that of the ref below the prefix which the manifest records: it would be
 * another snapshot's otherwise. */
static shardy_status check_name(
    const manifest *m, const char *ref, const char *named_as, shardy_error *err)
{
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    if (!named_as || strcmp(named_as, ref) == 0) {
        return SHARDY_OK;
    }
    shardy_status st = shardy__uri_strip(m->s3_prefix, named_as, key, err);
    if (st < 0) {
        return shardy__error_prefix(err, st, "it was named by another prefix than it records");
    }
    return strcmp(key, ref) == 0
               ? SHARDY_OK
               : shardy__error(err, SHARDY_INVALID, "manifest",
                     "it was named \"%.300s\", the prefix that it records is \"%.300s\"", named_as,
                     m->s3_prefix);
}

shardy_status shardy__catalog_find_shard(const catalog *c, const manifest *m,
    const manifest_shard *shard, int32_t *found_out, shardy_error *err)
{
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 2];
    shardy_store_page page = {0};
    *found_out = 0;
    SHARDY_TRY(shardy__manifest_shard_path(m, shard, path, err));
    const size_t len = strlen(path);
    path[len] = '/';
    path[len + 1] = '\0';
    SHARDY_TRY(shardy_store_list(c->store, path, 0, NULL, 1, &page, err));
    *found_out = page.count > 0;
    shardy_store_page_dispose(&page);
    return SHARDY_OK;
}

/* The same of the first shard with rows. 1 also when there is no such shard: then nothing can be
 * looked for in the wrong place. */
static shardy_status find_shard(
    const catalog *c, const manifest *m, int32_t *found_out, shardy_error *err)
{
    uint32_t i = 0;
    *found_out = 1;
    while (i < m->shard_count && !m->shards[i].db_url) {
        i++;
    }
    return i == m->shard_count ? SHARDY_OK
                               : shardy__catalog_find_shard(c, m, &m->shards[i], found_out, err);
}

/* A manifest that is an object is where its shards are. Nothing but the prefix that it records
 * binds one in a database to them: it may be of another place, by a wrong destination of a build or
 * by a configuration. Where they are is seen by looking, because the same place has many names:
 * copies, mounts, URLs with and without a slash. */
static shardy_status check_place(
    const catalog *c, const char *ref, const manifest *m, shardy_error *err)
{
    char prefix[SHARDY_URL_LEN_MAX + 1];
    shardy_error ignored;
    shardy_buf image;
    int32_t found;
    if (!c->manifests.ops->refs_are_run_ids ||
        (shardy__uri_normalize(m->s3_prefix, prefix, &ignored) >= 0 &&
            strcmp(prefix, c->url) == 0)) {
        return SHARDY_OK;
    }
    SHARDY_TRY(find_shard(c, m, &found, err));
    if (found) {
        return SHARDY_OK;
    }
    /* a cleanup takes the manifest before the shards */
    shardy_status st = shardy__manifest_store_load(&c->manifests, ref, &image, err);
    shardy_buf_release(&image);
    return st != SHARDY_OK ? st
                           : shardy__error(err, SHARDY_CONFIG, "manifest",
                                 "its shards are below \"%.300s\", and not here, in \"%.300s\"",
                                 m->s3_prefix, c->url);
}

shardy_status shardy__catalog_load(const catalog *c, const char *ref,
    const manifest_promise *promise, const char *named_as, loaded_manifest *out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    shardy_buf image = {0};
    shardy_status st = shardy__manifest_store_load(&c->manifests, ref, &image, err);
    if (st != SHARDY_OK) {
        return st;
    }
    snprintf(out->ref, sizeof out->ref, "%s", ref);
    shardy_bytes bytes = shardy__bytes(image.data, image.len);
    st = check_image(ref, promise, bytes, out, err);
    if (st >= 0) {
        st = shardy__manifest_parse(bytes, &out->manifest, err);
    }
    if (st >= 0) {
        st = check_name(out->manifest, ref, named_as, err);
    }
    if (st >= 0) {
        st = shardy__manifest_check_urls(out->manifest, err);
    }
    shardy_buf_release(&image);
    if (st >= 0) {
        st = check_place(c, ref, out->manifest, err);
    }
    if (st != SHARDY_OK) {
        shardy__manifest_free(out->manifest);
        out->manifest = NULL;
    }
    return st < 0 ? shardy__error_prefix(err, st, "%.300s", ref) : st;
}

shardy_status shardy__catalog_promise(
    const catalog *c, const char *run_id, const char *ref, manifest_promise *out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    fate f;
    if (strlen(run_id) > SHARDY_RUN_ID_LEN_MAX) {
        return SHARDY_OK; /* not a run of ours */
    }
    shardy_status st = shardy__fate_load(c->store, run_id, &f, err);
    SHARDY_TRY(st);
    if (st == SHARDY_OK && f.has_manifest && strcmp(f.manifest_ref, ref) == 0) {
        out->has_digest = 1;
        out->digest = f.manifest_digest;
        out->size = f.manifest_size;
    }
    return SHARDY_OK;
}

/* Longer sidecars are not read ahead: those of a shard of some GB. */
#define AHEAD_SIDECAR_MAX (16u << 20)
#define AHEAD_SHARD_MAX   (UINT64_C(1) << 40)

/* The manifest and the index of the shard that is wanted first, in one round trip. */
static void read_ahead(const catalog *c, const pointer *p, const char *ref)
{
    const pointer_hint *hint = &p->hint;
    char shard[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    char sidecar[SHARDY_OBJECT_KEY_LEN_MAX + 32];
    char sums[SHARDY_OBJECT_KEY_LEN_MAX + 32];
    if (!p->has_ours || !shardy__hint_shard(hint, c->ahead->key, shard) ||
        p->manifest_size > MANIFEST_BEGIN_LEN ||
        (hint->shard_bytes < c->ahead->shard_bytes && hint->total_bytes < c->ahead->total_bytes)) {
        return;
    }
    snprintf(sidecar, sizeof sidecar, "%s/shard.sidecar", shard);
    snprintf(sums, sizeof sums, "%s/shard.db.sums", shard);
    uint64_t chunks = shardy__chunk_count(
        hint->shard_bytes < AHEAD_SHARD_MAX ? hint->shard_bytes : AHEAD_SHARD_MAX);
    const ahead_want wants[3] = {{ref, p->manifest_size + 1}, {sidecar, AHEAD_SIDECAR_MAX},
        {sums, chunks * SHARDY_SHA256_LEN + 1}};
    shardy__store_ahead(c->shards, wants, 3, &c->limits);
}

/* A pointer of ours is of the run of its manifest. The reference takes the run from the first
 * "run_id=" in a URL, which may be part of the prefix. */
static shardy_status check_pointed_run(const pointer *p, loaded_manifest *m, shardy_error *err)
{
    if (!p->has_ours || strcmp(p->run_id, m->manifest->run_id) == 0) {
        return SHARDY_OK;
    }
    shardy__error(err, SHARDY_CORRUPT, "manifest",
        "the pointer is of run \"%.128s\" and names a manifest of run \"%.128s\"", p->run_id,
        m->manifest->run_id);
    shardy__manifest_free(m->manifest);
    memset(m, 0, sizeof *m);
    return SHARDY_CORRUPT;
}

/* What a pointer names; *missing_out 1: there is no such manifest. */
static shardy_status load_pointed(
    const catalog *c, const pointer *p, loaded_manifest *out, int *missing_out, shardy_error *err)
{
    *missing_out = 0;
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_status st = shardy__manifest_store_ref(&c->manifests, p->manifest_ref, ref, err);
    if (st < 0) {
        return shardy__error_as(err, SHARDY_CORRUPT);
    }
    manifest_promise promise = {p->has_ours, p->manifest_digest, p->manifest_size};
    if (!p->has_ours) {
        st = shardy__catalog_promise(c, p->run_id, ref, &promise, err);
        SHARDY_TRY(st == SHARDY_INVALID ? shardy__error_as(err, SHARDY_CORRUPT) : st);
    }
    if (c->ahead) {
        read_ahead(c, p, ref);
    }
    st = shardy__catalog_load(c, ref, &promise, p->manifest_ref, out, err);
    if (st == SHARDY_NOT_FOUND) {
        *missing_out = 1;
        return shardy__error(err, promise.has_digest ? SHARDY_GONE : SHARDY_CORRUPT, "manifest",
            "the pointer names \"%.300s\", which is not there (%.255s names it, %.255s has no such "
            "manifest)",
            ref, c->pointer_key, c->manifests_key);
    }
    if (st == SHARDY_OK) {
        st = check_pointed_run(p, out, err);
    }
    /* what data says is not the caller's fault */
    return st == SHARDY_INVALID ? shardy__error_as(err, SHARDY_CORRUPT) : st;
}

/* Whether the pointer has moved since it had the version `seen`; then it is in *p. */
static int has_moved(const catalog *c, shardy_etag *seen, pointer *p)
{
    pointer now;
    shardy_etag version;
    shardy_error ignored;
    if (shardy__manifest_store_load_newer(&c->manifests, seen, &now, &version, &ignored) !=
            SHARDY_OK ||
        strcmp(version.text, seen->text) == 0) {
        return 0;
    }
    *p = now;
    *seen = version;
    return 1;
}

shardy_status shardy__catalog_load_current(const catalog *c, pointer *pointer_out,
    shardy_etag *version_out, loaded_manifest *out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    memset(pointer_out, 0, sizeof *pointer_out);
    shardy_status st =
        shardy__manifest_store_load_current(&c->manifests, pointer_out, version_out, err);
    if (st != SHARDY_OK) {
        return st;
    }
    int missing;
    st = load_pointed(c, pointer_out, out, &missing, err);
    /* A manifest that a cleanup took after the pointer was read is current no more. */
    for (uint32_t i = 0; missing && i < MOVES_MAX && has_moved(c, version_out, pointer_out); i++) {
        shardy__error_clear(err);
        st = load_pointed(c, pointer_out, out, &missing, err);
    }
    return st;
}
