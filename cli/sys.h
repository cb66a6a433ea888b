/* sys.h: what the command takes from the system in one place: memory, environment, time.
 *
 * The command ends with a message when memory runs out; the library never does. */
#ifndef SHARDY_CLI_SYS_H
#define SHARDY_CLI_SYS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)
#define CLI_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#define CLI_NORETURN                    __attribute__((noreturn))
#else
#define CLI_PRINTF(format_index, first)
#define CLI_NORETURN
#endif

/* Exit codes; health uses USAGE for "unhealthy" as well. */
enum {
    EXIT_OK = 0,
    EXIT_ERROR = 1,
    EXIT_USAGE = 2
};

/* Zeroed memory for `count` things of `size` bytes; never NULL. */
void *sys_alloc(size_t count, size_t size);
/* Room for `count` things of `size` bytes; never NULL. */
void *sys_resize(void *memory, size_t count, size_t size);
void sys_free(void *memory);
char *sys_strdup(const char *text);
char *sys_strndup(const char *text, size_t len);

/* Value of an environment variable; NULL when it is unset or empty. */
const char *sys_env(const char *name);

/* Monotonic time in nanoseconds. */
int64_t sys_now_ns(void);

/* Writes a last message to the standard error and ends the program with 1. */
CLI_NORETURN void sys_die(const char *text);

/* A whole file, zero-terminated (the zero does not count in *len_out). Returns 0, or an errno;
 * EFBIG when it is longer than `len_max`. Free *data_out with sys_free(). */
int sys_read_file(const char *path, size_t len_max, char **data_out, size_t *len_out);
/* The same of what is left to read from a descriptor. */
int sys_read_fd(int fd, size_t len_max, char **data_out, size_t *len_out);

#endif
