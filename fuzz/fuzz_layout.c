/* Names of objects in listings, which decide what a reader lists and a cleanup removes. The input
 * is a name of a directory, and the rest of a key, and a ref.
 *
 * Properties: a name that is taken apart is put together again as it was; what is removed with an
 * attempt is below it; a ref and its run are in the text that they were taken from. */
#include "catalog/manifest_store.h"
#include "catalog/run_layout.h"
#include "require.h"

#include "base/clock.h"
#include "base/uri.h"

#define HEX_LEN 32u

static int is_in(const char *part, size_t part_len, const char *text, size_t len)
{
    return part >= text && part_len <= len && (size_t)(part - text) <= len - part_len;
}

static void check_dir(const char *name, size_t len)
{
    const char *run_id;
    size_t run_id_len;
    const char *record_id;
    size_t record_id_len;
    int64_t us;
    int is_dir = shardy__manifest_dir_parse(name, len, &run_id, &run_id_len, &us);
    int is_record = shardy__layout_record_dir(name, len, &record_id, &record_id_len);
    require(is_dir || !is_record, "the directory of a record is like that of a manifest");
    if (is_dir) {
        char stamp[SHARDY_TIME_TEXT_SIZE];
        shardy__time_format_micros(us, stamp);
        size_t begin = strlen(stamp) + strlen("_run_id=");
        require(run_id_len > 0 && is_in(run_id, run_id_len, name, len), "a run is in the name");
        require(run_id == name + begin && run_id_len == len - begin, "and is all of its end");
        require(memcmp(name, stamp, strlen(stamp)) == 0, "a time is as it is written");
        require(memcmp(run_id - 8, "_run_id=", 8) == 0, "a run is behind its mark");
        require(!memchr(run_id, '/', run_id_len), "a run is one segment");
    }
    if (is_record) {
        require(record_id == run_id && record_id_len > 0, "the same run");
        require(record_id_len + 1 + HEX_LEN == run_id_len, "without the number of the record");
        require(record_id[record_id_len] == '_', "which is behind a mark");
    }
}

static void check_rest(const char *rest)
{
    size_t dir_len;
    int known = shardy__layout_is_shard_object(rest, &dir_len);
    require(dir_len < strlen(rest) || dir_len == 0, "an attempt is in the key");
    require(!known || dir_len > 0, "an object of a shard is below an attempt");
    if (dir_len > 0) {
        size_t digits = dir_len;
        while (rest[digits - 1] >= '0' && rest[digits - 1] <= '9') {
            digits--;
        }
        require(rest[dir_len] == '/' && digits < dir_len, "an attempt has a number");
        require(digits >= 9 && memcmp(rest + digits - 9, "/attempt=", 9) == 0, "behind its mark");
        require(!known || rest[dir_len + 1], "an object has a name");
    }
    require(!shardy__layout_is_vector_meta(rest) || !known, "a key is of one kind");
}

static void check_run(const char *text, const shardy_manifest_store_ops *ops)
{
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    char run_id[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_error err = {0};
    const manifest_store m = {.ops = ops};
    shardy_status st = shardy__manifest_store_ref(&m, text, ref, &err);
    require(st == SHARDY_OK || st == SHARDY_INVALID, "a text is a ref or not");
    require((st == SHARDY_OK) == (err.message[0] == '\0'), "a refusal has a message");
    require((st == SHARDY_OK) == (ref[0] != '\0'), "and gives nothing");
    if (st < 0) {
        return;
    }
    size_t len = strlen(ref);
    int64_t us;
    require(shardy__key_problem(ref, len) == NULL, "a ref is a key");
    require(len <= strlen(text) && strcmp(text + strlen(text) - len, ref) == 0,
        "a ref is the end of the text");
    int has_run = shardy__manifest_store_ref_run_id(&m, ref, run_id);
    int has_time = shardy__manifest_store_ref_time(&m, ref, &us);
    require(has_run == (run_id[0] != '\0'), "there is a run or not");
    require(!has_run || strstr(ref, run_id) != NULL, "a run is in its ref");
    require(has_time == (has_run && !ops->refs_are_run_ids), "a name has both or none");
    if (has_run && ops->refs_are_run_ids) {
        require(strcmp(ref, run_id) == 0, "a ref of rows is the run");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const shardy_manifest_store_ops kinds[] = {
        {.name = "object"}, {.name = "rows", .refs_are_run_ids = 1}};
    check_dir((const char *)data, size);
    char *text = copy_text(data, size);
    check_rest(text);
    check_run(text, &kinds[0]);
    check_run(text, &kinds[1]);
    free(text);
    return 0;
}
