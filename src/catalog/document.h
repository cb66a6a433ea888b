/* document.h: reading fields of the small JSON documents of the catalog, with errors that name the
 * field. */
#ifndef SHARDY_CATALOG_DOCUMENT_H
#define SHARDY_CATALOG_DOCUMENT_H

#include "../base/digest.h"
#include "../base/error.h"
#include "../base/json.h"

#include <shardyfusion/sys/text.h>

/* Parses a document that must be an object. CORRUPT when it is not. Free *json_out. */
shardy_status shardy__document_parse(
    shardy_bytes text, const char *what, shardy_json **json_out, shardy_error *err);

/* Fields of an object; CORRUPT naming `what` and the field when it is missing or of another
 * type. */
shardy_status shardy__document_text(const shardy_json_value *object, const char *what,
    const char *name, char *out, size_t size, shardy_error *err);
shardy_status shardy__document_u64(const shardy_json_value *object, const char *what,
    const char *name, uint64_t *out, shardy_error *err);
shardy_status shardy__document_digest(const shardy_json_value *object, const char *what,
    const char *name, sha256 *out, shardy_error *err);
/* Microseconds since 1970; a text or a number as the reference takes them. */
shardy_status shardy__document_time(const shardy_json_value *object, const char *what,
    const char *name, int64_t *out, shardy_error *err);

/* --- the member "check" ----------------------------------------------------------------------- */

/* It is the digest of the whole text with zeros in the place of its digits, so that no change of
 * the text goes unnoticed. */

/* Compares the text with the "check" of an object in it. CORRUPT when it has none; CHECKSUM when
 * the text is not the one that it was made for; NOMEM. */
shardy_status shardy__document_compare_check(
    shardy_bytes text, const shardy_json_value *object, const char *what, shardy_error *err);
/* Writes the member with zeros for digits. Returns where they are in the buffer of the writer. */
size_t shardy__document_write_check(json_writer *w, const bytebuf *buf);

/* --- the end of writing ----------------------------------------------------------------------- */

/* Ends the writing of a document: its text on success; frees writer and buffer in any case. */
shardy_status shardy__document_finish(
    json_writer *w, bytebuf *buf, shardy_buf *text_out, shardy_error *err);
/* The same, and puts the digest where the zeros of its check are. */
shardy_status shardy__document_finish_checked(
    json_writer *w, bytebuf *buf, size_t check_at, shardy_buf *text_out, shardy_error *err);

#endif
