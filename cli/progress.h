/* progress.h: one line on the standard error that says how far a long command has come.
 *
 * On a terminal the line is drawn again and again; elsewhere nothing is said, or with --verbose a
 * line now and then. Messages of the library that come meanwhile, from any thread, are printed
 * above the line. */
#ifndef SHARDY_CLI_PROGRESS_H
#define SHARDY_CLI_PROGRESS_H

#include "strbuf.h"

#include <pthread.h>

/* What is to be shown. Zero counts of something are not shown. */
typedef struct progress_view {
    const char *label; /* "reading" */
    double fraction;   /* 0 to 1; negative when the total is not known */
    uint64_t rows;
    const char *noun; /* what `rows` counts; NULL: "row" */
    uint64_t bytes;
    uint32_t shards_done;
    uint32_t shards_total;
    uint64_t uploaded; /* bytes */
    uint64_t to_upload;
    int rows_per_second; /* 1: show the rate of rows, else that of bytes */
} progress_view;

typedef struct progress {
    pthread_mutex_t lock;
    int live;  /* draws a line */
    int lines; /* prints a line now and then */
    int colour;
    int utf8;
    int visible; /* the line is on the screen */
    int64_t phase_ns;
    int64_t drawn_ns;
    char label[24];
} progress;

/* Ready for messages. Once, before any other call. */
void progress_init(progress *p);
/* `show`: 0 prints nothing but messages. */
void progress_begin(progress *p, int show, int verbose, int colour);
void progress_update(progress *p, const progress_view *view);
/* Prints a message; the line of the progress stays below it. Any thread. */
void progress_message(progress *p, const strbuf *text);
/* Takes the line away. */
void progress_end(progress *p);

/* Appends the line for a view, as wide as `width` allows. For progress_update() and its tests. */
void progress_render(
    const progress *p, const progress_view *view, double seconds, size_t width, strbuf *out);
/* "1.2M" */
void progress_add_count(strbuf *b, uint64_t count);
/* "88.1 MiB" */
void progress_add_bytes(strbuf *b, uint64_t bytes);
/* "0:07", "1:02:03" */
void progress_add_time(strbuf *b, double seconds);

#endif
