/* intake.h: checking a row, and turning it into what a spool takes. */
#ifndef SHARDY_BUILD_INTAKE_H
#define SHARDY_BUILD_INTAKE_H

#include "../base/bytebuf.h"
#include "plan.h"
#include "../sort/spool.h"

/* A row on its way into a spool; what it points at is borrowed from the row and from here. */
typedef struct intake {
    spool_row row;
    routed_key routed;
    shardy_key id;
    bytebuf hex; /* the id of a vector whose key is bytes */
} intake;

void shardy__intake_init(intake *in);
void shardy__intake_free(intake *in);

/* INVALID naming the key and what is wrong. */
shardy_status shardy__intake_refuse(const shardy_row *row, const char *what, shardy_error *err);

/* Checks value, vector, id and payload against the options, whose dimension is settled.
 * OK or INVALID. */
shardy_status shardy__intake_check(
    const shardy_writer_options *options, const shardy_row *row, shardy_error *err);

/* Routes and encodes the key and fills in->row. OK, INVALID, NOMEM. */
shardy_status shardy__intake_take(
    intake *in, const router *r, const shardy_row *row, shardy_error *err);

#endif
