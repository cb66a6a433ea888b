/* engine_name.h: which engine wrote a snapshot (formats.md 1.4). */
#ifndef SHARDY_READ_ENGINE_NAME_H
#define SHARDY_READ_ENGINE_NAME_H

#include "../manifest/manifest.h"

#include <shardyfusion/sys/store.h>

/* The name is in the manifest, or follows from it and from what the first shard consists of. It is
 * borrowed from the manifest, or static; whether there is such an engine is not checked. Statuses:
 * OK; CORRUPT (a backend that does not exist); those of the store. */
shardy_status shardy__engine_name(
    shardy_store *store, const manifest *m, const char **name_out, shardy_error *err);

#endif
