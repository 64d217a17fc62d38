//! The methods of the plan, on logs whose truth is known: attribution windows, caps, skewed values.

use std::cell::Cell;
use std::fmt::Write as _;

use serde_json::Value;

use crate::crowd::{Random, START};
use crate::life::{DAY, Force, HOUR, Life, file, planned, weight};
use crate::{Folder, number, result};

/// RFC 3339.
fn clock(time: u64) -> String {
    sidetrack::quantity::Timestamp::new(time).to_string()
}

/// A folder with the file of an experiment, its log and its outcomes.
fn written(file: &str, life: &Life, rows: &str) -> Folder {
    let folder = Folder::new();
    folder.write("experiment.json", file);
    folder.write("access.log", &life.log);
    folder.write("outcomes.csv", rows);
    folder
}

/// A request of a user; whether it was assigned to `fancy`.
fn request(life: &mut Life, force: &Force, user: u64, time: u64) -> bool {
    let is_fancy = Cell::new(false);
    life.request(force, user, time, |variant| {
        is_fancy.set(variant == "fancy");
        0.5
    });
    is_fancy.get()
}

fn analyzed(folder: &Folder, more: &[&str]) -> Value {
    folder.analysis(&[&["--outcomes", "outcomes.csv"], more].concat())
}

fn exploratory(found: &Value) -> &[Value] {
    found["plan"]["exploratory"].as_array().unwrap()
}

/// The text and the page of an analysis.
fn reports(folder: &Folder) -> [String; 2] {
    let (_, text, _) = folder.text(&[
        "analyze",
        "run",
        "experiment.json",
        "--exposures",
        "access.log",
        "--outcomes",
        "outcomes.csv",
        "--html",
        "report.html",
    ]);
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    // Lines are wrapped.
    [text, page].map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Guardrails that are settled soon.
const GUARDS: &str = r#""guardrails": ["latency_p95:100ms", "error_rate:20pt"]"#;
const WEEK: &str = r#", "attribution": "7d", "planned_units": 6000"#;
const USERS: u64 = 6000;
const FORTNIGHT: u64 = 14 * DAY;

/// Users join over two weeks. Three of ten convert, whatever their variant: within an hour with `fancy`, and within six
/// days with `plain`. The outcomes are those that are known after two weeks.
fn conversions(attribution: &str, by_request: bool) -> Folder {
    let file = planned(&format!(r#"{{"metrics": ["converted"], {GUARDS}{attribution}}}"#));
    let force = Force::new(&file);
    let mut life = Life::new(11);
    let mut random = Random(12);
    let key = if by_request { "request_id" } else { "unit" };
    let mut rows = format!("{key},time,converted\n");
    for user in 0..USERS {
        let time = START + user * FORTNIGHT / USERS;
        let is_fancy = request(&mut life, &force, user, time);
        let (converts, soon) = (random.chance(0.3), random.fraction());
        let span = if is_fancy { HOUR } else { 6 * DAY };
        // That a user does not convert is known after six days.
        let after = if converts { (soon * span as f64) as u64 } else { 6 * DAY };
        let is_known = time + after < START + FORTNIGHT;
        if is_known && (converts || by_request) {
            let key = if by_request { format!("{user}-{user}") } else { format!("user-{user}") };
            writeln!(rows, "{key},{},{}", clock(time + after), u8::from(converts)).unwrap();
        }
    }
    written(&file, &life, &rows)
}

#[test]
fn users_who_buy_sooner_do_not_buy_more() {
    let biased = analyzed(&conversions("", false), &[]);
    assert_eq!((&biased["decision"], &biased["winner"]), (&"promote".into(), &"fancy".into()));
    assert!(number(&result(&biased, "converted")["diff"]) > 0.04, "{biased:#}");

    let folder = conversions(WEEK, false);
    let found = analyzed(&folder, &[]);
    let converted = result(&found, "converted");
    assert_eq!(found["decision"], "inconclusive", "{found:#}");
    assert!(number(&converted["ci"][0]) < 0.0 && number(&converted["ci"][1]) > 0.0, "{converted}");
    assert!((number(&converted["value"]) - 0.3).abs() < 0.04, "{converted}");
    assert!(found["counted_units"].as_u64().unwrap().abs_diff(USERS / 2) < 10, "{found:#}");
    // Half of the users of each variant joined in the second week.
    let open = &found["attribution"]["open_units"];
    for (variant, result) in [("plain", &found["metrics"][0]["baseline"]), ("fancy", converted)] {
        let share = number(&open[variant]) / (number(&open[variant]) + number(&result["n"]));
        assert!((share - 0.5).abs() < 0.03, "{variant}: {share}");
    }
    // The errors of all users count.
    let errors = number(&result(&found, "error_rate")["n"]);
    assert!(errors > 1.9 * number(&converted["n"]), "{errors}");
    assert_eq!(exploratory(&found), [] as [Value; 0]);
    for text in reports(&folder) {
        assert!(
            text.contains("are left out of the metrics of outcomes: their outcomes count for 7d"),
            "{text}"
        );
        assert!(text.contains("The last window ends at 2026-12-14T"), "{text}");
        assert!(text.contains(" of 6000 planned units count so far: always-valid"), "{text}");
    }
}

#[test]
fn labels_that_come_later_in_one_variant_do_not_favor_it() {
    // By request, only rows that exist count: those of users who convert come first.
    let biased = analyzed(&conversions("", true), &["--allow", "label_coverage"]);
    assert_eq!(biased["decision"], "promote", "{biased:#}");
    let found = analyzed(&conversions(WEEK, true), &[]);
    assert_eq!(found["decision"], "inconclusive", "{found:#}");
    let converted = result(&found, "converted");
    assert!((number(&converted["value"]) - 0.3).abs() < 0.04, "{converted}");
    assert!(number(&converted["ci"][0]) < 0.0 && number(&converted["ci"][1]) > 0.0, "{converted}");
}

#[test]
fn another_attribution_than_the_plan_of_the_log_is_exploratory() {
    let folder = conversions(WEEK, false);
    let found = analyzed(&folder, &["--attribution", "3d"]);
    assert_eq!(exploratory(&found), ["--attribution 3d is not in the plan"]);
    assert_eq!(found["attribution"]["window"], "3d");
    assert_eq!(exploratory(&analyzed(&folder, &["--attribution", "7d"])), [] as [Value; 0]);
    let (code, _, error) = folder.text(&[
        "analyze",
        "run",
        "experiment.json",
        "--exposures",
        "access.log",
        "--attribution",
        "7 days",
    ]);
    assert!(
        code != 0 && error.contains("expected a number with s, m, h or d, as in 7d"),
        "{error}"
    );
    // A plan that was changed when the data were there.
    for changed in
        [r#", "attribution": "3d""#, "", r#", "attribution": "7d", "cap": {"converted": "99%"}"#]
    {
        folder.write(
            "experiment.json",
            planned(&format!(r#"{{"metrics": ["converted"], {GUARDS}{changed}}}"#)),
        );
        let found = analyzed(&folder, &[]);
        let why = exploratory(&found).iter().map(|why| why.as_str().unwrap());
        let wanted = "6000 of 6000 requests were made before this plan was in force";
        assert!(why.clone().any(|why| why.starts_with(wanted)), "{found:#}");
    }
}

#[test]
fn in_a_ramp_the_clock_starts_again_with_each_phase() {
    let files = [weight("s", 5.0), weight("s", 40.0)];
    let forces = [Force::new(&files[0]), Force::new(&files[1])];
    let mut life = Life::new(3);
    let mut random = Random(4);
    let mut rows = "unit,time,revenue\n".to_owned();
    let at = |day: u64, user: u64| START + day * DAY + user * 20_000;
    let users = 2000;
    for user in 0..users {
        request(&mut life, &forces[0], user, at(0, user));
    }
    for user in 0..users {
        let is_fancy = request(&mut life, &forces[1], user, at(6, user));
        // In the window of the second phase, which ends on day 13, but not in that of the first one; and after both.
        for (day, revenue) in [(9, 1.0), (14, 50.0)] {
            let value = revenue + f64::from(u8::from(is_fancy)) + random.fraction();
            writeln!(rows, "user-{user},{},{value:.3}", clock(at(day, user))).unwrap();
        }
    }
    // The log goes on, so that the windows of all others are over.
    for user in users..users + 10 {
        request(&mut life, &forces[1], user, START + 21 * DAY);
        writeln!(rows, "user-{user},{},0", clock(START + 21 * DAY)).unwrap();
    }
    let folder = written(&files[1], &life, &rows);
    let found = analyzed(&folder, &["--metric", "revenue=mean", "--attribution", "7d"]);
    assert_eq!(found["attribution"]["late_rows"], users, "{found:#}");
    let phases = result(&found, "revenue")["phases"].as_array().unwrap();
    let diffs: Vec<f64> = phases.iter().map(|phase| number(&phase["diff"])).collect();
    assert_eq!(diffs.len(), 2, "{found:#}");
    assert!(diffs[0].abs() < 1e-9 && (diffs[1] - 1.0).abs() < 0.1, "{diffs:?}");
    let units = |phase: &Value| number(&phase["n"][0]) + number(&phase["n"][1]);
    assert_eq!((units(&phases[0]), units(&phases[1])), (2000.0, 2000.0), "ten windows are open");
}

/// Users who each have a revenue about 1, and two of `fancy` who have a fortune.
fn fortunes(plan: &str) -> Folder {
    let file = file("s", "\"weight\": 40", &format!(r#", "analysis": {plan}"#));
    let force = Force::new(&file);
    let mut life = Life::new(5);
    let mut random = Random(6);
    let (mut rows, mut rich) = ("unit,revenue\n".to_owned(), 0);
    for user in 0..3000 {
        let is_fancy = request(&mut life, &force, user, START + user * 60_000);
        rich += u32::from(is_fancy);
        let fortune = if is_fancy && rich <= 2 { 5000.0 } else { 0.0 };
        writeln!(rows, "user-{user},{:.6}", 0.5 + random.fraction() + fortune).unwrap();
    }
    written(&file, &life, &rows)
}

#[test]
fn a_planned_cap_bounds_what_a_unit_counts() {
    let capped = format!(r#"{{"metrics": ["revenue"], {GUARDS}, "cap": {{"revenue": "99%"}}}}"#);
    let folder = fortunes(&capped);
    let found = analyzed(&folder, &[]);
    let revenue = result(&found, "revenue");
    assert!(number(&revenue["diff"]).abs() < 0.05, "{revenue}");
    assert!(number(&revenue["ci"][1]) < 0.1, "{revenue}");
    let cap = &found["metrics"][0]["cap"];
    assert_eq!(cap["quantile"], 0.99);
    // Two fortunes of 5000 among some 1200 users.
    let uncapped = number(&cap["uncapped"]["fancy"]);
    assert!((7.0..10.0).contains(&uncapped), "{cap}");
    // The values of all others are even from 0.5 to 1.5.
    assert!((number(&cap["value"]) - 1.49).abs() < 0.005, "{cap}");
    assert_eq!(number(&cap["units"]["plain"]) + number(&cap["units"]["fancy"]), 30.0, "{cap}");
    assert_eq!(exploratory(&found), [] as [Value; 0]);
    for text in reports(&folder) {
        assert!(text.contains("revenue is capped at 1.4"), "{text}");
        assert!(text.contains("which 99 % of all units do not exceed"), "{text}");
        assert!(text.contains("Without the cap, fancy differs by +8."), "{text}");
        assert!(!text.contains("is skewed"), "{text}");
    }
    let other = analyzed(&folder, &["--cap", "revenue=90%"]);
    assert_eq!(exploratory(&other), ["--cap revenue=90% is not in the plan"]);
    assert_eq!(other["metrics"][0]["cap"]["quantile"], 0.9);
    assert_eq!(exploratory(&analyzed(&folder, &["--cap", "revenue=99%"])), [] as [Value; 0]);
}

#[test]
fn skewed_values_are_named_with_the_units_that_they_need() {
    let folder = fortunes(&format!(r#"{{"metrics": ["revenue"], {GUARDS}}}"#));
    let found = analyzed(&folder, &[]);
    assert_eq!(found["metrics"][0]["cap"], Value::Null);
    let check = |found: &Value| {
        let checks = found["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == "skewness").unwrap().clone()
    };
    let skewed = check(&found);
    assert_eq!((&skewed["state"], &skewed["subject"]), (&"warning".into(), &"revenue".into()));
    assert!(number(&skewed["variants"]["fancy"]) > 20.0, "{skewed}");
    assert!(number(&skewed["variants"]["plain"]).abs() < 0.1, "{skewed}");
    assert_ne!(found["decision"], "invalid");
    for text in reports(&folder) {
        assert!(text.contains("revenue is skewed (skewness "), "{text}");
        assert!(text.contains("Plan a cap (cap: {revenue: 99.9%}), or more units"), "{text}");
    }
    let capped = check(&analyzed(&folder, &["--cap", "revenue=99%"]));
    assert_eq!((&capped["state"], capped["value"].as_f64()), (&"ok".into(), Some(0.0)));
}
