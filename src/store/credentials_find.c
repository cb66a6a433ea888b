#include "credentials_impl.h"
#include "profile.h"

#include "../base/alloc.h"
#include "../base/ascii.h"
#include "../base/environment.h"
#include "../base/fs.h"

#include <shardyfusion/limits.h>

#include <string.h>

/* What was tried has to fit a message. */
#define TRIED_LEN_MAX 2000u
/* A token of a container is a header. */
#define INSTANCE_URL  "http://169.254.169.254"
#define CONTAINER_URL "http://169.254.170.2"
#define SESSION_NAME  "shardyfusion"

/* How finding goes on. */
typedef struct finder {
    const credentials_options *options;
    credentials_place *place;
    credentials **fixed_out;
    bytebuf tried;
    bytebuf said; /* which source says something, as the log tells it */
    shardy_error *err;
} finder;

static int is_given(const char *text)
{
    return text && text[0];
}

static const char *first_of(const char *a, const char *b)
{
    return is_given(a) ? a : b;
}

static void tried(finder *f, const char *what)
{
    shardy__bytebuf_printf(&f->tried, "%s%s", f->tried.len ? ", " : "", what);
}

static shardy_status take_texts(finder *f, const credentials_texts *texts)
{
    SHARDY_TRY(shardy__credentials_make(texts, f->fixed_out, f->err));
    f->place->kind = CREDENTIALS_FIXED;
    return SHARDY_DONE;
}

static shardy_status keep_text(finder *f, const char *text, char **at)
{
    shardy__secret_free(*at);
    *at = shardy__strdup(text);
    return *at ? SHARDY_OK : shardy__error_nomem(f->err, "s3");
}

/* Each of the following answers DONE when it said something. */

/* --- options and environment ---------------------------------------------------------------- */

static shardy_status from_options(finder *f)
{
    const credentials_options *o = f->options;
    if (!is_given(o->access_key_id) && !is_given(o->secret_access_key)) {
        tried(f, "options (none)");
        return SHARDY_OK;
    }
    if (is_given(o->profile)) {
        return shardy__error(f->err, SHARDY_CONFIG, "s3",
            "an access key and the profile \"%.100s\" are given, expected one of them", o->profile);
    }
    const credentials_texts texts = {
        "the set of the options", o->access_key_id, o->secret_access_key, o->session_token};
    shardy__bytebuf_puts(&f->said, "the options (of the command: credentials.toml)");
    return take_texts(f, &texts);
}

static shardy_status from_environment(finder *f)
{
    const credentials_texts sets[] = {
        {"the environment (S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY)",
            shardy__environment("S3_ACCESS_KEY_ID"), shardy__environment("S3_SECRET_ACCESS_KEY"),
            shardy__environment("S3_SESSION_TOKEN")},
        {"the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)",
            shardy__environment("AWS_ACCESS_KEY_ID"), shardy__environment("AWS_SECRET_ACCESS_KEY"),
            shardy__environment("AWS_SESSION_TOKEN")}};
    if (is_given(f->options->profile)) {
        return SHARDY_OK;
    }
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        if (sets[i].key_id || sets[i].secret) {
            shardy__bytebuf_puts(&f->said, sets[i].where);
            return take_texts(f, &sets[i]);
        }
    }
    tried(f, "environment (no S3_ACCESS_KEY_ID, no AWS_ACCESS_KEY_ID)");
    return SHARDY_OK;
}

/* --- web identity --------------------------------------------------------------------------- */

typedef struct identity {
    const char *token_file;
    const char *role_arn;
    const char *session_name;
    const char *region;
} identity;

/* The names that the service takes. */
static int is_session_name(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        if (!shardy__is_alnum(text[i]) && !strchr("_+=,.@-", text[i])) {
            return 0;
        }
    }
    return len >= 2 && len <= 64;
}

static shardy_status check_url(finder *f, const char *variable, const char *url, service_url *out)
{
    const char *problem = shardy__service_url_parse(url, out);
    return !problem
               ? SHARDY_OK
               : shardy__error(f->err, SHARDY_CONFIG, "s3",
                     "%s: the URL %s, expected http://host or https://host", variable, problem);
}

static shardy_status put_url(finder *f, const char *base, size_t base_len, const char *path)
{
    bytebuf url;
    shardy__bytebuf_init(&url, 2 * SHARDY_URL_LEN_MAX);
    shardy__bytebuf_append(&url, base, base_len);
    shardy__bytebuf_puts(&url, path);
    shardy_status st = shardy__bytebuf_check(&url, "s3", f->err);
    st = st < 0 ? st : keep_text(f, url.data, &f->place->url);
    shardy__bytebuf_free(&url);
    return st;
}

static shardy_status find_token_service(finder *f, const char *region)
{
    const char *url = shardy__environment("AWS_ENDPOINT_URL_STS");
    const char *variable = url ? "AWS_ENDPOINT_URL_STS" : "AWS_ENDPOINT_URL";
    url = url ? url : shardy__environment("AWS_ENDPOINT_URL");
    service_url parsed;
    if (url) {
        SHARDY_TRY(check_url(f, variable, url, &parsed));
        size_t len = strlen(url);
        return put_url(f, url, len, url[len - 1] == '/' ? "" : "/");
    }
    bytebuf amazon;
    shardy__bytebuf_init(&amazon, SHARDY_URL_LEN_MAX);
    shardy__bytebuf_printf(&amazon, "https://sts.%.64s.amazonaws.com%s/", region,
        strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
    shardy_status st = shardy__bytebuf_check(&amazon, "s3", f->err);
    st = st < 0 ? st : check_url(f, "the region", amazon.data, &parsed);
    st = st < 0 ? st : put_url(f, amazon.data, amazon.len, "");
    shardy__bytebuf_free(&amazon);
    return st;
}

static shardy_status take_identity(finder *f, const identity *id)
{
    const char *session = first_of(id->session_name, SESSION_NAME);
    if (!is_session_name(session)) {
        return shardy__error(f->err, SHARDY_CONFIG, "s3",
            "\"%.100s\" is no name of a session of a role, expected 2 to 64 letters, digits and "
            "_+=,.@-",
            session);
    }
    f->place->kind = CREDENTIALS_WEB_IDENTITY;
    f->place->name = "web identity";
    SHARDY_TRY(find_token_service(f, first_of(id->region, "us-east-1")));
    SHARDY_TRY(keep_text(f, id->token_file, &f->place->token_file));
    SHARDY_TRY(keep_text(f, id->role_arn, &f->place->role_arn));
    SHARDY_TRY(keep_text(f, session, &f->place->session_name));
    return SHARDY_DONE;
}

static shardy_status from_web_identity(finder *f)
{
    const identity id = {shardy__environment("AWS_WEB_IDENTITY_TOKEN_FILE"),
        shardy__environment("AWS_ROLE_ARN"), shardy__environment("AWS_ROLE_SESSION_NAME"),
        first_of(f->options->region, f->place->region)};
    if (!id.token_file) {
        tried(f, "web identity (no AWS_WEB_IDENTITY_TOKEN_FILE)");
        return SHARDY_OK;
    }
    if (!id.role_arn) {
        return shardy__error(f->err, SHARDY_CONFIG, "s3",
            "the environment has AWS_WEB_IDENTITY_TOKEN_FILE without AWS_ROLE_ARN");
    }
    shardy__bytebuf_puts(&f->said, "web identity (AWS_WEB_IDENTITY_TOKEN_FILE)");
    return take_identity(f, &id);
}

/* --- profiles ------------------------------------------------------------------------------- */

/* The two files, and what they say. */
typedef struct profiles {
    const char *name;
    int asked_for; /* 1: somebody named the profile */
    char *paths[2];
    profile said[2];
    int missing[2]; /* 1: there is no such file */
} profiles;

static shardy_status find_path(finder *f, const char *variable, const char *below, char **path_out)
{
    const char *path = shardy__environment(variable);
    const char *home = shardy__environment("HOME");
    if (path) {
        return keep_text(f, path, path_out);
    }
    return home ? shardy__path_join(home, below, path_out, f->err) : SHARDY_OK;
}

static shardy_status load_profiles(finder *f, profiles *p)
{
    SHARDY_TRY(find_path(f, "AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", &p->paths[0]));
    SHARDY_TRY(find_path(f, "AWS_CONFIG_FILE", ".aws/config", &p->paths[1]));
    for (int i = 0; i < 2; i++) {
        shardy_status st = p->paths[i] ? shardy__profile_load(p->paths[i], (profile_file)i, p->name,
                                             &p->said[i], f->err)
                                       : SHARDY_NOT_FOUND;
        p->missing[i] = st == SHARDY_NOT_FOUND;
        SHARDY_TRY(st);
    }
    return SHARDY_OK;
}

static shardy_status refuse_unsupported(finder *f, const profiles *p, int i, const char *setting)
{
    return shardy__error(f->err, SHARDY_CONFIG, "s3",
        "the profile \"%.100s\" of \"%.300s\" asks for credentials by %s, which is not supported, "
        "expected an access key, or role_arn with web_identity_token_file",
        p->name, p->paths[i], setting);
}

static void tell_profile(finder *f, const profiles *p, int i)
{
    shardy__bytebuf_printf(&f->said, "the profile \"%.100s\" of \"%.300s\"", p->name, p->paths[i]);
}

/* A role goes before keys: they may be those to take it on with. */
static shardy_status take_role(finder *f, const profiles *p, int i)
{
    const profile *said = &p->said[i];
    if (!said->role_arn) {
        return SHARDY_OK;
    }
    if (!said->token_file) {
        return refuse_unsupported(
            f, p, i, said->unsupported ? said->unsupported : "role_arn alone");
    }
    const identity id = {said->token_file, said->role_arn, said->role_session_name,
        first_of(f->options->region, f->place->region)};
    shardy__bytebuf_puts(&f->said, "web identity of ");
    tell_profile(f, p, i);
    return take_identity(f, &id);
}

static shardy_status take_keys(finder *f, const profiles *p, int i)
{
    const profile *said = &p->said[i];
    if (!said->access_key_id && !said->secret_access_key) {
        return SHARDY_OK;
    }
    const credentials_texts texts = {
        "the set", said->access_key_id, said->secret_access_key, said->session_token};
    tell_profile(f, p, i);
    shardy_status st = take_texts(f, &texts);
    return st != SHARDY_CONFIG ? st
                               : shardy__error_prefix(f->err, st,
                                     "the profile \"%.100s\" of \"%.300s\"", p->name, p->paths[i]);
}

static void tell_profiles(finder *f, const profiles *p)
{
    shardy__bytebuf_printf(&f->tried, "%sprofile \"%.60s\" (", f->tried.len ? ", " : "", p->name);
    for (int i = 0; i < 2; i++) {
        const char *what = p->missing[i]       ? "no file"
                           : !p->said[i].found ? "not in"
                                               : "no access key in";
        shardy__bytebuf_printf(&f->tried, "%s%s \"%.120s\"", i ? ", " : "", what,
            p->paths[i] ? p->paths[i]
            : i         ? "~/.aws/config"
                        : "~/.aws/credentials");
    }
    shardy__bytebuf_putc(&f->tried, ')');
}

static shardy_status take_profiles(finder *f, profiles *p)
{
    SHARDY_TRY(load_profiles(f, p));
    if (p->asked_for && !p->said[0].found && !p->said[1].found) {
        return shardy__error(f->err, SHARDY_CONFIG, "s3",
            "there is no profile \"%.100s\" in \"%.300s\" or \"%.300s\"", p->name,
            p->paths[0] ? p->paths[0] : "~/.aws/credentials",
            p->paths[1] ? p->paths[1] : "~/.aws/config");
    }
    const char *region = first_of(p->said[1].region, p->said[0].region);
    if (region) {
        SHARDY_TRY(keep_text(f, region, &f->place->region));
    }
    shardy_status st = SHARDY_OK;
    for (int i = 0; i < 2 && st == SHARDY_OK; i++) {
        st = take_role(f, p, i);
    }
    for (int i = 0; i < 2 && st == SHARDY_OK; i++) {
        st = take_keys(f, p, i);
    }
    for (int i = 0; i < 2 && st == SHARDY_OK; i++) {
        st = p->said[i].unsupported ? refuse_unsupported(f, p, i, p->said[i].unsupported) : st;
    }
    if (st == SHARDY_OK) {
        tell_profiles(f, p);
    }
    return st;
}

static shardy_status from_profile(finder *f)
{
    profiles p;
    memset(&p, 0, sizeof p);
    p.name = first_of(f->options->profile, shardy__environment("AWS_PROFILE"));
    p.asked_for = p.name != NULL;
    p.name = p.name ? p.name : "default";
    shardy_status st = take_profiles(f, &p);
    for (int i = 0; i < 2; i++) {
        shardy__free(p.paths[i]);
        shardy__profile_free(&p.said[i]);
    }
    return st;
}

/* --- containers and instances --------------------------------------------------------------- */

static shardy_status take_container_url(finder *f, const char *relative, const char *full)
{
    static const char name[] = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    service_url parsed;
    if (relative) {
        if (relative[0] != '/') {
            return shardy__error(f->err, SHARDY_CONFIG, "s3",
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is \"%.*s\", expected a path that begins "
                "with \"/\"",
                URL_FMT(relative));
        }
        SHARDY_TRY(put_url(f, CONTAINER_URL, strlen(CONTAINER_URL), relative));
        return check_url(f, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", f->place->url, &parsed);
    }
    SHARDY_TRY(check_url(f, name, full, &parsed));
    if (!parsed.https && !shardy__service_url_is_local(&parsed)) {
        return shardy__error(f->err, SHARDY_CONFIG, "s3",
            "%s names the host \"%.200s\" without https, expected localhost, 127.0.0.1, [::1], "
            "169.254.170.2, 169.254.170.23 or [fd00:ec2::23]",
            name, parsed.host);
    }
    return put_url(f, full, strlen(full), "");
}

static shardy_status from_container(finder *f)
{
    const char *relative = shardy__environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = shardy__environment("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    const char *file = shardy__environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *token = shardy__environment("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    if (!relative && !full) {
        tried(f, "container (no AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI)");
        return SHARDY_OK;
    }
    f->place->kind = CREDENTIALS_CONTAINER;
    f->place->name = "container metadata";
    SHARDY_TRY(take_container_url(f, relative, full));
    if (file) {
        SHARDY_TRY(keep_text(f, file, &f->place->token_file));
    } else if (token) {
        SHARDY_TRY(keep_text(f, token, &f->place->token));
    }
    return SHARDY_DONE;
}

static int is_true(const char *text)
{
    static const char word[] = "true";
    size_t i = 0;
    while (text && text[i] && i + 1 < sizeof word && (text[i] | 0x20) == word[i]) {
        i++;
    }
    return i == 4 && !text[i];
}

static shardy_status from_instance(finder *f)
{
    const char *url = shardy__environment("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    service_url parsed;
    if (is_true(shardy__environment("AWS_EC2_METADATA_DISABLED"))) {
        tried(f, "instance metadata (AWS_EC2_METADATA_DISABLED)");
        return SHARDY_OK;
    }
    f->place->kind = CREDENTIALS_INSTANCE;
    f->place->name = "instance metadata";
    url = url ? url : INSTANCE_URL;
    SHARDY_TRY(check_url(f, "AWS_EC2_METADATA_SERVICE_ENDPOINT", url, &parsed));
    size_t len = strlen(url);
    while (len > parsed.base_len && url[len - 1] == '/') {
        len--;
    }
    SHARDY_TRY(put_url(f, url, len, ""));
    return SHARDY_DONE;
}

/* --- all of them ---------------------------------------------------------------------------- */

static shardy_status find_first(finder *f)
{
    static shardy_status (*const ways[])(finder *) = {from_options, from_environment, from_profile,
        from_web_identity, from_container, from_instance};
    shardy_status st = SHARDY_OK;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0] && st == SHARDY_OK; i++) {
        st = ways[i](f);
    }
    return st;
}

/* What the log and later messages tell: what said nothing, and what did. */
static shardy_status keep_told(finder *f)
{
    SHARDY_TRY(shardy__bytebuf_check(&f->said, "s3", f->err));
    if (!f->said.len) { /* a service by its name */
        shardy__bytebuf_puts(&f->said, f->place->name);
    }
    SHARDY_TRY(shardy__bytebuf_check(&f->said, "s3", f->err));
    SHARDY_TRY(keep_text(f, f->said.data, &f->place->said));
    return f->tried.data ? keep_text(f, f->tried.data, &f->place->tried) : SHARDY_OK;
}

shardy_status shardy__credentials_find(const credentials_options *options, credentials_place *place,
    credentials **fixed_out, shardy_error *err)
{
    finder f = {.options = options, .place = place, .fixed_out = fixed_out, .err = err};
    memset(place, 0, sizeof *place);
    *fixed_out = NULL;
    shardy__bytebuf_init(&f.tried, TRIED_LEN_MAX);
    shardy__bytebuf_init(&f.said, TRIED_LEN_MAX);
    shardy_status st = find_first(&f);
    if (st >= 0) {
        shardy_status told = shardy__bytebuf_check(&f.tried, "s3", err);
        st = told < 0 ? told : st;
    }
    if (st == SHARDY_OK) {
        st = shardy__error(
            err, SHARDY_CONFIG, "s3", "there are no credentials; tried: %.900s", f.tried.data);
    } else if (st == SHARDY_DONE) {
        st = keep_told(&f);
    }
    shardy__bytebuf_free(&f.said);
    shardy__bytebuf_free(&f.tried);
    return st < 0 ? st : SHARDY_OK;
}

void shardy__credentials_place_free(credentials_place *place)
{
    char *const texts[] = {place->url, place->token_file, place->token, place->role_arn,
        place->session_name, place->region, place->tried, place->said};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        shardy__secret_free(texts[i]);
    }
    memset(place, 0, sizeof *place);
}
