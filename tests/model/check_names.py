#!/usr/bin/env python3
"""Compares the names of the steps in the models with those in the C code, both ways.

A step of a model is a label of its own line ("writer_take:"); in the C code "model: writer_take"
stands in a comment where the step is done. A label must have its place in the code, and a place in
the code its label.

usage: check_names.py SOURCE_DIR
"""
import pathlib
import re
import sys

# Labels that are only targets of goto.
PLACES = {"abandon", "stop", "out", "again", "remove", "next"}


def labels(model):
    found = re.findall(r"^([a-z]\w*):$", model.read_text(encoding="utf-8"), re.MULTILINE)
    return [name for name in found if name not in PLACES]


def main():
    root = pathlib.Path(sys.argv[1])
    steps = {}
    problems = []
    for model in sorted((root / "tests/model").glob("*.pml")):
        for name in labels(model):
            if name in steps:
                problems.append(f"{name} is a step twice, in {steps[name]} and in {model.name}")
            steps[name] = model.name
    code = {}
    for source in sorted((root / "src").rglob("*.[ch]")):
        for name in re.findall(r"\bmodel: (\w+)", source.read_text(encoding="utf-8")):
            code.setdefault(name, []).append(source.relative_to(root))
    for name, model in steps.items():
        if name not in code:
            problems.append(f"{model}: no code says that it does {name}")
    for name, sources in code.items():
        if name not in steps:
            problems.append(f"{sources[0]}: no model has a step {name}")
    if not steps or not code:
        problems.append("no steps were found at all")
    for problem in problems:
        print(f"check_names: {problem}")
    print(f"check_names: {len(steps)} steps in the models, {len(code)} of them in the code")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
