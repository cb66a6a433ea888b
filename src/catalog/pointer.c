#include "pointer.h"

#include "document.h"

#include "../base/clock.h"

#include <string.h>

static const char what[] = "_CURRENT";

static shardy_status parse_ours(const shardy_json_value *root, pointer *out, shardy_error *err)
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
    out->has_ours = 1;
    return SHARDY_OK;
}

static shardy_status parse_root(const shardy_json_value *root, pointer *out, shardy_error *err)
{
    SHARDY_TRY(shardy__document_text(
        root, what, "manifest_ref", out->manifest_ref, sizeof out->manifest_ref, err));
    SHARDY_TRY(shardy__document_text(root, what, "manifest_content_type",
        out->manifest_content_type, sizeof out->manifest_content_type, err));
    SHARDY_TRY(shardy__document_text(root, what, "run_id", out->run_id, sizeof out->run_id, err));
    SHARDY_TRY(shardy__document_time(root, what, "updated_at", &out->updated_us, err));
    return parse_ours(root, out, err);
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
    shardy_status st = parse_root(shardy_json_root(json), out, err);
    shardy_json_free(json);
    return st;
}

shardy_status shardy__pointer_render(const pointer *p, shardy_buf *text_out, shardy_error *err)
{
    memset(text_out, 0, sizeof *text_out);
    char updated[SHARDY_TIME_TEXT_SIZE];
    char digest[65];
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
        shardy__json_name(&w, "generation");
        shardy__json_uint(&w, p->generation);
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
    return shardy__document_finish(&w, &out, text_out, err);
}
