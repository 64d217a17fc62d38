//! Every function against values that another program computed with 60 digits: `reference/make.py` wrote them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails may say so abruptly"
)]

#[path = "reference/choices.rs"]
mod choices;
#[path = "reference/comparisons.rs"]
mod comparisons;
#[path = "reference/data.rs"]
mod data;
#[path = "reference/distributions.rs"]
mod distributions;
#[path = "reference/drift.rs"]
mod drift;
#[path = "reference/looks.rs"]
mod looks;

use serde_json::Value;

/// The worst relative error that is allowed anywhere.
const TOLERANCE: f64 = 1e-9;

/// What the numbers of one group came to.
struct Group {
    name: &'static str,
    cases: Vec<Value>,
    worst: f64,
    wrong: Vec<String>,
}

impl Group {
    fn load(name: &'static str) -> Self {
        let text = include_str!("../reference/values.json");
        let all: Value = serde_json::from_str(text).unwrap();
        let cases = all[name].as_array().unwrap_or_else(|| panic!("no group {name}")).clone();
        assert!(!cases.is_empty());
        Self { name, cases, worst: 0.0, wrong: Vec::new() }
    }

    /// Compares `got` with the value that the case wants under `key`.
    fn check(&mut self, case: &Value, key: &str, got: impl Into<Option<f64>>) {
        self.close(case, key, &case["want"][key], got.into());
    }

    /// Compares a list.
    fn check_all(&mut self, case: &Value, key: &str, got: &[f64]) {
        let wanted = case["want"][key].as_array().unwrap_or_else(|| panic!("{key} of {case}"));
        assert_eq!(wanted.len(), got.len(), "{key} of {case}");
        for (wanted, got) in wanted.iter().zip(got) {
            self.close(case, key, wanted, Some(*got));
        }
    }

    fn close(&mut self, case: &Value, key: &str, wanted: &Value, got: Option<f64>) {
        let wanted = wanted.as_f64();
        let error = match (wanted, got) {
            (None, None) => 0.0,
            (Some(wanted), Some(got)) if wanted == got => 0.0,
            (Some(wanted), Some(got)) => (got - wanted).abs() / wanted.abs(),
            _ => f64::INFINITY,
        };
        if error.is_nan() || error > TOLERANCE {
            let input = &case["in"];
            self.wrong.push(format!(
                "{} {key} of {input}: want {wanted:?}, got {got:?}, error {error:e}",
                self.name
            ));
        }
        self.worst = self.worst.max(error);
    }

    fn done(self) {
        println!(
            "{}: {} cases, worst relative error {:.1e}",
            self.name,
            self.cases.len(),
            self.worst
        );
        assert!(self.wrong.is_empty(), "\n{}", self.wrong.join("\n"));
    }
}

/// Runs `check` over a group's cases.
fn group(name: &'static str, check: impl Fn(&mut Group, &Value)) {
    let mut group = Group::load(name);
    for case in group.cases.clone() {
        check(&mut group, &case);
    }
    group.done();
}

fn number(case: &Value, key: &str) -> f64 {
    case["in"][key].as_f64().unwrap_or_else(|| panic!("{key} of {case}"))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn counts(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|value| value.as_u64().unwrap()).collect()
}
