/* The catalog's documents (pointer, fate, run record), where a data set is, and what it lists. */
#include "support/store_fixture.h"

#include "base/bytebuf.h"
#include "base/uri.h"
#include "catalog/catalog.h"
#include "catalog/run_record.h"
#include "store/store.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static shardy_error err;

#define SET(field, text) snprintf((field), sizeof(field), "%s", (text))

/* --- documents: what is wrong is named -------------------------------------------------------- */

typedef struct bad_document {
    const char *text;
    shardy_status status;
    const char *message;
} bad_document;

static void assert_bad(const bad_document *c, shardy_status st)
{
    if (st != c->status || strcmp(err.message, c->message) != 0) {
        fail_msg("%s:\n  got %d \"%s\"\n  not %d \"%s\"", c->text, (int)st, err.message,
            (int)c->status, c->message);
    }
}

#define POINTER(fields)                                                                            \
    "{\"manifest_ref\":\"m\",\"manifest_content_type\":\"t\",\"run_id\":\"r\",\"updated_at\":"     \
    "\"2026-01-02T03:04:05Z\"" fields "}"
#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_pointer__what_is_wrong_is_named(void **state)
{
    (void)state;
    static const bad_document cases[] = {
        {"", SHARDY_CORRUPT, "_CURRENT: line 1, column 1: the text ends where a value is expected"},
        {"{", SHARDY_CORRUPT, "_CURRENT: line 1, column 2: the text ends in an object"},
        {"\xef\xbb\xbf{}", SHARDY_CORRUPT, "_CURRENT: line 1, column 1: expected a value"},
        {"[]", SHARDY_CORRUPT, "_CURRENT is not a JSON object"},
        {"{}", SHARDY_CORRUPT, "_CURRENT has no text \"manifest_ref\""},
        {"{\"manifest_ref\":5}", SHARDY_CORRUPT, "_CURRENT has no text \"manifest_ref\""},
        {"{\"manifest_ref\":\"a\\u0000\"}", SHARDY_CORRUPT,
            "_CURRENT has a \"manifest_ref\" of 2 bytes, expected at most 2048 and no zero byte"},
        {"{\"manifest_ref\":\"m\"}", SHARDY_CORRUPT,
            "_CURRENT has no text \"manifest_content_type\""},
        {"{\"manifest_ref\":\"m\",\"manifest_content_type\":\"t\"}", SHARDY_CORRUPT,
            "_CURRENT has no text \"run_id\""},
        {"{\"manifest_ref\":\"m\",\"manifest_content_type\":\"t\",\"run_id\":\"r\"}",
            SHARDY_CORRUPT, "_CURRENT has no time \"updated_at\""},
        {"{\"manifest_ref\":\"m\",\"manifest_content_type\":\"t\",\"run_id\":\"r\","
         "\"updated_at\":\"soon\"}",
            SHARDY_CORRUPT, "_CURRENT has no time \"updated_at\""},
        {POINTER(",\"shardyfusion\":1"), SHARDY_CORRUPT,
            "_CURRENT has a \"shardyfusion\" that is no object"},
        {POINTER(",\"shardyfusion\":{}"), SHARDY_CORRUPT,
            "_CURRENT has no integer \"generation\" from 0 to 2^64-1"},
        {POINTER(",\"shardyfusion\":{\"generation\":-1}"), SHARDY_CORRUPT,
            "_CURRENT has no integer \"generation\" from 0 to 2^64-1"},
        {POINTER(",\"shardyfusion\":{\"generation\":1,\"manifest_sha256\":\"12\"}"), SHARDY_CORRUPT,
            "_CURRENT has no \"manifest_sha256\" of 64 hex digits"},
        {POINTER(",\"shardyfusion\":{\"generation\":1,\"manifest_sha256\":\"" DIGEST "\"}"),
            SHARDY_CORRUPT, "_CURRENT has no integer \"manifest_size\" from 0 to 2^64-1"},
        {POINTER(",\"shardyfusion\":{\"generation\":1,\"manifest_sha256\":\"" DIGEST
                 "\",\"manifest_size\":1}"),
            SHARDY_CORRUPT, "_CURRENT has no text \"nonce\""},
        {POINTER(",\"shardyfusion\":{\"generation\":1,\"manifest_sha256\":\"" DIGEST
                 "\",\"manifest_size\":1,\"nonce\":\"n\"}"),
            SHARDY_CORRUPT, "_CURRENT has no \"check\" of 64 hex digits"},
        {POINTER(",\"shardyfusion\":{\"generation\":1,\"manifest_sha256\":\"" DIGEST
                 "\",\"manifest_size\":1,\"nonce\":\"n\",\"check\":\"" DIGEST "\"}"),
            SHARDY_CORRUPT,
            "_CURRENT was changed after it was written: it differs from its own digest \"check\""},
        {POINTER(",\"format_version\":2"), SHARDY_FORMAT_VERSION,
            "_CURRENT has format version 2, this version reads 1"},
        /* whatever else a newer one has */
        {"{\"format_version\":18446744073709551615,\"shardyfusion\":{\"check\":{}}}",
            SHARDY_FORMAT_VERSION,
            "_CURRENT has format version 18446744073709551615, this version reads 1"},
        {POINTER(",\"format_version\":\"1\""), SHARDY_CORRUPT,
            "_CURRENT has a \"format_version\" that is no integer"},
        {POINTER(",\"format_version\":3,\"shardyfusion\":{\"check\":\"" DIGEST "\"}"),
            SHARDY_CORRUPT,
            "_CURRENT was changed after it was written: it differs from its own digest \"check\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pointer p;
        memset(&err, 0, sizeof err);
        assert_bad(&cases[i], shardy__pointer_parse(bytes_of(cases[i].text), &p, &err));
    }
    char *big = malloc(SHARDY_CURRENT_LEN_MAX + 1);
    pointer p;
    memset(big, ' ', SHARDY_CURRENT_LEN_MAX + 1);
    assert_status(SHARDY_CORRUPT,
        shardy__pointer_parse(shardy__bytes(big, SHARDY_CURRENT_LEN_MAX + 1), &p, &err));
    assert_string_equal(err.message, "_CURRENT has 65537 bytes, the limit is 65536");
    memcpy(big, POINTER(""), sizeof POINTER("") - 1);
    assert_ok(shardy__pointer_parse(shardy__bytes(big, SHARDY_CURRENT_LEN_MAX), &p, &err));
    free(big);
}

static void test_pointer__the_reference_would_read_what_we_write(void **state)
{
    (void)state;
    pointer p;
    memset(&p, 0, sizeof p);
    SET(p.manifest_ref, "s3://b/p/manifests/x/manifest");
    SET(p.manifest_content_type, "application/x-sqlite3");
    SET(p.run_id, "r\xc3\xa9");
    p.has_ours = 1;
    p.generation = 18446744073709551615u;
    p.manifest_size = 12288;
    memset(p.manifest_digest.bytes, 0xAB, sizeof p.manifest_digest.bytes);
    SET(p.nonce, "0123456789abcdef0123456789abcdef");
    p.updated_us = 1767323045000000;
    shardy_buf text;
    assert_ok(shardy__pointer_render(&p, &text, &err));
    /* "check" is the SHA-256 of the text with zeros in its place */
    static const char expected[] =
        "{\"format_version\":1,\"manifest_content_type\":\"application/x-sqlite3\",\""
        "manifest_ref\":\"s3://b/p/manifests/x/manifest\",\"run_id\":\"r\\u00e9\",\"s"
        "hardyfusion\":{\"check\":\"832688ee4e633eb96ecc185306f2653d600f29899613c80ed"
        "cc6b7886e439e0d\",\"generation\":18446744073709551615,\"manifest_sha256\":\""
        "abababababababababababababababababababababababababababababababab\",\"manifes"
        "t_size\":12288,\"nonce\":\"0123456789abcdef0123456789abcdef\"},\"updated_at"
        "\":\"2026-01-02T03:04:05Z\"}";
    assert_int_equal(text.len, sizeof expected - 1);
    assert_memory_equal(text.data, expected, text.len);
    shardy_buf_release(&text);
}

#define FATE_HEAD                                                                                  \
    "{\"format_version\":1,\"generation\":1,\"nonce\":\"n\",\"run_id\":\"r\",\"writer\":\"w\","
#define FATE_TIME "\"updated_at\":\"2026-01-02T03:04:05Z\""
/* all that it had before it had a check, but for the closing brace */
#define FATE_BEFORE FATE_HEAD FATE_TIME ",\"state\":\"WRITING\",\"manifest\":null,\"pins\":[]"

static void test_fate__what_is_wrong_is_named(void **state)
{
    (void)state;
    static const bad_document cases[] = {
        {"{}", SHARDY_CORRUPT,
            "the fate of a run has no integer \"format_version\" from 0 to 2^64-1"},
        {"{\"format_version\":2}", SHARDY_FORMAT_VERSION,
            "the fate of a run has format version 2, this version reads 1"},
        {"{\"format_version\":1}", SHARDY_CORRUPT,
            "the fate of a run has no integer \"generation\" from 0 to 2^64-1"},
        {"{\"format_version\":1,\"generation\":1}", SHARDY_CORRUPT,
            "the fate of a run has no text \"nonce\""},
        {FATE_HEAD "\"updated_at\":true}", SHARDY_CORRUPT,
            "the fate of a run has no time \"updated_at\""},
        {FATE_HEAD FATE_TIME "}", SHARDY_CORRUPT, "the fate of a run has no text \"state\""},
        {FATE_HEAD FATE_TIME ",\"state\":\"LOST\"}", SHARDY_CORRUPT,
            "the fate of a run has the unknown state \"LOST\""},
        {FATE_HEAD FATE_TIME ",\"state\":\"WRITING\"}", SHARDY_CORRUPT,
            "the fate of a run has no \"manifest\" (object or null)"},
        {FATE_HEAD FATE_TIME ",\"state\":\"WRITING\",\"manifest\":{\"ref\":\"x\"}}", SHARDY_CORRUPT,
            "the fate of a run has no \"sha256\" of 64 hex digits"},
        {FATE_HEAD FATE_TIME ",\"state\":\"WRITING\",\"manifest\":null}", SHARDY_CORRUPT,
            "the fate of a run has no \"pins\" (array of at most 64)"},
        {FATE_HEAD FATE_TIME ",\"state\":\"WRITING\",\"manifest\":null,\"pins\":[1]}",
            SHARDY_CORRUPT, "the fate of a run has a pin that is no short text"},
        {FATE_HEAD FATE_TIME ",\"state\":\"WRITING\",\"manifest\":null,\"pins\":[\"a\\u0000\"]}",
            SHARDY_CORRUPT, "the fate of a run has a pin that is no short text"},
        {FATE_HEAD FATE_TIME ",\"check\":null}", SHARDY_CORRUPT,
            "the fate of a run has no \"check\" of 64 hex digits"},
        {FATE_HEAD FATE_TIME ",\"check\":\"" DIGEST "\"}", SHARDY_CHECKSUM,
            "the fate of a run was changed after it was written: it differs from its own digest "
            "\"check\""},
        {FATE_BEFORE ",\"chesk\":\"" DIGEST "\"}", SHARDY_CORRUPT,
            "the fate of a run has no \"check\", and more members than fates without one"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static const fate nothing;
        fate f;
        memset(&f, 0, sizeof f);
        memset(&err, 0, sizeof err);
        assert_bad(&cases[i], shardy__fate_parse(bytes_of(cases[i].text), &f, &err));
        assert_memory_equal(&f, &nothing, sizeof f);
    }
}

static void test_fate__that_was_written_before_it_had_a_check_is_read(void **state)
{
    (void)state;
    fate f;
    memset(&f, 0, sizeof f);
    assert_ok(shardy__fate_parse(bytes_of(FATE_BEFORE "}"), &f, &err));
    assert_int_equal(f.state, FATE_WRITING);
    assert_string_equal(f.run_id, "r");
}

static void make_fate(fate *f)
{
    memset(f, 0, sizeof *f);
    SET(f->run_id, "r");
    SET(f->writer, "w");
    SET(f->nonce, "n");
    f->state = FATE_PUBLISHED;
    f->generation = 3;
    f->updated_us = 1767323045000006;
    f->has_manifest = 1;
    SET(f->manifest_ref, "manifests/x/manifest");
    f->manifest_size = 7;
    f->pin_count = 1;
    SET(f->pins[0], "keep");
}

static void test_fate__is_sorted_compact_json(void **state)
{
    (void)state;
    fate f;
    make_fate(&f);
    shardy_buf text;
    /* "check" is the SHA-256 of the text with zeros in its place */
    assert_ok(shardy__fate_render(&f, &text, &err));
    static const char expected[] =
        "{\"check\":\"ca044a1bfe7eaf00c7872cf942412ae9a66be82dc3bbe64bf1e323fe337f4816\","
        "\"format_version\":1,\"generation\":3,\"manifest\":{\"ref\":\"manifests/x/manifest\","
        "\"sha256\":\"0000000000000000000000000000000000000000000000000000000000000000\","
        "\"size\":7},\"nonce\":\"n\",\"pins\":[\"keep\"],\"run_id\":\"r\",\"state\":\"PUBLISHED\","
        "\"updated_at\":\"2026-01-02T03:04:05.000006Z\",\"writer\":\"w\"}";
    assert_int_equal(text.len, sizeof expected - 1);
    assert_memory_equal(text.data, expected, text.len);
    fate again;
    memset(&again, 0, sizeof again);
    assert_ok(shardy__fate_parse(shardy__bytes(text.data, text.len), &again, &err));
    assert_memory_equal(&again, &f, sizeof f);
    shardy_buf_release(&text);
}

/* Also one in the name of the check itself. */
static void test_fate__is_refused_when_any_bit_of_it_has_changed(void **state)
{
    (void)state;
    fate f;
    shardy_buf text;
    make_fate(&f);
    assert_ok(shardy__fate_render(&f, &text, &err));
    char *copy = malloc(text.len);
    assert_non_null(copy);
    memcpy(copy, text.data, text.len);
    for (size_t bit = 0; bit < text.len * 8; bit++) {
        copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << bit % 8));
        memset(&err, 0, sizeof err);
        shardy_status st = shardy__fate_parse(shardy__bytes(copy, text.len), &f, &err);
        if (st != SHARDY_CHECKSUM && st != SHARDY_CORRUPT) {
            fail_msg("bit %zu of byte %zu: %s", bit % 8, bit / 8, shardy_status_name(st));
        }
        assert_true(err.message[0] && shardy__fate_is_damaged(st));
        copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << bit % 8));
    }
    for (size_t len = 0; len < text.len; len++) {
        assert_true(shardy__fate_parse(shardy__bytes(copy, len), &f, &err) < 0);
    }
    assert_ok(shardy__fate_parse(shardy__bytes(copy, text.len), &f, &err));
    free(copy);
    shardy_buf_release(&text);
}

#define RECORD                                                                                     \
    "db_path_template: t\nrun_id: r\nwriter_type: python\ns3_prefix: s\nshard_prefix: p\n"         \
    "started_at: '2026-01-02T03:04:05Z'\nupdated_at: '2026-01-02T03:04:05Z'\n"                     \
    "lease_expires_at: '2026-01-02T03:04:05Z'\n"

static void test_run_record__what_is_wrong_is_named(void **state)
{
    (void)state;
    static const bad_document cases[] = {
        {"", SHARDY_CORRUPT, "run record: the text is empty: expected a mapping"},
        {"- a\n", SHARDY_CORRUPT, "run record: line 1, column 1: expected a mapping"},
        {"a: 1\n", SHARDY_CORRUPT, "the run record has no \"run_id\" (a text of bounded length)"},
        {"run_id: [a]\n", SHARDY_CORRUPT,
            "the run record has no \"run_id\" (a text of bounded length)"},
        {RECORD, SHARDY_CORRUPT, "the run record has no \"status\" (a text of bounded length)"},
        {RECORD "status: done\n", SHARDY_CORRUPT,
            "the run record has no \"status\" (running, succeeded or failed)"},
        {"run_id: r\nwriter_type: c\ns3_prefix: s\nshard_prefix: p\ndb_path_template: t\n"
         "started_at: noon\n",
            SHARDY_CORRUPT, "the run record has no \"started_at\" (a time)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run_record r;
        memset(&r, 0, sizeof r);
        memset(&err, 0, sizeof err);
        assert_bad(&cases[i], shardy__run_record_parse(bytes_of(cases[i].text), &r, &err));
    }
}

static void test_run_record__texts_that_yaml_would_take_for_numbers_stay_texts(void **state)
{
    (void)state;
    static const char *const ids[] = {"1234e567", "0123", "null", "true", "1_000", "~", "- a",
        "a: b", "2026-01-02", "0x1f", ".inf", "a #b", "'", "\"", "\xc3\xa9\xf0\x9f\x98\x80", " a "};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        run_record r;
        run_record again;
        shardy_buf text;
        memset(&r, 0, sizeof r);
        memset(&again, 0, sizeof again);
        SET(r.run_id, ids[i]);
        SET(r.writer_type, "c");
        SET(r.s3_prefix, "s3://b/p");
        SET(r.shard_prefix, "shards");
        SET(r.db_path_template, "db={db_id:05d}");
        SET(r.error_type, "CORRUPT");
        snprintf(r.error_message, sizeof r.error_message,
            "a long message with %s in it, which goes on and on for more than eighty columns: \n"
            "and on another line\t%s",
            ids[i], ids[i]);
        r.status = RUN_FAILED;
        r.started_us = 1767323045000000;
        r.updated_us = 1767323045000001;
        r.lease_expires_us = 1767323045000001;
        assert_ok(shardy__run_record_render(&r, &text, &err));
        assert_ok(shardy__run_record_parse(shardy__bytes(text.data, text.len), &again, &err));
        assert_memory_equal(&again, &r, sizeof r);
        shardy_buf_release(&text);
    }
}

/* --- where a data set is ---------------------------------------------------------------------- */

static void test_catalog__a_url_names_a_root_and_a_pointer(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        const char *root;
        const char *key;
    } cases[] = {
        {"file:///", "file:///", "_CURRENT"},
        {"file:///_CURRENT", "file:///", "_CURRENT"},
        {"file:///_OTHER", "file:///", "_OTHER"},
        {"FILE://localhost/a/b/", "file:///a/b", "_CURRENT"},
        {"file:///a/_CURRENT", "file:///a", "_CURRENT"},
        {"file:///a/_CURRENT/", "file:///a/_CURRENT", "_CURRENT"},
        {"s3://b/p/_CURRENT", "s3://b/p", "_CURRENT"},
        {"s3://b/_x", "s3://b", "_x"},
        {"s3://_b", "s3://_b", "_CURRENT"},
        {"/", "/", "_CURRENT"},
        {"/_CURRENT", "/", "_CURRENT"},
        {"/a/_NEXT", "/a", "_NEXT"},
        {"/a//", "/a", "_CURRENT"},
        {"_CURRENT", ".", "_CURRENT"},
        {"./_CURRENT", ".", "_CURRENT"},
        {"a/_CURRENT", "a", "_CURRENT"},
        {"a_b", "a_b", "_CURRENT"},
        {".", ".", "_CURRENT"},
    };
    shardy_store *store;
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        catalog c;
        const catalog_options options = {.store = store};
        assert_ok(shardy__catalog_open(NULL, cases[i].url, &options, &c, &err));
        assert_string_equal(c.url, cases[i].root);
        assert_string_equal(c.pointer_key, cases[i].key);
        char url[SHARDY_URL_LEN_MAX + 1];
        char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
        assert_ok(shardy__uri_join(c.url, "manifests/x/manifest", url, &err));
        assert_ok(shardy__uri_strip(c.url, url, key, &err));
        assert_string_equal(key, "manifests/x/manifest");
        shardy__catalog_close(&c);
    }
    shardy_store_close(store);
    catalog c;
    const catalog_options options = {0};
    assert_status(SHARDY_INVALID, shardy__catalog_open(NULL, "", &options, &c, &err));
    assert_status(SHARDY_INVALID, shardy__catalog_open(NULL, "file://x/y", &options, &c, &err));
    assert_status(
        SHARDY_INVALID, shardy__catalog_open(NULL, "/no/such/directory", &options, &c, &err));
    assert_string_equal(err.message, "there is no directory \"/no/such/directory\"");
    assert_ok(shardy__catalog_open(NULL, "file:///", &options, &c, &err));
    shardy__catalog_close(&c);
}

static void test_catalog__a_build_makes_no_pointer_of_another_name(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        const char *said; /* NULL: it may be built there */
    } cases[] = {
        {"_a",
            "\"_a\" would be a pointer in \".\": pointers are called _CURRENT or _CURRENT...; for "
            "a directory of that name write \"_a/\""},
        {"s3://b/p/_a",
            "\"_a\" would be a pointer in \"s3://b/p\": pointers are called _CURRENT or "
            "_CURRENT...; for a directory of that name write \"s3://b/p/_a/\""},
        {"/d/_CURREN", "\"_CURREN\" would be a pointer in \"/d\": pointers are called _CURRENT or "
                       "_CURRENT...; for a directory of that name write \"/d/_CURREN/\""},
        {"_a/", NULL},
        {"s3://b/p/_a/", NULL},
        {"_CURRENT", NULL},
        {"/d/_CURRENT_NEXT", NULL},
    };
    shardy_store *store;
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        catalog c;
        const catalog_options options = {.store = store, .create = 1};
        shardy_status st = shardy__catalog_open(NULL, cases[i].url, &options, &c, &err);
        if (cases[i].said) {
            assert_status(SHARDY_INVALID, st);
            assert_string_equal(err.message, cases[i].said);
        } else {
            assert_ok(st);
            shardy__catalog_close(&c);
        }
    }
    shardy_store_close(store);
}

static void test_catalog__only_the_end_of_a_manifest_ref_counts(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *ref; /* NULL: refused */
    } cases[] = {
        {"manifests/d/manifest", "manifests/d/manifest"},
        {"s3://b/p/manifests/d/manifest", "manifests/d/manifest"},
        {"s3://b/manifests/x/manifests/d/manifest", "manifests/d/manifest"},
        {"s3://b/manifests/manifests/d/manifest", "manifests/d/manifest"},
        {"/a/manifests/%2e%2e/manifest", "manifests/%2e%2e/manifest"},
        {"s3://b/p/manifests/../manifest", NULL},
        {"s3://b/p/manifests/./manifest", NULL},
        {"s3://b/p/manifests//manifest", NULL},
        {"s3://b/p/manifests/a/b/manifest", NULL},
        {"s3://b/p/manifests/a/manifest/", NULL},
        {"s3://b/p/manifests/a/other", NULL},
        {"s3://b/p/manifests/manifest", NULL},
        {"s3://b/p/xmanifests/a/manifest", NULL},
        {"s3://b/p/manifests/a\n/manifest", NULL},
        {"manifests/", NULL},
        {"", NULL},
        {"file:///etc/passwd", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1] = "x";
        memset(&err, 0, sizeof err);
        assert_status(cases[i].ref ? SHARDY_OK : SHARDY_INVALID,
            shardy__catalog_ref(cases[i].name, ref, &err));
        assert_string_equal(ref, cases[i].ref ? cases[i].ref : "");
        assert_int_equal(err.message[0] != '\0', cases[i].ref == NULL);
    }
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 64];
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    memset(text, 'x', sizeof text);
    memcpy(text, "manifests/", 10);
    memcpy(text + SHARDY_OBJECT_KEY_LEN_MAX - 9, "/manifest", 10);
    assert_ok(shardy__catalog_ref(text, ref, &err));
    memset(text + 10, 'x', sizeof text - 10);
    memcpy(text + SHARDY_OBJECT_KEY_LEN_MAX - 8, "/manifest", 10);
    assert_status(SHARDY_INVALID, shardy__catalog_ref(text, ref, &err));
}

/* --- listing ---------------------------------------------------------------------------------- */

static void open_manifest_store(const fixture *f, manifest_store *m)
{
    assert_ok(shardy__manifest_store_open_object(f->store, "_CURRENT", 0, m, &err));
}

static void test_listing__manifests_come_newest_first_and_other_names_are_skipped(void **state)
{
    fixture *f = *state;
    static const char *const keys[] = {
        "manifests/2026-01-02T03:04:05.000001Z_run_id=a/manifest",
        "manifests/2026-01-02T03:04:05.000002Z_run_id=c/manifest",
        "manifests/2026-01-02T03:04:05.000002Z_run_id=b/manifest",
        "manifests/2026-01-02T03:04:05.000003Z_run_id=run_id=d/manifest",
        /* not names of manifests: one without its manifest is half written or half removed */
        "manifests/2025-12-31T23:59:59.999999Z_run_id=e/manifest.sums",
        "manifests/2026-13-02T03:04:05.000001Z_run_id=month/manifest",
        "manifests/2026-02-30T03:04:05.000001Z_run_id=day/manifest",
        "manifests/2026-01-02T03:04:05Z_run_id=short/manifest",
        "manifests/2026-01-02T03:04:05.000001Z_run_id=",
        "manifests/2026-01-02T03:04:05.000001Z/manifest",
        "manifests/latest/manifest",
        "manifests/file",
        "manifest/2026-01-02T03:04:05.000009Z_run_id=z/manifest",
    };
    static const char *const expected[] = {"run_id=d", "b", "c", "a"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        put_ok(f->store, keys[i], "x");
    }
    manifest_store m;
    shardy_manifest_list list;
    open_manifest_store(f, &m);
    assert_ok(shardy__manifest_store_list(&m, 100, &list, &err));
    assert_int_equal(list.count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(list.entries[i].run_id, expected[i]);
    }
    assert_string_equal(list.entries[0].ref, keys[3]);
    assert_true(list.entries[0].published_us == 1767323045000003);
    shardy__manifest_list_dispose(&list);
    assert_ok(shardy__manifest_store_list(&m, 2, &list, &err));
    assert_int_equal(list.count, 2);
    assert_string_equal(list.entries[1].run_id, "b");
    shardy__manifest_list_dispose(&list);
    shardy__manifest_store_close(&m);
}

static void test_listing__an_empty_data_set_lists_nothing_and_has_no_pointer(void **state)
{
    fixture *f = *state;
    manifest_store m;
    shardy_manifest_list list;
    pointer p;
    shardy_etag version;
    open_manifest_store(f, &m);
    assert_ok(shardy__manifest_store_list(&m, 10, &list, &err));
    assert_int_equal(list.count, 0);
    shardy__manifest_list_dispose(&list);
    assert_status(SHARDY_NOT_FOUND, shardy__manifest_store_load_current(&m, &p, &version, &err));
    shardy_buf image;
    assert_status(
        SHARDY_NOT_FOUND, shardy__manifest_store_load(&m, "manifests/x/manifest", &image, &err));
    shardy__manifest_store_close(&m);
}

static void test_listing__goes_over_many_pages(void **state)
{
    fixture *f = *state;
    if (fixture_has_files(f)) {
        return; /* the same code; thousands of files take time */
    }
    for (int i = 0; i < 2500; i++) {
        char key[200];
        snprintf(key, sizeof key, "manifests/2026-01-02T03:04:05.%06dZ_run_id=r%d/manifest",
            (i * 7919) % 2500, i);
        put_ok(f->store, key, "x");
    }
    manifest_store m;
    shardy_manifest_list list;
    open_manifest_store(f, &m);
    assert_ok(shardy__manifest_store_list(&m, 10000, &list, &err));
    assert_int_equal(list.count, 2500);
    for (size_t i = 0; i < 2500; i++) {
        assert_true(list.entries[i].published_us == 1767323045000000 + 2499 - (int64_t)i);
    }
    shardy__manifest_list_dispose(&list);
    shardy__manifest_store_close(&m);
}

static void test_manifests__are_added_once_with_their_chunk_digests(void **state)
{
    fixture *f = *state;
    manifest_store m;
    char *big = calloc(1, 3 * SHARDY_CHUNK_LEN + 1);
    open_manifest_store(f, &m);
    assert_ok(
        shardy__manifest_store_add(&m, "manifests/a/manifest", shardy__bytes(big, 100), &err));
    assert_no_object(f->store, "manifests/a/manifest.sums");
    assert_status(SHARDY_EXISTS,
        shardy__manifest_store_add(&m, "manifests/a/manifest", shardy__bytes(big, 100), &err));
    assert_ok(shardy__manifest_store_add(
        &m, "manifests/b/manifest", shardy__bytes(big, 3 * SHARDY_CHUNK_LEN + 1), &err));
    shardy_object_meta meta;
    assert_ok(shardy_store_head(f->store, "manifests/b/manifest.sums", &meta, &err));
    assert_int_equal(meta.size, 4 * SHARDY_SHA256_LEN);
    assert_status(SHARDY_INVALID,
        shardy__manifest_store_add(&m, "manifests/../manifest", shardy__bytes(big, 1), &err));
    free(big);
    shardy__manifest_store_close(&m);
}

/* How long it is, is known before it is read; a long one comes in ranges. */
static void test_manifests__that_are_too_long_are_not_read_to_their_end(void **state)
{
    (void)state;
    static const char key[] = "manifests/a/manifest";
    manifest_store m;
    shardy_store *counted = NULL;
    shardy_store_counts counts;
    shardy_buf image;
    char *root = support_make_dir();
    shardy_store *fs = fixture_open_fs(root, 0);
    assert_ok(shardy_store_wrap_stats(NULL, fs, &counted, &err));
    assert_ok(shardy__manifest_store_open_object(counted, "_CURRENT", 0, &m, &err));
    put_ok(fs, key, "x");
    const char *path = support_path(root, key);
    assert_int_equal(truncate(path, (off_t)SHARDY_MANIFEST_LEN_MAX + 1), 0);
    assert_status(SHARDY_CORRUPT, shardy__manifest_store_load(&m, key, &image, &err));
    assert_non_null(strstr(err.message, "has 1073741825 bytes, the limit is 1073741824"));
    shardy_store_stats(counted, &counts);
    assert_int_equal(counts.read_bytes, MANIFEST_BEGIN_LEN);
    const size_t lens[] = {MANIFEST_BEGIN_LEN - 1, MANIFEST_BEGIN_LEN, MANIFEST_BEGIN_LEN + 1,
        2 * MANIFEST_BEGIN_LEN + 7};
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        char *expected = calloc(1, lens[i]);
        memcpy(expected + lens[i] - 3, "end", 3);
        support_write_file(path, expected, lens[i]);
        assert_ok(shardy__manifest_store_load(&m, key, &image, &err));
        assert_int_equal(image.len, lens[i]);
        assert_memory_equal(image.data, expected, lens[i]);
        shardy_buf_release(&image);
        free(expected);
    }
    shardy__manifest_store_close(&m);
    shardy_store_close(counted);
    shardy_store_close(fs);
    support_remove_dir(root);
}

/* --- listings that lie ------------------------------------------------------------------------ */

typedef struct liar {
    shardy_store *inner;
    size_t listings;
} liar;

static uint64_t liar_caps(void *store)
{
    return shardy_store_caps(((liar *)store)->inner);
}

/* Two objects for ever. */
static shardy_status liar_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *error)
{
    static shardy_store_entry entries[2] = {
        {.key = "shards/run_id=a/x"}, {.key = "shards/run_id=a/y"}};
    (void)what;
    (void)error;
    ((liar *)store)->listings++;
    page_out->entries = entries;
    page_out->count = 2;
    return SHARDY_OK;
}

static shardy_status liar_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *error)
{
    return shardy_store_remove_within(((liar *)store)->inner, keys, n, limits, results_out, error);
}

static void liar_close(void *store)
{
    (void)store;
}

static void test_remove__ends_where_listings_go_on_showing_what_is_gone(void **state)
{
    const fixture *f = *state;
    liar lying = {f->store, 0};
    shardy_store_ops ops = *f->store->ops;
    catalog c = {0};
    uint64_t removed;
    put_ok(f->store, "shards/run_id=a/x", "x");
    put_ok(f->store, "shards/run_id=a/y", "y");
    ops.caps = liar_caps;
    ops.list = liar_list;
    ops.remove = liar_remove;
    ops.close = liar_close;
    assert_ok(shardy_store_new_take(NULL, &ops, &lying, &c.store, &err));
    assert_status(SHARDY_IO, shardy__catalog_remove_prefix(&c, "shards/run_id=a/", &removed, &err));
    assert_non_null(strstr(err.message, "goes on showing \"shards/run_id=a/x\""));
    assert_int_equal(lying.listings, 2);
    assert_int_equal(removed, 2);
    assert_no_object(f->store, "shards/run_id=a/x");
    shardy_store_close(c.store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifests__that_are_too_long_are_not_read_to_their_end),
        cmocka_unit_test(test_pointer__what_is_wrong_is_named),
        cmocka_unit_test(test_pointer__the_reference_would_read_what_we_write),
        cmocka_unit_test(test_fate__what_is_wrong_is_named),
        cmocka_unit_test(test_fate__that_was_written_before_it_had_a_check_is_read),
        cmocka_unit_test(test_fate__is_sorted_compact_json),
        cmocka_unit_test(test_fate__is_refused_when_any_bit_of_it_has_changed),
        cmocka_unit_test(test_run_record__what_is_wrong_is_named),
        cmocka_unit_test(test_run_record__texts_that_yaml_would_take_for_numbers_stay_texts),
        cmocka_unit_test(test_catalog__a_url_names_a_root_and_a_pointer),
        cmocka_unit_test(test_catalog__a_build_makes_no_pointer_of_another_name),
        cmocka_unit_test(test_catalog__only_the_end_of_a_manifest_ref_counts),
    };
    const struct CMUnitTest store_tests[] = {
        STORE_TEST(test_listing__manifests_come_newest_first_and_other_names_are_skipped),
        STORE_TEST(test_listing__an_empty_data_set_lists_nothing_and_has_no_pointer),
        STORE_TEST(test_listing__goes_over_many_pages),
        STORE_TEST(test_manifests__are_added_once_with_their_chunk_digests),
        STORE_TEST(test_remove__ends_where_listings_go_on_showing_what_is_gone),
    };
    const scenario stores[] = {FS, MEM};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed + fixture_run(store_tests, 5, stores, 2);
}
