#include "damage.h"

#include "../base/alloc.h"

#include <stdlib.h>
#include <string.h>

typedef struct damage_found {
    damage_place place;
    shardy_damage damage;
} damage_found;

void shardy__damage_init(damage_list *list, arena *a)
{
    memset(list, 0, sizeof *list);
    shardy__mutex_init(&list->lock);
    list->arena = a;
}

void shardy__damage_free(damage_list *list)
{
    shardy__mutex_destroy(&list->lock);
    shardy__free(list->found);
}

static shardy_status add(damage_list *list, const damage_found *found, shardy_error *err)
{
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 16;
        damage_found *bigger = shardy__realloc(list->found, room * sizeof *bigger);
        if (!bigger) {
            return shardy__error_nomem(err, "verify");
        }
        list->found = bigger;
        list->room = room;
    }
    damage_found *f = &list->found[list->count];
    *f = *found;
    f->damage.path = shardy__arena_strdup(list->arena, found->damage.path);
    f->damage.reason = shardy__arena_strdup(list->arena, found->damage.reason);
    if (!f->damage.path || !f->damage.reason) {
        return shardy__error_nomem(err, "verify");
    }
    list->count++;
    return SHARDY_OK;
}

shardy_status shardy__damage_add(damage_list *list, damage_place place, const char *path,
    uint64_t offset, const char *reason, shardy_error *err)
{
    const damage_found found = {place, {path, offset, reason}};
    shardy__mutex_lock(&list->lock);
    shardy_status st = add(list, &found, err);
    shardy__mutex_unlock(&list->lock);
    return st;
}

shardy_status shardy__damage_note(damage_list *list, damage_place place, const char *path,
    shardy_status st, const shardy_error *error, shardy_error *err)
{
    /* INVALID: what the data name cannot be, such as an object that is a symbolic link. */
    if (st == SHARDY_CORRUPT || st == SHARDY_CHECKSUM || st == SHARDY_FORMAT_VERSION ||
        st == SHARDY_GONE || st == SHARDY_INVALID) {
        return shardy__damage_add(list, place, path, 0, error->message, err);
    }
    if (err) {
        *err = *error;
    }
    return st;
}

static int compare(const void *a, const void *b)
{
    const damage_place *x = &((const damage_found *)a)->place;
    const damage_place *y = &((const damage_found *)b)->place;
    if (x->stage != y->stage) {
        return x->stage < y->stage ? -1 : 1;
    }
    if (x->number != y->number) {
        return x->number < y->number ? -1 : 1;
    }
    return (x->part > y->part) - (x->part < y->part);
}

shardy_status shardy__damage_take(
    damage_list *list, const shardy_damage **damaged_out, size_t *count_out, shardy_error *err)
{
    *damaged_out = NULL;
    *count_out = 0;
    if (list->count == 0) {
        return SHARDY_OK;
    }
    qsort(list->found, list->count, sizeof *list->found, compare);
    shardy_damage *all = shardy__arena_calloc(list->arena, list->count, sizeof *all);
    if (!all) {
        return shardy__error_nomem(err, "verify");
    }
    for (size_t i = 0; i < list->count; i++) {
        all[i] = list->found[i].damage;
    }
    *damaged_out = all;
    *count_out = list->count;
    return SHARDY_OK;
}
