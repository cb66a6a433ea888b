/* json.h: JSON: a pull reader that keeps the text of numbers, and a writer whose bytes are those of
 * Python's json.dumps. The document tree on top of the reader is public: shardyfusion/sys/text.h.
 *
 * Read is what Python's json.loads reads: RFC 8259 and, unless the reader is strict, NaN, Infinity,
 * -Infinity; integers of any size; \u0000 in strings. Refused are a byte order mark, invalid UTF-8,
 * escapes of lone surrogates (Python keeps them, but they have no UTF-8), more than
 * SHARDY_JSON_DEPTH_MAX levels and anything after the value.
 *
 * Nothing here is shared between threads: one thread at a time per reader and per writer. */
#ifndef SHARDY_BASE_JSON_H
#define SHARDY_BASE_JSON_H

#include "bytebuf.h"
#include "error.h"

#include <shardyfusion/sys/text.h>

/* --- reading ---------------------------------------------------------------------------------- */

typedef enum json_token {
    JSON_END = 0, /* the text is over */
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER, /* `text`: as it is written; also NaN, Infinity, -Infinity */
    JSON_STRING, /* `text`: what is between the quotes, escapes as they are written */
    JSON_NAME,   /* of a member of an object; `text` as with strings */
    JSON_ARRAY_BEGIN,
    JSON_ARRAY_END,
    JSON_OBJECT_BEGIN,
    JSON_OBJECT_END
} json_token;

/* What is in a string or a name; 0: plain ASCII that can be used and copied as it is. */
enum {
    JSON_HAS_ESCAPES = 1,   /* `text` has to be decoded */
    JSON_HAS_NON_ASCII = 2, /* bytes above 0x7E */
    JSON_HAS_UNUSUAL = 4    /* escapes that json.dumps writes in another way: \u, \/ */
};

/* A reader of one text. Fields are for reading only, but for `strict`; set up by
 * shardy__json_reader_init(). It holds no memory: there is nothing to free. */
typedef struct json_reader {
    const char *begin;
    const char *next; /* where the next token is looked for */
    const char *end;
    const char *token_start; /* first byte of the current token */
    int32_t token;           /* json_token */
    uint32_t flags;          /* JSON_HAS_...; strings and names only */
    shardy_bytes text;       /* numbers, strings, names; borrowed from the input */
    uint32_t depth;          /* of the containers around what comes next */
    int32_t expect;          /* private */
    int32_t strict;          /* 0; set to 1: NaN, Infinity and -Infinity are refused */
    uint64_t objects;        /* private: bit d is 1 when the container at depth d is an object */
    const char *problem;     /* what is wrong with the text; NULL: nothing so far */
    const char *problem_at;
} json_reader;

void shardy__json_reader_init(json_reader *r, shardy_bytes text);

/* The next token in r->token; JSON_END (again and again) after a complete value. INVALID with line
 * and column in the message; the reader then stays where it is. Never any other failure. */
shardy_status shardy__json_next(json_reader *r, shardy_error *err);

/* The current token begins a value: goes to the last token of it. *raw_out (may be NULL) gets its
 * text as it is written. Every rule has been checked then: reading *raw_out again cannot fail,
 * except by depth when that is counted from another level. */
shardy_status shardy__json_skip(json_reader *r, shardy_bytes *raw_out, shardy_error *err);

/* Line and column, both from 1, of a place in the text; columns are bytes. */
void shardy__json_locate(
    const json_reader *r, const char *place, uint64_t *line_out, uint64_t *column_out);

/* Appends the decoded text of a string or name token to `out`, whose status tells of failures (no
 * memory, its maximum). Input that the reader has not checked must not be passed. */
void shardy__json_decode(shardy_bytes text, bytebuf *out);

/* Whether the decoded text of a name or string token equals `len` bytes. */
int shardy__json_text_equals(shardy_bytes text, uint32_t flags, const void *data, size_t len);

/* --- writing ---------------------------------------------------------------------------------- */

/* formats.md, "Notation". To be combined with JSON_KEEP_UTF8. */
enum {
    JSON_PYTHON = 0,    /* PyJSON-default: ", " and ": ", members as they come */
    JSON_SORTED = 1,    /* PyJSON-sorted: the same, members sorted by code points */
    JSON_COMPACT = 2,   /* PyJSON-compact: "," and ":", members sorted by code points */
    JSON_KEEP_UTF8 = 16 /* like ensure_ascii=False; without it everything beyond ASCII is escaped */
};

typedef struct json_member json_member;

/* Writes values into a bytebuf. Members of an object may come in any order: they are put in order
 * when the object ends. Of members with the same name the last one counts. Failures stick (in the
 * bytebuf and here) and are told by shardy__json_writer_finish(); all other calls may go on. */
typedef struct json_writer {
    bytebuf *out;
    uint32_t style;
    uint32_t depth;
    int32_t problem;      /* private */
    int32_t after_name;   /* private */
    uint64_t objects;     /* private: bit d: the container at depth d is an object */
    uint64_t unordered;   /* private: bit d: its names were not strictly ascending */
    size_t first[65];     /* private: per depth, its first member */
    size_t count[65];     /* private: per depth, values or names written */
    json_member *members; /* private: of all open objects */
    size_t member_count;
    size_t member_room;
    bytebuf scratch; /* private: objects being put in order */
    size_t *order;   /* private: two lists of order_room numbers */
    size_t order_room;
} json_writer;

/* `out` is borrowed and appended to; `style` as above. */
void shardy__json_writer_init(json_writer *w, bytebuf *out, uint32_t style);
/* For another text into `out`: keeps the memory, forgets a failure. */
void shardy__json_writer_reset(json_writer *w, bytebuf *out);
void shardy__json_writer_free(json_writer *w); /* not the bytebuf */

void shardy__json_begin_object(json_writer *w);
void shardy__json_end_object(json_writer *w);
void shardy__json_begin_array(json_writer *w);
void shardy__json_end_array(json_writer *w);
void shardy__json_name(json_writer *w, const char *name);
void shardy__json_name_bytes(json_writer *w, shardy_bytes name); /* UTF-8 */
void shardy__json_string(json_writer *w, const char *text);      /* UTF-8; NULL writes null */
void shardy__json_string_bytes(json_writer *w, shardy_bytes text);
void shardy__json_int(json_writer *w, int64_t value);
void shardy__json_uint(json_writer *w, uint64_t value);
void shardy__json_double(json_writer *w, double value); /* as Python's repr; NaN, Infinity */
void shardy__json_bool(json_writer *w, int value);
void shardy__json_null(json_writer *w);
/* Text of a number, from a reader or a document. */
void shardy__json_number(json_writer *w, shardy_bytes text);
/* A value of a document, written in the writer's style. */
void shardy__json_value(json_writer *w, const shardy_json_value *value);
/* A JSON text, written in the writer's style; numbers keep their text. Text that is not JSON makes
 * the writer fail. */
void shardy__json_text(json_writer *w, shardy_bytes json);

/* The reader's current token begins a value (not a name): writes that value and goes to its last
 * token. INVALID as shardy__json_next(); the writer's own failures stick there. */
shardy_status shardy__json_copy(json_reader *r, json_writer *w, shardy_error *err);
/* Writes the reader's current token, a name, a string, a number or a constant. */
void shardy__json_copy_token(const json_reader *r, json_writer *w);

/* OK when one whole value was written. INVALID: invalid UTF-8, too deep, longer than the buffer's
 * maximum, unbalanced; NOMEM. */
shardy_status shardy__json_writer_finish(json_writer *w, const char *domain, shardy_error *err);

/* Appends `json` in another style to `out`, whose content counts only after OK. INVALID with
 * line and column; NOMEM. */
shardy_status shardy__json_restyle(
    shardy_bytes json, uint32_t style, bytebuf *out, shardy_error *err);

#endif
