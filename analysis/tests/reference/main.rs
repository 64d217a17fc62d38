//! Whole analyses against reference/values.json, which another language computes from the same logs, on lists of
//! units and by other formulas. reference/make.py describes how; it generates the logs from the same random numbers.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails may say so abruptly"
)]

mod generated;
mod segments;

use std::num::NonZero;
use std::path::PathBuf;

use generated::{generate, time};
use segments::segmented;
use serde_json::Value;
use sidetrack::config::Methods;
use sidetrack::quantity::Millis;
use sidetrack_analysis::{
    Cap, Dimension, Input, Logs, MetricRequests, Outcomes, Series, Settings, Spill, Strata, Wanted,
    Window, analyze,
};
use sidetrack_stats::input::Fraction;

/// 2026-11-23T09:00:00Z.
const START: u64 = 1_795_424_400_000;
const ARMS: [&str; 3] = ["b", "c", "d"];
const PHASES: [&str; 2] = ["one", "two"];

/// The experiment file of a case.
fn file(case: &Value) -> String {
    let percent = |phase: usize, arm: usize| case["weights"][phase][arm].as_f64().unwrap() * 100.0;
    let weights = |phase: usize| {
        format!(r#"{{"c": {:.1}, "d": {:.1}}}"#, percent(phase, 1), percent(phase, 2))
    };
    let variants = if case["phased"].as_bool().unwrap() {
        format!(
            r#""variants": [{{"name": "b"}}, {{"name": "c"}}, {{"name": "d"}}], "rollout": {{"start": "2026-11-23T09:00:00Z", "phases": [
            {{"name": "one", "for": "1h", "weights": {}}}, {{"name": "two", "weights": {}}}]}}"#,
            weights(0),
            weights(1)
        )
    } else {
        format!(
            r#""variants": [{{"name": "b"}}, {{"name": "c", "weight": {:.1}}}, {{"name": "d", "weight": {:.1}}}]"#,
            percent(0, 1),
            percent(0, 2)
        )
    };
    format!(
        r#"{{"experiments": [{{"name": "e", "unit": [{{"header": "u"}}], "baseline": "b", {variants}}}], "settings": {{"exposure_unit": "plain"}}}}"#
    )
}

/// The metrics of a case as a user requests them.
fn requests(case: &Value) -> MetricRequests {
    let of = |role: &str| {
        let metrics = case["metrics"].as_array().unwrap().iter();
        let own = metrics.filter(|metric| metric["role"] == role);
        own.map(|metric| {
            let (name, goal) = (metric["name"].as_str().unwrap(), metric["goal"].as_str().unwrap());
            let kind = match (name, metric["measure"].as_str().unwrap()) {
                ("accuracy" | "score" | "basket" | "converted", measure) => format!("={measure}"),
                _ => String::new(),
            };
            format!("{name}{kind}:{goal}").parse().unwrap()
        })
        .collect()
    };
    MetricRequests {
        primary: of("primary"),
        guardrail: of("guardrail"),
        exploratory: of("exploratory"),
    }
}

/// The caps of a case.
fn caps(case: &Value) -> Vec<Cap> {
    let caps = case["cap"].as_object().unwrap().iter();
    let read = |(name, quantile): (&String, &Value)| {
        format!("{name}={}", quantile.as_str().unwrap()).parse().unwrap()
    };
    caps.map(read).collect()
}

/// The dimensions of a case.
fn dimensions(case: &Value) -> Vec<Dimension> {
    let names = case["segments"].as_array().unwrap().iter();
    let of = |name: &Value| Dimension { name: name.as_str().unwrap().to_owned(), planned: false };
    names.map(of).collect()
}

/// The methods of a case.
fn asked_methods(case: &Value) -> Methods {
    let covariate = case["covariate"] == true;
    let covariates = covariate.then(|| "pre".to_owned()).into_iter().collect();
    Methods { covariates, ..Methods::default() }
}

fn run(case: &Value, threads: usize) -> (Value, Series) {
    run_with(case, threads, None)
}

fn run_with(case: &Value, threads: usize, spill: Option<Spill>) -> (Value, Series) {
    let data = generate(case);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let text = file(case);
    let plan = sidetrack::config::parse_json(text.as_bytes()).unwrap();
    let experiment = plan.experiments.into_iter().next().unwrap();
    let by_unit = case["outcomes"] == "unit";
    let outcomes = if by_unit { &data.by_unit } else { &data.by_request };
    let segments = dimensions(case);
    let names: Vec<&str> = segments.iter().map(|segment| segment.name.as_str()).collect();
    let wanted = Wanted { segments: &names, ..Wanted::default() };
    let outcomes =
        Outcomes::read_with(&write("outcomes.csv", outcomes), &experiment, wanted).unwrap();
    let input = Input {
        experiment: &experiment,
        strata: &Strata::new(&experiment, "").unwrap(),
        config_hash: "",
        logs: &Logs::new(&[write("access.log", &data.log)]).unwrap(),
        outcomes: Some(&outcomes),
    };
    let settings = Settings {
        trial: None,
        window: Window::default(),
        metrics: requests(case),
        exploratory: Vec::new(),
        prices: Vec::new(),
        planned_units: case["planned"].as_u64(),
        attribution: case["attribution"].as_u64().map(Millis::new),
        caps: caps(case),
        segments,
        methods: asked_methods(case),
        level: Fraction::FIVE_PERCENT,
        allow_srm: false,
        allowed: Vec::new(),
        assume_independent_requests: true,
        exclude_breaker: false,
        threads: NonZero::new(threads).unwrap(),
        spill,
    };
    let (analysis, series) = analyze(input, &settings, &|_, _| ()).unwrap();
    (serde_json::to_value(&analysis).unwrap(), series)
}

/// Asserts that two values agree: numbers to nine digits, and all else exactly.
fn agree(found: &Value, want: &Value, place: &str) {
    match (found, want) {
        (Value::Array(found), Value::Array(want)) if found.len() == want.len() => {
            for (index, (found, want)) in found.iter().zip(want).enumerate() {
                agree(found, want, &format!("{place}[{index}]"));
            }
        }
        (Value::Object(found), Value::Object(want)) if found.len() == want.len() => {
            for (key, want) in want {
                agree(found.get(key).unwrap_or(&Value::Null), want, &format!("{place}.{key}"));
            }
        }
        (Value::Number(found), Value::Number(want)) => {
            close(found.as_f64().unwrap(), want.as_f64().unwrap(), place);
        }
        // An interval without ends.
        (Value::Array(found), Value::Null) if found.iter().all(Value::is_null) => {}
        _ => assert_eq!(found, want, "{place}"),
    }
}

fn close(found: f64, want: f64, place: &str) {
    let error = (found - want).abs();
    assert!(error <= 1e-9 * want.abs() + 1e-12, "{place}: found {found}, want {want}");
}

fn cases() -> Vec<Value> {
    let text = include_str!("../../reference/values.json");
    serde_json::from_str::<Vec<Value>>(text).unwrap()
}

fn by_variant(found: &Value) -> Value {
    ARMS.iter().map(|arm| found[*arm].clone()).collect()
}

#[test]
fn every_figure_of_an_analysis_is_the_reference_s() {
    for both in cases() {
        let (case, want) = (&both["case"], &both["want"]);
        let name = case["name"].as_str().unwrap();
        let (found, series) = run(case, 2);
        let column = |key: &str| -> Value {
            found["variants"]
                .as_array()
                .unwrap()
                .iter()
                .map(|variant| variant[key].clone())
                .collect()
        };
        agree(&column("units"), &want["units"], &format!("{name}: units"));
        agree(&column("requests"), &want["requests"], &format!("{name}: requests"));
        agree(&column("served_elsewhere"), &want["elsewhere"], &format!("{name}: elsewhere"));
        agree(&found["torn_units"], &want["torn"], &format!("{name}: torn"));
        agree(&found["lines"]["used"], &want["used"], &format!("{name}: used"));
        let aborted = &found["lines"]["excluded"]["aborted"];
        agree(aborted, &want["aborted"], &format!("{name}: aborted"));
        if case["outcomes"] == "unit" {
            for key in ["matched", "unmatched", "early"] {
                agree(&found["outcomes"][key], &want["counts"][key], &format!("{name}: {key}"));
            }
        }
        methods(&found, case, want, name);
        split(&found, case, &want["srm"], name);
        let metrics = found["metrics"].as_array().unwrap();
        for (metric, want) in want["metrics"].as_object().unwrap() {
            let place = format!("{name}: {metric}");
            let found = metrics.iter().find(|found| found["name"] == *metric).unwrap();
            assert_eq!(found["role"], want["role"], "{place}");
            compared(found, want, &place);
        }
        plotted(&series, case, &want["series"], name);
        segmented(&found["segments"], &want["segments"], name);
    }
}

/// What attribution left out, caps, and how skewed the values are.
fn methods(found: &Value, case: &Value, want: &Value, name: &str) {
    let attribution = &found["attribution"];
    assert_eq!(attribution.is_null(), case["attribution"].is_null(), "{name}");
    if !attribution.is_null() {
        agree(&by_variant(&attribution["open_units"]), &want["open"], name);
        agree(&attribution["late_rows"], &want["counts"]["late"], name);
        agree(&attribution["untimed_rows"], &want["counts"]["untimed"], name);
        let closes = time(want["counts"]["closes"].as_u64().unwrap() - START);
        let closes = closes.replace(".000Z", "Z");
        assert_eq!(attribution["last_closes"], closes, "{name}");
    }
    for metric in found["metrics"].as_array().unwrap() {
        let (cap, metric) = (&metric["cap"], metric["name"].as_str().unwrap());
        let wanted = &want["capped"][metric];
        agree(cap.get("value").unwrap_or(&Value::Null), &wanted["value"], name);
        if !cap.is_null() {
            agree(&by_variant(&cap["units"]), &wanted["units"], &format!("{name}: {metric}"));
        }
    }
    let checks = found["checks"].as_array().unwrap().iter();
    let skewed: Vec<&Value> = checks.filter(|check| check["name"] == "skewness").collect();
    let wanted = want["skewness"].as_object().unwrap();
    assert_eq!(skewed.len(), wanted.len(), "{name}");
    for check in skewed {
        let metric = check["subject"].as_str().unwrap();
        agree(&by_variant(&check["variants"]), &wanted[metric], &format!("{name}: {metric}"));
    }
}

/// The test of the split is only for units.
fn split(found: &Value, case: &Value, want: &Value, name: &str) {
    let srm = &found["srm"];
    if case["units"] == false {
        return assert_eq!(srm["verdict"], "undefined", "{name}");
    }
    assert_eq!(srm["verdict"], "ok", "{name}");
    agree(&srm["statistic"], &want["statistic"], &format!("{name}: statistic"));
    agree(&srm["df"], &want["df"], &format!("{name}: df"));
    agree(&srm["p_value"], &want["p"], &format!("{name}: p"));
    for (phase, found) in srm["phases"].as_array().unwrap().iter().enumerate() {
        let place = format!("{name}: phase {phase}");
        agree(&found["p_value"], &want["phases"][phase], &place);
        agree(&by_variant(&found["expected"]), &case["weights"][phase], &place);
    }
}

/// A metric's candidates.
fn compared(found: &Value, want: &Value, place: &str) {
    for (index, want) in want["candidates"].as_array().unwrap().iter().enumerate() {
        let result = &found["candidates"][index];
        let place = format!("{place}, {}", ARMS[index + 1]);
        assert_eq!(result["variant"], ARMS[index + 1], "{place}");
        if index == 0 {
            agree(&found["baseline"]["value"], &want["values"][0], &format!("{place}: baseline"));
            agree(&found["baseline"]["n"], &want["n"][0], &format!("{place}: baseline"));
        }
        agree(&result["value"], &want["values"][1], &format!("{place}: value"));
        agree(&result["n"], &want["n"][1], &format!("{place}: n"));
        for (key, wanted) in [
            ("diff", "diff"),
            ("ci", "ci"),
            ("relative_lift", "lift"),
            ("relative_lift_ci", "lift_ci"),
            ("p_value", "p"),
            ("p_best", "p_best"),
            ("expected_loss", "loss"),
            ("statistic", "statistic"),
            ("df", "df"),
            ("method", "method"),
        ] {
            agree(&result[key], &want[wanted], &format!("{place}: {key}"));
        }
        let adjustment = &want["adjustment"];
        assert_eq!(result.get("adjustment").is_none(), adjustment.is_null(), "{place}");
        for (key, wanted) in adjustment.as_object().into_iter().flatten() {
            agree(&result["adjustment"][key], wanted, &format!("{place}: adjustment, {key}"));
        }
        let adjusted = want.get("p_adjusted").unwrap_or(&Value::Null);
        agree(&result["p_adjusted"], adjusted, &format!("{place}: p_adjusted"));
        let phases = result["phases"].as_array().unwrap();
        assert_eq!(phases.len(), want["phases"].as_array().unwrap().len(), "{place}");
        for (phase, found) in phases.iter().enumerate() {
            for key in ["phase", "n", "diff", "ci"] {
                agree(&found[key], &want["phases"][phase][key], &format!("{place}: {phase} {key}"));
            }
        }
    }
}

/// What plots show.
fn plotted(series: &Series, case: &Value, want: &Value, name: &str) {
    // Of the first primary metric that is not a quantile; requests have no time at which they joined.
    let drawn = series.lift.as_ref().map(|(metric, _)| metric.as_str());
    let primary = case["metrics"][0]["name"].as_str();
    assert_eq!(drawn, primary.filter(|_| case["units"] == true), "{name}");
    let lift = series.lift.iter().flat_map(|(_, lines)| lines);
    for (line, want) in lift.zip(want["lift"].as_array().unwrap()) {
        let points = line.points.iter().map(|point| {
            let interval = point.interval.map(|(low, high)| vec![low, high]);
            serde_json::json!([point.time, point.difference, interval])
        });
        agree(&points.collect(), want, &format!("{name}: lift of {}", line.variant));
    }
    if drawn.is_none() {
        return;
    }
    for (line, want) in series.split.iter().zip(want["split"].as_array().unwrap()) {
        let points = line.points.iter().map(|point| serde_json::json!(point));
        agree(&points.collect(), want, &format!("{name}: split of {}", line.variant));
    }
    for ((variant, found), want) in
        series.latencies.iter().zip(want["latencies"].as_array().unwrap())
    {
        agree(&serde_json::json!(found), want, &format!("{name}: latencies of {variant}"));
    }
}

#[test]
fn the_reference_has_cases_of_every_kind() {
    let cases = cases();
    let count =
        |key: &str, value: &Value| cases.iter().filter(|both| both["case"][key] == *value).count();
    assert!(cases.len() >= 7, "{}", cases.len());
    for key in ["phased", "overlap", "units"] {
        assert!(count(key, &true.into()) > 0 && count(key, &false.into()) > 0, "{key}");
    }
    for both in &cases {
        for (name, metric) in both["want"]["metrics"].as_object().unwrap() {
            let candidates = metric["candidates"].as_array().unwrap();
            assert!(candidates.iter().all(|found| found["n"][1].as_u64() > Some(20)), "{name}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_figure() {
    let cases = cases();
    let text = |case: &Value, threads, spill| {
        let (mut analysis, series) = run_with(case, threads, spill);
        // The name of the log differs.
        analysis["lines"]["examples"].take();
        format!("{analysis} {series:?}")
    };
    let attributed = cases.iter().filter(|both| !both["case"]["attribution"].is_null());
    for case in cases.iter().take(1).chain(attributed).map(|both| &both["case"]) {
        let one = text(case, 1, None);
        for threads in [2, 3, 8] {
            assert_eq!(text(case, threads, None), one, "{threads} threads, {}", case["name"]);
        }
    }
}

#[test]
fn the_memory_for_units_changes_no_figure() {
    for both in cases() {
        let case = &both["case"];
        let text = |threads, spill| {
            let (mut analysis, series) = run_with(case, threads, spill);
            // The name of the log differs.
            analysis["lines"]["examples"].take();
            format!("{analysis} {series:?}")
        };
        let spill = Spill::new(0, "", tempfile::tempfile);
        assert_eq!(text(2, Some(spill)), text(1, None), "{}", case["name"]);
    }
}
