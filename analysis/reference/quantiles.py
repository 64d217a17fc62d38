"""Latency quantiles from order statistics."""

import hashlib
import math
from collections import defaultdict

import numpy as np
from scipy import stats

from comparing import Z, Score, events, weights

GROUPS = 100


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


def distance(share, error, z):
    """How far a share with this standard error is from its mean at a normal score: Wilson and Hilferty's gamma distribution."""
    skewness = (1 - 2 * share) / (share * (1 - share)) * error
    if skewness == 0:
        return z * error
    root = 1 + skewness / 6 * (z - skewness / 6)
    return error * 2 / skewness * (root**3 - 1) if root > 0 else math.copysign(math.inf, z)


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
        value, low, high = quantile(ms, self.share), self.share + distance(self.share, error, -z), self.share + distance(self.share, error, z)
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
