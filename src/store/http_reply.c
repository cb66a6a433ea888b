#include "http_reply.h"

#include "../base/ascii.h"
#include "../base/clock.h"
#include "../base/number.h"

#include <stdio.h>
#include <string.h>

/* A server that asks for more is not worth waiting for. */
#define RETRY_AFTER_S_MAX 3600u

typedef struct span {
    const char *text;
    size_t len;
} span;

static int is_name(span s, const char *name)
{
    size_t i = 0;
    while (i < s.len && name[i] && shardy__to_lower(s.text[i]) == name[i]) {
        i++;
    }
    return i == s.len && !name[i];
}

static span trim(const char *text, size_t len)
{
    while (len > 0 && (text[0] == ' ' || text[0] == '\t')) {
        text++;
        len--;
    }
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t')) {
        len--;
    }
    return (span){text, len};
}

void shardy__http_reply_clear(http_reply *reply)
{
    memset(reply, 0, sizeof *reply);
    reply->length = HTTP_LENGTH_UNKNOWN;
}

/* "HTTP/1.1 206 Partial Content"; 0 when it is no status line. */
static int32_t parse_code(span line)
{
    const char *space = memchr(line.text, ' ', line.len);
    uint64_t code = 0;
    if (line.len < 5 || memcmp(line.text, "HTTP/", 5) != 0 || !space ||
        line.len - (size_t)(space - line.text) < 4 || !shardy__parse_uint64(space + 1, 3, &code) ||
        code < 100) {
        return 0;
    }
    size_t after = (size_t)(space - line.text) + 4;
    return after == line.len || line.text[after] == ' ' ? (int32_t)code : 0;
}

/* Keeps a text; 0 when it is too long, has bytes that no header has, or differs from one that was
 * kept before. */
static int keep(char *room, size_t size, span value)
{
    if (value.len >= size) {
        return 0;
    }
    for (size_t i = 0; i < value.len; i++) {
        if ((unsigned char)value.text[i] < 0x20 || value.text[i] == 0x7F) {
            return 0;
        }
    }
    if (room[0] && (strlen(room) != value.len || memcmp(room, value.text, value.len) != 0)) {
        return 0;
    }
    memcpy(room, value.text, value.len);
    room[value.len] = '\0';
    return 1;
}

static int keep_length(http_reply *reply, span value)
{
    uint64_t length = 0;
    if (!shardy__parse_uint64(value.text, value.len, &length) || length > INT64_MAX ||
        (reply->length != HTTP_LENGTH_UNKNOWN && reply->length != length)) {
        return 0;
    }
    reply->length = length;
    return 1;
}

/* "bytes 0-9/100". What is right in its form and without numbers ("bytes * /100") tells nothing. */
static int keep_range(http_reply *reply, span value)
{
    if (reply->has_range || value.len < 6 || memcmp(value.text, "bytes ", 6) != 0) {
        return 0;
    }
    span rest = trim(value.text + 6, value.len - 6);
    const char *slash = memchr(rest.text, '/', rest.len);
    const char *dash = slash ? memchr(rest.text, '-', (size_t)(slash - rest.text)) : NULL;
    if (!slash) {
        return 0;
    }
    if (!dash) {
        return rest.text[0] == '*' && slash == rest.text + 1;
    }
    const char *end = rest.text + rest.len;
    if (!shardy__parse_uint64(rest.text, (size_t)(dash - rest.text), &reply->range_first) ||
        !shardy__parse_uint64(dash + 1, (size_t)(slash - dash - 1), &reply->range_last) ||
        !shardy__parse_uint64(slash + 1, (size_t)(end - slash - 1), &reply->range_total) ||
        reply->range_first > reply->range_last || reply->range_last >= reply->range_total ||
        reply->range_total > INT64_MAX) {
        return 0;
    }
    reply->has_range = 1;
    return 1;
}

/* "Wed, 21 Oct 2015 07:28:00 GMT" */
static int keep_modified(http_reply *reply, span value)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const char *t = value.text;
    if (value.len != 29 || memcmp(t + 25, " GMT", 4) != 0) {
        return 0;
    }
    for (unsigned month = 0; month < 12; month++) {
        if (memcmp(months + (size_t)3 * month, t + 8, 3) == 0) {
            char iso[24];
            snprintf(iso, sizeof iso, "%.4s-%02u-%.2sT%.8sZ", t + 12, month + 1, t + 5, t + 17);
            return shardy__time_parse(iso, strlen(iso), &reply->modified_us);
        }
    }
    return 0;
}

/* Seconds; the other form, a date, is passed over. */
static void keep_retry_after(http_reply *reply, span value)
{
    uint64_t seconds = 0;
    if (shardy__parse_uint64(value.text, value.len, &seconds)) {
        seconds = seconds < RETRY_AFTER_S_MAX ? seconds : RETRY_AFTER_S_MAX;
        reply->retry_after_us = (int64_t)seconds * 1000000;
    }
}

static void take_crc(http_reply *reply, span name, span value)
{
    static const char *const names[CRC_KINDS] = {
        "x-amz-checksum-crc32", "x-amz-checksum-crc32c", "x-amz-checksum-crc64nvme"};
    for (int kind = 0; kind < CRC_KINDS; kind++) {
        if (is_name(name, names[kind])) {
            char *room = reply->checksum_crcs[kind];
            if (!keep(room, sizeof reply->checksum_crcs[kind], value)) {
                reply->malformed = names[kind];
            }
        }
    }
}

/* What a header that cannot be understood makes of the reply. */
static void take_header(http_reply *reply, span name, span value)
{
    if (is_name(name, "content-length")) {
        reply->malformed = keep_length(reply, value) ? reply->malformed : "Content-Length";
    } else if (is_name(name, "content-range")) {
        reply->malformed = keep_range(reply, value) ? reply->malformed : "Content-Range";
    } else if (is_name(name, "etag")) {
        reply->malformed =
            keep(reply->etag.text, sizeof reply->etag.text, value) ? reply->malformed : "ETag";
    } else if (is_name(name, "content-encoding")) {
        /* "aws-chunked" tells how it was uploaded; some servers keep that. */
        reply->encoded |=
            value.len > 0 && !is_name(value, "identity") && !is_name(value, "aws-chunked");
    } else if (is_name(name, "last-modified")) {
        (void)keep_modified(reply, value);
    } else if (is_name(name, "retry-after")) {
        keep_retry_after(reply, value);
    } else if (is_name(name, "x-amz-checksum-sha256")) {
        reply->malformed = keep(reply->checksum_sha256, sizeof reply->checksum_sha256, value)
                               ? reply->malformed
                               : "x-amz-checksum-sha256";
    } else if (is_name(name, "x-amz-request-id")) {
        (void)keep(reply->request_id, sizeof reply->request_id, value);
    } else if (is_name(name, "x-amz-bucket-region")) {
        (void)keep(reply->region, sizeof reply->region, value);
    } else {
        take_crc(reply, name, value);
    }
}

void shardy__http_reply_line(http_reply *reply, const void *line, size_t len)
{
    const char *text = line;
    while (len > 0 && (text[len - 1] == '\r' || text[len - 1] == '\n')) {
        len--;
    }
    int32_t code = len ? parse_code((span){text, len}) : 0;
    if (code) {
        shardy__http_reply_clear(reply);
        reply->code = code;
        return;
    }
    const char *colon = len ? memchr(text, ':', len) : NULL;
    if (colon) {
        size_t name = (size_t)(colon - text);
        take_header(reply, (span){text, name}, trim(colon + 1, len - name - 1));
    }
}
