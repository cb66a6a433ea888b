/* admin_options.h: what the calls of administration have in common. */
#ifndef SHARDY_ADMIN_ADMIN_OPTIONS_H
#define SHARDY_ADMIN_ADMIN_OPTIONS_H

#include "../catalog/catalog.h"

#include <shardyfusion/admin.h>

/* Opens the directory that is administrated, or the store of the options. Statuses as
 * shardy__catalog_open(). Ownership: shardy__catalog_close(). */
shardy_status shardy__admin_open_catalog(shardy_context *context, const char *url,
    const shardy_admin_options *options, catalog *out, shardy_error *err);

#endif
