#!/usr/bin/env python3
"""Leaves out one of the checks of bytes against their digests, in copies of sources of the library.

usage, and what a fault is: tests/race/planted/plant.py. WORDS is what test_first_touch has to
say, as a regular expression.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "race/planted"))
sys.dont_write_bytecode = True
from plant import main  # noqa: E402 pylint: disable=wrong-import-position

LEAF = "sqlitefile/btree_leaf.c"
WALK = "sqlitefile/btree_walk.c"
PAYLOAD = "sqlitefile/btree_payload.c"
SOURCE = "sqlitefile/page_source.c"
CACHE = "sqlitefile/page_cache.c"

FAULTS = {
    # A look-up that goes by the fence reads its leaf where it lies.
    "leaf_unchecked": ("by the fence: an? [a-z]+ answer", [
        (LEAF,
         "shardy__page_get(s->source, p->leaf, &ref, NULL) != SHARDY_OK) {",
         "(ref.data = p->page) == NULL) {"),
    ]),
    # A walk from the root does, where pages are in memory.
    "walk_unchecked": ("an? [a-z]+ answer", [
        (WALK,
         "    shardy_status st = shardy__page_get(w->source, w->page_no, &w->ref, err);\n",
         """    w->ref = (page_ref){shardy__page_hint(w->source, w->page_no), NULL};
    shardy_status st = SHARDY_OK;
    if (!w->ref.data) {
        st = shardy__page_get(w->source, w->page_no, &w->ref, err);
    }
"""),
    ]),
    # So does the fence while it is made: it leads to the wrong leaf.
    "interior_unchecked": ("by the fence: an? [a-z]+ answer", [
        (WALK,
         "    if (take_page(&w, NULL) != SHARDY_OK || read_header(&w, NULL) != SHARDY_OK || w.leaf)"
         " {\n",
         """    w.page = shardy__page_hint(w.source, page_no);
    if (!w.page) {
        return 0;
    }
    if (read_header(&w, NULL) != SHARDY_OK || w.leaf) {
"""),
    ]),
    # Pages of long values.
    "overflow_unchecked": ("an? [a-z]+ answer", [
        (PAYLOAD,
         "    shardy_status st = shardy__page_get(source, p->overflow, &p->ref, err);\n",
         """    p->ref = (page_ref){shardy__page_hint(source, p->overflow), NULL};
    shardy_status st = SHARDY_OK;
    if (!p->ref.data) {
        st = shardy__page_get(source, p->overflow, &p->ref, err);
    }
"""),
    ]),
    # A digest that differs is taken for the right one: in memory, and in the cache of chunks.
    "digest_ignored": ("an? [a-z]+ answer", [
        (SOURCE, "if (memcmp(&sum, &source->sums[chunk], sizeof sum) != 0) {",
         "if (!source->base) {"),
    ]),
    "chunk_of_cache_unchecked": ("an? [a-z]+ answer", [
        (CACHE, "memcmp(&sum, &file->sums[u->index], sizeof sum) == 0;", "1;"),
    ]),
}

if __name__ == "__main__":
    main(FAULTS)
