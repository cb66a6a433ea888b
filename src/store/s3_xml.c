#include "s3_xml.h"

#include "../base/alloc.h"
#include "../base/bytebuf.h"
#include "../base/clock.h"
#include "../base/number.h"

#include <shardyfusion/limits.h>

#include <expat.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

/* The deepest document that is read has four levels: Owner in Contents. */
#define DEPTH_MAX 8u
#define PATH_SIZE 192u
/* A key of which every byte is encoded, or a token. */
#define TEXT_LEN_MAX (8u * SHARDY_OBJECT_KEY_LEN_MAX)
/* What a server lists or deletes at once is 1000; others may do more. */
#define ENTRIES_MAX SHARDY_LIST_LIMIT_MAX

typedef struct xml_reader xml_reader;

/* What is done at the end of an element: its path, "/Error/Code", and the text in it. */
typedef shardy_status (*xml_visit_fn)(
    void *user, const char *path, const bytebuf *text, shardy_error *err);

struct xml_reader {
    XML_Parser parser;
    xml_visit_fn visit;
    void *user;
    const char *const *roots; /* names that the root may have, NULL at the end; NULL: any */
    char path[PATH_SIZE];
    size_t path_len;
    unsigned depth;
    bytebuf text; /* since the last start or end of an element */
    shardy_status status;
    shardy_error *err;
};

static const XML_Memory_Handling_Suite memory_suite = {
    shardy__malloc, shardy__realloc, shardy__free};

static void stop(xml_reader *r, shardy_status st)
{
    r->status = r->status < 0 ? r->status : st;
    XML_StopParser(r->parser, XML_FALSE);
}

static void stop_corrupt(xml_reader *r, const char *problem)
{
    if (r->status >= 0) {
        stop(r, shardy__error_native(
                    r->err, SHARDY_CORRUPT, 1, 0, "s3", "the reply is XML that %s", problem));
    }
}

static int is_root(const xml_reader *r, const char *name)
{
    for (size_t i = 0; r->roots && r->roots[i]; i++) {
        if (strcmp(r->roots[i], name) == 0) {
            return 1;
        }
    }
    return r->roots == NULL;
}

static void XMLCALL on_start(void *user, const XML_Char *name, const XML_Char **attributes)
{
    xml_reader *r = user;
    size_t len = strlen(name);
    (void)attributes;
    if (r->status < 0) {
        return;
    }
    if (r->depth == 0 && !is_root(r, name)) {
        stop(r, shardy__error_native(r->err, SHARDY_CORRUPT, 1, 0, "s3",
                    "the reply is a document \"%.60s\", expected \"%s\"", name, r->roots[0]));
        return;
    }
    if (r->depth == DEPTH_MAX || len + 1 >= PATH_SIZE - r->path_len) {
        stop_corrupt(r, "is nested too deep");
        return;
    }
    r->depth++;
    r->path[r->path_len] = '/';
    memcpy(r->path + r->path_len + 1, name, len + 1);
    r->path_len += len + 1;
    shardy__bytebuf_clear(&r->text);
}

static void XMLCALL on_text(void *user, const XML_Char *text, int len)
{
    xml_reader *r = user;
    shardy__bytebuf_append(&r->text, text, (size_t)len);
    if (r->text.status == SHARDY_NOMEM) {
        stop(r, shardy__error_nomem(r->err, "s3"));
    } else if (r->text.status < 0) {
        stop_corrupt(r, "has a text that is too long");
    }
}

static void XMLCALL on_end(void *user, const XML_Char *name)
{
    xml_reader *r = user;
    if (r->status < 0) {
        return; /* of an empty element the end is told even after the reader was stopped */
    }
    shardy_status st = r->visit(r->user, r->path, &r->text, r->err);
    if (st < 0) {
        stop(r, st);
    }
    r->depth--;
    r->path_len -= strlen(name) + 1;
    r->path[r->path_len] = '\0';
    shardy__bytebuf_clear(&r->text);
}

static void XMLCALL on_doctype(void *user, const XML_Char *name, const XML_Char *system_id,
    const XML_Char *public_id, int has_subset)
{
    (void)name;
    (void)system_id;
    (void)public_id;
    (void)has_subset;
    stop_corrupt(user, "declares a document type");
}

static shardy_status parse_with(xml_reader *r, shardy_bytes xml)
{
    XML_SetUserData(r->parser, r);
    XML_SetElementHandler(r->parser, on_start, on_end);
    XML_SetCharacterDataHandler(r->parser, on_text);
    XML_SetStartDoctypeDeclHandler(r->parser, on_doctype);
    enum XML_Status done = XML_Parse(r->parser, xml.len ? xml.data : "", (int)xml.len, XML_TRUE);
    if (r->status < 0 || done == XML_STATUS_OK) {
        return r->status;
    }
    enum XML_Error code = XML_GetErrorCode(r->parser);
    return code == XML_ERROR_NO_MEMORY
               ? shardy__error_nomem(r->err, "s3")
               : shardy__error_native(r->err, SHARDY_CORRUPT, 1, 0, "s3",
                     "the reply is no XML: %s, at byte %lld", XML_ErrorString(code),
                     (long long)XML_GetCurrentByteIndex(r->parser));
}

static shardy_status parse(
    shardy_bytes xml, const char *const *roots, xml_visit_fn visit, void *user, shardy_error *err)
{
    xml_reader r;
    memset(&r, 0, sizeof r);
    if (xml.len > INT32_MAX) {
        return shardy__error(err, SHARDY_CORRUPT, "s3", "the reply is XML of %zu bytes", xml.len);
    }
    r.roots = roots;
    r.visit = visit;
    r.user = user;
    r.err = err;
    shardy__bytebuf_init(&r.text, TEXT_LEN_MAX);
    /* at once, so that no copy of a secret is left behind when it grows */
    (void)shardy__bytebuf_reserve(&r.text, TEXT_LEN_MAX - 1);
    shardy__bytebuf_puts(&r.text, ""); /* so that an empty text is zero-terminated too */
    r.parser = XML_ParserCreate_MM("UTF-8", &memory_suite, NULL);
    shardy_status st =
        r.parser && r.text.data ? parse_with(&r, xml) : shardy__error_nomem(err, "s3");
    XML_ParserFree(r.parser);
    if (r.text.data) {
        OPENSSL_cleanse(r.text.data, r.text.room);
    }
    shardy__bytebuf_free(&r.text);
    return st;
}

/* --- errors --------------------------------------------------------------------------------- */

/* What is longer than its room is cut: it is shown to people, or compared with what is short. */
static void keep(char *room, size_t size, const bytebuf *text)
{
    snprintf(room, size, "%s", text->data);
}

static void visit_failure(s3_failure *f, const char *path, const bytebuf *text)
{
    if (strcmp(path, "/Error/Code") == 0) {
        keep(f->code, sizeof f->code, text);
    } else if (strcmp(path, "/Error/Message") == 0) {
        keep(f->message, sizeof f->message, text);
    } else if (strcmp(path, "/Error/Region") == 0) {
        keep(f->region, sizeof f->region, text);
    } else if (strcmp(path, "/Error") == 0 && !f->code[0]) {
        snprintf(f->code, sizeof f->code, "Unknown");
    }
}

static shardy_status on_failure(
    void *user, const char *path, const bytebuf *text, shardy_error *err)
{
    (void)err;
    visit_failure(user, path, text);
    return SHARDY_OK;
}

void shardy__s3_parse_failure(shardy_bytes xml, s3_failure *out)
{
    static const char *const roots[] = {"Error", NULL};
    memset(out, 0, sizeof *out);
    if (parse(xml, roots, on_failure, out, NULL) < 0) {
        memset(out, 0, sizeof *out);
    }
}

/* --- listings ------------------------------------------------------------------------------- */

typedef struct list_reader {
    arena *memory;
    s3_list *list;
    s3_list_entry entry; /* the one that is being read */
} list_reader;

static shardy_status keep_key(list_reader *l, const bytebuf *text, shardy_error *err)
{
    l->entry.key = shardy__arena_strndup(l->memory, text->data, text->len);
    l->entry.key_len = text->len;
    return l->entry.key ? SHARDY_OK : shardy__error_nomem(err, "s3");
}

static shardy_status bad_entry(const char *what, const bytebuf *text, shardy_error *err)
{
    return shardy__error_native(err, SHARDY_CORRUPT, 1, 0, "s3",
        "the %s of an entry of the listing is \"%.60s\"", what, text->data);
}

static shardy_status add_entry(list_reader *l, int32_t is_prefix, shardy_error *err)
{
    s3_list *list = l->list;
    if (!l->entry.key || list->count == ENTRIES_MAX) {
        return shardy__error_native(err, SHARDY_CORRUPT, 1, 0, "s3", "the listing %s",
            l->entry.key ? "has too many entries" : "has an entry without a key");
    }
    s3_list_entry *e = shardy__arena_alloc(l->memory, sizeof *e);
    if (!e) {
        return shardy__error_nomem(err, "s3");
    }
    *e = l->entry;
    e->is_prefix = is_prefix;
    memset(&l->entry, 0, sizeof l->entry);
    if (list->last) {
        list->last->next = e;
    } else {
        list->first = e;
    }
    list->last = e;
    list->count++;
    return SHARDY_OK;
}

/* "/ListBucketResult" is cut off. */
static shardy_status visit_entry(
    list_reader *l, const char *path, const bytebuf *text, shardy_error *err)
{
    if (strcmp(path, "/Contents/Key") == 0 || strcmp(path, "/CommonPrefixes/Prefix") == 0) {
        return keep_key(l, text, err);
    }
    if (strcmp(path, "/Contents/Size") == 0) {
        return shardy__parse_uint64(text->data, text->len, &l->entry.size)
                   ? SHARDY_OK
                   : bad_entry("size", text, err);
    }
    if (strcmp(path, "/Contents/LastModified") == 0) {
        return shardy__time_parse(text->data, text->len, &l->entry.modified_us)
                   ? SHARDY_OK
                   : bad_entry("time", text, err);
    }
    if (strcmp(path, "/Contents") == 0 || strcmp(path, "/CommonPrefixes") == 0) {
        return add_entry(l, path[2] == 'o' && path[3] == 'm', err);
    }
    return SHARDY_OK;
}

/* Which of two texts it is: nothing is guessed, because a listing that is taken for whole, or whose
 * keys are taken for plain, would hide objects. */
static shardy_status choose(
    const bytebuf *text, const char *yes, const char *no, int32_t *chosen, shardy_error *err)
{
    *chosen = strcmp(text->data, yes) == 0;
    return *chosen || strcmp(text->data, no) == 0
               ? SHARDY_OK
               : shardy__error_native(err, SHARDY_CORRUPT, 1, 0, "s3",
                     "the listing says \"%.60s\", expected \"%s\" or \"%s\"", text->data, yes, no);
}

static shardy_status on_list(void *user, const char *path, const bytebuf *text, shardy_error *err)
{
    static const char root[] = "/ListBucketResult";
    list_reader *l = user;
    if (strncmp(path, root, sizeof root - 1) != 0) {
        visit_failure(&l->list->failure, path, text);
        return SHARDY_OK;
    }
    path += sizeof root - 1;
    if (strcmp(path, "/IsTruncated") == 0) {
        return choose(text, "true", "false", &l->list->truncated, err);
    }
    if (strcmp(path, "/EncodingType") == 0) {
        return choose(text, "url", "", &l->list->encoded, err);
    }
    if (strcmp(path, "/NextContinuationToken") == 0) {
        l->list->next_token = shardy__arena_strndup(l->memory, text->data, text->len);
        return l->list->next_token ? SHARDY_OK : shardy__error_nomem(err, "s3");
    }
    return visit_entry(l, path, text, err);
}

shardy_status shardy__s3_parse_list(
    shardy_bytes xml, arena *memory, s3_list *out, shardy_error *err)
{
    static const char *const roots[] = {"ListBucketResult", "Error", NULL};
    memset(out, 0, sizeof *out);
    list_reader l = {memory, out, {0}};
    SHARDY_TRY(parse(xml, roots, on_list, &l, err));
    if (!out->truncated) {
        out->next_token = NULL;
    } else if (!out->next_token || !out->next_token[0]) {
        return shardy__error_native(
            err, SHARDY_CORRUPT, 1, 0, "s3", "the listing goes on, but does not say from where");
    }
    return SHARDY_OK;
}

/* --- deletions ------------------------------------------------------------------------------ */

typedef struct deleted_reader {
    s3_deleted_fn visit;
    void *user;
    s3_failure *failure;
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 2];
    char code[64];
    char message[256];
    size_t count;
} deleted_reader;

static shardy_status on_deleted(
    void *user, const char *path, const bytebuf *text, shardy_error *err)
{
    static const char root[] = "/DeleteResult";
    deleted_reader *d = user;
    if (strncmp(path, root, sizeof root - 1) != 0) {
        visit_failure(d->failure, path, text);
        return SHARDY_OK;
    }
    path += sizeof root - 1;
    int is_error = strcmp(path, "/Error") == 0;
    if (strcmp(path, "/Deleted/Key") == 0 || strcmp(path, "/Error/Key") == 0) {
        keep(d->key, sizeof d->key, text);
    } else if (strcmp(path, "/Error/Code") == 0) {
        keep(d->code, sizeof d->code, text);
    } else if (strcmp(path, "/Error/Message") == 0) {
        keep(d->message, sizeof d->message, text);
    } else if (is_error || strcmp(path, "/Deleted") == 0) {
        if (++d->count > ENTRIES_MAX) {
            return shardy__error_native(
                err, SHARDY_CORRUPT, 1, 0, "s3", "the reply tells of too many objects");
        }
        d->visit(d->user, d->key, is_error ? d->code : NULL, d->message);
        d->key[0] = d->code[0] = d->message[0] = '\0';
    }
    return SHARDY_OK;
}

shardy_status shardy__s3_parse_deleted(
    shardy_bytes xml, s3_deleted_fn visit, void *user, s3_failure *failure, shardy_error *err)
{
    static const char *const roots[] = {"DeleteResult", "Error", NULL};
    memset(failure, 0, sizeof *failure);
    deleted_reader d;
    memset(&d, 0, sizeof d);
    d.visit = visit;
    d.user = user;
    d.failure = failure;
    return parse(xml, roots, on_deleted, &d, err);
}

/* --- uploads -------------------------------------------------------------------------------- */

static shardy_status keep_too_long(const bytebuf *text, shardy_error *err)
{
    return shardy__error_native(err, SHARDY_CORRUPT, 1, 0, "s3",
        "the name or version of an upload has %zu bytes", text->len);
}

static shardy_status keep_whole(char *room, size_t size, const bytebuf *text, shardy_error *err)
{
    if (text->len >= size) {
        return keep_too_long(text, err);
    }
    memcpy(room, text->data, text->len + 1);
    return SHARDY_OK;
}

/* As the header ETag has it: some servers leave out the quotes here. */
static shardy_status keep_etag(char *room, size_t size, const bytebuf *text, shardy_error *err)
{
    const size_t quotes = text->len == 0 || strchr(text->data, '"') ? 0 : 2;
    if (text->len + quotes >= size) {
        return keep_too_long(text, err);
    }
    snprintf(room, size, quotes ? "\"%s\"" : "%s", text->data);
    return SHARDY_OK;
}

/* By the members of the root, whatever its name: servers disagree about that, and clients have long
 * passed over it. */
static shardy_status on_upload(void *user, const char *path, const bytebuf *text, shardy_error *err)
{
    s3_upload_result *u = user;
    const char *slash = strchr(path + 1, '/');
    const char *member = slash ? slash + 1 : "";
    visit_failure(&u->failure, path, text);
    if (!slash) {
        snprintf(u->root, sizeof u->root, "%s", path + 1);
    } else if (strcmp(member, "UploadId") == 0) {
        return keep_whole(u->upload_id, sizeof u->upload_id, text, err);
    } else if (strcmp(member, "ETag") == 0) {
        return keep_etag(u->etag, sizeof u->etag, text, err);
    } else if (strcmp(member, "ChecksumSHA256") == 0) {
        return keep_whole(u->checksum_sha256, sizeof u->checksum_sha256, text, err);
    }
    return SHARDY_OK;
}

static shardy_status parse_upload(
    shardy_bytes xml, const char *member, s3_upload_result *out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    SHARDY_TRY(parse(xml, NULL, on_upload, out, err));
    const char *found = member[0] == 'U' ? out->upload_id : out->etag;
    return found[0] || out->failure.code[0]
               ? SHARDY_OK
               : shardy__error_native(err, SHARDY_CORRUPT, 1, 0, "s3",
                     "the reply is a document \"%.60s\", expected one with \"%s\"", out->root,
                     member);
}

shardy_status shardy__s3_parse_upload_begun(
    shardy_bytes xml, s3_upload_result *out, shardy_error *err)
{
    return parse_upload(xml, "UploadId", out, err);
}

shardy_status shardy__s3_parse_upload_ended(
    shardy_bytes xml, s3_upload_result *out, shardy_error *err)
{
    return parse_upload(xml, "ETag", out, err);
}

/* --- credentials ---------------------------------------------------------------------------- */

/* The text is a secret: it is in no message. */
static shardy_status keep_secret(char *room, size_t size, const bytebuf *text, shardy_error *err)
{
    return shardy__credentials_keep(room, size, text->data, text->len)
               ? SHARDY_OK
               : shardy__error_native(err, SHARDY_CORRUPT, 1, 0, "s3",
                     "the reply has a text of %zu bytes among its credentials", text->len);
}

static shardy_status on_assumed(
    void *user, const char *path, const bytebuf *text, shardy_error *err)
{
    static const char root[] =
        "/AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials/";
    credentials_reply *c = user;
    if (strcmp(path, "/ErrorResponse/Error/Code") == 0) {
        shardy__credentials_keep_code(c->code, sizeof c->code, text->data, text->len);
        return SHARDY_OK;
    }
    if (strncmp(path, root, sizeof root - 1) != 0) {
        return SHARDY_OK;
    }
    path += sizeof root - 1;
    if (strcmp(path, "AccessKeyId") == 0) {
        return keep_secret(c->key_id, sizeof c->key_id, text, err);
    }
    if (strcmp(path, "SecretAccessKey") == 0) {
        return keep_secret(c->secret, sizeof c->secret, text, err);
    }
    if (strcmp(path, "SessionToken") == 0) {
        return keep_secret(c->token, sizeof c->token, text, err);
    }
    if (strcmp(path, "Expiration") == 0 &&
        !shardy__time_parse(text->data, text->len, &c->expires_us)) {
        c->expires_us = 0;
    }
    return SHARDY_OK;
}

shardy_status shardy__s3_parse_assumed(shardy_bytes xml, credentials_reply *out, shardy_error *err)
{
    static const char *const roots[] = {"AssumeRoleWithWebIdentityResponse", "ErrorResponse", NULL};
    memset(out, 0, sizeof *out);
    SHARDY_TRY(parse(xml, roots, on_assumed, out, err));
    if (!out->code[0] && !shardy__credentials_complete(out)) {
        return shardy__error_native(err, SHARDY_CORRUPT, 1, 0, "s3",
            "the reply has no access key, or does not say when it expires");
    }
    return SHARDY_OK;
}
