#!/usr/bin/env python3
"""Counts round trips of logs that are written down, and of random ones against all chains."""

import io
import itertools
import random
import unittest
from contextlib import redirect_stdout
from unittest import mock

import round_trips


def log(*spans):
    return [{"begin": begin, "end": end} for begin, end in spans]


def longest(entries):
    """The longest chain by trying all subsets in order of their begin."""
    best = 0
    for size in range(len(entries) + 1):
        for chosen in itertools.combinations(sorted(entries, key=lambda e: e["begin"]), size):
            if all(a["end"] < b["begin"] for a, b in zip(chosen, chosen[1:])):
                best = max(best, size)
    return best


class RoundTripsTest(unittest.TestCase):
    def test_nothing_is_no_round_trip(self):
        self.assertEqual(0, round_trips.count([]))

    def test_requests_one_after_another_are_as_many(self):
        self.assertEqual(3, round_trips.count(log((0, 1), (2, 3), (4, 5))))

    def test_requests_at_the_same_time_are_one(self):
        self.assertEqual(1, round_trips.count(log((0, 10), (1, 11), (9, 12))))

    def test_a_request_that_begins_as_another_ends_does_not_follow_it(self):
        self.assertEqual(1, round_trips.count(log((0, 1), (1, 2))))

    def test_a_long_request_beside_a_chain_is_no_step_of_it(self):
        self.assertEqual(3, round_trips.count(log((0, 100), (1, 2), (3, 4), (5, 6))))

    def test_three_steps_of_a_fan(self):
        fan = [(10 + i / 100, 20 + i / 100) for i in range(64)]
        self.assertEqual(3, round_trips.count(log((0, 9), *fan, (30, 40))))

    def test_the_order_of_the_log_does_not_matter(self):
        self.assertEqual(3, round_trips.count(log((4, 5), (0, 1), (2, 3))))

    def test_a_chain_is_one(self):
        found = round_trips.chain(log((0, 5), (1, 2), (3, 4), (6, 7)))
        self.assertEqual([(1, 2), (3, 4), (6, 7)], [(e["begin"], e["end"]) for e in found])

    def test_random_logs_have_the_longest_of_all_chains(self):
        numbers = random.Random(1)
        for trial in range(300):
            spans = []
            for _ in range(numbers.randrange(9)):
                begin = numbers.randrange(20)
                spans.append((begin, begin + numbers.randrange(1, 8)))
            with self.subTest(trial=trial, spans=spans):
                self.assertEqual(longest(log(*spans)), round_trips.count(log(*spans)))

    def test_the_command_reads_json_lines(self):
        text = io.StringIO('{"begin": 0, "end": 1}\n\n{"begin": 2, "end": 3}\n')
        out = io.StringIO()
        with mock.patch("sys.stdin", text), redirect_stdout(out):
            self.assertEqual(0, round_trips.main([]))
        self.assertEqual("2\n", out.getvalue())


if __name__ == "__main__":
    unittest.main(argv=["test_round_trips.py", "-q"])
