/* script_store.h: a store around a store in memory whose calls fail as a test says, and are
 * counted. */
#ifndef SHARDY_TESTS_SCRIPT_STORE_H
#define SHARDY_TESTS_SCRIPT_STORE_H

#include <shardyfusion/sys/store.h>

#include <stdatomic.h>

typedef enum script_op {
    SCRIPT_READ = 0,
    SCRIPT_HEAD,
    SCRIPT_PUT,
    SCRIPT_LIST,
    SCRIPT_REMOVE,
    SCRIPT_OP_COUNT
} script_op;

/* What happens to a call. A step of zeros lets it pass. */
typedef struct script_step {
    int32_t kind; /* SHARDY_FAULT_... */
    int32_t status;
    int32_t final; /* 1: the error is not retriable */
    uint32_t retry_after_ms;
    void (*before)(void *user); /* called before the call; may be NULL */
    void *user;
} script_step;

#define SCRIPT_STEPS 128u

typedef struct script_store {
    shardy_store *mem;
    shardy_store *store; /* around it; both closed by script_store_close() */
    /* Steps of the next calls, of all kinds together; those after the last pass. */
    script_step steps[SCRIPT_STEPS];
    _Atomic size_t step_count;
    _Atomic size_t step_at;
    /* Instead: so many of 100 calls fail with UNAVAILABLE, half of them after they were done. */
    _Atomic uint32_t fail_percent;
    _Atomic uint64_t rand;
    _Atomic uint64_t calls[SCRIPT_OP_COUNT];
    _Atomic uint64_t closed; /* how often `store` was closed */
} script_store;

void script_store_open(script_store *s, shardy_context *context);
/* `store` may have been closed by somebody else before: then it is NULL. */
void script_store_close(script_store *s);
/* Sets steps and clears the counts. */
void script_store_set(script_store *s, const script_step *steps, size_t count);
uint64_t script_store_calls(const script_store *s);

#endif
