"""Comparisons adjusted by a covariate, on lists of units: least squares by statsmodels instead of running sums."""

import math
from collections import defaultdict

import numpy as np
import statsmodels.api as sm

from comparing import estimate, merge, ratio, weights


def adjusted(measure, pairs, strata, candidate, before, fill):
    """The adjusted comparison and its sides. `pairs[s, a][u]` is numerator and denominator of a unit in a slot, `before` has what
    is known of units, and `fill` is the mean of it."""
    usable = [s for s in strata if min(len(pairs[s, 0]), len(pairs[s, candidate])) > 1]
    slots = [(s, a) for s in usable for a in (0, candidate)]
    rows, outcome, design = [], [], []
    for index, slot in enumerate(slots):
        value, _ = ratio(list(pairs[slot].values()))
        x = np.mean([x for _, x in pairs[slot].values()])
        for u, (y, x_u) in pairs[slot].items():
            rows.append((u, index))
            outcome.append((y - value * x_u) / x)
            design.append([before.get(u, fill), float(u not in before)] + [float(i == index) for i in range(len(slots))])
    outcome, design = np.array(outcome), np.array(design)
    z = design[:, :2] if design[:, 1].any() else design[:, :1]
    fitted = sm.OLS(outcome, np.hstack([z, design[:, 2:]])).fit()
    theta = fitted.params[: z.shape[1]]
    index = np.array([i for _, i in rows])
    n, slots_n, covariates = len(outcome), len(slots), z.shape[1]
    df = n - slots_n - covariates
    means = [z[index == i].mean(axis=0) for i in range(slots_n)]
    residual = outcome - np.array([theta @ (row - means[i]) for row, i in zip(z, index)])
    spread = [(residual[index == i] ** 2).sum() / ((index == i).sum() - 1) * (n - slots_n) / df for i in range(slots_n)]
    x_bar = [np.mean([x for _, x in pairs[slot].values()]) for slot in slots]
    sides = {s: ((0, 0, 0), (0, 0, 0)) for s in strata}
    for k, s in enumerate(usable):
        one, two = 2 * k, 2 * k + 1
        n1, n2 = (index == one).sum(), (index == two).sum()
        both = z[(index == one) | (index == two)].mean(axis=0)
        common = (spread[one] * x_bar[one] ** 2 * (n1 - 1) + spread[two] * x_bar[two] ** 2 * (n2 - 1)) / (n1 + n2 - 2)
        side = lambda i, m: (ratio(list(pairs[slots[i]].values()))[0] - theta @ (means[i] - both),
                             max(spread[i], common / x_bar[i] ** 2) / m, int(m))
        sides[s] = (side(one, n1), side(two, n2))
    sides = [sides[s] for s in strata]
    w = weights([(a[2], b[2]) for a, b in sides])
    apart = sum(w[s] * (means[2 * k + 1] - means[2 * k]) for k, s in enumerate(usable))
    # The covariance of theta that least squares reports, in the direction in which it enters.
    scale = (residual**2).sum() / df
    uncertainty = apart @ fitted.normalized_cov_params[: z.shape[1], : z.shape[1]] @ apart * scale
    found = dict(theta=float(theta[0]))
    if measure in ("mean", "proportion") and len(usable) == 1:
        n1, n2 = (index == 0).sum(), (index == 1).sum()
        own, common = (spread[0] / n1, spread[1] / n2), (scale / n1, scale / n2)
        values = tuple(side[0] for side in sides[usable[0]])
        if sum(common) > sum(own):
            found |= estimate(values, common, values[1] - values[0], sum(common) + uncertainty, df)
            # It is the analysis of covariance.
            plain = np.array([pairs[slots[i]][u][0] for u, i in rows])
            check = sm.OLS(plain, np.hstack([sm.add_constant(index.astype(float)), z])).fit()
            assert math.isclose(check.params[1], found["difference"], rel_tol=1e-9)
            assert math.isclose(check.bse[1] ** 2, found["variance"], rel_tol=1e-9)
            assert math.isclose(check.pvalues[1], found["p"], rel_tol=1e-7)
        else:
            free = 1 / sum((v / sum(own)) ** 2 / (m - 1) for v, m in zip(own, (n1, n2)))
            found |= estimate(values, own, values[1] - values[0], sum(own) + uncertainty, free)
    else:
        pull = defaultdict(list)
        for (u, i), r in zip(rows, residual):
            sign = -1 if slots[i][1] == 0 else 1
            pull[u].append(sign * w[slots[i][0]] * r / (index == i).sum())
        cross = sum(sum(p) ** 2 - sum(q * q for q in p) for p in pull.values())
        found |= merge(sides, merge(sides)["variance"] + cross + uncertainty)
    words = dict(mean="means per unit", proportion="shares of units", ratio="ratio over units, delta method")
    return dict(found, method=words[measure] + ", adjusted by covariates (CUPED)"), sides
