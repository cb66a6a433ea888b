/* Lines of the interactive mode: splitting into words, completion, history. */
#include "line_complete.h"
#include "line_history.h"
#include "words.h"

#include "support/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- words ------------------------------------------------------------------------------------ */

static void test_words__are_split_as_a_shell_does(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *words; /* each in brackets */
    } cases[] = {
        {"", ""},
        {" \t ", ""},
        {"get a", "[get][a]"},
        {"  get\ta  ", "[get][a]"},
        {"get 'a b' \"c d\" e\\ f", "[get][a b][c d][e f]"},
        {"''", "[]"},
        {"\"\" x", "[][x]"},
        {"a'b'\"c\"d", "[abcd]"},
        {"'a\\n\"'", "[a\\n\"]"},
        {"\"\\\" \\\\ \\$ \\` \\n '\"", "[\" \\ $ ` \\n ']"},
        {"\\'", "[']"},
        {"a#b | c > d; $e *", "[a#b][|][c][>][d;][$e][*]"},
        {"\xC3\xA4 \xFF", "[\xC3\xA4][\xFF]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        word_list list;
        strbuf message = {0};
        strbuf got = {0};
        assert_int_equal(words_split(cases[i].line, strlen(cases[i].line), &list, &message), 0);
        for (size_t k = 0; k < list.count; k++) {
            strbuf_printf(&got, "[%s]", list.words[k]);
        }
        assert_string_equal(strbuf_text(&got), cases[i].words);
        assert_true(list.count == 0 || list.words[list.count] == NULL);
        words_free(&list);
        strbuf_free(&got);
        strbuf_free(&message);
    }
}

static void test_words__what_is_not_closed_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        size_t len;
        const char *message;
    } cases[] = {
        {"get 'a", 6, "a ' is not closed"},
        {"get \"a' b", 9, "a \" is not closed"},
        {"get \"a\\\"", 8, "a \" is not closed"},
        {"get a\\", 6, "a backslash ends the line"},
        {"get a\0b", 7, "there is a zero byte in the line"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        word_list list;
        strbuf message = {0};
        assert_int_equal(words_split(cases[i].line, cases[i].len, &list, &message), -1);
        assert_string_equal(strbuf_text(&message), cases[i].message);
        words_free(&list);
        strbuf_free(&message);
    }
}

static void test_words__a_quoted_word_comes_back(void **state)
{
    (void)state;
    static const char *const words[] = {
        "", "a", "a b", "it's", "\"", "\\", "a\\ b", "#", "$x", "*", "\n\t", "\xC3\xA4", "--x=y z"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        strbuf line = {0};
        strbuf message = {0};
        word_list list;
        words_quote(&line, words[i]);
        assert_int_equal(words_split(line.data, line.len, &list, &message), 0);
        assert_int_equal(list.count, 1);
        assert_string_equal(list.words[0], words[i]);
        words_free(&list);
        strbuf_free(&line);
    }
}

/* --- completion ------------------------------------------------------------------------------- */

static void add_two_refs(void *user, const char *prefix, completion *out)
{
    (void)user;
    completion_add(out, prefix, "run-1");
    completion_add(out, prefix, "run 2");
}

/* The candidates in brackets, then what is put into the line. */
static void check_completion(const char *line, const char *expected)
{
    completion_source source = {add_two_refs, NULL};
    completion c;
    strbuf got = {0};
    line_complete(line, strlen(line), &source, &c);
    for (size_t i = 0; i < c.count && i < 5; i++) {
        strbuf_printf(&got, "[%s]", c.words[i]);
    }
    strbuf_printf(&got, "%s %zu:", c.count > 5 ? "..." : "", c.start);
    completion_text(&c, &got);
    assert_string_equal(strbuf_text(&got), expected);
    strbuf_free(&got);
    completion_free(&c);
}

static void test_completion__offers_what_can_stand_there(void **state)
{
    (void)state;
    check_completion("ro", "[route] 0:route ");
    check_completion("  s", "[search][shards] 2:s");
    check_completion("get --str", "[--strict] 4:--strict ");
    check_completion("get --ref", " 4:");
    check_completion("build --inp", " 6:");
    check_completion("help sha", "[shards] 5:shards ");
    check_completion("use ", "[--ref][--offset][--timeout][--output-format][--help]... 4:--");
    check_completion("use --ref ", "[run-1][run 2] 10:run");
    check_completion("use --ref run-", "[run-1] 10:run-1 ");
    check_completion("use --ref 'run ", "[run 2] 10:'run 2' ");
    check_completion("use --ref=run\\ ", "[--ref=run 2] 4:'--ref=run 2' ");
    check_completion("info --output-format js", "[json][jsonl] 21:json");
    check_completion("info --output-format=t", "[--output-format=table][--output-format=text] 5:"
                                               "--output-format=t");
    check_completion("get k", " 4:");
    check_completion("get --key-format hex --val", "[--value-encoding] 21:--value-encoding ");
}

static void test_completion__offers_files(void **state)
{
    (void)state;
    char folder[] = "/tmp/shardy-lines-XXXXXX";
    char line[200];
    char expected[300];
    assert_non_null(mkdtemp(folder));
    snprintf(line, sizeof line, "%s/a b.npy", folder);
    close(open(line, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    snprintf(line, sizeof line, "search --vector-file %s/a", folder);
    snprintf(expected, sizeof expected, "[%s/a b.npy] 21:'%s/a b.npy' ", folder, folder);
    check_completion(line, expected);
    snprintf(line, sizeof line, "%s/c", folder);
    assert_int_equal(mkdir(line, 0700), 0);
    snprintf(line, sizeof line, "search --vector-file=%s/c", folder);
    snprintf(
        expected, sizeof expected, "[--vector-file=%s/c/] 7:--vector-file=%s/c/", folder, folder);
    check_completion(line, expected);
    snprintf(line, sizeof line, "%s/c", folder);
    rmdir(line);
    snprintf(line, sizeof line, "%s/a b.npy", folder);
    unlink(line);
    rmdir(folder);
}

/* --- history ---------------------------------------------------------------------------------- */

static char place[64];

static int make_place(void **state)
{
    (void)state;
    memcpy(place, "/tmp/shardy-state-XXXXXX", 25);
    return mkdtemp(place) && setenv("XDG_STATE_HOME", place, 1) == 0 ? 0 : -1;
}

static int remove_place(void **state)
{
    (void)state;
    char path[100];
    snprintf(path, sizeof path, "%s/shardy/history", place);
    unlink(path);
    snprintf(path, sizeof path, "%s/shardy", place);
    rmdir(path);
    rmdir(place);
    return unsetenv("XDG_STATE_HOME");
}

static void test_history__of_earlier_sessions_is_private_and_bounded(void **state)
{
    (void)state;
    line_history h;
    struct stat st;
    char path[100];
    char line[32];
    snprintf(path, sizeof path, "%s/shardy/history", place);
    line_history_open(&h);
    assert_true(h.fd >= 0);
    assert_int_equal(h.count, 0);
    for (int i = 0; i < 2 * LINE_HISTORY_MAX + 5; i++) {
        snprintf(line, sizeof line, "get %d", i);
        line_history_add(&h, line);
    }
    line_history_close(&h);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    off_t before = st.st_size;
    assert_int_equal(chmod(path, 0644), 0);
    line_history_open(&h);
    assert_int_equal(h.count, LINE_HISTORY_MAX);
    assert_string_equal(h.lines[LINE_HISTORY_MAX - 1], line);
    line_history_add(&h, "info");
    line_history_close(&h);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(st.st_size < before);
    line_history_open(&h);
    assert_string_equal(h.lines[h.count - 1], "info");
    line_history_close(&h);
}

static void test_history__a_file_that_is_none_is_left_alone(void **state)
{
    (void)state;
    line_history h;
    char path[100];
    snprintf(path, sizeof path, "%s/shardy", place);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/shardy/history", place);
    assert_int_equal(symlink("/dev/null", path), 0);
    line_history_open(&h);
    assert_int_equal(h.fd, -1);
    line_history_add(&h, "get a");
    line_history_close(&h);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    line_history_open(&h);
    assert_int_equal(h.fd, -1);
    line_history_close(&h);
}

/* Makes the file: the text, then zeros up to its size. */
static void write_history(const char *text, off_t size)
{
    line_history h;
    char path[100];
    line_history_open(&h); /* makes the folders */
    line_history_close(&h);
    snprintf(path, sizeof path, "%s/shardy/history", place);
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t len = (ssize_t)strlen(text);
    assert_int_equal(write(fd, text, (size_t)len), len);
    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

static void check_history(const char *expected)
{
    line_history h;
    strbuf got = {0};
    line_history_open(&h);
    for (size_t i = 0; i < h.count; i++) {
        strbuf_printf(&got, "[%s]", h.lines[i]);
    }
    assert_string_equal(strbuf_text(&got), expected);
    line_history_close(&h);
    strbuf_free(&got);
}

static void test_history__a_line_behind_one_without_an_end_is_its_own(void **state)
{
    (void)state;
    line_history h;
    write_history("get a\nget b", 11);
    line_history_open(&h);
    line_history_add(&h, "get c");
    line_history_add(&h, "get d");
    line_history_close(&h);
    check_history("[get a][get b][get c][get d]");
}

static void test_history__a_line_of_several_is_not_kept(void **state)
{
    (void)state;
    line_history h;
    line_history_open(&h);
    line_history_add(&h, "get 'a\nrollback'");
    line_history_add(&h, "");
    line_history_add(&h, "get a");
    line_history_close(&h);
    check_history("[get a]");
}

static void test_history__of_a_long_file_no_part_of_a_line_is_taken(void **state)
{
    (void)state;
    write_history("get a\nget b\n", (2 << 20) + 3); /* the newest 2 MiB are read */
    check_history("[get b]");
    write_history("get a\nget b\n", (2 << 20) + 6);
    check_history("[get b]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words__are_split_as_a_shell_does),
        cmocka_unit_test(test_words__what_is_not_closed_is_refused),
        cmocka_unit_test(test_words__a_quoted_word_comes_back),
        cmocka_unit_test(test_completion__offers_what_can_stand_there),
        cmocka_unit_test(test_completion__offers_files),
        cmocka_unit_test_setup_teardown(
            test_history__of_earlier_sessions_is_private_and_bounded, make_place, remove_place),
        cmocka_unit_test_setup_teardown(
            test_history__a_file_that_is_none_is_left_alone, make_place, remove_place),
        cmocka_unit_test_setup_teardown(
            test_history__a_line_behind_one_without_an_end_is_its_own, make_place, remove_place),
        cmocka_unit_test_setup_teardown(
            test_history__a_line_of_several_is_not_kept, make_place, remove_place),
        cmocka_unit_test_setup_teardown(
            test_history__of_a_long_file_no_part_of_a_line_is_taken, make_place, remove_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
