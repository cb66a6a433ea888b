#include "proxy.h"

#include "../base/ascii.h"
#include "../base/environment.h"
#include "../base/host.h"

#include <stdio.h>
#include <string.h>

/* "http" in "http://...", also when it is not written. NULL: one that is not known. */
static const char *take_scheme(const char **text)
{
    static const char *const known[] = {
        "http", "https", "socks4", "socks4a", "socks5", "socks5h", NULL};
    char name[8] = "";
    size_t len = 0;
    while (shardy__is_alnum((*text)[len]) || ((*text)[len] && strchr("+-.", (*text)[len]))) {
        len++;
    }
    if (strncmp(*text + len, "://", 3) != 0) {
        return known[0];
    }
    for (size_t i = 0; i < len && i + 1 < sizeof name; i++) {
        name[i] = shardy__to_lower((*text)[i]);
    }
    *text += len + 3;
    for (size_t i = 0; known[i]; i++) {
        if (strlen(known[i]) == len && strcmp(known[i], name) == 0) {
            return known[i];
        }
    }
    return NULL;
}

static const char *take_encoded(const char *text, size_t len, char *out, size_t size)
{
    size_t to = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        int high = c == '%' && i + 2 < len ? shardy__hex_value(text[i + 1]) : -1;
        int low = high >= 0 ? shardy__hex_value(text[i + 2]) : -1;
        if (c <= 0x20 || c == 0x7F || strchr("#/?@", (int)c)) {
            return "has a character in its user or password that must be written as %XX";
        }
        if (low >= 0) {
            c = (unsigned char)(high << 4 | low);
            i += 2;
        }
        if (c == 0) {
            return "has a zero byte in its user or password";
        }
        if (to + 1 == size) {
            return "has a user or a password that is too long";
        }
        out[to++] = (char)c;
    }
    out[to] = '\0';
    return NULL;
}

static const char *take_user(const char *text, size_t len, http_proxy *out)
{
    const char *colon = memchr(text, ':', len);
    size_t user = colon ? (size_t)(colon - text) : len;
    const char *problem = take_encoded(text, user, out->user, sizeof out->user);
    if (!problem && colon) {
        problem = take_encoded(colon + 1, len - user - 1, out->password, sizeof out->password);
    }
    return problem;
}

static const char *parse(const char *text, http_proxy *out)
{
    const char *scheme = take_scheme(&text);
    if (!scheme) {
        return "has a scheme that is not known";
    }
    const char *at = strrchr(text, '@');
    const char *problem = at ? take_user(text, (size_t)(at - text), out) : NULL;
    if (problem) {
        return problem;
    }
    const char *host = at ? at + 1 : text;
    size_t len = strlen(host);
    while (len > 0 && host[len - 1] == '/') {
        len--;
    }
    problem = shardy__host_problem(host, len, NULL);
    if (!problem) {
        snprintf(out->url, sizeof out->url, "%s://%.*s", scheme, (int)len, host);
    }
    return problem;
}

void shardy__proxy_parse(const char *text, http_proxy *out)
{
    out->url[0] = out->user[0] = out->password[0] = '\0';
    out->problem = text[0] ? parse(text, out) : NULL;
    if (out->problem) {
        out->url[0] = out->user[0] = out->password[0] = '\0';
    }
}

shardy_status shardy__proxy_refuse(const http_proxy *proxy, shardy_error *err)
{
    return shardy__error(err, SHARDY_CONFIG, "http",
        "the proxy of %s%s%s %s, expected http://USER:PASSWORD@host:port, where the user and the "
        "password have %%XX for all but letters, digits and \"-._~\"",
        proxy->variable ? "\"" : "the options", proxy->variable ? proxy->variable : "",
        proxy->variable ? "\"" : "", proxy->problem);
}

shardy_status shardy__proxy_find(const char *given, int tls, http_proxy *out, shardy_error *err)
{
    /* HTTP_PROXY is not looked at: a web server sets it to what a client sends. */
    static const char *const plain[] = {"http_proxy", "all_proxy", "ALL_PROXY", NULL};
    static const char *const secure[] = {
        "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", NULL};
    const char *const *names = tls ? secure : plain;
    const char *text = given;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; !text && names[i]; i++) {
        text = shardy__environment(names[i]);
        out->variable = text ? names[i] : NULL;
    }
    if (text) {
        shardy__proxy_parse(text, out);
    }
    return given && out->problem ? shardy__proxy_refuse(out, err) : SHARDY_OK;
}
