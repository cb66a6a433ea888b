#include "support.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void support_assert_status(
    int expected, int got, const shardy_error *err, const char *call, const char *file, int line)
{
    if (got == expected) {
        return;
    }
    print_error("%s:%d: %s answered %s, expected %s%s%s\n", file, line, call,
        shardy_status_name(got), shardy_status_name(expected), got < 0 && err ? ": " : "",
        got < 0 && err ? err->message : "");
    _fail(file, line);
}

char *support_make_dir(void)
{
    const char *base = getenv("TMPDIR");
    char path[512];
    snprintf(path, sizeof path, "%s/shardy-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(path)) {
        fail_msg("cannot make a directory below %s", base ? base : "/tmp");
    }
    return strdup(path);
}

static void remove_tree(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0) {
        return;
    }
    if (!S_ISDIR(st.st_mode)) {
        unlink(path);
        return;
    }
    chmod(path, 0700);
    DIR *dir = opendir(path);
    if (dir) {
        struct dirent *entry;
        while ((entry = readdir(dir))) {
            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
                char child[4096];
                snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
                remove_tree(child);
            }
        }
        closedir(dir);
    }
    rmdir(path);
}

void support_remove_dir(char *path)
{
    if (path) {
        remove_tree(path);
        free(path);
    }
}

size_t support_count_entries(const char *path)
{
    size_t count = 0;
    DIR *dir = opendir(path);
    while (dir && readdir(dir)) {
        count++;
    }
    if (dir) {
        closedir(dir);
    }
    return count > 2 ? count - 2 : 0;
}

const char *support_path(const char *dir, const char *name)
{
    static char paths[8][4096];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

char *support_read_file(const char *path, size_t *len_out)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        fail_msg("cannot open %s", path);
        return NULL;
    }
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    fseek(f, 0, SEEK_SET);
    char *data = malloc((size_t)size + 1);
    size_t got = data ? fread(data, 1, (size_t)size, f) : 0;
    fclose(f);
    if (!data || got != (size_t)size) {
        free(data);
        fail_msg("cannot read %s", path);
        return NULL;
    }
    data[got] = '\0';
    if (len_out) {
        *len_out = got;
    }
    return data;
}

void support_write_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, len, f) != len || fclose(f) != 0) {
        fail_msg("cannot write %s", path);
    }
}

uint64_t support_rand_u64(support_rand *rand)
{
    uint64_t x = rand->state += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

uint64_t support_rand_below(support_rand *rand, uint64_t bound)
{
    return bound ? support_rand_u64(rand) % bound : 0;
}

uint64_t support_seed(void)
{
    const char *text = getenv("SHARDY_TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : 1;
    print_message("seed %llu (set SHARDY_TEST_SEED to repeat)\n", (unsigned long long)seed);
    return seed;
}

const char *support_source(const char *relative)
{
    return support_path(SHARDY_SOURCE_DIR, relative);
}

const char *support_vec0(void)
{
    if (access(SHARDY_VEC0_PATH, R_OK) == 0) {
        return SHARDY_VEC0_PATH;
    }
    const char *ci = getenv("CI");
    if (ci && strcmp(ci, "true") == 0) {
        fail_msg("no oracle sqlite-vec at %s", SHARDY_VEC0_PATH);
    }
    print_message("skipped: no oracle at %s (run scripts/fetch-sqlite-vec)\n", SHARDY_VEC0_PATH);
    skip();
    return NULL;
}

static char watched[200];

static void on_alarm(int number)
{
    static const char text[] = "\nhangs: ";
    (void)number;
    ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
    ignored += write(STDERR_FILENO, watched, strlen(watched));
    (void)ignored;
    _exit(9);
}

void support_watch(const char *what, unsigned seconds)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = what ? on_alarm : SIG_DFL;
    snprintf(watched, sizeof watched, "%s", what ? what : "");
    sigaction(SIGALRM, &action, NULL);
    alarm(what ? seconds : 0);
}
