#!/usr/bin/env python3
"""Checks what the built library exports, imports and keeps in memory.

names      every global symbol of the static library is public or begins with shardy__
exports    the shared library exports the functions marked SHARDY_API in the headers, no others
imports    our objects use no function that prints or exits; memory functions only in alloc.c, the
           environment only in environment.c
globals    no data that can change after start, except the list below
hardening  the shared library is RELRO, NOW, has no executable stack and no text relocations
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

# The only data that may change while a process runs, with the reason.
MUTABLE_DATA = {
    ("process.c.o", "shardy__fork_count"): "counts forks: a child has no other way to notice",
    ("process.c.o", "watch_once"): "the handler that counts forks is registered once a process",
    ("process.c.o", "watch_result"): "what registering it answered",
    ("http.c.o", "global_once"): "libcurl is to be initialised once a process",
    ("http.c.o", "global_result"): "what initialising it answered",
}

# What no object of ours may import, and where it is allowed nevertheless.
BANNED_IMPORTS = [
    (r"_*(exit|_Exit|quick_exit|abort|atexit|at_quick_exit|on_exit|__cxa_atexit)", ()),
    (r"_*v?(printf|fprintf|dprintf)(_chk)?", ()),
    (r"(puts|putchar|fputs|fputc|putc|fwrite|perror|psignal|err|errx|warn|warnx|syslog)", ()),
    (r"(stdout|stderr)", ()),
    (r"(secure_)?getenv", ("environment.c.o",)),
    (r"setenv|putenv|unsetenv|setlocale", ()),
    (r"system|popen|fork|vfork|execv?[lpe]*|posix_spawnp?", ()),
    (r"signal|sigaction|raise|kill|_*longjmp|_*_?(sig)?setjmp", ()),
    (r"rand|srand|random|srandom|rand_r|[dlmnj]rand48", ()),
    (r"strcpy|strcat|_*sprintf(_chk)?|_*vsprintf(_chk)?|strtok|gets|ato[ifl]|atoll", ()),
    (r"gmtime|localtime|ctime|asctime|strerror|readdir_r|tmpnam|tempnam|mktemp", ()),
    (r"malloc|calloc|realloc|reallocarray|free|posix_memalign|aligned_alloc", ("alloc.c.o",)),
    (r"strdup|strndup|asprintf|getline|getdelim|open_memstream", ()),
    (r"pthread_create", ("thread.c.o",)),
    (r"clock_gettime", ("clock.c.o", "context.c.o", "thread.c.o")),
    (r"time|gettimeofday|nanosleep|clock_nanosleep|usleep|sleep", ("clock.c.o", "context.c.o")),
    (r"__assert_fail", ()),
]


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def declared_functions(include):
    """Names of the functions marked SHARDY_API in all headers."""
    names = set()
    for header in sorted(Path(include).rglob("*.h")):
        text = re.sub(r"/\*.*?\*/", " ", header.read_text(), flags=re.S)
        text = re.sub(r"^\s*#.*?(?<!\\)$", "", text, flags=re.M | re.S)
        for declaration in re.findall(r"\bSHARDY_API\b([^;{]*)", text):
            match = re.search(r"\b(\w+)\s*\(", declaration)
            if match:
                names.add(match.group(1))
    return names


def archive_symbols(archive, *options):
    """Yields (object, nm type, name) of a static library."""
    member = ""
    for line in run("nm", *options, archive).splitlines():
        if line.endswith(":"):
            member = line[:-1]
        elif line.strip():
            fields = line.split()
            yield member, fields[-2], fields[-1]


def check_names(args):
    public = declared_functions(args.include)
    for member, kind, name in archive_symbols(args.static, "-g", "--defined-only"):
        if kind in "VvWw" or name in public or name.startswith(("shardy__", "__odr_asan.")):
            continue
        yield f"{member}: {name} is global: make it static, or call it shardy__<module>_<verb>"


def check_exports(args):
    public = declared_functions(args.include)
    exported = set()
    for line in run("nm", "-D", "--defined-only", args.shared).splitlines():
        kind, name = line.split()[-2:]
        if kind != "A":
            exported.add(name.split("@")[0])
    for name in sorted(public - exported):
        yield f"{name} is declared in a header but not exported"
    for name in sorted(exported - public):
        yield f"{name} is exported but no header declares it"
    if not public:
        yield "no function is marked SHARDY_API: this check looks at the wrong place"


def check_imports(args):
    for member, _, name in archive_symbols(args.static, "-u"):
        for pattern, allowed in BANNED_IMPORTS:
            if re.fullmatch(pattern, name) and member not in allowed:
                yield f"{member}: uses {name}"


def check_globals(args):
    sections = {}
    member = ""
    for line in run("readelf", "-SsW", args.static).splitlines():
        if line.startswith("File: "):
            member = line.rsplit("(", 1)[1].rstrip(")")
            sections = {}
        match = re.match(r"\s*\[\s*(\d+)\]\s+(\S+)", line)
        if match:
            sections[match.group(1)] = match.group(2)
        fields = line.split()
        if len(fields) == 8 and fields[3] in ("OBJECT", "TLS", "COMMON") and fields[6] != "UND":
            section = sections.get(fields[6], fields[6])
            # .data.rel.ro is made read-only by the dynamic linker before any code runs.
            if not re.match(r"\.t?(data|bss)|COM", section) or ".data.rel.ro" in section:
                continue
            name = re.sub(r"\.\d+$", "", fields[7])
            if (member, name) not in MUTABLE_DATA:
                yield f"{member}: {name} in {section} can be changed: state belongs in a handle"


def check_hardening(args):
    headers = run("readelf", "-lW", args.shared)
    dynamic = run("readelf", "-dW", args.shared)
    if "GNU_RELRO" not in headers:
        yield "no RELRO segment"
    if not re.search(r"\(FLAGS\).*BIND_NOW|\(FLAGS_1\).*NOW|\(BIND_NOW\)", dynamic):
        yield "symbols are bound lazily (no NOW)"
    stack = re.search(r"GNU_STACK.*", headers)
    if not stack or "E" in stack.group(0).split()[-2]:
        yield "the stack is executable"
    if re.search(r"TEXTREL", dynamic):
        yield "text relocations"
    if re.search(r"RPATH|RUNPATH", dynamic):
        yield "a search path for libraries is built in"
    if not re.search(r"SONAME.*libshardyfusion\.so\.\d+\]", dynamic):
        yield "no soname with the major version"
    symbols = run("nm", "-D", "-u", args.shared)
    for name in ("__stack_chk_fail", "_chk"):
        if name not in symbols:
            yield f"nothing uses {name}: stack protector or _FORTIFY_SOURCE is off"


def main():
    checks = {
        "names": check_names,
        "exports": check_exports,
        "imports": check_imports,
        "globals": check_globals,
        "hardening": check_hardening,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("check", choices=sorted(checks))
    parser.add_argument("--shared", required=True)
    parser.add_argument("--static", required=True)
    parser.add_argument("--include", required=True)
    args = parser.parse_args()
    findings = list(checks[args.check](args))
    for finding in findings:
        print(finding)
    print(f"{args.check}: {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
