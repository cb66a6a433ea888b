/* info.c: what is known about a snapshot and its shards, as copies that outlive it. */
#include "reader.h"

#include "../base/alloc.h"
#include "../base/arena.h"

#include <string.h>

static arena *new_owner(shardy_error *err)
{
    arena *a = shardy__calloc(1, sizeof *a);
    if (!a) {
        shardy__error_nomem(err, "read");
    }
    return a;
}

static void free_owner(void *owner)
{
    if (owner) {
        shardy__arena_free(owner);
        shardy__free(owner);
    }
}

void shardy_snapshot_info_dispose(shardy_snapshot_info *info)
{
    if (info) {
        free_owner(info->owner);
        memset(info, 0, sizeof *info);
    }
}

void shardy_shard_details_dispose(shardy_shard_details *details)
{
    if (details) {
        free_owner(details->owner);
        memset(details, 0, sizeof *details);
    }
}

/* A copy of a text that may be NULL; notes when there is no memory. */
static const char *copy_text(arena *a, const char *text, int *failed)
{
    char *copy = text ? shardy__arena_strdup(a, text) : NULL;
    *failed |= text && !copy;
    return copy;
}

static shardy_status fill_info(
    const shardy_snapshot *s, shardy_snapshot_info *info, shardy_error *err)
{
    arena *a = info->owner;
    const manifest *m = s->manifest;
    int failed = 0;
    info->run_id = copy_text(a, m->run_id, &failed);
    info->created_at = copy_text(a, m->created_at, &failed);
    info->manifest_ref = copy_text(a, s->manifest_ref, &failed);
    info->s3_prefix = copy_text(a, m->s3_prefix, &failed);
    info->engine = copy_text(a, s->engine_name, &failed);
    info->hash_algorithm = "xxh3_64";
    info->cel_expr = copy_text(a, m->cel_expr, &failed);
    info->custom = copy_text(a, m->custom, &failed);
    info->strategy = m->strategy;
    info->key_encoding = m->key_encoding;
    info->num_dbs = m->num_dbs;
    for (uint32_t i = 0; i < m->shard_count; i++) {
        info->shard_count += m->shards[i].db_url != NULL;
        info->db_bytes += m->shards[i].db_bytes;
    }
    info->row_count = shardy__manifest_row_count(m);
    info->verified = s->verified;
    info->has_vectors = s->has_vectors;
    info->dim = m->parsed.dim;
    info->metric = m->parsed.metric;
    info->generation = s->generation;
    return failed ? shardy__error_nomem(err, "read") : SHARDY_OK;
}

/* The snapshot that is current now, held until it is dropped. */
static shardy_status hold_current(
    const shardy_reader *reader, shardy_snapshot **snapshot_out, shardy_error *err)
{
    return shardy_reader_pin(reader, snapshot_out, err);
}

shardy_status shardy_reader_snapshot_info(
    const shardy_reader *reader, shardy_snapshot_info *info_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(reader && info_out);
    memset(info_out, 0, sizeof *info_out);
    shardy_snapshot *s;
    SHARDY_TRY(hold_current(reader, &s, err));
    info_out->owner = new_owner(err);
    shardy_status st = info_out->owner ? fill_info(s, info_out, err) : SHARDY_NOMEM;
    shardy__snapshot_drop(s);
    if (st < 0) {
        shardy_snapshot_info_dispose(info_out);
    }
    return st;
}

static shardy_key copy_key(arena *a, const shardy_key *key, int *failed)
{
    shardy_key copy = *key;
    if (key->type == SHARDY_KEY_TEXT || key->type == SHARDY_KEY_BYTES) {
        copy.bytes.data = shardy__arena_strndup(a, key->bytes.data, key->bytes.len);
        *failed |= copy.bytes.data == NULL;
    }
    return copy;
}

static shardy_status fill_details(
    const shardy_snapshot *s, shardy_shard_details *details, shardy_error *err)
{
    arena *a = details->owner;
    const manifest *m = s->manifest;
    shardy_shard_detail *shards = shardy__arena_calloc(a, m->num_dbs, sizeof *shards);
    int failed = shards == NULL;
    for (uint32_t i = 0; !failed && i < m->num_dbs; i++) {
        const manifest_shard *row = shardy__manifest_shard(m, i);
        shards[i].db_id = i;
        if (!row) {
            continue;
        }
        shards[i].attempt = row->attempt;
        shards[i].row_count = row->row_count;
        shards[i].db_bytes = row->db_bytes;
        shards[i].db_url = copy_text(a, row->db_url, &failed);
        shards[i].checkpoint_id = copy_text(a, row->checkpoint_id, &failed);
        shards[i].has_min_key = row->has_min_key;
        shards[i].has_max_key = row->has_max_key;
        if (row->has_min_key) {
            shards[i].min_key = copy_key(a, &row->min_key, &failed);
        }
        if (row->has_max_key) {
            shards[i].max_key = copy_key(a, &row->max_key, &failed);
        }
    }
    details->shards = shards;
    details->count = m->num_dbs;
    return failed ? shardy__error_nomem(err, "read") : SHARDY_OK;
}

shardy_status shardy_reader_shard_details(
    const shardy_reader *reader, shardy_shard_details *details_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(reader && details_out);
    memset(details_out, 0, sizeof *details_out);
    shardy_snapshot *s;
    SHARDY_TRY(hold_current(reader, &s, err));
    details_out->owner = new_owner(err);
    shardy_status st = details_out->owner ? fill_details(s, details_out, err) : SHARDY_NOMEM;
    shardy__snapshot_drop(s);
    if (st < 0) {
        shardy_shard_details_dispose(details_out);
    }
    return st;
}
