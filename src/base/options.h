/* options.h: how every options struct is initialised and taken over.
 *
 * A caller compiled against an older header has a smaller struct: the fields it does not know get
 * their defaults. One compiled against a newer header has a larger one: its extra bytes must be
 * zero, that is, not used. */
#ifndef SHARDY_BASE_OPTIONS_H
#define SHARDY_BASE_OPTIONS_H

#include "error.h"

#include <stddef.h>

/* For structs whose first member is `size_t struct_size`. Writes the defaults that fit into the
 * caller's size. */
void shardy__options_init(
    void *options, size_t struct_size, const void *defaults, size_t defaults_size);

/* Copies a caller's options (NULL: keep the defaults that are in `copy`). UNSUPPORTED when the
 * caller uses fields that this version does not have, INVALID when struct_size was never set. */
shardy_status shardy__options_copy(
    void *copy, size_t copy_size, const void *options, shardy_error *err);

#define SHARDY__OPTIONS_COPY(copy, options, err)                                                   \
    shardy__options_copy((copy), sizeof *(copy), (options), (err))

#endif
