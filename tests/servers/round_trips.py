#!/usr/bin/env python3
"""Counts the round trips of a log of requests: the longest chain of dependence.

usage: round_trips.py [LOG...]      a log is JSON lines with "begin" and "end"; default: standard
                                    input

A request can only depend on a reply that was there before it began, so B follows A when B began
after A ended, and the round trips are the length of the longest row of requests of which each
follows the one before. Requests that were under way at the same time are one step, however many.

With a server that answers at once this counts too many: two requests that were sent together may
have been answered one after the other. Give the server a delay that is longer than the time the
client needs to send what it can (20 ms): then what was sent together has begun together.
"""

import json
import sys


def chain(entries):
    """The requests of a longest chain, in order. Of all that could come next the one that ends
    first is taken, which leaves the most room for others."""
    found = []
    end = float("-inf")
    for entry in sorted(entries, key=lambda e: e["end"]):
        if entry["begin"] > end:
            found.append(entry)
            end = entry["end"]
    return found


def count(entries):
    return len(chain(entries))


def read(lines):
    return [json.loads(line) for line in lines if line.strip()]


def main(paths):
    if not paths:
        print(count(read(sys.stdin)))
    for path in paths:
        with open(path, encoding="utf-8") as file:
            print(count(read(file)), path if len(paths) > 1 else "", sep="\t")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
