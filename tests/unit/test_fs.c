/* Files and directories. */
#include "base/alloc.h"
#include "base/fs.h"
#include "support/support.h"

#include <shardyfusion/sys/testing.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

static durable_dirs durable;

static int make_dir(void **state)
{
    *state = support_make_dir();
    return 0;
}

static int remove_dir(void **state)
{
    support_remove_dir(*state);
    return 0;
}

static void assert_content(const char *path, const char *expected)
{
    size_t len;
    char *content = support_read_file(path, &len);
    assert_int_equal(len, strlen(expected));
    assert_string_equal(content, expected);
    free(content);
}

static int is_there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static int open_dir(const char *path)
{
    shardy_error err = {0};
    int fd;
    assert_ok(shardy__dir_open(path, &fd, &err));
    return fd;
}

/* --- paths -------------------------------------------------------------------------------- */

static void test_path__joining_puts_one_slash_between(void **state)
{
    (void)state;
    static const char *const cases[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"},
        {"a//", "b/c", "a/b/c"}, {"/", "b", "/b"}, {"//", "b", "/b"}, {"a", "", "a"},
        {"/", "", "/"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_error err = {0};
        char *path;
        assert_ok(shardy__path_join(cases[i][0], cases[i][1], &path, &err));
        assert_string_equal(path, cases[i][2]);
        shardy__free(path);
    }
}

static void test_path__the_real_one_has_no_links(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    char *real;
    char *of_dir;
    assert_ok(shardy__path_real(dir, &of_dir, &err));
    assert_int_equal(symlink(".", support_path(dir, "link")), 0);
    assert_ok(shardy__path_real(support_path(dir, "link/./link"), &real, &err));
    assert_string_not_equal(real, "");
    shardy__free(real);
    assert_ok(shardy__path_real(support_path(dir, "link"), &real, &err));
    assert_string_equal(real, of_dir);
    shardy__free(real);
    shardy__free(of_dir);
    assert_status(SHARDY_NOT_FOUND, shardy__path_real(support_path(dir, "no"), &real, &err));
    assert_null(real);
}

/* --- files -------------------------------------------------------------------------------- */

static void test_file__only_regular_files_are_opened(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    int fd;
    support_write_file(support_path(dir, "f"), "abc", 3);
    assert_int_equal(symlink("f", support_path(dir, "l")), 0);
    assert_int_equal(mkfifo(support_path(dir, "fifo"), 0600), 0);
    assert_ok(shardy__file_open(support_path(dir, "f"), &fd, &err));
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    shardy__file_close(fd);
    assert_ok(shardy__file_open(support_path(dir, "l"), &fd, &err));
    shardy__file_close(fd);
    assert_status(SHARDY_NOT_FOUND, shardy__file_open(support_path(dir, "no"), &fd, &err));
    assert_int_equal(fd, -1);
    assert_status(SHARDY_NOT_FOUND, shardy__file_open(support_path(dir, "f/x"), &fd, &err));
    assert_status(SHARDY_INVALID, shardy__file_open(dir, &fd, &err));
    assert_status(SHARDY_INVALID, shardy__file_open(support_path(dir, "fifo"), &fd, &err));
    assert_int_equal(fd, -1);
    assert_non_null(strstr(err.message, "fifo"));
}

static void test_file__creating_never_takes_what_is_there(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    int fd;
    const char *path = support_path(dir, "new");
    assert_ok(shardy__file_create(path, 0640, &fd, &err));
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_ok(shardy__file_write(fd, "x", 1, &err));
    shardy__file_close(fd);
    assert_status(SHARDY_EXISTS, shardy__file_create(path, 0640, &fd, &err));
    assert_int_equal(fd, -1);
    assert_int_equal(symlink("elsewhere", support_path(dir, "l")), 0);
    assert_status(SHARDY_EXISTS, shardy__file_create(support_path(dir, "l"), 0640, &fd, &err));
    assert_false(is_there(support_path(dir, "elsewhere")));
    assert_true(shardy__file_create(support_path(dir, "no/x"), 0640, &fd, &err) < 0);
    assert_non_null(strstr(err.message, "no/x"));
    assert_content(path, "x");
}

static void test_file__an_unnamed_one_leaves_no_name(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    int fd;
    char text[4] = "";
    assert_ok(shardy__file_open_unnamed(dir, &fd, &err));
    assert_ok(shardy__file_write_at(fd, 0, "abc", 3, &err));
    assert_ok(shardy__file_read_at(fd, 0, text, 3, &err));
    assert_string_equal(text, "abc");
    assert_int_equal(rmdir(dir), 0);
    shardy__file_close(fd);
    assert_true(shardy__file_open_unnamed(dir, &fd, &err) < 0);
    assert_int_equal(fd, -1);
}

static void test_file__what_is_written_is_read(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    int fd;
    char text[16] = "";
    size_t n;
    uint64_t size;
    file_info info;
    assert_ok(shardy__file_create(support_path(dir, "f"), 0600, &fd, &err));
    assert_ok(shardy__file_write(fd, "hello ", 6, &err));
    assert_ok(shardy__file_write(fd, "world", 5, &err));
    assert_ok(shardy__file_write(fd, NULL, 0, &err));
    assert_ok(shardy__file_write_at(fd, 0, "J", 1, &err));
    assert_ok(shardy__file_sync(fd, &err));
    assert_ok(shardy__file_size(fd, &size, &err));
    assert_int_equal(size, 11);
    assert_ok(shardy__file_read_at(fd, 0, text, 11, &err));
    assert_string_equal(text, "Jello world");
    assert_status(SHARDY_CORRUPT, shardy__file_read_at(fd, 6, text, 6, &err));
    assert_non_null(strstr(err.message, "byte 11"));
    assert_status(SHARDY_CORRUPT, shardy__file_read_at(fd, 100, text, 1, &err));
    assert_status(SHARDY_INVALID, shardy__file_read_at(fd, UINT64_MAX, text, 2, &err));
    assert_status(SHARDY_INVALID, shardy__file_write_at(fd, INT64_MAX, text, 2, &err));
    assert_ok(shardy__file_read_at(fd, UINT64_MAX / 2, text, 0, &err));
    assert_ok(shardy__file_truncate(fd, 5, &err));
    assert_ok(shardy__file_set_mode(fd, 0640, &err));
    assert_ok(shardy__file_stat(fd, &info, &err));
    assert_int_equal(info.size, 5);
    assert_int_equal(info.kind, FILE_REGULAR);
    assert_int_equal(info.mode, 0640);
    assert_int_equal(info.links, 1);
    assert_true(info.modified_us > 1500000000000000);
    shardy__file_close(fd);
    assert_ok(shardy__file_open(support_path(dir, "f"), &fd, &err));
    assert_ok(shardy__file_read(fd, text, 3, &n, &err));
    assert_int_equal(n, 3);
    assert_ok(shardy__file_read(fd, text, 16, &n, &err));
    assert_int_equal(n, 2);
    assert_ok(shardy__file_read(fd, text, 16, &n, &err));
    assert_int_equal(n, 0);
    assert_true(shardy__file_write(fd, "x", 1, &err) < 0);
    shardy__file_close(fd);
    shardy__file_close(-1);
    assert_true(shardy__file_size(-1, &size, &err) < 0);
    assert_int_equal(size, 0);
}

/* Pages of the file that are in the page cache. */
static size_t pages_at_hand(int fd, size_t pages)
{
    unsigned char *at_hand = calloc(pages, 1);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t n = 0;
    void *base = mmap(NULL, pages * page, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(base != MAP_FAILED && at_hand);
    assert_int_equal(mincore(base, pages * page, at_hand), 0);
    for (size_t i = 0; i < pages; i++) {
        n += at_hand[i] & 1;
    }
    munmap(base, pages * page);
    free(at_hand);
    return n;
}

static void test_file__what_flows_to_the_disk_leaves_the_page_cache_and_stays_right(void **state)
{
    enum {
        TOTAL = 40 << 20,
        PIECE = 256 << 10
    };
    static const long in_memory[] = {0x01021994, (long)0x858458f6}; /* tmpfs, ramfs */
    const char *dir = *state;
    shardy_error err = {0};
    struct statfs of;
    int fd;
    file_flow flow = {0, 0};
    uint8_t *piece = malloc(PIECE);
    assert_non_null(piece);
    assert_ok(shardy__file_create(support_path(dir, "f"), 0600, &fd, &err));
    for (uint32_t at = 0; at < TOTAL; at += PIECE) {
        memset(piece, (int)(at / PIECE) + 1, PIECE);
        assert_ok(shardy__file_write_at(fd, at, piece, PIECE, &err));
        assert_ok(shardy__file_flow(fd, &flow, at + PIECE, &err));
    }
    assert_ok(shardy__file_sync(fd, &err));
    assert_true(flow.gone > 0);
    assert_int_equal(fstatfs(fd, &of), 0);
    if (of.f_type != in_memory[0] && of.f_type != in_memory[1]) {
        size_t pages = TOTAL / (size_t)sysconf(_SC_PAGESIZE);
        assert_true(pages_at_hand(fd, pages) <= pages / 2);
    }
    for (uint32_t at = 0; at < TOTAL; at += PIECE) {
        assert_ok(shardy__file_read_at(fd, at, piece, PIECE, &err));
        assert_int_equal(piece[0], (uint8_t)(at / PIECE + 1));
        assert_int_equal(piece[PIECE - 1], (uint8_t)(at / PIECE + 1));
    }
    shardy__file_close(fd);
    free(piece);
}

static void test_file__a_full_disk_and_a_size_limit_are_no_space(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    int full = open("/dev/full", O_RDWR | O_CLOEXEC);
    assert_true(full >= 0);
    assert_status(SHARDY_NO_SPACE, shardy__file_write(full, "x", 1, &err));
    assert_int_equal(err.native, 28);
    close(full);
    int fd;
    struct rlimit old;
    struct rlimit small;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction before;
    sigaction(SIGXFSZ, &ignore, &before);
    assert_ok(shardy__file_create(support_path(dir, "f"), 0600, &fd, &err));
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 4096;
    setrlimit(RLIMIT_FSIZE, &small);
    char data[8192] = {0};
    /* a short write first, then the reason for it */
    shardy_status st = shardy__file_write(fd, data, sizeof data, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    sigaction(SIGXFSZ, &before, NULL);
    assert_status(SHARDY_NO_SPACE, st);
    shardy__file_close(fd);
}

static void test_file__no_descriptors_left_is_exhausted(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    struct rlimit old;
    struct rlimit small;
    int fd;
    support_write_file(support_path(dir, "f"), "abc", 3);
    getrlimit(RLIMIT_NOFILE, &old);
    small = old;
    small.rlim_cur = 3;
    setrlimit(RLIMIT_NOFILE, &small);
    shardy_status st = shardy__file_open(support_path(dir, "f"), &fd, &err);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_status(SHARDY_EXHAUSTED, st);
    assert_int_equal(err.retriable, 1);
}

static void test_file__a_mapping_shows_the_content(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    int fd;
    const void *base;
    support_write_file(support_path(dir, "f"), "mapped", 6);
    assert_ok(shardy__file_open(support_path(dir, "f"), &fd, &err));
    assert_ok(shardy__file_map(fd, 6, &base, &err));
    shardy__file_close(fd);
    assert_memory_equal(base, "mapped", 6);
    shardy__file_unmap(base, 6);
    assert_ok(shardy__file_map(-1, 0, &base, &err));
    assert_null(base);
    shardy__file_unmap(NULL, 0);
    assert_true(shardy__file_map(-1, 1, &base, &err) < 0);
}

static void test_file__a_lock_is_held_by_one_until_it_is_closed(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    int first;
    int second;
    int32_t taken;
    int fd = open_dir(dir);
    assert_ok(shardy__at_open_or_create(fd, "lock", 0600, &first, &err));
    assert_ok(shardy__at_open_or_create(fd, "lock", 0600, &second, &err));
    assert_ok(shardy__file_try_lock(first, &taken, &err));
    assert_int_equal(taken, 1);
    assert_ok(shardy__file_try_lock(second, &taken, &err));
    assert_int_equal(taken, 0);
    shardy__file_close(first);
    assert_ok(shardy__file_try_lock(second, &taken, &err));
    assert_int_equal(taken, 1);
    shardy__file_close(second);
    assert_true(shardy__file_try_lock(-1, &taken, &err) < 0);
    close(fd);
}

static void test_writer__writes_nothing_while_all_fits(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    int fd;
    uint64_t size;
    file_writer w;
    assert_ok(shardy__file_create(support_path(dir, "f"), 0600, &fd, &err));
    assert_ok(shardy__file_writer_init(&w, fd, 8, &err));
    assert_ok(shardy__file_writer_put(&w, "abc", 3, &err));
    assert_ok(shardy__file_writer_put(&w, "", 0, &err));
    assert_ok(shardy__file_writer_put(&w, "defg", 4, &err));
    assert_ok(shardy__file_writer_put(&w, "h", 1, &err));
    assert_int_equal(w.size, 8);
    assert_int_equal(w.len, 8);
    assert_memory_equal(w.buf, "abcdefgh", 8);
    assert_ok(shardy__file_size(fd, &size, &err));
    assert_int_equal(size, 0);
    assert_ok(shardy__file_writer_put(&w, "i", 1, &err));
    assert_ok(shardy__file_size(fd, &size, &err));
    assert_int_equal(size, 8);
    assert_ok(shardy__file_writer_flush(&w, &err));
    assert_ok(shardy__file_writer_flush(&w, &err));
    shardy__file_writer_free(&w);
    shardy__file_close(fd);
    assert_content(support_path(dir, "f"), "abcdefghi");
}

static void test_writer__any_pieces_make_the_same_file(void **state)
{
    const char *dir = *state;
    support_rand rand = {support_seed()};
    char data[2000];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (char)('a' + support_rand_below(&rand, 26));
    }
    for (int round = 0; round < 200; round++) {
        shardy_error err = {0};
        char name[32];
        int fd;
        file_writer w;
        snprintf(name, sizeof name, "f%d", round);
        size_t room = 1 + support_rand_below(&rand, 64);
        size_t at = 0;
        assert_ok(shardy__file_create(support_path(dir, name), 0600, &fd, &err));
        assert_ok(shardy__file_writer_init(&w, fd, room, &err));
        while (at < sizeof data) {
            size_t len = support_rand_below(&rand, 200);
            len = len < sizeof data - at ? len : sizeof data - at;
            assert_ok(shardy__file_writer_put(&w, data + at, len, &err));
            at += len;
            assert_int_equal(w.size, at);
            assert_true(w.len <= room);
        }
        assert_ok(shardy__file_writer_flush(&w, &err));
        shardy__file_writer_free(&w);
        shardy__file_close(fd);
        size_t len;
        char *content = support_read_file(support_path(dir, name), &len);
        assert_int_equal(len, sizeof data);
        assert_memory_equal(content, data, len);
        free(content);
    }
}

/* --- directories -------------------------------------------------------------------------- */

static void test_dir__is_made_with_all_above_it(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    assert_ok(shardy__dir_make(support_path(dir, "a/b//c/"), 0700, 0, &err));
    assert_ok(shardy__dir_make(support_path(dir, "a/b/c"), 0700, 0, &err));
    assert_true(is_there(support_path(dir, "a/b/c")));
    support_write_file(support_path(dir, "file"), "x", 1);
    assert_true(shardy__dir_make(support_path(dir, "file"), 0700, 0, &err) < 0);
    assert_true(shardy__dir_make(support_path(dir, "file/x"), 0700, 0, &err) < 0);
    assert_non_null(strstr(err.message, "file/x"));
    int fd;
    assert_status(SHARDY_INVALID, shardy__dir_open(support_path(dir, "file"), &fd, &err));
    assert_status(SHARDY_NOT_FOUND, shardy__dir_open(support_path(dir, "no"), &fd, &err));
    assert_int_equal(fd, -1);
}

static void test_dir__is_removed_with_all_below_it_but_no_target_of_a_link(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    assert_ok(shardy__dir_make(support_path(dir, "t/a/b/c"), 0700, 0, &err));
    assert_ok(shardy__dir_make(support_path(dir, "t/a/d"), 0700, 0, &err));
    assert_ok(shardy__dir_make(support_path(dir, "kept"), 0700, 0, &err));
    support_write_file(support_path(dir, "kept/f"), "x", 1);
    support_write_file(support_path(dir, "t/f"), "x", 1);
    support_write_file(support_path(dir, "t/a/b/f"), "x", 1);
    assert_int_equal(symlink("../kept", support_path(dir, "t/link")), 0);
    assert_int_equal(symlink("../../../kept/f", support_path(dir, "t/a/b/link")), 0);
    assert_int_equal(mkfifo(support_path(dir, "t/a/fifo"), 0600), 0);
    assert_ok(shardy__dir_remove(support_path(dir, "t"), &err));
    assert_false(is_there(support_path(dir, "t")));
    assert_true(is_there(support_path(dir, "kept/f")));
    assert_ok(shardy__dir_remove(support_path(dir, "t"), &err));
    /* a link in place of the directory */
    assert_int_equal(symlink("kept", support_path(dir, "l")), 0);
    assert_true(shardy__dir_remove(support_path(dir, "l"), &err) < 0);
    assert_true(is_there(support_path(dir, "kept/f")));
}

static void test_dir__removing_stops_at_a_depth(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    char path[400];
    size_t len = (size_t)snprintf(path, sizeof path, "%s/t", dir);
    size_t limit = len + 2 * 20;
    while (len < limit) {
        memcpy(path + len, "/d", 3);
        len += 2;
    }
    assert_ok(shardy__dir_make(path, 0700, 0, &err));
    assert_ok(shardy__dir_remove(support_path(dir, "t"), &err));
    memcpy(path + len, "/d/d/d/d/d/d/d/d/d/d", 21);
    assert_ok(shardy__dir_make(path, 0700, 0, &err));
    assert_true(shardy__dir_remove(support_path(dir, "t"), &err) < 0);
    assert_non_null(strstr(err.message, "/t"));
}

typedef struct seen {
    char kinds[8]; /* by the first letter of the name, a to h */
    int count;
    shardy_status answer;
} seen;

static shardy_status see(void *user, const char *name, file_kind kind, shardy_error *err)
{
    seen *s = user;
    (void)err;
    s->count++;
    assert_true(name[0] >= 'a' && name[0] <= 'h');
    s->kinds[name[0] - 'a'] = (char)kind;
    return s->answer;
}

static void test_dir__each_entry_is_seen_with_its_kind(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    support_write_file(support_path(dir, "a"), "", 0);
    mkdir(support_path(dir, "b"), 0700);
    assert_int_equal(symlink("b", support_path(dir, "c")), 0);
    assert_int_equal(mkfifo(support_path(dir, "d"), 0600), 0);
    int fd = open_dir(dir);
    for (int round = 0; round < 2; round++) {
        seen s = {{0}, 0, SHARDY_OK};
        assert_ok(shardy__dir_each(fd, see, &s, &err));
        assert_int_equal(s.count, 4);
        assert_int_equal(s.kinds[0], FILE_REGULAR);
        assert_int_equal(s.kinds[1], FILE_DIR);
        assert_int_equal(s.kinds[2], FILE_LINK);
        assert_int_equal(s.kinds[3], FILE_OTHER);
    }
    seen s = {{0}, 0, SHARDY_DONE};
    assert_status(SHARDY_DONE, shardy__dir_each(fd, see, &s, &err));
    assert_int_equal(s.count, 1);
    close(fd);
    assert_true(shardy__dir_each(-1, see, &s, &err) < 0);
}

static void test_dir__free_space_and_network_file_systems_are_told(void **state)
{
    const char *dir = *state;
    assert_true(shardy__disk_free(dir) > 0);
    assert_true(shardy__disk_free("/no/such/place") == UINT64_MAX);
    assert_string_equal(shardy__fs_network_magic(0x6969), "nfs");
    assert_string_equal(shardy__fs_network_magic(0xFF534D42), "cifs");
    assert_string_equal(shardy__fs_network_magic(0xFFFFFFFFFF534D42u), "cifs"); /* sign extended */
    assert_string_equal(shardy__fs_network_magic(0x65735546), "fuse");
    assert_null(shardy__fs_network_magic(0xEF53));     /* ext4 */
    assert_null(shardy__fs_network_magic(0x01021994)); /* tmpfs */
    assert_null(shardy__fs_network_magic(0x58465342)); /* xfs */
    assert_null(shardy__fs_network_magic(0));
    assert_null(shardy__fs_network(-1));
}

/* --- entries of an open directory --------------------------------------------------------- */

static void test_at__renaming_replaces_only_when_asked_to(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    int fd = open_dir(dir);
    static const rename_mode modes[] = {RENAME_TO_NEW, RENAME_TO_NEW_LINK};
    for (size_t i = 0; i < 2; i++) {
        at_name from = {fd, "from"};
        at_name to = {fd, "to"};
        support_write_file(support_path(dir, "from"), "one", 3);
        assert_ok(shardy__at_rename(from, to, modes[i], &err));
        assert_false(is_there(support_path(dir, "from")));
        assert_content(support_path(dir, "to"), "one");
        support_write_file(support_path(dir, "from"), "two", 3);
        assert_status(SHARDY_EXISTS, shardy__at_rename(from, to, modes[i], &err));
        assert_content(support_path(dir, "to"), "one");
        assert_content(support_path(dir, "from"), "two");
        assert_ok(shardy__at_rename(from, to, RENAME_OVER, &err));
        assert_content(support_path(dir, "to"), "two");
        assert_status(SHARDY_NOT_FOUND, shardy__at_rename(from, to, modes[i], &err));
        assert_status(SHARDY_NOT_FOUND, shardy__at_rename(from, to, RENAME_OVER, &err));
        /* a link is replaced, not followed; one that leads nowhere is something too */
        unlink(support_path(dir, "to"));
        assert_int_equal(symlink("nowhere", support_path(dir, "to")), 0);
        support_write_file(support_path(dir, "from"), "three", 5);
        assert_status(SHARDY_EXISTS, shardy__at_rename(from, to, modes[i], &err));
        assert_ok(shardy__at_rename(from, to, RENAME_OVER, &err));
        assert_false(is_there(support_path(dir, "nowhere")));
        assert_content(support_path(dir, "to"), "three");
        unlink(support_path(dir, "to"));
        mkdir(support_path(dir, "to"), 0700);
        support_write_file(support_path(dir, "from"), "four", 4);
        assert_status(SHARDY_EXISTS, shardy__at_rename(from, to, modes[i], &err));
        assert_status(SHARDY_INVALID, shardy__at_rename(from, to, RENAME_OVER, &err));
        rmdir(support_path(dir, "to"));
    }
    close(fd);
}

static void test_at__a_removed_directory_is_not_found(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    mkdir(support_path(dir, "d"), 0700);
    support_write_file(support_path(dir, "from"), "x", 1);
    int top = open_dir(dir);
    int fd = open_dir(support_path(dir, "d"));
    rmdir(support_path(dir, "d"));
    int file;
    at_name from = {top, "from"};
    at_name to = {fd, "to"};
    assert_status(SHARDY_NOT_FOUND, shardy__at_create(fd, "f", 0600, &file, &err));
    assert_status(SHARDY_NOT_FOUND, shardy__at_make_dir(fd, "f", 0700, &err));
    assert_status(SHARDY_NOT_FOUND, shardy__at_rename(from, to, RENAME_OVER, &err));
    assert_status(SHARDY_NOT_FOUND, shardy__at_rename(from, to, RENAME_TO_NEW, &err));
    assert_status(SHARDY_NOT_FOUND, shardy__at_rename(from, to, RENAME_TO_NEW_LINK, &err));
    close(fd);
    close(top);
}

static void test_at__only_a_regular_file_is_opened_for_writing(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    int fd = open_dir(dir);
    int file;
    support_write_file(support_path(dir, "target"), "x", 1);
    assert_int_equal(symlink("target", support_path(dir, "link")), 0);
    assert_int_equal(symlink("nowhere", support_path(dir, "dangling")), 0);
    assert_int_equal(mkfifo(support_path(dir, "fifo"), 0600), 0);
    mkdir(support_path(dir, "dir"), 0700);
    static const char *const bad[] = {"link", "dangling", "fifo", "dir"};
    for (size_t i = 0; i < 4; i++) {
        assert_status(SHARDY_INVALID, shardy__at_open_or_create(fd, bad[i], 0600, &file, &err));
        assert_int_equal(file, -1);
        assert_non_null(strstr(err.message, bad[i]));
    }
    assert_false(is_there(support_path(dir, "nowhere")));
    assert_ok(shardy__at_open_or_create(fd, "target", 0600, &file, &err));
    close(file);
    close(fd);
}

static void test_at__removing_and_looking_concern_the_entry_itself(void **state)
{
    const char *dir = *state;
    shardy_error err = {0};
    int fd = open_dir(dir);
    file_info info;
    support_write_file(support_path(dir, "target"), "x", 1);
    assert_int_equal(symlink("target", support_path(dir, "link")), 0);
    mkdir(support_path(dir, "dir"), 0700);
    mkdir(support_path(dir, "dir/full"), 0700);
    assert_ok(shardy__at_stat(fd, "link", &info, &err));
    assert_int_equal(info.kind, FILE_LINK);
    assert_status(SHARDY_NOT_FOUND, shardy__at_stat(fd, "no", &info, &err));
    assert_status(SHARDY_EXISTS, shardy__at_make_dir(fd, "link", 0700, &err));
    assert_ok(shardy__at_remove(fd, "link", &err));
    assert_status(SHARDY_NOT_FOUND, shardy__at_remove(fd, "link", &err));
    assert_true(is_there(support_path(dir, "target")));
    assert_true(shardy__at_remove(fd, "dir", &err) < 0);
    assert_int_equal(shardy__at_discard_dir(fd, "dir"), 0);
    assert_int_equal(shardy__at_discard_dir(fd, "target"), 0);
    assert_int_equal(shardy__at_discard(fd, "dir"), 0);
    assert_int_equal(shardy__at_discard(fd, "target"), 1);
    assert_int_equal(shardy__at_discard(fd, "target"), 1);
    shardy__at_discard_tree(fd, "dir");
    assert_false(is_there(support_path(dir, "dir")));
    close(fd);
}

/* --- below a root, by the kernel and segment by segment ------------------------------------- */

static void make_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

/* A tree with a file, directories, and what must not be followed or read. */
static char *make_farm(void)
{
    char *dir = support_make_dir();
    shardy_error err = {0};
    assert_ok(shardy__dir_make(support_path(dir, "root/a/b"), 0700, 0, &err));
    support_write_file(support_path(dir, "secret"), "secret", 6);
    support_write_file(support_path(dir, "root/f"), "top", 3);
    support_write_file(support_path(dir, "root/a/b/f"), "deep", 4);
    assert_int_equal(symlink("..", support_path(dir, "root/up")), 0);
    assert_int_equal(symlink("../../..", support_path(dir, "root/a/b/up")), 0);
    assert_int_equal(symlink("../secret", support_path(dir, "root/secret")), 0);
    assert_int_equal(symlink("f", support_path(dir, "root/inside")), 0);
    assert_int_equal(symlink("a", support_path(dir, "root/to_a")), 0);
    assert_int_equal(symlink("/proc/self/root", support_path(dir, "root/magic")), 0);
    assert_int_equal(symlink("loop", support_path(dir, "root/loop")), 0);
    assert_int_equal(mkfifo(support_path(dir, "root/fifo"), 0600), 0);
    make_socket(support_path(dir, "root/socket"));
    return dir;
}

static void open_root(const char *dir, int32_t portable, fs_root *root)
{
    shardy_error err = {0};
    assert_ok(shardy__root_open(support_path(dir, "root"), portable, root, &err));
    assert_true(root->portable || !portable);
}

static void test_root__only_files_below_it_are_opened(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int as_file;
        int as_dir;
    } cases[] = {{"f", SHARDY_OK, SHARDY_NOT_FOUND}, {"a/b/f", SHARDY_OK, SHARDY_NOT_FOUND},
        {"a", SHARDY_NOT_FOUND, SHARDY_OK}, {"a/b", SHARDY_NOT_FOUND, SHARDY_OK},
        {"", SHARDY_NOT_FOUND, SHARDY_OK}, {"no", SHARDY_NOT_FOUND, SHARDY_NOT_FOUND},
        {"f/x", SHARDY_NOT_FOUND, SHARDY_NOT_FOUND}, {"no/x", SHARDY_NOT_FOUND, SHARDY_NOT_FOUND},
        {"inside", SHARDY_INVALID, SHARDY_INVALID}, {"secret", SHARDY_INVALID, SHARDY_INVALID},
        {"up", SHARDY_INVALID, SHARDY_INVALID}, {"up/secret", SHARDY_INVALID, SHARDY_INVALID},
        {"a/b/up/secret", SHARDY_INVALID, SHARDY_INVALID},
        {"to_a/b/f", SHARDY_INVALID, SHARDY_INVALID}, {"to_a", SHARDY_INVALID, SHARDY_INVALID},
        {"magic/etc/passwd", SHARDY_INVALID, SHARDY_INVALID},
        {"loop", SHARDY_INVALID, SHARDY_INVALID}, {"loop/x", SHARDY_INVALID, SHARDY_INVALID},
        {"fifo", SHARDY_INVALID, SHARDY_NOT_FOUND}, {"socket", SHARDY_INVALID, SHARDY_NOT_FOUND},
        {"fifo/x", SHARDY_NOT_FOUND, SHARDY_NOT_FOUND}, {"..", SHARDY_INVALID, SHARDY_INVALID},
        {"../secret", SHARDY_INVALID, SHARDY_INVALID}, {".", SHARDY_INVALID, SHARDY_INVALID},
        {"a/../f", SHARDY_INVALID, SHARDY_INVALID}, {"a/./b/f", SHARDY_INVALID, SHARDY_INVALID},
        {"a//b/f", SHARDY_INVALID, SHARDY_INVALID}, {"/etc/passwd", SHARDY_INVALID, SHARDY_INVALID},
        {"f/", SHARDY_INVALID, SHARDY_INVALID}, {"a/", SHARDY_INVALID, SHARDY_INVALID},
        {"/", SHARDY_INVALID, SHARDY_INVALID}};
    char *dir = make_farm();
    for (int32_t portable = 0; portable <= 1; portable++) {
        fs_root root;
        open_root(dir, portable, &root);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            shardy_error err = {0};
            int fd = -1;
            file_info info;
            shardy_status st = shardy__root_open_file(&root, cases[i].path, &fd, &info, &err);
            shardy__file_close(fd);
            if (st != (shardy_status)cases[i].as_file) {
                print_error("file \"%s\", portable %d\n", cases[i].path, portable);
            }
            assert_status(cases[i].as_file, st);
            assert_int_equal(fd >= 0, st == SHARDY_OK);
            assert_int_equal(info.kind == FILE_REGULAR && fd >= 0, st == SHARDY_OK);
            st = shardy__root_open_dir(&root, cases[i].path, &fd, &err);
            shardy__file_close(fd);
            if (st != (shardy_status)cases[i].as_dir) {
                print_error("dir \"%s\", portable %d\n", cases[i].path, portable);
            }
            assert_status(cases[i].as_dir, st);
            assert_int_equal(fd >= 0, st == SHARDY_OK);
        }
        shardy__root_close(&root);
    }
    support_remove_dir(dir);
}

static void test_root__a_name_that_no_file_can_have_is_not_found(void **state)
{
    (void)state;
    char *dir = make_farm();
    char path[300];
    memset(path, 'n', sizeof path);
    path[256] = '\0';
    for (int32_t portable = 0; portable <= 1; portable++) {
        shardy_error err = {0};
        fs_root root;
        int fd;
        file_info info;
        open_root(dir, portable, &root);
        assert_status(SHARDY_NOT_FOUND, shardy__root_open_file(&root, path, &fd, &info, &err));
        assert_status(SHARDY_INVALID, shardy__root_make_dir(&root, path, &durable, &fd, &err));
        shardy__root_close(&root);
    }
    support_remove_dir(dir);
}

static void test_root__directories_are_made_below_it_only(void **state)
{
    (void)state;
    char *dir = make_farm();
    for (int32_t portable = 0; portable <= 1; portable++) {
        shardy_error err = {0};
        fs_root root;
        int fd;
        char path[64];
        open_root(dir, portable, &root);
        snprintf(path, sizeof path, "a/new%d/x/y", portable);
        assert_ok(shardy__root_make_dir(&root, path, &durable, &fd, &err));
        shardy__file_close(fd);
        assert_ok(shardy__root_make_dir(&root, path, NULL, &fd, &err));
        shardy__file_close(fd);
        assert_ok(shardy__root_make_dir(&root, "", NULL, &fd, &err));
        shardy__file_close(fd);
        static const char *const bad[] = {"f", "f/x", "up", "up/x", "to_a/x", "loop/x", "../x",
            "a/../x", "/x", "a//x", "x/", "fifo/x", "magic/tmp/x", "a/b/up/x"};
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            assert_status(SHARDY_INVALID, shardy__root_make_dir(&root, bad[i], NULL, &fd, &err));
            assert_int_equal(fd, -1);
            assert_true(err.message[0] != '\0');
        }
        shardy__root_close(&root);
    }
    assert_true(is_there(support_path(dir, "root/a/new0/x/y")));
    assert_true(is_there(support_path(dir, "root/a/new1/x/y")));
    assert_false(is_there(support_path(dir, "x")));
    assert_false(is_there(support_path(dir, "root/a/x")));
    support_remove_dir(dir);
}

static void test_root__may_itself_be_reached_by_a_link(void **state)
{
    (void)state;
    char *dir = make_farm();
    shardy_error err = {0};
    fs_root root;
    int fd;
    file_info info;
    assert_int_equal(symlink("root", support_path(dir, "way_in")), 0);
    assert_ok(shardy__root_open(support_path(dir, "way_in"), 0, &root, &err));
    assert_ok(shardy__root_open_file(&root, "f", &fd, &info, &err));
    assert_int_equal(info.size, 3);
    shardy__file_close(fd);
    shardy__root_close(&root);
    shardy__root_close(&root);
    assert_status(SHARDY_NOT_FOUND, shardy__root_open(support_path(dir, "no"), 0, &root, &err));
    assert_int_equal(root.fd, -1);
    assert_status(SHARDY_INVALID, shardy__root_open(support_path(dir, "secret"), 0, &root, &err));
    support_remove_dir(dir);
}

/* --- faults ------------------------------------------------------------------------------- */

typedef struct fixture {
    const char *dir;
    int fd;   /* of the directory */
    int file; /* a file with content */
    fs_root root;
} fixture;

static shardy_status run_reading(const fixture *f, int number, shardy_error *err)
{
    int fd = -1;
    char byte[4];
    size_t n;
    int32_t taken;
    file_info info;
    const void *base;
    seen s = {{0}, 0, SHARDY_OK};
    char *text = NULL;
    switch (number) {
    case 0:
        return shardy__file_open(support_path(f->dir, "from"), &fd, err);
    case 1:
        return shardy__file_stat(f->file, &info, err);
    case 2:
        return shardy__file_read_at(f->file, 0, byte, 1, err);
    case 3:
        return shardy__file_read(f->file, byte, 1, &n, err);
    case 4:
        return shardy__file_map(f->file, 1, &base, err);
    case 5:
        return shardy__file_try_lock(f->file, &taken, err);
    case 6:
        return shardy__dir_open(f->dir, &fd, err);
    case 7:
        return shardy__dir_each(f->fd, see, &s, err);
    case 8:
        return shardy__at_stat(f->fd, "from", &info, err);
    case 9:
        return shardy__root_open_file(&f->root, "from", &fd, &info, err);
    case 10:
        return shardy__root_open_dir(&f->root, "", &fd, err);
    default:
        return shardy__path_real(f->dir, &text, err);
    }
}

static shardy_status run_writing(const fixture *f, int number, shardy_error *err)
{
    int fd = -1;
    at_name from = {f->fd, "from"};
    at_name to = {f->fd, "to"};
    file_flow flow = {16 << 20, 0};
    switch (number) {
    case 0:
        return shardy__file_create(support_path(f->dir, "new"), 0600, &fd, err);
    case 1:
        return shardy__file_open_unnamed(f->dir, &fd, err);
    case 2:
        return shardy__file_write(f->file, "x", 1, err);
    case 3:
        return shardy__file_write_at(f->file, 0, "x", 1, err);
    case 4:
        return shardy__file_truncate(f->file, 1, err);
    case 5:
        return shardy__file_set_mode(f->file, 0600, err);
    case 6:
        return shardy__file_sync(f->file, err);
    case 7:
        return shardy__dir_make(support_path(f->dir, "new"), 0700, 1, err);
    case 8:
        return shardy__at_create(f->fd, "new", 0600, &fd, err);
    case 9:
        return shardy__at_open_or_create(f->fd, "new", 0600, &fd, err);
    case 10:
        return shardy__at_make_dir(f->fd, "new", 0700, err);
    case 11:
        return shardy__at_remove(f->fd, "from", err);
    case 12:
        return shardy__at_rename(from, to, RENAME_OVER, err);
    case 13:
        return shardy__at_rename(from, to, RENAME_TO_NEW, err);
    case 14:
        return shardy__file_flow(f->file, &flow, 3 * flow.asked, err);
    default:
        return shardy__root_make_dir(&f->root, "new", &durable, &fd, err);
    }
}

static void test_fault__every_operation_can_be_made_to_fail(void **state)
{
    enum {
        READING = 12,
        WRITING = 16
    };
    if (!shardy_testing_fault_points()) {
        skip();
    }
    shardy_error err = {0};
    fixture f = {.dir = *state};
    support_write_file(support_path(f.dir, "from"), "abc", 3);
    f.fd = open_dir(f.dir);
    f.file = open(support_path(f.dir, "from"), O_RDWR | O_CLOEXEC);
    assert_ok(shardy__root_open(f.dir, 0, &f.root, &err));
    for (int i = 0; i < READING + WRITING; i++) {
        int kind = i < READING ? SHARDY_FAULT_READ : SHARDY_FAULT_WRITE;
        uint64_t failed;
        memset(&err, 0, sizeof err);
        shardy_testing_fault_set(kind, 1, 1);
        shardy_status st =
            i < READING ? run_reading(&f, i, &err) : run_writing(&f, i - READING, &err);
        shardy_testing_fault_counts(kind, NULL, &failed);
        shardy_testing_fault_set(kind, 0, 0);
        if (st >= 0) {
            print_error("operation %d\n", i);
        }
        assert_true(st == SHARDY_IO || st == SHARDY_NO_SPACE);
        assert_int_equal(failed, 1);
        assert_int_equal(err.status, st);
        assert_true(err.message[0] != '\0');
    }
    /* and none of them did anything */
    assert_false(is_there(support_path(f.dir, "new")));
    assert_false(is_there(support_path(f.dir, "to")));
    assert_content(support_path(f.dir, "from"), "abc");
    shardy__root_close(&f.root);
    close(f.fd);
    close(f.file);
}

#define TEST(function)                                                                             \
    {                                                                                              \
        .name = #function, .test_func = (function), .setup_func = make_dir,                        \
        .teardown_func = remove_dir                                                                \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path__joining_puts_one_slash_between),
        TEST(test_path__the_real_one_has_no_links),
        TEST(test_file__only_regular_files_are_opened),
        TEST(test_file__creating_never_takes_what_is_there),
        TEST(test_file__an_unnamed_one_leaves_no_name),
        TEST(test_file__what_is_written_is_read),
        TEST(test_file__what_flows_to_the_disk_leaves_the_page_cache_and_stays_right),
        TEST(test_file__a_full_disk_and_a_size_limit_are_no_space),
        TEST(test_file__no_descriptors_left_is_exhausted),
        TEST(test_file__a_mapping_shows_the_content),
        TEST(test_file__a_lock_is_held_by_one_until_it_is_closed),
        TEST(test_writer__writes_nothing_while_all_fits),
        TEST(test_writer__any_pieces_make_the_same_file),
        TEST(test_dir__is_made_with_all_above_it),
        TEST(test_dir__is_removed_with_all_below_it_but_no_target_of_a_link),
        TEST(test_dir__removing_stops_at_a_depth),
        TEST(test_dir__each_entry_is_seen_with_its_kind),
        TEST(test_dir__free_space_and_network_file_systems_are_told),
        TEST(test_at__renaming_replaces_only_when_asked_to),
        TEST(test_at__a_removed_directory_is_not_found),
        TEST(test_at__only_a_regular_file_is_opened_for_writing),
        TEST(test_at__removing_and_looking_concern_the_entry_itself),
        cmocka_unit_test(test_root__only_files_below_it_are_opened),
        cmocka_unit_test(test_root__a_name_that_no_file_can_have_is_not_found),
        cmocka_unit_test(test_root__directories_are_made_below_it_only),
        cmocka_unit_test(test_root__may_itself_be_reached_by_a_link),
        TEST(test_fault__every_operation_can_be_made_to_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
