#include "page_shelf.h"

#include "../base/alloc.h"
#include "../base/fs.h"

#include <string.h>

void shardy__page_shelf_init(page_shelf *shelf, uint32_t page_size, const char *dir)
{
    memset(shelf, 0, sizeof *shelf);
    shelf->page_size = page_size;
    shelf->dir = dir;
    shelf->fd = -1;
    shelf->kept_max = dir ? PAGE_SHELF_KEPT_LEN / page_size : UINT32_MAX;
}

void shardy__page_shelf_free(page_shelf *shelf)
{
    for (uint32_t i = 0; i < shelf->kept_room; i++) {
        shardy__free(shelf->kept[i]);
    }
    shardy__free(shelf->kept);
    shardy__free(shelf->loaded);
    shardy__file_close(shelf->fd);
    shelf->kept = NULL;
    shelf->kept_room = 0;
    shelf->loaded = NULL;
    shelf->fd = -1;
}

static shardy_status keep(page_shelf *shelf, uint32_t place, const uint8_t *page, shardy_error *err)
{
    if (place >= shelf->kept_room) {
        uint32_t room = place < 16 ? 16 : place * 2;
        uint8_t **kept = shardy__realloc(shelf->kept, room * sizeof *kept);
        if (!kept) {
            return shardy__error_nomem(err, "sqlite");
        }
        memset(kept + shelf->kept_room, 0, (room - shelf->kept_room) * sizeof *kept);
        shelf->kept = kept;
        shelf->kept_room = room;
    }
    if (shelf->kept[place] == page) {
        return SHARDY_OK;
    }
    if (!shelf->kept[place]) {
        shelf->kept[place] = shardy__malloc(shelf->page_size);
    }
    if (!shelf->kept[place]) {
        return shardy__error_nomem(err, "sqlite");
    }
    memcpy(shelf->kept[place], page, shelf->page_size);
    return SHARDY_OK;
}

static uint64_t offset_of(const page_shelf *shelf, uint32_t place)
{
    return (uint64_t)(place - shelf->kept_max) * shelf->page_size;
}

shardy_status shardy__page_shelf_put(
    page_shelf *shelf, uint32_t place, const uint8_t *page, shardy_error *err)
{
    if (place < shelf->kept_max) {
        return keep(shelf, place, page, err);
    }
    shardy_status st = SHARDY_OK;
    if (shelf->fd < 0) {
        st = shardy__file_open_unnamed(shelf->dir, &shelf->fd, err);
    }
    if (st >= 0) {
        st = shardy__file_write_at(shelf->fd, offset_of(shelf, place), page, shelf->page_size, err);
    }
    return st < 0 ? shardy__error_prefix(err, st, "scratch \"%.300s\"", shelf->dir) : st;
}

shardy_status shardy__page_shelf_get(
    page_shelf *shelf, uint32_t place, uint8_t **page_out, shardy_error *err)
{
    if (place < shelf->kept_max) {
        *page_out = shelf->kept[place];
        return SHARDY_OK;
    }
    if (!shelf->loaded) {
        shelf->loaded = shardy__malloc(shelf->page_size);
        if (!shelf->loaded) {
            return shardy__error_nomem(err, "sqlite");
        }
    }
    *page_out = shelf->loaded;
    return shardy__file_read_at(
        shelf->fd, offset_of(shelf, place), shelf->loaded, shelf->page_size, err);
}
