/* error.h: making errors. Who fails first, closest to the cause, sets the error; callers above may
 * put context before it, never replace it. Messages: one line, lower case, no final stop, the
 * failing value in quotes, no secrets. */
#ifndef SHARDY_BASE_ERROR_H
#define SHARDY_BASE_ERROR_H

#include <shardyfusion/status.h>

#if defined(__GNUC__) || defined(__clang__)
#define SHARDY_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#else
#define SHARDY_PRINTF(format_index, first)
#endif

/* Fills `err` (may be NULL) and returns `status`. Control characters in the message become '?'. */
shardy_status shardy__error(shardy_error *err, shardy_status status, const char *domain,
    const char *format, ...) SHARDY_PRINTF(4, 5);

/* The same with a native code and a word on whether repeating the call can help. */
shardy_status shardy__error_native(shardy_error *err, shardy_status status, int retriable,
    int64_t native, const char *domain, const char *format, ...) SHARDY_PRINTF(6, 7);

/* Adds to an error that was set how long the service asks to be left alone (a Retry-After header).
 * Returns `status`. */
shardy_status shardy__error_retry_after(shardy_error *err, shardy_status status, uint32_t ms);

/* From an errno: the status is chosen by its meaning and its text is appended. */
shardy_status shardy__error_errno(shardy_error *err, int error_number, const char *domain,
    const char *format, ...) SHARDY_PRINTF(4, 5);

/* NOMEM with its fixed text. */
shardy_status shardy__error_nomem(shardy_error *err, const char *domain);

/* Puts "context: " before a message that was set; cut at the end with "..." when it gets too long.
 * Returns err->status, or `status` when err is NULL. */
shardy_status shardy__error_prefix(shardy_error *err, shardy_status status, const char *format, ...)
    SHARDY_PRINTF(3, 4);

/* Gives an error that was set another status: the caller knows better what it means (text that does
 * not parse is INVALID as an argument, CORRUPT in a file). Returns the status. */
shardy_status shardy__error_as(shardy_error *err, shardy_status status);

/* Clears an error struct; NULL is fine. */
void shardy__error_clear(shardy_error *err);

#ifdef __clang_analyzer__
/* What the analyser cannot see from one file alone: these answer what they are given. */
#define shardy__error(err, status, ...)                                                            \
    ((void)shardy__error((err), (status), __VA_ARGS__), (status))
#define shardy__error_nomem(err, domain) ((void)shardy__error_nomem((err), (domain)), SHARDY_NOMEM)
#define shardy__error_prefix(err, status, ...)                                                     \
    ((void)shardy__error_prefix((err), (status), __VA_ARGS__), (status))
#endif

/* Returns from the calling function when `expression` is a failure. */
#define SHARDY_TRY(expression)                                                                     \
    do {                                                                                           \
        shardy_status try_status_ = (expression);                                                  \
        if (try_status_ < 0) {                                                                     \
            return try_status_;                                                                    \
        }                                                                                          \
    } while (0)

/* Returns INVALID from the calling function, which has a parameter `err`, when an argument is
 * wrong. */
#define SHARDY_CHECK_ARG(condition)                                                                \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            return shardy__error(                                                                  \
                err, SHARDY_INVALID, "argument", "argument check failed: %s", #condition);         \
        }                                                                                          \
    } while (0)

/* printf arguments of a shardy_bytes for "%.*s". */
#define SHARDY_BYTES_FMT(b) ((int)((b).len > 200 ? 200 : (b).len)), ((const char *)(b).data)

#endif
