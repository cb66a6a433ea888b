"""Hostile snapshots: golden ones of the reference, which carry no digests, each changed in one way.

cases() gives pairs (name, function): the function changes a copy of the snapshot in a directory."""

import glob
import json
import os
import shutil
import sqlite3
import struct

KV = "kv_sqlite_hash_u32"
VECTORS = "unified_sqlite_vec_l2"
MANIFEST = "manifests/*/manifest"
SHARD = "shards/*/db=00002/attempt=00/shard.db"  # holds key 0 of KV, and doc-1 of VECTORS


def only(root, pattern):
    paths = sorted(glob.glob(os.path.join(root, pattern)))
    assert len(paths) == 1, (root, pattern, paths)
    return paths[0]


def replace(path, data):
    with open(path, "wb") as file:
        file.write(data)


def content(path):
    with open(path, "rb") as file:
        return file.read()


# --- the pointer ----------------------------------------------------------------------------------

JSON_VALUES = {
    "null": None, "zero": 0, "minus": -1, "true": True, "list": [], "object": {}, "float": 1e300,
    "huge": 2 ** 70, "empty": "", "letter": "a", "up": "../../../../../../etc/passwd",
    "absolute": "/etc/passwd", "file-url": "file:///etc/passwd",
    "other": "s3://other/place/manifests/2026-01-01T00:00:00.000000Z_run_id=x/manifest",
    "up-inside": "s3://golden/x/manifests/../../../etc/manifest",
    "encoded": "s3://golden/x/manifests/..%2f..%2fetc/manifest",
    "zero-byte": "manifests/a\0b/manifest", "long": "x" * 5000, "control": "a\nb\x1b[31m",
    "not-normal": "s3://golden//x/./manifests/a/manifest",
}


def pointer_field(field, value):
    def change(root):
        path = os.path.join(root, "_CURRENT")
        pointer = json.loads(content(path))
        pointer[field] = value
        replace(path, json.dumps(pointer).encode())
    return change


def pointer_text(text):
    return lambda root: replace(os.path.join(root, "_CURRENT"), text)


POINTER_TEXTS = {
    "nothing": b"", "brace": b"{", "list": b"[]", "null": b"null", "mark": b"\xef\xbb\xbf{}",
    "deep": b"[" * 100000, "deep-object": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "not-utf8": b'{"manifest_ref":"\xff\xfe"}', "long": b" " * 70000 + b"{}",
    "twice": b'{"run_id":"a","run_id":"b"}', "zeros": b"\0" * 500,
}


def pointer_cases():
    for field in ("manifest_ref", "run_id", "manifest_content_type", "updated_at",
                  "format_version", "shardyfusion"):
        for name, value in JSON_VALUES.items():
            yield f"pointer.{field}.{name}", pointer_field(field, value)
    for name, text in POINTER_TEXTS.items():
        yield f"pointer.text.{name}", pointer_text(text)


# --- the manifest ---------------------------------------------------------------------------------

SQL_VALUES = {
    "null": None, "zero": 0, "minus": -1, "max": 2 ** 63 - 1, "float": 1.5, "empty": "",
    "letter": "a", "blob": b"\xff\x00\xfe", "long": "x" * 100000,
    "up": "../../../etc/passwd", "absolute": "/etc/passwd", "file-url": "file:///etc/passwd",
    "other": "s3://other/place/shards/x", "quote": "'; DROP TABLE shards; --",
}
BUILD_META = ("run_id", "created_at", "num_dbs", "s3_prefix", "key_col", "sharding",
              "db_path_template", "shard_prefix", "format_version", "key_encoding", "custom")
SHARDS = ("db_id", "db_url", "attempt", "row_count", "db_bytes", "min_key", "max_key",
          "checkpoint_id", "writer_info")


def loose(path, table):
    """The database with a table that takes any value in any column."""
    db = sqlite3.connect(path, isolation_level=None)
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    db.execute(f"CREATE TABLE loose ({', '.join(columns)})")
    db.execute(f"INSERT INTO loose SELECT * FROM {table}")
    db.execute(f"DROP TABLE {table}")
    db.execute(f"ALTER TABLE loose RENAME TO {table}")
    return db


def manifest_value(table, column, value):
    def change(root):
        db = loose(only(root, MANIFEST), table)
        where = "WHERE db_id = 2" if table == "shards" else ""
        db.execute(f"UPDATE {table} SET {column} = ? {where}", (value,))
        db.close()
    return change


def manifest_sql(*statements):
    def change(root):
        db = sqlite3.connect(only(root, MANIFEST), isolation_level=None)
        db.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            db.execute(statement)
        db.close()
    return change


URLS = {
    "up": "s3://golden/{name}/shards/../../../../etc", "up-first": "s3://golden/{name}/../x",
    "encoded": "s3://golden/{name}/%2e%2e/%2e%2e/etc", "backslash": "s3://golden/{name}/..\\..\\e",
    "sibling": "s3://golden/{name}-2/shards", "bucket": "s3://golden2/{name}/shards",
    "scheme": "https://golden/{name}/shards", "none": "golden/{name}/shards",
    "own": "s3://golden/{name}", "own-slash": "s3://golden/{name}/",
    "double": "s3://golden/{name}//shards", "dot": "s3://golden/{name}/./shards",
    "hidden": "s3://golden/{name}/.shardyfusion/tmp", "query": "s3://golden/{name}/shards?x=1",
    "fragment": "s3://golden/{name}/shards#x", "user": "s3://user:word@golden/{name}/shards",
    "zero": "s3://golden/{name}/sha\0rds", "case": "S3://golden/{name}/shards/none",
    "space": "s3://golden/{name}/sha rds", "long": "s3://golden/{name}/" + "a/" * 3000,
}

VECTOR_FIELDS = ("dim", "metric", "backend", "kv_backend", "unified", "index_type", "quantization")
CUSTOM_VALUES = {
    "null": None, "zero": 0, "minus": -1, "true": True, "list": [], "text": "x", "float": 8.5,
    "huge": 2 ** 70, "large": 100000,
}
CUSTOMS = {
    "list": "[]", "text": '"x"', "broken": "{", "nothing": "", "vector-null": '{"vector":null}',
    "vector-list": '{"vector":[]}', "vector-empty": '{"vector":{}}',
    "deep": '{"a":' * 200 + "1" + "}" * 200, "ours-list": '{"shardyfusion":[]}',
    "ours-version": '{"shardyfusion":{"version":99,"engine":"sqlite"}}',
    "ours-engine": '{"shardyfusion":{"version":1,"engine":"../../x"}}',
    "twice": '{"vector":{"dim":1},"vector":{"dim":2}}',
}


def custom_field(field, value):
    def change(root):
        db = sqlite3.connect(only(root, MANIFEST), isolation_level=None)
        custom = json.loads(db.execute("SELECT custom FROM build_meta").fetchone()[0])
        if value is KeyError:
            del custom["vector"][field]
        else:
            custom["vector"][field] = value
        db.execute("UPDATE build_meta SET custom = ?", (json.dumps(custom),))
        db.close()
    return change


def manifest_cases():
    for table, columns in (("build_meta", BUILD_META), ("shards", SHARDS)):
        for column in columns:
            for name, value in SQL_VALUES.items():
                yield f"manifest.{table}.{column}.{name}", manifest_value(table, column, value)
    for name, url in URLS.items():
        yield (f"manifest.url.{name}",
               manifest_value("shards", "db_url", url.replace("{name}", KV)))
    for name, text in CUSTOMS.items():
        yield f"manifest.custom.{name}", manifest_sql(
            "UPDATE build_meta SET custom = '" + text.replace("'", "''") + "'")
    sharding = {"none": "{}", "cel": '{"strategy":"cel"}', "unknown": '{"strategy":"x"}',
                "hash-none": '{"strategy":"hash"}',
                "hash-other": '{"strategy":"hash","hash_algorithm":"md5"}', "list": "[]"}
    for name, text in sharding.items():
        yield f"manifest.sharding.{name}", manifest_sql(
            f"UPDATE build_meta SET sharding = '{text}'")
    statements = {
        "no-build-meta": ("DROP TABLE build_meta",), "no-shards": ("DROP TABLE shards",),
        "empty-meta": ("DELETE FROM build_meta",), "empty-shards": ("DELETE FROM shards",),
        "two-meta": ("INSERT INTO build_meta SELECT * FROM build_meta",),
        "view": ("ALTER TABLE shards RENAME TO t", "CREATE VIEW shards AS SELECT * FROM t"),
        "virtual": ("UPDATE sqlite_schema SET sql = 'CREATE VIRTUAL TABLE shards USING x', "
                    "rootpage = 0 WHERE name = 'shards'",),
        "root-zero": ("UPDATE sqlite_schema SET rootpage = 0 WHERE name = 'shards'",),
        "root-one": ("UPDATE sqlite_schema SET rootpage = 1 WHERE name = 'shards'",),
        "root-far": ("UPDATE sqlite_schema SET rootpage = 99999 WHERE name = 'shards'",),
        "root-same": ("UPDATE sqlite_schema SET rootpage = 2",),
        "sql-gone": ("UPDATE sqlite_schema SET sql = NULL WHERE name = 'shards'",),
        "sql-broken": ("UPDATE sqlite_schema SET sql = 'CREATE TABLE shards (' "
                       "WHERE name = 'shards'",),
        "sql-deep": ("UPDATE sqlite_schema SET sql = 'CREATE TABLE shards (a CHECK (' || "
                     + "'" + "(" * 5000 + "'" + " || ')))' WHERE name = 'shards'",),
        "trigger": ("CREATE TRIGGER t AFTER UPDATE ON shards BEGIN SELECT 1; END",),
        "same-id": ("ALTER TABLE shards RENAME TO t",
                    "CREATE TABLE shards AS SELECT * FROM t UNION ALL SELECT * FROM t"),
    }
    for name, change in statements.items():
        yield f"manifest.sql.{name}", manifest_sql(*change)


# --- files ----------------------------------------------------------------------------------------

def file_cases(label, pattern):
    def change(action):
        return lambda root: action(only(root, pattern))

    def into_directory(path):
        os.remove(path)
        os.mkdir(path)

    def into_link(target):
        def action(path):
            os.remove(path)
            os.symlink(target, path)
        return action

    def beside(path):
        """The folder in which the snapshot lies."""
        return path[:path.index("/snapshot/")]

    def link_outside(path):
        outside = os.path.join(beside(path), "outside")
        shutil.copy(path, outside)
        os.remove(path)
        os.symlink(outside, path)

    def directory_outside(path):
        """The folder of the object is a link to a folder elsewhere."""
        folder = os.path.dirname(path)
        outside = os.path.join(beside(path), "folder")
        shutil.rmtree(outside, ignore_errors=True)
        shutil.move(folder, outside)
        os.symlink(outside, folder)

    def into_pipe(path):
        os.remove(path)
        os.mkfifo(path)

    def part(share):
        return lambda path: os.truncate(path, int(os.path.getsize(path) * share))

    def longer(path):
        with open(path, "ab") as file:
            file.write(b"\0" * 5000)

    actions = {"missing": os.remove, "directory": into_directory,
               "link": into_link("/etc/passwd"), "link-loop": into_link("loop"),
               "link-outside": link_outside, "pipe": into_pipe, "nothing": part(0),
               "quarter": part(0.25), "half": part(0.5), "almost": part(0.99), "longer": longer,
               "device": into_link("/dev/zero")}
    if label != "pointer":
        actions["folder-outside"] = directory_outside
    for name, action in actions.items():
        yield f"file.{label}.{name}", change(action)


# --- bytes of SQLite files (https://sqlite.org/fileformat2.html) ----------------------------------

HEADER_FIELDS = {
    "magic": (0, ">B"), "page-size": (16, ">H"), "write-version": (18, ">B"),
    "read-version": (19, ">B"), "reserved": (20, ">B"), "max-fraction": (21, ">B"),
    "pages": (28, ">I"), "freelist": (32, ">I"), "free-pages": (36, ">I"),
    "schema-format": (44, ">I"), "autovacuum": (52, ">I"), "encoding": (56, ">I"),
    "page1-type": (100, ">B"), "page1-freeblock": (101, ">H"), "page1-cells": (103, ">H"),
    "page1-content": (105, ">H"), "page1-pointer": (108, ">H"),
}
PAGE_FIELDS = {"type": (0, ">B"), "freeblock": (1, ">H"), "cells": (3, ">H"),
               "content": (5, ">H"), "first": (8, ">H"), "second": (10, ">H")}
EXTREMES = {"B": (0, 1, 5, 0xff), "H": (0, 1, 7, 0x7fff, 0xffff),
            "I": (0, 1, 0x7fffffff, 0xffffffff)}


def patch(pattern, at, layout, number):
    """The number, or its neighbour when it is there already."""
    def change(root):
        path = only(root, pattern)
        data = bytearray(content(path))
        same = struct.unpack_from(layout, data, at)[0] == number
        struct.pack_into(layout, data, at, number ^ 1 if same else number)
        replace(path, bytes(data))
    return change


def byte_cases(label, pattern):
    for field, (at, layout) in HEADER_FIELDS.items():
        for number in EXTREMES[layout[1]]:
            yield f"bytes.{label}.{field}.{number}", patch(pattern, at, layout, number)
    for field, (at, layout) in PAGE_FIELDS.items():
        for number in EXTREMES[layout[1]]:
            yield (f"bytes.{label}.page2-{field}.{number}",
                   patch(pattern, 4096 + at, layout, number))


# --- shards with vectors --------------------------------------------------------------------------

def shard_sql(*statements):
    def change(root):
        db = sqlite3.connect(only(root, SHARD), isolation_level=None)
        db.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            db.execute(statement)
        db.close()
    return change


def vector_cases():
    for field in VECTOR_FIELDS:
        for name, value in CUSTOM_VALUES.items():
            yield f"vector.custom.{field}.{name}", custom_field(field, value)
        yield f"vector.custom.{field}.gone", custom_field(field, KeyError)
    chunk = "UPDATE vec_index_chunks SET "
    vectors = "UPDATE vec_index_vector_chunks00 SET vectors = "
    statements = {
        "size-zero": chunk + "size = 0", "size-minus": chunk + "size = -1",
        "size-huge": chunk + "size = 1000000000000", "size-odd": chunk + "size = 1023",
        "size-text": chunk + "size = 'x'",
        "validity-short": chunk + "validity = x'ff'",
        "validity-long": chunk + "validity = zeroblob(1000)",
        "validity-all": chunk + "validity = CAST(replace(hex(zeroblob(64)), '00', 'x') AS BLOB)",
        "validity-text": chunk + "validity = 'x'",
        "rowids-short": chunk + "rowids = zeroblob(8)",
        "rowids-zero": chunk + "rowids = zeroblob(8192)",
        "rowids-text": chunk + "rowids = 'x'",
        "vectors-short": vectors + "zeroblob(64)", "vectors-long": vectors + "zeroblob(100000)",
        "vectors-empty": vectors + "x''", "vectors-text": vectors + "'x'",
        "vectors-nan": vectors + "CAST(replace(hex(zeroblob(16384)), '00', 'zzzz') AS BLOB)",
        "vectors-gone": "DELETE FROM vec_index_vector_chunks00",
        "chunks-gone": "DELETE FROM vec_index_chunks",
        "chunks-twice": "INSERT INTO vec_index_chunks SELECT chunk_id + 1, size, validity, "
                        "rowids FROM vec_index_chunks",
        "map-gone": "DELETE FROM vec_id_map", "map-null": "UPDATE vec_id_map SET original_id = ''",
        "payload-broken": "UPDATE vec_payloads SET payload = '{'",
        "payload-blob": "UPDATE vec_payloads SET payload = x'ff00fe'",
        "kv-gone": "DROP TABLE kv", "kv-rowid": "UPDATE sqlite_schema SET sql = "
                   "'CREATE TABLE kv (k BLOB, v BLOB)' WHERE name = 'kv'",
        "kv-other": "UPDATE sqlite_schema SET sql = 'CREATE TABLE kv (v BLOB NOT NULL, "
                    "k BLOB PRIMARY KEY) WITHOUT ROWID' WHERE name = 'kv'",
        "index-gone": "DELETE FROM sqlite_schema WHERE name = 'vec_index'",
        "index-dim": "UPDATE sqlite_schema SET sql = replace(sql, '16', '8') "
                     "WHERE name = 'vec_index'",
        "index-int8": "UPDATE sqlite_schema SET sql = replace(sql, 'float', 'int8') "
                      "WHERE name = 'vec_index'",
        "index-metric": "UPDATE sqlite_schema SET sql = replace(sql, 'l2', 'l1') "
                        "WHERE name = 'vec_index'",
        "roots-same": "UPDATE sqlite_schema SET rootpage = 2 WHERE rootpage > 0",
        "roots-far": "UPDATE sqlite_schema SET rootpage = 4000000000 WHERE rootpage > 0",
    }
    for name, statement in statements.items():
        yield f"vector.shard.{name}", shard_sql(statement)


# Every table beside the index, every column that a reader might believe.
SHADOWS = (("vec_index_info", "value"), ("vec_index_chunks", "chunk_id"),
           ("vec_index_chunks", "size"), ("vec_index_chunks", "validity"),
           ("vec_index_chunks", "rowids"), ("sqlite_sequence", "seq"), ("vec_index_rowids", "id"),
           ("vec_index_rowids", "chunk_id"), ("vec_index_rowids", "chunk_offset"),
           ("vec_index_vector_chunks00", "vectors"), ("vec_payloads", "payload"),
           ("vec_id_map", "internal_id"), ("vec_id_map", "original_id"), ("kv", "v"))


def shadow_value(table, column, value):
    """One row with another value: the first, which is the one that is asked for in no case."""
    def change(root):
        db = sqlite3.connect(only(root, SHARD), isolation_level=None)
        key = "k" if table == "kv" else "rowid"
        db.execute("PRAGMA ignore_check_constraints = ON")
        try:
            db.execute(f"UPDATE {table} SET {column} = ? "
                       f"WHERE {key} = (SELECT min({key}) FROM {table})", (value,))
        except sqlite3.IntegrityError:
            # NULL where the schema forbids it, text for a rowid: not without another schema.
            db.execute("PRAGMA writable_schema = ON")
            db.execute("UPDATE sqlite_schema SET sql = replace(replace(sql, 'NOT NULL', ''), "
                       "'INTEGER PRIMARY KEY AUTOINCREMENT', 'ANY') WHERE name = ?", (table,))
            db.close()
            db = sqlite3.connect(only(root, SHARD), isolation_level=None)
            try:
                db.execute(f"UPDATE {table} SET {column} = ?", (value,))
            except sqlite3.Error:
                pass
        db.close()
    return change


SIDECAR_FIELDS = ("codec", "filename", "format_version", "page_size")


def sidecar_field(field, value):
    def change(root):
        db = sqlite3.connect(only(root, MANIFEST), isolation_level=None)
        custom = json.loads(db.execute("SELECT custom FROM build_meta").fetchone()[0])
        custom["sqlite_sidecar"][field] = value
        db.execute("UPDATE build_meta SET custom = ?", (json.dumps(custom),))
        db.close()
    return change


def shadow_cases():
    for table, column in SHADOWS:
        for name, value in SQL_VALUES.items():
            yield f"shadow.{table}.{column}.{name}", shadow_value(table, column, value)
    for table in sorted({table for table, _ in SHADOWS} - {"sqlite_sequence"}):
        yield f"shadow.{table}.dropped", shard_sql(f"DROP TABLE {table}")
        yield f"shadow.{table}.emptied", shard_sql(f"DELETE FROM {table}")
    for field in SIDECAR_FIELDS:
        for name, value in CUSTOM_VALUES.items():
            yield f"vector.sidecar.{field}.{name}", sidecar_field(field, value)


RUN_RECORDS = {
    "nothing": b"", "scalar": b"a", "alias": b"a: &x [1]\nb: *x\n", "tag": b"a: !!python/x 1\n",
    "deep": b"[" * 5000, "zeros": b"\0" * 500, "not-utf8": b"run_id: \xff\xfe\n",
    "long": b"#" * 100000, "other-run": b"run_id: other\nstatus: succeeded\n",
}


def run_record_cases():
    """No reader needs the record of a run."""
    for name, text in RUN_RECORDS.items():
        yield (f"run-record.{name}",
               lambda root, text=text: replace(only(root, "runs/*/run.yaml"), text))


def cases():
    """(name, golden snapshot, change) of all hostile snapshots."""
    for name, change in run_record_cases():
        yield name, KV, change
    for name, change in shadow_cases():
        yield name, VECTORS, change
    for name, change in pointer_cases():
        yield name, KV, change
    for name, change in manifest_cases():
        yield name, KV, change
    for label, pattern in (("pointer", "_CURRENT"), ("manifest", MANIFEST), ("shard", SHARD)):
        for name, change in file_cases(label, pattern):
            yield name, KV, change
    for label, pattern in (("manifest", MANIFEST), ("shard", SHARD)):
        for name, change in byte_cases(label, pattern):
            yield name, KV, change
    for name, change in vector_cases():
        yield name, VECTORS, change
    for name, change in byte_cases("vector-shard", SHARD):
        yield name, VECTORS, change
