#include "cli.h"

#include "out_table.h"

#include <string.h>
#include <unistd.h>

typedef struct build {
    cli *c;
    shardy_row_source *source;
} build;

/* --- what was asked for ----------------------------------------------------------------------- */

static int has_vectors(const cli *c)
{
    return opt_given(&c->opts, OPT_VECTORS) || opt_given(&c->opts, OPT_VECTOR_COLUMN);
}

static int both(const cli *c, opt_id a, opt_id b)
{
    if (!opt_given(&c->opts, a) || !opt_given(&c->opts, b)) {
        return EXIT_OK;
    }
    strbuf message = {0};
    strbuf_printf(&message, "options \"--%s\" and \"--%s\" exclude each other", opt_table[a].name,
        opt_table[b].name);
    int rc = out_usage(c, strbuf_text(&message));
    strbuf_free(&message);
    return rc;
}

static int needs_vectors(const cli *c, opt_id id)
{
    if (!opt_given(&c->opts, id) || has_vectors(c)) {
        return EXIT_OK;
    }
    strbuf message = {0};
    strbuf_printf(
        &message, "option \"--%s\" needs --vector-column or --vectors", opt_table[id].name);
    int rc = out_usage(c, strbuf_text(&message));
    strbuf_free(&message);
    return rc;
}

/* 0 stands for "auto". */
static int get_page_size(const cli *c, uint32_t *page_size)
{
    const opt_value *given = &c->opts.values[OPT_PAGE_SIZE];
    uint64_t n = 0;
    if (!given->count) {
        return EXIT_OK;
    }
    if (opt_choice("auto", given->text) == 0) {
        *page_size = 0;
        return EXIT_OK;
    }
    if (opt_parse_uint(given->text, &n) != 0 || n < 512 || n > 65536 || (n & (n - 1)) != 0) {
        return out_usage_value(
            c, "page-size", "auto or a power of two from 512 to 65536", given->text);
    }
    *page_size = (uint32_t)n;
    return EXIT_OK;
}

static int check_engine(const cli *c)
{
    const opt_value *engine = &c->opts.values[OPT_ENGINE];
    const opt_value *metric = &c->opts.values[OPT_METRIC];
    shardy_error err;
    if (engine->count && engine->number > 1) {
        out_set_error(&err, SHARDY_UNSUPPORTED,
            "engine \"%s\" is not supported by this version; it writes sqlite and sqlite-vec",
            engine->text);
        return out_fail(c, &err, NULL);
    }
    if (engine->count && engine->number == 0 && has_vectors(c)) {
        return out_usage(c, "engine \"sqlite\" stores no vectors; use sqlite-vec");
    }
    if (metric->count && metric->number == 2) {
        return out_fail_text(c, SHARDY_UNSUPPORTED,
            "metric \"dot_product\" is not supported by engine sqlite-vec", NULL);
    }
    return EXIT_OK;
}

static int check_options(const cli *c)
{
    const opt_value *input = &c->opts.values[OPT_INPUT];
    size_t stdin_count = 0;
    for (size_t i = 0; i < input->list_count; i++) {
        stdin_count += strcmp(input->list[i], "-") == 0;
    }
    if (input->list_count == 0) {
        return out_usage(c, "missing option \"--input\"");
    }
    if (stdin_count > 1) {
        return out_usage(c, "the standard input (-) can be read only once");
    }
    if (c->opts.args[0][0] == '\0') {
        return out_usage(c, "DEST must not be empty");
    }
    int rc = both(c, OPT_NUM_DBS, OPT_MAX_KEYS);
    rc = rc == EXIT_OK ? both(c, OPT_VECTOR_COLUMN, OPT_VECTORS) : rc;
    rc = rc == EXIT_OK ? needs_vectors(c, OPT_VECTOR_ID_COLUMN) : rc;
    rc = rc == EXIT_OK ? needs_vectors(c, OPT_PAYLOAD_COLUMN) : rc;
    rc = rc == EXIT_OK ? needs_vectors(c, OPT_METRIC) : rc;
    return rc == EXIT_OK ? check_engine(c) : rc;
}

static void fill_source(const cli *c, shardy_row_source_options *o)
{
    static const int32_t formats[] = {SHARDY_ROWS_JSONL, SHARDY_ROWS_CSV, SHARDY_ROWS_AUTO};
    const opt_value *v = c->opts.values;
    shardy_row_source_options_init(o, sizeof *o);
    if (v[OPT_INPUT_FORMAT].count) {
        o->format = formats[v[OPT_INPUT_FORMAT].number];
    }
    if (v[OPT_KEY_COLUMN].count) {
        o->key_column = v[OPT_KEY_COLUMN].text;
    }
    /* the choices stand in the order of shardy_key_encoding */
    o->key_encoding = (int32_t)v[OPT_KEY_ENCODING].number;
    o->value_column = v[OPT_VALUE_COLUMN].text;
    o->vector_column = v[OPT_VECTOR_COLUMN].text;
    o->vector_id_column = v[OPT_VECTOR_ID_COLUMN].text;
    o->payload_column = v[OPT_PAYLOAD_COLUMN].text;
    o->vectors_path = v[OPT_VECTORS].text;
}

static int32_t on_progress(void *user, const shardy_progress *p)
{
    build *b = user;
    progress_view view = {.label = p->phase,
        .fraction = -1,
        .rows = p->rows,
        .bytes = p->bytes,
        .rows_per_second = 1};
    if (strcmp(p->phase, "read") == 0) {
        uint64_t done = 0;
        uint64_t total = 0;
        shardy_row_source_progress(b->source, &done, &total);
        view.label = "reading";
        view.fraction = total ? (double)done / (double)total : -1;
    } else if (strcmp(p->phase, "build") == 0) {
        view.label = "building";
        view.fraction = p->rows ? (double)p->rows_built / (double)p->rows : -1;
        view.rows = p->rows_built;
        view.bytes = p->bytes_built;
        view.shards_done = p->shards_done;
        view.shards_total = p->shards_total;
        view.uploaded = p->bytes_uploaded;
        view.to_upload = p->bytes_to_upload;
    } else if (strcmp(p->phase, "publish") == 0) {
        view.label = "publishing";
        view.shards_done = p->shards_done;
        view.shards_total = p->shards_total;
        view.rows_per_second = 0;
    } else {
        return 0;
    }
    progress_update(&b->c->bar, &view);
    return 0;
}

static int fill_writer(build *b, const shardy_row_source_options *source, shardy_writer_options *o)
{
    static const int32_t metrics[] = {
        SHARDY_VECTOR_METRIC_COSINE, SHARDY_VECTOR_METRIC_L2, SHARDY_VECTOR_METRIC_DOT};
    const opt_value *v = b->c->opts.values;
    shardy_writer_options_init(o, sizeof *o);
    o->store = b->c->store;
    o->run_id = v[OPT_RUN_ID].text;
    o->engine = v[OPT_ENGINE].text;
    if (!o->engine && has_vectors(b->c)) {
        o->engine = "sqlite-vec";
    }
    o->num_dbs = (uint32_t)v[OPT_NUM_DBS].number;
    o->max_keys_per_shard = v[OPT_MAX_KEYS].number;
    o->key_encoding = source->key_encoding;
    o->dim = shardy_row_source_dim(b->source);
    if (v[OPT_METRIC].count) {
        o->metric = metrics[v[OPT_METRIC].number];
    }
    o->key_column = source->key_column;
    o->published_as = v[OPT_PUBLISHED_AS].text;
    o->threads = (uint32_t)v[OPT_THREADS].number;
    if (v[OPT_MEMORY].count) {
        o->memory_budget = v[OPT_MEMORY].number;
    }
    o->sidecar = (int32_t)v[OPT_SIDECAR].number; /* choices in the order of the enumeration */
    o->max_rows_per_second = (double)v[OPT_MAX_ROWS].number;
    o->max_row_bytes_per_second = (double)v[OPT_MAX_ROW_BYTES].number;
    o->scratch_dir = v[OPT_SCRATCH_DIR].text;
    o->allow_network_fs = v[OPT_NETWORK_FS].count > 0;
    o->on_conflict =
        v[OPT_ON_CONFLICT].number ? SHARDY_ON_CONFLICT_REPLACE : SHARDY_ON_CONFLICT_FAIL;
    o->unsafe_single_writer = v[OPT_SINGLE_WRITER].count > 0;
    o->allow_empty = v[OPT_ALLOW_EMPTY].count > 0;
    o->progress = on_progress;
    o->progress_user = b;
    o->cancel = b->c->cancel;
    o->manifest_store = target_manifest_store(b->c);
    return get_page_size(b->c, &o->page_size);
}

/* --- the answer ------------------------------------------------------------------------------- */

typedef struct result_field {
    const char *name;
    const char *text; /* NULL: a number */
    uint64_t number;
    int is_text;
} result_field;

enum {
    RESULT_FIELDS = 16
};

static uint64_t ms(int64_t value)
{
    return value < 0 ? 0 : (uint64_t)value;
}

static void list_fields(const shardy_build_result *r, result_field fields[RESULT_FIELDS])
{
    const result_field all[RESULT_FIELDS] = {
        {"run_id", r->run_id, 0, 1},
        {"manifest_ref", r->manifest_ref, 0, 1},
        {"engine", r->engine, 0, 1},
        {"num_dbs", NULL, r->num_dbs, 0},
        {"shard_count", NULL, r->shard_count, 0},
        {"rows_taken", NULL, r->rows_taken, 0},
        {"row_count", NULL, r->row_count, 0},
        {"vector_count", NULL, r->vector_count, 0},
        {"db_bytes", NULL, r->db_bytes, 0},
        {"attempts", NULL, r->attempts, 0},
        {"read_ms", NULL, ms(r->read_ms), 0},
        {"build_ms", NULL, ms(r->build_ms), 0},
        {"publish_ms", NULL, ms(r->publish_ms), 0},
        {"total_ms", NULL, ms(r->total_ms), 0},
        {"run_record_ref", r->run_record_ref, 0, 1},
        {"replaced_run_id", r->replaced_run_id, 0, 1},
    };
    memcpy(fields, all, sizeof all);
}

static int print_result(const cli *c, const shardy_build_result *r)
{
    result_field fields[RESULT_FIELDS];
    out_pair pairs[RESULT_FIELDS];
    strbuf numbers[RESULT_FIELDS] = {{0}};
    strbuf b = {0};
    json_out j;
    list_fields(r, fields);
    int as_json = c->format == OUT_JSON || c->format == OUT_JSONL;
    if (as_json) {
        out_json_begin(c, &j, &b, "build");
    }
    for (size_t i = 0; i < RESULT_FIELDS; i++) {
        const result_field *f = &fields[i];
        if (as_json) {
            json_name(&j, f->name);
            if (f->is_text) {
                json_text(&j, f->text);
            } else {
                json_uint(&j, f->number);
            }
            continue;
        }
        strbuf_printf(&numbers[i], "%llu", (unsigned long long)f->number);
        const char *text = f->text ? f->text : "null";
        pairs[i] = (out_pair){f->name, f->is_text ? text : strbuf_text(&numbers[i])};
        if (c->format == OUT_TEXT) {
            strbuf_printf(&b, "%s=", f->name);
            out_add_text(&b, pairs[i].value, strlen(pairs[i].value));
            strbuf_putc(&b, '\n');
        }
    }
    if (as_json) {
        json_object_end(&j);
    } else if (c->format == OUT_TABLE) {
        table_pairs(&b, pairs, RESULT_FIELDS, c->colour_out);
    }
    int rc = out_report(c, &b, "run \"%.128s\" was published and is current", r->run_id);
    for (size_t i = 0; i < RESULT_FIELDS; i++) {
        strbuf_free(&numbers[i]);
    }
    strbuf_free(&b);
    return rc;
}

/* --- the work --------------------------------------------------------------------------------- */

static shardy_status write_rows(
    build *b, const shardy_writer_options *options, shardy_build_result *result, shardy_error *err)
{
    cli *c = b->c;
    shardy_writer *writer = NULL;
    shardy_status st = shardy_writer_open(c->context, c->opts.args[0], options, &writer, err);
    if (st >= 0) {
        st = shardy_writer_put_source(writer, b->source, err);
    }
    if (st >= 0 && shardy_cancel_requested(c->cancel)) {
        /* the end of the standard input was that of the command */
        out_set_error(err, SHARDY_CANCELLED, "interrupted");
        st = SHARDY_CANCELLED;
    }
    if (st >= 0) {
        st = shardy_writer_finish(writer, result, err);
    }
    shardy_writer_close(writer);
    return st;
}

/* Not where somebody types the rows: the line would be drawn over theirs. */
static int wants_progress(const cli *c)
{
    const opt_value *input = &c->opts.values[OPT_INPUT];
    int from_stdin = 0;
    for (size_t i = 0; i < input->list_count; i++) {
        from_stdin |= strcmp(input->list[i], "-") == 0;
    }
    return !opt_given(&c->opts, OPT_QUIET) && !(from_stdin && isatty(STDIN_FILENO));
}

static int run(build *b)
{
    cli *c = b->c;
    shardy_error err = {0};
    shardy_build_result result = {0};
    shardy_row_source_options source_options;
    shardy_writer_options options;
    const opt_value *input = &c->opts.values[OPT_INPUT];
    fill_source(c, &source_options);
    if (shardy_row_source_open(
            c->context, input->list, input->list_count, &source_options, &b->source, &err) < 0) {
        return out_fail(c, &err, NULL);
    }
    int rc = fill_writer(b, &source_options, &options);
    if (rc != EXIT_OK) {
        return rc;
    }
    progress_begin(&c->bar, wants_progress(c), c->verbose, c->colour_err);
    shardy_status st = write_rows(b, &options, &result, &err);
    progress_end(&c->bar);
    if (st < 0 && signals_caught()) {
        err.status = SHARDY_CANCELLED;
    }
    if (st >= 0 && result.rows_taken == 0) {
        out_warn(c, "the input has no rows: what was published is empty");
    }
    rc = st < 0 ? out_fail(c, &err, NULL) : print_result(c, &result);
    shardy_build_result_dispose(&result);
    return rc;
}

int cmd_build(cli *c)
{
    build b = {c, NULL};
    uint32_t unused = 0;
    int rc = check_options(c);
    rc = rc == EXIT_OK ? get_page_size(c, &unused) : rc;
    /* readers would look for the shards below s3_prefix */
    rc = rc == EXIT_OK ? target_agrees(c, "DEST", c->opts.args[0]) : rc;
    rc = rc == EXIT_OK ? target_check(c, c->opts.args[0]) : rc;
    rc = rc == EXIT_OK ? context_open(c, (uint32_t)c->opts.values[OPT_THREADS].number) : rc;
    rc = rc == EXIT_OK ? bucket_open(c, c->opts.args[0]) : rc;
    rc = rc == EXIT_OK ? run(&b) : rc;
    shardy_row_source_close(b.source);
    return rc;
}
