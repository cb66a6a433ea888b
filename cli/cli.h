/* cli.h: one run of the command: what was asked for, where the answer goes. */
#ifndef SHARDY_CLI_CLI_H
#define SHARDY_CLI_CLI_H

#include "config.h"
#include "opt.h"
#include "out_json.h"
#include "progress.h"
#include "value.h"

#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>

#include <sys/types.h>

typedef enum out_format {
    OUT_JSON = 0,
    OUT_JSONL = 1,
    OUT_TABLE = 2,
    OUT_TEXT = 3
} out_format;

/* A reader that stays open while many commands run on it: in a script or the interactive mode. */
typedef struct cli_session {
    shardy_reader *reader;
    int pinned;         /* the reader has a ref: it stays where it is */
    int typed;          /* interactive mode, not a script */
    int on_terminal;    /* people are reading */
    int over;           /* quit */
    const char *op;     /* name for failures of what has no command; NULL: the command's */
    const char *output; /* the file that the standard output is, or NULL */
    int output_failed;
} cli_session;

typedef struct cli {
    opt_values opts;
    config cfg;
    out_format format;
    value_encoding encoding;
    int colour_out;
    int colour_err;
    int verbose;
    credentials found; /* of credentials.toml, once target_check() read it */
    shardy_context *context;
    shardy_store *store;    /* NULL: the library finds it by the path */
    shardy_store *below[2]; /* the stores that `store` passes its calls on to, innermost first */
    size_t below_count;
    int in_bucket;                                /* the store is object storage */
    shardy_cancel *cancel;                        /* requested by the first signal to end */
    progress bar;                                 /* also takes the messages of the library */
    int32_t key_encoding;                         /* of the snapshot; 0: not asked for yet */
    char *snapshot;                               /* URL or path once target_find() found it */
    cli_session *session;                         /* NULL: one command, one reader */
    shardy_manifest_store_options manifest_store; /* of Postgres; see target_manifest_store() */
    shardy_error *failure; /* where out_fail() leaves what it would print; NULL: it prints */
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
int cmd_cleanup(cli *c);
int cmd_pin(cli *c);
int cmd_unpin(cli *c);
int cmd_explain(cli *c);
int cmd_exec(cli *c);
int cmd_schema(cli *c);
int cmd_refresh(cli *c);
int cmd_use(cli *c);
int cmd_help(cli *c);
int cmd_quit(cli *c);

/* Runs the command of c->opts. */
int command_run(cli *c);
/* What the program does without a command: the interactive mode. */
int interactive_run(cli *c);

/* --- sessions (session.c) --------------------------------------------------------------------- */

/* Opens the snapshot that is meant and makes `s` the session. EXIT_OK, or the exit code after a
 * message; session_close() in either case. */
int session_open(cli *c, cli_session *s);
void session_close(cli *c);
/* Reads from another manifest, NULL: from what the pointer names, and pins it. On failure the
 * reader is as before. EXIT_OK, or the exit code after a message. */
int session_switch(cli *c, const char *ref);
/* Runs a line that opt_parse_line() has read. The values are for this line; format, encoding and
 * timeout are those of the program unless the line says otherwise. */
int session_run_line(cli *c, const opt_values *line);

/* --- output (out.c) --------------------------------------------------------------------------- */

/* Writes a result to the standard output; a newline is added when it ends without one. Returns
 * EXIT_OK, or EXIT_ERROR after a message; a closed pipe ends the program quietly. */
int out_write(const cli *c, const strbuf *text);
/* Writes the result of a command that has changed something. When it cannot be written, the message
 * begins with what was done all the same, which is `format`. */
int out_report(const cli *c, const strbuf *text, const char *format, ...) CLI_PRINTF(3, 4);
/* Exactly these bytes. */
int out_write_bytes(const cli *c, const void *data, size_t len);
/* What a terminal or a pipe gets in format text: controls are visible on a terminal. */
void out_add_text(strbuf *b, const char *text, size_t len);
/* Writes to the standard error. */
void out_write_error(const strbuf *text);
/* Starts a JSON object {"op": ..., in the layout of the format. */
void out_json_begin(const cli *c, json_out *j, strbuf *b, const char *op);

/* Prints a failure on the standard error in the chosen format and returns the exit code. `key` is
 * NULL where the failure belongs to no key. */
int out_fail(const cli *c, const shardy_error *err, const char *key);
/* The same from a status and a text. */
int out_fail_text(const cli *c, shardy_status status, const char *text, const char *key);
/* A mistake in the command line: message, usage line, where to find help; returns EXIT_USAGE. */
int out_usage(const cli *c, const char *message);
/* The same for a value that an option cannot have. */
int out_usage_value(const cli *c, const char *option, const char *expected, const char *given);
/* What makes a noun the plural of so many: "" for one, else "s". */
const char *out_s(uint64_t count);
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

/* --- object storage (bucket.c) ---------------------------------------------------------------- */

/* Opens the store of an s3:// URL in c->store, also that of a directory when it is to be limited;
 * nothing for other URLs, nor when it is open. After target_check() and context_open(). EXIT_OK, or
 * the exit code after a message. */
int bucket_open(cli *c, const char *url);
void bucket_close(cli *c);

/* --- places (place.c) ------------------------------------------------------------------------- */

/* 1 when two URLs or paths, of a root or of the pointer in it, name the same data set: however they
 * are spelled, and for directories whatever links lead there. */
int place_same(const char *a, const char *b);

/* --- what was asked of stores (stats.c) ------------------------------------------------------- */

/* With --stats: prints what the command, which began at `since_ns`, has done. After its last call,
 * with all readers closed. */
void stats_print(const cli *c, int64_t since_ns);

/* --- what several commands do (target.c) ------------------------------------------------------ */

/* Checks everything that belongs to object storage and other backends. EXIT_OK, or the exit code
 * after a message. `url` is the snapshot or the destination. */
int target_check(cli *c, const char *url);
/* After target_check(): where manifests are kept; NULL: beside the shards. */
const shardy_manifest_store_options *target_manifest_store(const cli *c);

/* Finds the snapshot that is meant, in c->snapshot. EXIT_OK, or the exit code after a message. */
int target_find(cli *c);
/* With manifests in Postgres: that `url`, which `name` ("--snapshot") says, is the data set of the
 * configuration, whose manifests those are. EXIT_OK, or the exit code after a message. */
int target_agrees(cli *c, const char *name, const char *url);

/* Finds the snapshot and opens what calls of administration need, with `threads` (0: one for each
 * processor), and fills their options. EXIT_OK, or the exit code after a message. */
int target_admin(cli *c, uint32_t threads, shardy_admin_options *options);
/* The options alone, when that was opened before. */
void target_fill_admin(const cli *c, shardy_admin_options *options);

/* Opens the snapshot, or lends the reader of the session. EXIT_OK, or the exit code after a
 * message. Give it back with target_close() in either case. */
int target_open(cli *c, shardy_reader **reader_out);
/* The same when it is known which key will be asked for first. */
int target_open_for(cli *c, const char *first_key, size_t len, shardy_reader **reader_out);
void target_close(const cli *c, shardy_reader *reader);
/* Opens the snapshot at a ref, NULL: at the pointer. */
int target_open_ref(cli *c, const char *ref, shardy_reader **reader_out);

/* What --ref, --run-id or --offset names; *named_out 0: none is given. EXIT_OK, or the exit code
 * after a message. */
int target_named(const cli *c, shardy_rollback_target *target, int *named_out);

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

/* From now on the first SIGINT, SIGTERM or SIGHUP requests `cancel` and ends reading of the
 * standard input; the second one has its usual effect. */
void signals_install(shardy_cancel *cancel);
/* A pipe without a reader and a file that becomes larger than the process may write are errors of
 * the write, not signals: a build goes on when nobody reads its progress. */
void signals_ignore(void);
/* Ends the program as that signal would have. */
void signals_die_of_pipe(void);
/* The signal that came, 0: none. */
int signals_caught(void);
/* In the interactive mode SIGINT ends what runs and never the program: it requests the token that
 * signals_watch() named last, NULL: none. SIGTERM and SIGHUP do so too, and are the end of the
 * input. */
void signals_stay(void);
void signals_watch(shardy_cancel *cancel);
/* Forgets a SIGINT. */
void signals_forget(void);
/* Waits until there is something to read from the standard input, or its end. Returns 1; 0 when a
 * signal came first. */
int signals_wait_input(void);
/* What can be read from the terminal at this moment, as read() answers: Ctrl-C drops what was
 * typed, so that there may be nothing although signals_wait_input() saw something; errno is EINTR
 * then. */
ssize_t signals_read_input(void *bytes, size_t n);
/* 1 once after the terminal has changed its size, or the program came back to it. */
int signals_terminal_changed(void);

#endif
