/* The fate of a run: refused with a message, or the same after writing and reading again. */
#include "catalog/fate.h"
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fate f;
    static fate again;
    shardy_error err;
    memset(&err, 0, sizeof err);
    run_with_fault(data, size, run);
    shardy_status st = shardy__fate_parse(shardy__bytes(data, size), &f, &err);
    require(st == SHARDY_OK || st == SHARDY_CORRUPT || st == SHARDY_FORMAT_VERSION,
        "parsing has three outcomes");
    require((st == SHARDY_OK) == (err.message[0] == '\0'), "a refusal has a message");
    if (st < 0) {
        return 0;
    }
    shardy_buf text;
    st = shardy__fate_render(&f, &text, &err);
    require(st == SHARDY_OK, "what was read can be written");
    require(text.len <= SHARDY_FATE_LEN_MAX, "a fate keeps its bound");
    st = shardy__fate_parse(shardy__bytes(text.data, text.len), &again, &err);
    require(st == SHARDY_OK, "what was written can be read");
    check_same(&f, &again);
    shardy_buf_release(&text);
    return 0;
}
