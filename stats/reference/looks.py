"""Looking more than once: always-valid sequences and planned looks."""

import mpmath as mp
import numpy as np

from common import M, case
from tails import normal_isf


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
