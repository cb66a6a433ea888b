"""Cases of run.py that need more than lines: golden snapshots, signals, pipes, terminals.

Each function takes the command; the first line of its docstring is its name."""

import base64
import glob
import json
import math
import os
import pty
import re
import resource
import select
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(os.path.dirname(HERE), "golden", "snapshots")
TESTS = []


class Skip(Exception):
    pass


def tests():
    return TESTS


def test(function):
    """Registers a case and gives it a directory of its own."""
    def run(shardy):
        directory = tempfile.mkdtemp(prefix="shardy-cli-")
        try:
            function(shardy, directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    run.__doc__ = function.__doc__
    run.__module__ = function.__module__
    TESTS.append(run)
    return run


def environment(tmp, extra=None):
    from run import environment as make
    return make(tmp, extra)


def ask(shardy, directory, *args, code=0, **more):
    done = shardy.run(list(args), directory, **more)
    assert done.returncode == code, (args, done.returncode, done.stdout[:500], done.stderr[:500])
    return done


def answer(shardy, directory, *args, **more):
    return json.loads(ask(shardy, directory, *args, **more).stdout)


# --- golden snapshots -----------------------------------------------------------------------------

def expectations():
    for name in sorted(os.listdir(GOLDEN)):
        path = os.path.join(GOLDEN, name, "expected.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                expected = json.load(file)
            if not any("db_bytes" in s and s["db_bytes"] == 0 for s in expected["shards"]):
                yield name, os.path.join(GOLDEN, name), expected


def key_arguments(records):
    """Groups of records that can be asked for in one call: --key-format and the arguments."""
    groups = {"text": [], "base64": []}
    for record in records:
        if "key_b64" in record:
            groups["base64"].append((record["key_b64"], record))
        elif "\0" in str(record["key"]):  # no argument can hold it
            groups["base64"].append((base64.b64encode(record["key"].encode()).decode(), record))
        else:
            groups["text"].append((str(record["key"]), record))
    for form, items in groups.items():
        for at in range(0, len(items), 400):
            part = items[at:at + 400]
            yield ["--key-format", form], [k for k, _ in part], [r for _, r in part]


def value_of(record):
    return record["value_b64"] if "value_b64" in record else \
        base64.b64encode(record["value"].encode()).decode()


@test
def golden_records(shardy, tmp):
    """golden: every record is found with its value and routed to its shard"""
    seen = 0
    for name, path, expected in expectations():
        for options, keys, records in key_arguments(expected["records"]):
            got = answer(shardy, tmp, "-s", path, "multiget", *options, "--", *keys)
            assert [r["key"] for r in got["results"]] == keys, name
            for result, record in zip(got["results"], records):
                assert result["found"], (name, record)
                assert result["value"] == value_of(record), (name, record, result)
            for key, record in list(zip(keys, records))[:5]:
                got = answer(shardy, tmp, "-s", path, "route", *options, "--", key)
                assert got["db_id"] == record["shard"], (name, record, got)
                got = answer(shardy, tmp, "-s", path, "get", *options, "--", key)
                assert got["value"] == value_of(record), (name, record, got)
            seen += len(records)
    assert seen > 4000, seen


@test
def golden_absent(shardy, tmp):
    """golden: absent keys are not found, and --strict says so with its exit code"""
    for name, path, expected in expectations():
        absent = [k for k in expected.get("absent_keys", []) if not isinstance(k, dict)]
        if not absent:
            continue
        keys = [str(k) for k in absent]
        got = answer(shardy, tmp, "-s", path, "multiget", "--", *keys)
        assert all(r == {"key": k, "found": False} for r, k in zip(got["results"], keys)), name
        ask(shardy, tmp, "-s", path, "multiget", "--strict", "--", *keys, code=1)
        got = answer(shardy, tmp, "-s", path, "get", "--", keys[0])
        assert got == {"op": "get", "key": keys[0], "found": False, "value": "null"}
        ask(shardy, tmp, "-s", path, "get", "--strict", "--", keys[0], code=1)


@test
def golden_info(shardy, tmp):
    """golden: info, shards and health say what the manifest says"""
    for name, path, expected in expectations():
        info = answer(shardy, tmp, "-s", path, "info")
        truth = expected["info"]
        for field in ("num_dbs", "sharding", "key_encoding", "run_id", "row_count"):
            assert info[field] == truth[field], (name, field, info[field])
        assert info["verified"] is False
        assert info["custom"] == expected["custom"], name
        assert info["manifest_ref"] == expected["current"]["manifest_ref"], name
        vector = expected["custom"].get("vector")
        assert (info["vector"] is None) == (vector is None), name
        if vector:
            assert info["vector"] == {"dim": vector["dim"], "metric": vector["metric"]}
        shards = answer(shardy, tmp, "-s", path, "shards")["shards"]
        assert [s["db_id"] for s in shards] == list(range(truth["num_dbs"])), name
        by_id = {s["db_id"]: s for s in expected["shards"]}
        for shard in shards:
            want = by_id.get(shard["db_id"], {"db_url": None, "attempt": 0, "row_count": 0,
                                              "db_bytes": 0, "min_key": None, "max_key": None})
            for field, value in want.items():
                assert shard[field] == value, (name, field, shard, want)
        health = answer(shardy, tmp, "-s", path, "health")
        assert health["status"] == "healthy" and health["num_shards"] == truth["num_dbs"], health
        # in snapshots of the reference nothing is promised, so nothing can be damaged
        verified = answer(shardy, tmp, "-s", path, "verify")
        assert verified["status"] == "unverified" and verified["damaged"] == [], (name, verified)


@test
def golden_search(shardy, tmp):
    """golden: search finds the exact neighbours, from numbers and from files"""
    from run import write_npy
    seen = 0
    for name, path, expected in expectations():
        for i, query in enumerate(expected.get("queries", [])):
            args = ["-s", path, "search", "--top-k", str(query["k"])]
            if "shard_ids" in query:
                args += ["--shard-ids", ",".join(map(str, query["shard_ids"]))]
            numbers = ",".join(map(repr, query["query"]))
            got = answer(shardy, tmp, *args, numbers)
            assert got["top_k"] == query["k"]
            exact = query["exact"]
            assert [r["id"] for r in got["results"]] == [e[0] for e in exact], (name, i, got)
            payloads = {r.get("vector_id", r.get("key")): r.get("payload")
                        for r in expected["records"]}
            for result, (_, distance) in zip(got["results"], exact):
                assert math.isclose(result["score"], distance, abs_tol=2e-6), (name, result)
                assert result["payload"] == payloads[result["id"]], (name, result)
            write_npy(os.path.join(tmp, "q.npy"), "f8", (len(query["query"]),), query["query"])
            again = answer(shardy, tmp, *args, "--vector-file", "q.npy")
            assert again["results"] == got["results"]
            seen += 1
    assert seen >= 10, seen


@test
def golden_search_many(shardy, tmp):
    """golden: a file with many queries gives one list per row"""
    from run import write_npy
    name, path, expected = next(e for e in expectations() if e[0] == "unified_sqlite_vec_cosine")
    queries = [q for q in expected["queries"] if "shard_ids" not in q]
    rows = [x for q in queries for x in q["query"]]
    write_npy(os.path.join(tmp, "q.npy"), "f4", (len(queries), len(rows) // len(queries)), rows)
    got = answer(shardy, tmp, "-s", path, "search", "--top-k", "3", "--vector-file", "q.npy")
    assert "results" not in got
    assert [q["query"] for q in got["queries"]] == list(range(len(queries)))
    for part, query in zip(got["queries"], queries):
        assert [r["id"] for r in part["results"]] == [e[0] for e in query["exact"][:3]], name
    one = answer(shardy, tmp, "-s", path, "search", "--top-k", "3", "--vector-file", "q.npy",
                 "--vector-row", "1")
    assert one["results"] == got["queries"][1]["results"]
    text = ask(shardy, tmp, "-s", path, "search", "--top-k", "1", "--vector-file", "q.npy",
               "--output-format", "text").stdout.decode()
    assert text.startswith("top_k=1  shards=4  latency_ms=") and "\nquery=1\nid=" in text


def write_records(path, records):
    with open(path, "w", encoding="utf-8") as file:
        for r in records:
            row = {"key": r["key"], "value": r["value"]}
            if "vector" in r:
                row.update(vector=r["vector"], payload=r["payload"])
            file.write(json.dumps(row) + "\n")


def only_path(pattern):
    paths = glob.glob(pattern)
    assert len(paths) == 1, (pattern, paths)
    return paths[0]


def tables_of(path):
    """Schema and rows of all ordinary tables, as libsqlite3 reads them."""
    db = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    schema = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid")
    schema = schema.fetchall()
    rows = {name: db.execute(f'SELECT * FROM "{name}"').fetchall()
            for kind, name, _, sql in schema if kind == "table" and "VIRTUAL" not in (sql or "")}
    settings = [db.execute(f"PRAGMA {name}").fetchone()
                for name in ("page_size", "encoding", "user_version", "application_id")]
    db.close()
    return schema, rows, settings


@test
def golden_rebuilt(shardy, tmp):
    """golden: the same rows give shards with the schema, rows and settings of the reference"""
    for name in ("kv_sqlite_sidecar", "kv_sqlite_hash_u32", "unified_sqlite_vec_cosine",
                 "unified_sqlite_vec_l2"):
        with open(os.path.join(GOLDEN, name, "expected.json"), encoding="utf-8") as file:
            expected = json.load(file)
        rows = os.path.join(tmp, name + ".jsonl")
        write_records(rows, expected["records"])
        options = ["--value-column", "value", "--num-dbs", str(len(expected["shards"])),
                   "--key-encoding", expected["info"]["key_encoding"],
                   "--published-as", expected["s3_prefix"]]
        vector = expected["how"].get("vector")
        if vector:
            options += ["--vector-column", "vector", "--payload-column", "payload",
                        "--metric", vector["metric"]]
        ours = os.path.join(tmp, name)
        answer(shardy, tmp, "build", ours, "--input", rows, *options)
        for shard in expected["shards"]:
            file = f"shards/*/db={shard['db_id']:05d}/attempt=00/shard.db"
            assert (tables_of(only_path(os.path.join(ours, file))) ==
                    tables_of(only_path(os.path.join(GOLDEN, name, file)))), (name, shard["db_id"])
        columns = "db_id, attempt, row_count, min_key, max_key"
        listed = [sqlite3.connect(only_path(os.path.join(root, "manifests/*/manifest"))).execute(
            f"SELECT {columns} FROM shards ORDER BY db_id").fetchall()
            for root in (ours, os.path.join(GOLDEN, name))]
        assert listed[0] == listed[1], (name, listed)


@test
def golden_history(shardy, tmp):
    """golden: history and rollback as the reference printed them"""
    path = os.path.join(tmp, "snap")
    shutil.copytree(os.path.join(GOLDEN, "history_rollback"), path)
    with open(os.path.join(path, "expected.json"), encoding="utf-8") as file:
        expected = json.load(file)
    recorded = json.loads(expected["command_line"]["history"]["stdout"])
    got = answer(shardy, tmp, "-s", path, "history")
    assert [m["current"] for m in got["manifests"]] == [False, True, False, False]
    for manifest in got["manifests"]:
        del manifest["current"]
    assert got == recorded
    refs = [m["ref"] for m in recorded["manifests"]]
    ids = [m["run_id"] for m in recorded["manifests"]]
    for option, value, offset in (("--offset", "3", 3), ("--run-id", ids[2], 2),
                                  ("--ref", refs[0], 0)):
        done = ask(shardy, tmp, "-s", path, "rollback", option, value, "--output-format", "text")
        assert done.stdout.decode() == f"Rolled back _CURRENT to: {refs[offset]}\n"
        info = answer(shardy, tmp, "-s", path, "info")
        assert info["run_id"] == ids[offset]
        assert info["manifest_ref"] == refs[offset]
        listed = answer(shardy, tmp, "-s", path, "history")["manifests"]
        assert [m["current"] for m in listed] == [i == offset for i in range(4)]
    back = answer(shardy, tmp, "-s", path, "rollback", "--offset", "1")
    assert back == {"op": "rollback", "ref": refs[1]}
    # pins look at other manifests without moving the pointer
    pinned = answer(shardy, tmp, "-s", path, "--offset", "3", "info")
    assert pinned["run_id"] == ids[3]
    for ref in (refs[0], "manifests/" + refs[0].rpartition("/manifests/")[2]):
        pinned = answer(shardy, tmp, "-s", path, "info", "--ref", ref)
        assert pinned["run_id"] == ids[0]
    assert answer(shardy, tmp, "-s", path, "info")["run_id"] == ids[1]
    before = open(os.path.join(path, "_CURRENT"), "rb").read()
    for args in (("--offset", "4"), ("--run-id", "0" * 32), ("--ref", refs[0] + "x")):
        ask(shardy, tmp, "-s", path, "rollback", *args, code=1)
    assert open(os.path.join(path, "_CURRENT"), "rb").read() == before


@test
def naming(shardy, tmp):
    """a snapshot is named by a directory, its pointer, a URL of either, with or without a slash"""
    path = os.path.join(GOLDEN, "kv_sqlite_hash_int")
    for name in (path, path + "/", path + "/_CURRENT", "file://" + path, "file://" + path + "/",
                 "file://" + path + "/_CURRENT", os.path.relpath(path, tmp)):
        got = answer(shardy, tmp, "-s", name, "get", "7", "--value-encoding", "utf8")
        assert got["value"] == "value-00001", name
        assert len(answer(shardy, tmp, "-s", name, "history")["manifests"]) == 1, name
        got = answer(shardy, tmp, "get", "7", env={"SHARDY_CURRENT": name})
        assert got["found"], name


# --- pipes and files ------------------------------------------------------------------------------

@test
def full_disk(shardy, tmp):
    """an output that cannot be written is an error"""
    with open("/dev/full", "wb") as full:
        done = subprocess.run([shardy.path, "--version"], stdout=full, stderr=subprocess.PIPE,
                              env=environment(tmp), timeout=60)
    assert done.returncode == 1, done
    assert b"cannot write to the standard output: No space left on device" in done.stderr


@test
def full_disk_after_the_deed(shardy, tmp):
    """what was published, moved, pinned or removed is told when its report cannot be written"""
    def unreported(*args):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([shardy.path, *args], stdout=full, stderr=subprocess.PIPE,
                                  env=environment(tmp), timeout=60, cwd=tmp)
        assert done.returncode == 1, done
        error = json.loads(done.stderr)
        assert error["status"] == "NO_SPACE", error
        assert "cannot write to the standard output: No space left" in error["error"], error
        return error["error"]

    write_rows(tmp, 5)
    build = ("build", "snap", "--input", "rows.jsonl", "-q", "--run-id")
    for run in ("one", "two"):
        assert f'run "{run}" was published and is current' in unreported(*build, run)
    assert answer(shardy, tmp, "-s", "snap", "info")["run_id"] == "two"
    place = ("-s", "snap")
    text = unreported(*place, "rollback", "--run-id", "one")
    assert re.search(r'current is now "[^"]*run_id=one/manifest"', text), text
    text = unreported(*place, "pin", "name", "--run-id", "two")
    assert re.search(r'the pin "name" is on "[^"]*run_id=two/manifest" now', text), text
    unreported(*build, "three")
    text = unreported(*place, "unpin", "name")
    assert 'the pin "name" was taken from 1 snapshot,' in text, text
    text = unreported(*place, "cleanup", "--keep-last", "1", "--dry-run")
    assert "the cleanup has removed 0 objects," in text, text
    text = unreported(*place, "cleanup", "--keep-last", "1")
    assert re.search(r"the cleanup has removed [1-9]\d* objects,", text), text


@test
def file_size_limit(shardy, tmp):
    """a file that would be larger than the process may write is an error, not the end of it"""
    rows = os.path.join(tmp, "rows.jsonl")
    with open(rows, "w", encoding="utf-8") as file:
        for i in range(2000):
            file.write(f'{{"key": "k{i}", "value": "{"v" * 100}"}}\n')
    done = subprocess.run(
        [shardy.path, "build", os.path.join(tmp, "set"), "--input", rows], capture_output=True,
        env=environment(tmp), timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)))
    assert done.returncode == 1, done
    assert b"File too large" in done.stderr + done.stdout, done


@test
def closed_pipe(shardy, tmp):
    """a reader that goes away ends the command quietly"""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run([shardy.path, "schema"], stdout=write_end, stderr=subprocess.PIPE,
                          env=environment(tmp), timeout=60)
    os.close(write_end)
    assert done.returncode == -signal.SIGPIPE, done
    assert done.stderr == b""


@test
def raw_value(shardy, tmp):
    """get --raw writes the bytes and nothing else"""
    rows = json.dumps({"key": "k", "v": "line\nmore\u00e9"}) + "\n"
    ask(shardy, tmp, "build", "snap", "--input", "-", "--value-column", "v",
        stdin=rows.encode())
    done = ask(shardy, tmp, "-s", "snap", "get", "k", "--raw")
    assert done.stdout == "line\nmore\u00e9".encode()
    done = ask(shardy, tmp, "-s", "snap", "get", "x", "--raw")
    assert done.stdout == b"" and b'key "x" was not found' in done.stderr
    ask(shardy, tmp, "-s", "snap", "get", "x", "--raw", "--strict", code=1)


@test
def keys_from_stdin(shardy, tmp):
    """keys on the standard input end with a line feed, or with both bytes; the rest is theirs"""
    rows = "".join(json.dumps({"key": k, "v": str(i)}) + "\n" for i, k in enumerate((" a ", "b")))
    ask(shardy, tmp, "build", "snap", "--input", "-", "--value-column", "v", stdin=rows.encode())
    got = answer(shardy, tmp, "-s", "snap", "multiget", "-", stdin=b" a \r\n\r\n \t\nb\na")
    assert [(r["key"], r["found"]) for r in got["results"]] == \
        [(" a ", True), ("b", True), ("a", False)], got


# --- signals --------------------------------------------------------------------------------------

def scratch(directory):
    """All files below a directory."""
    found = []
    for parent, _, files in os.walk(directory):
        found += [os.path.join(parent, f) for f in files]
    return found


def start_build(shardy, tmp, *args):
    return subprocess.Popen([shardy.path, "build", "snap", "--num-dbs", "3", *args], cwd=tmp,
                            env=environment(tmp), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def finish(process):
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, err


def interrupt_build(shardy, tmp, number):
    """Sends a signal to a build that waits for more rows."""
    process = start_build(shardy, tmp, "--input", "-")
    # far more than a pipe holds: when the write returns, most of the rows have been taken
    process.stdin.write(b"".join(b'{"key": %d, "v": "%d"}\n' % (i, i) for i in range(20000)))
    process.stdin.flush()
    process.send_signal(number)
    try:
        code = process.wait(timeout=60)  # its standard input stays open meanwhile
    finally:
        process.kill()
    with process.stdin, process.stdout, process.stderr:
        return code, process.stdout.read(), process.stderr.read()


def left_behind(tmp):
    """Files that a build must not leave: everything but its run record and the lock."""
    return [p for p in scratch(os.path.join(tmp, "snap"))
            if "/runs/" not in p and not p.endswith("/lock")]


@test
def interrupted(shardy, tmp):
    """SIGINT ends a build with 130 and leaves nothing behind"""
    code, out, err = interrupt_build(shardy, tmp, signal.SIGINT)
    assert code == 130, (code, out, err)
    assert out == b""
    assert json.loads(err) == {"op": "build", "error": "interrupted", "status": "CANCELLED"}
    assert left_behind(tmp) == [], left_behind(tmp)


@test
def terminated(shardy, tmp):
    """SIGTERM ends a build with 143 and leaves nothing behind"""
    code, out, err = interrupt_build(shardy, tmp, signal.SIGTERM)
    assert code == 143, (code, out, err)
    assert left_behind(tmp) == [], left_behind(tmp)


@test
def hung_up(shardy, tmp):
    """SIGHUP ends a build with 129 and leaves nothing behind, and under nohup it does nothing"""
    code, out, err = interrupt_build(shardy, tmp, signal.SIGHUP)
    assert code == 129, (code, out, err)
    assert left_behind(tmp) == [], left_behind(tmp)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start_build(shardy, tmp, "--input", "-")
    finally:
        signal.signal(signal.SIGHUP, before)
    process.stdin.write(b'{"key": 1, "v": "1"}\n')
    process.stdin.flush()
    process.send_signal(signal.SIGHUP)
    code, out, err = finish(process)
    assert code == 0, (code, out, err)


@test
def interrupted_in_each_phase(shardy, tmp):
    """SIGINT in any phase leaves either nothing or a snapshot that is whole"""
    write_rows(tmp, 50000)
    for phase in (b"reading", b"building", b"publishing"):
        process = start_build(shardy, tmp, "--input", "rows.jsonl", "--verbose")
        while phase not in (line := process.stderr.readline()) and line:
            pass
        process.send_signal(signal.SIGINT)
        code, out, err = finish(process)
        if code == 0:
            assert json.loads(out)["row_count"] == 50000
            assert answer(shardy, tmp, "-s", "snap", "verify", "--deep")["status"] == "ok"
            shutil.rmtree(os.path.join(tmp, "snap"))
        else:
            assert code == 130 and out == b"", (phase, code, out, err)
            assert left_behind(tmp) == [], (phase, left_behind(tmp))


# --- terminals ------------------------------------------------------------------------------------

def on_terminal(shardy, tmp, args, env=None, columns=80):
    """Runs with a terminal as standard error; returns the exit code and what it showed."""
    import fcntl
    import struct
    import termios
    try:
        master, slave = pty.openpty()
    except OSError as error:
        raise Skip(f"there are no pseudo-terminals here: {error}") from error
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([shardy.path, *args], cwd=tmp, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=slave,
                               env=environment(tmp, {"TERM": "xterm", **(env or {})}))
    os.close(slave)
    shown = b""
    while True:
        ready, _, _ = select.select([master], [], [], 0.05)
        if ready:
            try:
                data = os.read(master, 65536)
            except OSError:
                data = b""
            if not data:
                break
            shown += data
        elif process.poll() is not None:
            break
    out = process.stdout.read()
    os.close(master)
    return process.wait(), out, shown.decode()


def write_rows(tmp, count):
    with open(os.path.join(tmp, "rows.jsonl"), "w", encoding="utf-8") as file:
        for i in range(count):
            file.write(json.dumps({"key": i, "text": f"row number {i}"}) + "\n")


@test
def progress(shardy, tmp):
    """a terminal sees a line of progress that is taken away at the end"""
    write_rows(tmp, 20000)
    args = ["build", "snap", "--input", "rows.jsonl", "--num-dbs", "4"]
    code, out, shown = on_terminal(shardy, tmp, args)
    assert code == 0 and json.loads(out)["row_count"] == 20000
    assert "reading" in shown and "building" in shown and "\u2500" in shown, shown
    assert shown.endswith("\r\033[K"), repr(shown[-50:])
    assert "\033[36m" in shown
    import re
    for line in shown.split("\r"):
        assert len(re.sub("\033\\[[0-9;]*[mK]", "", line)) < 80, line
    code, out, shown = on_terminal(shardy, tmp, args, {"NO_COLOR": "1", "LANG": "C"})
    assert code == 0 and "\033[36m" not in shown and "\u2500" not in shown and "---" in shown
    for quiet in ({"TERM": "dumb"},):
        code, out, shown = on_terminal(shardy, tmp, args, quiet)
        assert code == 0 and shown == "", shown
    code, out, shown = on_terminal(shardy, tmp, args + ["--quiet"])
    assert code == 0 and shown == "", shown
    code, out, shown = on_terminal(shardy, tmp, ["-s", "snap", "verify"])
    assert code == 0 and (shown == "" or shown.endswith("\r\033[K")), shown


@test
def progress_elsewhere(shardy, tmp):
    """without a terminal there is no progress, with --verbose there are lines"""
    write_rows(tmp, 2000)
    done = ask(shardy, tmp, "build", "snap", "--input", "rows.jsonl")
    assert done.stderr == b""
    done = ask(shardy, tmp, "build", "snap", "--input", "rows.jsonl", "--verbose")
    assert b"shardy: reading " in done.stderr and b"\r" not in done.stderr, done.stderr


@test
def documents(shardy, tmp):
    """the manual page and the completions are well formed"""
    done = ask(shardy, tmp, "--generate", "man")
    assert done.stdout.startswith(b".TH SHARDY 1")
    page = done.stdout.decode().replace("\\fB", " ")
    with open(os.path.join(HERE, "..", "..", "docs", "options.md"), encoding="utf-8") as file:
        told = set(re.findall(r"`((?:AWS|S3|SLATEDB|SHARDY)_\w+|\w+_proxy)\b", file.read()))
    missing = {name for name in told if not re.search(rf"\b{name}\b", page)}
    assert len(told) > 20 and not missing, (len(told), missing)
    assert "143" in page.split(".SH EXIT STATUS")[1].split(".SH")[0]
    if shutil.which("groff"):
        check = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=done.stdout,
                               capture_output=True, timeout=60)
        assert check.returncode == 0 and check.stderr == b"", check.stderr
    for shell in ("bash", "zsh", "fish"):
        done = ask(shardy, tmp, "--generate", shell)
        if shutil.which(shell):
            check = subprocess.run([shell, "-n"], input=done.stdout, capture_output=True,
                                   timeout=60)
            assert check.returncode == 0, check.stderr


@test
def completion(shardy, tmp):
    """bash completes commands, options and their values"""
    if not shutil.which("bash"):
        raise Skip("there is no bash")
    script = ask(shardy, tmp, "--generate", "bash").stdout.decode()
    with open(os.path.join(tmp, "c.bash"), "w", encoding="utf-8") as file:
        file.write(script)
    cases = (("shardy ver", "verify"), ("shardy get --str", "--strict"),
             ("shardy get --output-format js", "json jsonl"), ("shardy --sn", "--snapshot"),
             ("shardy schema err", "error"), ("shardy schema exe", ""),
             ("shardy history --str", ""), ("shardy explain ", "open get search"),
             ("shardy explain get ", ""), ("shardy get c", ""), ("shardy build c", "c.bash"))
    for line, expected in cases:
        words = line.split(" ")
        check = subprocess.run(
            ["bash", "-c", f'. ./c.bash; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; '
             '_shardy; echo "${COMPREPLY[*]}"'], cwd=tmp, capture_output=True, timeout=60)
        assert check.stdout.decode().strip() == expected, (line, check.stdout, check.stderr)


# --- interactive mode -----------------------------------------------------------------------------

class Session:
    """The interactive mode on a terminal: keys go in, what it shows comes out."""

    def __init__(self, shardy, tmp, *args, env=None, columns=100):
        import fcntl
        import struct
        import termios
        try:
            self.master, slave = pty.openpty()
        except OSError as error:
            raise Skip(f"there are no pseudo-terminals here: {error}") from error
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

        def own_terminal():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [shardy.path, *args], cwd=tmp, stdin=slave, stdout=slave, stderr=slave,
            env=environment(tmp, {"TERM": "xterm", "NO_COLOR": "1", **(env or {})}),
            start_new_session=True, preexec_fn=own_terminal)
        os.close(slave)
        self.shown = ""

    def wait_for(self, text, timeout=60):
        """Reads until the text was shown after what was waited for before; returns all up to it."""
        end = time.monotonic() + timeout
        while text not in self.shown:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            data = b""
            if ready:
                try:
                    data = os.read(self.master, 65536)
                except OSError:
                    pass
            if not data:
                self.process.kill()
                raise AssertionError(f"waited for {text!r}, shown is {self.shown!r}")
            self.shown += data.decode("utf-8", "replace")
        before, _, self.shown = self.shown.partition(text)
        return before

    def type(self, keys):
        os.write(self.master, keys if isinstance(keys, bytes) else keys.encode())

    def ask(self, keys, answer):
        """Types a line and waits for its answer and the next prompt."""
        self.type(keys)
        shown = self.wait_for(answer)
        return shown + answer + self.wait_for("shardy> ")

    def close(self, code=0):
        try:
            while select.select([self.master], [], [], 60)[0]:
                self.shown += os.read(self.master, 65536).decode("utf-8", "replace")
        except OSError:
            pass  # nobody has the terminal any more
        os.close(self.master)
        try:
            got = self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert got == code, (got, self.shown)
        return self.shown


def edits(shardy, tmp):
    """Whether this command was built with libedit: it completes."""
    session = start_session(shardy, tmp)
    session.type("qu\t\nquit\n")
    return "unknown command" not in session.close()


def start_session(shardy, tmp, *args, **more):
    if not os.path.exists(os.path.join(tmp, "snap")):
        for run in ("one", "two"):
            rows = "".join(json.dumps({"key": k, "v": k * 2}) + "\n" for k in ("a", "b", "\u00e4"))
            ask(shardy, tmp, "build", "snap", "--input", "-", "--value-column", "v", "--run-id",
                run, stdin=rows.encode())
    with open(os.path.join(tmp, "reader.toml"), "w", encoding="utf-8") as file:
        file.write('[output]\nformat = "text"\nvalue_encoding = "utf8"\n')
    session = Session(shardy, tmp, "-s", "snap", *args, **more)
    session.banner = session.wait_for("shardy> ")
    return session


@test
def session_banner(shardy, tmp):
    """session: a banner says what was loaded; quit, exit and Ctrl-D leave"""
    session = start_session(shardy, tmp)
    assert "Loaded manifest run_id=two  (1 shard, hash sharding)" in session.banner
    session.type("quit\n")
    session.close()
    session = start_session(shardy, tmp, "--offset", "1")
    assert "run_id=one" in session.banner, session.banner
    session.type("exit\n")
    session.close()
    session = start_session(shardy, tmp)
    session.ask("get a\n", "a=aa")
    session.type(b"\x04")
    session.close()


@test
def session_without_editing(shardy, tmp):
    """session: on a dumb terminal lines are read as they come, Ctrl-C drops the line"""
    session = start_session(shardy, tmp, env={"TERM": "dumb"})
    session.ask("get a\n", "a=aa")
    session.type("get b")
    session.wait_for("get b")
    session.type(b"\x03")
    session.wait_for("shardy> ")
    shown = session.ask("get \u00e4\n", "\u00e4=\u00e4\u00e4")
    assert "bb" not in shown
    session.ask("history abc\n", "shardy: error: option")
    session.type(b"\x04")
    session.close()


@test
def session_editing(shardy, tmp):
    """session: keys edit the line, Ctrl-C drops it, an empty line does nothing"""
    if not edits(shardy, tmp):
        raise Skip("built without libedit")
    session = start_session(shardy, tmp)
    session.ask("get bX\x7f\n", "b=bb")                    # backspace
    session.ask("et \u00e4\x01g\n", "\u00e4=\u00e4\u00e4")    # Ctrl-A, a character of two bytes
    session.ask("get nope\x15get a\n", "a=aa")             # Ctrl-U
    shown = session.ask("\n", "\n")
    assert "aa" not in shown, shown                        # the reference repeats the last command
    session.ask("\x1b[A\n", "a=aa")                        # up
    session.ask("\x1b[A\x1b[A\n", "\u00e4=\u00e4\u00e4")   # twice up
    session.ask("\x12get b\n", "b=bb")                     # Ctrl-R
    session.type("get b")
    session.wait_for("get b")
    session.type(b"\x03")
    shown = session.wait_for("shardy> ")
    assert "^C" in shown and "bb" not in shown, shown
    session.process.send_signal(signal.SIGINT)             # not by a key
    session.wait_for("shardy> ")
    session.ask("get a\n", "a=aa")
    session.type("quit\n")
    session.close()


@test
def session_completion(shardy, tmp):
    """session: Tab completes commands, options, values, run ids and files"""
    if not edits(shardy, tmp):
        raise Skip("built without libedit")
    session = start_session(shardy, tmp)
    session.type("his\t")
    session.wait_for("tory ")
    session.ask("--lim\t1\n", "[0] ")
    session.type("use --ref o\t")
    session.ask("\n", "Switched to manifest run_id=one  (")
    session.type("use --ref \t")
    shown = session.wait_for("shardy> ")
    assert "one" in shown and "two" in shown and "_run_id=two/manifest" in shown, shown
    session.type(b"\x03")
    session.wait_for("shardy> ")
    session.type("get a --output-format js\t")
    session.wait_for("on")
    session.type("\t")
    shown = session.wait_for("shardy> ")
    assert "json   jsonl" in shown, shown
    session.ask("l\n", '{"op": "get", "key": "a", "found": true, "value": "aa"}')
    with open(os.path.join(tmp, "q u.npy"), "wb"):
        pass
    session.type("search --vector-file q\t")
    session.wait_for("'q u.npy'")
    session.type(b"\x03")
    session.wait_for("shardy> ")
    session.type(b"\x04")
    session.close()


@test
def session_history(shardy, tmp):
    """session: lines that were commands are kept for the next session, readable by nobody else"""
    if not edits(shardy, tmp):
        raise Skip("built without libedit")
    path = os.path.join(tmp, "state", "shardy", "history")
    more = {"env": {"XDG_STATE_HOME": os.path.join(tmp, "state")}}
    session = start_session(shardy, tmp, **more)
    session.ask("get a\n", "a=aa")
    session.ask(" get b\n", "b=bb")                     # a blank before it: not kept
    session.ask("get --s3-option secret=1\n", "error")    # no command: not kept
    session.ask("get 'x\n", "error")
    session.type("quit\n")
    session.close()
    with open(path, encoding="utf-8") as file:
        assert file.read() == "get a\nquit\n"
    assert os.stat(path).st_mode & 0o777 == 0o600
    session = start_session(shardy, tmp, **more)
    session.ask("\x1b[A\x1b[A\n", "a=aa")
    session.type(b"\x04")
    session.close()


@test
def session_zero_byte(shardy, tmp):
    """session: a line with a zero byte is refused, also when it is the last of the line"""
    session = start_session(shardy, tmp)
    session.type("quit\n")
    session.close()
    for line in (b"get\0a\n", b"get a\0\n", b"get a\0"):
        done = ask(shardy, tmp, "-s", "snap", stdin=line, code=0)
        assert b"there is a zero byte in the line" in done.stderr, (line, done)
        assert done.stdout == b"", (line, done)


@test
def session_history_not_text(shardy, tmp):
    """session: a line of the history that is no text of the terminal hides no other"""
    if not edits(shardy, tmp):
        raise Skip("built without libedit")
    os.makedirs(os.path.join(tmp, "state", "shardy"))
    with open(os.path.join(tmp, "state", "shardy", "history"), "wb") as file:
        file.write(b"get a\nget \xff\n")
    session = start_session(shardy, tmp, env={"XDG_STATE_HOME": os.path.join(tmp, "state")})
    session.ask("\x1b[A\n", "a=aa")
    session.type(b"\x04")
    session.close()


@test
def session_odd_keys(shardy, tmp):
    """session: no key swallows others: neither half a character, nor a signal, nor a completion"""
    if not edits(shardy, tmp):
        raise Skip("built without libedit")
    session = start_session(shardy, tmp)
    session.ask(b"\x01\xc3get b\x01\x04\n", "b=bb")    # Ctrl-D deletes what stands for the half
    session.type(b"\x1bx")                              # a command of the editor
    session.wait_for(": ")
    session.process.send_signal(signal.SIGINT)
    session.type(b"\n")
    session.ask(b"\x15get a\n", "a=aa")
    os.mkdir(os.path.join(tmp, "files"))
    with open(os.path.join(os.fsencode(tmp), b"files", b"q\xff.npy"), "wb"):
        pass
    session.ask("search --vector-file files/q\t\n", '"files/q"')
    session.type(b"\x04")
    session.close()


@test
def session_interrupted_call(shardy, tmp):
    """session: Ctrl-C ends the call that runs, and the session goes on"""
    from run import write_npy
    numbers = [float(i % 97) for i in range(16 * 2000)]
    write_npy(os.path.join(tmp, "v.npy"), "f4", (2000, 16), numbers)
    write_npy(os.path.join(tmp, "q.npy"), "f4", (20000, 16), numbers * 10)
    rows = "".join(json.dumps({"key": k}) + "\n" for k in range(2000))
    ask(shardy, tmp, "build", "snap", "--input", "-", "--vectors", "v.npy", "--metric", "l2",
        stdin=rows.encode())
    with open(os.path.join(tmp, "q.npy"), "rb") as file:
        queries = file.read()
    fifo = os.path.join(tmp, "queries")
    os.mkfifo(fifo)
    session = start_session(shardy, tmp, env={"TERM": "dumb"})
    for _ in range(50):
        session.type("search --vector-file queries --top-k 1\n")
        with open(fifo, "wb") as file:
            file.write(queries)  # more than a pipe holds: the call runs when this returns
        session.type(b"\x03")
        if "shardy: error: interrupted" in session.wait_for("shardy> "):
            break
    else:
        raise AssertionError("no call was interrupted")
    session.ask("\nroute 1\n", "1 -> shard 0")
    session.type(b"\x04")
    session.close()


@test
def session_terminated(shardy, tmp):
    """session: SIGTERM or SIGHUP ends it and the terminal is as it was"""
    import termios
    for number in (signal.SIGTERM, signal.SIGHUP):
        session = start_session(shardy, tmp)
        session.process.send_signal(number)
        assert session.process.wait(timeout=60) == 128 + number
        local = termios.tcgetattr(session.master)[3]
        assert local & termios.ECHO and local & termios.ICANON
        session.close(128 + number)


@test
def script_interrupted(shardy, tmp):
    """exec: SIGINT ends a script with 130 and what was in the output file stays"""
    from run import write_npy
    write_npy(os.path.join(tmp, "v.npy"), "f4", (2000, 16), [float(i % 97) for i in range(32000)])
    rows = "".join(json.dumps({"key": k}) + "\n" for k in range(2000))
    ask(shardy, tmp, "build", "snap", "--input", "-", "--vectors", "v.npy", "--metric", "l2",
        stdin=rows.encode())
    with open(os.path.join(tmp, "s.yaml"), "w", encoding="utf-8") as file:
        file.write("on_error: continue\ncommands:\n" +
                   "  - {op: search, vector_file: v.npy, top_k: 1000}\n" * 2000)
    with open(os.path.join(tmp, "out"), "w", encoding="utf-8") as file:
        file.write("before\n")
    process = subprocess.Popen(
        [shardy.path, "-s", "snap", "exec", "--script", "s.yaml", "--output", "out"], cwd=tmp,
        env=environment(tmp), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not glob.glob(os.path.join(tmp, ".shardy-*.tmp")) and process.poll() is None:
        pass
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert code == 130, (code, out, err)
    assert json.loads(err) == {"op": "exec", "error": "interrupted", "status": "CANCELLED"}, err
    with open(os.path.join(tmp, "out"), encoding="utf-8") as file:
        assert file.read() == "before\n"
    assert not glob.glob(os.path.join(tmp, ".shardy-*.tmp"))


@test
def script_output(shardy, tmp):
    """exec: the output file keeps its permissions and links, and nothing is left beside it"""
    ask(shardy, tmp, "build", "snap", "--input", "-", stdin=b'{"key": "a"}\n')
    os.mkdir(os.path.join(tmp, "o"))
    path = os.path.join(tmp, "o", "results")
    with open(path, "w", encoding="utf-8") as file:
        file.write("before")
    os.chmod(path, 0o640)
    os.symlink("results", os.path.join(tmp, "o", "link"))
    ask(shardy, tmp, "-s", "snap", "exec", "--script", "-", "--output", "o/link",
        stdin=b"commands: [{op: route, key: a}]")
    with open(path, encoding="utf-8") as file:
        assert json.loads(file.read()) == {"op": "route", "key": "a", "db_id": 0}
    assert os.stat(path).st_mode & 0o777 == 0o640
    assert os.path.islink(os.path.join(tmp, "o", "link"))
    assert sorted(os.listdir(os.path.join(tmp, "o"))) == ["link", "results"]


# --- manifests in Postgres ------------------------------------------------------------------------

@test
def postgres(shardy, tmp):
    """postgres: every command works with manifests in a database"""
    script = os.path.join(os.path.dirname(HERE), "servers", "postgres_server.py")
    with subprocess.Popen(["python3", script, "--until-eof"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as server:
        ready = server.stdout.readline().split()
        assert ready and ready[0] == "ready", ready
        with open(os.path.join(tmp, "reader.toml"), "w", encoding="utf-8") as file:
            file.write('[reader]\ns3_prefix = "snap"\n[manifest_store]\nbackend = "postgres"\n'
                       f'dsn = "host={ready[3]} port={ready[2]} user=test dbname=test"\n'
                       'table_name = "packages"\npointer_table_name = "packages_pointer"\n')
        for run in ("one", "two"):
            with open(os.path.join(tmp, run), "w", encoding="utf-8") as file:
                file.write(json.dumps({"key": "k", "run": run}) + "\n")
            built = answer(shardy, tmp, "build", "snap", "--input", run, "--run-id", run)
            assert built["manifest_ref"] == run, built
        again = ask(shardy, tmp, "build", "snap", "--input", "one", "--run-id", "one", code=1)
        assert b"EXISTS" in again.stderr, again.stderr
        assert answer(shardy, tmp, "rollback", "--run-id", "one")["ref"] == "one"
        history = answer(shardy, tmp, "history")["manifests"]
        assert [(m["ref"], m["current"]) for m in history] == [("two", False), ("one", True)]
        info = answer(shardy, tmp, "info")
        assert (info["run_id"], info["verified"], info["generation"]) == ("one", True, 3), info
        found = answer(shardy, tmp, "get", "k")
        assert json.loads(base64.b64decode(found["value"])) == {"run": "one"}, found
        found = answer(shardy, tmp, "get", "k", "--offset", "0")
        assert json.loads(base64.b64decode(found["value"])) == {"run": "two"}, found
        assert answer(shardy, tmp, "verify", "--deep")["status"] == "ok"
        assert answer(shardy, tmp, "verify", "--ref", "two")["status"] == "ok"
        for options in (["-s", os.path.join(tmp, "snap")], ["-s", "./snap/_CURRENT"]):
            assert answer(shardy, tmp, *options, "info")["run_id"] == "one"
        refused = ask(shardy, tmp, "-s", "elsewhere", "info", code=2)
        assert b'is "elsewhere", but reader.s3_prefix is "snap"' in refused.stderr, refused.stderr
        assert not glob.glob(os.path.join(tmp, "snap", "manifests*"))
        server.stdin.close()
