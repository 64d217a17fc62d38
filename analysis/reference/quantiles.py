"""Latency quantiles by the score test of shares."""

import hashlib
import math
from collections import defaultdict

import numpy as np
from scipy import optimize, stats

from comparing import Z, unskewed, weights

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
    """The group in histograms: by a hash of the unit, without units by one of the request."""
    name = f"u{r['unit']}" if units else r["name"]
    numbers = np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], dtype=">u4")
    factors = (500_009, 300_007, 200_003, 100_003)
    return sum(int(n) * f for n, f in zip(numbers, factors)) % 2_147_483_647 % GROUPS


def share_below(latencies, ms):
    """By group: requests below a latency, and all; within a bin, latencies are spread evenly."""
    below, all_ = np.zeros(GROUPS), np.zeros(GROUPS)
    for latency, g in latencies:
        low, high = bounds(latency)
        below[g] += min(max((ms - low) / (high - low), 0.0), 1.0)
        all_[g] += 1
    return below, all_


class Quantiles:
    """A quantile of two arms: [(latencies with groups, units), (latencies with groups, units)] by stratum.

    The test asks how many requests of each arm are above a latency that both arms together have as their quantile, if the
    candidate's latencies are taken as longer by a difference, or by a factor.
    """

    def __init__(self, share, tables):
        self.share, self.arms = share, []
        self.weights = weights([(a[1], b[1]) for a, b in tables])
        pulls = []
        for w, arms in zip(self.weights, tables):
            row, residuals = [], []
            for latencies, _ in arms:
                ms = [m for m, _ in latencies]
                below, all_ = share_below(latencies, 1000 * quantile(ms, share))
                residuals.append((below - share * all_) / len(ms))
                row.append([ms, max((residuals[-1] ** 2).sum() / (share * (1 - share) / len(ms)), 1.0)])
            n = [len(arm[0]) for arm in row]
            common = sum(arm[1] * n for arm, n in zip(row, n)) / sum(n)
            self.arms.append([(Distribution(ms), len(ms) / max(own, common)) for ms, own in row])
            pulls.append(w * (residuals[1] - residuals[0]))
        apart = sum(p @ p for p in pulls)
        self.stretch = max(1 + (sum(pulls) @ sum(pulls) - apart) / apart, 1.0) if apart else 1.0

    def above(self, row, change, scale):
        """The shares above the common quantile; the candidate's latencies are longer by `change`, on this scale."""
        (one, n1), (two, n2) = row
        at = (lambda c: c + change) if scale == "difference" else (lambda c: c * math.exp(change))
        pooled = lambda c: (n1 * one.below(c) + n2 * two.below(at(c))) / (n1 + n2) - self.share
        high = max(one.last, two.last)
        while pooled(high) < 0:
            high *= 2
        # Within a bin the shares are straight lines, so the root of the pooled share is exact.
        c = optimize.brentq(pooled, min(-high, -abs(change)) if scale == "difference" else 0.0, high, xtol=1e-13, rtol=1e-15)
        return 1 - one.below(c), 1 - two.below(at(c))

    def difference(self, change, scale):
        found = [self.above(row, change, scale) for row in self.arms]
        return sum(w * (b - a) for w, (a, b) in zip(self.weights, found))

    def statistic(self, change, scale="difference"):
        """The score of the merged difference of shares under equality, with its corrections."""
        variance, third, step = self.law()
        distance = self.difference(change, scale)
        distance = math.copysign(max(abs(distance) - step / 4, 0), distance)
        return unskewed(distance / math.sqrt(variance), third / variance**1.5)

    def law(self):
        p, q = 1 - self.share, self.share
        variance = third = step = 0.0
        for w, ((_, n1), (_, n2)) in zip(self.weights, self.arms):
            variance += w * w * p * q * (1 / n1 + 1 / n2)
            third += w**3 * p * q * (q - p) * (1 / n2**2 - 1 / n1**2)
            step += w * w * (1 / n1 + 1 / n2)
        return variance * self.stretch, third, step

    def solve(self, target, scale):
        """The change at which the merged difference of shares is the target; None if no change is so large."""
        if len(self.arms) == 1 and target == 0.0:
            # Between two requests no latency is more likely than another: both quantiles are those of their requests.
            (one, _), (two, _) = self.arms[0]
            one, two = one.at(self.share), two.at(self.share)
            return two - one if scale == "difference" else math.log(two / one)
        far = 1000 * max(arm.last for row in self.arms for arm, _ in row) if scale == "difference" else 30.0
        f = lambda change: self.difference(change, scale) - target
        if f(-far) < 1e-12 or f(far) > -1e-12:
            return None
        return optimize.brentq(f, -far, far, xtol=1e-12, rtol=1e-15)

    def ends(self, z, scale):
        """Where the statistic is z and -z: the merged difference at which it is, and the change that has that difference."""
        variance, third, step = self.law()
        found = []
        for sign in (1, -1):
            score = lambda d: sign * unskewed(d / math.sqrt(variance), third / variance**1.5) - z
            far = 40 * math.sqrt(variance)
            if score(sign * far) < 0:
                found.append(None)
                continue
            distance = optimize.brentq(score, sign * 1e-12, sign * far, xtol=1e-17, rtol=1e-15)
            found.append(self.solve(distance + sign * step / 4, scale))
        return found

    def interval(self, z):
        return tuple(None if end is None else end / 1000 for end in self.ends(z, "difference"))

    def lift_interval(self, z):
        low, high = self.ends(z, "ratio")
        return -1.0 if low is None else math.expm1(low), None if high is None else math.expm1(high)

    def slope(self, row):
        """Seconds per share of the difference, between 1.96 standard errors below and above."""
        (one, n1), (two, n2) = row
        p, q, n = 1 - self.share, self.share, n1 + n2
        most = min((p * n / n2), q * n / n1, q * n / n2, p * n / n1)
        d = min(Z * math.sqrt(p * q * (1 / n1 + 1 / n2)), most)
        shift = lambda d: (two.at(q - d * n1 / n) - one.at(q + d * n2 / n)) / 1000
        return (shift(-d) - shift(d)) / (2 * d)

    def found(self):
        slopes = [self.slope(row) for row in self.arms]
        pull = [w / slope for w, slope in zip(self.weights, slopes)]
        baseline = sum(p * row[0][0].at(self.share) / 1000 for p, row in zip(pull, self.arms)) / sum(pull)
        difference, lift = self.solve(0.0, "difference") / 1000, math.expm1(self.solve(0.0, "ratio"))
        independent = self.share * (1 - self.share)
        variances = [self.stretch * sum((w / sum(pull)) ** 2 * independent / row[i][1] for w, row in zip(self.weights, self.arms))
                     for i in (0, 1)]
        z, enough = self.statistic(0.0), self.enough()
        return dict(values=(baseline, baseline + difference), variances=tuple(variances), difference=difference,
                    variance=sum(variances), critical=Z, ci=self.interval(Z), p=2 * stats.norm.sf(abs(z)) if enough else None,
                    statistic=z if enough else None, df=None, lift=lift, lift_ci=self.lift_interval(Z), score=self)

    def enough(self):
        """Whether each arm has, or should have, five requests above the quantile of both, and five below."""
        shares = [self.above(row, 0.0, "difference") for row in self.arms]
        for count in (lambda x: x, lambda x: 1 - x):
            for i in (0, 1):
                observed = sum(count(s[i]) * row[i][1] for s, row in zip(shares, self.arms))
                expected = sum(count(1 - self.share) * row[i][1] for row in self.arms)
                if max(observed, expected) < 5:
                    return False
        return True


class Distribution:
    """Latencies in milliseconds, spread evenly within their bins: shares below, and latencies at shares."""

    def __init__(self, ms):
        bins = defaultdict(int)
        for m in ms:
            bins[bounds(m)] += 1
        ordered = sorted(bins.items())
        cumulated = np.cumsum([count for _, count in ordered]) / len(ms)
        self.x = np.array([edge for (low, high), _ in ordered for edge in (low, high)])
        self.y = np.array([share for end, start in zip(cumulated, [0.0, *cumulated[:-1]]) for share in (start, end)])
        self.last = self.x[-1]

    def below(self, ms):
        return float(np.interp(ms, self.x, self.y))

    def at(self, share):
        i = max(int(np.searchsorted(self.y, share)), 1)
        i += 1 - i % 2
        return float(self.x[i - 1] + (self.x[i] - self.x[i - 1]) * (share - self.y[i - 1]) / (self.y[i] - self.y[i - 1]))
