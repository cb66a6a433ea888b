#include "origin.h"

#include "dataset.h"
#include "support.h"

static char *origin;

const char *origin_dir(void)
{
    return origin;
}

int origin_setup(void **state)
{
    (void)state;
    shardy_error err = {0};
    dataset_options options;
    origin = support_make_dir();
    dataset_options_init(&options);
    assert_ok(dataset_build(NULL, origin, OLD, &options, &err));
    assert_ok(dataset_build(NULL, origin, NOW, &options, &err));
    return 0;
}

int origin_teardown(void **state)
{
    (void)state;
    support_remove_dir(origin);
    return 0;
}
