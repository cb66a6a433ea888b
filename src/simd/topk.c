#include "topk.h"

#include "../base/alloc.h"
#include "../base/error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A buffer of what was not above the bound so far. When it is full, it is cut to the k best and
 * their ties, which lowers the bound. Room beyond what a cut leaves keeps cuts rare; little room
 * keeps the bound close. */
#define ROOM_SPARE 16u

void shardy__topk_init(topk *t, size_t k, size_t kept_max)
{
    memset(t, 0, sizeof *t);
    t->k = k;
    t->kept_max = kept_max > k ? kept_max : k;
    t->bound = k ? (double)INFINITY : -(double)INFINITY;
}

void shardy__topk_free(topk *t)
{
    shardy__free(t->entries);
    shardy__topk_init(t, t->k, t->kept_max);
}

static void swap_entries(topk_entry *a, topk_entry *b)
{
    topk_entry kept = *a;
    *a = *b;
    *b = kept;
}

static double median3(double a, double b, double c)
{
    double low = a < b ? a : b;
    double high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

/* The n-th smallest score (from 0); reorders the entries. The partition has three parts, so that
 * ties cost nothing; the pivot is the median of three drawn at random, so that no order of rows is
 * a bad one. */
static double nth_score(topk_entry *e, size_t count, size_t n)
{
    size_t low = 0;
    size_t high = count;
    uint64_t random = count;
    while (high - low > 1) {
        double pick[3];
        for (int i = 0; i < 3; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            pick[i] = e[low + (size_t)(random >> 33) % (high - low)].score;
        }
        const double pivot = median3(pick[0], pick[1], pick[2]);
        size_t less = low;
        size_t greater = high;
        for (size_t i = low; i < greater;) {
            if (e[i].score < pivot) {
                swap_entries(&e[i++], &e[less++]);
            } else if (e[i].score > pivot) {
                swap_entries(&e[i], &e[--greater]);
            } else {
                i++;
            }
        }
        if (n < less) {
            high = less;
        } else if (n >= greater) {
            low = greater;
        } else {
            return pivot;
        }
    }
    return e[low].score;
}

/* Lowers the bound to the k-th score and drops what is above it. */
static void cut(topk *t)
{
    if (t->count >= t->k && t->count > 0) {
        t->bound = nth_score(t->entries, t->count, t->k - 1);
        size_t kept = 0;
        for (size_t i = 0; i < t->count; i++) {
            if (t->entries[i].score <= t->bound) {
                t->entries[kept++] = t->entries[i];
            }
        }
        t->count = kept;
    }
    if (t->count > t->kept_max) {
        shardy__free(t->entries);
        t->entries = NULL;
        t->count = t->room = 0;
        t->overflow = true;
    }
}

/* Makes room for one entry at least, or overflows. After it, as many entries fit as are there, so
 * that a cut is paid for by what was added since the last one. */
static shardy_status make_room(topk *t, shardy_error *err)
{
    cut(t);
    if (t->overflow || t->count < t->room / 2) {
        return SHARDY_OK;
    }
    size_t base = t->count > t->k ? t->count : t->k;
    size_t room;
    size_t size;
    if (!shardy__mul_size(base, 2, &room) || !shardy__add_size(room, ROOM_SPARE, &room) ||
        !shardy__mul_size(room, sizeof *t->entries, &size)) {
        return shardy__error_nomem(err, "search");
    }
    topk_entry *entries = shardy__realloc(t->entries, size);
    if (!entries) {
        return shardy__error_nomem(err, "search");
    }
    t->entries = entries;
    t->room = room;
    return SHARDY_OK;
}

shardy_status shardy__topk_add(topk *t, uint64_t row, double score, shardy_error *err)
{
    if (!(score <= t->bound) || t->overflow || !t->k) {
        return SHARDY_OK;
    }
    if (t->count == t->room) {
        SHARDY_TRY(make_room(t, err));
        if (t->overflow || score > t->bound) {
            return SHARDY_OK;
        }
    }
    t->entries[t->count].score = score;
    t->entries[t->count].row = row;
    t->count++;
    return SHARDY_OK;
}

static int compare_entries(const void *a, const void *b)
{
    const topk_entry *x = a;
    const topk_entry *y = b;
    if (x->score != y->score) {
        return x->score < y->score ? -1 : 1;
    }
    return (x->row > y->row) - (x->row < y->row);
}

shardy_status shardy__topk_finish(topk *t, shardy_error *err)
{
    if (!t->overflow) {
        cut(t);
    }
    if (t->overflow) {
        return shardy__error(err, SHARDY_EXHAUSTED, "search",
            "more than %zu rows have the same score as the one at place %zu", t->kept_max, t->k);
    }
    if (t->count > 1) {
        qsort(t->entries, t->count, sizeof *t->entries, compare_entries);
    }
    return SHARDY_OK;
}
