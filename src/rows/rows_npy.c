#include "../base/alloc.h"
#include "../base/fs.h"
#include "rows_impl.h"

#include <shardyfusion/limits.h>

#include <string.h>

/* About so many bytes are read at a time. */
#define BLOCK_LEN (256u << 10)

static shardy_status read_header(rows_npy *n, shardy_error *err)
{
    uint64_t file_len;
    uint8_t start[NPY_HEADER_LEN_MAX];
    SHARDY_TRY(shardy__file_size(n->fd, &file_len, err));
    size_t len = file_len < sizeof start ? (size_t)file_len : sizeof start;
    SHARDY_TRY(shardy__file_read_at(n->fd, 0, start, len, err));
    SHARDY_TRY(shardy__npy_parse_header(shardy__bytes(start, len), file_len, &n->header, err));
    const npy_header *h = &n->header;
    if (h->dims != 2) {
        return shardy__error(err, SHARDY_INVALID, "rows",
            "an array with one dimension: expected the shape (rows, dim)");
    }
    if (h->cols == 0 || h->cols > SHARDY_DIM_MAX) {
        return shardy__error(err, SHARDY_INVALID, "rows",
            "vectors with %llu dimensions: expected 1 to %u", (unsigned long long)h->cols,
            SHARDY_DIM_MAX);
    }
    if (h->fortran) {
        return shardy__error(err, SHARDY_INVALID, "rows",
            "the array is in Fortran order and cannot be read row by row: save it in C order "
            "(numpy.ascontiguousarray)");
    }
    return SHARDY_OK;
}

shardy_status shardy__rows_npy_open(shardy_row_source *s, shardy_error *err)
{
    rows_npy *n = &s->npy;
    n->path = s->options.vectors_path;
    shardy_status st = shardy__file_open(n->path, &n->fd, err);
    if (st == SHARDY_NOT_FOUND) {
        return shardy__error(err, SHARDY_INVALID, "rows", "there is no file \"%.300s\"", n->path);
    }
    SHARDY_TRY(st);
    st = read_header(n, err);
    if (st < 0) {
        return shardy__error_prefix(err, st, "%.300s", n->path);
    }
    n->row_len = (size_t)n->header.cols * n->header.item_len;
    n->block_room = BLOCK_LEN / n->row_len + 1;
    n->block = shardy__malloc(n->block_room * n->row_len);
    n->floats = shardy__malloc((size_t)n->header.cols * sizeof *n->floats);
    return n->block && n->floats ? SHARDY_OK : shardy__error_nomem(err, "rows");
}

static shardy_status read_block(rows_npy *n, shardy_error *err)
{
    uint64_t left = n->header.rows - n->next_row;
    n->block_row = n->next_row;
    n->block_rows = left < n->block_room ? (size_t)left : n->block_room;
    shardy_status st = shardy__file_read_at(n->fd, n->header.data_at + n->next_row * n->row_len,
        n->block, n->block_rows * n->row_len, err);
    return st < 0 ? shardy__error_prefix(err, st, "%.300s", n->path) : st;
}

shardy_status shardy__rows_npy_next(shardy_row_source *s, shardy_error *err)
{
    rows_npy *n = &s->npy;
    if (n->next_row == n->header.rows) {
        return shardy__error(err, SHARDY_INVALID, "rows",
            "\"%.300s\" has %llu vectors, but this is row %llu", n->path,
            (unsigned long long)n->header.rows, (unsigned long long)(s->rows + 1));
    }
    if (n->next_row == n->block_row + n->block_rows) {
        SHARDY_TRY(read_block(n, err));
    }
    const uint8_t *row = n->block + (n->next_row - n->block_row) * n->row_len;
    shardy__npy_to_floats(&n->header, row, (size_t)n->header.cols, n->floats);
    n->next_row++;
    s->row.vector = n->floats;
    s->row.dim = (uint32_t)n->header.cols;
    return SHARDY_OK;
}

shardy_status shardy__rows_npy_finish(const shardy_row_source *s, shardy_error *err)
{
    const rows_npy *n = &s->npy;
    if (n->fd < 0 || n->next_row == n->header.rows) {
        return SHARDY_OK;
    }
    return shardy__error(err, SHARDY_INVALID, "rows",
        "\"%.300s\" has %llu vectors, but the number of rows is %llu", n->path,
        (unsigned long long)n->header.rows, (unsigned long long)s->rows);
}

void shardy__rows_npy_free(shardy_row_source *s)
{
    shardy__file_close(s->npy.fd);
    shardy__free(s->npy.block);
    shardy__free(s->npy.floats);
}
