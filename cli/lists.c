#include "lists.h"

#include "opt.h"
#include "utf8.h"

#include <float.h>
#include <math.h>
#include <string.h>

void key_list_add(key_list *list, const char *text, size_t len)
{
    if (list->count == list->room) {
        list->room = list->room ? list->room * 2 : 64;
        list->texts = sys_resize(list->texts, list->room, sizeof *list->texts);
    }
    list->texts[list->count++] = (shardy_bytes){text, len};
}

static int is_blank_line(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!strchr(" \t\v\f\r", text[i]) || text[i] == '\0') {
            return 0;
        }
    }
    return 1;
}

void key_list_add_lines(key_list *list, const char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        const char *line = text + at;
        const char *end = memchr(line, '\n', len - at);
        size_t n = end ? (size_t)(end - line) : len - at;
        at += n + 1;
        if (n > 0 && line[n - 1] == '\r') {
            n--;
        }
        if (!is_blank_line(line, n)) {
            key_list_add(list, line, n);
        }
    }
}

void key_list_free(key_list *list)
{
    sys_free(list->texts);
    memset(list, 0, sizeof *list);
}

int numbers_parse(const char *text, float **numbers_out, size_t *count_out, strbuf *message)
{
    size_t room = 0;
    size_t count = 0;
    *numbers_out = NULL;
    *count_out = 0;
    for (const char *p = text;;) {
        size_t n = strcspn(p, ",");
        double value;
        if (opt_parse_double(p, n, &value) != 0 || fabs(value) > (double)FLT_MAX) {
            strbuf_printf(message, "number %zu of the query is \"", count + 1);
            utf8_add_visible(message, p, n < 100 ? n : 100, 0);
            strbuf_puts(message, "\"; expected numbers separated by commas, e.g. \"0.1,0.2,0.3\"");
            return -1;
        }
        if (count == room) {
            room = room ? room * 2 : 64;
            *numbers_out = sys_resize(*numbers_out, room, sizeof **numbers_out);
        }
        (*numbers_out)[count++] = (float)value;
        *count_out = count;
        if (p[n] == '\0') {
            return 0;
        }
        p += n + 1;
    }
}

int shard_ids_parse(const char *text, uint32_t **ids_out, size_t *count_out)
{
    *ids_out = NULL;
    *count_out = 0;
    for (const char *p = text; p;) {
        char digits[16] = "";
        size_t n = strcspn(p, ",");
        const char *first = p + strspn(p, " ");
        size_t len = (size_t)(p + n - first);
        while (len > 0 && first[len - 1] == ' ') {
            len--;
        }
        uint64_t id = 0;
        memcpy(digits, first, len < sizeof digits ? len : 0);
        if (len >= sizeof digits || opt_parse_uint(digits, &id) != 0 || id > UINT32_MAX) {
            return -1;
        }
        *ids_out = sys_resize(*ids_out, *count_out + 1, sizeof **ids_out);
        (*ids_out)[(*count_out)++] = (uint32_t)id;
        p = p[n] ? p + n + 1 : NULL;
    }
    return 0;
}
