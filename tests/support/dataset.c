#include "dataset.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- building --------------------------------------------------------------------------------- */

void dataset_options_init(dataset_options *options)
{
    memset(options, 0, sizeof *options);
    options->num_dbs = DATASET_SHARDS;
    options->threads = 1;
    options->rows = DATASET_ROWS;
}

shardy_key dataset_key(uint32_t row, char text_out[16])
{
    snprintf(text_out, 16, "k%06u", row);
    return shardy_key_cstr(text_out);
}

static void make_vector(uint32_t row, float out[DATASET_DIM])
{
    for (uint32_t i = 0; i < DATASET_DIM; i++) {
        out[i] = 1.0f + (float)((row * (i + 3)) % 17);
    }
}

void dataset_fill_row(const char *stamp, uint32_t number, uint32_t value_len,
    dataset_row_texts *texts, shardy_row *row)
{
    shardy_row_init(row, sizeof *row);
    row->key = dataset_key(number, texts->key);
    int len = snprintf(texts->value, sizeof texts->value, "%s/%s/", stamp, texts->key);
    size_t room = value_len < sizeof texts->value ? value_len : sizeof texts->value;
    for (; (size_t)len < room; len++) {
        texts->value[len] = (char)('a' + (number + (uint32_t)len) % 26);
    }
    row->value.data = texts->value;
    row->value.len = (size_t)len;
    make_vector(number, texts->vector);
    row->vector = texts->vector;
    row->dim = DATASET_DIM;
    row->has_payload = 1;
    snprintf(texts->payload, sizeof texts->payload, "{\"stamp\":\"%s\"}", stamp);
    row->payload.data = texts->payload;
    row->payload.len = strlen(texts->payload);
}

static shardy_status put_row(shardy_writer *w, const char *stamp, uint32_t number,
    const dataset_options *options, shardy_error *err)
{
    dataset_row_texts texts;
    shardy_row row;
    dataset_fill_row(stamp, number, options->value_len, &texts, &row);
    return shardy_writer_put(w, &row, err);
}

void dataset_feed_init(dataset_feed *feed, const char *stamp, uint32_t db_id)
{
    memset(feed, 0, sizeof *feed);
    feed->stamp = stamp;
    feed->db_id = db_id;
}

shardy_status dataset_next_row(void *user, shardy_row *row_out, shardy_error *err)
{
    dataset_feed *feed = user;
    while (feed->next < DATASET_ROWS) {
        uint32_t db_id;
        dataset_fill_row(feed->stamp, feed->next, 0, &feed->texts, row_out);
        feed->next++;
        shardy_status st = shardy_hash_route(&row_out->key, DATASET_SHARDS, &db_id, err);
        if (st < 0 || db_id == feed->db_id) {
            return st;
        }
    }
    return SHARDY_DONE;
}

void dataset_plan_options(shardy_writer_options *options, const char *stamp)
{
    shardy_writer_options_init(options, sizeof *options);
    options->run_id = stamp;
    options->num_dbs = DATASET_SHARDS;
    options->dim = DATASET_DIM;
    options->key_encoding = SHARDY_KEY_ENCODING_UTF8;
    options->memory_budget = SHARDY_MEMORY_BUDGET_MIN;
    options->max_retries = 0;
    options->retry_backoff_ms = 0;
    options->sync = 0;
}

shardy_status dataset_build(shardy_context *context, const char *url, const char *stamp,
    const dataset_options *options, shardy_error *err)
{
    shardy_writer_options o;
    shardy_writer *w;
    shardy_writer_options_init(&o, sizeof o);
    o.run_id = stamp;
    o.num_dbs = options->max_keys_per_shard ? 0 : options->num_dbs;
    o.max_keys_per_shard = options->max_keys_per_shard;
    o.threads = options->threads;
    o.dim = DATASET_DIM;
    o.memory_budget = SHARDY_MEMORY_BUDGET_MIN;
    o.max_retries = 0;
    o.retry_backoff_ms = 0;
    o.sync = options->sync;
    o.sidecar = options->sidecar;
    o.store = options->store;
    o.manifest_store = options->manifests;
    o.scratch_dir = options->scratch_dir;
    o.progress = options->progress;
    o.progress_user = options->progress_user;
    shardy_status st = shardy_writer_open(context, url, &o, &w, err);
    for (uint32_t i = 0; st >= 0 && i < options->rows; i++) {
        st = put_row(w, stamp, i, options, err);
    }
    shardy_build_result result = {0};
    if (st >= 0) {
        st = shardy_writer_finish(w, &result, err);
    }
    if (st >= 0 && (!result.run_id || strcmp(result.run_id, stamp) != 0 || !result.manifest_ref ||
                       !strstr(result.manifest_ref, stamp))) {
        snprintf(err->message, sizeof err->message,
            "the result of the build names \"%s\" at \"%s\"", result.run_id ? result.run_id : "",
            result.manifest_ref ? result.manifest_ref : "");
        err->status = SHARDY_INTERNAL;
        st = SHARDY_INTERNAL;
    }
    shardy_build_result_dispose(&result);
    shardy_writer_close(w);
    return st;
}

static shardy_status roll_back(
    shardy_context *context, const dataset_place *place, const char *stamp, shardy_error *err)
{
    shardy_admin_options options;
    shardy_rollback_target target;
    shardy_buf ref;
    shardy_admin_options_init(&options, sizeof options);
    shardy_rollback_target_init(&target, sizeof target);
    target.run_id = stamp;
    options.store = place->store;
    options.manifest_store = place->manifests;
    shardy_status st = shardy_rollback(context, place->url, &target, &options, &ref, err);
    shardy_buf_release(&ref);
    return st;
}

shardy_status dataset_rollback(shardy_context *context, const char *url, const char *stamp,
    shardy_store *store, shardy_error *err)
{
    const dataset_place place = {url, store, NULL};
    return roll_back(context, &place, stamp, err);
}

shardy_status dataset_rollback_at(const dataset_place *place, const char *stamp, shardy_error *err)
{
    return roll_back(NULL, place, stamp, err);
}

/* --- answers ---------------------------------------------------------------------------------- */

static int wrong(dataset_problem *problem, const char *what, const char *detail)
{
    snprintf(problem->text, sizeof problem->text, "%.120s: %.250s", what, detail);
    return 0;
}

int dataset_value_stamp(
    uint32_t row, shardy_bytes value, char stamp_out[DATASET_STAMP_MAX], dataset_problem *problem)
{
    char key[16];
    dataset_key(row, key);
    const char *text = value.data;
    const char *slash = value.len ? memchr(text, '/', value.len) : NULL;
    size_t len = slash ? (size_t)(slash - text) : 0;
    size_t key_len = strlen(key);
    if (!slash || len >= DATASET_STAMP_MAX || value.len < len + key_len + 2 ||
        memcmp(slash + 1, key, key_len) != 0) {
        char shown[60];
        snprintf(shown, sizeof shown, "%.*s", (int)(value.len < 50 ? value.len : 50),
            value.len ? text : "");
        return wrong(problem, "a value that is not of its key", shown);
    }
    memcpy(stamp_out, text, len);
    stamp_out[len] = '\0';
    return 1;
}

int dataset_values_stamp(const uint32_t *rows, const shardy_values *values,
    char stamp_out[DATASET_STAMP_MAX], dataset_problem *problem)
{
    stamp_out[0] = '\0';
    for (size_t i = 0; i < values->count; i++) {
        char stamp[DATASET_STAMP_MAX];
        if (values->values[i].status != SHARDY_OK) {
            return wrong(
                problem, "a key of many answers", shardy_status_name(values->values[i].status));
        }
        if (!dataset_value_stamp(rows[i], values->values[i].bytes, stamp, problem)) {
            return 0;
        }
        if (i > 0 && strcmp(stamp, stamp_out) != 0) {
            return wrong(problem, "values of two snapshots in one answer", stamp);
        }
        memcpy(stamp_out, stamp, sizeof stamp);
    }
    return 1;
}

int dataset_hits_stamp(const shardy_hits *hits, size_t hit_count, char stamp_out[DATASET_STAMP_MAX],
    dataset_problem *problem)
{
    size_t count = hits->query_count ? hits->offsets[hits->query_count] : 0;
    stamp_out[0] = '\0';
    if (count != hit_count || hits->partial) {
        char shown[60];
        snprintf(shown, sizeof shown, "%zu of %zu", count, hit_count);
        return wrong(problem, "hits are missing", shown);
    }
    for (size_t i = 0; i < count; i++) {
        static const char head[] = "{\"stamp\":\"";
        shardy_bytes p = hits->hits[i].payload;
        char stamp[DATASET_STAMP_MAX];
        size_t head_len = sizeof head - 1;
        if (!hits->hits[i].has_payload || p.len < head_len + 2 ||
            p.len - head_len - 2 >= sizeof stamp || memcmp(p.data, head, head_len) != 0) {
            return wrong(problem, "a hit without its payload", "");
        }
        size_t len = p.len - head_len - 2;
        memcpy(stamp, (const char *)p.data + head_len, len);
        stamp[len] = '\0';
        if (i > 0 && strcmp(stamp, stamp_out) != 0) {
            return wrong(problem, "hits of two snapshots in one answer", stamp);
        }
        memcpy(stamp_out, stamp, len + 1);
    }
    return 1;
}

void dataset_query(float vector_out[DATASET_DIM], shardy_query *query_out)
{
    make_vector(5, vector_out);
    shardy_query_init(query_out, sizeof *query_out);
    query_out->vectors = vector_out;
    query_out->count = 1;
    query_out->dim = DATASET_DIM;
    query_out->top_k = 8;
}

/* --- whole snapshots -------------------------------------------------------------------------- */

static int check_search(
    const shardy_snapshot *snapshot, const char *stamp, uint32_t rows, dataset_problem *problem)
{
    shardy_error err = {0};
    float vector[DATASET_DIM];
    shardy_query query;
    shardy_hits hits;
    char found[DATASET_STAMP_MAX];
    dataset_query(vector, &query);
    query.top_k = rows + 1;
    shardy_status st = shardy_snapshot_search(snapshot, &query, NULL, &hits, &err);
    int ok = st >= 0 ? dataset_hits_stamp(&hits, rows, found, problem)
                     : wrong(problem, "search", err.message);
    if (ok && strcmp(found, stamp) != 0) {
        ok = wrong(problem, "hits of another snapshot", found);
    }
    shardy_hits_dispose(&hits);
    return ok;
}

int dataset_check_snapshot(
    const shardy_snapshot *snapshot, const char *stamp, uint32_t rows, dataset_problem *problem)
{
    for (uint32_t i = 0; i < rows; i++) {
        shardy_error err = {0};
        char text[16];
        char found[DATASET_STAMP_MAX] = "";
        shardy_key key = dataset_key(i, text);
        shardy_buf value;
        shardy_status st = shardy_snapshot_get(snapshot, &key, NULL, &value, &err);
        if (st != SHARDY_OK) {
            return wrong(problem, text, st < 0 ? err.message : "it is not found");
        }
        int ok = dataset_value_stamp(i, (shardy_bytes){value.data, value.len}, found, problem);
        shardy_buf_release(&value);
        if (!ok) {
            return 0;
        }
        if (strcmp(found, stamp) != 0) {
            return wrong(problem, "a value of another snapshot", found);
        }
    }
    return check_search(snapshot, stamp, rows, problem);
}

int dataset_check_current(
    const char *url, uint32_t rows, char stamp_out[DATASET_STAMP_MAX], dataset_problem *problem)
{
    const dataset_place place = {url, NULL, NULL};
    return dataset_check_current_at(&place, rows, stamp_out, problem);
}

int dataset_check_current_at(const dataset_place *place, uint32_t rows,
    char stamp_out[DATASET_STAMP_MAX], dataset_problem *problem)
{
    shardy_error err = {0};
    shardy_reader *reader;
    shardy_snapshot *snapshot;
    shardy_snapshot_info info;
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.store = place->store;
    options.manifest_store = place->manifests;
    if (shardy_reader_open(NULL, place->url, &options, &reader, &err) < 0) {
        return wrong(problem, "open", err.message);
    }
    int ok = 0;
    if (shardy_reader_snapshot_info(reader, &info, &err) < 0 ||
        shardy_reader_pin(reader, &snapshot, &err) < 0) {
        wrong(problem, "info or pin", err.message);
    } else {
        snprintf(stamp_out, DATASET_STAMP_MAX, "%s", info.run_id);
        ok = info.verified ? 1 : wrong(problem, "the snapshot is not verified", stamp_out);
        ok = ok && dataset_check_snapshot(snapshot, stamp_out, rows, problem);
        shardy_snapshot_close(snapshot);
        shardy_snapshot_info_dispose(&info);
    }
    shardy_reader_close(reader);
    return ok;
}

static int check_verified(const dataset_place *place, const char *ref, dataset_problem *problem)
{
    shardy_error err = {0};
    shardy_verify_options options;
    shardy_verify_result result;
    shardy_verify_options_init(&options, sizeof options);
    options.deep = 1;
    options.ref = ref;
    options.admin.store = place->store;
    options.admin.manifest_store = place->manifests;
    if (shardy_verify(NULL, place->url, &options, &result, &err) < 0) {
        return wrong(problem, "verify", err.message);
    }
    int ok = result.status == SHARDY_VERIFY_OK;
    if (!ok) {
        wrong(problem, result.damaged_count ? result.damaged[0].path : "verify",
            result.damaged_count ? result.damaged[0].reason : "it is not verified");
    }
    shardy_verify_result_dispose(&result);
    return ok;
}

int dataset_check(
    const char *url, uint32_t rows, char stamp_out[DATASET_STAMP_MAX], dataset_problem *problem)
{
    const dataset_place place = {url, NULL, NULL};
    return dataset_check_at(&place, rows, stamp_out, problem);
}

int dataset_check_at(const dataset_place *place, uint32_t rows, char stamp_out[DATASET_STAMP_MAX],
    dataset_problem *problem)
{
    shardy_error err = {0};
    shardy_history history;
    shardy_admin_options options;
    shardy_admin_options_init(&options, sizeof options);
    options.store = place->store;
    options.manifest_store = place->manifests;
    stamp_out[0] = '\0';
    problem->text[0] = '\0';
    if (!dataset_check_current_at(place, rows, stamp_out, problem)) {
        return 0;
    }
    if (shardy_history_list(NULL, place->url, 1000, &options, &history, &err) < 0) {
        return wrong(problem, "history", err.message);
    }
    int ok = 1;
    size_t current = 0;
    for (size_t i = 0; ok && i < history.count; i++) {
        const shardy_history_entry *e = &history.entries[i];
        current += e->current && strcmp(e->run_id, stamp_out) == 0;
        ok = check_verified(place, e->ref, problem);
    }
    if (ok && current != 1) {
        ok = wrong(problem, "the history does not name the current snapshot", stamp_out);
    }
    shardy_history_dispose(&history);
    return ok;
}

/* --- copies ----------------------------------------------------------------------------------- */

static int clone_entry(const char *from, const char *to)
{
    struct stat st;
    if (lstat(from, &st) != 0) {
        return 0;
    }
    return S_ISDIR(st.st_mode) ? dataset_clone(from, to) : link(from, to) == 0;
}

int dataset_clone(const char *from, const char *to)
{
    mkdir(to, 0700);
    DIR *dir = opendir(from);
    if (!dir) {
        return 0;
    }
    int ok = 1;
    struct dirent *entry;
    while (ok && (entry = readdir(dir))) {
        char a[2048];
        char b[2048];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            strcmp(entry->d_name, ".shardyfusion") == 0) {
            continue;
        }
        snprintf(a, sizeof a, "%s/%s", from, entry->d_name);
        snprintf(b, sizeof b, "%s/%s", to, entry->d_name);
        ok = clone_entry(a, b);
    }
    closedir(dir);
    return ok;
}

static shardy_status run_steps(const shardy_plan *plan, const char *stamp, shardy_error *err)
{
    shardy_buf attempts[DATASET_SHARDS] = {{0}};
    shardy_bytes results[DATASET_SHARDS];
    shardy_buf winners = {0};
    shardy_status st = SHARDY_OK;
    for (uint32_t i = 0; st >= 0 && i < DATASET_SHARDS; i++) {
        dataset_feed feed;
        dataset_feed_init(&feed, stamp, i);
        st = shardy_attempt_build(plan, i, 0, dataset_next_row, &feed, &attempts[i], err);
        results[i] = (shardy_bytes){attempts[i].data, attempts[i].len};
    }
    if (st >= 0) {
        st = shardy_winners_select(plan, results, DATASET_SHARDS, &winners, err);
    }
    if (st >= 0) {
        st = shardy_plan_publish(plan, (shardy_bytes){winners.data, winners.len}, NULL, err);
    }
    for (uint32_t i = 0; i < DATASET_SHARDS; i++) {
        shardy_buf_release(&attempts[i]);
    }
    shardy_buf_release(&winners);
    return st;
}

shardy_status dataset_build_steps(
    const char *url, const char *stamp, int32_t sync, shardy_error *err)
{
    shardy_writer_options options;
    shardy_plan *plan;
    dataset_plan_options(&options, stamp);
    options.sync = sync;
    shardy_status st = shardy_plan_new(NULL, url, &options, &plan, err);
    if (st >= 0) {
        st = run_steps(plan, stamp, err);
        shardy_plan_free(plan);
    }
    return st;
}
