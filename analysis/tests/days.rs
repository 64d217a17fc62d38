//! Effects by day against reference/days.json, which another language computes from the same log, unit by unit.

#![expect(clippy::unwrap_used, reason = "a test that fails may say so abruptly")]

use std::fmt::Write as _;
use std::num::NonZero;

use serde_json::Value;
use sidetrack_analysis::answer::{Analysis, DayEffect};
use sidetrack_analysis::summary::Summary;
use sidetrack_analysis::{
    CheckName, CheckState, Dimension, Input, Logs, Outcomes, Settings, Strata, Subject, analyze,
    conclude, summarize,
};

const FILE: &str = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
    "variants": [{"name": "b"}, {"name": "c", "weight": 40}]}], "settings": {"exposure_unit": "plain"}}"#;
const DAYS: u64 = 12;

/// Knuth's linear congruential generator, as in data.py.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// The log and the labels, as `generate` in days.py. Lines are not in the order of time: each unit's days are reversed.
fn generate() -> (String, String) {
    let mut random = Random(77);
    let (mut log, mut labels) = (Vec::new(), "request_id,correct\n".to_owned());
    for unit in 0..900 {
        let is_candidate = random.below(100) < 40;
        let arm = u64::from(is_candidate);
        let joined = random.below(DAYS - 4);
        for day in joined..DAYS {
            let is_there = day == joined || random.below(100) < 45;
            let count = if is_there { 1 + random.below(2) } else { 0 };
            for number in 0..count {
                let status = if random.below(100) < 12 + 4 * arm { 503 } else { 200 };
                let effect = if is_candidate { 30 - 5 * (day - joined).min(6) } else { 0 };
                let correct = u8::from(random.below(100) < 55 + unit % 20 + effect);
                let id = format!("{unit}-{day}-{number}");
                let name = if is_candidate { "c" } else { "b" };
                log.push(format!(
                    r#"{{"time":"2026-11-{:02}T09:0{number}:00.000Z","request_id":"{id}","unit":"u{unit}","experiment":"e","assigned":"{name}","served":"{name}","reason":"hash","status":{status},"duration":10,"tier":"t{}"}}"#,
                    day + 10,
                    unit % 3
                ));
                writeln!(labels, "{id},{correct}").unwrap();
            }
        }
    }
    log.reverse();
    (log.join("\n"), labels)
}

fn run(threads: usize) -> Analysis {
    both(threads).0
}

/// The analysis of the log, and that of the table of its sums.
fn both(threads: usize) -> (Analysis, Analysis) {
    let (log, labels) = generate();
    let folder = tempfile::tempdir().unwrap();
    let [log_file, label_file] = ["access.log", "labels.csv"].map(|name| folder.path().join(name));
    std::fs::write(&log_file, log).unwrap();
    std::fs::write(&label_file, labels).unwrap();
    let plan = sidetrack::config::parse_json(FILE.as_bytes()).unwrap();
    let experiment = plan.experiments.into_iter().next().unwrap();
    let outcomes = Outcomes::read(&label_file, &experiment).unwrap();
    let input = Input {
        experiment: &experiment,
        strata: &Strata::new(&experiment, "").unwrap(),
        config_hash: "",
        logs: &Logs::new(&[log_file]).unwrap(),
        outcomes: Some(&outcomes),
    };
    let settings = Settings::planned(None, NonZero::new(threads).unwrap()).unwrap();
    let segments = vec![Dimension { name: "tier".to_owned(), planned: false }];
    let settings = Settings { planned_units: Some(1000), segments, ..settings };
    let strata = Strata::new(&experiment, "").unwrap();
    let subject = Subject { experiment: &experiment, strata: &strata, config_hash: "" };
    let table = summarize(input, &settings, &|_, _| ()).unwrap().table(subject);
    let summary = Summary::of_table(table, subject, &settings).unwrap();
    let again = conclude(subject, &settings, &summary).unwrap().0;
    (analyze(input, &settings, &|_, _| ()).unwrap().0, again)
}

#[test]
fn a_table_of_sums_has_days_and_segments_bit_for_bit() {
    let (direct, again) = both(2);
    let json = |analysis: &Analysis| serde_json::to_value(analysis).unwrap();
    let (direct, again) = (json(&direct), json(&again));
    assert_eq!(direct["daily"], again["daily"]);
    assert_eq!(direct["segments"], again["segments"]);
    assert_eq!(direct["segments"][0]["segments"].as_array().unwrap().len(), 3);
    assert_eq!(direct["outlook"], again["outlook"]);
    assert_eq!(direct["checks"], again["checks"]);
}

fn close(found: f64, want: &Value, place: &str) {
    let want = want.as_f64().unwrap();
    assert!(
        (found - want).abs() <= 1e-9 * want.abs() + 1e-12,
        "{place}: found {found}, want {want}"
    );
}

fn effects(found: &[DayEffect], want: &Value, place: &str, name: impl Fn(u64) -> String) {
    let want = want.as_array().unwrap();
    assert_eq!(found.len(), want.len(), "{place}");
    for (found, want) in found.iter().zip(want) {
        let day = name(want["day"].as_u64().unwrap());
        assert_eq!(found.day, day, "{place}");
        assert_eq!(serde_json::to_value(found.n).unwrap(), want["n"], "{place}: {day}");
        close(found.diff, &want["diff"], &format!("{place}: {day}"));
        for (end, want) in found.ci.iter().zip(want["ci"].as_array().unwrap()) {
            close(end.unwrap(), want, &format!("{place}: interval of {day}"));
        }
    }
}

#[test]
fn effects_by_day_and_their_trend_are_the_reference_s() {
    let want: Value = serde_json::from_str(include_str!("../reference/days.json")).unwrap();
    let analysis = run(2);
    for name in ["error_rate", "accuracy"] {
        let (found, want) = (analysis.daily.iter().find(|it| it.metric == name), &want[name]);
        let found = &found.unwrap().candidates[0];
        effects(&found.days, &want["days"], name, |day| format!("2026-11-{:02}", day + 10));
        effects(&found.since, &want["since"], name, |day| day.to_string());
        let trend = found.trend.as_ref().unwrap();
        close(trend.slope, &want["slope"], name);
        close(trend.statistic.unwrap(), &want["statistic"], name);
        close(trend.p_value.unwrap(), &want["p"], name);
        close(trend.ci[0].unwrap(), &want["ci"][0], name);
        close(trend.ci[1].unwrap(), &want["ci"][1], name);
    }
}

#[test]
fn an_effect_that_wears_off_is_said() {
    let analysis = run(1);
    let check = analysis.checks.iter().find(|it| it.name == CheckName::EffectTrend).unwrap();
    assert_eq!(check.state, CheckState::Warning, "{}", check.message);
    assert!(check.message.contains("the effect of c on accuracy wears off"), "{}", check.message);
    assert!(!check.message.contains("error_rate"), "{}", check.message);
}

#[test]
fn days_do_not_depend_on_threads() {
    let text = |threads| serde_json::to_string(&run(threads).daily).unwrap();
    assert_eq!(text(1), text(8));
}
