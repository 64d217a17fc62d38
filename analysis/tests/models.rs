//! Metrics of models against reference/models.json: values and standard errors by unit that scikit-learn gives for the
//! same predictions. reference/models.py describes how.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails may say so abruptly"
)]

use std::fmt::Write as _;
use std::num::NonZero;

use serde_json::Value;
use sidetrack::config::{Model, Task};
use sidetrack_analysis::{
    Analysis, Input, Logs, MetricRequests, Outcomes, Settings, Strata, Wanted, analyze,
};

/// Half of the width of a fixed 95 % interval in standard errors.
const Z: f64 = 1.959_963_984_540_054;

const FILE: &str = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
    "variants": [{"name": "b"}, {"name": "c", "weight": 50}]}], "settings": {"exposure_unit": "plain"}}"#;

fn model(case: &str) -> Model {
    let text = |text: &str| Some(text.to_owned());
    let label = "y_true".to_owned();
    let prediction = text("y_pred");
    match case {
        "classification" => Model { label, prediction, score: text("score"), ..Model::default() },
        "classes" => Model { label, prediction, ..Model::default() },
        _ => Model { task: Task::Regression, label, prediction, ..Model::default() },
    }
}

/// The analysis of the rows of a case; each row is a request.
fn analyzed(both: &Value, threads: usize) -> Analysis {
    let case = both["case"].as_str().unwrap();
    let (mut log, mut outcomes) = (String::new(), "request_id,y_true,y_pred,score\n".to_owned());
    let rows = both["rows"].as_array().unwrap();
    for (at, row) in rows.iter().enumerate() {
        let (unit, variant) = (&row[0], ["b", "c"][usize::from(row[1] == 1)]);
        let second = at % 3600;
        writeln!(
            log,
            r#"{{"time":"2026-11-23T09:{:02}:{:02}.000Z","request_id":"r{at}","unit":"u{unit}","experiment":"e","assigned":"{variant}","served":"{variant}","reason":"hash","status":200,"duration":20}}"#,
            second / 60,
            second % 60
        )
        .unwrap();
        // Classes of several are names, since 0 and 1 alone would be yes and no.
        let class = |value: &Value| {
            if case == "classes" { format!("class {value}") } else { value.to_string() }
        };
        let score = row[4].as_f64().map_or_else(String::new, |score| score.to_string());
        writeln!(outcomes, "r{at},{},{},{score}", class(&row[2]), class(&row[3])).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let plan = sidetrack::config::parse_json(FILE.as_bytes()).unwrap();
    let experiment = plan.experiments.into_iter().next().unwrap();
    let model = model(case);
    let wanted = Wanted { model: Some(&model), ..Wanted::default() };
    let outcomes =
        Outcomes::read_with(&write("outcomes.csv", &outcomes), &experiment, wanted).unwrap();
    let input = Input {
        experiment: &experiment,
        strata: &Strata::new(&experiment, "").unwrap(),
        config_hash: "",
        logs: &Logs::new(&[write("access.log", &log)]).unwrap(),
        outcomes: Some(&outcomes),
    };
    let units: std::collections::BTreeSet<String> =
        rows.iter().map(|row| row[0].to_string()).collect();
    let names = both["want"].as_object().unwrap().keys();
    let primary = names
        .map(|name| if name == "bias" { "bias:decrease".parse() } else { name.parse() }.unwrap());
    let settings = Settings {
        metrics: MetricRequests { primary: primary.collect(), ..MetricRequests::default() },
        // A fixed test, whose interval is a number of standard errors.
        planned_units: Some(units.len() as u64),
        ..Settings::planned(None, NonZero::new(threads).unwrap()).unwrap()
    };
    analyze(input, &settings, &|_, _| ()).unwrap().0
}

fn cases() -> Vec<Value> {
    serde_json::from_str(include_str!("../reference/models.json")).unwrap()
}

/// The variance of a side by unit, at least that of both sides together.
fn variances(arms: &Value) -> [f64; 2] {
    let of = |arm: usize| {
        let (m, squares) =
            (arms[arm]["m"].as_f64().unwrap(), arms[arm]["sum_of_squares"].as_f64().unwrap());
        // With n − 1, and the sum of squares of units as if the side were a mean over them.
        (m, m / (m - 1.0) * squares, m * m * squares)
    };
    let (one, two) = (of(0), of(1));
    let pooled = (one.2 + two.2) / (one.0 + two.0 - 2.0);
    [one.1.max(pooled / one.0), two.1.max(pooled / two.0)]
}

#[test]
fn values_and_standard_errors_are_those_of_scikit_learn() {
    let mut worst = (0.0f64, 0.0f64);
    for both in cases() {
        let case = both["case"].as_str().unwrap();
        let found = analyzed(&both, 2);
        for (name, arms) in both["want"].as_object().unwrap() {
            let metric = found.metrics.iter().find(|metric| metric.name == *name).unwrap();
            let candidate = &metric.candidates[0];
            let values = [metric.baseline.value.unwrap(), candidate.value.unwrap()];
            for (value, arm) in values.iter().zip(arms.as_array().unwrap()) {
                let want = arm["value"].as_f64().unwrap();
                worst.0 = worst.0.max((value - want).abs() / want.abs());
                assert!((value - want).abs() < 1e-9 * want.abs(), "{case} {name}: {value} {want}");
            }
            // Shares have a score test of their own, and means of ratios are tested in reference.rs.
            if !["auc", "f1", "macro_f1", "rmse"].contains(&name.as_str()) {
                continue;
            }
            let [low, high] = candidate.ci.map(Option::unwrap);
            let error = (high - low) / (2.0 * Z);
            let want = variances(arms).iter().sum::<f64>().sqrt();
            worst.1 = worst.1.max((error - want).abs() / want);
            assert!((error - want).abs() < 1e-6 * want, "{case} {name}: {error} {want}");
            assert_eq!(metric.baseline.n, arms[0]["m"].as_u64().unwrap(), "{case} {name}");
        }
    }
    println!("worst relative differences: values {:.1e}, standard errors {:.1e}", worst.0, worst.1);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for both in cases() {
        let text = |threads| {
            let mut found = serde_json::to_value(analyzed(&both, threads)).unwrap();
            found["lines"]["examples"].take();
            found.to_string()
        };
        assert_eq!(text(1), text(5), "{}", both["case"]);
    }
}
