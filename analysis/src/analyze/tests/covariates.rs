//! Covariates: what they adjust, and which columns are refused.

use super::*;
use crate::check::CheckState;

const UNITS: u64 = 400;

/// Unit `u` first comes in second `u` after nine o'clock.
fn log() -> String {
    (0..UNITS).map(|unit| line(unit, unit, &ok(100))).collect()
}

/// What a unit had before: the same for both variants, since pairs of units have it in common.
fn before(unit: u64) -> u64 {
    unit / 2 * 7919 % 101
}

fn noise(unit: u64) -> u64 {
    unit * 31 % 11
}

/// With covariates, and this primary metric.
fn settings_for(covariates: &[&str], metric: &str) -> Settings {
    let covariates = covariates.iter().map(|name| (*name).to_owned()).collect();
    let primary = vec![metric.parse().unwrap()];
    Settings {
        methods: Methods { covariates, ..Methods::default() },
        metrics: MetricRequests { primary, ..MetricRequests::default() },
        ..settings()
    }
}

fn found(rows: &str, covariates: &[&str]) -> Analysis {
    let settings = settings_for(covariates, "revenue=mean");
    analyzed(FILE, log().as_bytes(), Some(rows), &settings).unwrap().0
}

/// Rows `unit,revenue,pre`: the candidate has 3 more.
fn rows(pre: impl Fn(u64) -> String) -> String {
    let row = |unit: u64| {
        let revenue = before(unit) + noise(unit) + 3 * (unit % 2);
        format!("u{unit},{revenue},{}\n", pre(unit))
    };
    format!("unit,revenue,pre\n{}", (0..UNITS).map(row).collect::<String>())
}

fn check(analysis: &Analysis) -> (CheckState, String) {
    let check = analysis.checks.iter().find(|check| check.name == CheckName::Covariate).unwrap();
    (check.state, check.message.clone())
}

#[test]
fn a_covariate_takes_the_noise_of_the_past_away() {
    let plain = found(&rows(|unit| before(unit).to_string()), &[]);
    assert!(plain.metrics[0].candidates[0].adjustment.is_none());
    assert!(plain.checks.iter().all(|check| check.name != CheckName::Covariate));
    let analysis = found(&rows(|unit| before(unit).to_string()), &["pre"]);
    let (plain, result) = (&plain.metrics[0].candidates[0], &analysis.metrics[0].candidates[0]);
    let adjustment = result.adjustment.clone().unwrap();
    assert!((adjustment.theta["pre"] - 1.0).abs() < 0.01, "{adjustment:?}");
    assert!(adjustment.variance_reduction > 0.98, "{adjustment:?}");
    // Beside it, what there is without covariates.
    assert_eq!((adjustment.diff, adjustment.ci), (plain.diff, plain.ci));
    assert_eq!(
        (adjustment.relative_lift, adjustment.p_value),
        (plain.relative_lift, plain.p_value)
    );
    assert!(plain.decision == Conclusion::NoDifferenceShown && plain.p_value.unwrap() > 0.2);
    assert_eq!(result.decision, Conclusion::Better);
    assert!((result.diff.unwrap() - 3.0).abs() < 0.1, "{:?}", result.diff);
    assert_eq!(result.method, "means per unit, adjusted by covariates (CUPED)");
    assert_eq!(check(&analysis).0, CheckState::Ok);
    // The covariate is not compared as a metric.
    assert!(analysis.metrics.iter().all(|metric| metric.name != "pre"));
    let reasons: Vec<String> = analysis.reasons.iter().map(ToString::to_string).collect();
    let note = reasons.iter().find(|reason| reason.starts_with("revenue is adjusted by pre"));
    assert!(note.unwrap().contains("Without it, the difference is"), "{reasons:?}");
}

#[test]
fn a_conclusion_of_adjusted_values_is_looked_at_with_adjusted_values() {
    // Without the covariate, nothing shows, whichever units are left out.
    let analysis = found(&rows(|unit| before(unit).to_string()), &["pre"]);
    assert_eq!(analysis.metrics[0].candidates[0].decision, Conclusion::Better);
    let few = |analysis: &Analysis, name: CheckName| {
        analysis.checks.iter().find(|check| check.name == name).unwrap().state
    };
    for name in [CheckName::FewUnits, CheckName::LargeValues] {
        assert_eq!(few(&analysis, name), CheckState::Ok, "{name:?}");
    }
    // Five units of the candidate have all of the difference.
    let few_have_it = rows(|unit| before(unit).to_string());
    let few_have_it: String = few_have_it
        .lines()
        .map(|row| match row.split(',').collect::<Vec<_>>().as_slice() {
            [
                unit @ ("u1" | "u41" | "u81" | "u121" | "u161" | "u201" | "u241" | "u281"),
                _,
                pre,
            ] => {
                format!("{unit},900,{pre}\n")
            }
            [unit, "revenue", pre] => format!("{unit},revenue,{pre}\n"),
            [unit, revenue, pre] => {
                let odd = unit[1..].parse::<u64>().unwrap() % 2;
                format!("{unit},{},{pre}\n", revenue.parse::<u64>().unwrap() - 3 * odd)
            }
            _ => unreachable!("{row}"),
        })
        .collect();
    let analysis = found(&few_have_it, &["pre"]);
    let result = &analysis.metrics[0].candidates[0];
    assert!(result.adjustment.is_some() && result.diff.unwrap() > 20.0, "{result:?}");
    if result.decision == Conclusion::Better {
        assert_eq!(few(&analysis, CheckName::LargeValues), CheckState::Blocking);
    }
}

#[test]
fn a_covariate_that_is_the_metric_itself_is_named() {
    let reasons = |pre: &dyn Fn(u64) -> String| {
        let analysis = found(&rows(pre), &["pre"]);
        let reasons: Vec<String> = analysis.reasons.iter().map(ToString::to_string).collect();
        reasons.join("\n")
    };
    let revenue = |unit: u64| before(unit) + noise(unit) + 3 * (unit % 2);
    // The same number: nothing is left. Nearly the same: the effect is gone.
    let same = reasons(&|unit| revenue(unit).to_string());
    let words = "pre: explains all of the variance of revenue of fancy";
    assert!(same.contains(words) && same.contains("it is not adjusted"), "{same}");
    let near = reasons(&|unit| format!("{}.{}", revenue(unit), unit * 7 % 10));
    assert!(
        near.contains("pre: explains 100.0 %") && near.contains("takes the effect away"),
        "{near}"
    );
    let sound = reasons(&|unit| (before(unit) + noise(unit + 1)).to_string());
    assert!(!sound.contains("explains"), "{sound}");
}

#[test]
fn units_without_a_value_are_compared_with_each_other() {
    // Each fifth pair has no value. The outcomes of those pairs are far from the others.
    let is_known = |unit: u64| !(unit / 2).is_multiple_of(5);
    let pre = |unit: u64| if is_known(unit) { before(unit).to_string() } else { String::new() };
    let rows = rows(pre);
    let far: String = rows
        .lines()
        .map(|row| match row.split(',').collect::<Vec<_>>().as_slice() {
            [unit, revenue, ""] => {
                format!("{unit},{},\n", 5000 + revenue.parse::<u64>().unwrap())
            }
            _ => format!("{row}\n"),
        })
        .collect();
    let analysis = found(&far, &["pre"]);
    let adjustment = analysis.metrics[0].candidates[0].adjustment.clone().unwrap();
    assert!((adjustment.theta["pre"] - 1.0).abs() < 0.05, "{adjustment:?}");
    assert!(adjustment.variance_reduction > 0.99, "{adjustment:?}");
    let message = "the variants are alike in pre; 20 % of the units have no value";
    assert_eq!(check(&analysis), (CheckState::Ok, message.to_owned()));
}

#[test]
fn rows_of_the_past_are_no_outcomes() {
    let mut timed = "unit,time,revenue,pre\n".to_owned();
    for unit in 0..UNITS {
        timed += &format!("u{unit},2026-11-01T00:00:00Z,,{}\n", before(unit));
        let revenue = before(unit) + noise(unit) + 3 * (unit % 2);
        timed += &format!("u{unit},2026-11-23T10:00:00Z,{revenue},\n");
    }
    let analysis = found(&timed, &["pre"]);
    let counts = analysis.outcomes.clone().unwrap();
    assert_eq!((counts.matched, counts.early), (2 * UNITS, 0));
    let untimed = found(&rows(|unit| before(unit).to_string()), &["pre"]);
    let of = |analysis: &Analysis| analysis.metrics[0].candidates[0].clone();
    assert_eq!(of(&analysis).adjustment, of(&untimed).adjustment);
    assert_eq!(of(&analysis).ci, of(&untimed).ci);
}

#[test]
fn what_the_variant_may_have_changed_is_no_covariate() {
    let blocks = |rows: &str, words: &str| {
        let analysis = found(rows, &["pre"]);
        let (state, message) = check(&analysis);
        assert_eq!((state, analysis.decision), (CheckState::Blocking, Decision::Invalid));
        assert!(message.contains(words), "{message}");
    };
    // Rows from after the first request.
    let late =
        rows(|unit| before(unit).to_string()).replace("unit,revenue,pre", "unit,time,revenue,pre");
    let late: String = late
        .lines()
        .enumerate()
        .map(|(number, row)| match number {
            0 => format!("{row}\n"),
            _ => format!("{}\n", row.replacen(',', ",2026-11-23T10:00:00Z,", 1)),
        })
        .collect();
    blocks(&late, "400 of 400 values of pre (100 %) are from after the first request");
    // Several values of a unit.
    let mut several = rows(|unit| before(unit).to_string());
    (0..40).for_each(|unit| several += &format!("u{unit},0,{}\n", 1000 + unit));
    blocks(&several, "40 units have several values of pre");
    // The candidate's units have more.
    blocks(&rows(|unit| (before(unit) + 100 * (unit % 2)).to_string()), "differ in its values");
    // The candidate's units are known less often.
    let rarely = |unit: u64| {
        if unit % 2 == 1 && unit.is_multiple_of(3) {
            String::new()
        } else {
            before(unit).to_string()
        }
    };
    blocks(&rows(rarely), "differ in how often it is known");
    // Only buyers have a row.
    let rows = rows(|unit| before(unit).to_string());
    let is_buyer = |row: &&str| row.starts_with("unit") || row.len().is_multiple_of(2);
    let buyers: String = rows.lines().filter(is_buyer).map(|row| format!("{row}\n")).collect();
    assert!(buyers.lines().count() < 380);
    blocks(&buyers, "pre is known of units that have a row of revenue, and of no others");
    // No unit has a value.
    blocks("unit,revenue,pre\nu1,1,\nu900000,1,2\n", "no unit of the log has a value of pre");
}

#[test]
fn a_covariate_is_a_column_of_outcomes_about_units() {
    let error = |rows: &str, covariate: &str, metric: &str| {
        let settings = settings_for(&[covariate], metric);
        analyzed(FILE, log().as_bytes(), Some(rows), &settings).unwrap_err()
    };
    let rows = "unit,revenue,pre\nu1,1,2\n";
    let unknown = error(rows, "past", "revenue");
    assert_eq!(unknown, "unknown column; the outcomes have: revenue, pre");
    assert!(error(rows, "pre", "pre").contains("it is a covariate"));
    let by_request = error("request_id,revenue,pre\n1-1,1,2\n", "pre", "revenue");
    assert!(by_request.contains("the rows are about requests"), "{by_request}");
    // The only other column decides without being asked.
    let settings = Settings { metrics: MetricRequests::default(), ..settings_for(&["pre"], "a") };
    let found = analyzed(FILE, log().as_bytes(), Some(rows), &settings).unwrap().0;
    assert_eq!(found.metrics[0].name, "revenue");
    // Without outcomes, there is nothing to adjust.
    assert!(analyzed(FILE, log().as_bytes(), None, &settings).is_ok());
}

#[test]
fn rare_events_are_tested_without_covariates() {
    // Two of each variant have one: too few for a test of shares, whatever explains them.
    let bought = |unit: u64| u8::from(unit < 4);
    let row = |unit: u64| format!("u{unit},{},{}\n", bought(unit), before(unit));
    let rows = format!("unit,bought,pre\n{}", (0..UNITS).map(row).collect::<String>());
    let settings = settings_for(&["pre"], "bought=proportion");
    let found = analyzed(FILE, log().as_bytes(), Some(&rows), &settings).unwrap().0;
    let result = &found.metrics[0].candidates[0];
    assert!(result.adjustment.is_none() && result.p_value.is_none(), "{result:?}");
}
