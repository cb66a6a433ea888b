#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void sys_die(const char *text)
{
    ssize_t written = write(STDERR_FILENO, "shardy: error: ", 15);
    written = written < 0 ? written : write(STDERR_FILENO, text, strlen(text));
    written = written < 0 ? written : write(STDERR_FILENO, "\n", 1);
    (void)written;
    exit(EXIT_ERROR);
}

void *sys_alloc(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size ? size : 1);
    if (!memory) {
        sys_die("out of memory");
    }
    return memory;
}

void *sys_resize(void *memory, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) {
        sys_die("out of memory");
    }
    size_t bytes = count * size;
    void *moved = realloc(memory, bytes ? bytes : 1);
    if (!moved) {
        sys_die("out of memory");
    }
    return moved;
}

void sys_free(void *memory)
{
    free(memory);
}

char *sys_strndup(const char *text, size_t len)
{
    char *copy = sys_alloc(len + 1, 1);
    if (len) {
        memcpy(copy, text, len);
    }
    return copy;
}

char *sys_strdup(const char *text)
{
    return sys_strndup(text, strlen(text));
}

const char *sys_env(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

int64_t sys_now_ns(void)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int sys_read_fd(int fd, size_t len_max, char **data_out, size_t *len_out)
{
    *data_out = NULL;
    *len_out = 0;
    size_t len = 0;
    size_t room = 4096;
    char *data = sys_alloc(room, 1);
    for (;;) {
        if (len + 1 >= room) {
            room *= 2;
            data = sys_resize(data, room, 1);
        }
        ssize_t n = read(fd, data + len, room - len - 1);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        int rc = n < 0 ? errno : 0;
        if (n > 0) {
            len += (size_t)n;
            rc = len > len_max ? EFBIG : 0;
        }
        if (rc) {
            sys_free(data);
            return rc;
        }
        if (n == 0) {
            data[len] = '\0';
            *data_out = data;
            *len_out = len;
            return 0;
        }
    }
}

int sys_read_file(const char *path, size_t len_max, char **data_out, size_t *len_out)
{
    *data_out = NULL;
    *len_out = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    int rc = sys_read_fd(fd, len_max, data_out, len_out);
    close(fd);
    return rc;
}
