"""Everything that an analysis of a case must say."""

import math
from collections import defaultdict

import numpy as np
from scipy import stats

from covariates import adjusted
from comparing import Score, both_sides, holm, look, merge, ratio, score_tables, split_p, weights, welch
from data import Cell, aborted, failed, generate, values
from over_time import series
from posteriors import best_beta, best_normal
from quantiles import Quantiles, group
from segments import segments

PHASES = ["one", "two"]
TOLERANCE = 5000  # how far the clock of the outcomes may be behind
FEW = "; undefined: too few events (each variant needs 5, observed or expected)"


def analyze(case):
    """Everything that an analysis must say."""
    phased, units = case["phased"], case["units"]
    requests, by_request, by_unit, before = generate(case["seed"], case["count"], overlap=case["overlap"], phased=phased,
                                                     late=case["late"], covariate=case["covariate"])
    fill = np.mean(list(before.values())) if before else None
    strata = PHASES if phased else [None]
    stratum_of = (lambda r: r["period"]) if phased else (lambda r: 0)
    weights_of = case["weights"]
    cells = defaultdict(dict)
    for r in requests:
        cell = cells[r["unit"]].setdefault(stratum_of(r), Cell(stratum_of(r)))
        cell.requests.append(r)
    first = {unit: min(own.values(), key=lambda c: (c.first, c.stratum)) for unit, own in cells.items()}
    outcome = {}
    if case["outcomes"] == "request":
        outcome = {name: dict(accuracy=correct, score=score, time=time) for name, correct, score, time, _ in by_request}
        for own in cells.values():
            for cell in own.values():
                cell.columns = [outcome[r["name"]] for r in cell.requests if r["name"] in outcome]
    # Outcomes count for a time from the unit's first request in the phase.
    attribution = case["attribution"]
    is_late = lambda cell, time: attribution is not None and time is not None and time >= cell.first + attribution
    counts = dict(matched=len(before), unmatched=0, early=0, late=0, untimed=0)
    unknown = set()
    if case["outcomes"] == "request":
        for own in cells.values():
            for cell in own.values():
                kept = [row for row in cell.columns if not is_late(cell, row["time"])]
                counts["late"] += len(cell.columns) - len(kept)
                cell.columns = kept
    if case["outcomes"] == "unit":
        # With times, a unit may have outcomes in each of its phases; without, in its first one only.
        timed = any(time is not None for _, time, *_ in by_unit)
        for unit, own in cells.items():
            for cell in own.values() if timed else [first[unit]]:
                cell.columns = []
        for unit, time, converted, basket, _ in by_unit:
            if unit not in first:
                counts["unmatched"] += 1
            elif time is not None and time + TOLERANCE < first[unit].first:
                counts["early"] += 1
            else:
                counts["matched"] += 1
                begun = [c for c in cells[unit].values() if time is None or c.first <= time]
                late = max(begun, key=lambda c: (c.first, c.stratum), default=first[unit])
                cell = first[unit] if time is None else late
                if attribution is not None and time is None:
                    # It may be from within the window or not.
                    counts["untimed"] += 1
                    unknown.add(unit)
                elif is_late(cell, time):
                    counts["late"] += 1
                else:
                    cell.columns.append(dict(converted=converted, basket=basket))
    span = min(r["time"] for r in requests), max(r["time"] for r in requests)
    open_units = [0, 0, 0]
    if attribution is not None:
        times = sorted(t for t in ([row[3] for row in by_request] if case["outcomes"] == "request" else [row[1] for row in by_unit]) if t)
        # One time in a thousand may be stray; the log ends to the minute.
        stray = lambda n: 0 if n < 100 else -(-n // 1000)
        minute = sorted(r["time"] // 60_000 for r in requests)[-1 - stray(len(requests))]
        known = min(span[1], (minute + 1) * 60_000, times[-1 - stray(len(times))])
        for unit, own in cells.items():
            if first[unit].first + attribution > known:
                open_units[first[unit].arm] += 1
            for cell in own.values():
                if unit in unknown or cell.first + attribution > known:
                    cell.columns = None
        ends = [cell.first + attribution for own in cells.values() for cell in own.values()]
        counts["closes"] = max(ends)
    case = dict(case, metrics=[dict(m) for m in case["metrics"]])
    capped = {}
    for m in case["metrics"]:
        if m["name"] not in case["cap"]:
            continue
        # Of all units in all phases: the smallest value that so many do not exceed.
        mine = [(cell.arm, values(m, cell)) for own in cells.values() for cell in own.values()]
        mine = [(arm, v[0]) for arm, v in mine if v is not None]
        ppm = round(float(case["cap"][m["name"]].rstrip("%")) * 10_000)
        cap = sorted(y for _, y in mine)[-(-len(mine) * ppm // 1_000_000) - 1]
        m["cap"] = cap
        capped[m["name"]] = dict(value=cap, units=[sum(a == arm and y > cap for a, y in mine) for arm in range(3)])
    slot = lambda s, a: [r for r in requests if stratum_of(r) == s and r["arm"] == a]
    in_slot = lambda s, a: [(u, own[s]) for u, own in cells.items() if s in own and own[s].arm == a]
    firsts = [[sum(c.stratum == s and c.arm == a for c in first.values()) for a in range(3)] for s in range(len(strata))]
    if not units:
        firsts = [[len(slot(s, a)) for a in range(3)] for s in range(len(strata))]
    # A unit whose window is open is not one of the planned ones.
    total = sum(map(sum, firsts)) - sum(open_units)
    planned = case["planned"]
    always = planned is None or not planned <= total <= planned + planned // 10

    def compare(metric, candidate):
        """The comparison, both sizes, the posterior's shares, and the comparison within each stratum."""
        plain = compare_plain(metric, candidate)
        if not before or metric["origin"] not in ("basket", "converted"):
            return plain
        pairs = {(s, a): slot_values(metric, s, a) for s in range(len(strata)) for a in (0, candidate)}
        found, sides = adjusted(metric["measure"], pairs, range(len(strata)), candidate, before, fill)
        return dict(found, plain=plain[0], plain_sides=plain[1]), sides, None

    def slot_values(metric, s, a, keep=None):
        found = [(u, values(metric, c)) for u, c in in_slot(s, a) if keep is None or u in keep]
        return {u: v for u, v in found if v is not None}

    def compare_plain(metric, candidate, keep=None):
        measure = metric["measure"]
        if isinstance(measure, float):
            return compare_quantiles(metric, candidate)
        if not units:
            return compare_requests(metric, candidate)
        pairs = {}
        for s in range(len(strata)):
            for a in (0, candidate):
                pairs[s, a] = slot_values(metric, s, a, keep)
        sides = [both_sides(list(pairs[s, 0].values()), list(pairs[s, candidate].values())) for s in range(len(strata))]
        w = weights([(a[2], b[2]) for a, b in sides])
        if not any(w):
            return None, sides, None
        # How far each unit pulls the merged difference, over all of its slots.
        pull = defaultdict(list)
        for s in range(len(strata)):
            for sign, a in ((-1, 0), (1, candidate)):
                if w[s] == 0:
                    continue
                value = ratio(list(pairs[s, a].values()))[0]
                n, x = len(pairs[s, a]), np.mean([x for _, x in pairs[s, a].values()])
                for u, (y, x_u) in pairs[s, a].items():
                    pull[u].append(sign * w[s] * (y - value * x_u) / (x * n))
        cross = sum(sum(p) ** 2 - sum(q * q for q in p) for p in pull.values())
        used = [s for s in range(len(strata)) if w[s] > 0]
        shares = None
        tables = score_tables(metric, {s: [list(pairs[s, a].values()) for a in (0, candidate)] for s in used})
        if tables is not None:
            if len(used) == 1:
                shares = tables[0][1:]
            plain = [[ratio(list(pairs[s, a].values()))[1] for a in (0, candidate)] for s in used]
            own = sum(w[s] ** 2 * sum(v) for s, v in zip(used, plain))
            found = Score(tables, 1 + cross / own if own else 1.0).found()
            word = "score test of shares of units" if measure == "proportion" else "score test of shares over units, design effect"
            return dict(found, method=word, within={s: Score([t]).found() for s, t in zip(used, tables)}), sides, shares
        if measure == "mean" and len(used) == 1:
            column = lambda a: [y for y, _ in pairs[used[0], a].values()]
            found, word = welch(column(0), column(candidate))
        else:
            own = merge(sides)["variance"]
            found = merge(sides, own + cross)
            word = "ratio over units, delta method" if measure == "ratio" else "means per unit"
        return dict(found, method=word), sides, shares

    def compare_requests(metric, candidate):
        origin = metric["origin"]

        def side(s, a):
            own = slot(s, a)
            answered = [r for r in own if not aborted(r)]
            if origin in ("errors", "aborts"):
                n = len(answered) if origin == "errors" else len(own)
                x = sum(map(failed if origin == "errors" else aborted, own))
                return (x / n, x / n * (1 - x / n) / n, n), (x, n)
            if origin == "latency":
                column = [r["duration"] / 1000 for r in answered]
            else:
                column = [outcome[r["name"]][origin] for r in own if r["name"] in outcome]
                column = [v for v in column if v is not None]
            return (np.mean(column), np.var(column, ddof=1) / len(column), len(column)), None

        both = [(side(s, 0), side(s, candidate)) for s in range(len(strata))]
        sides = [(a[0], b[0]) for a, b in both]
        if both[0][0][1] is None:
            return dict(merge(sides), method="means per request"), sides, None
        counted = [((a[1][1], b[1][1]), a[1], b[1]) for a, b in both]
        within = {s: Score([t]).found() for s, t in enumerate(counted)}
        found = dict(Score(counted).found(), method="score test of shares of requests", within=within)
        return found, sides, counted[0][1:] if len(counted) == 1 else None

    def compare_quantiles(metric, candidate):
        share, tables = metric["measure"], {}
        for s in range(len(strata)):
            row = []
            for a in (0, candidate):
                latencies = [(r["duration"], group(r, units)) for r in slot(s, a) if not aborted(r)]
                size = sum(1 for _, c in in_slot(s, a) if c.answered) if units else len(latencies)
                row.append((latencies, size))
            if row[0][0] and row[1][0]:
                tables[s] = row
        sides = [((0, 0, tables[s][0][1]), (0, 0, tables[s][1][1])) if s in tables else ((0, 0, 0), (0, 0, 0)) for s in range(len(strata))]
        found = Quantiles(share, list(tables.values())).found()
        within = {s: Quantiles(share, [row]).found() for s, row in tables.items()}
        shown = [(s, (0, 0, one[1]), (0, 0, two[1])) for s, (one, two) in tables.items()]
        method = "score test of quantiles, design effect"
        return dict(found, method=method, within=within, shown=shown), sides, None

    def skewness(metric):
        """By variant: the third moment of the residuals in all phases, in units of their standard deviation."""
        out = []
        for a in range(3):
            residuals = []
            for s in range(len(strata)):
                pairs = [v for v in (values(metric, c) for _, c in in_slot(s, a)) if v is not None]
                if len(pairs) > 1:
                    residuals += [y - ratio(pairs)[0] * x for y, x in pairs]
            r = np.array(residuals)
            out.append((r**3).mean() / (r**2).mean() ** 1.5)
        return out

    means = [m for m in case["metrics"] if m["role"] == "primary" and m["origin"] not in ("accuracy", "errors")
             and m["measure"] in ("mean", "ratio")] if units else []
    want = dict(metrics={}, counts=counts, capped=capped, open=open_units, skewness={m["name"]: skewness(m) for m in means})
    want = dict(want, units=[sum(f[a] for f in firsts) for a in range(3)])
    if units:
        # Each unit once, for the variant of the last phase in which it was seen.
        lasts = [max(own.values(), key=lambda c: (c.first, c.stratum)) for own in cells.values()]
        want["units"] = [sum(c.arm == a for c in lasts) for a in range(3)]
    want["requests"] = [sum(r["arm"] == a for r in requests) for a in range(3)]
    want["elsewhere"] = [sum(r["arm"] == a and r["rescued"] for r in requests) for a in range(3)]
    want["torn"] = 0 if not units else sum(
        any(len({r["arm"] for r in c.requests}) > 1 for c in own.values()) for own in cells.values()
    )
    want["aborted"] = sum(map(aborted, requests))
    want["used"] = len(requests) - want["aborted"]
    splits = [[(n, w) for n, w in zip(f, weights_of[s]) if w > 0] for s, f in enumerate(firsts)]
    chi = [stats.chisquare([n for n, _ in split], [sum(n for n, _ in split) * w for _, w in split]) for split in splits]
    want["srm"] = dict(statistic=sum(c.statistic for c in chi), df=sum(len(split) - 1 for split in splits), p=split_p(splits),
                       phases=[split_p([split]) for split in splits])
    seen = {}
    for metric in case["metrics"]:
        for candidate in (1, 2):
            found, sides, shares = compare(metric, candidate)
            sizes = [sum(side[i][2] for side in sides) for i in (0, 1)]
            under = look(found, sum(sizes), planned or 10_000) if always else found
            if metric["origin"] == "latency" and under["lift_ci"] is not None and under["lift_ci"][0] < -1:
                # Times are not negative.
                under = dict(under, lift_ci=(-1.0, under["lift_ci"][1]))
            within = [(s, a, b) for s, (a, b) in enumerate(sides) if a[2] and b[2]]
            phases = []
            shown = found.get("shown", within)
            for s, a, b in shown:
                own = found["within"][s] if "within" in found else merge([(a, b)])
                n, ci = a[2] + b[2], own["ci"]
                if always:
                    # An always-valid interval begins with a hundred units.
                    ci = look(own, n, planned or 10_000)["ci"] if n >= 100 else None
                phases.append(dict(phase=strata[s], n=[a[2], b[2]], diff=own["difference"], ci=ci and list(ci)))
            seen[metric["name"], candidate] = dict(
                n=sizes, values=found["values"], diff=found["difference"], ci=under["ci"], lift=found["lift"],
                lift_ci=under["lift_ci"], p=under["p"], phases=phases if len(shown) > 1 else [],
                variance=found["variance"], variances=found["variances"], shares=shares, statistic=found["statistic"], df=found["df"],
                adjustment=adjustment(found, planned, always),
                method=found["method"] + merged(len(within)) + ("" if found["p"] is not None else FEW),
            )
    found_by = {}
    for name in case["segments"]:
        found_by[name] = {u: (None, 0) for u in cells}
        if name in ("country", "city"):
            rows = [(r["unit"], r["time"], r["line"], r[name]) for r in requests]
        elif name == "device":
            devices = {row[0]: row[4] for row in by_request}
            rows = [(r["unit"], r["time"], r["line"], devices.get(r["name"])) for r in requests]
        else:
            rows = [(unit, time or 0, row, tier) for row, (unit, time, _, _, tier) in enumerate(by_unit)]
        for unit, time, _, value in sorted((row for row in rows if row[3] and row[0] in cells), key=lambda row: row[:3], reverse=True):
            found_by[name][unit] = (value, time)
    if case["segments"]:
        within = lambda metric, candidate, keep: compare_plain(metric, candidate, keep)[:2]
        want["segments"] = segments(case, found_by, first, weights_of, strata, within, seen, planned, always)
    for role, adjust in (("primary", holm), ("exploratory", stats.false_discovery_control)):
        own = [(m["name"], c) for m in case["metrics"] if m["role"] == role for c in (1, 2)]
        own = [key for key in own if seen[key]["p"] is not None]
        for key, p in zip(own, adjust([seen[key]["p"] for key in own])):
            seen[key]["p_adjusted"] = float(p)
    for metric in case["metrics"]:
        name, lowest = metric["name"], metric["goal"] == "decrease"
        one, two = seen[name, 1], seen[name, 2]
        if one["shares"] is not None:
            found = best_beta([one["shares"][0], one["shares"][1], two["shares"][1]], lowest)
        else:
            # Each arm has its own error; the baseline's is the smaller one of both comparisons, the rest is the candidates'.
            shared = min(one["variances"][0], two["variances"][0])
            arms = [(0.0, math.sqrt(shared))] + [(f["diff"], math.sqrt(f["variance"] - shared)) for f in (one, two)]
            found = best_normal(arms, lowest)
        # The width of a quantile's interval tells no error if there are few requests.
        unknown = name.startswith("latency_p") and any(f["method"].endswith(FEW) for f in (one, two))
        for f, (p, loss) in zip((one, two), found[1:]):
            f["p_best"], f["loss"] = (None, None) if unknown else (p, loss)
            del f["variance"], f["variances"], f["shares"]
        want["metrics"][name] = dict(role=metric["role"], candidates=[one, two])
    want["series"] = series(case, span, first, strata, weights_of, always, planned or 10_000, in_slot, slot, units)
    return want


def adjustment(found, planned, always):
    """What there is without covariates, beside what they explain."""
    if "plain" not in found:
        return None
    plain, sides = found["plain"], found["plain_sides"]
    n = sum(side[i][2] for side in sides for i in (0, 1))
    under = look(plain, n, planned or 10_000) if always else plain
    return dict(theta=dict(pre=found["theta"]), variance_reduction=1 - found["variance"] / plain["variance"],
                diff=plain["difference"], ci=under["ci"], relative_lift=plain["lift"], relative_lift_ci=under["lift_ci"],
                p_value=under["p"])


def merged(strata):
    return f", {strata} phases compared separately and merged" if strata > 1 else ""
