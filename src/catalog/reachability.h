/* reachability.h: which objects the manifests of a data set name. A cleanup removes no object that
 * a manifest names which stays, whatever run the object is of: a manifest may name shards of
 * earlier runs.
 *
 * One thread at a time. */
#ifndef SHARDY_CATALOG_REACHABILITY_H
#define SHARDY_CATALOG_REACHABILITY_H

#include "../base/map.h"
#include "catalog.h"

/* A manifest that is listed. Strings live as long as the reachability. */
typedef struct reach_manifest {
    const char *ref;
    const char *run_id;
    int64_t published_us;
    int32_t loaded;     /* 1: what it names is known */
    int32_t counts;     /* 1: it is one of those that stay */
    int32_t fate_state; /* of its run when it was loaded; 0: there was none */
    int32_t fate_open;  /* 1: it could not be loaded, because the fate of its run could not be */
    int32_t missing;    /* 1: it was listed, but is not there */
    sha256 digest;      /* of its image */
    uint64_t size;
    uint32_t **paths; /* a counter for each path that it names */
    size_t path_count;
} reach_manifest;

typedef struct reachability {
    arena arena;
    map refs;  /* ref -> reach_manifest */
    map paths; /* key of an object or of a directory of a shard -> uint32_t, how many name it */
    map dbs;   /* directory of all attempts of a shard -> its number plus one */
    reach_manifest **manifests; /* as they were listed: newest first, later ones behind */
    size_t count;
    size_t room;
    const char *shard_prefix; /* borrowed: where shards have to be */
} reachability;

void shardy__reach_init(reachability *r, const char *shard_prefix);
void shardy__reach_free(reachability *r);

/* Adds the manifests that are listed now and were not before. EXHAUSTED when there are more than
 * are looked at. */
shardy_status shardy__reach_list(reachability *r, const catalog *c, shardy_error *err);
/* The same, listed twice, newest first. A listing has no digest, and one whose bytes were changed
 * on the way shows a manifest under another name or not at all: two of them do not agree in
 * that. */
shardy_status shardy__reach_list_twice(reachability *r, const catalog *c, shardy_error *err);

/* Loads a manifest, unless it was, and counts what it names. OK also when it is missing, which
 * names nothing. Statuses: those of shardy__catalog_load() and shardy__fate_load(); INVALID when it
 * keeps its shards below another prefix than the one that was configured. */
shardy_status shardy__reach_load(
    reachability *r, const catalog *c, reach_manifest *m, shardy_error *err);

/* What the manifests of a run name does not count any more, or counts again. */
void shardy__reach_let_go(reachability *r, const char *run_id);
void shardy__reach_keep(reachability *r, const char *run_id);

/* 1 when a manifest that counts names the object, or a directory that it is in. */
int shardy__reach_covers(const reachability *r, const char *key);

/* Number of the shard whose attempts are in a directory ("shards/run_id=a/db=00000"); -1 when no
 * manifest tells. */
int64_t shardy__reach_db_id(const reachability *r, const char *dir, size_t len);

#endif
