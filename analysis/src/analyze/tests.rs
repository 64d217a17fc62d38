use std::fmt::Write as _;
use std::io::Write as _;

use super::*;
use crate::answer::Conclusion;

const FILE: &str = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "plain",
    "variants": [{"name": "plain"}, {"name": "fancy", "weight": 50}]}]}"#;

/// A line of `unit`, whose variant follows from its number.
fn line(unit: u64, second: u64, more: &str) -> String {
    let variant = if unit.is_multiple_of(2) { "plain" } else { "fancy" };
    format!(
        r#"{{"time":"2026-11-23T09:{:02}:{:02}.000Z","request_id":"{unit}-{second}","unit":"u{unit}","experiment":"e","assigned":"{variant}","served":"{variant}","reason":"hash",{more}}}"#,
        second / 60 % 60,
        second % 60
    ) + "\n"
}

/// An analysis with so many threads.
fn analysis(log: &str, threads: usize) -> Analysis {
    analysis_of(FILE, log, None, threads)
}

fn analysis_of(text: &str, log: &str, planned_units: Option<u64>, threads: usize) -> Analysis {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(log.as_bytes()).unwrap();
    let plan = sidetrack::config::parse_json(text.as_bytes()).unwrap();
    let experiment = plan.experiments.into_iter().next().unwrap();
    let input = Input {
        experiment: &experiment,
        strata: &Strata::new(&experiment, "").unwrap(),
        config_hash: "",
        logs: &Logs::new(&[file.path().to_owned()]).unwrap(),
        outcomes: None,
    };
    let settings = Settings {
        metrics: MetricRequests::default(),
        prices: Vec::new(),
        planned_units,
        level: Fraction::FIVE_PERCENT,
        allow_srm: false,
        assume_independent_requests: false,
        exclude_breaker: false,
        threads: NonZero::new(threads).unwrap(),
    };
    analyze(input, &settings, &|_, _| ()).unwrap().0
}

fn ok(duration: u64) -> String {
    format!(r#""status":200,"duration":{duration}"#)
}

#[test]
fn the_number_of_threads_changes_not_a_bit() {
    let mut log = String::new();
    for request in 0..20_000u64 {
        let unit = request * request % 2003;
        let duration = 1 + request * 7919 % 997;
        let status = if request % 97 == 0 { 503 } else { 200 };
        log += &line(unit, request % 3600, &format!(r#""status":{status},"duration":{duration}"#));
        if request % 5000 == 0 {
            writeln!(log, "broken {request}").unwrap();
        }
    }
    assert!(log.len() > 3 << 20, "several blocks");
    let text = |threads| {
        let mut analysis = serde_json::to_value(analysis(&log, threads)).unwrap();
        let examples = analysis["lines"]["examples"].take();
        let place = |example: &serde_json::Value| {
            let text = example.as_str().unwrap();
            text.split(':').skip(1).collect::<Vec<_>>().join(":")
        };
        let examples: Vec<String> = examples.as_array().unwrap().iter().map(place).collect();
        (analysis.to_string(), examples)
    };
    let one = text(1);
    assert_eq!(one.1.len(), 4);
    for threads in [2, 3, 8] {
        assert_eq!(text(threads), one, "{threads} threads");
    }
}

#[test]
fn a_unit_counts_once_and_a_malformed_line_never() {
    let mut log: String = (0..400).map(|unit| line(unit, unit, &ok(100))).collect();
    let clean = analysis(&log, 2);
    // Each unit once more, identical; and lines that cannot be read, which would be fast successes as zeros.
    log += &(0..400).map(|unit| line(unit, 900 + unit, &ok(100))).collect::<String>();
    log +=
        &(0..400).map(|unit| line(unit, 900, r#""status":"?","duration":"x""#)).collect::<String>();
    let again = analysis(&log, 2);
    let units = |analysis: &Analysis| [analysis.variants[0].units, analysis.variants[1].units];
    assert_eq!((units(&clean), units(&again)), ([200, 200], [200, 200]));
    assert_eq!((again.lines.used, again.lines.malformed), (800, 400));
    let latency = again.metrics.iter().find(|metric| metric.name == "latency_mean").unwrap();
    let value = latency.candidates[0].value.unwrap();
    assert!((value - 0.1).abs() < 1e-12 && latency.baseline.n == 200, "{latency:?}");
}

#[test]
fn the_failing_variant_is_the_worse_one() {
    let log: String = (0..4000u64)
        .map(|unit| {
            let failed = unit % 2 == 1 && unit % 10 < 4;
            let status = if failed { 503 } else { 200 };
            line(unit, unit % 3600, &format!(r#""status":{status},"duration":100"#))
        })
        .collect();
    let analysis = analysis(&log, 2);
    let errors = analysis.metrics.iter().find(|metric| metric.name == "error_rate").unwrap();
    let result = &errors.candidates[0];
    assert_eq!((result.variant.as_str(), result.decision), ("fancy", Conclusion::Worse));
    assert_eq!(errors.baseline.value, Some(0.0));
    assert!((result.value.unwrap() - 0.4).abs() < 1e-12, "{result:?}");
}

#[test]
fn an_analysis_survives_its_json() {
    let log: String = (0..400).map(|unit| line(unit, unit, &ok(100 + unit % 7))).collect();
    let text = serde_json::to_string(&analysis(&log, 2)).unwrap();
    let read: Analysis = serde_json::from_str(&text).unwrap();
    assert!(matches!(read.reasons[..], [Reason::Text(_), ..]), "{:?}", read.reasons);
    let written: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), written);
}

/// Two phases with the same weights.
fn phased() -> String {
    FILE.replace(
        r#"{"name": "fancy", "weight": 50}]"#,
        r#"{"name": "fancy"}], "rollout": {"start": "2026-11-23T09:00:00Z", "phases": [
            {"name": "one", "for": "30m", "weights": {"fancy": 50}}, {"name": "two", "weights": {"fancy": 50}}]}"#,
    )
}

fn in_phase(phase: &str, unit: u64, second: u64) -> String {
    let status = if (unit / 2).is_multiple_of(7) { 503 } else { 200 };
    let more = format!(r#""phase":"{phase}","status":{status},"duration":{}"#, 10 + unit % 91);
    line(unit, second, &more)
}

fn width(analysis: &Analysis, metric: &str) -> f64 {
    let metric = analysis.metrics.iter().find(|found| found.name == metric).unwrap();
    let [Some(low), Some(high)] = metric.candidates[0].ci else { panic!("{metric:?}") };
    high - low
}

#[test]
fn the_same_units_in_a_second_phase_are_not_new_evidence() {
    let one: String = (0..2000).map(|unit| in_phase("one", unit, unit % 1800)).collect();
    let again: String = (0..2000).map(|unit| in_phase("two", unit, 1800 + unit % 1800)).collect();
    let others: String =
        (2000..4000).map(|unit| in_phase("two", unit, 1800 + unit % 1800)).collect();
    // A fixed test: always-valid intervals depend on the number of units as well.
    let fixed = |log: &str| analysis_of(&phased(), log, Some(100), 2);
    let once = fixed(&one);
    let twice = fixed(&(one.clone() + &again));
    let more = fixed(&(one + &others));
    for metric in ["error_rate", "latency_mean", "latency_p95"] {
        let ratio = |analysis| width(analysis, metric) / width(&once, metric);
        assert!((ratio(&twice) - 1.0).abs() < 0.02, "{metric}: {}", ratio(&twice));
        assert!(ratio(&more) < 0.9, "{metric}: {}", ratio(&more));
    }
}

#[test]
fn a_row_counts_in_the_phase_that_it_names() {
    let mut log: String = (0..300).map(|unit| in_phase("one", unit, unit)).collect();
    // By the clock, this is also the first phase; the proxy logs another one.
    log += &(300..400).map(|unit| in_phase("two", unit, 60)).collect::<String>();
    log += &in_phase("three", 500, 60);
    let analysis = analysis_of(&phased(), &log, None, 2);
    let phases: Vec<(Option<&str>, u64)> = analysis
        .srm
        .phases
        .iter()
        .map(|phase| (phase.phase.as_deref(), phase.observed.values().sum()))
        .collect();
    assert_eq!(phases, [(Some("one"), 300), (Some("two"), 100)]);
    assert_eq!(analysis.lines.excluded.other_weights, 1);
}

#[test]
fn a_client_that_disconnects_is_not_a_failure() {
    let mut log: String = (0..400).map(|unit| line(unit, unit, &ok(100))).collect();
    let gone = r#""status":0,"flags":"DC","duration":9000"#;
    log += &(0..40).map(|unit| line(unit, 500 + unit, gone)).collect::<String>();
    let analysis = analysis(&log, 2);
    assert_eq!((analysis.lines.used, analysis.lines.excluded.aborted), (400, 40));
    let value = |name: &str| {
        let metric = analysis.metrics.iter().find(|metric| metric.name == name).unwrap();
        metric.candidates[0].value.unwrap()
    };
    assert_eq!(value("error_rate"), 0.0);
    assert!((value("latency_mean") - 0.1).abs() < 1e-12);
    assert!((value("abort_rate") - 20.0 / 220.0).abs() < 1e-12);
}

#[test]
fn an_analysis_names_its_arms() {
    let analysis = analysis(&[line(1, 0, &ok(10)), line(2, 0, &ok(10))].concat(), 1);
    assert_eq!(analysis.baseline(), Some("plain"));
    assert_eq!(analysis.candidates().collect::<Vec<_>>(), ["fancy"]);
}
