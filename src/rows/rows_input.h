/* rows_input.h: the bytes of an input file of rows: plain, decompressed or the standard input, as a
 * window that moves over them. Private to the row sources. */
#ifndef SHARDY_ROWS_ROWS_INPUT_H
#define SHARDY_ROWS_ROWS_INPUT_H

#include "../base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* The window: data[at, filled) is there and not yet consumed. Whoever reads moves `at`. */
typedef struct rows_input {
    char *data;
    size_t at;
    size_t filled;
    size_t room;
    bool ended; /* nothing comes after data[filled] */
    bool is_open;
    bool is_stdin;
    int fd;
    void *decoder; /* of Zstandard; NULL for plain files */
    char *packed;  /* compressed bytes, of which [packed_at, packed_filled) are to be decoded */
    size_t packed_at;
    size_t packed_filled;
    bool packed_ended;
    bool in_frame;       /* a compressed frame has begun and not ended */
    uint64_t bytes_read; /* of all files so far, as they lie on the disk */
} rows_input;

/* Whether a name asks for decompression. */
bool shardy__rows_is_zst(const char *path);

/* Opens the next file ("-": the standard input) and fills the window for the first time. The memory
 * is kept from file to file. INVALID: no such file; IO; NOMEM. */
shardy_status shardy__rows_input_open(rows_input *in, const char *path, shardy_error *err);
/* Adds bytes behind data[filled): first moves what is left to the front, then grows the window
 * if it is full, up to a row of SHARDY_INPUT_ROW_LEN_MAX bytes. Pointers into the window become
 * invalid. INVALID: the row is longer than the limit; IO; CORRUPT: not Zstandard; NOMEM. */
shardy_status shardy__rows_input_fill(rows_input *in, shardy_error *err);
/* Closes the file, not the memory. */
void shardy__rows_input_close(rows_input *in);
void shardy__rows_input_free(rows_input *in);

#endif
