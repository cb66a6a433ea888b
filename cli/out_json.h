/* out_json.h: writing JSON.
 *
 * Two layouts, both as the reference prints them: one line with ", " and ": ", or indented by two.
 * Text is UTF-8; malformed parts become U+FFFD, so that the output always is valid JSON. */
#ifndef SHARDY_CLI_OUT_JSON_H
#define SHARDY_CLI_OUT_JSON_H

#include "strbuf.h"

#include <shardyfusion/key.h>

enum {
    JSON_OUT_DEPTH_MAX = 80
};

typedef struct json_out {
    strbuf *out;
    int pretty;
    int after_name; /* the next value belongs to a name that was written */
    size_t depth;
    unsigned char filled[JSON_OUT_DEPTH_MAX + 1]; /* the container has a member already */
} json_out;

void json_begin(json_out *j, strbuf *out, int pretty);
void json_object(json_out *j);
void json_object_end(json_out *j);
void json_array(json_out *j);
void json_array_end(json_out *j);
void json_name(json_out *j, const char *name);
void json_text(json_out *j, const char *text); /* NULL gives null */
void json_text_n(json_out *j, const char *text, size_t len);
void json_int(json_out *j, int64_t value);
void json_uint(json_out *j, uint64_t value);
/* Rounded to `decimals` digits (-1: not rounded), then the shortest text that reads back as the
 * same number; null when not finite. */
void json_double(json_out *j, double value, int decimals);
void json_bool(json_out *j, int value);
void json_null(json_out *j);
/* Integer, text, or {"hex": "..."} for bytes that are not valid UTF-8. */
void json_key(json_out *j, const shardy_key *key);
/* A JSON text, laid out anew; as a string when it does not parse. */
void json_embed(json_out *j, shardy_bytes json);

/* The shortest decimal text that reads back as `value` (finite); always with '.' or an exponent. */
void json_double_text(double value, char text[40]);

#endif
