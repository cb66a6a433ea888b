/* place.h: where the data set of a race is: in a directory, in a bucket of our S3 server, or with
 * its manifests in Postgres and its shards in a directory. Each process opens it for itself. */
#ifndef SHARDY_TESTS_PLACE_H
#define SHARDY_TESTS_PLACE_H

#include "dataset.h"

struct server;

typedef enum place_kind {
    PLACE_FS = 0,
    PLACE_S3,
    PLACE_POSTGRES,
    PLACE_KINDS
} place_kind;

extern const char *const place_names[PLACE_KINDS];

typedef struct place {
    place_kind kind;
    struct server *server; /* NULL: none is needed */
    char *dir;             /* NULL: objects are in a bucket */
    char url[600];         /* of the data set that is on */
    char tables[2][48];
    shardy_manifest_store_options manifests;
    uint32_t data_sets; /* that there were */
} place;

/* Starts what is needed. Without cmocka, too: what cannot be started ends the program. */
void place_start(place *p, place_kind kind);
void place_stop(place *p);
/* An empty data set, and the end of it. */
void place_begin(place *p);
void place_end(place *p);

/* The store of the data set, for this process. Close it. */
shardy_status place_open_store(const place *p, shardy_store **store_out, shardy_error *err);
/* How that data set is named to the library. */
dataset_place place_dataset(const place *p, shardy_store *store);

/* Events of the manifest store are written down as those of the store are. */
void place_record(const place *p, shardy_store *store);

#endif
