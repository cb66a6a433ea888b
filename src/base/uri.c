#include "uri.h"

#include "ascii.h"
#include "host.h"
#include "utf8.h"

#include <string.h>

/* --- keys --------------------------------------------------------------------------------- */

static const char *text_problem(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F) {
            return "has a control character";
        }
    }
    return shardy__utf8_valid(text, len) ? NULL : "is not UTF-8";
}

/* Segments between single slashes. */
static const char *segments_problem(const char *text, size_t len)
{
    const char *end = text + len;
    for (;;) {
        const char *slash = memchr(text, '/', (size_t)(end - text));
        size_t segment = (size_t)((slash ? slash : end) - text);
        if (segment == 0) {
            return "has an empty segment";
        }
        if (text[0] == '.' && (segment == 1 || (segment == 2 && text[1] == '.'))) {
            return "has a segment \".\" or \"..\"";
        }
        if (!slash) {
            return NULL;
        }
        text = slash + 1;
    }
}

const char *shardy__key_problem(const void *key, size_t len)
{
    const char *text = key;
    if (len == 0) {
        return "is empty";
    }
    if (len > SHARDY_OBJECT_KEY_LEN_MAX) {
        return "is too long";
    }
    const char *problem = text_problem(text, len);
    if (!problem) {
        problem = segments_problem(text, len);
    }
    size_t own = sizeof SHARDY_STORE_OWN_DIR - 1;
    if (!problem && len >= own && memcmp(text, SHARDY_STORE_OWN_DIR, own) == 0 &&
        (len == own || text[own] == '/')) {
        problem = "begins with \"" SHARDY_STORE_OWN_DIR "\", which stores keep for themselves";
    }
    return problem;
}

/* --- URLs --------------------------------------------------------------------------------- */

/* Length of the scheme in front of "://", 0 when there is none. */
static size_t scheme_len(const char *text)
{
    size_t len = 0;
    while (shardy__is_letter(text[len]) ||
           (len > 0 && (shardy__is_digit(text[len]) || text[len] == '+' || text[len] == '-' ||
                           text[len] == '.'))) {
        len++;
    }
    return strncmp(text + len, "://", 3) == 0 ? len : 0;
}

/* Of a URL nothing is told that stands before an '@' or behind a '?' or '#': people put secrets
 * there, and those of AWS have slashes, so that it may look like a path. */
static shardy_status invalid(const char *text, const char *problem, shardy_error *err)
{
    size_t scheme = scheme_len(text);
    const char *at = scheme ? strrchr(text, '@') : NULL;
    const char *from = at ? at : text;
    size_t len = scheme ? strcspn(from, "?#") : strlen(from);
    int is_cut = from[len] != '\0';
    return shardy__error(err, SHARDY_INVALID, "url", "\"%.*s%s%.*s%.*s%s\" %s",
        at ? (int)scheme : 0, text, at ? "://***" : "", (int)(len > 300 ? 300 : len), from, is_cut,
        from + len, is_cut ? "***" : "", problem);
}

static int is_scheme(shardy_bytes scheme, const char *name)
{
    const char *text = scheme.data;
    if (scheme.len != strlen(name)) {
        return 0;
    }
    for (size_t i = 0; i < scheme.len; i++) {
        if (shardy__to_lower(text[i]) != name[i]) {
            return 0;
        }
    }
    return 1;
}

static uri_kind kind_of_scheme(shardy_bytes scheme)
{
    if (is_scheme(scheme, "file")) {
        return URI_FILE;
    }
    return is_scheme(scheme, "s3") ? URI_S3 : URI_OTHER;
}

static const char *authority_problem(const uri *u)
{
    const char *host = u->authority.data;
    size_t len = u->authority.len;
    if (u->kind == URI_OTHER) {
        return shardy__host_problem(host, len, NULL);
    }
    if (u->kind == URI_FILE) {
        return len == 0 || (len == 9 && memcmp(host, "localhost", 9) == 0)
                   ? NULL
                   : "names a host, expected file:///path";
    }
    if (len == 0) {
        return "has no bucket, expected s3://bucket/prefix";
    }
    return len <= SHARDY_HOST_LEN_MAX && shardy__is_host_name(host, len)
               ? NULL
               : "has no valid bucket, expected letters, digits, '-' and '_', with single '.' "
                 "between them";
}

static shardy_status check_authority(const char *text, const uri *u, shardy_error *err)
{
    const char *host = u->authority.data;
    const char *problem = authority_problem(u);
    int has_secret = memchr(host, '@', u->authority.len) ||
                     (memchr(host, ':', u->authority.len) && strchr(host, '@'));
    if (problem && has_secret) { /* not quoted */
        return shardy__error(err, SHARDY_INVALID, "url",
            "a URL has credentials in front of its host, which are not accepted");
    }
    return problem ? invalid(text, problem, err) : SHARDY_OK;
}

static shardy_status parse_url(const char *text, size_t scheme, uri *u, shardy_error *err)
{
    const char *host = text + scheme + 3;
    const char *path = host + strcspn(host, "/?#");
    u->scheme.len = scheme;
    u->kind = kind_of_scheme(u->scheme);
    u->authority.data = host;
    u->authority.len = (size_t)(path - host);
    SHARDY_TRY(check_authority(text, u, err));
    if (u->kind == URI_FILE) {
        u->authority.len = 0;
    }
    if (strpbrk(path, "?#")) {
        return invalid(text, "has a '?' or '#', which no place of objects has", err);
    }
    size_t len = strlen(path);
    if (u->kind == URI_FILE && len == 0) {
        return invalid(text, "has no path, expected file:///path", err);
    }
    if (len > 0 && path[len - 1] == '/') {
        len--;
    }
    const char *problem = len > 0 ? segments_problem(path + 1, len - 1) : NULL;
    if (problem) {
        return invalid(text, problem, err);
    }
    u->path.data = path;
    u->path.len = len;
    return SHARDY_OK;
}

shardy_status shardy__uri_parse(const char *text, uri *uri_out, shardy_error *err)
{
    memset(uri_out, 0, sizeof *uri_out);
    size_t len = strnlen(text, SHARDY_URL_LEN_MAX + 1);
    if (len == 0) {
        return shardy__error(err, SHARDY_INVALID, "url", "a URL or path is empty");
    }
    if (len > SHARDY_URL_LEN_MAX) {
        return shardy__error(
            err, SHARDY_INVALID, "url", "a URL or path has more than %u bytes", SHARDY_URL_LEN_MAX);
    }
    const char *problem = text_problem(text, len);
    if (problem) {
        return shardy__error(err, SHARDY_INVALID, "url", "a URL or path %s", problem);
    }
    uri_out->kind = URI_PATH;
    uri_out->scheme.data = text;
    uri_out->authority.data = text;
    size_t scheme = scheme_len(text);
    if (scheme > 0) {
        shardy_status st = parse_url(text, scheme, uri_out, err);
        if (st < 0) {
            memset(uri_out, 0, sizeof *uri_out);
        }
        return st;
    }
    while (len > 1 && text[len - 1] == '/') {
        len--;
    }
    uri_out->path.data = text;
    uri_out->path.len = len;
    return SHARDY_OK;
}

/* Never longer than the text that was parsed. */
static size_t format_uri(const uri *u, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < u->scheme.len; i++) {
        out[len++] = shardy__to_lower(((const char *)u->scheme.data)[i]);
    }
    if (u->scheme.len) {
        memcpy(out + len, "://", 3);
        len += 3;
        memcpy(out + len, u->authority.data, u->authority.len);
        len += u->authority.len;
    }
    memcpy(out + len, u->path.data, u->path.len);
    len += u->path.len;
    if (u->kind == URI_FILE && u->path.len == 0) {
        out[len++] = '/';
    }
    out[len] = '\0';
    return len;
}

shardy_status shardy__uri_normalize(
    const char *text, char text_out[SHARDY_URL_LEN_MAX + 1], shardy_error *err)
{
    uri u;
    text_out[0] = '\0';
    SHARDY_TRY(shardy__uri_parse(text, &u, err));
    format_uri(&u, text_out);
    return SHARDY_OK;
}

static shardy_status check_key(const char *key, size_t len, shardy_error *err)
{
    const char *problem = shardy__key_problem(key, len);
    return problem ? shardy__error(err, SHARDY_INVALID, "url", "the path \"%.*s\" %s",
                         (int)(len > 200 ? 200 : len), key, problem)
                   : SHARDY_OK;
}

shardy_status shardy__uri_join(
    const char *base, const char *key, char text_out[SHARDY_URL_LEN_MAX + 1], shardy_error *err)
{
    uri u;
    text_out[0] = '\0';
    SHARDY_TRY(shardy__uri_parse(base, &u, err));
    size_t key_len = strnlen(key, SHARDY_OBJECT_KEY_LEN_MAX + 1);
    SHARDY_TRY(check_key(key, key_len, err));
    if (u.scheme.len && strpbrk(key, "?#")) {
        return invalid(key, "has a '?' or '#', which a URL cannot have", err);
    }
    size_t len = format_uri(&u, text_out);
    size_t slash = text_out[len - 1] != '/';
    if (len + slash + key_len > SHARDY_URL_LEN_MAX) {
        text_out[0] = '\0';
        return shardy__error(err, SHARDY_INVALID, "url",
            "\"%.200s\" below \"%.200s\" makes a URL of more than %u bytes", key, base,
            SHARDY_URL_LEN_MAX);
    }
    if (slash) {
        text_out[len++] = '/';
    }
    memcpy(text_out + len, key, key_len + 1);
    return SHARDY_OK;
}

static int same_place(const uri *a, const uri *b)
{
    if (a->kind != b->kind || a->scheme.len != b->scheme.len ||
        a->authority.len != b->authority.len ||
        memcmp(a->authority.data, b->authority.data, a->authority.len) != 0) {
        return 0;
    }
    for (size_t i = 0; i < a->scheme.len; i++) {
        if (shardy__to_lower(((const char *)a->scheme.data)[i]) !=
            shardy__to_lower(((const char *)b->scheme.data)[i])) {
            return 0;
        }
    }
    return 1;
}

shardy_status shardy__uri_strip(const char *prefix, const char *url,
    char key_out[SHARDY_OBJECT_KEY_LEN_MAX + 1], shardy_error *err)
{
    uri base;
    uri u;
    key_out[0] = '\0';
    SHARDY_TRY(shardy__uri_parse(prefix, &base, err));
    SHARDY_TRY(shardy__uri_parse(url, &u, err));
    const char *path = u.path.data;
    size_t above = base.path.len;
    if (base.kind == URI_PATH && above == 1 && ((const char *)base.path.data)[0] == '/') {
        above = 0; /* its slash is the one in front of the key */
    }
    if (!same_place(&base, &u) || u.path.len <= above + 1 ||
        memcmp(path, base.path.data, above) != 0 || path[above] != '/') {
        return shardy__error(
            err, SHARDY_INVALID, "url", "\"%.300s\" is not below \"%.300s\"", url, prefix);
    }
    const char *key = path + above + 1;
    size_t len = u.path.len - above - 1;
    SHARDY_TRY(check_key(key, len, err));
    memcpy(key_out, key, len);
    key_out[len] = '\0';
    return SHARDY_OK;
}

shardy_status shardy__uri_check_published(const char *text, shardy_error *err)
{
    uri u;
    SHARDY_TRY(shardy__uri_parse(text, &u, err));
    const char *path = u.path.data;
    int absolute = u.path.len > 1 && path[0] == '/' && u.kind != URI_OTHER;
    if (!absolute) {
        return invalid(text,
            "is no place of a snapshot, expected s3://bucket/prefix, file:///path or an absolute "
            "path",
            err);
    }
    const char *problem = segments_problem(path + 1, u.path.len - 1);
    return problem ? invalid(text, problem, err) : SHARDY_OK;
}
