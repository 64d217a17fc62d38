//! `sidetrack advance` on logs whose truth is known: each rule of the decision, through the command.

#[path = "advance/git.rs"]
mod git;
#[path = "advance/proxies.rs"]
mod proxies;
#[path = "advance/store.rs"]
mod store;

use std::io::{BufRead, BufReader};
use std::process::Command;

use serde_json::Value;
use sidetrack::quantity::Timestamp;

use crate::Folder;
use crate::crowd::START;
use crate::life::{DAY, Force, Life};

const FILE: &str = "\
# Which forecast is better?
experiments:
  - name: forecast
    salt: s
    unit: [{header: x-user-id}]
    baseline: plain
    variants:
      - name: plain
      - name: fancy     # the new one
        weight: 5       # percent
    analysis:
      metrics: [accuracy]
      guardrails: [\"latency_p95:100ms\"]
      planned_units: 8000
      steps:
        - {weight: 5, min_for: 1d, min_units: 2000}
        - {weight: 15, min_for: 1d}
        - {weight: 30, min_for: 2d}
settings: {exposure_unit: plain}
";

pub(crate) fn at_weight(weight: &str) -> String {
    FILE.replace("weight: 5  ", &format!("weight: {weight}  "))
}

fn force(yaml: &str) -> Force {
    let value: Value = serde_saphyr::from_str(yaml).unwrap();
    Force::new(&value.to_string())
}

/// A test that goes on: its log, and the days so far.
struct Test {
    folder: Folder,
    life: Life,
    days: u64,
    users: u64,
}

impl Test {
    fn new(file: &str) -> Self {
        let test = Self { folder: Folder::new(), life: Life::new(11), days: 0, users: 0 };
        test.folder.write("experiment.yaml", file);
        test
    }

    /// Days with so many new users, under this file; `fancy` is right with this probability, `plain` with 0.7.
    fn days(&mut self, file: &str, days: u64, users: u64, fancy: f64) -> &mut Self {
        let begin = START + DAY * self.days;
        self.days += days;
        self.users += users;
        self.traffic(file, begin..begin + DAY * days, self.users - users..self.users, fancy)
    }

    /// Requests of these users in this time.
    fn traffic(
        &mut self,
        file: &str,
        time: std::ops::Range<u64>,
        users: std::ops::Range<u64>,
        fancy: f64,
    ) -> &mut Self {
        let right = |variant: &str, _| if variant == "fancy" { fancy } else { 0.7 };
        self.life.users(users, time, |_| 0, &[force(file)], right);
        self.folder.write("access.log", &self.life.log);
        self.folder.write("outcomes.csv", &self.life.outcomes);
        self
    }

    fn file(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("experiment.yaml")).unwrap()
    }

    /// The exit status, the text and the errors, at the end of the log.
    fn text(&self, more: &[&str]) -> (i32, String, String) {
        let now = Timestamp::new(START + DAY * self.days).to_string();
        let mut arguments = vec!["advance", "experiment.yaml", "--at", &now];
        arguments.extend(more);
        let (code, text, error) = self.folder.text(&arguments);
        // Without the breaks of lines.
        (code, text.replace("\n    ", " "), error)
    }

    fn with_logs(&self, more: &[&str]) -> (i32, String, String) {
        let logs = ["--exposures", "access.log", "--outcomes", "outcomes.csv"];
        self.text(&[&logs, more].concat())
    }

    fn json(&self, more: &[&str]) -> (i32, Value) {
        let (code, text, error) = self.with_logs(&[&["--json"], more].concat());
        (code, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{error}")))
    }
}

/// Two days at 5 %, 4000 users, no difference.
fn good() -> Test {
    let mut test = Test::new(FILE);
    test.days(FILE, 2, 4000, 0.7);
    test
}

/// Two days at 5 % with a candidate that is much worse.
fn bad() -> Test {
    let mut test = Test::new(FILE);
    test.days(FILE, 2, 4000, 0.2);
    test
}

/// A user who comes back counts in each step, and steps of seconds have their own time.
#[test]
fn users_who_come_back_count_in_each_step() {
    const SECOND: u64 = 1000;
    let short = |weight| at_weight(weight).replace("min_for: 1d", "min_for: 30s");
    let mut test = Test::new(&short("5"));
    test.traffic(&short("5"), START..START + 31 * SECOND, 0..3000, 0.7);
    test.days = 1;
    let (code, answer) = test.json(&["--max-age", "2d"]);
    assert_eq!((code, &answer["to"]), (0, &15.0.into()), "{answer}");
    // In the same minute, the same users.
    test.traffic(&short("15"), START + 33 * SECOND..START + 55 * SECOND, 0..3000, 0.7);
    let (code, answer) = test.json(&["--max-age", "2d"]);
    let reason = answer["reasons"][0].as_str().unwrap();
    assert!(
        code == 4 && reason.contains("has lasted 2") && reason.ends_with("needs 30s"),
        "{answer}"
    );
    test.traffic(&short("15"), START + 55 * SECOND..START + 70 * SECOND, 0..3000, 0.7);
    let (code, answer) = test.json(&["--max-age", "2d"]);
    assert_eq!((code, &answer["to"]), (0, &30.0.into()), "{answer}");
    assert!(answer["reasons"][0].as_str().unwrap().contains("3000 units"), "{answer}");
}

/// A proxy with a wrong clock does not end a step.
#[test]
fn one_old_line_makes_no_step_longer() {
    let (end, hour) = (START + DAY * 2, DAY / 24);
    let mut test = Test::new(FILE);
    test.traffic(FILE, START..START + 1, 0..1, 0.7);
    test.traffic(FILE, end - hour..end, 1..4001, 0.7);
    test.days = 2;
    let (code, answer) = test.json(&[]);
    let reason = answer["reasons"][0].as_str().unwrap();
    assert!(code == 4 && reason.ends_with("but needs 1d"), "{answer}");
}

/// What a candidate answers, and whether it is asked, are about the candidate and not about the data.
#[test]
fn a_candidate_that_refuses_is_rolled_back_and_one_that_is_not_asked_is_not_raised() {
    let decided = |change: &dyn Fn(usize, &str) -> String| {
        let test = good();
        let lines = test.life.log.lines().enumerate().map(|(at, line)| {
            let is_its = line.contains(r#""assigned":"fancy""#);
            if is_its { change(at, line) } else { line.to_owned() }
        });
        test.folder.write("access.log", lines.map(|line| line + "\n").collect::<String>());
        let (code, text, error) = test.with_logs(&["--dry-run"]);
        (code, text + &error)
    };
    let (code, text) = decided(&|_, line| line.replace("\"status\":200", "\"status\":404"));
    assert!(code == 3 && text.contains("status of 300 to 499"), "{text}");
    let elsewhere = |line: &str| {
        let line = line.replace(r#""served":"fancy""#, r#""served":"plain""#);
        line.replace("reason=hash", "reason=breaker_open")
    };
    let (code, text) = decided(&|_, line| elsewhere(line));
    assert!(code == 3 && text.contains("asked for 0 of them"), "{text}");
    let (code, text) =
        decided(&|at, line| if at % 10 == 0 { line.to_owned() } else { elsewhere(line) });
    assert!(code == 4 && text.contains("of the requests of fancy reached it"), "{text}");
}

/// What the candidate did in an earlier step is no fault of the present one.
#[test]
fn faults_are_those_of_the_present_step() {
    let second = at_weight("15");
    let decided = |change: &dyn Fn(&str) -> String, in_first: bool| {
        let mut test = good();
        let first = test.life.log.lines().count();
        test.days(&second, 2, 3000, 0.7);
        test.folder.write("experiment.yaml", &second);
        let lines = test.life.log.lines().enumerate().map(|(at, line)| {
            let is_its = line.contains(r#""assigned":"fancy""#) && (at < first) == in_first;
            if is_its { change(line) } else { line.to_owned() }
        });
        test.folder.write("access.log", lines.map(|line| line + "\n").collect::<String>());
        let (code, text, error) = test.with_logs(&["--dry-run"]);
        (code, text + &error)
    };
    let elsewhere = |line: &str| {
        let line = line.replace(r#""served":"fancy""#, r#""served":"plain""#);
        line.replace("reason=hash", "reason=breaker_open")
    };
    let (code, text) = decided(&elsewhere, true);
    assert!(code == 0 && text.contains("Raise to 30 %"), "{text}");
    let (code, text) = decided(&elsewhere, false);
    assert!(code == 3 && text.contains("asked for 0 of them"), "{text}");
    let refused = |line: &str| line.replace("\"status\":200", "\"status\":404");
    let (code, text) = decided(&refused, false);
    assert!(code == 3 && text.contains("status of 300 to 499"), "{text}");
}

/// Labels may be days late: a raise does not wait for them, but says so.
#[test]
fn a_raise_without_labels_says_what_cannot_be_judged() {
    let test = good();
    let (code, text, error) = test.text(&["--exposures", "access.log", "--json", "--dry-run"]);
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{error}"));
    assert_eq!((code, &answer["action"]), (0, &"raise".into()), "{answer}");
    assert_eq!(answer["unjudged"], serde_json::json!(["accuracy"]), "{answer}");
    let reasons = answer["reasons"].to_string();
    assert!(reasons.contains("accuracy cannot be judged yet: it has no data"), "{reasons}");
    let (_, judged) = test.json(&["--dry-run"]);
    assert_eq!(judged["unjudged"], serde_json::json!([]), "{judged}");
}

#[test]
fn it_goes_through_all_steps_and_the_verdict_promotes() {
    let mut test = Test::new(FILE);
    test.days(FILE, 2, 4000, 0.85);
    let (code, text, error) = test.with_logs(&[]);
    assert_eq!(code, 0, "{text}{error}");
    for words in ["Raise to 15 %", "5 %, step 1 of 3", "has lasted ", "4000 units", "5 % → 15 %"]
    {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
    let second = at_weight("15");
    assert_eq!(test.file(), second, "only the number changes");

    // The second step is not in force yet, then not over, then over.
    let (code, answer) = test.json(&[]);
    assert_eq!((code, &answer["action"]), (4, &"hold".into()), "{answer}");
    assert!(answer["reasons"][0].as_str().unwrap().contains("not in force yet"), "{answer}");
    test.days(&second, 2, 3000, 0.85);
    let (code, answer) = test.json(&[]);
    assert_eq!(
        (code, &answer["action"], &answer["to"]),
        (0, &"raise".into(), &30.0.into()),
        "{answer}"
    );
    let third = at_weight("30");
    assert_eq!(test.file(), third);

    test.days(&third, 1, 1000, 0.85);
    let (code, answer) = test.json(&[]);
    assert_eq!(code, 4, "{answer}");
    assert!(answer["reasons"][0].as_str().unwrap().contains("but needs 2d"), "{answer}");
    test.days(&third, 2, 2000, 0.85);
    let (code, text, _) = test.with_logs(&[]);
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("sidetrack promote experiment.yaml fancy"), "{text}");
    assert_eq!(test.file(), third, "only --promote promotes");
    let (code, text, error) = test.with_logs(&["--promote"]);
    assert_eq!(code, 0, "{text}{error}");
    assert!(test.file().contains("baseline: fancy") && test.file().contains("# steps:"));
    let checked = test.folder.text(&["check", "experiment.yaml"]);
    assert_eq!(checked.0, 0, "{checked:?}");
}

#[test]
fn what_is_missing_holds_and_says_until_when() {
    let mut test = Test::new(FILE);
    test.days(FILE, 1, 1500, 0.7);
    let (code, text, _) = test.with_logs(&[]);
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("has 1500 units, but needs 2000"), "{text}");
    // 1500 in a day are 2000 in a day and eight hours.
    assert!(text.contains("Expected about 2026-11-24T1"), "{text}");
    assert_eq!(test.file(), FILE);
}

#[test]
fn harm_rolls_back_and_blocks_raises_until_the_comment_is_removed() {
    let test = bad();
    let (code, text, error) = test.with_logs(&[]);
    assert_eq!(code, 3, "{text}{error}");
    assert!(text.contains("accuracy of fancy is significantly worse: -"), "{text}");
    let file = test.file();
    let comment = "      # sidetrack advance: forecast/fancy was rolled back at 2026-11-25T09:00:00Z: accuracy of";
    assert!(file.contains(comment), "{file}");
    let without: String = file
        .lines()
        .filter(|line| !line.contains("sidetrack advance") && !line.contains("Raises are blocked"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(without, at_weight("0"), "the rest is as it was");

    let (code, text, _) = test.with_logs(&["--start"]);
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("remove this comment"), "{text}");
    test.folder.write("experiment.yaml", &without);
    let (code, text, _) = test.with_logs(&[]);
    assert!(code == 4 && text.contains("stopped by hand"), "{text}");
    let (code, text, _) = test.with_logs(&["--start"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(test.file(), FILE);
}

#[test]
fn a_guardrail_beyond_its_margin_is_harm_and_one_without_data_holds() {
    let of = |guardrail: &str, fancy: f64| {
        let file = FILE
            .replace("metrics: [accuracy]", "metrics: [latency_mean]")
            .replace("latency_p95:100ms", guardrail);
        let mut test = Test::new(&file);
        test.days(&file, 2, 4000, fancy);
        test
    };
    let (code, text, _) = of("accuracy:2pt", 0.2).with_logs(&[]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("worse by more than its margin of 2 points"), "{text}");
    // No harm beyond a wide margin.
    assert_eq!(of("accuracy:60pt", 0.6).with_logs(&[]).0, 0);
    let (code, text, _) = of("revenue:5%", 0.7).with_logs(&[]);
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("the guardrail revenue has no data"), "{text}");
    // Without outcomes, nothing is known of accuracy.
    let test = of("accuracy:2pt", 0.2);
    let (code, text, error) = test.text(&["--exposures", "access.log"]);
    assert_eq!(code, 4, "{text}{error}");
    assert!(text.contains("the guardrail accuracy has no data"), "{text}");
}

#[test]
fn data_that_cannot_be_trusted_hold() {
    let test = bad();
    // A crash loses most users of the candidate.
    let log: String = test
        .life
        .log
        .lines()
        .filter(|line| !line.contains("\"assigned\":\"fancy\"") || line.contains("0-"))
        .map(|line| format!("{line}\n"))
        .collect();
    test.folder.write("access.log", log);
    let (code, answer) = test.json(&[]);
    assert_eq!(code, 1, "{answer}");
    assert_eq!((&answer["action"], &answer["valid"]), (&"hold".into(), &false.into()));
    assert_eq!(test.file(), FILE);
}

#[test]
fn old_logs_raise_nothing() {
    let test = good();
    let logs =
        ["advance", "experiment.yaml", "--exposures", "access.log", "--outcomes", "outcomes.csv"];
    let late = [&logs[..], &["--at", "2026-11-25T10:30:00Z"]].concat();
    let (code, text, _) = test.folder.text(&late);
    assert!(code == 4 && text.contains("more than 1h ago"), "{text}");
    let (code, text, _) =
        test.folder.text(&[&late[..], &["--max-age", "2h", "--dry-run"]].concat());
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_dry_run_changes_nothing() {
    for (test, wanted) in [(good(), 0), (bad(), 3)] {
        let (code, text, _) = test.with_logs(&["--dry-run"]);
        assert_eq!(code, wanted, "{text}");
        assert!(text.contains("nothing was written"), "{text}");
        assert_eq!(test.file(), FILE);
        let (_, answer) = test.json(&["--dry-run"]);
        assert_eq!((&answer["applied"], &answer["dry_run"]), (&Value::Null, &true.into()));
    }
}

#[test]
fn files_that_advance_cannot_take_are_refused() {
    let rollout =
        "rollout: {start: 2026-11-23T09:00:00Z, phases: [{name: a, weights: {fancy: 5}}]}";
    let with_rollout = FILE
        .replace("        weight: 5       # percent\n", "")
        .replace("    analysis:\n", &format!("    {rollout}\n    analysis:\n"));
    let steps = FILE.find("      steps:").unwrap()..FILE.find("settings:").unwrap();
    let mut without = FILE.to_owned();
    without.replace_range(steps, "");
    let two = FILE.replace("    analysis:\n", "      - {name: other, weight: 1}\n    analysis:\n");
    for (file, code, words) in [
        (with_rollout, 1, "steps beside a rollout"),
        (without, 1, "has no analysis.steps"),
        (two, 2, "--candidate: fancy, other"),
    ] {
        let test = Test::new(&file);
        let (found, text, error) = test.text(&[]);
        assert_eq!(found, code, "{text}{error}");
        assert!(error.contains(words), "no {words:?} in\n{error}");
    }
    let value: Value = serde_saphyr::from_str(FILE).unwrap();
    let folder = Folder::new();
    folder.write("experiment.json", value.to_string());
    let (code, _, error) = folder.text(&["advance", "experiment.json"]);
    assert!(code == 1 && error.contains("no comments"), "{error}");
}

#[test]
fn a_weight_between_steps_holds_and_is_still_rolled_back() {
    let file = at_weight("7");
    for (fancy, wanted, words) in [(0.7, 4, "not one of its steps"), (0.2, 3, "worse")] {
        let mut test = Test::new(&file);
        test.days(&file, 2, 4000, fancy);
        let (code, text, error) = test.with_logs(&[]);
        assert!(code == wanted && text.contains(words), "{text}{error}");
    }
}

#[test]
fn one_of_several_candidates_is_advanced_alone() {
    let file = |weight: &str, reserve: &str| {
        let fancy = format!("weight: {weight}       # percent\n{reserve}");
        let other = "      - {name: other, weight: 10}\n    analysis:\n";
        FILE.replace("weight: 5       # percent\n", &fancy).replace("    analysis:\n", other)
    };
    let reserve = "        reserve: 30\n";
    let mut test = Test::new(&file("5", reserve));
    test.days(&file("5", reserve), 2, 4000, 0.7);
    assert_eq!(test.with_logs(&["--candidate", "fancy"]).0, 0);
    assert_eq!(test.file(), file("15", reserve));
    // Without a reserve, users of `other` would move.
    let mut test = Test::new(&file("5", ""));
    test.days(&file("5", ""), 2, 4000, 0.7);
    let (code, text, error) = test.with_logs(&["--candidate", "fancy"]);
    assert!(code == 1 && error.contains("`reserve`"), "{text}{error}");
    assert_eq!(test.file(), file("5", ""));
}

#[test]
fn watch_decides_again_and_ends_on_a_signal() {
    let test = good();
    let now = Timestamp::new(START + DAY * 2).to_string();
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidetrack"))
        .args(["advance", "experiment.yaml", "--at", &now, "--watch", "--every", "1s"])
        .args(["--exposures", "access.log", "--outcomes", "outcomes.csv"])
        .current_dir(test.folder.path())
        .env("NO_COLOR", "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(
        first.contains("Raise to 15 %  forecast: fancy, 5 %, step 1 of 3: the step"),
        "{first}"
    );
    let second = lines.next().unwrap().unwrap();
    assert!(second.contains("Hold  forecast: fancy, 15 %, step 2 of 3"), "{second}");
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert!(child.wait().unwrap().success());
    assert_eq!(test.file(), at_weight("15"));
}
