/* Names of tables in Postgres, the only words of a user that get into SQL: the input is the name of
 * the table and that of the pointer's, a line each.
 *
 * Properties: refused with a message, or all names are different, each is an identifier of the
 * server between quotes with nothing but letters, digits and '_' in it, and those of the names in
 * small letters are the same. */
#include "catalog/postgres_tables.h"
#include "require.h"

static void check_identifier(const char *text, size_t len)
{
    static const char in_names[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    require(len >= 3 && len <= 63 + 2 && text[0] == '"' && text[len - 1] == '"', "it is quoted");
    require(strspn(text + 1, in_names) == len - 2, "nothing ends the quotes or needs them");
    require(text[1] < '0' || text[1] > '9', "it does not begin with a digit");
}

static void check_name(const char *name, const char *begin, const char *end)
{
    const char *dot = strchr(name, '.');
    const char *last = dot ? dot + 1 : name;
    size_t len = strlen(last);
    if (dot) {
        check_identifier(name, (size_t)(dot - name));
    }
    check_identifier(last, len);
    require(strncmp(last + 1, begin, strlen(begin)) == 0, "a table says which it is");
    require(len >= strlen(end) + 2 && strncmp(last + len - 1 - strlen(end), end, strlen(end)) == 0,
        "also at its end");
}

static void to_small(char *text)
{
    for (char *p = text; *p; p++) {
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p | 0x20) : *p;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const ends[TABLE_COUNT] = {
        "_builds", "_shards", "", "_images", "_documents"};
    char *text = copy_text(data, size);
    char *line = strchr(text, '\n');
    if (line) {
        *line++ = '\0';
    }
    postgres_tables t;
    postgres_tables same;
    shardy_error err;
    shardy_manifest_store_options o;
    shardy_manifest_store_options_init(&o, sizeof o);
    memset(&err, 0, sizeof err);
    o.table_name = text;
    o.pointer_table_name = line;
    shardy_status st = shardy__postgres_tables_init(&t, &o, &err);
    require(st == SHARDY_OK || st == SHARDY_INVALID, "two outcomes");
    require((st == SHARDY_OK) == (err.message[0] == '\0'), "a refusal has a message");
    if (st == SHARDY_OK) {
        for (size_t i = 0; i < TABLE_COUNT; i++) {
            check_name(t.names[i], "", ends[i]);
            for (size_t k = 0; k < i; k++) {
                require(strcmp(t.names[i], t.names[k]) != 0, "each table has its own name");
            }
        }
        check_name(t.index, "idx_", "_updated_at");
        require(!strchr(t.index, '.'), "an index is in the schema of its table");
        to_small(text);
        to_small(line);
        require_that(shardy__postgres_tables_init(&same, &o, NULL) == SHARDY_OK);
        require(same_text(t.names[TABLE_BUILDS], same.names[TABLE_BUILDS]) &&
                    same_text(t.names[TABLE_POINTER], same.names[TABLE_POINTER]),
            "letters are small");
    }
    free(text);
    return 0;
}
