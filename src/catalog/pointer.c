#include "pointer.h"

#include "document.h"

#include "../base/alloc.h"
#include "../base/clock.h"
#include "../manifest/template.h"

#include <stdio.h>
#include <string.h>

static const char what[] = "_CURRENT";

/* The member "check" is the digest of the whole text with zeros in the place of its digits, so that
 * no change of the text goes unnoticed. */
#define CHECK_DIGITS 64u

static void clear_digits(char *digits)
{
    memset(digits, '0', CHECK_DIGITS);
}

static shardy_status compare_check(shardy_bytes text, const sha256 *expected, shardy_error *err)
{
    char digits[CHECK_DIGITS + 1];
    shardy__sha256_hex(expected, digits);
    char *copy = shardy__malloc(text.len);
    if (!copy) {
        return shardy__error_nomem(err, "catalog");
    }
    memcpy(copy, text.data, text.len);
    char *at = NULL;
    for (size_t i = 0; !at && i + CHECK_DIGITS <= text.len; i++) {
        at = memcmp(copy + i, digits, CHECK_DIGITS) == 0 ? copy + i : NULL;
    }
    sha256 digest = {{0}};
    shardy_status st = SHARDY_OK;
    if (at) {
        clear_digits(at);
        st = shardy__sha256(copy, text.len, &digest, err);
    }
    shardy__free(copy);
    SHARDY_TRY(st);
    if (!at || memcmp(&digest, expected, sizeof digest) != 0) {
        return shardy__error(err, SHARDY_CORRUPT, "catalog",
            "%s was changed after it was written: it differs from its own digest \"check\"", what);
    }
    return SHARDY_OK;
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
        num_dbs <= SHARDY_NUM_DBS_MAX &&
        shardy__template_check(h.shard_path, &ignored) >= 0) {
        h.num_dbs = (uint32_t)num_dbs;
        *out = h;
    }
}

static shardy_status parse_ours(
    const shardy_json_value *root, shardy_bytes text, pointer *out, shardy_error *err)
{
    const shardy_json_value *ours = shardy_json_get(root, "shardyfusion");
    sha256 check;
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
    SHARDY_TRY(shardy__document_digest(ours, what, "check", &check, err));
    SHARDY_TRY(compare_check(text, &check, err));
    parse_hint(shardy_json_get(ours, "hint"), &out->hint);
    out->has_ours = 1;
    return SHARDY_OK;
}

static void note_strangers(const shardy_json_value *root, pointer *out)
{
    static const char *const known[] = {"format_version", "manifest_content_type", "manifest_ref",
        "run_id", "shardyfusion", "updated_at"};
    for (size_t i = 0; i < shardy_json_count(root) && !out->stranger[0]; i++) {
        shardy_bytes name = shardy_json_name_at(root, i);
        int found = 0;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
            found |= strlen(known[k]) == name.len && memcmp(known[k], name.data, name.len) == 0;
        }
        if (!found) {
            snprintf(out->stranger, sizeof out->stranger, "%.*s",
                (int)(name.len < sizeof out->stranger ? name.len : sizeof out->stranger - 1),
                (const char *)name.data);
        }
    }
}

static shardy_status parse_root(
    const shardy_json_value *root, shardy_bytes text, pointer *out, shardy_error *err)
{
    note_strangers(root, out);
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

/* Puts the digest of the text where the zeros are. */
static shardy_status fill_check(bytebuf *text, size_t at, shardy_error *err)
{
    sha256 digest;
    char digits[CHECK_DIGITS + 1];
    SHARDY_TRY(shardy__sha256(text->data, text->len, &digest, err));
    shardy__sha256_hex(&digest, digits);
    memcpy(text->data + at, digits, CHECK_DIGITS);
    return SHARDY_OK;
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
    char zeros[CHECK_DIGITS + 1] = "";
    size_t check_at = 0;
    clear_digits(zeros);
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
        shardy__json_name(&w, "check");
        shardy__json_string(&w, zeros);
        check_at = out.len - 1 - CHECK_DIGITS;
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
    /* the text must be whole before its check is put into it */
    shardy_status st = shardy__json_writer_finish(&w, "catalog", err);
    if (st >= 0 && p->has_ours) {
        st = fill_check(&out, check_at, err);
    }
    shardy__json_writer_free(&w);
    if (st >= 0) {
        shardy__bytebuf_give(&out, text_out);
    }
    shardy__bytebuf_free(&out);
    return st;
}
