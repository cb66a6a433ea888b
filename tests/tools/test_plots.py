#!/usr/bin/env python3
"""Checks that docs/plots and the figures in docs/performance.md are what bench/plot makes of the
recorded figures, and that it notices when they are not."""

import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def plot(*arguments):
    done = subprocess.run([ROOT / "bench/plot", *arguments], capture_output=True, text=True,
                          check=False)
    return done.returncode, done.stdout + done.stderr


class PlotsTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.copy = Path(self.folder.name)
        (self.copy / "docs").mkdir()
        shutil.copytree(ROOT / "docs/plots", self.copy / "docs/plots")
        shutil.copy(ROOT / "docs/performance.md", self.copy / "docs")
        self.figures = self.copy / "docs/plots/figures.jsonl"

    def changed(self, path, old, new):
        text = path.read_text(encoding="utf-8")
        self.assertIn(old, text)
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def test_what_is_committed_is_what_the_figures_give(self):
        self.assertEqual((0, ""), plot("--check"))

    def test_figures_of_every_benchmark_can_be_drawn(self):
        line = self.figures.read_text(encoding="utf-8").splitlines()[1]
        group = re.search(r'"group":"(\w+)"', line).group(1)
        sys.path.insert(0, str(ROOT / "bench"))
        import figures
        with self.figures.open("a", encoding="utf-8") as file:
            for name in figures.GROUPS:
                file.write(line.replace(f'"group":"{group}"', f'"group":"{name}"') + "\n")
        code, told = plot(str(self.copy))
        self.assertEqual(0, code, told)
        for name in figures.GROUPS:
            self.assertTrue((self.copy / f"docs/plots/{name}.svg").is_file(), name)

    def test_plots_are_well_formed_and_linked(self):
        page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
        for path in ROOT.glob("docs/plots/*.svg"):
            with self.subTest(plot=path.name):
                xml.dom.minidom.parse(str(path))
                self.assertIn(f"](plots/{path.name})", page)

    def test_another_figure_is_noticed(self):
        self.changed(self.figures, '"ratio_median":', '"ratio_median":7')
        code, said = plot("--check", self.copy)
        self.assertEqual(1, code)
        self.assertIn(".svg is not what the figures give", said)
        self.assertIn("docs/performance.md is not what the figures give", said)

    def test_an_edited_plot_is_noticed(self):
        self.changed(next(self.copy.glob("docs/plots/*.svg")), "<rect", "<rect ")
        self.assertEqual(1, plot("--check", self.copy)[0])

    def test_an_edited_table_is_noticed(self):
        self.changed(self.copy / "docs/performance.md", "| **", "| **9")
        self.assertEqual(1, plot("--check", self.copy)[0])

    def test_a_plot_without_figures_is_noticed_and_removed(self):
        stray = self.copy / "docs/plots/stray.svg"
        stray.write_text("<svg/>\n", encoding="utf-8")
        self.assertEqual(1, plot("--check", self.copy)[0])
        self.assertEqual(0, plot(self.copy)[0])
        self.assertFalse(stray.exists())

    def test_drawing_again_mends_all(self):
        for path in self.copy.glob("docs/plots/*.svg"):
            path.unlink()
        self.assertEqual(1, plot("--check", self.copy)[0])
        self.assertEqual(0, plot(self.copy)[0])
        self.assertEqual((0, ""), plot("--check", self.copy))


if __name__ == "__main__":
    unittest.main(argv=["test_plots.py", "-q"])
