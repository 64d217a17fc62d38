"""Results by segment: the same comparison on the units of each segment alone, and the segments beside each other."""

import math

import numpy as np
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from comparing import holm, look, split_p, weights

LARGEST = 20


def chosen(found):
    """The segments of a dimension: the largest values, then the others, then the units without a value."""
    sizes = {}
    for value, _ in found.values():
        sizes[value] = sizes.get(value, 0) + 1
    order = sorted((v for v in sizes if v is not None), key=lambda v: (-sizes[v], v))
    kept = order[: LARGEST + 1 if len(order) == LARGEST + 1 else LARGEST]
    out = [("value", value, {u for u, (v, _) in found.items() if v == value}) for value in kept]
    rest = [("other", None, {u for u, (v, _) in found.items() if v is not None and v not in kept}),
            ("unknown", None, {u for u, (v, _) in found.items() if v is None})]
    return out + [segment for segment in rest if segment[2]], len(order)


def segments(case, found_by, first, weights_of, strata, compare, totals, planned, always):
    """What an analysis says of each dimension; `found_by` has the value of each unit and its time."""
    out, parts = [], {}
    for dimension in case["segments"]:
        found = found_by[dimension]
        own, distinct = chosen(found)
        rows = []
        for kind, value, units in own:
            count = lambda s, a: sum(first[u].stratum == s and first[u].arm == a for u in units)
            counts = [[count(s, a) for a in range(3)] for s in range(len(strata))]
            shown = [[(n, w) for n, w in zip(c, weights_of[s]) if w > 0] for s, c in enumerate(counts)]
            rows.append(dict(value=value, kind=kind, units=[sum(c[a] for c in counts) for a in range(3)], split=split_p(shown)))
        for row, p in zip(rows, holm([row["split"] for row in rows])):
            row["split_adjusted"] = p
        later = sum(v is not None and time > first[u].first for u, (v, time) in found.items())
        out.append(dict(dimension=dimension, values=distinct, later=later, segments=rows, metrics={}))
        parts[dimension] = own
    for metric in case["metrics"]:
        if metric["role"] == "exploratory" or isinstance(metric["measure"], float):
            continue
        tests, interactions = [], []
        for dimension in out:
            own = parts[dimension["dimension"]]
            cells = [[one(metric, c, units, compare, planned, always) for c in (1, 2)] for _, _, units in own]
            tests += [cell for row in cells for cell in row if cell["p"] is not None]
            both = []
            for c in (0, 1):
                column = [(kind, row[c]) for (kind, _, _), row in zip(own, cells) if row[c]["variance"] is not None]
                both.append(interaction(column, totals[metric["name"], c + 1], planned, always))
            interactions += both
            dimension["metrics"][metric["name"]] = dict(segments=cells, candidates=both)
        for cell, p in zip(tests, holm([cell["p"] for cell in tests])):
            cell["p_adjusted"] = float(p)
        tested = [i for i in interactions if i["p"] is not None]
        for i, p in zip(tested, holm([i["p"] for i in tested])):
            i["p_adjusted"] = float(p)
    return out


def one(metric, candidate, units, compare, planned, always):
    """The comparison within a segment."""
    empty = dict(n=[0, 0], diff=None, ci=None, lift=None, lift_ci=None, p=None, p_adjusted=None, variance=None)
    found, sides = compare(metric, candidate, units)
    n = [sum(side[i][2] for side in sides) for i in (0, 1)]
    if found is None:
        return dict(empty, n=n)
    seen = dict(found)
    if always:
        seen = look(found, sum(n), planned or 10_000) if sum(n) >= 100 else dict(found, ci=None, lift_ci=None, p=None)
    return dict(empty, n=n, diff=found["difference"], ci=seen["ci"], lift=found.get("lift"), lift_ci=seen["lift_ci"], p=seen["p"],
                variance=found["variance"])


def bound(n, planned):
    twice = -2 * math.log(0.05)
    r = n / planned * (twice + math.log(twice + 1))
    return r, math.sqrt((r + 1) / r * (math.log(r + 1) + twice))


def interaction(column, total, planned, always):
    """Cochran's Q, the merged difference, and whether it contradicts the total."""
    planned = planned or 10_000
    named = [cell for kind, cell in column if kind != "unknown"]
    varying = [cell for cell in named if cell["variance"] > 0]
    q = df = p = None
    if len(varying) > 1:
        found = combine_effects(np.array([c["diff"] for c in varying]), np.array([c["variance"] for c in varying]))
        q, df = float(found.q), len(varying) - 1
        n = sum(sum(cell["n"]) for cell in named)
        if not always:
            p = float(stats.chi2.sf(q, df))
        elif n >= 100:
            r, _ = bound(n, planned)
            p = min(1.0, (1 + r) ** (df / 2) * math.exp(-q * r / (2 * (1 + r))))
    w = weights([cell["n"] for _, cell in column])
    merged = ci = None
    if any(w):
        merged = sum(w * cell["diff"] for w, (_, cell) in zip(w, column))
        se = math.sqrt(sum(w * w * cell["variance"] for w, (_, cell) in zip(w, column)))
        n = sum(sum(cell["n"]) for _, cell in column)
        if not always or n >= 100:
            z = bound(n, planned)[1] if always else stats.norm.isf(0.025)
            ci = [merged - z * se, merged + z * se]
    disagrees = False
    if merged is not None and ci and total["ci"] and len(column) > 1:
        # Covariates adjust the total and not the segments.
        total = total["adjustment"] or total
        (low, high), d = total["ci"], total["diff"]
        apart = not low <= merged <= high and not ci[0] <= d <= ci[1]
        settled = low > 0 or high < 0 or ci[0] > 0 or ci[1] < 0
        opposite = d * merged < 0 or all(d * cell["diff"] < 0 for _, cell in column)
        disagrees = bool(apart or settled and opposite)
    return dict(statistic=q, df=df, p=p, p_adjusted=None, merged=merged, merged_ci=ci, disagrees=disagrees)
