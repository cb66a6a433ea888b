/* credentials_reply.h: what services that hand out credentials answer, and their addresses. The
 * texts are bytes from outside: none of them is in a message but a code of letters and digits. */
#ifndef SHARDY_STORE_CREDENTIALS_REPLY_H
#define SHARDY_STORE_CREDENTIALS_REPLY_H

#include "../base/error.h"

#include <stddef.h>
#include <stdint.h>

/* Texts are zero-terminated. Overwrite it when it is not needed any more. */
typedef struct credentials_reply {
    char code[64]; /* of a refusal, letters and digits; "": there was none */
    char key_id[256];
    char secret[512];
    char token[8192]; /* "": none */
    int64_t expires_us;
} credentials_reply;

/* The JSON of instance and container metadata. A refusal ("Code" is not "Success") fills `code` and
 * is OK. Statuses: OK; CORRUPT: not JSON, or no credentials that expire; NOMEM. */
shardy_status shardy__credentials_parse_json(
    shardy_bytes json, credentials_reply *out, shardy_error *err);

/* Keeps a text in a room of `size` bytes. 0 when it is too long or has a zero byte. */
int shardy__credentials_keep(char *room, size_t size, const void *text, size_t len);
/* Keeps a code, or a part of it that is letters and digits. */
void shardy__credentials_keep_code(char *room, size_t size, const void *text, size_t len);
/* Keeps the bytes before the first that is a space or no printable ASCII: of a reply that is one
 * line, without its end. 0 when there are none, or too many. */
int shardy__credentials_keep_line(char *room, size_t size, const void *reply, size_t len);
/* Whether a text has only what names of roles have, so that it can be a part of a path. */
int shardy__credentials_is_role(const char *text);
/* Whether there are all texts of credentials and the time of their end. */
int shardy__credentials_complete(const credentials_reply *reply);

/* http://host:port/path or https://...: no user, no fragment, nothing that libcurl might read in
 * another way. */
typedef struct service_url {
    int32_t https;
    char host[256];  /* of an address of IPv6 without its brackets */
    size_t base_len; /* of the URL, without its path and query */
} service_url;

/* NULL, or what is wrong with it. */
const char *shardy__service_url_parse(const char *url, service_url *out);
/* Whether an authorization may be sent there without TLS: this machine, or one of the addresses
 * that are reserved for the metadata of containers. */
int shardy__service_url_is_local(const service_url *url);

#endif
