//! Users of an experiment as a proxy logs them, and what becomes of their requests.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sidetrack::decide::{Gate, Outcome, World, decide};
use sidetrack::exposure::Exposures;
use sidetrack::plan::Plan;
use sidetrack::quantity::Timestamp;

/// 2026-11-23T09:00:00Z.
pub(crate) const START: u64 = 1_795_424_400_000;

pub(crate) const FORECAST: &str = r#"{"experiments": [{"name": "forecast", "salt": "one",
    "unit": [{"header": "x-user-id"}], "baseline": "plain",
    "variants": [{"name": "plain"}, {"name": "fancy", "weight": 40}],
    "analysis": {"metrics": ["accuracy"], "guardrails": ["error_rate:2pt", "latency_p95:20ms"],
        "planned_units": 3000}}]}"#;

/// Requests that a proxy decides about.
pub(crate) struct Crowd {
    plan: Plan,
    exposures: Exposures,
    /// Milliseconds between two requests.
    pub(crate) step: u64,
    pub(crate) start: u64,
    /// Each user makes so many requests.
    pub(crate) each: u64,
    next: u64,
}

/// From 0 to 1, always the same for a number.
pub(crate) fn chance(number: u64) -> f64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap()) / f64::from(u32::MAX)
}

impl Crowd {
    pub(crate) fn new(file: &str) -> Self {
        let plan = sidetrack::config::parse_json(file.as_bytes()).unwrap();
        let exposures = Exposures::new(&plan, plan.experiments.first().unwrap());
        Self { plan, exposures, step: 500, start: START, each: 3, next: 0 }
    }

    /// Requests whose numbers, which are in their ids, begin here.
    pub(crate) fn from(next: u64, file: &str) -> Self {
        Self { next, start: START - next * 500, ..Self::new(file) }
    }

    /// The same users under another file, at the place where the other one ended.
    pub(crate) fn follow(file: &str, before: &Self) -> Self {
        Self {
            step: before.step,
            start: before.start,
            each: before.each,
            next: before.next,
            ..Self::new(file)
        }
    }

    pub(crate) fn lines(&mut self, count: u64) -> Vec<Value> {
        (0..count).map(|_| self.line()).collect()
    }

    fn line(&mut self) -> Value {
        let number = self.next;
        self.next += 1;
        // A user comes back soon.
        let user = format!("user-{}", number / self.each);
        let time = Timestamp::new(self.start + number * self.step);
        let mut world = World { now: time, entropy: || 0, gate: &|_, _| Gate::Closed };
        let request = vec![("x-user-id", user.as_str())];
        let Outcome::Decided(decision) = decide(&self.plan, &request, &mut world, &mut ()) else {
            panic!("no decision")
        };
        let experiment = self.plan.experiments.first().unwrap();
        let unit = experiment.exposure.pseudonym(user.as_bytes());
        let text = self.exposures.text(&decision, Some(unit.as_bytes()));
        let variant = &experiment.variants[decision.assigned].name;
        let phase = experiment.schedule.phases().iter().enumerate();
        let phase = phase.filter(|(at, _)| match experiment.schedule.at(time) {
            sidetrack::rollout::InForce::Weights(_, now) => now == Some(*at),
            sidetrack::rollout::InForce::NotStarted => false,
        });
        let slow =
            if *variant == experiment.variants[experiment.baseline].name { 0.0 } else { 6.0 };
        json!({
            "time": time.to_string(),
            "request_id": format!("request-{number}"),
            "exposure": String::from_utf8(text).unwrap(),
            "experiment": experiment.name,
            "assigned": variant,
            "served": variant,
            "phase": phase.map(|(_, phase)| phase.name.clone()).next(),
            "status": if chance(number * 7) < 0.004 { 503 } else { 200 },
            "flags": "-",
            "duration": format!("{:.0}", 30.0 + slow + 40.0 * chance(number * 3).powi(3)),
            "first_byte": 9,
        })
    }
}

/// As if a breaker had been open: the baseline served these.
pub(crate) fn divert(lines: &mut [Value], candidate: &str, baseline: &str) {
    for line in lines.iter_mut().filter(|line| line["assigned"] == candidate) {
        line["served"] = baseline.into();
        line["reason"] = "breaker_open".into();
    }
}

/// A label for each request: right with this probability, by variant.
pub(crate) fn labels(lines: &[Value], right: &[(&str, f64)]) -> String {
    let mut table = "request_id,accuracy\n".to_owned();
    for (line, number) in lines.iter().zip(1u64..) {
        let rate = right.iter().find(|(variant, _)| line["assigned"] == *variant).unwrap().1;
        let id = line["request_id"].as_str().unwrap();
        writeln!(table, "{id},{}", u8::from(chance(number * 11) < rate)).unwrap();
    }
    table
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
