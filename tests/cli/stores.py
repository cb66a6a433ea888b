#!/usr/bin/env python3
"""Golden snapshots of the reference in buckets and in Postgres, under the command; what the command
writes there, held against what the reference reads; conflicts, pins and cleanup over both.

usage: stores.py PATH_TO_SHARDY [CLASS[.test]...]

It wants the Python that has boto3 (build/venv/bin/python).

The buckets are of our S3 server and of moto. The one named "golden" has each snapshot where its
manifest says it is.
"""
import base64
import json
import os
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "servers")]

from cases_python import (GOLDEN, Session, Skip, answer, ask, expectations, key_arguments,
                          tables_of, value_of)
from postgres_server import find_programs
from run import Shardy, environment
from support import ACCESS_KEY, REGION, SECRET_KEY, Running, client

BUCKET = "golden"
POINTER_MEMBERS = {"format_version", "manifest_content_type", "manifest_ref", "run_id",
                   "updated_at"}
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
# The reference's tables, as it makes them.
TABLES = """
CREATE TABLE {t}_builds (run_id TEXT PRIMARY KEY, created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
  num_dbs INTEGER NOT NULL, s3_prefix TEXT NOT NULL, key_col TEXT NOT NULL DEFAULT '_key',
  db_path_template TEXT NOT NULL DEFAULT 'db={{db_id:05d}}', shard_prefix TEXT NOT NULL DEFAULT
  'shards', key_encoding TEXT NOT NULL DEFAULT 'u64be', sharding JSONB NOT NULL, custom JSONB NOT
  NULL DEFAULT '{{}}');
CREATE TABLE {t}_shards (run_id TEXT NOT NULL REFERENCES {t}_builds(run_id), db_id INTEGER NOT NULL,
  db_url TEXT, attempt INTEGER NOT NULL DEFAULT 0, row_count INTEGER NOT NULL DEFAULT 0, db_bytes
  BIGINT NOT NULL DEFAULT 0, checkpoint_id TEXT, min_key JSONB, max_key JSONB, writer_info JSONB,
  PRIMARY KEY (run_id, db_id));
CREATE TABLE {t}_pointer (updated_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(), manifest_ref
  TEXT NOT NULL);
"""
COLUMNS = {
    "builds": ("build_meta", "run_id, created_at, num_dbs, s3_prefix, key_col, db_path_template, "
                             "shard_prefix, key_encoding, sharding, custom"),
    "shards": ("shards", "db_id, db_url, attempt, row_count, db_bytes, checkpoint_id, min_key, "
                         "max_key, writer_info"),
}


def expectation(name):
    return json.loads((Path(GOLDEN) / name / "expected.json").read_text(encoding="utf-8"))


def literal(value):
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


class StoreTest(unittest.TestCase):
    """A directory, and a server with a bucket, for each test."""

    shardy = None
    script = "s3_server.py"

    @classmethod
    def setUpClass(cls):
        cls.server = Running(cls.script, "--bucket", BUCKET)
        cls.client = client(cls.server)
        cls.env = {"AWS_ENDPOINT_URL_S3": cls.server.url, "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                   "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": REGION}

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.server.stop()

    def setUp(self):
        self.tmp = tempfile.mkdtemp(prefix="shardy-stores-")
        for key in self.keys(""):
            self.client.delete_object(Bucket=BUCKET, Key=key)

    def tearDown(self):
        shutil.rmtree(self.tmp, ignore_errors=True)

    # --- the bucket

    def keys(self, prefix):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {entry["Key"] for page in pages for entry in page.get("Contents", [])}

    def body(self, key):
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def kind(self, key):
        return self.client.head_object(Bucket=BUCKET, Key=key)["ContentType"]

    def upload(self, name):
        """A golden snapshot with the types that its objects had."""
        expected = expectation(name)
        for entry in expected["objects"]:
            self.client.put_object(Bucket=BUCKET, Key=entry["key"],
                                   Body=(Path(GOLDEN).joinpath(entry["key"])).read_bytes(),
                                   ContentType=entry["content_type"])
        self.assertEqual({entry["key"] for entry in expected["objects"]}, self.keys(name + "/"))
        return expected

    # --- the command

    def answer(self, *args, **more):
        return answer(self.shardy, self.tmp, *args, env=self.env, **more)

    def ask(self, *args, **more):
        return ask(self.shardy, self.tmp, *args, env=self.env, **more)

    def write(self, name, text):
        path = os.path.join(self.tmp, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def build(self, to, run_id, *args):
        rows = "".join(json.dumps({"key": f"key-{i:02}", "value": f"{run_id}/{i}"}) + "\n"
                       for i in range(20))
        return self.answer("build", to, "--input", self.write(run_id, rows), "--value-column",
                           "value", "--num-dbs", "2", "--run-id", run_id, *args)

    def value(self, place, *args):
        found = self.answer(*place, "get", "key-07", *args)
        return base64.b64decode(found["value"]).decode()

    def check_records(self, place, expected, *options):
        for form, keys, records in key_arguments(expected["records"]):
            got = self.answer(*place, *options, "multiget", *form, "--", *keys)
            self.assertEqual([value_of(r) for r in records], [r["value"] for r in got["results"]])
        for form, keys, _ in key_arguments([{"key": k} if not isinstance(k, dict) else k
                                            for k in expected["absent_keys"]]):
            got = self.answer(*place, *options, "multiget", *form, "--", *keys)
            self.assertFalse(any(r["found"] for r in got["results"]))

    def conflict(self, place, to, kind):
        """Publishes another run while a build waits for its rows; how the build ended, and what it
        said."""
        waiting = subprocess.Popen(
            [self.shardy.path, "build", to, "--input", "-", "--value-column", "value", "--run-id",
             f"slow-{kind}", "--on-conflict", kind], cwd=self.tmp,
            env=environment(self.tmp, self.env), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        waiting.stdin.write(b'{"key": "key-07", "value": "slow"}\n' * 40000)
        waiting.stdin.flush()  # more than a pipe holds: it has begun, and seen the pointer
        self.build(to, f"fast-{kind}")
        self.assertEqual(f"fast-{kind}", self.answer(*place, "info")["run_id"])
        out, err = waiting.communicate(timeout=120)
        return waiting.returncode, out, err

    def check_conflicts(self, place, to):
        self.build(to, "start")
        code, out, err = self.conflict(place, to, "fail")
        self.assertEqual((1, b""), (code, out))
        error = json.loads(err)
        self.assertEqual("CONFLICT", error["status"])
        for run in ("slow-fail", "fast-fail"):
            self.assertIn(f'"{run}"', error["error"])
        self.assertEqual("fast-fail/7", self.value(place))
        # it is complete, and can be gone back to, as the message says
        self.assertIn("is complete, a rollback to it makes it current", error["error"])
        self.answer(*place, "rollback", "--run-id", "slow-fail")
        self.assertEqual("slow", self.value(place))
        self.assertEqual("ok", self.answer(*place, "verify", "--deep")["status"])
        code, out, err = self.conflict(place, to, "replace")
        self.assertEqual(0, code, err)
        self.assertEqual("slow-replace", json.loads(out)["run_id"])
        self.assertEqual("fast-replace", json.loads(out)["replaced_run_id"])
        self.assertEqual("slow", self.value(place))
        runs = [m["run_id"] for m in self.answer(*place, "history")["manifests"]]
        self.assertEqual(["slow-replace", "fast-replace", "slow-fail", "fast-fail", "start"], runs)

    def check_pins(self, place, to, of_manifests):
        """`of_manifests()` tells how many manifests there are."""
        for run_id in ("one", "two", "three"):
            self.build(to, run_id)
        self.answer(*place, "pin", "audit", "--run-id", "one")
        pins = {m["run_id"]: m.get("pins", []) for m in self.answer(*place, "history")["manifests"]}
        self.assertEqual({"one": ["audit"], "two": [], "three": []}, pins)
        planned = self.answer(*place, "cleanup", "--keep-last", "1", "--dry-run")
        self.assertEqual(3, of_manifests())
        self.assertEqual(0, planned["total_objects_deleted"])
        done = self.answer(*place, "cleanup", "--keep-last", "1")
        self.assertEqual(["two"], [run["run_id"] for run in done["old_runs"]])
        self.assertEqual(planned["total_objects"], done["total_objects_deleted"])
        self.assertEqual([("one", False)], [(k["run_id"], k["failed"]) for k in done["kept"]])
        self.assertEqual(2, of_manifests())
        gone = self.ask(*place, "rollback", "--run-id", "two", code=1)
        self.assertIn(b'"status": "INVALID"', gone.stderr)
        self.answer(*place, "rollback", "--run-id", "one")
        self.assertEqual("one/7", self.value(place))
        self.answer(*place, "unpin", "audit")
        self.ask(*place, "unpin", "audit", code=1)
        self.answer(*place, "rollback", "--run-id", "three")
        done = self.answer(*place, "cleanup", "--keep-last", "1")
        self.assertEqual(["one"], [run["run_id"] for run in done["old_runs"]])
        self.assertEqual(1, of_manifests())
        self.assertEqual("three/7", self.value(place))
        self.assertEqual("ok", self.answer(*place, "verify", "--deep")["status"])


class BucketTest(StoreTest):
    """The reference's snapshots and ours in a bucket of our server."""

    def test_golden_snapshots_are_read_and_verified(self):
        for name, _, _ in expectations():
            expected = self.upload(name)
            place = ("-s", f"s3://{BUCKET}/{name}")
            self.assertEqual(expected["info"]["run_id"], self.answer(*place, "info")["run_id"])
            for mode in ("download", "range"):
                self.check_records(place, expected, "--sqlite-mode", mode)
            checked = self.answer(*place, "verify", "--deep")
            self.assertEqual(("unverified", []), (checked["status"], checked["damaged"]))

    def test_vectors_of_a_golden_snapshot_are_found_as_in_a_directory(self):
        for name in ("unified_sqlite_vec_cosine", "unified_sqlite_vec_l2"):
            expected = self.upload(name)
            query = ",".join(map(str, expected["records"][3]["vector"]))
            for mode in ("download", "range"):
                found = [self.answer("-s", root + name, "--sqlite-mode", mode, "search", query,
                                     "--top-k", "5")["results"]
                         for root in (f"s3://{BUCKET}/", GOLDEN + "/")]
                self.assertEqual(*found)
                self.assertEqual(5, len(found[0]))

    def test_a_history_of_four_manifests_is_rolled_back_and_cleaned_up(self):
        expected = self.upload("history_rollback")
        place = ("-s", f"s3://{BUCKET}/history_rollback")
        recorded = json.loads(expected["command_line"]["history"]["stdout"])["manifests"]
        got = self.answer(*place, "history")["manifests"]
        self.assertEqual([m["run_id"] for m in recorded], [m["run_id"] for m in got])
        self.assertEqual([False, True, False, False], [m["current"] for m in got])
        for target in (3, 0, 2, 1):
            run_id = recorded[target]["run_id"]
            self.answer(*place, "rollback", "--run-id", run_id)
            pointer = json.loads(self.body("history_rollback/_CURRENT"))
            self.assertEqual(POINTER_MEMBERS, set(pointer) - {"shardyfusion"})
            self.assertEqual(run_id, pointer["run_id"])
            self.assertEqual(f"s3://{BUCKET}/history_rollback/manifests/",
                             pointer["manifest_ref"].rpartition("manifests/")[0] + "manifests/")
            self.assertEqual(run_id, self.answer(*place, "info")["run_id"])
        self.check_records(place, expected)
        before = self.keys("")
        done = self.answer(*place, "cleanup", "--keep-last", "1")
        # as in a directory: see cleanup.case, "cleanup of what the reference left"
        self.assertEqual((4, 12, 0), (done["total_prefixes_removed"], done["total_objects_deleted"],
                                      done["failures"]))
        kept = [recorded[0]["run_id"], recorded[1]["run_id"]]
        gone = before - self.keys("")
        self.assertFalse([key for key in gone if any(run in key for run in kept)])
        self.assertFalse([key for key in self.keys("") if "/fate" not in key and
                          "_CURRENT" not in key and not any(run in key for run in kept)])
        left = self.answer(*place, "history")["manifests"]
        self.assertEqual(kept, [m["run_id"] for m in left])
        self.check_records(place, expected)
        self.assertEqual("unverified", self.answer(*place, "verify", "--deep")["status"])

    def test_losing_attempts_are_cleaned_up_and_nothing_else(self):
        expected = self.upload("kv_sqlite_retries")
        place = ("-s", f"s3://{BUCKET}/kv_sqlite_retries")
        self.check_records(place, expected)
        before = self.keys("")
        done = self.answer(*place, "cleanup")
        self.assertEqual((3, 6), (done["total_prefixes_removed"], done["total_objects_deleted"]))
        gone = {re.sub(r".*/(db=\d+/attempt=\d+)/.*", r"\1", key)
                for key in before - self.keys("")}
        self.assertEqual({"db=00000/attempt=00", "db=00002/attempt=00", "db=00002/attempt=01"},
                         gone)
        self.check_records(place, expected)
        self.assertEqual("unverified", self.answer(*place, "verify", "--deep")["status"])

    def test_ours_has_the_form_that_the_reference_reads(self):
        expected = expectation("kv_sqlite_sidecar")
        rows = "".join(json.dumps({"key": r["key"], "value": r["value"]}) + "\n"
                       for r in expected["records"])
        self.answer("build", f"s3://{BUCKET}/ours", "--input", self.write("rows", rows),
                    "--value-column", "value", "--num-dbs", str(len(expected["shards"])),
                    "--key-encoding", expected["info"]["key_encoding"], "--run-id", "one")
        self.check_pointer()
        self.check_manifest(expected)
        self.check_objects()
        for shard in expected["shards"]:
            where = f"shards/run_id={{}}/db={shard['db_id']:05d}/attempt=00/"
            ours = os.path.join(self.tmp, "shard.db")
            Path(ours).write_bytes(self.body("ours/" + where.format("one") + "shard.db"))
            theirs = Path(GOLDEN) / "kv_sqlite_sidecar" / where.format(expected["info"]["run_id"])
            self.assertEqual(tables_of(ours), tables_of(theirs / "shard.db"))
            self.check_sidecar("ours/" + where.format("one"))

    def check_sidecar(self, where):
        """Its head (formats.md, section 11): magic, version, page size, the tag of the shard."""
        head = self.body(where + "shard.sidecar")
        magic, version, _, page_size, tag_len = struct.unpack("<4sBQIB", head[:18])
        self.assertEqual((b"SQPC", 8, 4096), (magic, version, page_size))
        self.assertEqual(self.client.head_object(Bucket=BUCKET, Key=where + "shard.db")["ETag"],
                         head[18:18 + tag_len].decode())

    def check_pointer(self):
        text = self.body("ours/_CURRENT")
        pointer = json.loads(text)
        self.assertEqual(POINTER_MEMBERS | {"shardyfusion"}, set(pointer))
        self.assertEqual((1, "application/x-sqlite3", "one"), tuple(
            pointer[name] for name in ("format_version", "manifest_content_type", "run_id")))
        self.assertRegex(pointer["updated_at"], f"^{TIME}$")
        self.assertRegex(pointer["manifest_ref"],
                         f"^s3://{BUCKET}/ours/manifests/{TIME}_run_id=one/manifest$")
        self.assertEqual("application/json", self.kind("ours/_CURRENT"))

    def check_manifest(self, expected):
        key = json.loads(self.body("ours/_CURRENT"))["manifest_ref"].removeprefix(
            f"s3://{BUCKET}/")
        path = os.path.join(self.tmp, "manifest")
        Path(path).write_bytes(self.body(key))
        theirs = next((Path(GOLDEN) / "kv_sqlite_sidecar").glob("manifests/*/manifest"))
        columns = [{name: sqlite3.connect(p).execute(f"PRAGMA table_info({name})").fetchall()
                    for name in ("build_meta", "shards")} for p in (path, theirs)]
        self.assertEqual(*columns)
        db = sqlite3.connect(path)
        db.row_factory = sqlite3.Row
        build, = db.execute("SELECT * FROM build_meta").fetchall()
        self.assertEqual({"strategy", "hash_algorithm", "routing_values", "cel_expr",
                          "cel_columns"}, set(json.loads(build["sharding"])))
        self.assertIsInstance(json.loads(build["custom"]), dict)
        self.assertEqual(("one", f"s3://{BUCKET}/ours"), (build["run_id"], build["s3_prefix"]))
        for row, shard in zip(db.execute("SELECT * FROM shards ORDER BY db_id"),
                              expected["shards"]):
            self.assertEqual(f"s3://{BUCKET}/ours/shards/run_id=one/db={shard['db_id']:05d}/"
                             "attempt=00", row["db_url"])
            self.assertEqual((shard["row_count"], shard["min_key"], shard["max_key"]),
                             (row["row_count"], json.loads(row["min_key"]),
                              json.loads(row["max_key"])))
            self.assertEqual(0, json.loads(row["writer_info"])["attempt"])
        db.close()

    def check_objects(self):
        kinds = {"manifest": "application/x-sqlite3", "shard.db": "application/x-sqlite3",
                 "shard.sidecar": "application/octet-stream", "run.yaml": "application/x-yaml"}
        seen = set()
        for key in self.keys("ours/"):
            name = key.rpartition("/")[2]
            if name in kinds:
                seen.add(name)
                self.assertEqual(kinds[name], self.kind(key), key)
        self.assertEqual(set(kinds), seen)
        record = next(key for key in self.keys("ours/runs/") if key.endswith("run.yaml"))
        theirs = next((Path(GOLDEN) / "kv_sqlite_sidecar").glob("runs/*/run.yaml"))
        members = [{line.split(":")[0] for line in text.decode().splitlines() if line[:1] != " "}
                   for text in (self.body(record), theirs.read_bytes())]
        self.assertLessEqual(members[1], members[0])
        self.assertRegex(record, rf"^ours/runs/{TIME}_run_id=one_[0-9a-f]{{32}}/run\.yaml$")

    def test_conflicts_are_told_or_replaced(self):
        self.check_conflicts(("-s", f"s3://{BUCKET}/set"), f"s3://{BUCKET}/set")

    def test_pins_keep_runs_from_cleanup(self):
        def manifests():
            return len([k for k in self.keys("set/manifests/") if k.endswith("/manifest")])

        self.check_pins(("-s", f"s3://{BUCKET}/set"), f"s3://{BUCKET}/set", manifests)


class MotoTest(BucketTest):
    """The same in a bucket of moto."""

    script = "moto_server.py"


class SidecarTest(StoreTest):
    """What only our server tells: which objects were asked for."""

    def test_sidecars_of_the_reference_are_used(self):
        expected = self.upload("kv_sqlite_sidecar")
        self.server.control("DELETE", "log")
        self.answer("-s", f"s3://{BUCKET}/kv_sqlite_sidecar", "--sqlite-mode", "range", "get", "--",
                    str(expected["records"][0]["key"]))
        asked = [e["key"].rpartition("/")[2] for e in self.server.log("operation=get_object")]
        self.assertEqual(1, asked.count("shard.sidecar"))
        self.assertEqual(1, asked.count("shard.db"))


class InterruptTest(StoreTest):
    """Signals while our server does not answer: it holds a request, and lets none go on."""

    held = 0

    def interrupted(self, number, rule, *args):
        """Sends the signal when a request that fits the rule is held; how the command ended."""
        self.server.faults({"kind": "hold", "times": 1, **rule})
        process = subprocess.Popen(
            [self.shardy.path, *args], cwd=self.tmp, env=environment(self.tmp, self.env),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        InterruptTest.held += 1
        self.server.control("GET", f"held?count={self.held}")
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
        self.server.control("DELETE", "faults")
        self.assertEqual((128 + number, b""), (process.returncode, out), (args, rule, err))
        self.assertEqual("CANCELLED", json.loads(err)["status"])

    def test_a_build_publishes_nothing(self):
        to = f"s3://{BUCKET}/set"
        rows = self.write("rows", '{"key": "key-07", "value": "new"}\n')
        self.build(to, "start")
        kept = {k: self.body(k) for k in self.keys("set/")}
        for number in (signal.SIGINT, signal.SIGTERM):
            for i, key in enumerate(("*/fate", "*/shard.db", "*/manifest")):
                self.interrupted(number, {"operation": "put_object", "key": key}, "build", to,
                                 "--input", rows, "--value-column", "value", "--run-id",
                                 f"run-{number}-{i}")
        found = {k: self.body(k) for k in self.keys("set/") if not k.startswith("set/runs/")}
        self.assertEqual({k: v for k, v in kept.items() if not k.startswith("set/runs/")}, found)
        self.assertEqual("start/7", self.value(("-s", to)))

    def test_a_command_does_not_wait_for_what_it_opens(self):
        place = ("-s", f"s3://{BUCKET}/set")
        self.build(place[1], "start")
        self.write("script", "commands: [{op: get, key: key-07}]\n")
        for args in (("get", "key-07"), ("info",), ("health",), ("explain", "open"), ("shards",),
                     ("exec", "--script", "script"), ("history",), ("verify",)):
            for key in ("*/_CURRENT", "*/manifest"):
                if args[0] == "history" and key == "*/manifest":
                    continue  # it needs none
                self.interrupted(signal.SIGINT, {"operation": "get_object", "key": key}, *place,
                                 *args)


class DatabaseStoreTest(StoreTest):
    """Manifests in Postgres, shards in a bucket of our server."""

    names = 0

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.database = Running("postgres_server.py")
        cls.dsn = f"host={cls.database.words[0]} port={cls.database.port} user=test dbname=test"

    @classmethod
    def tearDownClass(cls):
        cls.database.stop()
        super().tearDownClass()

    def configure(self, prefix):
        """A configuration with tables of its own; what makes the command take it."""
        DatabaseStoreTest.names += 1
        self.table = f"set_{self.names}"
        self.write("reader.toml", f'[reader]\ns3_prefix = "{prefix}"\n[manifest_store]\n'
                   f'backend = "postgres"\ndsn = "{self.dsn}"\ntable_name = "{self.table}"\n'
                   f'pointer_table_name = "{self.table}_pointer"\n')
        return ()

    def sql(self, text):
        """Runs statements; the rows of the last one, as lists of texts (None: NULL)."""
        done = subprocess.run(
            [f"{find_programs()}/psql", "-X", "-q", "-A", "-t", "-F", "\t", "-P", "null=<null>",
             "-v", "ON_ERROR_STOP=1", self.dsn], input=text.replace("{t}", self.table),
            capture_output=True, text=True, check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        return [[None if v == "<null>" else v for v in line.split("\t")]
                for line in done.stdout.splitlines()]


class PostgresTest(DatabaseStoreTest):

    def publish_as_reference(self, image):
        """The rows that the reference writes for a manifest (formats.md, section 13)."""
        db = sqlite3.connect(f"file:{image}?immutable=1", uri=True)
        build, = db.execute(f"SELECT {COLUMNS['builds'][1]} FROM build_meta").fetchall()
        shards = db.execute(f"SELECT {COLUMNS['shards'][1]} FROM shards ORDER BY db_id").fetchall()
        db.close()
        text = ["BEGIN;", f"INSERT INTO {{t}}_builds ({COLUMNS['builds'][1]}) VALUES "
                f"({', '.join(map(literal, build))});"]
        text += [f"INSERT INTO {{t}}_shards (run_id, {COLUMNS['shards'][1]}) VALUES "
                 f"({', '.join(map(literal, (build[0], *row)))});" for row in shards]
        self.sql("\n".join([*text, "INSERT INTO {t}_pointer (manifest_ref) VALUES "
                            f"({literal(build[0])});", "COMMIT;"]))
        return build[0]

    def adopt(self, name):
        """A golden snapshot with its manifests as rows; its objects without those of manifests."""
        expected = self.upload(name)
        self.configure(f"s3://{BUCKET}/{name}")
        self.sql(TABLES.format(t=self.table))
        for image in sorted((Path(GOLDEN) / name).glob("manifests/*/manifest")):
            self.publish_as_reference(image)
        for key in self.keys(f"{name}/manifests/") | {f"{name}/_CURRENT"}:
            self.client.delete_object(Bucket=BUCKET, Key=key)
        return expected

    def test_golden_snapshots_are_read_and_verified(self):
        for name in ("kv_sqlite_hash_int", "kv_sqlite_sidecar", "kv_sqlite_retries",
                     "limits_empty_shards"):
            expected = self.adopt(name)
            self.assertEqual(expected["info"]["run_id"], self.answer("info")["run_id"])
            self.check_records((), expected)
            checked = self.answer("verify", "--deep")
            self.assertEqual(("unverified", []), (checked["status"], checked["damaged"]))

    def test_run_ids_are_completed_in_a_session(self):
        self.adopt("kv_sqlite_hash_int")
        run_id = self.answer("info")["run_id"]
        try:
            session = Session(self.shardy, self.tmp, env=self.env)
        except Skip as reason:
            self.skipTest(str(reason))
        session.wait_for("shardy> ")
        session.type(f"use --ref {run_id[:4]}\t")
        session.wait_for(run_id[4:])
        session.type(b"\x03")
        session.wait_for("shardy> ")
        session.type(b"\x04")
        session.close()

    def test_a_history_of_four_manifests_is_rolled_back_and_cleaned_up(self):
        expected = self.adopt("history_rollback")
        runs = [m["run_id"] for m in self.answer("history")["manifests"]]
        self.assertEqual(4, len(runs))
        self.assertEqual(runs[0], self.answer("info")["run_id"])
        for run_id in (runs[3], runs[1]):
            self.assertEqual(run_id, self.answer("rollback", "--run-id", run_id)["ref"])
            self.assertEqual([[run_id]], self.sql(
                "SELECT manifest_ref FROM {t}_pointer ORDER BY updated_at DESC LIMIT 1;"))
        self.check_records((), expected)  # its _CURRENT named the third run, too
        done = self.answer("cleanup", "--keep-last", "1")
        self.assertEqual(0, done["failures"])
        self.assertEqual(runs[:2], [m["run_id"] for m in self.answer("history")["manifests"]])
        self.assertEqual({(run,) for run in runs[:2]}, set(map(tuple, self.sql(
            "SELECT run_id FROM {t}_builds UNION SELECT run_id FROM {t}_shards;"))))
        self.assertFalse([key for key in self.keys("") if "/shards/" in key and
                          not any(run in key for run in runs[:2])])
        self.check_records((), expected)
        self.assertEqual("unverified", self.answer("verify", "--deep")["status"])

    def test_losing_attempts_are_cleaned_up_and_nothing_else(self):
        expected = self.adopt("kv_sqlite_retries")
        before = self.keys("")
        done = self.answer("cleanup")
        self.assertEqual((3, 6), (done["total_prefixes_removed"], done["total_objects_deleted"]))
        self.assertEqual(6, len(before - self.keys("")))
        self.check_records((), expected)

    def test_ours_has_the_form_that_the_reference_reads(self):
        prefix = f"s3://{BUCKET}/ours"
        self.configure(prefix)
        self.build(prefix, "one")
        rows = "".join(json.dumps({"key": i, "value": str(i)}) + "\n" for i in range(5, 50))
        self.answer("build", prefix, "--input", self.write("rows", rows), "--value-column", "value",
                    "--run-id", "two")
        self.assertEqual([["two"]], self.sql(
            "SELECT manifest_ref FROM {t}_pointer ORDER BY updated_at DESC LIMIT 1;"))
        self.assertEqual([["one", "2", prefix, "utf8", "object", "xxh3_64"],
                          ["two", "1", prefix, "u64be", "object", "xxh3_64"]], self.sql(
            "SELECT run_id, num_dbs, s3_prefix, key_encoding, jsonb_typeof(custom), "
            "sharding ->> 'hash_algorithm' FROM {t}_builds ORDER BY created_at;"))
        # Texts as bounds would be decoded twice by it (T-7): there are none. Numbers are numbers.
        self.assertEqual([[None, None]], self.sql(
            "SELECT DISTINCT min_key, max_key FROM {t}_shards WHERE run_id = 'one';"))
        self.assertEqual([["5", "49", "number"]], self.sql(
            "SELECT min_key, max_key, jsonb_typeof(min_key) FROM {t}_shards "
            "WHERE run_id = 'two';"))
        self.assertEqual([], self.sql(
            "SELECT db_url FROM {t}_shards WHERE db_url NOT LIKE '" + prefix +
            "/shards/run_id=' || run_id || '/db=%/attempt=00' OR jsonb_typeof(writer_info) <> "
            "'object' OR checkpoint_id IS NULL;"))
        self.assertFalse([k for k in self.keys("ours/") if "_CURRENT" in k or "manifest" in k])

    def test_conflicts_are_told_or_replaced(self):
        prefix = f"s3://{BUCKET}/set"
        self.check_conflicts(self.configure(prefix), prefix)

    def test_pins_keep_runs_from_cleanup(self):
        prefix = f"s3://{BUCKET}/set"
        place = self.configure(prefix)
        self.check_pins(place, prefix,
                        lambda: int(self.sql("SELECT count(*) FROM {t}_builds;")[0][0]))


def main():
    StoreTest.shardy = Shardy(sys.argv.pop(1))
    unittest.main(verbosity=2)


if __name__ == "__main__":
    main()
