#include "template.h"

#include "../base/ascii.h"
#include "../base/uri.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <string.h>

#define TEMPLATE_DIGITS_MAX 20

/* The placeholder of a template: its digits (0: as many as needed) and where it begins and ends. */
static int find_placeholder(const char *text, size_t *begin_out, size_t *end_out, int *digits_out)
{
    const char *begin = strstr(text, "{db_id");
    if (!begin) {
        return 0;
    }
    const char *p = begin + strlen("{db_id");
    int digits = 0;
    if (*p == ':') {
        p++;
        if (*p != '0') {
            return 0;
        }
        p++;
        while (shardy__is_digit(*p) && digits <= TEMPLATE_DIGITS_MAX) {
            digits = digits * 10 + (*p++ - '0');
        }
        if (digits < 1 || digits > TEMPLATE_DIGITS_MAX || *p++ != 'd') {
            return 0;
        }
    }
    if (*p != '}') {
        return 0;
    }
    *begin_out = (size_t)(begin - text);
    *end_out = (size_t)(p + 1 - text);
    *digits_out = digits;
    return 1;
}

shardy_status shardy__template_check(const char *template_text, shardy_error *err)
{
    size_t begin = 0;
    size_t end = 0;
    int digits;
    char sample[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    if (strlen(template_text) > 200 || !find_placeholder(template_text, &begin, &end, &digits) ||
        memchr(template_text, '{', begin) || strpbrk(template_text + end, "{}")) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "db_path_template is \"%.200s\", expected {db_id} or {db_id:0Nd} in it, once",
            template_text);
    }
    shardy__template_format(template_text, 0, sample, sizeof sample);
    const char *problem = shardy__key_problem(sample, strlen(sample));
    if (!problem && strpbrk(sample, "?#")) {
        problem = "has a '?' or '#', which a URL cannot have";
    }
    if (problem) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "db_path_template is \"%.200s\": the path \"%.200s\" %s", template_text, sample,
            problem);
    }
    return SHARDY_OK;
}

void shardy__template_format(const char *template_text, uint32_t db_id, char *out, size_t size)
{
    size_t begin = 0;
    size_t end = 0;
    int digits = 0;
    find_placeholder(template_text, &begin, &end, &digits);
    snprintf(
        out, size, "%.*s%0*u%s", (int)begin, template_text, digits, db_id, template_text + end);
}
