#!/usr/bin/env python3
"""Writes values.json: what analyses of generated logs must come to, computed without a line of the Rust code.

The formulas are those of docs/statistics.md and docs/analysis.md, on lists of units instead of running sums: variances
from residuals, quantiles from sorted latencies, integrals by SciPy. tests/reference.rs generates the same logs from the
same random numbers and compares every figure.

    python3 -m venv .tools/reference
    .tools/reference/bin/pip install -r stats/reference/requirements.txt
    .tools/reference/bin/python analysis/reference/make.py

Only for renewing the values; the tests read the file.
"""

import hashlib
import json
import math
import pathlib
from collections import defaultdict

import numpy as np
from scipy import integrate, optimize, stats

ALPHA = 0.05
Z = stats.norm.isf(ALPHA / 2)
ARMS = ["b", "c", "d"]
PHASES = ["one", "two"]
START = 1795424400000  # 2026-11-23T09:00:00Z
HOUR = 3_600_000
TOLERANCE = 5000  # how far the clock of the outcomes may be behind
GROUPS = 100
FEW = "; undefined: too few events (each variant needs 5, observed or expected)"
MOMENTS = 48


class Random:
    """A linear congruential generator (Knuth's MMIX), so that both languages have the same numbers."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % limit


# ---- the data --------------------------------------------------------------------------------------------------------


def generate(seed, units, *, overlap, phased, late):
    """Requests in the order of the log, outcomes by request, and outcomes by unit."""
    random = Random(seed)
    requests, by_request, by_unit = [], [], []
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
                         status=status, flags=flags, rescued=rescued)
                )
                if random.below(10) < 8:
                    correct = 1 if random.below(100) < 70 + 5 * arm - luck // 2 else 0
                    score = (random.below(9) + arm) * 0.25
                    score = None if random.below(7) == 0 else score
                    # Labels come up to an hour and a half later.
                    by_request.append((name, correct, score, time + len(by_request) * 37 % 90 * 60_000))
        rows = random.below(4)
        for _ in range(rows):
            is_timed = random.below(2) == 0
            time = START + random.below(7200) * 1000 if is_timed else None
            converted = 1 if random.below(100) < 25 + 6 * two else 0
            by_unit.append((unit, time, converted, random.below(40) * 0.5 + two))
        if unit % 50 == 0:
            # Of a unit that is not in the log.
            by_unit.append((unit + 100_000, None, 1, 5.0))
    return requests, by_request, by_unit


def aborted(r):
    return r["status"] == 0 and r["flags"] == "DC"


def failed(r):
    return r["rescued"] or (not aborted(r) and (r["status"] == 0 or r["status"] >= 500))


# ---- units and their values ------------------------------------------------------------------------------------------


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


# ---- comparisons -----------------------------------------------------------------------------------------------------


def ratio(pairs):
    """The ratio of sums with the variance of its error, from the residuals; None below two units."""
    if len(pairs) < 2:
        return None
    y, x = np.array(pairs, dtype=float).T
    value = y.sum() / x.sum()
    residuals = y - value * x
    return value, (residuals**2).sum() / (len(y) - 1) / len(y) / x.mean() ** 2


def both_sides(one, two):
    """Both arms' ratios, with variances not below what both arms' residuals together say; and their sizes."""
    found = [ratio(one), ratio(two)]
    floor = [0.0, 0.0]
    if None not in found:
        n, x = [len(one), len(two)], [np.mean([x for _, x in arm]) for arm in (one, two)]
        spread = sum(f[1] * n * x**2 * (n - 1) for f, n, x in zip(found, n, x)) / (sum(n) - 2)
        floor = [spread / (n * x**2) for n, x in zip(n, x)]
    side = lambda arm, f, floor: (f[0], max(f[1], floor), len(arm)) if f else (0.0, 0.0, 0)
    return side(one, found[0], floor[0]), side(two, found[1], floor[1])


def score_tables(metric, arms):
    """The tables of a metric whose values are shares, from lists of pairs by stratum; else None."""
    if metric["measure"] == "proportion":
        tally = lambda pairs: (sum(y for y, _ in pairs), len(pairs))
        return [((len(a), len(b)), tally(a), tally(b)) for a, b in arms.values()]
    if metric["measure"] == "ratio" and (metric["name"] == "accuracy" or metric["origin"] in ("errors", "aborts")):
        return [events(a, b) for a, b in arms.values()]
    return None


def weights(sizes):
    raw = [a * b / (a + b) if a * b else 0.0 for a, b in sizes]
    return [w / sum(raw) if sum(raw) else 0.0 for w in raw]


def estimate(values, variances, difference, variance, df=None):
    critical = Z if df is None else stats.t.isf(ALPHA / 2, df)
    found = dict(values=values, variances=variances, difference=difference, variance=variance, critical=critical, df=df,
                 ci=None, p=None, lift_ci=None)
    if values[0] != 0:
        found["lift"] = difference / abs(values[0])
    if variance > 0:
        z = found["statistic"] = difference / math.sqrt(variance)
        found["p"] = 2 * stats.norm.sf(abs(z)) if df is None else 2 * stats.t.sf(abs(z), df)
        half = critical * math.sqrt(variance)
        found["ci"] = (difference - half, difference + half)
        if abs(values[0]) > critical * math.sqrt(variances[0]):
            r = values[1] / values[0]
            half = critical * math.sqrt(variances[1] + r * r * variances[0]) / abs(values[0])
            found["lift_ci"] = (found["lift"] - half, found["lift"] + half)
    return found


def merge(sides, variance=None):
    """Strata merged by their sizes; `variance`: of the merged difference, where units are in several strata."""
    w = weights([(a[2], b[2]) for a, b in sides])
    used = [(w, a, b) for w, (a, b) in zip(w, sides) if w > 0]
    means = tuple(sum(w * side[0] for w, side in zip([u[0] for u in used], [u[i] for u in used])) for i in (1, 2))
    own = [sum(u[0] ** 2 * u[i][1] for u in used) for i in (1, 2)]
    apart = sum(own)
    variance = apart if variance is None else max(variance, 0.0)
    stretch = variance / apart if apart else 1.0
    return estimate(means, [v * stretch for v in own], means[1] - means[0], variance)


def unskewed(z, skewness):
    """Wilson and Hilferty's normal score of a skewed one; 0 where the correction is larger than the score."""
    if z == 0 or skewness == 0:
        return z
    # The cube root of 1 + x, less 1, without the digits that a small x would lose.
    root = math.expm1(math.log1p(skewness * z / 2) / 3) if skewness * z > -2 else -1.0
    corrected = 6 / skewness * root + skewness / 6
    return corrected if corrected * z > 0 else 0.0


def likeliest(x1, n1, x2, n2, delta):
    """The shares of largest likelihood that differ by delta."""
    low, high = max(0.0, -delta), min(1.0, 1 - delta)
    # The slope of the likelihood without its denominators, which are positive within.
    slope = lambda p: -(n1 * p - x1) * (p + delta) * (1 - p - delta) - (n2 * (p + delta) - x2) * p * (1 - p)
    if delta == 0:
        p = (x1 + x2) / (n1 + n2)
        return p, p
    inside = lambda p: low + (high - low) * p
    p = inside(optimize.brentq(lambda p: slope(inside(p)), 1e-15, 1 - 1e-15, xtol=1e-18, rtol=1e-15))
    return p, p + delta


class Score:
    """Shares in strata: (units, units), (events, trials), (events, trials); the score test and its intervals."""

    def __init__(self, tables, stretch=1.0):
        size = [a * b / (a + b) for (a, b), _, _ in tables]
        self.tables = [(s / sum(size), *one, *two) for s, (_, one, two) in zip(size, tables)]
        self.stretch = max(stretch, 0.1)
        self.values = tuple(sum(t[0] * t[i] / t[i + 1] for t in self.tables) for i in (1, 3))
        self.difference = sum(w * (x2 / n2 - x1 / n1) for w, x1, n1, x2, n2 in self.tables)
        share = lambda x, n: x / n * (1 - x / n) / n
        own = [sum(t[0] ** 2 * share(t[i], t[i + 1]) for t in self.tables) for i in (1, 3)]
        self.variances = [v * self.stretch for v in own]

    def statistic(self, delta):
        apart, third, step = 0.0, 0.0, 0.0
        for w, x1, n1, x2, n2 in self.tables:
            p1, p2 = likeliest(x1, n1, x2, n2, delta)
            v1, v2 = p1 * (1 - p1) / n1, p2 * (1 - p2) / n2
            apart += w * w * (v1 + v2)
            third += w**3 * (v2 * (1 - 2 * p2) / n2 - v1 * (1 - 2 * p1) / n1)
            step += w * w * (1 / n1 + 1 / n2)
        variance = apart * self.stretch
        distance = self.difference - delta
        distance = math.copysign(max(abs(distance) - step / 4, 0), distance)
        return unskewed(distance / math.sqrt(variance), third / variance**1.5)

    def interval(self, z):
        end = lambda low, high, sign: optimize.brentq(lambda d: self.statistic(d) - sign * z, low, high, xtol=1e-16, rtol=1e-15)
        return end(-1 + 1e-12, self.difference, 1), end(self.difference, 1 - 1e-12, -1)

    def lift_interval(self, z):
        ratio = math.log(self.values[1] / self.values[0])
        half = z * math.sqrt(sum(v / m**2 for v, m in zip(self.variances, self.values)))
        return math.exp(ratio - half) - 1, math.exp(ratio + half) - 1

    def found(self):
        z = self.statistic(0.0)
        return dict(values=self.values, variances=tuple(self.variances), difference=self.difference, variance=sum(self.variances), critical=Z, ci=self.interval(Z),
                    p=2 * stats.norm.sf(abs(z)), statistic=z, df=None, lift=self.difference / self.values[0],
                    lift_ci=self.lift_interval(Z), score=self)


def events(one, two):
    """Of two lists of (events, requests) by unit: sizes, and both arms' events and requests by their design effects."""
    one, two = np.array(one, dtype=float), np.array(two, dtype=float)

    def effect(units, share):
        y, x = units.T
        independent = x.sum() * share * (1 - share)
        return max(((y - share * x) ** 2).sum() / independent, 1.0) if independent > 0 else 1.0

    share = lambda units: units[:, 0].sum() / units[:, 1].sum()
    both = np.concatenate([one, two])
    together = effect(both, share(both))
    own = [max(together, effect(units, share(units))) for units in (one, two)]
    return (len(one), len(two)), *[tuple(units.sum(axis=0) / d) for units, d in zip((one, two), own)]


def welch(a, b):
    a, b = np.array(a), np.array(b)
    v = [a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)]
    df = sum(v) ** 2 / (v[0] ** 2 / (len(a) - 1) + v[1] ** 2 / (len(b) - 1))
    test = stats.ttest_ind(b, a, equal_var=False)
    # The common variance, where it makes the larger error.
    common = (((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()) / (len(a) + len(b) - 2)
    pooled = common * (1 / len(a) + 1 / len(b)) > sum(v) * (1 + 1e-12)
    if pooled:
        v, df = [common / len(a), common / len(b)], len(a) + len(b) - 2
        test = stats.ttest_ind(b, a, equal_var=True)
    found = estimate((a.mean(), b.mean()), v, b.mean() - a.mean(), sum(v), float(df))
    assert abs(found["p"] - test.pvalue) < 1e-9 * test.pvalue
    return found, "t test of means per unit with the common variance" if pooled else "Welch's t test of means per unit"


# ---- latency quantiles -----------------------------------------------------------------------------------------------


def bounds(ms):
    """The bin of a latency: a millisecond below 1024, a 64th of an octave above."""
    if ms < 1024:
        return float(ms), float(ms + 1)
    octave = 2.0 ** math.floor(math.log2(ms))
    step = math.floor((ms / octave - 1) * 64)
    return octave * (1 + step / 64), octave * (1 + (step + 1) / 64)


def quantile(latencies, share):
    bins = defaultdict(int)
    for ms in latencies:
        bins[bounds(ms)] += 1
    rank = share * len(latencies)
    for (low, high), count in sorted(bins.items()):
        if rank <= count:
            return (low + (high - low) * rank / count) / 1000
        rank -= count


def group(r, units):
    """The group of the jackknife: by a hash of the unit, without units by one of the line's number."""
    key = r["line"] * 0x9E3779B97F4A7C15 % 2**64
    if units:
        key = int.from_bytes(hashlib.sha256(f"u{r['unit']}".encode()).digest()[:8], "big")
    rotated = ((key << 32) | (key >> 32)) % 2**64
    return rotated * GROUPS >> 64


def share_below(latencies, ms):
    """By group: requests below a latency, and all; within a bin, latencies are spread evenly."""
    below, all_ = np.zeros(GROUPS), np.zeros(GROUPS)
    for latency, g in latencies:
        low, high = bounds(latency)
        below[g] += min(max((ms - low) / (high - low), 0.0), 1.0)
        all_[g] += 1
    return below, all_


class Quantiles:
    """A quantile of two arms: [(latencies with groups, units), (latencies with groups, units)] by stratum."""

    def __init__(self, share, tables):
        self.share, self.arms, events_of = share, [], []
        sizes = [(a[1], b[1]) for a, b in tables]
        self.weights = weights(sizes)
        for a, b in tables:
            common = 1000 * quantile([ms for ms, _ in a[0] + b[0]], share)
            above = []
            for latencies, _ in (a, b):
                below, all_ = share_below(latencies, common)
                above.append(list(zip(all_ - below, all_)))
            events_of.append(above)
            row = []
            for latencies, _ in (a, b):
                ms = [m for m, _ in latencies]
                below, all_ = share_below(latencies, 1000 * quantile(ms, share))
                residuals = (below - share * all_) / len(ms)
                plain = share * (1 - share) / len(ms)
                row.append([ms, residuals, plain, max((residuals**2).sum() / plain, 1.0)])
            n = [len(arm[0]) for arm in row]
            common = sum(arm[3] * n for arm, n in zip(row, n)) / sum(n)
            self.arms.append([(ms, residuals, math.sqrt(max(own, common) * plain)) for ms, residuals, plain, own in row])
        self.stretch = 1.0
        pulls = []
        for w, row in zip(self.weights, self.arms):
            pull = np.zeros(GROUPS)
            for sign, arm in zip((-1, 1), row):
                half = self.half(arm)
                pull += sign * w * half / (Z * arm[2]) * arm[1]
            pulls.append(pull)
        apart = sum(p @ p for p in pulls)
        cross = sum(pulls) @ sum(pulls) - apart
        self.stretch = max(1 + cross / apart, 1.0) if apart else 1.0
        tables = [(size, *events(*above)[1:]) for size, above in zip(sizes, events_of)]
        self.score = Score(tables, self.stretch)

    def is_bounded(self):
        """Whether the requests of both arms bound the quantile at four standard errors, in each stratum."""
        errors = [arm[2] for row in self.arms for arm in row]
        return all(0 < self.share - 4 * error and self.share + 4 * error < 1 for error in errors)

    def reach(self, arm, z):
        ms, _, error = arm
        value, low, high = quantile(ms, self.share), self.share - z * error, self.share + z * error
        return value, value - quantile(ms, max(low, 0.0)), quantile(ms, high) - value if high < 1 else math.inf

    def half(self, arm):
        _, below, above = self.reach(arm, Z)
        return (below + above) / 2 if math.isfinite(above) else below

    def reaches(self, z):
        out = []
        for i in (0, 1):
            found = [(w, *self.reach(row[i], z)) for w, row in zip(self.weights, self.arms)]
            scale = math.sqrt(self.stretch)
            out.append((sum(w * v for w, v, _, _ in found), *[scale * math.hypot(*[f[0] * f[k] for f in found]) for k in (2, 3)]))
        return out

    def interval(self, z):
        (a, below_a, above_a), (b, below_b, above_b) = self.reaches(z)
        low, high = b - a - math.hypot(below_b, above_a), b - a + math.hypot(above_b, below_a)
        return low if math.isfinite(low) else None, high if math.isfinite(high) else None

    def lift_interval(self, z):
        (a, below_a, above_a), (b, below_b, above_b) = self.reaches(z)
        down = lambda value, below: -math.log(max(value - below, 0) / value) if below < value else math.inf
        up = lambda value, above: math.log((value + above) / value)
        center = math.log(b / a)
        low, high = center - math.hypot(down(b, below_b), up(a, above_a)), center + math.hypot(up(b, above_b), down(a, below_a))
        return math.exp(low) - 1 if math.isfinite(low) else -1.0, math.exp(high) - 1 if math.isfinite(high) else None

    def found(self):
        (a, below_a, above_a), (b, below_b, above_b) = self.reaches(Z)
        half = lambda below, above: (below + above) / 2 if math.isfinite(above) else below
        variances = [(half(*r) / Z) ** 2 for r in ((below_a, above_a), (below_b, above_b))]
        z, enough = self.score.statistic(0.0), self.enough()
        return dict(values=(a, b), variances=tuple(variances), difference=b - a, variance=sum(variances), critical=Z,
                    ci=self.interval(Z), p=2 * stats.norm.sf(abs(z)) if enough else None, statistic=z if enough else None, df=None,
                    lift=(b - a) / a, lift_ci=self.lift_interval(Z), score=self)

    def enough(self):
        """Whether each arm has, or should have, five requests above the quantile of both, and five below."""
        for count in (lambda x, n: x, lambda x, n: n - x):
            for i in (1, 3):
                observed = sum(count(t[i], t[i + 1]) for t in self.score.tables)
                expected = sum((count(*t[1:3]) + count(*t[3:5])) * t[i + 1] / (t[2] + t[4]) for t in self.score.tables)
                if max(observed, expected) < 5:
                    return False
        return True


# ---- posteriors ------------------------------------------------------------------------------------------------------


def best(densities, uppers, lowers, lowest, low, high, points):
    """By quadrature, for each arm: the probability that it is the best, and what choosing it costs on average."""
    out = []
    quad = lambda f: integrate.quad(f, low, high, points=points, limit=2000, epsabs=1e-13, epsrel=1e-12)[0]
    for own in range(len(densities)):
        others = [i for i in range(len(densities)) if i != own]
        worse = uppers if lowest else lowers
        p = quad(lambda x: densities[own](x) * math.prod(worse[i](x) for i in others))
        loss = quad(lambda x: worse[own](x) * (1 - math.prod(worse[i](x) for i in others)))
        out.append((p, loss))
    return out


def best_normal(arms, lowest):
    laws = [stats.norm(m, s) for m, s in arms]
    low, high = min(m - 9 * s for m, s in arms), max(m + 9 * s for m, s in arms)
    points = sorted(m for m, _ in arms)
    return best([l.pdf for l in laws], [l.sf for l in laws], [l.cdf for l in laws], lowest, low, high, points)


def best_beta(shares, lowest):
    laws = [stats.beta(1 + x, 1 + n - x) for x, n in shares]
    points = sorted((x + 1) / (n + 2) for x, n in shares)
    return best([l.pdf for l in laws], [l.sf for l in laws], [l.cdf for l in laws], lowest, 0, 1, points)


# ---- an analysis -----------------------------------------------------------------------------------------------------


def look(found, units, planned):
    """The interval, its lift and the p-value under an always-valid look."""
    twice = -2 * math.log(ALPHA)
    r = units / planned * (twice + math.log(twice + 1))
    bound = math.sqrt((r + 1) / r * (math.log(r + 1) + twice))
    half = bound * math.sqrt(found["variance"])
    d = found["difference"]
    z = found["statistic"]
    p = None if z is None else min(1, math.sqrt(r + 1) * math.exp(-z * z * r / (2 * (r + 1))))
    if "score" in found:
        return dict(found, ci=found["score"].interval(bound), lift_ci=found["score"].lift_interval(bound), p=p)
    factor = bound / found["critical"]
    lift = found["lift_ci"]
    if lift is not None:
        center = found["lift"]
        lift = (center - (center - lift[0]) * factor, center + (lift[1] - center) * factor)
    return dict(found, ci=(d - half, d + half), lift_ci=lift, p=p)


def holm(p):
    order = sorted(range(len(p)), key=lambda i: p[i])
    out, largest = [None] * len(p), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1, p[i] * (len(p) - rank)))
        out[i] = largest
    return out


def analyze(case):
    """Everything that an analysis must say."""
    phased, units = case["phased"], case["units"]
    requests, by_request, by_unit = generate(case["seed"], case["count"], overlap=case["overlap"], phased=phased,
                                               late=case["late"])
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
        outcome = {name: dict(accuracy=correct, score=score, time=time) for name, correct, score, time in by_request}
        for own in cells.values():
            for cell in own.values():
                cell.columns = [outcome[r["name"]] for r in cell.requests if r["name"] in outcome]
    # Outcomes count for a time from the unit's first request in the phase.
    attribution = case["attribution"]
    is_late = lambda cell, time: attribution is not None and time is not None and time >= cell.first + attribution
    counts = dict(matched=0, unmatched=0, early=0, late=0, untimed=0)
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
        for unit, time, converted, basket in by_unit:
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
        last = max(row[3] for row in by_request) if case["outcomes"] == "request" else max(row[1] or 0 for row in by_unit)
        known = min(span[1], last)
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
        measure = metric["measure"]
        if isinstance(measure, float):
            return compare_quantiles(metric, candidate)
        if not units:
            return compare_requests(metric, candidate)
        pairs = {}
        for s in range(len(strata)):
            for a in (0, candidate):
                found = [(u, values(metric, c)) for u, c in in_slot(s, a)]
                pairs[s, a] = {u: v for u, v in found if v is not None}
        sides = [both_sides(list(pairs[s, 0].values()), list(pairs[s, candidate].values())) for s in range(len(strata))]
        w = weights([(a[2], b[2]) for a, b in sides])
        # How far each unit pulls the merged difference, over all of its slots.
        pull, apart = defaultdict(list), 0.0
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
            if measure == "proportion" and len(used) == 1:
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
        # Strata that are too small to bound the quantile do not count, unless there is no other.
        large = {s: row for s, row in tables.items() if Quantiles(share, [row]).is_bounded()} or tables
        sides = [((0, 0, large[s][0][1]), (0, 0, large[s][1][1])) if s in large else ((0, 0, 0), (0, 0, 0)) for s in range(len(strata))]
        found = Quantiles(share, list(large.values())).found()
        within = {s: Quantiles(share, [row]).found() for s, row in tables.items()}
        shown = [(s, (0, 0, one[1]), (0, 0, two[1])) for s, (one, two) in tables.items()]
        method = "quantiles, order statistics and design effect"
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
    want["requests"] = [sum(r["arm"] == a for r in requests) for a in range(3)]
    want["elsewhere"] = [sum(r["arm"] == a and r["rescued"] for r in requests) for a in range(3)]
    want["torn"] = 0 if not units else sum(
        any(len({r["arm"] for r in c.requests}) > 1 for c in own.values()) for own in cells.values()
    )
    want["aborted"] = sum(map(aborted, requests))
    want["used"] = len(requests) - want["aborted"]
    chi, df = [], 0
    for s, f in enumerate(firsts):
        invited = [(n, w) for n, w in zip(f, weights_of[s]) if w > 0]
        chi.append(stats.chisquare([n for n, _ in invited], [sum(f) * w for _, w in invited]))
        df += len(invited) - 1
    statistic = sum(c.statistic for c in chi)
    want["srm"] = dict(statistic=statistic, df=df, p=stats.chi2.sf(statistic, df), phases=[c.pvalue for c in chi])
    seen = {}
    for metric in case["metrics"]:
        for candidate in (1, 2):
            found, sides, shares = compare(metric, candidate)
            sizes = [sum(side[i][2] for side in sides) for i in (0, 1)]
            under = look(found, sum(sizes), planned or 10_000) if always else found
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
                method=found["method"] + merged(len(within)) + ("" if found["p"] is not None else FEW),
            )
    for role, adjust in (("primary", holm), ("exploratory", stats.false_discovery_control)):
        own = [(m["name"], c) for m in case["metrics"] if m["role"] == role for c in (1, 2)]
        own = [key for key in own if seen[key]["p"] is not None]
        for key, p in zip(own, adjust([seen[key]["p"] for key in own])):
            seen[key]["p_adjusted"] = float(p)
    for metric in case["metrics"]:
        name, lowest = metric["name"], metric["goal"] == "decrease"
        one, two = seen[name, 1], seen[name, 2]
        if one["shares"] is not None and metric["measure"] != "mean":
            found = best_beta([one["shares"][0], one["shares"][1], two["shares"][1]], lowest)
        else:
            # Each arm has its own error; the baseline's is the smaller one of both comparisons, the rest is the candidates'.
            shared = min(one["variances"][0], two["variances"][0])
            arms = [(0.0, math.sqrt(shared))] + [(f["diff"], math.sqrt(f["variance"] - shared)) for f in (one, two)]
            found = best_normal(arms, lowest)
        for f, (p, loss) in zip((one, two), found[1:]):
            f["p_best"], f["loss"] = p, loss
            del f["variance"], f["variances"], f["shares"]
        want["metrics"][name] = dict(role=metric["role"], candidates=[one, two])
    want["series"] = series(case, span, first, strata, weights_of, always, planned or 10_000, in_slot, slot, units)
    return want


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
        shown, all_, own, expected = [], 0, 0, 0.0
        for index in range(MOMENTS if units else 0):
            for s in range(len(strata)):
                joined = [c for c in first.values() if c.stratum == s and moment(c.first) == index]
                all_ += len(joined)
                own += sum(c.arm == candidate for c in joined)
                expected += len(joined) * weights_of[s][candidate]
            if all_:
                shown.append([end(index), own / all_, expected / all_])
        split.append(shown)
    latencies = []
    for a in range(3 if case["plots_latencies"] else 0):
        own = [r["duration"] for s in range(len(strata)) for r in slot(s, a) if not aborted(r)]
        edges = sorted({bounds(ms)[1] for ms in own})
        latencies.append([[edge, sum(bounds(ms)[1] <= edge for ms in own) / len(own)] for edge in edges])
    return dict(lift=lift, split=split, latencies=latencies)


def merged(strata):
    return f", {strata} phases compared separately and merged" if strata > 1 else ""


def metric(name, role, origin, measure, goal):
    return dict(name=name, role=role, origin=origin, measure=measure, goal=goal)


BUILT_IN = [
    metric("latency_mean", "exploratory", "latency", "ratio", "decrease"),
    metric("latency_p50", "exploratory", "latency", 0.5, "decrease"),
    metric("latency_p99", "exploratory", "latency", 0.99, "decrease"),
]
GUARDS = [
    metric("abort_rate", "guardrail", "aborts", "ratio", "decrease"),
    metric("error_rate", "guardrail", "errors", "ratio", "decrease"),
    metric("latency_p95", "guardrail", "latency", 0.95, "decrease"),
]
RATIO = [metric("accuracy", "primary", "accuracy", "ratio", "increase"), *GUARDS]
BY_REQUEST = [metric("accuracy", "primary", "accuracy", "ratio", "increase"),
              metric("score", "primary", "score", "mean", "decrease"), *GUARDS, *BUILT_IN]
BY_UNIT = [metric("basket", "primary", "basket", "mean", "increase"),
           metric("converted", "primary", "converted", "proportion", "increase"), *GUARDS, *BUILT_IN]
PER_ROW = [metric("basket", "primary", "basket", "ratio", "increase"), *BY_UNIT[1:]]
PROPORTION = [metric("accuracy", "primary", "accuracy", "proportion", "decrease"), *GUARDS,
              metric("score", "exploratory", "score", "ratio", "increase"), *BUILT_IN]
REQUESTS = [metric("accuracy", "primary", "accuracy", "ratio", "increase"), *GUARDS,
            metric("score", "exploratory", "score", "ratio", "increase"), *BUILT_IN]

SPLIT = [[0.7, 0.2, 0.1]]
PHASED = [[0.7, 0.2, 0.1], [0.42, 0.305, 0.275]]
LATE = [[0.8, 0.2, 0.0], [0.48, 0.32, 0.2]]

CASES = [
    dict(name="phases that share units", seed=1, count=900, overlap=True, phased=True, units=True,
         outcomes="request", planned=None, weights=PHASED, metrics=BY_REQUEST),
    dict(name="phases that share units, shares", seed=2, count=700, overlap=True, phased=True, units=True,
         outcomes="request", planned=700, weights=PHASED, metrics=PROPORTION),
    dict(name="phases that share no units", seed=3, count=800, overlap=False, phased=True, units=True,
         outcomes="unit", planned=800, weights=PHASED, metrics=PER_ROW),
    dict(name="one phase", seed=4, count=700, overlap=True, phased=False, units=True,
         outcomes="unit", planned=701, weights=SPLIT, metrics=BY_UNIT),
    dict(name="one phase, a single look", seed=5, count=600, overlap=True, phased=False, units=True,
         outcomes="unit", planned=600, weights=SPLIT, metrics=BY_UNIT),
    dict(name="a variant that joins late", seed=8, count=600, overlap=True, phased=True, units=True, late=True,
         outcomes="unit", planned=600, weights=LATE, metrics=BY_UNIT),
    dict(name="attribution and a cap, outcomes by unit", seed=9, count=2600, overlap=True, phased=True, units=True,
         outcomes="unit", planned=None, attribution=40 * 60_000, cap={"basket": "95%"}, weights=PHASED, metrics=BY_UNIT),
    dict(name="attribution and a cap, outcomes by request", seed=10, count=1200, overlap=True, phased=True, units=True,
         outcomes="request", planned=800, attribution=30 * 60_000, cap={"score": "97.5%"}, weights=PHASED, metrics=BY_REQUEST),
    dict(name="a cap, one phase", seed=11, count=700, overlap=True, phased=False, units=True,
         outcomes="unit", planned=701, cap={"basket": "99%"}, weights=SPLIT, metrics=BY_UNIT),
    dict(name="requests", seed=6, count=500, overlap=True, phased=False, units=False,
         outcomes="request", planned=None, weights=SPLIT, metrics=REQUESTS),
    dict(name="requests in phases", seed=7, count=500, overlap=True, phased=True, units=False,
         outcomes="request", planned=1671, weights=PHASED, metrics=REQUESTS),
]


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def main():
    out = []
    for number, case in enumerate(CASES):
        case["plots_latencies"] = number == 0
        case.setdefault("late", False)
        case.setdefault("attribution", None)
        case.setdefault("cap", {})
        shown = {k: v for k, v in case.items() if k != "metrics"}
        metrics = [dict(name=m["name"], role=m["role"], measure=str(m["measure"]), goal=m["goal"]) for m in case["metrics"]]
        out.append(dict(case=dict(shown, metrics=metrics), want=analyze(case)))
    text = json.dumps(plain(out), indent=None, separators=(",", ":"))
    path = pathlib.Path(__file__).with_name("values.json")
    path.write_text(text.replace('{"case"', '\n{"case"') + "\n")


main()
