#include "store_pass.h"

static shardy_store *inner_of(void *store)
{
    return *(shardy_store **)store;
}

uint64_t shardy__pass_caps(void *store)
{
    return shardy_store_caps(inner_of(store));
}

shardy_status shardy__pass_head(void *store, shardy_bytes key, const shardy_store_limits *limits,
    shardy_object_meta *meta_out, shardy_error *err)
{
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    return shardy_store_head_within(
        inner_of(store), shardy__store_key_text(key, text), limits, meta_out, err);
}

shardy_status shardy__pass_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *err)
{
    return shardy_store_list_within(inner_of(store), what, page_out, err);
}

shardy_status shardy__pass_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err)
{
    return shardy_store_remove_within(inner_of(store), keys, n, limits, results_out, err);
}

shardy_status shardy__pass_open_local(
    void *store, shardy_bytes key, shardy_local_file *file_out, shardy_error *err)
{
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    return shardy_store_open_local(
        inner_of(store), shardy__store_key_text(key, text), file_out, err);
}

shardy_status shardy__pass_scratch(void *store, const char **path_out, shardy_error *err)
{
    return shardy_store_scratch(inner_of(store), path_out, err);
}
