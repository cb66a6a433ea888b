#!/usr/bin/env python3
"""Checks docs/guarantees.md and docs/guarantees-tests.md: each promise has a section with tests and
names one or two of them, each test is one that ctest knows, and each function is one of the
functions that this test runs."""

import functools
import re
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS_MAX = 2
ROW_MAX = 400


def promises(page):
    """What is printed bold, and the cell with its tests, of each row of the table."""
    return re.findall(r"^\| \*\*(.*?)\*\*.*? \| ([^|]*) \|$", page, re.M)


def sections(page):
    """Headings of the page of tests, and the lines below each that are not empty."""
    for part in re.split(r"^## ", page, flags=re.M)[1:]:
        head, *lines = part.splitlines()
        yield head, [line for line in lines if line]


@functools.cache
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


def listed(lines):
    """Tests of a section with their functions; a line that is neither is a test by itself."""
    tests = {}
    last = None
    for line in lines:
        function = re.fullmatch(r"  \* `(test_\w+)`", line)
        if function and last:
            tests[last].append(function[1])
        else:
            test = re.fullmatch(r"\* `(\w+/\w+)`", line)
            last = test[1] if test else line
            tests.setdefault(last, [])
    return tests


def wrong_tests(head, tests, known):
    """What is wrong with the tests of a section."""
    if not tests:
        yield f"no test: {head}"
    for test, functions in tests.items():
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


def mistakes(page, tests_page):
    """What is wrong with the two pages, one line each."""
    known = registered()
    listing = {head: listed(lines) for head, lines in sections(tests_page)}
    rows = promises(page)
    if list(listing) != [promise for promise, _ in rows]:
        odd = set(listing) ^ {promise for promise, _ in rows}
        yield f"promises and sections differ, or their order: {sorted(odd)}"
    for head, tests in listing.items():
        yield from wrong_tests(head, tests, known)
    for promise, cell in rows:
        named = re.findall(r"`(\w+/\w+)`", cell)
        if not 1 <= len(named) <= TESTS_MAX or ", ".join(f"`{name}`" for name in named) != cell:
            yield f"not one or two tests: {cell}"
        for test in set(named) - set(listing.get(promise, {})):
            yield f"not in its section: {test}"


class GuaranteesTest(unittest.TestCase):
    def setUp(self):
        self.page = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
        self.tests_page = (ROOT / "docs/guarantees-tests.md").read_text(encoding="utf-8")

    def test_every_row_is_a_promise_with_tests_that_exist(self):
        rows = [line for line in self.page.splitlines() if line.startswith("|")]
        self.assertEqual(len(rows) - 2, len(promises(self.page)))
        self.assertGreater(len(rows), 10)
        self.assertEqual([], list(mistakes(self.page, self.tests_page)))

    def test_rows_are_short(self):
        for line in self.page.splitlines():
            if line.startswith("|"):
                with self.subTest(row=line):
                    self.assertLessEqual(len(line), ROW_MAX)

    def test_mistakes_are_found(self):
        for tests, word in (("* `unit/test_nothing`\n  * `test_a__b`", "no such test"),
                            ("* `hostile/nothing`", "no such test"),
                            ("* `fuzz/nothing`", "no such test"),
                            ("* `symbols/nothing`", "no such test"),
                            ("* `unit/test_publish`", "no function"),
                            ("* `unit/test_publish`\n  * `test_publish__nothing`",
                             "no such function"),
                            ("", "no test"),
                            ("somebody looks at it", "no such test"),
                            ("* `fuzz/key`", "not in its section: fuzz/json"),
                            ("* `fuzz/json`\n* `fuzz/json` and more", "no such test"),
                            ("* `fuzz/json`\n\n## B\n\n* `fuzz/json`", "differ")):
            with self.subTest(tests=tests):
                found = mistakes("| **A** | `fuzz/json` |\n", f"## A\n\n{tests}\n")
                self.assertIn(word, "\n".join(found))
        for cell in ("", "`fuzz/json`, `fuzz/csv`, `fuzz/key`", "`fuzz/json` and more"):
            with self.subTest(cell=cell):
                found = mistakes(f"| **A** | {cell} |\n", "## A\n\n* `fuzz/json`\n")
                self.assertIn("not one or two tests", "\n".join(found))

    def test_all_fuzz_targets_are_named(self):
        targets = {f"fuzz/{p.stem.removeprefix('fuzz_')}" for p in ROOT.glob("fuzz/fuzz_*.c")}
        self.assertEqual(set(), targets - set(re.findall(r"`(fuzz/\w+)`", self.tests_page)))


if __name__ == "__main__":
    unittest.main(argv=["test_guarantees.py", "-q"])
