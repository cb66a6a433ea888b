/* host.h: the part of a URL that names a server: a host, and a port when there is one. */
#ifndef SHARDY_BASE_HOST_H
#define SHARDY_BASE_HOST_H

#include <stddef.h>

/* Longest host, without its port. */
#define SHARDY_HOST_LEN_MAX 255u

/* Whether a text has parts of letters, digits, '-' and '_' with single dots between them. */
int shardy__is_host_name(const char *text, size_t len);

/* NULL when a text is host or host:port, else what is wrong with it, as the end of a sentence. A
 * host is a name, which may have one dot at its end, or an address of IPv6 in brackets; a port is a
 * number from 1 to 65535. *host_len_out (may be NULL) is the length of the host with its brackets,
 * when there is one. */
const char *shardy__host_problem(const char *text, size_t len, size_t *host_len_out);

#endif
