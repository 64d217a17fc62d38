"""The logs and outcomes of a case, and what each unit has of a metric."""

import math

START = 1795424400000  # 2026-11-23T09:00:00Z
HOUR = 3_600_000


class Random:
    """A linear congruential generator (Knuth's MMIX), so that both languages have the same numbers."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % limit




def country(unit, period, number):
    """Of a request; some units move, and some are unknown."""
    if unit % 13 == 3 and (period, number) != (0, 0):
        return "FR"
    return ["DE", "DE", "FR", "DE", "US", None, "FR", "DE", "US", "DE", "FR"][unit % 11]


def generate(seed, units, *, overlap, phased, late, covariate):
    """Requests in the order of the log, outcomes by request, outcomes by unit, and what was known of units before."""
    random = Random(seed)
    requests, by_request, by_unit, before = [], [], [], {}
    for unit in range(units):
        draw = random.below(100)
        one = 1 if draw < 20 else 2 if draw < 30 and not late else 0
        draw = random.below(100)
        two = one
        if phased and one == 0:
            two = 1 if draw < 15 else 2 if draw < 40 else 0
        presence = random.below(3)
        if presence == 2 and not overlap:
            presence = unit % 2
        counts = [1 + random.below(4), 1 + random.below(4)]
        luck = random.below(40)
        for period, arm in enumerate([one, two]):
            count = counts[period] if presence in (period, 2) else 0
            for number in range(count):
                time = START + period * HOUR + random.below(3600) * 1000 + random.below(1000)
                duration = 5 + luck + random.below(60) + 3 * arm
                if random.below(20) == 0:
                    duration += random.below(4000)
                what = random.below(100)
                status, flags, rescued = 200, "-", False
                if what < 4 + arm:
                    status = 503
                elif what < 9 + arm:
                    status, flags = 0, "DC"
                elif what < 11 + arm:
                    rescued = True
                elif what == 99:
                    status, flags = 0, "UF"
                torn = not late and unit % 89 == 7 and number == count - 1 and count > 1
                seen = (arm + 1) % 3 if torn else arm
                name = f"u{unit}-{period}-{number}"
                requests.append(
                    dict(line=len(requests) + 1, unit=unit, name=name, period=period, arm=seen, time=time, duration=duration,
                         status=status, flags=flags, rescued=rescued, country=country(unit, period, number),
                         city=f"c{unit % 25}")
                )
                if random.below(10) < 8:
                    correct = 1 if random.below(100) < 70 + 5 * arm - luck // 2 else 0
                    score = (random.below(9) + arm) * 0.25
                    score = None if random.below(7) == 0 else score
                    # Labels come up to an hour and a half later.
                    device = ["phone", "desk", ""][(unit + number) % 3]
                    by_request.append((name, correct, score, time + len(by_request) * 37 % 90 * 60_000, device))
        rows = random.below(4)
        for number in range(rows):
            is_timed = random.below(2) == 0
            time = START + random.below(7200) * 1000 if is_timed else None
            converted = 1 if random.below(100) < 25 + 6 * two else 0
            tier = "" if (unit + number) % 4 == 0 else ["free", "pro", "team"][(unit * 7 + number) % 3]
            basket = random.below(40) * 0.5 + two + (luck * 0.5 if covariate else 0.0)
            by_unit.append((unit, time, converted, basket, tier))
        if covariate and random.below(9) > 0:
            before[unit] = luck * 0.25 + random.below(8) * 0.5
        if unit % 50 == 0:
            # Of a unit that is not in the log.
            by_unit.append((unit + 100_000, None, 1, 5.0, "free"))
    return requests, by_request, by_unit, before


def aborted(r):
    return r["status"] == 0 and r["flags"] == "DC"


def failed(r):
    return r["rescued"] or (not aborted(r) and (r["status"] == 0 or r["status"] >= 500))




class Cell:
    """A unit in a stratum."""

    def __init__(self, stratum):
        self.stratum, self.requests, self.columns = stratum, [], None

    @property
    def first(self):
        return min(r["time"] for r in self.requests)

    @property
    def arm(self):
        return min(self.requests, key=lambda r: r["time"])["arm"]

    @property
    def answered(self):
        return [r for r in self.requests if not aborted(r)]


def values(metric, cell):
    """A unit's numerator and denominator in a metric; None: it does not count."""
    origin, measure = metric["origin"], metric["measure"]
    answered = cell.answered
    if origin == "errors":
        y, x = sum(map(failed, cell.requests)), len(answered)
    elif origin == "aborts":
        y, x = sum(map(aborted, cell.requests)), len(cell.requests)
    elif origin == "latency":
        y, x = sum(r["duration"] for r in answered) / 1000, len(answered)
    else:
        if cell.columns is None:
            return None
        column = [row[origin] for row in cell.columns if row[origin] is not None]
        if origin == "accuracy" and not column:
            # Without a label, it is unknown whether the prediction was right.
            return None
        y = min(sum(column), metric.get("cap", math.inf))
        x = {"ratio": len(column), "mean": 1, "proportion": 1}[measure]
        if measure == "proportion":
            y = 1.0 if y > 0 else 0.0
    return (y, x) if x > 0 else None
