/* s3_xml.h: the XML documents that S3 answers with, read with expat. No document type, no entities
 * but the five of XML; the depth, the length of a text and the number of entries are bounded. What
 * a document has beyond what is asked for is passed over.
 *
 * Statuses of all: OK, CORRUPT (not the document that was expected), NOMEM. */
#ifndef SHARDY_STORE_S3_XML_H
#define SHARDY_STORE_S3_XML_H

#include "credentials_reply.h"

#include "../base/arena.h"
#include "../base/error.h"

#include <stdint.h>

/* <Error>, also as the body of a reply 200. */
typedef struct s3_failure {
    char code[64]; /* "": there was none */
    char message[256];
    char region[64];
} s3_failure;

typedef struct s3_list_entry {
    const char *key; /* as it came: perhaps encoded; zero-terminated */
    size_t key_len;
    uint64_t size;
    int64_t modified_us;
    int32_t is_prefix;
    struct s3_list_entry *next;
} s3_list_entry;

/* <ListBucketResult>. Entries in the order of the document, in an arena of the caller's. */
typedef struct s3_list {
    s3_failure failure;
    s3_list_entry *first;
    s3_list_entry *last;
    size_t count;
    const char *next_token; /* NULL: the last page */
    int32_t truncated;
    int32_t encoded; /* 1: keys are percent-encoded */
} s3_list;

shardy_status shardy__s3_parse_list(
    shardy_bytes xml, arena *memory, s3_list *out, shardy_error *err);

/* <DeleteResult>: calls `visit` for each object, `code` being NULL for one that is gone. */
typedef void (*s3_deleted_fn)(void *user, const char *key, const char *code, const char *message);
shardy_status shardy__s3_parse_deleted(
    shardy_bytes xml, s3_deleted_fn visit, void *user, s3_failure *failure, shardy_error *err);

/* <InitiateMultipartUploadResult>, <CompleteMultipartUploadResult>; the root may have any name. */
typedef struct s3_upload_result {
    s3_failure failure;
    char root[64];
    char upload_id[1024];
    char etag[256];
    char checksum_sha256[80];
} s3_upload_result;

/* CORRUPT also when there is neither an UploadId nor an error. */
shardy_status shardy__s3_parse_upload_begun(
    shardy_bytes xml, s3_upload_result *out, shardy_error *err);
/* The same with the ETag. */
shardy_status shardy__s3_parse_upload_ended(
    shardy_bytes xml, s3_upload_result *out, shardy_error *err);

/* <AssumeRoleWithWebIdentityResponse> of the security token service; its <ErrorResponse> fills
 * `code` and is OK. CORRUPT also when there are no credentials that expire. */
shardy_status shardy__s3_parse_assumed(shardy_bytes xml, credentials_reply *out, shardy_error *err);

/* <Error>; anything else, and nothing, leaves `out` empty: an error may have any body. */
void shardy__s3_parse_failure(shardy_bytes xml, s3_failure *out);

#endif
