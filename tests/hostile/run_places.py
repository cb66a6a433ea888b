#!/usr/bin/env python3
"""Asks the library about data sets that point out of themselves (places.py), in a directory, in a
bucket of tests/servers/s3_server.py, and with the manifests in Postgres.

usage: run_places.py PATH_TO_ASK PATH_TO_SHARDY [-k WORD] [--kind fs|s3|pg]... [--no-trace] [-v]
                     [--every N] [--write]

For each the questions of its case are put (ask.c: opening, getting, history, verifying, pinning,
cleaning up, rolling back). Each answer must be the one of expected_places.json. Besides:

  * no file outside of the directory is opened, made or removed, and nothing is connected to but the
    server: looked at with strace;
  * every request is about a key below the prefix of the data set, in its bucket: by the log of the
    server, the keys of a DeleteObjects too;
  * what lies beside the data set is afterwards what it was, and so are objects that are nobody's;
  * what the current run has is never removed;
  * no value of another data set is ever the answer; a failure has a message of one line.

The slowest answer is printed, and never judged. -v prints all answers; --every N asks about each
N-th data set only. Without Postgres, or a build that has it, those cases are left out. --write
makes expected_places.json anew: read what changes in it."""

import base64
import collections
import concurrent.futures
import glob
import http.client
import json
import os
import posixpath
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse

import places
import run

HERE = os.path.dirname(os.path.abspath(__file__))
SERVERS = os.path.join(os.path.dirname(HERE), "servers")
EXPECTED = os.path.join(HERE, "expected_places.json")
KEY = "k0050"  # its value has overflow pages
BUCKET = "test-bucket"
OTHER_BUCKET = "other-bucket"
PREFIX = "data/snapshot"
NAME = "snapshot"
# Nobody's: no cleanup may touch them without being forced, and these not even then.
NOBODYS = {"notes/readme.txt": b"mine", "shards/readme.txt": b"mine", "shardsx/run_id=a/x": b"mine"}
HANGS_AFTER = 120
MEMORY_MAX = 1 << 30
DIFFERENCES_SHOWN = 40
REQUESTS_MAX = 60  # of one answer; a plain cleanup has some forty


# Read by the C library, and by libpq.
SYSTEM = (*run.SYSTEM, "/proc/sys/vm/overcommit_memory")


class Wrong(Exception):
    pass


# --- servers --------------------------------------------------------------------------------------

class Server:
    """A server process of tests/servers."""

    def __init__(self, script, *arguments):
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(SERVERS, script), "--until-eof", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        words = self.process.stdout.readline().split()
        if words[:1] != ["ready"]:
            raise RuntimeError(f"{script} did not start: {words}")
        self.host, self.port = words[1], int(words[2])
        self.connection = http.client.HTTPConnection(self.host, self.port, timeout=HANGS_AFTER)

    def control(self, method, path, body=None):
        data = json.dumps(body) if body is not None else ""
        self.connection.request(method, "/_control/" + path, data)
        reply = self.connection.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{method} {path}: {reply.status} {text[:500]}")
        return text

    def fill(self, bucket, objects):
        self.control("PUT", f"bucket?bucket={bucket}", {
            key: base64.b64encode(text).decode() for key, text in objects.items()})

    def keys(self, bucket):
        return json.loads(self.control("GET", f"bucket?bucket={bucket}"))

    def content(self, bucket, key):
        name = urllib.parse.quote(key, safe="")
        return self.control("GET", f"object?bucket={bucket}&key={name}")

    def stop(self):
        self.connection.close()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(HANGS_AFTER)


# --- data sets ------------------------------------------------------------------------------------

def write_tree(root, data):
    for key, text in data.items():
        path = os.path.join(root, key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(text)


def read_tree(root):
    data = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                data[os.path.relpath(path, root)] = file.read()
    return data


def tags_of(root):
    """What is told apart by looking at it from outside."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            found[path] = (info.st_ino, info.st_size, info.st_mtime_ns, info.st_mode)
    return found


def build(shardy, home, env, url, word, *options):
    """Three runs, each value begins with the word or the run; a run that failed, an attempt that
    lost."""
    lines = os.path.join(home, "rows.jsonl")
    for run_id in ("a", "b", "c"):
        with open(lines, "w", encoding="utf-8") as file:
            for i in range(60):
                value = f"{word or run_id} {i} " + "x" * (9000 if i % 10 == 0 else 150)
                file.write(json.dumps({"key": f"k{i:04}", "v": value}) + "\n")
        done = subprocess.run(
            [shardy, *options, "build", "-q", url, "--input", lines, "--value-column", "v",
             "--run-id", run_id, "--threads", "1", "--num-dbs", "2", "--sidecar", "always"],
            env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the data set is not built: {done.stderr}")


def complete(data):
    """What else lies in a data set."""
    data = {key: text for key, text in data.items() if not key.startswith(".shardyfusion/")}
    shard = "shards/run_id=c/db=00000/attempt=00/shard.db"
    data[shard.replace("attempt=00", "attempt=01")] = data[shard]
    data["shards/run_id=f/db=00000/attempt=00/shard.db"] = data[shard]
    record = re.sub(rb"run_id(.)c", rb"run_id\1f", data[places.record_key(data)])
    record = re.sub(rb"(?m)^run_id: .*$", b"run_id: f", record)
    record = re.sub(rb"(?m)^manifest_ref: .*$", b"manifest_ref: null", record)
    record = record.replace(b"status: succeeded", b"status: failed")
    data[f"runs/{places.STAMP}_run_id=f_{places.HEX}/run.yaml"] = record
    return {**data, **NOBODYS}


def evil(data, other):
    """The same keys with the values of another data set."""
    shards = {re.sub(r"run_id=\w+", "", key): text for key, text in other.items()
              if key.endswith("shard.db")}
    found = dict(data)
    for key in data:
        name = re.sub(r"run_id=\w+", "", key)
        if name in shards:
            found[key] = shards[name]
    return found


# --- places ---------------------------------------------------------------------------------------

class Home:
    """One of the three kinds of places, with a data set in it, for one thread."""

    def __init__(self, kind, tools):
        self.kind = kind
        self.tools = tools
        shm = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="shardy-places-", dir=shm))
        self.env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": self.home,
                    "LANG": "C.UTF-8", "TMPDIR": self.home}
        self.dsn = "-"
        self.ports = set()
        self.options = ()

    def close(self):
        shutil.rmtree(self.home, ignore_errors=True)

    def settle(self, data, other):
        self.data = complete(data)
        self.foreign = dict(self.data)
        places.as_foreign(self.foreign)
        self.evil = evil(self.data, other)
        self.protected = {key for key in self.data if re.search(r"run_id=c[/_]", key)
                          and "attempt=01" not in key} | set(NOBODYS)


class Directory(Home):
    def __init__(self, tools, kind="fs"):
        super().__init__(kind, tools)
        self.root = os.path.join(self.home, "data", NAME)
        self.place = places.Place("fs", f"file://{self.root}", f"file://{self.home}/other/{NAME}")
        if kind == "fs":
            self.settle(*self.make())

    def make(self):
        build(self.tools.shardy, self.home, self.env, self.root, "", *self.options)
        data = read_tree(self.root)
        folder = os.path.join(self.home, "evil")
        build(self.tools.shardy, self.home, self.env, folder, "EVIL")
        other = read_tree(folder)
        shutil.rmtree(folder)
        return data, other

    def prepare(self, case, data):
        del case
        shutil.rmtree(self.root, ignore_errors=True)
        write_tree(self.root, data)
        if not os.path.exists(self.root + "-2"):
            for folder in (self.root + "-2", os.path.join(self.home, "other", NAME),
                           os.path.join(self.home, "other", "data", NAME)):
                write_tree(folder, self.evil)
            write_tree(os.path.dirname(self.root), {"etc/passwd": b"secret", POINTER: b"{}"})

    def outside(self):
        return {path: tag for path, tag in tags_of(self.home).items()
                if not path.startswith(self.root + "/")
                and os.path.basename(path) not in ("trace", "rows.jsonl")}

    def left(self):
        return set(read_tree(self.root))

    def check(self, trace):
        if trace:
            check_trace(trace, self.root, self.home, self.ports)
        return 0


POINTER = places.POINTER


class Bucket(Home):
    def __init__(self, tools):
        super().__init__("s3", tools)
        self.place = places.Place("s3", f"s3://{BUCKET}/{PREFIX}", f"s3://{OTHER_BUCKET}/{PREFIX}")
        self.server = Server("s3_server.py", "--bucket", BUCKET, "--bucket", OTHER_BUCKET)
        self.ports = {self.server.port}
        self.env.update(AWS_ENDPOINT_URL_S3=f"http://{self.server.host}:{self.server.port}",
                        AWS_ACCESS_KEY_ID="test-access-key", AWS_REGION="us-east-1",
                        AWS_SECRET_ACCESS_KEY="test-secret-key")
        build(tools.shardy, self.home, self.env, self.place.url, "")
        data = {key[len(PREFIX) + 1:]: self.server.content(BUCKET, key)
                for key in self.server.keys(BUCKET)}
        folder = os.path.join(self.home, "evil")
        build(tools.shardy, self.home, self.env, folder, "EVIL")
        self.settle(data, read_tree(folder))
        os.remove(os.path.join(self.home, "rows.jsonl"))
        shutil.rmtree(folder)
        around = {f"{place}/{key}": text for place in (PREFIX + "-2", "data", "other/" + PREFIX)
                  for key, text in self.evil.items()}
        self.around = {**around, "etc/passwd": b"secret"}
        self.server.fill(OTHER_BUCKET, {f"{PREFIX}/{key}": text
                                        for key, text in self.evil.items()})
        self.server.control("POST", "settings", {"record_headers": True})
        self.mine = {}

    def close(self):
        self.server.stop()
        super().close()

    def prepare(self, case, data):
        self.server.fill(BUCKET, {**self.around,
                                  **{f"{PREFIX}/{key}": text for key, text in data.items()}})
        self.server.control("PUT", "faults", case.faults(data, self.place) if case.faults else [])
        self.server.control("DELETE", "log")
        self.mine = dict.fromkeys(data)

    def outside(self):
        return {**{key: tag for key, tag in self.server.keys(BUCKET).items()
                   if not key.startswith(PREFIX + "/")}, **self.server.keys(OTHER_BUCKET)}

    def left(self):
        return {key[len(PREFIX) + 1:] for key in self.server.keys(BUCKET)
                if key.startswith(PREFIX + "/")}

    def check(self, trace):
        """The number of requests."""
        if trace:
            check_trace(trace, os.path.join(self.home, "nothing"), self.home, self.ports)
        entries = [json.loads(line) for line in self.server.control("GET", "log").splitlines()]
        for entry in entries:
            keys = [entry["key"]]
            if entry["operation"] == "delete_objects":
                keys = re.findall("<Key>(.*?)</Key>", entry["body"], re.S)
                if not keys or len(entry["body"]) >= 4096 and len(keys) < 2:
                    raise Wrong(f"the keys of a removal are not seen: {entry['body'][:200]}")
            for key in keys:
                self.check_key(entry, key)
        return len(entries)

    def check_key(self, entry, key):
        inside = entry["bucket"] == BUCKET and key.startswith(PREFIX + "/")
        # A key that somebody put there is called what it is called. Nobody makes up such ones.
        plain = posixpath.normpath(key) == key.rstrip("/")
        if not inside or not (plain or key[len(PREFIX) + 1:] in self.mine):
            raise Wrong(f"{entry['method']} {entry['bucket']} {key!r} is outside of the data set")


class Rows(Directory):
    """Shards in a directory, manifests in Postgres."""

    def __init__(self, tools):
        super().__init__(tools, "pg")
        self.server = tools.postgres
        self.database = f"w{id(self)}"
        self.psql("postgres", f"CREATE DATABASE {self.database}")
        self.ports = {self.server.port}
        self.dsn = f"host={self.server.host} port={self.server.port} user=test " \
                   f"dbname={self.database}"
        config = os.path.join(self.home, "config.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"[reader]\ns3_prefix = \"{self.place.url}\"\n"
                       "[manifest_store]\nbackend = \"postgres\"\n")
        self.env.update(SHARDY_MANIFEST_DSN=self.dsn, PGGSSENCMODE="disable", PGSSLMODE="disable")
        self.options = ("--config", config)
        data, other = self.make()
        os.remove(config)
        self.settle_rows(data, other)
        self.tables = (places.BUILDS, places.SHARDS, places.IMAGES, "shardyfusion_pointer",
                       places.DOCUMENTS)
        self.psql(self.database, "".join(f"CREATE TABLE saved_{t} AS TABLE {t};"
                                         for t in self.tables))

    def settle_rows(self, data, other):
        self.data = complete(data)
        self.foreign = {key: text for key, text in self.data.items()
                        if not key.endswith(("/fate", ".sums"))}
        self.evil = evil(self.data, other)
        self.protected = {key for key in self.data if re.search(r"run_id=c[/_]", key)
                          and "attempt=01" not in key} | set(NOBODYS)

    def psql(self, database, sql):
        done = subprocess.run(
            ["psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-h", self.server.host, "-p",
             str(self.server.port), "-U", "test", "-d", database, "-f", "-"], input=sql,
            capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"psql: {done.stderr[-500:]}")
        return done.stdout

    def prepare(self, case, data):
        super().prepare(case, data)
        statements = case.sql(self.place) if case.sql else []
        self.psql(self.database, f"""TRUNCATE {', '.join(self.tables)} CASCADE;""" + "".join(
            f"INSERT INTO {t} SELECT * FROM saved_{t};" for t in self.tables) + ";".join(
                statements) + ";")

    def after(self, case):
        if case.name.startswith("row.view"):
            self.psql(self.database, "DROP VIEW shardyfusion_pointer; "
                      "ALTER TABLE t RENAME TO shardyfusion_pointer")


def check_trace(path, root, home, ports):
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            call = re.match(r"(?:\d+ +)?(\w+)\((.*)", line)
            if not call or call.group(1) in ("execve", "socket"):
                continue
            if call.group(1) == "connect":
                port = re.search(r"htons\((\d+)\)", line)
                if "127.0.0.1" not in line or not port or int(port.group(1)) not in ports:
                    raise Wrong(f"a connection is opened: {line.strip()}")
                continue
            opened = re.search(r"= \d+<(/[^>]*)>", line)
            if opened:
                check_path(opened.group(1), root, home, line)
            for base, folder, name in run.PATHS.findall(call.group(2)):
                where = os.path.normpath(os.path.join(base or folder or home, name))
                check_path(where, root, home, line)


def check_path(path, root, home, line):
    if path == root or path.startswith(root + "/") or path.startswith(SYSTEM):
        return
    raise Wrong(f"{path} is outside of the data set: {line.strip()}")


# --- asking ---------------------------------------------------------------------------------------

class Tools:
    def __init__(self, ask, shardy, trace):
        self.ask = ask
        self.shardy = shardy
        self.trace = trace
        self.postgres = None
        self.verbose = "-v" in sys.argv
        self.slowest = collections.defaultdict(lambda: (0, ""))
        self.requests = (0, "")
        self.count = 0

    def note(self, name, kind, answers, requests):
        self.count += 1
        for answer in answers:
            for unit in ("wall_us", "cpu_us"):
                took = (answer[unit], f"{kind} {name} {answer['question']}")
                self.slowest[unit] = max(self.slowest[unit], took)
        self.requests = max(self.requests, (requests, name))


def short(answer):
    status, out = answer["status"], answer["out"]
    if status != "OK":
        message = answer["message"]
        if status != "NOT_FOUND" and (not message or len(message) > 988 or
                                      re.search(r"[\x00-\x1f\x7f]", message)):
            raise Wrong(f"{answer['question']} fails with {status} and says {message!r}")
        if status in ("INTERNAL", "UNKNOWN", "NOMEM"):
            raise Wrong(f"{answer['question']} fails with {status}: {message}")
        return status + ("/" + out if out not in ("", "0") else "")
    if "EVI" in out:
        raise Wrong(f"{answer['question']} answers {out!r}, from another data set")
    if answer["question"].startswith("get"):
        return out[:1]
    if answer["question"] == "info":  # the name of the run may be anything
        run_id, _, rest = out.partition(",") if out.count(",") == 2 else ("", "", out)
        return f"{run_id if run_id in ('a', 'b', 'c') else 'other'},{rest}"
    return out or "OK"


def ask(home, case, data):
    questions = case.questions
    if callable(questions):
        questions = questions(data, home.place)
    log = os.path.join(home.home, "trace")
    url = home.place.url
    command = ["prlimit", f"--as={MEMORY_MAX}", home.tools.ask, url, KEY, home.dsn, *questions]
    if home.tools.trace:
        command = ["strace", "-f", "-qq", "-y", "--seccomp-bpf", "-e", "trace=" + run.CALLS, "-o",
                   log] + command
    done = subprocess.run([os.fsencode(word) for word in command], cwd=home.home, env=home.env,
                          capture_output=True, timeout=HANGS_AFTER, check=False)
    if done.returncode != 0:
        raise Wrong(f"asking ends with {done.returncode}: {done.stderr[-2000:]}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if home.tools.verbose:
        for answer in answers:
            print(home.kind, case.name, json.dumps(answer))
    if len(answers) != len(questions):
        raise Wrong(f"{len(answers)} answers")
    requests = home.check(log if home.tools.trace else None)
    if requests > REQUESTS_MAX * len(questions):
        raise Wrong(f"{requests} requests for {len(questions)} questions")
    home.tools.note(case.name, home.kind, answers, requests)
    return answers


def run_case(home, case):
    data = dict(home.foreign if case.foreign else home.data)
    try:
        if case.change:
            case.change(data, home.place)
        before = set(data)
        home.prepare(case, data)
        outside = home.outside()
        try:
            answers = ask(home, case, data)
        finally:
            if home.kind == "pg":
                home.after(case)
        text = " ".join(f"{a['question']}={short(a)}" for a in answers)
        if home.outside() != outside:
            raise Wrong(f"what lies outside has changed: {text}")
        gone = before - home.left()
        bad = sorted(gone & (set(NOBODYS) if case.renamed else home.protected))
        if bad:
            raise Wrong(f"{bad[0]} is gone: {text}")
        return text + (f" gone={len(gone)}" if gone else "")
    except (Wrong, subprocess.TimeoutExpired, OSError, RuntimeError) as problem:
        return f"WRONG {home.kind} {case.name}: {problem!r}"


def run_kind(kind, tools, cases):
    """{name: answer} on as many homes as there are processors."""
    make = {"fs": Directory, "s3": Bucket, "pg": Rows}[kind]
    homes = queue.SimpleQueue()
    count = min(os.cpu_count() or 1, 4)
    made = [make(tools) for _ in range(count)]
    for home in made:
        homes.put(home)

    def one(case):
        home = homes.get()
        try:
            return run_case(home, case)
        finally:
            homes.put(home)

    try:
        with concurrent.futures.ThreadPoolExecutor(count) as threads:
            return dict(zip((case.name for case in cases), threads.map(one, cases)))
    finally:
        for home in made:
            home.close()


def has_postgres(tools):
    """Whether there is one, and the build can speak to it."""
    if not shutil.which("psql") or not glob.glob("/usr/lib/postgresql/*/bin/initdb"):
        return False
    done = subprocess.run([tools.ask, "/nowhere", KEY, "host=/nowhere", "info"],
                          capture_output=True, check=False)
    return b"UNSUPPORTED" not in done.stdout


def main():
    words = sys.argv[1:]
    write = "--write" in words
    trace = "--no-trace" not in words
    word = words[words.index("-k") + 1] if "-k" in words else ""
    kinds = [words[i + 1] for i, w in enumerate(words) if w == "--kind"] or ["fs", "s3", "pg"]
    if trace and not shutil.which("strace"):
        print("places: strace is not there: what is opened is not looked at")
        if os.environ.get("CI") == "true":
            return 1
        trace = False
    tools = Tools(os.path.abspath(words[0]), os.path.abspath(words[1]), trace)
    if "pg" in kinds and not has_postgres(tools):
        kinds.remove("pg")
        print("places: without Postgres")
        if os.environ.get("CI") == "true":
            return 1
    every = int(words[words.index("--every") + 1]) if "--every" in words else 1
    found = {}
    for kind in kinds:
        cases = [c for c in places.cases() if kind in c.kinds and word in c.name][::every]
        if not cases:
            continue
        if kind == "pg":
            tools.postgres = Server("postgres_server.py")
        try:
            for name, text in run_kind(kind, tools, cases).items():
                found[f"{name}@{kind}"] = text
        finally:
            if tools.postgres:
                tools.postgres.stop()
    return judge(found, kinds, word or every > 1, write, tools)


def write_expected(found):
    """{name: answers}, or {name: {kind: answers}} where kinds of places differ."""
    by_name = collections.defaultdict(dict)
    for name, text in found.items():
        case, _, kind = name.rpartition("@")
        by_name[case][kind] = text
    with open(EXPECTED, "w", encoding="utf-8") as file:
        json.dump({name: texts if len(set(texts.values())) > 1 else next(iter(texts.values()))
                   for name, texts in sorted(by_name.items())}, file, indent=1)
        file.write("\n")


def read_expected(kinds):
    with open(EXPECTED, encoding="utf-8") as file:
        expected = json.load(file)
    found = {}
    for case in places.cases():
        texts = expected.pop(case.name, {})
        for kind in case.kinds:
            text = texts if isinstance(texts, str) else texts.get(kind)
            if kind in kinds and text:
                found[f"{case.name}@{kind}"] = text
    return {**found, **{f"{name}@{kinds[0]}": "" for name in expected}}


def judge(found, kinds, partly, write, tools):
    wrong = [text for text in found.values() if text.startswith("WRONG")]
    for text in wrong:
        print(text)
    for unit, (most, name) in tools.slowest.items():
        print(f"places: the slowest answer took {most / 1000:.1f} ms ({unit}): {name}")
    print(f"places: at most {tools.requests[0]} requests: {tools.requests[1]}")
    if write:
        write_expected(found)
        return 1 if wrong else 0
    expected = read_expected(kinds)
    differ = 0
    for name, text in found.items():
        if expected.get(name) != text and not text.startswith("WRONG"):
            differ += 1
            if differ <= DIFFERENCES_SHOWN:
                print(f"{name}\n  expected {expected.get(name)}\n  got      {text}")
    missing = [] if partly else sorted(set(expected) - set(found))
    print(f"places: {tools.count} data sets asked, {differ + len(wrong)} answers are not as "
          f"expected, {len(missing)} are not there any more")
    return 1 if differ or wrong or missing or not found else 0


if __name__ == "__main__":
    sys.exit(main())
