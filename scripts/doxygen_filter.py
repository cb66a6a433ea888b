#!/usr/bin/env python3
"""Input filter of Doxygen: turns the plain comments of our headers into ones that it reads.

usage: doxygen_filter.py FILE

A comment that stands alone documents what follows, one behind code what stands before it. Labels
such as `Statuses:` become paragraphs, so that they stand out.
"""

import re
import sys


def convert(text):
    def mark(match):
        body = match.group(1)
        line_start = text.rfind("\n", 0, match.start()) + 1
        behind = text[line_start:match.start()].strip() != ""
        # A label begins a paragraph of its own wherever a sentence begins with it.
        body = re.sub(r"(?m)(^ \*|(?<=[.;:])) (Statuses|Ownership|Threads)\b:?",
                      r"\1\n * \\par \2\n *", body)
        body = re.sub(r"<(?=[\w.-]+>|root)", r"\\<", body)
        return f"/**{'<' if behind else ''}{body}*/"

    name = re.match(r"/\* ([\w/]+\.h): ", text)
    text = re.sub(r"/\*(.*?)\*/", mark, text, flags=re.S)
    if name:
        text = text.replace(f"/** {name.group(1)}: ", "/** @file\n * @brief ", 1)
    return text


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        text = file.read()
    sys.stdout.write(convert(text) if sys.argv[1].endswith(".h") else text)


if __name__ == "__main__":
    main()
