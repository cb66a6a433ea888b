#!/usr/bin/env python3
"""Writes tests/golden/files/text: what Python and NumPy make of texts that the library reads or writes.

Run once, by hand (needs numpy); the files are part of the repository and the tests read those.
"""

import csv
import io
import json
import math
import random
import struct
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent / "files" / "text"


def bits(x):
    return struct.pack(">d", x).hex()


def doubles(rng):
    """Lines "bits text": repr() of a double, which must also read back."""
    out = [0.0, -0.0, 1.0, 0.1, 1e-4, 1e-5, 1e15, 1e16, 1e17, 1e22, 1e23, 123456789012345678.0, 5e-324,
           2.2250738585072014e-308, 1.7976931348623157e308, 100000.0, 3.14, 2 / 3, 1e300, 9007199254740993.0]
    out += [math.ldexp(1, e) for e in range(-1074, 1024, 7)]
    # Doubles whose shortest text is not the nearest one of its length.
    out += [7.120236347223045e-307, 8.209073602596753e-289, 9.5367431640625e-07, 5.960464477539063e-08]
    out += [struct.unpack("<d", struct.pack("<Q", rng.getrandbits(64)))[0] for _ in range(600)]
    out += [rng.gauss(0, 1) * 10 ** rng.randint(-8, 20) for _ in range(300)]
    out += [struct.unpack("<f", struct.pack("<f", rng.gauss(0, 0.05)))[0] for _ in range(100)]
    return [f"{bits(x)} {x!r}" for x in out if math.isfinite(x)]


def decimals(rng):
    """Lines "bits text": float() of texts that repr() would not write."""
    texts = ["0e999999999999", "1e400", "-1e400", "1e-400", "-0.0e5", "1E5", "1e+5", "1e-99999999999999",
             "2.4703282292062327e-324", "2.4703282292062328e-324", "1.7976931348623158e308",
             "1.7976931348623159e308", "0." + "0" * 400 + "1", "1" + "0" * 308, "1" + "0" * 309,
             "9007199254740993", "9007199254740992.99999999999999999", "0." + "0" * 30 + "e10"]
    for _ in range(300):
        n = rng.choice([1, 5, 17, 19, 20, 21, 40, 100, 400, 790, 800, 801, 900])
        s = str(rng.randint(1, 9)) + "".join(rng.choice("0123456789") for _ in range(n - 1))
        k = rng.randint(0, n)
        t = s[:k] + "." + s[k:] if 0 < k < n else s
        if rng.random() < 0.7:
            t += rng.choice("eE") + rng.choice(["", "-", "+"]) + str(rng.randint(0, 350))
        texts.append(t)
    # The points between two doubles, and a little more or less than them.
    from decimal import Decimal, getcontext
    getcontext().prec = 1200
    for _ in range(60):
        x = struct.unpack("<d", struct.pack("<Q", rng.getrandbits(63 if rng.random() < 0.7 else 53)))[0]
        y = math.nextafter(x, math.inf)
        if not math.isfinite(y):
            continue
        m, e = format((Decimal(x) + Decimal(y)) / 2, "e").lower().split("e")
        m += "" if "." in m else ".0"
        texts += [f"{m}e{e}", f"{m}{'0' * 20}1e{e}", f"{m}{'0' * 820}1e{e}"]
    return [f"{bits(float(t))} {t}" for t in texts]


STRINGS = ["", "a", "key", "é", "\u07ff", "\u0800", "\uffff", "\U00010000", "😀", "\U0010ffff", "\x00", "\x1f", "\x7f",
           "\x80", 'q"q', "back\\slash", "/", "\b\f\n\r\t", "line\u2028sep", "z" * 70, "ab\u00e9cdefgh\\ijklmnop\"qrstuv", "日本語のテキスト"]
NUMBERS = [0, 1, -1, 2 ** 63 - 1, -2 ** 63, 2 ** 64 - 1, 2 ** 100, 0.5, 1e-05, 1e+16, -2.5, float("inf"), float("-inf"), float("nan")]


def random_value(rng, depth):
    kind = rng.randint(0, 9)
    if depth > 2 or kind < 3:
        return rng.choice(STRINGS)
    if kind < 5:
        return rng.choice(NUMBERS)
    if kind == 5:
        return rng.choice([None, True, False])
    if kind == 6:
        return [random_value(rng, depth + 1) for _ in range(rng.randint(0, 5))]
    n = rng.choice([0, 1, 2, 3, 8, 9, 12])
    return {rng.choice(STRINGS) + rng.choice(["", "", "x", "é", str(rng.randint(0, 30))]): random_value(rng, depth + 1)
            for _ in range(n)}


def spaced(rng, text):
    """The same JSON with white space where it may be."""
    out, quoted, escaped = [], False, False
    for c in text:
        if not quoted and c in "{}[],:":
            c = rng.choice(["", " ", "\t", " \r "]) + c + rng.choice(["", " ", "  \t"])
        elif escaped:
            escaped = False
        elif c == "\\":
            escaped = True
        elif c == '"':
            quoted = not quoted
        out.append(c)
    return "".join(out)


def styles(rng):
    """Groups of lines: a text, then what json.dumps makes of it in four ways."""
    texts = []
    for _ in range(200):
        value = random_value(rng, 0)
        texts.append(spaced(rng, json.dumps(value, ensure_ascii=rng.random() < 0.5)))
    texts += ['{"a":1,"a":2}', '{"b":1,"a":2,"b":3}', '{"a":{"x":1},"b":[],"a":{"y":2,"y":3}}', '"\\/"', '"\\u00e9\\u00E9"',
              '{"\\u0061":1,"a":2}', '{"\\u00e9":1,"z":2,"\\ud83d\\ude00":3,"\\uffff":4}', '{"z":1,"\\"":2,"\\\\":3,"!":4,"]":5}',
              '[' * 64 + ']' * 64, "{" + ",".join(f'"k{i % 37:02d}":{i}' for i in range(100)) + "}", " [ ] ", "\t{ }\r", '"\\u0000"',
              "{" + ",".join(f'"{i * 7919 % 1000}":{i}' for i in range(1000)) + "}"]
    out = []
    for text in texts:
        v = json.loads(text)
        out += [text, json.dumps(v), json.dumps(v, sort_keys=True), json.dumps(v, sort_keys=True, separators=(",", ":")),
                json.dumps(v, sort_keys=True, separators=(",", ":"), ensure_ascii=False)]
    assert not any("\n" in line for line in out)
    return out


FIELDS = ["", "plain", "a,b", 'say "hi"', '"', '""', "two\nlines", "crlf\r\nin", "é", " spaces ", "'", "1", "null", ",", "\n", "😀x", "x" * 300]


def csv_rows(rng, path, newline):
    """A CSV file, and for each row its key and its other fields as compact JSON."""
    header = ["zeta", "key", "alpha", 'odd "name"', "é"]
    buf = io.StringIO()
    w = csv.writer(buf, lineterminator=newline)
    w.writerow(header)
    for i in range(300):
        w.writerow([rng.choice(FIELDS), f"k{i}"] + [rng.choice(FIELDS) for _ in header[2:]])
        if i % 50 == 7:
            buf.write(newline)
    (HERE / f"{path}.csv").write_bytes(buf.getvalue().encode())
    out = []
    for row in csv.DictReader(io.StringIO(buf.getvalue(), newline="")):
        key = row.pop("key")
        out.append(key + "\t" + json.dumps(row, sort_keys=True, separators=(",", ":")))
    (HERE / f"{path}.expected").write_text("\n".join(out) + "\n")


def arrays(rng):
    """NumPy files of every type, each beside the same numbers as '<f8' in C order."""
    g = np.random.default_rng(7)
    base = np.concatenate([g.standard_normal(20) * 10, [0, -0.0, 1, -1, 0.5, 100]]).reshape(13, 2)
    halves = np.array([0, 1, 0x3FF, 0x400, 0x3C00, 0x7BFF, 0x7C00, 0xFC00, 0x8001, 0x83FF, 0x8400, 0xBC00, 0x3555, 0x0200, 0x8000, 0x7BFE],
                      "<u2").view("<f2").reshape(8, 2)
    items = {"f4": base.astype("<f4"), "f8": base.astype("<f8"), "f4big": base.astype(">f4"), "f8big": base.astype(">f8"),
             "f2": halves, "i1": (base * 3).astype("|i1"), "i4": np.array([[2 ** 31 - 1, -2 ** 31], [0, 7]], "<i4"),
             "i8": np.array([[2 ** 40, -5], [2 ** 53, 1]], "<i8"), "fortran": np.asfortranarray(base.astype("<f4")),
             "one": base.astype("<f4").ravel(), "empty": np.zeros((0, 3), "<f4")}
    for name, a in items.items():
        np.save(HERE / f"npy_{name}.npy", a)
        np.save(HERE / f"npy_{name}.f8.npy", np.ascontiguousarray(a.astype("<f8")))
    for version in (2, 3):
        with open(HERE / f"npy_v{version}.npy", "wb") as f:
            np.lib.format.write_array(f, items["f4"], version=(version, 0))
        np.save(HERE / f"npy_v{version}.f8.npy", items["f4"].astype("<f8"))


def main():
    rng = random.Random(20)
    HERE.mkdir(parents=True, exist_ok=True)
    (HERE / "doubles.txt").write_text("\n".join(doubles(rng)) + "\n")
    (HERE / "decimals.txt").write_text("\n".join(decimals(rng)) + "\n")
    (HERE / "json_styles.txt").write_text("\n".join(styles(rng)) + "\n", newline="")
    csv_rows(rng, "rows_lf", "\n")
    csv_rows(rng, "rows_crlf", "\r\n")
    arrays(rng)


if __name__ == "__main__":
    main()
