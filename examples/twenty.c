/* twenty.c: prints the value of a key. usage: twenty SNAPSHOT KEY */
#include <shardyfusion/shardyfusion.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    shardy_error err;
    shardy_reader *reader = NULL;
    shardy_buf value = {0};
    shardy_key key = shardy_key_cstr(argc > 2 ? argv[2] : "");
    shardy_status st = shardy_reader_open(NULL, argc > 1 ? argv[1] : ".", NULL, &reader, &err);
    if (st == SHARDY_OK) {
        st = shardy_reader_get(reader, &key, NULL, &value, &err);
    }
    if (st == SHARDY_OK) {
        printf("%.*s\n", (int)value.len, (const char *)value.data);
    } else {
        fprintf(stderr, "%s\n", st == SHARDY_NOT_FOUND ? "no such key" : err.message);
    }
    shardy_buf_release(&value);
    shardy_reader_close(reader);
    return st != SHARDY_OK;
}
