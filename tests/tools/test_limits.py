#!/usr/bin/env python3
"""Each limit of the public headers is named by a test of limits (tests/*/test_*limits.c)."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def declared():
    names = set()
    for path in (ROOT / "include").rglob("*.h"):
        names.update(re.findall(r"^#define (SHARDY_\w+_(?:MAX|MIN))\b", path.read_text(), re.M))
    return names


class Limits(unittest.TestCase):
    def test_every_declared_limit_is_tested(self):
        tested = "".join(path.read_text() for path in (ROOT / "tests").glob("*/test_*limits.c"))
        missing = sorted(name for name in declared() if not re.search(rf"\b{name}\b", tested))
        self.assertEqual([], missing)

    def test_there_are_limits(self):
        self.assertGreater(len(declared()), 20)


if __name__ == "__main__":
    unittest.main()
