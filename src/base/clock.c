#include "clock.h"

#include "ascii.h"
#include "context.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* How often a sleeper looks at its token. */
#define CANCEL_LOOK_NS 20000000

int64_t shardy__wall_us(const shardy_context *context)
{
    const shardy_clock *clock = &context->options.clock;
    if (clock->wall_us) {
        return clock->wall_us(clock->user);
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t shardy__monotonic_ns(const shardy_context *context)
{
    const shardy_clock *clock = &context->options.clock;
    if (clock->monotonic_ns) {
        return clock->monotonic_ns(clock->user);
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void shardy__sleep_us(const shardy_context *context, int64_t us)
{
    const shardy_clock *clock = &context->options.clock;
    if (clock->sleep_us) {
        clock->sleep_us(clock->user, us);
        return;
    }
    struct timespec wait = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    while (nanosleep(&wait, &wait) != 0) {
        /* interrupted by a signal: wait for the rest */
    }
}

shardy_status shardy__sleep_until(const shardy_context *context, int64_t until_ns,
    const shardy_cancel *cancel, const char *domain, shardy_error *err)
{
    shardy_status st = shardy__check_time(context, 0, cancel, domain, err);
    int64_t left = until_ns - shardy__monotonic_ns(context);
    while (st >= 0 && left > 0) {
        /* a token has nothing that could wake a sleeper */
        int64_t us = cancel && left > CANCEL_LOOK_NS ? CANCEL_LOOK_NS / 1000 : (left + 999) / 1000;
        shardy__sleep_us(context, us);
        left = until_ns - shardy__monotonic_ns(context);
        st = shardy__check_time(context, 0, cancel, domain, err);
    }
    return st;
}

int64_t shardy__deadline_ns(const shardy_context *context, uint32_t timeout_ms)
{
    return shardy__monotonic_ns(context) + (int64_t)timeout_ms * 1000000;
}

shardy_status shardy__check_time(const shardy_context *context, int64_t deadline_ns,
    const shardy_cancel *cancel, const char *domain, shardy_error *err)
{
    if (cancel && shardy_cancel_requested(cancel)) {
        return shardy__error(err, SHARDY_CANCELLED, domain, "the call was cancelled");
    }
    if (deadline_ns != 0 && shardy__monotonic_ns(context) >= deadline_ns) {
        return shardy__error(err, SHARDY_TIMEOUT, domain, "the deadline passed");
    }
    return SHARDY_OK;
}

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar. */
static int64_t days_from_date(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_from_days(int64_t days, int64_t *year, int *month, int *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t m = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

static void format_time(int64_t wall_us, int always_fraction, char text_out[SHARDY_TIME_TEXT_SIZE])
{
    int64_t seconds = wall_us / 1000000;
    int64_t micros = wall_us % 1000000;
    if (micros < 0) {
        micros += 1000000;
        seconds--;
    }
    int64_t days = seconds / 86400;
    int64_t rest = seconds % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    int64_t year;
    int month;
    int day;
    date_from_days(days, &year, &month, &day);
    if (year < 0 || year > 9999) { /* a clock that is that wrong still gives a well-formed text */
        year = 0;
    }
    int n = snprintf(text_out, SHARDY_TIME_TEXT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d", (int)year,
        month, day, (int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60));
    size_t room = SHARDY_TIME_TEXT_SIZE - (size_t)n;
    if (micros || always_fraction) {
        snprintf(text_out + n, room, ".%06dZ", (int)micros);
    } else {
        snprintf(text_out + n, room, "Z");
    }
}

void shardy__time_format_micros(int64_t wall_us, char text_out[SHARDY_TIME_TEXT_SIZE])
{
    format_time(wall_us, 1, text_out);
}

void shardy__time_format_iso(int64_t wall_us, char text_out[SHARDY_TIME_TEXT_SIZE])
{
    format_time(wall_us, 0, text_out);
}

typedef struct time_text {
    const char *p;
    const char *end;
} time_text;

static int take_digits(time_text *t, int count, int *value_out)
{
    int value = 0;
    if (t->end - t->p < count) {
        return 0;
    }
    for (int i = 0; i < count; i++) {
        char c = *t->p++;
        if (!shardy__is_digit(c)) {
            return 0;
        }
        value = value * 10 + (c - '0');
    }
    *value_out = value;
    return 1;
}

static int take_char(time_text *t, char c)
{
    if (t->p < t->end && *t->p == c) {
        t->p++;
        return 1;
    }
    return 0;
}

/* ".123456" with 1 to 9 digits; what is beyond microseconds is cut. */
static int take_fraction(time_text *t, int64_t *micros_out)
{
    int64_t scale = 100000;
    int digits = 0;
    *micros_out = 0;
    while (t->p < t->end && shardy__is_digit(*t->p)) {
        *micros_out += (*t->p++ - '0') * scale;
        scale /= 10;
        digits++;
    }
    return digits >= 1 && digits <= 9;
}

/* "", "Z", "z", "+HH:MM", "+HHMM": minutes to take off. */
static int take_zone(time_text *t, int *minutes_out)
{
    *minutes_out = 0;
    if (t->p == t->end) {
        return 1;
    }
    if (take_char(t, 'Z') || take_char(t, 'z')) {
        return t->p == t->end;
    }
    int sign = *t->p == '-' ? -1 : 1;
    if (*t->p != '+' && *t->p != '-') {
        return 0;
    }
    t->p++;
    int hours;
    int minutes;
    if (!take_digits(t, 2, &hours)) {
        return 0;
    }
    take_char(t, ':');
    if (!take_digits(t, 2, &minutes) || hours > 23 || minutes > 59) {
        return 0;
    }
    *minutes_out = sign * (hours * 60 + minutes);
    return t->p == t->end;
}

/* The years 1 to 9999, beyond which there is no text for a time. */
static int in_range(int64_t wall_us)
{
    return wall_us >= -62135596800000000 && wall_us <= 253402300799999999;
}

/* Seconds, or milliseconds when the number is too large to be seconds. */
static int parse_number(time_text t, int64_t *wall_us_out)
{
    int negative = take_char(&t, '-');
    int64_t whole = 0;
    int digits = 0;
    while (t.p < t.end && shardy__is_digit(*t.p) && digits < 15) {
        whole = whole * 10 + (*t.p++ - '0');
        digits++;
    }
    int64_t micros = 0;
    if (digits == 0 || (take_char(&t, '.') && !take_fraction(&t, &micros)) || t.p != t.end) {
        return 0;
    }
    int64_t us = whole > 20000000000 ? whole * 1000 + micros / 1000 : whole * 1000000 + micros;
    *wall_us_out = negative ? -us : us;
    return in_range(*wall_us_out);
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* "2026-01-02" as days since 1970. */
static int take_date(time_text *t, int64_t *days_out)
{
    int year;
    int month;
    int day;
    if (!take_digits(t, 4, &year) || !take_char(t, '-') || !take_digits(t, 2, &month) ||
        !take_char(t, '-') || !take_digits(t, 2, &day)) {
        return -1; /* perhaps a number */
    }
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month)) {
        return 0;
    }
    *days_out = days_from_date(year, month, day);
    return 1;
}

/* "T03:04:05.000006" as microseconds of the day; seconds may be missing. */
static int take_time(time_text *t, int64_t *micros_out)
{
    int hour;
    int minute;
    int second = 0;
    int64_t fraction = 0;
    char separator = t->p < t->end ? *t->p++ : '\0';
    if (separator == '\0' || !strchr("Tt_ ", separator) || !take_digits(t, 2, &hour) ||
        !take_char(t, ':') || !take_digits(t, 2, &minute)) {
        return 0;
    }
    if (take_char(t, ':')) {
        if (!take_digits(t, 2, &second)) {
            return 0;
        }
        if ((take_char(t, '.') || take_char(t, ',')) && !take_fraction(t, &fraction)) {
            return 0;
        }
    }
    *micros_out = ((int64_t)hour * 3600 + minute * 60 + second) * 1000000 + fraction;
    return hour <= 23 && minute <= 59 && second <= 59;
}

int shardy__time_parse(const char *text, size_t len, int64_t *wall_us_out)
{
    time_text t = {text, text + len};
    int64_t days;
    int64_t micros = 0;
    int zone = 0;
    int is_date = take_date(&t, &days);
    if (is_date < 0) {
        t.p = text;
        return parse_number(t, wall_us_out);
    }
    if (!is_date || (t.p < t.end && (!take_time(&t, &micros) || !take_zone(&t, &zone)))) {
        return 0;
    }
    *wall_us_out = days * 86400000000 + micros - (int64_t)zone * 60000000;
    return in_range(*wall_us_out);
}
