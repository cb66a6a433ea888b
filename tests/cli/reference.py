#!/usr/bin/env python3
"""Data sets in a bucket and in Postgres that both we and the reference write, read, roll back: what
one of the two writes, the other reads, with the same answers.

usage: reference.py PATH_TO_SHARDY PYTHON [CLASS[.test]...]

It is no part of the tests that always run, as the reference is not in any registry. PYTHON is one
that has it, with the packages xxhash, pydantic, pyyaml, obstore, apsw, zstandard, numpy, sqlite-vec
0.1.9 and psycopg2-binary. The Python that runs this file has boto3 (build/venv/bin/python).
"""
import base64
import json
import random
import subprocess
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from run import Shardy
from stores import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, DatabaseStoreTest, StoreTest

MODES = ("download", "range", "auto")
SEED = 7


def make_rows(kind, count, dim=0):
    rand = random.Random(f"{SEED} {kind}")
    rows = []
    for i in range(count):
        row = {"key": {"text": f"key-{i}-ä", "u64": rand.getrandbits(63),
                       "u32": rand.getrandbits(32)}[kind],
               "value": f"value {i} " * rand.choice((1, 3, 30, 900))}
        if dim:
            row["vector"] = [round(rand.uniform(-1, 1), 4) for _ in range(dim)]
            row["payload"] = {"row": i, "name": f"ü{i}"}
        rows.append(row)
    return rows


class Exchange:
    """Asks us and the reference, whose process is started once. The manifests are in the bucket."""

    python = None
    postgres = None
    texts = MODES  # how the reference reads its own snapshots with texts as keys

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.process = subprocess.Popen([cls.python, HERE / "ask_reference.py"], text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    @classmethod
    def tearDownClass(cls):
        cls.process.stdin.close()
        cls.process.stdout.close()
        cls.process.wait(60)
        super().tearDownClass()

    def place(self, name):
        """Where a data set is, and what makes the command go there."""
        self.prefix = f"s3://{BUCKET}/{name}"
        return ("-s", self.prefix)

    def reference(self, call, **more):
        request = {"call": call, "prefix": self.prefix, "postgres": self.postgres, "tmp": self.tmp,
                   "endpoint": self.server.url, "region": REGION, "access_key": ACCESS_KEY,
                   "secret_key": SECRET_KEY, **more}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        self.assertTrue(line, f"the reference ended at {call}")
        answer = json.loads(line)
        if "error" in answer:
            self.fail(f"the reference failed:\n{answer['error']}")
        return answer

    def build_ours(self, rows, *more):
        path = self.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        columns = ["--value-column", "value"]
        if "vector" in rows[0]:
            columns += ["--vector-column", "vector", "--payload-column", "payload"]
        return self.answer("build", self.prefix, "--input", path, *columns, *more)["run_id"]

    def build_reference(self, rows, **more):
        return self.reference("build", rows=rows, **{"num_dbs": 3, "metric": "cosine",
                                                     "key_encoding": "utf8", **more})["run_id"]

    def values_of(self, place, keys):
        found = []
        for at in range(0, len(keys), 200):
            got = self.answer(*place, "multiget", "--", *map(str, keys[at:at + 200]))
            found += [r["value"] if r["found"] else None for r in got["results"]]
        return found

    def hits_of(self, place, vector, top_k):
        found = self.answer(*place, "search", "--top-k", str(top_k), "--",
                            ",".join(map(str, vector)))
        return [[hit["id"], hit["score"], hit.get("payload")] for hit in found["results"]]

    def check_hits(self, expected, got):
        self.assertEqual([hit[0] for hit in expected], [hit[0] for hit in got])
        self.assertEqual([hit[2] for hit in expected], [hit[2] for hit in got])
        for one, other in zip(expected, got):
            self.assertAlmostEqual(one[1], other[1], places=5)

    def check_same(self, place, run_id, rows, absent, modes=MODES):
        """The reference, and we, have all rows, and no others."""
        keys = [row["key"] for row in rows] + absent
        values = [base64.b64encode(row["value"].encode()).decode() for row in rows]
        values += [None] * len(absent)
        vectors = [row["vector"] for row in rows[:5] if "vector" in row]
        self.assertEqual(values, self.values_of(place, keys))
        hits = [self.hits_of(place, vector, 7) for vector in vectors]
        for mode in modes:
            with self.subTest(mode=mode):
                got = self.reference("read", mode=mode, keys=keys, vectors=vectors, top_k=7)
                self.assertEqual((run_id, len(rows)), (got["run_id"], got["rows"]))
                self.assertEqual(values, got["get"])
                self.assertEqual(values, got["multi_get"])
                for expected, found in zip(hits, got["search"], strict=True):
                    self.check_hits(expected, found)


    def test_ours_with_each_kind_of_key_is_read_by_the_reference(self):
        for kind, absent, options in (
                ("text", ["none", "", "key-1"], ()),
                ("u64", [0, 2**63 - 1], ("--page-size", "8192")),
                ("u32", [0, 2**32 - 1], ("--key-encoding", "u32be", "--sidecar", "never"))):
            with self.subTest(kind=kind):
                rows = make_rows(kind, 600)
                place = self.place(f"ours-{kind}")
                run_id = self.build_ours(rows, "--num-dbs", "3", *options)
                self.check_same(place, run_id, rows, absent)

    def test_ours_with_vectors_is_searched_by_the_reference(self):
        for metric in ("cosine", "l2"):
            with self.subTest(metric=metric):
                rows = make_rows("text", 300, dim=16)
                place = self.place(f"ours-{metric}")
                run_id = self.build_ours(rows, "--num-dbs", "2", "--metric", metric)
                self.check_same(place, run_id, rows, ["none"])

    def test_the_reference_s_is_read_by_us(self):
        for kind, encoding in (("text", "utf8"), ("u64", "u64be"), ("u32", "u32be")):
            with self.subTest(kind=kind):
                rows = make_rows(kind, 600)
                place = self.place(f"reference-{kind}")
                run_id = self.build_reference(rows, key_encoding=encoding)
                self.check_same(place, run_id, rows, [], self.texts if kind == "text" else MODES)
                self.assertEqual([], self.answer(*place, "verify", "--deep")["damaged"])
        for metric in ("cosine", "l2"):
            with self.subTest(metric=metric):
                rows = make_rows("u64", 300, dim=16)
                place = self.place(f"reference-{metric}")
                run_id = self.build_reference(rows, metric=metric, key_encoding="u64be")
                self.check_same(place, run_id, rows, [])
                self.assertEqual([], self.answer(*place, "verify", "--deep")["damaged"])

    def test_a_history_of_both_is_listed_rolled_back_and_cleaned_up(self):
        self.check_history(self.place("both"))

    def check_history(self, place):
        rows = {name: [{"key": i, "value": f"{name} {i}"} for i in range(50)]
                for name in ("one", "two", "three", "four")}
        self.build_ours(rows["one"], "--run-id", "one")
        self.build_reference(rows["two"], run_id="two", key_encoding="u64be")
        self.build_ours(rows["three"], "--run-id", "three", "--num-dbs", "2")
        self.build_reference(rows["four"], run_id="four", key_encoding="u64be")
        both = ["four", "three", "two", "one"]

        def check(run_id):
            self.assertEqual({"current": run_id, "runs": self.runs(place)},
                             self.reference("history", limit=10))
            self.check_same(place, run_id, rows[run_id], [50], ("range",))

        self.assertEqual(both, self.runs(place))
        check("four")
        for run_id in ("three", "one", "two"):  # by the reference
            self.reference("rollback", run_id=run_id)
            check(run_id)
        for run_id in ("one", "four", "two"):  # by us
            self.answer(*place, "rollback", "--run-id", run_id)
            check(run_id)
        done = self.answer(*place, "cleanup", "--keep-last", "2")
        self.assertEqual(["one"], [run["run_id"] for run in done["old_runs"]])
        self.assertEqual(["four", "three", "two"], self.runs(place))
        check("two")
        self.build_ours(rows["one"], "--run-id", "five")
        self.assertEqual("five", self.reference("history", limit=1)["current"])

    def runs(self, place):
        return [m["run_id"] for m in self.answer(*place, "history")["manifests"]]


class BucketTest(Exchange, StoreTest):
    pass


class DatabaseTest(Exchange, DatabaseStoreTest):
    """The manifests are in Postgres."""

    texts = ()  # it decodes their bounds twice, and fails (formats.md, T-7)

    def place(self, name):
        self.prefix = f"s3://{BUCKET}/{name}"
        place = self.configure(self.prefix)
        self.postgres = {"dsn": self.dsn, "table": self.table, "pointer": f"{self.table}_pointer"}
        return place


def main():
    StoreTest.shardy = Shardy(sys.argv.pop(1))
    Exchange.python = sys.argv.pop(1)
    names = sys.argv[1:] or ["BucketTest", "DatabaseTest"]
    suite = unittest.defaultTestLoader.loadTestsFromNames(names, sys.modules["__main__"])
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    sys.exit(not result.wasSuccessful())


if __name__ == "__main__":
    main()
