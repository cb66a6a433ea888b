#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The macros of the analyser, see error.h. */
#undef shardy__error
#undef shardy__error_nomem
#undef shardy__error_prefix

static const shardy_status_info status_infos[] = {
#define STATUS_ROW(name, value, acts, text) {(value), #name, (acts), (text)},
    SHARDY_STATUS_MAP(STATUS_ROW)
#undef STATUS_ROW
};

const shardy_status_info *shardy_status_list(size_t *count_out)
{
    if (count_out) {
        *count_out = sizeof status_infos / sizeof status_infos[0];
    }
    return status_infos;
}

const char *shardy_status_name(int32_t status)
{
    for (size_t i = 0; i < sizeof status_infos / sizeof status_infos[0]; i++) {
        if (status_infos[i].status == status) {
            return status_infos[i].name;
        }
    }
    return "UNKNOWN";
}

const char *shardy_version(void)
{
    return SHARDY_VERSION;
}

void shardy_buf_release(shardy_buf *buf)
{
    if (!buf) {
        return;
    }
    if (buf->release) {
        buf->release(buf);
    }
    memset(buf, 0, sizeof *buf);
}

void shardy__error_clear(shardy_error *err)
{
    if (err) {
        memset(err, 0, sizeof *err);
    }
}

shardy_status shardy__error_retry_after(shardy_error *err, shardy_status status, uint32_t ms)
{
    if (err) {
        err->retry_after_ms = ms;
    }
    return status;
}

shardy_status shardy__error_as(shardy_error *err, shardy_status status)
{
    if (err) {
        err->status = status;
    }
    return status;
}

/* One line without control characters; a cut in the middle of a character is mended. */
static void clean_message(shardy_error *err, int wanted)
{
    size_t room = sizeof err->message;
    if (wanted < 0) {
        snprintf(err->message, room, "(message could not be formatted)");
    } else if ((size_t)wanted >= room) {
        size_t end = room - 4;
        while (end > 0 && ((unsigned char)err->message[end] & 0xC0) == 0x80) {
            end--;
        }
        memcpy(err->message + end, "...", 4);
    }
    if (err->message[0] == '\0') {
        snprintf(err->message, room, "%s", shardy_status_name(err->status));
    }
    for (char *p = err->message; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7F) {
            *p = '?';
        }
    }
}

SHARDY_PRINTF(6, 0)
static shardy_status set_error(shardy_error *err, shardy_status status, int retriable,
    int64_t native, const char *domain, const char *format, va_list args)
{
    if (!err) {
        return status;
    }
    err->status = status;
    err->retriable = retriable;
    err->native = native;
    err->retry_after_ms = 0;
    snprintf(err->domain, sizeof err->domain, "%s", domain);
    clean_message(err, vsnprintf(err->message, sizeof err->message, format, args));
    return status;
}

static int status_is_retriable(shardy_status status)
{
    return status == SHARDY_UNAVAILABLE || status == SHARDY_TIMEOUT || status == SHARDY_THROTTLED ||
           status == SHARDY_EXHAUSTED;
}

shardy_status shardy__error(
    shardy_error *err, shardy_status status, const char *domain, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_error(err, status, status_is_retriable(status), 0, domain, format, args);
    va_end(args);
    return status;
}

shardy_status shardy__error_native(shardy_error *err, shardy_status status, int retriable,
    int64_t native, const char *domain, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_error(err, status, retriable, native, domain, format, args);
    va_end(args);
    return status;
}

static shardy_status status_of_errno(int error_number)
{
    switch (error_number) {
    case ENOMEM:
        return SHARDY_NOMEM;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return SHARDY_NO_SPACE;
    case EMFILE:
    case ENFILE:
    case EAGAIN:
        return SHARDY_EXHAUSTED;
    case EACCES:
    case EPERM:
    case EROFS:
        return SHARDY_AUTH;
    case ENAMETOOLONG:
    case EINVAL:
        return SHARDY_INVALID;
    default:
        return SHARDY_IO;
    }
}

shardy_status shardy__error_errno(
    shardy_error *err, int error_number, const char *domain, const char *format, ...)
{
    shardy_status status = status_of_errno(error_number);
    va_list args;
    va_start(args, format);
    set_error(err, status, status_is_retriable(status), error_number, domain, format, args);
    va_end(args);
    if (err) {
        size_t len = strlen(err->message);
        char text[128] = "";
        if (strerror_r(error_number, text, sizeof text) != 0) {
            snprintf(text, sizeof text, "error %d", error_number);
        }
        snprintf(err->message + len, sizeof err->message - len, ": %s", text);
    }
    return status;
}

shardy_status shardy__error_nomem(shardy_error *err, const char *domain)
{
    return shardy__error(err, SHARDY_NOMEM, domain, "out of memory");
}

shardy_status shardy__error_prefix(shardy_error *err, shardy_status status, const char *format, ...)
{
    if (!err) {
        return status;
    }
    char old[sizeof err->message];
    memcpy(old, err->message, sizeof old);
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (wanted >= 0 && (size_t)wanted < sizeof err->message) {
        size_t room = sizeof err->message - (size_t)wanted;
        int more = snprintf(err->message + wanted, room, ": %s", old);
        wanted = more < 0 ? more : wanted + more;
    }
    clean_message(err, wanted);
    return status;
}
