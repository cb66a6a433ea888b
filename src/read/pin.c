#include "pin.h"

#include <string.h>

void shardy__pin_domain_init(pin_domain *d)
{
    for (uint32_t i = 0; i < PIN_CELLS; i++) {
        atomic_init(&d->cells[i].count[0], 0);
        atomic_init(&d->cells[i].count[1], 0);
    }
    atomic_init(&d->phase, 0);
    atomic_init(&d->pending, 0);
    shardy__mutex_init(&d->lock);
    d->waiting = NULL;
    d->draining = NULL;
    d->round_step = 0;
}

static void free_list(pin_retired *list)
{
    while (list) {
        pin_retired *next = list->next;
        list->free(list);
        list = next;
    }
}

void shardy__pin_domain_destroy(pin_domain *d)
{
    free_list(d->waiting);
    free_list(d->draining);
    shardy__mutex_destroy(&d->lock);
}

static int phase_is_drained(pin_domain *d, uint32_t phase)
{
    for (uint32_t i = 0; i < PIN_CELLS; i++) {
        if (atomic_load(&d->cells[i].count[phase]) != 0) {
            return 0;
        }
    }
    return 1;
}

/* Takes the round as far as it gets. Returns what can be freed. Called with the lock. */
static pin_retired *advance(pin_domain *d)
{
    pin_retired *freeable = NULL;
    pin_retired **end = &freeable;
    for (;;) {
        if (d->round_step == 0) {
            if (!d->waiting) {
                return freeable;
            }
            /* model: reclaim_begin */
            d->draining = d->waiting;
            d->waiting = NULL;
            d->round_step = 1;
            /* model: reclaim_flip */
            atomic_fetch_xor(&d->phase, 1);
        }
        /* New calls count in the current phase; the other one drains. model: reclaim_look */
        if (!phase_is_drained(d, (atomic_load(&d->phase) & 1) ^ 1)) {
            return freeable;
        }
        if (d->round_step == 1) {
            d->round_step = 2;
            /* model: reclaim_flip_again */
            atomic_fetch_xor(&d->phase, 1);
            continue;
        }
        /* model: reclaim_end */
        *end = d->draining;
        while (*end) {
            end = &(*end)->next;
        }
        d->draining = NULL;
        d->round_step = 0;
    }
}

void shardy__pin_reclaim(pin_domain *d)
{
    shardy__mutex_lock(&d->lock);
    pin_retired *freeable = advance(d);
    /* model: reclaim_pending */
    atomic_store(&d->pending, d->waiting != NULL || d->draining != NULL);
    shardy__mutex_unlock(&d->lock);
    /* model: reclaim_free */
    free_list(freeable);
}

void shardy__pin_retire(pin_domain *d, pin_retired *retired)
{
    shardy__mutex_lock(&d->lock);
    retired->next = d->waiting;
    d->waiting = retired;
    /* model: retire_pending */
    atomic_store(&d->pending, 1);
    shardy__mutex_unlock(&d->lock);
    shardy__pin_reclaim(d);
}
