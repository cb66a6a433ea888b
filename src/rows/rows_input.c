#include "rows_input.h"

#include "../base/alloc.h"
#include "../base/fs.h"

#include <shardyfusion/limits.h>

#include <string.h>

#include <zstd.h>

/* Large enough to make system calls rare, small enough to stay in the second-level cache. */
#define BLOCK_LEN (256u << 10)

bool shardy__rows_is_zst(const char *path)
{
    size_t len = strlen(path);
    return len > 4 && strcmp(path + len - 4, ".zst") == 0;
}

static shardy_status open_decoder(rows_input *in, shardy_error *err)
{
    if (!in->decoder) {
        in->decoder = ZSTD_createDStream();
    }
    if (!in->packed) {
        in->packed = shardy__malloc(BLOCK_LEN);
    }
    if (!in->decoder || !in->packed || ZSTD_isError(ZSTD_initDStream(in->decoder))) {
        return shardy__error_nomem(err, "rows");
    }
    return SHARDY_OK;
}

static void free_decoder(rows_input *in)
{
    ZSTD_freeDStream(in->decoder);
    in->decoder = NULL;
}

/* Decodes into dest[0, len); *read_out is 0 only at the end. */
static shardy_status read_packed(
    rows_input *in, char *dest, size_t len, size_t *read_out, shardy_error *err)
{
    ZSTD_outBuffer output = {dest, len, 0};
    while (output.pos == 0) {
        if (in->packed_at == in->packed_filled && !in->packed_ended) {
            in->packed_at = 0;
            in->packed_filled = 0;
            SHARDY_TRY(shardy__file_read(in->fd, in->packed, BLOCK_LEN, &in->packed_filled, err));
            in->packed_ended = in->packed_filled == 0;
            in->bytes_read += in->packed_filled;
        }
        if (in->packed_at == in->packed_filled && !in->in_frame) {
            break;
        }
        ZSTD_inBuffer input = {in->packed, in->packed_filled, in->packed_at};
        size_t rest = ZSTD_decompressStream(in->decoder, &output, &input);
        bool moved = input.pos > in->packed_at || output.pos > 0;
        in->packed_at = input.pos;
        if (ZSTD_isError(rest)) {
            return shardy__error(
                err, SHARDY_CORRUPT, "rows", "not Zstandard: %s", ZSTD_getErrorName(rest));
        }
        in->in_frame = rest != 0;
        if (in->packed_ended && !moved) {
            return shardy__error(
                err, SHARDY_CORRUPT, "rows", "the compressed file ends in the middle");
        }
    }
    *read_out = output.pos;
    return SHARDY_OK;
}

shardy_status shardy__rows_input_open(rows_input *in, const char *path, shardy_error *err)
{
    in->at = 0;
    in->filled = 0;
    in->ended = false;
    in->packed_at = 0;
    in->packed_filled = 0;
    in->packed_ended = false;
    in->in_frame = false;
    in->is_stdin = strcmp(path, "-") == 0;
    in->fd = 0;
    if (!in->is_stdin) {
        shardy_status st = shardy__file_open(path, &in->fd, err);
        if (st == SHARDY_NOT_FOUND) {
            return shardy__error(err, SHARDY_INVALID, "rows", "there is no such file");
        }
        SHARDY_TRY(st);
    }
    in->is_open = true;
    if (shardy__rows_is_zst(path)) {
        SHARDY_TRY(open_decoder(in, err));
    } else if (in->decoder) {
        free_decoder(in);
    }
    return shardy__rows_input_fill(in, err);
}

static shardy_status grow(rows_input *in, shardy_error *err)
{
    if (in->filled >= SHARDY_INPUT_ROW_LEN_MAX) {
        return shardy__error(err, SHARDY_INVALID, "rows",
            "a row is longer than the limit of %u bytes", SHARDY_INPUT_ROW_LEN_MAX);
    }
    size_t room = in->room > 0 ? in->room * 2 : BLOCK_LEN;
    char *data = shardy__realloc(in->data, room);
    if (!data) {
        return shardy__error_nomem(err, "rows");
    }
    in->data = data;
    in->room = room;
    return SHARDY_OK;
}

shardy_status shardy__rows_input_fill(rows_input *in, shardy_error *err)
{
    if (in->at > 0) {
        memmove(in->data, in->data + in->at, in->filled - in->at);
        in->filled -= in->at;
        in->at = 0;
    }
    if (in->filled == in->room) {
        SHARDY_TRY(grow(in, err));
    }
    size_t n = 0;
    if (in->decoder) {
        SHARDY_TRY(read_packed(in, in->data + in->filled, in->room - in->filled, &n, err));
    } else {
        SHARDY_TRY(
            shardy__file_read(in->fd, in->data + in->filled, in->room - in->filled, &n, err));
        in->bytes_read += n;
    }
    in->filled += n;
    in->ended = n == 0;
    return SHARDY_OK;
}

void shardy__rows_input_close(rows_input *in)
{
    if (in->is_open && !in->is_stdin) {
        shardy__file_close(in->fd);
    }
    in->is_open = false;
}

void shardy__rows_input_free(rows_input *in)
{
    shardy__rows_input_close(in);
    if (in->decoder) {
        free_decoder(in);
    }
    shardy__free(in->packed);
    shardy__free(in->data);
    memset(in, 0, sizeof *in);
}
