//! Whose evidence it is: trials and phases are told apart by what the lines say.

use serde_json::Value;

use crate::crowd::START;
use crate::life::{DAY, Force, HOUR, Life, weight};
use crate::{Folder, number, result};

fn folder(file: &str, life: &Life) -> Folder {
    let folder = Folder::new();
    folder.write("experiment.json", file);
    folder.write("access.log", &life.log);
    folder.write("outcomes.csv", &life.outcomes);
    folder.write("revenue.csv", &life.revenue);
    folder
}

fn names(analysis: &Value) -> Vec<&str> {
    let phases = analysis["srm"]["phases"].as_array().unwrap();
    phases.iter().map(|phase| phase["phase"].as_str().unwrap_or("none")).collect()
}

const OUTCOMES: [&str; 2] = ["--outcomes", "outcomes.csv"];

/// Margins that equal variants are soon within.
const WIDE: [&str; 4] = ["--guardrail", "latency_p95:100ms", "--guardrail", "error_rate:20pt"];

/// The same users under two salts: fancy was better in the first trial, and equal in the second one.
fn two_trials() -> (Life, [Force; 2]) {
    let trials = [Force::new(&weight("one", 40.0)), Force::new(&weight("two", 40.0))];
    let mut life = Life::new(3);
    for (trial, lift) in [0.12, 0.0].into_iter().enumerate() {
        let begin = START + 7 * DAY * trial as u64;
        let right = |variant: &str, _| if variant == "fancy" { 0.7 + lift } else { 0.7 };
        life.users(0..3000, begin..begin + 2 * DAY, |_| trial, &trials, right);
    }
    (life, trials)
}

#[test]
fn a_new_salt_is_a_trial_of_its_own() {
    let (life, trials) = two_trials();
    let [one, two] = trials.map(|force| force.trial);
    let folder = folder(&weight("two", 40.0), &life);
    let options = [&OUTCOMES[..], &WIDE].concat();
    let found = folder.analysis(&options);
    assert_eq!(
        (&found["trial"], &found["decision"]),
        (&two.as_str().into(), &"inconclusive".into())
    );
    assert_eq!((&found["lines"]["used"], &found["srm"]["verdict"]), (&3000.into(), &"ok".into()));
    let other = &found["other_trials"][0];
    assert_eq!((&other["trial"], &other["lines"]), (&one.as_str().into(), &3000.into()));
    assert!(other["from"].as_str().unwrap() < other["to"].as_str().unwrap(), "{other}");
    assert_eq!(found["lines"]["excluded"]["other_trial"], 3000);
    // The first trial, from the log alone: with the file of the second one, and with its own.
    let first = folder.analysis(&[&options[..], &["--trial", &one]].concat());
    assert_eq!((&first["trial"], &first["decision"]), (&one.as_str().into(), &"promote".into()));
    folder.write("experiment.json", weight("one", 5.0));
    assert_eq!(folder.analysis(&options)["metrics"], first["metrics"]);
    let (code, text, _) = folder.report(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(&format!("other trial {two}: 3000 lines from 2026-11-30")), "{text}");
    let (code, _, error) = folder.report(&["--trial", "first"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("\"first\" is not a short digest"), "{error}");
}

/// 5 % for two days, 20 % for three, 40 % for the rest of ten days. Users come back, and everything gets better with
/// time for both variants.
fn ramp(lift: f64) -> (Life, Vec<String>) {
    let texts: Vec<String> = [5.0, 20.0, 40.0].map(|share| weight("s", share)).into();
    let files: Vec<Force> = texts.iter().map(|text| Force::new(text)).collect();
    let force = |time| match (time - START) / DAY {
        0..2 => 0,
        2..5 => 1,
        _ => 2,
    };
    let right = |variant: &str, time: u64| {
        let drift = 0.3 * (time - START) as f64 / (10 * DAY) as f64;
        0.5 + drift + if variant == "fancy" { lift } else { 0.0 }
    };
    let mut life = Life::new(11);
    for _ in 0..3 {
        life.users(0..4000, START..START + 10 * DAY, force, &files, right);
    }
    (life, texts)
}

#[test]
fn weights_that_grow_are_analyzed_with_any_of_their_files() {
    let (life, texts) = ramp(0.05);
    let folder = folder(&texts[0], &life);
    let found: Vec<Value> = texts
        .iter()
        .map(|text| {
            folder.write("experiment.json", text);
            folder.analysis(&OUTCOMES)
        })
        .collect();
    assert_eq!(names(&found[0]), ["fancy 5 %", "fancy 20 %", "fancy 40 %"]);
    assert_eq!(found[0]["metrics"], found[2]["metrics"]);
    assert_eq!(found[1]["srm"], found[2]["srm"]);
    assert_eq!(found[0]["lines"]["excluded"]["other_weights"], 0);
    assert_eq!(found[0]["srm"]["verdict"], "ok", "{:#}", found[0]["srm"]);
    let shares: Vec<f64> = found[0]["srm"]["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|phase| number(&phase["expected"]["fancy"]))
        .collect();
    assert_eq!(shares, [0.05, 0.2, 0.4]);
    let accuracy = result(&found[0], "accuracy");
    let interval = [number(&accuracy["ci"][0]), number(&accuracy["ci"][1])];
    assert!(
        interval[0] < 0.05 && 0.05 < interval[1] && interval[1] - interval[0] < 0.1,
        "{interval:?}"
    );
    assert_eq!(found[0]["torn_units"], 0);
    assert!(number(&found[0]["moved_units"]) > 500.0, "{}", found[0]["moved_units"]);
    let reasons = found[0]["reasons"].to_string();
    assert!(reasons.contains("3 phases are compared separately"), "{reasons}");
    assert!(reasons.contains("units changed their variant from one phase to another"), "{reasons}");
}

#[test]
fn a_drift_while_weights_grow_is_no_effect() {
    let (life, texts) = ramp(0.0);
    let folder = folder(&texts[2], &life);
    let found = folder.analysis(&OUTCOMES);
    assert_eq!(found["decision"], "inconclusive", "{found:#}");
    let accuracy = result(&found, "accuracy");
    assert!(number(&accuracy["diff"]).abs() < 0.03, "{accuracy:#}");
    // Without weights in the lines, as in older logs, it is refused.
    let old = |line: &str| {
        let (before, after) = line.split_once("trial=").unwrap();
        let (_, after) = after.split_once(" reason").unwrap();
        format!("{before}reason{after}\n")
    };
    folder.write("access.log", life.log.lines().map(old).collect::<String>());
    assert_eq!(folder.analysis(&OUTCOMES)["decision"], "invalid");
}

#[test]
fn a_split_is_tested_against_the_weights_of_its_time() {
    let (life, texts) = ramp(0.0);
    // In the second phase, a third of the candidate's users is lost. Over all phases together it is hardly visible.
    let lost = |line: &&str| {
        let unit = line.split_once("unit=user-").unwrap().1.split_once('"').unwrap().0;
        line.contains("fancy=200000/")
            && line.contains("\"assigned\":\"fancy\"")
            && unit.parse::<u64>().unwrap() % 3 == 0
    };
    let log: String =
        life.log.lines().filter(|line| !lost(line)).map(|l| format!("{l}\n")).collect();
    let folder = folder(&texts[0], &life);
    folder.write("access.log", log);
    let found = folder.analysis(&OUTCOMES);
    assert_eq!(
        (&found["srm"]["verdict"], &found["decision"]),
        (&"mismatch".into(), &"invalid".into())
    );
    let p: Vec<bool> = found["srm"]["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|phase| number(&phase["p_value"]) < 0.001)
        .collect();
    // Those who come back later are missing from their first phase, and too many in the next one.
    assert_eq!(p, [false, true, true], "{:#}", found["srm"]);
}

/// 5, 20 and again 5 percent, a day each, on two proxies: the second one gets each file twenty minutes later.
fn there_and_back() -> Life {
    let files = [5.0, 20.0].map(|share| Force::new(&weight("s", share)));
    let mut life = Life::new(5);
    for proxy in 0..2 {
        let force = |time: u64| match (time - START).saturating_sub(proxy * HOUR / 3) / DAY {
            1 => 1,
            _ => 0,
        };
        for _ in 0..2 {
            life.users(0..3000, START..START + 3 * DAY, force, &files, |_, _| 0.7);
        }
    }
    life
}

#[test]
fn weights_that_come_back_are_a_phase_of_their_own() {
    let life = there_and_back();
    let folder = folder(&weight("s", 20.0), &life);
    let found = folder.analysis(&OUTCOMES);
    let wanted = [
        "fancy 5 % from 2026-11-23T09:00:00Z",
        "fancy 20 %",
        "fancy 5 % from 2026-11-25T09:00:00Z",
    ];
    assert_eq!(names(&found), wanted, "{:#}", found["srm"]);
    assert_eq!((&found["srm"]["verdict"], &found["torn_units"]), (&"ok".into(), &0.into()));
    assert_eq!(found["lines"]["used"], 12_000);
    assert_eq!(result(&found, "accuracy")["phases"].as_array().unwrap().len(), 3);
    // The order of the lines decides nothing.
    let lines: Vec<&str> = life.log.lines().collect();
    let mut turned: Vec<&str> = lines.clone();
    turned.reverse();
    folder.write("access.log", turned.join("\n"));
    let again = folder.analysis(&OUTCOMES);
    assert_eq!((&again["srm"], &again["moved_units"]), (&found["srm"], &found["moved_units"]));
}

/// A canary of 5 percent has too few requests to bound a 95th percentile; the phases after it have enough.
#[test]
fn a_short_first_phase_does_not_keep_a_quantile_open() {
    let files = [5.0, 40.0].map(|share| Force::new(&weight("s", share)));
    let mut life = Life::new(6);
    life.users(0..800, START..START + DAY, |_| 0, &files, |_, _| 0.5);
    life.users(800..6000, START + DAY..START + 2 * DAY, |_| 1, &files, |_, _| 0.5);
    let folder = folder(&weight("s", 40.0), &life);
    let found = folder.analysis(&WIDE);
    assert_eq!(names(&found), ["fancy 5 %", "fancy 40 %"]);
    let p95 = result(&found, "latency_p95");
    assert_eq!(p95["decision"], "non_inferior", "{p95:#}");
    let canary = &p95["phases"][0];
    assert_eq!((&canary["phase"], &canary["ci"][1]), (&"fancy 5 %".into(), &Value::Null));
    // If there is nothing else, the quantile is shown, and its interval has no upper end.
    let alone = folder.analysis(&[&WIDE[..], &["--until", "2026-11-24T09:00:00Z"]].concat());
    let p95 = result(&alone, "latency_p95");
    assert_eq!((&p95["decision"], &p95["ci"][1]), (&"no_difference_shown".into(), &Value::Null));
}

#[test]
fn a_pipe_merges_the_phases_of_equal_weights() {
    let life = there_and_back();
    let folder = folder(&weight("s", 20.0), &life);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sidetrack"))
        .args(["analyze", "run", "experiment.json", "--json", "--exposures", "-"])
        .current_dir(folder.path())
        .stdin(std::fs::File::open(folder.path().join("access.log")).unwrap())
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(names(&found), ["fancy 5 %", "fancy 20 %"]);
    assert_eq!((&found["srm"]["verdict"], &found["lines"]["used"]), (&"ok".into(), &12_000.into()));
}

#[test]
fn outcomes_of_users_belong_to_the_phase_of_their_time() {
    // Every user comes once under each file.
    let texts = [20.0, 50.0].map(|share| weight("s", share));
    let files = texts.each_ref().map(|text| Force::new(text));
    let mut life = Life::new(2);
    for phase in 0..2 {
        let begin = START + DAY * phase as u64;
        let right = |variant: &str, _| if variant == "fancy" { 0.7 } else { 0.5 };
        life.users(0..6000, begin..begin + DAY, |_| phase, &files, right);
    }
    let folder = folder(&texts[1], &life);
    let timed = folder.analysis(&["--outcomes", "revenue.csv", "--metric", "revenue=ratio"]);
    let lift = |found: &Value| number(&result(found, "revenue")["diff"]);
    let interval = &result(&timed, "revenue")["ci"];
    assert!(number(&interval[0]) < 0.2 && 0.2 < number(&interval[1]), "{interval}");
    let untimed: String = life
        .revenue
        .lines()
        .map(|line| {
            let (unit, rest) = line.split_once(',').unwrap();
            format!("{unit},{}\n", rest.split_once(',').unwrap().1)
        })
        .collect();
    folder.write("revenue.csv", untimed);
    // Without times, the outcomes of all phases count for the first variant.
    let found = folder.analysis(&["--outcomes", "revenue.csv", "--metric", "revenue=ratio"]);
    assert!(lift(&found) < lift(&timed) - 0.03, "{} {}", lift(&found), lift(&timed));
    let reasons = found["reasons"].to_string();
    assert!(reasons.contains("The outcomes have no `time`"), "{reasons}");
    assert!(!timed["reasons"].to_string().contains("have no `time`"), "{timed:#}");
}

#[test]
fn a_time_can_be_chosen() {
    let (life, texts) = ramp(0.0);
    let folder = folder(&texts[2], &life);
    let of = |more: &[&str]| folder.analysis(&[&OUTCOMES[..], more].concat());
    // From the exact beginning of the second phase to that of the third one.
    let found = of(&["--since", "2026-11-25T09:00:00Z", "--until", "2026-11-28T10:00:00+01:00"]);
    assert_eq!(names(&found), ["none"], "one phase needs no name");
    assert_eq!(found["srm"]["phases"][0]["expected"]["fancy"], 0.2);
    let [whole, inside] = [&of(&[]), &found].map(|found| number(&found["lines"]["used"]));
    assert_eq!(number(&found["lines"]["excluded"]["other_time"]), whole - inside);
    assert!(inside > 3000.0 && whole == 12_000.0, "{inside} {whole}");
    assert!(found["from"].as_str().unwrap() >= "2026-11-25T09:00:00Z");
    assert!(found["to"].as_str().unwrap() < "2026-11-28T09:00:00Z");
    let halves = [of(&["--since", "2026-11-28"]), of(&["--until", "2026-11-28"])];
    let sum: f64 = halves.iter().map(|found| number(&found["lines"]["used"])).sum();
    assert_eq!(sum, 12_000.0);
    // Outcomes with a time outside do not count either: the result is that of a file that ends there.
    let revenue =
        ["--outcomes", "revenue.csv", "--metric", "revenue=ratio", "--until", "2026-11-28"];
    let cut = folder.analysis(&revenue);
    let is_before = |line: &&str| line.split(',').nth(1).is_some_and(|time| time < "2026-11-28");
    let rows: Vec<&str> = life.revenue.lines().skip(1).filter(is_before).collect();
    let late = life.revenue.lines().count() - 1 - rows.len();
    assert!(late > 100 && cut["outcomes"]["other_time"] == late, "{late} {}", cut["outcomes"]);
    let head = life.revenue.lines().next().unwrap();
    folder.write("revenue.csv", format!("{head}\n{}\n", rows.join("\n")));
    assert_eq!(result(&cut, "revenue"), result(&folder.analysis(&revenue), "revenue"));
    let bad = |more: &[&str]| folder.report(more);
    let (code, _, error) = bad(&["--since", "2026-11-28", "--until", "2026-11-28"]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("--until is 2026-11-28T00:00:00Z, but must be later"), "{error}");
    let (code, _, error) = bad(&["--since", "yesterday"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("2026-11-23T09:00:00Z, or a date"), "{error}");
}
