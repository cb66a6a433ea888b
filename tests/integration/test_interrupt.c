/* A build that is cancelled while a request of it is not answered ends at once, takes back what it
 * did, and publishes nothing; one whose pointer was moved all the same says so. The server holds
 * the request, and without a deadline anywhere a build that did not look would never end: then the
 * test fails by the timeout of the runner. */
#include "catalog/fate.h"
#include "support/server.h"
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN       "run"
#define VALUE_LEN (1u << 20)
#define PART_SIZE (5u << 20)

static server *s3;

static int start(void **state)
{
    (void)state;
    s3 = server_start_s3(NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    server_stop(s3);
    return 0;
}

/* A store of an empty prefix, which nobody else has. */
static shardy_store *open_store(const char *name)
{
    shardy_error err;
    shardy_store *store = NULL;
    shardy_store_s3_options options;
    char url[128];
    snprintf(url, sizeof url, "s3://" SERVER_BUCKET "/%s", name);
    shardy_store_s3_options_init(&options, sizeof options);
    options.endpoint_url = server_url(s3);
    options.region = SERVER_REGION;
    options.access_key_id = SERVER_ACCESS_KEY;
    options.secret_access_key = SERVER_SECRET_KEY;
    options.proxy = "";
    options.connect_timeout_ms = 3600u * 1000u;
    options.read_timeout_ms = 3600u * 1000u;
    options.part_size = PART_SIZE;
    assert_ok(shardy_store_open_s3(NULL, url, &options, &store, &err));
    return store;
}

typedef struct build_job {
    shardy_store *store;
    size_t value_len;
    uint32_t shards;
    const shardy_cancel *cancel;
    shardy_progress_fn progress;
    void *progress_user;
} build_job;

/* Small shards, or such as are uploaded in three parts. */
static shardy_status build(const build_job *job, shardy_error *err)
{
    shardy_writer_options o;
    shardy_writer *w = NULL;
    const uint32_t rows = job->value_len == VALUE_LEN ? job->shards * 12 : 8;
    shardy_writer_options_init(&o, sizeof o);
    o.run_id = RUN;
    o.num_dbs = job->shards;
    o.threads = job->shards;
    o.sync = 0;
    o.store = job->store;
    o.cancel = job->cancel;
    o.progress = job->progress;
    o.progress_user = job->progress_user;
    char *value = calloc(1, job->value_len);
    assert_non_null(value);
    shardy_status st = shardy_writer_open(NULL, "s3://" SERVER_BUCKET "/set", &o, &w, err);
    for (uint32_t i = 0; st >= 0 && i < rows; i++) {
        shardy_row row;
        shardy_row_init(&row, sizeof row);
        row.key = shardy_key_int(i);
        row.value = (shardy_bytes){value, job->value_len};
        st = shardy_writer_put(w, &row, err);
    }
    if (st >= 0) {
        st = shardy_writer_finish(w, NULL, err);
    }
    shardy_writer_close(w);
    free(value);
    return st;
}

static size_t count_below(shardy_store *store, const char *prefix)
{
    shardy_error err;
    shardy_store_page page = {0};
    assert_ok(shardy_store_list(store, prefix, 0, NULL, 100, &page, &err));
    size_t count = page.count;
    shardy_store_page_dispose(&page);
    return count;
}

/* Builds, and cancels that when a request that fits the rule is held. */
static shardy_status build_interrupted(
    shardy_store *store, const char *rule, size_t value_len, shardy_error *err_out)
{
    server_canceller who;
    print_message("%s\n", rule);
    server_reset(s3);
    server_faults(s3, rule);
    server_cancel_held(s3, &who);
    const build_job job = {store, value_len, 2, who.cancel, NULL, NULL};
    shardy_status st = build(&job, err_out);
    server_canceller_end(&who);
    return st;
}

static fate load_fate(shardy_store *store)
{
    shardy_error err;
    fate f;
    assert_ok(shardy__fate_load(store, RUN, &f, &err));
    return f;
}

#define HOLD(operation, key)                                                                       \
    "{\"kind\": \"hold\", \"times\": 1, \"operation\": \"" operation "\", \"key\": \"" key "\"}"
#define HOLD_DONE(operation, key)                                                                  \
    "{\"kind\": \"hold\", \"times\": 1, \"applied\": true, \"operation\": \"" operation            \
    "\", \"key\": \"" key "\"}"
/* of the puts of a fate the first makes it and two try out conditions */
#define HOLD_TAKE(members)                                                                         \
    "{\"kind\": \"hold\", \"times\": 1, \"from\": 4, \"operation\": \"put_object\", "              \
    "\"key\": \"*/fate\"" members "}"

/* A request before the pointer is moved, and what is found afterwards. */
typedef struct early_case {
    const char *rule;
    int has_fate;
    size_t value_len;
} early_case;

static const early_case early[] = {
    {"{\"kind\": \"hold\", \"times\": 1, \"operation\": \"list_objects\"}", 0, 100},
    {HOLD("put_object", "*/fate"), 0, 100},
    {HOLD("get_object", "*_CURRENT"), 0, 100},
    {HOLD("put_object", "*/run.yaml"), 1, 100},
    {HOLD("put_object", "*/shard.db"), 1, 100},
    {HOLD_DONE("put_object", "*/shard.db"), 1, 100},
    {HOLD("put_object", "*.sidecar"), 1, 100},
    {HOLD("create_upload", "*/shard.db"), 1, VALUE_LEN},
    {HOLD("upload_part", "*/shard.db"), 1, VALUE_LEN},
    {HOLD_DONE("complete_upload", "*/shard.db"), 1, VALUE_LEN},
    {HOLD_TAKE(""), 1, 100},
    {HOLD_TAKE(", \"applied\": true"), 1, 100},
    {HOLD("put_object", "*/manifest"), 1, 100},
    {HOLD_DONE("put_object", "*/manifest"), 1, 100},
};

static void test_interrupt__a_build_that_waits_for_the_server_ends_and_leaves_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof early / sizeof early[0]; i++) {
        shardy_error err = {0};
        char name[32];
        snprintf(name, sizeof name, "early-%zu", i);
        shardy_store *store = open_store(name);
        assert_int_equal(
            build_interrupted(store, early[i].rule, early[i].value_len, &err), SHARDY_CANCELLED);
        assert_int_equal(err.status, SHARDY_CANCELLED);
        assert_int_equal(count_below(store, "shards/"), 0);
        assert_int_equal(count_below(store, "manifests/"), 0);
        shardy_object_meta meta;
        assert_int_equal(shardy_store_head(store, "_CURRENT", &meta, &err), SHARDY_NOT_FOUND);
        if (early[i].has_fate) {
            assert_int_equal(load_fate(store).state, FATE_CONDEMNED);
        }
        server_reset(s3);
        shardy_store_close(store);
    }
}

static void test_interrupt__uploads_in_parts_are_aborted(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_store *store = open_store("parts");
    assert_int_equal(build_interrupted(store, HOLD("upload_part", "*/shard.db"), VALUE_LEN, &err),
        SHARDY_CANCELLED);
    uint64_t begun = server_count(s3, "operation.create_upload", NULL);
    assert_true(begun >= 1);
    assert_int_equal(server_count(s3, "operation.abort_upload", NULL) +
                         server_count(s3, "operation.complete_upload", NULL),
        begun);
    assert_int_equal(count_below(store, "shards/"), 0);
    shardy_store_close(store);
}

/* The put of the pointer was sent: what became of it is found out, as after a lost answer. */
static void test_interrupt__a_pointer_that_was_moved_is_a_publish(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_store *store = open_store("moved");
    assert_ok(build_interrupted(store, HOLD_DONE("put_object", "*_CURRENT"), 100, &err));
    assert_int_equal(load_fate(store).state, FATE_PUBLISHED);
    shardy_object_meta meta;
    assert_ok(shardy_store_head(store, "_CURRENT", &meta, &err));
    shardy_store_close(store);
}

/* It has not counted, but may do so yet: then nothing may be taken back. */
static void test_interrupt__a_pointer_that_may_yet_move_keeps_its_snapshot(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_store *store = open_store("open");
    assert_int_equal(
        build_interrupted(store, HOLD("put_object", "*_CURRENT"), 100, &err), SHARDY_CANCELLED);
    assert_non_null(strstr(err.message, "may have become current all the same"));
    assert_int_equal(load_fate(store).state, FATE_PUBLISHING);
    assert_true(count_below(store, "shards/") > 0);
    assert_true(count_below(store, "manifests/") > 0);
    shardy_store_close(store);
}

/* Not only the request that is waited for: the server answers nothing any more. */
static void test_interrupt__a_server_that_is_gone_is_not_waited_for(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_store *store = open_store("gone");
    const char *rules = "[{\"kind\": \"hold\", \"operation\": \"put_object\", \"key\": "
                        "\"*/shard.db\"}, {\"kind\": \"hang\", \"operation\": \"delete_object*\"}, "
                        "{\"kind\": \"hang\", \"from\": 4, \"key\": \"*/fate\"}]";
    assert_int_equal(build_interrupted(store, rules, 100, &err), SHARDY_CANCELLED);
    server_reset(s3);
    shardy_store_close(store);
}

/* --- how far it has come ---------------------------------------------------------------------- */

/* Lets the server answer once two parts of three are said to be sent. */
static int32_t release_late(void *user, const shardy_progress *p)
{
    int *released = user;
    if (!*released && p->bytes_uploaded >= 2 * PART_SIZE) {
        assert_true(p->bytes_uploaded <= p->bytes_to_upload);
        assert_int_equal(p->shards_done, 0);
        server_faults(s3, NULL);
        server_release(s3, 0);
        *released = 1;
    }
    return 0;
}

static void test_upload__its_bytes_are_told_while_it_goes_on(void **state)
{
    (void)state;
    shardy_error err = {0};
    int released = 0;
    shardy_store *store = open_store("progress");
    const build_job job = {store, VALUE_LEN, 1, NULL, release_late, &released};
    server_reset(s3);
    server_faults(s3, "{\"kind\": \"hold\", \"operation\": \"upload_part\"}");
    assert_ok(build(&job, &err));
    assert_true(released);
    shardy_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interrupt__a_build_that_waits_for_the_server_ends_and_leaves_nothing),
        cmocka_unit_test(test_interrupt__uploads_in_parts_are_aborted),
        cmocka_unit_test(test_interrupt__a_pointer_that_was_moved_is_a_publish),
        cmocka_unit_test(test_interrupt__a_pointer_that_may_yet_move_keeps_its_snapshot),
        cmocka_unit_test(test_interrupt__a_server_that_is_gone_is_not_waited_for),
        cmocka_unit_test(test_upload__its_bytes_are_told_while_it_goes_on),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
