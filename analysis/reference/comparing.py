"""Comparisons of two variants in strata: ratios, shares, means; under one look and under many."""

import math

import numpy as np
from scipy import optimize, stats

ALPHA = 0.05
Z = stats.norm.isf(ALPHA / 2)


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
    ends = slope(inside(1e-15)), slope(inside(1 - 1e-15))
    if ends[0] * ends[1] > 0:
        # The likelihood is largest at an end.
        p = low if ends[0] < 0 else high
        return p, p + delta
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
        plain = lambda x, n: x / n * (1 - x / n) / n
        known = lambda x, n: stats.beta(1 + x, 1 + n - x).var()
        of = lambda share: [self.stretch * sum(t[0] ** 2 * share(t[i], t[i + 1]) for t in self.tables) for i in (1, 3)]
        self.plain, self.variances = of(plain), of(known)

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
        if variance <= 0:
            return math.copysign(1e9, distance) if distance else 0.0
        return unskewed(distance / math.sqrt(variance), third / variance**1.5)

    def interval(self, z):
        def end(outer, sign):
            beyond = lambda d: self.statistic(d) - sign * z
            if beyond(outer) * beyond(self.difference) > 0:
                return round(outer)
            return optimize.brentq(beyond, *sorted((outer, self.difference)), xtol=1e-16, rtol=1e-15)

        return end(-1 + 1e-12, 1), end(1 - 1e-12, -1)

    def lift_interval(self, z):
        if min(self.values) <= 0 or sum(self.plain) <= 0:
            return None
        ratio = math.log(self.values[1] / self.values[0])
        half = z * math.sqrt(sum(v / m**2 for v, m in zip(self.plain, self.values)))
        return math.exp(ratio - half) - 1, math.exp(ratio + half) - 1

    def enough(self):
        """Whether each arm has five units with and without an event, observed or expected."""
        def reached(count):
            own = [[count(x, n) for x, n in ((x1, n1), (x2, n2))] for _, x1, n1, x2, n2 in self.tables]
            sizes = [(n1, n2) for _, _, n1, _, n2 in self.tables]
            expected = lambda a: sum(sum(row) * n[a] / sum(n) for row, n in zip(own, sizes))
            return all(max(sum(row[a] for row in own), expected(a)) >= 5 for a in (0, 1))
        return reached(lambda x, n: x) and reached(lambda x, n: n - x)

    def found(self):
        z = self.statistic(0.0) if self.enough() else None
        lift = self.difference / self.values[0] if self.values[0] > 0 else None
        return dict(values=self.values, variances=tuple(self.variances), difference=self.difference, variance=sum(self.variances), critical=Z, ci=self.interval(Z),
                    p=None if z is None else 2 * stats.norm.sf(abs(z)), statistic=z, df=None, lift=lift,
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
    assert found["p"] is None or abs(found["p"] - test.pvalue) < 1e-9 * test.pvalue
    return found, "t test of means per unit with the common variance" if pooled else "Welch's t test of means per unit"


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


def split_p(splits):
    """The p-value of all looks: Bayes factors of two Dirichlet priors, one half on their product, one on single phases."""
    factors = []
    for split in splits:
        counts, shares = zip(*split)
        law = lambda k: stats.dirichlet_multinomial([k * w for w in shares], sum(counts)).logpmf(counts)
        plain = stats.multinomial(sum(counts), shares).logpmf(counts)
        factors.append(0.9 * math.exp(law(1000) - plain) + 0.1 * math.exp(law(10) - plain))
    alone = sum(f / (k * (k + 1)) for k, f in enumerate(factors, 1)) + 1 / (len(factors) + 1)
    return min(1, 2 / (math.prod(factors) + alone))
