/* npy_arg.h: query vectors from a NumPy file.
 *
 * It stands beside the hidden src/base/npy.h because the command sees the public headers only, and
 * it reads less: what a build may be fed is more than what a query is written with. */
#ifndef SHARDY_CLI_NPY_ARG_H
#define SHARDY_CLI_NPY_ARG_H

#include "strbuf.h"

/* `rows` vectors of `dim` floats; a file with one dimension has one row. */
typedef struct npy_array {
    float *data;
    size_t rows;
    size_t dim;
    int one_dimension;
} npy_array;

/* Parses the bytes of a .npy file: versions 1 to 3, little-endian float32 or float64, C order, one
 * or two dimensions, all values finite as float32, nothing behind the data. Returns 0, or -1 with
 * a message. Free with npy_free() in either case. */
int npy_parse(const char *bytes, size_t len, npy_array *out, strbuf *message);

/* The same from a file. Returns 0; -1: unusable content; -2: the file cannot be read. */
int npy_load(const char *path, npy_array *out, strbuf *message);
void npy_free(npy_array *a);

#endif
