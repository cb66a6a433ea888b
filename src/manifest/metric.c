#include "../base/error.h"

#include <shardyfusion/vector.h>

#include <string.h>

static const char *const metric_names[] = {"unknown", "cosine", "l2", "dot_product"};

const char *shardy_vector_metric_name(int32_t metric)
{
    return metric >= SHARDY_VECTOR_METRIC_COSINE && metric <= SHARDY_VECTOR_METRIC_DOT
               ? metric_names[metric]
               : metric_names[0];
}

shardy_status shardy_vector_metric_parse(const char *name, int32_t *metric_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(name && metric_out);
    *metric_out = 0;
    for (int32_t i = SHARDY_VECTOR_METRIC_COSINE; i <= SHARDY_VECTOR_METRIC_DOT; i++) {
        if (strcmp(name, metric_names[i]) == 0) {
            *metric_out = i;
            return SHARDY_OK;
        }
    }
    return shardy__error(err, SHARDY_INVALID, "vector",
        "unknown metric \"%.64s\", known are cosine, l2 and dot_product", name);
}
