//! `set` and `promote` edit the file itself: what they write, and what they refuse.

use std::os::unix::fs::MetadataExt as _;

use super::*;

const FILE: &str = "\
# The test of the spring.
experiments:
  - name: ab                # in headers and metrics
    salt: spring
    unit: [{header: x-user-id}]
    baseline: old           # serves now
    variants:
      - {name: old, cluster: a}
      - name: new
        cluster: b
        weight: 10          # percent
        reserve: 60
      - name: other
        weight: 5
        cluster: c
";

struct Edit {
    folder: tempfile::TempDir,
}

impl Edit {
    fn new(text: &str) -> Self {
        let edit = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::write(edit.path(), text).unwrap();
        edit
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("experiment.yaml")
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Output {
        let path = self.path();
        let all = [&[command, path.to_str().unwrap()], arguments, &AT].concat();
        run(&all, b"")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }
}

const AT: [&str; 2] = ["--at", "2026-11-30T09:00:00Z"];

#[test]
fn set_changes_the_numbers_and_shows_who_moves() {
    let edit = Edit::new(FILE);
    let output = edit.run("set", &["new=20", "other=7.5%"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let expected =
        FILE.replace("weight: 10 ", "weight: 20 ").replace("weight: 5\n", "weight: 7.5\n");
    assert_eq!(edit.text(), expected);
    let text = stdout(&output);
    for words in [
        "→ new",
        "10 %",
        "→ other",
        "2.5 %",
        "no unit moves between two candidates",
        "is written, hash ",
    ] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
    let checked = run(&["check", edit.path().to_str().unwrap()], b"");
    assert_eq!(code(&checked), 0);
}

#[test]
fn the_same_weight_again_writes_nothing() {
    let edit = Edit::new(FILE);
    let before = std::fs::metadata(edit.path()).unwrap();
    let output = edit.run("set", &["new=10"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("is unchanged, hash ") && !text.contains("is written"), "{text}");
    assert_eq!(std::fs::metadata(edit.path()).unwrap().ino(), before.ino());
    let output = edit.run("set", &["new=10", "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["written"], false, "{answer}");
}

#[test]
fn a_dry_run_writes_nothing() {
    let edit = Edit::new(FILE);
    for (command, argument) in [("set", "new=20"), ("promote", "new")] {
        let output = edit.run(command, &[argument, "--dry-run"]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert!(stdout(&output).contains("nothing was written"), "{}", stdout(&output));
        assert_eq!(edit.text(), FILE);
    }
}

#[test]
fn json_has_the_plan() {
    let edit = Edit::new(FILE);
    let output = edit.run("set", &["new=20", "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["written"], &answer["experiment"]), (&true.into(), &"ab".into()));
    assert_eq!(answer["plan"]["experiments"][0]["moves"][0]["percent"], "10", "{answer}");
    assert_eq!(answer["hash"].as_str().unwrap().len(), 64);
}

#[test]
fn units_do_not_move_between_candidates_unless_told() {
    // Without the reserve, the span of `other` begins where that of `new` ends.
    let file = FILE.replace("        reserve: 60\n", "");
    let edit = Edit::new(&file);
    let output = edit.run("set", &["new=20"]);
    assert_eq!(code(&output), 1, "{}", stdout(&output));
    assert!(stderr(&output).contains("--allow-swap"), "{}", stderr(&output));
    assert!(stdout(&output).contains("swap"), "{}", stdout(&output));
    assert_eq!(edit.text(), file);
    let output = edit.run("set", &["new=20", "--allow-swap"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(edit.text(), file.replace("weight: 10 ", "weight: 20 "));
}

#[test]
fn promote_makes_the_winner_the_baseline() {
    let edit = Edit::new(FILE);
    let output = edit.run("promote", &["new"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let expected = FILE
        .replace("salt: spring", "salt: ab-2026-11-30")
        .replace("baseline: old ", "baseline: new ")
        .replace("{name: old, cluster: a}", "{name: old, weight: 0, cluster: a}  # percent")
        .replace("        weight: 10          # percent\n        reserve: 60\n", "");
    assert_eq!(edit.text(), expected);
    let text = stdout(&output).replace("\n        ", " ");
    assert!(text.contains("→ new") && text.contains("all units are drawn again"), "{text}");
    assert!(text.contains("new is the baseline now, and old a candidate with weight 0."), "{text}");
    // A second promotion on the same day is another trial.
    let output = edit.run("promote", &["old"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(edit.text().contains("salt: ab-2026-11-30-2\n"), "{}", edit.text());
    let output = edit.run("promote", &["new", "--salt", "mine: 3"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(edit.text().contains("salt: \"mine: 3\"\n"), "{}", edit.text());
}

#[test]
fn a_promotion_ends_the_steps_of_its_test() {
    let steps = "    analysis:\n      metrics: [accuracy]\n      steps:\n      - {weight: 10, min_for: 1d}\n";
    let edit = Edit::new(&format!("{FILE}{steps}"));
    let output = edit.run("set", &["new=20"]);
    assert_eq!(code(&output), 1, "{}", stdout(&output));
    assert!(stderr(&output).contains("`sidetrack advance`"), "{}", stderr(&output));
    let output = edit.run("promote", &["new"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let commented = "      metrics: [accuracy]\n      # Of the test that promoted new:\n      # steps:\n      # - {weight: 10, min_for: 1d}\n";
    assert!(edit.text().ends_with(commented), "{}", edit.text());
}

#[test]
fn of_steps_only_the_stop_of_a_candidate_is_set() {
    let steps =
        "    analysis: {metrics: [accuracy], steps: [{weight: 10, min_for: 1d}, {weight: 60}]}\n";
    let edit = Edit::new(&format!("{FILE}{steps}"));
    for refused in [&["new=30"][..], &["new=0", "other=6"]] {
        let output = edit.run("set", refused);
        assert_eq!(code(&output), 1, "{refused:?}");
        let error = stderr(&output);
        assert!(error.contains("its weights belong to `sidetrack advance`"), "{error}");
        assert!(error.contains("a weight of 0 stops a candidate"), "{error}");
    }
    let output = edit.run("set", &["new=0"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(edit.text(), format!("{FILE}{steps}").replace("weight: 10 ", "weight: 0 "));
}

#[test]
fn a_link_stays_a_link_and_its_file_changes() {
    let edit = Edit::new(FILE);
    let link = edit.folder.path().join("link.yaml");
    std::os::unix::fs::symlink(edit.path(), &link).unwrap();
    let output = run(&["set", link.to_str().unwrap(), "new=20"], b"");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(link.is_symlink() && edit.text().contains("weight: 20 "));
}

#[test]
fn what_is_refused_says_why_and_changes_nothing() {
    let rollout = "experiments:\n- name: ab\n  unit: [{header: u}]\n  baseline: old\n  variants: [{name: old}, {name: new}]\n  \
                   rollout: {start: 2026-11-23T09:00:00Z, phases: [{name: all, weights: {new: 5}}]}\n";
    let shared = "experiments:\n- name: ab\n  unit: [{header: u}]\n  baseline: old\n  variants: &v [{name: old}, {name: new, weight: 5}]\n\
                  - name: ac\n  unit: [{header: u}]\n  baseline: old\n  variants: *v\n";
    for (text, command, arguments, exit, words) in [
        (FILE, "set", &["mew=20"][..], 1, "unknown variant \"mew\"; expected one of: new, other"),
        (FILE, "set", &["old=20"], 1, "old is the baseline, which gets what the candidates leave"),
        (FILE, "set", &["new=70"], 1, "reserve-too-small"),
        (FILE, "set", &["other=50"], 1, "100"),
        (FILE, "set", &["new=-1"], 2, "not a percentage from 0 to 100"),
        (FILE, "set", &["new"], 2, "expected VARIANT=WEIGHT"),
        (FILE, "promote", &["old"], 1, "old is the baseline already"),
        (FILE, "promote", &["mew"], 1, "unknown variant \"mew\""),
        (FILE, "promote", &["new", "--salt", "spring"], 1, "which is the salt now"),
        (rollout, "set", &["new=20"], 1, "has a rollout: its weights belong to the clock"),
        (rollout, "promote", &["new"], 1, "has a rollout"),
        (shared, "set", &["new=20"], 2, "choose one with --experiment: ab, ac"),
        (shared, "set", &["new=20", "--experiment", "ab"], 1, "cannot be edited in place"),
    ] {
        let edit = Edit::new(text);
        let output = edit.run(command, arguments);
        assert_eq!(code(&output), exit, "{arguments:?}\n{}{}", stdout(&output), stderr(&output));
        assert!(
            stderr(&output).contains(words),
            "{arguments:?}: no {words:?} in\n{}",
            stderr(&output)
        );
        assert_eq!(edit.text(), text, "{arguments:?}");
    }
    let output = run(&["set", "-", "new=20"], FILE.as_bytes());
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("cannot be stdin"));
}
