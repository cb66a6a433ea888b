/* replay_main.c: runs a fuzz target over the files of a corpus, without libFuzzer.
 *
 * usage: fuzz_<noun> FILE-OR-DIRECTORY...
 *
 * Each input is handed over in a block of exactly its size, so that AddressSanitizer sees a read
 * one byte beyond it. The empty input and every file cut in half are run as well. No input is a
 * failure: a corpus that is not found must not pass. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) {
        fprintf(stderr, "no memory for %zu bytes\n", size);
        exit(1);
    }
    if (size) {
        memcpy(copy, data, size);
    }
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat st;
    if (!file || stat(path, &st) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size + 1);
    if (!data || fread(data, 1, size, file) != size) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    fclose(file);
    run_copy(data, size);
    run_copy(data, size / 2);
    free(data);
    return 1;
}

static int run_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 0;
    }
    if (!S_ISDIR(st.st_mode)) {
        return run_file(path);
    }
    struct dirent **entries = NULL;
    int found = scandir(path, &entries, NULL, alphasort);
    int count = 0;
    for (int i = 0; i < found; i++) {
        char child[4096];
        snprintf(child, sizeof child, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') {
            count += run_file(child);
        }
        free(entries[i]);
    }
    free(entries);
    return count;
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++) {
        count += run_path(argv[i]);
    }
    if (count == 0) {
        fprintf(stderr, "no inputs: the corpus is empty\n");
        return 1;
    }
    run_copy(NULL, 0);
    printf("%d inputs replayed\n", count);
    return 0;
}
