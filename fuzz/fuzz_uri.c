/* URLs, prefixes and keys: the input is a prefix and a URL, a newline between them.
 *
 * Properties: a host has no empty part and a port is one; what is normalised stays as it is when
 * that is done again; a key that is resolved obeys the rules of keys and lies below the prefix;
 * joining and stripping undo each other. */
#include "base/uri.h"
#include "require.h"

static void check_key(const char *key)
{
    char wrapped[SHARDY_OBJECT_KEY_LEN_MAX + 3];
    require(shardy__key_problem(key, strlen(key)) == NULL, "a resolved path is a key");
    snprintf(wrapped, sizeof wrapped, "/%s/", key);
    require(!strstr(wrapped, "/../") && !strstr(wrapped, "/./") && !strstr(wrapped, "//"),
        "a resolved path stays below");
    require(strncmp(wrapped, "/.shardyfusion/", 15) != 0, "a resolved path is nobody's own");
}

/* With other means than the parser's. */
static void check_authority(const uri *u)
{
    char text[SHARDY_URL_LEN_MAX + 1];
    snprintf(text, sizeof text, "%.*s", (int)u->authority.len, (const char *)u->authority.data);
    require(!strpbrk(text, "/?#@\\ \t\n*~"), "an authority has what hosts have");
    require(!strstr(text, "..") && text[0] != '.' && text[0] != ':', "parts are not empty");
    const char *close = strchr(text, ']');
    const char *port = strchr(close ? close : text, ':');
    require(!close == (text[0] != '['), "brackets are a pair");
    require(!close || !close[1] || close[1] == ':', "a port follows the bracket");
    if (u->kind != URI_OTHER) {
        require(
            (u->kind == URI_S3) == (text[0] != '\0') && !port && !close, "a bucket has no port");
    } else if (port) {
        require(strlen(port) <= 6 && strspn(port + 1, "0123456789") == strlen(port + 1) &&
                    strtol(port + 1, NULL, 10) > 0 && strtol(port + 1, NULL, 10) <= 65535,
            "a port is a number from 1 to 65535");
    }
}

static void check_normal(const char *text)
{
    uri u;
    char once[SHARDY_URL_LEN_MAX + 1];
    char twice[SHARDY_URL_LEN_MAX + 1];
    shardy_error err;
    memset(&err, 0, sizeof err);
    shardy_status st = shardy__uri_parse(text, &u, &err);
    require(st == SHARDY_OK || st == SHARDY_INVALID, "parsing has two outcomes");
    require((st == SHARDY_OK) == (err.message[0] == '\0'), "a refusal has a message");
    require(shardy__uri_normalize(text, once, NULL) == st, "normalising fails as parsing does");
    if (st == SHARDY_OK) {
        check_authority(&u);
        require(strlen(once) <= strlen(text), "normalising makes nothing longer");
        require(shardy__uri_normalize(once, twice, NULL) == SHARDY_OK, "a normal form parses");
        require(strcmp(once, twice) == 0, "a normal form is one");
    }
    (void)shardy__uri_check_published(text, NULL);
}

static void check_pair(const char *prefix, const char *text)
{
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    char again[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    char url[SHARDY_URL_LEN_MAX + 1];
    char normal[SHARDY_URL_LEN_MAX + 1];
    if (shardy__uri_strip(prefix, text, key, NULL) == SHARDY_OK) {
        check_key(key);
        require(shardy__uri_join(prefix, key, url, NULL) == SHARDY_OK, "a key can be joined");
        require(shardy__uri_normalize(text, normal, NULL) == SHARDY_OK, "what resolves parses");
        require(strcmp(url, normal) == 0, "joining undoes stripping");
    } else {
        require(key[0] == '\0', "nothing comes out of a refusal");
    }
    if (shardy__uri_join(prefix, text, url, NULL) == SHARDY_OK) {
        check_key(text);
        require(
            shardy__uri_strip(prefix, url, again, NULL) == SHARDY_OK, "what was joined resolves");
        require(strcmp(again, text) == 0, "stripping undoes joining");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = copy_text(data, size);
    (void)shardy__key_problem(text, size);
    char *newline = strchr(text, '\n');
    const char *url = text;
    if (newline) {
        *newline = '\0';
        url = newline + 1;
        check_normal(text);
    }
    check_normal(url);
    check_pair(text, url);
    check_pair("s3://bucket/prefix", url);
    check_pair("/data", url);
    free(text);
    return 0;
}
