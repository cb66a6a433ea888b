#include "sidecar.h"

#include "../base/alloc.h"
#include "btree_page.h"

#include <shardyfusion/limits.h>

#include <string.h>
#include <zstd.h>

/* In memory: the body as it was decompressed, but with whole pages. So there is one block, one
 * look-up is one binary search, and nothing is allocated or can fail later. */
struct sidecar {
    uint32_t page_size;
    uint32_t page_count;
    uint32_t chain_count;
    uint32_t chain_pages;
    const uint32_t *numbers; /* of the pages, ascending */
    const uint32_t *offsets; /* page_count + 1, of the stored pages in the blob */
    const uint32_t *heads;   /* of the chains, ascending */
    const uint32_t *ends;    /* chain_count + 1, where chains begin in `links` */
    const uint32_t *links;
    uint32_t *body;  /* owned; all tables lie in it */
    size_t body_len; /* bytes of it */
    size_t blob_at;  /* where the pages begin */
};

static shardy_status corrupt(shardy_error *err, const char *what, uint64_t value)
{
    return shardy__error(
        err, SHARDY_CORRUPT, "sidecar", "%s (\"%llu\")", what, (unsigned long long)value);
}

/* --- the prefix ------------------------------------------------------------------------------- */

typedef struct prefix {
    uint64_t body_len;
    uint32_t page_size;
    uint32_t tag_len;
    const uint8_t *tag;
    const uint8_t *frame;
    size_t frame_len;
} prefix;

static shardy_status read_prefix(shardy_bytes bytes, prefix *out, shardy_error *err)
{
    const uint8_t *p = bytes.data;
    if (bytes.len < SIDECAR_PREFIX_LEN || memcmp(p, SIDECAR_MAGIC, 4) != 0) {
        return shardy__error(err, SHARDY_CORRUPT, "sidecar",
            "%zu bytes do not begin with \"" SIDECAR_MAGIC "\" and %u bytes of a header", bytes.len,
            SIDECAR_PREFIX_LEN - 4);
    }
    if (p[4] != SIDECAR_VERSION) {
        return shardy__error(err, SHARDY_FORMAT_VERSION, "sidecar",
            "version \"%u\" of a sidecar, expected %u", p[4], SIDECAR_VERSION);
    }
    out->body_len = shardy__get_le64(p + 5);
    out->page_size = shardy__get_le32(p + 13);
    out->tag_len = p[17];
    if (out->page_size < PAGE_SIZE_MIN || out->page_size > PAGE_SIZE_MAX ||
        (out->page_size & (out->page_size - 1)) != 0) {
        return corrupt(err, "page size is not a power of two from 512 to 65536", out->page_size);
    }
    if (bytes.len - SIDECAR_PREFIX_LEN < out->tag_len) {
        return corrupt(err, "the tag is longer than the file", out->tag_len);
    }
    out->tag = p + SIDECAR_PREFIX_LEN;
    out->frame = out->tag + out->tag_len;
    out->frame_len = bytes.len - SIDECAR_PREFIX_LEN - out->tag_len;
    return SHARDY_OK;
}

static shardy_status check_tag(const prefix *p, const sidecar_expect *expect, shardy_error *err)
{
    if (expect->bound) {
        return SHARDY_OK;
    }
    if (p->tag_len == 0 || !expect->tag) {
        return shardy__error(err, SHARDY_CONFLICT, "sidecar",
            "nothing says that it belongs to this version of the file");
    }
    if (strlen(expect->tag) != p->tag_len || memcmp(expect->tag, p->tag, p->tag_len) != 0) {
        return shardy__error(err, SHARDY_CONFLICT, "sidecar",
            "it belongs to version \"%.*s\" of the file, which is \"%.255s\"", (int)p->tag_len,
            (const char *)p->tag, expect->tag);
    }
    return SHARDY_OK;
}

/* --- the frame -------------------------------------------------------------------------------- */

#define FRAME_CHECKSUM   0x04u
#define FRAME_RESERVED   0x08u
#define FRAME_DICTIONARY 0x03u
#define FRAME_SINGLE     0x20u

/* The header of the frame, before the decoder sees it (RFC 8878, 3.1.1.1): it must tell the length
 * and have a checksum, need no dictionary, and no window that nobody would give it. */
static shardy_status check_frame(const prefix *p, shardy_error *err)
{
    const uint8_t *f = p->frame;
    if (p->frame_len < 6 || shardy__get_le32(f) != ZSTD_MAGICNUMBER) {
        return corrupt(err, "what follows the tag is not a frame of Zstandard", p->frame_len);
    }
    unsigned long long len = ZSTD_getFrameContentSize(f, p->frame_len);
    if (len == ZSTD_CONTENTSIZE_UNKNOWN || len == ZSTD_CONTENTSIZE_ERROR) {
        return corrupt(err, "the frame does not tell its length", f[4]);
    }
    if (len != p->body_len) {
        return corrupt(err, "the frame has another length than the header says", len);
    }
    if (!(f[4] & FRAME_CHECKSUM) || (f[4] & (FRAME_RESERVED | FRAME_DICTIONARY))) {
        return corrupt(err, "the frame has no checksum, or needs a dictionary", f[4]);
    }
    uint32_t window = 10 + (uint32_t)(f[5] >> 3);
    int beyond =
        window > SIDECAR_WINDOW_LOG_MAX || (window == SIDECAR_WINDOW_LOG_MAX && (f[5] & 7) != 0);
    if (!(f[4] & FRAME_SINGLE) && beyond) {
        return corrupt(err, "the frame asks for a window of more than 2^27 bytes", window);
    }
    size_t frame_len = ZSTD_findFrameCompressedSize(f, p->frame_len);
    if (ZSTD_isError(frame_len) || frame_len != p->frame_len) {
        return corrupt(err, "the frame is cut off, or not the last thing", p->frame_len);
    }
    return SHARDY_OK;
}

/* In one call into a buffer of the whole length: the decoder needs no window of its own then. */
static shardy_status decompress(const prefix *p, sidecar *s, shardy_error *err)
{
    s->body = shardy__malloc((size_t)p->body_len);
    ZSTD_DCtx *decoder = ZSTD_createDCtx();
    shardy_status st = SHARDY_OK;
    if (!s->body || !decoder) {
        st = shardy__error_nomem(err, "sidecar");
    } else {
        size_t n =
            ZSTD_decompressDCtx(decoder, s->body, (size_t)p->body_len, p->frame, p->frame_len);
        if (ZSTD_isError(n)) {
            st = shardy__error(
                err, SHARDY_CORRUPT, "sidecar", "not Zstandard: %s", ZSTD_getErrorName(n));
        } else if (n != p->body_len) {
            st = corrupt(err, "the frame has another length than the header says", n);
        }
    }
    ZSTD_freeDCtx(decoder);
    s->body_len = (size_t)p->body_len;
    return st;
}

/* --- the tables ------------------------------------------------------------------------------- */

/* Numbers of 32 bits from the front of the body; all tables are made of them. */
typedef struct words {
    const uint32_t *at;
    size_t left;
} words;

/* NULL when there are not that many. */
static const uint32_t *take(words *w, size_t count)
{
    if (count > w->left) {
        return NULL;
    }
    const uint32_t *p = w->at;
    w->at += count;
    w->left -= count;
    return p;
}

/* 1 when the numbers ascend and lie from `low` to `high`. */
static int ascends(const uint32_t *numbers, size_t count, uint32_t low, uint32_t high)
{
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] < low || numbers[i] > high) {
            return 0;
        }
        low = numbers[i] + 1; /* cannot wrap: `high` is less than UINT32_MAX */
    }
    return 1;
}

static shardy_status read_pages(sidecar *s, words *w, uint32_t last_page, shardy_error *err)
{
    const uint32_t *count = take(w, 1);
    if (!count || *count > last_page) {
        return corrupt(err, "more pages than the file has", count ? *count : 0);
    }
    s->page_count = *count;
    s->numbers = take(w, s->page_count);
    s->offsets = take(w, (size_t)s->page_count + 1);
    if (!s->numbers || !s->offsets) {
        return corrupt(err, "the list of pages is cut off", s->page_count);
    }
    if (!ascends(s->numbers, s->page_count, 1, last_page)) {
        return corrupt(err, "page numbers do not ascend within the pages of the file", last_page);
    }
    for (uint32_t i = 0; i <= s->page_count; i++) {
        uint32_t low = i ? s->offsets[i - 1] : 0;
        if (s->offsets[i] < low || s->offsets[i] - low > (i ? s->page_size : 0)) {
            return corrupt(err, "a stored page is longer than a page, or overlaps", s->offsets[i]);
        }
    }
    return SHARDY_OK;
}

static shardy_status read_chain(const sidecar *s, uint32_t i, uint32_t last_page, shardy_error *err)
{
    uint32_t begin = s->ends[i];
    uint32_t end = s->ends[i + 1];
    if (begin >= end || end > s->chain_pages) {
        return corrupt(err, "an overflow chain has no page, or too many", end);
    }
    if (s->links[begin] != s->heads[i]) {
        return corrupt(err, "an overflow chain does not begin with its first page", s->heads[i]);
    }
    for (uint32_t at = begin; at < end; at++) {
        if (s->links[at] == 0 || s->links[at] > last_page) {
            return corrupt(err, "an overflow page is not in the file", s->links[at]);
        }
    }
    return SHARDY_OK;
}

static shardy_status read_chains(sidecar *s, words *w, uint32_t last_page, shardy_error *err)
{
    const uint32_t *count = take(w, 1);
    if (!count || *count > last_page) {
        return corrupt(err, "more overflow chains than the file has pages", count ? *count : 0);
    }
    s->chain_count = *count;
    s->heads = take(w, s->chain_count);
    s->ends = take(w, (size_t)s->chain_count + 1);
    if (!s->heads || !s->ends) {
        return corrupt(err, "the list of overflow chains is cut off", s->chain_count);
    }
    s->chain_pages = s->ends[s->chain_count];
    if (s->ends[0] != 0 || s->chain_pages > last_page) {
        return corrupt(err, "more overflow pages than the file has", s->chain_pages);
    }
    s->links = take(w, s->chain_pages);
    if (!s->links) {
        return corrupt(err, "the overflow chains are cut off", s->chain_pages);
    }
    if (!ascends(s->heads, s->chain_count, 1, last_page)) {
        return corrupt(err, "first pages of overflow chains do not ascend", last_page);
    }
    for (uint32_t i = 0; i < s->chain_count; i++) {
        SHARDY_TRY(read_chain(s, i, last_page, err));
    }
    return SHARDY_OK;
}

static shardy_status read_tables(sidecar *s, uint32_t last_page, shardy_error *err)
{
    words w = {s->body, s->body_len / sizeof(uint32_t)};
    SHARDY_TRY(read_pages(s, &w, last_page, err));
    SHARDY_TRY(read_chains(s, &w, last_page, err));
    s->blob_at = (size_t)((const uint8_t *)w.at - (const uint8_t *)s->body);
    if (s->body_len - s->blob_at != s->offsets[s->page_count]) {
        return corrupt(
            err, "the pages have another length than their offsets say", s->body_len - s->blob_at);
    }
    return SHARDY_OK;
}

/* --- the pages -------------------------------------------------------------------------------- */

int shardy__sidecar_gap(
    const uint8_t *page, size_t len, uint32_t number, uint32_t page_size, sidecar_gap *gap_out)
{
    uint32_t base = number == 1 ? FILE_HEADER : 0;
    *gap_out = (sidecar_gap){page_size, 0};
    if (len < base + PAGE_LEAF_HEADER) {
        return 0;
    }
    const uint8_t *h = page + base;
    uint32_t header = PAGE_LEAF_HEADER;
    if (h[0] == PAGE_INDEX_INTERIOR || h[0] == PAGE_TABLE_INTERIOR) {
        header = PAGE_INTERIOR_HEADER;
    } else if (h[0] != PAGE_INDEX_LEAF && h[0] != PAGE_TABLE_LEAF) {
        return 1;
    }
    uint32_t content = shardy__get_be16(h + 5);
    content = content ? content : PAGE_SIZE_MAX;
    uint32_t at = base + header + 2 * (uint32_t)shardy__get_be16(h + 3);
    if (at > content || content > page_size || at > len) {
        return 0;
    }
    *gap_out = (sidecar_gap){at, content - at};
    return 1;
}

static shardy_status check_page(
    const sidecar *s, uint32_t i, sidecar_gap *gap_out, shardy_error *err)
{
    const uint8_t *stored = (const uint8_t *)s->body + s->blob_at + s->offsets[i];
    uint32_t len = s->offsets[i + 1] - s->offsets[i];
    if (!shardy__sidecar_gap(stored, len, s->numbers[i], s->page_size, gap_out) ||
        len + gap_out->len != s->page_size) {
        return corrupt(err, "a stored page cannot be made whole", s->numbers[i]);
    }
    return SHARDY_OK;
}

/* Page 1 says how long pages are. */
static shardy_status check_header(const sidecar *s, shardy_error *err)
{
    if (s->page_count == 0 || s->numbers[0] != 1) {
        return SHARDY_OK;
    }
    uint32_t size = shardy__get_be16((const uint8_t *)s->body + s->blob_at + 16);
    if ((size == 1 ? PAGE_SIZE_MAX : size) != s->page_size) {
        return corrupt(err, "the stored page 1 is of a file with another page size", size);
    }
    return SHARDY_OK;
}

/* The places of the tables, after the body has moved. */
static void move_tables(sidecar *s, uint32_t *body)
{
    s->numbers = body + (s->numbers - s->body);
    s->offsets = body + (s->offsets - s->body);
    s->heads = body + (s->heads - s->body);
    s->ends = body + (s->ends - s->body);
    s->links = body + (s->links - s->body);
    s->body = body;
}

/* Makes every page whole. */
static shardy_status spread_pages(sidecar *s, size_t memory_max, shardy_error *err)
{
    sidecar_gap gap;
    size_t whole = s->blob_at + (size_t)s->page_count * s->page_size;
    for (uint32_t i = 0; i < s->page_count; i++) {
        SHARDY_TRY(check_page(s, i, &gap, err));
    }
    SHARDY_TRY(check_header(s, err));
    if (whole == s->body_len) {
        return SHARDY_OK;
    }
    if (memory_max - s->body_len < whole) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "sidecar",
            "%zu bytes of pages, more than the limit of %zu bytes allows", whole, memory_max);
    }
    uint32_t *body = shardy__malloc(whole);
    if (!body) {
        return shardy__error_nomem(err, "sidecar");
    }
    memcpy(body, s->body, s->blob_at);
    const uint8_t *from = (const uint8_t *)s->body + s->blob_at;
    uint8_t *to = (uint8_t *)body + s->blob_at;
    for (uint32_t i = 0; i < s->page_count; i++) {
        const uint8_t *stored = from + s->offsets[i];
        uint32_t len = s->offsets[i + 1] - s->offsets[i];
        shardy__sidecar_gap(stored, len, s->numbers[i], s->page_size, &gap);
        uint32_t head = len < gap.at ? len : gap.at;
        memcpy(to, stored, head);
        memset(to + head, 0, gap.len);
        memcpy(to + head + gap.len, stored + head, len - head);
        to += s->page_size;
    }
    uint32_t *old = s->body;
    move_tables(s, body);
    s->body_len = whole;
    shardy__free(old);
    return SHARDY_OK;
}

/* --- all of it -------------------------------------------------------------------------------- */

static shardy_status parse(
    shardy_bytes bytes, const sidecar_expect *expect, sidecar *s, shardy_error *err)
{
    prefix p = {0};
    size_t memory_max = expect->memory_max ? expect->memory_max : SHARDY_SIDECAR_LEN_MAX;
    SHARDY_TRY(read_prefix(bytes, &p, err));
    SHARDY_TRY(check_tag(&p, expect, err));
    if (expect->page_size && p.page_size != expect->page_size) {
        return corrupt(err, "the page size is not that of the file", p.page_size);
    }
    /* Every page is stored or an overflow page at most, so no honest body is longer. */
    uint64_t last_page = expect->file_size / p.page_size;
    last_page = last_page < UINT32_MAX - 1 ? last_page : UINT32_MAX - 1;
    if (p.body_len < 4 * sizeof(uint32_t) ||
        p.body_len > 4 * sizeof(uint32_t) + last_page * (p.page_size + 3 * sizeof(uint32_t))) {
        return corrupt(err, "the length of the body does not fit to that of the file", p.body_len);
    }
    if (p.body_len > memory_max) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "sidecar",
            "%llu bytes, more than the limit of %zu", (unsigned long long)p.body_len, memory_max);
    }
    SHARDY_TRY(check_frame(&p, err));
    s->page_size = p.page_size;
    SHARDY_TRY(decompress(&p, s, err));
    SHARDY_TRY(read_tables(s, (uint32_t)last_page, err));
    return spread_pages(s, memory_max, err);
}

shardy_status shardy__sidecar_parse(
    shardy_bytes bytes, const sidecar_expect *expect, sidecar **sidecar_out, shardy_error *err)
{
    *sidecar_out = NULL;
    sidecar *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "sidecar");
    }
    shardy_status st = parse(bytes, expect, s, err);
    if (st < 0) {
        shardy__sidecar_free(s);
        return st;
    }
    *sidecar_out = s;
    return SHARDY_OK;
}

void shardy__sidecar_free(sidecar *s)
{
    if (s) {
        shardy__free(s->body);
        shardy__free(s);
    }
}

size_t shardy__sidecar_memory(const sidecar *s)
{
    return sizeof *s + s->body_len;
}

uint32_t shardy__sidecar_page_size(const sidecar *s)
{
    return s->page_size;
}

size_t shardy__sidecar_page_count(const sidecar *s)
{
    return s->page_count;
}

uint32_t shardy__sidecar_page_number(const sidecar *s, size_t at)
{
    return s->numbers[at];
}

/* Where `wanted` is among ascending numbers, or SIZE_MAX. */
static size_t find(const uint32_t *numbers, size_t count, uint32_t wanted)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (numbers[middle] < wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && numbers[low] == wanted ? low : SIZE_MAX;
}

const uint8_t *shardy__sidecar_page(const sidecar *s, uint32_t page)
{
    size_t at = find(s->numbers, s->page_count, page);
    return at == SIZE_MAX ? NULL : (const uint8_t *)s->body + s->blob_at + at * s->page_size;
}

size_t shardy__sidecar_chain_count(const sidecar *s)
{
    return s->chain_count;
}

sidecar_chain shardy__sidecar_chain_at(const sidecar *s, size_t at)
{
    sidecar_chain chain = {s->links + s->ends[at], s->ends[at + 1] - s->ends[at]};
    return chain;
}

sidecar_chain shardy__sidecar_chain(const sidecar *s, uint32_t first)
{
    static const sidecar_chain none = {NULL, 0};
    size_t at = find(s->heads, s->chain_count, first);
    return at == SIZE_MAX ? none : shardy__sidecar_chain_at(s, at);
}
