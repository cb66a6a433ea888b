#include "value.h"

#include "utf8.h"

#include <string.h>

static const char base64_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void encode_base64(strbuf *b, const unsigned char *p, size_t len)
{
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t v = (uint32_t)p[i] << 16;
        v |= n > 1 ? (uint32_t)p[i + 1] << 8 : 0;
        v |= n > 2 ? p[i + 2] : 0u;
        char out[4] = {base64_letters[v >> 18], base64_letters[v >> 12 & 63],
            n > 1 ? base64_letters[v >> 6 & 63] : '=', n > 2 ? base64_letters[v & 63] : '='};
        strbuf_add(b, out, 4);
    }
}

static void encode_hex(strbuf *b, const unsigned char *p, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        char out[2] = {digits[p[i] >> 4], digits[p[i] & 15]};
        strbuf_add(b, out, 2);
    }
}

void value_encode(strbuf *b, value_encoding encoding, const void *data, size_t len)
{
    strbuf_add(b, "", 0);
    if (len == 0) {
        return;
    }
    if (encoding == VALUE_UTF8) {
        utf8_add_replaced(b, data, len);
    } else if (encoding == VALUE_HEX) {
        encode_hex(b, data, len);
    } else {
        encode_base64(b, data, len);
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int decode_hex(const char *text, size_t len, strbuf *out)
{
    if (len % 2 != 0) {
        return -1;
    }
    for (size_t i = 0; i < len; i += 2) {
        int high = hex_digit(text[i]);
        int low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0) {
            return -1;
        }
        strbuf_putc(out, (char)(high << 4 | low));
    }
    return 0;
}

static int base64_digit(char c)
{
    /* also the letters of the URL alphabet */
    c = c == '-' ? '+' : c == '_' ? '/' : c;
    const char *found = c ? strchr(base64_letters, c) : NULL;
    return found ? (int)(found - base64_letters) : -1;
}

static int decode_base64(const char *text, size_t len, strbuf *out)
{
    size_t padding = 0;
    while (len > 0 && padding < 2 && text[len - 1] == '=') {
        len--;
        padding++;
    }
    if (len % 4 == 1 || (padding && (len + padding) % 4 != 0)) {
        return -1;
    }
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < len; i++) {
        int digit = base64_digit(text[i]);
        if (digit < 0) {
            return -1;
        }
        bits = bits << 6 | (uint32_t)digit;
        count += 6;
        if (count >= 8) {
            count -= 8;
            strbuf_putc(out, (char)(bits >> count & 0xFF));
        }
    }
    /* bits that no byte takes must be zero, so that a key has one spelling */
    return (bits & ((1u << count) - 1)) == 0 ? 0 : -1;
}

static int is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Digits, single underscores between them. *fits_out is 0 when they need more than 64 bits. */
static int parse_digits(const char *text, size_t len, uint64_t *value_out, int *fits_out)
{
    uint64_t value = 0;
    int fits = 1;
    int digit_before = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '_' && digit_before && i + 1 < len) {
            digit_before = 0;
            continue;
        }
        if (text[i] < '0' || text[i] > '9') {
            return -1;
        }
        uint64_t digit = (uint64_t)(text[i] - '0');
        fits = fits && value <= (UINT64_MAX - digit) / 10;
        value = fits ? value * 10 + digit : 0;
        digit_before = 1;
    }
    *value_out = value;
    *fits_out = fits;
    return digit_before ? 0 : -1;
}

int key_parse_integer(const char *text, size_t len, shardy_key *key_out)
{
    while (len > 0 && is_blank(text[len - 1])) {
        len--;
    }
    while (len > 0 && is_blank(text[0])) {
        text++;
        len--;
    }
    int negative = len > 0 && text[0] == '-';
    if (len > 0 && (text[0] == '-' || text[0] == '+')) {
        text++;
        len--;
    }
    uint64_t value = 0;
    int fits = 0;
    if (parse_digits(text, len, &value, &fits) != 0) {
        return -1;
    }
    if (!fits || (negative && value > (uint64_t)INT64_MAX + 1)) {
        return -2;
    }
    if (negative) {
        *key_out = shardy_key_int(value ? -(int64_t)(value - 1) - 1 : 0);
    } else {
        *key_out = shardy_key_uint(value);
    }
    return 0;
}

static void complain(strbuf *message, const char *text, size_t len, const char *rest)
{
    strbuf_puts(message, "key \"");
    utf8_add_visible(message, text, len < 200 ? len : 200, 0);
    strbuf_puts(message, len > 200 ? "...\" " : "\" ");
    strbuf_puts(message, rest);
}

static int parse_integer_key(
    const char *text, size_t len, int32_t encoding, shardy_key *key_out, strbuf *message)
{
    int rc = key_parse_integer(text, len, key_out);
    if (rc != 0) {
        complain(message, text, len,
            rc == -1 ? "is not a valid integer (required by " : "does not fit (required by ");
        strbuf_printf(message, "%s encoding)", shardy_key_encoding_name(encoding));
    }
    return rc ? -1 : 0;
}

int key_parse(const char *text, size_t len, key_format format, int32_t encoding,
    shardy_key *key_out, char **owned_out, strbuf *message)
{
    *owned_out = NULL;
    if (format != KEY_FORMAT_TEXT) {
        strbuf bytes = {0};
        strbuf_add(&bytes, "", 0);
        int is_hex = format == KEY_FORMAT_HEX;
        if (is_hex ? decode_hex(text, len, &bytes) : decode_base64(text, len, &bytes)) {
            complain(message, text, len, is_hex ? "is not hex" : "is not base64");
            strbuf_free(&bytes);
            return -1;
        }
        size_t bytes_len = bytes.len;
        *owned_out = strbuf_take(&bytes);
        *key_out = shardy_key_bytes(*owned_out, bytes_len);
        return 0;
    }
    if (encoding == SHARDY_KEY_ENCODING_U64BE || encoding == SHARDY_KEY_ENCODING_U32BE) {
        return parse_integer_key(text, len, encoding, key_out, message);
    }
    if (encoding == SHARDY_KEY_ENCODING_RAW) {
        *key_out = shardy_key_bytes(text, len);
        return 0;
    }
    if (!utf8_valid(text, len)) {
        complain(message, text, len, "is not valid UTF-8; give bytes with --key-format hex");
        return -1;
    }
    *key_out = shardy_key_text(text, len);
    return 0;
}
