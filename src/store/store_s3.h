/* store_s3.h: what the parts of the s3 store share. */
#ifndef SHARDY_STORE_STORE_S3_H
#define SHARDY_STORE_STORE_S3_H

#include "s3_call.h"

/* The put of the table, for any size. */
shardy_status shardy__s3_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err);

/* Appends a text of an XML document. */
void shardy__s3_put_xml_text(bytebuf *out, shardy_bytes text);

#endif
