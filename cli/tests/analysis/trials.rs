//! Outcomes about users who take part in several trials of an experiment: each belongs to one of them.

use serde_json::Value;

use crate::crowd::START;
use crate::life::{DAY, Force, Life, weight};
use crate::{Folder, number, result};

const REVENUE: [&str; 8] = [
    "--outcomes",
    "revenue.csv",
    "--metric",
    "revenue=mean",
    "--guardrail",
    "latency_p95:100ms",
    "--guardrail",
    "error_rate:20pt",
];

/// The file of a trial, with units as they are or by their digests.
fn file(salt: &str, digest: bool) -> String {
    let file = weight(salt, 40.0);
    if digest { file.replace("\"plain\"}}", "\"digest\"}}") } else { file }
}

/// Two trials of the same users, a week each. In the first one, fancy sells less; in the second one, more.
struct Trials {
    files: [String; 2],
    names: [String; 2],
    folder: Folder,
    log: String,
    /// The outcomes of each trial.
    revenue: [String; 2],
}

fn two_trials(digest: bool) -> Trials {
    let files = ["one", "two"].map(|salt| file(salt, digest));
    let forces = files.each_ref().map(|text| Force::new(text));
    let mut life = Life::new(3);
    let mut ends = Vec::new();
    for (trial, lift) in [-0.2, 0.2].into_iter().enumerate() {
        let begin = START + 7 * DAY * trial as u64;
        let right = |variant: &str, _| if variant == "fancy" { 0.5 + lift } else { 0.5 };
        life.users(0..3000, begin..begin + 6 * DAY, |_| trial, &forces, right);
        ends.push(life.revenue.len());
    }
    let (head, rows) = life.revenue.split_once('\n').unwrap();
    let (one, two) = rows.split_at(ends[0] - head.len() - 1);
    let revenue = [one, two].map(|rows| format!("{head}\n{rows}"));
    let folder = Folder::new();
    folder.write("access.log", &life.log);
    folder.write("revenue.csv", &life.revenue);
    let names = forces.map(|force| force.trial);
    Trials { files, names, folder, log: life.log, revenue }
}

impl Trials {
    /// The analysis of a trial with its own file.
    fn of(&self, trial: usize) -> Value {
        self.folder.write("experiment.json", &self.files[trial]);
        self.folder.analysis(&REVENUE)
    }

    /// Leaves only the lines and outcomes of a trial in the folder.
    fn only(&self, trial: usize) {
        let name = format!("trial={}", self.names[trial]);
        let own = self.log.lines().filter(|line| line.contains(&name));
        self.folder.write("access.log", own.map(|line| format!("{line}\n")).collect::<String>());
        self.folder.write("revenue.csv", &self.revenue[trial]);
    }

    /// Writes the lines and outcomes of both trials to the folder.
    fn both(&self) {
        self.folder.write("access.log", &self.log);
        self.folder.write("revenue.csv", self.revenue[0].clone() + rows(&self.revenue[1]));
    }

    /// The analysis of a trial from its own lines and outcomes alone.
    fn alone(&self, trial: usize) -> Value {
        self.only(trial);
        let found = self.of(trial);
        self.both();
        found
    }
}

fn rows(table: &str) -> &str {
    table.split_once('\n').unwrap().1
}

/// Without the column `time`.
fn untimed(table: &str) -> String {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        format!("{},{}\n", fields[0], fields[2])
    };
    table.lines().map(row).collect()
}

fn blocking(found: &Value) -> Vec<&str> {
    let checks = found["checks"].as_array().unwrap().iter();
    let checks = checks.filter(|check| check["state"] == "blocking");
    checks.map(|check| check["name"].as_str().unwrap()).collect()
}

#[test]
fn an_outcome_belongs_to_the_trial_of_the_latest_exposure_before_it() {
    for digest in [false, true] {
        let trials = two_trials(digest);
        for (trial, decision) in ["keep_baseline", "promote"].into_iter().enumerate() {
            let (found, alone) = (trials.of(trial), trials.alone(trial));
            assert_eq!(found["decision"], decision, "{digest} {trial}: {found:#}");
            let outcomes = &found["outcomes"];
            assert_eq!(alone["outcomes"]["other_trial"], 0);
            if digest && trial == 0 {
                // The users of the second trial are unknown, so its first exposures, one for a hundred users, are ignored.
                let [other, matched] = ["other_trial", "matched"].map(|key| number(&outcomes[key]));
                assert_eq!(other + matched, 6000.0);
                assert!((2960.0..3000.0).contains(&other), "{outcomes}");
                continue;
            }
            assert_eq!(found["metrics"], alone["metrics"], "{digest} {trial}");
            // To the second trial, the rows of the first one are of another trial, or from before its first exposure.
            let kind = if digest { "early" } else { "other_trial" };
            assert_eq!((&outcomes[kind], &outcomes["matched"]), (&3000.into(), &3000.into()));
        }
    }
}

#[test]
fn a_trial_that_another_file_selects_has_its_own_outcomes() {
    let trials = two_trials(false);
    let alone = trials.alone(0);
    trials.folder.write("experiment.json", &trials.files[1]);
    let more = [&REVENUE[..], &["--trial", &trials.names[0]]].concat();
    let found = trials.folder.analysis(&more);
    assert_eq!(
        (&found["decision"], &found["metrics"]),
        (&"keep_baseline".into(), &alone["metrics"])
    );
    // By digests of its salt, its users are unknown to another file.
    let trials = two_trials(true);
    trials.folder.write("experiment.json", &trials.files[1]);
    let found = trials.folder.analysis(&[&REVENUE[..], &["--trial", &trials.names[0]]].concat());
    let words = "are digests with its own salt, and the file has another one";
    assert!(found["reasons"][0].as_str().unwrap().contains(words), "{:#}", found["reasons"]);
    assert_eq!(found["decision"], "invalid");
}

/// The first trial logged plain units, the second one digests, which its own file can compute.
#[test]
fn plain_units_and_digests_in_one_log_are_the_same_users() {
    let plain = two_trials(false);
    let digests = two_trials(true);
    let of = |log: &str, trial: &str| {
        let name = format!("trial={trial}");
        let lines = log.lines().filter(move |line| line.contains(&name));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let log = of(&plain.log, &plain.names[0]) + &of(&digests.log, &plain.names[1]);
    plain.folder.write("access.log", log);
    plain.folder.write("experiment.json", &digests.files[1]);
    let found = plain.folder.analysis(&[&REVENUE[..], &["--trial", &plain.names[0]]].concat());
    let wanted = plain.alone(0);
    assert_eq!(
        (&found["metrics"], &found["decision"]),
        (&wanted["metrics"], &"keep_baseline".into())
    );
}

#[test]
fn outcomes_without_a_time_do_not_decide_if_two_trials_may_own_them() {
    for digest in [false, true] {
        let trials = two_trials(digest);
        let both = trials.revenue[0].clone() + rows(&trials.revenue[1]);
        trials.folder.write("revenue.csv", untimed(&both));
        for trial in [0, 1] {
            let found = trials.of(trial);
            assert_eq!(
                (&found["decision"], blocking(&found)),
                (&"invalid".into(), vec!["ambiguous_rows"]),
                "{digest} {trial}: {found:#}"
            );
            assert!(number(&found["outcomes"]["ambiguous"]) > 5900.0, "{}", found["outcomes"]);
            let reason = found["reasons"][0].as_str().unwrap();
            assert!(reason.contains("Give the outcomes a column `time`"), "{reason}");
        }
        // With the lines of one trial only, there is no doubt.
        let name = format!("trial={}", trials.names[1]);
        let own = trials.log.lines().filter(|line| line.contains(&name));
        let log: String = own.map(|line| format!("{line}\n")).collect();
        trials.folder.write("access.log", log);
        trials.folder.write("revenue.csv", untimed(&trials.revenue[1]));
        assert_eq!(trials.of(1)["decision"], "promote");
    }
}

#[test]
fn a_few_lines_of_another_trial_change_nothing() {
    let trials = two_trials(true);
    // A tester of the second salt, in the middle of the first trial: 20 lines of one user.
    let line = trials.log.lines().last().unwrap();
    let own = trials.log.lines().filter(|line| line.contains(&trials.names[0]));
    let mut log: String = own.map(|line| format!("{line}\n")).collect();
    trials.folder.write("access.log", &log);
    trials.folder.write("revenue.csv", &trials.revenue[0]);
    let alone = trials.of(0);
    for minute in 0..20 {
        let (before, after) = line.split_once("\"time\":\"").unwrap();
        let rest = after.split_once('"').unwrap().1;
        log += &format!("{before}\"time\":\"2026-11-25T09:{minute:02}:00.000Z\"{rest}\n");
    }
    trials.folder.write("access.log", &log);
    let found = trials.of(0);
    assert_eq!(found["other_trials"][0]["lines"], 20);
    assert_eq!((&found["metrics"], &found["decision"]), (&alone["metrics"], &alone["decision"]));
}

/// The time is cut as that of the trial alone: lines and outcomes of other trials play no part in it.
#[test]
fn since_and_until_cut_the_outcomes_of_the_trial() {
    for digest in [false, true] {
        let trials = two_trials(digest);
        for (trial, window) in [
            (0, ["--until", "2026-11-26"]),
            (0, ["--since", "2026-11-25"]),
            (1, ["--since", "2026-12-02"]),
            (1, ["--until", "2026-12-03"]),
        ] {
            let more = [&REVENUE[..], &window].concat();
            trials.folder.write("experiment.json", &trials.files[trial]);
            let found = trials.folder.analysis(&more);
            trials.only(trial);
            let alone = trials.folder.analysis(&more);
            trials.both();
            let units = number(&found["variants"][0]["units"]);
            assert!(units > 500.0 && units < 1500.0, "{units}");
            let (found, alone) = (result(&found, "revenue"), result(&alone, "revenue"));
            // Of unknown users, some outcomes after the second trial has begun are ignored.
            if digest && trial == 0 && window[0] == "--since" {
                assert_eq!(found["decision"], alone["decision"]);
            } else {
                assert_eq!(found, alone, "{digest} {trial} {window:?}");
            }
        }
    }
}

/// Another experiment exposes the same users: an outcome counts for both.
#[test]
fn other_experiments_do_not_take_outcomes_away() {
    let trials = two_trials(false);
    let alone = trials.alone(1);
    let own = format!("trial={}", trials.names[1]);
    let log: String = trials
        .log
        .lines()
        .map(|line| match line.contains(&own) {
            true => format!("{line}\n"),
            false => {
                line.replace("\"experiment\":\"forecast\"", "\"experiment\":\"checkout\"") + "\n"
            }
        })
        .collect();
    trials.folder.write("access.log", log);
    trials.folder.write("revenue.csv", &trials.revenue[1]);
    let found = trials.of(1);
    assert_eq!(found["metrics"], alone["metrics"]);
    assert_eq!(result(&found, "revenue")["decision"], "better");
}
