#include "environment.h"

#include <stdlib.h>

const char *shardy__environment(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}
