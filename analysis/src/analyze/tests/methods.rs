//! Attribution and caps, on a handful of units whose figures can be counted.

use super::*;
use crate::answer::Kind;
use crate::check::CheckState;

const MINUTE: u64 = 60;

/// Unit `u` first comes in minute `u`: 40 units, half of each variant, so the log ends in minute 39.
fn log() -> String {
    (0..40).map(|unit| line(unit, unit * MINUTE, &ok(100))).collect()
}

/// A row of the outcomes about a unit, so many minutes after nine o'clock.
fn row(unit: u64, minute: u64, revenue: &str) -> String {
    format!("u{unit},2026-11-23T09:{minute:02}:00Z,{revenue}\n")
}

fn primary(metric: &str) -> MetricRequests {
    MetricRequests { primary: vec![metric.parse().unwrap()], ..MetricRequests::default() }
}

fn attributed(minutes: u64) -> Settings {
    let attribution = Some(Millis::new(minutes * 60_000));
    Settings { attribution, metrics: primary("revenue=mean"), ..settings() }
}

fn found(outcomes: &str, settings: &Settings) -> Analysis {
    analyzed(FILE, log().as_bytes(), Some(outcomes), settings).unwrap().0
}

/// The sizes and values of both variants in the first metric.
fn values(analysis: &Analysis) -> [(u64, f64); 2] {
    let metric = &analysis.metrics[0];
    let candidate = &metric.candidates[0];
    // Without the last digits.
    let rounded = |value: Option<f64>| (value.unwrap() * 1e9).round() / 1e9;
    [(metric.baseline.n, rounded(metric.baseline.value)), (candidate.n, rounded(candidate.value))]
}

fn reasons(analysis: &Analysis) -> String {
    analysis.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn outcomes_count_within_the_window_of_units_whose_window_is_over() {
    let mut rows = "unit,time,revenue\n".to_owned();
    for unit in 0..40 {
        // At once, in the last minute, and at the end of the window, which is after it.
        rows += &row(unit, unit, "1");
        rows += &row(unit, unit + 9, "10");
        rows += &row(unit, unit + 10, "100");
    }
    let analysis = found(&rows, &attributed(10));
    // Windows of units up to 29 end in minute 39, with the log.
    assert_eq!(values(&analysis), [(15, 11.0), (15, 11.0)]);
    let report = analysis.attribution.clone().unwrap();
    assert_eq!(report.window, "10m");
    assert_eq!(report.known_until, "2026-11-23T09:39:00Z");
    assert_eq!(report.open_units, [("fancy".to_owned(), 5), ("plain".to_owned(), 5)].into());
    assert_eq!(report.last_closes.as_deref(), Some("2026-11-23T09:49:00Z"));
    assert_eq!((report.late_rows, report.untimed_rows), (40, 0));
    // The metrics of requests have no window.
    let errors = analysis.metrics.iter().find(|metric| metric.name == "error_rate").unwrap();
    assert_eq!((errors.baseline.n, errors.candidates[0].n), (20, 20));
    let reasons = reasons(&analysis);
    for words in [
        "5 units of fancy and 5 of plain are left out of the metrics of outcomes: their outcomes \
         count for 10m, and are known until 2026-11-23T09:39:00Z only. The last window ends at \
         2026-11-23T09:49:00Z",
        "40 outcome rows are from after the attribution window of their unit and do not count",
    ] {
        assert!(reasons.contains(words), "{words}: {reasons}");
    }
    // Without attribution, everything counts.
    let all = found(&rows, &Settings { attribution: None, ..attributed(10) });
    assert_eq!((values(&all), all.attribution), ([(20, 111.0), (20, 111.0)], None));
}

#[test]
fn outcomes_about_requests_count_by_their_own_time() {
    let mut rows = "request_id,time,revenue\n".to_owned();
    let mut log = log();
    for unit in 0..40 {
        // Requests within the window whose outcomes come in time, and too late; and one after the window.
        for (minute, revenue, after) in [(0, 1, 9), (2, 10, 9), (3, 100, 10), (12, 1000, 12)] {
            let second = (unit + minute) * MINUTE;
            if second >= 40 * MINUTE {
                continue;
            }
            if minute > 0 {
                log += &line(unit, second, &ok(100));
            }
            let time = format!("2026-11-23T09:{:02}:00Z", unit + after);
            rows += &format!("{unit}-{second},{time},{revenue}\n");
        }
    }
    let found =
        |settings: &Settings| analyzed(FILE, log.as_bytes(), Some(&rows), settings).unwrap().0;
    let analysis = found(&attributed(10));
    assert_eq!(values(&analysis), [(15, 11.0), (15, 11.0)]);
    // Of 37 and of 28 units.
    assert_eq!(analysis.attribution.unwrap().late_rows, 37 + 28);
    let per_row = found(&Settings { metrics: primary("revenue"), ..attributed(10) });
    assert_eq!(values(&per_row), [(15, 5.5), (15, 5.5)]);
}

#[test]
fn outcomes_are_known_up_to_their_last_time_and_the_end_of_the_log_or_until() {
    let rows = |last: u64| format!("unit,time,revenue\n{}{}", row(0, 1, "1"), row(1, last, "1"));
    let known = |rows: &str, until: Option<&str>| {
        let window = Window { since: None, until: until.map(|time| time.parse().unwrap()) };
        let report = found(rows, &Settings { window, ..attributed(5) }).attribution.unwrap();
        (report.known_until, report.open_units["plain"] + report.open_units["fancy"])
    };
    let at = |minute: u64| format!("2026-11-23T09:{minute:02}:00Z");
    assert_eq!(known(&rows(30), None), (at(30), 14), "the outcomes end before the log");
    assert_eq!(known(&rows(59), None), (at(39), 5), "the log ends before the outcomes");
    assert_eq!(known(&rows(59), Some("2026-11-23T09:42:00Z")), (at(42), 2));
    assert_eq!(known(&rows(59), Some("2026-11-23T09:20:00Z")), (at(20), 4));
    assert_eq!(known(&rows(44), Some("2027-01-01")), (at(44), 0), "a time in the future");
}

#[test]
fn one_line_and_one_row_of_a_wrong_clock_do_not_end_all_windows() {
    let mut log: String = (0..400).map(|unit| line(unit, unit * 6, &ok(100))).collect();
    let time = |second: u64| format!("2026-11-23T09:{:02}:{:02}Z", second / 60, second % 60);
    let mut rows = "unit,time,revenue\n".to_owned();
    for unit in 0..400 {
        rows += &format!("u{unit},{},1\n", time(unit * 6));
    }
    let known = |log: &str, rows: &str| {
        let analysis = analyzed(FILE, log.as_bytes(), Some(rows), &attributed(10)).unwrap().0;
        let found = analysis.attribution.unwrap();
        (found.known_until, found.open_units["plain"] + found.open_units["fancy"])
    };
    let (sound, open) = known(&log, &rows);
    // One of 400 times is beyond the end, whatever it is.
    assert_eq!((sound.as_str(), open), ("2026-11-23T09:39:48Z", 101));
    log += &line(0, 6, &ok(100)).replace("2026-11-23", "2031-01-01");
    rows += "u1,2031-01-01T00:00:00Z,1\n";
    let (wrong, open) = known(&log, &rows);
    assert_eq!((wrong.as_str(), open), ("2026-11-23T09:39:54Z", 100));
}

#[test]
fn attribution_needs_times_and_units() {
    let error = |log: &str, rows: &str| {
        analyzed(FILE, log.as_bytes(), Some(rows), &attributed(10)).unwrap_err()
    };
    for rows in
        ["unit,revenue\nu1,1\n", "request_id,revenue\n1-60,1\n", "unit,time,revenue\nu1,,1\n"]
    {
        let text = error(&log(), rows);
        assert!(text.starts_with("no row has a time, but attribution (10m) needs it"), "{text}");
    }
    let nameless = log().replace("\"unit\":", "\"other\":");
    let text = error(&nameless, "request_id,time,revenue\n1-60,2026-11-23T09:02:00Z,1\n");
    assert!(text.contains("the log has no units"), "{text}");
}

#[test]
fn the_value_of_a_row_without_a_time_is_unknown() {
    let by_unit = format!(
        "unit,time,revenue\n{}{}{}u4,,7\n",
        row(0, 9, "1"),
        row(2, 9, "1"),
        row(1, 39, "1")
    );
    let by_request = "request_id,time,revenue\n0-0,2026-11-23T09:01:00Z,1\n\
                      2-120,2026-11-23T09:03:00Z,1\n1-60,2026-11-23T09:39:00Z,0\n4-240,soon,7\n";
    for rows in [by_unit.as_str(), by_request] {
        let analysis = found(rows, &attributed(10));
        // Of units 0, 2 … 28, without unit 4.
        assert_eq!(values(&analysis)[0], (14, 0.142_857_143));
        let blocking = analysis.checks.iter().find(|check| check.blocks()).unwrap();
        assert_eq!(blocking.name, CheckName::MalformedRows, "a quarter of the rows is lost");
        let counts = analysis.outcomes.unwrap();
        assert_eq!((counts.malformed, analysis.attribution.unwrap().untimed_rows), (1, 1));
        assert_eq!(counts.examples, ["rows without a time, which attribution needs: 1"]);
    }
}

#[test]
fn planned_units_are_units_whose_window_is_over() {
    let log: String = (0..240).map(|unit| line(unit, unit * 10, &ok(100))).collect();
    let rows = format!("unit,time,revenue\n{}", row(1, 39, "1"));
    let seen = |minutes: u64, metric: &str| {
        let metrics = primary(metric);
        let settings = Settings { planned_units: Some(200), metrics, ..attributed(minutes) };
        let found = analyzed(FILE, log.as_bytes(), Some(&rows), &settings).unwrap().0;
        (found.counted_units, found.test, found.is_plan_reached())
    };
    // 240 units joined in 40 minutes; outcomes are known until minute 39.
    assert_eq!(seen(10, "revenue=mean"), (Some(175), TestMode::AlwaysValid, false));
    assert_eq!(seen(5, "revenue=mean"), (Some(205), TestMode::Fixed, true));
    assert_eq!(seen(10, "error_rate"), (Some(240), TestMode::AlwaysValid, true), "beyond the plan");
}

#[test]
fn labels_are_compared_among_units_whose_window_is_over() {
    // Labels of `fancy` come at once, those of `plain` after nine minutes: some are not in yet.
    let at = |unit: u64| unit * 3599 / 3000;
    let log: String = (0..3000).map(|unit| line(unit, at(unit), &ok(100))).collect();
    let mut rows = "unit,time,rating\n".to_owned();
    for unit in 0..3000 {
        let second = at(unit) + if unit % 2 == 0 { 540 } else { 0 };
        if second < 3599 {
            let time = format!("2026-11-23T09:{:02}:{:02}Z", second / 60, second % 60);
            rows += &format!("u{unit},{time},{}\n", unit % 5);
        }
    }
    let state = |attribution: Option<u64>| {
        let attribution = attribution.map(|minutes| Millis::new(minutes * 60_000));
        let metrics = primary("rating=mean:absent=missing");
        let settings = Settings { metrics, attribution, ..settings() };
        let found = analyzed(FILE, log.as_bytes(), Some(&rows), &settings).unwrap().0;
        let check = found.checks.iter().find(|check| check.name == CheckName::LabelCoverage);
        check.unwrap().state
    };
    assert_eq!(state(None), CheckState::Blocking);
    assert_eq!(state(Some(10)), CheckState::Ok);
}

fn capped(quantile: &str) -> Settings {
    let caps = vec![format!("revenue={quantile}").parse().unwrap()];
    Settings { caps, attribution: None, ..attributed(1) }
}

#[test]
fn values_above_the_quantile_of_all_units_count_as_the_quantile() {
    // Unit `u` has `u` in two rows, and the last one a fortune: 90 % of the 40 values are at most 35.
    let mut rows = "unit,revenue\nu39,1e6\n".to_owned();
    (1..40).for_each(|unit| rows += &format!("u{unit},{unit}\nu{unit},0\n"));
    let analysis = found(&rows, &capped("90%"));
    let cap = analysis.metrics[0].cap.clone().unwrap();
    assert_eq!((cap.quantile, cap.value), (0.9, 35.0));
    assert_eq!(cap.units, [("fancy".to_owned(), 2), ("plain".to_owned(), 2)].into());
    // 0, 2 … 34, 35, 35 and 1, 3 … 35, 35, 35.
    assert_eq!(values(&analysis), [(20, 376.0 / 20.0), (20, 394.0 / 20.0)]);
    let reasons = reasons(&analysis);
    let words = "revenue is capped at 35.00, which 90 % of all units do not exceed: 2 units of \
                 fancy and 2 of plain count as if they had so much";
    assert!(reasons.contains(words), "{reasons}");
}

#[test]
fn a_cap_at_zero_decides_nothing_and_says_so() {
    // One unit in twenty has a value, so nine of ten have none.
    let analysis = found("unit,revenue\nu1,5\nu2,5\n", &capped("90%"));
    let candidate = &analysis.metrics[0].candidates[0];
    assert_eq!((candidate.p_value, candidate.decision), (None, Conclusion::Undefined));
    let reasons = reasons(&analysis);
    let words = "revenue is capped at 0, which 90 % of all units do not exceed: no positive value is \
                 left to compare";
    assert!(reasons.contains(words), "{reasons}");
}

#[test]
fn a_cap_is_for_means_of_the_outcomes() {
    let rows = "request_id,revenue,basket\n1-60,1,2\n";
    let capped = |text: &str, metric: &str| {
        let caps = vec![text.parse().unwrap()];
        let settings = Settings { caps, metrics: primary(metric), ..settings() };
        let found = analyzed(FILE, log().as_bytes(), Some(rows), &settings);
        found.map(|(found, _)| found.metrics[0].kind)
    };
    assert_eq!(capped("revenue=99%", "revenue"), Ok(Kind::Mean), "also of rows about requests");
    for (text, metric, words) in [
        ("revenue=99%", "revenue=ratio", "this is a ratio; write revenue=mean"),
        ("revenue=99%", "revenue=proportion", "this is a proportion"),
        ("error_rate=99%", "revenue", "this is a metric of requests"),
        ("revnue=99%", "revenue", "unknown metric; the outcomes have: revenue, basket"),
    ] {
        let error = capped(text, metric).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    // Without outcomes, there is nothing to cap.
    let settings = Settings { caps: vec!["revenue=99%".parse().unwrap()], ..settings() };
    assert!(analyzed(FILE, log().as_bytes(), None, &settings).is_ok());
}

#[test]
fn a_unit_without_a_label_is_not_a_wrong_prediction() {
    // Every second label is missing; all others are right.
    let mut rows = "unit,correct,bought\n".to_owned();
    (0..20).for_each(|unit| rows += &format!("u{unit},1,1\n"));
    let kind = |metric: &str| {
        let settings = Settings { metrics: primary(metric), ..settings() };
        values(&found(&rows, &settings))
    };
    assert_eq!(kind("accuracy"), [(10, 1.0), (10, 1.0)]);
    assert_eq!(kind("accuracy=proportion"), [(10, 1.0), (10, 1.0)]);
    assert_eq!(kind("accuracy=proportion:absent=zero"), [(20, 0.5), (20, 0.5)]);
    assert_eq!(kind("bought"), [(20, 0.5), (20, 0.5)]);
    assert_eq!(kind("bought:absent=missing"), [(10, 1.0), (10, 1.0)]);
}
