/* ask.c: asks a data set through the public interface, one question after the other in one process.
 *
 * usage: ask URL KEY DSN|- QUESTION...
 *
 * A question is a word, or word@text. The answer to each is a line of JSON: the question, the
 * status, the message, what came out, how long it took (microseconds by the clock and of the
 * processor). DSN: manifests are in Postgres. */
#include <shardyfusion/shardyfusion.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

typedef struct asker {
    shardy_context *context;
    const char *url;
    const char *key;
    shardy_manifest_store_options *manifests; /* NULL: objects */
    const char *text;                         /* behind the '@', or NULL */
    char out[200];                            /* what came out */
    shardy_error err;
} asker;

static void put_text(const char *name, const char *text)
{
    printf(", \"%s\": \"", name);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p < 0x20 || *p > 0x7e || *p == '"' || *p == '\\') {
            printf("\\u%04x", *p);
        } else {
            putchar(*p);
        }
    }
    putchar('"');
}

static shardy_admin_options admin_of(const asker *a)
{
    shardy_admin_options options;
    shardy_admin_options_init(&options, sizeof options);
    options.manifest_store = a->manifests;
    options.timeout_ms = 20000;
    return options;
}

/* --- reading ---------------------------------------------------------------------------------- */

static shardy_status read_key(asker *a, const shardy_reader_options *options)
{
    shardy_reader *reader = NULL;
    shardy_buf value = {0};
    const shardy_key key = shardy_key_cstr(a->key);
    shardy_status st = shardy_reader_open(a->context, a->url, options, &reader, &a->err);
    if (st == SHARDY_OK) {
        st = shardy_reader_get(reader, &key, NULL, &value, &a->err);
    }
    if (st == SHARDY_OK) {
        snprintf(a->out, sizeof a->out, "%.*s", (int)(value.len < 8 ? value.len : 8),
            (const char *)value.data);
    }
    shardy_buf_release(&value);
    shardy_reader_close(reader);
    return st;
}

static shardy_reader_options reader_options_of(const asker *a)
{
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.manifest_store = a->manifests;
    options.timeout_ms = 20000;
    options.ref = a->text;
    return options;
}

static shardy_status ask_get(asker *a)
{
    const shardy_reader_options options = reader_options_of(a);
    return read_key(a, &options);
}

/* By ranges, with the key known from the start: the index of its shard is used. */
static shardy_status ask_get_range(asker *a)
{
    const shardy_key key = shardy_key_cstr(a->key);
    shardy_reader_options options = reader_options_of(a);
    options.access = SHARDY_ACCESS_RANGE;
    options.io = SHARDY_IO_PREAD;
    options.first_key = &key;
    return read_key(a, &options);
}

static shardy_status ask_info(asker *a)
{
    const shardy_reader_options options = reader_options_of(a);
    shardy_reader *reader = NULL;
    shardy_snapshot_info info = {0};
    shardy_status st = shardy_reader_open(a->context, a->url, &options, &reader, &a->err);
    if (st == SHARDY_OK) {
        st = shardy_reader_snapshot_info(reader, &info, &a->err);
    }
    if (st == SHARDY_OK) {
        snprintf(a->out, sizeof a->out, "%.60s,%" PRIu32 ",%" PRIu64, info.run_id, info.num_dbs,
            info.row_count);
    }
    shardy_snapshot_info_dispose(&info);
    shardy_reader_close(reader);
    return st;
}

/* --- administration --------------------------------------------------------------------------- */

static shardy_status ask_history(asker *a)
{
    const shardy_admin_options options = admin_of(a);
    shardy_history history = {0};
    shardy_status st = shardy_history_list(a->context, a->url, 20, &options, &history, &a->err);
    if (st == SHARDY_OK) {
        size_t current = 0;
        for (size_t i = 0; i < history.count; i++) {
            current += history.entries[i].current != 0;
        }
        snprintf(a->out, sizeof a->out, "%zu,%zu", history.count, current);
    }
    shardy_history_dispose(&history);
    return st;
}

static shardy_status ask_verify(asker *a)
{
    shardy_verify_options options;
    shardy_verify_result result = {0};
    shardy_verify_options_init(&options, sizeof options);
    options.admin = admin_of(a);
    options.ref = a->text;
    options.deep = 1;
    shardy_status st = shardy_verify(a->context, a->url, &options, &result, &a->err);
    if (st == SHARDY_OK) {
        static const char *const names[] = {"ok", "damaged", "unverified"};
        snprintf(a->out, sizeof a->out, "%s", names[result.status]);
    }
    shardy_verify_result_dispose(&result);
    return st;
}

static shardy_rollback_target target_of(const asker *a)
{
    shardy_rollback_target target;
    shardy_rollback_target_init(&target, sizeof target);
    target.ref = a->text;
    target.offset = a->text ? -1 : 1;
    return target;
}

static shardy_status ask_rollback(asker *a)
{
    const shardy_admin_options options = admin_of(a);
    const shardy_rollback_target target = target_of(a);
    shardy_buf ref = {0};
    shardy_status st = shardy_rollback(a->context, a->url, &target, &options, &ref, &a->err);
    shardy_buf_release(&ref);
    return st;
}

static shardy_status ask_rollback_run(asker *a)
{
    const shardy_admin_options options = admin_of(a);
    shardy_rollback_target target;
    shardy_buf ref = {0};
    shardy_rollback_target_init(&target, sizeof target);
    target.run_id = a->text;
    shardy_status st = shardy_rollback(a->context, a->url, &target, &options, &ref, &a->err);
    shardy_buf_release(&ref);
    return st;
}

static shardy_status ask_pin(asker *a)
{
    const shardy_admin_options options = admin_of(a);
    const shardy_rollback_target target = target_of(a);
    return shardy_pin_add(a->context, a->url, "kept", &target, &options, NULL, &a->err);
}

static shardy_status ask_pin_name(asker *a)
{
    const shardy_admin_options options = admin_of(a);
    return shardy_pin_add(a->context, a->url, a->text, NULL, &options, NULL, &a->err);
}

static shardy_status ask_unpin(asker *a)
{
    const shardy_admin_options options = admin_of(a);
    uint32_t removed = 0;
    shardy_status st =
        shardy_pin_remove(a->context, a->url, "kept", NULL, &options, &removed, &a->err);
    if (st == SHARDY_OK) {
        snprintf(a->out, sizeof a->out, "%" PRIu32, removed);
    }
    return st;
}

static shardy_status clean(asker *a, shardy_cleanup_options *options)
{
    shardy_cleanup_result result = {0};
    options->admin = admin_of(a);
    options->keep_last = 2;
    shardy_status st = shardy_cleanup(a->context, a->url, options, &result, &a->err);
    snprintf(a->out, sizeof a->out, "%" PRIu64, result.objects_deleted);
    shardy_cleanup_result_dispose(&result);
    return st;
}

static shardy_status ask_cleanup(asker *a)
{
    shardy_cleanup_options options;
    shardy_cleanup_options_init(&options, sizeof options);
    options.ref = a->text;
    return clean(a, &options);
}

/* Whatever its objects are called. */
static shardy_status ask_cleanup_force(asker *a)
{
    shardy_cleanup_options options;
    shardy_cleanup_options_init(&options, sizeof options);
    options.force = 1;
    return clean(a, &options);
}

static shardy_status ask_cleanup_shards(asker *a)
{
    shardy_cleanup_options options;
    shardy_cleanup_options_init(&options, sizeof options);
    options.shard_prefix = a->text;
    return clean(a, &options);
}

static shardy_status ask_cleanup_runs(asker *a)
{
    shardy_cleanup_options options;
    shardy_cleanup_options_init(&options, sizeof options);
    options.run_registry_prefix = a->text;
    return clean(a, &options);
}

/* --- the program ------------------------------------------------------------------------------ */

static const struct {
    const char *word;
    shardy_status (*ask)(asker *a);
} questions[] = {
    {"info", ask_info},
    {"get", ask_get},
    {"get-range", ask_get_range},
    {"history", ask_history},
    {"verify", ask_verify},
    {"rollback", ask_rollback},
    {"rollback-run", ask_rollback_run},
    {"pin", ask_pin},
    {"pin-name", ask_pin_name},
    {"unpin", ask_unpin},
    {"cleanup", ask_cleanup},
    {"cleanup-force", ask_cleanup_force},
    {"cleanup-shards", ask_cleanup_shards},
    {"cleanup-runs", ask_cleanup_runs},
};

static int64_t now(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int ask_one(asker *a, const char *question)
{
    const char *at = strchr(question, '@');
    size_t len = at ? (size_t)(at - question) : strlen(question);
    a->text = at ? at + 1 : NULL;
    a->out[0] = '\0';
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        if (strlen(questions[i].word) != len || memcmp(questions[i].word, question, len) != 0) {
            continue;
        }
        memset(&a->err, 0, sizeof a->err);
        int64_t wall = now(CLOCK_MONOTONIC);
        int64_t cpu = now(CLOCK_PROCESS_CPUTIME_ID);
        shardy_status st = questions[i].ask(a);
        wall = now(CLOCK_MONOTONIC) - wall;
        cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        printf("{\"question\": \"%s\", \"wall_us\": %" PRId64 ", \"cpu_us\": %" PRId64,
            questions[i].word, wall, cpu);
        put_text("status", shardy_status_name(st));
        put_text("message", a->err.message);
        put_text("out", a->out);
        printf("}\n");
        fflush(stdout);
        return 0;
    }
    fprintf(stderr, "ask: no question \"%s\"\n", question);
    return 2;
}

int main(int argc, char **argv)
{
    asker a = {0};
    shardy_manifest_store_options manifests;
    if (argc < 5) {
        fprintf(stderr, "usage: ask URL KEY DSN|- QUESTION...\n");
        return 2;
    }
    a.url = argv[1];
    a.key = argv[2];
    if (strcmp(argv[3], "-") != 0) {
        shardy_manifest_store_options_init(&manifests, sizeof manifests);
        manifests.kind = SHARDY_MANIFEST_POSTGRES;
        manifests.dsn = argv[3];
        a.manifests = &manifests;
    }
    if (shardy_context_new(NULL, &a.context, &a.err) != SHARDY_OK) {
        fprintf(stderr, "ask: %s\n", a.err.message);
        return 2;
    }
    int answer = 0;
    for (int i = 4; i < argc && answer == 0; i++) {
        answer = ask_one(&a, argv[i]);
    }
    shardy_context_free(a.context);
    return answer;
}
