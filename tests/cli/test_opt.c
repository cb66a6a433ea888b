/* The option table and its parser. */
#include "help.h"
#include "opt.h"

#include "support/support.h"

#include <shardyfusion/limits.h>
#include <string.h>

typedef struct parsed {
    opt_values v;
    strbuf message;
    int rc;
} parsed;

/* Parses "shardy" and the words of a line. */
static parsed parse(const char *line)
{
    static char words[32][128];
    static char *argv[33];
    int argc = 0;
    memcpy(words[0], "shardy", 7);
    argv[argc++] = words[0];
    for (const char *p = line; *p;) {
        size_t n = strcspn(p, " ");
        assert_true(n < sizeof words[0] && argc < 32);
        memcpy(words[argc], p, n);
        words[argc][n] = '\0';
        argv[argc] = words[argc];
        argc++;
        p += n + (p[n] ? 1 : 0);
    }
    parsed result = {0};
    result.rc = opt_parse(argc, argv, &result.v, &result.message);
    return result;
}

static void done(parsed *p)
{
    opt_free(&p->v);
    strbuf_free(&p->message);
}

static void assert_refused(const char *line, const char *message)
{
    parsed p = parse(line);
    assert_int_equal(p.rc, -1);
    assert_string_equal(strbuf_text(&p.message), message);
    done(&p);
}

static void test_table__every_option_and_command_is_complete(void **state)
{
    (void)state;
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const opt_def *def = &opt_table[i];
        assert_int_equal(def->id, i);
        assert_non_null(def->name);
        assert_non_null(def->help);
        assert_true(def->commands != 0);
        assert_true((def->arg == NULL) == (def->kind == OPT_KIND_FLAG));
        assert_true((def->choices == NULL) == (def->kind != OPT_KIND_CHOICE));
        assert_true(def->help[strlen(def->help) - 1] != '.');
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(def->name, opt_table[k].name);
            assert_true(def->letter == 0 || def->letter != opt_table[k].letter);
        }
    }
    for (size_t i = 0; i < CMD_TABLE_COUNT; i++) {
        assert_int_equal(command_table[i].id, i);
        assert_true((command_table[i].session_option == 0) == !command_table[i].session_args);
        assert_true(command_table[i].args_max == 0 || command_table[i].arg_name != NULL);
    }
}

static void test_parse__values_follow_as_an_argument_or_after_an_equals_sign(void **state)
{
    (void)state;
    parsed p = parse("get --snapshot a --output-format=JSON k");
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.v.command->id, CMD_GET);
    assert_string_equal(p.v.values[OPT_SNAPSHOT].text, "a");
    assert_int_equal(p.v.values[OPT_OUTPUT_FORMAT].number, 0);
    assert_int_equal(p.v.arg_count, 1);
    assert_string_equal(p.v.args[0], "k");
    done(&p);
    p = parse("get --ref= k");
    assert_int_equal(p.rc, 0);
    assert_string_equal(p.v.values[OPT_REF].text, "");
    done(&p);
}

static void test_parse__general_options_stand_before_or_after_the_command(void **state)
{
    (void)state;
    const char *lines[] = {"-s a --offset 3 route k", "route -s a --offset 3 k",
        "--current-url a route k --offset 3", "-sa route --offset=3 k"};
    for (size_t i = 0; i < 4; i++) {
        parsed p = parse(lines[i]);
        assert_int_equal(p.rc, 0);
        assert_int_equal(p.v.command->id, CMD_ROUTE);
        assert_string_equal(p.v.values[OPT_SNAPSHOT].text, "a");
        assert_int_equal(p.v.values[OPT_OFFSET].number, 3);
        assert_string_equal(p.v.args[0], "k");
        done(&p);
    }
}

static void test_parse__the_last_of_a_repeated_option_counts(void **state)
{
    (void)state;
    parsed p = parse("get --top --offset 1");
    done(&p);
    p = parse("history --limit 1 --limit 7 -vv -v");
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.v.values[OPT_LIMIT].number, 7);
    assert_int_equal(p.v.values[OPT_VERBOSE].count, 3);
    done(&p);
    p = parse("get k --routing-context a=1 --routing-context=b=2");
    assert_int_equal(p.v.values[OPT_ROUTING_CONTEXT].list_count, 2);
    assert_string_equal(p.v.values[OPT_ROUTING_CONTEXT].list[1], "b=2");
    done(&p);
}

static void test_parse__negative_numbers_and_a_dash_are_arguments(void **state)
{
    (void)state;
    parsed p = parse("multiget -5 - -.5 -- --strict -x");
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.v.arg_count, 5);
    assert_string_equal(p.v.args[0], "-5");
    assert_string_equal(p.v.args[3], "--strict");
    assert_false(opt_given(&p.v, OPT_STRICT));
    done(&p);
}

static void test_parse__input_takes_all_files_up_to_the_next_option(void **state)
{
    (void)state;
    parsed p = parse("build d --input a b - --num-dbs 4 --input=c");
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.v.values[OPT_INPUT].list_count, 4);
    assert_string_equal(p.v.values[OPT_INPUT].list[3], "c");
    assert_string_equal(p.v.args[0], "d");
    done(&p);
}

static void test_parse__build_without_a_destination_takes_the_last_file_for_it(void **state)
{
    (void)state;
    parsed p = parse("build --input a b dest --num-dbs 2");
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.v.values[OPT_INPUT].list_count, 2);
    assert_string_equal(p.v.args[0], "dest");
    done(&p);
    assert_refused("build --input a", "missing argument DEST");
    assert_refused("build --input=a --input=b", "missing argument DEST");
}

static void test_parse__help_ends_the_parsing(void **state)
{
    (void)state;
    parsed p = parse("get --help --nonsense");
    assert_int_equal(p.rc, 0);
    assert_true(opt_given(&p.v, OPT_HELP));
    done(&p);
    p = parse("help verify");
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.v.command->id, CMD_VERIFY);
    done(&p);
    p = parse("");
    assert_int_equal(p.rc, 0);
    assert_null(p.v.command);
    done(&p);
}

static void test_parse__mistakes_name_the_nearest_option(void **state)
{
    (void)state;
    assert_refused("get k --strct", "unknown option \"--strct\"; did you mean \"--strict\"?");
    assert_refused("get k --output-fromat=json",
        "unknown option \"--output-fromat\"; did you mean \"--output-format\"?");
    assert_refused("get k --out json", "unknown option \"--out\"; did you mean "
                                       "\"--output-format\"?");
    assert_refused("build d --chunks 3", "unknown option \"--chunks\"");
    assert_refused("get k --zzzzzzzz", "unknown option \"--zzzzzzzz\"");
    assert_refused("get k -x", "unknown option \"-x\"");
    assert_refused("get k -strict", "unknown option \"-strict\"; did you mean \"--strict\"?");
    assert_refused("gte k", "unknown command \"gte\"; did you mean \"get\"?");
    assert_refused("frobnicate", "unknown command \"frobnicate\"");
    assert_refused("execute --script x", "unknown command \"execute\"; did you mean \"exec\"?");
    assert_refused("refresh", "unknown command \"refresh\"");
    assert_refused("use --latest", "unknown command \"use\"");
}

static void test_parse__options_of_other_commands_are_refused(void **state)
{
    (void)state;
    assert_refused("info --strict",
        "option \"--strict\" does not apply to \"info\"; it is an option of get and multiget");
    assert_refused(
        "--strict get k", "option \"--strict\" must come after the command: get and multiget");
    assert_refused("--ref x schema",
        "option \"--ref\" does not apply to \"schema\"; it is an "
        "option of get, multiget, search, info, shards, health, "
        "route, rollback, verify, cleanup, pin, unpin, explain and exec");
}

static void test_parse__wrong_values_say_what_was_expected(void **state)
{
    (void)state;
    assert_refused("get k --output-format yaml",
        "option \"--output-format\" must be json, jsonl, table or text, not \"yaml\"");
    assert_refused("get k --offset -1",
        "option \"--offset\" must be a whole number from 0 to 99999, not \"-1\"");
    assert_refused("get k --offset 18446744073709551616",
        "option \"--offset\" must be a whole number from 0 to 99999, not "
        "\"18446744073709551616\"");
    assert_refused("search 1 --top-k 4097",
        "option \"--top-k\" must be a whole number from 0 to 4096, not \"4097\"");
    assert_refused("build d --memory 31M",
        "option \"--memory\" must be a size such as 512M of at least 32M, not \"31M\"");
    assert_refused("health --staleness-threshold inf",
        "option \"--staleness-threshold\" must be a number of seconds of at least 0, not \"inf\"");
    assert_refused("get k --ref --strict",
        "option \"--ref\" needs a value (REF); write \"--ref=--strict\" if the value is "
        "\"--strict\"");
    assert_refused("get k --ref --\x1b[2J",
        "option \"--ref\" needs a value (REF); write \"--ref=--\\x1b[2J\" if the value is "
        "\"--\\x1b[2J\"");
    assert_refused("get k --ref", "option \"--ref\" needs a value (REF)");
    assert_refused("get k --strict=yes", "option \"--strict\" takes no value");
    assert_refused("get", "missing argument KEY");
    assert_refused("get a b", "unexpected argument \"b\"; the snapshot is named by --snapshot");
    assert_refused("info x", "unexpected argument \"x\"; the snapshot is named by --snapshot");
}

static void test_parse_size__units_are_powers_of_1024(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        uint64_t value;
    } cases[] = {{"0", 0, 0}, {"123", 0, 123}, {"1k", 0, 1024}, {"2KiB", 0, 2048},
        {"3MB", 0, 3 << 20}, {"4g", 0, UINT64_C(4) << 30}, {"1T", 0, UINT64_C(1) << 40},
        {"5B", 0, 5}, {"", -1, 0}, {"M", -1, 0}, {"1.5G", -1, 0}, {"1X", -1, 0}, {"1KK", -1, 0},
        {"-1", -1, 0}, {"16777216T", -2, 0}, {"99999999999999999999999999", -2, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t value = 0;
        assert_int_equal(opt_parse_size(cases[i].text, &value), cases[i].rc);
        if (cases[i].rc == 0) {
            assert_int_equal(value, cases[i].value);
        }
    }
}

static void test_parse_double__only_decimal_finite_numbers(void **state)
{
    (void)state;
    double d = 0;
    assert_int_equal(opt_parse_double(" -1.5e2 ", 8, &d), 0);
    assert_true(d == -150.0);
    const char *bad[] = {"", " ", "nan", "inf", "0x10", "1e999", "1,2", "--1", "1 2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(opt_parse_double(bad[i], strlen(bad[i]), &d), -1);
    }
    assert_int_equal(opt_parse_double("1\0", 2, &d), -1);
    assert_int_equal(opt_parse_double("\0"
                                      "1",
                         2, &d),
        -1);
}

static void test_parse_age__is_days_or_hours(void **state)
{
    (void)state;
    int64_t seconds = 0;
    assert_int_equal(opt_parse_age("7d", &seconds), 0);
    assert_int_equal(seconds, 7 * 86400);
    assert_int_equal(opt_parse_age("36500h", &seconds), 0);
    assert_int_equal(seconds, INT64_C(36500) * 3600);
    const char *bad[] = {"", "d", "7", "7m", "7dd", "7 d", "-1d", "+1d", "1.5d", "36501d",
        "18446744073709551617d", "7\nd"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(opt_parse_age(bad[i], &seconds), -1);
        assert_int_equal(seconds, 0);
    }
}

static void test_nearest__far_names_are_not_guessed(void **state)
{
    (void)state;
    const char *names[] = {"value_encoding", "format", NULL, "null_repr"};
    assert_string_equal(opt_nearest("fromat", names, 4), "format");
    assert_string_equal(opt_nearest("value_encodng", names, 4), "value_encoding");
    assert_string_equal(opt_nearest("null", names, 4), "null_repr");
    assert_null(opt_nearest("colour", names, 4));
    assert_null(opt_nearest("", names, 4));
    char longer[200];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_null(opt_nearest(longer, names, 4));
}

static void assert_lines_fit(const char *text)
{
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        int example = strncmp(p, "  shardy", 8) == 0 || strncmp(p, "  zstdcat", 9) == 0;
        if (n > 80 && !example) {
            fail_msg("line of %zu columns: %.*s", n, (int)n, p);
        }
        assert_true(n == 0 || p[n - 1] != ' ');
        p += n + (p[n] ? 1 : 0);
    }
}

/* Parses the words of a line that is typed in a session. */
static parsed parse_line(const char *line, uint32_t commands)
{
    static char words[32][128];
    static char *argv[33];
    parsed result = {0};
    int argc = 0;
    for (const char *p = line; *p;) {
        size_t n = strcspn(p, " ");
        assert_true(n < sizeof words[0] && argc < 32);
        memcpy(words[argc], p, n);
        words[argc][n] = '\0';
        argv[argc] = words[argc];
        argc++;
        p += n + (p[n] ? 1 : 0);
    }
    result.rc = opt_parse_line(argc, argv, commands, &result.v, &result.message);
    return result;
}

static void assert_line_refused(const char *line, uint32_t commands, const char *message)
{
    parsed p = parse_line(line, commands);
    assert_int_equal(p.rc, -1);
    assert_string_equal(strbuf_text(&p.message), message);
    done(&p);
}

static void test_line__one_argument_may_stand_for_an_option(void **state)
{
    (void)state;
    parsed p = parse_line("history 3", CMDS_TYPED);
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.v.command->id, CMD_HISTORY);
    assert_int_equal(p.v.values[OPT_LIMIT].number, 3);
    assert_int_equal(p.v.arg_count, 0);
    done(&p);
    p = parse_line("health 1.5", CMDS_TYPED);
    assert_int_equal(p.rc, 0);
    assert_true(p.v.values[OPT_STALENESS].seconds > 1.4);
    done(&p);
    assert_line_refused("history abc", CMDS_TYPED,
        "option \"--limit\" must be a whole number from 1 to 100000, not \"abc\"");
    assert_line_refused("history 1 2", CMDS_TYPED, "unexpected argument \"1\"");
    assert_refused("history 3", "unexpected argument \"3\"; the snapshot is named by --snapshot");
}

static void test_line__only_what_belongs_to_a_line_is_an_option(void **state)
{
    (void)state;
    parsed p = parse_line("use --offset 1 --timeout 3 --output-format text", CMDS_TYPED);
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.v.values[OPT_OFFSET].number, 1);
    done(&p);
    assert_line_refused("get a --ref x", CMDS_TYPED, "option \"--ref\" cannot be given here");
    assert_line_refused(
        "get a --snapshot x", CMDS_TYPED, "option \"--snapshot\" cannot be given here");
    assert_line_refused("info --limit 3", CMDS_TYPED,
        "option \"--limit\" does not apply to \"info\"; it is an option of history");
    assert_line_refused(
        "info --threads 3", CMDS_TYPED, "option \"--threads\" cannot be given here");
    assert_line_refused("get", CMDS_TYPED, "missing argument KEY");
}

static void test_line__knows_the_commands_of_its_session(void **state)
{
    (void)state;
    assert_line_refused(
        "build x", CMDS_TYPED, "command \"build\" cannot be used here, only as \"shardy build\"");
    assert_line_refused(
        "hsitory", CMDS_TYPED, "unknown command \"hsitory\"; did you mean \"history\"?");
    assert_line_refused("use --latest", CMDS_SCRIPT, "unknown command \"use\"");
    parsed p = parse_line("help get", CMDS_TYPED);
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.v.command->id, CMD_HELP);
    assert_string_equal(p.v.args[0], "get");
    done(&p);
}

static void test_help__of_a_session_fits_80_columns(void **state)
{
    (void)state;
    strbuf b = {0};
    help_session(&b, 0);
    for (size_t i = 0; i < CMD_TABLE_COUNT; i++) {
        if (CMDS_TYPED & CMD_BIT(i)) {
            assert_non_null(strstr(strbuf_text(&b), command_table[i].name));
            help_line(&b, &command_table[i], 0);
        }
    }
    assert_lines_fit(strbuf_text(&b));
    strbuf_free(&b);
}

static void test_help__fits_80_columns_and_names_every_option(void **state)
{
    (void)state;
    strbuf main_help = {0};
    help_main(&main_help, 0, 0);
    assert_lines_fit(strbuf_text(&main_help));
    for (size_t c = 0; c < CMD_COUNT; c++) {
        assert_non_null(strstr(strbuf_text(&main_help), command_table[c].name));
        strbuf help = {0};
        help_command(&help, &command_table[c], 0);
        assert_lines_fit(strbuf_text(&help));
        for (size_t i = 0; i < OPT_COUNT; i++) {
            char name[80] = "--";
            memcpy(name + 2, opt_table[i].name, strlen(opt_table[i].name) + 1);
            int shown = opt_applies(&opt_table[i], &command_table[c]) && !opt_table[i].hidden;
            if (shown) {
                assert_non_null(strstr(strbuf_text(&help), name));
            }
        }
        strbuf_free(&help);
    }
    strbuf_free(&main_help);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table__every_option_and_command_is_complete),
        cmocka_unit_test(test_parse__values_follow_as_an_argument_or_after_an_equals_sign),
        cmocka_unit_test(test_parse__general_options_stand_before_or_after_the_command),
        cmocka_unit_test(test_parse__the_last_of_a_repeated_option_counts),
        cmocka_unit_test(test_parse__negative_numbers_and_a_dash_are_arguments),
        cmocka_unit_test(test_parse__input_takes_all_files_up_to_the_next_option),
        cmocka_unit_test(test_parse__build_without_a_destination_takes_the_last_file_for_it),
        cmocka_unit_test(test_parse__help_ends_the_parsing),
        cmocka_unit_test(test_parse__mistakes_name_the_nearest_option),
        cmocka_unit_test(test_parse__options_of_other_commands_are_refused),
        cmocka_unit_test(test_parse__wrong_values_say_what_was_expected),
        cmocka_unit_test(test_parse_size__units_are_powers_of_1024),
        cmocka_unit_test(test_parse_double__only_decimal_finite_numbers),
        cmocka_unit_test(test_parse_age__is_days_or_hours),
        cmocka_unit_test(test_nearest__far_names_are_not_guessed),
        cmocka_unit_test(test_line__one_argument_may_stand_for_an_option),
        cmocka_unit_test(test_line__only_what_belongs_to_a_line_is_an_option),
        cmocka_unit_test(test_line__knows_the_commands_of_its_session),
        cmocka_unit_test(test_help__of_a_session_fits_80_columns),
        cmocka_unit_test(test_help__fits_80_columns_and_names_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
