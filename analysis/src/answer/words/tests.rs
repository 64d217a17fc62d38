use serde::de::DeserializeOwned;
use std::fmt::Debug;

use super::*;

/// Asserts that a value has this word in Rust and in JSON, both ways.
fn word<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, found: &str, word: &str) {
    assert_eq!(found, word);
    assert_eq!(serde_json::to_value(value).unwrap(), word);
    assert_eq!(serde_json::from_value::<T>(word.into()).unwrap(), *value);
}

#[test]
fn words_are_stable_and_the_same_everywhere() {
    for (decision, text) in [
        (Decision::Promote, "promote"),
        (Decision::KeepBaseline, "keep_baseline"),
        (Decision::Inconclusive, "inconclusive"),
        (Decision::Invalid, "invalid"),
    ] {
        word(&decision, decision.as_str(), text);
    }
    for (unit, text) in [(AnalysisUnit::Unit, "unit"), (AnalysisUnit::Request, "request")] {
        word(&unit, unit.as_str(), text);
    }
    for (verdict, text) in [
        (SrmVerdict::Ok, "ok"),
        (SrmVerdict::Mismatch, "mismatch"),
        (SrmVerdict::Undefined, "undefined"),
    ] {
        word(&verdict, verdict.as_str(), text);
    }
    for (role, text) in [
        (Role::Primary, "primary"),
        (Role::Guardrail, "guardrail"),
        (Role::Exploratory, "exploratory"),
    ] {
        word(&role, role.as_str(), text);
    }
    for (kind, text) in [
        (Kind::Proportion, "proportion"),
        (Kind::Mean, "mean"),
        (Kind::Ratio, "ratio"),
        (Kind::Quantile, "quantile"),
    ] {
        word(&kind, kind.as_str(), text);
    }
    for (goal, text) in [(Goal::Increase, "increase"), (Goal::Decrease, "decrease")] {
        word(&goal, goal.as_str(), text);
    }
    for (conclusion, text) in [
        (Conclusion::Better, "better"),
        (Conclusion::Worse, "worse"),
        (Conclusion::NoDifferenceShown, "no_difference_shown"),
        (Conclusion::NonInferior, "non_inferior"),
        (Conclusion::Inferior, "inferior"),
        (Conclusion::Undefined, "undefined"),
    ] {
        word(&conclusion, conclusion.as_str(), text);
    }
    word(&TestMode::Fixed, "fixed", "fixed");
    word(&TestMode::AlwaysValid, "always_valid", "always_valid");
    word(&TestMode::GroupSequential, "group_sequential", "group_sequential");
    word(&VariantRole::Baseline, "baseline", "baseline");
    word(&VariantRole::Candidate, "candidate", "candidate");
    word(&MetricUnit::Seconds, "s", "s");
}
