#!/usr/bin/env python3
"""Asks the command about hostile snapshots (snapshots.py).

usage: run.py PATH_TO_SHARDY [-k WORD] [--write]

For each snapshot `get`, `search` (with vectors), `info` and `verify` are run. None may crash, hang,
or take more memory than MEMORY_MAX, and each answer must be the one of expected.txt: "ok" for the
right answer, "other" for another one, else the status of the error; for verify its verdict.
--write makes that file anew: read what changes in it.

With strace every file that the command opens, makes or removes is looked at: none may lie outside
of the snapshot, apart from the shared libraries and what the C library reads of the system."""

import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import own
import snapshots

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(os.path.dirname(HERE), "golden", "snapshots")
EXPECTED = os.path.join(HERE, "expected.txt")
MEMORY_MAX = 1 << 30
HANGS_AFTER = 60  # seconds; only against waiting for ever
SYSTEM = ("/usr/", "/lib/", "/lib64/", "/etc/ld.so.cache", "/etc/ld.so.preload", "/proc/self/",
          "/sys/devices/system/", "/etc/ssl/", "/dev/null", "/dev/urandom", "/etc/localtime",
          "/etc/locale.alias", "/proc/stat", "/proc/cpuinfo")
CALLS = ("open,openat,openat2,creat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,"
         "rmdir,symlink,symlinkat,link,linkat,truncate,connect,socket,execve")
PATHS = re.compile(r'(?:AT_FDCWD<([^>]*)>|\d+<([^>]*)>)?(?:, )?"((?:[^"\\]|\\.)*)"')


# Wrong answers that nobody can tell from right ones, in snapshots of the reference, which have no
# digests: what is changed is a value that may be like that. In snapshots of ours there are none.
UNAVOIDABLE = (
    (r"manifest\.build_meta\.run_id\..* info=other",
     "the name of a run is free text; readers of the reference do not compare it with the pointer"),
    (r"manifest\.shards\.row_count\..* info=other",
     "the reference counts rows that were written over, so the count may be larger"),
    (r"manifest\.shards\.db_url\.null: info=ok get=other",
     "a shard without a URL is empty to the reference; verify compares with the count of rows"),
    (r"shadow\.kv\.emptied: .*get=other", "a table without rows; verify counts them"),
    (r"manifest\.sql\.empty-shards: info=other get=other",
     "shards without rows have no row in the table: this is the manifest of an empty snapshot"),
    (r"bytes\.(vector-)?shard\.page2-cells\.\d+: .*get=other",
     "a leaf with fewer cells is a leaf; verify counts the rows"),
    (r"(vector\.shard\.vectors-nan|shadow\.vec_index_vector_chunks00\.emptied): .*search=other",
     "other numbers are other vectors"),
    (r"(vector\.shard\.map-gone|shadow\.vec_id_map\.\S+): .*search=other",
     "a vector without an entry in the map has its row number for its id; verify counts them"),
)


class Wrong(Exception):
    pass


def check_others(name, text):
    if "=other" not in text:
        return text
    line = f"{name}: {text}"
    if name.startswith("own.") or not any(re.match(known, line) for known, _ in UNAVOIDABLE):
        return f"WRONG {line}: a wrong answer without an error"
    return text


def check_trace(path, root, home):
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            call = re.match(r"(?:\d+ +)?(\w+)\((.*)", line)
            if not call or call.group(1) == "execve":
                continue
            if call.group(1) in ("socket", "connect"):
                raise Wrong(f"a connection is opened: {line.strip()}")
            opened = re.search(r"= \d+<([^>]*)>", line)
            if opened:
                check_path(opened.group(1), root, home, line)
            for base, folder, name in PATHS.findall(call.group(2)):
                where = os.path.normpath(os.path.join(base or folder or home, name))
                check_path(where, root, home, line)


def check_path(path, root, home, line):
    if path == root or path.startswith(root + "/") or path.startswith(SYSTEM):
        return
    # Its own configuration: looked for in the current directory and below HOME.
    if os.path.basename(path) in ("reader.toml", "credentials.toml") and path.startswith(home):
        return
    raise Wrong(f"{path} is outside of the snapshot: {line.strip()}")


def ask(shardy, trace, root, home, *args):
    """Exit code, standard output as JSON or None, error as JSON or None."""
    command = ["prlimit", f"--as={MEMORY_MAX}", shardy, "-s", root, "--timeout", "20", *args]
    log = os.path.join(home, "trace")
    if trace:
        command = ["strace", "-f", "-qq", "-y", "-e", "trace=" + CALLS, "-o", log] + command
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": home, "LANG": "C.UTF-8"}
    done = subprocess.run(command, cwd=home, env=env, capture_output=True, timeout=HANGS_AFTER,
                          check=False)
    if done.returncode not in (0, 1, 2):
        raise Wrong(f"{args[0]} ends with {done.returncode}: {done.stderr[-2000:]}")
    if trace:
        check_trace(log, root, home)
    out = json.loads(done.stdout) if done.stdout else None
    error = None
    if done.returncode and not out:
        error = json.loads(done.stderr)
        text = error.get("error", "")
        if not text or re.search(r"[\x00-\x1f\x7f]", text):
            raise Wrong(f"{args[0]} answers with the message {text!r}")
    return done.returncode, out, error


def describe(shardy, trace, root, home, expected):
    answers = []
    for args, right in expected:
        _, out, error = ask(shardy, trace, root, home, *args)
        if args[0] == "verify" and out:
            answers.append("verify=" + out["status"])
        else:
            answers.append(f"{args[0]}=" + (error["status"] if error else
                                            "ok" if right(out) else "other"))
    return " ".join(answers)


def questions(name):
    with open(os.path.join(GOLDEN, name, "expected.json"), encoding="utf-8") as file:
        expected = json.load(file)
    info = expected["info"]
    asked = [(("info",), lambda out: all(out[k] == info[k] for k in ("run_id", "num_dbs",
                                                                      "row_count")))]
    record = next(r for r in expected["records"] if r["shard"] == 2)
    asked.append((("get", str(record["key"]), "--value-encoding", "utf8"),
                  lambda out: out["value"] == record["value"]))
    if "vector" in record:
        query = ",".join(repr(x) for x in record["vector"])
        asked.append((("search", "--top-k", "1", "--", query),
                      lambda out: out["results"][0]["id"] == record["vector_id"]))
    asked.append((("verify",), None))
    return asked


def run_case(shardy, trace, case, sources):
    name, source, change = case
    folder, asked = sources[source]
    home = tempfile.mkdtemp(prefix="shardy-hostile-")
    root = os.path.join(home, "snapshot")
    try:
        shutil.copytree(folder, root)
        change(root)
        return check_others(name, describe(shardy, trace, os.path.realpath(root),
                                           os.path.realpath(home), asked))
    except (Wrong, subprocess.TimeoutExpired, ValueError, KeyError) as problem:
        return f"WRONG {name}: {problem!r}"
    finally:
        shutil.rmtree(home, ignore_errors=True)


def main():
    args = [a for a in sys.argv[1:] if a != "--write"]
    word = args[args.index("-k") + 1] if "-k" in args else ""
    shardy = os.path.abspath(args[0])
    trace = shutil.which("strace") is not None
    if not trace:
        print("hostile: strace is not there: what is opened is not looked at")
        if os.environ.get("CI") == "true":
            return 1
    sources = {name: (os.path.join(GOLDEN, name), questions(name))
               for name in (snapshots.KV, snapshots.VECTORS)}
    cases = [case for case in (*snapshots.cases(), *own.cases()) if word in case[0]]
    with tempfile.TemporaryDirectory(prefix="shardy-own-") as home:
        for name, folder, asked in own.build(shardy, home):
            sources[name] = (folder, asked)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
            answers = threads.map(lambda case: run_case(shardy, trace, case, sources), cases)
            found = dict(zip((case[0] for case in cases), answers))
    wrong = [text for text in found.values() if text.startswith("WRONG")]
    for text in wrong:
        print(text)
    with open(EXPECTED, encoding="utf-8") as file:
        expected = dict(line.rstrip("\n").split(": ", 1) for line in file)
    if "--write" in sys.argv:
        with open(EXPECTED, "w", encoding="utf-8") as file:
            file.writelines(f"{name}: {text}\n"
                            for name, text in ({**expected, **found} if word else found).items())
        return 1 if wrong else 0
    differ = 0
    for name, text in found.items():
        if expected.get(name) != text and not text.startswith("WRONG"):
            differ += 1
            print(f"{name}\n  expected {expected.get(name)}\n  got      {text}")
    missing = [] if word else sorted(set(expected) - set(found))
    print(f"hostile: {len(found)} snapshots, {differ + len(wrong)} answers are not as expected, "
          f"{len(missing)} are not there any more")
    return 1 if differ or wrong or missing or not found else 0


if __name__ == "__main__":
    sys.exit(main())
