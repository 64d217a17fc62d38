#!/usr/bin/env python3
"""Compares `sidetrack analyze` with other implementations of the same methods and prints a table of the worst differences.

    make agreement
    .tools/reference/bin/python analysis/reference/agreement.py [--command dist/sidetrack] [--trials 10]

Each trial is a generated log of 4000 units with outcomes, a covariate, segments, and predictions with labels. The figures of
the command's JSON are compared with those that the libraries compute from the same rows. A difference is relative, and
absolute for p-values and where the value is 0. Fails if one is larger than the row allows.
"""

import argparse
import datetime
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd
import tea_tasting
from evidently.legacy.calculations.stattests.jensenshannon import _jensenshannon
from evidently.legacy.calculations.stattests.psi import _psi
from evidently.legacy.core import ColumnType
from gbstats.bayesian.tests import EffectBayesianABTest, EffectBayesianConfig, GaussianPrior
from gbstats.frequentist.tests import (
    FrequentistConfig, SequentialConfig, SequentialTwoSidedTTest, TwoSidedTTest)
from gbstats.models.statistics import RatioStatistic, SampleMeanStatistic
from gbstats.utils import check_srm
from scipy import stats
from sklearn import metrics as sk
from statsmodels.formula.api import ols
from statsmodels.stats import proportion as sm_proportion
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower, TTestIndPower

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
UNITS = 4000
START = datetime.datetime(2026, 11, 23, 9)
ARMS = ["plain", "fancy"]


class Table:
    """The rows of the printed table: the worst difference of each figure."""

    def __init__(self):
        self.worst = {}

    def compare(self, method, figure, library, found, wanted, allowed=1e-9, absolute=False):
        if found is None:
            sys.exit(f"agreement.py: {method}: no {figure}")
        difference = abs(found - wanted)
        if not absolute and wanted != 0:
            difference /= abs(wanted)
        # As it is written, so that NaN is the worst of all.
        if not difference <= allowed:
            sys.exit(f"agreement.py: {method}, {figure}: {found}, but {wanted} by {library}")
        key = (method, figure, library)
        self.worst[key] = max(self.worst.get(key, 0.0), difference)

    def print(self):
        print("| method | figure | other implementation | worst difference |\n|---|---|---|---:|")
        for (method, figure, library), difference in sorted(self.worst.items()):
            print(f"| {method} | {figure} | {library} | {f'{difference:.0e}' if difference else '0'} |")


class Trial:
    """The rows of a generated experiment, and the files that the command reads."""

    def __init__(self, seed, folder, share):
        self.folder, self.share = folder, share
        rng = np.random.default_rng(seed)
        arm = (rng.random(UNITS) < share).astype(int)
        before = np.round(rng.gamma(3, 10, UNITS), 2)
        scale = 1 + 0.4 * (arm if seed % 2 else 1 - arm)
        revenue = np.round(before + 3 * arm + rng.normal(0, 12, UNITS) * scale, 2)
        rich = rng.random(UNITS) < 0.01
        revenue = np.where(rich, revenue * 20, revenue)
        self.units = pd.DataFrame({
            "unit": [f"u{number}" for number in range(UNITS)], "arm": arm, "before": before, "revenue": revenue,
            "converted": (rng.random(UNITS) < 0.2 + 0.03 * arm).astype(int),
            "country": rng.choice(["DE", "FR", "US"], UNITS)})
        counts = rng.integers(1, 5, UNITS)
        owner = np.repeat(np.arange(UNITS), counts)
        count = len(owner)
        label = (rng.random(count) < 0.3).astype(int)
        logit = (1.5 + 0.3 * arm[owner]) * label - 1.3 + rng.normal(0, 1, UNITS)[owner] + rng.normal(0, 1, count)
        score = np.round(1 / (1 + np.exp(-logit)), 3)
        self.requests = pd.DataFrame({
            "request_id": [f"r{number}" for number in range(count)], "unit": self.units.unit.to_numpy()[owner],
            "arm": arm[owner], "items": rng.poisson(2 + 0.1 * arm[owner]), "y_true": label,
            "y_pred": (score >= 0.5).astype(int), "score": score,
            "duration": (20 + rng.gamma(2, 30, count) + 2 * arm[owner]).astype(int)})
        with open(folder / "access.log", "w") as log:
            for at, row in enumerate(self.requests.itertuples()):
                time = START + datetime.timedelta(seconds=at * 5)
                name = ARMS[row.arm]
                line = dict(time=f"{time:%Y-%m-%dT%H:%M:%S}.000Z", request_id=row.request_id, unit=row.unit, experiment="e",
                            assigned=name, served=name, reason="hash", status=200, duration=row.duration)
                log.write(json.dumps(line) + "\n")
        self.units[["unit", "revenue", "converted", "country"]].to_csv(folder / "units.csv", index=False)
        self.units[["unit", "revenue", "before"]].to_csv(folder / "before.csv", index=False)
        columns = ["request_id", "items", "y_true", "y_pred", "score"]
        self.requests[columns].to_csv(folder / "requests.csv", index=False)

    def of(self, table, column):
        """The values of both variants."""
        return [table[column][table.arm == arm].to_numpy(dtype=float) for arm in (0, 1)]


class Command:
    def __init__(self, path):
        self.path = path

    def json(self, *arguments, cwd=None):
        done = subprocess.run([self.path, *map(str, arguments), "--json"], cwd=cwd, capture_output=True, text=True)
        if done.returncode not in (0, 1):
            sys.exit(f"agreement.py: {' '.join(map(str, arguments))}: {done.stderr}")
        return json.loads(done.stdout)

    def run(self, trial, outcomes, *options, **plan):
        """`analyze run` with a plan: its metrics by name, each with its only candidate."""
        experiment = {"experiments": [{
            "name": "e", "unit": [{"header": "x-user-id"}], "baseline": ARMS[0],
            "variants": [{"name": ARMS[0]}, {"name": ARMS[1], "weight": round(100 * trial.share)}], "analysis": plan}],
            "settings": {"exposure_unit": "plain"}}
        (trial.folder / "experiment.json").write_text(json.dumps(experiment))
        report = self.json("analyze", "run", "experiment.json", "--exposures", "access.log", "--outcomes", outcomes,
                           *options, cwd=trial.folder)
        return report, {metric["name"]: metric["candidates"][0] for metric in report["metrics"]}


def sample(values):
    return SampleMeanStatistic(n=len(values), sum=values.sum(), sum_squares=(values**2).sum())


def is_welch(both):
    """Whether Welch's standard error is the larger one; else the common variance decides."""
    (a, b) = both
    own = a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)
    common = ((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / (len(a) + len(b) - 2)
    return own >= common * (1 / len(a) + 1 / len(b))


def means(table, command, trial):
    _, found = command.run(trial, "units.csv", metrics=["revenue"], planned_units=UNITS)
    ours = found["revenue"]
    both = trial.of(trial.units, "revenue")
    welch = is_welch(both)
    method = "mean of units, Welch's test" if welch else "mean of units, common variance"
    theirs = stats.ttest_ind(both[1], both[0], equal_var=not welch)
    interval = theirs.confidence_interval()
    table.compare(method, "p-value", "SciPy", ours["p_value"], theirs.pvalue, absolute=True)
    table.compare(method, "interval", "SciPy", ours["ci"][0], interval.low)
    table.compare(method, "interval", "SciPy", ours["ci"][1], interval.high)
    data = trial.units[["arm", "revenue"]].rename(columns={"arm": "variant"})
    metric = tea_tasting.Mean("revenue", equal_var=not welch, use_t=True)
    theirs = metric.analyze(data, 0, 1, variant="variant")
    table.compare(method, "p-value", "tea-tasting", ours["p_value"], theirs.pvalue, absolute=True)
    table.compare(method, "interval", "tea-tasting", ours["ci"][1], theirs.effect_size_ci_upper)
    table.compare(method, "lift", "tea-tasting", ours["relative_lift"], theirs.rel_effect_size)
    if welch:
        theirs = TwoSidedTTest(sample(both[0]), sample(both[1]), FrequentistConfig(difference_type="absolute")).compute_result()
        table.compare(method, "p-value", "GrowthBook", ours["p_value"], theirs.p_value, absolute=True)
        table.compare(method, "interval", "GrowthBook", ours["ci"][0], theirs.ci[0])
        theirs = TwoSidedTTest(sample(both[0]), sample(both[1]), FrequentistConfig(difference_type="relative")).compute_result()
        table.compare(method, "lift", "GrowthBook", ours["relative_lift"], theirs.expected)


def always_valid(table, command, trial):
    """Twice the units are planned, so that the confidence sequence decides."""
    _, found = command.run(trial, "units.csv", metrics=["revenue"], planned_units=2 * UNITS)
    ours, both, method = found["revenue"], trial.of(trial.units, "revenue"), "always-valid mean"
    config = SequentialConfig(difference_type="absolute", sequential_tuning_parameter=2 * UNITS)
    theirs = SequentialTwoSidedTTest(sample(both[0]), sample(both[1]), config).compute_result()
    if is_welch(both):
        table.compare(method, "p-value", "GrowthBook", ours["p_value"], theirs.p_value, absolute=True)
        table.compare(method, "interval", "GrowthBook", ours["ci"][0], theirs.ci[0])


def ratio(table, command, trial):
    _, found = command.run(trial, "requests.csv", metrics=["items=ratio:increase"], planned_units=UNITS)
    ours, method = found["items"], "ratio over units"
    sums = trial.requests.groupby("unit").agg(variant=("arm", "first"), items=("items", "sum"), n=("items", "count"))
    theirs = tea_tasting.RatioOfMeans("items", "n", use_t=False, equal_var=False).analyze(
        sums.reset_index(drop=True), 0, 1, variant="variant")
    table.compare(method, "difference", "tea-tasting", ours["diff"], theirs.effect_size)
    # Welch's error; ours is at least that of both variants' residuals together.
    table.compare(method, "p-value", "tea-tasting", ours["p_value"], theirs.pvalue, 0.02, absolute=True)
    sides = []
    for arm in (0, 1):
        items, n = (sums[name][sums.variant == arm].to_numpy(dtype=float) for name in ("items", "n"))
        sides.append(RatioStatistic(n=len(n), m_statistic=sample(items), d_statistic=sample(n), m_d_sum_of_products=(items * n).sum()))
    theirs = TwoSidedTTest(*sides, FrequentistConfig(difference_type="absolute")).compute_result()
    table.compare(method, "difference", "GrowthBook", ours["diff"], theirs.expected)


def shares(table, command, trial):
    _, found = command.run(trial, "units.csv", metrics=["converted=proportion"], planned_units=UNITS)
    (a, b), method = trial.of(trial.units, "converted"), "share, score test"
    theirs = sm_proportion.test_proportions_2indep(b.sum(), len(b), a.sum(), len(a), method="score", correction=False)
    # Without the corrections for continuity and skewness, so it only comes near.
    table.compare(method, "p-value", "statsmodels (no corrections)", found["converted"]["p_value"], theirs.pvalue, 0.03, absolute=True)
    low, high = sm_proportion.confint_proportions_2indep(b.sum(), len(b), a.sum(), len(a), method="score", correction=False)
    for end, wanted in zip(found["converted"]["ci"], (low, high)):
        table.compare(method, "interval", "statsmodels (no corrections)", end, wanted, 1e-3, absolute=True)


def covariates(table, command, trial):
    _, found = command.run(trial, "before.csv", metrics=["revenue"], covariate="before", planned_units=UNITS)
    ours, method = found["revenue"], "CUPED"
    fitted = ols("revenue ~ arm + before", trial.units).fit()
    rest = trial.units.assign(rest=trial.units.revenue - fitted.params["before"] * trial.units.before)
    both = trial.of(rest, "rest")
    table.compare(method, "difference", "statsmodels (ANCOVA)", ours["diff"], fitted.params["arm"])
    if not is_welch(both):
        table.compare("CUPED, common variance", "p-value", "statsmodels (ANCOVA)", ours["p_value"], fitted.pvalues["arm"], absolute=True)
        table.compare("CUPED, common variance", "interval", "statsmodels (ANCOVA)", ours["ci"][0], fitted.conf_int().loc["arm"][0])
    data = trial.units[["arm", "revenue", "before"]].rename(columns={"arm": "variant"})
    theirs = tea_tasting.Mean("revenue", "before", equal_var=False).analyze(data, 0, 1, variant="variant")
    # Its slope is that of the values of both variants together, so it differs by a part of the effect.
    table.compare(method, "difference", "tea-tasting (slope over both variants)", ours["diff"], theirs.effect_size, 0.05)


def capped(table, command, trial):
    _, found = command.run(trial, "units.csv", metrics=["revenue"], cap={"revenue": "99%"}, planned_units=UNITS)
    limit = np.quantile(trial.units.revenue, 0.99, method="inverted_cdf")
    both = [np.minimum(side, limit) for side in trial.of(trial.units, "revenue")]
    theirs = stats.ttest_ind(both[1], both[0], equal_var=not is_welch(both))
    table.compare("winsorizing", "p-value", "NumPy, SciPy", found["revenue"]["p_value"], theirs.pvalue, absolute=True)
    table.compare("winsorizing", "difference", "NumPy, SciPy", found["revenue"]["diff"], both[1].mean() - both[0].mean())


def prior(table, command, trial):
    bayes = {"prior": {"mean": 0.01, "sd": 0.05}, "relative": True}
    _, found = command.run(trial, "units.csv", metrics=["revenue"], bayes=bayes, planned_units=UNITS)
    ours, both = found["revenue"]["posterior"], trial.of(trial.units, "revenue")
    if not is_welch(both):
        return
    config = EffectBayesianConfig(difference_type="relative", prior_type="relative", prior_effect=GaussianPrior(0.01, 0.05**2, True))
    theirs = EffectBayesianABTest(sample(both[0]), sample(both[1]), config).compute_result()
    method = "posterior of a normal prior"
    table.compare(method, "mean", "GrowthBook", ours["mean"], theirs.expected)
    table.compare(method, "interval", "GrowthBook", ours["interval"][1], theirs.ci[1])
    table.compare(method, "P(better)", "GrowthBook", ours["p_better"], theirs.chance_to_win)
    table.compare(method, "expected loss", "GrowthBook", ours["expected_loss"], theirs.risk[1], absolute=True)


def corrections(table, command, trial):
    for name, theirs in (("holm", "holm"), ("benjamini_hochberg", "fdr_bh")):
        plan = dict(metrics=["revenue", "converted=proportion"], planned_units=UNITS, correction=name)
        _, found = command.run(trial, "units.csv", **plan)
        ours = [found["revenue"], found["converted"]]
        wanted = multipletests([one["p_value"] for one in ours], method=theirs)[1]
        for one, p in zip(ours, wanted):
            table.compare(f"correction {name}", "adjusted p-value", "statsmodels", one["p_adjusted"], p, absolute=True)


def segments(table, command, trial):
    report, _ = command.run(trial, "units.csv", "--segment", "country", metrics=["revenue"], planned_units=UNITS)
    [metric] = [metric for metric in report["segments"][0]["metrics"] if metric["name"] == "revenue"]
    found = metric["candidates"][0]
    differences, variances = [], []
    for country in sorted(trial.units.country.unique()):
        both = trial.of(trial.units[trial.units.country == country], "revenue")
        differences.append(both[1].mean() - both[0].mean())
        own = sum(side.var(ddof=1) / len(side) for side in both)
        size = sum(len(side) for side in both)
        common = sum((len(side) - 1) * side.var(ddof=1) for side in both) / (size - 2) * sum(1 / len(side) for side in both)
        variances.append(max(own, common))
    theirs = combine_effects(np.array(differences), np.array(variances)).test_homogeneity()
    table.compare("segments, Cochran's Q", "p-value", "statsmodels", found["p_value"], theirs.pvalue, absolute=True)
    table.compare("segments, Cochran's Q", "statistic", "statsmodels", found["statistic"], theirs.statistic)


def models(table, command, trial):
    names = ["accuracy", "precision", "recall", "f1", "auc", "log_loss", "brier"]
    model = {"label": "y_true", "prediction": "y_pred", "score": "score", "positive": "1"}
    _, found = command.run(trial, "requests.csv", metrics=["auc"], guardrails=[f"{name}:50%" for name in names if name != "auc"],
                           model=model, planned_units=UNITS)
    functions = {
        "accuracy": (sk.accuracy_score, "y_pred"), "precision": (sk.precision_score, "y_pred"), "recall": (sk.recall_score, "y_pred"),
        "f1": (sk.f1_score, "y_pred"), "auc": (sk.roc_auc_score, "score"), "log_loss": (sk.log_loss, "score"),
        "brier": (sk.brier_score_loss, "score")}
    for name, (function, column) in functions.items():
        for arm, key in enumerate(("baseline_value", "value")):
            rows = trial.requests[trial.requests.arm == arm]
            table.compare(f"model metric {name}", "value", "scikit-learn", found[name][key], function(rows.y_true, rows[column]))


def quantiles(table, command, trial):
    _, found = command.run(trial, "units.csv", "--explore", "latency_p50", metrics=["revenue"], planned_units=UNITS)
    for arm, key in enumerate(("baseline_value", "value")):
        rows = trial.requests[trial.requests.arm == arm]
        # Latencies are whole milliseconds, and the sample quantile is one of them.
        wanted = np.quantile(rows.duration, 0.5, method="median_unbiased")
        table.compare("quantile p50", "value (ms)", "NumPy", 1000 * found["latency_p50"][key], wanted, 1, absolute=True)


def split(table, command, trial):
    counts = [int((trial.units.arm == arm).sum()) for arm in (0, 1)]
    shares = [1 - trial.share, trial.share]
    found = command.json("analyze", "srm", "--expected", ",".join(f"{100 * share:.1f}" for share in shares),
                         "--observed", ",".join(map(str, counts)))
    theirs = stats.chisquare(counts, np.array(shares) * sum(counts)).pvalue
    table.compare("sample ratio mismatch", "p-value", "SciPy", found["p_value"], theirs, absolute=True)
    table.compare("sample ratio mismatch", "p-value", "GrowthBook", found["p_value"], check_srm(counts, shares), absolute=True)


def drifts(table, command, trial):
    rows = trial.requests.assign(source=[ARMS[arm] for arm in trial.requests.arm])
    # One row for each unit, so that the rows are independent, as the other libraries take them.
    rows = rows.drop_duplicates("unit")
    rows["kind"] = np.where(rows["items"] > 2, "many", np.where(rows["items"] > 0, "some", "none"))
    rows[["source", "score", "kind"]].to_csv(trial.folder / "drift.csv", index=False)
    found = command.json("analyze", "drift", "experiment.json", "--values", "drift.csv", "--by", "source", cwd=trial.folder)
    ours = {one["column"]: one for one in found["compared"]}
    sides = [rows[rows.source == name] for name in ARMS]
    theirs = stats.ks_2samp(sides[0].score, sides[1].score)
    table.compare("drift of scores, Kolmogorov-Smirnov", "distance", "SciPy", ours["score"]["kolmogorov_smirnov"], theirs.statistic)
    both = [side.kind for side in sides]
    table.compare("drift of categories, Jensen-Shannon", "distance", "evidently", ours["kind"]["jensen_shannon"],
                  _jensenshannon(*both, ColumnType.Categorical, 0.1)[0])
    table.compare("drift of categories, index (PSI)", "distance", "evidently", ours["kind"]["psi"],
                  _psi(*both, ColumnType.Categorical, 0.1)[0])


def sizes(table, command):
    for share in (0.5, 0.3):
        found = command.json("size", "--baseline-mean", 100, "--sd", 20, "--mde", 1, "--share", share)
        wanted = TTestIndPower().solve_power(0.05, alpha=0.05, power=0.8, ratio=share / (1 - share))
        table.compare("size of a mean", "units", "statsmodels", found["baseline"], math.ceil(wanted), 2, absolute=True)
        found = command.json("size", "--baseline-rate", 0.1, "--mde", 0.02, "--share", share, "--formula", "cohen")
        effect = sm_proportion.proportion_effectsize(0.12, 0.1)
        wanted = NormalIndPower().solve_power(effect, alpha=0.05, power=0.8, ratio=share / (1 - share))
        table.compare("size of a rate, Cohen's h", "units", "statsmodels", found["baseline"], math.ceil(wanted), 2, absolute=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", type=pathlib.Path, default=ROOT / "dist/sidetrack", help="default: dist/sidetrack (make cli)")
    parser.add_argument("--trials", type=int, default=10)
    args = parser.parse_args()
    command, table = Command(args.command.resolve()), Table()
    for seed in range(args.trials):
        with tempfile.TemporaryDirectory(prefix="sidetrack-agreement-") as folder:
            trial = Trial(seed, pathlib.Path(folder), 0.5 if seed % 3 else 0.3)
            for method in (means, always_valid, shares, ratio, covariates, capped, prior, corrections, segments, models, quantiles, split, drifts):
                method(table, command, trial)
    sizes(table, command)
    table.print()


if __name__ == "__main__":
    main()
