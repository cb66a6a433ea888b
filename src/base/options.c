#include "options.h"

#include <stdint.h>
#include <string.h>

void shardy__options_init(
    void *options, size_t struct_size, const void *defaults, size_t defaults_size)
{
    memset(options, 0, struct_size);
    memcpy(options, defaults, struct_size < defaults_size ? struct_size : defaults_size);
    memcpy(options, &struct_size, sizeof struct_size);
}

shardy_status shardy__options_copy(
    void *copy, size_t copy_size, const void *options, shardy_error *err)
{
    if (!options) {
        return SHARDY_OK;
    }
    size_t size;
    memcpy(&size, options, sizeof size);
    if (size < sizeof size || size > 65536) {
        return shardy__error(err, SHARDY_INVALID, "options",
            "struct_size is %zu: the options were not set by their _init function", size);
    }
    const uint8_t *bytes = options;
    for (size_t i = copy_size; i < size; i++) {
        if (bytes[i] != 0) {
            return shardy__error(err, SHARDY_UNSUPPORTED, "options",
                "the options use a field that version " SHARDY_VERSION " does not have");
        }
    }
    memcpy(copy, options, size < copy_size ? size : copy_size);
    memcpy(copy, &copy_size, sizeof copy_size);
    return SHARDY_OK;
}
