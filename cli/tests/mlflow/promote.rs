//! From a decision to a new champion.

use serde_json::{Value, json};

use super::server::Model;
use super::*;

/// A test of version 1 against versions 2 to `versions`, and its analysis, which version 2 won.
struct Tested {
    model: Model,
    dir: tempfile::TempDir,
    file: std::path::PathBuf,
    analysis: Value,
}

impl Tested {
    fn new(name: &'static str, versions: usize) -> Self {
        let model = server().model(name, versions);
        for version in 2..=versions {
            model.tag(&version.to_string(), "ab_test_candidate", "True");
        }
        let dir = tempfile::tempdir().unwrap();
        let file = planned(name, dir.path());
        let variants: Vec<String> =
            (1..=versions).map(|version| format!("{name}-v{version}")).collect();
        let candidates: Vec<&str> = variants.iter().skip(1).map(String::as_str).collect();
        let analysis = analysis::of(&file, &variants[0], &candidates, Some(&variants[1]));
        Self { model, dir, file, analysis }
    }

    fn promote(&self, more: &[&str]) -> Ran {
        let path = analysis::write(self.dir.path(), &self.analysis);
        let mut arguments =
            vec!["promote", "--model", self.model.name, "--analysis", path.to_str().unwrap()];
        arguments.extend(more);
        mlflow(&arguments)
    }

    /// Refused, and the registry is as before.
    #[track_caller]
    fn refused(&self, more: &[&str], words: &[&str]) {
        let before = self.model.state();
        self.promote(more).refused(1, words);
        assert_eq!(self.model.state(), before);
    }
}

#[test]
fn nothing_is_changed_without_yes() {
    let tested = Tested::new("promote-dry", 2);
    let before = tested.model.state();
    let said = tested.promote(&[]).good();
    for line in [
        "alias previous_champion to version 1",
        "alias champion to version 2",
        "tag of version 2: ab_test.result = promoted",
        "tag of version 2: without ab_test_candidate",
        "use --yes to make these changes",
    ] {
        assert!(said.contains(line), "no {line:?} in\n{said}");
    }
    assert_eq!(tested.model.state(), before);
}

#[test]
fn the_winner_becomes_the_champion_and_everyone_knows_why() {
    let tested = Tested::new("promote-three", 3);
    let path = analysis::write(tested.dir.path(), &tested.analysis);
    mlflow(&["log", tested.file.to_str().unwrap(), "--analysis", path.to_str().unwrap()]).good();
    let run =
        server().runs("promote-three-ab-test")[0]["info"]["run_id"].as_str().unwrap().to_owned();
    let said = tested.promote(&["--yes"]).good();
    assert!(said.contains("✓ version 2 is the champion of promote-three"), "{said}");
    let state = format!(
        "1:ab_test.result=replaced 1:ab_test.run_id={run} 2:ab_test.result=promoted 2:ab_test.run_id={run} \
         3:ab_test.result=not_promoted 3:ab_test.run_id={run} champion=2 previous_champion=1"
    );
    assert_eq!(tested.model.state(), state);
    // Once more changes nothing.
    assert!(tested.promote(&["--yes"]).good().contains("is already the champion"));
    assert_eq!(tested.model.state(), state);
    // And the next plan begins from there.
    mlflow(&["plan", "--model", "promote-three"]).refused(1, &["no version except the champion"]);
}

#[test]
fn without_a_run_it_says_so_and_promotes() {
    let tested = Tested::new("promote-unlogged", 2);
    assert!(tested.promote(&["--yes"]).good().contains("this analysis is not logged"));
    let state = tested.model.state();
    assert_eq!(
        state,
        "1:ab_test.result=replaced 2:ab_test.result=promoted champion=2 previous_champion=1"
    );
}

#[test]
fn a_promotion_that_was_cut_short_goes_on() {
    let tested = Tested::new("promote-half", 2);
    tested.model.alias("previous_champion", "1");
    tested.model.alias("champion", "2");
    tested.promote(&["--yes"]).good();
    let state = tested.model.state();
    assert_eq!(
        state,
        "1:ab_test.result=replaced 2:ab_test.result=promoted champion=2 previous_champion=1"
    );
}

#[test]
fn only_a_decision_promotes_unless_there_is_a_reason() {
    let mut tested = Tested::new("promote-undecided", 2);
    for decision in ["keep_baseline", "inconclusive", "invalid"] {
        tested.analysis["decision"] = json!(decision);
        tested.analysis["winner"] = Value::Null;
        tested.refused(&["--yes"], &[decision, "accuracy rises by 0.11", "--force-reason"]);
    }
    tested.refused(&["--yes", "--force-reason", " "], &["--force-reason is empty"]);
    let said = tested.promote(&["--yes", "--force-reason", "legal asks for it"]).good();
    assert!(
        said.contains("the decision is invalid; promoted because: legal asks for it"),
        "{said}"
    );
    let state = tested.model.state();
    assert!(
        state.contains("2:ab_test.force_reason=legal asks for it") && state.contains("champion=2"),
        "{state}"
    );
}

#[test]
fn a_reason_does_not_choose_among_several() {
    let mut tested = Tested::new("promote-several", 3);
    tested.analysis["decision"] = json!("inconclusive");
    tested.analysis["winner"] = Value::Null;
    let force = ["--yes", "--force-reason", "because"];
    tested.refused(
        &force,
        &["no winner and several candidates", "promote-several-v2, promote-several-v3"],
    );
    let forced = [&force[..], &["--winner", "promote-several-v1"]].concat();
    tested.refused(&forced, &["unknown candidate \"promote-several-v1\"", "expected one of"]);
    let forced = [&force[..], &["--winner", "promote-several-v3"]].concat();
    tested.promote(&forced).good();
    assert!(tested.model.state().contains("champion=3"));
}

#[test]
fn a_champion_that_was_not_tested_is_not_replaced() {
    let tested = Tested::new("promote-late", 3);
    tested.model.alias("champion", "3");
    let words = ["the champion is version 3, but must be version 1", "mlflow plan"];
    tested.refused(&["--yes"], &words);
    tested.refused(&[], &words);
    tested.refused(&["--yes", "--force-reason", "whatever"], &words);
    // The winner is the champion, but not from here.
    tested.model.alias("champion", "2");
    tested.refused(&["--yes"], &["the champion is version 2, but must be version 1"]);
}

#[test]
fn a_candidate_that_was_withdrawn_is_not_promoted() {
    let tested = Tested::new("promote-withdrawn", 2);
    tested.model.tag("2", "ab_test_candidate", "false");
    tested.refused(
        &["--yes"],
        &["version 2 (promote-withdrawn-v2) is not a candidate anymore", "false"],
    );
}

#[test]
fn variants_with_names_of_their_own_are_told_by_hand() {
    let mut tested = Tested::new("promote-named", 2);
    let text = tested.analysis.to_string();
    let text = text.replace("promote-named-v1", "baseline").replace("promote-named-v2", "enhanced");
    tested.analysis = serde_json::from_str(&text).unwrap();
    tested.refused(&["--yes"], &["variant baseline: the version", "--variant baseline=VERSION"]);
    let named = ["--yes", "--variant", "baseline=1", "--variant"];
    tested.refused(
        &[&named[..], &["enhanced=1"]].concat(),
        &["baseline and enhanced are both version 1"],
    );
    tested
        .refused(&[&named[..], &["enhanced=9"]].concat(), &["version 9 (enhanced) does not exist"]);
    tested.promote(&[&named[..], &["enhanced=2"]].concat()).good();
    assert!(tested.model.state().contains("champion=2 previous_champion=1"));
}
