/* Texts that name a proxy.
 *
 * Properties: refused with a problem and nothing else, or a URL that has no user, that libcurl
 * understands and that is read again as it is; user and password are those between scheme and host,
 * decoded, and are read again from what they are encoded to. */
#include "store/proxy.h"
#include "require.h"

#include "base/ascii.h"
#include "base/bytebuf.h"
#include "base/host.h"
#include "store/s3_place.h"

#include <curl/curl.h>

/* Decodes with other means than the parser: a space that is given back is not one of its. */
static int is_decoded(const char *text, size_t len, const char *out)
{
    size_t at = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '%' && i + 2 < len && shardy__hex_value(text[i + 1]) >= 0 &&
            shardy__hex_value(text[i + 2]) >= 0) {
            c = (char)(shardy__hex_value(text[i + 1]) * 16 + shardy__hex_value(text[i + 2]));
            i += 2;
        }
        if (c == '\0' || out[at++] != c) {
            return 0;
        }
    }
    return out[at] == '\0';
}

static void check_user(const char *text, const http_proxy *p)
{
    const char *begin = strstr(text, "://");
    const char *at = strrchr(text, '@');
    begin = begin && (!at || begin < at) ? begin + 3 : text;
    size_t len = at ? (size_t)(at - begin) : 0;
    const char *colon = len ? memchr(begin, ':', len) : NULL;
    size_t user = colon ? (size_t)(colon - begin) : len;
    require(memchr(p->user, 0, sizeof p->user) && memchr(p->password, 0, sizeof p->password),
        "user and password end");
    require(is_decoded(begin, user, p->user), "the user is that of the text");
    require(is_decoded(colon ? colon + 1 : "", colon ? len - user - 1 : 0, p->password),
        "the password is that of the text");
}

static void check_url(const http_proxy *p)
{
    static const char *const schemes[] = {
        "http", "https", "socks4", "socks4a", "socks5", "socks5h"};
    const char *host = strstr(p->url, "://");
    int known = 0;
    require(host != NULL, "there is a scheme");
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        known =
            known || same_bytes(p->url, (size_t)(host - p->url), schemes[i], strlen(schemes[i]));
    }
    require(known, "which libcurl knows");
    require(!shardy__host_problem(host + 3, strlen(host + 3), NULL), "the rest is a host");
    CURLU *curl = curl_url();
    char *user = NULL;
    require_that(curl != NULL);
    require(curl_url_set(curl, CURLUPART_URL, p->url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK,
        "libcurl understands it");
    require(curl_url_get(curl, CURLUPART_USER, &user, 0) == CURLUE_NO_USER, "and sees no user");
    curl_free(user);
    curl_url_cleanup(curl);
}

static void check_again(const http_proxy *p)
{
    http_proxy again;
    bytebuf text;
    const char *host = strstr(p->url, "://") + 3;
    shardy__proxy_parse(p->url, &again);
    require(!again.problem && same_text(again.url, p->url) && !again.user[0] && !again.password[0],
        "a URL is read as it is");
    shardy__bytebuf_init(&text, 16384);
    shardy__bytebuf_append(&text, p->url, (size_t)(host - p->url));
    shardy__s3_encode(&text, shardy__bytes(p->user, strlen(p->user)), 1);
    shardy__bytebuf_puts(&text, ":");
    shardy__s3_encode(&text, shardy__bytes(p->password, strlen(p->password)), 1);
    shardy__bytebuf_puts(&text, "@");
    shardy__bytebuf_puts(&text, host);
    require_that(shardy__bytebuf_check(&text, "s3", NULL) == SHARDY_OK);
    shardy__proxy_parse(text.data, &again);
    require(!again.problem && same_text(again.url, p->url) && same_text(again.user, p->user) &&
                same_text(again.password, p->password),
        "all of it is read again from what it is encoded to");
    shardy__bytebuf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = copy_text(data, size);
    http_proxy *p = malloc(sizeof *p);
    require_that(p != NULL);
    memset(p, 'x', sizeof *p);
    p->variable = NULL;
    shardy__proxy_parse(text, p);
    if (p->problem) {
        shardy_error err;
        require(!p->url[0] && !p->user[0] && !p->password[0], "nothing comes out of a refusal");
        require(shardy__proxy_refuse(p, &err) == SHARDY_CONFIG && strstr(err.message, p->problem),
            "a refusal says why");
    } else if (text[0]) {
        check_user(text, p);
        check_url(p);
        check_again(p);
    } else {
        require(!p->url[0], "nothing is no proxy");
    }
    free(p);
    free(text);
    return 0;
}
