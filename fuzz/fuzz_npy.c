/* NumPy files. Whatever the bytes are: no, with a message, or exactly the numbers that the header
 * promises, the same by every way of reading them. */
#include "faults.h"

#include "base/npy.h"

#include <stdlib.h>
#include <string.h>

static void check_array(shardy_bytes file, const npy_array *array)
{
    const npy_header *h = &array->header;
    require_that(h->dims == 1 || h->dims == 2);
    require_that(h->data_at + h->data_len == file.len);
    require_that(h->rows * h->cols * h->item_len == h->data_len);
    size_t count = (size_t)(h->rows * h->cols);
    double *doubles = malloc(count * sizeof *doubles + 1);
    float *floats = malloc(count * sizeof *floats + 1);
    require_that(doubles != NULL && floats != NULL);
    const char *data = (const char *)file.data + h->data_at;
    shardy__npy_to_doubles(h, data, count, doubles);
    shardy__npy_to_floats(h, data, count, floats);
    if (!h->fortran && count > 0) {
        require_that(memcmp(doubles, array->values, count * sizeof *doubles) == 0);
    }
    for (size_t i = 0; i < count; i++) {
        int is_nan = floats[i] != floats[i];
        require_that(is_nan == (doubles[i] != doubles[i]));
        require_that(is_nan || (floats[i] < 0) <= (doubles[i] < 0));
    }
    if (h->type == NPY_F4 && !h->fortran) {
        /* Writing gives a file with the same numbers. */
        bytebuf out;
        npy_header again;
        shardy__bytebuf_init(&out, file.len + 1000);
        require_that(
            shardy__npy_write_floats(floats, h->rows, h->cols, h->dims, &out, NULL) == SHARDY_OK);
        shardy_bytes written = {out.data, out.len};
        require_that(shardy__npy_parse_header(written, out.len, &again, NULL) == SHARDY_OK);
        require_that(again.rows == h->rows && again.cols == h->cols && again.dims == h->dims);
        require_that(memcmp(out.data + again.data_at, data, (size_t)h->data_len) == 0);
        shardy__bytebuf_free(&out);
    }
    free(doubles);
    free(floats);
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    npy_array array;
    shardy_status st = shardy__npy_read((shardy_bytes){data, size}, &array, err);
    shardy__npy_free(&array);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    shardy_bytes file = {data, size};
    npy_array array;
    shardy_error err = {0};
    run_with_fault(data, size, run);
    shardy_status st = shardy__npy_read(file, &array, &err);
    require_that(st == SHARDY_OK || st == SHARDY_INVALID);
    if (st == SHARDY_OK) {
        check_array(file, &array);
    } else {
        require_that(array.values == NULL && err.message[0] != '\0');
    }
    shardy__npy_free(&array);
    return 0;
}
