/* Rows that Postgres answers with, without a server. The first line says what they are to be: "m" a
 * manifest, "p" the newest pointer row, "b" the newest build, "l" and a number a list of at most so
 * many, "t" a text and a count. Values follow, a line each: twelve of a build and ten of each shard
 * for "m", four for "p" and "b", two for each row of "l" and "t"; "~" is NULL. In the place of an
 * image "=" is the one that the rows make.
 *
 * Properties: an answer or a refusal with a message; rows agree with the image that they make, and
 * one that was changed is found out; what is current has a version, and a document that names it; a
 * list has the rows that are manifests, in their order; texts end within their room. */
#include "catalog/manifest_columns.h"
#include "catalog/manifest_store.h"
#include "catalog/postgres_answer.h"
#include "faults.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <libpq-fe.h>

#define COLUMNS    13u
#define ROWS_MAX   64u
#define REF_COLUMN 1

/* --- rows ------------------------------------------------------------------------------------- */

typedef struct lines {
    const char *at;
    size_t left;
} lines;

static int next_line(lines *l, const char **line_out, size_t *len_out)
{
    if (l->left == 0) {
        return 0;
    }
    const char *end = memchr(l->at, '\n', l->left);
    size_t all = end ? (size_t)(end - l->at) + 1 : l->left;
    *line_out = l->at;
    *len_out = end ? all - 1 : all;
    l->at += all;
    l->left -= all;
    return 1;
}

/* In a block of its length and the zero that libpq puts behind it. */
static void set_value(PGresult *rows, int row, int column, const char *text, size_t len)
{
    char *copy = copy_text(text, len);
    require(PQsetvalue(rows, row, column, copy, (int)len), "memory");
    free(copy);
}

static PGresult *no_rows(void)
{
    static char names[COLUMNS][4];
    PGresAttDesc columns[COLUMNS];
    PGresult *rows = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    memset(columns, 0, sizeof columns);
    for (unsigned i = 0; i < COLUMNS; i++) {
        names[i][0] = (char)('a' + i);
        columns[i].name = names[i];
    }
    require(rows && PQsetResultAttrs(rows, (int)COLUMNS, columns), "memory");
    return rows;
}

/* The rows of an input; *made_out becomes 1 when it asks for the image that they make. */
static PGresult *make_rows(lines l, char kind, int *made_out)
{
    const char *line;
    size_t len;
    PGresult *rows = no_rows();
    *made_out = 0;
    for (unsigned row = 0; row < ROWS_MAX && l.left > 0; row++) {
        unsigned count = kind == 'm' ? (row == 0 ? 12 : 10) : kind == 'p' || kind == 'b' ? 4 : 2;
        for (unsigned i = 0; i < count && next_line(&l, &line, &len); i++) {
            int image = kind == 'm' && row == 0 && i == MANIFEST_IMAGE_COLUMN;
            int made = image && len == 1 && line[0] == '=';
            *made_out |= made;
            if (made || (len == 1 && line[0] == '~')) {
                require(PQsetvalue(rows, (int)row, (int)i, NULL, -1), "memory");
            } else {
                set_value(rows, (int)row, (int)i, line, len);
            }
        }
    }
    return rows;
}

static void check_outcome(shardy_status st, const shardy_error *err)
{
    require((st < 0) == (err->message[0] != '\0'), "a refusal has a message, and nothing else has");
    require(st >= 0 || err->status == st, "an error says what it is");
}

/* --- a manifest ------------------------------------------------------------------------------- */

/* After this change the rows are not what was published. */
static void check_change(PGresult *rows, int row, int column, const char *text)
{
    shardy_buf image;
    shardy_error err = {0};
    set_value(rows, row, column, text, strlen(text));
    shardy_status st = shardy__manifest_columns_image(rows, &image, &err);
    require(st == SHARDY_CHECKSUM && !image.data, "rows that were changed are found out");
    check_outcome(st, &err);
}

/* What an image that the rows make says of them. */
static void check_made(PGresult *rows, const shardy_buf *image)
{
    char number[24];
    manifest *m = NULL;
    shardy_buf again = {0};
    shardy_error err = {0};
    shardy_status parsed = shardy__manifest_parse(shardy__bytes(image->data, image->len), &m, NULL);
    set_value(rows, 0, MANIFEST_IMAGE_COLUMN, image->data, image->len);
    shardy_status st = shardy__manifest_columns_image(rows, &again, &err);
    require(st == parsed, "rows agree with the image that they make");
    check_outcome(st, &err);
    if (st < 0) {
        return;
    }
    require(same_bytes(again.data, again.len, image->data, image->len), "the image is published");
    shardy_buf_release(&again);
    /* what was changed stays so, which the next change does not hide */
    if (m->shard_count > 0 && m->shards[m->shard_count - 1].row_count < INT64_MAX) {
        const manifest_shard *last = &m->shards[m->shard_count - 1];
        snprintf(number, sizeof number, "%llu", (unsigned long long)last->row_count + 1);
        check_change(rows, PQntuples(rows) - 1, 4, number);
    }
    if (strcmp(m->run_id, "another run") != 0) {
        check_change(rows, 0, 1, "another run");
    }
    shardy__manifest_free(m);
}

static void check_manifest(lines l)
{
    int made;
    shardy_buf image;
    shardy_error err = {0};
    PGresult *rows = make_rows(l, 'm', &made);
    const char *kind = shardy__postgres_value(rows, 0, 0, NULL);
    shardy_status st = shardy__manifest_columns_image(rows, &image, &err);
    check_outcome(st, &err);
    require((st == SHARDY_NOT_FOUND) == (!kind || kind[0] != '0'), "a build is there or not");
    require(st == SHARDY_OK || st == SHARDY_NOT_FOUND || st == SHARDY_CORRUPT ||
                st == SHARDY_CHECKSUM || st == SHARDY_FORMAT_VERSION,
        "rows have five outcomes");
    require((st == SHARDY_OK) == (image.data != NULL), "there is an image or a refusal");
    if (st == SHARDY_OK && made) {
        check_made(rows, &image);
    }
    shardy_buf_release(&image);
    PQclear(rows);
}

/* --- what is current -------------------------------------------------------------------------- */

static void check_document(postgres_current *current)
{
    shardy_buf body;
    pointer p;
    int64_t us;
    shardy_error err = {0};
    int had_document = current->document.data != NULL;
    shardy_status st = shardy__answer_document(current, &body, &err);
    check_outcome(st, &err);
    require(st == SHARDY_OK || st == SHARDY_CORRUPT, "a document has two outcomes");
    require((st == SHARDY_OK) == (body.data != NULL), "there is a document or a refusal");
    if (st < 0) {
        require(!shardy__time_parse(current->at, strlen(current->at), &us), "only a time is bad");
        return;
    }
    int taken = had_document && !current->document.data;
    st = shardy__pointer_parse(shardy__bytes(body.data, body.len), &p, NULL);
    require(taken || st == SHARDY_OK, "a document that is made can be read");
    require(st < 0 || strcmp(p.manifest_ref, current->ref) == 0, "a document names what it is of");
    if (!taken) {
        require(shardy__time_parse(current->at, strlen(current->at), &us) && us == p.updated_us,
            "it has the time of the row");
        require(strcmp(p.run_id, current->ref) == 0 && !p.has_ours, "and its run");
    }
    if (!taken && !had_document) {
        /* the same beside the row is taken as it is */
        shardy_buf again;
        current->document = body;
        const void *data = body.data;
        require(shardy__answer_document(current, &again, NULL) == SHARDY_OK && again.data == data,
            "a document of the row is taken");
        body = again;
    }
    shardy_buf_release(&body);
}

static void check_current(lines l, char kind)
{
    int made;
    postgres_current current;
    shardy_error err = {0};
    PGresult *rows = make_rows(l, kind, &made);
    memset(&current, 0, sizeof current);
    shardy_status st = shardy__answer_current(rows, kind == 'p', &current, &err);
    check_outcome(st, &err);
    require(st == SHARDY_OK || st == SHARDY_NOT_FOUND || st == SHARDY_CORRUPT,
        "what is current has three outcomes");
    require((st == SHARDY_NOT_FOUND) == (PQntuples(rows) == 0), "nothing is there without rows");
    require(st != SHARDY_OK || current.found, "what is current was found");
    require(current.found == (current.version.text[0] != '\0'), "what was found has a version");
    if (current.found) {
        size_t len = strlen(kind == 'p' ? "" : "build-") + strlen(PQgetvalue(rows, 0, 0)) + 1 +
                     strlen(PQgetvalue(rows, 0, 2));
        require(strlen(current.version.text) == len, "a version is whole");
        require(shardy__utf8_valid(current.version.text, len), "a version is a text");
    }
    if (st == SHARDY_OK) {
        require(strcmp(current.ref, PQgetvalue(rows, 0, REF_COLUMN)) == 0, "a ref is whole");
        check_document(&current);
    }
    shardy__answer_forget(&current);
    PQclear(rows);
}

/* A time that was read is one that is written and read again. */
static void check_time(int64_t us)
{
    char text[SHARDY_TIME_TEXT_SIZE];
    int64_t again;
    shardy__time_format_micros(us, text);
    require(shardy__time_parse(text, strlen(text), &again) && again == us, "a time stays");
}

/* --- lists, texts, counts --------------------------------------------------------------------- */

/* As many as there are rows when the line does not say. */
static size_t limit_of(const char *line, size_t len)
{
    size_t limit = len > 1 ? 0 : ROWS_MAX;
    for (size_t i = 1; i < len && limit < ROWS_MAX; i++) {
        limit = limit * 10 + (size_t)(line[i] & 15);
    }
    return limit;
}

static void check_list(lines l, size_t limit)
{
    int made;
    size_t count = 0;
    shardy_manifest_list list;
    shardy_error err = {0};
    PGresult *rows = make_rows(l, 'l', &made);
    require(shardy__answer_list(rows, limit, &list, &err) == SHARDY_OK, "a list is always one");
    check_outcome(SHARDY_OK, &err);
    for (size_t i = 0; i < (size_t)PQntuples(rows) && i < limit; i++) {
        const char *run_id = PQgetvalue(rows, (int)i, 0);
        const char *at = PQgetvalue(rows, (int)i, 1);
        int64_t us;
        int whole = strlen(run_id) == (size_t)PQgetlength(rows, (int)i, 0) &&
                    strlen(at) == (size_t)PQgetlength(rows, (int)i, 1);
        if (!whole || !shardy__manifest_is_run_id(run_id) ||
            !shardy__time_parse(at, strlen(at), &us)) {
            continue;
        }
        require(count < list.count, "no manifest is left out");
        const shardy_manifest_entry *e = &list.entries[count++];
        require(strcmp(e->ref, run_id) == 0 && strcmp(e->run_id, run_id) == 0, "a run is listed");
        require(e->published_us == us, "with its time");
        check_time(us);
    }
    require(count == list.count, "nothing else is listed");
    shardy__manifest_list_dispose(&list);
    PQclear(rows);
}

/* The room is a block of its own, so that a byte beyond it is seen. */
static void check_text(const PGresult *rows, int column, size_t size)
{
    shardy_error err = {0};
    char *room = malloc(size);
    require(room != NULL, "memory");
    shardy_status st = shardy__answer_text(rows, column, "text", room, size, &err);
    check_outcome(st, &err);
    require(st == SHARDY_OK || st == SHARDY_CORRUPT, "a text has two outcomes");
    require((st == SHARDY_OK) == (room[0] != '\0'), "there is a text or a refusal");
    require(st < 0 || strcmp(room, PQgetvalue(rows, 0, column)) == 0, "a text is whole");
    free(room);
}

static void check_texts(lines l)
{
    char number[24];
    int made;
    PGresult *rows = make_rows(l, 't', &made);
    check_text(rows, 0, POSTGRES_TIME_SIZE);
    check_text(rows, 1, POSTGRES_NUMBER_SIZE);
    check_text(rows, 2, 1);
    snprintf(number, sizeof number, "%llu", (unsigned long long)shardy__answer_count(rows));
    const char *text = PQgetvalue(rows, 0, 0);
    require(number[0] == '0' || (text && strstr(text, number)), "a count is in the row");
    PQclear(rows);
}

/* ---------------------------------------------------------------------------------------------- */

static shardy_status run_current(PGresult *rows, char kind, shardy_error *err)
{
    postgres_current current;
    shardy_buf body = {0};
    memset(&current, 0, sizeof current);
    shardy_status st = shardy__answer_current(rows, kind == 'p', &current, err);
    if (st == SHARDY_OK) {
        st = shardy__answer_document(&current, &body, err);
    }
    shardy_buf_release(&body);
    shardy__answer_forget(&current);
    return st;
}

static shardy_status run_manifest(PGresult *rows, int made, shardy_error *err)
{
    shardy_buf image;
    shardy_status st = shardy__manifest_columns_image(rows, &image, err);
    if (st == SHARDY_OK && made) {
        set_value(rows, 0, MANIFEST_IMAGE_COLUMN, image.data, image.len);
        shardy_buf_release(&image);
        st = shardy__manifest_columns_image(rows, &image, err);
    }
    shardy_buf_release(&image);
    return st;
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    lines l = {(const char *)data, size};
    const char *line = "";
    size_t len = 0;
    int made;
    shardy_status st;
    next_line(&l, &line, &len);
    char kind = len ? line[0] : '\0';
    PGresult *rows = make_rows(l, kind, &made);
    if (kind == 'm') {
        st = run_manifest(rows, made, err);
    } else if (kind == 'p' || kind == 'b') {
        st = run_current(rows, kind, err);
    } else {
        shardy_manifest_list list;
        st = shardy__answer_list(rows, limit_of(line, len), &list, err);
        shardy__manifest_list_dispose(&list);
    }
    PQclear(rows);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lines l = {(const char *)data, size};
    const char *line;
    size_t len;
    if (!next_line(&l, &line, &len) || len == 0) {
        return 0;
    }
    run_with_fault(data, size, run);
    switch (line[0]) {
    case 'm':
        check_manifest(l);
        break;
    case 'p':
    case 'b':
        check_current(l, line[0]);
        break;
    case 'l':
        check_list(l, limit_of(line, len));
        break;
    default:
        check_texts(l);
        break;
    }
    return 0;
}
