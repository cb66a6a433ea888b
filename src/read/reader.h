/* reader.h: the inside of a reader. */
#ifndef SHARDY_READ_READER_H
#define SHARDY_READ_READER_H

#include "snapshot.h"

struct shardy_reader {
    read_core *core;
    _Atomic(shardy_snapshot *) current; /* the reader has one reference */
    int32_t pinned_ref;                 /* opened at a fixed manifest */
    shardy_etag seen;                   /* of the pointer to `current`; of who refreshes */
    mutex state_lock;                   /* rank: leaf; guards the rest */
    int refreshing;                     /* somebody refreshes: one at a time */
    condition refreshed;                /* nobody does any more */
    shardy_status refresh_status;
    char refresh_message[512];
};

/* Pins and gives the snapshot that is current. Unpin it. FORKED. */
shardy_status shardy__reader_begin(
    const shardy_reader *reader, pin *pin_out, shardy_snapshot **snapshot_out, shardy_error *err);

#endif
