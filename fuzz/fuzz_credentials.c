/* Files of profiles, what services answer that hand out credentials, and their addresses: the input
 * is read as each of them.
 *
 * Properties: reading has two outcomes; a refusal says nothing of the text but the number of a
 * line; a profile that is written down again reads the same; texts end within their room;
 * credentials are whole or there is a code of letters and digits; a line can be in a header, and a
 * role in a path; only few hosts may be reached without TLS. */
#include "base/bytebuf.h"
#include "faults.h"
#include "store/credentials_reply.h"
#include "store/profile.h"
#include "store/s3_xml.h"

static const char *const names[] = {"aws_access_key_id", "aws_secret_access_key",
    "aws_session_token", "region", "role_arn", "role_session_name", "web_identity_token_file"};

enum {
    NAME_COUNT = sizeof names / sizeof names[0]
};

static void texts_of(const profile *p, const char *texts[NAME_COUNT])
{
    const char *const all[NAME_COUNT] = {p->access_key_id, p->secret_access_key, p->session_token,
        p->region, p->role_arn, p->role_session_name, p->token_file};
    memcpy(texts, all, sizeof all);
}

static void check_refusal(shardy_status st, const shardy_error *err, const char *begin)
{
    require((st == SHARDY_OK) == (err->message[0] == '\0'), "a refusal has a message");
    require(st == SHARDY_OK || strncmp(err->message, begin, strlen(begin)) == 0,
        "a refusal shows nothing of the text");
}

static void check_profile(const profile *p, profile_file kind, const char *name)
{
    const char *texts[NAME_COUNT];
    const char *again[NAME_COUNT];
    bytebuf text;
    profile other;
    memset(&other, 0, sizeof other);
    texts_of(p, texts);
    shardy__bytebuf_init(&text, 8u << 20);
    shardy__bytebuf_printf(&text, "[%s%s]\n",
        kind == PROFILE_CONFIG && strcmp(name, "default") != 0 ? "profile " : "", name);
    for (size_t i = 0; i < NAME_COUNT; i++) {
        require(!texts[i] || (p->found && texts[i][0]), "what is kept is a text of the profile");
        require(!texts[i] || !strchr(texts[i], '\n'), "a text has one line");
        if (texts[i]) {
            shardy__bytebuf_printf(&text, "%s = %s\n", names[i], texts[i]);
        }
    }
    require(text.status == SHARDY_OK, "a profile can be written down");
    require(shardy__profile_parse(shardy__bytes(text.data, text.len), kind, name, &other, NULL) ==
                SHARDY_OK,
        "a profile that was written down can be read");
    texts_of(&other, again);
    for (size_t i = 0; i < NAME_COUNT; i++) {
        require(same_text(texts[i], again[i]), "a profile that was written down reads the same");
    }
    shardy__profile_free(&other);
    shardy__bytebuf_free(&text);
}

static void read_profiles(const uint8_t *data, size_t size)
{
    static const char *const profiles[] = {"default", "a"};
    for (int i = 0; i < 4; i++) {
        profile p;
        shardy_error err;
        memset(&p, 0, sizeof p);
        memset(&err, 0, sizeof err);
        const char *name = profiles[i % 2];
        profile_file kind = i < 2 ? PROFILE_CREDENTIALS : PROFILE_CONFIG;
        shardy_status st = shardy__profile_parse(shardy__bytes(data, size), kind, name, &p, &err);
        require(st == SHARDY_OK || st == SHARDY_CONFIG, "reading has two outcomes");
        check_refusal(st, &err, memchr(data, 0, size) ? "the file has" : "line ");
        if (st == SHARDY_OK) {
            check_profile(&p, kind, name);
        }
        shardy__profile_free(&p);
    }
}

static void check_reply(const credentials_reply *r)
{
    require(memchr(r->code, 0, sizeof r->code) != NULL, "a code ends");
    require(memchr(r->key_id, 0, sizeof r->key_id) != NULL, "a key ends");
    require(memchr(r->secret, 0, sizeof r->secret) != NULL, "a secret ends");
    require(memchr(r->token, 0, sizeof r->token) != NULL, "a token ends");
    require(r->code[0] || shardy__credentials_complete(r), "there is a code, or all of it");
    for (const char *p = r->code; *p; p++) {
        require((*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z'),
            "a code is letters and digits");
    }
}

static void read_replies(const uint8_t *data, size_t size)
{
    credentials_reply reply;
    shardy_error err;
    memset(&err, 0, sizeof err);
    shardy_status st = shardy__credentials_parse_json(shardy__bytes(data, size), &reply, &err);
    require(st == SHARDY_OK || st == SHARDY_CORRUPT, "reading has two outcomes");
    check_refusal(st, &err, "the reply ");
    if (st == SHARDY_OK) {
        check_reply(&reply);
    }
    memset(&err, 0, sizeof err);
    st = shardy__s3_parse_assumed(shardy__bytes(data, size), &reply, &err);
    require(st == SHARDY_OK || st == SHARDY_CORRUPT, "reading has two outcomes");
    check_refusal(st, &err, "the reply ");
    if (st == SHARDY_OK) {
        check_reply(&reply);
    }
}

/* The token and the role of instance metadata, which become a header and a part of a path. The room
 * is a block of its own, so that a byte beyond it is seen. */
static void read_line(const uint8_t *data, size_t size)
{
    enum {
        ROOM = 16
    };
    char *room = malloc(ROOM);
    require(room != NULL, "memory");
    if (shardy__credentials_keep_line(room, ROOM, data, size)) {
        size_t len = strnlen(room, ROOM);
        require(len > 0 && len < ROOM, "a line ends within its room");
        require(len <= size && memcmp(room, data, len) == 0, "a line is the beginning of a reply");
        require(len == size || data[len] <= 0x20 || data[len] >= 0x7F, "and is whole");
        for (size_t i = 0; i < len; i++) {
            require(room[i] > 0x20 && room[i] < 0x7F, "a line can be in a header");
        }
        require(!shardy__credentials_is_role(room) || !strpbrk(room, "/?#%\\&"),
            "a role is one segment of a path");
    }
    free(room);
}

static void read_url(const uint8_t *data, size_t size)
{
    service_url url;
    char *text = copy_text(data, size);
    if (!shardy__service_url_parse(text, &url)) {
        require(url.host[0] && strlen(url.host) < sizeof url.host, "there is a host");
        require(url.base_len <= strlen(text), "the base is a part of the URL");
        require(!memchr(text, '@', url.base_len), "nobody is named before the host");
        require(!shardy__service_url_is_local(&url) || strcmp(url.host, "localhost") == 0 ||
                    strncmp(url.host, "127.", 4) == 0 ||
                    strncmp(url.host, "169.254.170.", 12) == 0 || strchr(url.host, ':'),
            "few hosts are local");
    }
    free(text);
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    profile p;
    credentials_reply reply;
    memset(&p, 0, sizeof p);
    shardy_status st =
        shardy__profile_parse(shardy__bytes(data, size), PROFILE_CONFIG, "a", &p, err);
    shardy__profile_free(&p);
    if (st == SHARDY_OK || st == SHARDY_NOMEM) {
        return st;
    }
    st = shardy__credentials_parse_json(shardy__bytes(data, size), &reply, err);
    return st == SHARDY_CORRUPT ? shardy__s3_parse_assumed(shardy__bytes(data, size), &reply, err)
                                : st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    run_with_fault(data, size, run);
    read_profiles(data, size);
    read_replies(data, size);
    read_url(data, size);
    read_line(data, size);
    return 0;
}
