//! Analyses as `sidetrack analyze run --json` writes them.

use super::*;
use serde_json::{Value, json};

/// An analysis of the file with one metric, won by `winner`.
pub(super) fn of(file: &Path, baseline: &str, candidates: &[&str], winner: Option<&str>) -> Value {
    let check = ran(&mut command(&["check", "--json", file.to_str().unwrap()])).good();
    let check: Value = serde_json::from_str(&check).unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let file: Value = serde_saphyr::from_str(&text).unwrap();
    let arm = |name: &&str, role: &str| json!({"name": name, "role": role, "units": 900, "requests": 1000, "served_elsewhere": 3});
    let variants: Vec<Value> = std::iter::once(arm(&baseline, "baseline"))
        .chain(candidates.iter().map(|name| arm(name, "candidate")))
        .collect();
    let compared: Vec<Value> = candidates
        .iter()
        .map(|name| {
            json!({"variant": name, "n": 900, "value": 0.95, "diff": 0.11, "ci": [0.08, null], "relative_lift": 0.13,
                "relative_lift_ci": [null, null], "p_value": 1e-9, "log10_p": -9.0, "p_adjusted": 2e-9, "statistic": 6.1,
                "df": null, "p_best": null, "expected_loss": 0.0, "method": "score", "decision": "better", "phases": []})
        })
        .collect();
    json!({
        "version": 1, "experiment": file["experiments"][0]["name"], "config_hash": check["hash"],
        "from": "2026-11-23T09:00:00Z", "to": "2026-11-24T09:00:00.250Z", "unit_of_analysis": "unit", "test": "fixed", "alpha": 0.05, "planned_units": 1800, "adaptive": false,
        "lines": {"read": 2003, "used": 2000, "malformed": 3, "examples": [], "excluded": {"other_experiment": 0,
            "override": 0, "missing_unit": 0, "breaker": 0, "not_started": 0, "disabled": 0, "excluded": 0,
            "aborted": 0, "other_weights": 0}},
        "variants": variants,
        "srm": {"verdict": "ok", "p_value": 0.5, "log10_p": -0.3, "statistic": 0.45, "df": 1, "phases": [], "note": null},
        "outcomes": null, "torn_units": 0, "worth": [], "without_breaker": null,
        "breaker": {"requests": 0, "share": 0.0, "minutes": 0, "intervals": []},
        "metrics": [{"name": "accuracy", "role": "primary", "kind": "proportion", "goal": "increase", "unit": null,
            "is_share": true, "margin": null,
            "baseline": {"variant": baseline, "n": 900, "value": 0.84}, "candidates": compared}],
        "decision": if winner.is_some() { "promote" } else { "keep_baseline" }, "winner": winner,
        "reasons": ["accuracy rises by 0.11"], "something_newer": {},
    })
}

/// Writes an analysis beside the experiment file.
pub(super) fn write(dir: &Path, analysis: &Value) -> std::path::PathBuf {
    let path = dir.join("analysis.json");
    std::fs::write(&path, analysis.to_string()).unwrap();
    path
}
