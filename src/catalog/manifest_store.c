#include "manifest_store.h"

#include "../base/clock.h"

#include <string.h>

#define TIMESTAMP_LEN 27u /* 2026-01-02T03:04:05.000006Z */

int shardy__manifest_dir_parse(
    const char *name, size_t len, const char **run_id_out, size_t *run_id_len_out, int64_t *us_out)
{
    static const char shape[] = "0000-00-00T00:00:00.000000Z_run_id=";
    size_t shape_len = sizeof shape - 1;
    if (len <= shape_len) {
        return 0;
    }
    for (size_t i = 0; i < shape_len; i++) {
        int ok = shape[i] == '0' ? name[i] >= '0' && name[i] <= '9' : name[i] == shape[i];
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

void shardy__manifest_store_close(manifest_store *m)
{
    if (m->ops) {
        m->ops->close(m->state);
    }
    memset(m, 0, sizeof *m);
}

shardy_status shardy__manifest_store_load_current(
    const manifest_store *m, pointer *out, shardy_etag *version_out, shardy_error *err)
{
    memset(version_out, 0, sizeof *version_out);
    shardy_manifest_current current;
    memset(&current, 0, sizeof current);
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

shardy_status shardy__manifest_store_add(
    const manifest_store *m, const char *ref, shardy_bytes image, shardy_error *err)
{
    if (image.len > SHARDY_MANIFEST_LEN_MAX) {
        return shardy__error(err, SHARDY_INVALID, "manifest",
            "the manifest has %zu bytes, the limit is %u", image.len, SHARDY_MANIFEST_LEN_MAX);
    }
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

/* Whether `now` was written by the very call that wanted to write `p`. The nonce alone does not
 * tell: contexts with the same seed give the same ones. */
static int is_same_write(const pointer *now, const pointer *p)
{
    return now->has_ours && strcmp(now->nonce, p->nonce) == 0 &&
           strcmp(now->run_id, p->run_id) == 0 && strcmp(now->manifest_ref, p->manifest_ref) == 0 &&
           now->generation == p->generation && now->updated_us == p->updated_us;
}

/* After a failed conditional write: what does the pointer say now? `error` is that of the write. */
static shardy_status explain_conflict(
    const manifest_store *m, const pointer *p, int32_t *open_out, shardy_error *error)
{
    pointer now;
    shardy_etag version;
    shardy_error ignored;
    shardy_status st = error->status;
    shardy_status loaded = shardy__manifest_store_load_current(m, &now, &version, &ignored);
    if (loaded == SHARDY_OK && is_same_write(&now, p)) {
        return SHARDY_OK; /* ours after all: only the reply was lost */
    }
    if (st != SHARDY_CONFLICT && st != SHARDY_EXISTS) {
        *open_out = error->retriable || loaded < 0;
        return st;
    }
    if (loaded != SHARDY_OK) {
        return shardy__error(error, SHARDY_CONFLICT, "publish",
            "somebody else changed the pointer while run \"%.128s\" was at work", p->run_id);
    }
    return shardy__error(error, SHARDY_CONFLICT, "publish",
        "somebody else moved the pointer to run \"%.128s\" while run \"%.128s\" was at work",
        now.run_id, p->run_id);
}

shardy_status shardy__manifest_store_set_current(const manifest_store *m, const pointer *p,
    const shardy_etag *expected, int32_t *open_out, shardy_error *err)
{
    shardy_buf text;
    *open_out = 0;
    SHARDY_TRY(shardy__pointer_render(p, &text, err));
    shardy_etag version;
    shardy_error error;
    shardy__error_clear(&error);
    shardy_status st = m->ops->set_current(
        m->state, (shardy_bytes){text.data, text.len}, expected, &version, &error);
    shardy_buf_release(&text);
    if (st < 0) {
        error.status = st;
        st = explain_conflict(m, p, open_out, &error);
    }
    if (st < 0 && err) {
        *err = error;
    }
    return st;
}
