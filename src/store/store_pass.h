/* store_pass.h: slots of stores that pass calls on as they are. The state of such a store begins
 * with the inner store, a `shardy_store *`. */
#ifndef SHARDY_STORE_STORE_PASS_H
#define SHARDY_STORE_STORE_PASS_H

#include "store.h"

uint64_t shardy__pass_caps(void *store);
shardy_status shardy__pass_head(void *store, shardy_bytes key, const shardy_store_limits *limits,
    shardy_object_meta *meta_out, shardy_error *err);
shardy_status shardy__pass_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *err);
shardy_status shardy__pass_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err);
shardy_status shardy__pass_open_local(
    void *store, shardy_bytes key, shardy_local_file *file_out, shardy_error *err);
shardy_status shardy__pass_scratch(void *store, const char **path_out, shardy_error *err);

#endif
