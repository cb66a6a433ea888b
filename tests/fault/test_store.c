/* Each call of a store with each of its operations made to fail. */
#include "store/store.h"
#include "store/transfer.h"
#include "support/store_fixture.h"
#include "support/sweep.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char old_text[] = "old content";
static const char new_text[] = "new content, longer";

typedef enum where {
    ON_FS = 0,
    ON_FS_PORTABLE,
    ON_MEM
} where;

/* What one run works on. */
typedef struct trial {
    where kind;
    char *root;
    char *dir; /* for input files */
    shardy_store *store;
    shardy_store *faults; /* around `store` */
    char etag[SHARDY_ETAG_LEN_MAX + 1];
    char file[600];
    shardy_buf body;
    shardy_store_page page;
    shardy_local_file local;
    char dest[32];
    uint64_t received;
} trial;

static void *trial_new(const void *param)
{
    const where *kind = param;
    shardy_error err = {0};
    trial *t = calloc(1, sizeof *t);
    t->kind = *kind;
    t->local.fd = -1;
    t->dir = support_make_dir();
    if (t->kind == ON_MEM) {
        assert_ok(shardy_store_open_mem(NULL, &t->store, &err));
    } else {
        shardy_store_fs_options options;
        shardy_store_fs_options_init(&options, sizeof options);
        t->root = support_make_dir();
        assert_ok(shardy_store_open_fs(NULL, t->root, &options, &t->store, &err));
    }
    shardy_object_meta meta;
    assert_ok(put_text(t->store, "d/old", SHARDY_PUT_ALWAYS, NULL, old_text, &meta, &err));
    memcpy(t->etag, meta.etag.text, sizeof t->etag);
    put_ok(t->store, "d/e/f", "1");
    put_ok(t->store, "g", "2");
    if (t->root) {
        /* a store that has written nothing yet: its own directory is made under faults as well */
        shardy_store_close(t->store);
        t->store = NULL;
        shardy_store_fs_options options;
        shardy_store_fs_options_init(&options, sizeof options);
        assert_ok(shardy_store_open_fs(NULL, t->root, &options, &t->store, &err));
        if (t->kind == ON_FS_PORTABLE) {
            shardy_store_close(t->store);
            t->store = fixture_open_fs(t->root, 1);
        }
    }
    assert_ok(shardy_store_wrap_fault(NULL, t->store, &t->faults, &err));
    return t;
}

static void trial_free(void *state)
{
    trial *t = state;
    shardy_buf_release(&t->body);
    shardy_store_page_dispose(&t->page);
    if (t->local.fd >= 0) {
        close(t->local.fd);
    }
    shardy_store_close(t->faults);
    shardy_store_close(t->store);
    if (t->root) {
        assert_int_equal(count_leftovers(t->root), 0);
    }
    support_remove_dir(t->root);
    support_remove_dir(t->dir);
    free(t);
}

static shardy_store *trial_faults(void *state)
{
    trial *t = state;
    return t->faults;
}

/* --- what must hold afterwards ------------------------------------------------------------ */

/* 1 when the object is this text, 0 when it is not there; anything else fails the test. */
static int object_is(trial *t, const char *key, const char *a, const char *b)
{
    shardy_error err = {0};
    shardy_buf body;
    shardy_status st = shardy_store_get(t->store, key, 0, SHARDY_READ_TO_END, &body, NULL, &err);
    if (st == SHARDY_NOT_FOUND) {
        return 0;
    }
    assert_ok(st);
    int is_a = a && body.len == strlen(a) && memcmp(body.data, a, body.len) == 0;
    int is_b = b && body.len == strlen(b) && memcmp(body.data, b, body.len) == 0;
    shardy_buf_release(&body);
    if (!is_a && !is_b) {
        fail_msg("the object \"%s\" is neither old nor new", key);
    }
    return is_a ? 1 : 2;
}

/* After a put over "d/old": it is new after success, old after a failure that does not leave it
 * open. */
static void check_replaced(void *state, shardy_status status, const shardy_error *err)
{
    int is = object_is(state, "d/old", old_text, new_text);
    assert_int_not_equal(is, 0);
    if (status >= 0) {
        assert_int_equal(is, 2);
    } else if (!err->retriable) {
        assert_int_equal(is, 1);
    }
    /* the store goes on working */
    trial *t = state;
    put_ok(t->store, "after", "x");
}

/* After a put of "n/new", which was not there. */
static void check_created(void *state, shardy_status status, const shardy_error *err)
{
    trial *t = state;
    int is = object_is(t, "n/new", new_text, NULL);
    if (status >= 0) {
        assert_int_equal(is, 1);
    } else if (!err->retriable) {
        assert_int_equal(is, 0);
        assert_listing(t->store, "", '/', "d/ g ");
    }
    put_ok(t->store, "after", "x");
}

/* --- operations --------------------------------------------------------------------------- */

static shardy_status put_swept(
    trial *t, const char *key, shardy_put_condition condition, const char *etag, shardy_error *err)
{
    shardy_store_put put = put_of(key, condition, new_text);
    put.etag = etag;
    return SWEEP_CALL(shardy_store_put_object, t->faults, &put, NULL, err);
}

static shardy_status op_replace(void *state, shardy_error *err)
{
    trial *t = state;
    return put_swept(t, "d/old", SHARDY_PUT_ALWAYS, NULL, err);
}

static shardy_status op_replace_version(void *state, shardy_error *err)
{
    trial *t = state;
    return put_swept(t, "d/old", SHARDY_PUT_IF_MATCH, t->etag, err);
}

static shardy_status op_create(void *state, shardy_error *err)
{
    trial *t = state;
    return put_swept(t, "n/new", SHARDY_PUT_IF_ABSENT, NULL, err);
}

static shardy_status op_stream(void *state, shardy_error *err)
{
    trial *t = state;
    stream parts = {new_text, 1, SHARDY_DONE};
    shardy_store_put put = put_of("n/new", SHARDY_PUT_ALWAYS, "");
    put.next = next_part;
    put.next_user = &parts;
    return SWEEP_CALL(shardy_store_put_object, t->faults, &put, NULL, err);
}

static void *file_outside(const void *param)
{
    trial *t = trial_new(param);
    snprintf(t->file, sizeof t->file, "%s", support_path(t->dir, "input"));
    support_write_file(t->file, new_text, strlen(new_text));
    return t;
}

static void *file_in_scratch(const void *param)
{
    trial *t = trial_new(param);
    shardy_error err = {0};
    const char *scratch;
    assert_ok(shardy_store_scratch(t->store, &scratch, &err));
    snprintf(t->file, sizeof t->file, "%s", support_path(scratch, "input"));
    support_write_file(t->file, new_text, strlen(new_text));
    return t;
}

static shardy_status op_file(void *state, shardy_error *err)
{
    trial *t = state;
    shardy_store_put put = put_of("n/new", SHARDY_PUT_IF_ABSENT, "");
    put.file_path = t->file;
    return SWEEP_CALL(shardy_store_put_object, t->faults, &put, NULL, err);
}

/* A put that failed before it was done leaves the caller's file where it is. */
static void check_taken(void *state, shardy_status status, const shardy_error *err)
{
    trial *t = state;
    if (status < 0 && object_is(t, "n/new", new_text, NULL) == 0) {
        size_t len;
        char *content = support_read_file(t->file, &len);
        assert_string_equal(content, new_text);
        free(content);
    }
    check_created(state, status, err);
    unlink(t->file);
}

static shardy_status op_read(void *state, shardy_error *err)
{
    trial *t = state;
    return SWEEP_CALL(
        shardy_store_get, t->faults, "d/old", 0, SHARDY_READ_TO_END, &t->body, NULL, err);
}

static void check_read(void *state, shardy_status status, const shardy_error *err)
{
    trial *t = state;
    (void)err;
    assert_int_equal(t->body.len, status >= 0 ? strlen(old_text) : 0);
    assert_memory_equal(t->body.len ? t->body.data : "", old_text, t->body.len);
}

static shardy_status op_read_range(void *state, shardy_error *err)
{
    trial *t = state;
    shardy_store_read read;
    memset(&read, 0, sizeof read);
    read.key = bytes_of("d/old");
    read.offset = 4;
    read.len = 7;
    read.dest = t->dest;
    read.if_match = t->etag;
    shardy_store_read_all(t->faults, &read, 1);
    t->received = read.received;
    *err = read.error;
    return (shardy_status)read.status;
}

static void check_read_range(void *state, shardy_status status, const shardy_error *err)
{
    trial *t = state;
    (void)err;
    assert_int_equal(t->received, status >= 0 ? 7 : 0);
    if (status >= 0) {
        assert_memory_equal(t->dest, "content", 7);
    }
}

static shardy_status op_read_missing(void *state, shardy_error *err)
{
    trial *t = state;
    return SWEEP_CALL(
        shardy_store_get, t->faults, "d/none", 0, SHARDY_READ_TO_END, &t->body, NULL, err);
}

/* "There is none" is an answer; "could not find out" is another. */
static void check_missing(void *state, shardy_status status, const shardy_error *err)
{
    (void)state;
    (void)err;
    assert_true(status == SHARDY_NOT_FOUND || status < 0);
}

static shardy_status op_head(void *state, shardy_error *err)
{
    trial *t = state;
    shardy_object_meta meta;
    shardy_status st = SWEEP_CALL(shardy_store_head, t->faults, "d/old", &meta, err);
    if (st >= 0) {
        st = SWEEP_CALL(shardy_store_head_within, t->faults, "d/old", NULL, &meta, err);
    }
    t->received = meta.size;
    return st;
}

static void check_head(void *state, shardy_status status, const shardy_error *err)
{
    trial *t = state;
    (void)err;
    if (status >= 0) {
        assert_int_equal(status, SHARDY_OK);
        assert_int_equal(t->received, strlen(old_text));
    }
}

static shardy_status op_list(void *state, shardy_error *err)
{
    trial *t = state;
    return SWEEP_CALL(shardy_store_list, t->faults, "", 0, NULL, 2, &t->page, err);
}

static void check_list(void *state, shardy_status status, const shardy_error *err)
{
    trial *t = state;
    (void)err;
    assert_int_equal(t->page.count, status >= 0 ? 2 : 0);
    if (status >= 0) {
        assert_string_equal(t->page.entries[0].key, "d/e/f");
        assert_string_equal(t->page.entries[1].key, "d/old");
        assert_string_equal(t->page.next_token, "d/old");
    }
}

static shardy_status op_list_rolled_up(void *state, shardy_error *err)
{
    trial *t = state;
    const shardy_store_listing what = {"", NULL, 10, {0, NULL}, '/'};
    return SWEEP_CALL(shardy_store_list_within, t->faults, &what, &t->page, err);
}

static void check_rolled_up(void *state, shardy_status status, const shardy_error *err)
{
    trial *t = state;
    (void)err;
    assert_int_equal(t->page.count, status >= 0 ? 2 : 0);
    if (status >= 0) {
        assert_string_equal(t->page.entries[0].key, "d/");
        assert_string_equal(t->page.entries[1].key, "g");
    }
}

static shardy_status op_remove(void *state, shardy_error *err)
{
    trial *t = state;
    shardy_bytes keys[] = {bytes_of("d/old"), bytes_of("none"), bytes_of("d/e/f")};
    int32_t results[3];
    shardy_status st = SWEEP_CALL(shardy_store_remove, t->faults, keys, 3, results, err);
    return st < 0 ? st
                  : SWEEP_CALL(shardy_store_remove_within, t->faults, keys, 3, NULL, results, err);
}

static void check_removed(void *state, shardy_status status, const shardy_error *told)
{
    trial *t = state;
    (void)told;
    if (status >= 0) {
        assert_listing(t->store, "", 0, "g ");
    }
    object_is(t, "d/old", old_text, NULL);
    shardy_error err = {0};
    assert_ok(remove_key(t->store, "d/old", &err));
    assert_ok(remove_key(t->store, "d/e/f", &err));
    assert_listing(t->store, "", '/', "g ");
}

static shardy_status op_open_local(void *state, shardy_error *err)
{
    trial *t = state;
    return SWEEP_CALL(shardy_store_open_local, t->faults, "d/old", &t->local, err);
}

static void check_open_local(void *state, shardy_status status, const shardy_error *err)
{
    trial *t = state;
    (void)err;
    assert_int_equal(t->local.fd >= 0, status >= 0);
}

static shardy_status op_scratch(void *state, shardy_error *err)
{
    trial *t = state;
    const char *path;
    shardy_status st = SWEEP_CALL(shardy_store_scratch, t->faults, &path, err);
    if (st >= 0 && access(path, W_OK) != 0) {
        err->status = SHARDY_INTERNAL;
        return SHARDY_INTERNAL;
    }
    return st;
}

static shardy_status op_open(void *state, shardy_error *err)
{
    trial *t = state;
    shardy_store *store = NULL;
    shardy_store *wrapped = NULL;
    shardy_store *counted = NULL;
    shardy_status st = t->root ? SWEEP_CALL(shardy_store_open_fs, NULL, t->root, NULL, &store, err)
                               : SWEEP_CALL(shardy_store_open_mem, NULL, &store, err);
    if (st >= 0) {
        st = SWEEP_CALL(shardy_store_wrap_fault, NULL, store, &wrapped, err);
    }
    if (st >= 0) {
        st = SWEEP_CALL(shardy_store_wrap_stats, NULL, wrapped, &counted, err);
    }
    shardy_buf body = {0};
    if (st >= 0) {
        st = SWEEP_CALL(shardy_store_get, counted, t->root ? "g" : "none", 0, SHARDY_READ_TO_END,
            &body, NULL, err);
    }
    shardy_buf_release(&body);
    shardy_store_close(counted);
    shardy_store_close(wrapped);
    shardy_store_close(store);
    return st;
}

static shardy_status op_create_root(void *state, shardy_error *err)
{
    trial *t = state;
    shardy_store *store = NULL;
    shardy_store_fs_options options;
    shardy_store_fs_options_init(&options, sizeof options);
    options.create = 1;
    shardy_status st = SWEEP_CALL(
        shardy_store_open_fs, NULL, support_path(t->dir, "a/b/c"), &options, &store, err);
    shardy_store_close(store);
    return st;
}

/* Retries begin at once. */
static shardy_status wrap_retry(trial *t, shardy_store **store_out, shardy_error *err)
{
    shardy_retry_options options;
    shardy_retry_options_init(&options, sizeof options);
    options.initial_backoff_ms = 0;
    return SWEEP_CALL(shardy_store_wrap_retry, NULL, t->faults, &options, store_out, err);
}

static shardy_status op_retry_put(void *state, shardy_error *err)
{
    trial *t = state;
    shardy_store *store;
    SHARDY_TRY(wrap_retry(t, &store, err));
    shardy_store_put put = put_of("n/new", SHARDY_PUT_IF_ABSENT, new_text);
    shardy_status st = SWEEP_CALL(shardy_store_put_object, store, &put, NULL, err);
    shardy_store_close(store);
    return st;
}

static shardy_status op_retry_file(void *state, shardy_error *err)
{
    trial *t = state;
    shardy_store *store;
    SHARDY_TRY(wrap_retry(t, &store, err));
    shardy_store_put put = put_of("d/old", SHARDY_PUT_IF_MATCH, "");
    put.etag = t->etag;
    put.file_path = t->file;
    shardy_status st = SWEEP_CALL(shardy_store_put_object, store, &put, NULL, err);
    shardy_store_close(store);
    return st;
}

static shardy_status op_retry_read(void *state, shardy_error *err)
{
    trial *t = state;
    shardy_store *store;
    SHARDY_TRY(wrap_retry(t, &store, err));
    shardy_status st =
        SWEEP_CALL(shardy_store_get, store, "d/old", 0, SHARDY_READ_TO_END, &t->body, NULL, err);
    shardy_store_close(store);
    return st;
}

static shardy_status op_limited(void *state, shardy_error *err)
{
    trial *t = state;
    shardy_store *store;
    shardy_limit_options options;
    shardy_limit_options_init(&options, sizeof options);
    options.requests_per_second = 1000;
    SHARDY_TRY(SWEEP_CALL(shardy_store_wrap_limit, NULL, t->faults, &options, &store, err));
    shardy_store_put put = put_of("n/new", SHARDY_PUT_IF_ABSENT, new_text);
    shardy_status st = SWEEP_CALL(shardy_store_put_object, store, &put, NULL, err);
    if (st >= 0) {
        st = SWEEP_CALL(
            shardy_store_get, store, "d/old", 0, SHARDY_READ_TO_END, &t->body, NULL, err);
    }
    shardy_store_close(store);
    return st;
}

static shardy_status op_download(void *state, shardy_error *err)
{
    trial *t = state;
    int fd = open(t->file, O_RDWR | O_TRUNC | O_CLOEXEC);
    transfer_options options;
    shardy__transfer_options_init(&options);
    options.range_len = SHARDY_CHUNK_LEN;
    shardy_status st = shardy__transfer_download(t->faults, "large", fd, &options, NULL, err);
    close(fd);
    return st;
}

/* An object of a few ranges, and a file for it. */
static void *with_large(const void *param)
{
    static char large[3 * SHARDY_CHUNK_LEN + 1];
    trial *t = file_outside(param);
    shardy_error err = {0};
    memset(large, 'x', sizeof large);
    shardy_store_put put = put_of("large", SHARDY_PUT_ALWAYS, "");
    put.body = (shardy_bytes){large, sizeof large};
    assert_ok(shardy_store_put_object(t->store, &put, NULL, &err));
    return t;
}

static void check_download(void *state, shardy_status status, const shardy_error *err)
{
    trial *t = state;
    size_t len;
    (void)err;
    char *content = support_read_file(t->file, &len);
    assert_true(status < 0 || len == 3 * SHARDY_CHUNK_LEN + 1);
    free(content);
}

/* What happens once is repaired. */
static void check_retried(shardy_status status, const shardy_error *err)
{
    if (status < 0 && err->retriable) {
        assert_true(sweep_is_persistent());
    }
}

static void check_retry_put(void *state, shardy_status status, const shardy_error *err)
{
    check_retried(status, err);
    check_created(state, status, err);
}

static void check_retry_file(void *state, shardy_status status, const shardy_error *err)
{
    check_retried(status, err);
    check_replaced(state, status, err);
}

static void check_retry_read(void *state, shardy_status status, const shardy_error *err)
{
    check_retried(status, err);
    check_read(state, status, err);
}

static size_t closed_stores;

static void count_close(void *state)
{
    (void)state;
    closed_stores++;
}

/* A store of the caller's is closed once, also when it could not be taken. */
static shardy_status op_take(void *state, shardy_error *err)
{
    trial *t = state;
    shardy_store *store;
    shardy_store_ops ops = *t->store->ops;
    ops.close = count_close;
    closed_stores = 0;
    shardy_status st = SWEEP_CALL(shardy_store_new_take, NULL, &ops, t->store->state, &store, err);
    assert_true((st == SHARDY_OK) == (store != NULL));
    shardy_store_close(store);
    assert_int_equal(closed_stores, 1);
    return st;
}

/* --- the sweeps --------------------------------------------------------------------------- */

#define MEMORY SWEEP_BIT(SWEEP_ALLOC)
#define FILES  (SWEEP_BIT(SWEEP_ALLOC) | SWEEP_BIT(SWEEP_READ) | SWEEP_BIT(SWEEP_WRITE))
#define READS  (SWEEP_BIT(SWEEP_ALLOC) | SWEEP_BIT(SWEEP_READ))
#define CALLS  (SWEEP_BIT(SWEEP_STORE_BEFORE) | SWEEP_BIT(SWEEP_STORE_AFTER))

#define CUT     SWEEP_BIT(SWEEP_STORE_SHORT)
#define THREADS SWEEP_BIT(SWEEP_THREAD)

/* Calls are made again, and reads are repeated by whoever waits when there is no thread. */
#define REPEATED (CALLS | CUT | THREADS)

/* Looking for the scratch of dead writers, making directories that somebody else may have made, and
 * looking whether a file can be taken instead of copied are done again in another way, or left. */
#define TRIED_AGAIN (SWEEP_BIT(SWEEP_READ) | SWEEP_BIT(SWEEP_WRITE))

static void run_cases(where kind, const sweep_case *cases, size_t count)
{
    static const char *const names[] = {"fs", "fs, segment by segment", "mem"};
    uint64_t points = 0;
    for (size_t i = 0; i < count; i++) {
        char name[100];
        sweep_case c = cases[i];
        snprintf(name, sizeof name, "%s: %s", names[kind], c.name);
        c.name = name;
        c.param = &kind;
        c.setup = c.setup ? c.setup : trial_new;
        c.teardown = trial_free;
        c.fault_store = trial_faults;
        if (kind == ON_MEM) {
            c.kinds &= MEMORY | CALLS | CUT | THREADS | (c.setup == file_outside ? READS : 0) |
                       (c.setup == with_large ? FILES : 0);
        }
        points += sweep_run(&c);
    }
    print_message("sweep: %s: %llu points in all\n", names[kind], (unsigned long long)points);
}

static void sweep_puts(where kind)
{
    const sweep_case cases[] = {
        {.name = "put ALWAYS",
            .kinds = FILES | CALLS,
            .absorbs = TRIED_AGAIN,
            .operation = op_replace,
            .check = check_replaced},
        {.name = "put IF_MATCH",
            .kinds = FILES | CALLS,
            .absorbs = TRIED_AGAIN,
            .operation = op_replace_version,
            .check = check_replaced},
        {.name = "put IF_ABSENT",
            .kinds = FILES | CALLS,
            .absorbs = TRIED_AGAIN,
            .operation = op_create,
            .check = check_created},
        {.name = "put of a stream",
            .kinds = FILES | CALLS,
            .absorbs = TRIED_AGAIN,
            .operation = op_stream,
            .check = check_created},
        {.name = "put of a file",
            .kinds = FILES | CALLS,
            .absorbs = TRIED_AGAIN,
            .setup = file_outside,
            .operation = op_file,
            .check = check_created},
    };
    run_cases(kind, cases, sizeof cases / sizeof cases[0]);
}

static void sweep_reads(where kind)
{
    const sweep_case cases[] = {
        {.name = "read", .kinds = READS | CALLS, .operation = op_read, .check = check_read},
        {.name = "read of a range",
            .kinds = READS | CALLS,
            .operation = op_read_range,
            .check = check_read_range},
        {.name = "read of what is not there",
            .kinds = READS | CALLS,
            .operation = op_read_missing,
            .check = check_missing},
        {.name = "list", .kinds = READS | CALLS, .operation = op_list, .check = check_list},
        {.name = "list with a delimiter",
            .kinds = READS | CALLS,
            .operation = op_list_rolled_up,
            .check = check_rolled_up},
        {.name = "remove",
            .kinds = (kind == ON_MEM ? 0 : FILES) | CALLS,
            .absorbs = TRIED_AGAIN,
            .operation = op_remove,
            .check = check_removed},
        {.name = "head",
            .kinds = (kind == ON_MEM ? 0 : READS) | CALLS,
            .operation = op_head,
            .check = check_head},
        {.name = "open", .kinds = READS, .operation = op_open},
        {.name = "take", .kinds = MEMORY, .operation = op_take},
    };
    run_cases(kind, cases, sizeof cases / sizeof cases[0]);
}

static void sweep_wrapped(where kind)
{
    const sweep_case cases[] = {
        {.name = "retried put",
            .kinds = MEMORY | CALLS | THREADS,
            .absorbs = REPEATED,
            .operation = op_retry_put,
            .check = check_retry_put},
        {.name = "retried put of a file",
            .kinds = READS | CALLS | THREADS,
            .absorbs = REPEATED | TRIED_AGAIN,
            .setup = file_outside,
            .operation = op_retry_file,
            .check = check_retry_file},
        {.name = "retried read",
            .kinds = MEMORY | CALLS | CUT | THREADS,
            .absorbs = REPEATED,
            .operation = op_retry_read,
            .check = check_retry_read},
        {.name = "limited calls",
            .kinds = MEMORY | CALLS | THREADS,
            .absorbs = THREADS,
            .operation = op_limited,
            .check = check_read},
        {.name = "download",
            .kinds = MEMORY | CALLS | CUT | SWEEP_BIT(SWEEP_WRITE),
            .setup = with_large,
            .operation = op_download,
            .check = check_download},
    };
    run_cases(kind, cases, sizeof cases / sizeof cases[0]);
}

static void sweep_files(where kind)
{
    const sweep_case cases[] = {
        {.name = "put of a file of the scratch",
            .kinds = FILES | CALLS,
            .absorbs = TRIED_AGAIN,
            .setup = file_in_scratch,
            .operation = op_file,
            .check = check_taken},
        {.name = "open_local",
            .kinds = SWEEP_BIT(SWEEP_READ) | CALLS,
            .operation = op_open_local,
            .check = check_open_local},
        {.name = "scratch",
            .kinds = FILES | CALLS,
            .absorbs = TRIED_AGAIN,
            .operation = op_scratch},
        {.name = "open and make the root",
            .kinds = FILES,
            .absorbs = TRIED_AGAIN,
            .operation = op_create_root},
    };
    run_cases(kind, cases, sizeof cases / sizeof cases[0]);
}

static void test_puts__leave_the_old_or_the_new_object_on_files(void **state)
{
    (void)state;
    sweep_puts(ON_FS);
    sweep_puts(ON_FS_PORTABLE);
}

static void test_puts__leave_the_old_or_the_new_object_in_memory(void **state)
{
    (void)state;
    sweep_puts(ON_MEM);
}

static void test_reads__tell_every_failure_on_files(void **state)
{
    (void)state;
    sweep_reads(ON_FS);
    sweep_reads(ON_FS_PORTABLE);
}

static void test_reads__tell_every_failure_in_memory(void **state)
{
    (void)state;
    sweep_reads(ON_MEM);
}

static void test_wrapped__calls_are_repeated_or_fail_cleanly(void **state)
{
    (void)state;
    sweep_wrapped(ON_FS);
    sweep_wrapped(ON_MEM);
}

static void test_files__are_opened_and_taken_or_left(void **state)
{
    (void)state;
    sweep_files(ON_FS);
    sweep_files(ON_FS_PORTABLE);
}

/* --- a bucket ----------------------------------------------------------------------------- */

#define LARGE_LEN ((size_t)11 << 20)

static server *s3;
static char *large_body; /* of LARGE_LEN bytes */
static char *large_dir;
static const char *large_path;

static int start_s3(void **state)
{
    (void)state;
    s3 = server_start_s3(NULL);
    large_body = calloc(1, LARGE_LEN);
    memset(large_body, 'x', LARGE_LEN);
    large_dir = support_make_dir();
    large_path = strdup(support_path(large_dir, "large"));
    support_write_file(large_path, large_body, LARGE_LEN);
    return 0;
}

static int stop_s3(void **state)
{
    (void)state;
    server_stop(s3);
    free(large_body);
    free((char *)(uintptr_t)large_path);
    support_remove_dir(large_dir);
    return 0;
}

typedef struct bucket {
    shardy_store *store;
} bucket;

static void fill_s3_options(shardy_store_s3_options *options)
{
    shardy_store_s3_options_init(options, sizeof *options);
    options->max_attempts = 1;
    options->endpoint_url = server_url(s3);
    options->region = SERVER_REGION;
    options->access_key_id = SERVER_ACCESS_KEY;
    options->secret_access_key = SERVER_SECRET_KEY;
    options->session_token = "";
    options->proxy = "";
    options->part_size = 5 << 20;
}

static void *bucket_new(const void *param)
{
    shardy_error err = {0};
    bucket *b = calloc(1, sizeof *b);
    shardy_store_s3_options options;
    (void)param;
    fill_s3_options(&options);
    assert_ok(shardy_store_open_s3(NULL, "s3://" SERVER_BUCKET "/p", &options, &b->store, &err));
    put_ok(b->store, "g", "0123456789");
    (void)remove_key(b->store, "new", &err);
    return b;
}

static void bucket_free(void *state)
{
    bucket *b = state;
    shardy_store_close(b->store);
    free(b);
}

static shardy_status op_s3_open(void *state, shardy_error *err)
{
    (void)state;
    shardy_store *store = NULL;
    shardy_store_s3_options options;
    shardy_buf body = {0};
    fill_s3_options(&options);
    shardy_status st =
        SWEEP_CALL(shardy_store_open_s3, NULL, "s3://" SERVER_BUCKET "/p", &options, &store, err);
    if (st >= 0) {
        st = SWEEP_CALL(shardy_store_get, store, "g", 0, SHARDY_READ_TO_END, &body, NULL, err);
    }
    shardy_buf_release(&body);
    shardy_store_close(store);
    return st;
}

static shardy_status op_s3_read(void *state, shardy_error *err)
{
    bucket *b = state;
    shardy_store_read reads[3];
    shardy_object_meta meta;
    shardy_status st = SWEEP_CALL(shardy_store_head, b->store, "g", &meta, err);
    memset(reads, 0, sizeof reads);
    for (size_t i = 0; i < 3; i++) {
        reads[i].key = bytes_of("g");
        reads[i].offset = i * 8; /* the last one begins beyond the end */
        reads[i].len = 3;
    }
    shardy_store_read_all(b->store, reads, 3);
    for (size_t i = 0; i < 3; i++) {
        if (reads[i].status < 0 && st >= 0) {
            st = (shardy_status)reads[i].status;
            *err = reads[i].error;
        }
        shardy_buf_release(&reads[i].body);
    }
    return st;
}

static shardy_status op_s3_list_and_remove(void *state, shardy_error *err)
{
    bucket *b = state;
    shardy_store_page page;
    shardy_bytes keys[3] = {bytes_of("a"), bytes_of("b"), bytes_of("a")};
    int32_t results[3];
    shardy_status st = SWEEP_CALL(shardy_store_list, b->store, "", '/', NULL, 10, &page, err);
    shardy_store_page_dispose(&page);
    return st < 0 ? st : SWEEP_CALL(shardy_store_remove, b->store, keys, 3, results, err);
}

static shardy_status op_s3_put(void *state, shardy_error *err)
{
    bucket *b = state;
    shardy_store_put put = put_of("new", SHARDY_PUT_IF_ABSENT, "0123456789");
    return SWEEP_CALL(shardy_store_put_object, b->store, &put, NULL, err);
}

static shardy_status op_s3_put_file(void *state, shardy_error *err)
{
    bucket *b = state;
    shardy_store_put put = put_of("new", SHARDY_PUT_IF_ABSENT, "");
    put.file_path = large_path;
    return SWEEP_CALL(shardy_store_put_object, b->store, &put, NULL, err);
}

static shardy_status op_s3_put_stream(void *state, shardy_error *err)
{
    bucket *b = state;
    stream parts = {large_body, 1, SHARDY_DONE};
    large_body[LARGE_LEN - 1] = '\0';
    shardy_store_put put = put_of("new", SHARDY_PUT_IF_ABSENT, "");
    put.next = next_part;
    put.next_user = &parts;
    return SWEEP_CALL(shardy_store_put_object, b->store, &put, NULL, err);
}

/* After a failure there is nothing, or the failure says that this is not known. */
static void check_s3_put(void *state, shardy_status status, const shardy_error *err)
{
    bucket *b = state;
    shardy_object_meta meta;
    shardy_error own;
    shardy_status st = shardy_store_head(b->store, "new", &meta, &own);
    if (status == SHARDY_OK || (st == SHARDY_OK && !err->retriable)) {
        assert_int_equal(status, SHARDY_OK);
        assert_int_equal(st, SHARDY_OK);
    }
}

static void test_bucket__every_failure_is_told(void **state)
{
    (void)state;
    static const sweep_case cases[] = {
        {.name = "s3: open", .kinds = MEMORY | SWEEP_BIT(SWEEP_THREAD), .operation = op_s3_open},
        {.name = "s3: reads", .kinds = MEMORY, .operation = op_s3_read},
        {.name = "s3: list and remove", .kinds = MEMORY, .operation = op_s3_list_and_remove},
        {.name = "s3: put", .kinds = MEMORY, .operation = op_s3_put, .check = check_s3_put},
        {.name = "s3: put of a large file",
            .kinds = READS,
            .operation = op_s3_put_file,
            .check = check_s3_put,
            .quick = 6,
            .most = 60},
        {.name = "s3: put of a long stream",
            .kinds = MEMORY,
            .operation = op_s3_put_stream,
            .check = check_s3_put,
            .quick = 6,
            .most = 60},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sweep_case c = cases[i];
        c.setup = bucket_new;
        c.teardown = bucket_free;
        sweep_run(&c);
    }
}

static void test_functions__that_can_fail_were_all_made_to(void **state)
{
    (void)state;
    /* the others are in test_functions.c */
    static const char *const elsewhere[] = {"engine.h", "manifest_store.h", "text.h", NULL};
    size_t count = sweep_check_headers("include/shardyfusion/sys", elsewhere);
    assert_true(count > 10 || !shardy_testing_fault_points());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_puts__leave_the_old_or_the_new_object_on_files),
        cmocka_unit_test(test_puts__leave_the_old_or_the_new_object_in_memory),
        cmocka_unit_test(test_reads__tell_every_failure_on_files),
        cmocka_unit_test(test_reads__tell_every_failure_in_memory),
        cmocka_unit_test(test_wrapped__calls_are_repeated_or_fail_cleanly),
        cmocka_unit_test(test_files__are_opened_and_taken_or_left),
        cmocka_unit_test(test_bucket__every_failure_is_told),
        cmocka_unit_test(test_functions__that_can_fail_were_all_made_to),
    };
    return cmocka_run_group_tests(tests, start_s3, stop_s3);
}
