/* target.c: which snapshot is meant, opening it, and the options that all commands on it share. */
#include "cli.h"

#include <string.h>

/* --- which snapshot --------------------------------------------------------------------------- */

/* Length of "scheme" in "scheme://...", 0 for a path. */
static size_t scheme_len(const char *url)
{
    size_t n = strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");
    return n > 0 && strncmp(url + n, "://", 3) == 0 ? n : 0;
}

static int is_scheme(const char *url, const char *scheme)
{
    size_t n = scheme_len(url);
    char *copy = sys_strndup(url, n);
    int same = n > 0 && opt_choice(scheme, copy) >= 0;
    sys_free(copy);
    return same;
}

/* Where manifests are kept, when that is Postgres. */
static int check_postgres(cli *c)
{
    shardy_manifest_store_options *o = &c->manifest_store;
    if (!c->cfg.s3_prefix) {
        return out_usage(c, "the configuration needs reader.s3_prefix when manifest_store.backend "
                            "is \"postgres\"");
    }
    shardy_manifest_store_options_init(o, sizeof *o);
    o->kind = SHARDY_MANIFEST_POSTGRES;
    o->dsn = c->cfg.dsn ? c->cfg.dsn : sys_env("SHARDY_MANIFEST_DSN");
    o->ensure_table = c->cfg.ensure_table != 0;
    if (c->cfg.table_name) {
        o->table_name = c->cfg.table_name;
    }
    if (c->cfg.pointer_table_name) {
        o->pointer_table_name = c->cfg.pointer_table_name;
    }
    if (!o->dsn) {
        return out_fail_text(c, SHARDY_CONFIG,
            "manifest_store.backend is \"postgres\", but neither manifest_store.dsn nor "
            "SHARDY_MANIFEST_DSN is set",
            NULL);
    }
    return EXIT_OK;
}

const shardy_manifest_store_options *target_manifest_store(const cli *c)
{
    return c->cfg.store == CONFIG_POSTGRES ? &c->manifest_store : NULL;
}

/* The credentials are needed for object storage only; named ones are checked in any case. */
static int check_credentials(cli *c, int remote)
{
    strbuf warning = {0};
    strbuf message = {0};
    const char *profile = c->cfg.credentials_profile;
    int rc = credentials_load(
        &c->found, c->opts.values[OPT_CREDENTIALS].text, profile, remote, &warning, &message);
    if (warning.len) {
        out_warn(c, strbuf_text(&warning));
    }
    if (rc != 0) {
        rc = out_fail_text(c, SHARDY_CONFIG, strbuf_text(&message), NULL);
    }
    strbuf_free(&warning);
    strbuf_free(&message);
    return rc;
}

/* Puts --s3-option over what a file says. */
static int put_s3_options(const cli *c, credentials *over)
{
    const opt_value *given = &c->opts.values[OPT_S3_OPTION];
    int rc = EXIT_OK;
    for (size_t i = 0; i < given->list_count && rc == EXIT_OK; i++) {
        strbuf message = {0};
        if (s3_option_set(over, given->list[i], &message) != 0) {
            rc = out_usage(c, strbuf_text(&message));
        }
        strbuf_free(&message);
    }
    return rc;
}

int target_check(cli *c, const char *url)
{
    int remote = url && is_scheme(url, "s3");
    credentials alone; /* wrong ones are told before the file is looked for */
    credentials_init(&alone);
    int rc = put_s3_options(c, &alone);
    credentials_free(&alone);
    rc = rc == EXIT_OK ? check_credentials(c, remote) : rc;
    rc = rc == EXIT_OK ? put_s3_options(c, &c->found) : rc;
    if (rc == EXIT_OK && c->cfg.store == CONFIG_POSTGRES) {
        rc = check_postgres(c);
    }
    if (rc != EXIT_OK || !url || scheme_len(url) == 0 || remote || is_scheme(url, "file")) {
        return rc;
    }
    shardy_error err;
    /* What may have a secret in it is not shown. */
    int is_plain = strpbrk(url, "@?#") == NULL;
    out_set_error(&err, SHARDY_UNSUPPORTED,
        "unknown scheme in \"%.*s%s\"; expected a path, a file:// or an s3:// URL",
        is_plain ? 900 : (int)scheme_len(url), url, is_plain ? "" : "://...");
    return out_fail(c, &err, NULL);
}

int target_agrees(cli *c, const char *name, const char *url)
{
    if (c->cfg.store != CONFIG_POSTGRES || !c->cfg.s3_prefix || place_same(url, c->cfg.s3_prefix)) {
        return EXIT_OK;
    }
    strbuf message = {0};
    strbuf_printf(&message,
        "%s is \"%s\", but reader.s3_prefix is \"%s\" (in %s): manifest_store.backend is "
        "\"postgres\", and the manifests there are of that data set",
        name, url, c->cfg.s3_prefix, c->cfg.path ? c->cfg.path : "the configuration");
    int rc = out_usage(c, strbuf_text(&message));
    strbuf_free(&message);
    return rc;
}

int target_find(cli *c)
{
    if (c->snapshot) {
        return EXIT_OK; /* of the session */
    }
    const opt_value *given = &c->opts.values[OPT_SNAPSHOT];
    if (given->count && given->text[0] == '\0') {
        return out_usage(c, "option \"--snapshot\" must not be empty");
    }
    const char *url = given->count ? given->text : sys_env("SHARDY_CURRENT");
    int rc = EXIT_OK;
    if (c->cfg.store == CONFIG_POSTGRES) {
        rc = url ? target_agrees(c, given->count ? "--snapshot" : "SHARDY_CURRENT", url) : EXIT_OK;
        url = NULL; /* s3_prefix says where the shards are */
    } else {
        url = url ? url : c->cfg.current_url;
    }
    if (rc != EXIT_OK) {
        return rc;
    }
    if (url) {
        c->snapshot = sys_strdup(url);
    } else if (c->cfg.s3_prefix) {
        strbuf b = {0};
        const char *prefix = c->cfg.s3_prefix;
        size_t len = strlen(prefix);
        strbuf_printf(&b, "%s%s", prefix, prefix[len - 1] == '/' ? "" : "/");
        c->snapshot = strbuf_take(&b);
    }
    rc = target_check(c, c->snapshot);
    if (rc == EXIT_OK && !c->snapshot) {
        rc = out_fail_text(c, SHARDY_CONFIG,
            "no snapshot was named: give --snapshot (or --current-url), set SHARDY_CURRENT, or set "
            "reader.current_url in reader.toml",
            NULL);
    }
    return rc;
}

uint32_t target_timeout_ms(const cli *c, uint32_t otherwise)
{
    const opt_value *given = &c->opts.values[OPT_TIMEOUT];
    if (!given->count) {
        return otherwise;
    }
    double ms = given->seconds * 1000;
    return ms < 1 ? 1 : ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

void target_fill_admin(const cli *c, shardy_admin_options *options)
{
    shardy_admin_options_init(options, sizeof *options);
    options->timeout_ms = target_timeout_ms(c, options->timeout_ms);
    options->cancel = c->cancel;
    options->store = c->store;
    options->manifest_store = target_manifest_store(c);
    options->allow_network_fs = opt_given(&c->opts, OPT_NETWORK_FS);
    options->unsafe_single_writer = opt_given(&c->opts, OPT_SINGLE_WRITER);
}

int target_admin(cli *c, uint32_t threads, shardy_admin_options *options)
{
    int rc = target_find(c);
    rc = rc == EXIT_OK ? context_open(c, threads) : rc;
    rc = rc == EXIT_OK ? bucket_open(c, c->snapshot) : rc;
    target_fill_admin(c, options);
    return rc;
}

int target_named(const cli *c, shardy_rollback_target *target, int *named_out)
{
    const opt_values *v = &c->opts;
    int count = opt_given(v, OPT_REF) + opt_given(v, OPT_RUN_ID) + opt_given(v, OPT_OFFSET);
    if (count > 1) {
        return out_usage(c, "options \"--ref\", \"--run-id\" and \"--offset\" exclude each other");
    }
    shardy_rollback_target_init(target, sizeof *target);
    target->ref = v->values[OPT_REF].text;
    target->run_id = v->values[OPT_RUN_ID].text;
    if (opt_given(v, OPT_OFFSET)) {
        target->offset = (int64_t)v->values[OPT_OFFSET].number;
    }
    *named_out = count;
    return EXIT_OK;
}

int target_ref(cli *c, char **ref_out)
{
    const opt_values *v = &c->opts;
    *ref_out = NULL;
    if (opt_given(v, OPT_REF) && opt_given(v, OPT_OFFSET)) {
        return out_usage(c, "options \"--ref\" and \"--offset\" exclude each other");
    }
    if (opt_given(v, OPT_REF)) {
        *ref_out = sys_strdup(v->values[OPT_REF].text);
        return EXIT_OK;
    }
    if (!opt_given(v, OPT_OFFSET)) {
        return EXIT_OK;
    }
    uint32_t offset = (uint32_t)v->values[OPT_OFFSET].number;
    shardy_error err = {0};
    shardy_history history = {0};
    shardy_admin_options options;
    target_fill_admin(c, &options);
    if (shardy_history_list(c->context, c->snapshot, offset + 1, &options, &history, &err) < 0) {
        return out_fail(c, &err, NULL);
    }
    if (offset < history.count) {
        *ref_out = sys_strdup(history.entries[offset].ref);
    } else {
        out_set_error(&err, SHARDY_INVALID, "offset %u is out of range: there %s %zu manifest%s",
            offset, history.count == 1 ? "is only" : "are only", history.count,
            out_s(history.count));
    }
    shardy_history_dispose(&history);
    return *ref_out ? EXIT_OK : out_fail(c, &err, NULL);
}

/* --- reading ---------------------------------------------------------------------------------- */

static int check_backend(const cli *c)
{
    command_id id = c->opts.command ? c->opts.command->id : CMD_COUNT;
    if (c->cfg.reader_backend == CONFIG_SLATEDB && (id == CMD_GET || id == CMD_MULTIGET)) {
        shardy_error err;
        out_set_error(&err, SHARDY_UNSUPPORTED,
            "reader.reader_backend \"slatedb\" (in %.700s) is not supported by this version; "
            "without the line the manifest decides",
            c->cfg.path ? c->cfg.path : "the configuration");
        return out_fail(c, &err, NULL);
    }
    return EXIT_OK;
}

/* How shards on object storage are read: from the command line, else from the configuration. */
static void set_access(const cli *c, shardy_reader_options *options)
{
    static const int32_t modes[] = {
        SHARDY_ACCESS_DOWNLOAD, SHARDY_ACCESS_RANGE, SHARDY_ACCESS_AUTO};
    const opt_values *opts = &c->opts;
    size_t mode = (size_t)c->cfg.sqlite_mode;
    options->auto_shard_bytes = (uint64_t)c->cfg.sqlite_per_shard_bytes;
    options->auto_total_bytes = (uint64_t)c->cfg.sqlite_total_bytes;
    if (opt_given(opts, OPT_SQLITE_MODE)) {
        mode = (size_t)opts->values[OPT_SQLITE_MODE].number;
    }
    if (opt_given(opts, OPT_SQLITE_PER_SHARD)) {
        options->auto_shard_bytes = opts->values[OPT_SQLITE_PER_SHARD].number;
    }
    if (opt_given(opts, OPT_SQLITE_TOTAL)) {
        options->auto_total_bytes = opts->values[OPT_SQLITE_TOTAL].number;
    }
    options->access = modes[mode];
}

/* Where downloaded shards are kept: the Python implementation downloads them to local_root. */
static void set_cache(const cli *c, shardy_reader_options *options)
{
    const opt_values *opts = &c->opts;
    options->cache_dir = c->cfg.local_root;
    if (opt_given(opts, OPT_CACHE_DIR)) {
        options->cache_dir = opts->values[OPT_CACHE_DIR].text;
    }
    if (options->cache_dir && !options->cache_dir[0]) {
        options->cache_dir = NULL;
    }
    if (opt_given(opts, OPT_CACHE_SIZE)) {
        options->cache_bytes = opts->values[OPT_CACHE_SIZE].number;
    }
}

/* Opens the snapshot at a ref; the key that will be asked for first, if that is known. */
static int open_at(
    cli *c, const char *ref, const char *first_key, size_t len, shardy_reader **reader_out)
{
    shardy_error err = {0};
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    const shardy_key key = shardy_key_text(first_key, len);
    options.ref = ref;
    options.store = c->store;
    options.manifest_store = target_manifest_store(c);
    /* Only a guess: what kind of key it is, the snapshot will tell. */
    if (first_key && !c->opts.values[OPT_KEY_FORMAT].number) {
        options.first_key = &key;
    }
    options.timeout_ms = target_timeout_ms(c, options.timeout_ms);
    options.open_cancel = c->cancel;
    set_access(c, &options);
    set_cache(c, &options);
    if (c->opts.values[OPT_IO].number == 1) {
        options.io = SHARDY_IO_PREAD;
    }
    if (shardy_reader_open(c->context, c->snapshot, &options, reader_out, &err) < 0) {
        return out_fail(c, &err, NULL);
    }
    return EXIT_OK;
}

int target_open_ref(cli *c, const char *ref, shardy_reader **reader_out)
{
    return open_at(c, ref, NULL, 0, reader_out);
}

int target_open(cli *c, shardy_reader **reader_out)
{
    return target_open_for(c, NULL, 0, reader_out);
}

int target_open_for(cli *c, const char *first_key, size_t len, shardy_reader **reader_out)
{
    *reader_out = NULL;
    char *ref = NULL;
    int rc = target_find(c);
    rc = rc == EXIT_OK ? check_backend(c) : rc;
    if (rc == EXIT_OK && c->session) {
        *reader_out = c->session->reader;
        return EXIT_OK;
    }
    rc = rc == EXIT_OK ? context_open(c, 0) : rc;
    rc = rc == EXIT_OK ? bucket_open(c, c->snapshot) : rc;
    rc = rc == EXIT_OK ? target_ref(c, &ref) : rc;
    rc = rc == EXIT_OK ? open_at(c, ref, first_key, len, reader_out) : rc;
    sys_free(ref);
    return rc;
}

void target_close(const cli *c, shardy_reader *reader)
{
    if (!c->session) {
        shardy_reader_close(reader);
    }
}

static char *trimmed(char *text)
{
    static const char blanks[] = " \t\r\n\v\f";
    text += strspn(text, blanks);
    for (size_t n = strlen(text); n > 0 && strchr(blanks, text[n - 1]); n--) {
        text[n - 1] = '\0';
    }
    return text;
}

int target_routing_context(
    const cli *c, shardy_column **columns_out, size_t *count_out, char **owned_out)
{
    const opt_value *given = &c->opts.values[OPT_ROUTING_CONTEXT];
    *columns_out = NULL;
    *owned_out = NULL;
    *count_out = given->list_count;
    strbuf all = {0}; /* the pairs one behind the other, each with its zero */
    for (size_t i = 0; i < given->list_count; i++) {
        if (!strchr(given->list[i], '=')) {
            shardy_error err;
            out_set_error(&err, SHARDY_INVALID,
                "option \"--routing-context\" must be KEY=VALUE, not \"%.800s\"", given->list[i]);
            strbuf_free(&all);
            return out_fail(c, &err, NULL);
        }
        strbuf_add(&all, given->list[i], strlen(given->list[i]) + 1);
    }
    if (given->list_count == 0) {
        return EXIT_OK;
    }
    *owned_out = strbuf_take(&all);
    *columns_out = sys_alloc(given->list_count, sizeof **columns_out);
    char *p = *owned_out;
    for (size_t i = 0; i < given->list_count; i++) {
        char *end = p + strlen(p);
        char *equals = strchr(p, '=');
        *equals = '\0';
        char *value = trimmed(equals + 1);
        (*columns_out)[i].name = trimmed(p);
        (*columns_out)[i].type = SHARDY_COLUMN_TEXT;
        (*columns_out)[i].bytes = (shardy_bytes){value, strlen(value)};
        p = end + 1;
    }
    return EXIT_OK;
}

void target_read_options(
    const cli *c, shardy_column *columns, size_t count, shardy_read_options *options_out)
{
    shardy_read_options_init(options_out, sizeof *options_out);
    options_out->routing_context = columns;
    options_out->routing_context_count = count;
    options_out->cancel = c->cancel;
    options_out->timeout_ms = target_timeout_ms(c, 0);
}

int key_from_argument(cli *c, const shardy_reader *reader, const char *text, size_t len,
    shardy_key *key_out, char **owned_out)
{
    *owned_out = NULL;
    shardy_error err = {0};
    if (c->key_encoding == 0) {
        shardy_snapshot_info info = {0};
        if (shardy_reader_snapshot_info(reader, &info, &err) < 0) {
            return out_fail(c, &err, NULL);
        }
        c->key_encoding = info.key_encoding;
        shardy_snapshot_info_dispose(&info);
    }
    key_format format = (key_format)c->opts.values[OPT_KEY_FORMAT].number;
    strbuf message = {0};
    int rc = key_parse(text, len, format, c->key_encoding, key_out, owned_out, &message);
    if (rc != 0) {
        char *shown = sys_strndup(text, len);
        /* in a list of keys the message names the key */
        int single = c->opts.command->id != CMD_MULTIGET;
        rc = out_fail_text(c, SHARDY_INVALID, strbuf_text(&message), single ? shown : NULL);
        sys_free(shown);
    }
    strbuf_free(&message);
    return rc;
}
