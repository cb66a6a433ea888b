/* place.c: whether two texts name the same data set. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Of a URL or path: without the name of a pointer, which begins with '_', and trailing slashes. */
static char *root_text(const char *url)
{
    size_t len = strlen(url);
    size_t at = len;
    while (at > 0 && url[at - 1] != '/') {
        at--;
    }
    if (at < len && url[at] == '_') {
        len = at;
    }
    while (len > 1 && url[len - 1] == '/') {
        len--;
    }
    return len ? sys_strndup(url, len) : sys_strdup(".");
}

/* The path of a directory; NULL for an URL that names none. */
static const char *local_path(const char *root)
{
    static const char *const begins[] = {"file://localhost/", "file:///"};
    for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++) {
        size_t len = strlen(begins[i]);
        if (strncasecmp(root, begins[i], len) == 0) {
            return root + len - 1;
        }
    }
    return strstr(root, "://") ? NULL : root;
}

/* A path without links; of what is not there yet, as far as its directory tells. */
static char *real_path(const char *path)
{
    char *real = realpath(path, NULL);
    const char *slash = strrchr(path, '/');
    if (real) {
        return real;
    }
    char *dir = slash ? sys_strndup(path, (size_t)(slash - path) + 1) : sys_strdup(".");
    char *real_dir = realpath(dir, NULL);
    sys_free(dir);
    if (!real_dir) {
        return sys_strdup(path);
    }
    strbuf b = {0};
    strbuf_printf(&b, "%s/%s", real_dir, slash ? slash + 1 : path);
    sys_free(real_dir);
    return strbuf_take(&b);
}

static int same_root(const char *a, const char *b)
{
    if (strcmp(a, b) == 0) {
        return 1;
    }
    const char *path_a = local_path(a);
    const char *path_b = local_path(b);
    if (!path_a || !path_b) {
        /* only the case of the scheme does not matter */
        return !path_a && !path_b && strcmp(strstr(a, "://"), strstr(b, "://")) == 0 &&
               strncasecmp(a, b, (size_t)(strstr(a, "://") - a)) == 0;
    }
    char *real_a = real_path(path_a);
    char *real_b = real_path(path_b);
    int same = strcmp(real_a, real_b) == 0;
    sys_free(real_a);
    sys_free(real_b);
    return same;
}

int place_same(const char *a, const char *b)
{
    char *root_a = root_text(a);
    char *root_b = root_text(b);
    int same = same_root(root_a, root_b);
    sys_free(root_a);
    sys_free(root_b);
    return same;
}
