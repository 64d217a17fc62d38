#!/usr/bin/env python3
"""Writes values.json: what the statistics must come to, computed without a line of the Rust code.

mpmath at 60 digits, from definitions: tails are integrals of densities, bounds are roots, nothing is taken from an
expansion that the code also uses. Where SciPy or statsmodels know the same thing, they must agree, or this stops.

    python3 -m venv .tools/reference
    .tools/reference/bin/pip install -r stats/reference/requirements.txt
    .tools/reference/bin/python stats/reference/make.py

Only for renewing the values; the tests read the file. Takes a few minutes.
"""

import json
import pathlib
import sys
from fractions import Fraction

import mpmath as mp
import numpy as np
from scipy import stats
from statsmodels.stats import multitest, power as sm_power, proportion as sm_prop, weightstats

mp.mp.dps = 60
M = mp.mpf
GROUPS = {}


def case(group, given, want):
    def plain(v):
        if isinstance(v, dict):
            return {k: plain(x) for k, x in v.items()}
        if isinstance(v, (list, tuple)):
            return [plain(x) for x in v]
        return float(v) if isinstance(v, (mp.mpf, np.floating)) else v

    GROUPS.setdefault(group, []).append({"in": plain(given), "want": plain(want)})


def agree(ours, theirs, tolerance=1e-9):
    ours, theirs = float(ours), float(theirs)
    if not abs(ours - theirs) <= tolerance * max(abs(ours), 1e-300):
        sys.exit(f"ours {ours!r}, theirs {theirs!r}")


# ---- densities and their tails -------------------------------------------------------------------------------------


def tail(ln_density, x, scale):
    """ln of the integral of a decreasing density from x on, in steps that grow from a part of `scale`."""
    top = ln_density(x)
    # How fast it falls at x, or how wide it is.
    slope = abs(mp.diff(ln_density, x, h=scale * M(10) ** -20))
    step = min(scale, 1 / slope if slope > 0 else scale) / 2
    total, low = M(0), M(0)
    for _ in range(4000):
        part = mp.quad(lambda u: mp.exp(ln_density(x + u) - top), [low, low + step])
        total += part
        if part < total * M(10) ** -45:
            return top + mp.log(total)
        low, step = low + step, step * M("1.3")
    raise ArithmeticError


def normal_ln_upper(z):
    return mp.log(mp.erfc(M(z) / mp.sqrt(2)) / 2)


def normal_isf(p):
    """The z of an upper tail, by Newton's method on its logarithm."""
    p = M(p)
    z = mp.sqrt(-2 * mp.log(p)) if p < M("0.2") else M(stats.norm.isf(float(p)))
    for _ in range(60):
        ln_upper = normal_ln_upper(z)
        step = (ln_upper - mp.log(p)) / mp.exp(-z * z / 2 - ln_upper) * mp.sqrt(2 * mp.pi)
        z += step
        if abs(step) < M(10) ** (8 - mp.mp.dps):
            return z
    raise ArithmeticError


def student_ln_two_sided(t, df):
    t, df = abs(M(t)), M(df)
    if t == 0:
        return M(0)
    constant = mp.loggamma((df + 1) / 2) - mp.loggamma(df / 2) - mp.log(df * mp.pi) / 2
    ln_density = lambda u: constant - (df + 1) / 2 * mp.log1p(u * u / df)
    if t < 1:
        inner = mp.quad(lambda u: mp.exp(ln_density(u)), [0, t])
        return mp.log1p(-2 * inner)
    if df <= 30:
        # Heavy: the closed form, which mpmath sums to all its digits.
        return mp.log(mp.betainc(df / 2, M(1) / 2, 0, df / (df + t * t), regularized=True))
    return mp.log(2) + tail(ln_density, t, M(1))


def student_isf(p, df):
    z = M(float(stats.t.isf(float(p), float(df))))
    f = lambda t: student_ln_two_sided(t, df) - mp.log(2 * M(p))
    return mp.findroot(f, (z, z * (1 + M(10) ** -6)), solver="secant", tol=M(10) ** -70, maxsteps=60)


def chi_square_ln_upper(x, df):
    x, df = M(x), M(df)
    if x == 0:
        return M(0)
    return mp.log(mp.gammainc(df / 2, x / 2, regularized=True))


def beta_ln_tails(a, b, x):
    a, b, x = M(a), M(b), M(x)
    constant = mp.loggamma(a + b) - mp.loggamma(a) - mp.loggamma(b)
    # In the logit, where the density has no corners.
    s0 = mp.log(x) - mp.log1p(-x)
    scale = mp.sqrt(1 / a + 1 / b)

    def ln_density(s):
        return constant - a * mp.log1p(mp.exp(-s)) - b * mp.log1p(mp.exp(s))

    if s0 < mp.log(a / b):
        low = tail(lambda s: ln_density(-s), -s0, scale)
        return low, mp.log1p(-mp.exp(low))
    high = tail(ln_density, s0, scale)
    return mp.log1p(-mp.exp(high)), high


def distributions():
    for z in [0, 1e-9, 0.1, 0.5, 1, 1.96, 3, 5, 8, 12, 19.99, 20.01, 25, 37, 40, 100, 1000, 1e6, -1, -3, -10]:
        case("normal_ln_upper", {"z": z}, {"ln": normal_ln_upper(z)})
    for p in [0.5, 0.49999, 0.45, 0.3, 0.2001, 0.2, 0.1, 0.05, 0.025, 0.005, 1e-4, 1e-9, 1e-20, 1e-100, 1e-300]:
        z = M(0) if p == 0.5 else normal_isf(p)
        agree(z, stats.norm.isf(p))
        case("normal_quantile", {"tail": p}, {"z": z})
    for t, df in [
        (1e-6, 3), (0.1, 1), (0.5, 2.5), (1, 1), (1.4142, 7.3), (1.4143, 7.3), (2, 4), (2.1, 17.9), (2.5, 30), (10, 5), (50, 3),
        (1e8, 1), (1e10, 2.5), (3, 1e3), (1.96, 1e4), (6, 121034.09), (0.3, 1e6), (1.5, 1e6), (5, 1e6), (12, 1e6), (40, 1e6),
        (2, 1e9), (10, 1e9), (38, 1e9), (60, 1e9), (45, 2000), (200, 500), (0.01, 1e12), (3, 1e12), (41, 2e15),
    ]:
        ln = student_ln_two_sided(t, df)
        if ln > -600 and df < 1e5:
            agree(mp.exp(ln), 2 * stats.t.sf(t, df))
        case("student_ln_two_sided", {"t": t, "df": df}, {"ln": ln})
    for p, df in [(0.025, 1), (0.025, 2.2), (0.025, 10), (0.025, 121034.09), (0.025, 1e6), (0.025, 1e9), (0.005, 57), (1e-6, 12),
                  (1e-12, 400), (0.4, 9), (0.2, 3)]:
        case("student_quantile", {"tail": p, "df": df}, {"t": student_isf(p, df)})
    for x, df in [(0, 1), (1e-3, 1), (3.84, 1), (10.83, 1), (250, 1), (1600, 1), (5000, 1), (1, 2), (60, 2), (9, 5), (3000, 5), (40, 50),
                  (80, 50), (900, 50), (990, 1000), (1200, 1000), (5000, 1000), (1e6, 3), (100300, 1e5)]:
        ln = chi_square_ln_upper(x, df)
        if ln > -600:
            agree(mp.exp(ln), stats.chi2.sf(x, df))
        case("chi_square_ln_upper", {"x": x, "df": df}, {"ln": ln})
    for a, b, x in [
        (1, 1, 0.25), (0.5, 0.5, 0.1), (0.5, 1000.5, 1e-5), (1000.5, 0.5, 0.9999), (2, 3, 0.9), (201, 801, 0.2), (201, 801, 0.25), (201, 801, 0.4),
        (50001, 50001, 0.5), (50001, 50001, 0.505), (1e5, 1e5, 0.5001), (1e6, 9e6, 0.1), (1e6, 9e6, 0.1003), (1e6, 9e6, 0.11),
        (1e6, 9e6, 0.0985), (1e8, 1e8, 0.50001), (1e9, 3e9, 0.250005), (1e9, 3e9, 0.2499), (3, 1e9, 5e-9), (30, 1e9, 1e-7), (1e12, 1e12, 0.5000002),
    ]:
        low, high = beta_ln_tails(a, b, x)
        case("beta_ln_tails", {"a": a, "b": b, "x": x}, {"lower": low, "upper": high})


# ---- comparisons ---------------------------------------------------------------------------------------------------


def wilson(x, n, z):
    p, n = M(x) / n, M(n)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * mp.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return centre - half, centre + half


def z_power(p1, p2, n1, n2, alpha):
    p1, p2, n1, n2 = map(M, (p1, p2, n1, n2))
    d, pooled = p2 - p1, (p1 * n1 + p2 * n2) / (n1 + n2)
    bound = normal_isf(M(alpha) / 2) * mp.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n2))
    se = mp.sqrt(p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2)
    return mp.ncdf((d - bound) / se) + mp.ncdf((-d - bound) / se)


def proportions():
    for x1, n1, x2, n2, alpha in [
        (200, 1000, 250, 1000, 0.05), (100, 1000, 100, 1000, 0.05), (1, 20, 5, 20, 0.05), (0, 50, 3, 40, 0.05), (3, 40, 0, 50, 0.05),
        (50, 50, 45, 50, 0.05), (12345, 100000, 4321, 30000, 0.01), (500000000, 1000000000, 500000001, 1000000000, 0.05),
        (100000000, 1000000000, 100100000, 1000000000, 0.05), (100000, 1000000, 120000, 1000000, 0.05), (1000, 100000, 5000, 100000, 0.001),
        (10, 1000000000, 90, 1000000000, 0.05), (300000, 1000000, 500000, 1000000, 0.05), (7, 11, 5, 9, 0.1), (95, 9500, 9, 500, 0.05),
        (999999990, 1000000000, 999999900, 1000000000, 0.05), (1, 2, 1, 3, 0.2),
    ]:
        p1, p2, z = M(x1) / n1, M(x2) / n2, normal_isf(M(alpha) / 2)
        d, pooled = p2 - p1, (M(x1) + x2) / (M(n1) + n2)
        statistic = d / mp.sqrt(pooled * (1 - pooled) * (M(1) / n1 + M(1) / n2))
        p = mp.erfc(abs(statistic) / mp.sqrt(2))
        (l1, u1), (l2, u2) = wilson(x1, n1, z), wilson(x2, n2, z)
        # At no or nothing but successes an end is 0 or 1 exactly.
        l1, l2 = (M(0) if x == 0 else l for x, l in ((x1, l1), (x2, l2)))
        u1, u2 = (M(1) if x == n else u for x, n, u in ((x1, n1, u1), (x2, n2, u2)))
        ci = [d - mp.sqrt((p2 - l2) ** 2 + (u1 - p1) ** 2), d + mp.sqrt((u2 - p2) ** 2 + (p1 - l1) ** 2)]
        lift = ci_lift = None
        if x1 > 0:
            lift = p2 / p1 - 1
            if x2 > 0:
                half = z * mp.sqrt((1 - p1) / x1 + (1 - p2) / x2)
                ci_lift = [mp.exp(mp.log(p2 / p1) - half) - 1, mp.exp(mp.log(p2 / p1) + half) - 1]
        if 0 < n1 < 10**8 and d != 0 and p > 1e-300:
            theirs = sm_prop.proportions_ztest([x2, x1], [n2, n1])
            agree(statistic, theirs[0])
            agree(p, theirs[1])
            for ours, other in zip(ci, sm_prop.confint_proportions_2indep(x2, n2, x1, n1, method="newcomb", alpha=alpha)):
                agree(ours, other)
        case("proportions", {"baseline": [x1, n1], "candidate": [x2, n2], "alpha": alpha},
             {"diff": d, "ci": ci, "lift": lift, "lift_ci": ci_lift, "statistic": statistic, "log10_p": mp.log10(p),
              "p": p if p > 1e-300 else None, "power": z_power(p1, p2, n1, n2, alpha)})
    for x, n, alpha in [(0, 10, 0.05), (10, 10, 0.05), (2, 20, 0.002), (500, 1000, 0.05), (1, 1000000000, 0.05), (999, 1000, 0.01)]:
        l, u = wilson(x, n, normal_isf(M(alpha) / 2))
        l, u = M(0) if x == 0 else l, M(1) if x == n else u
        for ours, other in zip((l, u), sm_prop.proportion_confint(x, n, alpha=alpha, method="wilson")):
            agree(ours, other) if ours > 1e-12 else None
        case("wilson", {"of": [x, n], "alpha": alpha}, {"ci": [l, u]})
    z = normal_isf(M("0.025"))
    for phases in [
        [(50, 9500, 4, 500), (120, 8500, 30, 1500), (200, 7000, 70, 3000)],
        [(0, 100, 2, 100), (10, 200, 15, 150)],
        [(1000, 100000, 3000, 100000), (90000, 900000, 40000, 300000)],
    ]:
        w = lambda s: M(s[1]) * s[3] / (s[1] + s[3])
        d = lambda s: M(s[2]) / s[3] - M(s[0]) / s[1]
        var = lambda x, n: M(x) / n * (1 - M(x) / n) / n
        weights = sum(map(w, phases))
        diff = sum(w(s) * d(s) for s in phases) / weights
        se = mp.sqrt(sum(w(s) ** 2 * (var(s[0], s[1]) + var(s[2], s[3])) for s in phases)) / weights
        pool = lambda s: (M(s[0]) + s[2]) / (s[1] + s[3])
        statistic = sum(w(s) * d(s) for s in phases) / mp.sqrt(sum(w(s) * pool(s) * (1 - pool(s)) for s in phases))
        top = sum(M(s[2]) * s[1] / (s[1] + s[3]) for s in phases)
        bottom = sum(M(s[0]) * s[3] / (s[1] + s[3]) for s in phases)
        spread = sum((M(s[1]) * s[3] * (s[0] + s[2]) - M(s[0]) * s[2] * (s[1] + s[3])) / (s[1] + s[3]) ** 2 for s in phases)
        half = z * mp.sqrt(spread / (top * bottom))
        case("stratified", {"phases": phases},
             {"diff": diff, "ci": [diff - z * se, diff + z * se], "statistic": statistic,
              "log10_p": mp.log10(mp.erfc(abs(statistic) / mp.sqrt(2))), "lift": top / bottom - 1,
              "lift_ci": [top / bottom * mp.exp(-half) - 1, top / bottom * mp.exp(half) - 1]})


def score_statistic(tables, stretch, delta):
    """Laud's skewness-corrected score (by Wilson and Hilferty's cube root), a quarter of an event taken off."""
    sizes = [M(n1) * n2 / (n1 + n2) for _, n1, _, n2 in tables]
    weights = [size / sum(sizes) for size in sizes]
    distance, variance, third, step = -M(delta), M(0), M(0), M(0)
    for w, (x1, n1, x2, n2) in zip(weights, tables):
        # The share of the baseline that is most likely, if the candidate's is larger by delta: by bisection.
        slope = lambda p: sum(
            (x - n * q) / (q * (1 - q)) for x, n, q in ((x1, n1, p), (x2, n2, p + delta))
        )
        low, high = max(M(0), -M(delta)), min(M(1), 1 - M(delta))
        for _ in range(150):
            middle = (low + high) / 2
            low, high = (middle, high) if slope(middle) > 0 else (low, middle)
        p1, p2 = (low + high) / 2, (low + high) / 2 + delta
        v1, v2 = p1 * (1 - p1) / n1, p2 * (1 - p2) / n2
        distance += w * (M(x2) / n2 - M(x1) / n1)
        variance += w**2 * (v1 + v2) * M(stretch)
        third += w**3 * (v2 * (1 - 2 * p2) / n2 - v1 * (1 - 2 * p1) / n1)
        step += w**2 * (M(1) / n1 + M(1) / n2)
    z = mp.sign(distance) * max(abs(distance) - step / 4, 0) / mp.sqrt(variance)
    skewness = third / variance ** M("1.5")
    if abs(skewness) < M(10) ** -30:
        return z
    corrected = 6 / skewness * (mp.cbrt(max(1 + skewness * z / 2, 0)) - 1) + skewness / 6
    # A score that is smaller than its correction is nothing.
    return corrected if mp.sign(corrected) == mp.sign(z) else M(0)


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
        ends = []
        for sign in (1, -1):
            low, high = M(-1), M(1)
            for _ in range(90):
                middle = (low + high) / 2
                above = score_statistic(tables, stretch, middle) > sign * M("2.5")
                low, high = (middle, high) if above else (low, middle)
            ends.append((low + high) / 2)
        case("score", {"tables": tables, "stretch": stretch, "at": at, "z": 2.5}, {"statistic": wanted, "interval": ends})
    mp.mp.dps = 60


def noncentral_power(delta, df, critical):
    """P(|T| > critical) for a non-central t, as an integral over the estimated standard deviation."""
    delta, df, c = M(delta), M(df), M(critical)
    constant = mp.log(2) + df / 2 * mp.log(df / 2) - mp.loggamma(df / 2)

    def f(s):
        if s <= 0:
            return M(0)
        density = mp.exp(constant + (df - 1) * mp.log(s) - df * s * s / 2)
        return density * (mp.erfc((c * s - delta) / mp.sqrt(2)) + mp.erfc((c * s + delta) / mp.sqrt(2))) / 2

    width = 1 / mp.sqrt(2 * df)
    points = [M(1) + k * width for k in range(-24, 25, 3)]
    points = [p for p in points if p > 0]
    points = ([M(0)] if points[0] > 3 * width or len(points) < 17 else []) + points
    if df < 50:
        points += [M(8), M(16), M(40)] if points[-1] < 8 else [points[-1] * 2, points[-1] * 4]
    return mp.quad(f, points)


def welch_parts(m1, s1, n1, m2, s2, n2):
    m1, s1, m2, s2 = map(M, (m1, s1, m2, s2))
    v1, v2 = s1 * s1 / n1, s2 * s2 / n2
    df = (v1 + v2) ** 2 / (v1**2 / (n1 - 1) + v2**2 / (n2 - 1))
    # The common variance, where it makes the larger error: the smaller group varies less.
    common = ((n1 - 1) * s1 * s1 + (n2 - 1) * s2 * s2) / (n1 + n2 - 2)
    pooled = common * (M(1) / n1 + M(1) / n2) > (v1 + v2) * (1 + M("1e-12"))
    if pooled:
        v1, v2, df = common / n1, common / n2, M(n1 + n2 - 2)
    return m2 - m1, v1, v2, df, pooled


def means():
    mp.mp.dps = 40
    for m1, s1, n1, m2, s2, n2, alpha in [
        (100, 20, 1000, 102, 21, 1000, 0.05), (100, 20, 50, 90, 35, 12, 0.05), (5, 1, 2, 7, 3, 2, 0.05), (0.031, 0.2, 70000, 0.034, 0.21, 52000, 0.05),
        (1e9, 0.5, 500, 1e9 + 0.25, 0.5, 500, 0.05), (10, 2, 1000000, 10.1, 2, 1000000, 0.05), (-3, 1, 40, -2.5, 1.5, 60, 0.1),
        (12, 0, 30, 12.5, 1, 30, 0.05), (250, 80, 1000000000, 250.2, 80, 300000000, 0.01), (10, 3, 500, 10, 3, 700, 0.05),
        (0.9, 6.5, 4750, 0, 0, 250, 0.05), (0.9, 6.5, 250, 0.4, 9, 4750, 0.05), (100, 20, 30, 90, 5, 8, 0.01), (7, 3, 12, 4, 1.5, 9, 0.05),
        (1e-9, 3e-9, 4000, 1.2e-9, 3e-9, 4000, 0.05), (50, 10, 300, 80, 12, 300, 0.001), (0.05, 1, 300, 0.5, 1, 300, 0.05),
    ]:
        d, v1, v2, df, pooled = welch_parts(m1, s1, n1, m2, s2, n2)
        se = mp.sqrt(v1 + v2)
        t, critical = d / se, student_isf(M(alpha) / 2, df)
        ln = student_ln_two_sided(t, df)
        half_lift = critical * mp.sqrt(v2 + (M(m2) / M(m1)) ** 2 * v1) / abs(M(m1))
        lift = d / abs(M(m1))
        lift_ci = [lift - half_lift, lift + half_lift] if abs(M(m1)) > critical * mp.sqrt(v1) else None
        if s1 > 0 and d != 0 and ln > -600 and n1 < 1e6 and m1 < 1e8:
            theirs = stats.ttest_ind_from_stats(m2, s2, n2, m1, s1, n1, equal_var=bool(pooled))
            agree(t, theirs.statistic)
            agree(mp.exp(ln), theirs.pvalue)
        want = {"diff": d, "ci": [d - critical * se, d + critical * se], "lift": lift, "lift_ci": lift_ci, "statistic": t, "df": df,
                "log10_p": ln / mp.log(10), "p": mp.exp(ln) if ln > -690 else None,
                "power": noncentral_power(t, df, critical) if df < 1e8 else None}
        case("means", {"baseline": [m1, s1, n1], "candidate": [m2, s2, n2], "alpha": alpha}, want)
    for delta, df, critical in [(0, 10, 2.228), (2.8, 998, 1.962), (1, 3, 3.18), (10, 40, 2.02), (-3, 25.5, 2.06), (2.8, 1e6, 1.96), (0.5, 1, 12.7), (5, 2, 4.3)]:
        value = noncentral_power(delta, df, critical)
        agree(value, stats.nct.sf(critical, df, delta) + stats.nct.cdf(-critical, df, delta), 1e-6)
        case("noncentral_power", {"delta": delta, "df": df, "critical": critical}, {"power": value})
    mp.mp.dps = 60


def fractions_of(values):
    return [Fraction(v) for v in values]


def exact_pairs(ys, xs):
    """Mean, variances and covariance as exact fractions."""
    ys, xs, n = fractions_of(ys), fractions_of(xs), len(ys)
    my, mx = sum(ys) / n, sum(xs) / n
    vy = sum((y - my) ** 2 for y in ys) / (n - 1)
    vx = sum((x - mx) ** 2 for x in xs) / (n - 1)
    cov = sum((y - my) * (x - mx) for y, x in zip(ys, xs)) / (n - 1)
    f = lambda q: M(q.numerator) / q.denominator
    return n, f(my), f(mx), f(vy), f(vx), f(cov)


def raw_data():
    rng = np.random.default_rng(20261123)
    sets = [
        (np.round(rng.gamma(2, 3, 60), 3), np.round(rng.gamma(2, 5, 60) + 1, 0)),
        (np.round(rng.gamma(2, 3.6, 45), 3), np.round(rng.gamma(2, 5, 45) + 1, 0)),
        (1e9 + np.round(rng.normal(0, 1, 40), 3), 1e6 + np.round(rng.normal(0, 1, 40), 3)),
        (1e9 + np.round(rng.normal(0.3, 1, 30), 3), 1e6 + np.round(rng.normal(0, 1, 30), 3)),
    ]
    z = normal_isf(M("0.025"))
    summaries = []
    for ys, xs in sets:
        n, my, mx, vy, vx, cov = exact_pairs(ys, xs)
        summaries.append((n, my, mx, vy, vx, cov))
        case("moments", {"y": list(map(float, ys)), "x": list(map(float, xs))},
             {"means": [my, mx], "variances": [vy, vx], "covariance": cov})
    for i, j in ((0, 1), (2, 3)):
        parts, wide = [], (i, j) == (2, 3)
        for n, my, mx, vy, vx, cov in (summaries[i], summaries[j]):
            r = my / mx
            parts.append((r, (vy - 2 * r * cov + r * r * vx) / (n * mx * mx)))
        d, se = parts[1][0] - parts[0][0], mp.sqrt(parts[0][1] + parts[1][1])
        # At 1e9 over 1e6 the difference itself has no nine digits in a double.
        if not wide:
            case("ratio", {"sets": [i, j]},
                 {"values": [p[0] for p in parts], "diff": d, "ci": [d - z * se, d + z * se], "statistic": d / se,
                  "log10_p": mp.log10(mp.erfc(abs(d / se) / mp.sqrt(2)))})
        # CUPED, with x as what was known before.
        (n1, y1, x1, vy1, vx1, c1), (n2, y2, x2, vy2, vx2, c2) = summaries[i], summaries[j]
        theta = (c1 * (n1 - 1) + c2 * (n2 - 1)) / (vx1 * (n1 - 1) + vx2 * (n2 - 1))
        adjusted = [(vy - 2 * theta * c + theta**2 * vx) / n for n, vy, vx, c in ((n1, vy1, vx1, c1), (n2, vy2, vx2, c2))]
        d = (y2 - y1) - theta * (x2 - x1)
        se = mp.sqrt(sum(adjusted))
        df = se**4 / (adjusted[0] ** 2 / (n1 - 1) + adjusted[1] ** 2 / (n2 - 1))
        before = vy1 / n1 + vy2 / n2
        case("cuped", {"sets": [i, j]},
             {"theta": theta, "diff": d, "variance": se**2, "df": df, "statistic": d / se,
              "log10_p": student_ln_two_sided(d / se, df) / mp.log(10), "reduction": 1 - se**2 / before})


def merging():
    for phases in [[(0.01, 4e-5), (0.02, 9e-5), (-0.005, 2e-4)], [(5, 1), (5, 1)], [(100.001, 1e-8), (100.002, 4e-8)]]:
        w = [1 / M(v) for _, v in phases]
        d = sum(M(x) * k for (x, _), k in zip(phases, w)) / sum(w)
        q = sum((M(x) - d) ** 2 * k for (x, _), k in zip(phases, w))
        df = len(phases) - 1
        case("merge", {"phases": phases}, {"diff": d, "variance": 1 / sum(w), "q": q, "ln_p": chi_square_ln_upper(q, df)})


# ---- planning ------------------------------------------------------------------------------------------------------


def sizes():
    mp.mp.dps = 40
    for p1, mde, alpha, power, share in [
        (0.10, 0.02, 0.05, 0.8, 0.5), (0.10, 0.02, 0.05, 0.8, 0.1), (0.05, 0.005, 0.05, 0.9, 0.5), (0.5, -0.01, 0.01, 0.8, 0.5), (0.001, 0.0002, 0.05, 0.8, 0.3),
        (0.9, 0.05, 0.05, 0.95, 0.5), (0.02, 0.00001, 0.05, 0.8, 0.5),
    ]:
        p1, mde = M(p1), M(mde)
        p2, k, za, zb = p1 + mde, M(share) / (1 - M(share)), normal_isf(M(alpha) / 2), normal_isf(1 - M(power))
        mean = (p1 + k * p2) / (1 + k)
        pooled = (za * mp.sqrt(mean * (1 - mean) * (1 + 1 / k)) + zb * mp.sqrt(p1 * (1 - p1) + p2 * (1 - p2) / k)) ** 2 / mde**2
        h = 2 * mp.asin(mp.sqrt(p2)) - 2 * mp.asin(mp.sqrt(p1))
        cohen = ((za + zb) / h) ** 2 * (1 + 1 / k)
        given = {"rate": p1, "mde": mde, "alpha": alpha, "power": power, "share": share}
        want = {"baseline": int(mp.ceil(pooled)), "candidate": int(mp.ceil(k * pooled)), "cohen_baseline": int(mp.ceil(cohen)),
                "cohen_candidate": int(mp.ceil(k * cohen))}
        case("size_rate", given, want)
    for sd, mde, alpha, power, share in [
        (20, 2, 0.05, 0.8, 0.5), (20, 2, 0.05, 0.8, 0.2), (1, 1, 0.05, 0.8, 0.5), (10, 0.01, 0.05, 0.9, 0.5), (1, 3, 0.05, 0.8, 0.5), (5, -1, 0.01, 0.95, 0.5),
    ]:
        # The smallest baseline whose exact power reaches the goal; SciPy's non-central t, at margins far above its error.
        k = share / (1 - share)

        def reached(n1):
            n2 = int(np.ceil(k * n1 - 1e-9))
            if n1 < 2 or n2 < 2:
                return False
            v1, v2 = sd**2 / n1, sd**2 / n2
            df = (v1 + v2) ** 2 / (v1**2 / (n1 - 1) + v2**2 / (n2 - 1))
            delta, c = abs(mde) / np.sqrt(v1 + v2), stats.t.isf(alpha / 2, df)
            if df > 1e5:
                # SciPy's quantile is good to fifteen digits here; its non-central t is not.
                return noncentral_power(delta, df, c) >= power
            value = stats.nct.sf(c, df, delta) + stats.nct.cdf(-c, df, delta)
            assert abs(value - power) > 1e-8, "too near to tell"
            return value >= power

        low, high = 1, 2
        while not reached(high):
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if reached(middle) else (middle, high)
        if share == 0.5:
            theirs = sm_power.TTestIndPower().solve_power(abs(mde) / sd, power=power, alpha=alpha) if high < 1e5 and high > 5 else None
            assert theirs is None or high == int(np.ceil(theirs)), (high, theirs)
        case("size_mean", {"sd": sd, "mde": mde, "alpha": alpha, "power": power, "share": share},
             {"baseline": high, "candidate": int(np.ceil(k * high - 1e-9))})


# ---- sample ratio --------------------------------------------------------------------------------------------------


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
        # The sequential test, from the definition of the Dirichlet-multinomial probability.
        k = M(10000)
        bayes = mp.loggamma(k) - mp.loggamma(k + total)
        for s, c in live:
            share = q(s / whole)
            bayes += mp.loggamma(k * share + c) - mp.loggamma(k * share) - c * mp.log(share)
        case("srm", {"expected": shares, "observed": counts},
             {"statistic": statistic, "df": len(live) - 1, "log10_p": ln / mp.log(10), "always_log10_p": -max(bayes, 0) / mp.log(10)})
    phases = [([95, 5], [9400, 600]), ([85, 15], [8490, 1510]), ([70, 30], [7050, 2950])]
    total = M(0)
    for shares, counts in phases:
        for s, c in zip(shares, counts):
            e = M(s) / 100 * sum(counts)
            total += (c - e) ** 2 / e
    case("srm_phases", {"phases": phases}, {"statistic": total, "df": 3, "log10_p": chi_square_ln_upper(total, 3) / mp.log(10)})


# ---- looking more than once ----------------------------------------------------------------------------------------


def sequential():
    for d, var, n, planned, alpha in [
        (0.02, 1e-4, 2000, 10000, 0.05), (0.5, 1e-4, 2000, 10000, 0.05), (0, 1e-4, 100, 10000, 0.01), (3, 0.01, 1000000, 1000000, 0.05), (0.001, 4e-10, 10**9, 10**9, 0.05),
        (-0.03, 1e-4, 50000, 10000, 0.1),
    ]:
        d, var, alpha = M(d), M(var), M(alpha)
        rho2 = (-2 * mp.log(alpha) + mp.log(-2 * mp.log(alpha) + 1)) / planned
        r = n * rho2
        half = mp.sqrt(var) * mp.sqrt(2 * (r + 1) / r * mp.log(mp.sqrt(r + 1) / alpha))
        # The p-value is the level at which the interval's end meets zero, ρ held fixed.
        ln = mp.log(mp.sqrt(r + 1)) - d * d / var * r / (2 * (r + 1))
        case("confidence_sequence", {"diff": d, "variance": var, "n": n, "planned": planned, "alpha": alpha},
             {"ci": [d - half, d + half], "log10_p": min(ln, 0) / mp.log(10)})
    for d, var, tau2, alpha in [(0.02, 1e-4, 4e-4, 0.05), (0.2, 1e-4, 1e-4, 0.05), (0, 1, 1, 0.05), (4, 0.0025, 0.01, 0.01)]:
        d, var, tau2, alpha = map(M, (d, var, tau2, alpha))
        # The likelihood ratio as an integral over the mixture, not its closed form.
        integrand = lambda x: mp.exp(-((d - x) ** 2) / (2 * var) + d * d / (2 * var) - x * x / (2 * tau2)) / mp.sqrt(2 * mp.pi * tau2)
        centre, width = d * tau2 / (tau2 + var), mp.sqrt(tau2 * var / (tau2 + var))
        ratio = mp.quad(integrand, [centre + k * width for k in range(-16, 17, 2)])
        half = mp.sqrt(var * (var + tau2) / tau2 * (mp.log((var + tau2) / var) - 2 * mp.log(alpha)))
        case("msprt", {"diff": d, "variance": var, "tau2": tau2, "alpha": alpha},
             {"ci": [d - half, d + half], "log10_p": -max(mp.log10(ratio), 0)})


def group_sequential():
    mp.mp.dps = 30
    nodes = []
    for x in np.polynomial.legendre.leggauss(64)[0]:
        x = mp.findroot(lambda t: mp.legendre(64, t), M(float(x)))
        slope = 64 * (x * mp.legendre(64, x) - mp.legendre(63, x)) / (x * x - 1)
        nodes.append((x, 2 / ((1 - x * x) * slope * slope)))
    e = mp.e
    spend = {
        # One side of α/2 each: 2 · 2 (1 − Φ(z_{α/4} / √t)).
        "obrien_fleming": lambda t, a: 2 * mp.erfc(normal_isf(a / 4) / mp.sqrt(t) / mp.sqrt(2)),
        "pocock": lambda t, a: a * mp.log(1 + (e - 1) * t),
        "power": lambda t, a: a * t**3,
    }
    for name, times, alpha in [
        ("obrien_fleming", [0.2, 0.4, 0.6, 0.8, 1], 0.05), ("pocock", [0.2, 0.4, 0.6, 0.8, 1], 0.05), ("power", [0.25, 0.5, 0.75, 1], 0.05),
        ("obrien_fleming", [0.1, 0.5, 0.55, 1], 0.01), ("pocock", [1], 0.05), ("power", [0.3, 0.9, 1], 0.001),
    ]:
        alpha_m, spent, bounds, grid, before = M(alpha), M(0), [], None, M(0)
        for t in map(M, times):
            aim = spend[name](t, alpha_m)
            step, spent = aim - spent, aim
            if grid is None:
                cross = lambda c: mp.erfc(c / mp.sqrt(2))
            else:
                dt = mp.sqrt(t - before)
                cross = lambda c: sum(
                    w * (mp.erfc((c * mp.sqrt(t) - s) / dt / mp.sqrt(2)) + mp.erfc((c * mp.sqrt(t) + s) / dt / mp.sqrt(2))) / 2
                    for s, w in grid)
            low, high = M(0), M(40)
            for _ in range(90):
                c = (low + high) / 2
                low, high = (c, high) if cross(c) > step else (low, c)
            bounds.append(c)
            # The density of the score that goes on, at the nodes of three panels between the bounds.
            edge, panels = c * mp.sqrt(t), 4
            fresh = []
            for k in range(panels):
                a0, b0 = -edge + 2 * edge * k / panels, -edge + 2 * edge * (k + 1) / panels
                for x, w in nodes:
                    s, weight = (a0 + b0) / 2 + (b0 - a0) / 2 * x, (b0 - a0) / 2 * w
                    if grid is None:
                        density = mp.exp(-s * s / (2 * t)) / mp.sqrt(2 * mp.pi * t)
                    else:
                        density = sum(v * mp.exp(-((s - r) ** 2) / (2 * dt * dt)) for r, v in grid) / mp.sqrt(2 * mp.pi) / dt
                    fresh.append((s, weight * density))
            grid, before = fresh, t
        case("group_sequential", {"spending": name, "times": times, "alpha": alpha}, {"bounds": bounds})
    mp.mp.dps = 60


# ---- posteriors ----------------------------------------------------------------------------------------------------


def probability_above(one, two):
    """P(two > one), two's first parameter whole: a finite sum (E. Miller, "Formulas for Bayesian A/B testing")."""
    (a1, b1), (a2, b2) = one, two
    term = mp.exp(mp.loggamma(b1 + b2) + mp.loggamma(a1 + b1) - mp.loggamma(a1 + b1 + b2) - mp.loggamma(b1))
    total = M(0)
    for i in range(int(a2)):
        total += term
        term *= (a1 + i) * (b2 + i) / ((a1 + b1 + b2 + i) * (i + 1))
    return total


def expected_loss(chosen, other):
    """E max(other − chosen, 0), since x times a Beta density is a Beta density."""
    (a, b), (c, e) = chosen, other
    return c / (c + e) * probability_above((a, b), (c + 1, e)) - a / (a + b) * probability_above((a + 1, b), (c, e))


def posteriors():
    for arms in [
        [(201, 801), (251, 751)], [(1, 1), (1, 1)], [(1001, 9001), (1001, 9001)], [(101, 901), (301, 701)], [(1001, 99001), (2001, 98001)],
        [(50001, 450001), (51001, 449001)], [(1, 100000001), (3, 100000001)], [(3, 1), (40, 2)], [(1, 11), (1, 5001)],
    ]:
        one, two = [(M(a), M(b)) for a, b in arms]
        case("posterior", {"arms": arms}, {
            "best": [probability_above(two, one), probability_above(one, two)], "loss": [expected_loss(one, two), expected_loss(two, one)]})
    # A narrow one beside a wide one; the long sums from the short ones.
    for arms in [[(1000000, 9000000), (1, 1)], [(300000000, 700000000), (2, 3)]]:
        one, two = [(M(a), M(b)) for a, b in arms]
        second, loss = probability_above(one, two), expected_loss(one, two)
        means = [a / (a + b) for a, b in (one, two)]
        case("posterior", {"arms": arms}, {"best": [1 - second, second], "loss": [loss, loss + means[0] - means[1]]})
    # Three and more: with whole parameters the integrands are polynomials, which Gauss's rule integrates exactly.
    x, w = np.polynomial.legendre.leggauss(1000)
    x, w = (x + 1) / 2, w / 2
    for arms in [[(11, 91), (16, 86), (9, 93)], [(2, 30), (5, 28), (4, 40), (1, 20)], [(100, 120), (100, 121), (101, 119), (98, 122), (60, 160)]]:
        lower = [stats.beta.cdf(x, a, b) for a, b in arms]
        best = [(w * stats.beta.pdf(x, *arm) * np.prod([l for j, l in enumerate(lower) if j != i], axis=0)).sum() for i, arm in enumerate(arms)]
        top = 1 - (w * np.prod(lower, axis=0)).sum()
        case("posterior", {"arms": arms}, {"best": best, "loss": [top - a / (a + b) for a, b in arms]})
    # Jeffreys' prior and nobody converted: halves.
    mp.mp.dps = 20
    (a, b), (c, e) = arms = [(M("0.5"), M("50.5")), (M("3.5"), M("47.5"))]
    density = lambda x: mp.exp((c - 1) * mp.log(x) + (e - 1) * mp.log1p(-x)) / mp.beta(c, e)
    second = mp.quad(lambda x: density(x) * mp.betainc(a, b, 0, x, regularized=True), [0, 0.005, 0.02, 0.1, 0.2, 0.4, 1])
    case("posterior", {"arms": arms}, {"best": [1 - second, second]})
    mp.mp.dps = 60


# ---- many metrics --------------------------------------------------------------------------------------------------


def multiplicity():
    for ps in [[0.01, 0.04, 0.03, 0.005], [0.5], [0.02, 0.02, 0.9, 1.0, 1e-12, 0.3], [0.2, 0.1, 0.05]]:
        holm = multitest.multipletests(ps, method="holm")[1]
        bh = multitest.multipletests(ps, method="fdr_bh")[1]
        case("multiplicity", {"p": ps}, {"holm": list(map(float, holm)), "bh": list(map(float, bh))})


ALL = [distributions, proportions, score, means, raw_data, merging, sizes, sample_ratio, sequential, group_sequential, posteriors, multiplicity]
here = pathlib.Path(__file__).parent
if len(sys.argv) > 1:
    ALL = [f for f in ALL if f.__name__ in sys.argv[1:]]
    GROUPS = json.loads((here / "values.json").read_text()) if (here / "values.json").exists() else {}
for make in ALL:
    before = {k: len(v) for k, v in GROUPS.items()}
    print(make.__name__, flush=True)
    fresh, GROUPS_OLD = {}, GROUPS
    GROUPS = fresh
    make()
    GROUPS = {**GROUPS_OLD, **fresh}
print(sum(map(len, GROUPS.values())), "cases")
lines = [f'"{group}": [\n' + ",\n".join(json.dumps(c) for c in cases) + "\n]" for group, cases in sorted(GROUPS.items())]
(here / "values.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
