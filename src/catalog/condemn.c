#include "condemn.h"

#include <stdio.h>
#include <string.h>

shardy_status shardy__condemn_read(const catalog *c, const char *run_id, const condemn_found *found,
    condemn_claim *claim, shardy_error *err)
{
    memset(claim, 0, sizeof *claim);
    fate *f = &claim->fate;
    /* model: cleaner_read_fate */
    shardy_status st = shardy__fate_load(c->store, run_id, f, err);
    if (st == SHARDY_OK) {
        return st;
    }
    SHARDY_TRY(st);
    memset(f, 0, sizeof *f);
    claim->absent = 1;
    shardy__fate_adopted(run_id, f);
    f->state = found->manifest_ref ? FATE_PUBLISHED : FATE_WRITING;
    if (found->manifest_ref) {
        snprintf(f->manifest_ref, sizeof f->manifest_ref, "%s", found->manifest_ref);
        f->has_manifest = 1;
        f->manifest_digest = found->manifest_digest;
        f->manifest_size = found->manifest_size;
    }
    return SHARDY_OK;
}

static shardy_status lose(condemn_claim *claim, const char *reason)
{
    snprintf(claim->reason, sizeof claim->reason, "%s", reason);
    return SHARDY_OK;
}

static int is_named(const catalog *c, const condemn_claim *claim)
{
    const fate *f = &claim->fate;
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_error ignored;
    int same = strcmp(claim->current.run_id, f->run_id) == 0;
    if (f->has_manifest && shardy__manifest_store_ref(
                               &c->manifests, claim->current.manifest_ref, ref, &ignored) >= 0) {
        same |= strcmp(ref, f->manifest_ref) == 0;
    }
    return same;
}

/* 1 when the pointer forbids to remove the run. */
static int is_current(const catalog *c, condemn_claim *claim)
{
    const fate *f = &claim->fate;
    if (!claim->has_current) {
        /* Somebody may have lost the pointer: what was published may still be wanted. */
        if (f->state == FATE_PUBLISHED) {
            lose(claim, "there is no pointer, so nobody can tell what is current");
            return 1;
        }
        return 0;
    }
    int same = is_named(c, claim);
    if (same) {
        lose(claim, f->state == FATE_CONDEMNED
                        ? "the pointer names it, although it was condemned before"
                        : "it is current");
    }
    return same;
}

shardy_status shardy__condemn_claim(
    const catalog *c, condemn_claim *claim, int32_t dry, shardy_error *err)
{
    fate *f = &claim->fate;
    shardy_etag version;
    claim->won = 0;
    if (claim->absent && !dry) {
        /* model: cleaner_adopt */
        shardy_status st = shardy__fate_create(c->context, c->store, f, err);
        if (st == SHARDY_EXISTS) {
            return lose(claim, "somebody else has adopted it at this moment");
        }
        SHARDY_TRY(st);
        claim->absent = 0;
    }
    /* model: cleaner_read_pointer */
    shardy_status st =
        shardy__manifest_store_load_current(&c->manifests, &claim->current, &version, err);
    SHARDY_TRY(st);
    claim->has_current = st == SHARDY_OK;
    if (is_current(c, claim)) {
        return SHARDY_OK;
    }
    claim->won = dry || f->state == FATE_CONDEMNED;
    if (!dry) {
        SHARDY_TRY(shardy__catalog_probe(c, f, err));
        claim->probed = 1;
    }
    if (claim->won) {
        return SHARDY_OK;
    }
    /* model: cleaner_condemn */
    st = shardy__fate_change(c->context, c->store, f, FATE_CONDEMNED, err);
    if (st == SHARDY_CONFLICT) {
        return lose(claim, "somebody else has changed its fate at this moment");
    }
    SHARDY_TRY(st);
    claim->won = 1;
    return SHARDY_OK;
}

/* --- settling --------------------------------------------------------------------------------- */

/* The pointer as it was read, with another version. */
static shardy_status fence(
    const catalog *c, condemn_claim *claim, const shardy_etag *seen, shardy_error *err)
{
    pointer anew = claim->current;
    int32_t open;
    anew.generation++; /* nonces of the same seed are the same */
    shardy__rand_hex32(c->context, anew.nonce);
    /* model: settle_fence */
    shardy_status st = shardy__manifest_store_set_current(&c->manifests, &anew, seen, &open, err);
    return st == SHARDY_CONFLICT ? lose(claim, "somebody else has moved the pointer at this moment")
                                 : st;
}

/* What becomes of a run that the pointer does not name, and cannot come to name. */
static shardy_status choose_end(
    const catalog *c, const fate *f, int32_t *state_out, shardy_error *err)
{
    const manifest_promise promise = {f->has_manifest, f->manifest_digest, f->manifest_size};
    loaded_manifest loaded;
    /* model: settle_read_manifest */
    shardy_status st = shardy__catalog_load(c, f->manifest_ref, &promise, NULL, &loaded, err);
    if (st == SHARDY_OK) {
        shardy__manifest_free(loaded.manifest);
    }
    *state_out = st == SHARDY_OK ? FATE_PUBLISHED : FATE_CONDEMNED;
    return st < 0 ? st : SHARDY_OK;
}

shardy_status shardy__condemn_settle(
    const catalog *c, condemn_claim *claim, int32_t dry, shardy_error *err)
{
    fate *f = &claim->fate;
    shardy_etag seen;
    int32_t state = FATE_PUBLISHED;
    /* model: settle_read_pointer */
    shardy_status st =
        shardy__manifest_store_load_current(&c->manifests, &claim->current, &seen, err);
    SHARDY_TRY(st);
    claim->has_current = st == SHARDY_OK;
    if (!claim->has_current) {
        return lose(claim, "its publisher seems to have died, but without a pointer nobody can "
                           "keep it from making one");
    }
    const int named = is_named(c, claim);
    if (!named && (!claim->current.has_ours || claim->current.stranger[0])) {
        return lose(claim, "its publisher seems to have died, but the pointer has another "
                           "program's form and is not written anew");
    }
    if (!dry) {
        SHARDY_TRY(shardy__catalog_probe(c, f, err));
        claim->probed = 1;
    }
    if (!named) {
        if (!dry) {
            SHARDY_TRY(fence(c, claim, &seen, err));
        }
        if (claim->reason[0]) {
            return SHARDY_OK;
        }
        SHARDY_TRY(choose_end(c, f, &state, err));
    }
    /* model: settle_decide */
    st = dry ? SHARDY_OK : shardy__fate_change(c->context, c->store, f, state, err);
    if (st == SHARDY_CONFLICT) {
        return lose(claim, "somebody else has changed its fate at this moment");
    }
    f->state = st < 0 ? f->state : state;
    return st;
}

/* --- pins ------------------------------------------------------------------------------------- */

static uint32_t find_pin(const fate *f, const char *name)
{
    uint32_t i = 0;
    while (i < f->pin_count && strcmp(f->pins[i], name) != 0) {
        i++;
    }
    return i;
}

static shardy_status check_pinnable(const fate *f, shardy_error *err)
{
    if (f->state == FATE_CONDEMNED) {
        return shardy__error(err, SHARDY_GONE, "pin",
            "run \"%.128s\" was condemned by its writer or a cleanup: its shards are gone or going",
            f->run_id);
    }
    if (f->state != FATE_PUBLISHED) {
        return shardy__error(err, SHARDY_INVALID, "pin",
            "run \"%.128s\" is not published: its fate is %s", f->run_id,
            shardy__fate_state_name(f->state));
    }
    return SHARDY_OK;
}

/* A failure of which nobody knows whether the pins were changed. */
static shardy_status tell_open(
    const fate *f, shardy_status st, const shardy_error *error, shardy_error *err)
{
    if (st < 0 && err) {
        *err = *error;
    }
    return st < 0 && error->retriable
               ? shardy__error_prefix(err, st,
                     "the pins of run \"%.128s\" may have changed all the same (`shardy history` "
                     "tells)",
                     f->run_id)
               : st;
}

static shardy_status change_pins(const catalog *c, fate *f, shardy_error *err)
{
    shardy_error error;
    shardy__error_clear(&error);
    shardy_status st = shardy__fate_change(c->context, c->store, f, f->state, &error);
    return st == SHARDY_CONFLICT
               ? shardy__error(err, SHARDY_CONFLICT, "pin",
                     "somebody else changes the fate of run \"%.128s\" at this moment", f->run_id)
               : tell_open(f, st, &error, err);
}

shardy_status shardy__pin_add(
    const catalog *c, const loaded_manifest *target, const char *name, shardy_error *err)
{
    condemn_claim claim;
    fate *f = &claim.fate;
    condemn_found found = {target->ref, target->digest, target->size};
    /* model: pinner_read_fate */
    SHARDY_TRY(shardy__condemn_read(c, target->manifest->run_id, &found, &claim, err));
    SHARDY_TRY(check_pinnable(f, err));
    if (find_pin(f, name) < f->pin_count) {
        return SHARDY_OK;
    }
    if (f->pin_count == FATE_PINS_MAX) {
        return shardy__error(err, SHARDY_EXHAUSTED, "pin",
            "run \"%.128s\" has %u pins, which is the limit", f->run_id, FATE_PINS_MAX);
    }
    if (!claim.absent) {
        SHARDY_TRY(shardy__catalog_probe(c, f, err));
    }
    snprintf(f->pins[f->pin_count++], sizeof f->pins[0], "%s", name);
    if (!claim.absent) {
        /* model: pinner_pin */
        return change_pins(c, f, err);
    }
    /* model: pinner_adopt */
    shardy_error error;
    shardy__error_clear(&error);
    shardy_status st = shardy__fate_create(c->context, c->store, f, &error);
    if (st == SHARDY_EXISTS) {
        return shardy__error(err, SHARDY_CONFLICT, "pin",
            "somebody else adopts run \"%.128s\" at this moment", f->run_id);
    }
    SHARDY_TRY(tell_open(f, st, &error, err));
    st = shardy__catalog_probe(c, f, err);
    if (st < 0) {
        shardy_error ignored;
        f->pin_count = 0;
        (void)change_pins(c, f, &ignored);
    }
    return st;
}

shardy_status shardy__pin_remove(
    const catalog *c, const char *run_id, const char *name, shardy_error *err)
{
    fate f;
    /* model: unpinner_read_fate */
    shardy_status st = shardy__fate_load(c->store, run_id, &f, err);
    if (st != SHARDY_OK) {
        return st;
    }
    uint32_t at = find_pin(&f, name);
    if (at == f.pin_count) {
        return SHARDY_NOT_FOUND;
    }
    SHARDY_TRY(shardy__catalog_probe(c, &f, err));
    f.pin_count--;
    memmove(f.pins[at], f.pins[at + 1], (f.pin_count - at) * sizeof f.pins[0]);
    memset(f.pins[f.pin_count], 0, sizeof f.pins[0]);
    /* model: unpinner_unpin */
    return change_pins(c, &f, err);
}
