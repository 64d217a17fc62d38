//! Metrics of language models from the access log: the same figures as from a file of outcomes with the values.

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::{Value, json};

use crate::{Folder, number, result};

/// A plan with these prices.
fn file(prices: &str) -> String {
    format!(
        r#"{{"experiments": [{{"name": "e", "unit": [{{"header": "u"}}], "baseline": "plain",
        "variants": [{{"name": "plain"}}, {{"name": "fancy", "weight": 50}}], "analysis": {{
        "metrics": ["cost:decrease"], "guardrails": ["first_token:decrease:10%", "error_rate:10pt", "latency_p95:50%"],
        "prices": {prices}, "planned_units": 500}}}}], "settings": {{"exposure_unit": "plain"}}}}"#
    )
}

const PRICES: &str = r#"{"large": {"input": 2.5, "output": 10, "cached_input": 1.25},
    "small": {"input": 0.15, "output": 0.6}}"#;
const MORE: [&str; 6] = [
    "--explore",
    "tokens_in:decrease",
    "--explore",
    "tokens_out:decrease",
    "--explore",
    "tokens_per_second:increase",
];

/// What a request used: tokens, those from the cache, tokens of the answer, and milliseconds.
struct Used {
    model: &'static str,
    input: u64,
    cached: u64,
    /// The gateway did not see the end of some answers.
    output: Option<u64>,
    first: u64,
    duration: u64,
}

fn used(request: u64) -> Used {
    let fancy = request % 500 % 2 == 1;
    let spread = request * 7919 % 997;
    let first = 80 + spread % 60 + if fancy { 0 } else { 40 };
    Used {
        model: if fancy { "small" } else { "large" },
        input: 200 + spread,
        cached: if request.is_multiple_of(3) { 100 } else { 0 },
        output: (request % 11 != 7).then_some(50 + request * 31 % 400),
        first,
        duration: first + if request.is_multiple_of(17) { 0 } else { 500 + spread },
    }
}

fn fields(request: u64) -> Value {
    let used = used(request);
    let second = request * 7 % 3600;
    let variant = ["plain", "fancy"][(request % 500 % 2) as usize];
    json!({
        "time": format!("2026-11-23T09:{:02}:{:02}.000Z", second / 60, second % 60),
        "request_id": format!("r{request}"), "unit": format!("u{}", request % 500), "experiment": "e",
        "assigned": variant, "served": variant, "reason": "hash", "status": 200,
        "duration": used.duration, "first_byte": used.first,
        "gen_ai.request.model": used.model,
        "gen_ai.response.model": "-",
        "gen_ai.usage.input_tokens": used.input,
        "gen_ai.usage.cache_read.input_tokens": used.cached,
        "gen_ai.usage.output_tokens": used.output,
    })
}

fn log() -> String {
    (0..1000).map(|request| format!("{}\n", fields(request))).collect()
}

/// The values as a file of outcomes.
fn outcomes() -> String {
    let mut rows = String::new();
    for request in 0..1000 {
        let used = used(request);
        let (input, cached) = (used.input as f64, used.cached as f64);
        let output = used.output.map(|output| output as f64);
        let cost = output.map(|output| match used.model {
            "large" => ((input - cached) * 2.5 + cached * 1.25 + output * 10.0) / 1e6,
            _ => (input * 0.15 + output * 0.6) / 1e6,
        });
        let seconds = (used.duration - used.first) as f64 / 1000.0;
        let speed = output.filter(|_| seconds > 0.0).map(|output| output / seconds);
        let row = json!({
            "request_id": format!("r{request}"), "tokens_in": input, "tokens_out": output, "cost": cost,
            "first_token": used.first as f64 / 1000.0, "tokens_per_second": speed,
        });
        writeln!(rows, "{row}").unwrap();
    }
    rows
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("experiment.json", file(PRICES));
    folder.write("access.log", log());
    folder.write("llm.jsonl", outcomes());
    folder
}

/// Numbers are equal to 1e-12, everything else is equal.
fn same(one: &Value, other: &Value, at: &str) {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= 1e-12 * a.abs().max(b.abs()), "{at}: {a} and {b}");
        }
        (Value::Object(a), Value::Object(b)) => {
            assert_eq!(a.len(), b.len(), "{at}");
            a.iter().for_each(|(key, value)| same(value, &b[key], &format!("{at}.{key}")));
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{at}");
            a.iter().zip(b).for_each(|(one, other)| same(one, other, at));
        }
        _ => assert_eq!(one, other, "{at}"),
    }
}

#[test]
fn the_log_gives_the_figures_of_a_file_with_the_same_values() {
    let folder = folder();
    let of_log = folder.analysis(&MORE);
    let of_file = ["--outcomes", "llm.jsonl", "--allow", "value_scale"];
    let of_file = folder.analysis(&[&of_file[..], &MORE].concat());
    let metrics = |analysis: &Value| -> Vec<Value> {
        let metrics = analysis["metrics"].as_array().unwrap().iter().cloned();
        metrics
            .map(|mut metric| {
                metric.as_object_mut().unwrap().remove("unit");
                metric
            })
            .collect()
    };
    let names = |analysis: &Value| -> Vec<String> {
        let metrics = analysis["metrics"].as_array().unwrap().iter();
        metrics.map(|metric| metric["name"].as_str().unwrap().to_owned()).collect()
    };
    let both = [&of_log, &of_file].map(names);
    assert_eq!(both[0], both[1]);
    for name in ["cost", "tokens_in", "tokens_out", "first_token", "tokens_per_second"] {
        assert!(both[0].iter().any(|known| known == name), "{name} of {both:?}");
    }
    same(&metrics(&of_log).into(), &metrics(&of_file).into(), "metrics");
    // Figures by hand: the mean of the candidate's requests with both counts.
    let fancy = (0..1000).filter(|request| request % 500 % 2 == 1).map(used);
    let costs: Vec<f64> = fancy
        .filter_map(|used| Some((used.input as f64 * 0.15 + used.output? as f64 * 0.6) / 1e6))
        .collect();
    let mean = costs.iter().sum::<f64>() / costs.len() as f64;
    let cost = result(&of_log, "cost");
    assert!((number(&cost["value"]) - mean).abs() < 1e-15, "{cost:#} {mean}");
    assert_eq!(of_log["decision"], "promote", "{of_log:#}");
    // Only the log is known to write one unit for all variants.
    let scale = |analysis: &Value| {
        let checks = analysis["checks"].as_array().unwrap().iter();
        checks.filter(|check| check["name"] == "value_scale").cloned().collect::<Vec<_>>()
    };
    assert_eq!(scale(&of_log), [Value::Null; 0]);
    assert!(scale(&of_file).iter().any(|check| check["state"] == "accepted"), "{of_file:#}");
    let unit = |name: &str| {
        let metrics = of_log["metrics"].as_array().unwrap();
        metrics.iter().find(|metric| metric["name"] == name).unwrap()["unit"].clone()
    };
    assert_eq!((unit("first_token"), unit("cost")), (json!("s"), Value::Null));
}

#[test]
fn requests_without_a_value_are_counted_and_reported() {
    let folder = folder();
    let found = folder.analysis(&MORE);
    let without = (0..1000).filter(|request| used(*request).output.is_none()).count();
    let slow = |request: &u64| used(*request).output.is_none() || request.is_multiple_of(17);
    let wanted = json!([
        {"column": "tokens_in", "requests": 1000, "missing": 0},
        {"column": "tokens_out", "requests": 1000, "missing": without},
        {"column": "cost", "requests": 1000, "missing": without},
        {"column": "first_token", "requests": 1000, "missing": 0},
        {"column": "tokens_per_second", "requests": 1000, "missing": (0..1000).filter(slow).count()},
    ]);
    assert_eq!(found["outcomes"]["logged"], wanted);
    let (code, text, problems) = folder.report(&["--html", "report.html"]);
    assert_eq!((code, problems.as_str()), (0, ""), "{text}");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = format!(
        "made from the access log: cost ({without} of 1000 requests have none), first_token"
    );
    assert!(text.contains(&line), "{text}");
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("made from the access log"));
}

#[test]
fn a_file_of_outcomes_is_beside_the_log_and_comes_first() {
    let folder = folder();
    let rows = (0..1000).map(|request| format!("r{request},{}\n", request % 2));
    folder.write("correct.csv", format!("request_id,correct\n{}", rows.collect::<String>()));
    let alone = folder.analysis(&[]);
    // A table of sums does not have the counts of files.
    let run = |outcomes: &str| -> Value {
        let (_, text, problems) = folder.report(&["--json", "--outcomes", outcomes]);
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{problems}"))
    };
    let found = run("correct.csv");
    same(result(&found, "cost"), result(&alone, "cost"), "cost");
    assert_eq!(result(&found, "accuracy")["n"], 250);
    let files = found["outcomes"]["files"].as_array().unwrap();
    let files = files.iter().map(|file| file["file"].as_str().unwrap());
    assert_eq!(files.collect::<Vec<_>>(), ["the outcomes", "the access log"]);
    // A column of that name is not made from the log.
    let rows = (0..1000).map(|request| format!("r{request},{}\n", 1 + request % 7));
    folder.write("cost.csv", format!("request_id,cost\n{}", rows.collect::<String>()));
    let found = run("cost.csv");
    assert!(number(&result(&found, "cost")["value"]) > 1.0);
    assert_eq!(found["outcomes"]["logged"][0]["column"], "first_token", "{found:#}");
}

/// The problem of `analyze run` with this file and log.
fn problem(file: &str, log: &str, more: &[&str]) -> String {
    let folder = Folder::new();
    folder.write("experiment.json", file);
    folder.write("access.log", log);
    folder.write("units.csv", "unit,bought\nu1,1\nu2,0\n");
    let (code, text, problems) = folder.report(more);
    assert_eq!(code, 1, "{text}");
    problems
}

#[test]
fn what_is_missing_is_named_with_what_to_do() {
    let log = log();
    let without = |field: &str| log.replace(field, &format!("x_{field}"));
    let unpriced = problem(&file(r#"{"large": {"input": 1, "output": 1}}"#), &log, &[]);
    let candidates = (0..1000).filter(|request| request % 2 == 1).map(used);
    let count = candidates.filter(|used| used.output.is_some()).count();
    let wanted = format!(
        "error: --exposures: no price for the model \"small\" of {count} requests; analysis.prices has: \
         large\n  hint: name models as the log does\n"
    );
    assert_eq!(unpriced, wanted);
    let lost = problem(&file(PRICES), &without("gen_ai.usage.input_tokens"), &[]);
    assert!(lost.contains("none of 1000 requests has gen_ai.usage.input_tokens"), "{lost}");
    let line = "\n    gen_ai.usage.input_tokens: \"%DYNAMIC_METADATA(io.envoy.ai_gateway:llm_input_token)%\"\n";
    assert!(lost.contains(line), "{lost}");
    let lost = problem(&file(PRICES), &without("first_byte"), &[]);
    assert!(lost.contains("first_token is in no outcome"), "{lost}");
    assert!(lost.contains("\n    first_byte: \"%RESPONSE_DURATION%\"\n"), "{lost}");
    let unpriced = file(PRICES)
        .replace("prices", "model")
        .replace(PRICES, r#"{"label": "y", "prediction": "p"}"#);
    let lost = problem(&unpriced, &log, &[]);
    assert!(
        lost.contains("--outcomes: no outcome has cost") && lost.contains("prices: {"),
        "{lost}"
    );
    let lost = problem(&file(PRICES), &without("request_id"), &[]);
    assert!(lost.contains("cost is by request_id, which no request has"), "{lost}");
    let lost = problem(&file(PRICES), &log, &["--outcomes", "units.csv"]);
    assert!(lost.contains("by unit, and cost of the access log is by request_id"), "{lost}");
}

#[test]
fn a_plan_may_have_metrics_of_other_data() {
    let folder = folder();
    folder.write("access.log", log().replace("gen_ai.usage", "x"));
    let found = folder.analysis(&["--metric", "error_rate"]);
    let names: Vec<&str> = found["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|metric| metric["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"first_token") && !names.contains(&"cost"), "{names:?}");
    let left = found["plan"]["exploratory"].to_string();
    assert!(left.contains("the plan's metric cost is not in these outcomes"), "{left}");
}

#[test]
fn a_value_that_cannot_be_read_is_no_zero() {
    let folder = folder();
    folder.write(
        "access.log",
        log().replacen(
            "\"gen_ai.usage.input_tokens\":200,",
            "\"gen_ai.usage.input_tokens\":\"many\",",
            1,
        ),
    );
    let found = folder.analysis(&MORE);
    let unreadable = found["outcomes"]["unreadable"].as_array().unwrap();
    let columns: Vec<&str> =
        unreadable.iter().map(|found| found["column"].as_str().unwrap()).collect();
    assert_eq!(columns, ["tokens_in", "cost"], "{unreadable:#?}");
    assert!(unreadable[0]["examples"][0].as_str().unwrap().contains("tokens_in is \"many\""));
}

#[test]
fn other_formats_of_the_log_have_the_same_metrics() {
    let folder = folder();
    let wanted = folder.analysis(&MORE);
    let check = |what: &str| same(&folder.analysis(&MORE)["metrics"], &wanted["metrics"], what);
    let lines: Vec<Value> = (0..1000).map(fields).collect();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let names: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
    let row =
        |line: &Value| names.iter().map(|name| text(&line[*name])).collect::<Vec<_>>().join(",");
    let rows: Vec<String> = lines.iter().map(row).collect();
    let head = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(",");
    folder.write("access.log", format!("{head}\n{}\n", rows.join("\n")));
    check("CSV");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(log().as_bytes()).unwrap();
    folder.write("access.log", gzip.finish().unwrap());
    check("gzip");
    let attribute = |line: &Value, name: &String| {
        let text = text(&line[name]);
        (!text.is_empty()).then(|| json!({"key": name, "value": {"stringValue": text}}))
    };
    let record = |line: &Value| {
        let attributes: Vec<Value> =
            names.iter().filter_map(|name| attribute(line, name)).collect();
        json!({ "attributes": attributes })
    };
    let records: Vec<Value> = lines.iter().map(record).collect();
    let request = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]});
    folder.write("access.log", format!("{request}\n"));
    check("OTLP");
    // As a collector carries the line.
    let carried =
        |line: &Value| json!({"stream": "stdout", "log": format!("{line}\n")}).to_string();
    folder.write("access.log", lines.iter().map(carried).collect::<Vec<_>>().join("\n"));
    check("an envelope");
}

#[test]
fn the_rendered_log_has_the_fields_if_the_plan_has_prices() {
    let folder = folder();
    for arguments in [
        &["render", "envoy", "experiment.json", "--otlp", "127.0.0.1:4317"][..],
        &[
            "render",
            "istio",
            "experiment.json",
            "--mesh-config",
            "--otlp",
            "s.n.svc.cluster.local:4317",
        ],
        &[
            "render",
            "envoy-gateway",
            "experiment.json",
            "--envoy-proxy",
            "--gateway",
            "n/g",
            "--otlp",
            "s.n.svc.cluster.local:4317",
        ],
    ] {
        folder.write("experiment.json", file(PRICES));
        let (code, text, problems) = folder.text(arguments);
        assert_eq!(code, 0, "{problems}");
        for (name, operator) in sidetrack::names::gen_ai::OPERATORS {
            assert_eq!(text.matches(operator).count(), 2, "{arguments:?} {operator}: {text}");
            assert_eq!(text.matches(name).count(), 2, "{name}: {text}");
        }
        folder.write(
            "experiment.json",
            file(PRICES).replace("prices", "cap").replace(PRICES, "{\"x\": \"99%\"}"),
        );
        let (code, text, problems) = folder.text(arguments);
        assert_eq!(code, 0, "{problems}");
        assert!(!text.contains("gen_ai"), "{text}");
    }
}
