/* row_check.h: checking a row, and turning it into what a spool takes. */
#ifndef SHARDY_BUILD_ROW_CHECK_H
#define SHARDY_BUILD_ROW_CHECK_H

#include "../base/bytebuf.h"
#include "../sort/spool.h"
#include "plan.h"

/* A row on its way into a spool; what it points at is borrowed from the row and from here. */
typedef struct routed_row {
    spool_row row;
    routed_key key;
    shardy_key id;
    bytebuf hex; /* the id of a vector whose key is bytes */
} routed_row;

void shardy__routed_row_init(routed_row *routed);
void shardy__routed_row_free(routed_row *routed);

/* INVALID naming the key and what is wrong. */
shardy_status shardy__row_refuse(const shardy_row *row, const char *what, shardy_error *err);

/* Checks value, vector, id and payload against the options, whose dimension is settled.
 * OK or INVALID. */
shardy_status shardy__row_check(
    const shardy_writer_options *options, const shardy_row *row, shardy_error *err);

/* Routes and encodes the key and fills routed->row. OK, INVALID, NOMEM. */
shardy_status shardy__row_route(
    routed_row *routed, const router *r, const shardy_row *row, shardy_error *err);

#endif
