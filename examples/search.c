/* search.c: prints the three nearest vectors, the nearest first.
 *
 * usage: search SNAPSHOT NUMBER... */
#include <shardyfusion/shardyfusion.h>

#include <stdio.h>
#include <stdlib.h>

static shardy_status print_hits(
    const shardy_reader *reader, const float *numbers, uint32_t dim, shardy_error *err)
{
    shardy_hits hits = {0};
    shardy_query query;

    shardy_query_init(&query, sizeof query);
    query.vectors = numbers;
    query.count = 1;
    query.dim = dim;
    query.top_k = 3;
    shardy_status st = shardy_reader_search(reader, &query, NULL, &hits, err);
    for (size_t i = 0; st == SHARDY_OK && i < hits.offsets[1]; i++) {
        const shardy_hit *hit = &hits.hits[i];
        if (hit->id.type == SHARDY_KEY_TEXT) { /* otherwise hit->id.i is the id */
            printf("%8.3f  %.*s  %.*s\n", hit->score, (int)hit->id.bytes.len,
                (const char *)hit->id.bytes.data, (int)hit->payload.len,
                hit->has_payload ? (const char *)hit->payload.data : "");
        }
    }
    shardy_hits_dispose(&hits);
    return st;
}

int main(int argc, char **argv)
{
    shardy_error err;
    shardy_reader *reader = NULL;
    float numbers[SHARDY_DIM_MAX];
    if (argc < 3 || argc - 2 > (int)SHARDY_DIM_MAX) {
        fprintf(stderr, "usage: search SNAPSHOT NUMBER...\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        char *end = NULL;
        numbers[i - 2] = strtof(argv[i], &end);
        if (end == argv[i] || *end) {
            fprintf(stderr, "search: \"%s\" is not a number\n", argv[i]);
            return 2;
        }
    }
    shardy_status st = shardy_reader_open(NULL, argv[1], NULL, &reader, &err);
    if (st == SHARDY_OK) {
        st = print_hits(reader, numbers, (uint32_t)argc - 2, &err);
    }
    if (st != SHARDY_OK) {
        fprintf(stderr, "search: %s: %s\n", shardy_status_name(st), err.message);
    }
    shardy_reader_close(reader);
    return st != SHARDY_OK;
}
