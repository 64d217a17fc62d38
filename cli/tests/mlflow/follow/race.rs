//! Two followers, and people who edit the file.

use super::trial::{self, Trial, git};
use super::*;

/// A hook that runs a script once, just before the push.
fn before_push(clone: &Path, script: &str) {
    let hook = clone.join(".git/hooks/pre-push");
    std::fs::write(&hook, format!("#!/bin/sh\nrm \"$0\"\n{script}\n")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&hook, mode).unwrap();
}

#[test]
fn of_two_followers_one_is_rejected_and_takes_over_what_the_other_did() {
    let trial = Trial::new("follow-two", &["2"]);
    trial.round(0);
    trial.evidence(5, trial::harms);
    let other = trial.clone_as("other");
    // The other one is faster by a moment: its rollback has another time in its comment.
    let quick = other.to_str().unwrap();
    let edit = "sed -i 's/weight: 5 /weight: 0 /; s/- name: \"follow-two-v2\"/# sidetrack advance: \
                follow-two-ab-test\\/follow-two-v2 was rolled back at 2026-01-01T00:00:00Z: errors\\n  &/'";
    let push = "env -i PATH=\"$PATH\" git";
    before_push(
        &trial.clone(),
        &format!(
            "cd {quick} && {edit} experiment.yaml && {push} commit -qam theirs && {push} push -q"
        ),
    );
    let lost = trial.run(&["--promote"]);
    lost.refused(2, &["not pushed"]);
    assert_eq!(trial.log().lines().next(), Some("theirs"));
    assert!(trial.model.state().contains("2:ab_test_candidate=true"), "it has not acted");
    // The next round drops its own decision, and completes what was pushed.
    assert_eq!(trial.round(0)["action"], "complete");
    assert_eq!(trial.log().lines().next(), Some("theirs"));
    assert!(trial.model.state().contains("2:ab_test.reason=errors"), "{}", trial.model.state());
    assert_eq!(git(&trial.clone(), &["status", "--porcelain"]), "");
    trial.run_of_the_test();
}

#[test]
fn unsaved_edits_of_a_person_are_never_committed_or_lost() {
    let trial = Trial::new("follow-edited", &["2"]);
    trial.round(0);
    trial.evidence(5, trial::harms);
    let text = std::fs::read_to_string(trial.file()).unwrap();
    let edited = format!("{text}# a thought\n");
    std::fs::write(trial.file(), &edited).unwrap();
    let refused = trial.run(&["--promote"]);
    assert_ne!(refused.code, 3, "{}{}", refused.stdout, refused.stderr);
    assert_eq!(std::fs::read_to_string(trial.file()).unwrap(), edited);
    assert!(trial.model.state().contains("2:ab_test_candidate=true"), "{}", trial.model.state());
    // Once it is committed, the rollback goes on top of it.
    git(&trial.clone(), &["commit", "--quiet", "-am", "a thought"]);
    trial.round(3);
    assert!(trial.pushed().contains("# a thought"), "{}", trial.pushed());
}
