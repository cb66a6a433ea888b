/* admin_options.h: what the calls of administration have in common. */
#ifndef SHARDY_ADMIN_ADMIN_OPTIONS_H
#define SHARDY_ADMIN_ADMIN_OPTIONS_H

#include "../catalog/catalog.h"

#include <shardyfusion/admin.h>

/* Opens the directory that is administrated, or the store of the options, for a call that ends by
 * its timeout: shardy__catalog_limit() for those that may take longer. Statuses as
 * shardy__catalog_open(). Ownership: shardy__catalog_close(). */
shardy_status shardy__admin_open_catalog(shardy_context *context, const char *url,
    const shardy_admin_options *options, catalog *out, shardy_error *err);

/* INVALID unless the manifest is named in exactly one way. */
shardy_status shardy__admin_check_target(const shardy_rollback_target *t, shardy_error *err);
/* The ref of the manifest that is meant, relative to the root. INVALID when there is none. */
shardy_status shardy__admin_find_target(const catalog *c, const shardy_rollback_target *target,
    char ref_out[SHARDY_OBJECT_KEY_LEN_MAX + 1], shardy_error *err);

#endif
