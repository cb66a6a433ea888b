/* s3.h: buckets of the servers that bench/run starts, and the log of our own one. */
#ifndef SHARDY_BENCH_SUPPORT_S3_H
#define SHARDY_BENCH_SUPPORT_S3_H

#include <shardyfusion/context.h>
#include <shardyfusion/sys/store.h>

#define BENCH_BUCKET "s3://test-bucket"

/* Opens `url` of the server at `endpoint` with the keys that our servers expect. 0 connections: as
 * many as a store has by default. Ends the program when it fails. */
shardy_store *bench_s3_open(
    shardy_context *context, const char *endpoint, const char *url, uint32_t connections);

/* What the log of tests/servers/s3_server.py says about the requests since the last take, which it
 * forgets. */
typedef struct bench_trips {
    double steps; /* round trips: the longest chain of requests that follow one another */
    double requests;
    double bytes; /* of replies */
} bench_trips;

bench_trips bench_trips_take(const char *endpoint);
/* A request to its control interface (tests/servers/control.py), e.g. "POST", "settings". */
void bench_control(const char *endpoint, const char *method, const char *path, const char *body);

#endif
