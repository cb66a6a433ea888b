/* Lists as users give them: keys by lines, numbers and shards by commas.
 *
 * Properties: keys are the lines that are not blank, and are split again as the same; what is
 * between them is ends of lines and blanks; as many numbers as commas and one more, which are
 * those of the text and are read again as the same; refusals have a message that is safe on a
 * terminal. */
#include "../cli/lists.h"
#include "message.h"

#include <math.h>

/* What is between two keys, or before the first or behind the last. */
static void check_between(const char *from, const char *to, int ends_line)
{
    require(!ends_line || (to > from && memchr(from, '\n', (size_t)(to - from))), "a line ends");
    for (; from < to; from++) {
        require(*from && strchr("\n\r \t\v\f", *from), "nothing is lost between keys");
    }
}

static void check_keys(const char *text, size_t len)
{
    key_list list = {NULL, 0, 0};
    key_list again = {NULL, 0, 0};
    strbuf joined = {0};
    key_list_add_lines(&list, text, len);
    const char *end = text;
    for (size_t i = 0; i < list.count; i++) {
        const char *key = list.texts[i].data;
        size_t n = list.texts[i].len;
        check_between(end, key, i > 0);
        require(n > 0 && !memchr(key, '\n', n), "a key is a line");
        require(key == text || key[-1] == '\n', "from its beginning");
        end = key + n;
        strbuf_add(&joined, key, n);
        strbuf_puts(&joined, "\r\n");
    }
    check_between(end, text + len, 0);
    key_list_add_lines(&again, strbuf_text(&joined), joined.len);
    require(again.count == list.count, "as many keys");
    for (size_t i = 0; i < list.count; i++) {
        require(same_bytes(
                    list.texts[i].data, list.texts[i].len, again.texts[i].data, again.texts[i].len),
            "the same keys");
    }
    key_list_free(&list);
    key_list_free(&again);
    strbuf_free(&joined);
}

static size_t parts(const char *text)
{
    size_t count = 1;
    for (; *text; text++) {
        count += *text == ',';
    }
    return count;
}

static void check_numbers(const char *text)
{
    float *numbers = NULL;
    float *again = NULL;
    size_t count = 0;
    size_t count_again = 0;
    strbuf message = {0};
    strbuf written = {0};
    const char *p = text;
    int rc = numbers_parse(text, &numbers, &count, &message);
    require_message(rc, &message, 0);
    require(rc == 0 ? count == parts(text) : count < parts(text), "a number for each part");
    for (size_t i = 0; i < count; i++) {
        require(isfinite(numbers[i]), "a number is finite");
        require((float)strtod(p, NULL) == numbers[i], "it is that of the text");
        p += strcspn(p, ",") + 1;
        strbuf_printf(&written, "%s%.9g", i ? "," : "", (double)numbers[i]);
    }
    if (rc == 0) {
        require(numbers_parse(strbuf_text(&written), &again, &count_again, &message) == 0 &&
                    count_again == count,
            "numbers are read again");
        require(memcmp(numbers, again, count * sizeof *numbers) == 0, "as the same");
    }
    sys_free(numbers);
    sys_free(again);
    strbuf_free(&message);
    strbuf_free(&written);
}

static void check_shards(const char *text)
{
    uint32_t *ids = NULL;
    uint32_t *again = NULL;
    size_t count = 0;
    size_t count_again = 0;
    strbuf written = {0};
    const char *p = text;
    int rc = shard_ids_parse(text, &ids, &count);
    require(rc == 0 || rc == -1, "two outcomes");
    require(rc == 0 ? count == parts(text) : count < parts(text), "a shard for each part");
    for (size_t i = 0; i < count; i++) {
        require(strtoull(p, NULL, 10) == ids[i], "it is that of the text");
        p += strcspn(p, ",") + 1;
        strbuf_printf(&written, "%s %lu ", i ? "," : "", (unsigned long)ids[i]);
    }
    if (rc == 0) {
        require(shard_ids_parse(strbuf_text(&written), &again, &count_again) == 0 &&
                    count_again == count,
            "shards are read again");
        require(memcmp(ids, again, count * sizeof *ids) == 0, "as the same");
    }
    sys_free(ids);
    sys_free(again);
    strbuf_free(&written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_keys(size ? (const char *)data : "", size);
    char *text = copy_text(data, size);
    check_numbers(text);
    check_shards(text);
    free(text);
    return 0;
}
