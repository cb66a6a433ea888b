/* disk.h: what a disk holds when the power goes: a model that is fed with the calls of calls.h and
 * forgets what was not synced.
 *
 * As little as POSIX promises: syncing a file makes its content durable and not its name, syncing a
 * directory makes the names in it durable and nothing below; a rename is two names. */
#ifndef SHARDY_TESTS_DISK_H
#define SHARDY_TESTS_DISK_H

#include "calls.h"
#include "support.h"

typedef struct disk disk;

/* What is lost of what was not synced. */
typedef enum disk_loss {
    DISK_LOSES_ALL = 0,
    DISK_LOSES_CONTENT, /* the names are there, the content is that of the last sync */
    DISK_LOSES_LENGTH,  /* the same, but files have their length: what was lost reads as zeros */
    DISK_LOSES_NAMES,   /* the content is there */
    DISK_LOSES_SOME,    /* some names, some pages of content */
    DISK_LOSS_COUNT
} disk_loss;

/* A disk that holds this directory, durably. */
disk *disk_new(const char *root);
disk *disk_copy(const disk *d);
void disk_free(disk *d);
/* 1 when it is a directory. */
int disk_is_dir(const disk *d, uint64_t number);
/* A call was made. With `forget`, a sync that was not done after all. */
void disk_apply(disk *d, const call_record *record, int forget);
/* Writes what is found after the power has gone into a new directory. */
void disk_write(const disk *d, disk_loss loss, support_rand *rand, const char *dest);

#endif
