#include "admin_options.h"

#include <string.h>

void shardy_admin_options_init(shardy_admin_options *options, size_t struct_size)
{
    shardy_admin_options defaults;
    memset(&defaults, 0, sizeof defaults);
    defaults.timeout_ms = 30000;
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

shardy_status shardy__admin_open_catalog(shardy_context *context, const char *url,
    const shardy_admin_options *options, catalog *out, shardy_error *err)
{
    catalog_options o = {0, 1, options->allow_network_fs, options->store, options->manifest_store,
        options->timeout_ms, options->cancel};
    return shardy__catalog_open(context, url, &o, out, err);
}
