/* origin.h: a data set of two published snapshots that is made once for a program of tests; each
 * trial works on a clone of it. */
#ifndef SHARDY_TESTS_ORIGIN_H
#define SHARDY_TESTS_ORIGIN_H

/* The stamps of its snapshots; NOW is the current one. */
#define OLD "run-old"
#define NOW "run-now"

/* Its directory, between set-up and tear-down. */
const char *origin_dir(void);
/* Set-up and tear-down of a group of cmocka tests. */
int origin_setup(void **state);
int origin_teardown(void **state);

#endif
