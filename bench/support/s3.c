#include "s3.h"

#include "bench.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLY_SIZE 8192u

typedef struct reply {
    char text[REPLY_SIZE];
    size_t len;
} reply;

shardy_store *bench_s3_open(
    shardy_context *context, const char *endpoint, const char *url, uint32_t connections)
{
    shardy_error err;
    shardy_store *store;
    shardy_store_s3_options o;
    shardy_store_s3_options_init(&o, sizeof o);
    o.endpoint_url = endpoint;
    o.region = "us-east-1";
    o.access_key_id = "test-access-key";
    o.secret_access_key = "test-secret-key";
    o.proxy = "";
    o.connections_max = connections ? connections : o.connections_max;
    bench_check(shardy_store_open_s3(context, url, &o, &store, &err), "store", &err);
    return store;
}

static size_t keep(char *data, size_t size, size_t count, void *user)
{
    reply *r = user;
    size_t room = REPLY_SIZE - 1 - r->len;
    size_t len = size * count;
    memcpy(r->text + r->len, data, len < room ? len : room);
    r->len += len < room ? len : room;
    return len;
}

static void ask(
    const char *endpoint, const char *method, const char *path, const char *body, reply *r)
{
    char url[512];
    long status = 0;
    static CURL *curl;
    curl = curl ? curl : curl_easy_init();
    bench_need(curl != NULL, "curl");
    curl_easy_reset(curl);
    memset(r, 0, sizeof *r);
    snprintf(url, sizeof url, "%s/_control/%s", endpoint, path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, r);
    bench_need(curl_easy_perform(curl) == CURLE_OK, "the server of bench/run cannot be reached");
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    bench_need(status == 200, r->text);
}

void bench_control(const char *endpoint, const char *method, const char *path, const char *body)
{
    reply r;
    ask(endpoint, method, path, body, &r);
}

static double value_of(const reply *r, const char *name)
{
    char line[64];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(r->text, line);
    if (strncmp(r->text, line + 1, strlen(line) - 1) == 0) {
        return strtod(r->text + strlen(line) - 1, NULL);
    }
    return at ? strtod(at + strlen(line), NULL) : 0;
}

bench_trips bench_trips_take(const char *endpoint)
{
    reply r;
    ask(endpoint, "GET", "counts", NULL, &r);
    const bench_trips trips = {
        value_of(&r, "round_trips"), value_of(&r, "requests"), value_of(&r, "bytes_out")};
    bench_control(endpoint, "DELETE", "log", NULL);
    return trips;
}
