/* The documents of the catalog when memory is short: each allocation of writing and reading one. */
#include "catalog/fate.h"
#include "catalog/pointer.h"
#include "catalog/run_record.h"
#include "support/support.h"
#include "support/sweep.h"

#include <stdio.h>
#include <string.h>

static shardy_status pointer_both_ways(int32_t has_ours, shardy_error *err)
{
    pointer p;
    pointer back;
    shardy_buf text;
    memset(&p, 0, sizeof p);
    snprintf(p.manifest_ref, sizeof p.manifest_ref, "file:///d/manifests/m/manifest");
    snprintf(p.manifest_content_type, sizeof p.manifest_content_type, "application/x-sqlite3");
    snprintf(p.run_id, sizeof p.run_id, "run-1");
    p.has_ours = has_ours;
    p.generation = 7;
    memset(p.nonce, 'a', POINTER_NONCE_LEN);
    shardy_status st = shardy__pointer_render(&p, &text, err);
    assert_true((st == SHARDY_OK) == (text.data != NULL));
    if (st == SHARDY_OK) {
        st = shardy__pointer_parse((shardy_bytes){text.data, text.len}, &back, err);
        assert_true(st < 0 || strcmp(back.run_id, p.run_id) == 0);
    }
    shardy_buf_release(&text);
    return st;
}

static shardy_status op_pointer(void *state, shardy_error *err)
{
    (void)state;
    return pointer_both_ways(1, err);
}

static shardy_status op_pointer_of_the_reference(void *state, shardy_error *err)
{
    (void)state;
    return pointer_both_ways(0, err);
}

static shardy_status op_fate(void *state, shardy_error *err)
{
    (void)state;
    static fate f;
    static fate back;
    shardy_buf text;
    memset(&f, 0, sizeof f);
    memset(&back, 0, sizeof back);
    snprintf(f.run_id, sizeof f.run_id, "run-1");
    snprintf(f.manifest_ref, sizeof f.manifest_ref, "manifests/m/manifest");
    snprintf(f.pins[0], sizeof f.pins[0], "keep");
    memset(f.nonce, 'b', POINTER_NONCE_LEN);
    f.pin_count = 1;
    f.has_manifest = 1;
    f.state = FATE_PUBLISHED;
    shardy_status st = shardy__fate_render(&f, &text, err);
    assert_true((st == SHARDY_OK) == (text.data != NULL));
    if (st == SHARDY_OK) {
        st = shardy__fate_parse((shardy_bytes){text.data, text.len}, &back, err);
        assert_true(st < 0 || strcmp(back.pins[0], "keep") == 0);
    }
    shardy_buf_release(&text);
    return st;
}

static shardy_status op_run_record(void *state, shardy_error *err)
{
    (void)state;
    static run_record r;
    static run_record back;
    shardy_buf text;
    memset(&r, 0, sizeof r);
    snprintf(r.run_id, sizeof r.run_id, "run-1");
    snprintf(r.writer_type, sizeof r.writer_type, "c");
    snprintf(r.error_message, sizeof r.error_message, "a: \"text\" that needs quotes");
    r.status = RUN_FAILED;
    r.started_us = r.updated_us = r.lease_expires_us = 1700000000000000;
    shardy_status st = shardy__run_record_render(&r, &text, err);
    assert_true((st == SHARDY_OK) == (text.data != NULL));
    if (st == SHARDY_OK) {
        st = shardy__run_record_parse((shardy_bytes){text.data, text.len}, &back, err);
        assert_true(st < 0 || strcmp(back.error_message, r.error_message) == 0);
    }
    shardy_buf_release(&text);
    return st;
}

static void test_documents__survive_faults(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        shardy_status (*operation)(void *state, shardy_error *err);
    } cases[] = {{"pointer", op_pointer}, {"pointer of the reference", op_pointer_of_the_reference},
        {"fate", op_fate}, {"run record", op_run_record}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const sweep_case c = {
            .name = cases[i].name,
            .kinds = SWEEP_BIT(SWEEP_ALLOC),
            .operation = cases[i].operation,
        };
        sweep_run(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents__survive_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
