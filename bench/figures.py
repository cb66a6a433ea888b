"""What bench/run and bench/plot know about figures: lines of JSON, as the programs print them.

The first line of a file is {"machine": {...}}; the others are figures, with the name of their
benchmark under "group". ours_<unit> is our side; with a peer there are peer, peer_<unit>,
ratio_median, ratio_min, ratio_max, and with a goal for the median goal.
"""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORDED = ROOT / "docs/plots/figures.jsonl"
GROUPS = ("get", "search", "build", "open", "rows", "verify", "remote", "transfer", "count")


def read(path):
    """The machine and the figures of a file."""
    lines = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    return lines[0]["machine"], lines[1:]


def write(path, machine, figures):
    lines = [{"machine": machine}, *figures]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def merged(old, new):
    """Figures of the same benchmarks are replaced, the others stay, in the order of GROUPS."""
    replaced = {figure["group"] for figure in new}
    kept = [figure for figure in old if figure["group"] not in replaced]
    return sorted(kept + new, key=lambda figure: GROUPS.index(figure["group"]))


def has_ratio(figure):
    return figure.get("ratio_median") is not None


def reached(figure):
    return figure["ratio_median"] >= figure["goal"]


def verdict(figure):
    if "goal" not in figure:
        return ""
    return "reached" if reached(figure) else "not reached"


def with_unit(value, unit, scale):
    """`scale` is the value that chooses the prefix of the unit and the digits."""
    if unit == "count":
        return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    if unit == "bytes" and scale >= 2**20:
        value, unit = value / 2**20, "MiB"
    elif unit == "bytes" and scale >= 10 * 2**10:
        value, unit = value / 2**10, "KiB"
    elif unit in ("ns", "us") and scale >= 10_000:
        value, unit = value / 1000, {"ns": "us", "us": "ms"}[unit]
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {'MiB' if unit == 'mib' else unit}"


def side(figure, which):
    """The value of "ours" or "peer", as people read it: both in the same unit."""
    key = next(k for k in figure if k.startswith("ours_"))
    unit = key[len("ours_"):]
    scale = max(figure[key], figure.get(f"peer_{unit}", 0))
    return with_unit(figure[f"{which}_{unit}"], unit, scale)


def ratio(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 20 else f"{value:.2f}"


def name(figure):
    """With the budget of memory, which tells builds apart."""
    budget = figure.get("budget_mib")
    return figure["bench"] + (f", {budget} MiB" if budget else "")
