/* The SQLite file layer when memory or reading fails. */
#include "sqlitefile/page_shelf.h"
#include "support/sqlite_testing.h"
#include "support/sweep.h"

#include <fcntl.h>

/* Points per kind and mode that are tried in the quick set. */
#define QUICK 40u

/* --- writing ---------------------------------------------------------------------------------- */

typedef struct write_state {
    uint8_t *room; /* the file; memory of the test, so that nothing but the library fails */
    size_t len;
} write_state;

#define WRITE_ROOM (1u << 20)

static shardy_status keep(
    void *user, uint64_t offset, const void *data, size_t len, shardy_error *err)
{
    (void)err;
    write_state *s = user;
    memcpy(s->room + offset, data, len);
    s->len = offset + len > s->len ? (size_t)offset + len : s->len;
    return SHARDY_OK;
}

static void *write_setup(const void *param)
{
    (void)param;
    write_state *s = calloc(1, sizeof *s);
    s->room = malloc(WRITE_ROOM);
    return s;
}

static void write_teardown(void *state)
{
    write_state *s = state;
    free(s->room);
    free(s);
}

static shardy_status put_all(btree_writer *writer, shardy_error *err)
{
    static uint8_t big[3000];
    for (uint64_t i = 0; i < 200; i++) {
        uint64_t key = __builtin_bswap64(i);
        shardy_bytes k = {&key, 8};
        shardy_bytes v = {big, i % 20 == 7 ? sizeof big : 30};
        SHARDY_TRY(shardy__btree_put_kv(writer, 0, k, v, err));
        record_value values[2] = {shardy__record_int((int64_t)i), shardy__record_blob(big, i * 15)};
        SHARDY_TRY(shardy__btree_put_row(writer, 1, (int64_t)i, values, 2, err));
        SHARDY_TRY(shardy__btree_put_record(writer, 2, values, 2, err));
    }
    return SHARDY_OK;
}

static shardy_status write_operation(void *state, shardy_error *err)
{
    const btree_object objects[] = {KV_OBJECT,
        {BTREE_OBJECT_TABLE, "t", NULL, "CREATE TABLE t(a,b)", 0},
        {BTREE_OBJECT_INDEX, "i", "t", "CREATE INDEX i ON t(a,b)", 0}};
    btree_writer_options options;
    shardy__btree_writer_options_init(&options);
    options.page_size = 512;
    options.sink.write = keep;
    options.sink.user = state;
    options.objects = objects;
    options.object_count = 3;
    btree_writer *writer = NULL;
    SHARDY_TRY(shardy__btree_writer_open(&options, &writer, err));
    shardy_status st = put_all(writer, err);
    if (st >= 0) {
        btree_file_stats stats;
        st = shardy__btree_writer_finish(writer, &stats, err);
    }
    shardy__btree_writer_close(writer);
    return st;
}

static void test_fault__writing_survives_a_lack_of_memory(void **state)
{
    (void)state;
    sweep_case c = {0};
    c.name = "write a file";
    c.kinds = SWEEP_BIT(SWEEP_ALLOC);
    c.setup = write_setup;
    c.operation = write_operation;
    c.teardown = write_teardown;
    c.quick = QUICK;
    sweep_run(&c);
}

/* --- pages that are put aside ----------------------------------------------------------------- */

#define SHELVED 6u

static void *shelf_setup(const void *param)
{
    (void)param;
    return support_make_dir();
}

static void shelf_teardown(void *state)
{
    support_remove_dir(state);
}

static shardy_status put_and_get(page_shelf *shelf, shardy_error *err)
{
    uint8_t page[512];
    uint8_t *got = NULL;
    for (uint32_t turn = 0; turn < 2; turn++) { /* the second time in the place of the first */
        for (uint32_t i = 0; i < SHELVED; i++) {
            memset(page, (int)(i + 10 * turn), sizeof page);
            SHARDY_TRY(shardy__page_shelf_put(shelf, i, page, err));
        }
        for (uint32_t i = 0; i < SHELVED; i++) {
            SHARDY_TRY(shardy__page_shelf_get(shelf, i, &got, err));
            memset(page, (int)(i + 10 * turn), sizeof page);
            assert_memory_equal(got, page, sizeof page);
        }
    }
    SHARDY_TRY(shardy__page_shelf_get(shelf, SHELVED - 1, &got, err));
    got[0] = 99;
    SHARDY_TRY(shardy__page_shelf_put(shelf, SHELVED - 1, got, err));
    SHARDY_TRY(shardy__page_shelf_get(shelf, SHELVED - 2, &got, err));
    SHARDY_TRY(shardy__page_shelf_get(shelf, SHELVED - 1, &got, err));
    assert_int_equal(got[0], 99);
    return SHARDY_OK;
}

static shardy_status shelf_operation(void *state, shardy_error *err)
{
    page_shelf shelf;
    shardy__page_shelf_init(&shelf, 512, state);
    shelf.kept_max = 2;
    shardy_status st = put_and_get(&shelf, err);
    shardy__page_shelf_free(&shelf);
    return st;
}

static void test_fault__pages_put_aside_survive_a_lack_of_memory_and_a_failing_disk(void **state)
{
    (void)state;
    sweep_case c = {0};
    c.name = "put pages aside";
    c.kinds = SWEEP_BIT(SWEEP_ALLOC) | SWEEP_BIT(SWEEP_WRITE) | SWEEP_BIT(SWEEP_READ);
    c.setup = shelf_setup;
    c.operation = shelf_operation;
    c.teardown = shelf_teardown;
    sweep_run(&c);
}

/* --- reading ---------------------------------------------------------------------------------- */

typedef struct read_state {
    char *dir;
    char path[512];
    int pread;
    page_digests digests;
    chunk_digest sums;
} read_state;

static void *read_setup(const void *param)
{
    shardy_error err = {0};
    read_state *s = calloc(1, sizeof *s);
    write_state *w = write_setup(NULL);
    s->pread = param != NULL;
    s->dir = support_make_dir();
    snprintf(s->path, sizeof s->path, "%s/file", s->dir);
    assert_ok(write_operation(w, &err));
    support_write_file(s->path, w->room, w->len);
    sha256 digest;
    shardy__chunk_digest_init(&s->sums);
    assert_ok(shardy__chunk_digest_add(&s->sums, w->room, w->len, &err));
    assert_ok(shardy__chunk_digest_finish(&s->sums, &digest, &err));
    s->digests = (page_digests){w->len, s->sums.sums, s->sums.count};
    write_teardown(w);
    return s;
}

static void read_teardown(void *state)
{
    read_state *s = state;
    shardy__chunk_digest_free(&s->sums);
    support_remove_dir(s->dir);
    free(s);
}

static shardy_status read_kv(const btree_file *file, shardy_error *err)
{
    btree_tree tree;
    SHARDY_TRY(shardy__btree_table(file, "kv", &tree, NULL, err));
    uint64_t numbers[200];
    shardy_bytes keys[200];
    shardy_buf values[200];
    int32_t statuses[200];
    for (uint64_t i = 0; i < 200; i++) {
        numbers[i] = __builtin_bswap64(i);
        keys[i] = (shardy_bytes){&numbers[i], 8};
    }
    for (size_t i = 0; i < 30; i++) {
        btree_key key = {RECORD_BLOB, 0, keys[i].data, 8};
        shardy_buf value;
        shardy_status st = shardy__btree_get(&tree, &key, 1, &value, err);
        if (st < 0) {
            assert_null(value.data);
            return st;
        }
        assert_int_equal(st, SHARDY_OK);
        assert_int_equal(value.len, i % 20 == 7 ? 3000 : 30);
        shardy_buf_release(&value);
    }
    SHARDY_TRY(shardy__btree_get_many(
        &tree, RECORD_BLOB, keys, 200, 1, (btree_answers){values, statuses}, err));
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(values[i].len, i % 20 == 7 ? 3000 : 30);
    }
    shardy__btree_values_clear(values, 200);
    return SHARDY_OK;
}

static shardy_status read_rows(const btree_file *file, shardy_error *err)
{
    btree_tree tree;
    SHARDY_TRY(shardy__btree_table(file, "t", &tree, NULL, err));
    btree_walk walk;
    shardy__btree_walk_init(&walk, &tree);
    shardy__btree_walk_first(&walk);
    shardy_status st = shardy__btree_walk_run(&walk, err);
    size_t rows = 0;
    while (st == SHARDY_OK) {
        record_value values[2];
        st = shardy__btree_walk_record(&walk, 1 << 20, values, 2, err);
        if (st == SHARDY_OK) {
            assert_int_equal(values[1].len, rows * 15);
            rows++;
            shardy__btree_walk_next(&walk);
            st = shardy__btree_walk_run(&walk, err);
        }
    }
    shardy__btree_walk_end(&walk);
    assert_true(st < 0 || rows == 200);
    return st == SHARDY_DONE ? SHARDY_OK : st;
}

static shardy_status read_operation(void *state, shardy_error *err)
{
    read_state *s = state;
    shardy_local_file local = {open(s->path, O_RDONLY | O_CLOEXEC), s->digests.size, 0};
    assert_true(local.fd >= 0);
    page_source *source = NULL;
    SHARDY_TRY(s->pread ? shardy__page_source_pread_take(&local, &s->digests, 1, &source, err)
                        : shardy__page_source_map_take(&local, &s->digests, &source, err));
    btree_file *file = NULL;
    SHARDY_TRY(shardy__btree_open_take(source, &file, err));
    shardy_status st = read_kv(file, err);
    if (st >= 0) {
        st = read_rows(file, err);
    }
    shardy__btree_close(file);
    return st;
}

static void test_fault__reading_survives_a_lack_of_memory_and_failing_reads(void **state)
{
    (void)state;
    for (int use_pread = 0; use_pread < 2; use_pread++) {
        sweep_case c = {0};
        c.name = use_pread ? "read a file by pread" : "read a mapped file";
        c.kinds = SWEEP_BIT(SWEEP_ALLOC) | SWEEP_BIT(SWEEP_READ);
        c.setup = read_setup;
        c.operation = read_operation;
        c.teardown = read_teardown;
        c.param = use_pread ? "pread" : NULL;
        c.quick = QUICK;
        sweep_run(&c);
    }
}

/* A short cut that cannot be made for lack of memory is not missed. */
static shardy_status fence_operation(void *state, shardy_error *err)
{
    read_state *s = state;
    shardy_local_file local = {open(s->path, O_RDONLY | O_CLOEXEC), s->digests.size, 0};
    page_source *source = NULL;
    btree_file *file = NULL;
    SHARDY_TRY(shardy__page_source_map_take(&local, NULL, &source, err));
    SHARDY_TRY(shardy__btree_open_take(source, &file, err));
    shardy_status st = SHARDY_OK;
    for (int round = 0; round < 12 && st >= 0; round++) {
        st = read_kv(file, err);
    }
    shardy__btree_close(file);
    return st;
}

static void test_fault__a_missing_short_cut_is_no_failure(void **state)
{
    (void)state;
    sweep_case c = {0};
    c.name = "ask often";
    c.kinds = SWEEP_BIT(SWEEP_ALLOC);
    c.absorbs = SWEEP_BIT(SWEEP_ALLOC);
    c.setup = read_setup;
    c.operation = fence_operation;
    c.teardown = read_teardown;
    c.quick = QUICK;
    sweep_run(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault__writing_survives_a_lack_of_memory),
        cmocka_unit_test(test_fault__pages_put_aside_survive_a_lack_of_memory_and_a_failing_disk),
        cmocka_unit_test(test_fault__reading_survives_a_lack_of_memory_and_failing_reads),
        cmocka_unit_test(test_fault__a_missing_short_cut_is_no_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
