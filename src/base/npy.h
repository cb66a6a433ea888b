/* npy.h: NumPy's .npy files, versions 1 to 3: one array of numbers with one or two dimensions.
 *
 * Read are little-endian and big-endian float32 and float64, little-endian float16, int8, int32 and
 * int64, in C or Fortran order. Everything else (objects above all, which NumPy would unpickle) is
 * refused. Sizes are checked against the size of the file before anything is allocated. */
#ifndef SHARDY_BASE_NPY_H
#define SHARDY_BASE_NPY_H

#include "bytebuf.h"
#include "error.h"

#include <stdint.h>

/* Header of a file, magic and all; NumPy's own limit is 10,000 bytes for the dictionary. */
#define NPY_HEADER_LEN_MAX (12u + 10000u)
/* So many bytes of a file tell how long its header is. */
#define NPY_PREFIX_LEN 12u

typedef enum npy_type {
    NPY_F2 = 1,     /* '<f2' */
    NPY_F4 = 2,     /* '<f4' */
    NPY_F8 = 3,     /* '<f8' */
    NPY_F4_BIG = 4, /* '>f4' */
    NPY_F8_BIG = 5, /* '>f8' */
    NPY_I1 = 6,     /* '|i1' */
    NPY_I4 = 7,     /* '<i4' */
    NPY_I8 = 8      /* '<i8' */
} npy_type;

typedef struct npy_header {
    int32_t type;    /* npy_type */
    int32_t fortran; /* 1: columns one after the other; never 1 with one dimension */
    uint32_t dims;   /* 1 or 2 */
    uint32_t item_len;
    uint64_t rows;     /* shape[0] */
    uint64_t cols;     /* shape[1]; 1 with one dimension */
    uint64_t data_at;  /* offset of the first number in the file */
    uint64_t data_len; /* rows * cols * item_len */
} npy_header;

/* From the first bytes of a file to the length of its header (everything before the numbers).
 * INVALID: not a .npy file, an unknown version, a header above NPY_HEADER_LEN_MAX. `prefix` may be
 * shorter than NPY_PREFIX_LEN only when the file is. */
shardy_status shardy__npy_header_len(shardy_bytes prefix, size_t *len_out, shardy_error *err);

/* Reads a header, which must be there whole (more is fine). The file must be exactly as long as the
 * shape says. INVALID with the reason. */
shardy_status shardy__npy_parse_header(
    shardy_bytes start, uint64_t file_len, npy_header *header_out, shardy_error *err);

/* Converts `count` consecutive numbers, exactly or to the nearest. `data` need not be aligned. */
void shardy__npy_to_floats(const npy_header *header, const void *data, size_t count, float *out);
void shardy__npy_to_doubles(const npy_header *header, const void *data, size_t count, double *out);

/* A whole array as doubles (every type but int64 fits exactly), row by row whatever the order in
 * the file. */
typedef struct npy_array {
    npy_header header;
    double *values; /* rows * cols; free with shardy__npy_free() */
} npy_array;

/* `file` is the content of a .npy file. INVALID as above; NOMEM. */
shardy_status shardy__npy_read(shardy_bytes file, npy_array *array_out, shardy_error *err);
void shardy__npy_free(npy_array *array);

/* Appends a .npy file (version 1.0, '<f4', C order), byte by byte as numpy.save writes it. dims
 * is 1 (cols is ignored) or 2. INVALID when the product overflows or is above the buffer's
 * maximum. */
shardy_status shardy__npy_write_floats(const float *values, uint64_t rows, uint64_t cols,
    uint32_t dims, bytebuf *out, shardy_error *err);

#endif
