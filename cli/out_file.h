/* out_file.h: a file that the results go to instead of the standard output. It is written under
 * another name and appears when it is complete; until then what was there stays. */
#ifndef SHARDY_CLI_OUT_FILE_H
#define SHARDY_CLI_OUT_FILE_H

#include "strbuf.h"

typedef struct out_file {
    char *path; /* where it will be */
    char *temp; /* where it is written; NULL: there is nothing to rename (a pipe, a device) */
} out_file;

/* From now on the standard output is the file. Returns 0, or -1 with a message. */
int out_file_open(out_file *f, const char *path, strbuf *message);
/* Puts the file in its place. Returns 0, or -1 with a message; the temporary file is gone then. */
int out_file_commit(out_file *f, strbuf *message);
/* Removes the temporary file, if there still is one, and frees the rest. */
void out_file_close(out_file *f);

#endif
