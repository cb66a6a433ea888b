/* upload.h: the files of an attempt become objects. */
#ifndef SHARDY_BUILD_UPLOAD_H
#define SHARDY_BUILD_UPLOAD_H

#include "attempt.h"

/* Uploads the files and adds them to `output`, whose path is known, each before it is sent: so
 * after a failure the objects that may be there are those in `output`.
 * Statuses: OK, INVALID (a path is too long), those of files and stores. */
shardy_status shardy__upload_files(const attempt_job *job, const shardy_engine_files *files,
    attempt_output *output, shardy_error *err);

/* 1 when an object of the attempt is a sidecar. */
int shardy__upload_has_sidecar(const attempt_output *output);

#endif
