"""What follows from comparisons: posteriors, and many metrics at once."""

import mpmath as mp
import numpy as np
from scipy import stats
from statsmodels.stats import multitest

from common import M, case


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




def multiplicity():
    for ps in [[0.01, 0.04, 0.03, 0.005], [0.5], [0.02, 0.02, 0.9, 1.0, 1e-12, 0.3], [0.2, 0.1, 0.05]]:
        holm = multitest.multipletests(ps, method="holm")[1]
        bh = multitest.multipletests(ps, method="fdr_bh")[1]
        case("multiplicity", {"p": ps}, {"holm": list(map(float, holm)), "bh": list(map(float, bh))})
