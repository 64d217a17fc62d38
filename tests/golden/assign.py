#!/usr/bin/env python3
"""Who gets which variant, a second time: written from the description of the layout, not from the Rust code.

    assign.py EXPERIMENTS.json < units > assignments.csv

Reads a unit per line and writes what `sidetrack assign` writes for the file's first experiment: unit,bucket,variant,phase.
It knows names, salt, baseline, weight and reserve, and refuses what it does not know; for fixed weights the phase is empty.
"""

import json
import sys
from fractions import Fraction

from draw import bucket, draw

KNOWN = {"name", "salt", "unit", "baseline", "variants"}
KNOWN_OF_VARIANT = {"name", "weight", "reserve"}


def buckets(percent) -> int:
    """A percentage in buckets of a million, exactly."""
    count = Fraction(str(percent)) * 10_000
    if count.denominator != 1:
        raise ValueError(f"{percent} percent is no whole number of buckets")
    return count.numerator


def layout(experiment: dict) -> list[tuple[int, int, str]]:
    """(first bucket, weight, name) of each candidate, one span after another in the order of names."""
    spans, start = [], 0
    candidates = [v for v in experiment["variants"] if v["name"] != experiment["baseline"]]
    for variant in sorted(candidates, key=lambda v: v["name"].encode()):
        weight = buckets(variant["weight"])
        spans.append((start, weight, variant["name"]))
        start += buckets(variant.get("reserve", variant["weight"]))
    return spans


def quoted(field: bytes) -> bytes:
    """A CSV field after RFC 4180."""
    if any(byte in field for byte in b',"\r\n'):
        return b'"' + field.replace(b'"', b'""') + b'"'
    return field


def main(path: str) -> int:
    with open(path, encoding="utf-8") as file:
        experiment = json.load(file)["experiments"][0]
    unknown = set(experiment) - KNOWN | {key for v in experiment["variants"] for key in set(v) - KNOWN_OF_VARIANT}
    if unknown:
        print(f"assign.py does not know {sorted(unknown)}", file=sys.stderr)
        return 2
    salt = experiment.get("salt", experiment["name"])
    spans = layout(experiment)
    out = sys.stdout.buffer
    out.write(b"unit,bucket,variant,phase\n")
    for line in sys.stdin.buffer:
        unit = line.removesuffix(b"\n")
        drawn = bucket(draw("arm1", salt, unit))
        variant = experiment["baseline"]
        for start, weight, name in spans:
            if start <= drawn < start + weight:
                variant = name
        out.write(b"%s,%d,%s,\n" % (quoted(unit), drawn, variant.encode()))
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(sys.argv[1]))
