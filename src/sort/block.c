#include "block.h"

#include <string.h>

size_t shardy__block_find(const block *b, uint32_t db_id)
{
    const sort_entry *entries = shardy__block_entries(b);
    size_t low = 0;
    size_t high = b->entry_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (entries[middle].db_id < db_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

size_t shardy__block_record_len(
    const uint8_t *record, int32_t is_vector, size_t key_offset, uint32_t dim)
{
    if (is_vector) {
        block_vector v;
        memcpy(&v, record, sizeof v);
        return shardy__block_vector_len(dim, v.id_len, v.payload_len);
    }
    sort_row row;
    memcpy(&row, record, sizeof row);
    return shardy__block_row_len(key_offset, row.key_len, row.value_len);
}

void shardy__block_vector_view(const uint8_t *record, uint32_t dim, spool_vector *out)
{
    block_vector v;
    memcpy(&v, record, sizeof v);
    const uint8_t *floats = record + sizeof v;
    const uint8_t *id = floats + (size_t)dim * 4;
    memset(out, 0, sizeof *out);
    out->number = v.number;
    out->vector = (const float *)(const void *)floats;
    out->id = v.id_type == SHARDY_KEY_INT ? shardy_key_int(v.id_int)
                                          : shardy_key_text((const char *)id, v.id_len);
    out->has_payload = v.has_payload;
    out->payload.data = id + v.id_len;
    out->payload.len = v.payload_len;
}
