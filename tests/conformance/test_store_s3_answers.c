/* What the s3 store makes of the answers of a server, and of who answers in its place. */
#include "support/s3_world.h"

#include <shardyfusion/limits.h>

typedef struct answer {
    const char *rule; /* members of it */
    shardy_status status;
    int32_t retriable;
    const char *text; /* in the message */
} answer;

static void test_answers__of_a_read_are_told_apart(void **state)
{
    shardy_store *store = *state;
    static const answer cases[] = {
        {"\"kind\": \"status\", \"status\": 503, \"code\": \"SlowDown\"", SHARDY_THROTTLED, 1,
            "SlowDown"},
        {"\"kind\": \"status\", \"status\": 503, \"code\": \"ServiceUnavailable\"",
            SHARDY_THROTTLED, 1, "ServiceUnavailable"},
        {"\"kind\": \"status\", \"status\": 400, \"code\": \"RequestLimitExceeded\"",
            SHARDY_THROTTLED, 1, "RequestLimitExceeded"},
        {"\"kind\": \"body\", \"status\": 503, \"body\": \"\"", SHARDY_THROTTLED, 1, "503"},
        {"\"kind\": \"status\", \"status\": 500", SHARDY_IO, 1, "500"},
        {"\"kind\": \"status\", \"status\": 502", SHARDY_IO, 1, "502"},
        {"\"kind\": \"status\", \"status\": 504", SHARDY_IO, 1, "504"},
        {"\"kind\": \"status\", \"status\": 429", SHARDY_THROTTLED, 1, "429"},
        {"\"kind\": \"status\", \"status\": 404, \"code\": \"NoSuchKey\"", SHARDY_NOT_FOUND, 0, ""},
        {"\"kind\": \"status\", \"status\": 404, \"code\": \"NoSuchVersion\"", SHARDY_NOT_FOUND, 0,
            ""},
        {"\"kind\": \"body\", \"status\": 404, \"body\": \"404 page not found\"", SHARDY_IO, 1,
            "does not come from S3: 404"},
        {"\"kind\": \"body\", \"status\": 304, \"body\": \"\"", SHARDY_IO, 1, "not asked: 304"},
        {"\"kind\": \"status\", \"status\": 404, \"code\": \"NoSuchBucket\"", SHARDY_CONFIG, 0,
            "no such bucket"},
        {"\"kind\": \"status\", \"status\": 403, \"code\": \"AccessDenied\"", SHARDY_AUTH, 0,
            "access was refused"},
        {"\"kind\": \"status\", \"status\": 403, \"code\": \"RequestTimeTooSkewed\"", SHARDY_AUTH,
            0, "clocks"},
        {"\"kind\": \"status\", \"status\": 400, \"code\": \"ExpiredToken\"", SHARDY_AUTH, 0,
            "expired"},
        {"\"kind\": \"status\", \"status\": 301, \"code\": \"PermanentRedirect\", "
         "\"region\": \"eu-west-3\", \"location\": \"http://127.0.0.1:1/\"",
            SHARDY_CONFIG, 0, "eu-west-3"},
        {"\"kind\": \"drop\"", SHARDY_IO, 1, "GET"},
        {"\"kind\": \"reset\"", SHARDY_IO, 1, "GET"},
        {"\"kind\": \"garbage\"", SHARDY_IO, 1, ""},
        {"\"kind\": \"huge_headers\"", SHARDY_IO, 1, ""},
        {"\"kind\": \"cut\", \"after\": 2", SHARDY_IO, 1, ""},
        {"\"kind\": \"short\"", SHARDY_IO, 1, ""},
        {"\"kind\": \"long\"", SHARDY_IO, 1, ""},
        {"\"kind\": \"full\"", SHARDY_IO, 1, ""},
        {"\"kind\": \"range_shift\"", SHARDY_IO, 1, "another range"},
        {"\"kind\": \"content_range\", \"value\": null", SHARDY_IO, 1, "another range"},
        {"\"kind\": \"content_range\", \"value\": \"bytes 2-5/*\"", SHARDY_IO, 1, "Content-Range"},
        {"\"kind\": \"content_range\", \"value\": \"bytes */10\"", SHARDY_IO, 1, "another range"},
        {"\"kind\": \"multipart\"", SHARDY_IO, 1, ""},
        {"\"kind\": \"gzip\"", SHARDY_IO, 1, ""},
    };
    put_ok(store, "k", "0123456789");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_error err;
        char rule[500];
        snprintf(rule, sizeof rule, "%s, \"operation\": \"get_object\"", cases[i].rule);
        set_rule(rule);
        shardy_status st = get(store, "k", 2, 4, &err);
        if (st != cases[i].status || (st < 0 && err.retriable != cases[i].retriable) ||
            (st < 0 && !strstr(err.message, cases[i].text))) {
            fail_msg("%s: %s, retriable %d: %s", cases[i].rule, shardy_status_name(st),
                err.retriable, err.message);
        }
        assert_null(strstr(err.message, SERVER_SECRET_KEY));
        assert_null(strstr(err.message, "Signature="));
    }
    server_faults(s3, NULL);
    assert_object(store, "k", "0123456789");
}

static void test_answers__a_whole_object_has_its_checksum(void **state)
{
    shardy_store *store = *state;
    shardy_error err;
    put_ok(store, "k", "0123456789");
    set_rule("\"kind\": \"corrupt\", \"at_byte\": 3");
    assert_int_equal(get(store, "k", 0, SHARDY_READ_TO_END, &err), SHARDY_CHECKSUM);
    assert_int_equal(err.retriable, 1);
    set_rule("\"kind\": \"gzip\"");
    assert_int_equal(get(store, "k", 0, SHARDY_READ_TO_END, &err), SHARDY_IO);
}

static void test_answers__a_document_is_asked_whole_and_compared_with_its_checksum(void **state)
{
    static const struct {
        const char *name;
        const char *right; /* of "0123456789" */
    } checksums[] = {
        {"sha256", "hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII="},
        {"crc32", "poTHxg=="},
        {"crc32c", "KAwGng=="},
        {"crc64nvme", "Ffmx7kz9nB0="},
    };
    shardy_store *store = *state;
    shardy_buf body;
    shardy_object_meta meta;
    shardy_error err = {0};
    char rule[256];
    put_ok(store, "k", "0123456789");
    for (size_t i = 0; i < sizeof checksums / sizeof checksums[0]; i++) {
        for (int wrong = 0; wrong < 3; wrong++) {
            char text[64];
            snprintf(text, sizeof text, "%s%s", checksums[i].right, wrong == 2 ? "-3" : "");
            text[0] = (char)(wrong ? 'Z' : text[0]);
            snprintf(rule, sizeof rule,
                "\"kind\": \"header\", \"set\": {\"x-amz-checksum-%s\": \"%s\"}", checksums[i].name,
                text);
            set_rule(rule);
            assert_status(wrong == 1 ? SHARDY_CHECKSUM : SHARDY_OK,
                shardy__store_get_whole(store, "k", 10, &body, &meta, &err));
            shardy_buf_release(&body);
        }
        assert_int_equal(err.retriable, 1);
    }
    server_reset(s3);
    assert_ok(shardy__store_get_whole(store, "k", 9, &body, &meta, &err));
    assert_int_equal(body.len, 9);
    assert_int_equal(meta.size, 10);
    shardy_buf_release(&body);
    assert_int_equal(server_count(s3, "requests", NULL), 2);
}

static void test_answers__of_a_put_say_whether_it_was_done(void **state)
{
    shardy_store *store = *state;
    shardy_error err = {0};
    shardy_object_meta meta;
    /* refused: nothing is there, and nothing is to be repeated */
    set_rule("\"kind\": \"status\", \"status\": 501, \"code\": \"NotImplemented\"");
    assert_status(
        SHARDY_UNSUPPORTED, put_text(store, "k", SHARDY_PUT_IF_ABSENT, NULL, "x", NULL, &err));
    assert_int_equal(err.retriable, 0);
    /* two at once: not decided */
    set_rule("\"kind\": \"status\", \"status\": 409, \"code\": \"ConditionalRequestConflict\"");
    assert_status(SHARDY_IO, put_text(store, "k", SHARDY_PUT_IF_ABSENT, NULL, "x", NULL, &err));
    assert_int_equal(err.retriable, 1);
    assert_int_equal(err.native, 409);
    server_faults(s3, NULL);
    assert_no_object(store, "k");
    /* done, but the reply was lost: not known, and never sent again by itself */
    put_ok(store, "warm", "a connection is open");
    server_reset(s3);
    set_rule("\"kind\": \"drop\", \"applied\": true, \"times\": 1, \"method\": \"PUT\"");
    assert_status(SHARDY_IO, put_text(store, "k", SHARDY_PUT_IF_ABSENT, NULL, "mine", &meta, &err));
    assert_int_equal(err.retriable, 1);
    assert_int_equal(server_count(s3, "method.PUT", NULL), 1);
    assert_object(store, "k", "mine");
    /* wrong bytes on the way */
    set_rule("\"kind\": \"status\", \"status\": 400, \"code\": \"BadDigest\"");
    assert_status(
        SHARDY_CHECKSUM, put_text(store, "k", SHARDY_PUT_ALWAYS, NULL, "other", &meta, &err));
    assert_int_equal(err.retriable, 1);
}

/* What whoever is in between may answer for the server; a version, or an error of S3, is in none of
 * them. */
typedef struct stranger {
    int code;
    const char *body;
} stranger;

static const stranger strangers[] = {{200, ""}, {200, "<html>log in</html>"}, {201, ""}, {202, ""},
    {203, "<html/>"}, {204, ""}, {205, ""}, {206, "x"}, {226, ""}, {299, "x"}, {300, ""}, {302, ""},
    {304, ""}, {307, "<html/>"}, {400, ""}, {403, ""}, {404, ""}, {404, "404 page not found"},
    {405, ""}, {409, ""}, {410, ""}, {412, ""}, {416, ""}, {425, ""}, {429, ""}, {451, ""},
    {499, ""}, {500, ""}, {502, "<html/>"}, {511, ""}, {599, ""}, {999, ""}};
#define STRANGER_COUNT (sizeof strangers / sizeof strangers[0])

static void let_answer(const stranger *who, const char *operation)
{
    char rule[300];
    snprintf(rule, sizeof rule,
        "\"kind\": \"body\", \"status\": %d, \"body\": \"%s\", \"operation\": \"%s\"", who->code,
        who->body, operation);
    set_rule(rule);
}

static void assert_failed(shardy_status st, const shardy_error *err, const stranger *who)
{
    if (st >= 0 || !err->message[0]) {
        fail_msg("%d \"%s\": %s", who->code, who->body, shardy_status_name(st));
    }
}

static void test_answers__of_strangers_are_no_success_of_a_write_or_a_listing(void **state)
{
    shardy_store *store = *state;
    shardy_object_meta meta;
    static const char *const steps[] = {"create_upload", "upload_part", "complete_upload"};
    char *large = random_text(2 * PART_SIZE + 8);
    put_ok(store, "k", "x");
    put_ok(store, "l", "x");
    for (size_t i = 0; i < STRANGER_COUNT; i++) {
        const stranger *who = &strangers[i];
        shardy_error err = {0};
        shardy_store_page page;
        shardy_bytes keys[] = {bytes_of("k"), bytes_of("l")};
        int32_t results[2];
        let_answer(who, "put_object");
        assert_failed(put_text(store, "n", SHARDY_PUT_ALWAYS, NULL, "new", &meta, &err), &err, who);
        assert_failed(
            put_text(store, "n", SHARDY_PUT_IF_ABSENT, NULL, "new", &meta, &err), &err, who);
        for (size_t step = 0; step < 3; step++) {
            shardy_store_put put = put_of("n", SHARDY_PUT_ALWAYS, large);
            let_answer(who, steps[step]);
            assert_failed(shardy_store_put_object(store, &put, &meta, &err), &err, who);
        }
        let_answer(who, "list_objects");
        assert_failed(shardy_store_list(store, "", 0, NULL, 10, &page, &err), &err, who);
        let_answer(who, "delete_objects");
        assert_failed(shardy_store_remove(store, keys, 2, results, &err), &err, who);
        assert_true(results[0] < 0 && results[1] < 0);
        if (who->code > 299 || who->body[0]) {
            let_answer(who, "delete_object");
            assert_failed(shardy_store_remove(store, keys, 1, results, &err), &err, who);
            assert_true(results[0] < 0);
        }
    }
    server_faults(s3, NULL);
    assert_no_object(store, "n");
    assert_object(store, "k", "x");
    free(large);
}

/* A read of a whole object that is answered with 200 is what it says: whoever reads it compares it
 * with its digest. Of HEAD there is no body that could tell more. */
static void test_answers__of_strangers_are_no_answers_of_a_read(void **state)
{
    shardy_store *store = *state;
    put_ok(store, "k", "0123456789");
    for (size_t i = 0; i < STRANGER_COUNT; i++) {
        const stranger *who = &strangers[i];
        shardy_error err = {0};
        shardy_object_meta meta;
        let_answer(who, "get_object");
        assert_failed(get(store, "k", 2, 4, &err), &err, who);
        if (who->code != 200) {
            assert_failed(get(store, "k", 0, SHARDY_READ_TO_END, &err), &err, who);
            let_answer(who, "head_object");
            shardy_status st = shardy_store_head(store, "k", &meta, &err);
            if (who->code != 404) {
                assert_failed(st, &err, who);
            }
        }
    }
}

static void test_answers__a_listing_that_is_none_is_an_error(void **state)
{
    shardy_store *store = *state;
    static const char *const bodies[] = {"", "no xml", "<Wrong/>", "<ListBucketResult>",
        "<!DOCTYPE x [<!ENTITY e 'x'>]><ListBucketResult>&e;</ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<ListBucketResult><Contents><Key>elsewhere</Key><Size>1</Size></Contents>"
        "</ListBucketResult>",
        "<Error><Code>SlowDown</Code></Error>"};
    shardy_store_page page;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        shardy_error err = {0};
        char rule[400];
        snprintf(rule, sizeof rule, "\"kind\": \"body\", \"body\": \"%s\"", bodies[i]);
        set_rule(rule);
        shardy_status st = shardy_store_list(store, "", 0, NULL, 10, &page, &err);
        int is_busy = strstr(bodies[i], "SlowDown") != NULL;
        assert_true(is_busy ? st == SHARDY_THROTTLED : st == SHARDY_CORRUPT || st == SHARDY_IO);
        assert_int_equal(err.retriable, 1);
        assert_null(page.entries);
    }
}

/* How many pages of one entry are listed before it fails, or ends. */
static size_t list_on(shardy_store *store, const char *prefix, shardy_status *st_out)
{
    char *token = NULL;
    size_t pages = 0;
    do {
        shardy_error err = {0};
        shardy_store_page page;
        *st_out = shardy_store_list(store, prefix, 0, token, 10, &page, &err);
        free(token);
        token = page.next_token ? strdup(page.next_token) : NULL;
        pages += *st_out == SHARDY_OK;
        shardy_store_page_dispose(&page);
    } while (token && pages < 10);
    free(token);
    return pages;
}

#define LISTING_ON "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"

static void test_answers__a_listing_that_does_not_go_on_is_an_error(void **state)
{
    shardy_store *store = *state;
    shardy_status st;
    put_ok(store, "a/x", "1");
    /* the same token again: at once where nothing of ours is listed, else with the next page */
    set_rule(
        "\"kind\": \"body\", \"body\": \"<ListBucketResult>" LISTING_ON "</ListBucketResult>\"");
    assert_int_equal(list_on(store, "", &st), 0);
    assert_int_equal(st, SHARDY_IO);
    assert_true(server_count(s3, "operation.list_objects", NULL) <= 2);
    /* the same object under another token */
    server_reset(s3);
    server_faults(s3,
        "[{\"operation\": \"list_objects\", \"to\": 1, \"kind\": \"body\", \"body\": "
        "\"<ListBucketResult><Contents><Key>" PREFIX
        "/a/x</Key><Size>1</Size></Contents>" LISTING_ON
        "</ListBucketResult>\"}, {\"operation\": \"list_objects\", \"kind\": \"body\", "
        "\"body\": \"<ListBucketResult><Contents><Key>" PREFIX "/"
        "a/x</Key><Size>1</Size></Contents><IsTruncated>true</IsTruncated><NextContinuationToken>u"
        "</NextContinuationToken></ListBucketResult>\"}]");
    assert_int_equal(list_on(store, "", &st), 1);
    assert_int_equal(st, SHARDY_IO);
    /* an object of another prefix than was asked for */
    assert_int_equal(list_on(store, "b/", &st), 0);
    assert_int_equal(st, SHARDY_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_answers__of_a_read_are_told_apart, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_answers__a_whole_object_has_its_checksum, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_answers__a_document_is_asked_whole_and_compared_with_its_checksum, open_store,
            close_store),
        cmocka_unit_test_setup_teardown(
            test_answers__of_a_put_say_whether_it_was_done, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_answers__of_strangers_are_no_success_of_a_write_or_a_listing, open_store,
            close_store),
        cmocka_unit_test_setup_teardown(
            test_answers__of_strangers_are_no_answers_of_a_read, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_answers__a_listing_that_is_none_is_an_error, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_answers__a_listing_that_does_not_go_on_is_an_error, open_store, close_store),
    };
    return cmocka_run_group_tests_name("s3", tests, start_s3, stop_s3);
}
