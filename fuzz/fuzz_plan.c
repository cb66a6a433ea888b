/* Plans, which come from other processes as JSON.
 *
 * Properties: refused with a message, or what was read is written as it is and read again; the
 * paths of attempts are keys below the directory of the run; giving the run up changes no object
 * that is not the run's own. */
#include "build/plan.h"
#include "faults.h"

#include "base/uri.h"
#include "catalog/fate.h"
#include "catalog/run_layout.h"

#include <shardyfusion/sys/store.h>

#define STAMP   "2026-01-02T03:04:05.000006Z_run_id="
#define NUMBER  "00112233445566778899aabbccddeeff"
#define URL_ANY "s3://bucket/prefix"

/* What is in the store: of the run "r", which the inputs begin with, of another, and of all. */
static const char *const keys[] = {"_CURRENT", "manifests/" STAMP "b/manifest",
    "runs/" STAMP "b_" NUMBER "/run.yaml", "runs/" STAMP "r_" NUMBER "/run.yaml",
    "runs/" STAMP "r_" NUMBER "/run.yml", "logs/" STAMP "r_" NUMBER "/run.yaml",
    "shards/run_id=b/db=00000/attempt=00/shard.db", "shards/run_id=r/db=00000/attempt=00/shard.db",
    "shards/run_id=r_/db=00000/attempt=00/shard.db"};
static const char *const runs[] = {"b", "r"};

static shardy_context *context;
static shardy_buf fates[2];

static void begin(void)
{
    for (size_t i = 0; !context && i < 2; i++) {
        fate f;
        memset(&f, 0, sizeof f);
        snprintf(f.run_id, sizeof f.run_id, "%s", runs[i]);
        f.state = FATE_WRITING;
        f.generation = 1;
        memset(f.nonce, 'a', POINTER_NONCE_LEN);
        require_that(shardy__fate_render(&f, &fates[i], NULL) == SHARDY_OK);
    }
    require_that(context || shardy_context_new(NULL, &context, NULL) == SHARDY_OK);
}

static shardy_status put(shardy_store *store, const char *key, shardy_bytes body, shardy_error *err)
{
    shardy_store_put what;
    memset(&what, 0, sizeof what);
    what.key = shardy__bytes(key, strlen(key));
    what.condition = SHARDY_PUT_ALWAYS;
    what.body = body;
    return shardy_store_put_object(store, &what, NULL, err);
}

static shardy_status fill(shardy_store *store, shardy_error *err)
{
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        SHARDY_TRY(put(store, keys[i], shardy__bytes(keys[i], strlen(keys[i])), err));
    }
    for (size_t i = 0; i < 2; i++) {
        char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
        shardy__fate_key(runs[i], key);
        SHARDY_TRY(put(store, key, shardy__bytes(fates[i].data, fates[i].len), err));
    }
    return SHARDY_OK;
}

/* --- what a plan may change ------------------------------------------------------------------ */

static int begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static int is_own(const shardy_plan *plan, const char *key)
{
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy__fate_key(plan->run_id, text);
    if (strcmp(key, text) == 0) {
        return 1;
    }
    snprintf(text, sizeof text, "%s/run_id=%s/", plan->options.shard_prefix, plan->run_id);
    if (begins(key, text)) {
        return 1;
    }
    snprintf(text, sizeof text, "%s/", plan->options.run_registry_prefix);
    if (!begins(key, text)) {
        return 0;
    }
    const char *name = key + strlen(text) + strlen(STAMP);
    size_t id = strlen(plan->run_id);
    return strlen(key) == strlen(text) + strlen(STAMP) + id + 1 + 32 + strlen("/run.yaml") &&
           begins(name - 8, "_run_id=") && begins(name, plan->run_id) && name[id] == '_' &&
           strspn(name + id + 1, "0123456789abcdef") == 32 &&
           strcmp(name + id + 33, "/run.yaml") == 0;
}

static void check_others(shardy_store *store, const shardy_plan *plan)
{
    shardy_store_page page;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        shardy_buf body;
        if (!is_own(plan, keys[i])) {
            require_that(shardy_store_get(store, keys[i], 0, 1000, &body, NULL, NULL) == SHARDY_OK);
            require(same_bytes(body.data, body.len, keys[i], strlen(keys[i])),
                "the object of another stays as it is");
            shardy_buf_release(&body);
        }
    }
    require_that(shardy_store_list(store, "", 0, NULL, 100, &page, NULL) == SHARDY_OK);
    for (size_t i = 0; i < page.count; i++) {
        int known = is_own(plan, page.entries[i].key) ||
                    begins(page.entries[i].key, "runs/run_id=b/") ||
                    begins(page.entries[i].key, "runs/run_id=r/");
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
            known = known || strcmp(page.entries[i].key, keys[k]) == 0;
        }
        require(known, "nothing is put beside the run");
    }
    shardy_store_page_dispose(&page);
}

/* --- what was read --------------------------------------------------------------------------- */

static void check_paths(const shardy_plan *plan)
{
    const uint32_t ids[] = {0, plan->options.num_dbs - 1};
    char own[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    char object[SHARDY_OBJECT_KEY_LEN_MAX + 32];
    snprintf(own, sizeof own, "%s/run_id=%s/", plan->options.shard_prefix, plan->run_id);
    for (size_t i = 0; i < 2; i++) {
        size_t dir_len;
        shardy__plan_attempt_path(plan, ids[i], SHARDY_ATTEMPTS_MAX - 1, path);
        snprintf(object, sizeof object, "%s/shard.db", path);
        require(!shardy__key_problem(object, strlen(object)), "an object of an attempt has a key");
        require(begins(object, own), "below the directory of the run");
        require(shardy__layout_is_shard_object(object + strlen(own), &dir_len),
            "which a cleanup knows");
    }
    require(!begins(own, "runs/") && !begins(own, "manifests/"), "shards are beside the rest");
}

static shardy_status read(
    shardy_store *store, shardy_bytes json, shardy_plan **plan_out, shardy_error *err)
{
    shardy_plan_options options;
    shardy_plan_options_init(&options, sizeof options);
    options.store = store;
    return shardy_plan_from_json(context, URL_ANY, json, &options, plan_out, err);
}

static void check_again(shardy_store *store, const shardy_plan *plan)
{
    shardy_plan *again;
    shardy_buf text;
    shardy_buf same;
    require_that(shardy_plan_to_json(plan, &text, NULL) == SHARDY_OK);
    require_that(read(store, shardy__bytes(text.data, text.len), &again, NULL) == SHARDY_OK);
    require_that(shardy_plan_to_json(again, &same, NULL) == SHARDY_OK);
    require(same_bytes(text.data, text.len, same.data, same.len), "it is written as it was read");
    shardy_buf_release(&same);
    shardy_buf_release(&text);
    shardy_plan_free(again);
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    shardy_store *store;
    shardy_plan *plan = NULL;
    SHARDY_TRY(shardy_store_open_mem(context, &store, err));
    shardy_status st = fill(store, err);
    if (st >= 0) {
        st = read(store, shardy__bytes(data, size), &plan, err);
    }
    shardy_plan_free(plan);
    shardy_store_close(store);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin();
    run_with_fault(data, size, run);
    shardy_store *store;
    shardy_plan *plan;
    shardy_error err;
    memset(&err, 0, sizeof err);
    require_that(shardy_store_open_mem(context, &store, NULL) == SHARDY_OK);
    require_that(fill(store, NULL) == SHARDY_OK);
    shardy_status st = read(store, shardy__bytes(data, size), &plan, &err);
    require(st == SHARDY_OK || st == SHARDY_INVALID || st == SHARDY_FORMAT_VERSION ||
                st == SHARDY_UNSUPPORTED,
        "reading has few outcomes");
    require((st == SHARDY_OK) == (err.message[0] == '\0') && (st == SHARDY_OK) == (plan != NULL),
        "a refusal has a message");
    if (plan) {
        check_paths(plan);
        check_again(store, plan);
        memset(&err, 0, sizeof err);
        shardy__plan_fail(plan, SHARDY_IO, &err);
        check_others(store, plan);
    }
    shardy_plan_free(plan);
    shardy_store_close(store);
    return 0;
}
