/* credentials_impl.h: what the parts of the credentials share: where they are asked for
 * (credentials_find.c), asking (credentials_ask.c), keeping (credentials.c). */
#ifndef SHARDY_STORE_CREDENTIALS_IMPL_H
#define SHARDY_STORE_CREDENTIALS_IMPL_H

#include "credentials.h"
#include "credentials_reply.h"

#include "../base/thread.h"

typedef enum credentials_kind {
    CREDENTIALS_FIXED = 0, /* they do not expire */
    CREDENTIALS_WEB_IDENTITY,
    CREDENTIALS_CONTAINER,
    CREDENTIALS_INSTANCE
} credentials_kind;

/* Where credentials are asked for. Texts are owned. */
typedef struct credentials_place {
    credentials_kind kind;
    const char *name; /* "web identity": for messages */
    char *url;
    char *token_file; /* web identity, container */
    char *token;      /* container */
    char *role_arn;   /* web identity */
    char *session_name;
    char *region; /* of the profile */
    char *tried;  /* what said nothing */
    char *said;   /* what did; no secret */
} credentials_place;

struct credentials_source {
    shardy_context *context; /* borrowed: the store has a reference */
    credentials_place place;
    http_client *http;     /* NULL when they are fixed */
    shardy_cancel *cancel; /* of the request under way */
    mutex lock;            /* rank: leaf; guards the rest */
    condition changed;     /* the request under way has ended */
    credentials *current;  /* NULL: none yet */
    int64_t expires_us;    /* by the wall clock, which may be set, */
    int64_t expires_ns;  /* and by the monotonic one, which stands still when the machine sleeps */
    int64_t early_us;    /* that long before others are asked for */
    int64_t next_try_ns; /* others are not asked for before */
    int64_t renew_ns;    /* not before either, when a server refuses what there is */
    int asking;
    uint64_t asked; /* requests that have ended */
    shardy_error last_error;
};

/* Fills the place, and `fixed_out` when it is that kind. Free the place in any case. */
shardy_status shardy__credentials_find(const credentials_options *options, credentials_place *place,
    credentials **fixed_out, shardy_error *err);
void shardy__credentials_place_free(credentials_place *place);

/* `where` is for messages. CONFIG for half of a set and texts that cannot be in a header; NOMEM. */
typedef struct credentials_texts {
    const char *where;
    const char *key_id;
    const char *secret;
    const char *token;
} credentials_texts;
shardy_status shardy__credentials_make(
    const credentials_texts *texts, credentials **credentials_out, shardy_error *err);

/* Whether a session token, or another text of a header, has only characters that it may have. */
int shardy__credentials_is_header_text(const char *text);

/* The client for the service of a place. */
shardy_status shardy__credentials_open_http(
    credentials_source *source, const http_options *options, shardy_error *err);
/* Asks the service, and calls shardy__credentials_answered() once: on this thread, or on that of
 * the transfer engine. */
void shardy__credentials_ask(credentials_source *source);
/* `reply` counts when the status is OK. The source may be gone when it returns. */
void shardy__credentials_answered(credentials_source *source, shardy_status status,
    const credentials_reply *reply, const shardy_error *err);

#endif
