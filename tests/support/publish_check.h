/* publish_check.h: decides whether several processes that published, rolled back and cleaned up at
 * once kept to the protocol: from the events of event_store.h, what each process was told, and what
 * is in the data set afterwards. It knows what a correct history of compare-and-swaps looks like
 * and nothing of how the library makes it.
 *
 * Nothing here asserts: the first thing that is wrong is put into words. */
#ifndef SHARDY_TESTS_PUBLISH_CHECK_H
#define SHARDY_TESTS_PUBLISH_CHECK_H

#include "dataset.h"
#include "event_store.h"

/* What a process was told. */
typedef struct publish_outcome {
    char run_id[DATASET_STAMP_MAX]; /* that it published, or rolled back to */
    int32_t status;
    int32_t died; /* 1: it was killed and was told nothing */
    /* 1: it cleaned up, which may write the pointer anew, or read; 2: it pinned. Also of one that
     * died. */
    int32_t helps;
    char message[300];
} publish_outcome;

/* A run as the checker believes it to be. */
typedef struct publish_run_state {
    char run_id[64];
    char ref[300];     /* key of its manifest as in events; "" while there is none */
    char version[80];  /* of its fate; "": it has none */
    int32_t state;     /* of its fate */
    int32_t published; /* its manifest is there */
    uint32_t pins;
} publish_run_state;

/* The data set as it must be. */
typedef struct publish_world {
    dataset_place at; /* borrowed; its store may be another one from call to call */
    publish_run_state *runs;
    size_t run_count;
    size_t run_room;
    char version[80]; /* of the pointer */
    char run_id[64];  /* that it names */
    uint64_t generation;
    uint64_t answers; /* of readers, so far */
} publish_world;

/* Takes the data set as it is, which is good by definition. 0 when it cannot be read. */
int publish_world_open(publish_world *w, const dataset_place *at, dataset_problem *problem);
void publish_world_close(publish_world *w);
/* A run of before, or NULL. */
publish_run_state *publish_world_run(publish_world *w, const char *run_id);

/* What may happen in a round. */
typedef struct publish_rules {
    uint32_t processes;
    int one_winner;              /* all have seen the same pointer: one of them moves it */
    const char *may_be_given_up; /* a run whose writer may condemn it; NULL: none */
    uint32_t pointer_fails;      /* the process whose pointer write fails; UINT32_MAX: none */
    int cleans;                  /* some process removes old runs, to which others may roll back */
    int settles;                 /* some take whoever publishes for dead */
} publish_rules;

/* One round. NOT 0: all was well, and `w` is what is there now. */
int publish_check_round(publish_world *w, const event_log *log, const publish_outcome *outcomes,
    const publish_rules *rules, dataset_problem *problem);

/* The history names the runs that are there and no others; each is whole, when `deep` to the last
 * byte. NOT 0: it is so. */
int publish_check_history(const publish_world *w, int deep, dataset_problem *problem);

#endif
