/* pointer.h: the document `_CURRENT` (formats.md, section 2). */
#ifndef SHARDY_CATALOG_POINTER_H
#define SHARDY_CATALOG_POINTER_H

#include "../base/digest.h"
#include "../base/error.h"
#include "hint.h"

#include <shardyfusion/limits.h>

#define POINTER_KEY            "_CURRENT"
#define POINTER_CONTENT_TYPE   "application/json"
#define POINTER_FORMAT_VERSION 1
#define POINTER_NONCE_LEN      32u

typedef struct pointer {
    char manifest_ref[SHARDY_URL_LEN_MAX + 1];
    char manifest_content_type[128];
    char run_id[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    int64_t updated_us;
    /* The member "shardyfusion": absent (has_ours 0) when the reference wrote the pointer. */
    int32_t has_ours;
    uint64_t generation;
    sha256 manifest_digest;
    uint64_t manifest_size;
    char nonce[POINTER_NONCE_LEN + 1];
    uint64_t size;     /* of the document */
    pointer_hint hint; /* num_dbs 0: none, or none that we understand */
    /* Name of a member that neither the reference nor we write, "" for none: passed over, but
     * worth a remark, and lost when the pointer is rendered. Also "hint": one of another form. */
    char stranger[64];
} pointer;

/* Statuses: OK; CORRUPT (what is missing or wrong; or the text is ours and was changed after it was
 * written, so that it differs from its own digest); FORMAT_VERSION (a newer one); NOMEM. */
shardy_status shardy__pointer_parse(shardy_bytes text, pointer *out, shardy_error *err);
/* Ownership: release *text_out. */
shardy_status shardy__pointer_render(const pointer *p, shardy_buf *text_out, shardy_error *err);

#endif
