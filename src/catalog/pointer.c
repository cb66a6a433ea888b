#include "pointer.h"

#include "document.h"

#include "../base/clock.h"
#include "../manifest/template.h"

#include <stdio.h>
#include <string.h>

static const char what[] = "_CURRENT";

/* The first member that none of ours has. */
static void note_strangers(
    const shardy_json_value *object, const char *const *known, size_t count, pointer *out)
{
    for (size_t i = 0; i < shardy_json_count(object) && !out->stranger[0]; i++) {
        shardy_bytes name = shardy_json_name_at(object, i);
        int found = 0;
        for (size_t k = 0; k < count; k++) {
            found |= strlen(known[k]) == name.len && memcmp(known[k], name.data, name.len) == 0;
        }
        if (!found) {
            snprintf(out->stranger, sizeof out->stranger, "%.*s",
                (int)(name.len < sizeof out->stranger ? name.len : sizeof out->stranger - 1),
                (const char *)name.data);
        }
    }
}

static void note_strangers_in_ours(const shardy_json_value *ours, pointer *out)
{
    static const char *const in_ours[] = {
        "check", "generation", "hint", "manifest_sha256", "manifest_size", "nonce"};
    static const char *const in_hint[] = {
        "key_encoding", "num_dbs", "shard_bytes", "shard_path", "total_bytes"};
    const shardy_json_value *hint = shardy_json_get(ours, "hint");
    note_strangers(ours, in_ours, sizeof in_ours / sizeof *in_ours, out);
    if (hint && out->hint.num_dbs) {
        note_strangers(hint, in_hint, sizeof in_hint / sizeof *in_hint, out);
    } else if (hint && !out->stranger[0]) {
        snprintf(out->stranger, sizeof out->stranger, "hint");
    }
}

/* A hint that is not as we write it is none: nothing depends on it. */
static void parse_hint(const shardy_json_value *hint, pointer_hint *out)
{
    pointer_hint h;
    shardy_error ignored;
    char encoding[16];
    uint64_t num_dbs;
    memset(&h, 0, sizeof h);
    if (hint && shardy__document_u64(hint, what, "num_dbs", &num_dbs, &ignored) >= 0 &&
        shardy__document_u64(hint, what, "shard_bytes", &h.shard_bytes, &ignored) >= 0 &&
        shardy__document_u64(hint, what, "total_bytes", &h.total_bytes, &ignored) >= 0 &&
        shardy__document_text(hint, what, "key_encoding", encoding, sizeof encoding, &ignored) >=
            0 &&
        shardy__document_text(
            hint, what, "shard_path", h.shard_path, sizeof h.shard_path, &ignored) >= 0 &&
        shardy_key_encoding_parse(encoding, &h.key_encoding, &ignored) >= 0 &&
        h.key_encoding != SHARDY_KEY_ENCODING_AUTO && num_dbs > 0 &&
        num_dbs <= SHARDY_NUM_DBS_MAX && shardy__template_check(h.shard_path, &ignored) >= 0) {
        h.num_dbs = (uint32_t)num_dbs;
        *out = h;
    }
}

static shardy_status parse_ours(
    const shardy_json_value *root, shardy_bytes text, pointer *out, shardy_error *err)
{
    const shardy_json_value *ours = shardy_json_get(root, "shardyfusion");
    if (!ours) {
        return SHARDY_OK;
    }
    if (shardy_json_type_of(ours) != SHARDY_JSON_OBJECT) {
        return shardy__error(
            err, SHARDY_CORRUPT, "catalog", "%s has a \"shardyfusion\" that is no object", what);
    }
    SHARDY_TRY(shardy__document_u64(ours, what, "generation", &out->generation, err));
    SHARDY_TRY(shardy__document_digest(ours, what, "manifest_sha256", &out->manifest_digest, err));
    SHARDY_TRY(shardy__document_u64(ours, what, "manifest_size", &out->manifest_size, err));
    SHARDY_TRY(shardy__document_text(ours, what, "nonce", out->nonce, sizeof out->nonce, err));
    shardy_status st = shardy__document_compare_check(text, ours, what, err);
    if (st < 0) {
        /* whoever replaces a pointer that is damaged asks for one status */
        return st == SHARDY_CHECKSUM ? shardy__error_as(err, SHARDY_CORRUPT) : st;
    }
    parse_hint(shardy_json_get(ours, "hint"), &out->hint);
    note_strangers_in_ours(ours, out);
    out->has_ours = 1;
    return SHARDY_OK;
}

/* The reference writes 1 and looks at none; a text without one is of the first version. What of a
 * newer version is like ours is not to be believed, nor replaced by who does not know it. */
static shardy_status check_version(
    const shardy_json_value *root, shardy_bytes text, shardy_error *err)
{
    const shardy_json_value *version = shardy_json_get(root, "format_version");
    const shardy_json_value *ours = shardy_json_get(root, "shardyfusion");
    int64_t number = 0;
    uint64_t large = 0;
    const int fits = version && shardy_json_int64(version, &number);
    if (!version || (fits && number <= POINTER_FORMAT_VERSION)) {
        return SHARDY_OK;
    }
    if (!fits && !shardy_json_uint64(version, &large)) {
        return shardy__error(
            err, SHARDY_CORRUPT, "catalog", "%s has a \"format_version\" that is no integer", what);
    }
    /* a turned bit in one of ours is damage and no version */
    shardy_error error;
    shardy_status st = shardy__document_compare_check(text, ours, what, &error);
    if (st == SHARDY_NOMEM || st == SHARDY_CHECKSUM) {
        if (err) {
            *err = error;
        }
        return st == SHARDY_NOMEM ? st : shardy__error_as(err, SHARDY_CORRUPT);
    }
    return shardy__error(err, SHARDY_FORMAT_VERSION, "catalog",
        "%s has format version %llu, this version reads %d", what,
        fits ? (unsigned long long)number : (unsigned long long)large, POINTER_FORMAT_VERSION);
}

static shardy_status parse_root(
    const shardy_json_value *root, shardy_bytes text, pointer *out, shardy_error *err)
{
    static const char *const known[] = {"format_version", "manifest_content_type", "manifest_ref",
        "run_id", "shardyfusion", "updated_at"};
    note_strangers(root, known, sizeof known / sizeof *known, out);
    SHARDY_TRY(check_version(root, text, err));
    SHARDY_TRY(shardy__document_text(
        root, what, "manifest_ref", out->manifest_ref, sizeof out->manifest_ref, err));
    SHARDY_TRY(shardy__document_text(root, what, "manifest_content_type",
        out->manifest_content_type, sizeof out->manifest_content_type, err));
    SHARDY_TRY(shardy__document_text(root, what, "run_id", out->run_id, sizeof out->run_id, err));
    SHARDY_TRY(shardy__document_time(root, what, "updated_at", &out->updated_us, err));
    return parse_ours(root, text, out, err);
}

shardy_status shardy__pointer_parse(shardy_bytes text, pointer *out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    if (text.len > SHARDY_CURRENT_LEN_MAX) {
        return shardy__error(err, SHARDY_CORRUPT, "catalog", "%s has %zu bytes, the limit is %u",
            what, text.len, SHARDY_CURRENT_LEN_MAX);
    }
    shardy_json *json = NULL;
    SHARDY_TRY(shardy__document_parse(text, what, &json, err));
    shardy_status st = parse_root(shardy_json_root(json), text, out, err);
    shardy_json_free(json);
    out->size = text.len;
    if (st < 0) {
        memset(out, 0, sizeof *out);
    }
    return st;
}

static void write_hint(json_writer *w, const pointer_hint *hint)
{
    shardy__json_name(w, "hint");
    shardy__json_begin_object(w);
    shardy__json_name(w, "key_encoding");
    shardy__json_string(w, shardy_key_encoding_name(hint->key_encoding));
    shardy__json_name(w, "num_dbs");
    shardy__json_uint(w, hint->num_dbs);
    shardy__json_name(w, "shard_bytes");
    shardy__json_uint(w, hint->shard_bytes);
    shardy__json_name(w, "shard_path");
    shardy__json_string(w, hint->shard_path);
    shardy__json_name(w, "total_bytes");
    shardy__json_uint(w, hint->total_bytes);
    shardy__json_end_object(w);
}

shardy_status shardy__pointer_render(const pointer *p, shardy_buf *text_out, shardy_error *err)
{
    memset(text_out, 0, sizeof *text_out);
    char updated[SHARDY_TIME_TEXT_SIZE];
    char digest[65];
    size_t check_at = 0;
    shardy__time_format_iso(p->updated_us, updated);
    shardy__sha256_hex(&p->manifest_digest, digest);
    bytebuf out;
    json_writer w;
    shardy__bytebuf_init(&out, SHARDY_CURRENT_LEN_MAX);
    shardy__json_writer_init(&w, &out, JSON_COMPACT);
    shardy__json_begin_object(&w);
    shardy__json_name(&w, "format_version");
    shardy__json_int(&w, POINTER_FORMAT_VERSION);
    shardy__json_name(&w, "manifest_content_type");
    shardy__json_string(&w, p->manifest_content_type);
    shardy__json_name(&w, "manifest_ref");
    shardy__json_string(&w, p->manifest_ref);
    shardy__json_name(&w, "run_id");
    shardy__json_string(&w, p->run_id);
    if (p->has_ours) {
        shardy__json_name(&w, "shardyfusion");
        shardy__json_begin_object(&w);
        check_at = shardy__document_write_check(&w, &out);
        shardy__json_name(&w, "generation");
        shardy__json_uint(&w, p->generation);
        if (p->hint.num_dbs) {
            write_hint(&w, &p->hint);
        }
        shardy__json_name(&w, "manifest_sha256");
        shardy__json_string(&w, digest);
        shardy__json_name(&w, "manifest_size");
        shardy__json_uint(&w, p->manifest_size);
        shardy__json_name(&w, "nonce");
        shardy__json_string(&w, p->nonce);
        shardy__json_end_object(&w);
    }
    shardy__json_name(&w, "updated_at");
    shardy__json_string(&w, updated);
    shardy__json_end_object(&w);
    return p->has_ours ? shardy__document_finish_checked(&w, &out, check_at, text_out, err)
                       : shardy__document_finish(&w, &out, text_out, err);
}
