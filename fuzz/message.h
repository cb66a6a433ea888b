/* message.h: what the command says when it refuses something, which is seen on a terminal. */
#ifndef SHARDY_FUZZ_MESSAGE_H
#define SHARDY_FUZZ_MESSAGE_H

#include "../cli/utf8.h"
#include "require.h"

/* Reading had the outcome `rc`. A message may have more lines than one with `lines`. */
static inline void require_message(int rc, const strbuf *message, int lines)
{
    require(rc == 0 || rc == -1, "reading has two outcomes");
    require((rc == 0) == (message->len == 0), "a refusal has a message");
    require(utf8_valid(strbuf_text(message), message->len), "a message is UTF-8");
    for (size_t i = 0; i < message->len; i++) {
        unsigned char c = (unsigned char)message->data[i];
        require((c >= 0x20 && c != 0x7F) || (lines && c == '\n'),
            "a message has no control characters");
    }
}

#endif
