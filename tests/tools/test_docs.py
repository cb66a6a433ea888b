#!/usr/bin/env python3
"""Checks the documents: the program in README.md is examples/twenty.c, links lead to files, and
options that are named exist."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md"))


def read(path):
    return path.read_text(encoding="utf-8")


class DocsTest(unittest.TestCase):
    def test_the_program_in_the_readme_is_examples_twenty(self):
        blocks = re.findall(r"^```c\n(.*?)^```$", read(ROOT / "README.md"), re.S | re.M)
        self.assertEqual([read(ROOT / "examples/twenty.c")], blocks)

    def test_links_lead_to_files(self):
        for path in DOCUMENTS:
            for link in re.findall(r"\]\(([^)#]+)[^)]*\)", read(path)):
                if not re.match(r"[a-z]+:", link):
                    with self.subTest(document=path.name, link=link):
                        self.assertTrue((path.parent / link).exists())

    def test_links_within_a_document_lead_to_headings(self):
        for path in DOCUMENTS:
            heads = {re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-")
                     for head in re.findall(r"^#+ (.*)$", read(path), re.M)}
            for link in re.findall(r"\]\(#([^)]+)\)", read(path)):
                with self.subTest(document=path.name, link=link):
                    self.assertIn(link, heads)

    def test_options_that_are_named_exist(self):
        known = set(re.findall(r"`?(--[a-z][a-z0-9-]+)", read(ROOT / "docs/options.md")))
        for name in ("README.md", "docs/guide.md"):
            # What blocks show was run; one misspells an option to show the answer.
            text = re.sub(r"^```(console|text)\n.*?^```$", "", read(ROOT / name), flags=re.S | re.M)
            for line in re.findall(r"shardy [a-z]+ [^`\n]*|`--[^`\n]+`", text):
                for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", line):
                    with self.subTest(document=name, option=option):
                        self.assertIn(option, known)

    def test_files_of_the_source_that_the_map_names_exist(self):
        for path in re.findall(r"`((?:src|cli|tests|scripts|include|fuzz|docs)/[\w./-]+)`",
                               read(ROOT / "docs/architecture.md")):
            with self.subTest(path=path):
                self.assertTrue((ROOT / path).exists())


if __name__ == "__main__":
    unittest.main(argv=["test_docs.py", "-q"])
