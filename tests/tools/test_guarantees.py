#!/usr/bin/env python3
"""Checks docs/guarantees.md: each promise names a test, each test that it names is one that ctest
knows, and each function is one of the functions that this test runs."""

import re
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEST = re.compile(r"`(\w+/\w+)`((?:[:,] `test_\w+`)*)")


def promises(text):
    """Promise and the cell with its tests, of each row of the table."""
    return re.findall(r"^\| \*\*(.*?) \| ([^|]*) \|$", text, re.M)


def named(cell):
    """Tests of ctest with the functions that are named behind them."""
    for test, functions in TEST.findall(cell):
        yield test, re.findall(r"`(test_\w+)`", functions)


def registered():
    """Names of tests that CMake files add one by one, also those in a loop over names."""
    names = set()
    for path in [*ROOT.glob("tests/**/CMakeLists.txt"), ROOT / "fuzz/CMakeLists.txt"]:
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"add_test\(NAME (\S+)", text)
        names |= {name for name in found if "$" not in name}
        for pattern in found:
            # one for each value of a list: foreach(check ${checks})
            for word in re.findall(r"\$\{(check|place)\}", pattern):
                lists = re.findall(rf"(?:set|list)\((?:APPEND )?{word}s ([^)]*)\)", text)
                values = [value for values in lists for value in values.split()]
                if "$" not in pattern.replace(f"${{{word}}}", ""):
                    names |= {pattern.replace(f"${{{word}}}", value) for value in values}
    for kind in ("fault", "race"):
        planted = subprocess.run([sys.executable, ROOT / "tests" / kind / "planted/plant.py",
                                  "--list"], capture_output=True, text=True, check=True).stdout
        for line in planted.splitlines():
            name, places = line.split(";")[:2]
            names |= {f"{kind}/planted_{name}_{place}" if kind == "race"
                      else f"{kind}/planted_{name}" for place in places.split(",")}
    names |= {f"fuzz/{path.stem.removeprefix('fuzz_')}" for path in ROOT.glob("fuzz/fuzz_*.c")}
    return names


def mistakes(text):
    """What is wrong with a page, one line each."""
    known = registered()
    for promise, cell in promises(text):
        tests = list(named(cell))
        if not tests:
            yield f"no test: {promise}"
        rest = TEST.sub("", cell)
        if rest.strip("; ,"):
            yield f"not understood: {rest.strip()}"
        for test, functions in tests:
            path = ROOT / "tests" / f"{test}.c"
            if not path.is_file():
                if test not in known or functions:
                    yield f"no such test: {test}"
                continue
            source = path.read_text(encoding="utf-8")
            if not functions:
                yield f"no function of {test} is named"
            for function in functions:
                if not re.search(rf"\w\(\s*{function}\s*[,)]", source):  # handed to cmocka
                    yield f"no such function in {test}: {function}"


class GuaranteesTest(unittest.TestCase):
    def setUp(self):
        self.text = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")

    def test_every_row_is_a_promise_with_tests_that_exist(self):
        rows = [line for line in self.text.splitlines() if line.startswith("|")]
        self.assertEqual(len(rows) - 2, len(promises(self.text)))
        self.assertGreater(len(rows), 10)
        self.assertEqual([], list(mistakes(self.text)))

    def test_mistakes_are_found(self):
        for cell, word in (("`unit/test_nothing`: `test_a__b`", "no such test"),
                           ("`hostile/nothing`", "no such test"),
                           ("`fuzz/nothing`", "no such test"),
                           ("`symbols/nothing`", "no such test"),
                           ("`unit/test_publish`", "no function"),
                           ("`unit/test_publish`: `test_publish__nothing`", "no such function"),
                           ("somebody looks at it", "no test"),
                           ("`fuzz/key`, and more", "not understood")):
            with self.subTest(cell=cell):
                self.assertIn(word, "\n".join(mistakes(f"| **A.** | {cell} |\n")))

    def test_all_fuzz_targets_are_named(self):
        targets = {f"fuzz/{p.stem.removeprefix('fuzz_')}" for p in ROOT.glob("fuzz/fuzz_*.c")}
        self.assertEqual(set(), targets - set(re.findall(r"`(fuzz/\w+)`", self.text)))


if __name__ == "__main__":
    unittest.main(argv=["test_guarantees.py", "-q"])
