/* Publish, rollback, pins and cleanup of one data set over a store with strong consistency: what
 * src/catalog/publish.c does, step by step. Each request to the store is one atomic step; any
 * process may stall for ever between two of them, which is a crash, kill -9, a pause or a skewed
 * clock.
 *
 * A label names a step, and "model: label" in the C code stands where that step is done; check_names
 * compares the two, both ways. The labels cleaner_... and pinner_... are of parts that are not
 * written yet.
 *
 * Every run has one fate object, changed only by conditional writes; clocks play no part in safety.
 * Runs: 0 was published before and is current; 1 and 2 are being written (2 with WRITERS=2).
 *
 *   spin -a -DWRITERS=2 -DROLLBACKS=1 -DCLEANERS=2 -DPINNERS=0 publish_cleanup.pml
 *
 * With -DREF the protocol of the Python reference, which must fail; with -DNO_TOOK a rollback that
 * forgets that it took a run over, with -DNO_FATE one that does not take the fate, with
 * -DNO_CONDEMN a writer that gives up without condemning its run, with -DNO_PIN a cleanup that does
 * not look for pins: these must fail too. */
#ifndef WRITERS
#define WRITERS 2
#endif
#ifndef ROLLBACKS
#define ROLLBACKS 1
#endif
#ifndef PINNERS
#define PINNERS 0
#endif
#define NR 3
#define W 1 /* WRITING */
#define P 2 /* PUBLISHING: about to become current */
#define D 3 /* PUBLISHED */
#define X 4 /* CONDEMNED: somebody deletes it */
#ifndef CLEANERS
#define CLEANERS 1
#endif

bool shards[NR], man[NR], acked[NR];
bool pin[NR];             /* part of the fate: an operator keeps the snapshot */
byte fate[NR], fver[NR];  /* content and version of the fate object */
byte cur = 0, curver = 0; /* content and version of _CURRENT */
bool lost = 0;            /* ghost: an update was overwritten unseen */
bool up = 0;

/* The pointer names what is not there. */
#define DANGLING (!(shards[cur] && man[cur]))
/* A listing shows a manifest without its shards. */
#define HOLE(r) (man[r] && !shards[r])
/* What was kept is gone. */
#ifdef NO_PIN
#define KEPT(r) 0
#else
#define KEPT(r) pin[r]
#endif
#define PIN_BROKEN(r) (pin[r] && !(man[r] && shards[r]))
#define BAD(r)        (HOLE(r) || PIN_BROKEN(r))
ltl safe { [] (!up || (!DANGLING && !lost && !BAD(0) && !BAD(1) && !BAD(2))) }

inline cas_fate(r, v, newst, ok) {
    atomic {
        if
        :: fver[r] == v -> fate[r] = newst; fver[r]++; ok = 1
        :: else -> ok = 0
        fi
    }
}

/* shardy__publish_begin, the upload of attempts, shardy__publish_commit, shardy__publish_abandon */
proctype writer(byte r) {
    byte seen, v;
    bool ok;
#ifndef REF
writer_claim:
    atomic { fate[r] = W; fver[r] = 1; v = 1 } /* If-None-Match: * */
#endif
writer_see:
    atomic { seen = curver }
writer_upload:
    if
    :: shards[r] = 1
    :: goto abandon /* the build fails */
    :: goto stop    /* or dies */
    fi;
#ifndef REF
writer_take:
    cas_fate(r, v, P, ok);
    if
    :: !ok -> goto stop /* FENCED */
    :: else -> v++
    fi;
#endif
writer_manifest:
    if
    :: man[r] = 1
    :: goto abandon /* writing the manifest fails */
    :: goto stop
    fi;
#ifdef REF
    atomic {
        if
        :: curver != seen -> lost = 1
        :: else
        fi;
        cur = r; curver++; acked[r] = 1
    }
    goto stop;
#else
writer_move:
    if
    :: atomic {
            if
            :: curver == seen -> cur = r; curver++; acked[r] = 1
            :: else /* CONFLICT: stays a legal target of rollbacks */
            fi
        }
    :: goto abandon /* the pointer write is known not to have counted (pointer_open is 0) */
    :: goto stop    /* or it is not known: the fate stays PUBLISHING */
    fi;
writer_end:
    cas_fate(r, v, D, ok);
    goto stop;
#endif
abandon:
#ifndef REF
writer_condemn:
    cas_fate(r, v, X, ok);
#ifdef NO_CONDEMN
    ok = 1;
#endif
    if
    :: ok ->
writer_remove_manifest:
        man[r] = 0;
writer_remove_shards:
        shards[r] = 0
    :: else
    fi;
#endif
stop:
    skip
}

/* shardy__publish_rollback */
proctype rollback() {
    byte t, seen, v;
    bool ok, took;
    atomic { select(t : 0 .. 2) }
rollback_see:
    atomic { seen = curver }
rollback_load:
    if
    :: man[t] -> skip /* the manifest can be loaded */
    :: else -> goto out
    fi;
#ifdef REF
    atomic {
        if
        :: curver != seen -> lost = 1
        :: else
        fi;
        cur = t; curver++
    }
#else
rollback_read_fate:
    atomic {
        v = fver[t];
        if
        :: fate[t] == D -> took = 0
        :: fate[t] == P -> took = 1
        :: else -> goto out
        fi
    }
#ifndef NO_FATE
rollback_take:
    cas_fate(t, v, P, ok);
    if
    :: !ok -> goto out
    :: else -> v++
    fi;
#endif
rollback_move:
    if
    :: atomic {
            if
            :: curver == seen -> cur = t; curver++; ok = 1
            :: else -> ok = 0
            fi
        }
    :: ok = 0     /* known not to have counted */
    :: goto out   /* not known, or dead: leaks only */
    fi;
    /* After a take-over another holder may still hold an older `seen`: only a pointer write of ours,
     * which makes that one stale, allows leaving PUBLISHING. */
#ifndef NO_TOOK
rollback_keep:
    if
    :: took && !ok -> goto out
    :: else
    fi;
#endif
#ifndef NO_FATE
rollback_end:
    cas_fate(t, v, D, ok);
#endif
#endif
out:
    skip
}

/* An operator keeps a snapshot: only one that is PUBLISHED, so that all of it is there. */
proctype pinner() {
    byte t, v;
    atomic { select(t : 0 .. 2) }
pinner_read_fate:
    atomic {
        v = fver[t];
        if
        :: fate[t] == D -> skip
        :: else -> goto out
        fi
    }
pinner_pin:
    atomic {
        if
        :: fver[t] == v -> pin[t] = 1; fver[t]++
        :: else
        fi
    }
out:
    skip
}

/* A cleanup: reads the fate, then the pointer, then condemns, then deletes. That a lease "looks
 * expired" may be so at any time. */
proctype cleaner() {
    byte r, c, v;
    bool ok;
    bool m[NR];
#ifdef REF
    atomic { c = cur }
    atomic { m[0] = man[0]; m[1] = man[1]; m[2] = man[2] }
#endif
    r = 0;
    do
    :: r < NR ->
#ifdef REF
        if
        :: shards[r] && r != c && (!m[r] || r == 0) -> shards[r] = 0
        :: else
        fi;
#else
cleaner_read_fate:
        atomic {
            v = fver[r];
            ok = ((fate[r] == W || fate[r] == D) && !KEPT(r))
        }
        if
        :: ok ->
cleaner_read_pointer:
            atomic { c = cur } /* read after the fate */
            if
            :: c != r ->
cleaner_condemn:
                cas_fate(r, v, X, ok);
                if
                :: ok ->
cleaner_remove_manifest:
                    man[r] = 0;
cleaner_remove_shards:
                    shards[r] = 0
                :: else
                fi
            :: else
            fi
        :: else
        fi;
#endif
        r++
    :: else -> break
    od
}

init {
    atomic {
        shards[0] = 1; man[0] = 1; fate[0] = D; fver[0] = 1; up = 1;
        run writer(1);
#if WRITERS > 1
        run writer(2);
#endif
        run rollback();
#if ROLLBACKS > 1
        run rollback();
#endif
        run cleaner();
#if CLEANERS > 1
        run cleaner();
#endif
#if PINNERS > 0
        run pinner();
#endif
    }
}

/* These must fail: what they exclude is reached. */
ltl vac_delete { [] (!up || shards[0]) }
ltl vac_publish { [] (!(acked[1] && cur == 1)) }
ltl vac_fence { [] (!(up && fate[1] == X)) }
ltl vac_rollback { [] (!(acked[1] && cur == 0)) }
ltl vac_abandon { [] (!(up && fate[1] == X && man[1])) }
ltl vac_pin { [] (!(pin[0] && acked[1] && fate[2] != D && fver[0] == 2)) }
ltl vac_pin_kept { [] (!(pin[1] && cur == 0 && curver > 1)) }
