/* explain.c: what look-ups will ask of the store, told without asking it. */
#include "reader.h"

#include "../engine/shard_file.h"
#include "../engine/shard_object.h"

#include <string.h>

/* Vectors are streamed in requests of at most this. */
#define STREAM_REQUEST (1u << 20)
/* What rows may take on average so that none is taken to be longer than its page: a row of up to
 * 1,002 bytes fits a page of 4 KiB, and few are four times as long as the others. The longest row
 * is in no manifest. */
#define ROW_BYTES_SAFE 250u

static void add_cost(shardy_cost *sum, const page_cost *c)
{
    sum->round_trips += c->round_trips;
    sum->requests += c->requests;
    sum->bytes += c->bytes;
}

/* Pointer, manifest, and what tells what they do not. */
static void explain_open(const shardy_snapshot *s, shardy_explanation *out)
{
    const manifest_store *manifests = &s->core->catalog.manifests;
    out->exact = s->pointer_size > 0 && s->pointer_ours && !manifests->ops->refs_are_run_ids;
    if (manifests->ops->refs_are_run_ids) {
        return; /* in a database: no requests of the store */
    }
    uint32_t steps = out->exact ? 2 : 3; /* a fate or a listing as well */
    uint64_t more = s->manifest_size > 0 ? (s->manifest_size - 1) / MANIFEST_BEGIN_LEN : 0;
    out->open = (shardy_cost){
        steps + (more > 0), steps + (uint32_t)more, s->pointer_size + s->manifest_size};
}

/* Whether the pointer tells enough to read the index of this key's shard with the manifest. */
static int hint_serves(const shardy_snapshot *s, const shardy_key *key, const char *path)
{
    char guess[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    const shardy_reader_options *o = &s->core->options;
    int automatic = o->access == SHARDY_ACCESS_AUTO;
    return s->pointer_ours && s->ranges && s->hint.num_dbs > 0 &&
           (!automatic || s->hint.shard_bytes >= o->auto_shard_bytes ||
               s->hint.total_bytes >= o->auto_total_bytes) &&
           shardy__hint_shard(&s->hint, key, guess) && strcmp(guess, path) == 0;
}

static shardy_status cost_of_shard(shardy_snapshot *s, uint32_t slot,
    char path_out[SHARDY_OBJECT_KEY_LEN_MAX + 1], shard_cost *out, shardy_error *err)
{
    shardy_engine_reader_spec spec;
    if (!s->engine) {
        const shardy_engine_ops *none;
        return shardy__engine_find(s->engine_name, &none, err);
    }
    SHARDY_TRY(shardy__snapshot_engine_spec(s, slot, path_out, &spec, err));
    if (!(s->engine->caps & SHARDY_ENGINE_CAP_REMOTE)) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "read",
            "what reads of the engine \"%s\" take is not known", s->engine_name);
    }
    return shardy__shard_object_cost(&spec, SHARD_FILE_NAME, out, err);
}

/* Whether rows may go on in other pages, which are asked for one after the other. */
static int may_overflow(const manifest_shard *shard)
{
    return shard->row_count == 0 || shard->db_bytes / shard->row_count > ROW_BYTES_SAFE;
}

static shardy_status explain_get(shardy_snapshot *s, const shardy_key *key,
    const shardy_read_options *options, shardy_explanation *out, shardy_error *err)
{
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    routed_key routed;
    shard_cost cost;
    SHARDY_TRY(shardy__router_route(&s->router, key, options ? options->routing_context : NULL,
        options ? options->routing_context_count : 0, &routed, err));
    out->db_id = routed.db_id;
    if (s->slot_of[routed.db_id] == UINT32_MAX) {
        return SHARDY_OK; /* nothing is in it: nothing is asked */
    }
    SHARDY_TRY(cost_of_shard(s, s->slot_of[routed.db_id], path, &cost, err));
    out->shards = 1;
    out->sidecar = cost.sidecar;
    out->hint = hint_serves(s, key, path);
    out->exact =
        out->exact && !cost.open.guessed && !cost.page.guessed &&
        (cost.page.requests == 0 || !may_overflow(&s->manifest->shards[s->slot_of[routed.db_id]]));
    add_cost(&out->cold, &cost.open);
    add_cost(&out->cold, &cost.page);
    add_cost(&out->warm, &cost.page);
    if (out->hint && cost.sidecar) {
        out->cold.round_trips--;
    } else if (out->hint) {
        out->cold.requests += 2; /* asked for in vain; there are no digests of one chunk */
        out->cold.bytes += cost.sidecar_bytes;
    }
    return SHARDY_OK;
}

/* Exact search reads all vectors of all shards. How many of the pages of a shard are theirs is not
 * in the manifest, so it is all of them. */
static shardy_status explain_search(shardy_snapshot *s, shardy_explanation *out, shardy_error *err)
{
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    if (!s->has_vectors) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "search", "the snapshot has no vectors");
    }
    uint32_t steps = 0;
    for (uint32_t i = 0; i < s->slot_count; i++) {
        shard_cost cost;
        if (!s->manifest->shards[i].db_url) {
            continue;
        }
        SHARDY_TRY(cost_of_shard(s, i, path, &cost, err));
        uint64_t bytes = s->ranges ? s->manifest->shards[i].db_bytes : 0;
        uint64_t requests = (bytes + STREAM_REQUEST - 1) / STREAM_REQUEST;
        out->shards++;
        out->sidecar |= cost.sidecar;
        out->cold.requests += cost.open.requests + (uint32_t)requests;
        out->cold.bytes += cost.open.bytes + bytes;
        out->warm.requests += (uint32_t)requests;
        out->warm.bytes += bytes;
        steps = cost.open.round_trips > steps ? cost.open.round_trips : steps;
    }
    out->cold.round_trips += s->ranges ? 2 * steps : steps;
    out->warm.round_trips += s->ranges ? steps : 0;
    out->exact = 0;
    return SHARDY_OK;
}

static shardy_status explain(shardy_snapshot *s, const shardy_explain_request *request,
    shardy_explanation *out, shardy_error *err)
{
    int local = (shardy_store_caps(s->core->catalog.shards) & SHARDY_STORE_CAP_OPEN_LOCAL) != 0;
    out->access = local ? 0 : s->ranges ? SHARDY_ACCESS_RANGE : SHARDY_ACCESS_DOWNLOAD;
    if (!local) {
        explain_open(s, out);
    } else {
        out->exact = 1; /* files of this machine: no requests at all */
    }
    out->cold = out->open;
    switch (request->what) {
    case SHARDY_EXPLAIN_OPEN:
        return SHARDY_OK;
    case SHARDY_EXPLAIN_GET:
        SHARDY_CHECK_ARG(request->key);
        return explain_get(s, request->key, request->options, out, err);
    case SHARDY_EXPLAIN_SEARCH:
        return explain_search(s, out, err);
    default:
        return shardy__error(err, SHARDY_INVALID, "read",
            "what is to be explained is %d, expected open, get or search", request->what);
    }
}

void shardy_explain_request_init(shardy_explain_request *request, size_t struct_size)
{
    shardy_explain_request defaults;
    memset(&defaults, 0, sizeof defaults);
    defaults.what = SHARDY_EXPLAIN_OPEN;
    shardy__options_init(request, struct_size, &defaults, sizeof defaults);
}

shardy_status shardy_reader_explain(const shardy_reader *reader,
    const shardy_explain_request *request, shardy_explanation *explanation_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(reader && explanation_out);
    memset(explanation_out, 0, sizeof *explanation_out);
    shardy_explain_request r;
    shardy_explain_request_init(&r, sizeof r);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&r, request, err));
    pin p;
    shardy_snapshot *s;
    SHARDY_TRY(shardy__reader_begin(reader, &p, &s, err));
    shardy_status st = explain(s, &r, explanation_out, err);
    shardy__unpin(p);
    return st;
}
