#include "fate.h"

#include "../store/store.h"
#include "../store/store_bound.h"
#include "document.h"

#include <stdio.h>
#include <string.h>

static const char what[] = "the fate of a run";

/* Of a fate that was written before fates had a check. */
#define UNCHECKED_MEMBERS 9u

/* Who is named as the writer of a run without a fate. */
static const char adopted_writer[] = "reference";

static const char *const state_names[] = {"", "WRITING", "PUBLISHING", "PUBLISHED", "CONDEMNED"};

const char *shardy__fate_state_name(int32_t state)
{
    return state >= FATE_WRITING && state <= FATE_CONDEMNED ? state_names[state] : "unknown";
}

void shardy__fate_adopted(const char *run_id, fate *out)
{
    memset(out, 0, sizeof *out);
    snprintf(out->run_id, sizeof out->run_id, "%s", run_id);
    snprintf(out->writer, sizeof out->writer, "%s", adopted_writer);
}

int shardy__fate_is_adopted(const fate *f)
{
    return strcmp(f->writer, adopted_writer) == 0;
}

int shardy__fate_is_damaged(shardy_status st)
{
    return st == SHARDY_CORRUPT || st == SHARDY_CHECKSUM || st == SHARDY_FORMAT_VERSION;
}

void shardy__fate_key(const char *run_id, char key_out[SHARDY_OBJECT_KEY_LEN_MAX + 1])
{
    snprintf(key_out, SHARDY_OBJECT_KEY_LEN_MAX + 1, "runs/run_id=%.1000s/fate", run_id);
}

static shardy_status parse_manifest(const shardy_json_value *root, fate *out, shardy_error *err)
{
    const shardy_json_value *manifest = shardy_json_get(root, "manifest");
    if (shardy_json_type_of(manifest) == SHARDY_JSON_NULL) {
        return SHARDY_OK;
    }
    if (shardy_json_type_of(manifest) != SHARDY_JSON_OBJECT) {
        return shardy__error(
            err, SHARDY_CORRUPT, "catalog", "%s has no \"manifest\" (object or null)", what);
    }
    SHARDY_TRY(shardy__document_text(
        manifest, what, "ref", out->manifest_ref, sizeof out->manifest_ref, err));
    SHARDY_TRY(shardy__document_digest(manifest, what, "sha256", &out->manifest_digest, err));
    SHARDY_TRY(shardy__document_u64(manifest, what, "size", &out->manifest_size, err));
    out->has_manifest = 1;
    return SHARDY_OK;
}

static shardy_status parse_pins(const shardy_json_value *root, fate *out, shardy_error *err)
{
    const shardy_json_value *pins = shardy_json_get(root, "pins");
    size_t count = shardy_json_count(pins);
    if (shardy_json_type_of(pins) != SHARDY_JSON_ARRAY || count > FATE_PINS_MAX) {
        return shardy__error(err, SHARDY_CORRUPT, "catalog",
            "%s has no \"pins\" (array of at most %u)", what, FATE_PINS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        const shardy_json_value *pin = shardy_json_at(pins, i);
        shardy_bytes text = shardy_json_string(pin);
        if (shardy_json_type_of(pin) != SHARDY_JSON_STRING || text.len >= sizeof out->pins[0] ||
            memchr(text.data, '\0', text.len)) {
            return shardy__error(
                err, SHARDY_CORRUPT, "catalog", "%s has a pin that is no short text", what);
        }
        memcpy(out->pins[i], text.data, text.len);
    }
    out->pin_count = (uint32_t)count;
    return SHARDY_OK;
}

static shardy_status parse_state(const shardy_json_value *root, fate *out, shardy_error *err)
{
    char name[32];
    SHARDY_TRY(shardy__document_text(root, what, "state", name, sizeof name, err));
    for (int32_t i = FATE_WRITING; i <= FATE_CONDEMNED; i++) {
        if (strcmp(name, state_names[i]) == 0) {
            out->state = i;
            return SHARDY_OK;
        }
    }
    return shardy__error(
        err, SHARDY_CORRUPT, "catalog", "%s has the unknown state \"%s\"", what, name);
}

/* Fates were written without a check before; such a one has none of the members that came later. */
static shardy_status compare_check(
    const shardy_json_value *root, shardy_bytes text, shardy_error *err)
{
    if (shardy_json_get(root, "check")) {
        return shardy__document_compare_check(text, root, what, err);
    }
    return shardy_json_count(root) <= UNCHECKED_MEMBERS
               ? SHARDY_OK
               : shardy__error(err, SHARDY_CORRUPT, "catalog",
                     "%s has no \"check\", and more members than fates without one", what);
}

static shardy_status parse_root(
    const shardy_json_value *root, shardy_bytes text, fate *out, shardy_error *err)
{
    uint64_t version;
    SHARDY_TRY(compare_check(root, text, err));
    SHARDY_TRY(shardy__document_u64(root, what, "format_version", &version, err));
    if (version != FATE_FORMAT_VERSION) {
        return shardy__error(err, SHARDY_FORMAT_VERSION, "catalog",
            "%s has format version %llu, this version reads %d", what, (unsigned long long)version,
            FATE_FORMAT_VERSION);
    }
    SHARDY_TRY(shardy__document_u64(root, what, "generation", &out->generation, err));
    SHARDY_TRY(shardy__document_text(root, what, "nonce", out->nonce, sizeof out->nonce, err));
    SHARDY_TRY(shardy__document_text(root, what, "run_id", out->run_id, sizeof out->run_id, err));
    SHARDY_TRY(shardy__document_text(root, what, "writer", out->writer, sizeof out->writer, err));
    SHARDY_TRY(shardy__document_time(root, what, "updated_at", &out->updated_us, err));
    SHARDY_TRY(parse_state(root, out, err));
    SHARDY_TRY(parse_manifest(root, out, err));
    return parse_pins(root, out, err);
}

shardy_status shardy__fate_parse(shardy_bytes text, fate *out, shardy_error *err)
{
    shardy_etag version = out->version;
    memset(out, 0, sizeof *out);
    out->version = version;
    shardy_json *json = NULL;
    SHARDY_TRY(shardy__document_parse(text, what, &json, err));
    shardy_status st = parse_root(shardy_json_root(json), text, out, err);
    shardy_json_free(json);
    if (st < 0) {
        memset(out, 0, sizeof *out);
        out->version = version;
    }
    return st;
}

static void write_manifest(const fate *f, json_writer *w)
{
    if (!f->has_manifest) {
        shardy__json_null(w);
        return;
    }
    char digest[65];
    shardy__sha256_hex(&f->manifest_digest, digest);
    shardy__json_begin_object(w);
    shardy__json_name(w, "ref");
    shardy__json_string(w, f->manifest_ref);
    shardy__json_name(w, "sha256");
    shardy__json_string(w, digest);
    shardy__json_name(w, "size");
    shardy__json_uint(w, f->manifest_size);
    shardy__json_end_object(w);
}

shardy_status shardy__fate_render(const fate *f, shardy_buf *text_out, shardy_error *err)
{
    memset(text_out, 0, sizeof *text_out);
    char updated[SHARDY_TIME_TEXT_SIZE];
    shardy__time_format_iso(f->updated_us, updated);
    bytebuf out;
    json_writer w;
    shardy__bytebuf_init(&out, SHARDY_FATE_LEN_MAX);
    shardy__json_writer_init(&w, &out, JSON_COMPACT);
    shardy__json_begin_object(&w);
    const size_t check_at = shardy__document_write_check(&w, &out);
    shardy__json_name(&w, "format_version");
    shardy__json_int(&w, FATE_FORMAT_VERSION);
    shardy__json_name(&w, "generation");
    shardy__json_uint(&w, f->generation);
    shardy__json_name(&w, "manifest");
    write_manifest(f, &w);
    shardy__json_name(&w, "nonce");
    shardy__json_string(&w, f->nonce);
    shardy__json_name(&w, "pins");
    shardy__json_begin_array(&w);
    for (uint32_t i = 0; i < f->pin_count; i++) {
        shardy__json_string(&w, f->pins[i]);
    }
    shardy__json_end_array(&w);
    shardy__json_name(&w, "run_id");
    shardy__json_string(&w, f->run_id);
    shardy__json_name(&w, "state");
    shardy__json_string(&w, shardy__fate_state_name(f->state));
    shardy__json_name(&w, "updated_at");
    shardy__json_string(&w, updated);
    shardy__json_name(&w, "writer");
    shardy__json_string(&w, f->writer);
    shardy__json_end_object(&w);
    return shardy__document_finish_checked(&w, &out, check_at, text_out, err);
}

shardy_status shardy__fate_load(
    shardy_store *store, const char *run_id, fate *out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy__fate_key(run_id, key);
    shardy_buf body = {0};
    shardy_object_meta meta;
    shardy_status st =
        shardy__store_get_whole(store, key, SHARDY_FATE_LEN_MAX + 1, &body, &meta, err);
    if (st != SHARDY_OK) {
        return st;
    }
    if (body.len > SHARDY_FATE_LEN_MAX) {
        st = shardy__error(err, SHARDY_CORRUPT, "catalog", "%s \"%.128s\" is longer than %u bytes",
            what, run_id, SHARDY_FATE_LEN_MAX);
    } else {
        st = shardy__fate_parse(shardy__bytes(body.data, body.len), out, err);
    }
    shardy_buf_release(&body);
    out->version = meta.etag;
    if (st >= 0 && strcmp(out->run_id, run_id) != 0) {
        st = shardy__error(err, SHARDY_CORRUPT, "catalog", "%s \"%.128s\" is of the run \"%.128s\"",
            what, run_id, out->run_id);
    }
    if (shardy__fate_is_damaged(st)) {
        /* nothing of it is for anybody to use by mistake */
        memset(out, 0, sizeof *out);
        shardy__error_prefix(err, st, "%.300s", key);
    }
    return st;
}

/* Whether `now` was written by the very call that wanted to write `f`. The nonce alone does not
 * tell: contexts with the same seed give the same ones. */
static int is_same_write(const fate *now, const fate *f)
{
    return strcmp(now->nonce, f->nonce) == 0 && now->state == f->state &&
           now->generation == f->generation && now->updated_us == f->updated_us &&
           strcmp(now->manifest_ref, f->manifest_ref) == 0 && strcmp(now->writer, f->writer) == 0;
}

/* Writes `f` under a condition. When the reply was lost, the object tells by its nonce whether it
 * was written. */
static shardy_status put_fate(
    shardy_context *context, shardy_store *store, fate *f, int32_t condition, shardy_error *err)
{
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy__fate_key(f->run_id, key);
    shardy__rand_hex32(context, f->nonce);
    f->generation++;
    f->updated_us = shardy__wall_us(context);
    shardy_buf text;
    SHARDY_TRY(shardy__fate_render(f, &text, err));
    shardy_store_put put = {0};
    put.key = shardy__bytes(key, strlen(key));
    put.condition = condition;
    put.sync = 1;
    put.etag = f->version.text;
    put.body = shardy__bytes(text.data, text.len);
    put.content_type = POINTER_CONTENT_TYPE;
    shardy_object_meta meta;
    shardy_status st = shardy_store_put_object(store, &put, &meta, err);
    shardy_buf_release(&text);
    if (st >= 0) {
        f->version = meta.etag;
        return st;
    }
    fate now;
    shardy_error ignored;
    if (shardy__fate_load(shardy__store_bound_after(store), f->run_id, &now, &ignored) ==
            SHARDY_OK &&
        is_same_write(&now, f)) {
        f->version = now.version;
        return SHARDY_OK;
    }
    return st;
}

shardy_status shardy__fate_create(
    shardy_context *context, shardy_store *store, fate *f, shardy_error *err)
{
    f->generation = 0;
    return put_fate(context, store, f, SHARDY_PUT_IF_ABSENT, err);
}

shardy_status shardy__fate_change(
    shardy_context *context, shardy_store *store, fate *f, int32_t state, shardy_error *err)
{
    fate next = *f;
    next.state = state;
    SHARDY_TRY(put_fate(context, store, &next, SHARDY_PUT_IF_MATCH, err));
    *f = next;
    return SHARDY_OK;
}
