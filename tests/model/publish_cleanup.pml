/* Publish, rollback, pins and cleanup of one data set over a store with strong consistency: what
 * src/catalog/publish.c and condemn.c do, step by step. Each request to the store is one atomic step; any
 * process may stall for ever between two of them, which is a crash, kill -9, a pause or a skewed
 * clock.
 *
 * A label names a step, and "model: label" in the C code stands where that step is done; check_names
 * compares the two, both ways. test_traces compares what the code really did with the same steps.
 *
 * Every run has one fate object, changed only by conditional writes; clocks play no part in safety.
 * Runs: 0 was published before and is current; 1 and 2 are being written (2 with WRITERS=2). Who is
 * started again after a crash is one process more: run ids are not used twice, and a cleanup goes on
 * with what it finds condemned.
 *
 *   spin -a -DWRITERS=2 -DROLLBACKS=1 -DCLEANERS=2 -DPINNERS=0 publish_cleanup.pml
 *
 * With -DREPLACE a writer that lost moves the pointer once more. With -DADOPT run 0 has no fate yet
 * (the reference wrote it), nor has 2, of which there are shards and no writer. With -DSHARED run 2
 * was published before as well, and its manifest names the shards of run 0 besides its own. With
 * -DSETTLE a cleanup also settles runs that it finds about to become current, whose publisher seems
 * to have died; with -DEMPTY nothing was published before: there is no run 0 and no pointer.
 * With -DRESUME somebody publishes the plan of run 1 again.
 *
 * With -DREF the protocol of the Python reference, which must fail; with -DNO_TOOK a rollback that
 * forgets that it took a run over, with -DNO_FATE one that does not take the fate, with
 * -DNO_CONDEMN a writer that gives up without condemning its run, with -DNO_PIN a cleanup that does
 * not look for pins, with -DNO_RETAKE a writer that replaces without taking its fate again, with
 * -DNO_REREAD a cleanup that reads the pointer before the fate, with -DNO_REACH one that does not
 * look what other manifests name, with -DDATA_FIRST one that removes the shards before the
 * manifest, with -DNO_FENCE one that settles without writing the pointer anew, with -DNO_POINTER
 * one that does so where there is none: these must fail too. */
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

#ifdef EMPTY
#define NONE NR /* what the pointer names while there is none */
#else
#define NONE 255
#endif

bool shards[NR], man[NR], acked[NR];
bool pin[NR];             /* part of the fate: an operator keeps the snapshot */
byte fate[NR], fver[NR];  /* content and version of the fate object */
#ifdef EMPTY
byte cur = NONE, curver = 0;
#else
byte cur = 0, curver = 0; /* content and version of _CURRENT */
#endif
bool lost = 0;            /* ghost: an update was overwritten unseen */
bool late[NR];            /* ghost: the manifest came after the run was condemned */
byte settled[NR];         /* ghost: what a cleanup has made of it */
bool up = 0;
bool resumed = 0;         /* ghost: a plan that was published again has moved the pointer */
#ifdef RESUME
byte planned[NR];         /* the version of the pointer that the plan of a run has seen */
#endif

/* The pointer names what is not there. */
#define DANGLING (cur != NONE && !(WHOLE(cur) && man[cur]))
/* Whether the shards that its manifest names are there. */
#ifdef SHARED
#define WHOLE(r) (shards[r] && ((r) != 2 || shards[0]))
#else
#define WHOLE(r) shards[r]
#endif
/* A listing shows a manifest without its shards. One that a publisher writes whose run was settled
 * before is none: its fate was CONDEMNED by then; the publisher takes it away again, or the next
 * cleanup does. */
#define HOLE(r) (man[r] && !WHOLE(r) && !late[r])
/* What was kept is gone. */
#ifdef NO_PIN
#define KEPT(r) 0
#else
#define KEPT(r) pin[r]
#endif
#define PIN_BROKEN(r) (pin[r] && !(man[r] && WHOLE(r)))
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
    bool ok, again, moved;
writer_see:
#ifdef RESUME
    atomic { seen = curver; planned[r] = seen }
#else
    atomic { seen = curver }
#endif
#ifndef REF
writer_claim:
    atomic { fate[r] = W; fver[r] = 1; v = 1 } /* If-None-Match: * */
#endif
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
    :: !ok -> goto abandon /* FENCED */
    :: else -> v++
    fi;
#endif
writer_manifest:
    if
    :: atomic { man[r] = 1; late[r] = (fate[r] == X) }
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
            :: curver == seen -> cur = r; curver++; acked[r] = 1; again = 1; moved = 1
            :: else /* CONFLICT: stays a legal target of rollbacks */
            fi
        }
    :: goto abandon /* the pointer write is known not to have counted (pointer_open is 0) */
    :: goto stop    /* or it is not known: the fate stays PUBLISHING */
    fi;
#ifdef REPLACE
    if
    :: !again -> /* once, if the other is older: that may be so or not */
        again = 1;
writer_see_again:
        atomic { seen = curver };
#ifndef NO_RETAKE
writer_take_again:
        cas_fate(r, v, P, ok);
        if
        :: ok -> v++; goto writer_move
        :: else /* whoever has the run leads it to its end */
        fi
#else
        goto writer_move
#endif
    :: again = 1
    fi;
#endif
writer_end:
    cas_fate(r, v, D, ok);
    if
    :: !ok && !moved -> goto abandon /* it may have been settled: what came too late goes */
    :: else -> goto stop
    fi;
#endif
abandon:
#ifndef REF
writer_condemn:
    cas_fate(r, v, X, ok);
#ifdef NO_CONDEMN
    ok = 1;
#endif
    if
    :: ok
    :: else ->
writer_find_condemned:
        if
        :: fate[r] == X /* by a cleanup, which may have come to its end before this wrote more */
        :: else -> goto stop
        fi
    fi;
writer_remove_manifest:
    man[r] = 0;
writer_remove_shards:
    shards[r] = 0;
#endif
stop:
    skip
}

#ifdef RESUME
/* Another process publishes the plan of a run again whose publisher died, or seems to have: the
 * steps are those of the writer. */
proctype resumer(byte r) {
    byte v;
    bool ok, moved;
    atomic {
        v = fver[r];
        if
        :: fate[r] == P -> skip
        :: else -> goto out
        fi
    }
    cas_fate(r, v, P, ok);
    if
    :: !ok -> goto out
    :: else -> v++
    fi;
    if
    :: atomic { man[r] = 1; late[r] = (fate[r] == X) }
    :: goto out
    fi;
    if
    :: atomic {
            if
            :: curver == planned[r] -> cur = r; curver++; acked[r] = 1; moved = 1; resumed = 1
            :: else
            fi
        }
    :: goto out
    fi;
    atomic { moved = moved || cur == r };
#ifdef RESUME_ENDS
    cas_fate(r, v, D, ok);
#else
    if
    :: moved -> cas_fate(r, v, D, ok)
    :: else -> cas_fate(r, v, P, ok) /* somebody else may have it, who looked later */
    fi;
#endif
out:
    skip
}
#endif

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
#ifdef ADOPT
    if
    :: fver[t] == 0 ->
rollback_adopt:
        atomic {
            if
            :: fver[t] == 0 -> fate[t] = D; fver[t] = 1
            :: else /* somebody else has adopted it */
            fi
        }
    :: else
    fi;
#endif
rollback_read_fate:
    atomic {
        v = fver[t];
        if
        :: fate[t] == D -> took = 0
        :: fate[t] == P -> took = 1
#ifdef ADOPT
        :: fate[t] == W && t != 1 -> took = 0 /* adopted by a cleanup before it was published */
#endif
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
    if
    :: man[t] -> skip /* the manifest can be loaded */
    :: else -> goto out
    fi;
pinner_read_fate:
    atomic {
        v = fver[t];
        if
        :: fate[t] == D -> skip
#ifdef ADOPT
        :: v == 0 -> skip
#endif
        :: else -> goto out
        fi
    }
#ifdef ADOPT
    if
    :: v == 0 ->
pinner_adopt:
        atomic {
            if
            :: fver[t] == 0 -> fate[t] = D; fver[t] = 1; pin[t] = 1
            :: else
            fi
        }
        goto out
    :: else
    fi;
#endif
pinner_pin:
    atomic {
        if
        :: fver[t] == v -> pin[t] = 1; fver[t]++
        :: else
        fi
    }
    /* and somebody takes it off again, or nobody does */
    if
    :: skip
    :: goto out
    fi;
unpinner_read_fate:
    atomic { v = fver[t] }
unpinner_unpin:
    atomic {
        if
        :: fver[t] == v -> pin[t] = 0; fver[t]++
        :: else
        fi
    }
out:
    skip
}

/* A cleanup: reads the fate, then the pointer, then condemns, then removes. That a lease "looks
 * expired" may be so at any time. */
proctype cleaner() {
    byte r, c, v;
    bool ok, keep;
    bool m[NR];
#ifdef SETTLE
    byte seen, end;
    bool dead;
#endif
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
#ifdef NO_REREAD
        atomic { c = cur }
#endif
cleaner_read_fate:
        atomic {
            v = fver[r];
            ok = ((fate[r] == W || fate[r] == D || fate[r] == X) && !KEPT(r));
#ifdef SETTLE
            dead = (fate[r] == P && !KEPT(r)) /* its publisher, as it seems */
#endif
#ifdef ADOPT
            ok = ok || (v == 0 && (shards[r] || man[r]))
#endif
        }
#ifdef ADOPT
        if
        :: ok && v == 0 ->
cleaner_adopt:
            atomic { /* as it was found: a manifest comes and goes only by those with a fate */
                if
                :: fver[r] == 0 -> fate[r] = (man[r] -> D : W); fver[r] = 1; v = 1
                :: else -> ok = 0
                fi
            }
        :: else
        fi;
#endif
#ifdef SETTLE
        if
        :: dead ->
settle_read_pointer:
            atomic { c = cur; seen = curver };
            if
            :: c == r -> end = D; goto settle_decide /* it came to its end, but for its fate */
#ifndef NO_POINTER
            :: c == NONE -> goto next /* what is not there cannot be written anew */
#endif
            :: else
            fi;
#ifndef NO_FENCE
settle_fence:
            atomic { /* the same, with another version: who remembers this one moves it no more */
                if
                :: c == NONE
                :: c != NONE && curver == seen -> curver++
                :: else -> goto next
                fi
            };
#endif
settle_read_manifest:
            atomic { end = (man[r] -> D : X) };
settle_decide:
            cas_fate(r, v, end, ok);
            if
            :: ok -> settled[r] = end; v++
            :: else -> goto next
            fi;
            if
            :: end == X -> ok = 1; goto remove
            :: else -> goto next
            fi
        :: else
        fi;
#endif
        if
        :: ok ->
#ifndef NO_REREAD
cleaner_read_pointer:
            atomic { c = cur } /* read after the fate */
#endif
            if
            :: c != r && !(c == NONE && fate[r] == D) ->
                if
                :: fate[r] == X && fver[r] == v -> ok = 1 /* somebody did not come to the end */
                :: else ->
cleaner_condemn:
                    cas_fate(r, v, X, ok)
                fi;
remove:
                if
                :: ok ->
cleaner_read_manifests:
                    atomic {
                        keep = 0;
#ifdef SHARED
#ifndef NO_REACH
                        keep = (r == 0 && man[2])
#endif
#endif
                    }
#ifndef DATA_FIRST
cleaner_remove_manifest:
                    man[r] = 0;
#endif
cleaner_remove_shards:
                    if
                    :: !keep -> shards[r] = 0
                    :: else
                    fi;
#ifdef DATA_FIRST
                    man[r] = 0
#endif
                :: else
                fi
            :: else
            fi
        :: else
        fi;
#endif
next:
        r++
    :: else -> break
    od
}

init {
    atomic {
        up = 1;
#ifndef EMPTY
        shards[0] = 1; man[0] = 1;
#endif
#ifdef ADOPT
        shards[2] = 1;
#else
#ifndef EMPTY
        fate[0] = D; fver[0] = 1;
#endif
#endif
#ifdef SHARED
        shards[2] = 1; man[2] = 1; fate[2] = D; fver[2] = 1;
#endif
        run writer(1);
#if WRITERS > 1
        run writer(2);
#endif
#ifdef RESUME
        run resumer(1);
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
ltl vac_replace { [] (!(acked[1] && acked[2] && cur == 1 && curver == 3)) }
ltl vac_adopt { [] (!(up && fver[2] > 0 && fate[2] == X && !shards[2])) }
ltl vac_shared { [] (!(up && fate[0] == X && !man[0] && shards[0] && man[2] && cur == 2)) }
ltl vac_unpin { [] (!(pin[0] == 0 && fver[0] == 3 && curver == 0 && fate[1] == 0)) }
ltl vac_settle_current { [] (!(up && settled[1] == D && cur == 1 && curver == 1)) }
ltl vac_settle_publish { [] (!(up && settled[1] == D && !acked[1])) }
ltl vac_settle_condemn { [] (!(up && settled[1] == X && !shards[1])) }
ltl vac_settle_late { [] (!(up && late[1] && man[1] && !shards[1])) }
ltl vac_settle_gone { [] (!(up && settled[1] == X && late[1] && !man[1])) }
ltl vac_resume { [] (!(up && resumed && fate[1] == D)) }
