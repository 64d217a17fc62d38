//! Traffic as a proxy logs it: the core decides about each request.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sidetrack::decide::{Gate, Outcome, World, decide};
use sidetrack::exposure::Exposures;
use sidetrack::plan::Plan;
use sidetrack::quantity::Timestamp;

pub(crate) const NAME: &str = "forecast";

pub(crate) const EXPERIMENT: &str = r#"{"experiments": [{"name": "forecast", "salt": "one",
    "unit": [{"header": "x-user-id"}], "baseline": "plain",
    "variants": [{"name": "plain"}, {"name": "fancy", "weight": 40}],
    "analysis": {"metrics": ["accuracy"], "guardrails": ["error_rate:5pt"], "planned_units": 100000}}]}"#;

/// 2026-11-23T09:00:00Z.
pub(crate) const START: u64 = 1_795_424_400_000;

/// Requests of users, one after another.
pub(crate) struct Traffic {
    plan: Plan,
    exposures: Exposures,
    start: u64,
    next: u64,
}

impl Traffic {
    pub(crate) fn new(file: &str, start: u64) -> Self {
        let plan = sidetrack::config::parse_json(file.as_bytes()).unwrap();
        let exposures = Exposures::new(&plan, plan.experiments.first().unwrap());
        Self { plan, exposures, start, next: 0 }
    }

    /// The next lines of the log, as JSON objects.
    pub(crate) fn lines(&mut self, count: u64) -> Vec<Value> {
        (0..count).map(|_| self.line()).collect()
    }

    fn line(&mut self) -> Value {
        let number = self.next;
        self.next += 1;
        let user = format!("user-{}", number % 997);
        let time = Timestamp::new(self.start + number * 250);
        let mut world = World { now: time, entropy: || 0, gate: &|_, _| Gate::Closed };
        let request = vec![("x-user-id", user.as_str())];
        let Outcome::Decided(decision) = decide(&self.plan, &request, &mut world, &mut ()) else {
            panic!("no decision")
        };
        let experiment = self.plan.experiments.first().unwrap();
        let unit = experiment.exposure.pseudonym(user.as_bytes());
        let text = self.exposures.text(&decision, Some(unit.as_bytes()));
        let variant = &experiment.variants[decision.assigned].name;
        json!({
            "time": time.to_string(),
            "request_id": format!("request-{}-{number}", self.start),
            "exposure": String::from_utf8(text).unwrap(),
            "experiment": experiment.name,
            "assigned": variant,
            "served": variant,
            "phase": null,
            "status": if number.is_multiple_of(41) { 503 } else { 200 },
            "flags": "-",
            "duration": 10 + number % 37,
            "first_byte": 9,
        })
    }
}

/// The log of these lines.
pub(crate) fn log(lines: &[Value]) -> String {
    lines.iter().fold(String::new(), |mut log, line| {
        writeln!(log, "{line}").unwrap();
        log
    })
}

/// The lines as one request of OTLP in JSON.
pub(crate) fn otlp(lines: &[Value]) -> String {
    let record = |line: &Value| {
        let values = line.as_object().unwrap().iter().map(|(name, value)| {
            let text = match value {
                Value::Null => "-".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            json!({"key": name, "value": {"stringValue": text}})
        });
        json!({"timeUnixNano": "1", "attributes": values.collect::<Vec<_>>()})
    };
    let records: Vec<Value> = lines.iter().map(record).collect();
    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).to_string()
}

/// A label for each request, better for one variant.
pub(crate) fn labels(lines: &[Value]) -> String {
    let mut table = "request_id,correct\n".to_owned();
    for (line, number) in lines.iter().zip(0..) {
        let good = if line["assigned"] == "fancy" { number % 10 < 9 } else { number % 10 < 7 };
        writeln!(table, "{},{}", line["request_id"].as_str().unwrap(), u8::from(good)).unwrap();
    }
    table
}
