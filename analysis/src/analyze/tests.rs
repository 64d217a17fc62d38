mod clocks;
mod covariates;
mod decisions;
mod harness;
mod methods;
mod models;
mod raises;
mod segments;
mod spill;
mod table;
mod trials;

use std::fmt::Write as _;
use std::io::Write as _;
use std::num::NonZero;

use sidetrack::config::Methods;
use sidetrack::quantity::Millis;
use sidetrack_stats::input::Fraction;

use super::*;
use crate::Spill;
use crate::answer::{Conclusion, Decision, TestMode};
use crate::metric::MetricRequests;
use crate::source::outcomes::Wanted;
use crate::window::Window;
use harness::{analyzed, analyzed_with};

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
    let settings =
        Settings { planned_units, threads: NonZero::new(threads).unwrap(), ..settings() };
    analyzed(text, log.as_bytes(), None, &settings).unwrap().0
}

fn settings() -> Settings {
    Settings {
        trial: None,
        window: Window::default(),
        metrics: MetricRequests::default(),
        exploratory: Vec::new(),
        prices: Vec::new(),
        planned_units: None,
        attribution: None,
        caps: Vec::new(),
        segments: Vec::new(),
        methods: Methods::default(),
        level: Fraction::FIVE_PERCENT,
        allow_srm: false,
        allowed: Vec::new(),
        assume_independent_requests: false,
        exclude_breaker: false,
        threads: NonZero::<usize>::MIN,
        spill: None,
    }
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
    let fixed = |log: &str, units| analysis_of(&phased(), log, Some(units), 2);
    let once = fixed(&one, 2000);
    let twice = fixed(&(one.clone() + &again), 2000);
    let more = fixed(&(one + &others), 4000);
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

/// Four minutes of a log; in the second and the fourth a breaker diverts requests.
fn broken_log() -> String {
    let request = |unit: u64| {
        let diverted = unit % 2 == 1 && (unit / 100) % 2 == 1 && unit % 100 < 50;
        let text = line(unit, 60 * (unit / 100) + unit % 60, &ok(100 + unit % 10));
        if !diverted {
            return text;
        }
        text.replace("\"served\":\"fancy\"", "\"served\":\"plain\"")
            .replace("\"hash\"", "\"breaker_open\"")
    };
    (0..400).map(request).collect()
}

#[test]
fn minutes_of_open_breakers_are_read_twice_or_left_out() {
    let log = broken_log();
    let (with, passes) = analyzed(FILE, log.as_bytes(), None, &settings()).unwrap();
    assert_eq!(passes, [(Pass::All, 400), (Pass::WithoutBreaker, 400)]);
    assert_eq!((with.lines.used, with.lines.excluded.breaker), (400, 0));
    assert_eq!((with.breaker.requests, with.breaker.minutes), (50, 2));
    assert_eq!(with.variants.iter().map(|variant| variant.served_elsewhere).sum::<u64>(), 50);
    let without = with.without_breaker.as_ref().unwrap();
    assert_eq!((with.metrics[0].baseline.n, without[0].baseline.n), (200, 100));
    let exclude = Settings { exclude_breaker: true, ..settings() };
    let (less, _) = analyzed(FILE, log.as_bytes(), None, &exclude).unwrap();
    assert_eq!((less.lines.used, less.lines.excluded.breaker), (200, 200));
    assert_eq!((less.metrics[0].baseline.n, less.without_breaker.is_none()), (100, true));
    // What was left out is still shown.
    assert_eq!((less.breaker.requests, less.breaker.minutes), (50, 2));
    // Without an open breaker, one pass is enough.
    let log: String = (0..400).map(|unit| line(unit, unit, &ok(100))).collect();
    let (found, passes) = analyzed(FILE, log.as_bytes(), None, &exclude).unwrap();
    assert_eq!((found.lines.used, passes), (400, vec![(Pass::All, 400)]));
    assert!(found.without_breaker.is_none() && found.breaker.requests == 0);
}

/// The notes of an analysis, in order.
fn notes(analysis: &Analysis) -> Vec<Note> {
    let note = |reason: &Reason| match reason {
        Reason::Note(note) => Some(note.clone()),
        _ => None,
    };
    analysis.reasons.iter().filter_map(note).collect()
}

#[test]
fn notes_say_what_a_reader_must_know() {
    use crate::reason::RowProblem::{Shared, Unmatched};
    let mut log = broken_log();
    // Two units of the other variant, three requests without a unit, and two of another phase: 0.5 %.
    log += &line(0, 300, &ok(1)).replace("plain", "fancy");
    log += &line(1, 300, &ok(1)).replace("fancy", "plain");
    for unit in [401, 402, 403] {
        log += &line(unit, 300, &ok(1)).replace(&format!("\"u{unit}\""), "null");
    }
    for unit in [404, 405] {
        log += &line(unit, 300, &ok(1)).replace("\"hash\"", "\"hash\",\"phase\":\"x\"");
    }
    let outcomes = "request_id,score\n2-2,1\n2-2,2\n3-3,x\nnone,1\nother,1\n4-4,1\n";
    log += &line(4, 4, &ok(1));
    let (found, _) = analyzed(FILE, log.as_bytes(), Some(outcomes), &settings()).unwrap();
    let rows = |rows, problem| Note::OutcomeRows { rows, problem };
    assert_eq!(
        notes(&found),
        [
            Note::DefaultPrimary { metric: "score".to_owned() },
            Note::BreakerOpen { requests: 50, share: 50.0 / 203.0, minutes: 2 },
            Note::OtherWeights { requests: 2 },
            Note::TornUnits { units: 2 },
            Note::WithoutUnit { requests: 3 },
            rows(2, Unmatched),
            rows(1, Shared),
        ]
    );
    let counts = found.outcomes.unwrap();
    assert_eq!((counts.rows, counts.matched, counts.unmatched), (5, 3, 2));
    assert_eq!((counts.malformed, counts.repeated, counts.shared, counts.early), (0, 0, 1, 0));
    assert_eq!((counts.conflicting, counts.unreadable[0].rows), (1, 1));
    // A log without anything strange needs none.
    let log: String = (0..400).map(|unit| line(unit, unit, &ok(100))).collect();
    assert_eq!(notes(&analyzed(FILE, log.as_bytes(), None, &settings()).unwrap().0), []);
    let (empty, _) = analyzed(FILE, b"", None, &settings()).unwrap();
    assert_eq!(notes(&empty), []);
    assert_eq!(empty.decision, crate::answer::Decision::Invalid);
    assert_eq!(empty.reasons, [Reason::Unusable(Unusable::Empty)]);
    assert_eq!((empty.from, empty.to), (None, None));
}

#[test]
fn one_request_in_a_hundred_of_other_weights_is_tolerated() {
    let of = |strange: u64| {
        let mut log: String = (0..99).map(|unit| line(unit, unit, &ok(100))).collect();
        for unit in 100..100 + strange {
            log += &line(unit, 300, &ok(1)).replace("\"hash\"", "\"hash\",\"phase\":\"x\"");
        }
        analyzed(FILE, log.as_bytes(), None, &settings()).unwrap().0
    };
    assert_eq!(of(1).decision, crate::answer::Decision::Inconclusive);
    assert_eq!(notes(&of(1)), [Note::OtherWeights { requests: 1 }]);
    let refused = of(2);
    assert_eq!(refused.decision, crate::answer::Decision::Invalid);
    assert_eq!(refused.reasons, [Reason::WeightsChanged { share: 2.0 / 101.0 }]);
}

/// A log whose requests have no units.
fn nameless(log: &str) -> String {
    let lines = log.lines().map(|line| {
        let (before, after) = line.split_once("\"unit\":\"").unwrap();
        format!("{before}\"unit\":\"-{}\n", &after[after.find('"').unwrap()..])
    });
    lines.collect()
}

#[test]
fn requests_stand_in_for_units_only_where_the_log_has_none() {
    let log: String = (0..400).map(|unit| line(unit, unit, &ok(100))).collect();
    let random = FILE.replace("\"baseline\"", "\"assignment\": \"request_random\", \"baseline\"");
    for (file, log, unit, note) in [
        (FILE, log.clone(), AnalysisUnit::Unit, false),
        (FILE, nameless(&log), AnalysisUnit::Request, true),
        (&random, log.clone(), AnalysisUnit::Request, false),
        (&random, nameless(&log), AnalysisUnit::Request, false),
    ] {
        let (found, _) = analyzed(file, log.as_bytes(), None, &settings()).unwrap();
        assert_eq!(found.unit_of_analysis, unit);
        assert_eq!(notes(&found).contains(&Note::IndependentRequests), note, "{:?}", found.reasons);
        assert_eq!(found.srm.verdict == SrmVerdict::Undefined, note);
        assert_eq!(found.variants.iter().map(|variant| variant.units).sum::<u64>(), 400);
        // Outcomes of units need units.
        let outcomes = Some("unit,score\nu1,1\n");
        let by_unit = analyzed(file, log.as_bytes(), outcomes, &settings());
        match unit {
            AnalysisUnit::Unit => assert!(by_unit.is_ok()),
            AnalysisUnit::Request => {
                let error = by_unit.unwrap_err();
                let reason = if note { "the log has none" } else { "request_random" };
                assert!(error.contains(reason), "{error}");
            }
        }
        // Without requests it cannot be known whether the log has units.
        assert!(analyzed(file, b"", outcomes, &settings()).is_ok());
    }
}

#[test]
fn requests_decide_only_if_the_user_accepts_it() {
    let failing = |unit: u64| {
        let status = if unit.is_multiple_of(2) && unit % 10 < 4 { 503 } else { 200 };
        line(unit, unit % 3600, &format!(r#""status":{status},"duration":100"#))
    };
    let log = nameless(&(0..4000).map(failing).collect::<String>());
    let decided = |assume_independent_requests| {
        let settings = Settings { assume_independent_requests, ..settings() };
        analyzed(FILE, log.as_bytes(), None, &settings).unwrap().0.decision
    };
    assert_eq!(decided(false), crate::answer::Decision::Inconclusive);
    assert_eq!(decided(true), crate::answer::Decision::Promote);
}

#[test]
fn aborted_requests_are_a_metric_only_if_there_are_any() {
    let mut log: String = (0..400).map(|unit| line(unit, unit, &ok(100))).collect();
    let has = |log: &str, guardrail: &[&str]| {
        let guardrail = guardrail.iter().map(|name| name.parse().unwrap()).collect();
        let metrics = MetricRequests { guardrail, ..MetricRequests::default() };
        let (found, _) =
            analyzed(FILE, log.as_bytes(), None, &Settings { metrics, ..settings() }).unwrap();
        found.metrics.iter().any(|metric| metric.name == "abort_rate")
    };
    assert!(!has(&log, &[]) && has(&log, &["abort_rate"]));
    log += &line(1, 500, r#""status":0,"flags":"DC","duration":9000"#);
    assert!(has(&log, &[]));
}

#[test]
fn a_price_needs_a_metric_and_a_plan_a_hundred_units() {
    let log: String = (0..40).map(|unit| line(unit, unit, &ok(100))).collect();
    let with = |price: &str, planned_units| {
        let settings =
            Settings { prices: vec![price.parse().unwrap()], planned_units, ..settings() };
        analyzed(FILE, log.as_bytes(), None, &settings)
    };
    let (found, _) = with("latency_p50=1", None).unwrap();
    assert_eq!((found.worth.len(), found.worth[0].parts.len()), (1, 1));
    let error = with("latency_p51=1", None).unwrap_err();
    assert!(
        error.starts_with("unknown metric; expected one of: error_rate, latency_p95"),
        "{error}"
    );
    assert!(with("latency_p50=1", Some(99)).unwrap_err().contains("be 100 or more"));
    assert!(with("latency_p50=1", Some(40)).is_ok(), "the plan is reached");
}

#[test]
fn a_fixed_test_decides_at_the_planned_units_only() {
    let request = |unit: u64| {
        let status = if unit % 40 < 2 { 503 } else { 200 };
        line(unit, unit, &format!(r#""status":{status},"duration":{}"#, 100 + unit % 7))
    };
    let log: String = (0..1100).map(request).collect();
    for (planned, test, reached) in [
        (1101, TestMode::AlwaysValid, false),
        (1100, TestMode::Fixed, true),
        (1000, TestMode::Fixed, true),
        (999, TestMode::AlwaysValid, true),
        (500, TestMode::AlwaysValid, true),
    ] {
        let found = analysis_of(FILE, &log, Some(planned), 1);
        assert_eq!((found.test, found.is_plan_reached()), (test, reached), "{planned}");
        // Without a better candidate, the plan's end keeps the baseline however often one looks.
        let decision = if reached { Decision::KeepBaseline } else { Decision::Inconclusive };
        assert_eq!(found.decision, decision, "{planned}");
    }
}

#[test]
fn a_gzip_log_that_breaks_off_does_not_decide() {
    let log: String = (0..400).map(|unit| line(unit, unit, &ok(100))).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(log.as_bytes()).unwrap();
    let mut whole = gzip.finish().unwrap();
    let (found, _) = analyzed(FILE, &whole, None, &settings()).unwrap();
    assert_eq!((found.lines.used, notes(&found)), (400, vec![]));
    whole.truncate(whole.len() - 4);
    let (found, _) = analyzed(FILE, &whole, None, &settings()).unwrap();
    let cut = found.checks.iter().find(|check| check.name == CheckName::DamagedLines).unwrap();
    assert!(cut.blocks() && cut.message.contains("the gzip data breaks off"), "{cut:?}");
    assert_eq!((found.decision, found.lines.used), (Decision::Invalid, 400));
}

#[test]
fn malformed_lines_are_shown_with_their_places() {
    let mut log = "\n".to_owned() + &line(1, 1, &ok(100)) + "  \nbroken\n";
    log += &line(2, 2, &ok(100));
    log += "[]";
    let (found, _) = analyzed(FILE, log.as_bytes(), None, &settings()).unwrap();
    assert_eq!((found.lines.read, found.lines.used, found.lines.malformed), (4, 2, 2));
    let places = found.lines.examples.iter().map(|text| {
        let (_, place) = text.split_once(':').unwrap();
        place.split(':').next().unwrap().to_owned()
    });
    assert_eq!(places.collect::<Vec<_>>(), ["4", "6"]);
}
