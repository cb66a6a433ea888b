/* number.h: numbers as text, without the locale: the C library's strtod and printf obey the decimal
 * point that the application has chosen.
 *
 * Texts are those of JSON: an optional '-', digits without superfluous zeros, fraction,
 * exponent. */
#ifndef SHARDY_BASE_NUMBER_H
#define SHARDY_BASE_NUMBER_H

#include <stddef.h>
#include <stdint.h>

/* 1 and the value when the whole text is an integer that fits, else 0. "-0" is the integer 0. */
int shardy__parse_int64(const char *text, size_t len, int64_t *value_out);
int shardy__parse_uint64(const char *text, size_t len, uint64_t *value_out);

/* 1 and the nearest double (ties to even; infinite when too large), else 0. Also takes NaN,
 * Infinity and -Infinity. */
int shardy__parse_double(const char *text, size_t len, double *value_out);

/* The same for text that is known to be a number of JSON, NaN, Infinity or -Infinity: what a reader
 * has checked is not checked again. */
double shardy__number_value(const char *text, size_t len);

/* The nearest float of a double; infinite when too large, where a cast would be undefined. */
float shardy__to_float(double value);

/* Length of the longest number (not NaN, not Infinity) at the start of the text; 0: none. */
size_t shardy__number_span(const char *text, size_t len);

/* Room for any double with its zero. */
#define SHARDY_DOUBLE_TEXT_MAX 32u
/* The shortest text that reads back as the same double, laid out as Python's repr does (0.1, 1e-05,
 * 1e+16, 100000.0), or NaN, Infinity, -Infinity. Zero-terminated; returns the length. */
size_t shardy__format_double(double value, char text_out[SHARDY_DOUBLE_TEXT_MAX]);

#endif
