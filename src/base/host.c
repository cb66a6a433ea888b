#include "host.h"

#include "ascii.h"
#include "number.h"

#include <arpa/inet.h>
#include <string.h>

int shardy__is_host_name(const char *text, size_t len)
{
    char before = '.';
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '.' ? before == '.' : !shardy__is_alnum(c) && c != '-' && c != '_') {
            return 0;
        }
        before = c;
    }
    return before != '.';
}

static const char *name_problem(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!shardy__is_alnum(text[i]) && text[i] != '-' && text[i] != '_' && text[i] != '.') {
            return "has a character that no host has";
        }
    }
    len -= len > 1 && text[len - 1] == '.'; /* the root of all names */
    return shardy__is_host_name(text, len) ? NULL : "has a host with an empty part";
}

/* What is between the brackets; an address of a link has the name of an interface behind a '%'. */
static const char *address_problem(const char *text, size_t len)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr six;
    const char *zone = memchr(text, '%', len);
    size_t address_len = zone ? (size_t)(zone - text) : len;
    if (address_len < sizeof address) {
        memcpy(address, text, address_len);
        address[address_len] = '\0';
    }
    if (address_len >= sizeof address || strlen(address) != address_len ||
        inet_pton(AF_INET6, address, &six) != 1) {
        return "has no valid address in brackets";
    }
    if (!zone) {
        return NULL;
    }
    size_t skip = len - address_len >= 3 && memcmp(zone, "%25", 3) == 0 ? 3 : 1;
    return shardy__is_host_name(zone + skip, len - address_len - skip)
               ? NULL
               : "has no valid address in brackets";
}

const char *shardy__host_problem(const char *text, size_t len, size_t *host_len_out)
{
    if (len > 0 && memchr(text, '@', len)) {
        return "has credentials in front of its host, which are not accepted";
    }
    int bracket = len > 0 && text[0] == '[';
    const char *end = len > 0 ? memchr(text, bracket ? ']' : ':', len) : NULL;
    size_t host = end ? (size_t)(end - text) + (size_t)bracket : len;
    if (host == 0) {
        return "has no host";
    }
    if (host > SHARDY_HOST_LEN_MAX) {
        return "has a host that is too long";
    }
    const char *problem = !bracket ? name_problem(text, host)
                          : end    ? address_problem(text + 1, host - 2)
                                   : "has no valid address in brackets";
    if (problem) {
        return problem;
    }
    if (host < len && text[host] != ':') {
        return "has a character that no host has";
    }
    uint64_t port = 1;
    if (host < len && (!shardy__parse_uint64(text + host + 1, len - host - 1, &port) || port == 0 ||
                          port > 65535)) {
        return "has a port that is no number from 1 to 65535";
    }
    if (host_len_out) {
        *host_len_out = host;
    }
    return NULL;
}
