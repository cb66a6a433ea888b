/* proxy.h: which proxy requests go through. The text that names one has a user and a password in
 * it; they are taken out here, so that nobody else, libcurl included, has a text that quotes them.
 *
 * What is left out by no_proxy is decided by libcurl for each request, so a proxy of the
 * environment that cannot be is no failure before a request would go through it. */
#ifndef SHARDY_STORE_PROXY_H
#define SHARDY_STORE_PROXY_H

#include "../base/error.h"

typedef struct http_proxy {
    const char *variable; /* of the environment; NULL: the options name it, or there is none */
    const char *problem;  /* NULL: none; else what is wrong with it, as the end of a sentence */
    char url[512];        /* scheme://host:port; "": no proxy */
    char user[1024];      /* decoded; "": none */
    char password[2048];
} http_proxy;

/* Takes a text apart: [scheme://][user[:password]@]host[:port], with http, https, socks4, socks4a,
 * socks5 or socks5h, and user and password percent-encoded. Fills all but `variable`. */
void shardy__proxy_parse(const char *text, http_proxy *out);

/* The proxy of requests to http:// (or with `tls` https://): `given`, or with NULL what the
 * environment says, in the order of libcurl. CONFIG when `given` cannot be one. */
shardy_status shardy__proxy_find(const char *given, int tls, http_proxy *out, shardy_error *err);

/* CONFIG, for a problem; quotes nothing of the text. */
shardy_status shardy__proxy_refuse(const http_proxy *proxy, shardy_error *err);

#endif
