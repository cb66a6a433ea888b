#include "store_fixture.h"

#include "store/store.h"

#include <shardyfusion/limits.h>

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the stores --------------------------------------------------------------------------- */

#define LISTING_MAX ((size_t)1 << 20)

static const char *const scenario_names[SCENARIO_COUNT] = {"fs", "fs, segment by segment", "mem",
    "stats over mem", "fault over fs, without a fault", "s3", "s3, the server of moto"};

static scenario current;
static server *s3_server; /* of the scenario that is on */

int fixture_has_files(const fixture *f)
{
    return f->scenario == FS || f->scenario == FS_PORTABLE || f->scenario == FAULT_FS;
}

int fixture_is_remote(const fixture *f)
{
    return f->scenario == S3 || f->scenario == S3_MOTO;
}

shardy_store *fixture_open_s3(const server *s, const char *url)
{
    shardy_error err = {0};
    shardy_store *store = NULL;
    shardy_store_s3_options options;
    shardy_store_s3_options_init(&options, sizeof options);
    options.endpoint_url = server_url(s);
    options.region = SERVER_REGION;
    options.access_key_id = SERVER_ACCESS_KEY;
    options.secret_access_key = SERVER_SECRET_KEY;
    options.proxy = "";
    options.part_size = FIXTURE_PART_SIZE;
    assert_ok(shardy_store_open_s3(NULL, url, &options, &store, &err));
    return store;
}

void fixture_empty(shardy_store *store)
{
    shardy_error err = {0};
    shardy_store_page page;
    int more;
    do {
        shardy_bytes keys[1000];
        int32_t results[1000];
        assert_ok(shardy_store_list(store, "", 0, NULL, 1000, &page, &err));
        for (size_t i = 0; i < page.count; i++) {
            keys[i] = bytes_of(page.entries[i].key);
        }
        assert_ok(shardy_store_remove(store, keys, page.count, results, &err));
        more = page.next_token != NULL;
        shardy_store_page_dispose(&page);
    } while (more);
}

shardy_store *fixture_open_fs(const char *root, int32_t portable)
{
    shardy_error err = {0};
    shardy_store *store = NULL;
    shardy_store_fs_options options;
    shardy_store_fs_options_init(&options, sizeof options);
    options.sync = 0;
    store_fs_quirks quirks = {.portable = portable};
    assert_ok(shardy__store_open_fs_quirks(NULL, root, &options, &quirks, &store, &err));
    return store;
}

int fixture_setup(void **state)
{
    shardy_error err = {0};
    fixture *f = calloc(1, sizeof *f);
    *state = f;
    f->scenario = current;
    if (fixture_has_files(f)) {
        f->root = support_make_dir();
        f->inner = fixture_open_fs(f->root, current == FS_PORTABLE);
    } else if (fixture_is_remote(f)) {
        f->inner = fixture_open_s3(s3_server, "s3://" SERVER_BUCKET);
        fixture_empty(f->inner);
    } else {
        assert_ok(shardy_store_open_mem(NULL, &f->inner, &err));
    }
    f->store = f->inner;
    if (current == STATS_MEM) {
        assert_ok(shardy_store_wrap_stats(NULL, f->inner, &f->store, &err));
    } else if (current == FAULT_FS) {
        assert_ok(shardy_store_wrap_fault(NULL, f->inner, &f->store, &err));
    }
    return 0;
}

int fixture_teardown(void **state)
{
    fixture *f = *state;
    if (f->store != f->inner) {
        shardy_store_close(f->store);
    }
    shardy_store_close(f->inner);
    support_remove_dir(f->root);
    free(f);
    return 0;
}

static int start_server(void **state)
{
    (void)state;
    s3_server = current == S3        ? server_start_s3(NULL)
                : current == S3_MOTO ? server_start_moto()
                                     : NULL;
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    server_stop(s3_server);
    s3_server = NULL;
    return 0;
}

int fixture_run(const struct CMUnitTest *tests, size_t count, const scenario *list, size_t n)
{
    int failed = 0;
    for (size_t i = 0; i < n; i++) {
        current = list[i];
        failed += _cmocka_run_group_tests(
            scenario_names[current], tests, count, start_server, stop_server);
    }
    return failed;
}

/* --- small helpers ------------------------------------------------------------------------ */

shardy_bytes bytes_of(const char *text)
{
    shardy_bytes b = {text, strlen(text)};
    return b;
}

shardy_store_put put_of(const char *key, shardy_put_condition condition, const char *body)
{
    shardy_store_put put;
    memset(&put, 0, sizeof put);
    put.key = bytes_of(key);
    put.condition = (int32_t)condition;
    put.sync = 1;
    put.body = bytes_of(body);
    return put;
}

shardy_store_read read_of(const char *key, uint64_t offset, uint64_t len)
{
    shardy_store_read read;
    memset(&read, 0, sizeof read);
    read.key = bytes_of(key);
    read.offset = offset;
    read.len = len;
    return read;
}

shardy_status put_text(shardy_store *store, const char *key, shardy_put_condition condition,
    const char *etag, const char *body, shardy_object_meta *meta, shardy_error *err)
{
    shardy_store_put put = put_of(key, condition, body);
    put.etag = etag;
    return shardy_store_put_object(store, &put, meta, err);
}

void put_ok(shardy_store *store, const char *key, const char *body)
{
    shardy_error err = {0};
    assert_ok(put_text(store, key, SHARDY_PUT_ALWAYS, NULL, body, NULL, &err));
}

void assert_object(shardy_store *store, const char *key, const char *expected)
{
    shardy_error err = {0};
    shardy_buf body;
    shardy_object_meta meta;
    assert_ok(shardy_store_get(store, key, 0, SHARDY_READ_TO_END, &body, &meta, &err));
    assert_int_equal(body.len, strlen(expected));
    assert_memory_equal(body.data, expected, body.len);
    assert_int_equal(meta.size, body.len);
    shardy_buf_release(&body);
}

void assert_no_object(shardy_store *store, const char *key)
{
    shardy_error err = {0};
    shardy_buf body;
    shardy_object_meta meta;
    assert_status(
        SHARDY_NOT_FOUND, shardy_store_get(store, key, 0, SHARDY_READ_TO_END, &body, NULL, &err));
    assert_null(body.data);
    assert_status(SHARDY_NOT_FOUND, shardy_store_head(store, key, &meta, &err));
}

shardy_status remove_key(shardy_store *store, const char *key, shardy_error *err)
{
    shardy_bytes bytes = bytes_of(key);
    int32_t result = SHARDY_INTERNAL;
    shardy_status st = shardy_store_remove(store, &bytes, 1, &result, err);
    assert_int_equal(result, st);
    return st;
}

/* All keys of a listing, pages of `limit`, as "a b/ c ". */
typedef struct read_thread {
    shardy_store *store;
    uint32_t each;
    shardy_status may_fail;
    uint64_t failed;
    uint64_t wrong;
    pthread_t thread;
} read_thread;

static void *read_parts(void *arg)
{
    read_thread *t = arg;
    for (uint32_t i = 0; i < t->each; i++) {
        shardy_store_read reads[3];
        for (size_t r = 0; r < 3; r++) {
            reads[r] = read_of("k", r, 4);
        }
        shardy_store_read_all(t->store, reads, 3);
        for (size_t r = 0; r < 3; r++) {
            int is_right = reads[r].status == SHARDY_OK && reads[r].received == 4 &&
                           memcmp(reads[r].body.data, "0123456789" + r, 4) == 0;
            int has_failed = t->may_fail < 0 && reads[r].status == t->may_fail;
            t->failed += has_failed ? 1 : 0;
            t->wrong += is_right || has_failed ? 0 : 1;
            shardy_buf_release(&reads[r].body);
        }
    }
    return NULL;
}

uint64_t read_in_threads(shardy_store *store, uint32_t each, shardy_status may_fail)
{
    read_thread threads[READ_THREADS];
    uint64_t failed = 0;
    for (uint32_t i = 0; i < READ_THREADS; i++) {
        threads[i] = (read_thread){.store = store, .each = each, .may_fail = may_fail};
        assert_int_equal(pthread_create(&threads[i].thread, NULL, read_parts, &threads[i]), 0);
    }
    for (uint32_t i = 0; i < READ_THREADS; i++) {
        pthread_join(threads[i].thread, NULL);
        assert_int_equal(threads[i].wrong, 0);
        failed += threads[i].failed;
    }
    return failed;
}

char *list_text(shardy_store *store, const char *prefix, char delimiter, size_t limit)
{
    shardy_error err = {0};
    char *text = calloc(1, LISTING_MAX);
    size_t len = 0;
    char token[SHARDY_OBJECT_KEY_LEN_MAX + 2] = "";
    for (;;) {
        shardy_store_page page;
        assert_ok(shardy_store_list(
            store, prefix, delimiter, token[0] ? token : NULL, limit, &page, &err));
        assert_true(page.count <= limit);
        for (size_t i = 0; i < page.count; i++) {
            const shardy_store_entry *e = &page.entries[i];
            assert_int_equal(e->is_prefix, e->key[strlen(e->key) - 1] == '/');
            len += (size_t)snprintf(text + len, LISTING_MAX - len, "%s ", e->key);
            assert_true(len < LISTING_MAX);
        }
        int more = page.next_token != NULL;
        if (more) {
            assert_true(page.count > 0);
            snprintf(token, sizeof token, "%s", page.next_token);
        }
        shardy_store_page_dispose(&page);
        if (!more) {
            return text;
        }
    }
}

void assert_listing(shardy_store *store, const char *prefix, char delimiter, const char *expected)
{
    static const size_t limits[] = {1, 2, 3, 1000};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        char *text = list_text(store, prefix, delimiter, limits[i]);
        assert_string_equal(text, expected);
        free(text);
    }
}

shardy_status next_part(void *user, shardy_bytes *part_out, shardy_error *err)
{
    stream *s = user;
    if (s->count == 0) {
        if (s->end < 0 && err) {
            err->status = s->end;
            snprintf(err->message, sizeof err->message, "the stream broke");
        }
        return s->end;
    }
    s->count--;
    *part_out = bytes_of(s->text);
    return SHARDY_OK;
}

/* Files below a directory, but for those named "lock". */
static size_t count_files(const char *path)
{
    size_t count = 0;
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL) {
        char child[4096];
        if (entry->d_name[0] == '.' && strspn(entry->d_name, ".") == strlen(entry->d_name)) {
            continue;
        }
        snprintf(child, sizeof child, "%.3000s/%s", path, entry->d_name);
        if (entry->d_type == DT_DIR) {
            count += count_files(child);
        } else if (strcmp(entry->d_name, "lock") != 0) {
            count++;
        }
    }
    if (dir) {
        closedir(dir);
    }
    return count;
}

size_t count_leftovers(const char *root)
{
    return count_files(support_path(root, ".shardyfusion/tmp"));
}
