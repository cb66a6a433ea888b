/* profile.h: the files of AWS with profiles, ~/.aws/credentials and ~/.aws/config.
 *
 * Lines "[name]" (in the config file "[profile name]", but "[default]") begin a profile, lines
 * "name = value" belong to it; '#' and ';' begin a comment at the start of a line, and after a
 * space in a value. What is indented deeper than the line before it continues that one: nested
 * settings, which are passed over. Of a name that comes twice the last one counts; names are the
 * same in capitals. What a file holds is in no message but by the number of its line. */
#ifndef SHARDY_STORE_PROFILE_H
#define SHARDY_STORE_PROFILE_H

#include "../base/error.h"

#include <stddef.h>
#include <stdint.h>

/* A file is read whole: a thousand profiles of a kilobyte. */
#define PROFILE_FILE_LEN_MAX ((size_t)1 << 20)

/* What a profile of one file says; texts are owned, NULL where it says nothing or "". */
typedef struct profile {
    int32_t found; /* 1: the file has this profile */
    char *access_key_id;
    char *secret_access_key;
    char *session_token;
    char *region;
    char *role_arn;
    char *role_session_name;
    char *token_file;
    /* A setting that asks for credentials in a way that is not supported; NULL: none. Static. */
    const char *unsupported;
} profile;

typedef enum profile_file {
    PROFILE_CREDENTIALS = 0,
    PROFILE_CONFIG = 1
} profile_file;

/* Reads one profile of a file; `out` may be empty or filled by another one, which then counts less.
 * Statuses: OK (also without that profile); CONFIG with the line; NOMEM. Free `out` in any case. */
shardy_status shardy__profile_parse(
    shardy_bytes text, profile_file kind, const char *name, profile *out, shardy_error *err);
/* Reads at most PROFILE_FILE_LEN_MAX bytes of a file. NOT_FOUND when there is none. */
shardy_status shardy__profile_load(
    const char *path, profile_file kind, const char *name, profile *out, shardy_error *err);
/* Overwrites it; leaves an empty one. */
void shardy__profile_free(profile *p);

/* A small file as a text, which is zero-terminated; white space at its end is cut off. Statuses:
 * OK; NOT_FOUND; CONFIG (more than len_max bytes, a zero byte); IO, AUTH, NOMEM. Ownership: give it
 * back with shardy__secret_free(). */
shardy_status shardy__secret_load(
    const char *path, size_t len_max, char **text_out, size_t *len_out, shardy_error *err);
/* Overwrites a text before its memory is freed. NULL is fine. */
void shardy__secret_free(char *text);

#endif
