/* postgres_answer.h: what rows of Postgres say to the manifest store, one question each. Whoever
 * may write to the tables wrote them, and the reference has fewer rules than we: nothing in them is
 * taken on trust. Manifests are in manifest_columns.h. No server is needed to read rows. */
#ifndef SHARDY_CATALOG_POSTGRES_ANSWER_H
#define SHARDY_CATALOG_POSTGRES_ANSWER_H

#include "postgres.h"

#include <shardyfusion/limits.h>
#include <shardyfusion/sys/manifest_store.h>

/* A time, or a number, as text with its zero. */
#define POSTGRES_TIME_SIZE   64u
#define POSTGRES_NUMBER_SIZE 24u

/* What is current, and why. */
typedef struct postgres_current {
    int32_t found;      /* 1: there is a version at least */
    int32_t is_pointer; /* 0: there is no pointer row, the newest build counts */
    shardy_etag version;
    char at[POSTGRES_TIME_SIZE];
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_buf document; /* ours; empty: the reference wrote the row */
} postgres_current;

/* Releases the document; nothing is current any more. */
void shardy__answer_forget(postgres_current *current);

/* A text of the first row, valid UTF-8 of 1 to size - 1 bytes without a zero; `what` names it. ""
 * and CORRUPT when it is none. */
shardy_status shardy__answer_text(const postgres_rows *rows, int column, const char *what,
    char *out, size_t size, shardy_error *err);
/* The number in the first row; 0 where there is none. */
uint64_t shardy__answer_count(const postgres_rows *rows);

/* The newest row of pointers, or of builds: time, ref, how many rows have that time, document.
 * Statuses: OK; NOT_FOUND (no row); CORRUPT, with the version set when it could be read; NOMEM.
 * Call it after shardy__answer_forget(). */
shardy_status shardy__answer_current(
    const postgres_rows *rows, int is_pointer, postgres_current *current, shardy_error *err);
/* The pointer document of what was found: the one that belongs to the row, whatever it is like, or
 * one made of the row. Statuses: OK; CORRUPT, NOMEM. Ownership: release *body_out; that of
 * `current` may have moved there. */
shardy_status shardy__answer_document(
    postgres_current *current, shardy_buf *body_out, shardy_error *err);

/* A manifest in each row: run id, time. At most `limit` of them. Rows whose run id or time cannot
 * be one of a manifest are passed over, as such names are in listings of objects. Statuses: OK,
 * NOMEM. Dispose of the list in any case. */
shardy_status shardy__answer_list(
    const postgres_rows *rows, size_t limit, shardy_manifest_list *list, shardy_error *err);

#endif
