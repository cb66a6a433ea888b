/* Results of attempts, which come from other processes as JSON: the input is read as one result and
 * as an array of them.
 *
 * Properties: refused with a message, or what was read is what is read again from what we write of
 * it; one result alone says the same as in an array; objects are below the path of their
 * attempt. */
#include "build/attempt_result.h"
#include "faults.h"

#include "base/bytebuf.h"
#include "base/uri.h"

static void check_same_key(int32_t a_has, const shardy_key *a, int32_t b_has, const shardy_key *b)
{
    require(a_has == b_has, "a bound stays");
    require(!a_has || (a->type == b->type && shardy_key_compare(a, b) == 0), "as it is");
}

static void check_same(const attempt_result *a, const attempt_result *b)
{
    require(a->db_id == b->db_id && a->attempt == b->attempt, "it is of the same attempt");
    require((a->output != NULL) == (b->output != NULL), "it has rows or not");
    if (!a->output) {
        return;
    }
    const attempt_output *x = a->output;
    const attempt_output *y = b->output;
    require(x->row_count == y->row_count && x->vector_count == y->vector_count, "the rows stay");
    require(x->db_bytes == y->db_bytes && x->duration_ms == y->duration_ms, "the sizes stay");
    require(same_text(x->path, y->path), "the path stays");
    require(same_text(x->checkpoint_id, y->checkpoint_id), "the checkpoint stays");
    check_same_key(x->has_min_key, &x->min_key, y->has_min_key, &y->min_key);
    check_same_key(x->has_max_key, &x->max_key, y->has_max_key, &y->max_key);
    require(x->object_count == y->object_count, "the objects stay");
    for (uint32_t i = 0; i < x->object_count; i++) {
        const attempt_object *o = &x->objects[i];
        require(same_text(o->path, y->objects[i].path) && o->size == y->objects[i].size &&
                    same_bytes(&o->digest, sizeof o->digest, &y->objects[i].digest,
                        sizeof y->objects[i].digest),
            "an object stays");
    }
}

static void check_result(const attempt_result *r)
{
    if (!r->output) {
        return;
    }
    size_t len = strlen(r->output->path);
    require(len > 0, "what has rows has a path");
    require(r->output->object_count <= ATTEMPT_OBJECTS_MAX, "objects have a bound");
    for (uint32_t i = 0; i < r->output->object_count; i++) {
        const char *path = r->output->objects[i].path;
        require(shardy__key_problem(path, strlen(path)) == NULL, "an object has a key");
        require(strncmp(path, r->output->path, len) == 0 && path[len] == '/' && path[len + 1],
            "an object is below its attempt");
    }
}

static void check_outcome(shardy_status st, const shardy_error *err)
{
    require(st == SHARDY_OK || st == SHARDY_INVALID, "reading has two outcomes");
    require((st == SHARDY_OK) == (err->message[0] == '\0'), "a refusal has a message");
}

static void check_one(shardy_bytes json)
{
    attempt_result r;
    attempt_result again;
    attempt_result *list;
    size_t count;
    shardy_buf text = {0};
    shardy_buf array = {0};
    shardy_error err = {0};
    shardy_status st = shardy__attempt_from_json(json, &r, &err);
    check_outcome(st, &err);
    if (st == SHARDY_OK) {
        check_result(&r);
        st = shardy__attempt_to_json(&r, &text, &err);
        require(st == SHARDY_OK, "what was read can be written");
        st = shardy__attempt_from_json(shardy__bytes(text.data, text.len), &again, &err);
        require(st == SHARDY_OK, "what was written can be read");
        check_same(&r, &again);
        shardy__attempt_result_free(&again);
        st = shardy__attempts_to_json(&r, 1, &array, &err);
        require(st == SHARDY_OK && array.len == text.len + 2 &&
                    same_bytes(text.data, text.len, (const char *)array.data + 1, text.len),
            "in an array it is the same");
        st = shardy__attempts_from_json(shardy__bytes(array.data, array.len), &list, &count, &err);
        require(st == SHARDY_OK && count == 1, "an array of one");
        check_same(&r, &list[0]);
        shardy__attempt_results_free(list, count);
    }
    shardy_buf_release(&array);
    shardy_buf_release(&text);
    shardy__attempt_result_free(&r);
}

static void check_array(shardy_bytes json)
{
    attempt_result *list;
    attempt_result *again;
    size_t count;
    size_t count_again;
    shardy_buf text = {0};
    shardy_error err = {0};
    shardy_status st = shardy__attempts_from_json(json, &list, &count, &err);
    check_outcome(st, &err);
    require(st == SHARDY_OK || (!list && count == 0), "a refusal gives nothing");
    if (st < 0) {
        return;
    }
    st = shardy__attempts_to_json(list, count, &text, &err);
    require(st == SHARDY_OK, "what was read can be written");
    st = shardy__attempts_from_json(shardy__bytes(text.data, text.len), &again, &count_again, &err);
    require(st == SHARDY_OK && count_again == count, "as many are read again");
    for (size_t i = 0; i < count; i++) {
        check_result(&list[i]);
        check_same(&list[i], &again[i]);
    }
    shardy__attempt_results_free(again, count_again);
    shardy__attempt_results_free(list, count);
    shardy_buf_release(&text);
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    attempt_result r;
    attempt_result *list;
    size_t count;
    shardy_status st = shardy__attempt_from_json(shardy__bytes(data, size), &r, err);
    shardy__attempt_result_free(&r);
    if (st == SHARDY_INVALID) {
        st = shardy__attempts_from_json(shardy__bytes(data, size), &list, &count, err);
        shardy__attempt_results_free(list, count);
    }
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    run_with_fault(data, size, run);
    check_one(shardy__bytes(data, size));
    check_array(shardy__bytes(data, size));
    return 0;
}
