"""Distances of distributions: from definitions at 60 digits; SciPy's and evidently's must agree where they know the same."""

import mpmath as mp
import numpy as np
import pandas as pd
from evidently.legacy.calculations.stattests.jensenshannon import _jensenshannon
from evidently.legacy.calculations.stattests.psi import _psi
from evidently.legacy.core import ColumnType
from scipy import special, stats

from common import M, agree, case
from tails import chi_square_ln_upper


def covariance(units, side):
    """Of the shares of one sample and of the difference, unit by unit, as lists of residuals."""
    total = sum(sum(unit[side]) for unit in units)
    cells = len(units[0][side])
    shares = [M(sum(unit[side][cell] for unit in units)) / total for cell in range(cells)]
    members = sum(1 for unit in units if sum(unit[side]))
    residuals = [[(unit[side][cell] - sum(unit[side]) * shares[cell]) / total for cell in range(cells)] for unit in units]
    return shares, total, residuals, M(members) / (members - 1)


def distance(units):
    p, n, first, grow_first = covariance(units, 0)
    q, m, second, grow_second = covariance(units, 1)
    cells = range(len(p))
    pooled = [(p[c] * n + q[c] * m) / (n + m) for c in cells]

    def of(r, c):
        sums = M(0)
        for one, other in zip(first, second):
            sums += grow_first * one[r] * one[c] + grow_second * other[r] * other[c] - one[r] * other[c] - other[r] * one[c]
        return sums

    matrix = [[of(r, c) for c in cells] for r in cells]
    trace = sum(matrix[c][c] / pooled[c] for c in cells)
    squares = sum(matrix[r][c] ** 2 / (pooled[r] * pooled[c]) for r in cells for c in cells)
    scale, degrees = squares / trace, trace**2 / squares
    q_form = sum((p[c] - q[c]) ** 2 / pooled[c] for c in cells)
    floor = [(max(p[c], M(1) / (2 * n)), max(q[c], M(1) / (2 * m))) for c in cells]
    psi = sum((a - b) * mp.log(a / b) for a, b in floor)
    middle = [(p[c] + q[c]) / 2 for c in cells]
    js = mp.sqrt(sum(s * mp.log(s / middle[c]) / 2 for c in cells for s in (p[c], q[c]) if s))
    return {"psi": psi, "jensen_shannon": js, "ln_p": chi_square_ln_upper(q_form / scale, degrees), "by_chance": trace,
            "exceeded": scale * mp.findroot(lambda x: chi_square_ln_upper(x, degrees) - mp.log(M("0.05")), degrees + 2)}


def drift_distances():
    random = np.random.default_rng(11)
    for shares, units, rows in [((0.5, 0.3, 0.2), (60, 40), 1), ((0.1, 0.2, 0.3, 0.4), (50, 70), 3)]:
        table = []
        for side in (0, 1):
            tilt = np.array(shares) * (1 + 0.4 * side * np.arange(len(shares)))
            for _ in range(units[side]):
                own = random.dirichlet(4 * tilt / tilt.sum()) if rows > 1 else tilt / tilt.sum()
                counts = random.multinomial(rows, own).tolist()
                empty = [0] * len(shares)
                table.append([counts, empty] if side == 0 else [empty, counts])
        if rows > 1:
            # Some units are in both samples.
            for place in range(20):
                table[place][1] = random.multinomial(2, shares).tolist()
        want = distance(table)
        first, second = (np.array([unit[side] for unit in table]).sum(axis=0) for side in (0, 1))
        series = [pd.Series(np.repeat(np.arange(len(shares)), counts)) for counts in (first, second)]
        agree(want["psi"], _psi(*series, ColumnType.Categorical, 0.1)[0])
        agree(want["jensen_shannon"], _jensenshannon(*series, ColumnType.Categorical, 0.1)[0])
        if rows == 1:
            # Independent rows: nearly the chi-square test of homogeneity, whose shares are pooled.
            p = stats.chi2_contingency(np.array([first, second]), correction=False).pvalue
            agree(mp.exp(want["ln_p"]), p, 0.1)
        case("drift_cells", {"units": table}, want)
    for n, m, shift in [(30, 40, 0.0), (500, 300, 0.2), (2000, 2000, 0.5)]:
        first = np.sort(np.round(random.normal(size=n), 2))
        second = np.sort(np.round(random.normal(size=m) + shift, 2))
        d = stats.ks_2samp(first, second).statistic
        x = M(d) * mp.sqrt(M(n) * m / (n + m))
        ln_p = mp.log(2 * mp.nsum(lambda k: (-1) ** (k - 1) * mp.exp(-2 * k**2 * x**2), [1, mp.inf]))
        agree(mp.exp(ln_p), special.kolmogorov(float(x)))
        case("drift_steps", {"first": first.tolist(), "second": second.tolist()}, {"distance": d, "ln_p": ln_p})
