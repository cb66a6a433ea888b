"""Hostile snapshots of ours, which carry digests: each answer is the right one or an error.

build() makes them with the command; cases() gives (name, snapshot, change)."""

import hashlib
import json
import os
import sqlite3
import subprocess

import snapshots
from snapshots import content, only, replace

KV = "own-kv"
VECTORS = "own-vectors"
SHARD = "shards/*/db=00000/attempt=00/shard.db"
FATE = "runs/run_id=*/fate"
SUMS = SHARD + ".sums"
ROWS = 500
VALUES = ("null", "zero", "minus", "list", "float", "huge", "up", "other", "zero-byte", "long")


def build(shardy, home):
    """Snapshots in folders of `home`, and what is asked of them: (name, folder, questions)."""
    rows = [{"key": f"k{i:04}", "v": f"value {i} " + "x" * 200,
             "vec": [((i * 7 + j) % 11) / 4 + i for j in range(8)]} for i in range(ROWS)]
    made = []
    for name, options in ((KV, ()), (VECTORS, ("--vector-column", "vec", "--metric", "l2"))):
        lines = os.path.join(home, name + ".jsonl")
        with open(lines, "w", encoding="utf-8") as file:
            for row in rows:
                if name == KV:
                    row = {key: row[key] for key in ("key", "v")}
                file.write(json.dumps(row) + "\n")
        folder = os.path.join(home, name)
        subprocess.run([shardy, "build", "-q", folder, "--input", lines, "--value-column", "v",
                        "--run-id", name, "--threads", "1", *options], check=True,
                       stdout=subprocess.DEVNULL)
        made.append((name, folder, questions(name, rows[7])))
    return made


def questions(name, row):
    asked = [(("info",), lambda out: out["run_id"] == name and out["num_dbs"] == 1 and
              out["row_count"] == ROWS)]
    asked.append((("get", row["key"], "--value-encoding", "utf8"),
                  lambda out: out["value"] == row["v"]))
    if name == VECTORS:
        query = ",".join(repr(x) for x in row["vec"])
        asked.append((("search", "--top-k", "1", "--", query),
                      lambda out: out["results"][0]["id"] == row["key"]))
    asked.append((("verify",), None))
    return asked


# --- documents ------------------------------------------------------------------------------------

def text_of(document, holder, signed):
    """Signed: with the digest of itself in `holder`, as its writer would have put it there."""
    check = signed and isinstance(holder, dict) and isinstance(holder.get("check"), str)
    if check:
        holder["check"] = "0" * 64
    text = json.dumps(document, separators=(",", ":"))
    if check:
        digest = hashlib.sha256(text.encode()).hexdigest()
        text = text.replace('"check":"' + "0" * 64, '"check":"' + digest)
    return text.encode()


def write_pointer(root, pointer, signed):
    replace(os.path.join(root, "_CURRENT"), text_of(pointer, pointer.get("shardyfusion"), signed))


def pointer_of(root):
    return json.loads(content(os.path.join(root, "_CURRENT")))


def pointer_field(field, value, signed):
    def change(root):
        pointer = pointer_of(root)
        place = pointer if field in pointer else pointer["shardyfusion"]
        assert field in place
        place[field] = value
        write_pointer(root, pointer, signed and field != "check")
    return change


def fate_field(field, value, signed):
    """What the fate says counts when the pointer says nothing."""
    def change(root):
        pointer = pointer_of(root)
        del pointer["shardyfusion"]
        write_pointer(root, pointer, False)
        path = only(root, FATE)
        fate = json.loads(content(path))
        assert field in fate
        fate[field] = value
        replace(path, text_of(fate, fate, signed and field != "check"))
    return change


def document_cases():
    for field in ("manifest_ref", "run_id", "manifest_content_type", "updated_at", "shardyfusion",
                  "generation", "manifest_sha256", "manifest_size", "nonce", "check"):
        for name in VALUES:
            value = snapshots.JSON_VALUES[name]
            yield f"own.pointer.{field}.{name}", pointer_field(field, value, True)
        yield f"own.pointer-unsigned.{field}", pointer_field(field, "a", False)
    for field in ("format_version", "generation", "manifest", "nonce", "pins", "run_id", "state",
                  "updated_at", "writer", "check"):
        for name in VALUES:
            value = snapshots.JSON_VALUES[name]
            yield f"own.fate.{field}.{name}", fate_field(field, value, True)
        yield f"own.fate-unsigned.{field}", fate_field(field, "a", False)


# --- digests --------------------------------------------------------------------------------------

def manifest_change(change, signed):
    """Signed: pointer and fate promise the changed manifest."""
    def action(root):
        path = only(root, snapshots.MANIFEST)
        change(path)
        if not signed:
            return
        data = content(path)
        # A manifest of one chunk: the digest of its object is that of the chunk's.
        assert len(data) <= 65536
        digest = hashlib.sha256(hashlib.sha256(data).digest()).hexdigest()
        pointer = pointer_of(root)
        pointer["shardyfusion"].update(manifest_sha256=digest, manifest_size=len(data))
        write_pointer(root, pointer, True)
    return action


def objects_value(column, value):
    def change(path):
        db = snapshots.loose(path, "shardy_objects")
        db.execute(f"UPDATE shardy_objects SET {column} = ? WHERE path LIKE '%/shard.db'", (value,))
        db.close()
    return change


def objects_sql(statement):
    def change(path):
        db = sqlite3.connect(path, isolation_level=None)
        db.execute(statement)
        db.close()
    return change


def digest_cases():
    for column in ("path", "size", "chunk_bytes", "sha256"):
        for name, value in snapshots.SQL_VALUES.items():
            if name == "long":
                continue  # a manifest of more than one chunk
            yield (f"own.objects.{column}.{name}",
                   manifest_change(objects_value(column, value), True))
    flipped = "UPDATE shardy_objects SET sha256 = zeroblob(32)"
    yield "own.objects.flipped", manifest_change(objects_sql(flipped), True)
    yield "own.objects.flipped-unsigned", manifest_change(objects_sql(flipped), False)
    gone = "DELETE FROM shardy_objects WHERE path LIKE '%/shard.db'"
    yield "own.objects.gone", manifest_change(objects_sql(gone), True)
    yield "own.objects.gone-unsigned", manifest_change(objects_sql(gone), False)
    yield "own.objects.no-table-unsigned", manifest_change(
        objects_sql("DROP TABLE shardy_objects"), False)


def sums_cases():
    def flip(at):
        def change(root):
            data = bytearray(content(only(root, SUMS)))
            data[at] ^= 1
            replace(only(root, SUMS), bytes(data))
        return change

    def swap(root):
        data = content(only(root, SUMS))
        replace(only(root, SUMS), data[32:64] + data[:32] + data[64:])

    for at in (0, 31, 32, -1):
        yield f"own.sums.flip.{at}", flip(at)
    yield "own.sums.swapped", swap


def some(named):
    """The first and the last number of each field."""
    fields = {}
    for name, change in named:
        fields.setdefault(name.rsplit(".", 1)[0], []).append((name, change))
    for found in fields.values():
        yield found[0]
        yield found[-1]


def cases():
    for name, change in (*document_cases(), *digest_cases(), *sums_cases()):
        yield name, KV, change
    files = (("pointer", "_CURRENT"), ("manifest", snapshots.MANIFEST), ("shard", SHARD),
             ("fate", FATE), ("sums", SUMS))
    for label, pattern in files:
        for name, change in snapshots.file_cases(label, pattern):
            yield "own." + name, KV, change
    for label, pattern in (("manifest", snapshots.MANIFEST), ("shard", SHARD)):
        for name, change in some(snapshots.byte_cases(label, pattern)):
            yield "own." + name, KV, change
    for name, change in some(snapshots.byte_cases("vector-shard", SHARD)):
        yield "own." + name, VECTORS, change
