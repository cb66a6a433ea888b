/* cli.h: one run of the command: what was asked for, where the answer goes. */
#ifndef SHARDY_CLI_CLI_H
#define SHARDY_CLI_CLI_H

#include "config.h"
#include "opt.h"
#include "out_json.h"
#include "progress.h"
#include "value.h"

#include <shardyfusion/shardyfusion.h>

typedef enum out_format {
    OUT_JSON = 0,
    OUT_JSONL = 1,
    OUT_TABLE = 2,
    OUT_TEXT = 3
} out_format;

typedef struct cli {
    opt_values opts;
    config cfg;
    out_format format;
    value_encoding encoding;
    int colour_out;
    int colour_err;
    int verbose;
    shardy_context *context;
    shardy_cancel *cancel;                        /* requested by the first SIGINT or SIGTERM */
    progress bar;                                 /* also takes the messages of the library */
    int32_t key_encoding;                         /* of the snapshot; 0: not asked for yet */
    char *snapshot;                               /* URL or path once cli_snapshot() found it */
    shardy_manifest_store_options manifest_store; /* of Postgres; see target_manifest_store() */
} cli;

/* Each runs one command and returns the exit code. */
int cmd_build(cli *c);
int cmd_get(cli *c);
int cmd_multiget(cli *c);
int cmd_search(cli *c);
int cmd_info(cli *c);
int cmd_shards(cli *c);
int cmd_health(cli *c);
int cmd_route(cli *c);
int cmd_history(cli *c);
int cmd_rollback(cli *c);
int cmd_verify(cli *c);
int cmd_schema(cli *c);

/* --- output (out.c) --------------------------------------------------------------------------- */

/* Writes a result to the standard output; a newline is added when it ends without one. Returns
 * EXIT_OK, or EXIT_ERROR after a message; a closed pipe ends the program quietly. */
int out_write(const cli *c, const strbuf *text);
/* Exactly these bytes. */
int out_write_bytes(const cli *c, const void *data, size_t len);
/* What a terminal or a pipe gets in format text: controls are visible on a terminal. */
void out_add_text(strbuf *b, const char *text, size_t len);
/* Starts a JSON object {"op": ..., in the layout of the format. */
void out_json_begin(const cli *c, json_out *j, strbuf *b, const char *op);

/* Prints a failure on the standard error in the chosen format and returns the exit code. `key` is
 * NULL where the failure belongs to no key. */
int out_fail(const cli *c, const shardy_error *err, const char *key);
/* The same from a status and a text. */
int out_fail_text(const cli *c, shardy_status status, const char *text, const char *key);
/* A mistake in the command line: message, usage line, where to find help; returns EXIT_USAGE. */
int out_usage(const cli *c, const char *message);
void out_warn(const cli *c, const char *message);
/* Makes an error struct from a status and a message. */
void out_set_error(shardy_error *err, shardy_status status, const char *format, ...)
    CLI_PRINTF(3, 4);
/* An ISO 8601 time as the reference prints it: "+00:00" instead of "Z". Free with sys_free(). */
char *out_time(const char *iso);

/* --- the context (context.c) ------------------------------------------------------------------ */

/* Context and cancel token of this run; messages of the library go to the standard error.
 * `threads` 0: as configured. EXIT_OK, or the exit code after a message. */
int context_open(cli *c, uint32_t threads);

/* --- what several commands do (target.c) ------------------------------------------------------ */

/* Checks everything that belongs to object storage and other backends. EXIT_OK, or the exit code
 * after a message. `url` is the snapshot or the destination. */
int target_check(cli *c, const char *url);
/* After target_check(): where manifests are kept; NULL: beside the shards. */
const shardy_manifest_store_options *target_manifest_store(const cli *c);

/* Finds the snapshot that is meant, in c->snapshot. EXIT_OK, or the exit code after a message. */
int target_find(cli *c);

/* Opens the snapshot. EXIT_OK, or the exit code after a message. */
int target_open(cli *c, shardy_reader **reader_out);

/* The ref that --ref or --offset names, NULL for the current manifest; free it with sys_free(). */
int target_ref(cli *c, char **ref_out);

/* Timeout in milliseconds, `otherwise` when none was given. */
uint32_t target_timeout_ms(const cli *c, uint32_t otherwise);

/* Routing context from --routing-context; the list borrows from *owned_out, free both with
 * sys_free(). EXIT_OK, or the exit code after a message. */
int target_routing_context(
    const cli *c, shardy_column **columns_out, size_t *count_out, char **owned_out);

/* A key as key_parse() reads it for the snapshot that is open; the encoding is asked for once per
 * run. EXIT_OK, or the exit code after a message. */
int key_from_argument(cli *c, const shardy_reader *reader, const char *text, size_t len,
    shardy_key *key_out, char **owned_out);

/* Read options with the routing context and the cancel token of this run. */
void target_read_options(
    const cli *c, shardy_column *columns, size_t count, shardy_read_options *options_out);

/* --- signals (signals.c) ---------------------------------------------------------------------- */

/* From now on the first SIGINT or SIGTERM requests `cancel` and ends reading of the standard
 * input; the second one has its usual effect. */
void signals_install(shardy_cancel *cancel);
/* A pipe without a reader is an error of the write, not a signal: a build goes on when nobody reads
 * its progress. */
void signals_ignore_pipe(void);
/* Ends the program as that signal would have. */
void signals_die_of_pipe(void);
/* The signal that came, 0: none. */
int signals_caught(void);

#endif
