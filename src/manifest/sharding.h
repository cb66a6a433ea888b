/* sharding.h: the column `sharding` of a manifest (formats.md 3.4). */
#ifndef SHARDY_MANIFEST_SHARDING_H
#define SHARDY_MANIFEST_SHARDING_H

#include "manifest.h"

/* Reads the text into `m` (strategy, cel_expr, sharding); m->num_dbs is known. CORRUPT with what is
 * wrong; NOMEM. */
shardy_status shardy__sharding_parse(manifest *m, const char *text, shardy_error *err);

#endif
