/* template.h: where a snapshot keeps its shards (`db_path_template` of a manifest). */
#ifndef SHARDY_MANIFEST_TEMPLATE_H
#define SHARDY_MANIFEST_TEMPLATE_H

#include "../base/error.h"

#include <stddef.h>
#include <stdint.h>

/* The directory of a shard by the template: "{db_id}" or "{db_id:0Nd}" exactly once. INVALID for
 * any other template. */
shardy_status shardy__template_check(const char *template_text, shardy_error *err);
void shardy__template_format(const char *template_text, uint32_t db_id, char *out, size_t size);

#endif
