#include "number.h"

#include "ascii.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* For products and quotients of two 64-bit numbers. */
__extension__ typedef unsigned __int128 uint128;

/* 19 decimal digits always fit into 64 bits. */
#define DIGITS_MAX 19

/* The largest power of five below 2^64 is 5^27. */
#define FIVES_MAX 27
static const uint64_t fives[FIVES_MAX + 1] = {1u, 5u, 25u, 125u, 625u, 3125u, 15625u, 78125u,
    390625u, 1953125u, 9765625u, 48828125u, 244140625u, 1220703125u, 6103515625u, 30517578125u,
    152587890625u, 762939453125u, 3814697265625u, 19073486328125u, 95367431640625u,
    476837158203125u, 2384185791015625u, 11920928955078125u, 59604644775390625u,
    298023223876953125u, 1490116119384765625u, 7450580596923828125u};

/* --- integers --------------------------------------------------------------------------------- */

static int parse_magnitude(const char *p, const char *end, uint64_t *value_out)
{
    if (p == end || (*p == '0' && end - p > 1)) {
        return 0;
    }
    uint64_t value = 0;
    for (; p < end; p++) {
        if (!shardy__is_digit(*p) || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value)) {
            return 0;
        }
    }
    *value_out = value;
    return 1;
}

int shardy__parse_uint64(const char *text, size_t len, uint64_t *value_out)
{
    *value_out = 0;
    if (len == 2 && memcmp(text, "-0", 2) == 0) {
        return 1;
    }
    return parse_magnitude(text, text + len, value_out);
}

int shardy__parse_int64(const char *text, size_t len, int64_t *value_out)
{
    *value_out = 0;
    bool negative = len > 0 && text[0] == '-';
    uint64_t value;
    if (!parse_magnitude(text + negative, text + len, &value) ||
        value > (uint64_t)INT64_MAX + negative) {
        return 0;
    }
    *value_out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return 1;
}

size_t shardy__number_span(const char *text, size_t len)
{
    const char *p = text;
    const char *end = text + len;
    p += p < end && *p == '-';
    if (p == end || !shardy__is_digit(*p)) {
        return 0;
    }
    if (*p++ != '0') {
        while (p < end && shardy__is_digit(*p)) {
            p++;
        }
    }
    if (end - p >= 2 && p[0] == '.' && shardy__is_digit(p[1])) {
        p += 2;
        while (p < end && shardy__is_digit(*p)) {
            p++;
        }
    }
    if (end - p >= 2 && (p[0] | 0x20) == 'e') {
        const char *q = p + 1;
        q += *q == '+' || *q == '-';
        while (q < end && shardy__is_digit(*q)) {
            q++;
            p = q;
        }
    }
    return (size_t)(p - text);
}

/* --- rounding --------------------------------------------------------------------------------- */

/* The double nearest to m * 2^exponent, where the top bit of m is set and `sticky` says that the
 * exact value is a little (less than the last bit of m) larger. Ties go to the even one. */
static double round_to_double(uint64_t m, bool sticky, int32_t exponent)
{
    int32_t top = exponent + 63; /* the value is in [2^top, 2^(top + 1)) */
    if (top > DBL_MAX_EXP - 1) {
        return HUGE_VAL;
    }
    bool subnormal = top < DBL_MIN_EXP - 1;
    int32_t drop = 64 - DBL_MANT_DIG + (subnormal ? DBL_MIN_EXP - 1 - top : 0);
    if (drop > 64) {
        return 0.0;
    }
    uint64_t kept = drop == 64 ? 0 : m >> drop;
    uint64_t rest = drop == 64 ? m : m << (64 - drop);
    const uint64_t half = (uint64_t)1 << 63;
    if (rest > half || (rest == half && (sticky || (kept & 1)))) {
        kept++;
    }
    /* A carry out of the mantissa goes into the exponent, where it belongs. */
    uint64_t bits = kept;
    if (!subnormal) {
        bits += (uint64_t)(top + DBL_MAX_EXP - 2) << (DBL_MANT_DIG - 1);
    }
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* digits * 10^exponent for |exponent| <= FIVES_MAX, exactly rounded: a product of 128 bits, or a
 * quotient of at least 62 bits whose remainder is known. */
static double convert_near(uint64_t digits, int32_t exponent)
{
    if (exponent >= 0) {
        uint128 product = (uint128)digits * fives[exponent];
        uint64_t high = (uint64_t)(product >> 64);
        if (high == 0) {
            int32_t shift = __builtin_clzll((uint64_t)product);
            return round_to_double((uint64_t)product << shift, false, exponent - shift);
        }
        int32_t shift = __builtin_clzll(high);
        product <<= shift;
        return round_to_double(
            (uint64_t)(product >> 64), (uint64_t)product != 0, exponent + 64 - shift);
    }
    int32_t digits_shift = __builtin_clzll(digits);
    int32_t fives_shift = __builtin_clzll(fives[-exponent]);
    uint64_t divisor = fives[-exponent] << fives_shift;
    uint128 dividend = (uint128)(digits << digits_shift) << 63;
    uint64_t quotient = (uint64_t)(dividend / divisor);
    bool sticky = (uint128)quotient * divisor != dividend;
    int32_t shift = __builtin_clzll(quotient);
    return round_to_double(
        quotient << shift, sticky, exponent + fives_shift - digits_shift - 63 - shift);
}

/* --- large numbers ---------------------------------------------------------------------------- */

/* The exact values of doubles and of the points between them have at most 767 significant digits;
 * more digits only tell whether a number is above such a point. */
#define BIG_DIGITS 800
/* 10^800 has 2,658 bits, 5^1144 (the smallest double with 800 digits) 2,657; and room to shift. */
#define BIG_LIMBS 96

typedef struct big {
    uint32_t limbs[BIG_LIMBS]; /* least significant first */
    size_t count;              /* of limbs in use; the last one is not 0 */
} big;

static void big_multiply_add(big *b, uint32_t factor, uint32_t addend)
{
    uint64_t carry = addend;
    for (size_t i = 0; i < b->count; i++) {
        carry += (uint64_t)b->limbs[i] * factor;
        b->limbs[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry != 0 && b->count < BIG_LIMBS) {
        b->limbs[b->count++] = (uint32_t)carry;
    }
}

static void big_multiply_fives(big *b, int32_t power)
{
    for (; power >= 13; power -= 13) {
        big_multiply_add(b, (uint32_t)fives[13], 0);
    }
    big_multiply_add(b, (uint32_t)fives[power], 0);
}

static int32_t big_bits(const big *b)
{
    return (int32_t)b->count * 32 - __builtin_clz(b->limbs[b->count - 1]);
}

static void big_shift_left(big *b, int32_t bits)
{
    size_t whole = (size_t)bits / 32;
    unsigned part = (unsigned)bits % 32;
    if (b->count + whole + 1 > BIG_LIMBS) {
        return; /* cannot be: see BIG_LIMBS */
    }
    b->limbs[b->count] = 0;
    for (size_t i = b->count + 1; i-- > 0;) {
        uint64_t pair = (uint64_t)b->limbs[i] << 32 | (i > 0 ? b->limbs[i - 1] : 0);
        b->limbs[i + whole] = (uint32_t)(pair << part >> 32);
    }
    memset(b->limbs, 0, whole * sizeof b->limbs[0]);
    b->count += whole + 1;
    b->count -= b->limbs[b->count - 1] == 0;
}

static bool big_at_least(const big *a, const big *b)
{
    if (a->count != b->count) {
        return a->count > b->count;
    }
    for (size_t i = a->count; i-- > 0;) {
        if (a->limbs[i] != b->limbs[i]) {
            return a->limbs[i] > b->limbs[i];
        }
    }
    return true;
}

static void big_subtract(big *a, const big *b)
{
    uint64_t borrow = 0;
    for (size_t i = 0; i < a->count; i++) {
        uint64_t difference = (uint64_t)a->limbs[i] - (i < b->count ? b->limbs[i] : 0) - borrow;
        a->limbs[i] = (uint32_t)difference;
        borrow = difference >> 63;
    }
    while (a->count > 0 && a->limbs[a->count - 1] == 0) {
        a->count--;
    }
}

/* digits * 10^exponent by long division, bit by bit. The value is not 0 and its power of ten is
 * within the range of doubles, which bounds the sizes. */
static double convert_big(big *digits, int32_t exponent)
{
    big divisor = {{1}, 1};
    big_multiply_fives(exponent < 0 ? &divisor : digits, exponent < 0 ? -exponent : exponent);
    int32_t shift = big_bits(digits) - big_bits(&divisor);
    big_shift_left(shift < 0 ? digits : &divisor, shift < 0 ? -shift : shift);
    /* Now both have as many bits: the quotient is in (1/2, 2). */
    uint64_t quotient = 0;
    int32_t weight = exponent + shift + 1; /* of the next bit, plus 1 */
    while (quotient >> 63 == 0) {
        weight--;
        quotient <<= 1;
        if (big_at_least(digits, &divisor)) {
            quotient |= 1;
            big_subtract(digits, &divisor);
        }
        if (digits->count > 0) {
            big_shift_left(digits, 1);
        }
    }
    return round_to_double(quotient, digits->count > 0, weight);
}

/* digits * 10^exponent for up to 19 digits. */
static double convert(uint64_t digits, int32_t exponent)
{
    static const double tens[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
        1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (digits == 0) {
        return 0.0;
    }
    /* Clinger's fast path: both operands are exact, so that the one operation rounds correctly. */
    if (digits <= (uint64_t)1 << DBL_MANT_DIG && exponent >= -22 && exponent <= 22) {
        double value = (double)digits;
        return exponent < 0 ? value / tens[-exponent] : value * tens[exponent];
    }
    if (exponent >= -FIVES_MAX && exponent <= FIVES_MAX) {
        return convert_near(digits, exponent);
    }
    if (exponent > DBL_MAX_10_EXP) {
        return HUGE_VAL;
    }
    if (exponent < DBL_MIN_10_EXP - DBL_DIG - 2 - DIGITS_MAX) {
        return 0.0;
    }
    big b = {{(uint32_t)digits, (uint32_t)(digits >> 32)}, 2};
    b.count -= b.limbs[1] == 0;
    return convert_big(&b, exponent);
}

/* --- text to double --------------------------------------------------------------------------- */

/* A number whose text was found to be well-formed. */
typedef struct decimal {
    const char *digits; /* the first significant digit; a point may be among the digits */
    size_t count;       /* significant digits, zeros at the end included */
    uint64_t value;     /* of them, when there are at most DIGITS_MAX */
    int64_t exponent;   /* of ten, for all digits as an integer */
    bool negative;
} decimal;

/* More digits than DIGITS_MAX, the first one not 0: about as slow as it is rare. */
static double convert_long(const decimal *d)
{
    int64_t magnitude = d->exponent + (int64_t)d->count; /* value < 10^magnitude */
    if (magnitude > DBL_MAX_10_EXP + 1) {
        return HUGE_VAL;
    }
    if (magnitude < DBL_MIN_10_EXP - DBL_DIG - 2) {
        return 0.0;
    }
    big b = {{0}, 0};
    size_t used = 0;
    bool more = false;
    size_t seen = 0;
    for (const char *p = d->digits; seen < d->count; p++) {
        if (*p == '.') {
            continue;
        }
        seen++;
        if (used < BIG_DIGITS) {
            big_multiply_add(&b, 10, (uint32_t)(*p - '0'));
            used++;
        } else if (*p != '0') {
            more = true;
            break;
        }
    }
    int64_t exponent = d->exponent + (int64_t)(d->count - used);
    if (more) {
        big_multiply_add(&b, 10, 1);
        exponent--;
    }
    return convert_big(&b, (int32_t)exponent);
}

/* The exponent behind 'e'; saturates far beyond what can matter. */
static int64_t read_exponent(const char *p, const char *end)
{
    const int64_t large = (int64_t)1 << 40;
    bool negative = *p == '-';
    p += *p == '-' || *p == '+';
    int64_t value = 0;
    for (; p < end; p++) {
        value = value < large ? value * 10 + (*p - '0') : value;
    }
    return negative ? -value : value;
}

/* `text` is a number as shardy__number_span() finds it. */
static void read_decimal(const char *text, const char *end, decimal *d)
{
    const char *p = text;
    d->negative = *p == '-';
    p += d->negative;
    d->digits = p;
    d->exponent = 0;
    uint64_t value = 0;
    for (; p < end && shardy__is_digit(*p); p++) {
        value = value * 10 + (uint64_t)(*p - '0');
    }
    d->count = (size_t)(p - d->digits);
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        for (; p < end && shardy__is_digit(*p); p++) {
            value = value * 10 + (uint64_t)(*p - '0');
        }
        d->exponent = -(int64_t)(p - fraction);
        d->count += (size_t)(p - fraction);
    }
    if (d->count > DIGITS_MAX) {
        while (d->count > 0 && (*d->digits == '0' || *d->digits == '.')) {
            d->count -= *d->digits == '0';
            d->digits++;
        }
    }
    d->value = value;
    if (p < end) {
        d->exponent += read_exponent(p + 1, end);
    }
}

static int parse_word(const char *text, size_t len, double *value_out)
{
    if (len == 3 && memcmp(text, "NaN", 3) == 0) {
        *value_out = (double)NAN;
    } else if (len == 8 && memcmp(text, "Infinity", 8) == 0) {
        *value_out = HUGE_VAL;
    } else if (len == 9 && memcmp(text, "-Infinity", 9) == 0) {
        *value_out = -HUGE_VAL;
    } else {
        return 0;
    }
    return 1;
}

double shardy__number_value(const char *text, size_t len)
{
    double value;
    if (!shardy__is_digit(text[len - 1])) {
        return parse_word(text, len, &value) ? value : 0.0;
    }
    decimal d;
    read_decimal(text, text + len, &d);
    if (d.count > DIGITS_MAX) {
        value = convert_long(&d);
    } else {
        int64_t bounded = d.exponent < -10000 ? -10000 : d.exponent > 10000 ? 10000 : d.exponent;
        value = convert(d.value, (int32_t)bounded);
    }
    return d.negative ? -value : value;
}

int shardy__parse_double(const char *text, size_t len, double *value_out)
{
    *value_out = 0.0;
    if (len == 0 || shardy__number_span(text, len) != len) {
        return parse_word(text, len, value_out);
    }
    *value_out = shardy__number_value(text, len);
    return 1;
}

float shardy__to_float(double value)
{
    /* Half a unit beyond the largest float is where rounding goes to infinity. */
    const double bound = 0x1.ffffffp+127;
    if (value >= bound) {
        return INFINITY;
    }
    return value <= -bound ? -INFINITY : (float)value;
}

/* --- double to text --------------------------------------------------------------------------- */

/* The number made of the `count` significant digits nearest to `value`; *power_out gets the
 * power of ten of the first digit. */
static uint64_t nearest_digits(double value, int count, int32_t *power_out)
{
    char text[SHARDY_DOUBLE_TEXT_MAX];
    snprintf(text, sizeof text, "%.*e", count - 1, value);
    uint64_t number = 0;
    const char *p = text;
    for (; *p != '\0' && *p != 'e'; p++) {
        /* The decimal point is that of the locale, and of any length: it is stepped over. */
        if (shardy__is_digit(*p)) {
            number = number * 10 + (uint64_t)(*p - '0');
        }
    }
    *power_out = (int32_t)read_exponent(p + 1, p + strlen(p));
    return number;
}

/* The fewest digits that read back as `value`; returns their number. */
static int shortest_digits(double value, char digits_out[DIGITS_MAX], int32_t *power_out)
{
    /* Texts of up to 15 digits survive the way through a normal double: 15 digits are the shortest
     * one with zeros behind it, if there is one. Subnormal numbers have fewer. */
    int count = value < DBL_MIN ? 1 : DBL_DIG;
    uint64_t number;
    for (;; count++) {
        number = nearest_digits(value, count, power_out);
        int32_t exponent = *power_out - (count - 1);
        if (count == DBL_DECIMAL_DIG || convert(number, exponent) == value) {
            break;
        }
        /* Above a power of two doubles are twice as far apart as below it: the nearest decimal may
         * lie below and miss while the next one above reads back. */
        if (convert(number + 1, exponent) == value) {
            number++;
            break;
        }
    }
    while (number % 10 == 0) {
        number /= 10;
        count--;
    }
    for (int i = count; i-- > 0; number /= 10) {
        digits_out[i] = (char)('0' + number % 10);
    }
    return count;
}

static size_t lay_out(const char *digits, int count, int32_t power, char *out)
{
    char *p = out;
    if (power < -4 || power >= 16) {
        *p++ = digits[0];
        if (count > 1) {
            *p++ = '.';
            memcpy(p, digits + 1, (size_t)count - 1);
            p += count - 1;
        }
        int n = snprintf(p, 8, "e%c%02d", power < 0 ? '-' : '+', power < 0 ? -power : power);
        return (size_t)(p - out) + (size_t)n;
    }
    int32_t point = power + 1; /* digits before the decimal point */
    if (point <= 0) {
        *p++ = '0';
        *p++ = '.';
        for (; point < 0; point++) {
            *p++ = '0';
        }
        memcpy(p, digits, (size_t)count);
        return (size_t)(p - out) + (size_t)count;
    }
    for (int32_t i = 0; i < point || i < count; i++) {
        if (i == point) {
            *p++ = '.';
        }
        *p++ = i < count ? digits[i] : '0';
    }
    if (count <= point) {
        *p++ = '.';
        *p++ = '0';
    }
    return (size_t)(p - out);
}

size_t shardy__format_double(double value, char text_out[SHARDY_DOUBLE_TEXT_MAX])
{
    char *p = text_out;
    if (isnan(value)) {
        memcpy(text_out, "NaN", 4);
        return 3;
    }
    if (signbit(value)) {
        *p++ = '-';
        value = -value;
    }
    if (isinf(value)) {
        memcpy(p, "Infinity", 9);
        return (size_t)(p - text_out) + 8;
    }
    char digits[DIGITS_MAX] = "0";
    int32_t power = 0;
    int count = value > 0 ? shortest_digits(value, digits, &power) : 1;
    p += lay_out(digits, count, power, p);
    *p = '\0';
    return (size_t)(p - text_out);
}
