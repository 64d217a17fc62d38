//! `sidetrack mlflow follow`: from a tag to a promotion or a rollback, with a real registry and a real repository.

#[path = "follow/crash.rs"]
mod crash;
#[path = "follow/race.rs"]
mod race;
#[path = "follow/trial.rs"]
mod trial;

use serde_json::Value;

use super::*;
use trial::Trial;

#[test]
fn a_good_version_is_raised_and_promoted() {
    let trial = Trial::new("follow-good", &["2"]);
    let begun = trial.round(0);
    assert_eq!((&begun["action"], &begun["candidate"]), (&"begin".into(), &"2".into()), "{begun}");
    let file = trial.pushed();
    assert!(file.contains("weight: 5  # percent; the steps raise it"), "{file}");
    assert!(file.contains("salt: \"follow-good-ab-test/v1/v2\""), "{file}");
    let log = trial.log();
    assert!(
        log.starts_with("follow-good-ab-test: test follow-good-v2 against follow-good-v1\n"),
        "{log}"
    );

    trial.store.not_yet();
    let held = trial.round(4);
    assert!(held["reasons"][0].as_str().unwrap().contains("no verdict yet: no outcomes"), "{held}");
    trial.evidence(5, |_| {});
    let raised = trial.round(0);
    assert_eq!((&raised["action"], &raised["to"]), (&"raise".into(), &30.0.into()), "{raised}");
    // Not in force yet.
    assert_eq!(trial.round(4)["action"], "hold");

    trial.evidence(30, trial::wins);
    let held = trial.run(&[]);
    assert_eq!(held.code, 4, "{}{}", held.stdout, held.stderr);
    assert!(held.stdout.contains("--promote makes it the champion"), "{}", held.stdout);
    let before = (trial.model.state(), trial.log());
    let dry = trial.run(&["--promote", "--dry-run"]).good();
    assert!(
        dry.contains("Promote (dry run)  follow-good, version 2 against 1, 30 % → 100 %"),
        "{dry}"
    );
    assert_eq!((trial.model.state(), trial.log()), before);

    let promoted = trial.round(0);
    assert_eq!(promoted["action"], "promote", "{promoted}");
    let (run, id) = trial.run_of_the_test();
    assert_eq!(promoted["run"], id);
    assert_eq!(run["info"]["status"], "FINISHED");
    let tags = trial::pairs(&run["data"]["tags"]);
    assert_eq!(tags["ab_test.result"], "promoted");
    assert!(tags["mlflow.note.content"].contains("is better"), "{tags:?}");
    let params = trial::pairs(&run["data"]["params"]);
    assert_eq!(params["weight/follow-good-v2"], "30", "of the file that was tested");
    assert_eq!(trial.model.state(), trial.promoted_state(&id));
    let file = trial.pushed();
    assert!(file.contains("baseline: follow-good-v2") && file.contains("# steps:"), "{file}");
    assert_eq!(trial.round(4)["action"], "idle");
}

#[test]
fn it_raises_only_when_the_file_is_in_force_in_the_proxies() {
    let trial = Trial::new("follow-force", &["2"]);
    trial.round(0);
    trial.evidence(5, |_| {});
    let file = trial.file();
    let checked = ran(&mut command(&["check", "--json", file.to_str().unwrap()])).good();
    let checked: Value = serde_json::from_str(&checked).unwrap();
    let hash = u32::from_str_radix(&checked["hash"].as_str().unwrap()[..8], 16).unwrap();
    let other = trial::envoy(hash ^ 1);
    let held = trial.run(&["--admin", &other]);
    assert_eq!(held.code, 4, "{}{}", held.stdout, held.stderr);
    assert!(held.stdout.contains("is in force in 0 of 1 proxies"), "{}", held.stdout);
    // Harm does not wait for it.
    trial.evidence(5, trial::harms);
    assert_eq!(trial.run(&["--admin", &other, "--dry-run"]).code, 3);
    trial.evidence(5, |_| {});
    let raised = trial.run(&["--admin", &trial::envoy(hash)]).good();
    assert!(raised.contains("Raise  follow-force, version 2 against 1, 5 % → 30 %"), "{raised}");
}

#[test]
fn a_bad_version_is_rolled_back_with_the_reason_and_the_next_one_begins() {
    let trial = Trial::new("follow-bad", &["2", "3"]);
    trial.round(0);
    trial.evidence(5, trial::harms);
    let rolled_back = trial.round(3);
    assert_eq!(rolled_back["action"], "roll_back", "{rolled_back}");
    let (run, id) = trial.run_of_the_test();
    let tags = trial::pairs(&run["data"]["tags"]);
    assert_eq!(tags["ab_test.result"], "rolled_back");
    assert!(tags["ab_test.reason"].contains("accuracy of follow-bad-v2 is significantly worse"));
    let state = trial.model.state();
    for part in [
        "2:ab_test.reason=accuracy of follow-bad-v2 is significantly worse",
        "2:ab_test.result=rolled_back",
        &format!("2:ab_test.run_id={id}"),
        "champion=1",
    ] {
        assert!(state.contains(part), "no {part:?} in {state}");
    }
    assert!(!state.contains("2:ab_test_candidate"), "{state}");
    assert!(trial.pushed().contains("# sidetrack advance: follow-bad-ab-test/follow-bad-v2 was"));

    let next = trial.round(0);
    assert_eq!((&next["action"], &next["candidate"]), (&"begin".into(), &"3".into()), "{next}");
    assert!(trial.pushed().contains("salt: \"follow-bad-ab-test/v1/v3\""));
    trial.evidence(5, trial::harms);
    trial.round(3);
    // The same version once more is a new trial.
    trial.model.tag("2", "ab_test_candidate", "true");
    assert_eq!(trial.round(0)["action"], "begin");
    assert!(trial.pushed().contains("salt: \"follow-bad-ab-test/v1/v2/2\""));
    trial.evidence(5, trial::harms);
    trial.round(3);
    assert_eq!(server().runs("follow-bad-ab-test").len(), 3);
}

#[test]
fn a_version_that_is_not_better_ends_as_not_promoted() {
    let trial = Trial::new("follow-same", &["2"]);
    trial.round(0);
    trial.evidence(5, |_| {});
    trial.round(0);
    trial.evidence(30, |analysis| analysis["decision"] = "keep_baseline".into());
    trial.round(3);
    let state = trial.model.state();
    assert!(state.contains("2:ab_test.result=not_promoted"), "{state}");
    assert!(state.contains("2:ab_test.reason=the last step is over, and the verdict is to keep"));
    assert_eq!(trial.round(4)["action"], "idle");
}

#[test]
fn the_registry_ends_a_test_also_without_evidence() {
    let trial = Trial::new("follow-withdrawn", &["2"]);
    trial.round(0);
    trial.store.gone();
    let failed = trial.run(&["--promote"]);
    failed.refused(2, &["status 500"]);
    trial.model.tag("2", "ab_test_candidate", "false");
    let ended = trial.round(3);
    assert!(ended["reasons"][0].as_str().unwrap().contains("no tag ab_test_candidate"), "{ended}");
    assert!(trial.pushed().contains("weight: 0 "), "{}", trial.pushed());
    let (run, _) = trial.run_of_the_test();
    assert_eq!(trial::pairs(&run["data"]["tags"])["ab_test.result"], "rolled_back");

    let trial = Trial::new("follow-overtaken", &["2", "3"]);
    trial.round(0);
    trial.model.alias("champion", "3");
    let ended = trial.round(3);
    let reason = ended["reasons"][0].as_str().unwrap();
    assert!(reason.contains("the champion is version 3 now"), "{ended}");
    // Somebody promotes what is under test.
    let trial = Trial::new("follow-by-hand", &["2"]);
    trial.round(0);
    trial.model.alias("champion", "2");
    let before = trial.log();
    trial.run(&["--promote"]).refused(1, &["version 2 is the champion already"]);
    assert_eq!(trial.log(), before);
}

#[test]
fn harm_does_not_wait_for_the_registry() {
    let trial = Trial::new("follow-away", &["2"]);
    trial.round(0);
    // Nothing listens there.
    let away = || {
        let mut command = trial.command(&trial.clone(), &["--promote", "--json"]);
        ran(command.env("MLFLOW_TRACKING_URI", "http://127.0.0.1:1"))
    };
    trial.evidence(5, |_| {});
    away().refused(2, &["127.0.0.1:1"]);
    assert!(trial.pushed().contains("weight: 5 "), "{}", trial.pushed());
    trial.evidence(5, trial::harms);
    let rolled_back = away();
    assert_eq!(rolled_back.code, 3, "{}{}", rolled_back.stdout, rolled_back.stderr);
    assert!(rolled_back.stdout.contains("a later round updates the registry"));
    assert!(trial.pushed().contains("weight: 0 "), "{}", trial.pushed());
    assert!(trial.model.state().contains("2:ab_test_candidate=true"), "{}", trial.model.state());
    // It is back.
    assert_eq!(trial.round(0)["action"], "complete");
    let (run, id) = trial.run_of_the_test();
    assert_eq!(run["info"]["status"], "FINISHED");
    assert_eq!(trial::pairs(&run["data"]["tags"])["ab_test.result"], "rolled_back");
    let state = trial.model.state();
    assert!(state.contains(&format!("2:ab_test.run_id={id}")), "{state}");
    assert!(state.contains("2:ab_test.reason=accuracy of"), "{state}");
    assert_eq!(trial.round(4)["action"], "idle");
}

#[test]
fn a_file_that_advance_promoted_moves_the_alias_only_with_promote() {
    let trial = Trial::new("follow-advanced", &["2"]);
    trial.round(0);
    trial.evidence(5, |_| {});
    trial.round(0);
    trial.evidence(30, trial::wins);
    let file = trial.file();
    let advance = ["advance", file.to_str().unwrap(), "--apply", "git", "--push", "--promote"];
    let mut advance = command(&advance);
    ran(advance.args(["--store", &trial.store.url])).good();
    let held = trial.run(&[]);
    assert_eq!(held.code, 4, "{}{}", held.stdout, held.stderr);
    assert!(held.stdout.contains("--promote moves the alias"), "{}", held.stdout);
    assert!(trial.model.state().contains("champion=1"));
    assert_eq!(trial.round(0)["action"], "complete");
    assert!(trial.model.state().contains("champion=2"), "{}", trial.model.state());
    assert_eq!(trial.round(4)["action"], "idle");
}

#[test]
fn templates_and_files_that_do_not_fit_are_refused() {
    let trial = Trial::new("follow-refused", &["2"]);
    for (template, words) in [
        ("name: x\n", "name comes from the registry"),
        ("analysis: {metrics: [accuracy]}\n", "no analysis.steps"),
        ("- 1\n", "must have keys of an experiment"),
        ("analysis: {metrics: [accuracy], steps: [{weight: 5}, {weight: 3}]}\n", "problem"),
    ] {
        trial.template(template);
        trial.run(&[]).refused(1, &[words]);
        assert!(!trial.file().exists());
    }
    trial.template("unit: [{header: x-user-id}]\nanalysis: {metrics: [a], steps: [{weight: 7}]}\n");
    trial.run(&["--unit", "header:x"]).refused(1, &["unit and --unit exclude each other"]);
    // A file of somebody else is not overwritten.
    let other = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/simple.yaml"),
    );
    std::fs::write(trial.file(), other.unwrap()).unwrap();
    trial.run(&[]).refused(1, &["is not a test of two versions of follow-refused"]);
    std::fs::remove_file(trial.file()).unwrap();
    let begun = trial.run(&["--json"]).good();
    let begun: Value = serde_json::from_str(&begun).unwrap();
    assert_eq!(begun["to"], 7.0, "{begun}");
}
