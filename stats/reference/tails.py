"""Distributions and their tails: integrals of densities, and bounds as roots."""

import mpmath as mp
from scipy import stats

from common import M, agree, case


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
