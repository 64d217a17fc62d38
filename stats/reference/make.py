#!/usr/bin/env python3
"""Writes values.json: what the statistics must come to, computed without a line of the Rust code.

mpmath at 60 digits, from definitions: tails are integrals of densities, bounds are roots, nothing is taken from an
expansion that the code also uses. Where SciPy or statsmodels know the same thing, they must agree, or this stops.

    scripts/setup.sh reference
    .tools/reference/bin/python stats/reference/make.py [PART…]

Only for renewing the values; the tests read the file. Takes a few minutes. With names of parts, renews only their groups.
"""

import json
import pathlib
import sys

import choices
import drift
import looks
import means
import shares
import tails
from common import GROUPS

PARTS = [
    tails.distributions, shares.score, shares.shares, shares.sizes_of_shares, shares.sample_ratio, means.means, means.raw_data,
    means.phases_of_means, means.sizes_of_means, looks.sequential, looks.group_sequential, choices.posteriors, choices.multiplicity,
    drift.drift_distances,
]


def main():
    path = pathlib.Path(__file__).with_name("values.json")
    wanted = sys.argv[1:]
    old = json.loads(path.read_text()) if wanted else {}
    for part in PARTS:
        if not wanted or part.__name__ in wanted:
            print(part.__name__, flush=True)
            part()
    groups = {**old, **GROUPS}
    print(sum(map(len, groups.values())), "cases")
    lines = [f'"{group}": [\n' + ",\n".join(json.dumps(case) for case in cases) + "\n]" for group, cases in sorted(groups.items())]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


main()
