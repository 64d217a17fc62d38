#!/usr/bin/env python3
"""Writes days.json: effects by day, by days since the first request, and their trend, of a log of twelve days.

tests/days.rs generates the same log from the same random numbers. The variance of the trend is that of each unit's whole
influence on the slope, so a unit that comes every day is one unit.

    .tools/reference/bin/python analysis/reference/days.py
"""

import json
import math
import pathlib

from comparing import Score, events, look, ratio
from data import Random

DAYS, UNITS, PLANNED, FEWEST = 12, 900, 1000, 10


def generate():
    """Rows (unit, arm, day, failed, correct), by unit and day."""
    random, rows = Random(77), []
    for unit in range(UNITS):
        arm = 1 if random.below(100) < 40 else 0
        joined = random.below(DAYS - 4)
        for day in range(joined, DAYS):
            count = 1 + random.below(2) if day == joined or random.below(100) < 45 else 0
            for _ in range(count):
                failed = 1 if random.below(100) < 12 + 4 * arm else 0
                # The effect of the candidate wears off.
                luck = 55 + unit % 20 + (30 - 5 * min(day - joined, 6) if arm else 0)
                correct = 1 if random.below(100) < luck else 0
                rows.append((unit, arm, day, failed, correct))
    return rows


def effects(groups):
    out = []
    for day in sorted(groups):
        one, two = ([list(v) for v in groups[day][arm].values()] for arm in (0, 1))
        if min(len(one), len(two)) < 2:
            continue
        found = Score([events(one, two)]).found()
        out.append(dict(day=day, n=[len(one), len(two)], diff=found["difference"], ci=list(found["ci"])))
    return out


def trend(groups):
    days = []
    for day in sorted(groups):
        sides = [list(groups[day][arm].values()) for arm in (0, 1)]
        n = [len(side) for side in sides]
        if min(n) >= FEWEST:
            days.append((day, n[0] * n[1] / sum(n), [ratio(side) for side in sides]))
    center = sum(w * day for day, w, _ in days) / sum(w for _, w, _ in days)
    spread = sum(w * (day - center) ** 2 for day, w, _ in days)
    slope, diagonal, influence = 0.0, 0.0, {}
    for day, w, (low, high) in days:
        lever = w * (day - center) / spread
        slope += lever * (high[0] - low[0])
        diagonal += lever**2 * (low[1] + high[1])
        for sign, arm, (value, _) in ((-1, 0, low), (1, 1, high)):
            own = groups[day][arm]
            x = sum(x for _, x in own.values())
            for unit, (y, x_u) in own.items():
                influence.setdefault(unit, []).append(sign * lever * (y - value * x_u) / x)
    cross = sum(sum(parts) ** 2 - sum(p * p for p in parts) for parts in influence.values())
    return slope, diagonal + cross


def main():
    rows = generate()
    joined, arms = {}, {}
    for unit, arm, day, *_ in rows:
        joined[unit] = min(joined.get(unit, day), day)
        arms[unit] = arm
    want = {}
    for name, at in (("error_rate", 3), ("accuracy", 4)):
        by_day, since = {}, {}
        for row in rows:
            unit, arm, day = row[:3]
            for groups, key in ((by_day, day), (since, day - joined[unit])):
                pair = groups.setdefault(key, ({}, {}))[arm].setdefault(unit, [0, 0])
                pair[0] += row[at]
                pair[1] += 1
        slope, variance = trend(since)
        z = slope / math.sqrt(variance)
        seen = look(dict(difference=slope, variance=variance, statistic=z, critical=1.0, lift_ci=None), len(joined), PLANNED)
        want[name] = dict(days=effects(by_day), since=effects(since), slope=slope, statistic=z, p=seen["p"], ci=list(seen["ci"]))
    path = pathlib.Path(__file__).with_name("days.json")
    path.write_text(json.dumps(want) + "\n")


main()
