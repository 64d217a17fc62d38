//! Metrics of predictions and labels, on a handful of units whose figures can be counted.

use sidetrack::config::{Model, Task};

use super::*;

fn model(prediction: Option<&str>, score: Option<&str>, positive: Option<&str>) -> Model {
    let text = |text: Option<&str>| text.map(str::to_owned);
    Model {
        label: "y_true".to_owned(),
        prediction: text(prediction),
        score: text(score),
        positive: text(positive),
        ..Model::default()
    }
}

/// A log of 400 units with two requests each, and the request ids.
fn log() -> (String, Vec<(u64, String)>) {
    let (mut log, mut ids) = (String::new(), Vec::new());
    for unit in 0..400 {
        for second in [unit, unit + 500] {
            log += &line(unit, second, &ok(100));
            ids.push((unit, format!("{unit}-{second}")));
        }
    }
    (log, ids)
}

fn of(model: &Model, outcomes: &str, metrics: &[&str]) -> Result<Analysis, String> {
    let primary = metrics.iter().map(|metric| metric.parse().unwrap()).collect();
    let metrics = MetricRequests { primary, ..MetricRequests::default() };
    let settings = Settings { metrics, planned_units: Some(400), ..settings() };
    let wanted = Wanted { model: Some(model), ..Wanted::default() };
    Ok(analyzed_with(FILE, log().0.as_bytes(), Some(outcomes), wanted, &settings)?.0)
}

/// The values of both variants in a metric.
fn values(analysis: &Analysis, name: &str) -> [Option<f64>; 2] {
    let metric = analysis.metrics.iter().find(|metric| metric.name == name);
    let metric = metric.unwrap_or_else(|| panic!("{name} of {:?}", analysis.metrics));
    let rounded = |value: Option<f64>| value.map(|value| (value * 1e9).round() / 1e9);
    [rounded(metric.baseline.value), rounded(metric.candidates[0].value)]
}

fn rounded(value: f64) -> Option<f64> {
    Some((value * 1e9).round() / 1e9)
}

/// Of each variant's 400 predictions: so many hits, false alarms and misses, the rest rightly negative.
fn outcomes(counts: [[usize; 3]; 2]) -> String {
    let mut rows = "request_id,y_true,y_pred\n".to_owned();
    let mut seen = [0, 0];
    for (unit, id) in log().1 {
        let arm = usize::try_from(unit % 2).unwrap();
        let [hits, alarms, misses] = counts[arm];
        let at = seen[arm];
        seen[arm] += 1;
        let (label, prediction) = match at {
            _ if at < hits => ("fraud", "Fraud"),
            _ if at < hits + alarms => ("ok", "fraud"),
            _ if at < hits + alarms + misses => ("fraud", "ok"),
            _ => ("ok", "OK"),
        };
        rows += &format!("{id},{label},{prediction}\n");
    }
    rows
}

#[test]
fn a_classification_has_its_metrics() {
    let model = model(Some("y_pred"), None, Some("fraud"));
    let found = of(&model, &outcomes([[100, 20, 40], [120, 30, 20]]), &["f1", "recall"]).unwrap();
    let [base, new] = [(100.0, 20.0, 40.0), (120.0, 30.0, 20.0)];
    let both =
        |figure: &dyn Fn((f64, f64, f64)) -> f64| [rounded(figure(base)), rounded(figure(new))];
    assert_eq!(values(&found, "f1"), both(&|(tp, fp, fne)| 2.0 * tp / (2.0 * tp + fp + fne)));
    assert_eq!(values(&found, "precision"), both(&|(tp, fp, _)| tp / (tp + fp)));
    assert_eq!(values(&found, "recall"), both(&|(tp, _, fne)| tp / (tp + fne)));
    assert_eq!(values(&found, "accuracy"), both(&|(_, fp, fne)| 1.0 - (fp + fne) / 400.0));
    let f1 = &found.metrics[0];
    assert_eq!(
        (f1.name.as_str(), f1.goal, f1.is_share),
        ("f1", crate::answer::Goal::Increase, false)
    );
    assert!(f1.candidates[0].ci[0].unwrap() < f1.candidates[0].diff.unwrap());
    // More predicted positives do not make the labels of a variant more complete.
    let coverage = found.checks.iter().filter(|check| check.name == CheckName::LabelCoverage);
    let states: Vec<_> =
        coverage.map(|check| (check.subject.clone().unwrap(), check.state)).collect();
    assert_eq!(states, [("f1".to_owned(), CheckState::Ok), ("recall".to_owned(), CheckState::Ok)]);
}

#[test]
fn a_metric_that_is_no_sum_over_requests_has_no_days() {
    let model = model(Some("y_pred"), None, Some("fraud"));
    let (log, _) = log();
    // Each unit comes again on the next day, and what it did there must not count for the first one.
    let again =
        log.replace("2026-11-23", "2026-11-24").replace("\"request_id\":\"", "\"request_id\":\"b");
    let rows = outcomes([[100, 20, 40], [120, 30, 20]]);
    let next = rows.lines().skip(1).fold(String::new(), |all, row| all + "b" + row + "\n");
    let asked = ["f1", "precision"].map(|metric| metric.parse().unwrap()).to_vec();
    let metrics = MetricRequests { primary: asked, ..MetricRequests::default() };
    let settings = Settings { metrics, ..settings() };
    let wanted = Wanted { model: Some(&model), ..Wanted::default() };
    let log = log + &again;
    let found = analyzed_with(FILE, log.as_bytes(), Some(&(rows + &next)), wanted, &settings);
    let found = found.unwrap().0;
    let names: Vec<&str> = found.daily.iter().map(|daily| daily.metric.as_str()).collect();
    assert_eq!(names, ["precision", "error_rate"]);
}

#[test]
fn accuracy_decides_unless_another_metric_is_asked_for() {
    let model = model(Some("y_pred"), None, Some("fraud"));
    let found = of(&model, &outcomes([[100, 20, 40], [120, 30, 20]]), &[]).unwrap();
    let primary = found.metrics.iter().find(|metric| metric.role == Role::Primary).unwrap();
    assert_eq!(primary.name, "accuracy");
}

#[test]
fn several_classes_have_accuracy_and_macro_f1() {
    let model = model(Some("y_pred"), None, None);
    let mut rows = "request_id,y_true,y_pred\n".to_owned();
    for (at, (unit, id)) in log().1.into_iter().enumerate() {
        let label = ["cat", "dog", "cow"][at % 3];
        let prediction = if at % 5 == 0 && unit % 2 == 0 { "cat" } else { label };
        rows += &format!("{id},{label},{prediction}\n");
    }
    let found = of(&model, &rows, &["macro_f1"]).unwrap();
    assert_eq!(values(&found, "macro_f1")[1], Some(1.0));
    let value = values(&found, "macro_f1")[0].unwrap();
    assert!((0.8..0.95).contains(&value), "{value}");
    assert!(found.metrics.iter().all(|metric| metric.name != "precision"));
}

#[test]
fn labels_come_in_rows_of_their_own() {
    let scored = model(None, Some("score"), Some("1"));
    let (mut apart, mut together) = (String::new(), String::new());
    let mut labels = String::new();
    for (at, (_, id)) in log().1.into_iter().enumerate() {
        let (label, score) = (u8::from(at % 3 == 0), small(at * 37 % 100) / 100.0);
        apart += &format!("{{\"request_id\":\"{id}\",\"score\":{score}}}\n");
        // Every seventh label is not known yet, and one is of a request without a prediction.
        let label = if at % 7 == 0 { String::new() } else { format!(",\"y_true\":{label}") };
        together += &format!("{{\"request_id\":\"{id}\",\"score\":{score}{label}}}\n");
        if !label.is_empty() {
            labels += &format!("{{\"request_id\":\"{id}\"{label}}}\n");
        }
    }
    labels += "{\"request_id\":\"unknown\",\"y_true\":1}\n";
    let apart = of(&scored, &(apart + &labels), &["auc", "brier"]).unwrap();
    let together = of(&scored, &together, &["auc", "brier"]).unwrap();
    for name in ["auc", "brier", "log_loss", "f1", "accuracy"] {
        assert_eq!(values(&apart, name), values(&together, name), "{name}");
        assert!(values(&apart, name)[0].is_some(), "{name}");
    }
    let counts = apart.outcomes.unwrap();
    assert_eq!((counts.rows, counts.repeated, counts.conflicting), (801, 0, 0));
}

fn small(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

#[test]
fn a_model_that_is_sure_does_not_count_in_another_unit() {
    // The baseline knows the share of positives only; the candidate knows nearly every label.
    let mut rows = "request_id,y_true,score\n".to_owned();
    for (at, (unit, id)) in log().1.into_iter().enumerate() {
        let label = u8::from(at * 7919 % 10 < 3);
        let sure = if label == 1 { 0.999 } else { 0.001 };
        rows += &format!("{id},{label},{}\n", if unit % 2 == 1 { sure } else { 0.3 });
    }
    let scored = model(None, Some("score"), Some("1"));
    for metric in ["log_loss", "brier"] {
        let found = of(&scored, &rows, &[metric]).unwrap();
        assert_eq!(found.metrics[0].candidates[0].decision, Conclusion::Better, "{metric}");
        let blocking: Vec<_> = found.checks.iter().filter(|check| check.blocks()).collect();
        assert!(blocking.is_empty(), "{metric}: {blocking:?}");
    }
}

#[test]
fn a_regression_has_its_metrics() {
    let model = Model { task: Task::Regression, ..model(Some("y_pred"), None, None) };
    let mut rows = "request_id,y_true,y_pred\n".to_owned();
    for (at, (unit, id)) in log().1.into_iter().enumerate() {
        // The candidate is off by 1, the baseline by 2 or by nothing.
        let off = if unit % 2 == 1 { 1.0 } else { small(at % 4 / 2) * 2.0 };
        let label = if unit == 0 { 0.0 } else { 4.0 };
        rows += &format!("{id},{label},{}\n", label + off);
    }
    let found = of(&model, &rows, &["rmse"]).unwrap();
    let mae = values(&found, "mae");
    assert_eq!(mae[1], Some(1.0));
    assert_eq!(values(&found, "rmse")[1], Some(1.0));
    assert_eq!(values(&found, "mape")[1], Some(0.25));
    assert!(found.metrics.iter().all(|metric| metric.name != "bias"));
    let error = of(&model, &rows, &["bias"]).unwrap_err();
    assert!(error.contains("no direction of its own"), "{error}");
    assert_eq!(values(&of(&model, &rows, &["bias:decrease"]).unwrap(), "bias")[1], Some(1.0));
}

#[test]
fn mistakes_are_refused() {
    let rows = outcomes([[100, 20, 40], [120, 30, 20]]);
    let missing = of(&model(Some("predicted"), None, Some("fraud")), &rows, &[]).unwrap_err();
    assert!(missing.contains("no column is called predicted"), "{missing}");
    let scores = rows.replace("y_true,y_pred", "y_true,score").replace(",Fraud", ",0.9");
    let scores =
        scores.replace(",OK", ",12").replace(",fraud\n", ",0.7\n").replace(",ok\n", ",0.2\n");
    let scored = model(None, Some("score"), None);
    let error = of(&scored, &scores, &[]).unwrap_err();
    assert!(error.contains("analysis.model.positive: ok"), "{error}");
    // Percentages are no probabilities.
    let scored = model(None, Some("score"), Some("fraud"));
    let found = of(&scored, &scores, &["brier"]).unwrap();
    assert_eq!(found.decision, Decision::Invalid, "{:?}", found.reasons);
    let examples = &found.outcomes.unwrap().unreadable[0].examples;
    assert!(examples[0].contains("a score is a probability from 0 to 1"), "{examples:?}");
    let named = rows
        .replace("request_id,y_true,y_pred\n", "request_id,y_true,y_pred,auc\n")
        .replace("\n", ",1\n");
    let named = named.replacen("auc,1", "auc", 1);
    let error = of(&model(Some("y_pred"), None, Some("fraud")), &named, &[]).unwrap_err();
    assert!(error.contains("the column auc has the name of a metric of the model"), "{error}");
}

#[test]
fn the_report_shows_calibration_by_variant() {
    let scored = model(None, Some("score"), None);
    let mut rows = "request_id,y_true,score\n".to_owned();
    let mut seen = [0_usize; 2];
    for (unit, id) in log().1 {
        let arm = usize::try_from(unit % 2).unwrap();
        let at = seen[arm];
        seen[arm] += 1;
        // Half of the labels are positive. The baseline says so, the candidate says 0.85; the last hundred have no label.
        let label = if at >= 300 { "" } else { ["0", "1"][at % 2] };
        rows += &format!("{id},{label},{}\n", [0.5, 0.85][arm]);
    }
    let found = of(&scored, &rows, &["brier"]).unwrap().model.unwrap();
    assert_eq!((found.task.as_str(), found.positive.as_deref()), ("classification", Some("1")));
    assert_eq!((found.predictions, found.labels, found.labeled), (800, 600, 600));
    assert_eq!(found.threshold, Some(0.5));
    let [base, new] = found.variants.as_slice() else { panic!("{found:?}") };
    for (variant, ece, bin, step) in [(base, 0.0, 0.5, 10), (new, 0.35, 0.8, 17)] {
        assert_eq!((variant.labeled, variant.positives), (300, Some(150)));
        assert!((variant.ece.unwrap() - ece).abs() < 1e-9, "{variant:?}");
        assert!((variant.bias.unwrap() - ece).abs() < 1e-9);
        let [only] = variant.calibration.as_slice() else { panic!("{variant:?}") };
        assert_eq!((only.from, only.predictions, only.share), (bin, 300, 0.5));
        assert!(only.ci[0] < 0.5 && only.ci[1] > 0.5);
        assert_eq!((variant.scores[step].positives, variant.scores[step].negatives), (150, 150));
    }
}

/// The state of the check of classes, and its message.
fn classes(labels: impl Fn(u64, usize) -> &'static str, rows: usize) -> (CheckState, String) {
    let mut text = "request_id,y_true,y_pred\n".to_owned();
    for (at, (unit, id)) in log().1.into_iter().enumerate().take(rows) {
        text += &format!("{id},{},{}\n", labels(unit, at), ["ok", "fraud"][at % 2]);
    }
    let found = of(&model(Some("y_pred"), None, Some("fraud")), &text, &["recall"]).unwrap();
    let check = found.checks.iter().find(|check| check.name == CheckName::LabelClasses).unwrap();
    (check.state, check.message.clone())
}

#[test]
fn labels_of_one_class_decide_nothing() {
    let (state, message) = classes(|_, _| "ok", 800);
    assert_eq!(state, CheckState::Blocking);
    assert!(message.starts_with("no label is \"fraud\" (800 labels)"), "{message}");
    assert_eq!(classes(|_, _| "fraud", 800).0, CheckState::Blocking);
    assert_eq!(classes(|_, _| "ok", 60).0, CheckState::Warning);
    // The candidate has none where 80 are expected, or where 2 are.
    let (state, message) =
        classes(|unit, at| if unit % 2 == 0 && at % 5 < 2 { "fraud" } else { "ok" }, 800);
    assert_eq!(state, CheckState::Blocking);
    assert!(message.starts_with("fancy has no label \"fraud\" in 400"), "{message}");
    assert_eq!(classes(|_, at| if at % 200 == 0 { "fraud" } else { "ok" }, 800).0, CheckState::Ok);
    assert_eq!(classes(|_, at| if at % 3 == 0 { "fraud" } else { "ok" }, 800).0, CheckState::Ok);
}

#[test]
fn columns_of_predictions_decide_nothing_without_a_model() {
    let rows = outcomes([[100, 20, 40], [120, 30, 20]]);
    let settings = Settings { planned_units: Some(400), ..settings() };
    let without = |rows: &str| analyzed(FILE, log().0.as_bytes(), Some(rows), &settings);
    let scores = rows.replace("y_pred", "score").replace(",Fraud", ",0.9").replace(",OK", ",0.1");
    let scores = scores.replace(",fraud\n", ",0.8\n").replace(",ok\n", ",0.2\n");
    let error = without(&scores).unwrap_err();
    assert!(error.contains("analysis.model: {label: …"), "{error}");
    // Numbers of many values are no classes.
    let mut numbers = "request_id,y_true,y_pred\n".to_owned();
    for (at, (_, id)) in log().1.into_iter().enumerate() {
        numbers += &format!("{id},{at},{}\n", at + at % 3);
    }
    let error = without(&numbers).unwrap_err();
    assert!(
        error.contains("label is a measurement") && error.contains("task: regression"),
        "{error}"
    );
}
