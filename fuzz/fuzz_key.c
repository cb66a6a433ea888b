/* Keys and their encodings. The input is two keys: for each a byte for its type, a byte for its
 * length and as many bytes; one byte in front chooses the encoding and the number of shards.
 *
 * Properties: what is stored decodes to the key; equal keys are stored alike and differing ones
 * apart; the order of stored integers is that of the integers; a key and its stored form go to the
 * same shard under an integer encoding; the text of a key fits and is printable. */
#include "route/router.h"
#include "require.h"

#include "base/bytebuf.h"

typedef struct cursor {
    const uint8_t *data;
    size_t len;
} cursor;

static uint8_t take_byte(cursor *c)
{
    if (c->len == 0) {
        return 0;
    }
    c->len--;
    return *c->data++;
}

static uint64_t take_u64(cursor *c)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = value << 8 | take_byte(c);
    }
    return value;
}

static shardy_key take_key(cursor *c)
{
    uint8_t type = take_byte(c) & 3;
    if (type == 0) {
        return shardy_key_int((int64_t)take_u64(c));
    }
    if (type == 1) {
        return shardy_key_uint(take_u64(c));
    }
    size_t len = take_byte(c);
    len = len < c->len ? len : c->len;
    const uint8_t *data = c->data;
    c->data += len;
    c->len -= len;
    return type == 2 ? shardy_key_text((const char *)data, len) : shardy_key_bytes(data, len);
}

static int is_integer(const shardy_key *key)
{
    return key->type == SHARDY_KEY_INT || key->type == SHARDY_KEY_UINT;
}

static int is_integer_encoding(int32_t encoding)
{
    return encoding == SHARDY_KEY_ENCODING_U64BE || encoding == SHARDY_KEY_ENCODING_U32BE;
}

static void check_text(const shardy_key *key)
{
    char text[SHARDY_KEY_TEXT_SIZE];
    memset(text, 'x', sizeof text);
    require(shardy__key_text(key, text) == text, "the text is where it was asked for");
    require(memchr(text, '\0', sizeof text) != NULL, "the text of a key ends");
}

static void check_decoded(const shardy_key *key, int32_t encoding, const encoded_key *stored)
{
    shardy_key decoded;
    encoded_key again;
    require(shardy__key_decode(stored->bytes, encoding, &decoded, NULL) == SHARDY_OK,
        "what is stored decodes");
    require(shardy__key_encode(&decoded, encoding, &again, NULL) == SHARDY_OK ||
                key->type == SHARDY_KEY_BYTES,
        "what was decoded encodes, unless text was not UTF-8");
    if (is_integer(key) || key->type == decoded.type) {
        require(shardy_key_compare(key, &decoded) == 0, "decoding undoes encoding");
    } else if (!is_integer(&decoded)) {
        require(same_bytes(key->bytes.data, key->bytes.len, decoded.bytes.data, decoded.bytes.len),
            "text and bytes are stored as they are");
    }
}

static void check_route(const shardy_key *key, int32_t encoding, uint32_t num_dbs)
{
    router r = {SHARDY_SHARDING_HASH, encoding, num_dbs};
    routed_key routed;
    shardy_error err;
    memset(&err, 0, sizeof err);
    shardy_status st = shardy__router_route(&r, key, NULL, 0, &routed, &err);
    require(st == SHARDY_OK || st == SHARDY_INVALID, "routing has two outcomes");
    require((st == SHARDY_OK) == (err.message[0] == '\0'), "a refusal has a message");
    if (st < 0) {
        return;
    }
    require(routed.db_id < num_dbs, "a shard is one of the shards");
    routed_key second;
    shardy_key stored = shardy_key_bytes(routed.stored.bytes.data, routed.stored.bytes.len);
    if (is_integer_encoding(encoding)) {
        require(shardy__router_route(&r, &stored, NULL, 0, &second, NULL) == SHARDY_OK,
            "a stored integer routes");
        require(second.db_id == routed.db_id, "a stored integer goes where the integer goes");
        require(same_bytes(second.stored.bytes.data, second.stored.bytes.len, stored.bytes.data,
                    stored.bytes.len),
            "a stored integer is stored as it is");
    }
}

/* What a user may ask for and no snapshot says. */
static void check_refusals(const shardy_key *key, uint8_t choice)
{
    char name[8];
    encoded_key stored;
    routed_key routed;
    uint32_t db_id;
    int32_t encoding;
    shardy_column context;
    router r = {SHARDY_SHARDING_CEL, SHARDY_KEY_ENCODING_RAW, 3};
    snprintf(name, sizeof name, "u%u", choice);
    require(shardy_key_encoding_parse(name, &encoding, NULL) == SHARDY_INVALID, "no such encoding");
    encoding = choice % 5;
    require(shardy_key_encoding_parse(shardy_key_encoding_name(encoding), &encoding, NULL) ==
                    SHARDY_OK &&
                encoding == choice % 5,
        "an encoding has a name");
    require(shardy__key_encode(key, 5 + choice, &stored, NULL) == SHARDY_INVALID,
        "an encoding that nobody knows stores nothing");
    require(shardy__router_route(&r, key, NULL, 0, &routed, NULL) == SHARDY_UNSUPPORTED,
        "an expression does not route here");
    memset(&context, 0, sizeof context);
    context.name = "region";
    r.strategy = SHARDY_SHARDING_HASH;
    require(shardy__router_route(&r, key, &context, 1, &routed, NULL) == SHARDY_ROUTE,
        "a hash takes no context");
    require(shardy_hash_route(key, 0, &db_id, NULL) == SHARDY_INVALID, "no shards, no shard");
    shardy_status st = shardy_hash_route(key, 7, &db_id, NULL);
    require(st == SHARDY_INVALID || (st == SHARDY_OK && db_id < 7), "a hash is one of the shards");
    encoding = shardy__key_encoding_for(key);
    st = shardy__key_encode(key, encoding, &stored, NULL);
    require(st == SHARDY_OK || key->type == SHARDY_KEY_TEXT || key->type == SHARDY_KEY_INT,
        "what fits a key stores it, unless it is negative or no UTF-8");
}

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

static void check_pair(const shardy_key *a, const shardy_key *b, int32_t encoding)
{
    encoded_key x;
    encoded_key y;
    int order = sign(shardy_key_compare(a, b));
    require(order == -sign(shardy_key_compare(b, a)), "the order has two directions");
    require(shardy_key_compare(a, a) == 0, "a key is itself");
    if (shardy__key_encode(a, encoding, &x, NULL) < 0 ||
        shardy__key_encode(b, encoding, &y, NULL) < 0) {
        return;
    }
    size_t shorter = x.bytes.len < y.bytes.len ? x.bytes.len : y.bytes.len;
    int bytes_order = shorter ? sign(memcmp(x.bytes.data, y.bytes.data, shorter)) : 0;
    if (bytes_order == 0) {
        bytes_order = (x.bytes.len > y.bytes.len) - (x.bytes.len < y.bytes.len);
    }
    if (a->type == b->type || (is_integer(a) && is_integer(b))) {
        require(order == bytes_order, "the order of stored keys is that of the keys");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cursor c = {data, size};
    uint8_t choice = take_byte(&c);
    int32_t encoding = 1 + (choice & 3);
    uint32_t num_dbs = 1 + (uint32_t)(choice >> 2);
    shardy_key keys[2] = {take_key(&c), take_key(&c)};
    for (int i = 0; i < 2; i++) {
        encoded_key stored;
        shardy_error err;
        memset(&err, 0, sizeof err);
        check_text(&keys[i]);
        shardy_status st = shardy__key_encode(&keys[i], encoding, &stored, &err);
        require(st == SHARDY_OK || st == SHARDY_INVALID, "encoding has two outcomes");
        require((st == SHARDY_OK) == (err.message[0] == '\0'), "a refusal has a message");
        if (st == SHARDY_OK) {
            check_decoded(&keys[i], encoding, &stored);
        }
        check_route(&keys[i], encoding, num_dbs);
        check_refusals(&keys[i], choice);
    }
    check_pair(&keys[0], &keys[1], encoding);
    return 0;
}
