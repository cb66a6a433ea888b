#!/usr/bin/env python3
"""Plants one fault of the publish protocol in copies of sources of the library.

usage: plant.py FAULT SOURCE_DIR OUT_DIR     writes the changed copies to OUT_DIR
       plant.py --list                       FAULT;PLACES;WORDS;FILE;FILE... of each, one a line

A fault is a list of (file, text as it is, text as it would be with the fault). The text must be in
the file exactly once, so that a source that has changed fails the build instead of planting
nothing. WORDS is what the checker (tests/support/publish_check.c, pointer_check.c) has to say about
it, or one of several, with slashes between them. PLACES, joined by commas, are those of
test_race_publish where the fault makes a difference.
"""
import pathlib
import sys

PUBLISH = "catalog/publish.c"
STORE = "catalog/manifest_store_object.c"
MANIFESTS = "catalog/manifest_store.c"
FATE = "catalog/fate.c"
CONDEMN = "catalog/condemn.c"
CLEAN = "admin/cleanup_run.c"
READER = "read/reader.c"
ROWS = "catalog/manifest_store_postgres.c"
DATABASE = "catalog/postgres.c"

# Where manifests and the pointer are objects, where they are rows, and all.
OBJECTS = ["fs", "s3"]
TABLES = ["postgres"]
ALL = OBJECTS + TABLES

FAULTS = {
    # The pointer is moved without comparing it with what was seen.
    "blind_pointer": ("lost update of the pointer", OBJECTS, [
        (STORE,
         "put.condition = move->expected->text[0] ? SHARDY_PUT_IF_MATCH : SHARDY_PUT_IF_ABSENT;",
         "put.condition = SHARDY_PUT_ALWAYS;"),
    ]),
    # It is compared, but not in the same step in which it is moved.
    "read_then_write": ("lost update of the pointer", OBJECTS, [
        (STORE,
         "    put.condition = move->expected->text[0] ? SHARDY_PUT_IF_MATCH"
         " : SHARDY_PUT_IF_ABSENT;\n",
         """    shardy_buf seen = {0};
    shardy_object_meta meta = {0};
    shardy_status found = shardy_store_get(
        m->store, m->pointer_key, 0, SHARDY_CURRENT_LEN_MAX + 1, &seen, &meta, err);
    shardy_buf_release(&seen);
    if (found < 0 || strcmp(meta.etag.text, move->expected->text) != 0) {
        return found < 0 ? found
                         : shardy__error(err, SHARDY_CONFLICT, "store", "the pointer has moved");
    }
    put.condition = SHARDY_PUT_ALWAYS;
"""),
    ]),
    # The pointer names a manifest that is written afterwards.
    "pointer_first": ("the pointer was moved before its manifest was there", OBJECTS, [
        (MANIFESTS,
         """        st = shardy__manifest_store_add(m, what->ref, what->image, err);
        move.added = st != SHARDY_EXISTS; /* then it is somebody else's */
        if (st >= 0) {
            st = move_pointer(m, NULL, NULL, what->pointer, what->expected, &move, err);
        }
""",
         """        shardy_error late;
        move.added = 1;
        st = move_pointer(m, NULL, NULL, what->pointer, what->expected, &move, err);
        (void)shardy__manifest_store_add(m, what->ref, what->image, &late);
"""),
    ]),
    # Who has lost cleans up, and takes the shards of the others for its own.
    "loser_cleans_up": ("removed without having condemned its run", ALL, [
        (PUBLISH,
         "    if (st < 0 && st != SHARDY_CONFLICT) {\n        /* Not known",
         """    if (st == SHARDY_CONFLICT) {
        (void)shardy__catalog_remove_prefix(c, "shards/", NULL, NULL);
    }
    if (st < 0 && st != SHARDY_CONFLICT) {
        /* Not known"""),
    ]),
    # A writer that gives up does not look whether a rollback has its run by now.
    "fate_ignored": ("removed without having condemned its run", ALL, [
        (PUBLISH,
         """its shards stay: %s", f->run_id,
            err.message);
        return;
""",
         """its shards stay: %s", f->run_id,
            err.message);
"""),
    ]),
    # A rollback moves the pointer without taking the fate of its target first.
    "rollback_unchecked": ("the pointer was moved without taking the fate", ALL, [
        (PUBLISH,
         "shardy__fate_change(c->context, c->store, &f, FATE_PUBLISHING, err);\n",
         "SHARDY_OK;\n"),
        (PUBLISH,
         "shardy__fate_change(c->context, after.store, &f, FATE_PUBLISHED, &ignored) < 0",
         "0"),
    ]),
    # A cleanup believes what the pointer said when it made its plan.
    "pointer_not_read_again": ("the current run was condemned/a condemned run became current", ALL,
                               [
        (CONDEMN, "    if (is_current(c, claim)) {\n",
         "    if (claim->absent && is_current(c, claim)) {\n"),
    ]),
    # It settles a run without writing the pointer anew: its publisher may live.
    "no_fence": ("a condemned run became current", ALL, [
        (CONDEMN,
         "            SHARDY_TRY(fence(c, claim, &seen, err));\n",
         "            (void)fence;\n"),
    ]),
    # It does not look for pins.
    "pins_ignored": ("a pinned run was condemned", ALL, [
        (CLEAN, "    if (f->pin_count > 0) {\n", "    if (f->pin_count > FATE_PINS_MAX) {\n"),
    ]),
    # It removes the shards before the manifest.
    "data_first": ("shards were removed before their manifest", ALL, [
        (CLEAN,
         "    SHARDY_TRY(walk_manifests(w, err));\n    /* model: cleaner_remove_shards */\n", ""),
        (CLEAN,
         "    SHARDY_TRY(walk_run(w, run, s, err));\n    return shardy__cleanup_tell(w->k, err);\n",
         "    SHARDY_TRY(walk_run(w, run, s, err));\n    return walk_manifests(w, err);\n"),
    ]),
    # It takes what begins with the name of a run for that run: stores refuse such a listing.
    "prefix_without_slash": ("an outcome that cannot be", ALL, [
        (CLEAN, 'RUN_DIR_MARK "%.700s/",\n        k->options->shard_prefix',
         'RUN_DIR_MARK "%.700s",\n        k->options->shard_prefix'),
    ]),
    # It does not condemn a run before it removes it.
    "claimed_without_fate": ("removed without having condemned its run", ALL, [
        (CONDEMN,
         "st = shardy__fate_change(c->context, c->store, f, FATE_CONDEMNED, err);",
         "st = SHARDY_OK;"),
    ]),
    # A fate is changed whatever it has become meanwhile.
    "blind_fate": ("lost update of a fate", ALL, [
        (FATE, "put.condition = condition;", "put.condition = SHARDY_PUT_ALWAYS;"),
    ]),
    # The pointer's row is added without looking whether it is still the one that was seen.
    "blind_row": ("lost update of the pointer", TABLES, [
        (ROWS,
         "job->conflict = strcmp(job->now.version.text, job->move->expected->text) != 0;",
         "job->conflict = 0;"),
    ]),
    # It is looked at in a transaction that does not see who does the same at this moment.
    "read_committed": ("lost update of the pointer", TABLES, [
        (DATABASE, '"ISOLATION LEVEL SERIALIZABLE READ WRITE"',
         '"ISOLATION LEVEL READ COMMITTED READ WRITE"'),
    ]),
    # A refresh forgets to look whether the pointer has moved.
    "stale_reader": ("an answer of", ALL, [
        (READER,
         "if (st == SHARDY_OK && strcmp(p.manifest_ref, current->manifest_ref) == 0 &&\n",
         "if (st == SHARDY_OK &&\n"),
    ]),
    # It keeps a shard that is open, which belongs to the snapshot of before.
    "kept_shard": ("a mixed answer", ALL, [
        (READER, "        /* model: retire_swap */\n",
         """        open_shard *kept = atomic_exchange(&old->slots[0].shard, NULL);
        if (kept) {
            atomic_store(&next->slots[0].shard, kept);
            next->open_count = 1;
            old->open_count--;
        }
"""),
    ]),
}


def plant(text, old, new, where):
    if text.count(old) != 1:
        sys.exit(f"plant.py: {where}: the text to change is there {text.count(old)} times:\n{old}")
    return text.replace(old, new)


def main(faults):
    if sys.argv[1:] == ["--list"]:
        for name, (words, *places, changes) in faults.items():
            files = list(dict.fromkeys(file for file, _, _ in changes))
            print(";".join([name, ",".join(places[0] if places else ["fs"]), words] + files))
        return
    name, source, out = sys.argv[1:]
    texts = {}
    for file, old, new in faults[name][-1]:
        text = texts.get(file) or (pathlib.Path(source) / file).read_text(encoding="utf-8")
        texts[file] = plant(text, old, new, f"{name}: {file}")
    for file, text in texts.items():
        target = pathlib.Path(out) / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(FAULTS)
