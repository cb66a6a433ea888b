#include "vec_rows.h"

#include "../base/alloc.h"

#include <string.h>

/* So much of a remote shard is on its way or waits to be compared: requests of 1 MiB that take
 * 30 ms bring half a gigabyte a second then. The cache keeps what it has room for. */
#define AHEAD_BYTES (16u << 20)

/* A cut of vectors in memory: bytes of a payload that lie together. */
typedef struct piece {
    const uint8_t *data;
    size_t len;
} piece;

/* Parts that a split vector may have, see kernels.h. */
static size_t parts_of_row_max(uint32_t dim)
{
    return dim / 64 + 2;
}

/* --- memory ----------------------------------------------------------------------------------- */

static int allocate(vec_rows *r)
{
    size_t pages = VEC_WINDOW_BYTES / r->per_page + 3;
    r->pages_max = pages;
    /* Each page boundary cuts one vector at most, into a part before it, a float and a part behind
     * it. */
    r->parts_max = 3 * pages + parts_of_row_max(r->tables->dim) + 3;
    r->floats_max = VEC_WINDOW_BYTES / sizeof(float) + r->tables->dim + pages;
    r->numbers = shardy__calloc(VEC_WINDOW_ROWS, sizeof *r->numbers);
    r->at = shardy__calloc(VEC_WINDOW_ROWS, sizeof *r->at);
    r->part_lists = shardy__calloc(VEC_WINDOW_ROWS, sizeof *r->part_lists);
    r->offsets = shardy__calloc(VEC_WINDOW_ROWS, sizeof *r->offsets);
    r->places = shardy__calloc(VEC_WINDOW_ROWS, sizeof *r->places);
    r->parts = shardy__calloc(r->parts_max, sizeof *r->parts);
    r->pages = shardy__calloc(pages, sizeof *r->pages);
    r->wants = shardy__calloc(pages, sizeof *r->wants);
    r->want_list = shardy__calloc(pages, sizeof *r->want_list);
    return r->numbers && r->at && r->part_lists && r->offsets && r->places && r->parts &&
           r->pages && r->wants && r->want_list;
}

shardy_status shardy__vec_rows_init(vec_rows *r, const vec_tables *t, shardy_error *err)
{
    memset(r, 0, sizeof *r);
    r->tables = t;
    r->row_len = t->dim * (uint32_t)sizeof(float);
    r->per_page = t->file.btree->usable - 4;
    r->ahead_max = AHEAD_BYTES;
    shardy__vec_view_init(&r->view, t);
    if (!allocate(r)) {
        return shardy__error_nomem(err, "engine");
    }
    r->window.at = r->at;
    r->window.parts = r->part_lists;
    r->window.dim = t->dim;
    return SHARDY_OK;
}

static void give_back(vec_rows *r)
{
    for (size_t i = 0; i < r->page_count; i++) {
        shardy__page_unpin(r->tables->file.source, &r->pages[i]);
    }
    r->page_count = 0;
    r->window.count = 0;
    r->part_count = 0;
    r->float_count = 0;
}

void shardy__vec_rows_free(vec_rows *r)
{
    if (r->pages) {
        give_back(r);
    }
    shardy__vec_view_free(&r->view);
    shardy__free(r->numbers);
    shardy__free((void *)r->at);
    shardy__free((void *)r->part_lists);
    shardy__free(r->offsets);
    shardy__free(r->places);
    shardy__free(r->parts);
    shardy__free(r->pages);
    shardy__free(r->wants);
    shardy__free((void *)r->want_list);
    shardy__free(r->floats);
    memset(r, 0, sizeof *r);
}

void shardy__vec_rows_restart(vec_rows *r)
{
    give_back(r);
    r->chunk = 0;
    r->asked = 0;
    r->slot = 0;
    r->view.slots = 0;
}

/* --- the slots of a window -------------------------------------------------------------------- */

/* Takes valid slots as long as they are near each other. */
static void take_slots(vec_rows *r)
{
    const vec_view *v = &r->view;
    uint64_t first = 0;
    for (; r->slot < v->slots && r->window.count < VEC_WINDOW_ROWS; r->slot++) {
        if (!shardy__vec_view_valid(v, r->slot)) {
            continue;
        }
        uint64_t offset = v->blob_offset + (uint64_t)r->slot * r->row_len;
        size_t n = r->window.count;
        if (n == 0) {
            first = offset;
        } else if (offset + r->row_len - first > VEC_WINDOW_BYTES) {
            break;
        }
        r->offsets[n] = offset;
        r->numbers[n] = (uint64_t)shardy__vec_view_rowid(v, r->slot);
        r->window.count++;
    }
}

/* --- the pages of a window -------------------------------------------------------------------- */

/* Takes the fetched pages over, also those that came before a failure. */
static void take_fetched(vec_rows *r, const uint32_t *places, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (r->wants[i].ref.data) {
            r->pages[places[i]] = r->wants[i].ref;
        }
    }
}

/* Fetches the pages that were not at hand: `wants[i]` is for `pages[places[i]]`. */
static shardy_status fetch_pages(
    vec_rows *r, const uint32_t *places, size_t count, shardy_error *err)
{
    shardy_status st = shardy__page_fetch(
        r->tables->file.source, r->want_list, count, r->tables->vectors.limits, err);
    take_fetched(r, places, count);
    return st;
}

/* At most so many pages are asked for at once. */
#define FETCH_MAX 64u

typedef struct fetch_list {
    uint32_t places[FETCH_MAX];
    size_t count;
} fetch_list;

static shardy_status get_page(vec_rows *r, uint32_t place, fetch_list *list, shardy_error *err)
{
    if (r->pages[place].data) {
        return SHARDY_OK;
    }
    uint32_t page = r->view.pages[r->first_page + place];
    shardy_status st = shardy__page_get(r->tables->file.source, page, &r->pages[place], err);
    if (st != SHARDY_PENDING) {
        return st;
    }
    /* The vector before this one may have asked for it. */
    if (list->count > 0 && list->places[list->count - 1] == place) {
        return SHARDY_OK;
    }
    page_want *want = &r->wants[list->count];
    want->page = page;
    want->ahead = 0;
    want->ref.data = NULL;
    want->ref.pin = NULL;
    r->want_list[list->count] = want;
    list->places[list->count++] = place;
    if (list->count == FETCH_MAX) {
        list->count = 0;
        return fetch_pages(r, list->places, FETCH_MAX, err);
    }
    return SHARDY_OK;
}

/* The overflow page of a byte of the payload, or the first one for a local byte. */
static uint32_t first_page_of(const vec_rows *r, uint64_t offset)
{
    const uint64_t local = r->view.walk.cell.local_len;
    return offset < local ? 0 : (uint32_t)((offset - local) / r->per_page);
}

/* Gets the pages of all vectors of the window, and notes where each vector begins. Vectors ascend,
 * so this goes along the pages without a division. */
static shardy_status get_pages(vec_rows *r, shardy_error *err)
{
    fetch_list list = {{0}, 0};
    const size_t rows = r->window.count;
    const uint64_t local = r->view.walk.cell.local_len;
    const uint64_t last = r->offsets[rows - 1] + r->row_len - 1;
    r->first_page = first_page_of(r, r->offsets[0]);
    if (last >= local) {
        r->page_count = first_page_of(r, last) - r->first_page + 1;
        memset(r->pages, 0, r->page_count * sizeof *r->pages);
    }
    uint32_t place = 0;
    uint64_t end = local + ((uint64_t)r->first_page + 1) * r->per_page; /* of page `place` */
    for (size_t i = 0; i < rows; i++) {
        const uint64_t from = r->offsets[i];
        const uint64_t to = from + r->row_len;
        for (; end <= from; end += r->per_page) {
            place++;
        }
        r->places[i] = from < local ? VEC_PLACE_LOCAL : place;
        if (to <= local) {
            continue;
        }
        SHARDY_TRY(get_page(r, place, &list, err));
        for (; end < to; end += r->per_page) {
            SHARDY_TRY(get_page(r, ++place, &list, err));
        }
    }
    return list.count ? fetch_pages(r, list.places, list.count, err) : SHARDY_OK;
}

/* --- addresses -------------------------------------------------------------------------------- */

/* The bytes where vector i begins that lie together, at most its length. */
static piece first_piece(const vec_rows *r, size_t i)
{
    const btree_cell *cell = &r->view.walk.cell;
    const uint64_t offset = r->offsets[i];
    const uint32_t place = r->places[i];
    piece p;
    if (place == VEC_PLACE_LOCAL) {
        p.data = cell->local + offset;
        p.len = cell->local_len - (size_t)offset;
    } else {
        uint64_t page = (uint64_t)r->first_page + place;
        size_t skip = (size_t)(offset - cell->local_len - page * r->per_page);
        p.data = r->pages[place].data + 4 + skip;
        p.len = r->per_page - skip;
    }
    p.len = p.len < r->row_len ? p.len : r->row_len;
    return p;
}

/* The piece that follows one that ended on page `place` (or on the page of the row). */
static piece next_piece(const vec_rows *r, uint32_t *place, size_t len)
{
    *place = *place == VEC_PLACE_LOCAL ? 0 : *place + 1;
    piece p = {r->pages[*place].data + 4, r->per_page < len ? r->per_page : len};
    return p;
}

static void add_part(vec_rows *r, const void *at, size_t floats)
{
    simd_part *part = &r->parts[r->part_count++];
    part->at = at;
    part->count = floats;
}

/* Takes the bytes of a float that began on the page before; returns how many there are then. */
static size_t complete_float(vec_rows *r, size_t carry, piece *p)
{
    uint8_t *bytes = (uint8_t *)&r->floats[r->float_count];
    size_t n = sizeof(float) - carry < p->len ? sizeof(float) - carry : p->len;
    memcpy(bytes + carry, p->data, n);
    p->data += n;
    p->len -= n;
    if (carry + n < sizeof(float)) {
        return carry + n;
    }
    add_part(r, &r->floats[r->float_count++], 1);
    return 0;
}

/* The parts of a vector that does not lie in one piece, which begins with p; returns how many. */
static size_t split_row(vec_rows *r, size_t i, piece p)
{
    const size_t first = r->part_count;
    uint32_t place = r->places[i];
    size_t left = r->row_len - p.len;
    size_t carry = 0; /* bytes there are of a float */
    for (;;) {
        if (carry > 0) {
            carry = complete_float(r, carry, &p);
        }
        if (carry == 0) {
            if (p.len >= sizeof(float)) {
                add_part(r, p.data, p.len / sizeof(float));
            }
            carry = p.len % sizeof(float);
            if (carry > 0) {
                memcpy(&r->floats[r->float_count], p.data + (p.len - carry), carry);
            }
        }
        if (left == 0) {
            return r->part_count - first;
        }
        p = next_piece(r, &place, left);
        left -= p.len;
    }
}

static void join(const simd_part *part, uint32_t dim, float *out)
{
    for (size_t done = 0; done < dim; done += part++->count) {
        memcpy(out + done, part->at, part->count * sizeof *out);
    }
}

static void address_row(vec_rows *r, size_t i)
{
    piece p = first_piece(r, i);
    r->part_lists[i] = NULL;
    r->at[i] = p.data;
    if (p.len == r->row_len) {
        return;
    }
    const uint32_t dim = r->tables->dim;
    const simd_part *parts = &r->parts[r->part_count];
    size_t count = split_row(r, i, p);
    if (count <= parts_of_row_max(dim) && count > 1) {
        r->at[i] = parts[0].at;
        r->part_lists[i] = parts;
        return;
    }
    float *copy = &r->floats[r->float_count];
    join(parts, dim, copy);
    r->float_count += dim;
    r->at[i] = copy;
}

/* Room for split floats and copies, when a row of the window is split. */
static shardy_status need_floats(vec_rows *r, shardy_error *err)
{
    if (!r->floats && r->page_count > 0) {
        r->floats = shardy__malloc(r->floats_max * sizeof *r->floats);
        if (!r->floats) {
            return shardy__error_nomem(err, "engine");
        }
    }
    return SHARDY_OK;
}

/* Asks for the chunks that come next, this one included, so that their pages are on the way while
 * vectors are compared. */
static void ask_ahead(vec_rows *r)
{
    const vec_tables *t = r->tables;
    page_source *source = t->file.source;
    if (!shardy__page_source_starts(source)) {
        return;
    }
    uint32_t pages[PAGE_START_MAX];
    uint32_t ahead[PAGE_START_MAX];
    size_t count = 0;
    uint64_t most = r->ahead_max / t->file.btree->page_size;
    uint64_t on_way = 0;
    uint32_t i = r->chunk;
    for (; i < t->count && on_way < most && count + 2 <= PAGE_START_MAX; i++) {
        const vec_chunk *chunk = &t->list[i];
        on_way += chunk->vectors_pages + chunk->rowids_pages;
        if (i < r->asked) {
            continue;
        }
        if (chunk->rowids_pages > 0) {
            pages[count] = chunk->rowids_overflow;
            ahead[count++] = chunk->rowids_pages - 1;
        }
        if (chunk->vectors_pages > 0) {
            pages[count] = chunk->vectors_overflow;
            ahead[count++] = chunk->vectors_pages - 1;
        }
    }
    r->asked = i > r->asked ? i : r->asked;
    shardy__page_start(source, pages, ahead, count, t->vectors.limits);
}

shardy_status shardy__vec_rows_next(vec_rows *r, shardy_error *err)
{
    give_back(r);
    for (;;) {
        take_slots(r);
        if (r->window.count > 0) {
            break;
        }
        if (r->chunk == r->tables->count) {
            return SHARDY_DONE;
        }
        r->slot = 0;
        ask_ahead(r);
        SHARDY_TRY(shardy__vec_view_load(&r->view, r->chunk++, err));
    }
    SHARDY_TRY(get_pages(r, err));
    SHARDY_TRY(need_floats(r, err));
    for (size_t i = 0; i < r->window.count; i++) {
        address_row(r, i);
    }
    return SHARDY_OK;
}

const void *shardy__vec_rows_whole(const vec_rows *r, size_t i, float *room)
{
    if (!r->part_lists[i]) {
        return r->at[i];
    }
    join(r->part_lists[i], r->tables->dim, room);
    return room;
}
