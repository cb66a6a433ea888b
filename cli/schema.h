/* schema.h: JSON Schema (draft 2020-12) of what the commands print as JSON, from one table. */
#ifndef SHARDY_CLI_SCHEMA_H
#define SHARDY_CLI_SCHEMA_H

#include "out_json.h"

/* Writes the schema of one output ("get", "error", ...), or of all for NULL. Returns 0, or -1 when
 * there is no such output. */
int schema_write(json_out *j, const char *name);

/* Names of all outputs, ended by NULL. */
const char *const *schema_names(void);

#endif
