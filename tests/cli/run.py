#!/usr/bin/env python3
"""Runs the command `shardy` on scripts and compares what it prints.

usage: run.py PATH_TO_SHARDY [-k WORD] [-v]

A file in cases/ holds many cases. A case begins with "### name" and goes on with lines like these:

  @ golden NAME          copies tests/golden/snapshots/NAME to {tmp}/NAME
  @ write FILE           makes {tmp}/FILE from the lines that follow and begin with "| "
  @ zst FILE             the same, compressed with zstd
  @ npy FILE TYPE SHAPE NUMBERS   makes a NumPy file, e.g. @ npy q.npy f4 1x2 1 2
  @ damage FILE OFFSET   changes the byte of {tmp}/FILE at an offset
  @ chmod MODE FILE, @ remove FILE, @ env NAME=VALUE
  @ gone FILE            asserts that {tmp}/FILE does not exist
  @ empty DIR            asserts that {tmp}/DIR holds no file
  @ contains FILE TEXT   asserts that the one file {tmp}/FILE (with * in it) has this text
  @ truncate FILE LENGTH, @ sql FILE STATEMENTS
  @ tree DIR             remembers what is in {tmp}/DIR
  @ same DIR             asserts that it is all still there and that nothing came but records of
                         runs that failed: "failed" in run.yaml, CONDEMNED as their fate
  $ COMMAND              runs it in {tmp}; words are split as in a shell
  < TEXT                 a line of its standard input
  > TEXT                 a line of its standard output; "> ..." stands for any lines
  ! TEXT                 a line of its standard error
  ? N                    its exit code (0 when the line is missing)

Names in braces stand for {tmp}, {golden}, and what an earlier line has caught. In expected lines
<RUN> is a run id, <TIME> a time, <N> a whole number, <F> a number, <*> anything; <RUN:x> catches.

Every JSON object that a case prints is checked against the schema that the command prints.
Cases that need more than this are functions in cases_python.py and cases_bucket.py."""

import array
import glob
import json
import os
import re
import shlex
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(os.path.dirname(HERE), "golden", "snapshots")
PATTERNS = {
    "RUN": r"[0-9a-f]{32}",
    "TIME": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)",
    "N": r"\d+",
    "F": r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?",
    "*": r".*",
}


class Failure(Exception):
    pass


def environment(tmp, extra=None):
    """A surrounding in which nothing of the user's own counts."""
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": tmp, "LANG": "C.UTF-8",
           "AWS_EC2_METADATA_DISABLED": "true"}
    for name in os.environ:
        if name.endswith("SAN_OPTIONS") or name in ("LD_LIBRARY_PATH", "LLVM_PROFILE_FILE"):
            env[name] = os.environ[name]
    env.update(extra or {})
    return env


# --- schemas --------------------------------------------------------------------------------------

TYPES = {
    "string": lambda v: isinstance(v, str),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "boolean": lambda v: isinstance(v, bool),
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "null": lambda v: v is None,
}
KNOWN_KEYWORDS = {"$schema", "title", "description", "type", "enum", "const", "anyOf", "$ref",
                  "$defs", "required", "properties", "additionalProperties", "items"}


def check_schema(value, schema, root, where="$"):
    """The part of JSON Schema 2020-12 that the command uses; an unknown keyword is a failure."""
    unknown = set(schema) - KNOWN_KEYWORDS
    if unknown:
        raise Failure(f"schema keywords that this validator lacks: {unknown}")
    if "$ref" in schema:
        check_schema(value, root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root, where)
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(TYPES[name](value) for name in names):
            raise Failure(f"{where}: {value!r} is not of type {names}")
    if "const" in schema and value != schema["const"]:
        raise Failure(f"{where}: {value!r} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        raise Failure(f"{where}: {value!r} is not one of {schema['enum']}")
    if "anyOf" in schema:
        problems = []
        for option in schema["anyOf"]:
            try:
                check_schema(value, option, root, where)
                break
            except Failure as failure:
                problems.append(str(failure))
        else:
            raise Failure(f"{where}: no alternative fits: {problems}")
    if isinstance(value, dict):
        for name in schema.get("required", []):
            if name not in value:
                raise Failure(f"{where}: {name!r} is missing")
        for name, member in value.items():
            if name in schema.get("properties", {}):
                check_schema(member, schema["properties"][name], root, f"{where}.{name}")
            elif schema.get("additionalProperties", True) is False:
                raise Failure(f"{where}: {name!r} is not in the schema")
    if isinstance(value, list) and "items" in schema:
        for i, member in enumerate(value):
            check_schema(member, schema["items"], root, f"{where}[{i}]")


class Shardy:
    """The command, its schemas, and how to run it."""

    def __init__(self, path):
        self.path = os.path.abspath(path)
        self.schemas = {}
        out = subprocess.run([self.path, "schema"], capture_output=True, check=True,
                             env=environment("/nonexistent"), timeout=60)
        everything = json.loads(out.stdout)
        self.schemas = everything["$defs"]

    def run(self, args, cwd, stdin=b"", env=None, check=True):
        done = subprocess.run([self.path, *args], cwd=cwd, input=stdin, capture_output=True,
                              env=environment(cwd, env), timeout=300)
        if check:
            self.check_output(done.stdout, error=False)
            self.check_output(done.stderr, error=True)
        return done

    def check_output(self, data, error):
        """Objects with "op" follow their schema, in json as in jsonl."""
        text = data.decode("utf-8", "replace")
        objects = []
        try:
            objects = [json.loads(text)]
        except ValueError:
            for line in text.splitlines():
                if line.startswith('{"op"'):
                    objects.append(json.loads(line))
        for value in objects:
            if isinstance(value, dict) and "op" in value:
                failed = "error" in value or (error and value["op"] != "stats")
                name = "error" if failed else value["op"]
                check_schema(value, self.schemas[name], {})


# --- scripts --------------------------------------------------------------------------------------

def write_npy(path, kind, shape, numbers):
    values = array.array({"f4": "f", "f8": "d"}[kind], numbers)
    if sys.byteorder != "little":
        values.byteswap()
    text = f"{{'descr': '<{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode())
        file.write(values.tobytes())


def read_tree(root):
    """Files below a directory with their content; directories with None. Without the files that a
    store keeps for itself, but with what may be left in its scratch."""
    tree = {}
    for directory, folders, files in os.walk(root):
        place = os.path.relpath(directory, root)
        for name in folders:
            tree[os.path.join(place, name)] = None
        for name in files:
            with open(os.path.join(directory, name), "rb") as file:
                tree[os.path.join(place, name)] = file.read()
    own = ("./.shardyfusion", ".shardyfusion/lock", ".shardyfusion/tmp", "./runs")
    return {name: content for name, content in tree.items() if name not in own}


def compare_trees(before, after):
    """Nothing was changed or removed, and what came are records of runs that failed."""
    for name, content in before.items():
        if name not in after:
            raise Failure(f"{name} is gone")
        if after[name] != content:
            raise Failure(f"{name} was changed")
    for name, content in after.items():
        if name in before or (content is None and name.startswith("runs/")):
            continue
        known = content is not None and name.startswith("runs/") and (
            (name.endswith("/run.yaml") and b"\nstatus: failed\n" in content) or
            (name.endswith("/fate") and b'"state":"CONDEMNED"' in content))
        if not known:
            raise Failure(f"left behind: {name}")


class Case:
    def __init__(self, name, place):
        self.name = name
        self.place = place
        self.lines = []

    def fill(self, text):
        for name, value in self.names.items():
            text = text.replace("{" + name + "}", value)
        return text

    def pattern(self, text):
        """A regular expression for an expected line."""
        out = ""
        for part in re.split(r"(<(?:RUN|TIME|N|F|\*)(?::\w+)?>)", self.fill(text)):
            match = re.fullmatch(r"<(RUN|TIME|N|F|\*)(?::(\w+))?>", part)
            if match:
                group = f"?P<{match[2]}>" if match[2] else "?:"
                out += f"({group}{PATTERNS[match[1]]})"
            else:
                out += re.escape(part)
        return out

    def compare(self, expected, got, what):
        pattern = "".join(r"(?:.*\n)*" if line == "..." else self.pattern(line) + r"\n"
                          for line in expected)
        if got and not got.endswith("\n"):
            got += "\n"
        match = re.fullmatch(pattern, got)
        if not match:
            raise Failure(f"{what} differs\n  expected:\n" +
                          "".join(f"    {line}\n" for line in expected) + "  got:\n" +
                          "".join(f"    {line}\n" for line in got.splitlines()))
        self.names.update({k: v for k, v in match.groupdict().items() if v is not None})

    def path(self, name):
        return os.path.join(self.tmp, self.fill(name))

    def prepare(self, words, content):
        verb, rest = words[0], [self.fill(word) for word in words[1:]]
        if verb == "golden":
            shutil.copytree(os.path.join(GOLDEN, rest[0]), self.path(rest[0]))
        elif verb == "write":
            os.makedirs(os.path.dirname(self.path(rest[0])), exist_ok=True)
            with open(self.path(rest[0]), "w", encoding="utf-8") as file:
                file.write("".join(self.fill(line) + "\n" for line in content))
        elif verb == "zst":
            text = "".join(self.fill(line) + "\n" for line in content)
            subprocess.run(["zstd", "-q", "-o", self.path(rest[0])], input=text.encode(),
                           check=True, timeout=60)
        elif verb == "npy":
            shape = tuple(int(n) for n in rest[2].split("x"))
            write_npy(self.path(rest[0]), rest[1], shape, [float(n) for n in rest[3:]])
        elif verb == "damage":
            with open(self.path(rest[0]), "r+b") as file:
                file.seek(int(rest[1]))
                byte = file.read(1)
                file.seek(int(rest[1]))
                file.write(bytes([byte[0] ^ 0x55]))
        elif verb == "chmod":
            os.chmod(self.path(rest[1]), int(rest[0], 8))
        elif verb == "remove":
            os.remove(self.path(rest[0]))
        elif verb == "env":
            name, _, value = rest[0].partition("=")
            self.env[name] = value
        elif verb == "gone":
            if os.path.exists(self.path(rest[0])):
                raise Failure(f"{rest[0]} exists")
        elif verb == "contains":
            found = glob.glob(self.path(rest[0]))
            text = " ".join(rest[1:])
            if len(found) != 1:
                raise Failure(f"{rest[0]}: {found}")
            with open(found[0], encoding="utf-8") as file:
                content = file.read()
            if text not in content:
                raise Failure(f"{text!r} is not in {found[0]}: {content}")
        elif verb == "truncate":
            os.truncate(self.path(rest[0]), int(rest[1]))
        elif verb == "sql":
            with sqlite3.connect(self.path(rest[0])) as database:
                database.executescript(" ".join(rest[1:]))
            database.close()
        elif verb == "tree":
            self.trees[rest[0]] = read_tree(self.path(rest[0]))
        elif verb == "same":
            compare_trees(self.trees[rest[0]], read_tree(self.path(rest[0])))
        elif verb == "empty":
            found = [os.path.join(d, f) for d, _, files in os.walk(self.path(rest[0]))
                     for f in files]
            if found:
                raise Failure(f"left behind: {found}")
        else:
            raise Failure(f"unknown line: @ {' '.join(words)}")

    def run(self, shardy):
        self.tmp = tempfile.mkdtemp(prefix="shardy-cli-")
        self.names = {"tmp": self.tmp, "golden": GOLDEN}
        self.env = {}
        self.trees = {}
        try:
            at = 0
            while at < len(self.lines):
                sign, text = self.lines[at]
                at += 1
                block = {sign: [] for sign in "<>!?|"}
                while at < len(self.lines) and self.lines[at][0] in block:
                    block[self.lines[at][0]].append(self.lines[at][1])
                    at += 1
                if sign == "@":
                    self.prepare(text.split(), block["|"])
                elif sign == "$":
                    self.command(shardy, text, block)
                else:
                    raise Failure(f"a line without a command: {sign} {text}")
        finally:
            for directory, _, _ in os.walk(self.tmp):
                os.chmod(directory, stat.S_IRWXU)
            shutil.rmtree(self.tmp, ignore_errors=True)

    def command(self, shardy, text, block):
        words = shlex.split(self.fill(text))
        if words[0] != "shardy":
            raise Failure(f"not the command: {text}")
        stdin = "".join(self.fill(line) + "\n" for line in block["<"]).encode()
        done = shardy.run(words[1:], self.tmp, stdin, self.env)
        code = int(block["?"][0]) if block["?"] else 0
        out = done.stdout.decode("utf-8", "replace")
        err = done.stderr.decode("utf-8", "replace")
        try:
            if done.returncode != code:
                raise Failure(f"exit code {done.returncode}, expected {code}")
            self.compare(block[">"], out, "standard output")
            self.compare(block["!"], err, "standard error")
        except Failure as failure:
            raise Failure(f"$ {text}\n{failure}\n  stdout: {out!r}\n  stderr: {err!r}") from None


def read_cases(path):
    cases = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            if line.startswith("### "):
                cases.append(Case(line[4:], f"{os.path.basename(path)}:{number}"))
            elif line and not line.startswith("#"):
                if line[0] not in "@$<>!?|" or (len(line) > 1 and line[1] != " "):
                    raise SystemExit(f"{path}:{number}: cannot read {line!r}")
                cases[-1].lines.append((line[0], line[2:]))
    return cases


def main():
    sys.path.insert(0, HERE)
    import cases_bucket  # adds its cases to those of cases_python
    import cases_python

    shardy = Shardy(sys.argv[1])
    word = sys.argv[sys.argv.index("-k") + 1] if "-k" in sys.argv else ""
    cases = []
    for name in sorted(os.listdir(os.path.join(HERE, "cases"))):
        if name.endswith(".case"):
            cases += [(c.place, c.name, c.run)
                      for c in read_cases(os.path.join(HERE, "cases", name))]
    cases += [(f"{f.__module__}.py", f.__doc__.splitlines()[0], f) for f in cases_python.tests()]
    failed = ran = skipped = 0
    for place, name, run in cases:
        if word not in name and word not in place:
            continue
        ran += 1
        try:
            run(shardy)
            if "-v" in sys.argv:
                print(f"ok    {place} {name}")
        except cases_python.Skip as reason:
            skipped += 1
            print(f"skip  {place} {name}: {reason}")
        except (Failure, AssertionError, subprocess.SubprocessError, ValueError, OSError,
                KeyError) as failure:
            failed += 1
            print(f"FAIL  {place} {name}\n{failure}\n")
    print(f"{ran} cases, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
