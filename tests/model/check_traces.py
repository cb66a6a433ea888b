#!/usr/bin/env python3
"""Replays what processes really did against the steps of the model of publishing.

The race of processes (tests/race/test_race_publish) writes down each request of the protocol that
its processes made. Here each request becomes a step with the name that it has in
publish_cleanup.pml; a step is refused when the process is not at a place where the model has it, or
when what the model asks of it (the version it builds on, what it read before, in which order) does
not hold. Then faults are planted into the traces, each of which has to be refused.

usage: check_traces.py PROGRAM PLACE SOURCE_DIR     runs the program on fs, s3 or postgres, or
       check_traces.py --file TRACES SOURCE_DIR
"""
import copy
import os
import pathlib
import re
import subprocess
import sys
import tempfile

READ_POINTER, PUT, REMOVE, READ_FATE = 1, 2, 3, 4
ALWAYS, IF_ABSENT, IF_MATCH = 0, 1, 2
NONE, WRITING, PUBLISHING, PUBLISHED, CONDEMNED = range(5)
POINTER = "_CURRENT"

# From where to where a step leads a process, for each role. A process may stop anywhere.
WRITER = {
    ("begin", "writer_see"): "looked",
    ("looked", "writer_claim"): "seen",
    ("seen", "writer_upload"): "seen",
    ("seen", "writer_take"): "taken",
    ("seen", "writer_condemn"): "condemned",
    ("taken", "writer_manifest"): "written",
    ("taken", "writer_condemn"): "condemned",
    ("written", "writer_move"): "moved",
    ("written", "writer_condemn"): "condemned",
    ("moved", "writer_end"): "end",
    ("moved", "writer_condemn"): "condemned",
    ("moved", "writer_see_again"): "moved",
    ("moved", "writer_take_again"): "written",
    # a cleanup was faster
    ("seen", "writer_find_condemned"): "condemned",
    ("taken", "writer_find_condemned"): "condemned",
    ("written", "writer_find_condemned"): "condemned",
    ("moved", "writer_find_condemned"): "condemned",
    ("condemned", "writer_remove_manifest"): "condemned",
    ("condemned", "writer_remove_shards"): "removing",
    ("removing", "writer_remove_shards"): "removing",
}
ROLLBACK = {
    ("begin", "rollback_see"): "seen",
    ("seen", "rollback_read_fate"): "read",
    ("read", "rollback_read_fate"): "read",
    ("read", "rollback_adopt"): "read",
    ("read", "rollback_take"): "taken",
    ("taken", "rollback_move"): "moved",
    ("moved", "rollback_end"): "end",
}
# For each run that a cleanup looks at.
CLEANER = {
    ("begin", "cleaner_read_fate"): "read",
    ("read", "cleaner_read_fate"): "read",
    ("read", "cleaner_adopt"): "read",
    ("read", "cleaner_read_pointer"): "looked",
    ("looked", "cleaner_read_pointer"): "looked",
    ("looked", "cleaner_read_fate"): "read",
    ("looked", "cleaner_condemn"): "condemned",
    ("condemned", "cleaner_remove_manifest"): "condemned",
    ("condemned", "cleaner_remove_shards"): "removing",
    ("removing", "cleaner_remove_shards"): "removing",
    # somebody else has condemned it and did not come to the end, or it was settled so
    ("looked", "cleaner_remove_manifest"): "condemned",
    ("looked", "cleaner_remove_shards"): "removing",
    ("read", "settle_read_pointer"): "settling",
    ("settling", "settle_read_pointer"): "settling",
    ("settling", "cleaner_read_fate"): "read",
    ("settling", "settle_fence"): "fenced",
    ("settling", "settle_decide"): "settled", # it is current
    ("fenced", "settle_decide"): "settled",
    ("settled", "cleaner_read_pointer"): "looked",
}
PINNER = {
    ("begin", "pinner_read_fate"): "read",
    ("read", "pinner_read_fate"): "read",
    ("read", "pinner_pin"): "end",
    ("read", "pinner_adopt"): "end",
    ("begin", "unpinner_read_fate"): "read",
    ("read", "unpinner_read_fate"): "read",
    ("read", "unpinner_unpin"): "end",
}
TABLES = {"writes": WRITER, "rolls to": ROLLBACK, "cleans": CLEANER, "pins": PINNER,
          "unpins": PINNER}


class Refused(Exception):
    pass


class Event:
    def __init__(self, fields):
        (process, op, begin, end, self.key, condition, self.status, state, self.run, self.expected,
         self.version, adopted, pins) = fields
        self.process, self.op, self.begin = int(process), int(op), int(begin)
        self.end = int(end) or 1 << 62
        self.condition, self.state = int(condition), int(state)
        self.adopted, self.pins = int(adopted), int(pins)

    def done(self):
        return self.status == "OK"

    def is_fate(self):
        return self.key.endswith("/fate")

    def of_run(self):
        found = re.search(r"run_id=([^/]+)", self.key)
        return found.group(1) if found else ""


class Round:
    def __init__(self, name):
        self.name = name
        self.runs = {}
        self.pointer = ("", "")
        self.roles = {}
        self.events = []


def read_rounds(path):
    rounds = []
    for line in open(path, encoding="utf-8"):
        kind, *fields = line.rstrip("\n").split("\t")
        if kind == "round":
            rounds.append(Round(" ".join(fields)))
        elif kind == "run":
            rounds[-1].runs[fields[0]] = fields[1:]
        elif kind == "pointer":
            rounds[-1].pointer = tuple(fields)
        elif kind == "role":
            rounds[-1].roles[int(fields[0])] = (fields[1], fields[2])
        else:
            rounds[-1].events.append(Event(fields))
    return rounds


def need(condition, step, event, why):
    if not condition:
        raise Refused(f"{step} of process {event.process} at {event.begin} ({event.key}): {why}")


class Process:
    """One process on its way through a round. Guards speak of what it has read and written."""

    def __init__(self, role, own, steps):
        self.role, self.own, self.steps = role, own, steps
        self.places = {}
        self.fates = {}     # run -> the last event that read or wrote its fate
        self.read_at = {}   # run -> when its fate was read last
        self.looked = None  # the last read of the pointer
        self.first = None   # the read that a move builds on
        self.moved = None
        self.took = False

    def step(self, name, run, event):
        self.steps[name] = self.steps.get(name, 0) + 1
        place = self.places.get(run, "begin")
        to = TABLES[self.role].get((place, name))
        need(to, name, event, f"the model has no such step where it is ({place})")
        self.places[run] = to

    def can(self, name, run):
        return (self.places.get(run, "begin"), name) in TABLES[self.role]

    def take(self, event):
        if event.status == "OPEN":
            return
        {READ_POINTER: self.read_pointer, READ_FATE: self.read_fate, PUT: self.put,
         REMOVE: self.remove}[event.op](event)

    def read_pointer(self, event):
        if event.status not in ("OK", "NOT_FOUND"):
            return
        self.looked = event
        if self.role == "writes":
            if self.can("writer_see", self.own):
                self.step("writer_see", self.own, event)
                self.first = event
            elif self.moved is not None and self.can("writer_see_again", self.own):
                self.step("writer_see_again", self.own, event)
        elif self.role == "rolls to" and self.first is None:
            self.step("rollback_see", self.own, event)
            self.first = event
        elif self.role == "cleans":
            for run in list(self.places):
                dies = run in self.fates and self.fates[run].state == PUBLISHING
                name = "settle_read_pointer" if dies else "cleaner_read_pointer"
                if self.can(name, run):
                    self.step(name, run, event)

    def read_fate(self, event):
        run = event.of_run()
        if self.role == "writes":
            # to tell by whom it lost: otherwise it builds on what it wrote itself
            if event.state == CONDEMNED and self.can("writer_find_condemned", run):
                self.step("writer_find_condemned", run, event)
            return
        known = self.fates.get(run)
        if known is not None and known.state == CONDEMNED == event.state:
            return  # condemned is the last word; loading a manifest listed later reads it again
        self.fates[run] = event
        self.read_at[run] = event.begin
        if self.role == "rolls to" and run == self.own and self.can("rollback_read_fate", run):
            self.step("rollback_read_fate", run, event)
            self.took = event.state == PUBLISHING
        elif self.role == "cleans" and self.can("cleaner_read_fate", run):
            self.step("cleaner_read_fate", run, event)
        elif self.role in ("pins", "unpins") and run == self.own:
            name = "pinner_read_fate" if self.role == "pins" else "unpinner_read_fate"
            if self.can(name, run):
                self.step(name, run, event)

    def put(self, event):
        if event.key == POINTER:
            self.put_pointer(event)
        elif event.is_fate():
            self.put_fate(event)
        elif event.key.startswith("manifests/") and event.key.endswith("/manifest"):
            if event.done():
                self.step("writer_manifest", event.of_run(), event)
        elif event.key.startswith("shards/") and self.role == "writes" and event.done():
            self.step("writer_upload", event.of_run(), event)

    def put_fence(self, event):
        """Of the run whose fate was read last, whose publisher is taken for dead."""
        name = "settle_fence"
        run = max(self.read_at, key=self.read_at.get, default=None)
        need(run is not None and self.looked is not None, name, event, "nothing was looked at")
        need(self.looked.begin > self.read_at[run], name, event,
             "the pointer was not read after the fate")
        need(event.condition == IF_MATCH and event.expected == self.looked.version, name, event,
             "not the version that was read")
        need(event.run == self.looked.run != run, name, event, "not the pointer that was read")
        need(self.can(name, run), name, event, "not where the model has it")
        if event.done():
            self.step(name, run, event)

    def put_pointer(self, event):
        if self.role == "cleans":
            self.put_fence(event)
            return
        name = "writer_move" if self.role == "writes" else "rollback_move"
        run = self.own
        need(event.run == run or not event.run, name, event, "it names another run")
        self.step(name, run, event)
        seen = self.looked if self.moved is not None and self.role == "writes" else self.first
        need(seen is not None, name, event, "no pointer was seen")
        need(event.expected == seen.version, name, event, "not the version that was seen")
        need(event.condition == (IF_MATCH if seen.version else IF_ABSENT), name, event,
             "not under a condition")
        self.moved = event

    def put_fate(self, event):
        run = event.of_run()
        last = self.fates.get(run)
        if self.is_probe(event, last):
            return
        name = self.name_fate_step(event, run, last)
        if event.condition == IF_ABSENT:
            need(event.state in (WRITING, PUBLISHED), name, event, "not a state to begin with")
        else:
            need(event.condition == IF_MATCH, name, event, "not under a condition")
            need(last is not None and event.expected == last.version, name, event,
                 "not the version that was read or written")
        self.guard(name, event, run, last)
        if event.done():
            self.step(name, run, event)
            self.fates[run] = event
        else:
            need(event.status in ("CONFLICT", "EXISTS"), name, event, event.status)

    def is_probe(self, event, last):
        """Whether somebody tries out the conditions of the store on a fate: with what it says."""
        return (last is not None and event.state == last.state and event.pins == last.pins and
                (event.condition == IF_ABSENT or event.expected != last.version) and
                event.status in ("EXISTS", "CONFLICT"))

    def name_fate_step(self, event, run, last):
        if self.role == "writes":
            again = self.moved is not None
            names = {WRITING: "writer_claim", CONDEMNED: "writer_condemn", PUBLISHED: "writer_end",
                     PUBLISHING: "writer_take_again" if again else "writer_take"}
        elif self.role == "rolls to":
            names = {PUBLISHING: "rollback_take",
                     PUBLISHED: "rollback_adopt" if event.condition == IF_ABSENT
                     else "rollback_end"}
        elif self.role == "cleans":
            adopts = event.condition == IF_ABSENT
            names = {CONDEMNED: "cleaner_condemn"}
            if last is not None and last.state == PUBLISHING:
                names = {PUBLISHED: "settle_decide", CONDEMNED: "settle_decide"}
            if adopts:
                names = {WRITING: "cleaner_adopt", PUBLISHED: "cleaner_adopt"}
        elif self.role == "pins":
            names = {PUBLISHED: "pinner_adopt" if event.condition == IF_ABSENT else "pinner_pin"}
        else:
            names = {state: "unpinner_unpin" for state in range(WRITING, CONDEMNED)}
        name = names.get(event.state)
        need(name, "a fate", event, f"a process that {self.role} does not make it {event.state}")
        return name

    def guard(self, name, event, run, last):
        if name == "rollback_take":
            need(last.state in (PUBLISHED, PUBLISHING) or last.adopted, name, event,
                 "not a run to roll back to")
            need(self.first.end < self.read_at[run], name, event,
                 "the pointer was seen after the fate was read")
        elif name == "rollback_end":
            need(self.moved is not None, name, event, "nothing was moved")
            need(self.moved.done() or not self.took, name, event,
                 "it was taken over and the pointer not moved")
        elif name == "writer_end":
            need(self.moved is not None, name, event, "nothing was moved")
        elif name == "writer_take_again":
            need(self.looked.begin > self.moved.end, name, event, "the pointer was not seen again")
        elif name == "cleaner_condemn":
            need(last.state in (WRITING, PUBLISHED), name, event, "not a state to condemn from")
            need(last.pins == 0, name, event, "it is pinned")
            read = self.read_at.get(run, last.end)
            need(self.looked is not None and self.looked.begin > read, name, event,
                 "the pointer was not read after the fate")
            need(self.looked.run != run, name, event, "it is current")
        elif name == "settle_decide":
            need(last.pins == 0, name, event, "it is pinned")
            current = self.looked.run == run and event.state == PUBLISHED
            need(current or self.places.get(run) == "fenced", name, event, "without a fence")
        elif name == "pinner_pin":
            need(last.state == PUBLISHED and event.pins == last.pins + 1, name, event,
                 "not one pin more on a run that is published")
        elif name == "unpinner_unpin":
            need(event.pins + 1 == last.pins and event.state == last.state, name, event,
                 "not one pin less")

    def remove(self, event):
        place = event.key.split("/")[0]
        if place not in ("manifests", "shards") or not event.done():
            return
        part = "manifest" if place == "manifests" else "shards"
        who = "writer" if self.role == "writes" else "cleaner"
        run = event.of_run()
        name = f"{who}_remove_{part}"
        if who == "cleaner" and self.places.get(run) == "looked":
            last = self.fates.get(run)
            need(last is not None and last.state == CONDEMNED, name, event,
                 "its run was not condemned")
            need(self.looked.run != run, name, event, "it is current")
        self.step(name, run, event)


def check_fates(r):
    """The changes of each fate are a chain, and as the model has them."""
    allowed = {(NONE, WRITING), (NONE, PUBLISHED), (WRITING, PUBLISHING), (WRITING, CONDEMNED),
               (PUBLISHING, PUBLISHING), (PUBLISHING, PUBLISHED), (PUBLISHING, CONDEMNED),
               (PUBLISHED, PUBLISHING), (PUBLISHED, PUBLISHED), (PUBLISHED, CONDEMNED)}
    puts = [e for e in r.events if e.op == PUT and e.is_fate() and e.done()]
    for run in {e.of_run() for e in puts}:
        state, version = NONE, ""
        if run in r.runs:
            state, version = int(r.runs[run][0]), r.runs[run][1]
        mine = {}
        for e in puts:
            if e.of_run() == run:
                need(e.expected not in mine, "a fate", e, "two changes of one version")
                mine[e.expected] = e
        while version in mine:
            e = mine.pop(version)
            need((state, e.state) in allowed or (state == WRITING and e.adopted), "a fate", e,
                 f"{state} is not followed by {e.state}")
            state, version = e.state, e.version
        for e in mine.values():
            need(False, "a fate", e, "not a change of the version that was there")


def check_pointer(r):
    puts = {}
    for e in r.events:
        if e.op == PUT and e.key == POINTER and e.done():
            need(e.expected not in puts, "the pointer", e, "two moved it from one version")
            puts[e.expected] = e
    version = r.pointer[1]
    while version in puts:
        version = puts.pop(version).version
    for e in puts.values():
        need(False, "the pointer", e, "it was moved from a version that was not there")


def is_late(r, put):
    """Whether a manifest may have come when its run was condemned."""
    return any(x.op == PUT and x.is_fate() and x.state == CONDEMNED and x.done() and
               x.of_run() == put.of_run() and x.begin < put.end for x in r.events)


def check_data_last(r):
    """No shard goes while the manifest of its run is there for certain: a removal by another
    process that has begun may have taken effect. What a publisher that was settled writes later is
    for the next to remove."""
    for e in r.events:
        if e.op != REMOVE or not e.key.startswith("shards/"):
            continue
        run = e.of_run()
        there = run in r.runs and r.runs[run][4] == "1"
        ends = [x for x in r.events if x.of_run() == run and x.key.endswith("/manifest")]
        there |= any(x.op == PUT and x.done() and x.end < e.begin and not is_late(r, x)
                     for x in ends)
        gone = any(x.op == REMOVE and x.status in ("OK", "OPEN") and x.begin < e.begin
                   for x in ends)
        need(gone or not there, "remove_shards", e, "its manifest is still there")


def check_round(r, steps):
    check_fates(r)
    check_pointer(r)
    check_data_last(r)
    for number, (role, own) in r.roles.items():
        if role == "reads":
            continue  # it changes nothing; what it saw is looked at by pointer_check.c
        process = Process(role, own, steps)
        for e in sorted((e for e in r.events if e.process == number), key=lambda e: e.begin):
            process.take(e)


# --- planted faults -------------------------------------------------------------------------------


def first(r, wanted):
    return next((e for e in r.events if wanted(e)), None)


def condemns(r):
    for number, (role, _) in r.roles.items():
        if role == "cleans":
            e = first(r, lambda e: e.process == number and e.op == PUT and e.is_fate() and
                      e.state == CONDEMNED and e.done())
            if e:
                return e
    return None


def plant_no_reread(r):
    e = condemns(r)
    read = e and [x for x in r.events if x.process == e.process and x.op == READ_FATE and
                  x.of_run() == e.of_run() and x.end < e.begin]
    if not read:
        return False
    r.events = [x for x in r.events if not (x.process == e.process and x.op == READ_POINTER and
                                            read[-1].begin < x.begin < e.begin)]
    return True


def plant_current(r):
    e = condemns(r)
    looks = e and [x for x in r.events if x.process == e.process and x.op == READ_POINTER and
                   x.end < e.begin]
    if not looks:
        return False
    looks[-1].run = e.of_run()
    return True


def plant_pin(r):
    e = condemns(r)
    for x in r.events if e else []:
        if x.process == e.process and x.op == READ_FATE and x.of_run() == e.of_run():
            x.pins = 1
    return e is not None


def plant_unclaimed(r):
    e = condemns(r)
    if not e or not first(r, lambda x: x.op == REMOVE and x.of_run() == e.of_run() and
                          x.process == e.process):
        return False
    r.events.remove(e)
    return True


def plant_data_first(r):
    e = condemns(r)
    m = e and first(r, lambda x: x.op == REMOVE and x.process == e.process and
                    x.of_run() == e.of_run() and x.key.startswith("manifests/"))
    s = m and first(r, lambda x: x.op == REMOVE and x.process == e.process and
                    x.of_run() == e.of_run() and x.key.startswith("shards/"))
    if not s:
        return False
    m.begin, m.end, s.begin, s.end = s.begin, s.end, m.begin, m.end
    return True


def plant_no_take(r):
    for number, (role, _) in r.roles.items():
        e = first(r, lambda e: e.process == number and e.op == PUT and e.is_fate() and
                  e.state == PUBLISHING and e.done())
        moved = first(r, lambda x: x.process == number and x.op == PUT and x.key == POINTER)
        if role == "rolls to" and e and moved:
            r.events.remove(e)
            return True
    return False


def plant_late_sight(r):
    for number, (role, _) in r.roles.items():
        see = first(r, lambda e: e.process == number and e.op == READ_POINTER)
        take = first(r, lambda e: e.process == number and e.op == PUT and e.is_fate() and
                     e.state == PUBLISHING)
        if role == "rolls to" and see and take:
            see.begin, see.end = take.begin - 0.6, take.begin - 0.5
            return True
    return False


def plant_blind(r):
    e = first(r, lambda e: e.op == PUT and e.key == POINTER and e.status != "OPEN")
    if not e:
        return False
    e.condition = ALWAYS
    return True


def plant_lost(r):
    e = first(r, lambda e: e.op == PUT and e.key == POINTER and e.status == "CONFLICT")
    if not e:
        return False
    e.status, e.version = "OK", "sha256:x"
    return True


def plant_manifest_after(r):
    m = first(r, lambda e: e.op == PUT and e.done() and e.key.endswith("/manifest"))
    if not m:
        return False
    moved = first(r, lambda e: e.process == m.process and e.op == PUT and e.key == POINTER)
    if not moved or moved.status == "OPEN":
        return False
    m.begin, m.end = moved.end + 0.5, moved.end + 0.6
    return True


def plant_late_fence(r):
    fence = first(r, lambda e: e.op == PUT and e.key == POINTER and e.done() and
                  r.roles[e.process][0] == "cleans")
    decide = fence and first(r, lambda e: e.op == PUT and e.is_fate() and e.done() and
                             e.process == fence.process and e.begin > fence.begin)
    if not decide:
        return False
    fence.begin, fence.end, decide.begin, decide.end = (decide.begin, decide.end, fence.begin,
                                                        fence.end)
    return True


PLANTED = [plant_late_fence, plant_no_reread, plant_current, plant_pin, plant_unclaimed,
           plant_data_first, plant_no_take, plant_late_sight, plant_blind, plant_lost,
           plant_manifest_after]


def check_planted(rounds):
    wrong = 0
    for plant in PLANTED:
        tried = refused = 0
        for r in rounds:
            changed = copy.deepcopy(r)
            if not plant(changed):
                continue
            tried += 1
            try:
                check_round(changed, {})
            except Refused:
                refused += 1
        good = tried > 0 and refused == tried
        wrong += not good
        print(f"check_traces: {plant.__name__}: {refused} of {tried} refused"
              f"{'' if good else ': WRONG'}")
    return wrong


def main(args):
    root = pathlib.Path(args[-1])
    model = (root / "tests/model/publish_cleanup.pml").read_text(encoding="utf-8")
    labels = set(re.findall(r"^([a-z]\w*):$", model, re.MULTILINE))
    named = {name for table in TABLES.values() for _, name in table}
    problems = [f"the model has no step {name}" for name in sorted(named - labels)]
    if args[0] == "--file":
        rounds = read_rounds(args[1])
    else:
        with tempfile.TemporaryDirectory() as work:
            path = os.path.join(work, "traces")
            subprocess.run([args[0], "--store", args[1], "--trace", path], check=True,
                           stdout=subprocess.DEVNULL)
            rounds = read_rounds(path)
    steps = {}
    for r in rounds:
        try:
            check_round(r, steps)
        except Refused as refused:
            problems.append(f"round {r.name}: {refused}")
    events = sum(len(r.events) for r in rounds)
    print(f"check_traces: {len(rounds)} rounds, {events} events, steps: " +
          ", ".join(f"{count} {name}" for name, count in sorted(steps.items())))
    for problem in problems[:20]:
        print(f"check_traces: {problem}")
    missing = [name for name in ("cleaner_condemn", "settle_fence", "settle_decide")
               if not steps.get(name)]
    if not rounds or missing:
        print(f"check_traces: no cleanup came to {', '.join(missing)}")
        return 1
    return 1 if check_planted(rounds) or problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
