/* clock.h: time from the context, and the two spellings of timestamps that the formats use. */
#ifndef SHARDY_BASE_CLOCK_H
#define SHARDY_BASE_CLOCK_H

#include "error.h"

#include <shardyfusion/context.h>

#define SHARDY_TIME_TEXT_SIZE 32

int64_t shardy__wall_us(const shardy_context *context);
int64_t shardy__monotonic_ns(const shardy_context *context);
void shardy__sleep_us(const shardy_context *context, int64_t us);

/* Sleeps until that time of the monotonic clock. CANCELLED soon after the token (may be NULL) says
 * so. */
shardy_status shardy__sleep_until(const shardy_context *context, int64_t until_ns,
    const shardy_cancel *cancel, const char *domain, shardy_error *err);

/* A deadline on the monotonic clock, `timeout_ms` from now. */
int64_t shardy__deadline_ns(const shardy_context *context, uint32_t timeout_ms);
/* OK, TIMEOUT when the deadline (0: none) has passed, CANCELLED when the token (may be NULL) says
 * so. */
shardy_status shardy__check_time(const shardy_context *context, int64_t deadline_ns,
    const shardy_cancel *cancel, const char *domain, shardy_error *err);

/* "2026-01-02T03:04:05.000006Z": always six digits (directory names, run records). */
void shardy__time_format_micros(int64_t wall_us, char text_out[SHARDY_TIME_TEXT_SIZE]);
/* The same without the fraction when it is 0 (pydantic's form). */
void shardy__time_format_iso(int64_t wall_us, char text_out[SHARDY_TIME_TEXT_SIZE]);
/* Reads what pydantic accepts for a datetime (formats.md, section 2): ISO 8601 with 'T', 't', '_'
 * or a space, zone or none (taken as UTC), date only, or a number of seconds (milliseconds above
 * 2e10). False when it is not one, or outside of the years 1 to 9999. */
int shardy__time_parse(const char *text, size_t len, int64_t *wall_us_out);

#endif
