#include "schema.h"

#include <string.h>

/* Types that a value may have. */
enum {
    T_TEXT = 1,
    T_INT = 2,
    T_NUMBER = 4,
    T_BOOL = 8,
    T_OBJECT = 16,
    T_NULL = 32,
    T_ANY = 64,
    T_LIST = 128, /* of objects whose members are the rows below `path` */
    T_KEY = 256   /* integer, text, or {"hex": text} */
};

/* One member: of the output `op`, inside the member `path` ("" is the output itself, "a.b" the
 * member b of a). A member that is not required may be missing. */
typedef struct schema_field {
    const char *op;
    const char *path;
    const char *name;
    unsigned type;
    int required;
    const char *choices; /* text that must be one of these, or NULL */
    const char *text;
} schema_field;

static const schema_field fields[] = {
    {"build", "", "run_id", T_TEXT, 1, NULL, "name of the run"},
    {"build", "", "manifest_ref", T_TEXT, 1, NULL, "the manifest that is current now"},
    {"build", "", "engine", T_TEXT, 1, NULL, "format of the shards"},
    {"build", "", "num_dbs", T_INT, 1, NULL, "shards, empty ones included"},
    {"build", "", "shard_count", T_INT, 1, NULL, "shards that hold rows"},
    {"build", "", "rows_taken", T_INT, 1, NULL, "rows read"},
    {"build", "", "row_count", T_INT, 1, NULL, "distinct keys"},
    {"build", "", "vector_count", T_INT, 1, NULL, "vectors written"},
    {"build", "", "db_bytes", T_INT, 1, NULL, "bytes of all shards"},
    {"build", "", "attempts", T_INT, 1, NULL, "shard attempts made"},
    {"build", "", "read_ms", T_INT, 1, NULL, "milliseconds of reading and spooling"},
    {"build", "", "build_ms", T_INT, 1, NULL, "milliseconds of sorting and building"},
    {"build", "", "publish_ms", T_INT, 1, NULL, "milliseconds of publishing"},
    {"build", "", "total_ms", T_INT, 1, NULL, "milliseconds from begin to end"},
    {"build", "", "replaced_run_id", T_TEXT | T_NULL, 1, NULL,
        "the run that became current during the build and was replaced"},
    {"build", "", "run_record_ref", T_TEXT | T_NULL, 1, NULL,
        "the run record; null when it could not be written"},

    {"get", "", "key", T_TEXT, 1, NULL, "the key as it was given"},
    {"get", "", "found", T_BOOL, 1, NULL, "whether the key exists"},
    {"get", "", "value", T_TEXT, 1, NULL,
        "the value in the value encoding; output.null_repr when there is none"},

    {"multiget", "", "results", T_LIST, 1, NULL, "one entry per key, in order"},
    {"multiget", "results", "key", T_TEXT, 1, NULL, "the key as it was given"},
    {"multiget", "results", "found", T_BOOL, 1, NULL, "whether the key exists"},
    {"multiget", "results", "value", T_TEXT, 0, NULL,
        "the value in the value encoding; missing when there is none"},

    {"search", "", "top_k", T_INT, 1, NULL, "hits that were asked for"},
    {"search", "", "num_shards_queried", T_INT, 1, NULL, "shards that were searched"},
    {"search", "", "latency_ms", T_NUMBER, 1, NULL, "milliseconds of the search"},
    {"search", "", "results", T_LIST, 0, NULL, "hits of one query, the nearest first"},
    {"search", "results", "id", T_TEXT | T_INT, 1, NULL, "id of the vector"},
    {"search", "results", "score", T_NUMBER, 1, NULL, "distance, rounded to six decimals"},
    {"search", "results", "payload", T_ANY, 1, NULL, "the payload; null when there is none"},
    {"search", "results", "db_id", T_INT, 1, NULL, "shard of the vector"},
    {"search", "", "queries", T_LIST, 0, NULL,
        "instead of results when the queries are the rows of a file: one entry per row"},
    {"search", "queries", "query", T_INT, 1, NULL, "number of the row, from 0"},
    {"search", "queries", "results", T_LIST, 1, NULL, "hits of this query, the nearest first"},
    {"search", "queries.results", "id", T_TEXT | T_INT, 1, NULL, "id of the vector"},
    {"search", "queries.results", "score", T_NUMBER, 1, NULL, "distance, rounded to six decimals"},
    {"search", "queries.results", "payload", T_ANY, 1, NULL,
        "the payload; null when there is none"},
    {"search", "queries.results", "db_id", T_INT, 1, NULL, "shard of the vector"},

    {"info", "", "run_id", T_TEXT, 1, NULL, "name of the run that wrote the snapshot"},
    {"info", "", "num_dbs", T_INT, 1, NULL, "shards, empty ones included"},
    {"info", "", "sharding", T_TEXT, 1, NULL, "how keys are spread over shards"},
    {"info", "", "created_at", T_TEXT, 1, NULL, "time of the manifest, ISO 8601"},
    {"info", "", "manifest_ref", T_TEXT, 1, NULL, "the manifest"},
    {"info", "", "row_count", T_INT, 1, NULL, "rows of all shards"},
    {"info", "", "key_encoding", T_TEXT, 1, "u64be|u32be|utf8|raw", "how keys are stored"},
    {"info", "", "hash_algorithm", T_TEXT | T_NULL, 1, NULL, "hash of the keys"},
    {"info", "", "engine", T_TEXT | T_NULL, 1, NULL, "format of the shards"},
    {"info", "", "verified", T_BOOL, 1, NULL, "whether objects have digests that are checked"},
    {"info", "", "shard_count", T_INT, 1, NULL, "shards that hold rows"},
    {"info", "", "db_bytes", T_INT, 1, NULL, "bytes of all shards"},
    {"info", "", "s3_prefix", T_TEXT | T_NULL, 1, NULL, "prefix that the writer recorded"},
    {"info", "", "generation", T_INT, 1, NULL, "generation of the pointer; 0 when it has none"},
    {"info", "", "cel_expr", T_TEXT | T_NULL, 1, NULL, "routing expression"},
    {"info", "", "vector", T_OBJECT | T_NULL, 1, NULL, "null for a snapshot without vectors"},
    {"info", "vector", "dim", T_INT, 1, NULL, "numbers per vector"},
    {"info", "vector", "metric", T_TEXT, 1, "cosine|l2|dot_product", "distance"},
    {"info", "", "custom", T_ANY, 1, NULL, "custom fields of the manifest"},

    {"shards", "", "shards", T_LIST, 1, NULL, "all shards in the order of their ids"},
    {"shards", "shards", "db_id", T_INT, 1, NULL, "id of the shard"},
    {"shards", "shards", "row_count", T_INT, 1, NULL, "its rows"},
    {"shards", "shards", "min_key", T_KEY | T_NULL, 1, NULL, "its smallest key"},
    {"shards", "shards", "max_key", T_KEY | T_NULL, 1, NULL, "its largest key"},
    {"shards", "shards", "db_url", T_TEXT | T_NULL, 1, NULL, "where it was written; null: empty"},
    {"shards", "shards", "db_bytes", T_INT, 1, NULL, "its bytes"},
    {"shards", "shards", "attempt", T_INT, 1, NULL, "the attempt that won"},

    {"health", "", "status", T_TEXT, 1, "healthy|degraded|unhealthy", "exit code 0, 1 or 2"},
    {"health", "", "manifest_ref", T_TEXT | T_NULL, 1, NULL,
        "the manifest; null, as age and shards, when the snapshot could not be opened"},
    {"health", "", "manifest_age_seconds", T_NUMBER | T_NULL, 1, NULL,
        "since the manifest was created"},
    {"health", "", "num_shards", T_INT | T_NULL, 1, NULL, "shards, empty ones included"},
    {"health", "", "is_closed", T_BOOL, 1, NULL, "always false here"},
    {"health", "", "verified", T_BOOL, 1, NULL, "whether objects have digests that are checked"},
    {"health", "", "fallback", T_BOOL, 1, NULL, "an older manifest than the pointer's is served"},
    {"health", "", "reason", T_TEXT | T_NULL, 1, NULL, "why it is not healthy"},

    {"route", "", "key", T_TEXT, 1, NULL, "the key as it was given"},
    {"route", "", "db_id", T_INT, 1, NULL, "the shard that holds the key if any does"},

    {"history", "", "manifests", T_LIST, 1, NULL, "the newest first"},
    {"history", "manifests", "offset", T_INT, 1, NULL, "0 is the newest"},
    {"history", "manifests", "run_id", T_TEXT, 1, NULL, "name of the run"},
    {"history", "manifests", "published_at", T_TEXT, 1, NULL, "ISO 8601"},
    {"history", "manifests", "ref", T_TEXT, 1, NULL, "the manifest"},
    {"history", "manifests", "current", T_BOOL, 1, NULL, "whether the pointer names it"},

    {"history", "manifests", "pins", T_ANY, 0, NULL,
        "names of the pins that keep it; null when they could not be told; missing when there are "
        "none"},
    {"refresh", "", "changed", T_BOOL, 1, NULL, "whether another snapshot is read now"},

    {"use", "", "run_id", T_TEXT, 1, NULL, "name of the run that wrote the snapshot"},
    {"use", "", "manifest_ref", T_TEXT, 1, NULL, "the manifest that is read from now on"},
    {"use", "", "pinned", T_BOOL, 1, NULL, "false: it is what the pointer names"},

    {"rollback", "", "ref", T_TEXT, 1, NULL, "the manifest that is current now"},

    {"verify", "", "status", T_TEXT, 1, "ok|damaged|unverified",
        "unverified: nothing wrong was found, but there are no digests"},
    {"verify", "", "objects", T_INT, 1, NULL, "objects read"},
    {"verify", "", "bytes", T_INT, 1, NULL, "bytes read"},
    {"verify", "", "damaged", T_LIST, 1, NULL, "what is damaged"},
    {"verify", "damaged", "path", T_TEXT, 1, NULL, "path below the root of the snapshot"},
    {"verify", "damaged", "offset", T_INT, 1, NULL, "of the first damaged chunk or page"},
    {"verify", "damaged", "reason", T_TEXT, 1, NULL, "what is wrong"},
    {"verify", "", "manifest_ref", T_TEXT | T_NULL, 1, NULL, "the manifest"},

    {"cleanup", "", "dry_run", T_BOOL, 1, NULL, "whether nothing was to be removed"},
    {"cleanup", "", "run_id", T_TEXT | T_NULL, 1, NULL, "run whose stale attempts were looked for"},
    {"cleanup", "", "stale_attempts", T_LIST, 1, NULL, "attempts of it that no manifest names"},
    {"cleanup", "stale_attempts", "db_id", T_INT | T_NULL, 1, NULL,
        "its shard; null when no manifest tells"},
    {"cleanup", "stale_attempts", "prefix_url", T_TEXT, 1, NULL, "where its objects are"},
    {"cleanup", "stale_attempts", "objects_deleted", T_INT, 1, NULL, "objects that are gone"},
    {"cleanup", "stale_attempts", "objects", T_INT, 1, NULL, "objects that are to go"},
    {"cleanup", "stale_attempts", "bytes", T_INT, 1, NULL, "bytes of them"},
    {"cleanup", "stale_attempts", "error", T_TEXT, 0, NULL, "why some are left"},
    {"cleanup", "", "total_objects_deleted", T_INT, 1, NULL, "objects that are gone"},
    {"cleanup", "", "total_prefixes_removed", T_INT, 1, NULL,
        "attempts and runs that are gone as a whole; in a dry run those that would be"},
    {"cleanup", "", "old_runs", T_LIST, 0, NULL, "runs, when they were asked for"},
    {"cleanup", "old_runs", "run_id", T_TEXT, 1, NULL, "name of the run"},
    {"cleanup", "old_runs", "prefix_url", T_TEXT, 1, NULL, "where its shards are"},
    {"cleanup", "old_runs", "objects_deleted", T_INT, 1, NULL, "objects that are gone"},
    {"cleanup", "old_runs", "objects", T_INT, 1, NULL, "objects that are to go"},
    {"cleanup", "old_runs", "bytes", T_INT, 1, NULL, "bytes of them"},
    {"cleanup", "old_runs", "error", T_TEXT, 0, NULL, "why some are left"},
    {"cleanup", "", "settled", T_LIST, 0, NULL,
        "runs whose publisher died, when runs were asked for"},
    {"cleanup", "settled", "run_id", T_TEXT, 1, NULL, "name of the run"},
    {"cleanup", "settled", "fate", T_TEXT, 1, "PUBLISHED|CONDEMNED",
        "what it is now: a snapshot that stays, or one of old_runs"},
    {"cleanup", "", "kept", T_LIST, 1, NULL, "runs that stay although the options let go of them"},
    {"cleanup", "kept", "run_id", T_TEXT, 1, NULL, "name of the run"},
    {"cleanup", "kept", "reason", T_TEXT, 1, NULL, "why it stays"},
    {"cleanup", "kept", "failed", T_BOOL, 1, NULL, "whether it could not be found out"},
    {"cleanup", "", "total_objects", T_INT, 1, NULL, "objects that are to go"},
    {"cleanup", "", "total_bytes", T_INT, 1, NULL, "bytes of them"},
    {"cleanup", "", "failures", T_INT, 1, NULL, "attempts and runs with an error"},

    {"pin", "", "name", T_TEXT, 1, NULL, "the pin"},
    {"pin", "", "ref", T_TEXT, 1, NULL, "the manifest that it keeps"},

    {"unpin", "", "name", T_TEXT, 1, NULL, "the pin"},
    {"unpin", "", "removed", T_INT, 1, NULL, "snapshots that it was taken off"},

    {"explain", "", "what", T_TEXT, 1, "open|get|search", "the call that is explained"},
    {"explain", "", "key", T_TEXT | T_NULL, 1, NULL, "the key of a get"},
    {"explain", "", "db_id", T_INT | T_NULL, 1, NULL, "its shard"},
    {"explain", "", "shards", T_INT, 1, NULL, "shards that are asked"},
    {"explain", "", "access", T_TEXT, 1, "local|download|range", "how shards are read"},
    {"explain", "", "sidecar", T_BOOL, 1, NULL, "whether the index of a shard is read as a whole"},
    {"explain", "", "hint", T_BOOL, 1, NULL, "whether that comes together with the manifest"},
    {"explain", "", "exact", T_BOOL, 1, NULL,
        "so many steps and requests, at most so many bytes; false: an estimate"},
    {"explain", "", "open", T_OBJECT, 1, NULL, "opening the snapshot; in cold as well"},
    {"explain", "open", "round_trips", T_INT, 1, NULL, "steps that wait for one another"},
    {"explain", "open", "requests", T_INT, 1, NULL, "requests"},
    {"explain", "open", "bytes", T_INT, 1, NULL, "bytes of their replies"},
    {"explain", "", "cold", T_OBJECT, 1, NULL, "opening and the first answer together"},
    {"explain", "cold", "round_trips", T_INT, 1, NULL, "steps that wait for one another"},
    {"explain", "cold", "requests", T_INT, 1, NULL, "requests"},
    {"explain", "cold", "bytes", T_INT, 1, NULL, "bytes of their replies"},
    {"explain", "", "warm", T_OBJECT, 1, NULL, "another answer of the same reader"},
    {"explain", "warm", "round_trips", T_INT, 1, NULL, "steps that wait for one another"},
    {"explain", "warm", "requests", T_INT, 1, NULL, "requests"},
    {"explain", "warm", "bytes", T_INT, 1, NULL, "bytes of their replies"},

    {"stats", "", "command", T_TEXT | T_NULL, 1, NULL,
        "the command; null for the interactive mode"},
    {"stats", "", "elapsed_ms", T_NUMBER, 1, NULL, "milliseconds of the whole command"},
    {"stats", "", "round_trips", T_INT | T_NULL, 1, NULL,
        "longest row of requests of which each waited for the reply to the one before; this and "
        "what else is null is not known of directories"},
    {"stats", "", "requests", T_OBJECT, 1, NULL, "requests that were sent to object storage"},
    {"stats", "requests", "get", T_INT | T_NULL, 1, NULL, "objects or ranges asked for"},
    {"stats", "requests", "head", T_INT | T_NULL, 1, NULL, "questions about objects"},
    {"stats", "requests", "put", T_INT | T_NULL, 1, NULL,
        "objects or parts sent; begins and ends of uploads"},
    {"stats", "requests", "list", T_INT | T_NULL, 1, NULL, "pages of listings"},
    {"stats", "requests", "delete", T_INT | T_NULL, 1, NULL, "removals of one or many objects"},
    {"stats", "requests", "failed", T_INT | T_NULL, 1, NULL, "of these, without a useful reply"},
    {"stats", "", "bytes_received", T_INT | T_NULL, 1, NULL, "bodies of replies"},
    {"stats", "", "bytes_sent", T_INT | T_NULL, 1, NULL, "bodies of requests"},
    {"stats", "", "store", T_OBJECT, 1, NULL, "calls of the store, of whatever kind it is"},
    {"stats", "store", "reads", T_INT, 1, NULL, "objects or parts read"},
    {"stats", "store", "read_bytes", T_INT, 1, NULL, "bytes of them"},
    {"stats", "store", "heads", T_INT, 1, NULL, "look-ups without a body"},
    {"stats", "store", "puts", T_INT, 1, NULL, "objects written"},
    {"stats", "store", "put_bytes", T_INT, 1, NULL, "bytes of them"},
    {"stats", "store", "lists", T_INT, 1, NULL, "pages of listings"},
    {"stats", "store", "deletes", T_INT, 1, NULL, "objects asked to be removed"},
    {"stats", "store", "opens", T_INT, 1, NULL, "objects opened as files"},
    {"stats", "", "retries", T_INT, 1, NULL, "calls made again after a failure"},
    {"stats", "", "retries_refused", T_INT, 1, NULL, "retries for which the budget was used up"},
    {"stats", "", "limit_waits", T_INT, 1, NULL, "calls that waited for a limit"},
    {"stats", "", "limit_wait_us", T_INT, 1, NULL, "microseconds of waiting, all together"},
    {"stats", "", "page_cache", T_OBJECT, 1, NULL, "cache of shards that are read by ranges"},
    {"stats", "page_cache", "hits", T_INT, 1, NULL, "pages that were there"},
    {"stats", "page_cache", "misses", T_INT, 1, NULL, "pages that were not"},
    {"stats", "", "file_cache", T_OBJECT, 1, NULL, "cache of shards that are downloaded"},
    {"stats", "file_cache", "hits", T_INT, 1, NULL, "files that were there"},
    {"stats", "file_cache", "fills", T_INT, 1, NULL, "files that were downloaded"},
    {"stats", "file_cache", "bypasses", T_INT, 1, NULL, "objects that were read without it"},

    {"error", "", "error", T_TEXT, 1, NULL, "what went wrong, one line"},
    {"error", "", "status", T_TEXT, 1, NULL, "name of the status of the library"},
    {"error", "", "key", T_TEXT, 0, NULL, "the key that it is about"},
};

enum {
    FIELD_COUNT = sizeof fields / sizeof fields[0]
};

static const char *const names[] = {"build", "get", "multiget", "search", "info", "shards",
    "health", "route", "history", "refresh", "use", "rollback", "verify", "cleanup", "pin", "unpin",
    "explain", "stats", "error", NULL};

const char *const *schema_names(void)
{
    return names;
}

/* --- one value -------------------------------------------------------------------------------- */

static void write_type_names(json_out *j, unsigned type)
{
    static const struct {
        unsigned bit;
        const char *name;
    } types[] = {{T_TEXT, "string"}, {T_INT, "integer"}, {T_NUMBER, "number"}, {T_BOOL, "boolean"},
        {T_OBJECT, "object"}, {T_LIST, "array"}, {T_NULL, "null"}};
    size_t count = 0;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        count += (type & types[i].bit) != 0;
    }
    json_name(j, "type");
    if (count > 1) {
        json_array(j);
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (type & types[i].bit) {
            json_text(j, types[i].name);
        }
    }
    if (count > 1) {
        json_array_end(j);
    }
}

static void write_choices(json_out *j, const char *choices)
{
    json_name(j, "enum");
    json_array(j);
    for (const char *p = choices;;) {
        size_t n = strcspn(p, "|");
        json_text_n(j, p, n);
        if (p[n] == '\0') {
            break;
        }
        p += n + 1;
    }
    json_array_end(j);
}

static void write_key_types(json_out *j, unsigned type)
{
    json_name(j, "anyOf");
    json_array(j);
    json_object(j);
    write_type_names(j, T_TEXT | T_INT | (type & T_NULL));
    json_object_end(j);
    json_object(j);
    write_type_names(j, T_OBJECT);
    json_name(j, "properties");
    json_object(j);
    json_name(j, "hex");
    json_object(j);
    write_type_names(j, T_TEXT);
    json_object_end(j);
    json_object_end(j);
    json_name(j, "required");
    json_array(j);
    json_text(j, "hex");
    json_array_end(j);
    json_object_end(j);
    json_array_end(j);
}

/* --- objects ---------------------------------------------------------------------------------- */

typedef struct object_level {
    char path[64];
    size_t next;     /* row of the table to look at */
    int inside_list; /* "items" must be closed */
} object_level;

enum {
    LEVELS_MAX = 4
};

static int belongs(const schema_field *f, const char *op, const char *path)
{
    return strcmp(f->op, op) == 0 && strcmp(f->path, path) == 0;
}

/* The beginning of an object schema up to its open "properties". */
static void open_object(json_out *j, const char *op, const char *path, unsigned type)
{
    write_type_names(j, type);
    json_name(j, "required");
    json_array(j);
    if (path[0] == '\0') {
        json_text(j, "op");
    }
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (belongs(&fields[i], op, path) && fields[i].required) {
            json_text(j, fields[i].name);
        }
    }
    json_array_end(j);
    json_name(j, "additionalProperties");
    json_bool(j, 0);
    json_name(j, "properties");
    json_object(j);
    if (path[0] == '\0') {
        json_name(j, "op");
        json_object(j);
        if (strcmp(op, "error") == 0) {
            write_type_names(j, T_TEXT);
        } else {
            json_name(j, "const");
            json_text(j, op);
        }
        json_object_end(j);
    }
}

/* One member. Returns 1 when its own members have to follow. */
static int write_field(json_out *j, const schema_field *f)
{
    json_name(j, f->name);
    json_object(j);
    json_name(j, "description");
    json_text(j, f->text);
    if (f->type & (T_LIST | T_OBJECT)) {
        return 1;
    }
    if (f->type & T_KEY) {
        write_key_types(j, f->type);
    } else if (!(f->type & T_ANY)) {
        write_type_names(j, f->type);
    }
    if (f->choices) {
        write_choices(j, f->choices);
    }
    json_object_end(j);
    return 0;
}

static void descend(
    json_out *j, object_level *level, const object_level *above, const schema_field *f)
{
    size_t used = strlen(above->path);
    memset(level, 0, sizeof *level);
    memcpy(level->path, above->path, used);
    if (used) {
        level->path[used++] = '.';
    }
    memcpy(level->path + used, f->name, strlen(f->name));
    if (f->type & T_LIST) {
        write_type_names(j, T_LIST);
        json_name(j, "items");
        json_object(j);
        level->inside_list = 1;
        open_object(j, f->op, level->path, T_OBJECT);
    } else {
        open_object(j, f->op, level->path, f->type);
    }
}

/* The whole schema of an output into an object that is open. */
static void write_output(json_out *j, const char *op)
{
    object_level levels[LEVELS_MAX] = {{"", 0, 0}};
    size_t depth = 1;
    open_object(j, op, "", T_OBJECT);
    while (depth > 0) {
        object_level *level = &levels[depth - 1];
        if (level->next == FIELD_COUNT) {
            json_object_end(j); /* properties */
            if (level->inside_list) {
                json_object_end(j);
            }
            depth--;
            if (depth > 0) {
                json_object_end(j); /* the member */
            }
            continue;
        }
        const schema_field *f = &fields[level->next++];
        if (belongs(f, op, level->path) && write_field(j, f)) {
            descend(j, &levels[depth], level, f);
            depth++;
        }
    }
}

static void write_head(json_out *j, const char *title)
{
    json_name(j, "$schema");
    json_text(j, "https://json-schema.org/draft/2020-12/schema");
    json_name(j, "title");
    json_text(j, title);
}

static void write_all(json_out *j)
{
    write_head(j, "Outputs of shardy");
    json_name(j, "anyOf");
    json_array(j);
    for (size_t i = 0; names[i]; i++) {
        char ref[64] = "#/$defs/";
        memcpy(ref + 8, names[i], strlen(names[i]) + 1);
        json_object(j);
        json_name(j, "$ref");
        json_text(j, ref);
        json_object_end(j);
    }
    json_array_end(j);
    json_name(j, "$defs");
    json_object(j);
    for (size_t i = 0; names[i]; i++) {
        json_name(j, names[i]);
        json_object(j);
        write_output(j, names[i]);
        json_object_end(j);
    }
    json_object_end(j);
}

int schema_write(json_out *j, const char *name)
{
    size_t i = 0;
    while (name && names[i] && strcmp(names[i], name) != 0) {
        i++;
    }
    if (name && !names[i]) {
        return -1;
    }
    json_object(j);
    if (name) {
        char title[64] = "Output of shardy ";
        size_t n = strlen(title);
        memcpy(title + n, name, strlen(name) + 1);
        write_head(j, title);
        write_output(j, name);
    } else {
        write_all(j);
    }
    json_object_end(j);
    return 0;
}
