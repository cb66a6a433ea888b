/* get.c: looks keys up, all in one snapshot.
 *
 * usage: get SNAPSHOT KEY... */
#include <shardyfusion/shardyfusion.h>

#include <stdio.h>

enum {
    KEYS_MAX = 100
};

static shardy_status print_values(
    const shardy_reader *reader, char **names, size_t count, shardy_error *err)
{
    shardy_key keys[KEYS_MAX];
    shardy_values values = {0};
    shardy_read_options options;

    shardy_read_options_init(&options, sizeof options);
    options.timeout_ms = 2000;
    for (size_t i = 0; i < count; i++) {
        keys[i] = shardy_key_cstr(names[i]);
    }
    shardy_status st = shardy_reader_multi_get(reader, keys, count, &options, &values, err);
    for (size_t i = 0; i < values.count; i++) {
        const shardy_value *value = &values.values[i];
        if (value->status == SHARDY_OK) {
            printf("%s = ", names[i]);
            fwrite(value->bytes.data, 1, value->bytes.len, stdout);
            printf("\n");
        } else {
            printf("%s is not there\n", names[i]);
        }
    }
    shardy_values_dispose(&values);
    return st;
}

int main(int argc, char **argv)
{
    shardy_error err;
    shardy_reader *reader = NULL;
    if (argc < 3 || argc - 2 > KEYS_MAX) {
        fprintf(stderr, "usage: get SNAPSHOT KEY...    (at most %d keys)\n", KEYS_MAX);
        return 2;
    }
    shardy_status st = shardy_reader_open(NULL, argv[1], NULL, &reader, &err);
    if (st == SHARDY_OK) {
        st = print_values(reader, argv + 2, (size_t)argc - 2, &err);
    }
    if (st != SHARDY_OK) {
        fprintf(stderr, "get: %s: %s\n", shardy_status_name(st), err.message);
    }
    shardy_reader_close(reader);
    return st != SHARDY_OK;
}
