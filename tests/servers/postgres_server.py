#!/usr/bin/env python3
"""Starts a Postgres of its own in a temporary directory: "ready HOST PORT SOCKET-DIRECTORY" is its
first line; it and its data are gone when this ends.

usage: postgres_server.py [--until-eof]

Everybody on this machine may log in as the user "test", without a password, to the database "test".
It listens on the loopback address and on a socket in SOCKET-DIRECTORY. Postgres does not run as
root: then its user is postgres, or nobody.
"""

import argparse
import ctypes
import glob
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

READY = "database system is ready to accept connections"
TRIES = 10


def find_programs():
    """The directory with initdb and postgres of the newest version there is."""
    folders = glob.glob("/usr/lib/postgresql/*/bin") + os.environ.get("PATH", "").split(":")
    folders = [f for f in folders
               if all(os.access(os.path.join(f, name), os.X_OK) for name in ("initdb", "postgres"))]
    if not folders:
        sys.exit("postgres_server.py: no initdb and postgres: run scripts/setup test")

    def version(folder):
        match = re.search(r"/postgresql/(\d+)/", folder)
        return int(match.group(1)) if match else 0

    return max(folders, key=version)


def find_user():
    """(uid, gid) to run as, or None for the own one."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
        except KeyError:
            pass
    sys.exit("postgres_server.py: neither a user postgres nor nobody")


def prepare(user):
    """What a child does first: becomes the user, and dies with this process."""

    def function():
        if user:
            os.setgroups([])
            os.setgid(user[1])
            os.setuid(user[0])
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGQUIT)

    return function


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def start(programs, folder, user):
    """(process, port) of a server that accepts connections. Postgres takes no port 0, so a free one
    is looked for, and another one when it was taken meanwhile."""
    said = ""
    for _ in range(TRIES):
        port = free_port()
        process = subprocess.Popen(
            [f"{programs}/postgres", "-D", f"{folder}/data", "-F", "-p", str(port),
             "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}",
             "-c", "max_connections=64", "-c", "full_page_writes=off",
             "-c", "shared_buffers=16MB", "-c", "dynamic_shared_memory_type=mmap",
             "-c", "autovacuum=off", "-c", "log_min_messages=log", "-c", "max_wal_senders=0",
             "-c", "wal_level=minimal"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, cwd=folder, preexec_fn=prepare(user))
        for line in process.stderr:
            said += line
            if READY in line:
                # What it says later is of no interest, but has to go somewhere.
                threading.Thread(target=process.stderr.read, daemon=True).start()
                return process, port
        process.wait()
        if "could not bind" not in said and "Address already in use" not in said:
            break
    sys.exit(f"postgres_server.py: Postgres did not start:\n{said}")


def make_data(programs, folder, user):
    done = subprocess.run(
        [f"{programs}/initdb", "-D", f"{folder}/data", "-U", "test", "-A", "trust", "-E", "UTF8",
         "--locale=C", "--no-sync", "--no-instructions"], capture_output=True, text=True,
        cwd=folder, preexec_fn=prepare(user), check=False)
    if done.returncode:
        sys.exit(f"postgres_server.py: initdb failed:\n{done.stdout}{done.stderr}")
    # The database of the same name, made without a client.
    done = subprocess.run(
        [f"{programs}/postgres", "--single", "-F", "-D", f"{folder}/data", "postgres"],
        input="create database test\n", capture_output=True, text=True, cwd=folder,
        preexec_fn=prepare(user), check=False)
    if done.returncode:
        sys.exit(f"postgres_server.py: no database made:\n{done.stdout}{done.stderr}")


class Stopped(Exception):
    pass


def stop(*_):
    raise Stopped


def serve(options, folder):
    user = find_user()
    programs = find_programs()
    if user:
        os.chown(folder, *user)
    make_data(programs, folder, user)
    process, port = start(programs, folder, user)
    try:
        print(f"ready 127.0.0.1 {port} {folder}", flush=True)
        if options.until_eof:
            while os.read(sys.stdin.fileno(), 4096):
                pass
        else:
            process.wait()
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--until-eof", action="store_true",
                        help="end when the standard input ends, or the parent process")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if options.until_eof:
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    folder = tempfile.mkdtemp(prefix="shardy-postgres-")
    try:
        serve(options, folder)
    except Stopped:
        pass
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
