"""What all parts share: numbers with 60 digits, and the cases of each group."""

import sys

import mpmath as mp
import numpy as np

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
