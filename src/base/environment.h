/* environment.h: the variables of the environment, the only way in which the library reads them.
 * What it takes from there is documented where it is asked for. */
#ifndef SHARDY_BASE_ENVIRONMENT_H
#define SHARDY_BASE_ENVIRONMENT_H

/* The value of a variable, or NULL when it is not set or empty. Borrowed until the program changes
 * its environment, so copy it at once. */
const char *shardy__environment(const char *name);

#endif
