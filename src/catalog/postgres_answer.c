#include "postgres_answer.h"

#include "../base/alloc.h"
#include "../base/arena.h"
#include "../base/bytebuf.h"
#include "../base/clock.h"
#include "../base/number.h"
#include "../base/utf8.h"
#include "../manifest/manifest.h"
#include "manifest_store.h"

#include <stdio.h>
#include <string.h>

/* --- texts ------------------------------------------------------------------------------------ */

shardy_status shardy__answer_text(const postgres_rows *rows, int column, const char *what,
    char *out, size_t size, shardy_error *err)
{
    size_t len;
    const char *text = shardy__postgres_value(rows, 0, column, &len);
    out[0] = '\0';
    if (!text || len == 0 || len >= size || memchr(text, '\0', len)) {
        return shardy__error(err, SHARDY_CORRUPT, "manifest",
            "postgres answered with a %s of %zu bytes, expected 1 to %zu and no zero byte", what,
            len, size - 1);
    }
    if (!shardy__utf8_valid(text, len)) {
        return shardy__error(err, SHARDY_CORRUPT, "manifest",
            "postgres answered with a %s that is not valid UTF-8", what);
    }
    memcpy(out, text, len);
    out[len] = '\0';
    return SHARDY_OK;
}

uint64_t shardy__answer_count(const postgres_rows *rows)
{
    size_t len;
    uint64_t n = 0;
    const char *text = shardy__postgres_value(rows, 0, 0, &len);
    return text && shardy__parse_uint64(text, len, &n) ? n : 0;
}

/* --- the pointer ------------------------------------------------------------------------------ */

void shardy__answer_forget(postgres_current *current)
{
    shardy_buf_release(&current->document);
    memset(current, 0, sizeof *current);
}

shardy_status shardy__answer_current(
    const postgres_rows *rows, int is_pointer, postgres_current *current, shardy_error *err)
{
    char ties[POSTGRES_NUMBER_SIZE];
    size_t len;
    if (shardy__postgres_row_count(rows) == 0) {
        return SHARDY_NOT_FOUND;
    }
    SHARDY_TRY(shardy__answer_text(rows, 0, "time", current->at, sizeof current->at, err));
    SHARDY_TRY(shardy__answer_text(rows, 2, "number of rows", ties, sizeof ties, err));
    current->found = 1;
    current->is_pointer = is_pointer;
    snprintf(current->version.text, sizeof current->version.text, "%s%s-%s",
        is_pointer ? "" : MANIFEST_BUILD_VERSION, current->at, ties);
    SHARDY_TRY(
        shardy__answer_text(rows, 1, "manifest_ref", current->ref, sizeof current->ref, err));
    const char *document = shardy__postgres_value(rows, 0, 3, &len);
    return document ? shardy__buf_copy(document, len, &current->document, err) : SHARDY_OK;
}

/* A document for a row that the reference wrote. */
static shardy_status make_document(
    const postgres_current *current, shardy_buf *body_out, shardy_error *err)
{
    pointer p;
    memset(&p, 0, sizeof p);
    if (!shardy__time_parse(current->at, strlen(current->at), &p.updated_us)) {
        return shardy__error(
            err, SHARDY_CORRUPT, "manifest", "the pointer has the time \"%s\"", current->at);
    }
    snprintf(p.manifest_ref, sizeof p.manifest_ref, "%s", current->ref);
    snprintf(p.manifest_content_type, sizeof p.manifest_content_type, "%s",
        SHARDY_MANIFEST_CONTENT_TYPE);
    snprintf(p.run_id, sizeof p.run_id, "%s", current->ref);
    return shardy__pointer_render(&p, body_out, err);
}

shardy_status shardy__answer_document(
    postgres_current *current, shardy_buf *body_out, shardy_error *err)
{
    pointer p;
    shardy_error error;
    memset(body_out, 0, sizeof *body_out);
    if (current->document.data) {
        shardy_bytes text = shardy__bytes(current->document.data, current->document.len);
        shardy_status st = shardy__pointer_parse(text, &p, &error);
        if (st == SHARDY_NOMEM) {
            return shardy__error_nomem(err, "manifest");
        }
        /* One that names something else does not belong to the row, whatever it is. */
        if (st < 0 || strcmp(p.manifest_ref, current->ref) == 0) {
            *body_out = current->document; /* the caller finds out what is wrong with it */
            memset(&current->document, 0, sizeof current->document);
            return SHARDY_OK;
        }
    }
    return make_document(current, body_out, err);
}

/* --- lists ------------------------------------------------------------------------------------ */

/* A text without a zero in it, else NULL. */
static const char *text_at(const postgres_rows *rows, size_t row, int column)
{
    size_t len;
    const char *text = shardy__postgres_value(rows, row, column, &len);
    return text && strlen(text) == len ? text : NULL;
}

/* A list with what it is made of. */
typedef struct list_owner {
    arena arena;
} list_owner;

static void list_dispose(shardy_manifest_list *list)
{
    list_owner *owner = list->owner;
    if (owner) {
        shardy__arena_free(&owner->arena);
        shardy__free(owner);
    }
}

shardy_status shardy__answer_list(
    const postgres_rows *rows, size_t limit, shardy_manifest_list *list, shardy_error *err)
{
    size_t count = shardy__postgres_row_count(rows);
    count = count < limit ? count : limit;
    memset(list, 0, sizeof *list);
    list_owner *owner = shardy__calloc(1, sizeof *owner);
    if (!owner) {
        return shardy__error_nomem(err, "manifest");
    }
    shardy__arena_init(&owner->arena);
    list->owner = owner;
    list->dispose = list_dispose;
    shardy_manifest_entry *entries = shardy__arena_calloc(&owner->arena, count, sizeof *entries);
    if (!entries) {
        return shardy__error_nomem(err, "manifest");
    }
    list->entries = entries;
    for (size_t i = 0; i < count; i++) {
        const char *run_id = text_at(rows, i, 0);
        const char *at = text_at(rows, i, 1);
        shardy_manifest_entry *e = &entries[list->count];
        if (!run_id || !at || !shardy__manifest_is_run_id(run_id) ||
            !shardy__time_parse(at, strlen(at), &e->published_us)) {
            continue;
        }
        e->ref = shardy__arena_strdup(&owner->arena, run_id);
        e->run_id = e->ref;
        if (!e->ref) {
            return shardy__error_nomem(err, "manifest");
        }
        list->count++;
    }
    return SHARDY_OK;
}
