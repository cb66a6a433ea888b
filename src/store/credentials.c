#include "credentials_impl.h"
#include "profile.h"

#include "../base/alloc.h"

#include <stdatomic.h>
#include <string.h>

/* Others are asked for so long before the old ones expire, or in the last quarter of their life:
 * the metadata of instances has new ones five minutes before. */
#define EARLY_US ((int64_t)300 * 1000000)
/* After a failure, or when the service gave the same once more; a fifth of the time that is left
 * for it when that is less. */
#define PAUSE_NS ((int64_t)60 * 1000000000)
/* When a server refuses what came so lately, others would not help. */
#define RENEW_PAUSE_NS ((int64_t)10 * 1000000000)
/* How late a deadline or a cancellation may be noticed. */
#define TICK_NS ((int64_t)100 * 1000000)
/* A token is a header of each request. */
#define TEXT_LEN_MAX 8192u

struct credentials {
    _Atomic uint32_t refs;
    char *key_id;
    char *secret;
    char *token;
};

const char *shardy__credentials_key_id(const credentials *c)
{
    return c->key_id;
}

const char *shardy__credentials_secret(const credentials *c)
{
    return c->secret;
}

const char *shardy__credentials_token(const credentials *c)
{
    return c->token;
}

void shardy__credentials_drop(credentials *c)
{
    if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
        shardy__free(c->key_id);
        shardy__secret_free(c->secret);
        shardy__secret_free(c->token);
        shardy__free(c);
    }
}

static void hold(credentials *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

/* A line end in a header would begin another one. */
int shardy__credentials_is_header_text(const char *text)
{
    size_t len = 0;
    for (; text && text[len]; len++) {
        if ((unsigned char)text[len] <= 0x20 || (unsigned char)text[len] >= 0x7F) {
            return 0;
        }
    }
    return len <= TEXT_LEN_MAX;
}

shardy_status shardy__credentials_make(
    const credentials_texts *texts, credentials **credentials_out, shardy_error *err)
{
    *credentials_out = NULL;
    if (!texts->key_id || !texts->secret || !texts->key_id[0] || !texts->secret[0]) {
        return shardy__error(err, SHARDY_CONFIG, "s3", "%s has %s", texts->where,
            texts->key_id && texts->key_id[0] ? "an access key id without its secret access key"
                                              : "no access key id");
    }
    /* not quoted: what stands in the wrong place may be a secret */
    if (!shardy__credentials_is_header_text(texts->key_id) ||
        !shardy__credentials_is_header_text(texts->token)) {
        return shardy__error(err, SHARDY_CONFIG, "s3",
            "%s has an access key id or a session token with spaces or control characters, or of "
            "more than %u bytes",
            texts->where, TEXT_LEN_MAX);
    }
    credentials *c = shardy__calloc(1, sizeof *c);
    if (!c) {
        return shardy__error_nomem(err, "s3");
    }
    atomic_init(&c->refs, 1);
    int has_token = texts->token && texts->token[0];
    c->key_id = shardy__strdup(texts->key_id);
    c->secret = shardy__strdup(texts->secret);
    c->token = has_token ? shardy__strdup(texts->token) : NULL;
    if (!c->key_id || !c->secret || (has_token && !c->token)) {
        shardy__credentials_drop(c);
        return shardy__error_nomem(err, "s3");
    }
    *credentials_out = c;
    return SHARDY_OK;
}

/* --- sources -------------------------------------------------------------------------------- */

static shardy_status open_source(
    credentials_source *s, const credentials_options *options, shardy_error *err)
{
    SHARDY_TRY(shardy__credentials_find(options, &s->place, &s->current, err));
    shardy__log(s->context, SHARDY_LOG_DEBUG, "store", "credentials: those of %s", s->place.said);
    if (s->place.kind == CREDENTIALS_FIXED) {
        return SHARDY_OK;
    }
    SHARDY_TRY(shardy_cancel_new(&s->cancel, err));
    return shardy__credentials_open_http(s, options->http, err);
}

shardy_status shardy__credentials_open(shardy_context *context, const credentials_options *options,
    credentials_source **source_out, shardy_error *err)
{
    *source_out = NULL;
    credentials_source *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "s3");
    }
    s->context = context;
    shardy__mutex_init(&s->lock);
    shardy__condition_init(&s->changed);
    shardy_status st = open_source(s, options, err);
    if (st < 0) {
        shardy__credentials_close(s);
        return st;
    }
    *source_out = s;
    return SHARDY_OK;
}

void shardy__credentials_close(credentials_source *source)
{
    if (!source || source->context->process != shardy__process_generation()) {
        return; /* in a child: whoever asks, or holds the lock, is not there */
    }
    if (source->cancel) {
        shardy_cancel_request(source->cancel);
    }
    shardy__mutex_lock(&source->lock);
    while (source->asking) {
        shardy__condition_wait(&source->changed, &source->lock);
    }
    shardy__mutex_unlock(&source->lock);
    shardy__http_close(source->http);
    shardy_cancel_free(source->cancel);
    shardy__credentials_drop(source->current);
    shardy__credentials_place_free(&source->place);
    shardy__condition_destroy(&source->changed);
    shardy__mutex_destroy(&source->lock);
    shardy__free(source);
}

const char *shardy__credentials_region(const credentials_source *source)
{
    return source->place.region;
}

/* --- keeping -------------------------------------------------------------------------------- */

/* What is left of the current ones by the clock that says less; 0 when they have expired. */
static int64_t left_us(const credentials_source *s, int64_t now_ns)
{
    int64_t wall = s->expires_us - shardy__wall_us(s->context);
    int64_t monotonic = (s->expires_ns - now_ns) / 1000;
    int64_t left = wall < monotonic ? wall : monotonic;
    return left > 0 ? left : 0;
}

/* With the lock. Takes over the reply, and the old ones into `old_out`. */
static void keep(credentials_source *s, credentials *c, int64_t expires_us, credentials **old_out)
{
    int64_t lifetime = expires_us - shardy__wall_us(s->context);
    /* more than ten years are as good as for ever, and cannot overflow */
    const int64_t most = INT64_C(315360000) * 1000000;
    lifetime = lifetime < most ? lifetime : most;
    *old_out = s->current;
    s->current = c;
    s->expires_us = expires_us;
    s->expires_ns = shardy__monotonic_ns(s->context) + lifetime * 1000;
    s->early_us = lifetime / 4 < EARLY_US ? lifetime / 4 : EARLY_US;
}

static shardy_status check_reply(const credentials_source *s, const credentials_reply *reply,
    credentials **credentials_out, shardy_error *err)
{
    *credentials_out = NULL;
    if (reply->expires_us <= shardy__wall_us(s->context)) {
        char until[SHARDY_TIME_TEXT_SIZE];
        shardy__time_format_iso(reply->expires_us, until);
        return shardy__error(err, SHARDY_AUTH, "s3",
            "%s: the credentials have expired already, at %s; is the clock of this machine right?",
            s->place.name, until);
    }
    const credentials_texts texts = {s->place.name, reply->key_id, reply->secret, reply->token};
    return shardy__credentials_make(&texts, credentials_out, err);
}

void shardy__credentials_answered(credentials_source *source, shardy_status status,
    const credentials_reply *reply, const shardy_error *err)
{
    credentials *fresh = NULL;
    credentials *old = NULL;
    shardy_error why;
    shardy__error_clear(&why);
    if (status >= 0) {
        status = check_reply(source, reply, &fresh, &why);
    } else {
        why = *err;
    }
    /* Before the lock: the sink is the program's. Nothing but this function changes `current`. */
    if (status < 0 && source->current) {
        shardy__log(source->context, SHARDY_LOG_WARN, "store",
            "no new credentials, the old ones are used until they expire: %s", why.message);
    }
    shardy__http_look(source->http);
    shardy__mutex_lock(&source->lock);
    if (status >= 0) {
        keep(source, fresh, reply->expires_us, &old);
    }
    source->last_error = why;
    int64_t pause = source->early_us * 1000 / 5;
    source->next_try_ns =
        shardy__monotonic_ns(source->context) + (pause < PAUSE_NS ? pause : PAUSE_NS);
    source->asking = 0;
    source->asked++;
    shardy__condition_broadcast(&source->changed);
    shardy__mutex_unlock(&source->lock);
    shardy__credentials_drop(old);
}

/* --- getting -------------------------------------------------------------------------------- */

/* With the lock. 1 when there are some that have not expired; asks for others when it is time. */
static int look(credentials_source *s, int may_ask)
{
    int64_t now = shardy__monotonic_ns(s->context);
    int64_t left = s->current ? left_us(s, now) : 0;
    int is_time = left > 0 ? left <= s->early_us && now >= s->next_try_ns : may_ask;
    if (is_time && !s->asking) {
        s->asking = 1;
        shardy__mutex_unlock(&s->lock);
        shardy__credentials_ask(s);
        shardy__mutex_lock(&s->lock);
        left = s->current ? left_us(s, now) : 0;
    }
    return left > 0;
}

/* With the lock: waits for the request under way. */
static shardy_status wait_for_answer(
    credentials_source *s, const shardy_store_limits *limits, shardy_error *err)
{
    uint64_t asked = s->asked;
    while (s->asking && s->asked == asked) {
        shardy_status st =
            shardy__check_time(s->context, limits->deadline_ns, limits->cancel, "s3", err);
        if (st < 0) {
            return shardy__error_prefix(err, st, "waiting for credentials of %s", s->place.name);
        }
        (void)shardy__condition_wait_ns(&s->changed, &s->lock, TICK_NS);
    }
    return SHARDY_OK;
}

/* With the lock. */
static shardy_status last_answer(const credentials_source *s, shardy_error *err)
{
    if (err) {
        *err = s->last_error;
    }
    return (shardy_status)s->last_error.status;
}

/* With the lock. `since`: requests that had ended before the caller began. */
static shardy_status get_current(credentials_source *s, uint64_t since,
    const shardy_store_limits *limits, int *is_there_out, shardy_error *err)
{
    for (;;) {
        *is_there_out = look(s, s->asked == since);
        if (*is_there_out) {
            return SHARDY_OK;
        }
        if (s->asked != since) {
            /* whoever asked, it was while this call went on; OK: they hold for an instant only */
            *is_there_out = s->last_error.status >= 0;
            return last_answer(s, err);
        }
        if (!limits) {
            return SHARDY_OK;
        }
        SHARDY_TRY(wait_for_answer(s, limits, err));
    }
}

shardy_status shardy__credentials_get(credentials_source *source, const shardy_store_limits *limits,
    uint64_t *since, credentials **credentials_out, shardy_error *err)
{
    *credentials_out = NULL;
    if (source->place.kind == CREDENTIALS_FIXED) {
        hold(source->current);
        *credentials_out = source->current;
        return SHARDY_OK;
    }
    int is_there;
    shardy__mutex_lock(&source->lock);
    *since = *since ? *since : source->asked + 1;
    shardy_status st = get_current(source, *since - 1, limits, &is_there, err);
    if (st >= 0 && is_there) {
        hold(source->current);
        *credentials_out = source->current;
    }
    shardy__mutex_unlock(&source->lock);
    return st;
}

/* --- renewing ------------------------------------------------------------------------------- */

int shardy__credentials_refused(credentials_source *source, const credentials *c)
{
    if (source->place.kind == CREDENTIALS_FIXED) {
        return 0;
    }
    int64_t now = shardy__monotonic_ns(source->context);
    shardy__mutex_lock(&source->lock);
    int others = source->current != c || source->asking;
    int ask = !others && now >= source->renew_ns;
    if (ask) {
        source->asking = 1;
        source->renew_ns = now + RENEW_PAUSE_NS;
    }
    shardy__mutex_unlock(&source->lock);
    if (ask) {
        shardy__credentials_ask(source);
    }
    return others || ask;
}

int shardy__credentials_settled(credentials_source *source)
{
    shardy__mutex_lock(&source->lock);
    int settled = !source->asking;
    shardy__mutex_unlock(&source->lock);
    return settled;
}

static int is_same(const credentials *a, const credentials *b)
{
    int same_token = a->token && b->token ? strcmp(a->token, b->token) == 0 : a->token == b->token;
    return same_token && strcmp(a->key_id, b->key_id) == 0;
}

/* With the lock, when nobody asks. */
static shardy_status check_renewed(
    const credentials_source *s, const credentials *c, shardy_error *err)
{
    if (s->current != c && !is_same(s->current, c)) {
        return SHARDY_OK;
    }
    if (s->last_error.status >= 0) {
        return shardy__error(
            err, SHARDY_AUTH, "s3", "%s still gives those that the server refuses", s->place.name);
    }
    return last_answer(s, err);
}

shardy_status shardy__credentials_renewed(credentials_source *source, const credentials *c,
    const shardy_store_limits *limits, credentials **credentials_out, shardy_error *err)
{
    shardy_status st = SHARDY_OK;
    *credentials_out = NULL;
    shardy__mutex_lock(&source->lock);
    while (st >= 0 && source->asking && limits) {
        st = wait_for_answer(source, limits, err);
    }
    if (st >= 0 && !source->asking) {
        st = check_renewed(source, c, err);
        if (st >= 0) {
            hold(source->current);
            *credentials_out = source->current;
        }
    }
    shardy__mutex_unlock(&source->lock);
    return st;
}
