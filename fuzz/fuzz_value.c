/* Numbers, sizes, ages and keys as the command takes them.
 *
 * Properties: what is accepted is within its bounds, is what the text says by other means, and is
 * read again as the same from what it is written as. */
#include "../cli/opt.h"
#include "../cli/sys.h"
#include "../cli/value.h"
#include "message.h"

#include <math.h>

static void check_uint(const char *text)
{
    uint64_t value;
    char written[32];
    int rc = opt_parse_uint(text, &value);
    size_t digits = strspn(text, "0123456789");
    require(rc == 0 || rc == -1 || rc == -2, "three outcomes");
    require((rc == -1) == (digits == 0 || text[digits] != '\0'), "digits make a number");
    if (rc == 0) {
        snprintf(written, sizeof written, "%llu", (unsigned long long)value);
        size_t zeros = strspn(text, "0");
        require(value == 0 ? zeros == digits : strcmp(text + zeros, written) == 0,
            "it is the number of the text");
    }
    require(rc != -2 || digits >= 20, "what does not fit is long");
}

static void check_size(const char *text)
{
    uint64_t value;
    uint64_t again;
    char written[40];
    static const char letters[] = "BKMGT";
    int rc = opt_parse_size(text, &value);
    require(rc == 0 || rc == -1 || rc == -2, "three outcomes");
    if (rc != 0) {
        return;
    }
    uint64_t number = strtoull(text, NULL, 10);
    const char *unit = text + strspn(text, "0123456789");
    const char *letter = *unit ? strchr(letters, *unit & ~0x20) : letters;
    require(letter != NULL && *letter, "a unit is known");
    unsigned shift = 10 * (unsigned)(letter - letters);
    require(value >> shift == number && value == number << shift, "it is so many of the unit");
    snprintf(written, sizeof written, "%llu%c", (unsigned long long)number, *letter);
    require(opt_parse_size(written, &again) == 0 && again == value, "and is read again");
}

static void check_age(const char *text)
{
    int64_t seconds;
    int64_t again;
    char written[40];
    if (opt_parse_age(text, &seconds) != 0) {
        require(seconds == 0, "nothing comes out of a refusal");
        return;
    }
    int is_days = text[strlen(text) - 1] == 'd';
    require(seconds >= 0 && seconds <= INT64_C(36500) * 86400, "an age has a bound");
    require(seconds == strtol(text, NULL, 10) * (is_days ? 86400 : 3600), "it is that of the text");
    snprintf(written, sizeof written, "%lld%c", (long long)seconds / (is_days ? 86400 : 3600),
        is_days ? 'd' : 'h');
    require(opt_parse_age(written, &again) == 0 && again == seconds, "and is read again");
}

static void check_double(const char *text, size_t len)
{
    double value;
    double again;
    char written[40];
    if (opt_parse_double(text, len, &value) != 0) {
        return;
    }
    require(isfinite(value), "a number is finite");
    require(!memchr(text, '\0', len), "all of the text is the number");
    require(strtod(text, NULL) == value, "it is that of the text");
    snprintf(written, sizeof written, "%.17g", value);
    require(opt_parse_double(written, strlen(written), &again) == 0 && again == value,
        "and is read again");
}

static void check_integer(const char *text, size_t len)
{
    shardy_key key;
    shardy_key again;
    char written[40];
    int rc = key_parse_integer(text, len, &key);
    require(rc == 0 || rc == -1 || rc == -2, "three outcomes");
    if (rc == 0) {
        if (key.type == SHARDY_KEY_INT) {
            snprintf(written, sizeof written, " %lld\n", (long long)key.i);
        } else {
            snprintf(written, sizeof written, "+%llu", (unsigned long long)key.u);
        }
        require(key_parse_integer(written, strlen(written), &again) == 0 &&
                    shardy_key_compare(&key, &again) == 0,
            "an integer is read again");
    }
}

/* Bytes are written as they were given, but for the case of hex and the padding of base64. */
static void check_written(
    const char *text, size_t len, key_format format, const char *bytes, size_t count)
{
    strbuf written = {0};
    value_encode(&written, format == KEY_FORMAT_HEX ? VALUE_HEX : VALUE_BASE64, bytes, count);
    require(written.len >= len && written.len < len + 3, "as long, but for padding");
    for (size_t i = 0; i < written.len; i++) {
        char c = i < len ? text[i] : '=';
        if (format == KEY_FORMAT_HEX) {
            c = c >= 'A' && c <= 'F' ? (char)(c | 0x20) : c;
        } else {
            c = c == '-' ? '+' : c == '_' ? '/' : c;
        }
        require(c == written.data[i], "bytes have one spelling");
    }
    strbuf_free(&written);
}

static void check_key(const char *text, size_t len, key_format format, int32_t encoding)
{
    shardy_key key;
    char *owned = NULL;
    strbuf message = {0};
    int rc = key_parse(text, len, format, encoding, &key, &owned, &message);
    require_message(rc, &message, 0);
    if (rc == 0 && format != KEY_FORMAT_TEXT) {
        check_written(text, len, format, key.bytes.data, key.bytes.len);
    } else if (rc == 0 && encoding == SHARDY_KEY_ENCODING_RAW) {
        require(same_bytes(key.bytes.data, key.bytes.len, text, len), "raw bytes are as they are");
    }
    sys_free(owned);
    strbuf_free(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = copy_text(data, size);
    check_uint(text);
    check_size(text);
    check_age(text);
    check_double(text, size);
    check_integer(text, size);
    check_key(text, size, KEY_FORMAT_HEX, SHARDY_KEY_ENCODING_RAW);
    check_key(text, size, KEY_FORMAT_BASE64, SHARDY_KEY_ENCODING_RAW);
    for (int32_t e = SHARDY_KEY_ENCODING_AUTO; e <= SHARDY_KEY_ENCODING_RAW; e++) {
        check_key(text, size, KEY_FORMAT_TEXT, e);
    }
    free(text);
    return 0;
}
