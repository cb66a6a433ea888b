#!/usr/bin/env python3
"""Breaks comments of C files that are wider than 100 columns; leaves all others as they are.

usage: reflow_comments.py FILE...

A comment that stands alone is filled anew, paragraph by paragraph. Lines that begin with more than
one space (tables, lists) and lines that begin with a label such as `Statuses:` stay apart. A
comment behind code moves to a line of its own above it.
"""

import re
import sys
import textwrap

COLUMNS_MAX = 100
ITEM = re.compile(r"\s*([-*] |\d+[.)] |\w+: |\S+ {2,})")
LABEL = re.compile(r"(Statuses|Ownership|Threads)\b|[A-Z][\w ]{0,20}: ")


def lead(line):
    return len(line) - len(line.lstrip())


def hang(line):
    """Where the text of an item of a list begins: below it, its further lines stand."""
    match = re.match(r"\s*([-*] |\d+[.)] |\S+ {2,})", line)
    return len(match.group(0)) if match else lead(line)


def paragraphs(lines):
    """Groups the lines of a comment that belong together: ("fill" or "keep", lines)."""
    group = []
    kind = ""
    for line in lines:
        if not line.strip() or line.startswith("SPDX"):
            now, begins = "keep", True
        elif line.startswith("  "):
            goes_on = kind == "list" and lead(line) in (lead(group[-1]), hang(group[0]))
            begins = not goes_on or ITEM.match(line)
            now = "list"
        else:
            now, begins = "fill", kind != "fill" or LABEL.match(line)
        if begins and group:
            yield kind, group
            group = []
        kind = now
        group.append(line.rstrip())
    if group:
        yield kind, group


def fill(lines, indent):
    """The lines of a comment, filled, with its marks."""
    width = COLUMNS_MAX - len(indent) - 3
    body = []
    for kind, group in paragraphs(lines):
        if kind == "keep" or (kind == "list" and all(len(line) <= width for line in group)):
            body.extend(group)
            continue
        text = " ".join(line.strip() for line in group)
        first, rest = ("", "") if kind == "fill" else (group[0][:hang(group[0])], hang(group[0]))
        if kind == "list":
            text = text[len(first.strip()):].strip()
            rest = " " * rest
        body.extend(textwrap.wrap(text, width, initial_indent=first, subsequent_indent=rest,
                                  break_long_words=False, break_on_hyphens=False))
    if len(body[-1]) + 3 > width:
        last = textwrap.wrap(body[-1], width - 3, break_long_words=False, break_on_hyphens=False)
        body[-1:] = last
    marked = [(indent + ("/* " if i == 0 else " * ") + line).rstrip()
              for i, line in enumerate(body)]
    marked[-1] += " */"
    return marked


def reflow(text):
    lines = text.split("\n")
    done = []
    at = 0
    while at < len(lines):
        line = lines[at]
        end = at
        while "/*" in line and "*/" not in lines[end] and end + 1 < len(lines):
            end += 1
        block = lines[at:end + 1]
        at = end + 1
        alone = re.match(r"(\s*)/\*", line)
        behind = re.match(r"(\s*)(\S.*?)\s*/\*(.*)", line, flags=re.S)
        wide = any(len(b) > COLUMNS_MAX for b in block)
        ends_with_comment = block[-1].rstrip().endswith("*/")
        if not wide or not ends_with_comment or line.lstrip().startswith("#"):
            done += block
        elif alone:
            rule = re.match(r"(\s*/\* --- .*? )-+ \*/$", line)
            if rule:
                done.append(rule.group(1) + "-" * (COLUMNS_MAX - 3 - len(rule.group(1))) + " */")
                continue
            content = [re.sub(r"^\s*(/\*|\*(?!/))? ?", "", b, count=1) for b in block]
            content[-1] = content[-1].rstrip()[:-2].rstrip()
            while content and not content[-1].strip():
                content.pop()
            done += fill(content, alone.group(1))
        elif behind and '"' not in behind.group(3):
            content = " ".join(b.strip() for b in [behind.group(3), *block[1:]])
            done += fill([content.strip()[:-2].strip()], behind.group(1))
            done.append(behind.group(1) + behind.group(2))
        else:
            done += block
    return "\n".join(done)


def main():
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        new = reflow(text)
        if new != text:
            with open(path, "w", encoding="utf-8") as file:
                file.write(new)
            print(f"reflowed {path}")


if __name__ == "__main__":
    main()
