/* Publish, rollback and cleanup of one data set over a store with strong consistency: what
 * src/catalog/publish.c does, step by step. Each request to the store is one atomic step; any
 * process may stall for ever between two of them, which is a crash, kill -9, a pause or a skewed
 * clock. The names of the steps stand as "model: ..." at the code.
 *
 * Every run has one fate object, changed only by conditional writes; clocks play no part in safety.
 * Runs: 0 was published before and is current; 1 and 2 are being written.
 *
 *   spin -a -DCLEANERS=2 publish_cleanup.pml
 *
 * With -DREF the protocol of the Python reference, which must fail; with -DNO_TOOK a rollback that
 * forgets that it took a run over, which must fail too. */
#define NR 3
#define W 1 /* WRITING */
#define P 2 /* PUBLISHING: about to become current */
#define D 3 /* PUBLISHED */
#define X 4 /* CONDEMNED: somebody deletes it */
#ifndef CLEANERS
#define CLEANERS 1
#endif

bool shards[NR], man[NR], acked[NR];
byte fate[NR], fver[NR];  /* content and version of the fate object */
byte cur = 0, curver = 0; /* content and version of _CURRENT */
bool lost = 0;            /* ghost: an update was overwritten unseen */
bool up = 0;

/* The pointer names what is not there. */
#define DANGLING (!(shards[cur] && man[cur]))
/* A listing shows a manifest without its shards. */
#define HOLE(r) (man[r] && !shards[r])
ltl safe { [] (!up || (!DANGLING && !lost && !HOLE(0) && !HOLE(1) && !HOLE(2))) }

inline cas_fate(r, v, newst, ok) {
    atomic {
        if
        :: fver[r] == v -> fate[r] = newst; fver[r]++; ok = 1
        :: else -> ok = 0
        fi
    }
}

/* shardy__publish_begin, shardy__publish_commit, shardy__publish_abandon */
proctype writer(byte r) {
    byte seen, v;
    bool ok;
#ifndef REF
    atomic { fate[r] = W; fver[r] = 1; v = 1 } /* If-None-Match: * */
#endif
    atomic { seen = curver }
    if
    :: shards[r] = 1
    :: goto abandon /* the build fails */
    :: goto stop    /* or dies */
    fi;
#ifndef REF
    cas_fate(r, v, P, ok);
    if
    :: !ok -> goto stop /* FENCED */
    :: else -> v++
    fi;
#endif
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
    cas_fate(r, v, D, ok);
    goto stop;
#endif
abandon:
#ifndef REF
    cas_fate(r, v, X, ok);
    if
    :: ok -> man[r] = 0; shards[r] = 0
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
    atomic { seen = curver }
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
    atomic {
        v = fver[t];
        if
        :: fate[t] == D -> took = 0
        :: fate[t] == P -> took = 1
        :: else -> goto out
        fi
    }
    cas_fate(t, v, P, ok);
    if
    :: !ok -> goto out
    :: else -> v++
    fi;
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
    if
    :: took && !ok -> goto out
    :: else
    fi;
#endif
    cas_fate(t, v, D, ok);
#endif
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
        atomic { v = fver[r]; ok = (fate[r] == W || fate[r] == D) }
        if
        :: ok ->
            atomic { c = cur } /* read after the fate */
            if
            :: c != r ->
                cas_fate(r, v, X, ok);
                if
                :: ok -> man[r] = 0; shards[r] = 0
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
        run writer(2);
        run rollback();
        run cleaner();
#if CLEANERS > 1
        run cleaner();
#endif
    }
}

/* These must fail: what they exclude is reached. */
ltl vac_delete { [] (!up || shards[0]) }
ltl vac_publish { [] (!(acked[1] && cur == 1)) }
ltl vac_fence { [] (!(up && fate[1] == X)) }
ltl vac_rollback { [] (!(acked[1] && cur == 0)) }
ltl vac_abandon { [] (!(up && fate[1] == X && man[1])) }
