//! Nothing to decide from: never a decision, exit 1, and what the input holds instead.

use crate::Folder;
use crate::crowd::{BASELINE, Crowd, experiment};
use crate::life::{DAY, Force, Life, weight};
use crate::truth::{SIMPLE, folder};

/// The text of an analysis, which must be invalid although the planned units would be reached.
fn invalid(folder: &Folder, more: &[&str]) -> String {
    let arguments = [&["--planned-units", "100"], more].concat();
    let (code, text, error) = folder.report(&arguments);
    assert_eq!(code, 1, "{text}{error}");
    assert!(text.starts_with("No decision: "), "{text}");
    let json = folder.report(&[&arguments[..], &["--json", "--exit-code"]].concat());
    assert_eq!(json.0, 1, "{}", json.1);
    let found: serde_json::Value = serde_json::from_str(&json.1).unwrap();
    assert_eq!(
        (&found["decision"], &found["winner"]),
        (&"invalid".into(), &serde_json::Value::Null)
    );
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(crate) fn small() -> Folder {
    let written = Crowd::new(400, vec![BASELINE, BASELINE]).write(&experiment(SIMPLE), false);
    folder(SIMPLE, &written)
}

#[test]
fn logs_without_a_line_that_counts_are_invalid() {
    let folder = small();
    let log = std::fs::read_to_string(folder.path().join("access.log")).unwrap();
    let with = |log: &str| {
        folder.write("access.log", log);
        invalid(&folder, &[])
    };
    assert!(with("").contains("the logs have no lines"));
    let text =
        with("[2026-11-23T09:00:00.000Z] \"GET / HTTP/1.1\" 200\nstarting main dispatch loop\n");
    assert!(text.contains("no line of the logs can be read as an exposure (2 in all)"), "{text}");
    assert!(text.contains("access.log:1: the default text format"), "{text}");
    let text = with(&log.replace("\"experiment\":\"forecast\"", "\"experiment\":\"checkout\""));
    let lines = log.lines().count();
    assert!(
        text.contains(&format!(
            "no line of the logs is of forecast. They have checkout ({lines} lines)"
        )),
        "{text}"
    );
    let text = with(&log.replace("\"experiment\":\"forecast\"", "\"experiment\":null"));
    assert!(
        text.contains("none names an experiment") && text.contains("without the filter"),
        "{text}"
    );
    let text = with(&log.replace("\"reason\":\"hash\"", "\"reason\":\"disabled\""));
    assert!(
        text.contains("all were left out") && text.contains(&format!("{lines} while disabled")),
        "{text}"
    );
    folder.write("access.log", &log);
    let text = invalid(&folder, &["--until", "2026-11-23T08:00:00Z"]);
    assert!(text.contains("no request of the experiment is between --since and --until"), "{text}");
}

#[test]
fn logs_of_other_trials_are_invalid() {
    let old = [Force::new(&weight("old", 40.0))];
    let mut life = Life::new(1);
    life.users(0..300, 0..DAY, |_| 0, &old, |_, _| 0.5);
    let folder = Folder::new();
    folder.write("experiment.json", weight("new", 40.0));
    folder.write("access.log", &life.log);
    let text = invalid(&folder, &[]);
    let trial = &old[0].trial;
    assert!(text.contains(&format!("They have {trial} (300 lines)")), "{text}");
    assert!(text.contains("--trial selects one of these"), "{text}");
    let text = invalid(&folder, &["--trial", "00000000"]);
    assert!(text.contains("no line of the logs is of the trial 00000000"), "{text}");
}

#[test]
fn outcomes_that_match_nothing_are_invalid() {
    let folder = small();
    let with = |outcomes: &str| {
        folder.write("outcomes.csv", outcomes);
        invalid(&folder, &["--outcomes", "outcomes.csv"])
    };
    let text = with("request_id,correct\nx-1,1\nx-2,0\nx-3,1\nx-4,0\n");
    assert!(text.contains("none of the 4 outcome rows has a match in the logs: their request_id is \"x-1\", \"x-2\", \"x-3\", …; that of the logs is \"00000000-0000-4000"), "{text}");
    let text = with("unit,converted\nUSER-7-1,1\n");
    assert!(
        text.contains("their unit is \"USER-7-1\", …; that of the logs is \"user-7-0\""),
        "{text}"
    );
    assert!(with("request_id,correct\n").contains("the outcomes have no rows"));
    let text = with("request_id,correct\n,1\n,0\n");
    assert!(text.contains("none of the 2 outcome rows can be read"), "{text}");
    let text = with("unit,time,converted\nuser-7-0,2026-11-20T00:00:00Z,1\n");
    assert!(
        text.contains("all 1 outcome rows are from before their unit's first request"),
        "{text}"
    );
}

/// `analyze run` of the small crowd with these options, and stdin.
fn with_stdin(folder: &Folder, options: &[&str], stdin: &str) -> (i32, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sidetrack"))
        .args(["analyze", "run", "experiment.json"])
        .args(options)
        .current_dir(folder.path())
        .stdin(std::fs::File::open(folder.path().join(stdin)).unwrap())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn outcomes_come_from_stdin_as_from_a_file() {
    let folder = small();
    let run = |outcomes: &str, stdin: &str| {
        let options = ["--exposures", "access.log", "--json", "--outcomes", outcomes];
        with_stdin(&folder, &options, stdin)
    };
    let from_file = run("outcomes.csv", "access.log");
    assert_eq!(run("-", "outcomes.csv"), from_file);
    assert!(from_file.1.contains("\"matched\""), "{}", from_file.1);
    let options = ["--exposures", "-", "--outcomes", "-"];
    let (code, text) = with_stdin(&folder, &options, "access.log");
    assert!(code == 1 && text.contains("stdin can be read only once"), "{text}");
}

#[test]
fn errors_of_readers_are_in_words() {
    let folder = small();
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    folder.write("empty.csv", "");
    folder.write("cut.csv.gz", [0x1f, 0x8b, 8, 0, 0, 0]);
    let of = |options: &[&str]| {
        let run = ["analyze", "run", "experiment.json", "--exposures", "access.log"];
        let (code, text, error) = folder.text(&[&run[..], options].concat());
        assert!(code != 0, "{options:?}: {text}");
        format!("{text}{error}")
    };
    for (options, words) in [
        (&["--outcomes", "none.csv"][..], "cannot read none.csv: the file does not exist"),
        (&["--outcomes", "empty"], "it is a folder; name its files, as in 'FOLDER/*.csv'"),
        (&["--outcomes", "empty.csv"], "the file is empty"),
        (&["--outcomes", "cut.csv.gz"], "cannot read cut.csv.gz: the gzip data breaks off"),
        (&["--planned-units", "many"], "expected a whole number"),
        (&["--planned-units", "0"], "expected a whole number of at least 100"),
        (&["--alpha", "small"], "expected a number"),
        (&["--since", "yesterday"], "\"yesterday\" is not a time"),
    ] {
        let text = of(options);
        assert!(text.contains(words), "{options:?}: {text}");
        for parser in ["os error", "found in string", "literal", "EOF", "at line"] {
            assert!(!text.contains(parser), "{options:?}: {text}");
        }
    }
}
