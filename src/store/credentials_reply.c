#include "credentials_reply.h"

#include "../base/ascii.h"
#include "../base/clock.h"
#include "../base/host.h"
#include "../base/json.h"

#include <shardyfusion/limits.h>

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

/* --- texts ---------------------------------------------------------------------------------- */

int shardy__credentials_keep(char *room, size_t size, const void *text, size_t len)
{
    if (len >= size || (len && memchr(text, 0, len))) {
        return 0;
    }
    if (len) {
        memcpy(room, text, len);
    }
    room[len] = '\0';
    return 1;
}

void shardy__credentials_keep_code(char *room, size_t size, const void *text, size_t len)
{
    const char *p = text;
    size_t kept = 0;
    while (kept < len && kept + 1 < size && shardy__is_alnum(p[kept])) {
        kept++;
    }
    if (kept == 0) {
        snprintf(room, size, "Unknown");
        return;
    }
    memcpy(room, p, kept);
    room[kept] = '\0';
}

int shardy__credentials_keep_line(char *room, size_t size, const void *reply, size_t len)
{
    const char *p = reply;
    size_t kept = 0;
    while (kept < len && p[kept] > 0x20 && p[kept] < 0x7F) {
        kept++;
    }
    return kept > 0 && shardy__credentials_keep(room, size, p, kept);
}

int shardy__credentials_is_role(const char *text)
{
    while (*text && (shardy__is_alnum(*text) || strchr("_+=,.@-", *text))) {
        text++;
    }
    return !*text;
}

int shardy__credentials_complete(const credentials_reply *reply)
{
    return reply->key_id[0] && reply->secret[0] && reply->expires_us > 0;
}

/* --- JSON ----------------------------------------------------------------------------------- */

/* The reader's own message may show a part of the text. */
static shardy_status bad_json(shardy_error *err, const char *problem)
{
    return shardy__error_native(err, SHARDY_CORRUPT, 1, 0, "s3", "the reply %s", problem);
}

typedef struct member {
    const char *name;
    char *room;
    size_t size;
} member;

/* A decoded string in its room. */
static shardy_status keep_string(const json_reader *r, const member *m, shardy_error *err)
{
    bytebuf text;
    shardy__bytebuf_init(&text, 16u << 10);
    (void)shardy__bytebuf_reserve(&text, r->text.len + 1);
    shardy__json_decode(r->text, &text);
    shardy_status st = text.status;
    int fits = st >= 0 && shardy__credentials_keep(m->room, m->size, text.data, text.len);
    if (text.data) {
        OPENSSL_cleanse(text.data, text.room);
    }
    shardy__bytebuf_free(&text);
    if (st == SHARDY_NOMEM) {
        return shardy__error_nomem(err, "s3");
    }
    return fits ? SHARDY_OK : bad_json(err, "has a text that is too long");
}

static const member *find_member(const json_reader *r, const member *members, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = members[i].name;
        if (shardy__json_text_equals(r->text, r->flags, name, strlen(name))) {
            return &members[i];
        }
    }
    return NULL;
}

static shardy_status read_members(
    json_reader *r, const member *members, size_t count, shardy_error *err)
{
    shardy_status st = shardy__json_next(r, NULL);
    if (st < 0 || r->token != JSON_OBJECT_BEGIN) {
        return bad_json(err, "is no object of JSON");
    }
    st = shardy__json_next(r, NULL);
    while (st >= 0 && r->token == JSON_NAME) {
        const member *m = find_member(r, members, count);
        st = shardy__json_next(r, NULL);
        if (st >= 0 && m && r->token == JSON_STRING) {
            SHARDY_TRY(keep_string(r, m, err));
        } else if (st >= 0) {
            st = shardy__json_skip(r, NULL, NULL);
        }
        st = st < 0 ? st : shardy__json_next(r, NULL);
    }
    st = st < 0 ? st : shardy__json_next(r, NULL);
    return st < 0 || r->token != JSON_END ? bad_json(err, "is no object of JSON") : SHARDY_OK;
}

shardy_status shardy__credentials_parse_json(
    shardy_bytes json, credentials_reply *out, shardy_error *err)
{
    char code[64] = "";
    char expires[64] = "";
    const member members[] = {
        {"AccessKeyId", out->key_id, sizeof out->key_id},
        {"SecretAccessKey", out->secret, sizeof out->secret},
        {"Token", out->token, sizeof out->token},
        {"Expiration", expires, sizeof expires},
        {"Code", code, sizeof code},
    };
    json_reader r;
    memset(out, 0, sizeof *out);
    shardy__json_reader_init(&r, json);
    SHARDY_TRY(read_members(&r, members, sizeof members / sizeof members[0], err));
    if (code[0] && strcmp(code, "Success") != 0) {
        shardy__credentials_keep_code(out->code, sizeof out->code, code, strlen(code));
        return SHARDY_OK;
    }
    if (!shardy__time_parse(expires, strlen(expires), &out->expires_us) ||
        !shardy__credentials_complete(out)) {
        return bad_json(err, "has no access key, or does not say when it expires");
    }
    return SHARDY_OK;
}

/* --- addresses ------------------------------------------------------------------------------ */

const char *shardy__service_url_parse(const char *url, service_url *out)
{
    memset(out, 0, sizeof *out);
    out->https = strncmp(url, "https://", 8) == 0;
    if (!out->https && strncmp(url, "http://", 7) != 0) {
        return "does not begin with http:// or https://";
    }
    if (strlen(url) > SHARDY_URL_LEN_MAX) {
        return "is too long";
    }
    for (const char *p = url; *p; p++) {
        if (*p <= 0x20 || *p >= 0x7F || *p == '\\' || *p == '#') {
            return "has a character that no URL of a service has";
        }
    }
    const char *authority = url + (out->https ? 8 : 7);
    size_t len = strcspn(authority, "/?");
    out->base_len = (size_t)(authority - url) + len;
    size_t host = 0;
    const char *problem = shardy__host_problem(authority, len, &host);
    if (!problem) {
        size_t bracket = authority[0] == '[';
        snprintf(
            out->host, sizeof out->host, "%.*s", (int)(host - 2 * bracket), authority + bracket);
    }
    return problem;
}

int shardy__service_url_is_local(const service_url *url)
{
    static const char *const v6[] = {"::1", "fd00:ec2::23"};
    struct in_addr four;
    struct in6_addr six;
    struct in6_addr known;
    if (strcmp(url->host, "localhost") == 0) {
        return 1;
    }
    if (inet_pton(AF_INET, url->host, &four) == 1) {
        uint32_t address = ntohl(four.s_addr);
        return address >> 24 == 127 || address == 0xA9FEAA02u || address == 0xA9FEAA17u;
    }
    if (inet_pton(AF_INET6, url->host, &six) != 1) {
        return 0;
    }
    for (size_t i = 0; i < sizeof v6 / sizeof v6[0]; i++) {
        if (inet_pton(AF_INET6, v6[i], &known) == 1 && memcmp(&six, &known, sizeof six) == 0) {
            return 1;
        }
    }
    return 0;
}
