/* config.h: configuration files: reader.toml and credentials.toml.
 *
 * One table per file says which names exist, what they hold and which bounds they have; unknown
 * names are errors that name the nearest known one. */
#ifndef SHARDY_CLI_CONFIG_H
#define SHARDY_CLI_CONFIG_H

#include "strbuf.h"

typedef enum config_thread_safety {
    CONFIG_LOCK = 0,
    CONFIG_POOL = 1
} config_thread_safety;

typedef enum config_backend {
    CONFIG_SLATEDB = 0,
    CONFIG_SQLITE = 1
} config_backend;

typedef enum config_store {
    CONFIG_S3 = 0,
    CONFIG_POSTGRES = 1
} config_store;

/* Texts are owned by the struct; NULL where the file says nothing or "". */
typedef struct config {
    char *path; /* of the file; NULL: there is none, these are the defaults */
    /* [reader] */
    char *current_url;
    char *s3_prefix;
    char *local_root;
    int64_t thread_safety; /* config_thread_safety */
    double pool_checkout_timeout;
    int64_t max_workers; /* 0: the file does not say */
    char *slate_env_file;
    char *credentials_profile;
    int64_t reader_backend; /* config_backend; -1: the file does not say */
    int64_t sqlite_mode;    /* index in download|range|auto */
    int64_t sqlite_per_shard_bytes;
    int64_t sqlite_total_bytes;
    /* [manifest_store] */
    int64_t store; /* config_store */
    char *dsn;
    char *table_name;
    char *pointer_table_name;
    int64_t ensure_table;
    /* [output] */
    int64_t format;         /* index in json|jsonl|table|text */
    int64_t value_encoding; /* value_encoding */
    char *null_repr;
} config;

/* One profile of credentials.toml. */
typedef struct credentials {
    char *path; /* NULL: no file was found */
    char *endpoint_url;
    char *region;
    char *access_key_id;
    char *secret_access_key;
    char *session_token;
    char *aws_profile; /* of the files of AWS */
    char *signature_version;
    int64_t addressing_style; /* SHARDY_S3_ADDRESSING_... */
    int64_t verify_ssl;
    char *ca_bundle; /* verify_ssl as a text */
    int64_t connect_timeout;
    int64_t read_timeout;
    int64_t max_attempts; /* 0: nobody says it */
} credentials;

/* Writes the defaults. */
void config_init(config *c);
void config_free(config *c);

/* Loads `path`; NULL: SHARDY_CONFIG, ./reader.toml, ~/.config/shardy/reader.toml, else the
 * defaults. Returns 0, or -1 with a message. */
int config_load(config *c, const char *path, strbuf *message);

/* Reads one file that is already in memory; `name` is for messages. */
int config_parse(config *c, const char *text, size_t len, const char *name, strbuf *message);

void credentials_init(credentials *c);
void credentials_free(credentials *c);

/* Loads a profile from `path`; NULL: SHARDY_CREDENTIALS, and with `search` also ./credentials.toml
 * and ~/.config/shardy/credentials.toml. Appends a line to `warning` when others may read the
 * file. Returns 0 (also without a file), or -1 with a message. */
int credentials_load(credentials *c, const char *path, const char *profile, int search,
    strbuf *warning, strbuf *message);
int credentials_parse(credentials *c, const char *text, size_t len, const char *profile,
    const char *name, strbuf *message);

/* Puts one --s3-option KEY=VALUE over what a file says; keys and values are those of the file.
 * Returns 0, or -1 with a message. */
int s3_option_set(credentials *c, const char *text, strbuf *message);

#endif
