#!/usr/bin/env python3
"""Tests of scripts/reflow_comments.py."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
sys.dont_write_bytecode = True
from reflow_comments import reflow  # noqa: E402

WORDS = " ".join(["word"] * 24)


class ReflowTest(unittest.TestCase):
    def check(self, text, *parts):
        done = reflow(text)
        self.assertTrue(all(len(line) <= 100 for line in done.split("\n")), done)
        self.assertEqual(text.split().count("word"), done.split().count("word"), done)
        for part in parts:
            self.assertIn(part, done)
        self.assertEqual(done, reflow(done), "a second run changes it again")

    def test_narrow_comments_stay(self):
        text = "/* a\n *   b */\nint a; /* c */\n#define X 1 /* d */\n"
        self.assertEqual(text, reflow(text))

    def test_a_wide_comment_is_filled(self):
        self.check(f"/* {WORDS} */\n", "\n * word")
        self.check(f"    /* {WORDS}\n     * word\n     */\n", "    /* word")

    def test_labels_and_lists_stay_apart(self):
        self.check(f"/* {WORDS}\n * Statuses: OK. */\n", "\n * Statuses: OK. */")
        self.check(f"/* {WORDS}\n *   one   first\n *   two   second\n * end */\n",
                   "\n *   one   first\n *   two   second\n * end */")
        self.check(f"/* a\n *   one   {WORDS} */\n", "\n *   one   word", "\n *         word")
        self.check(f"/* a\n *\n * {WORDS} */\n", "/* a\n *\n * word")

    def test_a_wide_comment_behind_code_moves_above_it(self):
        self.check(f"    int a; /* {WORDS} */\n", "    /* word", "\n    int a;\n")

    def test_code_is_not_touched(self):
        for text in (f'f("/* {WORDS} */");\n', f"#define X {WORDS} /* a */\n"):
            self.assertEqual(text, reflow(text))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-q"])
