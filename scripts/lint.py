#!/usr/bin/env python3
"""Checks the rules of the house that a machine can check (CONTRIBUTING.md lists them).

usage: lint.py [--root DIRECTORY] [--list]

Prints one line for each finding, `path:line: rule: what to do`, and exits with 1 when there is one.
There is no way to excuse a finding: code that a rule makes worse changes the rule here instead.
"""

import argparse
import os
import re
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

Finding = namedtuple("Finding", "path line rule text")

COLUMNS_MAX = 100
FILE_LINES_MAX = 1200
FUNCTION_LINES_MAX = 120
FUNCTION_LINES_AIM = 70
COMPLEXITY_MAX = 20
PARAMETERS_MAX = 6

# Layers of src/ from the bottom up. A layer includes itself and what stands below it; layers with
# the same number do not include each other.
LAYERS = {
    "base": 0,
    "simd": 1,
    "store": 2,
    "sqlitefile": 3,
    "manifest": 4,
    "route": 4,
    "catalog": 5,
    "engine": 5,
    "rows": 5,
    "sort": 5,
    "build": 6,
    "read": 6,
    "admin": 7,
}
# Engines know engine.h and shared helpers, not each other.
ENGINES = ("sqlite_kv", "sqlite_vec", "composite", "mem")
# Each table of functions is called by one file: arguments are checked and calls counted there.
TABLE_CALLERS = ("src/store/store.c", "src/catalog/manifest_store.c", "src/engine/engine.c",
                 "src/sqlitefile/page_source.c")

SRC, CLI, TESTS, FUZZ, BENCH, EXAMPLES = "src", "cli", "tests", "fuzz", "bench", "examples"
EVERYWHERE = (SRC, CLI, TESTS, FUZZ, EXAMPLES)

# Functions that are not used: names, where the rule holds, files that may, what to use instead.
# Operations on files are for files in which tests can make them fail.
HAS_FAULT_POINTS = "a file that calls shardy__fault()"
Ban = namedtuple("Ban", "names where allowed instead")
BANS = [
    Ban("strcpy strcat stpcpy", EVERYWHERE, (), "bytebuf.h, or memcpy with a checked length"),
    Ban("strncpy strncat", EVERYWHERE, (), "memcpy and a zero, or snprintf"),
    Ban("sprintf vsprintf", EVERYWHERE, (), "snprintf or bytebuf.h"),
    Ban("gets", EVERYWHERE, (), "fgets"),
    Ban("strtok strtok_r", EVERYWHERE, (), "strchr or memchr over a length"),
    Ban("atoi atol atoll atof", EVERYWHERE, (), "a parser that reports what it does not accept"),
    Ban("strtol strtoul strtoll strtoull", (SRC, CLI), (), "a parser that checks every character"),
    Ban("strtod strtof strtold sscanf", (SRC,), (), "a parser that does not depend on the locale"),
    Ban("gmtime localtime ctime asctime mktime strftime", EVERYWHERE, (), "src/base/clock.h"),
    Ban("alloca", EVERYWHERE, (), "a fixed array or src/base/alloc.h"),
    Ban("rand srand random srandom drand48", EVERYWHERE, (), "a seeded generator"),
    Ban("setenv putenv unsetenv", (SRC, CLI, EXAMPLES), (), "an option or a parameter"),
    Ban("setlocale", (SRC,), (), "nothing: the locale is the program's"),
    Ban("system popen", EVERYWHERE, (), "posix_spawn with a list of arguments"),
    Ban("signal", EVERYWHERE, ("cli/signals.c",), "sigaction (in cli/signals.c)"),
    Ban("sigaction", (SRC,), (), "nothing: a library leaves signals alone"),
    Ban("sleep usleep nanosleep", (TESTS, FUZZ), (), "a clock that the test provides"),
    Ban("sleep usleep nanosleep", (SRC,), ("src/base/clock.c",), "shardy__sleep_us"),
    Ban("time gettimeofday clock_gettime", (SRC,),
        ("src/base/clock.c", "src/base/context.c", "src/base/thread.c"), "src/base/clock.h"),
    Ban("malloc calloc realloc reallocarray free posix_memalign aligned_alloc strdup strndup",
        (SRC,), ("src/base/alloc.c",), "src/base/alloc.h"),
    Ban("printf fprintf vprintf vfprintf dprintf puts fputs putchar fputc putc perror",
        (SRC,), (), "shardy_error for failures, shardy__log for the rest: no output of our own"),
    Ban("exit _exit _Exit quick_exit abort atexit", (SRC,), (), "a status"),
    Ban("assert", (SRC,), (), "a status (INTERNAL or MISUSE), or _Static_assert"),
    Ban("getenv secure_getenv", (SRC,), ("src/base/environment.c",), "src/base/environment.h"),
    Ban("strerror", (SRC,), (), "shardy__error_errno"),
    Ban("fork vfork execv execve execvp execl execlp", (SRC,), (), "nothing: not in a library"),
    Ban("pthread_create", (SRC,), ("src/base/thread.c",), "src/base/pool.h or thread.h"),
    Ban("dlopen dlsym", (SRC,), ("src/engine/engine.c", "src/engine/loader.c"),
        "the loader of engines"),
    Ban("open openat openat2 creat fopen fdopen freopen mkstemp mkdtemp tmpfile tmpnam mktemp "
        "rename renameat renameat2 unlink unlinkat rmdir mkdir mkdirat link linkat symlink "
        "truncate ftruncate fsync fdatasync posix_fallocate mmap pread pwrite preadv pwritev stat "
        "lstat fstat fstatat opendir fdopendir readdir flock realpath",
        (SRC,), (HAS_FAULT_POINTS,), "src/base/fs.h, or put a shardy__fault() before it"),
]

# Words of the glossary: what our names call them.
GLOSSARY = {
    "adapter": "engine",
    "adaptor": "engine",
    "backend": "engine or store",
    "storage": "store",
    "datastore": "store",
    "partition": "shard",
    "snap": "snapshot",
    "ctx": "context",
    "cfg": "options",
    "mgr": "a noun that says what it does",
    "manager": "a noun that says what it does",
    "util": "a noun that says what it does",
    "utils": "a noun that says what it does",
    "misc": "a noun that says what it does",
}
MISSPELLINGS = dict(
    pair.split("=")
    for pair in """
    accross=across adress=address alot=much allways=always arround=around becuase=because
    begining=beginning beleive=believe calender=calendar comparision=comparison
    concurency=concurrency definately=definitely dependancy=dependency descripter=descriptor
    desciptor=descriptor dissapear=disappear embarass=embarrass enviroment=environment
    existance=existence explicitely=explicitly familar=familiar foward=forward
    garantee=guarantee guarentee=guarantee heigth=height independant=independent
    intial=initial lenght=length lengh=length libary=library maintainance=maintenance
    managment=management mesage=message neccessary=necessary necesary=necessary
    ocurred=occurred occured=occurred occurence=occurrence overriden=overridden
    paramater=parameter parrallel=parallel persistant=persistent posible=possible
    posess=possess preceed=precede priviledge=privilege proccess=process
    publically=publicly recieve=receive recieved=received reciever=receiver
    recomend=recommend refered=referred relevent=relevant repitition=repetition
    responce=response seperate=separate seperator=separator sizeable=sizable
    succesful=successful successfull=successful supress=suppress teh=the thier=their
    thred=thread threshhold=threshold transfered=transferred truely=truly untill=until
    usefull=useful vaild=valid vesion=version wether=whether wich=which writting=writing
    """.split()
)
# The brackets keep these patterns from finding themselves.
FORBIDDEN = [
    (r"\bT[O]DO\b|\bF[I]XME\b|\bX[X]X\b|\bH[A]CK\b", "unfinished work: finish it or file it"),
    (r"(?<![\w.])/(w[o]rk|r[o]ot|h[o]me)/|/tmp/b[a]sh", "a path of one machine"),
    (r"p[y]pi\.org|p[y]thonhosted|c[r]ates\.io|registry\.n[p]mjs|d[e]b\.debian"
     r"|proxy\.g[o]lang", "the host of a package registry"),
]
REFERENCE = re.compile(r"(?<![\w&(/#])#\d+\b")

C_SUFFIXES = (".c", ".h")
TEXT_SUFFIXES = C_SUFFIXES + (".cpp", ".hpp", ".py", ".sh", ".cmake", ".md", ".txt", ".in",
                              ".toml", ".json", ".map", ".yaml", ".yml", ".css")
# Data, not text of ours.
DATA = ("tests/golden/", "fuzz/corpus/", "build/", ".git/", "LICENSE")
DATA_SUFFIXES = (".json", ".expected", ".jsonl", ".csv", ".yaml", ".yml")


# --- reading the tree -----------------------------------------------------------------------------


class Source:
    """A text file; for C also its code without comments and strings, and its functions."""

    def __init__(self, root, path):
        self.path = path
        self.folder = path.split("/")[0]
        self.suffix = Path(path).suffix
        self.text = (root / path).read_text(encoding="utf-8")
        self.lines = self.text.split("\n")
        self.is_c = self.suffix in C_SUFFIXES
        self.comments = []
        self.slash_comments = []
        self.code = self._blank() if self.is_c else ""
        self.code_lines = self.code.split("\n")
        self.functions = list(self._functions()) if self.is_c else []

    def _blank(self):
        """The text with comments and the inside of literals replaced by spaces, line by line."""

        def blank(match):
            piece = match.group(0)
            line = self.text.count("\n", 0, match.start()) + 1
            if piece.startswith("/*"):
                self.comments.append((line, piece))
            elif piece.startswith("//"):
                self.slash_comments.append(line)
            else:
                return piece[0] + " " * (len(piece) - 2) + piece[0]
            return re.sub(r"[^\n]", " ", piece)

        pattern = r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
        return re.sub(pattern, blank, self.text, flags=re.S)

    def _functions(self):
        lines = self.code_lines
        for start, line in enumerate(lines):
            if line.rstrip() != "{":
                continue
            first = start
            while first > 0 and re.match(r"[\w\s*]", lines[first - 1] or "}"):
                first -= 1
                if not lines[first].strip():
                    first += 1
                    break
            signature = " ".join(lines[first:start])
            match = re.match(r"[^(]*?\b(\w+)\s*\(", signature)
            if not match:
                continue
            end = start
            while end + 1 < len(lines) and lines[end].rstrip() != "}":
                end += 1
            yield Function(self, match.group(1), signature, first + 1, start + 1, end + 1)

    def includes(self):
        for number, line in enumerate(self.lines, 1):
            match = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
            if match:
                yield number, match.group(1) == '"', match.group(2)


class Function:
    def __init__(self, source, name, signature, line, body_line, end_line):
        self.source = source
        self.name = name
        self.signature = signature
        self.line = line
        self.end_line = end_line
        body = source.code_lines[body_line - 1:end_line]
        self.body_line = body_line
        self.body = "\n".join("" if b.lstrip().startswith("#") else b for b in body)
        self.is_static = bool(re.search(r"\bstatic\b", signature))
        self.is_inline = bool(re.search(r"\binline\b", signature))

    def line_count(self):
        return self.end_line - self.line + 1

    def complexity(self):
        return 1 + len(re.findall(r"\b(?:if|for|while|case)\b|&&|\|\||\?", self.body))

    def parameter_count(self):
        return count_parameters(self.signature)

    def calls(self):
        return set(re.findall(r"(?<![\w.>])(\w+)\s*\(", self.body))


def count_parameters(signature):
    """Parameters of a declaration, without `shardy_error *err` and `...`."""
    start = signature.index("(")
    depth = 0
    current = ""
    parameters = []
    for char in signature[start:]:
        depth += {"(": 1, ")": -1}.get(char, 0)
        if depth == 0:
            break
        if char == "," and depth == 1:
            parameters.append(current)
            current = ""
        elif not (char == "(" and depth == 1):
            current += char
    parameters.append(current)
    parameters = [" ".join(p.split()) for p in parameters]
    return len([p for p in parameters
                if p not in ("", "void", "...") and not re.fullmatch(r"shardy_error ?\* ?err", p)])


class Tree:
    def __init__(self, root):
        self.root = root
        self.sources = []
        self.broken = []
        for path in list_files(root):
            suffix = Path(path).suffix
            if path.startswith(DATA):
                continue
            if path.startswith("tests/") and suffix in DATA_SUFFIXES:
                continue
            if suffix not in TEXT_SUFFIXES and not is_script(root / path):
                continue
            try:
                self.sources.append(Source(root, path))
            except UnicodeDecodeError:
                self.broken.append(Finding(path, 1, "encoding", "not UTF-8"))

    def c_files(self, *folders):
        return [s for s in self.sources if s.is_c and (not folders or s.folder in folders)]

    def public_headers(self):
        return [s for s in self.c_files("include")]


def list_files(root):
    """Files that belong to the project, relative to its root."""
    if (root / ".git").exists():
        try:
            out = subprocess.run(
                ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others",
                 "--exclude-standard"], check=True, capture_output=True, text=True).stdout
            return sorted(p for p in set(out.split("\0")) if p and (root / p).is_file())
        except (OSError, subprocess.CalledProcessError):
            pass
    found = []
    for folder, folders, names in os.walk(root):
        at_root = Path(folder) == Path(root)
        left_out = (".git", "__pycache__", "build") if at_root else ("__pycache__",)
        folders[:] = sorted(f for f in folders if f not in left_out)
        for name in names:
            found.append(str((Path(folder) / name).relative_to(root)))
    return sorted(found)


def is_script(path):
    if path.suffix:
        return path.name == "Makefile"
    try:
        with open(path, "rb") as file:
            head = file.read(64)
    except OSError:
        return False
    return head.startswith(b"#!") or path.name in ("Makefile", "Doxyfile")


# --- rules about text -----------------------------------------------------------------------------


def check_text(source):
    path = source.path
    wide = source.suffix not in (".md", ".json") and path != "docs/Doxyfile"
    for number, line in enumerate(source.lines, 1):
        if wide and len(line) > COLUMNS_MAX:
            yield Finding(path, number, "columns",
                          f"{len(line)} columns, at most {COLUMNS_MAX}")
        if line != line.rstrip():
            yield Finding(path, number, "whitespace", "remove the spaces at the end")
        if "\t" in line and source.suffix in C_SUFFIXES + (".py", ".md", ".cmake"):
            yield Finding(path, number, "whitespace", "use spaces, not tabs")
        for pattern, why in FORBIDDEN:
            match = re.search(pattern, line)
            if match:
                yield Finding(path, number, "word", f'"{match.group(0)}": {why}')
    if source.text and not source.text.endswith("\n"):
        yield Finding(path, len(source.lines), "whitespace", "end the last line")
    if source.text.endswith("\n\n"):
        yield Finding(path, len(source.lines), "whitespace", "remove empty lines at the end")
    if source.suffix in C_SUFFIXES + (".py", ".sh", ".cpp") and len(source.lines) > FILE_LINES_MAX:
        yield Finding(path, 1, "file-size",
                      f"{len(source.lines)} lines, at most {FILE_LINES_MAX}: split it by noun")
    yield from check_prose(source)


def check_prose(source):
    """Spelling and references in comments and documents."""
    if source.is_c:
        pieces = source.comments
    elif source.suffix == ".md":
        pieces = [(n, line) for n, line in enumerate(source.lines, 1)]
    else:
        pieces = [(n, line) for n, line in enumerate(source.lines, 1)
                  if source.suffix in ("", ".py", ".sh", ".cmake") and "#" in line]
    for line, text in pieces:
        for offset, part in enumerate(text.split("\n")):
            for word in re.findall(r"[A-Za-z]+", part):
                right = MISSPELLINGS.get(word.lower())
                if right and source.path != "scripts/lint.py":
                    yield Finding(source.path, line + offset, "spelling",
                                  f'"{word}": write "{right}"')
            prose = re.sub(r"`[^`]*`", "", part)
            if source.is_c or source.suffix == ".md":
                match = REFERENCE.search(prose)
                if match:
                    yield Finding(source.path, line + offset, "reference",
                                  f'"{match.group(0)}": say what it is about instead of a number')


# --- rules about C --------------------------------------------------------------------------------


def check_comments(source):
    for line in source.slash_comments:
        yield Finding(source.path, line, "comment", "write /* ... */ instead of //")


def check_functions(source):
    if source.folder == BENCH:
        return
    for function in source.functions:
        def finding(rule, text, function=function):
            return Finding(source.path, function.line, rule, f"{function.name}: {text}")

        if function.line_count() > FUNCTION_LINES_MAX:
            yield finding("function-size", f"{function.line_count()} lines, at most "
                          f"{FUNCTION_LINES_MAX}: take a part out that has a name")
        if function.complexity() > COMPLEXITY_MAX:
            yield finding("complexity", f"{function.complexity()} branches, at most "
                          f"{COMPLEXITY_MAX}: take a part out, or use a table")
        if source.folder == SRC and function.parameter_count() > PARAMETERS_MAX:
            yield finding("parameters", f"{function.parameter_count()} besides err, at most "
                          f"{PARAMETERS_MAX}: use a struct")
        yield from check_goto(function)


def check_goto(function):
    source = function.source
    labels = []
    for match in re.finditer(r"^[ ]*(\w+):(?!:)[ ]*$", function.body, flags=re.M):
        if match.group(1) != "default":
            labels.append((match.group(1), match.start()))

    def line_of(position):
        return function.body_line + function.body.count("\n", 0, position)

    for name, position in labels:
        if name != "done":
            yield Finding(source.path, line_of(position), "goto", f'label "{name}": call it "done"')
    if len(labels) > 1:
        yield Finding(source.path, line_of(labels[1][1]), "goto",
                      f"{function.name}: a second label; take a part out")
    for match in re.finditer(r"\bgoto\s+(\w+)", function.body):
        line = line_of(match.start())
        if match.group(1) != "done":
            yield Finding(source.path, line, "goto", f'"goto {match.group(1)}": only "goto done"')
        elif any(position < match.start() for _, position in labels):
            yield Finding(source.path, line, "goto", "jumps backwards: write a loop")


def check_bans(source):
    if source.folder not in EVERYWHERE:
        return
    for ban in BANS:
        if source.folder not in ban.where or source.path in ban.allowed:
            continue
        if HAS_FAULT_POINTS in ban.allowed and "shardy__fault(" in source.code:
            continue
        names = "|".join(ban.names.split())
        for match in re.finditer(rf"(?<![\w.>])(?<!-> )({names})\s*\(", source.code):
            line = source.code.count("\n", 0, match.start()) + 1
            yield Finding(source.path, line, "banned",
                          f"{match.group(1)}: use {ban.instead}")


def check_table_calls(source):
    if source.folder != SRC or source.path in TABLE_CALLERS:
        return
    for match in re.finditer(r"\bops(?:->|\.)(\w+)\s*\(", source.code):
        line = source.code.count("\n", 0, match.start()) + 1
        yield Finding(source.path, line, "table-call",
                      f"ops->{match.group(1)}(): only the one caller of a table calls through it")


def check_names(source, public_names):
    if source.folder != SRC:
        return
    for function in source.functions:
        if function.is_static or function.name.startswith("shardy__"):
            continue
        if function.name in public_names:
            continue
        text = "make it static, or call it shardy__<module>_<verb>"
        if re.match(r"shardy_[a-z]", function.name):
            text = "no public header declares it; call it shardy__<module>_<verb>"
        yield Finding(source.path, function.line, "name", f"{function.name}: {text}")
    depth = 0
    for number, line in enumerate(source.code_lines, 1):
        if depth == 0 and not re.match(
                r"\s|#|(?:static|typedef|extern|enum|union|_Static_assert|__extension__)\b"
                r"|struct \w+;", line):
            match = re.match(r"[A-Za-z_][\w\s*]*?\b(\w+)(\[[^\]]*\])*\s*(=|;)", line)
            if match and not match.group(1).startswith("shardy__"):
                yield Finding(source.path, number, "name",
                              f"{match.group(1)}: global data is static or called shardy__...")
        depth += line.count("{") + line.count("(") - line.count("}") - line.count(")")


def check_glossary(source):
    if source.folder not in ("include", SRC, CLI):
        return
    stem = Path(source.path).stem
    names = [(1, stem)] + [
        (source.code.count("\n", 0, m.start()) + 1, m.group(0))
        for m in re.finditer(r"\b(?:shardy|SHARDY)_\w+", source.code)]
    seen = set()
    for line, name in names:
        for word in re.split(r"_+", name.lower()):
            right = GLOSSARY.get(word)
            if right and name not in seen:
                seen.add(name)
                yield Finding(source.path, line, "glossary", f'{name}: "{word}" is called {right}')


def check_includes(source):
    if not source.is_c and source.suffix not in (".cpp", ".hpp"):
        return
    for line, quoted, target in source.includes():
        why = include_problem(source, quoted, target)
        if why:
            mark = f'"{target}"' if quoted else f"<{target}>"
            yield Finding(source.path, line, "layer", f"{mark}: {why}")
    if source.folder == SRC:
        yield from check_include_order(source)


def include_problem(source, quoted, target):
    folder = source.folder
    if folder == "include":
        if quoted:
            return "write <shardyfusion/...>"
        if target.startswith("shardyfusion/sys/") and "/sys/" not in source.path:
            return "the stable headers do not include sys/"
        return None
    if folder == SRC:
        return layer_problem(source.path, target) if quoted else None
    if folder in (CLI, "python", BENCH, EXAMPLES):
        if folder == BENCH and Path(source.path).name.startswith("micro_"):
            return None
        if quoted and re.search(rf"(^|/)(src|{'|'.join(LAYERS)})/", target):
            return "sees the public headers only"
        if folder == EXAMPLES and (quoted or target.startswith("shardyfusion/sys/")):
            return "an example uses the stable headers only"
    return None


def layer_problem(path, target):
    parts = path.split("/")
    if len(parts) < 3 or parts[1] not in LAYERS:
        return "this folder is not a layer: see LAYERS in scripts/lint.py"
    layer = parts[1]
    match = re.fullmatch(r"(?:\.\./(\w+)/)?([\w.]+)", target)
    if not match:
        return 'write "../<layer>/<file>.h", or "<file>.h" in the same layer'
    other = match.group(1) or layer
    if other not in LAYERS:
        return f'there is no layer "{other}"'
    if other == layer and match.group(1):
        return "in the same layer write the name of the file only"
    if other != layer and LAYERS[other] >= LAYERS[layer]:
        return f"{layer} is below or beside {other}: the lower layer must not know the higher one"
    if layer == "engine" and other == "engine":
        mine, theirs = Path(parts[2]).stem, Path(match.group(2)).stem
        if mine in ENGINES and theirs in ENGINES and mine != theirs:
            return "engines do not include one another"
    return None


def check_include_order(source):
    own = Path(source.path).with_suffix(".h").name
    rank_before = 0
    for position, (line, quoted, target) in enumerate(source.includes()):
        if quoted:
            rank = 0 if target == own else 1
        elif position == 0 and target.startswith("shardyfusion/"):
            rank = 0  # what the file defines is declared there
        else:
            rank = 2 if target.startswith("shardyfusion/") else 3
        if rank < rank_before:
            yield Finding(source.path, line, "include-order",
                          f"{target}: own header, ours, <shardyfusion/...>, the system's")
            return
        rank_before = rank


def check_recursion(tree):
    """No function of src/ calls itself, directly or through others."""
    functions = [f for s in tree.c_files(SRC) for f in s.functions]
    shared = {f.name: f for f in functions if not f.is_static}
    local = {(f.source.path, f.name): f for f in functions}

    def callees(function):
        for name in sorted(function.calls()):
            callee = local.get((function.source.path, name)) or shared.get(name)
            if callee:
                yield callee

    graph = {f: set(callees(f)) for f in functions}
    reported = set()
    for function in functions:
        reached = set()
        work = list(graph[function])
        while work:
            callee = work.pop()
            if callee not in reached:
                reached.add(callee)
                work.extend(graph[callee])
        if function in reached and function not in reported:
            cycle = [f for f in reached if function in reachable(graph, f)]
            reported.update(cycle)
            names = ", ".join(sorted({f.name for f in cycle}))
            yield Finding(function.source.path, function.line, "recursion",
                          f"{names}: write a loop with a bound")


def reachable(graph, start):
    reached = set()
    work = list(graph[start])
    while work:
        callee = work.pop()
        if callee not in reached:
            reached.add(callee)
            work.extend(graph[callee])
    return reached


# --- rules about public headers -------------------------------------------------------------------


def declarations(source):
    """Yields (line, text, name) of each SHARDY_API declaration."""
    for match in re.finditer(r"^SHARDY_API\b[^;]*;", source.code, flags=re.M):
        name = re.search(r"\b(\w+)\s*\(", match.group(0))
        if name:
            yield source.code.count("\n", 0, match.start()) + 1, match.group(0), name.group(1)


def check_header(source):
    if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(source.lines[:40]):
        yield Finding(source.path, 1, "spdx", "say SPDX-License-Identifier: Apache-2.0 at the top")
    if 'extern "C"' not in source.text and "SHARDY_API" in source.code:
        yield Finding(source.path, 1, "header", 'wrap declarations in extern "C" for C++')
    guard = "SHARDYFUSION_" + re.sub(r"\W", "_", source.path.split("shardyfusion/", 1)[-1]).upper()
    if f"#ifndef {guard}\n#define {guard}\n" not in source.text:
        yield Finding(source.path, 1, "header", f"the include guard is {guard}")
    documented_line = -1
    comment_lines = {line + text.count("\n") for line, text in source.comments}
    for line, text, name in declarations(source):
        last = line + text.count("\n")
        documented = (line - 1 in comment_lines or last in comment_lines
                      or documented_line == line - 1)
        if documented:
            documented_line = last
        else:
            yield Finding(source.path, line, "undocumented", f"{name}: say what it does")
        if not re.fullmatch(r"shardy_[a-z0-9]+(_[a-z0-9]+)*", name):
            yield Finding(source.path, line, "name", f"{name}: shardy_<noun>_<verb>")
        if count_parameters(text) > PARAMETERS_MAX:
            yield Finding(source.path, line, "parameters",
                          f"{name}: {count_parameters(text)} besides err, at most {PARAMETERS_MAX}")
        returns = re.match(r"SHARDY_API\s+(.*?)\b" + name, text, flags=re.S).group(1).strip()
        if returns == "shardy_status":
            if "SHARDY_MUST_USE" not in text:
                yield Finding(source.path, line, "header", f"{name}: mark it SHARDY_MUST_USE")
            if not re.search(r"shardy_error\s*\*\s*err\s*\)", text):
                yield Finding(source.path, line, "header", f"{name}: take shardy_error *err last")


def check_tables(tree):
    """Each metric is counted and each limit is applied somewhere."""
    used = {}
    for source in tree.c_files(SRC, CLI):
        for name in re.findall(r"\bSHARDY_\w+", source.code):
            used.setdefault(name, source.path)
    in_headers = {}
    for source in tree.public_headers():
        if source.path.endswith("/context.h"):
            table = re.search(r"#define SHARDY_METRIC_MAP\(X\)(.*?[^\\])\n", source.text, re.S)
            for name in re.findall(r"X\((\w+),", table.group(1) if table else ""):
                in_headers[f"SHARDY_METRIC_{name}"] = (source, f"X({name},", "metric", "count it")
        if source.path.endswith("/limits.h"):
            for name in re.findall(r"#define (SHARDY_\w+_(?:MAX|MIN))\b", source.text):
                in_headers[name] = (source, f"#define {name}", "limit", "apply it")
    for name, (source, text, rule, what) in in_headers.items():
        if name not in used:
            line = source.text.count("\n", 0, source.text.index(text)) + 1
            yield Finding(source.path, line, rule, f"{name} is not used: {what} or remove it")


# --- rules about documents and tests --------------------------------------------------------------


def slug(heading):
    """The anchor of a Markdown heading."""
    text = re.sub(r"[`*_]|\[|\]\([^)]*\)", "", heading.strip().lower())
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text))


def anchors(path):
    fenced = False
    for line in path.read_text(encoding="utf-8").split("\n"):
        fenced ^= line.lstrip().startswith("```")
        match = None if fenced else re.match(r"#+\s+(.*)", line)
        if match:
            yield slug(match.group(1))


def check_links(tree, source):
    if source.suffix != ".md":
        return
    fenced = False
    for number, line in enumerate(source.lines, 1):
        fenced ^= line.lstrip().startswith("```")
        if fenced:
            continue
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            path = tree.root / source.path
            if name:
                path = (path.parent / name).resolve()
                if not path.exists() or tree.root.resolve() not in (path, *path.parents):
                    yield Finding(source.path, number, "link", f"{target}: no such file here")
                    continue
            if anchor and path.suffix == ".md" and anchor not in anchors(path):
                yield Finding(source.path, number, "link", f"{target}: no such heading")


def check_tests(source):
    if source.folder != TESTS or not Path(source.path).name.startswith("test_"):
        return
    for match in re.finditer(r"\bcmocka_unit_test\w*\(\s*(\w+)", source.code):
        if not re.fullmatch(r"test_[a-z0-9_]+__[a-z0-9]+(_[a-z0-9]+)+", match.group(1)):
            line = source.code.count("\n", 0, match.start()) + 1
            yield Finding(source.path, line, "test-name",
                          f"{match.group(1)}: test_<noun>__<a sentence on what holds>")


def check_fuzz(tree):
    for source in tree.c_files(FUZZ):
        name = Path(source.path).stem
        if name.startswith("fuzz_"):
            corpus = tree.root / "fuzz" / "corpus" / name[len("fuzz_"):]
            if not corpus.is_dir() or not any(corpus.iterdir()):
                yield Finding(source.path, 1, "corpus", f"{corpus.relative_to(tree.root)} is empty")


def lint(root):
    tree = Tree(root)
    findings = list(tree.broken)
    public_names = {name for s in tree.public_headers() for _, _, name in declarations(s)}
    for source in tree.sources:
        findings += check_text(source)
        findings += check_links(tree, source)
        findings += check_includes(source)
        if source.is_c:
            findings += check_comments(source)
            findings += check_functions(source)
            findings += check_bans(source)
            findings += check_table_calls(source)
            findings += check_names(source, public_names)
            findings += check_glossary(source)
            findings += check_tests(source)
    for source in tree.public_headers():
        findings += check_header(source)
    findings += check_recursion(tree)
    findings += check_tables(tree)
    findings += check_fuzz(tree)
    long = [f for s in tree.c_files(SRC, CLI) for f in s.functions
            if f.line_count() > FUNCTION_LINES_AIM]
    return tree, sorted(findings), long


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--list", action="store_true", help="also name the long functions")
    args = parser.parse_args()
    tree, findings, long = lint(args.root)
    for finding in findings:
        print("%s:%d: %s: %s" % finding)
    if args.list:
        for function in sorted(long, key=Function.line_count, reverse=True):
            print(f"{function.source.path}:{function.line}: {function.name} has "
                  f"{function.line_count()} lines")
    print(f"lint: {len(tree.sources)} files, {len(findings)} findings; {len(long)} functions of "
          f"more than {FUNCTION_LINES_AIM} lines")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
