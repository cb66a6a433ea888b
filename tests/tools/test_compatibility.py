#!/usr/bin/env python3
"""Checks that every test that docs/compatibility.md names exists, and that every row names one."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/compatibility.md"


def functions():
    """Names of tests that C programs register."""
    names = set()
    for path in ROOT.glob("tests/*/test_*.c"):
        text = path.read_text(encoding="utf-8")
        defined = set(re.findall(r"^static void (test_\w+)\(", text, re.MULTILINE))
        registered = text[text.find("int main("):]
        names |= {name for name in defined if re.search(rf"\b{name}\b", registered)}
        # tables of tests above main()
        names |= {name for name in defined if len(re.findall(rf"\b{name}\b", text)) > 1}
    # golden snapshots have one test each, made by a macro
    text = (ROOT / "tests/golden/test_golden_snapshots.c").read_text(encoding="utf-8")
    names |= set(re.findall(r"\((test_golden__\w+)\)", text))
    return names


def cases():
    """Names of the scripts of the command, as "file.case: name", and of those over servers, as
    "stores.py: Class.test_name"."""
    names = set()
    owner = None
    for line in (ROOT / "tests/cli/stores.py").read_text(encoding="utf-8").splitlines():
        found = re.match(r"class (\w+)\(|    def (test_\w+)\(", line)
        owner = found[1] or owner if found else owner
        if found and found[2]:
            names.add(f"stores.py: {owner}.{found[2]}")
    for path in ROOT.glob("tests/cli/cases/*.case"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("### "):
                names.add(f"{path.name}: {line[4:]}")
    return names


def rows(text):
    """Cells of each row of each table, without heads and rules."""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if not line.startswith("|") or re.fullmatch(r"[|\s:-]+", line):
            continue
        if i + 1 < len(lines) and re.fullmatch(r"\|[|\s:-]+", lines[i + 1]):
            continue
        yield [cell.strip() for cell in line.strip().strip("|").split("|")]


class CompatibilityTest(unittest.TestCase):
    def test_every_row_names_tests_that_exist(self):
        known = functions() | cases()
        self.assertGreater(len(known), 400)
        count = 0
        for cells in rows(DOCUMENT.read_text(encoding="utf-8")):
            named = re.findall(r"`([^`]+)`", cells[-1])
            self.assertTrue(named, f"no test: {cells[0]}")
            for name in named:
                self.assertTrue(name in known, f"no test {name}, row: {cells[0]}")
                count += 1
        self.assertGreater(count, 100)

    def test_a_row_has_as_many_cells_as_the_head(self):
        width = None
        for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
            if not line.startswith("|"):
                width = None
                continue
            cells = line.strip().strip("|").split("|")
            width = width or len(cells)
            self.assertEqual(len(cells), width, line)


if __name__ == "__main__":
    unittest.main()
