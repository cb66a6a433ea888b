/* The document `_CURRENT`: whatever the bytes are, it is refused with a message, or what was read
 * is what is read again from what we write of it. */
#include "catalog/pointer.h"
#include "check.h"
#include "faults.h"

#include "base/bytebuf.h"
#include "base/uri.h"
#include "catalog/catalog.h"

static void check_same(const pointer *a, const pointer *b)
{
    require(same_text(a->manifest_ref, b->manifest_ref), "the ref stays");
    require(same_text(a->manifest_content_type, b->manifest_content_type), "the type stays");
    require(same_text(a->run_id, b->run_id), "the run stays");
    require(a->updated_us == b->updated_us, "the time stays");
    require(a->has_ours == b->has_ours, "our member stays");
    require(a->generation == b->generation, "the generation stays");
    require(a->manifest_size == b->manifest_size, "the size stays");
    require(same_bytes(&a->manifest_digest, sizeof a->manifest_digest, &b->manifest_digest,
                sizeof b->manifest_digest),
        "the digest stays");
    require(same_text(a->nonce, b->nonce), "the nonce stays");
    require(a->hint.num_dbs == b->hint.num_dbs && a->hint.key_encoding == b->hint.key_encoding &&
                a->hint.shard_bytes == b->hint.shard_bytes &&
                a->hint.total_bytes == b->hint.total_bytes &&
                same_text(a->hint.shard_path, b->hint.shard_path),
        "the hint stays");
}

/* Whatever a hint says, what is asked for is a key below the root. */
static void check_hint(const pointer_hint *hint)
{
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    const shardy_key keys[] = {
        shardy_key_text("tmux", 4), shardy_key_text("17", 2), shardy_key_int(-1)};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int known = shardy__hint_shard(hint, &keys[i], path);
        require(!known || hint->num_dbs > 0, "no hint gives no path");
        require(!known || shardy__key_problem(path, strlen(path)) == NULL, "a path is a key");
    }
}

static void check_ref(const char *manifest_ref)
{
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    if (shardy__catalog_ref(manifest_ref, ref, NULL) == SHARDY_OK) {
        size_t len = strlen(ref);
        require(shardy__key_problem(ref, len) == NULL, "a ref is a key");
        require(strncmp(ref, "manifests/", 10) == 0, "a ref is below manifests/");
        require(len <= strlen(manifest_ref) &&
                    strcmp(manifest_ref + strlen(manifest_ref) - len, ref) == 0,
            "a ref is the end of its URL");
    } else {
        require(ref[0] == '\0', "nothing comes out of a refusal");
    }
}

static void check_text(shardy_bytes input)
{
    pointer p;
    pointer again;
    shardy_error err;
    memset(&err, 0, sizeof err);
    shardy_status st = shardy__pointer_parse(input, &p, &err);
    require(st == SHARDY_OK || st == SHARDY_CORRUPT || st == SHARDY_FORMAT_VERSION,
        "parsing has three outcomes");
    require((st == SHARDY_OK) == (err.message[0] == '\0'), "a refusal has a message");
    if (st < 0) {
        require(p.manifest_ref[0] == '\0' && p.has_ours == 0, "a refusal gives nothing");
        return;
    }
    check_ref(p.manifest_ref);
    check_hint(&p.hint);
    shardy_buf text;
    st = shardy__pointer_render(&p, &text, &err);
    require(st == SHARDY_OK, "what was read can be written");
    st = shardy__pointer_parse(shardy__bytes(text.data, text.len), &again, &err);
    require(st == SHARDY_OK, "what was written can be read");
    check_same(&p, &again);
    shardy_buf second;
    st = shardy__pointer_render(&again, &second, &err);
    require(st == SHARDY_OK && same_bytes(text.data, text.len, second.data, second.len),
        "the same gives the same bytes");
    shardy_buf_release(&text);
    shardy_buf_release(&second);
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    pointer p;
    shardy_buf text;
    SHARDY_TRY(shardy__pointer_parse(shardy__bytes(data, size), &p, err));
    SHARDY_TRY(shardy__pointer_render(&p, &text, err));
    shardy_buf_release(&text);
    return SHARDY_OK;
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
