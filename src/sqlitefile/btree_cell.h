/* btree_cell.h: the common cells of an index page by hand: those with a short key, whose payload
 * length takes one or two bytes and whose record header is of one-byte types up to the one that is
 * wanted. What is not so simple is left to the general parser. */
#ifndef SHARDY_SQLITEFILE_BTREE_CELL_H
#define SHARDY_SQLITEFILE_BTREE_CELL_H

#include "../base/bytes.h"
#include "record.h"

#include <stdint.h>

/* The functions of the hot path are small for their readers and one function for the compiler. */
#define WALK_INLINE inline __attribute__((always_inline))

/* Where in a file's pages payloads are cut, and which class of keys is looked for. */
typedef struct cell_rules {
    uint32_t local_max; /* longest payload that lies wholly on its page */
    uint32_t local_min; /* what stays there at least of a longer one */
    uint32_t is_text;   /* 1 text, 0 blob, 2 neither */
} cell_rules;

/* A key within its page. */
typedef struct cell_key {
    const uint8_t *data;
    uint32_t len;
    uint32_t room; /* bytes of the page from `data` on */
} cell_key;

/* What cells with keys of one length begin with: rows of one kind. A cell of the form that the one
 * before had is recognised by its first four bytes. */
typedef struct cell_form {
    uint32_t mask;
    uint32_t bits;
    uint32_t key_at;
    uint32_t key_len;
} cell_form;

/* No cell is of this form. */
static inline void shardy__cell_form_init(cell_form *form)
{
    *form = (cell_form){0, 1, 0, 0};
}

/* The key of a cell that is of the form; else 0. `p` is from the payload length on, `room` >= 4
 * what the page has from there. */
static WALK_INLINE int shardy__cell_has_form(
    const cell_form *form, const uint8_t *p, uint32_t room, cell_key *key_out)
{
    key_out->data = p + form->key_at;
    key_out->len = form->key_len;
    key_out->room = room - form->key_at;
    return (shardy__get_le32(p) & form->mask) == form->bits && form->key_at + form->key_len <= room;
}

/* The key of any cell with a short one, whose form is learnt; 0: another cell. */
static WALK_INLINE int shardy__cell_find_key(
    const cell_rules *rules, const uint8_t *p, uint32_t room, cell_form *form, cell_key *key_out)
{
    const uint32_t first = shardy__get_le32(p);
    uint32_t bytes = first;
    uint32_t payload = bytes & 0x7F;
    uint32_t n = 1;
    if (bytes & 0x80) {
        payload = payload << 7 | (bytes >> 8 & 0xFF); /* too large when this byte goes on too */
        bytes >>= 8;
        n = 2;
    }
    uint32_t header_len = bytes >> 8 & 0xFF;
    uint32_t type = (bytes >> 16 & 0xFF) - 12; /* huge when below 12 */
    uint32_t len = type >> 1;
    uint32_t at = n + header_len;
    uint32_t local = payload <= rules->local_max ? payload : rules->local_min;
    if ((n == 2 && bytes & 0x80) || header_len >= 0x80 || header_len < 2 || type >= 0x80 - 12 ||
        (type & 1) != rules->is_text || header_len + len > local || at + len > room) {
        return 0;
    }
    key_out->data = p + at;
    key_out->len = len;
    key_out->room = room - at;
    if (header_len + len <= rules->local_min) {
        /* Short enough to be on its page whatever the length of its value. */
        form->mask = n == 2 ? 0xFFFF8080u : 0x00FFFF80u;
        form->bits = first & form->mask;
        form->key_at = at;
        form->key_len = len;
    }
    return 1;
}

/* The 8 bytes of a key from `skip` on as a number, zeros where it ends. */
static WALK_INLINE uint64_t shardy__cell_window(const cell_key *key, size_t skip)
{
    size_t left = key->len > skip ? key->len - skip : 0;
    if (__builtin_expect(skip + 8 <= key->room, 1)) {
        uint64_t window = shardy__get_be64(key->data + skip);
        return left >= 8 ? window : left ? window & ~(UINT64_MAX >> (8 * left)) : 0;
    }
    return left ? shardy__key_window(key->data + skip, left) : 0;
}

/* Field `field`, a text or blob, of the record whose first `local_len` bytes are at `local`: all
 * header bytes before the field's take one byte each, the field's own one or two. The bytes may
 * reach beyond what is local. 0: another record. */
static WALK_INLINE int shardy__cell_find_field(const uint8_t *local, uint32_t local_len,
    uint64_t payload_len, uint32_t field, record_column *column_out)
{
    uint32_t header_len = local_len > 0 ? local[0] : 0;
    if (field > 3 || header_len >= 0x80 || header_len < field + 2 || header_len > local_len) {
        return 0;
    }
    uint64_t offset = header_len;
    for (uint32_t i = 0; i < field; i++) {
        uint32_t serial = local[1 + i];
        if (serial < 12 || serial >= 0x80) {
            return 0;
        }
        offset += (serial - 12) >> 1;
    }
    uint32_t serial = local[1 + field];
    if (serial & 0x80) {
        if (header_len < field + 3 || (local[2 + field] & 0x80)) {
            return 0;
        }
        serial = (serial & 0x7F) << 7 | local[2 + field];
    }
    uint64_t len = (serial - 12) >> 1;
    if (serial < 12 || offset + len > payload_len) {
        return 0;
    }
    column_out->serial = serial;
    column_out->offset = offset;
    column_out->len = len;
    return 1;
}

#endif
