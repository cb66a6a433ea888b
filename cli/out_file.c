#include "out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const char *what, const char *path, int code, strbuf *message)
{
    strbuf_printf(message, "cannot %s \"%s\": %s", what, path, strerror(code));
    return -1;
}

/* Creates a file beside the path that nobody else has. Returns its descriptor, or -1 with errno. */
static int create_beside(out_file *f)
{
    const char *slash = strrchr(f->path, '/');
    size_t folder = slash ? (size_t)(slash - f->path) + 1 : 0;
    for (unsigned n = 0; n < 1000; n++) {
        strbuf b = {0};
        strbuf_add(&b, f->path, folder);
        strbuf_printf(&b, ".shardy-%ld-%u.tmp", (long)getpid(), n);
        int fd = open(strbuf_text(&b), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) {
            f->temp = strbuf_take(&b);
            return fd;
        }
        strbuf_free(&b);
        if (errno != EEXIST) {
            return -1;
        }
    }
    return -1;
}

int out_file_open(out_file *f, const char *path, strbuf *message)
{
    struct stat st;
    memset(f, 0, sizeof *f);
    int exists = stat(path, &st) == 0;
    /* a symbolic link stays one: the file that it names is replaced */
    char *real = exists ? realpath(path, NULL) : NULL;
    f->path = sys_strdup(real ? real : path);
    free(real);
    if (exists && S_ISDIR(st.st_mode)) {
        return fail("write to", path, EISDIR, message);
    }
    int fd = exists && !S_ISREG(st.st_mode) ? open(path, O_WRONLY | O_CLOEXEC) : create_beside(f);
    if (fd < 0) {
        return fail("create", path, errno, message);
    }
    int failed = f->temp && exists && fchmod(fd, st.st_mode & 07777) != 0;
    failed = failed || dup2(fd, STDOUT_FILENO) < 0;
    int code = errno;
    close(fd);
    return failed ? fail("prepare", path, code, message) : 0;
}

int out_file_commit(out_file *f, strbuf *message)
{
    if (!f->temp) {
        return 0;
    }
    if (fsync(STDOUT_FILENO) != 0 || rename(f->temp, f->path) != 0) {
        return fail("finish", f->path, errno, message);
    }
    sys_free(f->temp);
    f->temp = NULL;
    return 0;
}

void out_file_close(out_file *f)
{
    if (f->temp) {
        unlink(f->temp);
    }
    sys_free(f->temp);
    sys_free(f->path);
    memset(f, 0, sizeof *f);
}
