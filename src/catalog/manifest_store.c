#include "manifest_store.h"

#include "../base/ascii.h"
#include "../base/clock.h"
#include "../base/uri.h"

#include <stdio.h>
#include <string.h>

#define TIMESTAMP_LEN 27u /* 2026-01-02T03:04:05.000006Z */
/* A run id is a segment of keys as well ("runs/run_id=<id>/fate"): room is left for the rest. */
#define RUN_ID_REF_LEN_MAX 900u

void shardy_manifest_store_options_init(shardy_manifest_store_options *options, size_t struct_size)
{
    shardy_manifest_store_options defaults;
    memset(&defaults, 0, sizeof defaults);
    defaults.kind = SHARDY_MANIFEST_OBJECTS;
    defaults.ensure_table = 1;
    defaults.table_name = "shardyfusion_manifests";
    defaults.pointer_table_name = "shardyfusion_pointer";
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

int shardy__manifest_dir_parse(
    const char *name, size_t len, const char **run_id_out, size_t *run_id_len_out, int64_t *us_out)
{
    static const char shape[] = "0000-00-00T00:00:00.000000Z_run_id=";
    size_t shape_len = sizeof shape - 1;
    if (len <= shape_len) {
        return 0;
    }
    for (size_t i = 0; i < shape_len; i++) {
        int ok = shape[i] == '0' ? shardy__is_digit(name[i]) : name[i] == shape[i];
        if (!ok) {
            return 0;
        }
    }
    if (memchr(name + shape_len, '/', len - shape_len) ||
        !shardy__time_parse(name, TIMESTAMP_LEN, us_out)) {
        return 0;
    }
    *run_id_out = name + shape_len;
    *run_id_len_out = len - shape_len;
    return 1;
}

/* --- refs ------------------------------------------------------------------------------------- */

shardy_status shardy__catalog_ref(
    const char *manifest_ref, char ref_out[SHARDY_OBJECT_KEY_LEN_MAX + 1], shardy_error *err)
{
    /* The last "/manifests/"; at the start for relative refs. */
    const char *found = NULL;
    for (const char *p = manifest_ref; (p = strstr(p, MANIFEST_DIR)) != NULL; p++) {
        if (p == manifest_ref || p[-1] == '/') {
            found = p;
        }
    }
    ref_out[0] = '\0';
    size_t len = found ? strlen(found) : 0;
    size_t dir = strlen(MANIFEST_DIR);
    size_t name = strlen(MANIFEST_NAME);
    if (!found || len <= dir + name || strcmp(found + len - name, MANIFEST_NAME) != 0 ||
        memchr(found + dir, '/', len - dir - name) || shardy__key_problem(found, len)) {
        return shardy__error(err, SHARDY_INVALID, "manifest",
            "\"%.300s\" is not the ref of a manifest (.../manifests/<dir>/manifest)", manifest_ref);
    }
    memcpy(ref_out, found, len + 1);
    return SHARDY_OK;
}

int shardy__manifest_is_run_id(const char *text)
{
    size_t len = strlen(text);
    return len <= RUN_ID_REF_LEN_MAX && !strchr(text, '/') && !shardy__key_problem(text, len);
}

shardy_status shardy__manifest_store_ref(const manifest_store *m, const char *text,
    char ref_out[SHARDY_OBJECT_KEY_LEN_MAX + 1], shardy_error *err)
{
    ref_out[0] = '\0';
    if (!m->ops->refs_are_run_ids) {
        return shardy__catalog_ref(text, ref_out, err);
    }
    if (!shardy__manifest_is_run_id(text)) {
        return shardy__error(err, SHARDY_INVALID, "manifest",
            "\"%.300s\" is not the ref of a manifest (here, a run id)", text);
    }
    memcpy(ref_out, text, strlen(text) + 1);
    return SHARDY_OK;
}

int shardy__manifest_store_ref_time(const manifest_store *m, const char *ref, int64_t *us_out)
{
    size_t dir = strlen(MANIFEST_DIR);
    size_t name = strlen(MANIFEST_NAME);
    size_t len = strlen(ref);
    const char *run_id;
    size_t run_id_len;
    return !m->ops->refs_are_run_ids && len > dir + name &&
           shardy__manifest_dir_parse(ref + dir, len - dir - name, &run_id, &run_id_len, us_out);
}

int shardy__manifest_store_ref_run_id(
    const manifest_store *m, const char *ref, char run_id_out[SHARDY_OBJECT_KEY_LEN_MAX + 1])
{
    size_t dir = strlen(MANIFEST_DIR);
    size_t name = strlen(MANIFEST_NAME);
    size_t len = strlen(ref);
    const char *run_id = ref;
    size_t run_id_len = len;
    int64_t us;
    run_id_out[0] = '\0';
    if (!m->ops->refs_are_run_ids &&
        (len <= dir + name ||
            !shardy__manifest_dir_parse(ref + dir, len - dir - name, &run_id, &run_id_len, &us))) {
        return 0;
    }
    if (run_id_len > SHARDY_OBJECT_KEY_LEN_MAX) {
        return 0;
    }
    memcpy(run_id_out, run_id, run_id_len);
    run_id_out[run_id_len] = '\0';
    return 1;
}

shardy_status shardy__manifest_store_name(const manifest_store *m, const char *run_id,
    int64_t now_us, char ref_out[SHARDY_OBJECT_KEY_LEN_MAX + 1], shardy_error *err)
{
    if (m->ops->refs_are_run_ids) {
        return shardy__manifest_store_ref(m, run_id, ref_out, err);
    }
    char stamp[SHARDY_TIME_TEXT_SIZE];
    shardy__time_format_micros(now_us, stamp);
    snprintf(ref_out, SHARDY_OBJECT_KEY_LEN_MAX + 1, MANIFEST_DIR "%s_run_id=%.128s" MANIFEST_NAME,
        stamp, run_id);
    return SHARDY_OK;
}

shardy_status shardy__manifest_store_full_ref(const manifest_store *m, const char *prefix,
    const char *ref, char out[SHARDY_URL_LEN_MAX + 1], shardy_error *err)
{
    if (m->ops->refs_are_run_ids) {
        snprintf(out, SHARDY_URL_LEN_MAX + 1, "%s", ref);
        return SHARDY_OK;
    }
    return shardy__uri_join(prefix, ref, out, err);
}

void shardy__manifest_store_place(const manifest_store *m, const char *manifest_ref,
    const char *url, char out[SHARDY_URL_LEN_MAX + 2])
{
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_error ignored;
    out[0] = '\0';
    if (m->ops->refs_are_run_ids) {
        return;
    }
    size_t len = strlen(manifest_ref);
    size_t ref_len = shardy__catalog_ref(manifest_ref, ref, &ignored) >= 0 ? strlen(ref) : len;
    if (len > ref_len + 1) {
        snprintf(out, SHARDY_URL_LEN_MAX + 2, "%.*s", (int)(len - ref_len), manifest_ref);
    } else {
        snprintf(out, SHARDY_URL_LEN_MAX + 2, "%s/", url);
    }
}

/* --- calls ------------------------------------------------------------------------------------ */

void shardy__manifest_store_close(manifest_store *m)
{
    if (m->ops) {
        m->ops->close(m->state);
        if (m->after) {
            m->ops->close(m->after);
        }
    }
    memset(m, 0, sizeof *m);
}

manifest_store shardy__manifest_store_after(const manifest_store *m)
{
    const manifest_store after = {m->ops, m->after ? m->after : m->state, NULL, NULL};
    return after;
}

shardy_status shardy__manifest_store_load_current(
    const manifest_store *m, pointer *out, shardy_etag *version_out, shardy_error *err)
{
    return shardy__manifest_store_load_newer(m, NULL, out, version_out, err);
}

int shardy__manifest_store_is_pointer(const manifest_store *m, const shardy_etag *version)
{
    return !m->ops->refs_are_run_ids ||
           strncmp(version->text, MANIFEST_BUILD_VERSION, strlen(MANIFEST_BUILD_VERSION)) != 0;
}

shardy_status shardy__manifest_store_load_newer(const manifest_store *m, const shardy_etag *known,
    pointer *out, shardy_etag *version_out, shardy_error *err)
{
    memset(version_out, 0, sizeof *version_out);
    shardy_manifest_current current;
    memset(&current, 0, sizeof current);
    current.known = known;
    shardy_status st = m->ops->load_current(m->state, &current, err);
    if (st == SHARDY_OK) {
        *version_out = current.version;
        st = shardy__pointer_parse((shardy_bytes){current.body.data, current.body.len}, out, err);
    }
    shardy_buf_release(&current.body);
    return st;
}

shardy_status shardy__manifest_store_load(
    const manifest_store *m, const char *ref, shardy_buf *image_out, shardy_error *err)
{
    memset(image_out, 0, sizeof *image_out);
    return m->ops->load(m->state, ref, image_out, err);
}

shardy_status shardy__manifest_store_list(
    const manifest_store *m, size_t limit, shardy_manifest_list *list_out, shardy_error *err)
{
    memset(list_out, 0, sizeof *list_out);
    return m->ops->list(m->state, limit, list_out, err);
}

void shardy__manifest_list_dispose(shardy_manifest_list *list)
{
    if (list->dispose) {
        list->dispose(list);
    }
    memset(list, 0, sizeof *list);
}

static shardy_status check_image_len(shardy_bytes image, shardy_error *err)
{
    if (image.len > SHARDY_MANIFEST_LEN_MAX) {
        return shardy__error(err, SHARDY_INVALID, "manifest",
            "the manifest has %zu bytes, the limit is %u", image.len, SHARDY_MANIFEST_LEN_MAX);
    }
    return SHARDY_OK;
}

shardy_status shardy__manifest_store_add(
    const manifest_store *m, const char *ref, shardy_bytes image, shardy_error *err)
{
    SHARDY_TRY(check_image_len(image, err));
    return m->ops->add(m->state, ref, image, err);
}

shardy_status shardy__manifest_store_remove(
    const manifest_store *m, const char *ref, uint64_t *removed_out, shardy_error *err)
{
    uint64_t removed = 0;
    shardy_status st = SHARDY_OK;
    if (!m->ops->remove) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "manifest",
            "a manifest store \"%.60s\" does not remove manifests", m->ops->name);
    }
    st = m->ops->remove(m->state, ref, &removed, err);
    if (removed_out) {
        *removed_out = removed;
    }
    return st;
}

/* Whether `now` was written by the very call that wanted to write `p`, or is that as a cleanup has
 * written it anew since: its fence keeps all but generation and nonce (decision 009). The nonce
 * alone does not tell: contexts with the same seed give the same ones. */
static int is_same_write(const pointer *now, const pointer *p)
{
    const int same = now->generation == p->generation && strcmp(now->nonce, p->nonce) == 0;
    const int fenced = now->generation > p->generation;
    return now->has_ours && (same || fenced) && strcmp(now->run_id, p->run_id) == 0 &&
           strcmp(now->manifest_ref, p->manifest_ref) == 0 && now->updated_us == p->updated_us;
}

/* After a failed conditional write: what does the pointer say now? `error` is that of the write. */
static shardy_status explain_conflict(
    const manifest_store *m, const pointer *p, int32_t *open, shardy_error *error)
{
    pointer now;
    shardy_etag version;
    shardy_error ignored;
    shardy_status st = error->status;
    const manifest_store after = shardy__manifest_store_after(m);
    shardy_status loaded = shardy__manifest_store_load_current(&after, &now, &version, &ignored);
    if (loaded == SHARDY_OK && is_same_write(&now, p)) {
        *open = 0;
        return SHARDY_OK; /* ours after all: only the reply was lost */
    }
    if (st != SHARDY_CONFLICT && st != SHARDY_EXISTS) {
        return st;
    }
    *open = 0;
    if (loaded != SHARDY_OK) {
        return shardy__error(error, SHARDY_CONFLICT, "publish",
            "somebody else changed the pointer while run \"%.128s\" was at work", p->run_id);
    }
    return shardy__error(error, SHARDY_CONFLICT, "publish",
        "somebody else moved the pointer to run \"%.128s\" while run \"%.128s\" was at work",
        now.run_id, p->run_id);
}

/* The pointer write alone, or with `image` both in one transaction. */
static shardy_status move_pointer(const manifest_store *m, const char *ref,
    const shardy_bytes *image, const pointer *p, const shardy_etag *expected,
    shardy_manifest_move *move, shardy_error *err)
{
    shardy_buf text;
    SHARDY_TRY(shardy__pointer_render(p, &text, err));
    shardy_error error;
    shardy__error_clear(&error);
    move->body = (shardy_bytes){text.data, text.len};
    move->expected = expected;
    shardy_status st = image ? m->ops->publish(m->state, ref, *image, move, &error)
                             : m->ops->set_current(m->state, move, &error);
    shardy_buf_release(&text);
    if (st < 0 && !(image && st == SHARDY_EXISTS)) {
        error.status = st;
        st = explain_conflict(m, p, &move->open, &error);
    }
    if (st < 0 && err) {
        *err = error;
    }
    return st;
}

shardy_status shardy__manifest_store_set_current(const manifest_store *m, const pointer *p,
    const shardy_etag *expected, int32_t *open_out, shardy_error *err)
{
    shardy_manifest_move move;
    memset(&move, 0, sizeof move);
    shardy_status st = move_pointer(m, NULL, NULL, p, expected, &move, err);
    *open_out = move.open;
    return st;
}

shardy_status shardy__manifest_store_publish(const manifest_store *m, const manifest_publish *what,
    int32_t *added_out, int32_t *open_out, shardy_error *err)
{
    shardy_manifest_move move;
    memset(&move, 0, sizeof move);
    shardy_status st = SHARDY_OK;
    if (m->ops->publish) {
        st = check_image_len(what->image, err);
        if (st >= 0) {
            st =
                move_pointer(m, what->ref, &what->image, what->pointer, what->expected, &move, err);
        }
    } else {
        st = shardy__manifest_store_add(m, what->ref, what->image, err);
        move.added = st != SHARDY_EXISTS; /* then it is somebody else's */
        if (st >= 0) {
            st = move_pointer(m, NULL, NULL, what->pointer, what->expected, &move, err);
        }
    }
    *added_out = move.added;
    *open_out = move.open;
    return st;
}
