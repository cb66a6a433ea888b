/* Heads of HTTP replies: the input is one, line by line.
 *
 * Properties: numbers are those that a reply can have; texts end within their room and have no
 * control characters; a head written from what was kept is kept as the same. */
#include "require.h"
#include "store/http_reply.h"

#include <stdio.h>
#include <string.h>

static void take_lines(http_reply *reply, const char *text, size_t size)
{
    while (size > 0) {
        const char *end = memchr(text, '\n', size);
        size_t len = end ? (size_t)(end - text) + 1 : size;
        shardy__http_reply_line(reply, text, len);
        text += len;
        size -= len;
    }
}

static void check_text(const char *text, size_t size)
{
    require(memchr(text, 0, size) != NULL, "a text ends");
    for (; *text; text++) {
        require((unsigned char)*text >= 0x20 && *text != 0x7F, "a text has no control characters");
    }
}

static void check_same(const http_reply *reply)
{
    char head[1400];
    http_reply again;
    int len = snprintf(head, sizeof head,
        "HTTP/1.1 %d\r\nETag: %s\r\nx-amz-checksum-sha256: %s\r\nx-amz-request-id: %s\r\n"
        "x-amz-bucket-region: %s\r\n",
        (int)reply->code, reply->etag.text, reply->checksum_sha256, reply->request_id,
        reply->region);
    shardy__http_reply_clear(&again);
    take_lines(&again, head, (size_t)len);
    require(again.code == reply->code, "the code stays");
    require(again.malformed == NULL, "what was kept can be kept");
    require(strcmp(again.etag.text, reply->etag.text) == 0, "the version stays");
    require(strcmp(again.checksum_sha256, reply->checksum_sha256) == 0, "the checksum stays");
    require(strcmp(again.request_id, reply->request_id) == 0, "the request stays");
    require(strcmp(again.region, reply->region) == 0, "the region stays");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    http_reply reply;
    shardy__http_reply_clear(&reply);
    take_lines(&reply, (const char *)data, size);
    require(reply.code == 0 || (reply.code >= 100 && reply.code <= 999), "a code has three digits");
    require(reply.length == HTTP_LENGTH_UNKNOWN || reply.length <= INT64_MAX, "a length fits");
    require(!reply.has_range ||
                (reply.range_first <= reply.range_last && reply.range_last < reply.range_total),
        "a range is one");
    require(reply.retry_after_us >= 0 && reply.retry_after_us <= 3600000000, "a wait has a bound");
    check_text(reply.etag.text, sizeof reply.etag.text);
    check_text(reply.checksum_sha256, sizeof reply.checksum_sha256);
    check_text(reply.request_id, sizeof reply.request_id);
    check_text(reply.region, sizeof reply.region);
    if (reply.code) {
        check_same(&reply);
    }
    return 0;
}
