/* micro_transfer: large objects to and from a bucket, and verification of a snapshot in one.
 *
 *   micro_transfer --url=URL --dir=DIR [--rows=N] [--rounds=N]
 *
 * URL is of bench/support/plain_server.py, which serves DIR, see bench/run. The peer is the command
 * curl with the same object (upload, download) or objects (verify) and the same server, or SHA-256
 * of as many bytes in memory on all processors, whichever is slower in that round: we send nothing
 * and use nothing that was not hashed. Each is measured twice: at full speed, where server,
 * transfer and hashing share the processors of this machine, so that neither peer alone is what can
 * be reached; and over a link of 2 Gbit/s, which the server keeps to, in each direction. What is
 * downloaded goes to memory (/dev/shm), where there is such a directory: a disk is not measured. */
#include "support/bench.h"
#include "support/digest_peer.h"
#include "support/s3.h"

#include "base/digest.h"
#include "store/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINK_RATE   "250000000" /* bytes a second */
#define OBJECT_LEN  (1ull << 30)
#define PIECE_LEN   (8u << 20)
#define SHARDS      8u
#define ARGUMENTS   64u
#define OBJECT_NAME "transfer/shard.db"
#define SNAPSHOT    "transfer-verify"

typedef struct bench {
    const bench_options *options;
    uint32_t processors;
    shardy_store *store;
    char file[1024];   /* the object, as a file */
    char target[1024]; /* what is downloaded by us */
    char object[1024]; /* its URL */
    sha256 *sums;
    char urls[2 * SHARDS][1024]; /* of the snapshot's objects */
    size_t url_count;
    uint64_t snapshot_len;
} bench;

/* Runs curl; the time it takes, its start included. */
static double run_curl(const char *const *arguments)
{
    const char *argv[ARGUMENTS] = {"curl", "--no-progress-meter", "--fail", "--noproxy", "*"};
    size_t count = 5;
    for (; *arguments && count + 1 < ARGUMENTS; arguments++) {
        argv[count++] = *arguments;
    }
    double start = bench_now_ns();
    pid_t pid = fork();
    bench_need(pid >= 0, "fork");
    if (pid == 0) {
        execvp("curl", (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    bench_need(status == 0, "curl");
    return bench_now_ns() - start;
}

/* --- one large object ------------------------------------------------------------------------- */

static void make_object(bench *b)
{
    uint8_t *piece = bench_alloc(PIECE_LEN, 1);
    b->sums = bench_alloc(OBJECT_LEN / SHARDY_CHUNK_LEN, sizeof *b->sums);
    int fd = open(b->file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bench_need(fd >= 0, b->file);
    for (size_t i = 0; i < PIECE_LEN; i += 8) {
        uint64_t r = bench_random();
        memcpy(piece + i, &r, 8);
    }
    for (uint64_t at = 0; at < OBJECT_LEN; at += PIECE_LEN) {
        bench_need(write(fd, piece, PIECE_LEN) == (ssize_t)PIECE_LEN, "write");
    }
    for (size_t i = 0; i < OBJECT_LEN / SHARDY_CHUNK_LEN; i++) {
        shardy_error err;
        size_t at = i * SHARDY_CHUNK_LEN % PIECE_LEN;
        bench_check(shardy__sha256(piece + at, SHARDY_CHUNK_LEN, &b->sums[i], &err), "hash", &err);
    }
    close(fd);
    free(piece);
}

static double upload_ours(bench *b)
{
    shardy_error err;
    shardy_store_put put;
    memset(&put, 0, sizeof put);
    put.key.data = "transfer/up.db";
    put.key.len = strlen(put.key.data);
    put.file_path = b->file;
    double start = bench_now_ns();
    bench_check(shardy_store_put_object(b->store, &put, NULL, &err), "put", &err);
    return bench_now_ns() - start;
}

static double upload_peer(bench *b)
{
    const char *const arguments[] = {"-o", "/dev/null", "-T", b->file, b->object, NULL};
    return run_curl(arguments);
}

static double download_ours(bench *b)
{
    shardy_error err;
    transfer_options o;
    shardy__transfer_options_init(&o);
    o.size = OBJECT_LEN;
    o.sums = b->sums;
    int fd = open(b->target, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bench_need(fd >= 0, b->target);
    double start = bench_now_ns();
    bench_check(
        shardy__transfer_download(b->store, OBJECT_NAME, fd, &o, NULL, &err), "download", &err);
    double ns = bench_now_ns() - start;
    close(fd);
    unlink(b->target);
    return ns;
}

static double download_peer(bench *b)
{
    const char *const arguments[] = {"-o", b->target, b->object, NULL};
    double ns = run_curl(arguments);
    unlink(b->target);
    return ns;
}

/* --- a snapshot ------------------------------------------------------------------------------- */

static void make_snapshot(bench *b)
{
    shardy_error err;
    shardy_reader *reader;
    shardy_snapshot_info info;
    shardy_writer_options o;
    uint8_t *keys = bench_alloc(b->options->rows, BENCH_KEY_LEN);
    bench_random_keys(keys, b->options->rows);
    char *path = bench_fresh_dir(b->options->dir, SNAPSHOT);
    shardy_writer_options_init(&o, sizeof o);
    o.num_dbs = SHARDS;
    o.sync = 0;
    bench_build_snapshot(path, keys, b->options->rows, &o);
    bench_check(shardy_reader_open(NULL, path, NULL, &reader, &err), "open", &err);
    bench_check(shardy_reader_snapshot_info(reader, &info, &err), "info", &err);
    for (uint32_t i = 0; i < SHARDS; i++) {
        snprintf(b->urls[b->url_count++], sizeof b->urls[0],
            "%s/test-bucket/" SNAPSHOT "/shards/run_id=%s/db=%05u/attempt=00/shard.db",
            b->options->url, info.run_id, i);
    }
    shardy_snapshot_info_dispose(&info);
    shardy_reader_close(reader);
    free(path);
    free(keys);
}

static double verify_ours(bench *b)
{
    shardy_error err;
    shardy_verify_options options;
    shardy_verify_result result;
    shardy_store *store = bench_s3_open(NULL, b->options->url, BENCH_BUCKET "/" SNAPSHOT, 0);
    shardy_verify_options_init(&options, sizeof options);
    options.admin.store = store;
    double start = bench_now_ns();
    bench_check(shardy_verify(NULL, NULL, &options, &result, &err), "verify", &err);
    double ns = bench_now_ns() - start;
    bench_need(result.status == SHARDY_VERIFY_OK, "a snapshot without damage");
    b->snapshot_len = result.bytes;
    shardy_verify_result_dispose(&result);
    shardy_store_close(store);
    return ns;
}

static double verify_peer(bench *b)
{
    const char *arguments[ARGUMENTS] = {"--parallel"};
    size_t count = 1;
    for (size_t i = 0; i < b->url_count; i++) {
        arguments[count++] = "-o";
        arguments[count++] = "/dev/null";
        arguments[count++] = b->urls[i];
    }
    arguments[count] = NULL;
    return run_curl(arguments);
}

/* --- rounds ----------------------------------------------------------------------------------- */

typedef struct contest {
    const char *name;
    double goal;
    double (*ours)(bench *b);
    double (*peer)(bench *b);
} contest;

static void run(bench *b, const contest *c)
{
    bench_sample s;
    double curl[BENCH_ROUNDS_MAX];
    double digest[BENCH_ROUNDS_MAX];
    int rounds = b->options->rounds;
    (void)c->ours(b);
    const uint64_t len = c->ours == verify_ours ? b->snapshot_len : OBJECT_LEN;
    for (int r = 0; r < rounds; r++) {
        if (r % 2 == 0) {
            s.ours[r] = c->ours(b) / 1e6;
        }
        curl[r] = c->peer(b) / 1e6;
        digest[r] = bench_time_digest(b->processors, len) / 1e6;
        s.peer[r] = curl[r] > digest[r] ? curl[r] : digest[r];
        if (r % 2 != 0) {
            s.ours[r] = c->ours(b) / 1e6;
        }
    }
    char more[160];
    snprintf(more, sizeof more, ",\"mb_per_s\":%.0f,\"curl_ms\":%.0f,\"sha256_ms\":%.0f",
        (double)len / bench_median(s.ours, rounds) / 1e3, bench_median(curl, rounds),
        bench_median(digest, rounds));
    bench_line line = {
        c->name, "curl or SHA-256, the slower", "ms", b->options->rows, c->goal, more};
    bench_report(&line, &s, rounds);
}

int main(int argc, char **argv)
{
    static const contest fast[] = {{"upload_1_gib_loopback", 0, upload_ours, upload_peer},
        {"download_1_gib_loopback", 0, download_ours, download_peer},
        {"verify_s3_loopback", 0, verify_ours, verify_peer}};
    static const contest linked[] = {{"upload_1_gib_2_gbit", 0.8, upload_ours, upload_peer},
        {"download_1_gib_2_gbit", 0.8, download_ours, download_peer},
        {"verify_s3_2_gbit", 0.8, verify_ours, verify_peer}};
    bench_options o;
    bench_init(argc, argv, &o);
    bench_need(o.url != NULL, "--url is needed");
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    static bench b;
    b.options = &o;
    b.processors = processors > 1 ? (uint32_t)processors : 1;
    b.processors = b.processors < DIGEST_THREADS_MAX ? b.processors : DIGEST_THREADS_MAX;
    char *dir = bench_fresh_dir(o.dir, "transfer");
    snprintf(b.file, sizeof b.file, "%s/shard.db", dir);
    if (access("/dev/shm", W_OK) == 0) {
        snprintf(b.target, sizeof b.target, "/dev/shm/shardy-bench-%ld", (long)getpid());
    } else {
        snprintf(b.target, sizeof b.target, "%s/downloaded", dir);
    }
    snprintf(b.object, sizeof b.object, "%s/test-bucket/" OBJECT_NAME, o.url);
    b.store = bench_s3_open(NULL, o.url, BENCH_BUCKET, 0);
    make_object(&b);
    make_snapshot(&b);
    for (size_t i = 0; i < sizeof fast / sizeof *fast; i++) {
        run(&b, &fast[i]);
    }
    bench_control(o.url, "POST", "rate?" LINK_RATE, NULL);
    for (size_t i = 0; i < sizeof linked / sizeof *linked; i++) {
        run(&b, &linked[i]);
    }
    char snapshot[1024];
    snprintf(snapshot, sizeof snapshot, "%s/" SNAPSHOT, o.dir);
    shardy_store_close(b.store);
    bench_remove(snapshot);
    bench_remove(dir);
    free(b.sums);
    free(dir);
    return 0;
}
