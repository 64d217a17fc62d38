//! The exit status of each decision, with and without `--exit-code`, and of mistakes.

use crate::Folder;
use crate::crowd::{BASELINE, Crowd, Truth, experiment};
use crate::truth::{SIMPLE, folder};

fn of(candidate: Truth) -> Folder {
    let written = Crowd::new(4000, vec![BASELINE, candidate]).write(&experiment(SIMPLE), false);
    folder(SIMPLE, &written)
}

/// The exit status without and with `--exit-code`, and the decision; the text and the JSON have the same status.
fn statuses(folder: &Folder, more: &[&str]) -> (i32, i32, String) {
    let run = |last: &[&str]| {
        let options = ["--outcomes", "outcomes.csv", "--guardrail", "latency_p95:100ms"];
        folder.report(&[&options, more, last].concat())
    };
    let (plain, with) = (run(&[]).0, run(&["--exit-code"]).0);
    let (code, json, error) = run(&["--json"]);
    assert_eq!(code, plain, "{error}");
    assert_eq!(run(&["--json", "--exit-code"]).0, with);
    let found: serde_json::Value = serde_json::from_str(&json).unwrap();
    (plain, with, found["decision"].as_str().unwrap().to_owned())
}

#[test]
fn each_decision_has_its_exit_status() {
    let better = of(Truth { accuracy: 0.99, ..BASELINE });
    assert_eq!(statuses(&better, &[]), (0, 0, "promote".to_owned()));
    let worse = of(Truth { accuracy: 0.7, ..BASELINE });
    assert_eq!(statuses(&worse, &[]), (0, 3, "keep_baseline".to_owned()));
    let equal = of(BASELINE);
    assert_eq!(statuses(&equal, &[]), (0, 4, "inconclusive".to_owned()));
    // Invalid, whatever made it so: the split, a check of the data, or nothing that can be used.
    let log = std::fs::read_to_string(better.path().join("access.log")).unwrap();
    let is_lost =
        |line: &&str| line.contains(r#""assigned":"fancy""#) && line.contains("3\",\"experiment\"");
    let kept: Vec<&str> = log.lines().filter(|line| !is_lost(line)).collect();
    better.write("access.log", kept.join("\n"));
    let invalid = (1, 1, "invalid".to_owned());
    assert_eq!(statuses(&better, &[]), invalid);
    assert_eq!(statuses(&better, &["--allow-srm", "--allow", "units_per_day"]).2, "promote");
    equal.write("outcomes.csv", "request_id,correct\nstranger,1\n");
    assert_eq!(statuses(&equal, &[]), invalid);
    worse.write("access.log", "");
    assert_eq!(statuses(&worse, &[]), invalid);
}

#[test]
fn mistakes_and_failures_have_the_usual_exit_status() {
    let folder = of(BASELINE);
    for (options, wanted) in [
        (&["--metric", "nothing"][..], 1),
        (&["--planned-units", "100", "--alpha", "2"], 1),
        (&["--outcomes", "missing.csv"], 2),
        (&["--metric", "accuracy=median"], 2),
        (&["--allow", "everything"], 2),
        (&["--surprise"], 2),
        (&["--html", "missing/report.html"], 2),
        (&["--memory", "1B", "--temp", "missing"], 2),
        (&["--memory", "1GB"], 2),
    ] {
        for exit_code in [&[][..], &["--exit-code"]] {
            let (code, text, error) = folder.report(&[options, exit_code].concat());
            assert_eq!(code, wanted, "{options:?}: {error}");
            assert!(text.is_empty() && error.starts_with("error: "), "{options:?}: {text}{error}");
        }
    }
}
