/* The parts of the s3 store that need no server: addresses, signatures, heads of replies, XML.
 *
 * Signatures are compared with those that Amazon has published: of its test suite for signature
 * version 4 and of the examples in the documentation of S3. tests/tools/test_s3_vectors.py computes
 * the same table in another way. */
#include "base/digest.h"
#include "store/http_reply.h"
#include "store/s3_place.h"
#include "store/s3_sign.h"
#include "store/s3_xml.h"
#include "support/support.h"

#include <shardyfusion/sys/store.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- signatures ----------------------------------------------------------------------------- */

/* tests/unit/s3_vectors.expected: a line for each field of a vector, an empty line at its end. */
typedef struct vector {
    char name[64];
    char method[8];
    char path[256];
    char query[256];
    char time[32];
    char region[32];
    char service[32];
    char key_id[64];
    char secret[64];
    char payload[256];
    char header_names[8][64];
    char header_values[8][512];
    size_t header_count;
    char signed_names[256];
    char signature[65];
} vector;

static char *field_room(vector *v, const char *name, size_t *size)
{
    struct {
        const char *name;
        char *room;
        size_t size;
    } fields[] = {{"name", v->name, sizeof v->name}, {"method", v->method, sizeof v->method},
        {"path", v->path, sizeof v->path}, {"query", v->query, sizeof v->query},
        {"time", v->time, sizeof v->time}, {"region", v->region, sizeof v->region},
        {"service", v->service, sizeof v->service}, {"key_id", v->key_id, sizeof v->key_id},
        {"secret", v->secret, sizeof v->secret}, {"payload", v->payload, sizeof v->payload},
        {"signed", v->signed_names, sizeof v->signed_names},
        {"signature", v->signature, sizeof v->signature}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcmp(fields[i].name, name) == 0) {
            *size = fields[i].size;
            return fields[i].room;
        }
    }
    return NULL;
}

static void add_field(vector *v, char *line)
{
    size_t size = 0;
    char *value = strchr(line, ' ');
    assert_non_null(value);
    *value++ = '\0';
    if (strcmp(line, "header") == 0) {
        char *header = strchr(value, ':');
        assert_non_null(header);
        *header++ = '\0';
        assert_true(v->header_count < 8);
        snprintf(v->header_names[v->header_count], 64, "%s", value);
        snprintf(v->header_values[v->header_count++], 512, "%s", header);
        return;
    }
    char *room = field_room(v, line, &size);
    if (!room) {
        fail_msg("the vectors have a field \"%s\"", line);
    }
    assert_true(strlen(value) < size);
    memcpy(room, value, strlen(value) + 1);
}

static void check_vector(const vector *v)
{
    shardy_error err = {0};
    s3_header headers[8];
    for (size_t i = 0; i < v->header_count; i++) {
        headers[i] = (s3_header){v->header_names[i], v->header_values[i]};
    }
    sha256 digest;
    char hash[65];
    assert_ok(shardy__sha256(v->payload, strlen(v->payload), &digest, &err));
    shardy__sha256_hex(&digest, hash);
    s3_signing s = {v->method, v->path, v->query, headers, v->header_count, hash, v->time,
        v->region, v->service, v->key_id, v->secret};
    bytebuf value;
    shardy__bytebuf_init(&value, 4096);
    assert_ok(shardy__s3_sign(&s, &value, &err));
    char expected[1024];
    snprintf(expected, sizeof expected,
        "AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/%s/aws4_request, SignedHeaders=%s, Signature=%s",
        v->key_id, v->time, v->region, v->service, v->signed_names, v->signature);
    if (strcmp(value.data, expected) != 0) {
        fail_msg("%s: %s, expected %s", v->name, value.data, expected);
    }
    shardy__bytebuf_free(&value);
}

static void test_sign__the_published_signatures_come_out(void **state)
{
    (void)state;
    size_t len;
    size_t count = 0;
    char *text = support_read_file(SHARDY_SOURCE_DIR "/tests/unit/s3_vectors.expected", &len);
    vector v;
    memset(&v, 0, sizeof v);
    for (char *line = text; *line;) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        if (line[0] == '\0' && v.name[0]) {
            check_vector(&v);
            memset(&v, 0, sizeof v);
            count++;
        } else if (line[0] && line[0] != '#') {
            add_field(&v, line);
        }
        line = end + 1;
    }
    free(text);
    assert_true(count >= 14);
}

static void test_sign__time_is_that_of_the_headers(void **state)
{
    (void)state;
    char text[S3_TIME_SIZE];
    shardy__s3_time(1369353600000000, text);
    assert_string_equal(text, "20130524T000000Z");
    shardy__s3_time(1369353600000000 + 86399999999, text);
    assert_string_equal(text, "20130524T235959Z");
}

static void test_sign__a_secret_without_end_is_refused(void **state)
{
    (void)state;
    shardy_error err = {0};
    char secret[3000];
    memset(secret, 's', sizeof secret - 1);
    secret[sizeof secret - 1] = '\0';
    s3_header headers[S3_HEADERS_MAX + 1] = {{"host", "h"}};
    s3_signing s = {"GET", "/", "", headers, 1, "", "20130524T000000Z", "r", "s3", "id", secret};
    bytebuf value;
    shardy__bytebuf_init(&value, 4096);
    assert_status(SHARDY_CONFIG, shardy__s3_sign(&s, &value, &err));
    assert_null(strstr(err.message, "sss"));
    s.header_count = S3_HEADERS_MAX + 1;
    assert_status(SHARDY_INVALID, shardy__s3_sign(&s, &value, &err));
    shardy__bytebuf_free(&value);
}

static void test_digest__pieces_and_codes(void **state)
{
    (void)state;
    shardy_error err = {0};
    sha256 whole;
    sha256 pieces;
    sha256_state *s;
    assert_ok(shardy__sha256("hello world", 11, &whole, &err));
    assert_ok(shardy__sha256_begin(&s, &err));
    assert_ok(shardy__sha256_add(s, "hello ", 6, &err));
    assert_ok(shardy__sha256_add(s, "world", 5, &err));
    assert_ok(shardy__sha256_finish(s, &pieces, &err));
    shardy__sha256_free(s);
    assert_memory_equal(&whole, &pieces, sizeof whole);
    static const char *const codes[] = {
        "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        char text[16];
        shardy__base64("foobar", i, text);
        assert_string_equal(text, codes[i]);
        assert_int_equal(strlen(text) + 1, SHARDY_BASE64_SIZE(i));
    }
    uint8_t md5[SHARDY_MD5_LEN];
    assert_true(shardy__md5("", 0, md5));
    assert_int_equal(md5[0], 0xd4);
}

/* --- addresses ------------------------------------------------------------------------------ */

static void test_place__of_a_bucket(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        const char *endpoint;
        const char *region;
        int32_t addressing;
        const char *expected; /* NULL: refused */
        const char *prefix;
    } cases[] = {
        {"s3://bucket/a/b", NULL, "us-east-1", 0, "https://bucket.s3.us-east-1.amazonaws.com",
            "a/b/"},
        {"s3://bucket", NULL, "eu-west-1", 1, "https://s3.eu-west-1.amazonaws.com/bucket", ""},
        {"s3://bucket/", NULL, "cn-north-1", 2, "https://bucket.s3.cn-north-1.amazonaws.com.cn",
            ""},
        {"s3://my.bucket/x", NULL, "us-east-1", 0, "https://s3.us-east-1.amazonaws.com/my.bucket",
            "x/"},
        {"s3://Bucket_1/x", NULL, "us-east-1", 0, "https://s3.us-east-1.amazonaws.com/Bucket_1",
            "x/"},
        {"s3://bucket/x", "http://127.0.0.1:9000", "r", 0, "http://127.0.0.1:9000/bucket", "x/"},
        {"s3://bucket/x", "http://[::1]:9000/", "r", 0, "http://[::1]:9000/bucket", "x/"},
        {"s3://bucket/x", "https://host/storage/v1/", "r", 1, "https://host/storage/v1/bucket",
            "x/"},
        {"s3://bucket/x", "https://host:8443", "r", 2, "https://bucket.host:8443", "x/"},
        {"s3://my.bucket/x", "https://host", "r", 2, NULL, NULL},
        {"s3://-bucket/x", "https://host", "r", 2, NULL, NULL},
        {"s3://bucket/x", "host", "r", 0, NULL, NULL},
        {"s3://bucket/x", "http://host:0", "r", 0, NULL, NULL},
        {"s3://bucket/x", "http://host:", "r", 0, NULL, NULL},
        {"s3://bucket/x", "http://a..b", "r", 0, NULL, NULL},
        {"s3://bucket/x", "http://::1", "r", 0, NULL, NULL},
        {"s3://bucket/x", "http://[::1", "r", 0, NULL, NULL},
        {"s3://bucket/x", "HTTP://host/", "r", 0, "http://host/bucket", "x/"},
        {"s3://bucket/x", "http://host/a/../b", "r", 0, NULL, NULL},
        {"s3://bucket/x", "http://host/a//b", "r", 0, NULL, NULL},
        {"s3://bucket/x", "http://host?x", "r", 0, NULL, NULL},
        {"s3://bucket/x", "http://host/a%2e", "r", 0, NULL, NULL},
        {"s3://bucket/x", "ftp://host", "r", 0, NULL, NULL},
        {"s3://bucket/x", "http://[::1]:9000", "r", 2, NULL, NULL},
        {"s3://bucket/x", NULL, "a..b", 0, NULL, NULL},
        {"s3://bucket/x", NULL, "a~b", 0, NULL, NULL},
        {"s3://bucket/x", NULL, "", 0, NULL, NULL},
        {"s3://bucket/x", NULL, "a/b", 0, NULL, NULL},
        {"/tmp/x", NULL, "r", 0, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_error err = {0};
        s3_place place;
        char got[2048];
        s3_place_options options = {cases[i].endpoint, cases[i].region, cases[i].addressing};
        shardy_status st = shardy__s3_place_find(cases[i].url, &options, &place, &err);
        if (!cases[i].expected) {
            assert_true(st == SHARDY_CONFIG || st == SHARDY_INVALID);
            continue;
        }
        assert_ok(st);
        snprintf(got, sizeof got, "%s://%s%s", place.scheme, place.host, place.base);
        assert_string_equal(got, cases[i].expected);
        assert_string_equal(place.prefix, cases[i].prefix);
        assert_int_equal(place.prefix_len, strlen(cases[i].prefix));
    }
}

static void test_encode__each_byte_comes_back(void **state)
{
    (void)state;
    char all[255];
    bytebuf text;
    for (size_t i = 0; i < sizeof all; i++) {
        all[i] = (char)(i + 1);
    }
    shardy__bytebuf_init(&text, 4096);
    shardy__s3_encode(&text, shardy__bytes(all, sizeof all), 1);
    assert_null(strchr(text.data, '/'));
    assert_int_equal(
        strspn(text.data, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%"),
        text.len);
    assert_int_equal(shardy__s3_decode(text.data, text.len), sizeof all);
    assert_memory_equal(text.data, all, sizeof all);
    shardy__bytebuf_clear(&text);
    shardy__s3_encode(&text, shardy__bytes("a/b c+d=\xc3\xa9%20", 13), 0);
    assert_string_equal(text.data, "a/b%20c%2Bd%3D%C3%A9%2520");
    shardy__bytebuf_free(&text);
    char plus[] = "a+b%2Bc%zz%4";
    assert_int_equal(shardy__s3_decode(plus, strlen(plus)), 10);
    assert_memory_equal(plus, "a b+c%zz%4", 10);
}

/* --- heads of replies ----------------------------------------------------------------------- */

static http_reply reply_of(const char *head)
{
    http_reply reply;
    shardy__http_reply_clear(&reply);
    while (*head) {
        size_t len = strcspn(head, "\n");
        len += head[len] == '\n';
        shardy__http_reply_line(&reply, head, len);
        head += len;
    }
    return reply;
}

static void test_reply__the_headers_that_matter_are_kept(void **state)
{
    (void)state;
    http_reply r = reply_of("HTTP/1.1 100 Continue\r\nETag: \"old\"\r\n\r\nHTTP/1.1 206 Partial\r\n"
                            "content-LENGTH:  4 \r\nContent-Range: bytes 2-5/10\r\nETag: \"v1\"\r\n"
                            "Last-Modified: Fri, 24 May 2013 00:00:00 GMT\r\nx-other: 1\r\n"
                            "x-amz-request-id: R1\r\nRetry-After: 7\r\n"
                            "x-amz-bucket-region: eu-west-1\r\nContent-Encoding: identity\r\n\r\n");
    assert_int_equal(r.code, 206);
    assert_null(r.malformed);
    assert_int_equal(r.length, 4);
    assert_true(r.has_range);
    assert_int_equal(r.range_first, 2);
    assert_int_equal(r.range_last, 5);
    assert_int_equal(r.range_total, 10);
    assert_string_equal(r.etag.text, "\"v1\"");
    assert_int_equal(r.modified_us, 1369353600000000);
    assert_string_equal(r.request_id, "R1");
    assert_string_equal(r.region, "eu-west-1");
    assert_int_equal(r.retry_after_us, 7000000);
    assert_int_equal(r.encoded, 0);
    r = reply_of("HTTP/1.1 200 OK\nContent-Encoding: gzip\nRetry-After: 99999999\n");
    assert_int_equal(r.encoded, 1);
    assert_int_equal(r.retry_after_us, 3600000000);
    assert_int_equal(r.length, HTTP_LENGTH_UNKNOWN);
    assert_int_equal(reply_of("HTTP/2 204\r\n").code, 204);
    assert_int_equal(reply_of("HTTP/1.1 20\r\n").code, 0);
    assert_int_equal(reply_of("HTTP/1.1 2000 x\r\n").code, 0);
}

static void test_reply__what_cannot_be_is_malformed(void **state)
{
    (void)state;
    static const char *const lines[] = {"Content-Length: x", "Content-Length: -1",
        "Content-Length: 99999999999999999999", "Content-Length: 5\nContent-Length: 6",
        "Content-Range: bytes 5-2/10", "Content-Range: bytes 5-10/10", "Content-Range: items 1-2/3",
        "Content-Range: bytes 1-2/*", "Content-Range: bytes 1-2", "Content-Range: bytes -/3",
        "Content-Range: bytes 1-2/3\nContent-Range: bytes 1-2/3", "ETag: \"a\"\nETag: \"b\"",
        "ETag: \x01"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char head[200];
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\n%s\n", lines[i]);
        if (!reply_of(head).malformed) {
            fail_msg("%s", lines[i]);
        }
    }
    char head[400] = "HTTP/1.1 200 OK\nETag: ";
    memset(head + strlen(head), 'e', 300);
    assert_string_equal(reply_of(head).malformed, "ETag");
    assert_int_equal(reply_of("Last-Modified: Fri, 24 Mai 2013 00:00:00 GMT").modified_us, 0);
    assert_null(reply_of("Content-Range: bytes */10").malformed);
}

/* --- XML ------------------------------------------------------------------------------------ */

#define NAME_52   "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"
#define LONG_NAME NAME_52 NAME_52 NAME_52 NAME_52

static shardy_bytes xml_of(const char *text)
{
    return (shardy_bytes){text, strlen(text)};
}

static void test_xml__a_listing(void **state)
{
    (void)state;
    shardy_error err = {0};
    arena memory;
    s3_list list;
    shardy__arena_init(&memory);
    assert_ok(shardy__s3_parse_list(
        xml_of("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult "
               "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix>p/</Prefix>"
               "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
               "<NextContinuationToken>t&amp;1</NextContinuationToken><Contents><Key>p/a</Key>"
               "<LastModified>2013-05-24T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag>"
               "<Size>12</Size><Owner><ID>x</ID></Owner></Contents><CommonPrefixes><Prefix>p/b/"
               "</Prefix></CommonPrefixes></ListBucketResult>"),
        &memory, &list, &err));
    assert_int_equal(list.count, 2);
    assert_string_equal(list.next_token, "t&1");
    assert_true(list.encoded);
    assert_string_equal(list.first->key, "p/a");
    assert_int_equal(list.first->size, 12);
    assert_int_equal(list.first->modified_us, 1369353600000000);
    assert_int_equal(list.first->is_prefix, 0);
    assert_string_equal(list.last->key, "p/b/");
    assert_int_equal(list.last->is_prefix, 1);
    assert_ok(shardy__s3_parse_list(
        xml_of("<Error><Code>SlowDown</Code><Message>m</Message></Error>"), &memory, &list, &err));
    assert_string_equal(list.failure.code, "SlowDown");
    shardy__arena_free(&memory);
}

/* XML has no digest. What a changed bit can do is to change a name, a time or a size; no entry and
 * no page is lost. */
static void test_xml__a_listing_with_a_changed_bit_is_refused_or_has_all_entries(void **state)
{
    (void)state;
    static const char *const ends[] = {
        "<IsTruncated>true</IsTruncated><NextContinuationToken>t1</NextContinuationToken>",
        "<IsTruncated>false</IsTruncated>"};
    for (size_t e = 0; e < 2; e++) {
        char text[600];
        arena memory;
        shardy__arena_init(&memory);
        int len = snprintf(text, sizeof text,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult "
            "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Prefix>p/</Prefix>"
            "<EncodingType>url</EncodingType>%s<Contents><Key>p/a%%3Db</Key>"
            "<LastModified>2013-05-24T00:00:00.000Z</LastModified><Size>12</Size></Contents>"
            "<CommonPrefixes><Prefix>p/b/</Prefix></CommonPrefixes></ListBucketResult>",
            ends[e]);
        uint32_t read = 0;
        for (size_t bit = 0; bit < (size_t)len * 8; bit++) {
            s3_list list;
            shardy_error err = {0};
            text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
            shardy_status st =
                shardy__s3_parse_list(shardy__bytes(text, (size_t)len), &memory, &list, &err);
            if (st == SHARDY_OK &&
                (list.count != 2 || !list.encoded || list.failure.code[0] ||
                    list.truncated != (e == 0) || (list.next_token != NULL) != (e == 0))) {
                fail_msg("bit %zu of byte %zu: %s", bit % 8, bit / 8, text);
            }
            assert_true(st == SHARDY_OK || st == SHARDY_CORRUPT);
            read += st == SHARDY_OK;
            text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
        }
        assert_in_range(read, 1, (size_t)len * 8);
        shardy__arena_free(&memory);
    }
}

static void test_xml__what_is_no_listing_is_corrupt(void **state)
{
    (void)state;
    static const char *const texts[] = {"", " ", "x", "<a/>", "<ListBucketResult>",
        "<ListBucketResult><" LONG_NAME "/></ListBucketResult>", "<ListBucketResult></x>",
        "<ListBucketResult><IsTruncated>true</IsTruncated>"
        "</ListBucketResult>",
        "<ListBucketResult><IsTruncated>trud</IsTruncated></ListBucketResult>",
        "<ListBucketResult><EncodingType>urm</EncodingType></ListBucketResult>",
        "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>k</Key><Size>x</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>k</Key><LastModified>x</LastModified></Contents>"
        "</ListBucketResult>",
        "<!DOCTYPE ListBucketResult SYSTEM \"http://x/\"><ListBucketResult/>",
        "<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult><Prefix>&a;</Prefix></ListBucketResult>",
        "<ListBucketResult><Prefix>&a;</Prefix></ListBucketResult>",
        "<ListBucketResult><a><b><c><d><e><f><g><h/></g></f></e></d></c></b></a>"
        "</ListBucketResult>"};
    arena memory;
    s3_list list;
    shardy__arena_init(&memory);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        shardy_error err = {0};
        shardy_status st = shardy__s3_parse_list(xml_of(texts[i]), &memory, &list, &err);
        if (st != SHARDY_CORRUPT || !err.message[0] || !err.retriable) {
            fail_msg("%s: %s", texts[i], shardy_status_name(st));
        }
    }
    bytebuf big;
    shardy_error err = {0};
    shardy__bytebuf_init(&big, 1u << 20);
    shardy__bytebuf_puts(&big, "<ListBucketResult><Prefix>");
    for (size_t i = 0; i < 1000; i++) {
        shardy__bytebuf_puts(&big, "0123456789");
    }
    shardy__bytebuf_puts(&big, "</Prefix></ListBucketResult>");
    assert_status(SHARDY_CORRUPT,
        shardy__s3_parse_list(shardy__bytes(big.data, big.len), &memory, &list, &err));
    shardy__bytebuf_free(&big);
    shardy__arena_free(&memory);
}

typedef struct deletions {
    char text[400];
} deletions;

static void note_deleted(void *user, const char *key, const char *code, const char *message)
{
    deletions *d = user;
    size_t len = strlen(d->text);
    snprintf(d->text + len, sizeof d->text - len, "%s:%s:%s ", key, code ? code : "", message);
}

static void test_xml__deletions_uploads_and_errors(void **state)
{
    (void)state;
    shardy_error err = {0};
    deletions d = {""};
    s3_failure failure;
    assert_ok(shardy__s3_parse_deleted(
        xml_of(
            "<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied"
            "</Code><Message>no</Message></Error><Deleted><Key>c</Key></Deleted></DeleteResult>"),
        note_deleted, &d, &failure, &err));
    assert_string_equal(d.text, "a:: b:AccessDenied:no c:: ");
    assert_ok(shardy__s3_parse_deleted(
        xml_of("<Error><Code>X</Code></Error>"), note_deleted, &d, &failure, &err));
    assert_string_equal(failure.code, "X");
    s3_upload_result u;
    assert_ok(shardy__s3_parse_upload_begun(
        xml_of("<InitiateMultipartUploadResult><UploadId>id 1</UploadId>"
               "</InitiateMultipartUploadResult>"),
        &u, &err));
    assert_string_equal(u.upload_id, "id 1");
    assert_ok(shardy__s3_parse_upload_ended(
        xml_of("\n \n<CompleteMultipartUploadResult><ETag>\"e-2\"</ETag><ChecksumSHA256>s"
               "</ChecksumSHA256></CompleteMultipartUploadResult>"),
        &u, &err));
    assert_string_equal(u.etag, "\"e-2\"");
    assert_ok(shardy__s3_parse_upload_begun(xml_of("<Error/>"), &u, &err));
    assert_string_equal(u.failure.code, "Unknown");
    /* other servers have other roots; what they say counts */
    assert_ok(shardy__s3_parse_upload_begun(
        xml_of("<CreateMultipartUploadOutput><UploadId>id 2</UploadId>"
               "</CreateMultipartUploadOutput>"),
        &u, &err));
    assert_string_equal(u.upload_id, "id 2");
    assert_ok(shardy__s3_parse_upload_ended(
        xml_of("<CompleteMultipartUploadResponse><ETag>e</ETag><x><ETag>no</ETag></x>"
               "</CompleteMultipartUploadResponse>"),
        &u, &err));
    assert_string_equal(u.etag, "\"e\""); /* as the header ETag has it */
    assert_status(SHARDY_CORRUPT,
        shardy__s3_parse_upload_ended(xml_of("<Other><ETag></ETag></Other>"), &u, &err));
    char long_etag[400] = "<Other><ETag>";
    memset(long_etag + strlen(long_etag), 'e', SHARDY_ETAG_LEN_MAX - 1);
    snprintf(long_etag + strlen(long_etag), 100, "</ETag></Other>");
    assert_status(SHARDY_CORRUPT, shardy__s3_parse_upload_ended(xml_of(long_etag), &u, &err));
    memmove(long_etag + 13, long_etag + 14, strlen(long_etag + 13));
    assert_ok(shardy__s3_parse_upload_ended(xml_of(long_etag), &u, &err));
    assert_int_equal(strlen(u.etag), SHARDY_ETAG_LEN_MAX);
    assert_status(SHARDY_CORRUPT,
        shardy__s3_parse_upload_ended(
            xml_of("<Other><x><ETag>no</ETag></x><UploadId>id</UploadId></Other>"), &u, &err));
    assert_string_equal(
        err.message, "the reply is a document \"Other\", expected one with \"ETag\"");
    assert_status(SHARDY_CORRUPT,
        shardy__s3_parse_upload_begun(xml_of("<html><ETag>e</ETag></html>"), &u, &err));
    assert_string_equal(
        err.message, "the reply is a document \"html\", expected one with \"UploadId\"");
    char long_id[1400] = "<InitiateMultipartUploadResult><UploadId>";
    memset(long_id + strlen(long_id), 'i', 1100);
    snprintf(long_id + strlen(long_id), 100, "</UploadId></InitiateMultipartUploadResult>");
    assert_status(SHARDY_CORRUPT, shardy__s3_parse_upload_begun(xml_of(long_id), &u, &err));
    shardy__s3_parse_failure(
        xml_of("<Error><Code>C</Code><Message>M</Message><Region>R</Region></Error>"), &failure);
    assert_string_equal(failure.code, "C");
    assert_string_equal(failure.region, "R");
    shardy__s3_parse_failure(xml_of("<html><body>502</body></html>"), &failure);
    assert_string_equal(failure.code, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sign__the_published_signatures_come_out),
        cmocka_unit_test(test_sign__time_is_that_of_the_headers),
        cmocka_unit_test(test_sign__a_secret_without_end_is_refused),
        cmocka_unit_test(test_digest__pieces_and_codes),
        cmocka_unit_test(test_place__of_a_bucket),
        cmocka_unit_test(test_encode__each_byte_comes_back),
        cmocka_unit_test(test_reply__the_headers_that_matter_are_kept),
        cmocka_unit_test(test_reply__what_cannot_be_is_malformed),
        cmocka_unit_test(test_xml__a_listing),
        cmocka_unit_test(test_xml__a_listing_with_a_changed_bit_is_refused_or_has_all_entries),
        cmocka_unit_test(test_xml__what_is_no_listing_is_corrupt),
        cmocka_unit_test(test_xml__deletions_uploads_and_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
