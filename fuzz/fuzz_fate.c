/* The fate of a run: refused with a message, or the same after writing and reading again; what was
 * written is refused once anything of it has changed. */
#include "catalog/fate.h"
#include "check.h"
#include "faults.h"

#include "base/bytebuf.h"

static void check_same(const fate *a, const fate *b)
{
    require(same_text(a->run_id, b->run_id), "the run stays");
    require(same_text(a->writer, b->writer), "the writer stays");
    require(a->state == b->state, "the state stays");
    require(a->state >= FATE_WRITING && a->state <= FATE_CONDEMNED, "the state is known");
    require(a->generation == b->generation, "the generation stays");
    require(a->updated_us == b->updated_us, "the time stays");
    require(same_text(a->nonce, b->nonce), "the nonce stays");
    require(a->has_manifest == b->has_manifest, "the manifest stays");
    require(same_text(a->manifest_ref, b->manifest_ref), "the ref stays");
    require(a->manifest_size == b->manifest_size, "the size stays");
    require(same_bytes(&a->manifest_digest, sizeof a->manifest_digest, &b->manifest_digest,
                sizeof b->manifest_digest),
        "the digest stays");
    require(a->pin_count == b->pin_count && a->pin_count <= FATE_PINS_MAX, "the pins stay");
    for (uint32_t i = 0; i < a->pin_count; i++) {
        require(same_text(a->pins[i], b->pins[i]), "a pin stays");
    }
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    static fate f;
    shardy_buf text;
    SHARDY_TRY(shardy__fate_parse(shardy__bytes(data, size), &f, err));
    SHARDY_TRY(shardy__fate_render(&f, &text, err));
    shardy_buf_release(&text);
    return SHARDY_OK;
}

/* One of its bits, somewhere. */
static void check_flip(shardy_buf text, size_t where)
{
    static fate f;
    char *copy = malloc(text.len);
    if (!copy) {
        return;
    }
    memcpy(copy, text.data, text.len);
    const size_t at = where % text.len;
    copy[at] = (char)(copy[at] ^ (1 << where % 8));
    shardy_status st = shardy__fate_parse(shardy__bytes(copy, text.len), &f, NULL);
    require(shardy__fate_is_damaged(st), "a bit that has changed is found out");
    free(copy);
}

static void check_text(shardy_bytes input)
{
    static fate f;
    static fate again;
    shardy_error err;
    memset(&err, 0, sizeof err);
    shardy_status st = shardy__fate_parse(input, &f, &err);
    require(st == SHARDY_OK || shardy__fate_is_damaged(st), "parsing has four outcomes");
    require((st == SHARDY_OK) == (err.message[0] == '\0'), "a refusal has a message");
    if (st < 0) {
        require(f.run_id[0] == '\0' && f.state == 0 && f.pin_count == 0, "a refusal gives nothing");
        return;
    }
    shardy_buf text;
    st = shardy__fate_render(&f, &text, &err);
    require(st == SHARDY_OK, "what was read can be written");
    require(text.len <= SHARDY_FATE_LEN_MAX, "a fate keeps its bound");
    st = shardy__fate_parse(shardy__bytes(text.data, text.len), &again, &err);
    require(st == SHARDY_OK, "what was written can be read");
    check_same(&f, &again);
    check_flip(text, input.len * 31 + f.generation % 1009);
    shardy_buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_text(shardy__bytes(data, size));
    char *copy = copy_text(data, size);
    repair_check(copy, size);
    check_text(shardy__bytes(copy, size));
    run_with_fault((const uint8_t *)copy, size, run);
    free(copy);
    return 0;
}
