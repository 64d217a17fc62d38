#!/usr/bin/env python3
"""Writes models.json: predictions with labels, and what their metrics must be by scikit-learn.

Values are those of sklearn.metrics. Their standard errors by unit are computed from nothing but these functions: the
derivative of the value by the weight of a unit (`sample_weight`, central differences) is the unit's influence. So no
formula of the Rust code is repeated here. tests/models.rs reads the file.

    .tools/reference/bin/python analysis/reference/models.py            # renews models.json
    .tools/reference/bin/python analysis/reference/models.py --check    # how far a bootstrap over units is away
"""

import json
import math
import pathlib
import sys

import numpy as np
from sklearn import metrics as sk

STEP = 1e-4
ARMS = ["b", "c"]


def classification(rng, units):
    """Units with one to five predictions each, whose scores share the unit's quality."""
    rows = []
    for unit in range(units):
        arm = int(rng.random() < 0.4)
        mood = rng.normal()
        for _ in range(int(rng.integers(1, 6))):
            label = int(rng.random() < 0.3)
            logit = (1.6 + 0.5 * arm) * label - 1.5 + 0.9 * mood + rng.normal()
            score = round(1 / (1 + math.exp(-logit)), 2)
            rows.append([unit, arm, label, int(score >= 0.4), score])
    return rows


def classes(rng, units):
    rows = []
    for unit in range(units):
        arm = int(rng.random() < 0.5)
        bad = rng.random() * 0.6
        for _ in range(int(rng.integers(1, 5))):
            label = int(rng.choice(4, p=[0.5, 0.3, 0.15, 0.05]))
            right = rng.random() > bad - 0.1 * arm
            rows.append([unit, arm, label, label if right else int(rng.integers(0, 4)), None])
    return rows


def regression(rng, units):
    rows = []
    for unit in range(units):
        arm = int(rng.random() < 0.5)
        shift = rng.normal() * 2
        for _ in range(int(rng.integers(1, 6))):
            label = round(float(rng.gamma(3, 10)), 1)
            error = shift + rng.normal() * (5 - arm)
            rows.append([unit, arm, label, round(label + error, 2), None])
    return rows


def of_scores(name):
    functions = {
        "accuracy": lambda y, p, s, w: sk.accuracy_score(y, p, sample_weight=w),
        "precision": lambda y, p, s, w: sk.precision_score(y, p, sample_weight=w),
        "recall": lambda y, p, s, w: sk.recall_score(y, p, sample_weight=w),
        "f1": lambda y, p, s, w: sk.f1_score(y, p, sample_weight=w),
        "auc": lambda y, p, s, w: sk.roc_auc_score(y, s, sample_weight=w),
        "log_loss": lambda y, p, s, w: sk.log_loss(y, s, sample_weight=w, labels=[0, 1]),
        "brier": lambda y, p, s, w: sk.brier_score_loss(y, s, sample_weight=w),
        "macro_f1": lambda y, p, s, w: sk.f1_score(y, p, sample_weight=w, average="macro"),
        "rmse": lambda y, p, s, w: sk.root_mean_squared_error(y, p, sample_weight=w),
        "mae": lambda y, p, s, w: sk.mean_absolute_error(y, p, sample_weight=w),
        "mape": lambda y, p, s, w: sk.mean_absolute_percentage_error(y, p, sample_weight=w),
        "bias": lambda y, p, s, w: np.average((p if s is None else s) - y, weights=w),
    }
    return functions[name]


def side(function, rows):
    """The value, its variance by unit, and the number of units."""
    label, predicted = np.array([r[2] for r in rows]), np.array([r[3] for r in rows])
    score = None if rows[0][4] is None else np.array([r[4] for r in rows])
    unit = np.array([r[0] for r in rows])
    of = lambda weight: float(function(label, predicted, score, weight))
    ones = np.ones(len(rows))
    influences = []
    # A unit whose rows have no influence still counts if it has a value.
    for one in np.unique(unit):
        here = unit == one
        up, down = of(ones + STEP * here), of(ones - STEP * here)
        influences.append((up - down) / (2 * STEP))
    return of(ones), np.array(influences)


def counted(name, rows):
    """The units that have a value in a metric."""
    if name == "precision":
        rows = [r for r in rows if r[3] == 1]
    if name == "recall":
        rows = [r for r in rows if r[2] == 1]
    return len({r[0] for r in rows})


def want(rows, names):
    out = {}
    for name in names:
        function = of_scores(name)
        arms = []
        for arm in range(2):
            value, influences = side(function, [r for r in rows if r[1] == arm])
            m = counted(name, [r for r in rows if r[1] == arm])
            arms.append(dict(value=value, m=m, sum_of_squares=float(np.sum(influences**2))))
        out[name] = arms
    return out


CASES = [
    ("classification", classification, 300, ["accuracy", "precision", "recall", "f1", "auc", "log_loss", "brier", "bias"]),
    ("classes", classes, 250, ["accuracy", "macro_f1"]),
    ("regression", regression, 250, ["rmse", "mae", "mape", "bias"]),
]


def bootstrap(rows, name, rounds, rng):
    """Standard errors of both arms by drawing units."""
    function = of_scores(name)
    out = []
    for arm in range(2):
        mine = [r for r in rows if r[1] == arm]
        units = np.unique([r[0] for r in mine])
        by_unit = {u: [r for r in mine if r[0] == u] for u in units}
        values = []
        for _ in range(rounds):
            drawn = [r for u in rng.choice(units, len(units)) for r in by_unit[u]]
            score = None if drawn[0][4] is None else np.array([r[4] for r in drawn])
            values.append(float(function(np.array([r[2] for r in drawn]), np.array([r[3] for r in drawn]), score, None)))
        out.append(float(np.std(values, ddof=1)))
    return out


def main():
    rng = np.random.default_rng(17)
    made = [(name, make(rng, units), names) for name, make, units, names in CASES]
    if "--check" in sys.argv:
        for case, rows, names in made:
            found = want(rows, names)
            for name in names:
                drawn = bootstrap(rows, name, 400, rng)
                ours = [math.sqrt(a["m"] / (a["m"] - 1) * a["sum_of_squares"]) for a in found[name]]
                print(f"{case:15} {name:10} " + "  ".join(
                    f"{ARMS[i]}: {ours[i]:.5f} by influences, {drawn[i]:.5f} by bootstrap" for i in range(2)))
        return
    cases = [dict(case=name, rows=rows, want=want(rows, names)) for name, rows, names in made]
    path = pathlib.Path(__file__).with_name("models.json")
    path.write_text(json.dumps(cases, separators=(",", ":")).replace('{"case"', '\n{"case"') + "\n")


main()
