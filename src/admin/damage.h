/* damage.h: what a verification found to be damaged, gathered from any number of threads and put in
 * order at the end, so that it is told alike however many there were. */
#ifndef SHARDY_ADMIN_DAMAGE_H
#define SHARDY_ADMIN_DAMAGE_H

#include "../base/arena.h"
#include "../base/error.h"
#include "../base/thread.h"

#include <shardyfusion/admin.h>

/* Where a finding stands among the others: by stage, then by number within it. */
typedef struct damage_place {
    uint32_t stage;
    uint32_t part; /* of the same number */
    uint64_t number;
} damage_place;

typedef struct damage_list {
    mutex lock;
    arena *arena; /* of the result; used under the lock only while threads are at work */
    struct damage_found *found;
    size_t count;
    size_t room;
} damage_list;

void shardy__damage_init(damage_list *list, arena *a);
void shardy__damage_free(damage_list *list);

/* Adds a finding; the strings are copied. OK or NOMEM. Threads: any. */
shardy_status shardy__damage_add(damage_list *list, damage_place place, const char *path,
    uint64_t offset, const char *reason, shardy_error *err);

/* Failures that are about the data become findings, with their message as reason: OK. All others
 * are failures of the verification: returned as they are, with *error copied to *err. */
shardy_status shardy__damage_note(damage_list *list, damage_place place, const char *path,
    shardy_status st, const shardy_error *error, shardy_error *err);

/* All findings in order, in the arena. OK or NOMEM. */
shardy_status shardy__damage_take(
    damage_list *list, const shardy_damage **damaged_out, size_t *count_out, shardy_error *err);

#endif
