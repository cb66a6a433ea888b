#include "upload.h"

#include "../base/alloc.h"
#include "../base/bytebuf.h"
#include "../base/fs.h"
#include "../engine/shard_file.h"
#include "../sqlitefile/sidecar_write.h"

#include <stdio.h>
#include <string.h>

#define COPY_LEN SHARDY_CHUNK_LEN

static shardy_status too_long(const char *path, shardy_error *err)
{
    return shardy__error(err, SHARDY_INVALID, "build", "the path \"%.300s\" is too long", path);
}

static shardy_status put_sums(
    const shardy_plan *plan, const char *path, const shardy_engine_file *file, shardy_error *err)
{
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    if (file->sum_count < 2) {
        return SHARDY_OK;
    }
    int n = snprintf(key, sizeof key, "%s.sums", path);
    if (n < 0 || (size_t)n >= sizeof key) {
        return too_long(path, err);
    }
    shardy_store_put put = {0};
    put.key = shardy__bytes(key, strlen(key));
    put.condition = SHARDY_PUT_IF_ABSENT;
    put.sync = plan->options.sync;
    put.body = shardy__bytes(file->sums, file->sum_count * SHARDY_SHA256_LEN);
    put.content_type = "application/octet-stream";
    return shardy_store_put_object(plan->catalog.store, &put, NULL, err);
}

/* The object of a file: its path, size and digest, before anything is sent. */
static shardy_status add_object(
    const shardy_engine_file *file, attempt_output *output, shardy_error *err)
{
    SHARDY_CHECK_ARG(file->sums && output->object_count < ATTEMPT_OBJECTS_MAX);
    attempt_object *object = &output->objects[output->object_count];
    int n = snprintf(object->path, sizeof object->path, "%s/%s", output->path, file->name);
    if (n < 0 || (size_t)n >= sizeof object->path) {
        return too_long(object->path, err);
    }
    object->size = file->size;
    SHARDY_TRY(shardy__sums_digest(
        (const sha256 *)(const void *)file->sums, file->sum_count, &object->digest, err));
    output->object_count++;
    return SHARDY_OK;
}

/* How far a file has come, for whoever is told. */
typedef struct upload_watch {
    const attempt_ticker *ticker;
    uint64_t sent;
} upload_watch;

static void watch_sent(void *user, uint64_t bytes)
{
    upload_watch *w = user;
    int64_t more = (int64_t)(bytes - w->sent);
    w->sent = bytes;
    w->ticker->uploading(w->ticker->user, more, 0);
}

static shardy_status put_file(const attempt_job *job, const shardy_engine_file *file,
    const char *path, shardy_object_meta *meta_out, shardy_error *err)
{
    const shardy_plan *plan = job->plan;
    upload_watch watch = {&job->ticker, 0};
    /* A directory takes a file without sending it. */
    int is_local = (shardy_store_caps(plan->catalog.store) & SHARDY_STORE_CAP_OPEN_LOCAL) != 0;
    int is_watched = job->ticker.uploading && !is_local;
    shardy_store_put put = {0};
    put.key = shardy__bytes(path, strlen(path));
    put.condition = SHARDY_PUT_IF_ABSENT;
    put.sync = plan->options.sync;
    put.file_path = file->path;
    put.content_type = file->content_type;
    if (is_watched) {
        put.sent = watch_sent;
        put.sent_user = &watch;
        job->ticker.uploading(job->ticker.user, 0, (int64_t)file->size);
    }
    /* model: writer_upload */
    shardy_status st = shardy_store_put_object(plan->catalog.store, &put, meta_out, err);
    if (is_watched && st >= 0) {
        watch_sent(&watch, file->size);
    } else if (is_watched) { /* another attempt sends it anew */
        watch_sent(&watch, 0);
        job->ticker.uploading(job->ticker.user, 0, -(int64_t)file->size);
    }
    return st;
}

/* --- sidecars --------------------------------------------------------------------------------- */

/* A copy of a sidecar that says to which version of the shard it belongs. */
typedef struct bound_sidecar {
    char *path;
    int from;
    int to;
    uint64_t offset; /* bytes written */
    chunk_digest digests;
} bound_sidecar;

static shardy_status write_bound(bound_sidecar *b, const void *data, size_t len, shardy_error *err)
{
    SHARDY_TRY(shardy__chunk_digest_add(&b->digests, data, len, err));
    SHARDY_TRY(shardy__file_write_at(b->to, b->offset, data, len, err));
    b->offset += len;
    return SHARDY_OK;
}

static shardy_status copy_bound(bound_sidecar *b, uint64_t size, const char *tag, shardy_error *err)
{
    uint8_t start[SIDECAR_PREFIX_LEN + SIDECAR_TAG_MAX];
    uint8_t prefix[SIDECAR_PREFIX_LEN];
    SHARDY_TRY(shardy__file_read_at(b->from, 0, prefix, sizeof prefix, err));
    SHARDY_TRY(write_bound(b, start, shardy__sidecar_tag(prefix, tag, start), err));
    uint8_t *piece = shardy__malloc(COPY_LEN);
    if (!piece) {
        return shardy__error_nomem(err, "build");
    }
    shardy_status st = SHARDY_OK;
    for (uint64_t at = sizeof prefix; st >= 0 && at < size; at += COPY_LEN) {
        size_t len = size - at < COPY_LEN ? (size_t)(size - at) : COPY_LEN;
        st = shardy__file_read_at(b->from, at, piece, len, err);
        if (st >= 0) {
            st = write_bound(b, piece, len, err);
        }
    }
    shardy__free(piece);
    return st;
}

static shardy_status open_bound(bound_sidecar *b, const char *path, shardy_error *err)
{
    bytebuf name;
    shardy__bytebuf_init(&name, SHARDY_URL_LEN_MAX * 4);
    shardy__bytebuf_printf(&name, "%s.bound", path);
    shardy_status st = shardy__bytebuf_check(&name, "build", err);
    b->path = st >= 0 ? shardy__strdup(name.data) : NULL;
    shardy__bytebuf_free(&name);
    if (st >= 0 && !b->path) {
        st = shardy__error_nomem(err, "build");
    }
    SHARDY_TRY(st);
    SHARDY_TRY(shardy__file_open(path, &b->from, err));
    return shardy__file_create(b->path, 0666, &b->to, err);
}

static void close_bound(bound_sidecar *b)
{
    shardy__file_close(b->from);
    shardy__file_close(b->to);
    shardy__chunk_digest_free(&b->digests);
    shardy__free(b->path);
}

/* Sent whole and read whole, so there is no list of chunk digests beside it. */
static shardy_status put_sidecar(const attempt_job *job, const shardy_engine_file *file,
    const char *tag, attempt_output *output, shardy_error *err)
{
    bound_sidecar b = {NULL, -1, -1, 0, {0}};
    shardy__chunk_digest_init(&b.digests);
    shardy_status st = open_bound(&b, file->path, err);
    if (st >= 0) {
        st = copy_bound(&b, file->size, tag, err);
    }
    if (st >= 0 && job->plan->options.sync) {
        st = shardy__file_sync(b.to, err);
    }
    sha256 digest;
    if (st >= 0) {
        st = shardy__chunk_digest_finish(&b.digests, &digest, err);
    }
    if (st >= 0) {
        shardy_engine_file bound = *file;
        bound.path = b.path;
        bound.size = b.offset;
        bound.sums = (const uint8_t *)b.digests.sums;
        bound.sum_count = b.digests.count;
        st = add_object(&bound, output, err);
        if (st >= 0) {
            st = put_file(job, &bound, output->objects[output->object_count - 1].path, NULL, err);
        }
    }
    close_bound(&b);
    return st < 0 ? shardy__error_prefix(err, st, SHARD_SIDECAR_NAME) : SHARDY_OK;
}

int shardy__upload_has_sidecar(const attempt_output *output)
{
    for (uint32_t i = 0; i < output->object_count; i++) {
        const char *slash = strrchr(output->objects[i].path, '/');
        if (slash && strcmp(slash + 1, SHARD_SIDECAR_NAME) == 0) {
            return 1;
        }
    }
    return 0;
}

/* --- all files -------------------------------------------------------------------------------- */

shardy_status shardy__upload_files(const attempt_job *job, const shardy_engine_files *files,
    attempt_output *output, shardy_error *err)
{
    const shardy_plan *plan = job->plan;
    shardy_object_meta meta;
    memset(&meta, 0, sizeof meta);
    /* A directory's versions are told by nobody who reads the files from elsewhere. */
    int local = (shardy_store_caps(plan->catalog.store) & SHARDY_STORE_CAP_OPEN_LOCAL) != 0;
    for (size_t i = 0; i < files->count; i++) {
        const shardy_engine_file *file = &files->files[i];
        if (file->is_sidecar) {
            SHARDY_TRY(put_sidecar(job, file, local ? "" : meta.etag.text, output, err));
            continue;
        }
        SHARDY_TRY(add_object(file, output, err));
        const char *path = output->objects[output->object_count - 1].path;
        output->db_bytes += file->size;
        SHARDY_TRY(put_sums(plan, path, file, err));
        SHARDY_TRY(put_file(job, file, path, &meta, err));
    }
    return SHARDY_OK;
}
