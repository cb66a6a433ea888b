/* calls.h: between the library and the C library. Every call of the library that changes files or
 * directories passes through here, because the linker wraps them for the programs that include this
 * header (tests/CMakeLists.txt): there it can be recorded, fail, be cut short or be interrupted.
 *
 * Calls of the test itself pass through as well: switch on what is wanted around the operation
 * only. */
#ifndef SHARDY_TESTS_CALLS_H
#define SHARDY_TESTS_CALLS_H

#include <stddef.h>
#include <stdint.h>

typedef enum call_kind {
    CALL_CREATE = 0, /* a new file and its name; without a name: `dir` is 0 */
    CALL_MKDIR,
    CALL_WRITE,
    CALL_TRUNCATE,
    CALL_SYNC, /* of a file or a directory */
    CALL_RENAME,
    CALL_LINK,
    CALL_UNLINK, /* also of a directory */
    CALL_OTHER,  /* permissions, hints to the system: nothing that is lost matters */
    CALL_KIND_COUNT
} call_kind;

#define CALL_BIT(kind) (1u << (kind))
#define CALL_ANY       ((1u << CALL_KIND_COUNT) - 1)

/* A call that succeeded. Files and directories have numbers that are not used again. */
typedef struct call_record {
    call_kind kind;
    uint64_t object; /* what was made, written, truncated, synced, named */
    uint64_t offset; /* WRITE; TRUNCATE: the new length */
    uint8_t *data;   /* WRITE */
    size_t len;
    uint64_t dir; /* where `name` is or was; 0: none */
    char name[256];
    uint64_t to_dir; /* RENAME, LINK */
    char to_name[256];
} call_record;

typedef struct call_log {
    call_record *records;
    size_t count;
} call_log;

/* What happens to a call instead of being done. */
typedef enum call_fate {
    CALL_DONE = 0,
    CALL_FAILS,       /* with an errno, without being done */
    CALL_SHORT,       /* writes: half of the bytes (at least one) are written */
    CALL_INTERRUPTED, /* EINTR, without being done */
} call_fate;

/* The nth (from 1) call of these kinds from now on meets its fate and, if `persistent`, all after
 * it. nth 0: none. Resets the counts. */
void calls_set(unsigned kinds, uint64_t nth, int persistent, call_fate fate, int error_number);
/* Calls of these kinds since then, and how many of them met their fate. */
void calls_counts(uint64_t *seen_out, uint64_t *met_out);

/* The number of an existing file or directory by its inode. */
uint64_t calls_object(uint64_t inode);
/* Records from now on until stopped; the log is the caller's to free. */
void calls_record_start(void);
void calls_record_stop(call_log *log_out);
void calls_log_free(call_log *log);

#endif
