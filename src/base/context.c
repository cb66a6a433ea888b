#include "context.h"

#include "alloc.h"
#include "thread.h"

#include <shardyfusion/limits.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct shardy_cancel {
    _Atomic int32_t requested;
};

void shardy_context_options_init(shardy_context_options *options, size_t struct_size)
{
    shardy_context_options defaults;
    memset(&defaults, 0, sizeof defaults);
    defaults.log_level = SHARDY_LOG_WARN;
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

static uint64_t unpredictable_seed(void)
{
    uint64_t seed = 0;
    if (getentropy(&seed, sizeof seed) != 0) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        seed = (uint64_t)now.tv_nsec * 0x9E3779B97F4A7C15u ^ (uint64_t)now.tv_sec ^
               (uint64_t)getpid() << 40;
    }
    return seed;
}

shardy_status shardy_context_new(
    const shardy_context_options *options, shardy_context **context_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(context_out);
    *context_out = NULL;
    shardy_context *context = shardy__calloc(1, sizeof *context);
    if (!context) {
        return shardy__error_nomem(err, "context");
    }
    shardy_context_options_init(&context->options, sizeof context->options);
    shardy_status st = SHARDY__OPTIONS_COPY(&context->options, options, err);
    if (st >= 0 && context->options.threads > SHARDY_THREADS_MAX) {
        st = shardy__error(err, SHARDY_INVALID, "context", "threads is %u, the limit is %u",
            context->options.threads, SHARDY_THREADS_MAX);
    }
    context->threads =
        context->options.threads ? context->options.threads : shardy__processor_count();
    if (context->threads > SHARDY_THREADS_MAX) {
        context->threads = SHARDY_THREADS_MAX;
    }
    if (st >= 0) {
        st = shardy__process_watch(err);
    }
    if (st >= 0) {
        st = shardy__pool_new(context->threads, &context->pool, err);
    }
    if (st >= 0) {
        st = shardy__pool_new(CONTEXT_WAITERS, &context->waiters, err);
    }
    if (st >= 0) {
        st = shardy__timer_new(context, &context->timer, err);
    }
    if (st >= 0) {
        st = shardy__timer_new(context, &context->read_timer, err);
    }
    if (st < 0) {
        shardy__timer_free(context->timer);
        shardy__pool_free(context->waiters);
        shardy__pool_free(context->pool);
        shardy__free(context);
        return st;
    }
    shardy__mutex_init(&context->part_lock);
    context->process = shardy__process_generation();
    atomic_init(&context->refs, 1);
    atomic_init(
        &context->rand_state, context->options.seed ? context->options.seed : unpredictable_seed());
    *context_out = context;
    return SHARDY_OK;
}

shardy_status shardy__context_hold(
    shardy_context *context, shardy_context **context_out, shardy_error *err)
{
    *context_out = NULL;
    if (!context) {
        return shardy_context_new(NULL, context_out, err);
    }
    /* In a child its pool and timer have no threads, and its random numbers would be the parent's
     * again: two writers with one nonce. */
    SHARDY_TRY(shardy__check_process(context->process, err));
    atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
    *context_out = context;
    return SHARDY_OK;
}

void shardy__context_drop(shardy_context *context)
{
    if (context && atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel) == 1) {
        if (context->process != shardy__process_generation()) {
            return; /* in a child: its threads are not there, and its locks may be held for ever */
        }
        if (context->transfers) {
            context->transfers->end(context->transfers);
        }
        shardy__mutex_destroy(&context->part_lock);
        shardy__timer_free(context->read_timer);
        shardy__timer_free(context->timer);
        shardy__pool_free(context->waiters);
        shardy__pool_free(context->pool);
        shardy__free(context);
    }
}

shardy_status shardy__context_transfers(
    shardy_context *context, context_make_fn make, context_part **part_out, shardy_error *err)
{
    shardy_status st = SHARDY_OK;
    shardy__mutex_lock(&context->part_lock);
    if (!context->transfers) {
        st = make(context, &context->transfers, err);
    }
    *part_out = context->transfers;
    shardy__mutex_unlock(&context->part_lock);
    return st;
}

void shardy_context_free(shardy_context *context)
{
    shardy__context_drop(context);
}

uint64_t shardy_context_metric(const shardy_context *context, int32_t metric)
{
    if (!context || metric < 0 || metric >= SHARDY_METRIC_COUNT_) {
        return 0;
    }
    return atomic_load_explicit(&context->metrics[metric], memory_order_relaxed);
}

static const shardy_metric_info metric_infos[] = {
#define METRIC_ROW(name, unit, text) {SHARDY_METRIC_##name, #name, (unit), (text)},
    SHARDY_METRIC_MAP(METRIC_ROW)
#undef METRIC_ROW
};

const shardy_metric_info *shardy_metric_list(size_t *count_out)
{
    if (count_out) {
        *count_out = sizeof metric_infos / sizeof metric_infos[0];
    }
    return metric_infos;
}

shardy_status shardy_cancel_new(shardy_cancel **cancel_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(cancel_out);
    *cancel_out = shardy__calloc(1, sizeof **cancel_out);
    return *cancel_out ? SHARDY_OK : shardy__error_nomem(err, "context");
}

void shardy_cancel_request(shardy_cancel *cancel)
{
    if (cancel) {
        atomic_store(&cancel->requested, 1);
    }
}

int32_t shardy_cancel_requested(const shardy_cancel *cancel)
{
    return cancel ? atomic_load_explicit(&cancel->requested, memory_order_relaxed) : 0;
}

void shardy_cancel_free(shardy_cancel *cancel)
{
    shardy__free(cancel);
}

void shardy__log(
    const shardy_context *context, int32_t level, const char *component, const char *format, ...)
{
    if (!context->options.log || level > context->options.log_level) {
        return;
    }
    char text[1200];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0) {
        return;
    }
    for (char *p = text; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7F) {
            *p = '?';
        }
    }
    shardy_log_record record = {level, component, text};
    context->options.log(context->options.log_user, &record);
}

uint64_t shardy__rand_u64(const shardy_context *context)
{
    /* splitmix64 (Steele, Lea, Flood 2014): one atomic add, then mixing. */
    _Atomic uint64_t *state = &((shardy_context *)(uintptr_t)context)->rand_state;
    uint64_t x = atomic_fetch_add(state, 0x9E3779B97F4A7C15u) + 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

void shardy__rand_hex32(const shardy_context *context, char text_out[33])
{
    snprintf(text_out, 33, "%016llx%016llx", (unsigned long long)shardy__rand_u64(context),
        (unsigned long long)shardy__rand_u64(context));
}
