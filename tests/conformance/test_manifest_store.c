/* One suite for every manifest store: objects of a directory, objects in memory, and Postgres. */
#include "support/postgres_fixture.h"
#include "support/store_fixture.h"

#include "base/context.h"
#include "base/thread.h"
#include "catalog/manifest_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static shardy_error err;

typedef enum kind {
    OBJECTS_FS,
    OBJECTS_MEM,
    POSTGRES
} kind;

static kind which;

typedef struct world {
    shardy_context *context;
    shardy_store *objects;
    char *root;
    manifest_store m;
    char table[32];
    char pointer_table[32];
} world;

static int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    assert_ok(shardy_context_new(NULL, &w->context, &err));
    if (which == POSTGRES) {
        snprintf(w->table, sizeof w->table, "%s", postgres_new_name());
        snprintf(w->pointer_table, sizeof w->pointer_table, "%s", postgres_new_name());
        postgres_open_store(w->context, w->table, w->pointer_table, NULL, &w->m);
    } else {
        if (which == OBJECTS_FS) {
            w->root = support_make_dir();
            w->objects = fixture_open_fs(w->root, 0);
        } else {
            assert_ok(shardy_store_open_mem(w->context, &w->objects, &err));
        }
        assert_ok(shardy__manifest_store_open_object(w->objects, "_CURRENT", 0, &w->m, &err));
    }
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    shardy__manifest_store_close(&w->m);
    shardy_store_close(w->objects);
    shardy_context_free(w->context);
    if (w->root) {
        support_remove_dir(w->root);
    }
    free(w);
    return 0;
}

#define START_US 1767323045000000

static void name_of(const world *w, const char *run_id, unsigned second, char *ref)
{
    assert_ok(shardy__manifest_store_name(
        &w->m, run_id, START_US + (int64_t)second * 1000000, ref, &err));
}

/* Publishes; *seen is the version that the pointer must have. */
static shardy_status publish(const world *w, const char *run_id, unsigned second,
    const shardy_etag *seen, uint64_t generation, int32_t *added, int32_t *open)
{
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    pointer p;
    name_of(w, run_id, second, ref);
    shardy_buf image = manifest_image(run_id, START_US + (int64_t)second * 1000000);
    shardy_bytes bytes = {image.data, image.len};
    manifest_pointer(&w->m, ref, run_id, bytes, generation, &p);
    manifest_publish what = {ref, bytes, &p, seen};
    shardy_error error = {0};
    shardy_status st = shardy__manifest_store_publish(&w->m, &what, added, open, &error);
    assert_int_equal(st < 0, error.message[0] != '\0');
    shardy_buf_release(&image);
    return st;
}

static shardy_etag current_version(const world *w, const char *run_id)
{
    pointer p;
    shardy_etag version;
    shardy_status st = shardy__manifest_store_load_current(&w->m, &p, &version, &err);
    assert_int_equal(st, run_id ? SHARDY_OK : SHARDY_NOT_FOUND);
    if (run_id) {
        assert_string_equal(p.run_id, run_id);
        assert_true(version.text[0]);
    }
    return version;
}

static void publish_ok(const world *w, const char *run_id, unsigned second, const char *over)
{
    int32_t added;
    int32_t open;
    shardy_etag seen = current_version(w, over);
    assert_ok(publish(w, run_id, second, &seen, second, &added, &open));
    assert_int_equal(added, 1);
    assert_int_equal(open, 0);
    (void)current_version(w, run_id);
}

static void assert_image(const world *w, const char *run_id, unsigned second)
{
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_buf image;
    name_of(w, run_id, second, ref);
    shardy_buf expected = manifest_image(run_id, START_US + (int64_t)second * 1000000);
    assert_ok(shardy__manifest_store_load(&w->m, ref, &image, &err));
    assert_int_equal(image.len, expected.len);
    assert_memory_equal(image.data, expected.data, image.len);
    shardy_buf_release(&image);
    shardy_buf_release(&expected);
}

static void assert_list(const world *w, const char *expected)
{
    shardy_manifest_list list;
    char text[1000] = "";
    assert_ok(shardy__manifest_store_list(&w->m, 100, &list, &err));
    for (size_t i = 0; i < list.count; i++) {
        char id[SHARDY_OBJECT_KEY_LEN_MAX + 1];
        assert_true(shardy__manifest_store_ref_run_id(&w->m, list.entries[i].ref, id));
        assert_string_equal(id, list.entries[i].run_id);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%.100s ", id);
    }
    shardy__manifest_list_dispose(&list);
    assert_string_equal(text, expected);
}

static void test_stores__an_empty_one_has_nothing(void **state)
{
    const world *w = *state;
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_buf image;
    uint64_t removed = 1;
    (void)current_version(w, NULL);
    assert_list(w, "");
    name_of(w, "a", 1, ref);
    assert_status(SHARDY_NOT_FOUND, shardy__manifest_store_load(&w->m, ref, &image, &err));
    assert_null(image.data);
    assert_ok(shardy__manifest_store_remove(&w->m, ref, &removed, &err));
    assert_int_equal(removed, 0);
}

static void test_stores__what_was_published_is_current_and_comes_back_to_the_byte(void **state)
{
    const world *w = *state;
    publish_ok(w, "a", 1, NULL);
    assert_image(w, "a", 1);
    publish_ok(w, "b", 2, "a");
    assert_image(w, "a", 1);
    assert_image(w, "b", 2);
    assert_list(w, "b a ");
    shardy_manifest_list list;
    assert_ok(shardy__manifest_store_list(&w->m, 1, &list, &err));
    assert_int_equal(list.count, 1);
    assert_string_equal(list.entries[0].run_id, "b");
    assert_true(list.entries[0].published_us == START_US + 2000000);
    shardy__manifest_list_dispose(&list);
    pointer p;
    shardy_etag version;
    assert_ok(shardy__manifest_store_load_current(&w->m, &p, &version, &err));
    assert_int_equal(p.has_ours, 1);
    assert_int_equal(p.generation, 2);
}

static void test_stores__a_published_manifest_is_never_rewritten(void **state)
{
    const world *w = *state;
    int32_t added = 1;
    int32_t open;
    publish_ok(w, "a", 1, NULL);
    shardy_etag seen = current_version(w, "a");
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    assert_status(SHARDY_EXISTS, publish(w, "a", 1, &seen, 2, &added, &open));
    assert_int_equal(added, 0);
    assert_int_equal(open, 0);
    name_of(w, "a", 1, ref);
    shardy_buf image = manifest_image("a", START_US + 1000000);
    assert_status(SHARDY_EXISTS,
        shardy__manifest_store_add(&w->m, ref, shardy__bytes(image.data, image.len), &err));
    shardy_buf_release(&image);
    assert_image(w, "a", 1);
    assert_string_equal(current_version(w, "a").text, seen.text);
}

static void test_stores__who_comes_too_late_is_told_by_whom_and_can_be_rolled_back_to(void **state)
{
    const world *w = *state;
    int32_t added = 0;
    int32_t open = 1;
    publish_ok(w, "a", 1, NULL);
    shardy_etag seen = current_version(w, "a");
    publish_ok(w, "b", 2, "a");
    assert_status(SHARDY_CONFLICT, publish(w, "c", 3, &seen, 2, &added, &open));
    assert_int_equal(added, 1);
    assert_int_equal(open, 0);
    shardy_etag now = current_version(w, "b");
    assert_image(w, "c", 3);
    assert_list(w, "c b a ");
    /* nothing was there when it began */
    shardy_etag none = {""};
    assert_status(SHARDY_CONFLICT, publish(w, "d", 4, &none, 1, &added, &open));
    assert_string_equal(current_version(w, "b").text, now.text);
    /* the loser can be gone to */
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    pointer p;
    name_of(w, "c", 3, ref);
    shardy_buf image = manifest_image("c", START_US + 3000000);
    manifest_pointer(&w->m, ref, "c", shardy__bytes(image.data, image.len), 3, &p);
    memset(&err, 0, sizeof err);
    assert_status(
        SHARDY_CONFLICT, shardy__manifest_store_set_current(&w->m, &p, &seen, &open, &err));
    assert_non_null(strstr(err.message, "\"b\""));
    assert_ok(shardy__manifest_store_set_current(&w->m, &p, &now, &open, &err));
    assert_int_equal(open, 0);
    (void)current_version(w, "c");
    shardy_buf_release(&image);
}

static void test_stores__a_version_never_comes_back(void **state)
{
    const world *w = *state;
    shardy_etag seen[6];
    char refs[2][SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_buf image = manifest_image("a", START_US);
    publish_ok(w, "a", 1, NULL);
    publish_ok(w, "b", 2, "a");
    name_of(w, "a", 1, refs[0]);
    name_of(w, "b", 2, refs[1]);
    for (unsigned i = 0; i < 6; i++) {
        pointer p;
        int32_t open;
        const char *id = i % 2 == 0 ? "a" : "b";
        seen[i] = current_version(w, i % 2 == 0 ? "b" : "a");
        manifest_pointer(&w->m, refs[i % 2], id, shardy__bytes(image.data, image.len), 3, &p);
        assert_ok(shardy__manifest_store_set_current(&w->m, &p, &seen[i], &open, &err));
        for (unsigned k = 0; k < i; k++) {
            assert_string_not_equal(seen[i].text, seen[k].text);
        }
    }
    shardy_buf_release(&image);
}

static void test_stores__a_manifest_that_is_removed_is_gone_with_all_of_it(void **state)
{
    const world *w = *state;
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_buf image;
    uint64_t removed;
    publish_ok(w, "a", 1, NULL);
    publish_ok(w, "b", 2, "a");
    name_of(w, "a", 1, ref);
    assert_ok(shardy__manifest_store_remove(&w->m, ref, &removed, &err));
    assert_true(removed > 0);
    assert_list(w, "b ");
    assert_status(SHARDY_NOT_FOUND, shardy__manifest_store_load(&w->m, ref, &image, &err));
    assert_ok(shardy__manifest_store_remove(&w->m, ref, &removed, &err));
    assert_int_equal(removed, 0);
    assert_image(w, "b", 2);
}

/* --- many at once ----------------------------------------------------------------------------- */

#define PUBLISHERS 4u
#define PUBLISHES  8u

typedef struct publisher {
    world *w;
    unsigned number;
    unsigned won;
    unsigned wrong;
} publisher;

static void *publish_often(void *arg)
{
    publisher *me = arg;
    for (unsigned i = 0; i < PUBLISHES; i++) {
        char run_id[32];
        pointer p;
        shardy_etag seen;
        shardy_error error = {0};
        int32_t added;
        int32_t open;
        snprintf(run_id, sizeof run_id, "p%u-%u", me->number, i);
        shardy_status st = shardy__manifest_store_load_current(&me->w->m, &p, &seen, &error);
        uint64_t generation = st == SHARDY_OK ? p.generation : 0;
        if (st >= 0) {
            char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
            unsigned second = me->number * PUBLISHES + i;
            name_of(me->w, run_id, second, ref);
            shardy_buf image = manifest_image(run_id, START_US + (int64_t)second * 1000000);
            shardy_bytes bytes = {image.data, image.len};
            memset(&p, 0, sizeof p);
            snprintf(p.run_id, sizeof p.run_id, "%s", run_id);
            (void)shardy__manifest_store_full_ref(
                &me->w->m, MANIFEST_PREFIX, ref, p.manifest_ref, &error);
            snprintf(p.manifest_content_type, sizeof p.manifest_content_type, "x");
            p.has_ours = 1;
            p.generation = generation + 1;
            p.manifest_size = bytes.len;
            snprintf(p.nonce, sizeof p.nonce, "%028u%04u", me->number, i);
            manifest_publish what = {ref, bytes, &p, &seen};
            st = shardy__manifest_store_publish(&me->w->m, &what, &added, &open, &error);
            shardy_buf_release(&image);
            me->wrong += st >= 0 || st == SHARDY_CONFLICT ? !added || open : 1;
        }
        me->won += st >= 0;
        me->wrong += st < 0 && st != SHARDY_CONFLICT;
        if (st < 0 && st != SHARDY_CONFLICT) {
            print_message("%s\n", error.message);
        }
    }
    return NULL;
}

static void test_stores__of_many_publishers_each_winner_has_seen_the_one_before(void **state)
{
    world *w = *state;
    publisher crew[PUBLISHERS];
    thread threads[PUBLISHERS];
    unsigned won = 0;
    memset(crew, 0, sizeof crew);
    for (unsigned i = 0; i < PUBLISHERS; i++) {
        crew[i].w = w;
        crew[i].number = i;
        assert_ok(shardy__thread_start(&threads[i], publish_often, &crew[i], "publisher", &err));
    }
    for (unsigned i = 0; i < PUBLISHERS; i++) {
        shardy__thread_join(threads[i]);
        assert_int_equal(crew[i].wrong, 0);
        won += crew[i].won;
    }
    /* each success made one generation more of the one that it had seen: none was lost */
    pointer p;
    shardy_etag version;
    assert_ok(shardy__manifest_store_load_current(&w->m, &p, &version, &err));
    assert_int_equal(p.generation, won);
    shardy_manifest_list list;
    assert_ok(shardy__manifest_store_list(&w->m, 1000, &list, &err));
    assert_int_equal(list.count, PUBLISHERS * PUBLISHES);
    shardy__manifest_list_dispose(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_stores__an_empty_one_has_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_stores__what_was_published_is_current_and_comes_back_to_the_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_stores__a_published_manifest_is_never_rewritten, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_stores__who_comes_too_late_is_told_by_whom_and_can_be_rolled_back_to, setup,
            teardown),
        cmocka_unit_test_setup_teardown(test_stores__a_version_never_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_stores__a_manifest_that_is_removed_is_gone_with_all_of_it, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_stores__of_many_publishers_each_winner_has_seen_the_one_before, setup, teardown),
    };
    int failed = 0;
    which = OBJECTS_FS;
    failed += cmocka_run_group_tests_name("objects, directory", tests, NULL, NULL);
    which = OBJECTS_MEM;
    failed += cmocka_run_group_tests_name("objects, memory", tests, NULL, NULL);
    which = POSTGRES;
    failed += cmocka_run_group_tests_name(
        "postgres", tests, postgres_group_setup, postgres_group_teardown);
    return failed;
}
