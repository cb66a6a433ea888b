/* What a store of a directory has beside the contract of all stores: links, modes, scratch, local
 * files. */
#include "store/store.h"
#include "support/store_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static void make_parent_dirs(const char *root, const char *path)
{
    char full[4096];
    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *p = full + strlen(root) + 1; *p; p++) {
        if (*p == '/') {
            *p = '\0';
            mkdir(full, 0777);
            *p = '/';
        }
    }
}

static void test_fs__links_are_never_followed(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    char *outside = support_make_dir();
    support_write_file(support_path(outside, "secret"), "secret", 6);
    mkdir(support_path(outside, "x"), 0777);
    support_write_file(support_path(outside, "x/secret"), "secret", 6);
    mkdir(support_path(outside, "x/y"), 0777);
    support_write_file(support_path(outside, "x/y/secret"), "secret", 6);
    /* a link at each level of the key: to a directory outside, to one inside, to a file */
    static const struct {
        const char *link;
        const char *target; /* below `outside` when it begins with a slash */
        const char *key;
    } cases[] = {{"l1", "/", "l1/secret"}, {"a/l2", "/", "a/l2/secret"},
        {"a/b/l3", "/x", "a/b/l3/secret"}, {"l4", "/secret", "l4"}, {"a/l5", "/secret", "a/l5"},
        {"l6", "a", "l6/inside"}, {"l7", "a/inside", "l7"}, {"l8", "..", "l8/secret"},
        {"l9", "nowhere", "l9"}, {"l10", "/x", "l10/y/secret"}, {"l11", "/", "l11/x/y/secret"}};
    put_ok(f->store, "a/inside", "inside");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char target[4096];
        const char *t = cases[i].target;
        snprintf(target, sizeof target, "%s%s", t[0] == '/' ? outside : "", t);
        make_parent_dirs(f->root, cases[i].link);
        assert_int_equal(symlink(target, support_path(f->root, cases[i].link)), 0);
        shardy_buf body;
        shardy_object_meta meta;
        shardy_local_file file;
        shardy_status st =
            shardy_store_get(f->store, cases[i].key, 0, SHARDY_READ_TO_END, &body, NULL, &err);
        assert_true(st == SHARDY_NOT_FOUND || st == SHARDY_INVALID);
        assert_null(body.data);
        st = shardy_store_head(f->store, cases[i].key, &meta, &err);
        assert_true(st == SHARDY_NOT_FOUND || st == SHARDY_INVALID);
        st = shardy_store_open_local(f->store, cases[i].key, &file, &err);
        assert_true(st == SHARDY_NOT_FOUND || st == SHARDY_INVALID);
        assert_int_equal(file.fd, -1);
        shardy_bytes key = bytes_of(cases[i].key);
        int32_t result;
        st = shardy_store_remove(f->store, &key, 1, &result, &err);
        assert_true(st == SHARDY_OK || st == SHARDY_INVALID);
        if (strchr(cases[i].key, '/') && !strstr(cases[i].key, "l5")) {
            st = put_text(f->store, cases[i].key, SHARDY_PUT_ALWAYS, NULL, "evil", NULL, &err);
            assert_int_equal(st, SHARDY_INVALID);
            char prefix[64];
            snprintf(prefix, sizeof prefix, "%s/", cases[i].link);
            shardy_store_page page;
            st = shardy_store_list(f->store, prefix, 0, NULL, 10, &page, &err);
            assert_true(st == SHARDY_INVALID || (st == SHARDY_OK && page.count == 0));
            shardy_store_page_dispose(&page);
        }
    }
    assert_listing(f->store, "", 0, "a/inside ");
    assert_listing(f->store, "", '/', "a/ ");
    static const char *const files[] = {"secret", "x/secret", "x/y/secret"};
    for (size_t i = 0; i < 3; i++) {
        size_t len;
        char *content = support_read_file(support_path(outside, files[i]), &len);
        assert_string_equal(content, "secret");
        free(content);
    }
    support_remove_dir(outside);
}

static void test_fs__a_link_as_the_own_directory_is_not_followed(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    char *outside = support_make_dir();
    assert_int_equal(symlink(outside, support_path(f->root, ".shardyfusion")), 0);
    assert_true(put_text(f->store, "k", SHARDY_PUT_ALWAYS, NULL, "x", NULL, &err) < 0);
    assert_true(err.message[0] != '\0');
    assert_int_equal(access(support_path(outside, "lock"), F_OK), -1);
    assert_int_equal(access(support_path(outside, "tmp"), F_OK), -1);
    support_remove_dir(outside);
}

static void test_fs__what_is_no_regular_file_is_no_object(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    shardy_buf body;
    assert_int_equal(mkfifo(support_path(f->root, "fifo"), 0666), 0);
    mkdir(support_path(f->root, "dir"), 0777);
    shardy_status st = shardy_store_get(f->store, "fifo", 0, SHARDY_READ_TO_END, &body, NULL, &err);
    assert_true(st == SHARDY_NOT_FOUND || st == SHARDY_INVALID);
    assert_no_object(f->store, "dir");
    assert_listing(f->store, "", 0, "");
    assert_listing(f->store, "", '/', "");
    /* with an object below it a directory cannot be one, an empty one is in nobody's way */
    put_ok(f->store, "full/below", "x");
    static const shardy_put_condition conditions[] = {SHARDY_PUT_ALWAYS, SHARDY_PUT_IF_ABSENT};
    for (size_t i = 0; i < 2; i++) {
        assert_status(
            SHARDY_INVALID, put_text(f->store, "full", conditions[i], NULL, "x", NULL, &err));
        assert_ok(put_text(f->store, "dir", conditions[i], NULL, "x", NULL, &err));
        assert_ok(remove_key(f->store, "dir", &err));
        mkdir(support_path(f->root, "dir"), 0777);
    }
    put_ok(f->store, "file", "x");
    assert_status(
        SHARDY_INVALID, put_text(f->store, "file/below", SHARDY_PUT_ALWAYS, NULL, "x", NULL, &err));
    assert_object(f->store, "file", "x");
}

static void test_fs__names_that_are_no_keys_are_not_listed(void **state)
{
    fixture *f = *state;
    support_write_file(support_path(f->root, "bad\nname"), "x", 1);
    support_write_file(support_path(f->root, "bad\xff"), "x", 1);
    mkdir(support_path(f->root, "bad\x01"), 0777);
    support_write_file(support_path(f->root, "bad\x01/x"), "x", 1);
    support_write_file(support_path(f->root, "good"), "x", 1);
    assert_listing(f->store, "", 0, "good ");
    assert_listing(f->store, "", '/', "good ");
    assert_object(f->store, "good", "x");
}

static void test_fs__readers_make_nothing(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    support_write_file(support_path(f->root, "k"), "x", 1);
    assert_object(f->store, "k", "x");
    assert_no_object(f->store, "missing/x");
    assert_listing(f->store, "", 0, "k ");
    assert_listing(f->store, "missing/", 0, "");
    assert_ok(remove_key(f->store, "missing", &err));
    assert_ok(remove_key(f->store, "missing/x", &err));
    assert_int_equal(access(support_path(f->root, ".shardyfusion"), F_OK), -1);
    assert_int_equal(access(support_path(f->root, "missing"), F_OK), -1);
}

static uint32_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (uint32_t)st.st_mode & 07777u;
}

static void test_fs__modes_are_private_for_its_own_and_by_umask_for_objects(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    const char *scratch;
    mode_t old = umask(027);
    put_ok(f->store, "d/body", "x");
    assert_ok(shardy_store_scratch(f->store, &scratch, &err));
    char file[4096];
    snprintf(file, sizeof file, "%s/made", scratch);
    support_write_file(file, "taken", 5);
    assert_int_equal(chmod(file, 0600), 0);
    shardy_store_put put = put_of("d/taken", SHARDY_PUT_IF_ABSENT, "");
    put.file_path = file;
    assert_ok(shardy_store_put_object(f->store, &put, NULL, &err));
    umask(old);
    assert_int_equal(mode_of(support_path(f->root, "d")), 0750);
    assert_int_equal(mode_of(support_path(f->root, "d/body")), 0640);
    assert_int_equal(mode_of(support_path(f->root, "d/taken")), 0640);
    assert_int_equal(mode_of(support_path(f->root, ".shardyfusion")), 0700);
    assert_int_equal(mode_of(support_path(f->root, ".shardyfusion/tmp")), 0700);
    assert_int_equal(mode_of(support_path(f->root, ".shardyfusion/lock")), 0600);
    assert_int_equal(mode_of(scratch), 0700);
}

static void test_fs__a_file_of_the_scratch_is_moved(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    const char *scratch;
    const char *again;
    char file[4096];
    struct stat before;
    struct stat after;
    assert_ok(shardy_store_scratch(f->store, &scratch, &err));
    assert_ok(shardy_store_scratch(f->store, &again, &err));
    assert_string_equal(scratch, again);
    assert_int_equal(scratch[0], '/');
    char dir[4096];
    snprintf(dir, sizeof dir, "%s/attempt", scratch);
    assert_int_equal(mkdir(dir, 0700), 0);
    snprintf(file, sizeof file, "%.3000s/shard", dir);
    support_write_file(file, "shard content", 13);
    assert_int_equal(stat(file, &before), 0);
    shardy_object_meta meta;
    shardy_store_put put = put_of("x/shard.db", SHARDY_PUT_IF_ABSENT, "");
    put.file_path = file;
    assert_ok(shardy_store_put_object(f->store, &put, &meta, &err));
    assert_int_equal(meta.size, 13);
    assert_int_equal(access(file, F_OK), -1);
    assert_int_equal(stat(support_path(f->root, "x/shard.db"), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_object(f->store, "x/shard.db", "shard content");
    /* a put that fails leaves it where it is */
    support_write_file(file, "second", 6);
    assert_status(SHARDY_EXISTS, shardy_store_put_object(f->store, &put, &meta, &err));
    size_t len;
    char *content = support_read_file(file, &len);
    assert_string_equal(content, "second");
    free(content);
    assert_object(f->store, "x/shard.db", "shard content");
}

static void test_fs__a_file_with_a_second_name_or_a_link_is_not_moved(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    const char *scratch;
    char file[4096];
    char second[4096];
    assert_ok(shardy_store_scratch(f->store, &scratch, &err));
    snprintf(file, sizeof file, "%s/one", scratch);
    snprintf(second, sizeof second, "%s/two", scratch);
    support_write_file(file, "content", 7);
    assert_int_equal(link(file, second), 0);
    shardy_store_put put = put_of("hard", SHARDY_PUT_IF_ABSENT, "");
    put.file_path = file;
    assert_ok(shardy_store_put_object(f->store, &put, NULL, &err));
    support_write_file(second, "CHANGED", 7);
    assert_object(f->store, "hard", "content");
    char *outside = support_make_dir();
    support_write_file(support_path(outside, "target"), "target", 6);
    snprintf(file, sizeof file, "%s/link", scratch);
    assert_int_equal(symlink(support_path(outside, "target"), file), 0);
    put = put_of("soft", SHARDY_PUT_IF_ABSENT, "");
    put.file_path = file;
    assert_ok(shardy_store_put_object(f->store, &put, NULL, &err));
    struct stat st;
    assert_int_equal(lstat(support_path(f->root, "soft"), &st), 0);
    assert_true(S_ISREG(st.st_mode));
    support_write_file(support_path(outside, "target"), "CHANGE", 6);
    assert_object(f->store, "soft", "target");
    support_remove_dir(outside);
}

static void test_fs__local_files_can_be_opened(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    shardy_local_file file;
    put_ok(f->store, "d/k", "0123456789");
    shardy_status st = shardy_store_open_local(f->store, "d/k", &file, &err);
    assert_ok(st);
    char text[11] = "";
    assert_int_equal(file.size, 10);
    assert_true(file.modified_us > 0);
    assert_int_equal(pread(file.fd, text, 10, 0), 10);
    assert_string_equal(text, "0123456789");
    assert_int_equal(write(file.fd, "x", 1), -1);
    assert_true(fcntl(file.fd, F_GETFD) & FD_CLOEXEC);
    /* what was opened stays as it is */
    put_ok(f->store, "d/k", "replaced");
    assert_ok(remove_key(f->store, "d/k", &err));
    assert_int_equal(pread(file.fd, text, 10, 0), 10);
    assert_string_equal(text, "0123456789");
    close(file.fd);
    assert_status(SHARDY_NOT_FOUND, shardy_store_open_local(f->store, "d/k", &file, &err));
    assert_int_equal(file.fd, -1);
    assert_status(SHARDY_NOT_FOUND, shardy_store_open_local(f->store, "d", &file, &err));
}

static void test_fs__two_handles_share_the_directory(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    const char *scratch;
    char kept[4096];
    assert_ok(shardy_store_scratch(f->store, &scratch, &err));
    snprintf(kept, sizeof kept, "%s/file", scratch);
    support_write_file(kept, "x", 1);
    shardy_store *other = fixture_open_fs(f->root, f->scenario != FS_PORTABLE);
    const char *other_scratch;
    char gone[4096];
    assert_ok(shardy_store_scratch(other, &other_scratch, &err));
    assert_string_not_equal(scratch, other_scratch);
    snprintf(gone, sizeof gone, "%s", other_scratch);
    /* the one that is in use is not swept away, the one that is closed is gone */
    assert_int_equal(access(kept, F_OK), 0);
    shardy_object_meta meta;
    assert_ok(put_text(f->store, "k", SHARDY_PUT_IF_ABSENT, NULL, "one", &meta, &err));
    assert_status(
        SHARDY_EXISTS, put_text(other, "k", SHARDY_PUT_IF_ABSENT, NULL, "two", NULL, &err));
    assert_ok(put_text(other, "k", SHARDY_PUT_IF_MATCH, meta.etag.text, "two", NULL, &err));
    assert_status(SHARDY_CONFLICT,
        put_text(f->store, "k", SHARDY_PUT_IF_MATCH, meta.etag.text, "three", NULL, &err));
    assert_object(f->store, "k", "two");
    shardy_store_close(other);
    assert_int_equal(access(gone, F_OK), -1);
    assert_int_equal(access(kept, F_OK), 0);
}

static void test_fs__scratch_that_nobody_holds_is_removed(void **state)
{
    fixture *f = *state;
    mkdir(support_path(f->root, ".shardyfusion"), 0700);
    mkdir(support_path(f->root, ".shardyfusion/tmp"), 0700);
    mkdir(support_path(f->root, ".shardyfusion/tmp/dead"), 0700);
    mkdir(support_path(f->root, ".shardyfusion/tmp/dead/sub"), 0700);
    support_write_file(support_path(f->root, ".shardyfusion/tmp/dead/lock"), "", 0);
    support_write_file(support_path(f->root, ".shardyfusion/tmp/dead/sub/x"), "x", 1);
    mkdir(support_path(f->root, ".shardyfusion/tmp/unborn"), 0700);
    char *outside = support_make_dir();
    support_write_file(support_path(outside, "precious"), "x", 1);
    assert_int_equal(symlink(outside, support_path(f->root, ".shardyfusion/tmp/dead/link")), 0);
    assert_int_equal(symlink(outside, support_path(f->root, ".shardyfusion/tmp/link")), 0);
    put_ok(f->store, "k", "x");
    assert_int_equal(access(support_path(f->root, ".shardyfusion/tmp/dead"), F_OK), -1);
    assert_int_equal(access(support_path(f->root, ".shardyfusion/tmp/unborn"), F_OK), -1);
    assert_int_equal(access(support_path(outside, "precious"), F_OK), 0);
    support_remove_dir(outside);
}

static void test_fs__many_dead_scratches_go_in_turns(void **state)
{
    fixture *f = *state;
    mkdir(support_path(f->root, ".shardyfusion"), 0700);
    mkdir(support_path(f->root, ".shardyfusion/tmp"), 0700);
    for (int i = 0; i < 40; i++) {
        char name[64];
        snprintf(name, sizeof name, ".shardyfusion/tmp/dead%d", i);
        mkdir(support_path(f->root, name), 0700);
        snprintf(name, sizeof name, ".shardyfusion/tmp/dead%d/lock", i);
        support_write_file(support_path(f->root, name), "", 0);
    }
    put_ok(f->store, "k", "x");
    /* a writer does a part of it, so that none has to wait for the removal of all */
    for (int i = 0; i < 3; i++) {
        shardy_store *other = fixture_open_fs(f->root, 0);
        put_ok(other, "k", "x");
        shardy_store_close(other);
    }
    size_t count = 0;
    DIR *dir = opendir(support_path(f->root, ".shardyfusion/tmp"));
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    /* ".", "..", and the directory of the store that is open */
    assert_int_equal(count, 3);
}

static void test_fs__what_is_deeper_than_a_key_is_not_listed(void **state)
{
    fixture *f = *state;
    char name[251];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    put_ok(f->store, "a", "x");
    int dir = open(f->root, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(mkdirat(dir, name, 0777), 0);
        int next = openat(dir, name, O_RDONLY | O_DIRECTORY);
        close(dir);
        dir = next;
    }
    int fd = openat(dir, name, O_WRONLY | O_CREAT, 0666);
    assert_true(fd >= 0);
    close(fd);
    close(dir);
    assert_listing(f->store, "", 0, "a ");
    assert_listing(f->store, "", '/', "a ");
}

/* A clock whose sleeping is what a test does while a store waits for the lock. */
typedef struct lock_play {
    int64_t now_ns;
    int sleeps;
    int fd; /* holds the lock */
    const char *path;
    shardy_cancel *cancel; /* to be requested at the third sleep */
    int swap;              /* 1: at the first sleep another lock file takes the place of this one */
} lock_play;

static int64_t play_monotonic(void *user)
{
    return ((lock_play *)user)->now_ns;
}

static int hold_lock(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    return fd;
}

static void play_sleep(void *user, int64_t us)
{
    lock_play *p = user;
    p->sleeps++;
    p->now_ns += us * 1000;
    if (p->cancel && p->sleeps == 3) {
        shardy_cancel_request(p->cancel);
    }
    if (p->swap && p->sleeps == 1) {
        assert_int_equal(unlink(p->path), 0);
        int other = hold_lock(p->path);
        close(p->fd);
        p->fd = other;
    } else if (p->swap && p->sleeps == 2) {
        close(p->fd);
        p->fd = -1;
    }
}

static shardy_context *play_context(lock_play *p)
{
    shardy_error err = {0};
    shardy_context *context;
    shardy_context_options options;
    shardy_context_options_init(&options, sizeof options);
    options.clock.user = p;
    options.clock.monotonic_ns = play_monotonic;
    options.clock.sleep_us = play_sleep;
    assert_ok(shardy_context_new(&options, &context, &err));
    return context;
}

/* A put over an object while somebody else holds the lock. */
static shardy_status put_against_lock(
    fixture *f, lock_play *p, int64_t deadline_ns, shardy_error *err)
{
    shardy_store *store;
    shardy_context *context = play_context(p);
    p->now_ns = 1000000000;
    store_fs_quirks quirks = {.portable = f->scenario == FS_PORTABLE};
    if (shardy__store_open_fs_quirks(context, f->root, NULL, &quirks, &store, err) != SHARDY_OK) {
        shardy_context_free(context);
        return SHARDY_INTERNAL;
    }
    put_ok(store, "k", "before");
    p->path = support_path(f->root, ".shardyfusion/lock");
    p->fd = hold_lock(p->path);
    shardy_store_put put = put_of("k", SHARDY_PUT_ALWAYS, "after");
    put.deadline_ns = deadline_ns;
    put.cancel = p->cancel;
    shardy_status st = shardy_store_put_object(store, &put, NULL, err);
    if (p->fd >= 0) {
        close(p->fd);
    }
    assert_object(store, "k", st == SHARDY_OK ? "after" : "before");
    shardy_store_close(store);
    shardy_context_free(context);
    assert_int_equal(count_leftovers(f->root), 0);
    return st;
}

static void test_fs__a_lock_that_is_held_is_waited_for_as_long_as_is_wanted(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    lock_play p = {.fd = -1};
    /* until the deadline */
    assert_status(SHARDY_TIMEOUT, put_against_lock(f, &p, 1000000000 + 5000000, &err));
    assert_true(p.sleeps > 2);
    assert_true(p.now_ns < 1000000000 + 50000000);
    /* until it is cancelled */
    lock_play q = {.fd = -1};
    assert_ok(shardy_cancel_new(&q.cancel, &err));
    assert_status(SHARDY_CANCELLED, put_against_lock(f, &q, 0, &err));
    assert_int_equal(q.sleeps, 3);
    shardy_cancel_free(q.cancel);
    /* not for ever, whoever holds it */
    lock_play r = {.fd = -1};
    assert_true(put_against_lock(f, &r, 0, &err) < 0);
    assert_non_null(strstr(err.message, "lock"));
    assert_true(r.now_ns > 10000000000 && r.now_ns < 600000000000);
}

static void test_fs__a_lock_file_that_was_replaced_is_not_taken_for_the_lock(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    lock_play p = {.fd = -1, .swap = 1};
    assert_ok(put_against_lock(f, &p, 0, &err));
    assert_int_equal(p.sleeps, 2);
}

static void test_fs__versions_are_the_digest_of_the_content(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    shardy_object_meta meta;
    assert_ok(put_text(f->store, "k", SHARDY_PUT_ALWAYS, NULL, "hello", &meta, &err));
    assert_string_equal(
        meta.etag.text, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    shardy_buf body;
    assert_ok(shardy_store_get(f->store, "k", 0, SHARDY_READ_TO_END, &body, &meta, &err));
    shardy_buf_release(&body);
    assert_string_equal(
        meta.etag.text, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
}

/* --- running ------------------------------------------------------------------------------ */

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_fs__links_are_never_followed),
        STORE_TEST(test_fs__a_link_as_the_own_directory_is_not_followed),
        STORE_TEST(test_fs__what_is_no_regular_file_is_no_object),
        STORE_TEST(test_fs__names_that_are_no_keys_are_not_listed),
        STORE_TEST(test_fs__readers_make_nothing),
        STORE_TEST(test_fs__modes_are_private_for_its_own_and_by_umask_for_objects),
        STORE_TEST(test_fs__a_file_of_the_scratch_is_moved),
        STORE_TEST(test_fs__a_file_with_a_second_name_or_a_link_is_not_moved),
        STORE_TEST(test_fs__local_files_can_be_opened),
        STORE_TEST(test_fs__two_handles_share_the_directory),
        STORE_TEST(test_fs__scratch_that_nobody_holds_is_removed),
        STORE_TEST(test_fs__many_dead_scratches_go_in_turns),
        STORE_TEST(test_fs__what_is_deeper_than_a_key_is_not_listed),
        STORE_TEST(test_fs__a_lock_that_is_held_is_waited_for_as_long_as_is_wanted),
        STORE_TEST(test_fs__a_lock_file_that_was_replaced_is_not_taken_for_the_lock),
        STORE_TEST(test_fs__versions_are_the_digest_of_the_content),
    };
    static const scenario list[] = {FS, FS_PORTABLE, FAULT_FS};
    return fixture_run(tests, sizeof tests / sizeof tests[0], list, sizeof list / sizeof list[0]);
}
