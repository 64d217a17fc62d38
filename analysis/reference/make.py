#!/usr/bin/env python3
"""Writes values.json: what analyses of generated logs must come to, computed without a line of the Rust code.

The formulas are those of docs/statistics.md and docs/analysis.md, on lists of units instead of running sums: variances
from residuals, quantiles from sorted latencies, integrals by SciPy. tests/reference generates the same logs from the
same random numbers and compares every figure.

    scripts/setup.sh reference
    .tools/reference/bin/python analysis/reference/make.py

Only for renewing the values; the tests read the file.
"""

import json
import pathlib

import numpy as np

from analysis import analyze


def metric(name, role, origin, measure, goal):
    return dict(name=name, role=role, origin=origin, measure=measure, goal=goal)


BUILT_IN = [
    metric("latency_mean", "exploratory", "latency", "ratio", "decrease"),
    metric("latency_p50", "exploratory", "latency", 0.5, "decrease"),
    metric("latency_p99", "exploratory", "latency", 0.99, "decrease"),
]
GUARDS = [
    metric("abort_rate", "guardrail", "aborts", "ratio", "decrease"),
    metric("error_rate", "guardrail", "errors", "ratio", "decrease"),
    metric("latency_p95", "guardrail", "latency", 0.95, "decrease"),
]
RATIO = [metric("accuracy", "primary", "accuracy", "ratio", "increase"), *GUARDS]
BY_REQUEST = [metric("accuracy", "primary", "accuracy", "ratio", "increase"),
              metric("score", "primary", "score", "mean", "decrease"), *GUARDS, *BUILT_IN]
BY_UNIT = [metric("basket", "primary", "basket", "mean", "increase"),
           metric("converted", "primary", "converted", "proportion", "increase"), *GUARDS, *BUILT_IN]
PER_ROW = [metric("basket", "primary", "basket", "ratio", "increase"), *BY_UNIT[1:]]
PROPORTION = [metric("accuracy", "primary", "accuracy", "proportion", "decrease"), *GUARDS,
              metric("score", "exploratory", "score", "ratio", "increase"), *BUILT_IN]
REQUESTS = [metric("accuracy", "primary", "accuracy", "ratio", "increase"), *GUARDS,
            metric("score", "exploratory", "score", "ratio", "increase"), *BUILT_IN]

SPLIT = [[0.7, 0.2, 0.1]]
PHASED = [[0.7, 0.2, 0.1], [0.42, 0.305, 0.275]]
LATE = [[0.8, 0.2, 0.0], [0.48, 0.32, 0.2]]

CASES = [
    dict(name="phases that share units", segments=["country", "city", "device"], seed=1, count=900, overlap=True, phased=True, units=True,
         outcomes="request", planned=None, weights=PHASED, metrics=BY_REQUEST),
    dict(name="phases that share units, shares", segments=["device", "country"], seed=2, count=700, overlap=True, phased=True, units=True,
         outcomes="request", planned=700, weights=PHASED, metrics=PROPORTION),
    dict(name="phases that share no units", segments=["tier"], seed=3, count=800, overlap=False, phased=True, units=True,
         outcomes="unit", planned=800, weights=PHASED, metrics=PER_ROW),
    dict(name="one phase", seed=4, count=700, overlap=True, phased=False, units=True,
         outcomes="unit", planned=701, weights=SPLIT, metrics=BY_UNIT),
    dict(name="one phase, a single look", segments=["country", "tier"], seed=5, count=600, overlap=True, phased=False, units=True,
         outcomes="unit", planned=600, weights=SPLIT, metrics=BY_UNIT),
    dict(name="a variant that joins late", seed=8, count=600, overlap=True, phased=True, units=True, late=True,
         outcomes="unit", planned=600, weights=LATE, metrics=BY_UNIT),
    dict(name="attribution and a cap, outcomes by unit", segments=["tier", "city"], seed=9, count=2600, overlap=True, phased=True, units=True,
         outcomes="unit", planned=None, attribution=40 * 60_000, cap={"basket": "95%"}, weights=PHASED, metrics=BY_UNIT),
    dict(name="attribution and a cap, outcomes by request", seed=10, count=1200, overlap=True, phased=True, units=True,
         outcomes="request", planned=800, attribution=30 * 60_000, cap={"score": "97.5%"}, weights=PHASED, metrics=BY_REQUEST),
    dict(name="a cap, one phase", seed=11, count=700, overlap=True, phased=False, units=True,
         outcomes="unit", planned=701, cap={"basket": "99%"}, weights=SPLIT, metrics=BY_UNIT),
    dict(name="a covariate, phases that share units", seed=12, count=900, overlap=True, phased=True, units=True,
         outcomes="unit", planned=None, covariate=True, weights=PHASED, metrics=BY_UNIT),
    dict(name="a covariate and a ratio", segments=["country", "tier"], seed=13, count=800, overlap=True, phased=True, units=True,
         outcomes="unit", planned=800, covariate=True, weights=PHASED, metrics=PER_ROW),
    dict(name="a covariate and a cap, one phase, a single look", seed=14, count=700, overlap=True, phased=False, units=True,
         outcomes="unit", planned=700, covariate=True, cap={"basket": "95%"}, weights=SPLIT, metrics=BY_UNIT),
    dict(name="requests", seed=6, count=500, overlap=True, phased=False, units=False,
         outcomes="request", planned=None, weights=SPLIT, metrics=REQUESTS),
    dict(name="requests in phases", seed=7, count=500, overlap=True, phased=True, units=False,
         outcomes="request", planned=1671, weights=PHASED, metrics=REQUESTS),
]


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def main():
    out = []
    for number, case in enumerate(CASES):
        case["plots_latencies"] = number == 0
        case.setdefault("late", False)
        case.setdefault("covariate", False)
        case.setdefault("attribution", None)
        case.setdefault("cap", {})
        case.setdefault("segments", [])
        shown = {k: v for k, v in case.items() if k != "metrics"}
        metrics = [dict(name=m["name"], role=m["role"], measure=str(m["measure"]), goal=m["goal"]) for m in case["metrics"]]
        out.append(dict(case=dict(shown, metrics=metrics), want=analyze(case)))
    text = json.dumps(plain(out), indent=None, separators=(",", ":"))
    path = pathlib.Path(__file__).with_name("values.json")
    path.write_text(text.replace('{"case"', '\n{"case"') + "\n")


main()
