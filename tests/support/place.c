#include "place.h"

#include "event_store.h"
#include "server.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const place_names[PLACE_KINDS] = {"fs", "s3", "postgres"};

void place_start(place *p, place_kind kind)
{
    memset(p, 0, sizeof *p);
    p->kind = kind;
    p->server = kind == PLACE_S3         ? server_start_s3(NULL)
                : kind == PLACE_POSTGRES ? server_start_postgres()
                                         : NULL;
}

void place_stop(place *p)
{
    server_stop(p->server);
    p->server = NULL;
}

void place_begin(place *p)
{
    uint32_t number = p->data_sets++;
    if (p->kind == PLACE_S3) {
        snprintf(p->url, sizeof p->url, "s3://%s/race-%u", SERVER_BUCKET, number);
    } else {
        p->dir = support_make_dir();
        snprintf(p->url, sizeof p->url, "%s", p->dir);
    }
    shardy_manifest_store_options_init(&p->manifests, sizeof p->manifests);
    if (p->kind == PLACE_POSTGRES) {
        snprintf(p->tables[0], sizeof p->tables[0], "race_%u", number);
        snprintf(p->tables[1], sizeof p->tables[1], "race_%u_pointer", number);
        p->manifests.kind = SHARDY_MANIFEST_POSTGRES;
        p->manifests.dsn = server_conninfo(p->server, 1);
        p->manifests.table_name = p->tables[0];
        p->manifests.pointer_table_name = p->tables[1];
    }
}

void place_end(place *p)
{
    support_remove_dir(p->dir);
    p->dir = NULL;
}

shardy_status place_open_store(const place *p, shardy_store **store_out, shardy_error *err)
{
    if (p->kind == PLACE_S3) {
        shardy_store_s3_options options;
        shardy_store_s3_options_init(&options, sizeof options);
        options.endpoint_url = server_url(p->server);
        options.region = SERVER_REGION;
        options.access_key_id = SERVER_ACCESS_KEY;
        options.secret_access_key = SERVER_SECRET_KEY;
        options.proxy = "";
        return shardy_store_open_s3(NULL, p->url, &options, store_out, err);
    }
    shardy_store_fs_options options;
    shardy_store_fs_options_init(&options, sizeof options);
    options.sync = 0;
    return shardy_store_open_fs(NULL, p->dir, &options, store_out, err);
}

dataset_place place_dataset(const place *p, shardy_store *store)
{
    return (dataset_place){p->url, store, &p->manifests};
}

void place_record(const place *p, shardy_store *store)
{
#ifdef SHARDY_HAVE_POSTGRES
    if (p->kind == PLACE_POSTGRES) {
        event_manifests_record(store);
    }
#else
    (void)p;
    (void)store;
#endif
}
