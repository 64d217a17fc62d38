//! What was planted is found, and what was not is not.

use serde_json::Value;

use crate::crowd::{BASELINE, Crowd, Truth, Written, experiment};
use crate::{Folder, number, result};

pub(crate) const SIMPLE: &str = r#"{"experiments": [{"name": "forecast", "unit": [{"header": "x-user-id"}],
    "baseline": "plain", "variants": [{"name": "plain"}, {"name": "fancy", "weight": 30}]}],
    "settings": {"exposure_unit": "plain"}}"#;

pub(crate) const ROLLOUT: &str = r#"{"experiments": [{"name": "forecast", "unit": [{"header": "x-user-id"}],
    "baseline": "plain", "variants": [{"name": "plain"}, {"name": "fancy"}],
    "rollout": {"start": "2026-11-23T09:00:00Z", "phases": [
        {"name": "canary", "for": "1h", "weights": {"fancy": 5}},
        {"name": "early", "for": "2h", "weights": {"fancy": 20}},
        {"name": "production", "weights": {"fancy": 50}}]}}],
    "settings": {"exposure_unit": "digest"}}"#;

/// The planted candidate: 3.6 points more accuracy for 17 ms more of mean latency.
const BETTER: Truth = Truth { error: 0.01, latency: 48.5, accuracy: 0.912, revenue: 2.2 };

pub(crate) fn folder(file: &str, written: &Written) -> Folder {
    let folder = Folder::new();
    folder.write("experiment.json", file);
    folder.write("access.log", &written.log);
    folder.write("outcomes.csv", &written.outcomes);
    folder.write("by_unit.csv", &written.by_unit);
    folder
}

#[test]
fn a_planted_effect_is_found_with_its_size() {
    let written = Crowd::new(6000, vec![BASELINE, BETTER]).write(&experiment(SIMPLE), false);
    let folder = folder(SIMPLE, &written);
    let analysis = folder.analysis(&[
        "--outcomes",
        "outcomes.csv",
        "--guardrail",
        "latency_p95:100ms",
        "--value-per",
        "accuracy=0.02",
        "--value-per",
        "latency_mean=0.001",
    ]);
    assert_eq!(analysis["decision"], "promote", "{analysis:#}");
    assert_eq!(analysis["winner"], "fancy");
    assert_eq!(analysis["unit_of_analysis"], "unit");
    assert_eq!(analysis["srm"]["verdict"], "ok");
    let accuracy = result(&analysis, "accuracy");
    let (low, high) = (number(&accuracy["ci"][0]), number(&accuracy["ci"][1]));
    assert!(low < 0.036 && 0.036 < high && high - low < 0.05, "{accuracy:#}");
    assert!(number(&accuracy["p_best"]) > 0.999);
    let latency = result(&analysis, "latency_mean");
    assert!((number(&latency["diff"]) - 0.017).abs() < 0.003, "{latency:#}");
    assert_eq!(analysis["lines"]["used"], written.lines);
    let rate = number(&analysis["worth"][0]["ms_per_point"]);
    assert!((rate - 17.0 / 3.6).abs() < 1.5, "{rate}");
    let net = number(&analysis["worth"][0]["net"]);
    assert!((net - (3.6 * 0.02 - 17.0 * 0.001)).abs() < 0.02, "{net}");
}

#[test]
fn equal_variants_have_no_winner() {
    for seed in 0..5 {
        let crowd = Crowd { seed, ..Crowd::new(2000, vec![BASELINE, BASELINE]) };
        let folder = folder(SIMPLE, &crowd.write(&experiment(SIMPLE), false));
        let analysis = folder.analysis(&["--outcomes", "outcomes.csv"]);
        assert_eq!(analysis["decision"], "inconclusive", "{analysis:#}");
        assert_eq!(analysis["srm"]["verdict"], "ok");
    }
}

/// Both get better all the time, and the candidate has more of the late units: pooled it would seem to win by far.
#[test]
fn a_drift_over_the_phases_is_no_effect() {
    let drifting = Truth { error: 0.04, ..BASELINE };
    let crowd = Crowd { drift: 4.0, ..Crowd::new(8000, vec![drifting, drifting]) };
    let written = crowd.write(&experiment(ROLLOUT), true);
    let folder = folder(ROLLOUT, &written);
    let analysis = folder.analysis(&[]);
    assert_eq!(analysis["decision"], "inconclusive", "{analysis:#}");
    assert_eq!(analysis["srm"]["verdict"], "ok", "{analysis:#}");
    let error = result(&analysis, "error_rate");
    assert!(number(&error["ci"][0]) < 0.0 && number(&error["ci"][1]) > 0.0, "{error:#}");
    assert_eq!(error["phases"].as_array().unwrap().len(), 3);
    // The trap is real: the pooled rates of the two differ by more than the honest interval allows.
    let pooled = |variant: &str| {
        let lines: Vec<&str> = written
            .log
            .lines()
            .filter(|line| line.contains(&format!("\"assigned\":\"{variant}\"")))
            .collect();
        lines.iter().filter(|line| line.contains("\"status\":503")).count() as f64
            / lines.len() as f64
    };
    assert!(
        pooled("fancy") - pooled("plain") > number(&error["ci"][1]),
        "{} {}",
        pooled("fancy"),
        pooled("plain")
    );
    // Each unit is counted once.
    let units: u64 = analysis["variants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variant| variant["units"].as_u64().unwrap())
        .sum();
    assert_eq!(units, 8000);
}

#[test]
fn outcomes_of_units_are_found_by_digest_and_count_once() {
    let written = Crowd::new(6000, vec![BASELINE, Truth { revenue: 4.0, ..BASELINE }])
        .write(&experiment(ROLLOUT), true);
    let folder = folder(ROLLOUT, &written);
    let analysis = folder.analysis(&[
        "--outcomes",
        "by_unit.csv",
        "--metric",
        "basket",
        "--metric",
        "converted",
    ]);
    assert_eq!(analysis["outcomes"]["matched"], 6000, "{analysis:#}");
    let (basket, converted) = (result(&analysis, "basket"), result(&analysis, "converted"));
    assert_eq!(
        (&basket["decision"], &converted["decision"]),
        (&"better".into(), &"better".into()),
        "{analysis:#}"
    );
    // The first variant a unit met is what it is counted for: fewer than met the candidate in the end.
    assert!((number(&converted["diff"]) - 0.1).abs() < 0.05);
    // Holm over two primary metrics: twice the smaller p-value, and never less than that for the other.
    let p = |found: &Value, key: &str| number(&found[key]);
    let smaller = p(basket, "p_value").min(p(converted, "p_value"));
    for found in [basket, converted] {
        let wanted = (2.0 * smaller).max(p(found, "p_value"));
        assert!((p(found, "p_adjusted") - wanted).abs() <= 1e-9 * wanted, "{found:#}");
    }
}

/// In the second phase every user does again, to the letter, what he did in the first: nothing more is known than before.
#[test]
fn the_same_users_again_are_no_new_evidence() {
    let phases = |second: &str| {
        SIMPLE.replace(
            r#"{"name": "fancy", "weight": 30}]"#,
            &format!(
                r#"{{"name": "fancy"}}], "rollout": {{"start": "2026-11-23T09:00:00Z", "phases": [
                {{"name": "one", "for": "6h", "weights": {{"fancy": 30}}}}{second}]}}"#
            ),
        )
    };
    let (one, two) = (phases(""), phases(r#", {"name": "two", "weights": {"fancy": 30}}"#));
    let mut written = Crowd::new(2000, vec![BASELINE, BETTER]).write(&experiment(&one), false);
    let once = folder(&one, &written).analysis(&["--planned-units", "2000"]);
    // Six hours later: 09 to 15 becomes 15 to 21.
    let later = |line: &str| {
        let hour: u32 = line[20..22].parse().unwrap();
        format!("{}{:02}{}\n", &line[..20], hour + 6, &line[22..]).replace("\"one\"", "\"two\"")
    };
    let again: String = written.log.lines().map(later).collect();
    written.log += &again;
    let twice = folder(&two, &written).analysis(&["--planned-units", "2000"]);
    assert_eq!(twice["test"], "fixed");
    for metric in ["error_rate", "latency_mean", "latency_p95"] {
        let width = |analysis: &Value| {
            let found = result(analysis, metric);
            number(&found["ci"][1]) - number(&found["ci"][0])
        };
        let ratio = width(&twice) / width(&once);
        assert!((ratio - 1.0).abs() < 0.02, "{metric}: {ratio}");
    }
    assert_eq!(once["variants"][0]["units"], twice["variants"][0]["units"]);
}
