#include "cli.h"

#include "lists.h"
#include "npy_arg.h"
#include "out_table.h"

#include <stdio.h>
#include <string.h>

/* --- the question ----------------------------------------------------------------------------- */

/* EXIT_OK, or the exit code after a message. */
static int parse_query(const cli *c, const char *text, npy_array *out)
{
    strbuf message = {0};
    int rc = EXIT_OK;
    out->rows = 1;
    out->one_dimension = 1;
    if (numbers_parse(text, &out->data, &out->dim, &message) != 0) {
        rc = out_fail_text(c, SHARDY_INVALID, strbuf_text(&message), NULL);
    }
    strbuf_free(&message);
    return rc;
}

static int load_queries(const cli *c, npy_array *out)
{
    const opt_values *v = &c->opts;
    strbuf message = {0};
    int loaded = npy_load(v->values[OPT_VECTOR_FILE].text, out, &message);
    int rc = EXIT_OK;
    if (loaded != 0) {
        shardy_status st = loaded == -2 ? SHARDY_IO : SHARDY_INVALID;
        rc = out_fail_text(c, st, strbuf_text(&message), NULL);
    } else if (opt_given(v, OPT_VECTOR_ROW)) {
        uint64_t row = v->values[OPT_VECTOR_ROW].number;
        if (row >= out->rows) {
            strbuf_printf(&message, "--vector-row %llu is out of range: \"%s\" has %zu row%s",
                (unsigned long long)row, v->values[OPT_VECTOR_FILE].text, out->rows,
                out_s(out->rows));
            rc = out_fail_text(c, SHARDY_INVALID, strbuf_text(&message), NULL);
        } else {
            memmove(out->data, out->data + row * out->dim, out->dim * sizeof *out->data);
            out->rows = 1;
            out->one_dimension = 1;
        }
    }
    strbuf_free(&message);
    return rc;
}

static int get_queries(const cli *c, npy_array *out)
{
    const opt_values *v = &c->opts;
    if (v->arg_count && opt_given(v, OPT_VECTOR_FILE)) {
        return out_usage(c, "give either QUERY or --vector-file, not both");
    }
    if (opt_given(v, OPT_VECTOR_ROW) && !opt_given(v, OPT_VECTOR_FILE)) {
        return out_usage(c, "option \"--vector-row\" needs --vector-file");
    }
    if (opt_given(v, OPT_VECTOR_FILE)) {
        return load_queries(c, out);
    }
    if (v->arg_count == 0) {
        return out_usage(c, "missing argument QUERY (or option --vector-file)");
    }
    return parse_query(c, v->args[0], out);
}

static int get_shard_ids(const cli *c, uint32_t **ids_out, size_t *count_out)
{
    const opt_value *given = &c->opts.values[OPT_SHARD_IDS];
    if (!given->count || shard_ids_parse(given->text, ids_out, count_out) == 0) {
        return EXIT_OK;
    }
    return out_usage_value(c, "shard-ids", "whole numbers separated by commas", given->text);
}

/* --- the answer ------------------------------------------------------------------------------- */

typedef struct answer {
    const shardy_hits *hits;
    uint32_t top_k;
    double latency_ms;
    int many; /* one list per query */
} answer;

static void add_json_hits(json_out *j, const answer *a, size_t query)
{
    json_name(j, "results");
    json_array(j);
    for (size_t i = a->hits->offsets[query]; i < a->hits->offsets[query + 1]; i++) {
        const shardy_hit *hit = &a->hits->hits[i];
        json_object(j);
        json_name(j, "id");
        json_key(j, &hit->id);
        json_name(j, "score");
        json_double(j, hit->score, 6);
        json_name(j, "payload");
        if (hit->has_payload) {
            json_embed(j, hit->payload);
        } else {
            json_null(j);
        }
        json_name(j, "db_id");
        json_uint(j, hit->db_id);
        json_object_end(j);
    }
    json_array_end(j);
}

static void add_json(const cli *c, strbuf *b, const answer *a)
{
    json_out j;
    out_json_begin(c, &j, b, "search");
    json_name(&j, "top_k");
    json_uint(&j, a->top_k);
    json_name(&j, "num_shards_queried");
    json_uint(&j, a->hits->shards_searched);
    json_name(&j, "latency_ms");
    json_double(&j, a->latency_ms, 2);
    if (a->many) {
        json_name(&j, "queries");
        json_array(&j);
        for (size_t q = 0; q < a->hits->query_count; q++) {
            json_object(&j);
            json_name(&j, "query");
            json_uint(&j, q);
            add_json_hits(&j, a, q);
            json_object_end(&j);
        }
        json_array_end(&j);
    } else {
        add_json_hits(&j, a, 0);
    }
    json_object_end(&j);
}

/* The payload on one line, as in jsonl. */
static void add_payload(strbuf *b, const shardy_hit *hit)
{
    if (hit->has_payload) {
        json_out j;
        json_begin(&j, b, 0);
        json_embed(&j, hit->payload);
    }
}

static void add_id(strbuf *b, const shardy_key *id)
{
    if (id->type == SHARDY_KEY_INT) {
        strbuf_printf(b, "%lld", (long long)id->i);
    } else if (id->type == SHARDY_KEY_UINT) {
        strbuf_printf(b, "%llu", (unsigned long long)id->u);
    } else {
        strbuf_add(b, id->bytes.data ? id->bytes.data : "", id->bytes.len);
    }
}

static void add_text(strbuf *b, const answer *a)
{
    strbuf_printf(b, "top_k=%u  shards=%u  latency_ms=%.2f\n", (unsigned)a->top_k,
        (unsigned)a->hits->shards_searched, a->latency_ms);
    for (size_t q = 0; q < a->hits->query_count; q++) {
        if (a->many) {
            strbuf_printf(b, "query=%zu\n", q);
        }
        for (size_t i = a->hits->offsets[q]; i < a->hits->offsets[q + 1]; i++) {
            const shardy_hit *hit = &a->hits->hits[i];
            strbuf text = {0};
            strbuf_puts(b, "id=");
            add_id(&text, &hit->id);
            out_add_text(b, strbuf_text(&text), text.len);
            strbuf_free(&text);
            strbuf_printf(b, "  score=%.6f  ", hit->score);
            add_payload(&text, hit);
            out_add_text(b, strbuf_text(&text), text.len);
            strbuf_free(&text);
            strbuf_putc(b, '\n');
        }
    }
}

static void add_table(const cli *c, strbuf *b, const answer *a)
{
    static const table_column with_query[] = {
        {"QUERY", 5, 1, 0}, {"ID", 20, 0, 0}, {"SCORE", 12, 1, 0}, {"PAYLOAD", 7, 0, 1}};
    out_table table;
    table_begin(&table, with_query + (a->many ? 0 : 1), a->many ? 4 : 3);
    for (size_t q = 0; q < a->hits->query_count; q++) {
        for (size_t i = a->hits->offsets[q]; i < a->hits->offsets[q + 1]; i++) {
            const shardy_hit *hit = &a->hits->hits[i];
            strbuf text = {0};
            if (a->many) {
                table_cell_uint(&table, q);
            }
            add_id(&text, &hit->id);
            table_cell(&table, strbuf_text(&text), text.len);
            strbuf_free(&text);
            strbuf_printf(&text, "%.6f", hit->score);
            table_cell(&table, strbuf_text(&text), text.len);
            strbuf_free(&text);
            add_payload(&text, hit);
            table_cell(&table, strbuf_text(&text), text.len);
            strbuf_free(&text);
        }
    }
    table_end(&table, b, c->colour_out);
}

static int print_answer(const cli *c, const answer *a)
{
    strbuf b = {0};
    if (c->format == OUT_TEXT) {
        add_text(&b, a);
    } else if (c->format == OUT_TABLE) {
        add_table(c, &b, a);
    } else {
        add_json(c, &b, a);
    }
    int rc = out_write(c, &b);
    strbuf_free(&b);
    return rc;
}

static int ask(cli *c, const shardy_reader *reader, const npy_array *queries,
    const shardy_query *shards, const shardy_read_options *options)
{
    shardy_error err = {0};
    shardy_hits hits = {0};
    shardy_query query = *shards;
    if (queries->dim > UINT32_MAX) {
        return out_fail_text(c, SHARDY_INVALID, "the query has too many numbers", NULL);
    }
    query.vectors = queries->data;
    query.count = queries->rows;
    query.dim = (uint32_t)queries->dim;
    query.top_k =
        opt_given(&c->opts, OPT_TOP_K) ? (uint32_t)c->opts.values[OPT_TOP_K].number : query.top_k;
    int64_t start = sys_now_ns();
    shardy_status st = shardy_reader_search(reader, &query, options, &hits, &err);
    answer a = {&hits, query.top_k, (double)(sys_now_ns() - start) / 1e6, !queries->one_dimension};
    int rc = st < 0 ? out_fail(c, &err, NULL) : print_answer(c, &a);
    shardy_hits_dispose(&hits);
    return rc;
}

int cmd_search(cli *c)
{
    shardy_reader *reader = NULL;
    shardy_column *columns = NULL;
    size_t count = 0;
    char *owned = NULL;
    uint32_t *ids = NULL;
    npy_array queries = {0};
    shardy_query shards;
    shardy_query_init(&shards, sizeof shards);
    int rc = get_queries(c, &queries);
    rc = rc == EXIT_OK ? get_shard_ids(c, &ids, &shards.shard_id_count) : rc;
    rc = rc == EXIT_OK ? target_routing_context(c, &columns, &count, &owned) : rc;
    rc = rc == EXIT_OK ? target_open(c, &reader) : rc;
    if (rc == EXIT_OK) {
        shardy_read_options options;
        target_read_options(c, columns, count, &options);
        shards.shard_ids = ids;
        rc = ask(c, reader, &queries, &shards, &options);
    }
    target_close(c, reader);
    npy_free(&queries);
    sys_free(ids);
    sys_free(columns);
    sys_free(owned);
    return rc;
}
