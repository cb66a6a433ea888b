/* sidecar.h: the index of a SQLite file as one small object beside it (formats.md section 11,
 * version 8).
 *
 * A sidecar holds the interior pages of every tree of the file, all pages of the tree of its
 * schema, and where each overflow chain goes. With it a look-up in a remote file needs one page
 * more, the leaf, whatever the depth of the tree.
 *
 * Bytes from outside: everything is checked before any of it is used, and what does not hold is a
 * failure that names the value. Whoever opens a shard takes every failure but NOMEM as "there is no
 * sidecar": the file itself has all that is in it.
 *
 * Threads: a sidecar is immutable: any thread, any time. */
#ifndef SHARDY_SQLITEFILE_SIDECAR_H
#define SHARDY_SQLITEFILE_SIDECAR_H

#include "../base/error.h"

#include <shardyfusion/base.h>

#include <stdint.h>

#define SIDECAR_MAGIC      "SQPC"
#define SIDECAR_VERSION    8u
#define SIDECAR_PREFIX_LEN 18u  /* before the tag */
#define SIDECAR_TAG_MAX    255u /* its length has one byte */
/* Largest window of the compressed frame, as a power of two. */
#define SIDECAR_WINDOW_LOG_MAX 27u
/* The blob of pages has offsets of 32 bits. */
#define SIDECAR_BLOB_MAX UINT32_MAX

typedef struct sidecar sidecar;

/* What a sidecar has to fit to. Nothing of it is taken from the sidecar. */
typedef struct sidecar_expect {
    uint64_t file_size; /* bytes of the SQLite file: bounds page numbers and memory */
    uint32_t page_size; /* 0: not known yet */
    /* 1: a digest vouches for these bytes, so the tag is not looked at (it is the version of
     * another copy of the file when a snapshot was copied) */
    int32_t bound;
    const char *tag; /* version of the file as the store tells it, quotes and all; NULL: unknown */
    size_t memory_max; /* of everything that is allocated; 0: SHARDY_SIDECAR_LEN_MAX */
} sidecar_expect;

/* Statuses: OK; CORRUPT: not a sidecar, broken, or of a file of another shape; FORMAT_VERSION;
 * CONFLICT: it belongs to another version of the file, or does not say to which; UNSUPPORTED: needs
 * more memory than allowed; NOMEM.
 * Memory: at most memory_max, and what the decoder needs (less than 1 MiB), while it parses; the
 * pages and tables afterwards. `bytes` are borrowed for the call.
 * Ownership: yours, shardy__sidecar_free(). */
shardy_status shardy__sidecar_parse(
    shardy_bytes bytes, const sidecar_expect *expect, sidecar **sidecar_out, shardy_error *err);
/* NULL is fine. */
void shardy__sidecar_free(sidecar *s);

/* Bytes that it keeps. */
size_t shardy__sidecar_memory(const sidecar *s);
uint32_t shardy__sidecar_page_size(const sidecar *s);
size_t shardy__sidecar_page_count(const sidecar *s);
/* Number of the page at a position below the count; numbers ascend. */
uint32_t shardy__sidecar_page_number(const sidecar *s, size_t at);
/* The page of that number, whole, or NULL. Bytes between the cell pointers and the cells, which
 * nothing refers to, are zero. Borrowed. */
const uint8_t *shardy__sidecar_page(const sidecar *s, uint32_t page);

/* The overflow pages of one payload, first one first. */
typedef struct sidecar_chain {
    const uint32_t *pages; /* borrowed */
    size_t count;
} sidecar_chain;

size_t shardy__sidecar_chain_count(const sidecar *s);
/* The chain at a position below the count; first pages ascend. */
sidecar_chain shardy__sidecar_chain_at(const sidecar *s, size_t at);
/* The chain that begins with this page; a count of 0 when there is none. A guess at what to fetch:
 * the links in the pages decide. */
sidecar_chain shardy__sidecar_chain(const sidecar *s, uint32_t first);

/* --- what the reader and the writer of sidecars share ----------------------------------------- */

/* The bytes of a page that are left out: between the cell pointers and the first cell. */
typedef struct sidecar_gap {
    uint32_t at;
    uint32_t len;
} sidecar_gap;

/* From the first `len` bytes of the page; pages that are not of a tree have no gap. 0 when the
 * header is cut off or says something impossible. */
int shardy__sidecar_gap(
    const uint8_t *page, size_t len, uint32_t number, uint32_t page_size, sidecar_gap *gap_out);

#endif
