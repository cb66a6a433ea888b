#include "crash.h"

#include "support.h"

#include "base/bytebuf.h"
#include "catalog/fate.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DAYS_US ((int64_t)3 * 86400 * 1000000)

/* --- operations ------------------------------------------------------------------------------- */

static shardy_status build_run(const crash_call *call, const char *run_id, shardy_error *err)
{
    dataset_options options;
    dataset_options_init(&options);
    options.store = call->at.store;
    options.manifests = call->at.manifests;
    return dataset_build(call->context, call->at.url, run_id, &options, err);
}

shardy_status crash_build_new(const crash_call *call, shardy_error *err)
{
    return build_run(call, CRASH_NEW, err);
}

shardy_status crash_build_later(const crash_call *call, shardy_error *err)
{
    return build_run(call, CRASH_LATER, err);
}

static void admin_options(const crash_call *call, shardy_admin_options *options)
{
    shardy_admin_options_init(options, sizeof *options);
    options->store = call->at.store;
    options->manifest_store = call->at.manifests;
    if (call->timeout_ms) {
        options->timeout_ms = call->timeout_ms;
    }
}

static void target_old(shardy_rollback_target *target)
{
    shardy_rollback_target_init(target, sizeof *target);
    target->run_id = CRASH_OLD;
}

shardy_status crash_roll_back(const crash_call *call, shardy_error *err)
{
    shardy_admin_options options;
    shardy_rollback_target target;
    shardy_buf ref;
    admin_options(call, &options);
    target_old(&target);
    shardy_status st = shardy_rollback(call->context, call->at.url, &target, &options, &ref, err);
    shardy_buf_release(&ref);
    return st;
}

static shardy_status clean(const crash_call *call, uint32_t keep_last, shardy_error *err)
{
    shardy_cleanup_options options;
    shardy_cleanup_result result;
    shardy_cleanup_options_init(&options, sizeof options);
    options.keep_last = keep_last;
    options.include_old_runs = keep_last == 0;
    options.settle_after_s = keep_last == 0 ? 0 : options.settle_after_s;
    admin_options(call, &options.admin);
    shardy_status st = shardy_cleanup(call->context, call->at.url, &options, &result, err);
    shardy_cleanup_result_dispose(&result);
    return st;
}

shardy_status crash_clean(const crash_call *call, shardy_error *err)
{
    return clean(call, 1, err);
}

shardy_status crash_clean_dead(const crash_call *call, shardy_error *err)
{
    return clean(call, 0, err);
}

shardy_status crash_pin(const crash_call *call, shardy_error *err)
{
    shardy_admin_options options;
    shardy_rollback_target target;
    admin_options(call, &options);
    target_old(&target);
    return shardy_pin_add(call->context, call->at.url, "keep", &target, &options, NULL, err);
}

static shardy_status put_text(
    shardy_store *store, const char *key, shardy_bytes text, shardy_error *err)
{
    shardy_store_put put = {0};
    put.key = shardy__bytes(key, strlen(key));
    put.condition = SHARDY_PUT_ALWAYS;
    put.body = text;
    put.content_type = "application/octet-stream";
    return shardy_store_put_object(store, &put, NULL, err);
}

shardy_status crash_die_publishing(const crash_call *call, shardy_error *err)
{
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_buf text;
    fate f;
    memset(&f, 0, sizeof f);
    snprintf(f.run_id, sizeof f.run_id, CRASH_DEAD);
    snprintf(f.writer, sizeof f.writer, "test");
    snprintf(f.nonce, sizeof f.nonce, "%032d", 7);
    f.state = FATE_PUBLISHING;
    f.generation = 2;
    f.updated_us = 1577836800000000;
    f.has_manifest = 1;
    f.manifest_size = 1;
    snprintf(f.manifest_ref, sizeof f.manifest_ref,
        "manifests/2020-01-01T00:00:00.000000Z_run_id=" CRASH_DEAD "/manifest");
    shardy__fate_key(f.run_id, key);
    shardy_status st = shardy__fate_render(&f, &text, err);
    if (st >= 0) {
        st = put_text(call->at.store, key, shardy__bytes(text.data, text.len), err);
        shardy_buf_release(&text);
    }
    return st < 0 ? st
                  : put_text(call->at.store,
                        "shards/run_id=" CRASH_DEAD "/db=00000/attempt=00/shard.db",
                        shardy__bytes("half", 4), err);
}

int crash_fits_again(const crash_operation *op, int is_over, shardy_status st)
{
    int fits = st >= 0;
    for (size_t i = 0; i < sizeof op->again / sizeof op->again[0] && is_over; i++) {
        fits |= st == op->again[i];
    }
    return fits;
}

/* --- processes -------------------------------------------------------------------------------- */

static int64_t later_wall(void *user)
{
    struct timespec now;
    (void)user;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 + DAYS_US;
}

shardy_context *crash_context(int later)
{
    shardy_error err = {0};
    shardy_context *context;
    shardy_context_options options;
    shardy_context_options_init(&options, sizeof options);
    options.threads = 1;
    options.clock.wall_us = later ? later_wall : NULL;
    assert_ok(shardy_context_new(&options, &context, &err));
    return context;
}

pid_t crash_start(crash_child_fn run, const void *what)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        shardy_error err = {0};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        shardy_status st = run(what, &err);
        if (st < 0) {
            fprintf(stderr, "%s: %s\n", shardy_status_name(st), err.message);
        }
        _exit(st < 0 ? 1 : 0);
    }
    return child;
}

int crash_end(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}
