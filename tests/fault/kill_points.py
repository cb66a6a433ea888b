#!/usr/bin/env python3
"""Compares the points at which test_publish_kill kills a process with the system calls that write:
each must be one, or there would be a moment at which nobody was killed.

usage: kill_points.py PROGRAM     (fault_test_publish_kill of a build with fault points)"""

import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile

# Everything with which a process changes what is on a disk.
CALLS = """write pwrite64 writev pwritev pwritev2 sendfile copy_file_range splice fsync fdatasync
    sync syncfs sync_file_range ftruncate truncate fallocate open openat openat2 creat mkdir
    mkdirat rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat rmdir chmod
    fchmod fchmodat chown fchown fchownat utimensat mknod mknodat setxattr fsetxattr
    msync""".split()
OPERATIONS = ["build", "steps", "abandon", "rollback", "large", "cleanup", "pin"]


def calls_of(log, root):
    """Counts the calls of a trace that write below a directory."""
    found = collections.Counter()
    for line in open(log, encoding="utf-8", errors="replace"):
        match = re.match(r"(?:\[pid +\d+\] |\d+ +)?(\w+)\((.*)", line)
        if not match or "resumed>" in line.split("(", 1)[0]:
            continue
        name, rest = match.groups()
        if root not in rest:
            continue
        if name in ("open", "openat", "openat2") and not re.search(r"O_CREAT|O_TMPFILE", rest):
            continue
        found[name] += 1
    return found


def run(program, operation, work):
    root = os.path.join(work, operation)
    log = os.path.join(work, operation + ".trace")
    os.mkdir(root)
    subprocess.run([program, "origin", root], check=True)
    command = ["strace", "-f", "-qq", "-y", "-s", "0", "-e", "trace=" + ",".join(CALLS), "-o", log,
               program, operation, root]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    points = int(done.stdout)
    found = calls_of(log, root)
    names = ", ".join(f"{count} {name}" for name, count in sorted(found.items()))
    print(f"kill points: {operation}: {points} points, {sum(found.values())} calls: {names}")
    return points == sum(found.values()) and points > 0


def main(args):
    if not shutil.which("strace"):
        print("kill points: strace is not there")
        return 1 if os.environ.get("CI") == "true" else 77
    with tempfile.TemporaryDirectory() as work:
        wrong = [name for name in OPERATIONS if not run(args[0], name, os.path.realpath(work))]
    for name in wrong:
        print(f"kill points: {name}: not every call that writes is a point")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
