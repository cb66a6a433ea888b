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
    const catalog_options o = {.sync = 1,
        .allow_network_fs = options->allow_network_fs,
        .store = options->store,
        .single_writer = options->unsafe_single_writer,
        .manifests = options->manifest_store,
        .timeout_ms = options->timeout_ms,
        .cancel = options->cancel,
        .bound = CATALOG_IN_TIME};
    SHARDY_TRY(shardy__catalog_open(context, url, &o, out, err));
    int64_t deadline = options->timeout_ms ? shardy__deadline_ns(context, options->timeout_ms) : 0;
    shardy__catalog_limit(out, deadline, options->cancel);
    return SHARDY_OK;
}
