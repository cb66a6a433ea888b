/* http_reply.h: the head of an HTTP reply: its code and the few headers that matter. */
#ifndef SHARDY_STORE_HTTP_REPLY_H
#define SHARDY_STORE_HTTP_REPLY_H

#include "../base/digest.h"

#include <shardyfusion/sys/store.h>

#define HTTP_LENGTH_UNKNOWN UINT64_MAX

typedef struct http_reply {
    int32_t code;      /* 100 to 999; 0: no reply came */
    int32_t has_range; /* 1: Content-Range "bytes first-last/total" */
    int32_t encoded;   /* 1: the body has a content encoding */
    /* A header that matters and cannot be understood, or came twice with two values; NULL: none. */
    const char *malformed;
    uint64_t length; /* Content-Length, or HTTP_LENGTH_UNKNOWN */
    uint64_t range_first;
    uint64_t range_last;
    uint64_t range_total;
    int64_t modified_us;               /* Last-Modified; 0: none */
    int64_t retry_after_us;            /* Retry-After in seconds; 0: none */
    shardy_etag etag;                  /* as it came, with its quotes */
    char checksum_sha256[80];          /* x-amz-checksum-sha256; "": none */
    char checksum_crcs[CRC_KINDS][24]; /* x-amz-checksum-crc32, ...; "": none */
    char request_id[80];
    char region[64]; /* x-amz-bucket-region */
} http_reply;

void shardy__http_reply_clear(http_reply *reply);

/* Takes one line of a head as it came, with or without its line end. A status line begins a new
 * reply. What does not matter is passed over. */
void shardy__http_reply_line(http_reply *reply, const void *line, size_t len);

#endif
