#include "run_layout.h"

#include "../base/ascii.h"
#include "manifest_store.h"

#include <string.h>

#define HEX_LEN 32u

/* Names that end in '/' are those of directories. */
static const char *const shard_names[] = {
    "shard.db",
    "shard.db.sums",
    "shard.mem",
    "shard.mem.sums",
    "shard.sidecar",
    "shard.sidecar.sums",
    "vector_index.lance/",
    "vector/vector_index.lance/",
    "manifest/",
    "wal/",
    "compacted/",
    "compactions/",
    "gc/",
};

static int is_attempt(const char *segment, size_t len)
{
    static const char mark[] = "attempt=";
    size_t mark_len = sizeof mark - 1;
    if (len <= mark_len || memcmp(segment, mark, mark_len) != 0) {
        return 0;
    }
    for (size_t i = mark_len; i < len; i++) {
        if (!shardy__is_digit(segment[i])) {
            return 0;
        }
    }
    return 1;
}

static int is_shard_name(const char *name)
{
    for (size_t i = 0; i < sizeof shard_names / sizeof shard_names[0]; i++) {
        size_t len = strlen(shard_names[i]);
        if (shard_names[i][len - 1] == '/' ? strncmp(name, shard_names[i], len) == 0
                                           : strcmp(name, shard_names[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

int shardy__layout_is_shard_object(const char *rest, size_t *dir_len_out)
{
    *dir_len_out = 0;
    const char *segment = rest;
    for (const char *slash = strchr(rest, '/'); slash; slash = strchr(segment, '/')) {
        /* a shard has a directory of its own, in which the attempts are */
        if (segment != rest && is_attempt(segment, (size_t)(slash - segment))) {
            *dir_len_out = (size_t)(slash - rest);
            return is_shard_name(slash + 1);
        }
        segment = slash + 1;
    }
    return 0;
}

int shardy__layout_is_vector_meta(const char *rest)
{
    return strcmp(rest, "centroids.npy") == 0 || strcmp(rest, "hyperplanes.npy") == 0;
}

int shardy__layout_can_hold_shards(const char *shard_prefix, const char *run_registry_prefix)
{
    const char *const taken[] = {"manifests", "vector_meta", "runs", run_registry_prefix};
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        if (strcmp(shard_prefix, taken[i]) == 0) {
            return 0;
        }
    }
    return 1;
}

int shardy__layout_record_dir(
    const char *name, size_t len, const char **run_id_out, size_t *run_id_len_out)
{
    int64_t us;
    if (!shardy__manifest_dir_parse(name, len, run_id_out, run_id_len_out, &us) ||
        *run_id_len_out <= HEX_LEN + 1) {
        return 0;
    }
    const char *hex = *run_id_out + *run_id_len_out - HEX_LEN;
    for (size_t i = 0; i < HEX_LEN; i++) {
        if (!(shardy__is_digit(hex[i]) || (hex[i] >= 'a' && hex[i] <= 'f'))) {
            return 0;
        }
    }
    *run_id_len_out -= HEX_LEN + 1;
    return hex[-1] == '_';
}
