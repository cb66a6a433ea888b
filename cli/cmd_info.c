#include "cli.h"

#include "out_table.h"

#include <string.h>

static const char *verified_name(int32_t verified)
{
    return verified ? "yes: every object has a digest that is checked" : "no: without digests";
}

static void add_json(const cli *c, strbuf *b, const shardy_snapshot_info *info, const char *created)
{
    json_out j;
    out_json_begin(c, &j, b, "info");
    json_name(&j, "run_id");
    json_text(&j, info->run_id);
    json_name(&j, "num_dbs");
    json_uint(&j, info->num_dbs);
    json_name(&j, "sharding");
    json_text(&j, shardy_sharding_strategy_name(info->strategy));
    json_name(&j, "created_at");
    json_text(&j, created);
    json_name(&j, "manifest_ref");
    json_text(&j, info->manifest_ref);
    json_name(&j, "row_count");
    json_uint(&j, info->row_count);
    json_name(&j, "key_encoding");
    json_text(&j, shardy_key_encoding_name(info->key_encoding));
    json_name(&j, "hash_algorithm");
    json_text(&j, info->hash_algorithm);
    json_name(&j, "engine");
    json_text(&j, info->engine);
    json_name(&j, "verified");
    json_bool(&j, info->verified);
    json_name(&j, "shard_count");
    json_uint(&j, info->shard_count);
    json_name(&j, "db_bytes");
    json_uint(&j, info->db_bytes);
    json_name(&j, "s3_prefix");
    json_text(&j, info->s3_prefix);
    json_name(&j, "generation");
    json_uint(&j, info->generation);
    json_name(&j, "cel_expr");
    json_text(&j, info->cel_expr);
    json_name(&j, "vector");
    if (info->has_vectors) {
        json_object(&j);
        json_name(&j, "dim");
        json_uint(&j, info->dim);
        json_name(&j, "metric");
        json_text(&j, shardy_vector_metric_name(info->metric));
        json_object_end(&j);
    } else {
        json_null(&j);
    }
    json_name(&j, "custom");
    json_embed(&j, (shardy_bytes){info->custom, info->custom ? strlen(info->custom) : 0});
    json_object_end(&j);
}

/* A list of names and values that grows; values are owned. */
typedef struct pair_list {
    out_pair pairs[20];
    size_t count;
} pair_list;

static strbuf *add_pair(pair_list *list, strbuf *scratch, const char *name)
{
    list->pairs[list->count++].name = name;
    *scratch = (strbuf){0};
    return scratch;
}

static void end_pair(pair_list *list, strbuf *scratch)
{
    list->pairs[list->count - 1].value = strbuf_take(scratch);
}

static void add_text_pair(pair_list *list, const char *name, const char *value)
{
    strbuf b;
    strbuf_puts(add_pair(list, &b, name), value ? value : "null");
    end_pair(list, &b);
}

static void add_number_pair(pair_list *list, const char *name, uint64_t value)
{
    strbuf b;
    strbuf_printf(add_pair(list, &b, name), "%llu", (unsigned long long)value);
    end_pair(list, &b);
}

static void fill_pairs(
    pair_list *l, const shardy_snapshot_info *info, const char *created, int for_people)
{
    strbuf b;
    add_text_pair(l, "run_id", info->run_id);
    add_number_pair(l, "num_dbs", info->num_dbs);
    add_text_pair(l, "sharding", shardy_sharding_strategy_name(info->strategy));
    add_text_pair(l, "created_at", created);
    add_text_pair(l, "manifest_ref", info->manifest_ref);
    add_number_pair(l, "row_count", info->row_count);
    add_text_pair(l, "key_encoding", shardy_key_encoding_name(info->key_encoding));
    add_text_pair(l, "hash_algorithm", info->hash_algorithm);
    add_text_pair(l, "engine", info->engine);
    add_text_pair(l, "verified",
        for_people       ? verified_name(info->verified)
        : info->verified ? "true"
                         : "false");
    add_number_pair(l, "shard_count", info->shard_count);
    strbuf_printf(add_pair(l, &b, "db_bytes"), "%llu", (unsigned long long)info->db_bytes);
    if (for_people && info->db_bytes >= 1024) {
        strbuf_puts(&b, " (");
        progress_add_bytes(&b, info->db_bytes);
        strbuf_puts(&b, ")");
    }
    end_pair(l, &b);
    add_text_pair(l, "s3_prefix", info->s3_prefix);
    add_number_pair(l, "generation", info->generation);
    if (info->cel_expr || !for_people) {
        add_text_pair(l, "cel_expr", info->cel_expr);
    }
    if (info->has_vectors) {
        const char *metric = shardy_vector_metric_name(info->metric);
        strbuf_printf(add_pair(l, &b, "vector"), "dim=%u metric=%s", (unsigned)info->dim, metric);
        end_pair(l, &b);
    } else if (!for_people) {
        add_text_pair(l, "vector", NULL);
    }
    add_text_pair(l, "custom", info->custom);
}

static void add_pairs(
    const cli *c, strbuf *b, const shardy_snapshot_info *info, const char *created)
{
    pair_list list = {0};
    fill_pairs(&list, info, created, c->format == OUT_TABLE);
    if (c->format == OUT_TABLE) {
        table_pairs(b, list.pairs, list.count, c->colour_out);
    }
    for (size_t i = 0; i < list.count; i++) {
        if (c->format == OUT_TEXT) {
            strbuf_printf(b, "%s=", list.pairs[i].name);
            out_add_text(b, list.pairs[i].value, strlen(list.pairs[i].value));
            strbuf_putc(b, '\n');
        }
        sys_free((void *)(uintptr_t)list.pairs[i].value);
    }
}

int cmd_info(cli *c)
{
    shardy_reader *reader = NULL;
    shardy_error err = {0};
    shardy_snapshot_info info = {0};
    int rc = target_open(c, &reader);
    if (rc == EXIT_OK && shardy_reader_snapshot_info(reader, &info, &err) < 0) {
        rc = out_fail(c, &err, NULL);
    } else if (rc == EXIT_OK) {
        strbuf b = {0};
        char *created = out_time(info.created_at);
        if (c->format == OUT_JSON || c->format == OUT_JSONL) {
            add_json(c, &b, &info, created);
        } else {
            add_pairs(c, &b, &info, created);
        }
        rc = out_write(c, &b);
        sys_free(created);
        strbuf_free(&b);
    }
    shardy_snapshot_info_dispose(&info);
    target_close(c, reader);
    return rc;
}
