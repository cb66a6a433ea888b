/* cleanup_testing.h: a data set with a clock that is set by hand, its runs, and cleanups of it. */
#ifndef SHARDY_TESTS_CLEANUP_TESTING_H
#define SHARDY_TESTS_CLEANUP_TESTING_H

#include "support/hand_clock.h"
#include "support/store_fixture.h"

#include "base/bytebuf.h"
#include "base/context.h"
#include "catalog/condemn.h"
#include "catalog/run_record.h"

#include <shardyfusion/admin.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "s3://bucket/set"
#define HOUR   3600000000ll

static MAYBE_UNUSED shardy_error err;

typedef struct world {
    hand_clock clock;
    shardy_context *context;
    catalog c;
    shardy_store *store;
    shardy_cleanup_options options;
    shardy_cleanup_result result;
} world;

static MAYBE_UNUSED world *open_world(const fixture *f)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->context = hand_clock_context(&w->clock);
    w->store = f->store;
    const catalog_options o = {.store = f->store};
    assert_ok(shardy__catalog_open(w->context, NULL, &o, &w->c, &err));
    shardy_cleanup_options_init(&w->options, sizeof w->options);
    w->options.admin.store = f->store;
    return w;
}

static MAYBE_UNUSED void close_world(world *w)
{
    shardy_cleanup_result_dispose(&w->result);
    shardy__catalog_close(&w->c);
    shardy_context_free(w->context);
    free(w);
}

/* --- runs ------------------------------------------------------------------------------------- */

/* What a manifest is made to say. */
typedef struct saying {
    const char *prefix;
    const char *shard_prefix;
    const char *urls[2]; /* of its shards; NULL: where they belong */
} saying;

static MAYBE_UNUSED shardy_buf make_image(const char *run_id, const saying *s)
{
    manifest *m;
    manifest_shard shards[2];
    char urls[2][300];
    shardy_buf image;
    memset(shards, 0, sizeof shards);
    for (uint32_t i = 0; i < 2; i++) {
        snprintf(urls[i], sizeof urls[i], "%.99s/%.60s/run_id=%.60s/db=%05u/attempt=00", s->prefix,
            s->shard_prefix, run_id, i);
        shards[i].db_id = i;
        shards[i].db_url = s->urls[i] ? s->urls[i] : urls[i];
        shards[i].row_count = 1;
    }
    assert_ok(shardy__manifest_new(&m, &err));
    m->run_id = run_id;
    m->created_at = "2026-01-02T03:04:05Z";
    m->s3_prefix = s->prefix;
    m->key_col = "_key";
    m->db_path_template = "db={db_id:05d}";
    m->shard_prefix = s->shard_prefix;
    m->num_dbs = 2;
    m->strategy = SHARDY_SHARDING_HASH;
    m->key_encoding = SHARDY_KEY_ENCODING_UTF8;
    m->custom = "{\"shardyfusion\": {\"engine\": \"sqlite\", \"version\": 1}}";
    m->shards = shards;
    m->shard_count = 2;
    assert_ok(shardy__manifest_render(m, &image, &err));
    shardy__manifest_free(m);
    return image;
}

static MAYBE_UNUSED const saying plain = {PREFIX, "shards", {NULL, NULL}};

static MAYBE_UNUSED void put_shard(world *w, const char *run_id, uint32_t db_id, uint32_t attempt)
{
    char key[300];
    snprintf(
        key, sizeof key, "shards/run_id=%s/db=%05u/attempt=%02u/shard.db", run_id, db_id, attempt);
    put_ok(w->store, key, run_id);
}

static MAYBE_UNUSED void put_record(world *w, const char *run_id, int32_t status)
{
    run_record r;
    memset(&r, 0, sizeof r);
    snprintf(r.run_id, sizeof r.run_id, "%s", run_id);
    snprintf(r.writer_type, sizeof r.writer_type, "c");
    snprintf(r.s3_prefix, sizeof r.s3_prefix, PREFIX);
    snprintf(r.shard_prefix, sizeof r.shard_prefix, "shards");
    snprintf(r.db_path_template, sizeof r.db_path_template, "db={db_id:05d}");
    shardy__run_record_begin(w->context, "runs", &r);
    r.status = status;
    assert_ok(shardy__run_record_write(w->context, w->store, &r, &err));
}

/* Begins a run: fate, record and both shards are there. */
static MAYBE_UNUSED publish_run begin(world *w, const char *run_id)
{
    publish_run run;
    assert_ok(shardy__publish_begin(&w->c, run_id, "shards", "test", &run, &err));
    put_record(w, run_id, RUN_RUNNING);
    put_shard(w, run_id, 0, 0);
    put_shard(w, run_id, 1, 0);
    return run;
}

static MAYBE_UNUSED const char *ref_now(world *w, const char *run_id)
{
    static char refs[8][300];
    static int next;
    char stamp[SHARDY_TIME_TEXT_SIZE];
    char *ref = refs[next++ % 8];
    shardy__time_format_micros(shardy__wall_us(w->context), stamp);
    snprintf(ref, sizeof refs[0], "manifests/%s_run_id=%.100s/manifest", stamp, run_id);
    return ref;
}

static MAYBE_UNUSED shardy_status commit(world *w, publish_run *run, const saying *s)
{
    char url[400];
    const char *ref = ref_now(w, run->fate.run_id);
    shardy_buf image = make_image(run->fate.run_id, s);
    snprintf(url, sizeof url, "%s/%s", s->prefix, ref);
    shardy_status st =
        shardy__publish_commit(&w->c, run, ref, url, shardy__bytes(image.data, image.len), &err);
    shardy_buf_release(&image);
    return st;
}

static MAYBE_UNUSED void publish_saying(world *w, const char *run_id, const saying *s)
{
    publish_run run = begin(w, run_id);
    assert_ok(commit(w, &run, s));
    w->clock.wall_us += HOUR;
}

/* One run an hour. */
static MAYBE_UNUSED void publish(world *w, const char *run_id)
{
    publish_saying(w, run_id, &plain);
}

static MAYBE_UNUSED void remove_fate(world *w, const char *run_id)
{
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy__fate_key(run_id, key);
    assert_ok(remove_key(w->store, key, &err));
}

static MAYBE_UNUSED int32_t state_of(world *w, const char *run_id)
{
    fate f;
    shardy_status st = shardy__fate_load(w->store, run_id, &f, &err);
    assert_true(st >= 0);
    return st == SHARDY_OK ? f.state : 0;
}

static MAYBE_UNUSED void roll_back(world *w, const char *run_id)
{
    shardy_rollback_target target;
    shardy_rollback_target_init(&target, sizeof target);
    target.run_id = run_id;
    assert_ok(shardy_rollback(w->context, NULL, &target, &w->options.admin, NULL, &err));
}

static MAYBE_UNUSED shardy_status clean(world *w)
{
    shardy_cleanup_result_dispose(&w->result);
    memset(&err, 0, sizeof err);
    return shardy_cleanup(w->context, NULL, &w->options, &w->result, &err);
}

/* What there is of a run: 'm'anifest, 's'hards, 'r'ecord. */
static MAYBE_UNUSED const char *left_of(world *w, const char *run_id)
{
    static char text[8];
    char manifest_dir[200];
    char shards[200];
    char record[200];
    char *all = list_text(w->store, "", 0, 1000);
    snprintf(manifest_dir, sizeof manifest_dir, "_run_id=%s/manifest", run_id);
    snprintf(shards, sizeof shards, "shards/run_id=%s/", run_id);
    snprintf(record, sizeof record, "Z_run_id=%s_", run_id);
    snprintf(text, sizeof text, "%s%s%s", strstr(all, manifest_dir) ? "m" : "",
        strstr(all, shards) ? "s" : "", strstr(all, record) ? "r" : "");
    free(all);
    return text;
}

static MAYBE_UNUSED const char *kept_reason(const world *w, const char *run_id)
{
    for (size_t i = 0; i < w->result.kept_count; i++) {
        if (strcmp(w->result.kept[i].run_id, run_id) == 0) {
            return w->result.kept[i].reason;
        }
    }
    return "";
}

static MAYBE_UNUSED void assert_kept(const world *w, const char *run_id, const char *words)
{
    if (!strstr(kept_reason(w, run_id), words)) {
        fail_msg("%s: \"%s\" does not say \"%s\"", run_id, kept_reason(w, run_id), words);
    }
}

#endif
