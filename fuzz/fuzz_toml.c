/* The configuration files of the command: whatever the bytes are, they are refused with a message
 * that is safe on a terminal, or every value keeps the bounds of its table. */
#include "../cli/config.h"
#include "../cli/utf8.h"
#include "require.h"

static void check_message(int rc, const strbuf *message)
{
    require(rc == 0 || rc == -1, "reading has two outcomes");
    require((rc == 0) == (message->len == 0), "a refusal has a message");
    require(utf8_valid(strbuf_text(message), message->len), "a message is UTF-8");
    for (size_t i = 0; i < message->len; i++) {
        unsigned char c = (unsigned char)message->data[i];
        require(c >= 0x20 && c != 0x7F, "a message has no control characters");
    }
}

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
    char *text = malloc(size + 1);
    if (!text) {
        return;
    }
    if (size) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    credentials over;
    credentials_init(&over);
    int rc = s3_option_set(&over, text, &message);
    check_message(rc, &message);
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
    check_message(rc, &message);
    check_config(&c);
    config_free(&c);
    strbuf_free(&message);
    credentials k;
    credentials_init(&k);
    rc = credentials_parse(&k, (const char *)data, size, "default", "credentials.toml", &message);
    check_message(rc, &message);
    check_credentials(&k);
    credentials_free(&k);
    strbuf_free(&message);
    check_option(data, size);
    return 0;
}
