/* Listings have no digest: each bit of a name in each listing that a cleanup reads, changed on its
 * way, and each entry left out, one at a time. Whatever the listing says, nothing is removed that
 * would not be removed without the lie.
 *
 * The quick set takes some of the bits, by chance; SHARDY_TORTURE=1 takes all of them. */
#include "support/cleanup_testing.h"

#include "base/uri.h"

#define OBJECTS_MAX 64u
#define ENTRIES_MAX 32u
#define DROPPED     SIZE_MAX
#define KEY_SIZE    300u

/* --- a store whose listings lie --------------------------------------------------------------- */

/* What is wrong with which listing. */
typedef struct lie {
    size_t listing; /* its number, from 0 */
    size_t entry;
    size_t bit;     /* of the key; DROPPED: the entry is left out */
    int persistent; /* 1: with all listings that have an entry of that name */
} lie;

typedef struct liar {
    shardy_store *mem;
    shardy_store *store;
    lie lie;
    size_t listings;           /* so far */
    size_t entries;            /* of the listing of that number */
    size_t key_len;            /* of the entry of that number */
    char lied_about[KEY_SIZE]; /* the key as it is */
} liar;

typedef struct lying_page {
    shardy_store_entry entries[ENTRIES_MAX];
    char keys[ENTRIES_MAX][KEY_SIZE];
} lying_page;

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const shardy_store_entry *)a)->key, ((const shardy_store_entry *)b)->key);
}

static void dispose_page(shardy_store_page *page)
{
    free(page->owner);
}

/* As the store of a bucket does it: what is no key is passed over, what is not below the prefix is
 * an error, and entries are put into their order. */
static shardy_status take_keys(
    lying_page *own, const char *prefix, shardy_store_page *page, shardy_error *error)
{
    size_t count = 0;
    for (size_t i = 0; i < page->count; i++) {
        const char *key = own->entries[i].key;
        size_t len = strlen(key);
        size_t slash = len > 0 && key[len - 1] == '/';
        if (strncmp(key, prefix, strlen(prefix)) != 0) {
            memset(error, 0, sizeof *error);
            snprintf(error->message, sizeof error->message, "a key that is not below the prefix");
            error->status = SHARDY_CORRUPT;
            return SHARDY_CORRUPT;
        }
        if (slash == (size_t)own->entries[i].is_prefix && !shardy__key_problem(key, len - slash)) {
            own->entries[count++] = own->entries[i];
        }
    }
    qsort(own->entries, count, sizeof own->entries[0], compare_entries);
    size_t unique = 0;
    for (size_t i = 0; i < count; i++) {
        if (unique == 0 || strcmp(own->entries[unique - 1].key, own->entries[i].key) != 0) {
            own->entries[unique++] = own->entries[i];
        }
    }
    page->count = unique;
    return SHARDY_OK;
}

static size_t find_key(const shardy_store_page *page, const char *key)
{
    size_t i = 0;
    while (i < page->count && strcmp(page->entries[i].key, key) != 0) {
        i++;
    }
    return i;
}

static void tell_lie(liar *l, lying_page *own, shardy_store_page *page)
{
    size_t at = l->lie.entry;
    size_t number = l->listings++;
    if (number == l->lie.listing) {
        l->entries = page->count;
        l->key_len = at < page->count ? strlen(page->entries[at].key) : 0;
        snprintf(l->lied_about, KEY_SIZE, "%s", at < page->count ? page->entries[at].key : "");
    } else if (l->lie.persistent && number > l->lie.listing && l->lied_about[0]) {
        at = find_key(page, l->lied_about);
    } else {
        return;
    }
    if (at >= page->count || (l->lie.bit != DROPPED && l->lie.bit >= l->key_len * 8)) {
        return;
    }
    if (l->lie.bit == DROPPED) {
        page->count--;
        memmove(
            own->entries + at, own->entries + at + 1, (page->count - at) * sizeof own->entries[0]);
    } else {
        char *key = own->keys[at];
        key[l->lie.bit / 8] = (char)(key[l->lie.bit / 8] ^ (1 << l->lie.bit % 8));
        if (strlen(key) != l->key_len) {
            snprintf(key, KEY_SIZE, "%s", l->lied_about); /* XML has no zero bytes */
        }
    }
}

static shardy_status lying_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *error)
{
    liar *l = store;
    shardy_store_page page;
    shardy_status st = shardy_store_list_within(l->mem, what, &page, error);
    if (st < 0) {
        return st;
    }
    lying_page *own = calloc(1, sizeof *own);
    assert_non_null(own);
    assert_true(page.count <= ENTRIES_MAX && !page.next_token);
    for (size_t i = 0; i < page.count; i++) {
        own->entries[i] = page.entries[i];
        snprintf(own->keys[i], KEY_SIZE, "%s", page.entries[i].key);
        own->entries[i].key = own->keys[i];
    }
    page_out->entries = own->entries;
    page_out->count = page.count;
    page_out->owner = own;
    page_out->dispose = dispose_page;
    shardy_store_page_dispose(&page);
    tell_lie(l, own, page_out);
    return take_keys(own, what->prefix, page_out, error);
}

static uint64_t lying_caps(void *store)
{
    return shardy_store_caps(((liar *)store)->mem);
}

static void lying_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    shardy_store_read_all(((liar *)store)->mem, reads, n);
    for (size_t i = 0; i < n; i++) {
        done(user, &reads[i]);
    }
}

static shardy_status lying_head(void *store, shardy_bytes key, const shardy_store_limits *limits,
    shardy_object_meta *meta_out, shardy_error *error)
{
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    snprintf(text, sizeof text, "%.*s", (int)key.len, (const char *)key.data);
    return shardy_store_head_within(((liar *)store)->mem, text, limits, meta_out, error);
}

static shardy_status lying_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *error)
{
    return shardy_store_put_object(((liar *)store)->mem, put, meta_out, error);
}

static shardy_status lying_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *error)
{
    return shardy_store_remove_within(((liar *)store)->mem, keys, n, limits, results_out, error);
}

static void lying_close(void *store)
{
    (void)store;
}

static const shardy_store_ops lying_ops = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .name = "liar",
    .caps = lying_caps,
    .read = lying_read,
    .head = lying_head,
    .put = lying_put,
    .list = lying_list,
    .remove = lying_remove,
    .close = lying_close,
};

/* --- the data set ----------------------------------------------------------------------------- */

typedef struct object {
    char key[KEY_SIZE];
    shardy_buf body;
} object;

typedef struct dataset {
    shardy_store *store;
    world *world;
    object objects[OBJECTS_MAX];
    size_t count;
} dataset;

/* Each shard has a stale attempt as well. */
static publish_run begin_with_stale(world *w, const char *run_id)
{
    publish_run run = begin(w, run_id);
    put_shard(w, run_id, 0, 1);
    put_shard(w, run_id, 1, 1);
    return run;
}

/* One run an hour. */
static void publish_with_stale(world *w, const char *run_id, const char *first_url)
{
    const saying what = {PREFIX, "shards", {first_url, NULL}};
    publish_run run = begin_with_stale(w, run_id);
    assert_ok(commit(w, &run, &what));
    w->clock.wall_us += HOUR;
}

static void load_objects(dataset *d)
{
    shardy_store_page page;
    assert_ok(shardy_store_list(d->store, "", 0, NULL, 1000, &page, &err));
    assert_in_range(page.count, 1, OBJECTS_MAX);
    for (size_t i = 0; i < page.count; i++) {
        object *o = &d->objects[d->count++];
        snprintf(o->key, KEY_SIZE, "%s", page.entries[i].key);
        assert_ok(shardy_store_get(d->store, o->key, 0, SHARDY_READ_TO_END, &o->body, NULL, &err));
    }
    shardy_store_page_dispose(&page);
}

/* "a" and "b" are old, and "d", which is newer, names a stale attempt of "a"; "c" is one of the
 * reference; "e" is current; "f" failed long ago; "g" is at work. With `ours_only`, "c" is of ours,
 * and "d" names its own shards only. */
static void make_dataset(dataset *d, int ours_only)
{
    memset(d, 0, sizeof *d);
    assert_ok(shardy_store_open_mem(NULL, &d->store, &err));
    const fixture f = {.store = d->store};
    world *w = open_world(&f);
    d->world = w;
    publish_with_stale(w, "a", NULL);
    publish_with_stale(w, "b", NULL);
    begin_with_stale(w, "f");
    publish_with_stale(w, "c", NULL);
    if (!ours_only) {
        remove_fate(w, "c");
    }
    publish_with_stale(w, "d", ours_only ? NULL : PREFIX "/shards/run_id=a/db=00000/attempt=01");
    publish_with_stale(w, "e", NULL);
    begin_with_stale(w, "g");
    load_objects(d);
}

static void free_dataset(dataset *d)
{
    for (size_t i = 0; i < d->count; i++) {
        shardy_buf_release(&d->objects[i].body);
    }
    close_world(d->world);
    shardy_store_close(d->store);
}

/* --- what becomes of it ----------------------------------------------------------------------- */

/* Of each object, whether a cleanup leaves it as it is. */
typedef struct outcome {
    unsigned char kept[OBJECTS_MAX];
    size_t others; /* objects that were not there before */
} outcome;

static void look(const dataset *d, shardy_store *store, outcome *out)
{
    shardy_store_page page;
    size_t there = 0;
    for (size_t i = 0; i < d->count; i++) {
        const object *o = &d->objects[i];
        shardy_buf body;
        shardy_status st =
            shardy_store_get(store, o->key, 0, SHARDY_READ_TO_END, &body, NULL, &err);
        assert_true(st == SHARDY_OK || st == SHARDY_NOT_FOUND);
        there += st == SHARDY_OK;
        out->kept[i] = st == SHARDY_OK && body.len == o->body.len &&
                       memcmp(body.data, o->body.data, body.len) == 0;
        shardy_buf_release(&body);
    }
    assert_ok(shardy_store_list(store, "", 0, NULL, 1000, &page, &err));
    out->others = page.count - there;
    shardy_store_page_dispose(&page);
}

/* A cleanup of the data set through the liar; what is told of the listing stays in it. */
static shardy_status clean_told(
    dataset *d, const shardy_cleanup_options *options, liar *l, outcome *out)
{
    shardy_cleanup_options o = *options;
    shardy_cleanup_result result;
    assert_ok(shardy_store_open_mem(d->world->context, &l->mem, &err));
    assert_ok(shardy_store_new_take(d->world->context, &lying_ops, l, &l->store, &err));
    for (size_t i = 0; i < d->count; i++) {
        shardy_store_put put = {0};
        put.key = shardy__bytes(d->objects[i].key, strlen(d->objects[i].key));
        put.body = shardy__bytes(d->objects[i].body.data, d->objects[i].body.len);
        assert_ok(shardy_store_put_object(l->mem, &put, NULL, &err));
    }
    o.admin.store = l->store;
    l->listings = l->entries = l->key_len = 0;
    l->lied_about[0] = '\0';
    shardy_status st = shardy_cleanup(d->world->context, NULL, &o, &result, &err);
    shardy_cleanup_result_dispose(&result);
    look(d, l->mem, out);
    shardy_store_close(l->store);
    shardy_store_close(l->mem);
    return st;
}

static int is_manifest_of(const char *key, const char *run_id)
{
    char end[100];
    snprintf(end, sizeof end, "_run_id=%s/manifest", run_id);
    return strncmp(key, "manifests/", 10) == 0 && strlen(key) > strlen(end) &&
           strcmp(key + strlen(key) - strlen(end), end) == 0;
}

/* No manifest stays without its shards. */
static void check_whole(const dataset *d, const outcome *out, const char *where)
{
    for (size_t m = 0; m < d->count; m++) {
        const char *run = strstr(d->objects[m].key, "_run_id=");
        char run_id[2] = {run ? run[strlen("_run_id=")] : '\0', '\0'};
        if (!out->kept[m] || !is_manifest_of(d->objects[m].key, run_id)) {
            continue;
        }
        char shard[100];
        snprintf(shard, sizeof shard, "shards/run_id=%s/db=00001/attempt=00/shard.db", run_id);
        for (size_t i = 0; i < d->count; i++) {
            if (strcmp(d->objects[i].key, shard) == 0 && !out->kept[i]) {
                fail_msg("%s: \"%s\" is there without its shard", where, d->objects[m].key);
            }
        }
    }
}

static void check_outcome(
    const dataset *d, const outcome *honest, const outcome *out, const char *where)
{
    for (size_t i = 0; i < d->count; i++) {
        if (honest->kept[i] && !out->kept[i]) {
            fail_msg("%s: \"%s\" was removed or changed", where, d->objects[i].key);
        }
    }
    if (out->others > honest->others) {
        fail_msg("%s: there is an object that was not there before", where);
    }
    check_whole(d, out, where);
}

/* How many lies were told. */
static uint32_t lie_about_all(
    dataset *d, const shardy_cleanup_options *options, int persistent, support_rand *rand)
{
    static outcome honest;
    static outcome out;
    static liar l;
    size_t step = getenv("SHARDY_TORTURE") ? 1 : 97;
    uint32_t told = 0;
    size_t skip = (size_t)support_rand_below(rand, step);
    l.lie = (lie){SIZE_MAX, 0, 0, 0};
    assert_ok(clean_told(d, options, &l, &honest));
    size_t listings = l.listings;
    assert_in_range(listings, 3, 100);
    for (size_t n = 0; n < listings; n++) {
        size_t entries = 1;
        for (size_t e = 0; e < entries; e++) {
            size_t bits = 0;
            l.lie = (lie){n, e, DROPPED, persistent};
            for (size_t bit = DROPPED; bit == DROPPED || bit < bits; bit++) {
                if (bit != DROPPED && skip-- > 0) {
                    continue;
                }
                char where[KEY_SIZE + 100];
                l.lie.bit = bit;
                clean_told(d, options, &l, &out);
                snprintf(where, sizeof where,
                    "keep_last %u, listing %zu, entry %zu \"%s\", bit %zd", options->keep_last, n,
                    e, l.lied_about, (ssize_t)bit);
                check_outcome(d, &honest, &out, where);
                entries = l.entries;
                bits = l.key_len * 8;
                told++;
                skip = bit == DROPPED ? skip : (size_t)support_rand_below(rand, 2 * step - 1);
            }
        }
    }
    return told;
}

static void lie_to_cleanups(int persistent)
{
    static dataset d;
    support_rand rand = {support_seed()};
    shardy_cleanup_options options;
    make_dataset(&d, persistent);
    for (uint32_t keep_last = 0; keep_last <= 3; keep_last++) {
        shardy_cleanup_options_init(&options, sizeof options);
        options.keep_last = keep_last;
        options.include_old_runs = keep_last == 0;
        options.force = 1;
        uint32_t told = lie_about_all(&d, &options, persistent, &rand);
        printf("lies of listings: keep_last %u: %u\n", keep_last, told);
        assert_true(told > 50);
    }
    free_dataset(&d);
}

static void test_cleanup__believes_no_listing_that_is_wrong_once(void **state)
{
    (void)state;
    lie_to_cleanups(0);
}

/* The fate of a run of ours tells as well what its manifest is called. */
static void test_cleanup__removes_no_run_of_ours_whatever_listings_say_again_and_again(void **state)
{
    (void)state;
    lie_to_cleanups(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_cleanup__removes_no_run_of_ours_whatever_listings_say_again_and_again),
        cmocka_unit_test(test_cleanup__believes_no_listing_that_is_wrong_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
