"""Means, ratios, covariates, merged phases, and the sizes that means need."""

from fractions import Fraction

import mpmath as mp
import numpy as np
from scipy import stats
from statsmodels.stats import power as sm_power

from common import M, agree, case
from tails import normal_isf, student_isf, student_ln_two_sided


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


def phases_of_means():
    """Each phase with its own test's variances, merged by n₁ n₂ / (n₁ + n₂)."""
    z = normal_isf(M("0.025"))
    for phases in [
        [(100, 20, 9500, 101, 22, 500), (104, 19, 7000, 106, 21, 3000)],
        [(0.9, 6.5, 4750, 0.2, 1, 250), (1.1, 7, 4000, 1.3, 8, 4000), (2, 9, 300, 1, 9, 700)],
        [(-3, 1, 40, -2.5, 1.5, 60), (5, 1, 20, 5, 2, 30)],
    ]:
        weights = [M(n1) * n2 / (n1 + n2) for _, _, n1, _, _, n2 in phases]
        weights = [w / sum(weights) for w in weights]
        parts = [welch_parts(*phase) for phase in phases]
        d, se = sum(w * p[0] for w, p in zip(weights, parts)), mp.sqrt(sum(w * w * (p[1] + p[2]) for w, p in zip(weights, parts)))
        case("means_phases", {"phases": phases},
             {"diff": d, "ci": [d - z * se, d + z * se], "values": [sum(w * M(p[i]) for w, p in zip(weights, phases)) for i in (0, 3)],
              "statistic": d / se, "log10_p": mp.log10(mp.erfc(abs(d / se) / mp.sqrt(2)))})


def sizes_of_means():
    mp.mp.dps = 40
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
    mp.mp.dps = 60
