"""The series of the plots: the lift as units joined, the split, and how latencies are distributed."""

from comparing import Score, both_sides, look, merge, score_tables
from data import aborted, values
from quantiles import bounds

MOMENTS = 48


def series(case, span, first, strata, weights_of, always, planned, in_slot, slot, units):
    """The lift as units joined, the split, and how latencies are distributed."""
    length = span[1] - span[0]
    moment = lambda time: min((time - span[0]) * MOMENTS // (length + 1), MOMENTS - 1)
    end = lambda index: span[0] + length // MOMENTS * (index + 1)
    drawn = next(m for m in case["metrics"] if m["role"] == "primary" and not isinstance(m["measure"], float))
    lift, split = [], []
    for candidate in (1, 2):
        points = []
        for index in range(MOMENTS if units else 0):
            sides, arms = [], {}
            for s in range(len(strata)):
                row = []
                for a in (0, candidate):
                    joined = [(u, c) for u, c in in_slot(s, a) if moment(first[u].first) <= index]
                    row.append([v for v in (values(drawn, c) for _, c in joined) if v is not None])
                sides.append(both_sides(*row))
                if min(map(len, row)) > 1:
                    arms[s] = row
            if any(a[2] and b[2] for a, b in sides):
                tables = score_tables(drawn, arms)
                found = merge(sides) if tables is None else Score(tables).found()
                if always:
                    n = sum(side[2] for row in sides for side in row)
                    ok = n >= 100 and (found["variance"] > 0 or tables is not None)
                    found["ci"] = look(found, n, planned)["ci"] if ok else None
                points.append([end(index), found["difference"], found["ci"]])
        lift.append(points)
        shown = []
        for index in range(MOMENTS if units else 0):
            # Of the last phase that has begun: all units that were seen in it so far.
            for s in reversed(range(len(strata))):
                seen = [[c for _, c in in_slot(s, a) if moment(c.first) <= index] for a in range(3)]
                if any(seen):
                    shown.append([end(index), len(seen[candidate]) / sum(map(len, seen)), weights_of[s][candidate]])
                    break
        split.append(shown)
    latencies = []
    for a in range(3 if case["plots_latencies"] else 0):
        own = [r["duration"] for s in range(len(strata)) for r in slot(s, a) if not aborted(r)]
        edges = sorted({bounds(ms)[1] for ms in own})
        latencies.append([[edge, sum(bounds(ms)[1] <= edge for ms in own) / len(own)] for edge in edges])
    return dict(lift=lift, split=split, latencies=latencies)
