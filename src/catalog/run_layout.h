/* run_layout.h: the names of what writers, ours and the reference's, put into the directories of a
 * run (formats.md, section 1). Whatever has another name is somebody else's, and a cleanup does not
 * touch it unasked. */
#ifndef SHARDY_CATALOG_RUN_LAYOUT_H
#define SHARDY_CATALOG_RUN_LAYOUT_H

#include <shardyfusion/limits.h>

#include <stddef.h>

/* First segment of what is about one run: "run_id=<id>". */
#define RUN_DIR_MARK "run_id="

/* Whether `rest`, what follows "<shard prefix>/run_id=<id>/" in a key, names an object of a shard:
 * "<anything>/attempt=<digits>/<name>". *dir_len_out gets the length up to and without the slash
 * after the attempt, 0 when there is none. */
int shardy__layout_is_shard_object(const char *rest, size_t *dir_len_out);
/* The same for what follows "vector_meta/run_id=<id>/". */
int shardy__layout_is_vector_meta(const char *rest);

/* Whether shards can be below that segment: whatever removes shards must find nothing else
 * there. */
int shardy__layout_can_hold_shards(const char *shard_prefix, const char *run_registry_prefix);

/* Takes the name of a directory of the run registry apart: "<timestamp>_run_id=<id>_<32 hex>". 0
 * when it is none. */
int shardy__layout_record_dir(
    const char *name, size_t len, const char **run_id_out, size_t *run_id_len_out);

#endif
