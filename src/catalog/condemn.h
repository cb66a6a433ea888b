/* condemn.h: how a cleanup, which may be one of several, gets the right to remove a run. The steps
 * are those of the cleaner in tests/model/publish_cleanup.pml: read the fate, then the pointer,
 * then condemn by compare-and-swap; who wins removes, the manifest first. */
#ifndef SHARDY_CATALOG_CONDEMN_H
#define SHARDY_CATALOG_CONDEMN_H

#include "catalog.h"

/* What is known of a run without a fate, that is, one of the reference. */
typedef struct condemn_found {
    const char *manifest_ref; /* NULL: it has no manifest */
    sha256 manifest_digest;
    uint64_t manifest_size;
} condemn_found;

/* A run on its way to be condemned. */
typedef struct condemn_claim {
    fate fate;
    int32_t absent;      /* 1: it has no fate; `fate` is what it would be adopted as */
    int32_t won;         /* 1: the run is condemned, its objects may be removed */
    char reason[300];    /* why it was not won */
    int32_t probed;      /* 1: the store was asked whether it honours conditional writes */
    int32_t has_current; /* there is a pointer */
    pointer current;     /* what it says, read after the fate */
} condemn_claim;

/* Reads the fate. Nothing is written. */
shardy_status shardy__condemn_read(const catalog *c, const char *run_id, const condemn_found *found,
    condemn_claim *claim, shardy_error *err);

/* Looks at the pointer and condemns the run, unless `dry`. `claim` is from shardy__condemn_read(),
 * and its state is one that may be condemned: WRITING, PUBLISHED, or CONDEMNED, which is won
 * already. OK also when it was not won: somebody else was faster, or the pointer names the run. A
 * failure leaves it open whether it was condemned. */
shardy_status shardy__condemn_claim(
    const catalog *c, condemn_claim *claim, int32_t dry, shardy_error *err);

/* Leads a run to its end that is PUBLISHING, and whose publisher seems to have died: writes the
 * pointer anew, unless it names the run, so that no earlier publisher or rollback can move it any
 * more; then changes the fate, unless `dry`. claim->fate.state is what it is, or would be, then:
 * PUBLISHED, when the pointer names it or its manifest is there; CONDEMNED, which leaves the
 * objects to shardy__condemn_claim() and its caller; or PUBLISHING as before, with claim->reason. A
 * failure leaves it open what the fate is; the next call does the rest. */
shardy_status shardy__condemn_settle(
    const catalog *c, condemn_claim *claim, int32_t dry, shardy_error *err);

/* --- pins: the way to say no to it ------------------------------------------------------------ */

/* Names a pin on the run of a manifest that was loaded, in its fate and by compare-and-swap. Only a
 * run that is PUBLISHED is pinned, so that all of it is there. OK also when it has that pin.
 * Statuses: OK; INVALID (it is not published); GONE (it is condemned); CONFLICT (its fate was
 * changed at this moment); EXHAUSTED (it has FATE_PINS_MAX pins); those of the store. */
shardy_status shardy__pin_add(
    const catalog *c, const loaded_manifest *target, const char *name, shardy_error *err);
/* Takes the pin off a run. OK; NOT_FOUND when it has none of that name; CONFLICT; those of the
 * store. */
shardy_status shardy__pin_remove(
    const catalog *c, const char *run_id, const char *name, shardy_error *err);

#endif
