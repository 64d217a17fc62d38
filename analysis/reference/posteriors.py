"""The probability of being the best, by quadrature."""

import math

from scipy import integrate, stats


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
