/* faults.h: a parser once more while one of its allocations, or of its reads, fails. */
#ifndef SHARDY_FUZZ_FAULTS_H
#define SHARDY_FUZZ_FAULTS_H

#include "require.h"

#include <shardyfusion/status.h>
#include <shardyfusion/sys/testing.h>

/* What reads the input once and frees all of it. */
typedef shardy_status (*fault_run)(const uint8_t *data, size_t size, shardy_error *err);

static inline uint64_t hash_input(const uint8_t *data, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
    }
    return hash ^ hash >> 32;
}

/* Which operation of that kind fails, and whether all after it fail too, follows from the input, so
 * that a corpus reaches many of them and each input does the same always. The run must end as
 * without the fault or with the status of the fault, with a message, and leave nothing behind. */
static inline void run_with_fault_of(
    int32_t kind, shardy_status failure, const uint8_t *data, size_t size, fault_run run)
{
    shardy_error err;
    uint64_t count;
    uint64_t failed;
    uint64_t live = shardy_testing_live_allocations();
    memset(&err, 0, sizeof err);
    shardy_testing_fault_set(kind, 0, 0);
    shardy_status clean = run(data, size, &err);
    shardy_testing_fault_counts(kind, &count, &failed);
    require(shardy_testing_live_allocations() == live, "nothing is left behind");
    if (count == 0) {
        return;
    }
    uint64_t hash = hash_input(data, size);
    memset(&err, 0, sizeof err);
    shardy_testing_fault_set(kind, 1 + hash % count, (int32_t)(hash >> 31 & 1));
    shardy_status st = run(data, size, &err);
    shardy_testing_fault_counts(kind, &count, &failed);
    shardy_testing_fault_set(kind, 0, 0);
    require(failed > 0, "the operation was done again");
    require(st == failure || st == clean, "a failed operation gives no other answer");
    require(st >= 0 || (err.status == st && err.message[0] != '\0'), "a failure has a message");
    require(shardy_testing_live_allocations() == live, "nothing is left behind after a failure");
}

/* An allocation fails. */
static inline void run_with_fault(const uint8_t *data, size_t size, fault_run run)
{
    if (shardy_testing_fault_points()) {
        run_with_fault_of(SHARDY_FAULT_ALLOC, SHARDY_NOMEM, data, size, run);
    }
}

#endif
