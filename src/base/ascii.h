/* ascii.h: kinds of characters, whatever the locale is. */
#ifndef SHARDY_BASE_ASCII_H
#define SHARDY_BASE_ASCII_H

static inline int shardy__is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

static inline int shardy__is_letter(char c)
{
    return (unsigned char)((c | 0x20) - 'a') < 26;
}

static inline int shardy__is_alnum(char c)
{
    return shardy__is_letter(c) || shardy__is_digit(c);
}

static inline char shardy__to_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Value of a hexadecimal digit, or -1. */
static inline int shardy__hex_value(char c)
{
    if (shardy__is_digit(c)) {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

#endif
