#!/usr/bin/env python3
"""Checks the documents: the program in README.md is examples/twenty.c, links lead to files, and
options and tests that are named exist."""

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

    def test_files_of_the_source_that_are_named_exist(self):
        for name in ("docs/architecture.md", "docs/performance.md"):
            for path in re.findall(r"`((?:src|cli|tests|scripts|include|fuzz|docs)/[\w./-]+)`",
                                   read(ROOT / name)):
                with self.subTest(document=name, path=path):
                    self.assertTrue((ROOT / path).exists())

    def test_tables_of_the_manifest_are_those_that_are_written(self):
        source = re.sub(r'"\s*\n\s*"', "", read(ROOT / "src/manifest/manifest_render.c"))
        written = re.findall(r'"(CREATE TABLE .*?)";', source)
        text = re.sub(r"\s+", " ", read(ROOT / "docs/formats.md"))
        self.assertEqual(3, len(written))
        for statement in written:
            with self.subTest(statement=statement):
                self.assertIn(statement, text)

    def test_members_of_a_run_record_are_those_that_are_written(self):
        written = re.findall(r'\{"(\w+)", YAML_FIELD', read(ROOT / "src/catalog/run_record.c"))
        section = read(ROOT / "docs/formats.md").split("## Run records")[1].split("\n## ")[0]
        cells = re.findall(r"^\| ([^|]*) \|", section, re.M)
        self.assertEqual(written, re.findall(r"`(\w+)`", "".join(cells)))

    def test_functions_that_are_named_are_in_their_file(self):
        pairs = re.findall(r"`((?:src|cli)/[\w./-]+\.[ch])`\s+\(`(\w+)\(\)`\)",
                           read(ROOT / "docs/architecture.md"))
        self.assertNotEqual([], pairs)
        for path, function in pairs:
            with self.subTest(path=path, function=function):
                self.assertRegex(read(ROOT / path), rf"(?m)^\w[^;(]*\b{function}\([^;]*\n{{")

    def test_tests_that_are_named_exist(self):
        kinds = "|".join(p.name for p in (ROOT / "tests").iterdir() if p.is_dir())
        for path in DOCUMENTS + [ROOT / "Makefile", ROOT / "scripts/check", ROOT / "scripts/test"]:
            for kind, name in re.findall(rf"\b({kinds})/(test_\w+)", read(path)):
                with self.subTest(document=path.name, test=f"{kind}/{name}"):
                    self.assertTrue(list((ROOT / "tests" / kind).glob(f"{name}.*")))

    def test_a_test_to_run_is_named_where_it_is_told_how(self):
        for name in ("README.md", "CONTRIBUTING.md"):
            with self.subTest(document=name):
                self.assertRegex(read(ROOT / name), r"make test T=unit/test_\w+")

    def test_contributing_names_all_folders_of_tests(self):
        table = read(ROOT / "CONTRIBUTING.md").split("folder of `tests/`")[1].split("\n\n")[0]
        named = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| ([^|]*) \|", table, re.M))))
        self.assertEqual({p.name for p in (ROOT / "tests").iterdir() if p.is_dir()}, named)


if __name__ == "__main__":
    unittest.main(argv=["test_docs.py", "-q"])
