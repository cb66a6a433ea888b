/* shards_there.h: whether a manifest still has its shards. */
#ifndef SHARDY_CATALOG_SHARDS_THERE_H
#define SHARDY_CATALOG_SHARDS_THERE_H

#include "catalog.h"

/* Looks for every object of the shards, many at once, without reading any. Manifests of writers
 * that record no objects have none to look for but `shard.db`; where a shard has none of these
 * either, anything below its path will do.
 * Statuses: OK; GONE naming the first that is missing; those of the store. */
shardy_status shardy__catalog_find_shards(const catalog *c, const manifest *m, shardy_error *err);

#endif
