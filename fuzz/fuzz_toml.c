/* The configuration files of the command: whatever the bytes are, they are refused with a message
 * that is safe on a terminal, or every value keeps the bounds of its table. */
#include "../cli/config.h"
#include "message.h"

static void check_config(const config *c)
{
    require(c->thread_safety == CONFIG_LOCK || c->thread_safety == CONFIG_POOL, "a known choice");
    require(c->reader_backend >= -1 && c->reader_backend <= CONFIG_SQLITE, "a known backend");
    require(c->sqlite_mode >= 0 && c->sqlite_mode <= 2, "a known mode");
    require(c->store == CONFIG_S3 || c->store == CONFIG_POSTGRES, "a known store");
    require(c->format >= 0 && c->format <= 3, "a known format");
    require(c->value_encoding >= 0 && c->value_encoding <= 2, "a known encoding");
    require(c->pool_checkout_timeout > 0 && c->pool_checkout_timeout < 1e9, "a possible time");
    require(c->max_workers >= 0, "a possible number of workers");
    require(c->sqlite_per_shard_bytes >= 0 && c->sqlite_total_bytes >= 0, "possible sizes");
    require(c->ensure_table == 0 || c->ensure_table == 1, "a truth value");
    require(!c->current_url || c->current_url[0], "an empty text is none");
}

static void check_credentials(const credentials *c)
{
    require(c->verify_ssl == 0 || c->verify_ssl == 1, "a truth value");
    require(c->connect_timeout >= 0 && c->read_timeout >= 0, "possible times");
    require(c->max_attempts >= 0, "a possible number of attempts; 0: the library's own");
    require(!c->secret_access_key || c->secret_access_key[0], "an empty text is none");
}

/* A value of --s3-option. */
static void check_option(const uint8_t *data, size_t size)
{
    strbuf message = {0};
    char *text = copy_text(data, size);
    credentials over;
    credentials_init(&over);
    int rc = s3_option_set(&over, text, &message);
    require_message(rc, &message, 0);
    check_credentials(&over);
    credentials_free(&over);
    strbuf_free(&message);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    config c;
    strbuf message = {0};
    config_init(&c);
    int rc = config_parse(&c, (const char *)data, size, "reader.toml", &message);
    require_message(rc, &message, 0);
    check_config(&c);
    config_free(&c);
    strbuf_free(&message);
    credentials k;
    credentials_init(&k);
    rc = credentials_parse(&k, (const char *)data, size, "default", "credentials.toml", &message);
    require_message(rc, &message, 0);
    check_credentials(&k);
    credentials_free(&k);
    strbuf_free(&message);
    check_option(data, size);
    return 0;
}
