/* Shards and manifests that are not where they are looked for: of another place, in two manifest
 * stores, beside a pointer table that is not there. Nothing is lost by it. */
#include "support/postgres_world.h"

/* --- the place of the shards ------------------------------------------------------------------ */

static shardy_status clean_up(const world *w, uint32_t keep_last)
{
    shardy_cleanup_options options;
    shardy_cleanup_result result;
    shardy_cleanup_options_init(&options, sizeof options);
    options.admin.manifest_store = &w->manifests;
    options.keep_last = keep_last;
    memset(&err, 0, sizeof err);
    shardy_status st = shardy_cleanup(NULL, w->dir, &options, &result, &err);
    shardy_cleanup_result_dispose(&result);
    return st;
}

/* Two runs of one set of tables: "good" here, and "typo", which is current, below another
 * directory, as a build with a wrong destination leaves it. */
static void publish_elsewhere(const world *w, char *elsewhere)
{
    world wrong = *w;
    wrong.dir = elsewhere;
    build_ok(&wrong, "typo", "lost");
    sql(w, "CREATE TABLE %T_b AS SELECT * FROM %T_builds; CREATE TABLE %T_s AS SELECT * FROM "
           "%T_shards; CREATE TABLE %T_i AS SELECT * FROM %T_images; CREATE TABLE %T_d AS SELECT * "
           "FROM %P_documents; TRUNCATE %T_builds CASCADE; TRUNCATE %T_images; TRUNCATE %P; "
           "TRUNCATE %P_documents");
    build_ok(w, "good", "first");
    sql(w, "INSERT INTO %T_builds SELECT * FROM %T_b; INSERT INTO %T_shards SELECT * FROM %T_s; "
           "INSERT INTO %T_images SELECT * FROM %T_i; INSERT INTO %P (updated_at, manifest_ref) "
           "VALUES (now(), 'typo'); INSERT INTO %P_documents (updated_at, document) SELECT now(), "
           "document FROM %T_d");
}

static void test_place__a_manifest_of_elsewhere_is_told_and_costs_nothing(void **state)
{
    const world *w = *state;
    char *elsewhere = support_make_dir();
    shardy_reader *reader;
    shardy_health health;
    publish_elsewhere(w, elsewhere);
    assert_status(SHARDY_CONFIG, open_reader(w, NULL, &reader));
    assert_names(elsewhere, w->dir);
    assert_status(SHARDY_CONFIG, open_reader(w, "typo", &reader));
    assert_ok(open_reader(w, "good", &reader));
    assert_value(reader, "first");
    shardy_reader_close(reader);
    assert_status(SHARDY_CONFIG, roll_back(w, "typo"));
    assert_status(SHARDY_CONFIG, build(w, "next", "v", &err));
    assert_names(elsewhere, w->dir);
    assert_status(SHARDY_CONFIG, clean_up(w, 1));
    assert_names(elsewhere, w->dir);

    /* the way out; who reads meanwhile goes on */
    assert_ok(roll_back(w, "good"));
    assert_ok(open_reader(w, NULL, &reader));
    sql(w, "INSERT INTO %P (manifest_ref) VALUES ('typo')");
    assert_status(SHARDY_CONFIG, shardy_reader_refresh(reader, NULL, &err));
    assert_value(reader, "first");
    assert_ok(shardy_reader_health(reader, -1, &health, &err));
    assert_int_equal(health.status, SHARDY_DEGRADED);
    shardy_reader_close(reader);
    assert_ok(roll_back(w, "good"));
    assert_status(SHARDY_CONFIG, clean_up(w, 1)); /* it is not known what may go */
    build_ok(w, "later", "second");
    assert_int_equal(verify(w, "good", 1), SHARDY_VERIFY_OK);
    support_remove_dir(elsewhere);
}

/* A prefix is a name; what counts is whether the shards are here. */
static void test_place__shards_that_were_copied_are_here(void **state)
{
    const world *w = *state;
    char *elsewhere = support_make_dir();
    char from[600];
    char to[600];
    shardy_reader *reader;
    publish_elsewhere(w, elsewhere);
    snprintf(from, sizeof from, "%s/shards/run_id=typo", elsewhere);
    snprintf(to, sizeof to, "%s/shards/run_id=typo", w->dir);
    assert_int_equal(rename(from, to), 0);
    assert_ok(open_reader(w, NULL, &reader));
    assert_value(reader, "lost");
    shardy_reader_close(reader);
    assert_ok(clean_up(w, 1)); /* "good" is the newest, "typo" is current */
    assert_int_equal(verify(w, NULL, 1), SHARDY_VERIFY_OK);
    assert_int_equal(verify(w, "good", 1), SHARDY_VERIFY_OK);
    build_ok(w, "next", "second");
    assert_ok(clean_up(w, 1));
    assert_int_equal(verify(w, NULL, 1), SHARDY_VERIFY_OK);
    assert_status(SHARDY_INVALID, open_reader(w, "typo", &reader));
    support_remove_dir(elsewhere);
}

static void test_place__two_data_sets_do_not_share_a_pointer_table(void **state)
{
    const world *w = *state;
    world other = *w;
    shardy_reader *reader;
    build_ok(w, "mine", "first");
    other.dir = support_make_dir();
    snprintf(other.table, sizeof other.table, "%s", postgres_new_name());
    other.manifests.table_name = other.table;
    assert_status(SHARDY_CONFIG, build(&other, "theirs", "v", &err));
    assert_names(w->pointer_table, other.table);
    assert_names("\"mine\"", "a pointer table of its own");
    assert_ok(open_reader(w, NULL, &reader));
    assert_value(reader, "first");
    shardy_reader_close(reader);
    assert_status(SHARDY_GONE, open_reader(&other, NULL, &reader));
    assert_names(w->pointer_table, other.table);
    snprintf(other.pointer_table, sizeof other.pointer_table, "%s", postgres_new_name());
    other.manifests.pointer_table_name = other.pointer_table;
    build_ok(&other, "theirs-2", "v");
    build_ok(w, "mine-2", "second");
    /* rows that were deleted by hand: what is there is gone back to */
    sql(w, "DELETE FROM %T_shards WHERE run_id = 'mine-2'; DELETE FROM %T_builds WHERE run_id = "
           "'mine-2'");
    assert_status(SHARDY_CONFIG, build(w, "mine-3", "v", &err));
    assert_ok(roll_back(w, "mine"));
    build_ok(w, "mine-4", "third");
    support_remove_dir(other.dir);
}

/* --- manifests in two places, a table that is not there --------------------------------------- */

static void test_cleanup__takes_no_build_for_current_that_has_a_pointer_elsewhere(void **state)
{
    const world *w = *state;
    world wrong = *w;
    shardy_reader *reader;
    build_ok(w, "one", "first");
    build_ok(w, "two", "second");
    assert_ok(roll_back(w, "one"));
    wrong.manifests.pointer_table_name = postgres_new_name(); /* misspelt, or the default */
    assert_status(SHARDY_CONFIG, clean_up(&wrong, 1));
    assert_non_null(strstr(err.message, "is pointer_table_name the right one"));
    assert_ok(open_reader(w, NULL, &reader));
    assert_value(reader, "first");
    shardy_reader_close(reader);
}

/* Manifests were moved from objects to a database; a cleanup of either side leaves what the other
 * one names. */
static void test_cleanup__leaves_what_is_published_in_another_manifest_store(void **state)
{
    const world *w = *state;
    world objects = *w;
    shardy_manifest_store_options_init(&objects.manifests, sizeof objects.manifests);
    build_ok(&objects, "old", "first");
    build_ok(w, "new", "second");
    for (int in_database = 0; in_database < 2; in_database++) {
        const world *sides[] = {&objects, w};
        const char *const values[] = {"first", "second"};
        shardy_cleanup_options options;
        shardy_cleanup_result result;
        shardy_cleanup_options_init(&options, sizeof options);
        options.include_old_runs = 1;
        options.admin.manifest_store = in_database ? &w->manifests : NULL;
        assert_ok(shardy_cleanup(NULL, w->dir, &options, &result, &err));
        assert_int_equal(result.kept_count, 1);
        assert_string_equal(result.kept[0].run_id, in_database ? "old" : "new");
        assert_non_null(strstr(result.kept[0].reason, "none of this manifest store"));
        shardy_cleanup_result_dispose(&result);
        for (size_t i = 0; i < 2; i++) {
            shardy_reader *reader;
            assert_ok(open_reader(sides[i], NULL, &reader));
            assert_value(reader, values[i]);
            shardy_reader_close(reader);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_place__a_manifest_of_elsewhere_is_told_and_costs_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_place__shards_that_were_copied_are_here, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_place__two_data_sets_do_not_share_a_pointer_table, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_cleanup__takes_no_build_for_current_that_has_a_pointer_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_cleanup__leaves_what_is_published_in_another_manifest_store, setup, teardown),
    };
    return cmocka_run_group_tests(tests, postgres_group_setup, postgres_group_teardown);
}
