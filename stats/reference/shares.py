"""Shares: the score test with its intervals and its power, sizes, and sample ratios."""

from fractions import Fraction

import mpmath as mp
from scipy import stats
from statsmodels.stats import proportion as sm_prop

from common import M, agree, case
from tails import chi_square_ln_upper, normal_isf


def bisect(low, high, below, steps=160):
    """Where a monotone function crosses; `below` says that the crossing is above."""
    low, high = M(low), M(high)
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2


def unskewed(z, skewness):
    """Wilson and Hilferty's cube root."""
    if abs(skewness) < M(10) ** -30:
        return z
    return 6 / skewness * (mp.cbrt(max(1 + skewness * z / 2, 0)) - 1) + skewness / 6


def weights(tables):
    sizes = [M(n1) * n2 / (n1 + n2) for _, n1, _, n2 in tables]
    return [size / sum(sizes) for size in sizes]


def spread(tables, shares, stretch=1):
    """The variance and the third moment of the difference, if the shares of each table are these."""
    variance, third = M(0), M(0)
    for w, (_, n1, _, n2), (p1, p2) in zip(weights(tables), tables, shares):
        v1, v2 = p1 * (1 - p1) / n1, p2 * (1 - p2) / n2
        variance += w**2 * (v1 + v2) * M(stretch)
        third += w**3 * (v2 * (1 - 2 * p2) / n2 - v1 * (1 - 2 * p1) / n1)
    return variance, third


def off(tables):
    """A quarter of an event."""
    return sum(w**2 * (M(1) / n1 + M(1) / n2) for w, (_, n1, _, n2) in zip(weights(tables), tables)) / 4


def difference_of(tables):
    return sum(w * (M(x2) / n2 - M(x1) / n1) for w, (x1, n1, x2, n2) in zip(weights(tables), tables))


def likeliest(x1, n1, x2, n2, delta):
    """The shares that are most likely, if the candidate's is larger by delta: by bisection."""
    if delta == 0:
        pooled = (M(x1) + x2) / (M(n1) + n2)
        return pooled, pooled
    slope = lambda p: sum((x - n * q) / (q * (1 - q)) for x, n, q in ((x1, n1, p), (x2, n2, p + delta)))
    p = bisect(max(M(0), -M(delta)), min(M(1), 1 - M(delta)), lambda p: slope(p) > 0)
    return p, p + delta


def score_statistic(tables, stretch, delta):
    """Laud's skewness-corrected score, a quarter of an event taken off."""
    variance, third = spread(tables, [likeliest(*table, delta) for table in tables], stretch)
    distance = difference_of(tables) - M(delta)
    if len(tables) == 1 and stretch == 1 and delta == 0 and tables[0][1] < 10**8 and 1 < abs(distance) / mp.sqrt(variance) < 30:
        # At other differences, statsmodels' shares are not the likeliest ones.
        (x1, n1, x2, n2), = tables
        agree(distance / mp.sqrt(variance), sm_prop.proportions_ztest([x2, x1], [n2, n1])[0])
    z = mp.sign(distance) * max(abs(distance) - off(tables), 0) / mp.sqrt(variance)
    corrected = unskewed(z, third / variance ** M("1.5"))
    # A score that is smaller than its correction is nothing.
    return corrected if mp.sign(corrected) == mp.sign(z) else M(0)


def score_interval(tables, stretch, z):
    difference = difference_of(tables)
    low = bisect(-1, difference, lambda d: score_statistic(tables, stretch, d) > z)
    return [low, bisect(difference, 1, lambda d: score_statistic(tables, stretch, d) > -z)]


def score():
    mp.mp.dps = 40
    for tables, stretch in [
        ([(190, 9500, 2, 500)], 1), ([(190, 9500, 18, 500)], 1), ([(200, 1000, 250, 1000)], 1), ([(30, 400, 9, 60)], 1),
        ([(0, 9500, 12, 500)], 1), ([(390, 400, 50, 60)], 1), ([(100000, 1000000, 120000, 1000000)], 1),
        ([(50, 9500, 4, 500), (120, 8500, 30, 1500), (200, 7000, 70, 3000)], 1),
        ([(50, 950, 4, 50), (120, 850, 30, 150)], 1.75), ([(400, 100000, 60, 10000), (3, 700, 9, 900)], 0.625),
    ]:
        at = [d for d in (-0.3, -0.01, 0.0, 0.004, 0.05, 0.4)]
        wanted = [score_statistic(tables, stretch, d) for d in at]
        case("score", {"tables": tables, "stretch": stretch, "at": at, "z": 2.5},
             {"statistic": wanted, "interval": score_interval(tables, stretch, M("2.5"))})
    mp.mp.dps = 60


def score_power(tables, alpha):
    """The difference beyond the test's bounds, which are found where all shares together are what they are on average."""
    z = normal_isf(M(alpha) / 2)
    pooled = [(M(x1) + x2) / (M(n1) + n2) for x1, n1, x2, n2 in tables]
    null, third = spread(tables, [(p, p) for p in pooled])
    skewness = third / null ** M("1.5")
    test = lambda distance: unskewed(distance / mp.sqrt(null), skewness)
    high = bisect(0, 2, lambda d: test(d) < z) + off(tables)
    low = bisect(-2, 0, lambda d: test(d) < -z) - off(tables)
    truth, third = spread(tables, [(M(x1) / n1, M(x2) / n2) for x1, n1, x2, n2 in tables])
    skewness, mean = third / truth ** M("1.5"), difference_of(tables)
    at = lambda bound: unskewed((bound - mean) / mp.sqrt(truth), skewness)
    return mp.erfc(at(high) / mp.sqrt(2)) / 2 + (mp.erfc(-at(low) / mp.sqrt(2)) / 2 if low > M("-1.9") else 0)


def shares():
    """Everything that a comparison of shares says."""
    mp.mp.dps = 50
    for tables, alpha in [
        ([(200, 1000, 250, 1000)], 0.05), ([(100, 1000, 100, 1000)], 0.05), ([(10, 50, 19, 40)], 0.05), ([(0, 500, 30, 400)], 0.05),
        ([(30, 400, 0, 500)], 0.05), ([(50, 50, 25, 40)], 0.05), ([(12345, 100000, 4321, 30000)], 0.01),
        ([(500000000, 1000000000, 500000001, 1000000000)], 0.05), ([(100000000, 1000000000, 100100000, 1000000000)], 0.05),
        ([(100000, 1000000, 120000, 1000000)], 0.05), ([(1000, 100000, 5000, 100000)], 0.001), ([(10, 1000000000, 90, 1000000000)], 0.05),
        ([(95, 9500, 9, 500)], 0.05), ([(999999990, 1000000000, 999999900, 1000000000)], 0.05),
        ([(50, 9500, 4, 500), (120, 8500, 30, 1500), (200, 7000, 70, 3000)], 0.05), ([(4, 100, 12, 100), (10, 200, 15, 150)], 0.05),
        ([(1000, 100000, 3000, 100000), (90000, 900000, 40000, 300000)], 0.05),
    ]:
        z, w = normal_isf(M(alpha) / 2), weights(tables)
        statistic, difference = score_statistic(tables, 1, 0), difference_of(tables)
        values = [sum(k * M(t[i]) / t[i + 1] for k, t in zip(w, tables)) for i in (0, 2)]
        plain = lambda x, n: M(x) / n * (1 - M(x) / n) / n
        # The variance of a Beta distribution, from its first two moments.
        known = lambda x, n: M(x + 1) / (n + 2) * (M(x + 2) / (n + 3) - M(x + 1) / (n + 2))
        of = lambda f: [sum(k**2 * f(t[i], t[i + 1]) for k, t in zip(w, tables)) for i in (0, 2)]
        lift = lift_ci = None
        if values[0] > 0:
            lift = difference / values[0]
            error = mp.sqrt(sum(v / m**2 for v, m in zip(of(plain), values))) if values[1] > 0 else 0
            if error > 0:
                lift_ci = [values[1] / values[0] * mp.exp(sign * z * error) - 1 for sign in (-1, 1)]
        p = mp.erfc(abs(statistic) / mp.sqrt(2))
        case("shares", {"tables": tables, "alpha": alpha},
             {"diff": difference, "ci": score_interval(tables, 1, z), "lift": lift, "lift_ci": lift_ci, "statistic": statistic,
              "log10_p": mp.log10(p), "p": p if p > 1e-300 else None, "variances": of(known), "power": score_power(tables, alpha)})
    mp.mp.dps = 60


def sizes_of_shares():
    mp.mp.dps = 40
    for p1, mde, alpha, power, share in [
        (0.10, 0.02, 0.05, 0.8, 0.5), (0.10, 0.02, 0.05, 0.8, 0.1), (0.05, 0.005, 0.05, 0.9, 0.5), (0.5, -0.01, 0.01, 0.8, 0.5), (0.001, 0.0002, 0.05, 0.8, 0.3),
        (0.9, 0.05, 0.05, 0.95, 0.5), (0.02, 0.00001, 0.05, 0.8, 0.5), (0.01, 0.2, 0.05, 0.8, 0.5), (0.02, -0.015, 0.05, 0.8, 0.9),
    ]:
        p1, mde = M(p1), M(mde)
        p2, k, za, zb = p1 + mde, M(share) / (1 - M(share)), normal_isf(M(alpha) / 2), normal_isf(1 - M(power))
        h = 2 * mp.asin(mp.sqrt(p2)) - 2 * mp.asin(mp.sqrt(p1))
        cohen = ((za + zb) / h) ** 2 * (1 + 1 / k)
        # Five events, and five units without one, are expected in each variant.
        mean = (p1 + k * p2) / (1 + k)
        fewest = 5 / (min(mean, 1 - mean) * min(k, 1))
        short = lambda n: score_power([(n * p1, n, k * n * p2, k * n)], alpha) < M(power)
        n = bisect(fewest, max(4 * cohen, 8 * fewest), short, 100) if short(fewest) else fewest
        given = {"rate": p1, "mde": mde, "alpha": alpha, "power": power, "share": share}
        want = {"baseline": int(mp.ceil(n - M(10) ** -9 * n)), "candidate": int(mp.ceil(k * n * (1 - M(10) ** -9))),
                "cohen_baseline": int(mp.ceil(cohen)), "cohen_candidate": int(mp.ceil(k * cohen))}
        case("size_rate", given, want)
    mp.mp.dps = 60


def sample_ratio():
    for shares, counts in [
        ([50, 50], [821588, 815482]), ([70, 30], [7000, 3000]), ([70, 30], [6900, 3100]), ([70, 30], [700000000, 300100000]), ([95, 5], [94000, 6000]),
        ([1, 99], [0, 100]), ([50, 30, 20], [5000, 3100, 1900]), ([50, 30, 20, 0], [5000, 3100, 1900, 0]), ([50, 50], [1000000, 1200000]),
        ([25, 25, 25, 25], [10, 12, 9, 30]), ([50, 50], [500000000, 500040000]), ([99.9999, 0.0001], [1000000, 3]),
    ]:
        live = [(Fraction(str(s)), c) for s, c in zip(shares, counts) if s > 0]
        total, whole = sum(c for _, c in live), sum(s for s, _ in live)
        q = lambda f: M(f.numerator) / f.denominator
        statistic = sum((c - q(s / whole) * total) ** 2 / (q(s / whole) * total) for s, c in live)
        ln = chi_square_ln_upper(statistic, len(live) - 1)
        if ln > -600:
            theirs = stats.chisquare([c for _, c in live], [float(s / whole * total) for s, _ in live])
            agree(statistic, theirs.statistic, 1e-8) if statistic > 1e-6 else None
        case("srm", {"expected": shares, "observed": counts},
             {"statistic": statistic, "df": len(live) - 1, "log10_p": ln / mp.log(10), "always_log10_p": always_valid([live])})
    for phases in [
        [([95, 5], [9400, 600]), ([85, 15], [8490, 1510]), ([70, 30], [7050, 2950])],
        [([95, 5], [9500, 500]), ([50, 50], [5400, 4600]), ([50, 30, 20], [500000, 300500, 200100]), ([99, 1], [30, 0])],
    ]:
        total, df = M(0), 0
        for shares, counts in phases:
            for s, c in zip(shares, counts):
                e = M(s) / 100 * sum(counts)
                total += (c - e) ** 2 / e
            df += len(shares) - 1
        case("srm_phases", {"phases": phases}, {"statistic": total, "df": df, "log10_p": chi_square_ln_upper(total, df) / mp.log(10),
             "always_log10_p": always_valid([[(Fraction(s), c) for s, c in zip(*phase)] for phase in phases])})


def always_valid(phases):
    """The test for every look: Bayes factors from the definition of the Dirichlet-multinomial probability, and stakes on phases."""
    factors = []
    for live in phases:
        whole, total, factor = sum(s for s, _ in live), sum(c for _, c in live), M(0)
        for part, k in ((M("0.9"), M(1000)), (M("0.1"), M(10))):
            bayes = mp.loggamma(k) - mp.loggamma(k + total)
            for s, c in live:
                share = M((s / whole).numerator) / (s / whole).denominator
                bayes += mp.loggamma(k * share + c) - mp.loggamma(k * share) - c * mp.log(share)
            factor += part * mp.exp(bayes)
        factors.append(factor)
    alone = sum(factor / (k * (k + 1)) for k, factor in enumerate(factors, 1)) + M(1) / (len(factors) + 1)
    return -max(mp.log10((mp.fprod(factors) + alone) / 2), M(0))
