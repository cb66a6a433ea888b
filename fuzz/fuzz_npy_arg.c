/* The query files of the command: whatever the bytes are, the parser says no with a message, or
 * gives exactly the numbers that the header promises, all of them finite. */
/* wcwidth() in utf8.c */
#define _XOPEN_SOURCE 700
#include "../cli/npy_arg.c"
#include "../cli/strbuf.c"
#include "../cli/sys.c"
#include "../cli/utf8.c"

#include "require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    npy_array a;
    strbuf message = {0};
    int rc = npy_parse((const char *)data, size, &a, &message);
    if (rc == 0) {
        require_that(message.len == 0);
        size_t count = a.rows * a.dim;
        require_that(count == 0 || count <= size / 4);
        require_that(!a.one_dimension || a.rows == 1);
        for (size_t i = 0; i < count; i++) {
            require_that(isfinite(a.data[i]));
        }
    } else {
        require_that(rc == -1 && message.len > 0);
        require_that(utf8_valid(message.data, message.len));
    }
    npy_free(&a);
    strbuf_free(&message);
    return 0;
}
