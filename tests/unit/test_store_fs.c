/* What the directory store leaves on the disk, and how little it needs. */
#include "support/store_fixture.h"

#include <shardyfusion/limits.h>
#include <shardyfusion/sys/testing.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const scenario on_files[] = {FS, FS_PORTABLE};

static int is_there(const fixture *f, const char *path)
{
    struct stat st;
    return lstat(support_path(f->root, path), &st) == 0;
}

static void make_dirs(const fixture *f, const char *path)
{
    char full[4096];
    snprintf(full, sizeof full, "%s/%s/", f->root, path);
    for (char *p = full + strlen(f->root) + 1; *p; p++) {
        if (*p == '/') {
            *p = '\0';
            mkdir(full, 0777);
            *p = '/';
        }
    }
}

static void test_put__that_fails_leaves_no_directories(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    put_ok(f->store, "a/kept", "1");
    assert_status(
        SHARDY_CONFLICT, put_text(f->store, "a/b/c/d", SHARDY_PUT_IF_MATCH, "x", "2", NULL, &err));
    assert_false(is_there(f, "a/b"));
    assert_true(is_there(f, "a/kept"));
    char key[320];
    memset(key, 'n', sizeof key - 1);
    memcpy(key, "n/m/", 4);
    key[sizeof key - 1] = '\0';
    assert_status(
        SHARDY_INVALID, put_text(f->store, key, SHARDY_PUT_ALWAYS, NULL, "2", NULL, &err));
    assert_false(is_there(f, "n"));
    assert_int_equal(count_leftovers(f->root), 0);
}

static void test_remove__prunes_up_to_the_next_object(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    put_ok(f->store, "a/b/c/d/e", "1");
    put_ok(f->store, "a/x", "1");
    assert_ok(remove_key(f->store, "a/b/c/d/e", &err));
    assert_false(is_there(f, "a/b"));
    assert_true(is_there(f, "a/x"));
    assert_ok(remove_key(f->store, "a/x", &err));
    assert_false(is_there(f, "a"));
    assert_true(is_there(f, ""));
}

static void test_put__takes_the_place_of_an_empty_directory(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    make_dirs(f, "always");
    make_dirs(f, "absent");
    assert_ok(put_text(f->store, "always", SHARDY_PUT_ALWAYS, NULL, "1", NULL, &err));
    assert_ok(put_text(f->store, "absent", SHARDY_PUT_IF_ABSENT, NULL, "1", NULL, &err));
    make_dirs(f, "full/below");
    assert_status(
        SHARDY_INVALID, put_text(f->store, "full", SHARDY_PUT_ALWAYS, NULL, "1", NULL, &err));
    assert_status(
        SHARDY_INVALID, put_text(f->store, "full", SHARDY_PUT_IF_ABSENT, NULL, "1", NULL, &err));
    assert_non_null(strstr(err.message, "\"full"));
    assert_true(is_there(f, "full/below"));
}

static void test_read__tells_versions_up_to_the_limit(void **state)
{
    fixture *f = *state;
    char *data = calloc(1, SHARDY_FS_ETAG_LEN_MAX + 2);
    memset(data, 'd', SHARDY_FS_ETAG_LEN_MAX + 1);
    for (size_t extra = 0; extra <= 1; extra++) {
        shardy_error err = {0};
        shardy_object_meta put_meta;
        shardy_store_put put = put_of("k", SHARDY_PUT_ALWAYS, "");
        put.body.data = data;
        put.body.len = SHARDY_FS_ETAG_LEN_MAX + extra;
        assert_ok(shardy_store_put_object(f->store, &put, &put_meta, &err));
        shardy_store_read read;
        memset(&read, 0, sizeof read);
        read.key = bytes_of("k");
        read.offset = SHARDY_FS_ETAG_LEN_MAX - 1;
        read.len = 5;
        shardy_store_read_all(f->store, &read, 1);
        assert_int_equal(read.status, SHARDY_OK);
        assert_int_equal(read.received, 1 + extra);
        /* a range is read by itself, and the version depends on all of the object */
        assert_string_equal(read.meta.etag.text, "");
        shardy_buf_release(&read.body);
        shardy_store_read all = {0};
        all.key = bytes_of("k");
        all.len = SHARDY_READ_TO_END;
        shardy_store_read_all(f->store, &all, 1);
        assert_int_equal(all.status, SHARDY_OK);
        assert_string_equal(all.meta.etag.text, put_meta.etag.text);
        assert_int_equal(all.meta.etag.text[0] == '\0', extra);
        shardy_buf_release(&all.body);
        /* a condition that cannot be looked at is neither met nor failed */
        const char *etag = extra ? "x" : put_meta.etag.text;
        read.if_match = etag;
        shardy_store_read_all(f->store, &read, 1);
        assert_int_equal(read.status, extra ? SHARDY_UNSUPPORTED : SHARDY_OK);
        shardy_buf_release(&read.body);
        read.if_match = NULL;
        read.if_none_match = etag;
        shardy_store_read_all(f->store, &read, 1);
        assert_int_equal(read.status, extra ? SHARDY_UNSUPPORTED : SHARDY_NOT_MODIFIED);
    }
    free(data);
}

static void test_put__a_stream_has_the_version_of_its_bytes(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    static const size_t sizes[] = {0, 1, SHARDY_FS_ETAG_LEN_MAX, SHARDY_FS_ETAG_LEN_MAX + 1};
    char *data = calloc(1, SHARDY_FS_ETAG_LEN_MAX + 2);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        shardy_object_meta as_stream;
        shardy_object_meta as_bytes;
        memset(data, 's', sizes[i]);
        data[sizes[i]] = '\0';
        stream parts = {data, 1, SHARDY_DONE};
        shardy_store_put put = put_of("k", SHARDY_PUT_ALWAYS, "");
        put.next = next_part;
        put.next_user = &parts;
        assert_ok(shardy_store_put_object(f->store, &put, &as_stream, &err));
        assert_ok(put_text(f->store, "k", SHARDY_PUT_ALWAYS, NULL, data, &as_bytes, &err));
        assert_string_equal(as_stream.etag.text, as_bytes.etag.text);
        assert_int_equal(as_stream.size, sizes[i]);
        assert_int_equal(as_stream.etag.text[0] == '\0', sizes[i] > SHARDY_FS_ETAG_LEN_MAX);
    }
    free(data);
}

/* A put over "k" whose nth operation that writes fails; 0 when there was none. *sync_out: it was
 * the making durable of a file (1) or, the object being new already, of a directory (2). */
static int put_failing(fixture *f, uint64_t nth, int32_t sync, int *sync_out)
{
    shardy_error err = {0};
    uint64_t failed;
    shardy_store *store = NULL;
    shardy_store_fs_options options;
    shardy_store_fs_options_init(&options, sizeof options);
    assert_ok(shardy_store_open_fs(NULL, f->root, &options, &store, &err));
    put_ok(store, "d/k", "old");
    shardy_store_put put = put_of("d/k", SHARDY_PUT_ALWAYS, "new");
    put.sync = sync;
    shardy_testing_fault_set(SHARDY_FAULT_WRITE, nth, 0);
    shardy_status st = shardy_store_put_object(store, &put, NULL, &err);
    shardy_testing_fault_counts(SHARDY_FAULT_WRITE, NULL, &failed);
    shardy_testing_fault_set(SHARDY_FAULT_WRITE, 0, 0);
    assert_int_equal(st < 0, failed);
    *sync_out = st < 0 && strstr(err.message, "cannot sync") ? 1 + err.retriable : 0;
    assert_object(store, "d/k", st == SHARDY_OK || *sync_out == 2 ? "new" : "old");
    shardy_store_close(store);
    return failed > 0;
}

static void test_put__syncs_the_file_then_renames_then_syncs_the_directory(void **state)
{
    fixture *f = *state;
    if (!shardy_testing_fault_points()) {
        skip();
    }
    for (int32_t sync = 0; sync <= 1; sync++) {
        int order[3] = {0};
        int count = 0;
        int what;
        for (uint64_t nth = 1; put_failing(f, nth, sync, &what); nth++) {
            assert_true(count < 3);
            if (what) {
                order[count++] = what;
            }
        }
        assert_int_equal(count, sync ? 2 : 0);
        assert_int_equal(order[0], sync ? 1 : 0);
        assert_int_equal(order[1], sync ? 2 : 0);
    }
}

static void test_remove__makes_room_on_a_full_disk(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    if (!shardy_testing_fault_points()) {
        skip();
    }
    support_write_file(support_path(f->root, "k"), "x", 1);
    shardy_testing_fault_set(SHARDY_FAULT_WRITE, 1, 0);
    shardy_status st = remove_key(f->store, "k", &err);
    shardy_testing_fault_set(SHARDY_FAULT_WRITE, 0, 0);
    assert_ok(st);
    assert_false(is_there(f, "k"));
}

static void test_list__passes_over_empty_directories_on_small_pages(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 40; i++) {
        char path[32];
        snprintf(path, sizeof path, "d%02d/empty/deep", i);
        make_dirs(f, path);
    }
    put_ok(f->store, "d20/x", "1");
    put_ok(f->store, "z", "1");
    assert_listing(f->store, "", 0, "d20/x z ");
    assert_listing(f->store, "", '/', "d20/ z ");
    assert_listing(f->store, "d20/", '/', "d20/x ");
    assert_listing(f->store, "d21/", 0, "");
}

static void test_list__a_deep_tree_needs_few_descriptors(void **state)
{
    fixture *f = *state;
    enum {
        DEPTH = 200
    };
    char key[2 * DEPTH + 2];
    for (size_t i = 0; i < DEPTH; i++) {
        memcpy(key + 2 * i, "d/", 3);
    }
    memcpy(key + 2 * DEPTH, "f", 2);
    struct rlimit old;
    struct rlimit small;
    getrlimit(RLIMIT_NOFILE, &old);
    small = old;
    small.rlim_cur = 32;
    put_ok(f->store, key, "deep");
    put_ok(f->store, "d/last", "1");
    setrlimit(RLIMIT_NOFILE, &small);
    char *all = list_text(f->store, "", 0, 10);
    char *top = list_text(f->store, "", '/', 10);
    shardy_error err = {0};
    shardy_status put = put_text(f->store, key, SHARDY_PUT_ALWAYS, NULL, "again", NULL, &err);
    setrlimit(RLIMIT_NOFILE, &old);
    char expected[2 * DEPTH + 20];
    snprintf(expected, sizeof expected, "%s d/last ", key);
    assert_string_equal(all, expected);
    assert_string_equal(top, "d/ ");
    assert_ok(put);
    assert_object(f->store, key, "again");
    assert_ok(remove_key(f->store, key, &err));
    assert_false(is_there(f, "d/d"));
    free(all);
    free(top);
}

static void test_store__its_scratch_does_not_depend_on_the_working_directory(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    char here[4096];
    const char *scratch;
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(f->root), 0);
    shardy_store *store = fixture_open_fs(".", f->scenario == FS_PORTABLE);
    assert_int_equal(chdir(here), 0);
    assert_ok(shardy_store_scratch(store, &scratch, &err));
    assert_int_equal(scratch[0], '/');
    char file[4096];
    snprintf(file, sizeof file, "%s/file", scratch);
    support_write_file(file, "x", 1);
    shardy_store_put put = put_of("k", SHARDY_PUT_ALWAYS, "");
    put.file_path = file;
    assert_ok(shardy_store_put_object(store, &put, NULL, &err));
    assert_object(f->store, "k", "x");
    shardy_store_close(store);
}

static void test_store__says_so_when_its_own_directory_was_removed(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    put_ok(f->store, "k", "one");
    char *own = strdup(support_path(f->root, ".shardyfusion"));
    support_remove_dir(own);
    assert_status(SHARDY_IO, put_text(f->store, "k", SHARDY_PUT_ALWAYS, NULL, "two", NULL, &err));
    assert_non_null(strstr(err.message, "removed"));
    assert_object(f->store, "k", "one");
    /* somebody who comes anew is not concerned */
    shardy_store *other = fixture_open_fs(f->root, 0);
    put_ok(other, "k", "two");
    shardy_store_close(other);
    assert_object(f->store, "k", "two");
}

static void test_scratch__is_private_and_what_is_left_in_it_goes_with_the_store(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    const char *scratch;
    shardy_store *store = fixture_open_fs(f->root, f->scenario == FS_PORTABLE);
    assert_ok(shardy_store_scratch(store, &scratch, &err));
    char path[4096];
    snprintf(path, sizeof path, "%s/a/b", scratch);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(mkdir(path, 0700), 0);
    *slash = '/';
    support_write_file(path, "x", 1);
    snprintf(path, sizeof path, "%s", scratch);
    shardy_store_close(store);
    struct stat st;
    assert_int_equal(lstat(path, &st), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_put__that_fails_leaves_no_directories),
        STORE_TEST(test_remove__prunes_up_to_the_next_object),
        STORE_TEST(test_put__takes_the_place_of_an_empty_directory),
        STORE_TEST(test_read__tells_versions_up_to_the_limit),
        STORE_TEST(test_put__a_stream_has_the_version_of_its_bytes),
        STORE_TEST(test_put__syncs_the_file_then_renames_then_syncs_the_directory),
        STORE_TEST(test_remove__makes_room_on_a_full_disk),
        STORE_TEST(test_list__passes_over_empty_directories_on_small_pages),
        STORE_TEST(test_list__a_deep_tree_needs_few_descriptors),
        STORE_TEST(test_store__its_scratch_does_not_depend_on_the_working_directory),
        STORE_TEST(test_store__says_so_when_its_own_directory_was_removed),
        STORE_TEST(test_scratch__is_private_and_what_is_left_in_it_goes_with_the_store),
    };
    return fixture_run(
        tests, sizeof tests / sizeof tests[0], on_files, sizeof on_files / sizeof on_files[0]);
}
