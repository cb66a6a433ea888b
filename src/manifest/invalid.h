/* invalid.h: what a manifest has, and what was expected instead. */
#ifndef SHARDY_MANIFEST_INVALID_H
#define SHARDY_MANIFEST_INVALID_H

#include "../base/error.h"
#include "../sqlitefile/record.h"

#include <shardyfusion/sys/text.h>

/* CORRUPT: "<where> is <value>, expected <expected>". A value that is NULL "is missing". */
shardy_status shardy__invalid_json(
    shardy_error *err, const char *where, const shardy_json_value *value, const char *expected);

/* The same of a column of a table. */
shardy_status shardy__invalid_column(shardy_error *err, const char *table, const char *column,
    const record_value *value, const char *expected);

#endif
