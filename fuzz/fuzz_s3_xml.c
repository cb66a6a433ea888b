/* The XML that S3 answers with: the input is read as each of the documents there are.
 *
 * Properties: reading has two outcomes and a refusal has a message; texts end within their room; a
 * listing counts its entries, and one that goes on says from where; a key that is encoded decodes
 * to what encodes to the same again. */
#include "base/bytebuf.h"
#include "faults.h"
#include "store/s3_place.h"
#include "store/s3_xml.h"

static void check_outcome(shardy_status st, const shardy_error *err)
{
    require(st == SHARDY_OK || st == SHARDY_CORRUPT, "reading has two outcomes");
    require((st == SHARDY_OK) == (err->message[0] == '\0'), "a refusal has a message");
}

static void check_failure(const s3_failure *f)
{
    require(memchr(f->code, 0, sizeof f->code) != NULL, "a code ends");
    require(memchr(f->message, 0, sizeof f->message) != NULL, "a message ends");
    require(memchr(f->region, 0, sizeof f->region) != NULL, "a region ends");
}

static void check_key(const s3_list_entry *e)
{
    require(strlen(e->key) == e->key_len, "a key has no zero byte");
    bytebuf text;
    shardy__bytebuf_init(&text, 3 * e->key_len + 1);
    shardy__bytebuf_append(&text, e->key, e->key_len);
    size_t len = shardy__s3_decode(text.data, text.len);
    require(len <= e->key_len, "decoding makes nothing longer");
    bytebuf again;
    shardy__bytebuf_init(&again, 3 * len + 1);
    shardy__s3_encode(&again, shardy__bytes(text.data, len), 1);
    require(again.status == SHARDY_OK, "a key can be encoded");
    size_t back = again.len ? shardy__s3_decode(again.data, again.len) : 0;
    require(back == len && (len == 0 || memcmp(again.data, text.data, len) == 0),
        "decoding undoes encoding");
    shardy__bytebuf_free(&again);
    shardy__bytebuf_free(&text);
}

static void check_list(const uint8_t *data, size_t size)
{
    arena memory;
    s3_list list;
    shardy_error err;
    memset(&err, 0, sizeof err);
    shardy__arena_init(&memory);
    shardy_status st = shardy__s3_parse_list(shardy__bytes(data, size), &memory, &list, &err);
    check_outcome(st, &err);
    if (st == SHARDY_OK) {
        size_t count = 0;
        for (const s3_list_entry *e = list.first; e; e = e->next) {
            check_key(e);
            count++;
        }
        require(count == list.count, "entries are counted");
        require((list.next_token != NULL) == (list.truncated != 0), "what goes on says where");
        check_failure(&list.failure);
    }
    shardy__arena_free(&memory);
}

static void on_deleted(void *user, const char *key, const char *code, const char *message)
{
    size_t *count = user;
    require(strlen(key) <= SHARDY_OBJECT_KEY_LEN_MAX + 1, "a key has a bound");
    require((!code || strlen(code) < 64) && strlen(message) < 256, "an error has a bound");
    (*count)++;
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    arena memory;
    s3_list list;
    shardy__arena_init(&memory);
    shardy_status st = shardy__s3_parse_list(shardy__bytes(data, size), &memory, &list, err);
    shardy__arena_free(&memory);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    shardy_error err;
    s3_failure failure;
    s3_upload_result upload;
    size_t count = 0;
    run_with_fault(data, size, run);
    check_list(data, size);
    memset(&err, 0, sizeof err);
    check_outcome(
        shardy__s3_parse_deleted(shardy__bytes(data, size), on_deleted, &count, &failure, &err),
        &err);
    require(count <= SHARDY_LIST_LIMIT_MAX, "deletions have a bound");
    check_failure(&failure);
    memset(&err, 0, sizeof err);
    shardy_status st = shardy__s3_parse_upload_begun(shardy__bytes(data, size), &upload, &err);
    check_outcome(st, &err);
    require(st != SHARDY_OK || upload.upload_id[0] || upload.failure.code[0], "an id is there");
    memset(&err, 0, sizeof err);
    st = shardy__s3_parse_upload_ended(shardy__bytes(data, size), &upload, &err);
    check_outcome(st, &err);
    require(st != SHARDY_OK || upload.etag[0] || upload.failure.code[0], "a version is there");
    require(memchr(upload.upload_id, 0, sizeof upload.upload_id) != NULL, "an id ends");
    require(memchr(upload.etag, 0, sizeof upload.etag) != NULL, "a version ends");
    require(memchr(upload.checksum_sha256, 0, sizeof upload.checksum_sha256) != NULL,
        "a checksum ends");
    check_failure(&upload.failure);
    shardy__s3_parse_failure(shardy__bytes(data, size), &failure);
    check_failure(&failure);
    return 0;
}
