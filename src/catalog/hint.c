#include "hint.h"

#include "../base/number.h"
#include "../base/uri.h"
#include "../manifest/manifest.h"
#include "../manifest/template.h"
#include "../route/router.h"

#include <stdio.h>
#include <string.h>

static int ends_in(const char *text, const char *end)
{
    size_t len = strlen(text);
    size_t end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static int has_sidecars(const manifest *m)
{
    for (size_t i = 0; i < m->object_count; i++) {
        if (ends_in(m->objects[i].path, "/shard.sidecar")) {
            return 1;
        }
    }
    return 0;
}

static void expand(
    const pointer_hint *hint, uint32_t db_id, char out[SHARDY_OBJECT_KEY_LEN_MAX + 1])
{
    shardy__template_format(hint->shard_path, db_id, out, SHARDY_OBJECT_KEY_LEN_MAX + 1);
}

/* 1 when each shard is where the hint says. */
static int holds(const pointer_hint *hint, const manifest *m)
{
    for (uint32_t i = 0; i < m->shard_count; i++) {
        char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
        char expected[SHARDY_OBJECT_KEY_LEN_MAX + 1];
        shardy_error ignored;
        const manifest_shard *shard = &m->shards[i];
        if (!shard->db_url) {
            continue;
        }
        expand(hint, shard->db_id, expected);
        if (shardy__manifest_shard_path(m, shard, path, &ignored) < 0 ||
            strcmp(path, expected) != 0) {
            return 0;
        }
    }
    return 1;
}

void shardy__hint_make(const struct manifest *m, pointer_hint *out)
{
    shardy_error ignored;
    memset(out, 0, sizeof *out);
    if (m->strategy != SHARDY_SHARDING_HASH || !has_sidecars(m) || !m->db_path_template ||
        !m->shard_prefix) {
        return;
    }
    out->key_encoding = m->key_encoding;
    for (uint32_t i = 0; i < m->shard_count; i++) {
        uint64_t bytes = m->shards[i].db_bytes;
        out->shard_bytes = bytes > out->shard_bytes ? bytes : out->shard_bytes;
        out->total_bytes += bytes;
    }
    int n = snprintf(out->shard_path, sizeof out->shard_path, "%s/run_id=%s/%s/attempt=00",
        m->shard_prefix, m->run_id, m->db_path_template);
    /* Nothing else of the path may look like a place for a number. */
    if (n > 0 && (size_t)n < sizeof out->shard_path &&
        shardy__template_check(out->shard_path, &ignored) >= 0 && holds(out, m)) {
        out->num_dbs = m->num_dbs;
    } else {
        memset(out, 0, sizeof *out);
    }
}

static shardy_key as_stored(const pointer_hint *hint, const shardy_key *key)
{
    uint64_t number;
    int numbers = hint->key_encoding == SHARDY_KEY_ENCODING_U64BE ||
                  hint->key_encoding == SHARDY_KEY_ENCODING_U32BE;
    if (numbers && key->type == SHARDY_KEY_TEXT &&
        shardy__parse_uint64(key->bytes.data, key->bytes.len, &number)) {
        return number <= INT64_MAX ? shardy_key_int((int64_t)number) : shardy_key_uint(number);
    }
    return *key;
}

int shardy__hint_shard(
    const pointer_hint *hint, const shardy_key *key, char path_out[SHARDY_OBJECT_KEY_LEN_MAX + 1])
{
    shardy_error ignored;
    routed_key routed;
    const router r = {SHARDY_SHARDING_HASH, hint->key_encoding, hint->num_dbs};
    path_out[0] = '\0';
    const shardy_key stored = as_stored(hint, key);
    if (hint->num_dbs == 0 || shardy__router_route(&r, &stored, NULL, 0, &routed, &ignored) < 0) {
        return 0;
    }
    expand(hint, routed.db_id, path_out);
    return shardy__key_problem(path_out, strlen(path_out)) == NULL;
}
