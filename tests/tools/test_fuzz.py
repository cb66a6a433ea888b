#!/usr/bin/env python3
"""The tools around the fuzz targets: what each target is for, its planted bug, the campaign."""

import importlib.machinery
import importlib.util
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def script(name):
    path = str(ROOT / "scripts" / name)
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class Targets(unittest.TestCase):
    def test_each_has_a_planted_bug_that_applies(self):
        done = subprocess.run([ROOT / "scripts/fuzz-planted", "--check"], text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(0, done.returncode, done.stdout)

    def test_each_says_which_files_are_its_parser(self):
        coverage = script("fuzz-coverage")
        parsers = coverage.read_parsers()
        self.assertEqual(coverage.targets(), sorted(parsers))
        for name, files in parsers.items():
            self.assertTrue(files, name)
            for path, others in files.items():
                text = (ROOT / path).read_text()
                for function in others:
                    self.assertRegex(text, rf"\b{function}\(", f"{name}: {path}")

    def test_each_has_a_corpus(self):
        for path in (ROOT / "fuzz").glob("fuzz_*.c"):
            corpus = ROOT / "fuzz/corpus" / path.stem[len("fuzz_"):]
            self.assertTrue(any(corpus.iterdir()), corpus)

    def test_the_corpora_stay_small(self):
        size = sum(path.stat().st_size for path in (ROOT / "fuzz/corpus").rglob("*"))
        self.assertLess(size, 4 << 20)


class Usage:
    ru_utime = 5.5
    ru_stime = 1.0


class Campaign(unittest.TestCase):
    LOG = ("#2 INITED cov: 100 ft: 200 corp: 1/1b\n#9 DONE   cov: 120 ft: 300 corp: 4/9b\n"
           "stat::number_of_executed_units: 4321\n")

    def setUp(self):
        self.campaign = script("fuzz-all")
        self.folder = tempfile.TemporaryDirectory()
        self.campaign.JOURNAL = Path(self.folder.name) / "campaign.tsv"

    def tearDown(self):
        self.folder.cleanup()

    def turn(self, row, text):
        log = Path(self.folder.name) / "log"
        log.write_text(text)
        return self.campaign.Turn(row, None, log)

    def test_a_turn_adds_to_its_row(self):
        row = self.campaign.Row("a", seconds=10, executions=1, edges=110)
        self.assertIsNone(self.campaign.end_turn(self.turn(row, self.LOG), 0, Usage))
        self.assertEqual(["a", "16", "4322", "120", "0", "-"], row.fields())

    def test_an_interrupted_turn_counts_and_finds_nothing(self):
        row = self.campaign.Row("a")
        self.assertIsNone(self.campaign.end_turn(
            self.turn(row, self.LOG), self.campaign.ENDED_BY_SIGNAL, Usage))
        self.assertEqual((6, 0), (row.seconds, row.findings))

    def test_a_crash_is_a_finding(self):
        row = self.campaign.Row("a")
        self.assertIn("cov:", self.campaign.end_turn(self.turn(row, self.LOG), 77, Usage))
        self.assertEqual(1, row.findings)

    def test_the_journal_is_read_as_it_was_written(self):
        rows = {name: self.campaign.Row(name, 1, 2, 3, 0, "v1-2-gabc") for name in ("b", "a")}
        self.campaign.write_journal(rows)
        again = self.campaign.read_journal()
        self.assertEqual(["a", "b"], list(again))
        self.assertEqual(rows["a"].fields(), again["a"].fields())

    def test_the_target_with_the_least_time_is_next(self):
        rows = {name: self.campaign.Row(name, seconds) for name, seconds in
                (("a", 300), ("b", 20), ("c", 20), ("d", 0))}
        busy = {1: self.campaign.Turn(rows["d"], None, None)}
        self.assertEqual("b", self.campaign.next_row(rows, busy, 100).target)
        self.assertIsNone(self.campaign.next_row({"a": rows["a"]}, {}, 300))


if __name__ == "__main__":
    unittest.main()
