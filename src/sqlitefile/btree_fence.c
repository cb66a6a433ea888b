#include "btree_fence.h"

#include "../base/alloc.h"
#include "../base/thread.h"
#include "btree_page.h"
#include "btree_step.h"
#include "btree_window.h"

#include <string.h>

/* A separator while a fence is made. The bytes stay where they are for as long as the file is
 * open. */
typedef struct post {
    union {
        const uint8_t *key;
        uint64_t rowid; /* order-preserving; tables */
    } at;
    uint32_t len;
    uint32_t page; /* of what comes before it */
} post;

/* One level of a tree: `count` separators and the page behind the last of them. */
typedef struct fence_level {
    post *posts; /* posts[count] has a page only */
    uint32_t count;
    uint32_t room;
} fence_level;

/* The making of a fence, a few pages at a time so that no look-up has to wait for all of it. It
 * goes down level by level: `next` is the level below `level`, of whose pages `at` were read. */
typedef struct fence_maker {
    btree_tree tree;
    fence_level level;
    fence_level next;
    uint32_t at;
    uint32_t depth; /* of the pages of `level` */
} fence_maker;

static void free_maker(fence_maker *m)
{
    if (m) {
        shardy__free(m->level.posts);
        shardy__free(m->next.posts);
        shardy__free(m);
    }
}

/* Room for `count` separators and the last page; false when there is no memory or they would be too
 * many. */
static int fit_level(fence_level *level, uint32_t count)
{
    if (count < level->room) {
        return 1;
    }
    if (count > FENCE_COUNT_MAX) {
        return 0;
    }
    uint32_t room = count < 512 ? 1024 : 2 * count;
    post *posts = shardy__realloc(level->posts, room * sizeof *posts);
    if (!posts) {
        return 0;
    }
    level->posts = posts;
    level->room = room;
    return 1;
}

/* Adds the cells and children of one interior page. */
static int add_page(const btree_tree *tree, fence_level *next, const walk_page *page)
{
    if (!fit_level(next, next->count + page->cells + 1)) {
        return 0;
    }
    for (uint32_t i = 0; i < page->cells; i++) {
        post *p = &next->posts[next->count++];
        walk_separator separator;
        if (!shardy__walk_separator(tree, page, i, &separator)) {
            return 0;
        }
        p->page = separator.child;
        p->len = (uint32_t)separator.len;
        if (tree->kind == BTREE_TABLE) {
            p->at.rowid = separator.rowid;
        } else {
            p->at.key = separator.key;
        }
    }
    next->posts[next->count].page = page->right;
    return 1;
}

static fence_maker *new_maker(const btree_tree *tree)
{
    fence_maker *m = shardy__calloc(1, sizeof *m);
    if (!m) {
        return NULL;
    }
    m->tree = *tree;
    m->depth = 1;
    if (!fit_level(&m->level, 0)) {
        free_maker(m);
        return NULL;
    }
    m->level.posts[0].page = tree->root;
    return m;
}

/* Reads one page. 1; 0 when the pages of this level are leaves, not at hand, broken, or too many:
 * then it is the level to use. */
static int read_page(fence_maker *m)
{
    fence_level *next = &m->next;
    walk_page page;
    if (m->depth == BTREE_DEPTH_MAX ||
        !shardy__walk_interior(&m->tree, m->level.posts[m->at].page, &page) ||
        !add_page(&m->tree, next, &page)) {
        return 0;
    }
    if (m->at < m->level.count) {
        /* Between two pages lies the separator of the level above, behind the last child of the
         * first. */
        uint32_t child = next->posts[next->count].page;
        next->posts[next->count] = m->level.posts[m->at];
        next->posts[next->count++].page = child;
        m->at++;
        return 1;
    }
    fence_level upper = m->level;
    m->level = *next;
    *next = upper;
    next->count = 0;
    m->at = 0;
    m->depth++;
    return 1;
}

/* Posts of all separators, which must rise; 0 when they do not. */
static int fill_posts(const btree_fence *f, const fence_level *level, fence_post *posts)
{
    for (uint32_t i = 0; i < f->count; i++) {
        const post *p = &level->posts[i];
        posts[i].page = p->page;
        posts[i].reserved = 0;
        if (f->key_type == RECORD_INT) {
            posts[i].window = p->at.rowid;
        } else {
            if (p->len < f->skip || memcmp(p->at.key, f->prefix, f->skip) != 0) {
                return 0;
            }
            posts[i].window = shardy__key_window(p->at.key + f->skip, p->len - f->skip);
        }
        if (i > 0 && posts[i].window < posts[i - 1].window) {
            return 0;
        }
    }
    for (uint32_t i = f->count; i < f->count + FENCE_RUN; i++) {
        posts[i].window = UINT64_MAX;
        posts[i].page = level->posts[f->count].page;
        posts[i].reserved = 0;
    }
    return 1;
}

static void fill_buckets(const btree_fence *f, fence_bucket *buckets)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        uint32_t bucket = shardy__fence_bucket(f, f->posts[i].window);
        while (at <= bucket) {
            buckets[at++] = (fence_bucket){i, f->posts[i].page};
        }
    }
    while (at < f->bucket_max + 2) {
        buckets[at++] = (fence_bucket){f->count, f->posts[f->count].page};
    }
}

/* A fence of these separators in one block, or NULL. */
static btree_fence *build(const btree_tree *tree, const fence_level *level, uint32_t depth)
{
    uint32_t count = level->count;
    uint32_t bits = 32u - (uint32_t)__builtin_clz((count + FENCE_BUCKET - 1) / FENCE_BUCKET);
    size_t posts_len = (count + FENCE_RUN) * sizeof(fence_post);
    size_t buckets_len = (((size_t)1 << bits) + 2) * sizeof(fence_bucket);
    btree_fence *f = shardy__large_alloc(sizeof *f + posts_len + buckets_len);
    if (!f) {
        return NULL;
    }
    fence_post *posts = (fence_post *)(void *)(f + 1);
    fence_bucket *buckets = (fence_bucket *)(void *)((char *)posts + posts_len);
    memset(f, 0, sizeof *f);
    f->root = tree->root;
    f->key_type = tree->kind == BTREE_TABLE ? RECORD_INT : tree->window_type;
    f->count = count;
    f->depth = depth;
    f->bucket_max = 1u << bits;
    if (f->key_type != RECORD_INT) {
        const post *first = &level->posts[0];
        const post *last = &level->posts[count - 1];
        f->prefix = first->at.key;
        f->skip = shardy__key_common(
            first->at.key, last->at.key, first->len < last->len ? first->len : last->len);
    }
    f->posts = posts;
    f->buckets = buckets;
    if (!fill_posts(f, level, posts)) {
        shardy__free(f);
        return NULL;
    }
    f->base = posts[0].window;
    uint64_t span = posts[count - 1].window - f->base;
    uint32_t span_bits = span ? 64u - (uint32_t)__builtin_clzll(span) : 0;
    f->shift = span_bits > bits ? span_bits - bits : 0;
    fill_buckets(f, buckets);
    return f;
}

/* Goes on making a fence: `pages` pages of it. Nobody else does meanwhile: `busy` was taken by this
 * thread. */
static void make_some(btree_hint *hint, const btree_tree *tree, uint32_t pages)
{
    if (!hint->maker) {
        hint->maker = new_maker(tree);
    }
    fence_maker *m = hint->maker;
    for (; m && pages > 0; pages--) {
        if (read_page(m)) {
            continue;
        }
        if (m->level.count > 0) {
            /* Release: whoever reads the pointer sees what it points to. */
            atomic_store_explicit(
                &hint->fence, build(&m->tree, &m->level, m->depth), memory_order_release);
        }
        free_maker(m);
        m = NULL;
    }
    hint->maker = m;
    if (!m) {
        atomic_store_explicit(&hint->done, 1, memory_order_relaxed);
    }
}

/* The state of the maker is guarded by `busy`: taken with acquire, given back with release, never
 * waited for. `done` only saves the attempt. Trees that share a place share its one fence: the
 * first to be asked often has it. */
static void try_make(const btree_tree *tree, uint32_t pages)
{
    btree_hint *hint = &tree->file->hints[tree->root % BTREE_HINTS];
    if (!tree->file->fences || !shardy__page_source_lends(tree->file->source) ||
        tree->window_type == RECORD_NULL ||
        atomic_load_explicit(&hint->done, memory_order_relaxed) ||
        atomic_exchange_explicit(&hint->busy, 1, memory_order_acquire)) {
        return;
    }
    if (!atomic_load_explicit(&hint->done, memory_order_relaxed) &&
        (!hint->maker || hint->maker->tree.root == tree->root)) {
        make_some(hint, tree, pages);
    }
    atomic_store_explicit(&hint->busy, 0, memory_order_release);
}

void shardy__fence_make(const btree_tree *tree)
{
    try_make(tree, UINT32_MAX);
}

void shardy__fence_count(const btree_tree *tree, uint32_t gets)
{
    /* Counted beside the holders, in a line that this thread writes anyway. The sum of two threads
     * with the same slot may lose some: it need not be exact. */
    page_source *source = tree->file->source;
    page_hold *cell = &source->holds[shardy__thread_slot() % PAGE_HOLD_CELLS];
    uint32_t count = atomic_load_explicit(&cell->gets, memory_order_relaxed);
    if (count < FENCE_GETS) {
        atomic_store_explicit(
            &cell->gets, gets < FENCE_GETS ? count + gets : FENCE_GETS, memory_order_relaxed);
        return;
    }
    if (!atomic_load_explicit(
            &tree->file->hints[tree->root % BTREE_HINTS].done, memory_order_relaxed)) {
        try_make(tree, gets < FENCE_GETS ? gets * FENCE_PAGES : FENCE_GETS * FENCE_PAGES);
    }
}

void shardy__fence_free(btree_hint *hint)
{
    free_maker(hint->maker);
    shardy__free(hint->fence);
}
