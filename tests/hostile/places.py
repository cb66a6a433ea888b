"""Hostile data sets in a directory, in a bucket, and with manifests in Postgres: what is in them
points out of them, or claims what cannot be.

A data set is a dict {key: bytes}; beside it, at the same place with "-2" behind its name and in
another bucket, lies one with the same keys and other values, which nobody may touch. cases() gives
all cases."""

import ctypes
import ctypes.util
import hashlib
import json
import re
import sqlite3
import struct
from dataclasses import dataclass, field

CURRENT = "c"
OLDER = "b"
POINTER = "_CURRENT"
ALL = ("fs", "s3")
# Cleaning up comes before rolling back, so that the run that was current stays.
QUESTIONS = ("info", "get", "get-range", "history", "verify", "pin", "unpin", "cleanup",
             "cleanup-force", "rollback", "get")
READING = ("info", "get", "get-range", "verify")
CLEANING = ("history", "cleanup", "cleanup-force", "rollback", "pin", "get")


@dataclass
class Place:
    """Where a data set is."""
    kind: str     # fs, s3, pg
    url: str      # ".../data/snapshot"
    other: str    # the same in another bucket or folder

    @property
    def parent(self):
        return self.url.rpartition("/")[0]

    @property
    def scheme(self):
        return self.url.partition("://")[0]


@dataclass
class Case:
    name: str
    change: object = None           # (data set, place): changes the data set
    questions: object = QUESTIONS   # or a function of (data set, place)
    kinds: tuple = ALL
    foreign: bool = False           # as the reference would have written it: without digests
    faults: object = None           # of the S3 server; a function of (data set, place)
    sql: object = None              # statements; a function of place
    renamed: bool = False           # no manifest names the shards of the current run any more
    extra: dict = field(default_factory=dict)


# --- parts of a data set --------------------------------------------------------------------------

def key_of(data, pattern):
    keys = [key for key in sorted(data) if re.fullmatch(pattern, key)]
    assert keys, pattern
    return keys[0]


def manifest_key(data, run=CURRENT):
    return key_of(data, rf"manifests/[^/]*_run_id={run}/manifest")


def fate_key(run=CURRENT):
    return f"runs/run_id={run}/fate"


def record_key(data, run=CURRENT):
    return key_of(data, rf"runs/[^/]*_run_id={run}_[0-9a-f]*/run\.yaml")


def text_of(document, holder, signed=True):
    """With the digest of itself in `holder`, as its writer would have put it there."""
    check = signed and isinstance(holder, dict) and isinstance(holder.get("check"), str)
    if check:
        holder["check"] = "0" * 64
    text = json.dumps(document, separators=(",", ":"))
    if check:
        digest = hashlib.sha256(text.encode()).hexdigest()
        text = text.replace('"check":"' + "0" * 64, '"check":"' + digest)
    return text.encode()


def put_pointer(data, pointer, signed=True):
    data[POINTER] = text_of(pointer, pointer.get("shardyfusion"), signed)


def put_fate(data, fate, run=CURRENT):
    data[fate_key(run)] = text_of(fate, fate)


def change_manifest(data, change, run=CURRENT, sign=True):
    """change(connection); then pointer and fate promise what came out."""
    key = manifest_key(data, run)
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.deserialize(data[key])
    change(db)
    data[key] = db.serialize()
    db.close()
    if sign:
        promise(data, run)


def digest_of(data):
    """The digest of an object: that of the digests of its chunks."""
    parts = (data[at:at + 65536] for at in range(0, len(data), 65536))
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


def promise(data, run=CURRENT):
    image = data[manifest_key(data, run)]
    digest = digest_of(image).hex()
    if fate_key(run) in data:
        fate = json.loads(data[fate_key(run)])
        fate["manifest"].update(sha256=digest, size=len(image))
        put_fate(data, fate, run)
    pointer = json.loads(data[POINTER])
    if run == CURRENT and "shardyfusion" in pointer:
        pointer["shardyfusion"].update(manifest_sha256=digest, manifest_size=len(image))
        put_pointer(data, pointer)


def loosen(db, table):
    """The table takes any value in any column then."""
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    db.execute(f"CREATE TABLE loose ({', '.join(columns)})")
    db.execute(f"INSERT INTO loose SELECT * FROM {table}")
    db.execute(f"DROP TABLE {table}")
    db.execute(f"ALTER TABLE loose RENAME TO {table}")


def as_foreign(data):
    """The same without what the reference does not write."""
    pointer = json.loads(data[POINTER])
    del pointer["shardyfusion"]
    put_pointer(data, pointer)
    for key in [key for key in data if key.endswith(("/fate", ".sums"))]:
        del data[key]

    def plain(db):
        db.execute("DROP TABLE shardy_objects")
        custom = json.loads(db.execute("SELECT custom FROM build_meta").fetchone()[0])
        del custom["shardyfusion"]
        db.execute("UPDATE build_meta SET custom = ?", (json.dumps(custom),))

    for run in ("a", "b", "c"):
        change_manifest(data, plain, run, False)


# --- texts that point elsewhere -------------------------------------------------------------------

def texts(place, path):
    """{name: text} for something that is at `path` of the data set."""
    url, sibling = place.url, place.url.rpartition("/")[2] + "-2"
    scheme, _, rest = url.partition("://")
    front, _, back = path.partition("/")
    found = {
        "up": f"../{sibling}/{path}", "up-far": "../" * 12 + "etc/passwd",
        "up-inside": f"{front}/../../{sibling}/{path}",
        "up-and-back": f"../{url.rpartition('/')[2]}/{path}", "up-within": f"{front}/../{path}",
        "dot": f"./{path}", "dot-within": f"{front}/./{back}", "absolute": f"/{path}",
        "absolute-twice": f"//{path}", "etc": "/etc/passwd", "etc-url": "file:///etc/passwd",
        "slash-end": f"{path}/", "up-end": f"{path}/..", "dot-end": f"{path}/.",
        "empty-segment": f"{front}//{back}", "sibling": f"{url}-2/{path}",
        "sibling-up": f"{url}/../{sibling}/{path}", "root": url, "root-slash": f"{url}/",
        "parent": f"{place.parent}/{path}", "other": f"{place.other}/{path}",
        "url-dot": f"{url}/./{path}", "url-empty-segment": f"{url}//{path}",
        "no-host": f"{scheme}:///{path}", "one-slash": f"{scheme}:/{rest}/{path}",
        "scheme-only": f"{scheme}://", "scheme-upper": f"{scheme.upper()}://{rest}/../{path}",
        "http": f"http://127.0.0.1:9/{path}", "https": f"https://127.0.0.1:9/{rest}/{path}",
        "gs": f"gs://{rest}/{path}", "data": "data:,x",
        "user": f"{scheme}://user:word@{rest}/{path}",
        "port": f"{scheme}://bucket:80/{rest}/{path}", "query": f"{url}/{path}?versionId=1",
        "fragment": f"{url}/{path}#x", "percent-up": f"{url}/%2e%2e/{sibling}/{path}",
        "percent-slash": f"{url}/..%2f{sibling}%2f{path}",
        "percent-twice": f"{url}/%252e%252e/{sibling}/{path}",
        "percent-zero": f"{url}/{path}%00", "percent-bare": f"%2e%2e%2f{sibling}/{path}",
        "percent-letter": f"{url}/%{ord(front[0]):02x}{front[1:]}/{back}",
        "percent-cut": f"{path}%2",
        "plus": f"{front}/+/{back}", "fullwidth": f"\uff0e\uff0e/{sibling}/{path}",
        "leader": f"\u2025/{sibling}/{path}", "division": f"..\u2215{sibling}\u2215{path}",
        "backslash": f"..\\{sibling}\\" + path.replace("/", "\\"),
        "backslash-url": f"{url}\\..\\{sibling}\\x", "zero": f"{front}\0/{back}",
        "zero-end": f"{path}\0", "zero-url": f"{url}/{path}\0../{sibling}", "newline": f"{path}\nx",
        "return": f"{path}\r\nHost: x", "tab": f"{front}\t/{back}", "escape": f"\x1b[2J{path}",
        "delete": f"{path}\x7f", "next-line": f"{path}\u0085", "bidi": f"\u202e{path}",
        "mark": f"\ufeff{path}", "space-front": f" {path}", "space-end": f"{path} ", "empty": "",
        "space": " ", "one-dot": ".", "two-dots": "..", "slash": "/", "star": "*",
        "stars": "*/*/*", "home": f"~/{path}", "variable": "$HOME/x", "shell": "$(touch x)",
        "quote": "' OR 1=1; DROP TABLE x; --", "format": "%s%n%p", "option": "--force",
        "minus": "-1", "number": "9" * 30, "hidden": ".shardyfusion/lock",
        "hidden-url": f"{url}/.shardyfusion/lock", "pointer": POINTER, "fate": fate_key(),
        "shard": "shards/run_id=c/db=00000/attempt=00/shard.db",
        "long-segment": f"{front}/" + "x" * 300 + f"/{back}", "long": f"{url}/" + "x/" * 520 + path,
        "very-long": f"{url}/" + "y" * 70000, "deep": "a/" * 500 + path,
        "up-many": "../" * 1000 + path,
    }
    return found


def names(path="manifests/x/manifest"):
    return list(texts(Place("fs", "file:///data/snapshot", "file:///other/data/snapshot"), path))


# --- the pointer, fates and refs ------------------------------------------------------------------

def pointer_ref(name, signed):
    def change(data, place):
        pointer = json.loads(data[POINTER])
        pointer["manifest_ref"] = texts(place, manifest_key(data))[name]
        put_pointer(data, pointer, signed)
    return change


def pointer_run(name):
    def change(data, place):
        pointer = json.loads(data[POINTER])
        pointer["run_id"] = texts(place, CURRENT + "/x")[name]
        put_pointer(data, pointer)
    return change


def hint_path(name):
    """Where the index of a shard is, says the pointer."""
    def change(data, place):
        pointer = json.loads(data[POINTER])
        pointer["shardyfusion"]["hint"]["shard_path"] = \
            texts(place, "shards/run_id=c/db={db_id:05d}/attempt=00")[name]
        put_pointer(data, pointer)
    return change


HINTS = {"num_dbs": (0, -1, 1, 3, 2 ** 31, 2 ** 32, 2 ** 70, "2", None),
         "shard_bytes": (0, -1, 1, 2 ** 63, "x", None), "total_bytes": (0, -1, 2 ** 63, "x", None),
         "key_encoding": ("u64be", "raw", "x", 1, None)}


def hint_field(name, value):
    def change(data, _):
        pointer = json.loads(data[POINTER])
        assert name in pointer["shardyfusion"]["hint"]
        pointer["shardyfusion"]["hint"][name] = value
        put_pointer(data, pointer)
    return change


def fate_ref(name):
    """The pointer says nothing then, so the fate of its run does."""
    def change(data, place):
        pointer = json.loads(data[POINTER])
        del pointer["shardyfusion"]
        put_pointer(data, pointer)
        fate = json.loads(data[fate_key()])
        fate["manifest"]["ref"] = texts(place, manifest_key(data))[name]
        put_fate(data, fate)
    return change


def fate_of_old(name):
    """Of a run that a cleanup lets go of: what is removed with it?"""
    def change(data, place):
        fate = json.loads(data[fate_key("a")])
        fate["manifest"]["ref"] = texts(place, manifest_key(data, "a"))[name]
        put_fate(data, fate, "a")
    return change


def other_run(data, _):
    pointer = json.loads(data[POINTER])
    pointer["manifest_ref"] = pointer["manifest_ref"].replace(
        manifest_key(data), manifest_key(data, OLDER))
    put_pointer(data, pointer)


def given_ref(name):
    def ask(data, place):
        text = texts(place, manifest_key(data))[name].replace("\0", "")
        return [f"{word}@{text}" for word in ("get", "verify", "pin", "rollback", "cleanup",
                                              "rollback-run")] + ["get"]
    return ask


def given_prefix(name):
    """Prefixes that are configured are the operator's, and may still not leave the data set."""
    def ask(_, place):
        text = texts(place, "shards/x")[name].replace("\0", "")
        return [f"cleanup-shards@{text}", f"cleanup-runs@{text}", f"pin-name@{text}", "get"]
    return ask


def ref_cases():
    for name in names():
        yield Case(f"pointer.ref.{name}", pointer_ref(name, True))
        yield Case(f"pointer.ref.{name}.foreign", pointer_ref(name, False), foreign=True)
        yield Case(f"pointer.run.{name}", pointer_run(name), CLEANING)
        yield Case(f"pointer.hint.{name}", hint_path(name), ("get", "get-range"))
        yield Case(f"fate.ref.{name}", fate_ref(name))
        yield Case(f"fate.old.{name}", fate_of_old(name), CLEANING)
        yield Case(f"given.ref.{name}", None, given_ref(name))
        yield Case(f"given.prefix.{name}", None, given_prefix(name))
    yield Case("pointer.other-run", other_run)
    for name, values in HINTS.items():
        for value in values:
            yield Case(f"pointer.hint.{name}.{value}", hint_field(name, value),
                       ("get", "get-range"))


# --- manifests ------------------------------------------------------------------------------------

def shard_url(name):
    def change(data, place):
        def update(db):
            for number in (0, 1):
                text = texts(place, f"shards/run_id=c/db={number:05}/attempt=00")[name]
                db.execute("UPDATE shards SET db_url = ? WHERE db_id = ?", (text, number))
        change_manifest(data, update)
    return change


def old_shard_url(name):
    """Of the run that a cleanup lets go of."""
    def change(data, place):
        def update(db):
            text = texts(place, "shards/run_id=a/db=00000/attempt=00")[name]
            db.execute("UPDATE shards SET db_url = ? WHERE db_id = 0", (text,))
        change_manifest(data, update, "a")
    return change


def meta(column, name, run=CURRENT):
    def change(data, place):
        def update(db):
            path = "shards" if column == "shard_prefix" else "x"
            db.execute(f"UPDATE build_meta SET {column} = ?", (texts(place, path + "/x")[name],))
        change_manifest(data, update, run)
    return change


def object_path(name):
    """The object whose digest is recorded."""
    def change(data, place):
        def update(db):
            path = "shards/run_id=c/db=00000/attempt=00/shard.db"
            db.execute("UPDATE shardy_objects SET path = ? WHERE path = ?",
                       (texts(place, path)[name], path))
        change_manifest(data, update)
    return change


def sidecar_name(name):
    def change(data, place):
        def update(db):
            custom = json.loads(db.execute("SELECT custom FROM build_meta").fetchone()[0])
            custom["sqlite_sidecar"]["filename"] = texts(place, "shard.sidecar/x")[name]
            db.execute("UPDATE build_meta SET custom = ?", (json.dumps(custom),))
        change_manifest(data, update)
    return change


def number(table, column, value):
    def change(data, _):
        def update(db):
            loosen(db, table)
            db.execute(f"UPDATE {table} SET {column} = ?", (value,))
        change_manifest(data, update)
    return change


def manifest_sql(*statements):
    def change(data, _):
        def update(db):
            db.execute("PRAGMA writable_schema = ON")
            for statement in statements:
                db.execute(statement)
        change_manifest(data, update)
    return change


MANY = ("WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
        "INSERT INTO shards SELECT i, NULL, 0, 0, 0, NULL, NULL, NULL, '{{}}' FROM n")
STATEMENTS = {
    "shards-5000": (MANY.format(5000),), "shards-100000": (MANY.format(100000),),
    "shards-100000-counted": (MANY.format(100000), "UPDATE build_meta SET num_dbs = 100001"),
    "objects-500": ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE "
                      "i < 500) INSERT INTO shardy_objects SELECT 'shards/' || i, 1, 65536, "
                      "zeroblob(32) FROM n",),
    "shards-twice": ("CREATE TABLE t AS SELECT * FROM shards UNION ALL SELECT * FROM shards",
                     "DROP TABLE shards", "ALTER TABLE t RENAME TO shards"),
    "urls-same": ("UPDATE shards SET db_url = (SELECT db_url FROM shards WHERE db_id = 0)",),
    "urls-swapped": ("CREATE TABLE t AS SELECT * FROM shards", "UPDATE shards SET db_url = "
                     "(SELECT db_url FROM t WHERE t.db_id = 1 - shards.db_id)", "DROP TABLE t"),
    "url-of-older-run": ("UPDATE shards SET db_url = replace(db_url, 'run_id=c', 'run_id=b')",),
    "custom-large": ("UPDATE build_meta SET custom = '{\"x\":\"' || hex(zeroblob(500000)) || "
                     "'\"}'",),
    "text-large": ("UPDATE build_meta SET key_col = hex(zeroblob(1000000))",),
    "url-large": ("UPDATE shards SET db_url = hex(zeroblob(1000000))",),
}
NUMBERS = (0, -1, 3, 65536, 2 ** 31, 2 ** 32, 2 ** 63 - 1, -2 ** 63, 1e300)


def manifest_cases():
    for name in names():
        yield Case(f"manifest.url.{name}", shard_url(name), renamed=True)
        yield Case(f"manifest.url.{name}.foreign", shard_url(name), foreign=True, renamed=True)
        yield Case(f"manifest.old-url.{name}", old_shard_url(name), CLEANING)
        yield Case(f"manifest.object.{name}", object_path(name), READING)
        yield Case(f"manifest.sidecar.{name}", sidecar_name(name), READING)
    for name in names()[::3]:
        for column in ("s3_prefix", "shard_prefix", "db_path_template", "run_id", "key_col"):
            yield Case(f"manifest.{column}.{name}", meta(column, name))
        for column in ("s3_prefix", "shard_prefix", "run_id"):
            yield Case(f"manifest.old-{column}.{name}", meta(column, name, "a"), CLEANING)
    for value in NUMBERS:
        yield Case(f"manifest.num_dbs.{value}", number("build_meta", "num_dbs", value))
        for column in ("db_id", "attempt", "row_count", "db_bytes"):
            yield Case(f"manifest.{column}.{value}", number("shards", column, value), READING)
        for column in ("size", "chunk_bytes"):
            yield Case(f"manifest.object-{column}.{value}",
                       number("shardy_objects", column, value), READING)
    for name, statements in STATEMENTS.items():
        yield Case(f"manifest.{name}", manifest_sql(*statements), renamed=True)


# --- run records ----------------------------------------------------------------------------------

RECORD_FIELDS = ("run_id", "s3_prefix", "shard_prefix", "db_path_template", "manifest_ref")


def record_field(name, text_name, run):
    def change(data, place):
        key = record_key(data, run)
        text = json.dumps(texts(place, "shards/run_id=c")[text_name])  # a scalar of YAML, too
        data[key] = re.sub(rf"(?m)^{name}: .*$", lambda m: f"{name}: {text}",
                           data[key].decode()).encode()
    return change


RECORDS = {
    "nothing": b"", "alias": b"run_id: &x c\ns3_prefix: *x\n",
    "tag": b"a: !!python/object/apply:x []",
    "deep": b"[" * 5000, "zeros": b"\0" * 500, "not-utf8": b"run_id: \xff\xfe\n",
    "long": b"#" * 2000000, "other-run": b"run_id: c\nstatus: failed\n",
    "bomb": b"a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: [*b,*b,*b,*b]\n",
    "merge": b"<<: {run_id: c}\nstatus: failed\n", "twice": b"run_id: a\nrun_id: c\n",
    "far-lease": b"lease_expires_at: '9999-12-31T23:59:59.999999Z'\nrun_id: a\nstatus: running\n",
}


def record_text(text, run):
    return lambda data, _: data.update({record_key(data, run): text})


def moved_record(name):
    """The record of the current run, called failed, under another name."""
    def change(data, _):
        text = data[record_key(data)].decode().replace("status: succeeded", "status: failed")
        data[f"runs/{name}/run.yaml"] = text.encode()
    return change


HEX = "0" * 32
STAMP = "2026-01-01T00:00:00.000000Z"
# Names that a directory cannot have are for buckets.
DIRS = {
    "plain": f"{STAMP}_run_id=c_{HEX}", "no-id": f"{STAMP}_run_id=_{HEX}",
    "dots": f"{STAMP}_run_id=.._{HEX}", "dot": f"{STAMP}_run_id=._{HEX}",
    "star": f"{STAMP}_run_id=*_{HEX}", "percent": f"{STAMP}_run_id=%2e%2e_{HEX}",
    "percent-slash": f"{STAMP}_run_id=c%2f.._{HEX}", "twice": f"{STAMP}_run_id=c_run_id=b_{HEX}",
    "no-stamp": f"_run_id=c_{HEX}", "no-hex": f"{STAMP}_run_id=c_x",
    "space": f"{STAMP}_run_id= _{HEX}",
    "control": f"{STAMP}_run_id=\x1b[2J_{HEX}", "newline": f"{STAMP}_run_id=c\n_{HEX}",
    "backslash": f"{STAMP}_run_id=..\\.._{HEX}", "unicode": f"{STAMP}_run_id=\u202ec_{HEX}",
    "upper": f"{STAMP}_run_id=C_{HEX}", "prefix": f"{STAMP}_run_id=c-2_{HEX}",
    "quote": f"{STAMP}_run_id='_{HEX}", "future": f"9999-12-31T23:59:59.999999Z_run_id=c_{HEX}",
    "past": f"0000-00-00T00:00:00.000000Z_run_id=c_{HEX}", "mark": f"run_id=c_{HEX}",
}
IDS = {
    "dots": "..", "dot": ".", "three": "...", "star": "*", "percent": "%2e%2e", "space": " ",
    "percent-slash": "c%2f..", "control": "\x1b[2J", "newline": "c\n", "backslash": "..\\..",
    "unicode": "\u202ec", "upper": "C", "prefix": "c-2", "longer": "cc", "equals": "c=run_id=c",
    "quote": "'", "ampersand": "&amp;", "angle": "<Key>", "tilde": "~", "long": "x" * 150,
    "format": "%s%n", "plus": "c+", "template": "{db_id:05d}", "at": "c@1", "hash": "c#",
    "query": "c?prefix=", "none": "",
}
# Only a bucket has such keys.
BUCKET_KEYS = {
    "up": "manifests/../_CURRENT", "up-out": "shards/run_id=a/../../../snapshot-2/_CURRENT",
    "up-run": "shards/run_id=a/../run_id=c/db=00000/attempt=00/shard.db",
    "dot": "shards/run_id=a/./db=00000/attempt=00/shard.db",
    "empty": "shards/run_id=a//db=00000/attempt=00/shard.db", "slash": "shards/run_id=a/",
    "slash-run": "shards//run_id=a/x", "absolute": "/etc/passwd", "run-up": "shards/run_id=../x",
    "run-dot": "shards/run_id=./db=00000/attempt=00/shard.db",
    "record-up": f"runs/{STAMP}_run_id=../../x_{HEX}/run.yaml",
    "record-dir": f"runs/{STAMP}_run_id=a_{HEX}/../../_CURRENT",
    "manifest-up": f"manifests/{STAMP}_run_id=../manifest",
    "manifest-deep": f"manifests/{STAMP}_run_id=x/../../manifest",
    "manifest-slash": f"manifests/{STAMP}_run_id=x//manifest",
    "fate-up": "runs/run_id=a/../run_id=c/fate", "fate-dir": "runs/run_id=../fate",
    "fate-slash": "runs/run_id=a/fate/", "attempt-up": "shards/run_id=a/db=0/attempt=00/../../x",
    "control": "shards/run_id=a/db=0/attempt=01/\x01\x02", "long": "shards/run_id=a/" + "x" * 980,
    "vector-meta": "vector_meta/run_id=../x", "vector-meta-up": "vector_meta/run_id=a/../run_id=c",
    "percent": "shards/run_id=a/db=0/attempt=01/%2e%2e%2fx", "newline": "shards/run_id=a/x\ny",
    "plus": "shards/run_id=a/db=0/attempt=01/a+b c", "entity": "shards/run_id=a/x&<>\"'y",
    "unicode": "shards/run_id=a/\u202e\ufeff/x", "delimiter": "shards///", "mark": "shards/run_id=",
}


def added_run(run):
    """All that a run has, under another id: shards, fate, record, manifest."""
    def change(data, _):
        for key, text in list(data.items()):
            if key.startswith("shards/run_id=a/"):
                data[key.replace("run_id=a", f"run_id={run}")] = text
        data[f"runs/run_id={run}/fate"] = data[fate_key("a")]
        data[f"runs/{STAMP}_run_id={run}_{HEX}/run.yaml"] = data[record_key(data, "a")]
        data[f"manifests/{STAMP}_run_id={run}/manifest"] = data[manifest_key(data, "a")]
    return change


def added_key(key):
    return lambda data, _: data.update({key: b"x"})


def run_cases():
    for field_name in RECORD_FIELDS:
        for name in names()[::4]:
            yield Case(f"record.{field_name}.{name}", record_field(field_name, name, "f"), CLEANING)
    for name in names()[::4]:
        yield Case(f"record.old-run_id.{name}", record_field("run_id", name, "a"), CLEANING)
    for name, text in RECORDS.items():
        yield Case(f"record.text.{name}", record_text(text, "f"), CLEANING)
        yield Case(f"record.old-text.{name}", record_text(text, "a"), CLEANING)
    for name, text in DIRS.items():
        yield Case(f"record.dir.{name}", moved_record(text), CLEANING)
    for name, text in IDS.items():
        kinds = ("s3",) if text in ("..", ".", "") else ALL
        yield Case(f"run.id.{name}", added_run(text), CLEANING, kinds)
    for name, key in BUCKET_KEYS.items():
        yield Case(f"key.{name}", added_key(key), CLEANING, ("s3",))


# --- sidecars -------------------------------------------------------------------------------------

ZSTD = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
for function in ("ZSTD_compress2", "ZSTD_decompress", "ZSTD_compressBound", "ZSTD_createCCtx"):
    getattr(ZSTD, function).restype = \
        ctypes.c_void_p if function == "ZSTD_createCCtx" else ctypes.c_size_t
CONTEXT = ctypes.c_void_p(ZSTD.ZSTD_createCCtx())
ZSTD.ZSTD_CCtx_setParameter(CONTEXT, 201, 1)  # with a checksum


def compress(body):
    room = ZSTD.ZSTD_compressBound(ctypes.c_size_t(len(body)))
    out = ctypes.create_string_buffer(room)
    n = ZSTD.ZSTD_compress2(CONTEXT, out, ctypes.c_size_t(room), body, ctypes.c_size_t(len(body)))
    return out.raw[:n]


def decompress(frame, size):
    out = ctypes.create_string_buffer(size + 1)
    n = ZSTD.ZSTD_decompress(out, ctypes.c_size_t(size), frame, ctypes.c_size_t(len(frame)))
    assert n == size
    return out.raw[:size]


class Sidecar:
    """formats.md, section 11."""

    def __init__(self, text):
        self.size, self.page_size, tag = struct.unpack_from("<QIB", text, 5)
        self.tag = text[18:18 + tag]
        body = decompress(text[18 + tag:], self.size)
        count = struct.unpack_from("<I", body)[0]
        self.pages = list(struct.unpack_from(f"<{count}I", body, 4))
        self.offsets = list(struct.unpack_from(f"<{count + 1}I", body, 4 + 4 * count))
        at = 8 + 8 * count
        chains = struct.unpack_from("<I", body, at)[0]
        self.heads = list(struct.unpack_from(f"<{chains}I", body, at + 4))
        self.ends = list(struct.unpack_from(f"<{chains + 1}I", body, at + 4 + 4 * chains))
        at += 8 + 8 * chains
        self.links = list(struct.unpack_from(f"<{self.ends[-1]}I", body, at))
        self.blob = body[at + 4 * self.ends[-1]:]
        self.counts = None
        self.head = {}

    def body(self):
        counts = self.counts or (len(self.pages), len(self.heads))
        numbers = [counts[0], *self.pages, *self.offsets, counts[1], *self.heads, *self.ends,
                   *self.links]
        return struct.pack(f"<{len(numbers)}I", *(n % 2 ** 32 for n in numbers)) + self.blob

    def text(self, frame=None):
        body = self.body()
        return struct.pack("<4sBQIB", self.head.get("magic", b"SQPC"), self.head.get("version", 8),
                           self.head.get("size", len(body)) % 2 ** 64,
                           self.head.get("page_size", self.page_size) % 2 ** 32,
                           self.head.get("tag_len", len(self.tag))) + self.tag + \
            (compress(body) if frame is None else frame)


def bomb(size, real=None):
    """A frame that says to become `size` bytes of zeros, in blocks of 128 KiB (RLE)."""
    real = size if real is None else real
    blocks = -(-real // 131072)
    out = struct.pack("<IBQ", 0xFD2FB528, 0xE4, size)
    for at in range(blocks):
        length = min(131072, real - at * 131072)
        out += struct.pack("<I", length << 3 | 1 << 1 | (at == blocks - 1))[:3] + b"\0"
    return out + b"\0\0\0\0"


def sidecar_change(change, signed=True):
    """change(sidecar) changes it, or answers bytes instead."""
    def action(data, _):
        paths = [key for key in data if re.fullmatch(
            r"shards/run_id=c/db=\d*/attempt=00/shard\.sidecar", key)]
        for path in paths:
            sidecar = Sidecar(data[path])
            text = change(sidecar)
            data[path] = text if isinstance(text, bytes) else sidecar.text()
        if not signed:
            return

        def update(db):
            for path in paths:
                db.execute("UPDATE shardy_objects SET size = ?, sha256 = ? WHERE path = ?",
                           (len(data[path]), digest_of(data[path]), path))
        change_manifest(data, update)
    return action


def setter(**values):
    def change(sidecar):
        for name, value in values.items():
            if name in ("magic", "version", "size", "page_size", "tag_len"):
                sidecar.head[name] = value
            else:
                setattr(sidecar, name, value(getattr(sidecar, name)))
    return change


def zero_pages(sidecar):
    sidecar.blob = bytes(len(sidecar.blob))


def swap_pages(sidecar):
    first = sidecar.blob[:sidecar.offsets[1]]
    sidecar.blob = sidecar.blob[sidecar.offsets[1]:] + first


def pointers(value):
    """The children of interior pages lie elsewhere."""
    def change(sidecar):
        blob = bytearray(sidecar.blob)
        for at, page in zip(sidecar.offsets, sidecar.pages):
            base = at + (100 if page == 1 else 0)
            if blob[base] in (2, 5):
                struct.pack_into(">I", blob, base + 8, value)
        sidecar.blob = bytes(blob)
    return change


SIDECARS = {
    "nothing": lambda s: b"", "short": lambda s: b"SQPC", "magic": setter(magic=b"SQPX"),
    "version-0": setter(version=0), "version-9": setter(version=9),
    "size-0": setter(size=0), "size-less": lambda s: setter(size=len(s.body()) - 1)(s),
    "size-more": lambda s: setter(size=len(s.body()) + 1)(s), "size-huge": setter(size=2 ** 63),
    "size-max": setter(size=2 ** 64 - 1), "page-size-0": setter(page_size=0),
    "page-size-512": setter(page_size=512), "page-size-8192": setter(page_size=8192),
    "page-size-65536": setter(page_size=65536), "page-size-odd": setter(page_size=4097),
    "page-size-max": setter(page_size=2 ** 32 - 1), "tag-long": setter(tag_len=255),
    "tag-cut": lambda s: s.text()[:20], "tag-other": setter(tag=lambda t: b'"x"'),
    "frame-none": lambda s: s.text(b""), "frame-junk": lambda s: s.text(b"x" * 100),
    "frame-cut": lambda s: s.text()[:-7], "frame-behind": lambda s: s.text() + b"x",
    "frame-twice": lambda s: s.text(compress(s.body()) * 2),
    "bomb-1-gib": lambda s: (s.head.update(size=2 ** 30), s.text(bomb(2 ** 30)))[1],
    "bomb-1-tib": lambda s: (s.head.update(size=2 ** 40), s.text(bomb(2 ** 40, 2 ** 30)))[1],
    "bomb-hidden": lambda s: s.text(bomb(len(s.body()), 2 ** 30)),
    "bomb-lies": lambda s: s.text(bomb(2 ** 30)),
    "bomb-fits": lambda s: (s.head.update(size=80000), s.text(bomb(80000)))[1],
    "pages-none": setter(pages=lambda p: [], offsets=lambda o: [0], blob=lambda b: b""),
    "pages-zero": setter(pages=lambda p: [0] + p[1:]),
    "pages-beyond": setter(pages=lambda p: p[:-1] + [100000]),
    "pages-max": setter(pages=lambda p: p[:-1] + [2 ** 32 - 1]),
    "pages-twice": setter(pages=lambda p: [p[0]] * len(p)),
    "pages-back": setter(pages=lambda p: p[::-1]),
    "pages-shifted": setter(pages=lambda p: [n + 1 for n in p]),
    "count-huge": setter(counts=lambda c: (2 ** 31, 0)),
    "count-max": setter(counts=lambda c: (2 ** 32 - 1, 2 ** 32 - 1)),
    "chains-huge": lambda s: setattr(s, "counts", (len(s.pages), 2 ** 31)),
    "offsets-overlap": setter(offsets=lambda o: [0] + [o[-1]] * (len(o) - 1)),
    "offsets-back": setter(offsets=lambda o: o[::-1]),
    "offsets-first": setter(offsets=lambda o: [4] + o[1:]),
    "offsets-beyond": setter(offsets=lambda o: o[:-1] + [o[-1] + 4096]),
    "offsets-wrap": setter(offsets=lambda o: o[:-1] + [2 ** 32 - 1]),
    "offsets-long": setter(offsets=lambda o: [0] + [5000 * (i + 1) for i in range(len(o) - 1)],
                           blob=lambda b: bytes(50000)),
    "blob-cut": setter(blob=lambda b: b[:-1]), "blob-longer": setter(blob=lambda b: b + b"x"),
    "blob-zeros": zero_pages, "blob-swapped": swap_pages,
    "children-0": pointers(0), "children-1": pointers(1), "children-same": pointers(2),
    "children-beyond": pointers(100000), "children-max": pointers(2 ** 32 - 1),
    "chain-head-0": setter(heads=lambda h: [0] + h[1:]),
    "chain-head-other": setter(heads=lambda h: [n + 1 for n in h]),
    "chain-heads-back": setter(heads=lambda h: h[::-1]),
    "chain-ends-back": setter(ends=lambda e: e[::-1]),
    "chain-ends-huge": setter(ends=lambda e: e[:-1] + [2 ** 31]),
    "chain-ends-zero": setter(ends=lambda e: [0] * len(e)),
    "chain-links-0": setter(links=lambda n: [n[0]] + [0] * (len(n) - 1)),
    "chain-links-beyond": setter(links=lambda n: [n[0]] + [10 ** 6] * (len(n) - 1)),
    "chain-links-loop": setter(links=lambda n: [n[0]] * len(n)),
    "chain-links-inside": setter(links=lambda n: [n[0]] + [1] * (len(n) - 1)),
}


def sidecar_cases():
    for name, change in SIDECARS.items():
        yield Case(f"sidecar.{name}", sidecar_change(change), READING)
        yield Case(f"sidecar.{name}.unsigned", sidecar_change(change, False), READING)
        yield Case(f"sidecar.{name}.foreign", sidecar_change(change, False), READING, foreign=True)


# --- replies of a server --------------------------------------------------------------------------

def listing(inner):
    body = ('<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns='
            '"http://s3.amazonaws.com/doc/2006-03-01/">' + inner + "</ListBucketResult>")
    return lambda data, place: [{"operation": "list_objects", "kind": "body", "status": 200,
                                 "headers": {"Content-Type": "application/xml"}, "body": body}]


def entry(key):
    return (f"<Contents><Key>{key}</Key><Size>1</Size><ETag>\"0\"</ETag><LastModified>"
            "2026-01-01T00:00:00.000Z</LastModified></Contents>")


END = "<IsTruncated>false</IsTruncated>"
URL_ENCODED = "<EncodingType>url</EncodingType>"
ROOT = "data/snapshot/"
LISTINGS = {
    "sibling": entry("data/snapshot-2/_CURRENT") + END,
    "outside": entry("etc/passwd") + END, "root-itself": entry("data/snapshot") + END,
    "up": entry(ROOT + "shards/../../snapshot-2/_CURRENT") + END,
    "other-prefix": entry(ROOT + "_CURRENT") + END,
    "encoded-up": URL_ENCODED + entry("data%2Fsnapshot%2F..%2Fsnapshot-2%2F_CURRENT") + END,
    "encoded-zero": URL_ENCODED + entry("data%2Fsnapshot%2Fshards%2F%00") + END,
    "encoded-cut": URL_ENCODED + entry("data%2Fsnapshot%2Fshards%2") + END,
    "empty-key": entry("") + END, "no-key": "<Contents><Size>1</Size></Contents>" + END,
    "size-huge": entry(ROOT + "shards/run_id=a/x").replace("<Size>1", "<Size>" + "9" * 40) + END,
    "size-minus": entry(ROOT + "shards/run_id=a/x").replace("<Size>1", "<Size>-1") + END,
    "prefix-outside": "<CommonPrefixes><Prefix>data/snapshot-2/</Prefix></CommonPrefixes>" + END,
    "prefix-up": f"<CommonPrefixes><Prefix>{ROOT}shards/run_id=../</Prefix></CommonPrefixes>" + END,
    "prefix-root": f"<CommonPrefixes><Prefix>{ROOT}</Prefix></CommonPrefixes>" + END,
    "for-ever": "<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>",
    "truncated-no-token": "<IsTruncated>true</IsTruncated>",
    "entity": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + entry("&e;") + END,
    "many": "".join(entry(f"{ROOT}shards/run_id=a/{i}") for i in range(1500)) + END,
    "nothing": "",
}


def reply_cases():
    for name, inner in LISTINGS.items():
        yield Case(f"listing.{name}", None, ("history", "cleanup", "get"), ("s3",),
                   faults=listing(inner))
    for name, spec in {
            "redirect": {"kind": "status", "status": 307, "location": "http://127.0.0.1:9/x"},
            "redirect-301": {"kind": "status", "status": 301,
                             "location": "http://127.0.0.1:9/other"},
            "location-header": {"kind": "header", "set": {"Location": "http://127.0.0.1:9/x"}},
            "range-header": {"kind": "content_range", "value": "bytes 0-9/10"},
            "range-huge": {"kind": "content_range", "value": f"bytes 0-1/{2 ** 70}"},
            "encoding": {"kind": "gzip"}, "multipart": {"kind": "multipart"},
            "huge-headers": {"kind": "huge_headers"}, "garbage": {"kind": "garbage"},
            "length-twice": {"kind": "header", "set": {"Content-Length": "5, 5"}}}.items():
        yield Case(f"reply.{name}", None, ("info", "cleanup"), ("s3",),
                   faults=lambda data, place, spec=spec: [{"method": "GET", **spec}])


# --- rows of Postgres -----------------------------------------------------------------------------

def quoted(text):
    """A literal; the server takes no zeros."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "") + "'"


BUILDS = "shardyfusion_manifests_builds"
SHARDS = "shardyfusion_manifests_shards"
IMAGES = "shardyfusion_manifests_images"
DOCUMENTS = "shardyfusion_pointer_documents"
# As the reference leaves it: rows, and no images or documents.
AS_REFERENCE = (f"DELETE FROM {IMAGES}", f"DELETE FROM {DOCUMENTS}")


def row_text(statement, path, name):
    return lambda place: [statement.replace("?", quoted(texts(place, path)[name]))]


def foreign_rows(sql):
    return lambda place: [*AS_REFERENCE, *sql(place)]


ROW_NUMBERS = {
    "num_dbs": (BUILDS, (0, -1, 3, 65536, 2 ** 31 - 1)),
    "attempt": (SHARDS, (-1, 1, 2 ** 31 - 1)), "row_count": (SHARDS, (-1, 2 ** 31 - 1)),
    "db_bytes": (SHARDS, (-1, 0, 2 ** 63 - 1)),
}
ROW_JSON = {
    "custom": (BUILDS, ("[]", '"x"', '{"vector": null}', '{"shardyfusion": []}', "1e400",
                        '{"sqlite_sidecar": {"filename": "../../x"}}')),
    "sharding": (BUILDS, ("{}", "[]", '{"strategy": "cel"}', '{"strategy": "../x"}')),
    "min_key": (SHARDS, ("{}", "[1]", "1e400", "-1", '"' + "x" * 5000 + '"')),
    "writer_info": (SHARDS, ("[]", '"x"', '{"attempt": 1e99}')),
}
ROW_SQL = {
    "no-shards": f"DELETE FROM {SHARDS} WHERE run_id = 'c'",
    "other-ids": f"UPDATE {SHARDS} SET db_id = db_id - 10 WHERE run_id = 'c'",
    "many-shards": f"INSERT INTO {SHARDS} (run_id, db_id) SELECT 'c', g FROM "
                   "generate_series(2, 100000) g",
    "other-run": f"UPDATE {SHARDS} SET db_url = replace(db_url, 'run_id=c', 'run_id=b') "
                 "WHERE run_id = 'c'",
    "large": f"UPDATE {BUILDS} SET key_col = repeat('x', 50000000) WHERE run_id = 'c'",
    "image-gone": f"DELETE FROM {IMAGES} WHERE run_id = 'c'",
    "image-junk": f"UPDATE {IMAGES} SET image = 'junk'",
    "image-large": f"UPDATE {IMAGES} SET image = decode(repeat('00', 80000000), 'hex')",
    "document-junk": f"UPDATE {DOCUMENTS} SET document = '{{'",
    "document-empty": f"UPDATE {DOCUMENTS} SET document = ''",
    "document-deep": f"UPDATE {DOCUMENTS} SET document = repeat('[', 100000)",
    "document-large": f"UPDATE {DOCUMENTS} SET document = repeat(' ', 50000000)",
    "pointer-future": "UPDATE shardyfusion_pointer SET updated_at = '9999-12-31'",
    "pointer-past": "UPDATE shardyfusion_pointer SET updated_at = '4712-01-01 BC'",
    "pointer-infinity": "UPDATE shardyfusion_pointer SET updated_at = 'infinity'",
    "created-infinity": f"UPDATE {BUILDS} SET created_at = '-infinity'",
    "pointer-gone": "DELETE FROM shardyfusion_pointer",
    "view": "ALTER TABLE shardyfusion_pointer RENAME TO t; CREATE VIEW shardyfusion_pointer AS "
            "SELECT updated_at, repeat('../', 1000) AS manifest_ref FROM t",
}


def row_case(name, sql):
    renamed = name.startswith("url.")
    yield Case(f"row.{name}", kinds=("pg",), sql=sql, renamed=renamed)
    yield Case(f"row.{name}.foreign", kinds=("pg",), foreign=True, sql=foreign_rows(sql),
               renamed=renamed)


def row_cases():
    pointer = "UPDATE shardyfusion_pointer SET manifest_ref = ?"
    for name in names()[::3]:
        yield from row_case(f"pointer.{name}", row_text(pointer, CURRENT + "/x", name))
        yield from row_case(f"url.{name}", row_text(
            f"UPDATE {SHARDS} SET db_url = ? WHERE run_id = 'c'",
            "shards/run_id=c/db=00000/attempt=00", name))
    for name in names()[::8]:
        yield Case(f"row.given.{name}", None, given_ref_of_row(name), ("pg",))
        for column in ("s3_prefix", "shard_prefix", "db_path_template"):
            yield from row_case(f"{column}.{name}", row_text(
                f"UPDATE {BUILDS} SET {column} = ?", "shards/x", name))
    for column, (table, values) in ROW_NUMBERS.items():
        for value in values:
            yield from row_case(f"{column}.{value}", lambda place, c=column, t=table, v=value: [
                f"UPDATE {t} SET {c} = {v} WHERE run_id = 'c'"])
    for column, (table, values) in ROW_JSON.items():
        for at, value in enumerate(values):
            yield from row_case(f"{column}.{at}", lambda place, c=column, t=table, v=value: [
                f"UPDATE {t} SET {c} = {quoted(v)} WHERE run_id = 'c'"])
    for name, statement in ROW_SQL.items():
        yield Case(f"row.{name}", None, QUESTIONS, ("pg",),
                   sql=lambda place, s=statement: [s])


def given_ref_of_row(name):
    def ask(_, place):
        text = texts(place, CURRENT + "/x")[name].replace("\0", "")
        return [f"{word}@{text}" for word in ("get", "verify", "pin", "rollback", "rollback-run")]
    return ask


def harmless_cases():
    """What is answered when nothing is wrong."""
    yield Case("harmless", kinds=("fs", "s3", "pg"))
    yield Case("harmless.foreign", foreign=True)
    yield Case("harmless.rows.foreign", kinds=("pg",), foreign=True,
               sql=foreign_rows(lambda place: []))


def cases():
    for found in (harmless_cases(), ref_cases(), manifest_cases(), run_cases(),
                  sidecar_cases(), reply_cases(), row_cases()):
        yield from found
