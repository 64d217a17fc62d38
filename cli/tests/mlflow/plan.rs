//! From the registry to an experiment file.

use super::*;

/// The file without the port of this run's server.
fn file(text: &str) -> String {
    text.replace(&server().uri, "http://mlflow")
}

#[track_caller]
fn checked(text: &str, dir: &Path) -> serde_json::Value {
    let path = dir.join("checked.yaml");
    std::fs::write(&path, text).unwrap();
    let output = ran(&mut command(&["check", "--json", path.to_str().unwrap()]));
    let report: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(report["ok"], true, "{text}\n{report}");
    report
}

#[test]
fn the_champion_is_tested_against_the_candidates() {
    let model = server().model("plan-simple", 3);
    // As Python stores True, and as others do.
    model.tag("2", "ab_test_candidate", "True");
    model.tag("3", "ab_test_candidate", "false");
    let text = mlflow(&["plan", "--model", model.name]).good();
    insta::assert_snapshot!("plan_simple", file(&text));
    let dir = tempfile::tempdir().unwrap();
    checked(&text, dir.path());
    // The version really travels with the request.
    let path = dir.path().join("checked.yaml");
    let body = dir.path().join("body.json");
    std::fs::write(&body, r#"{"user_id": "u-15", "inputs": []}"#).unwrap();
    let (path, body) = (path.to_str().unwrap(), body.to_str().unwrap());
    let explained =
        ran(&mut command(&["explain", path, "--body", body, "--method", "POST", "--json"])).good();
    let explained: serde_json::Value = serde_json::from_str(&explained).unwrap();
    assert_eq!(explained["unit_source"], "body /user_id", "{explained}");
}

#[test]
fn tags_and_options_are_honoured_and_named_as_the_source() {
    let model = server().model("plan-tags", 3);
    for version in ["2", "3"] {
        model.tag(version, "ab_test_candidate", "true");
        model.tag(version, "ab_test.experiment", "ranking-november");
    }
    model.tag("2", "ab_test.weight", "12.5");
    model.tag("1", "ab_test.cluster", "outbound|80||rank-1.models.svc.cluster.local");
    model.tag("2", "ab_test.cluster", "rank-2");
    model.tag("3", "ab_test.cluster", "by-tag");
    let text = mlflow(&[
        "plan",
        "--model",
        model.name,
        "--weight",
        "30",
        "--cluster",
        "3=by-option",
        "--unit",
        "header:x-user-id",
        "--unit",
        "body:/user/id",
        "--path",
        "/invocations",
    ]);
    let text = text.good();
    insta::assert_snapshot!("plan_tags", file(&text));
    checked(&text, tempfile::tempdir().unwrap().path());
}

#[test]
fn the_same_registry_gives_the_same_file_and_another_pair_another_draw() {
    let model = server().model("plan-again", 3);
    model.tag("2", "ab_test_candidate", "true");
    let plan = || mlflow(&["plan", "--model", model.name]).good();
    let first = plan();
    assert_eq!(first, plan());
    model.alias("champion", "3");
    let salt = |text: &str| text.lines().find(|line| line.contains("salt:")).unwrap().to_owned();
    assert_ne!(salt(&first), salt(&plan()));
}

#[test]
fn what_cannot_be_tested_is_refused() {
    let model = server().model("plan-refused", 3);
    let plan = |more: &[&str]| {
        let mut arguments = vec!["plan", "--model", model.name];
        arguments.extend(more);
        mlflow(&arguments)
    };
    plan(&[]).refused(
        1,
        &["no version except the champion has the tag ab_test_candidate", "set_model_version_tag"],
    );
    model.tag("1", "ab_test_candidate", "true");
    plan(&[]).refused(1, &["no version except the champion"]);
    for version in ["2", "3"] {
        model.tag(version, "ab_test_candidate", "true");
    }
    plan(&["--weight", "60"])
        .refused(1, &["version 2 60 % (--weight), version 3 60 %", "at most 100 %"]);
    assert!(plan(&["--weight", "50"]).good().contains("weight: 50"));
    plan(&["--cluster", "2=rank-2"])
        .refused(1, &["version 1, 3 has no cluster", "--cluster 1=NAME"]);
    plan(&["--cluster", "7=rank-7"]).refused(2, &["--cluster: unknown version \"7\"", "1, 2, 3"]);
    plan(&["--unit", "body:user_id"]).refused(1, &["experiments[0].unit[0].body", "user_id"]);
    plan(&["--unit", "user_id"]).refused(2, &["body:/POINTER"]);
    plan(&["--weight", "10%"]).refused(2, &["not a percentage from 0 to 100"]);

    model.tag("2", "ab_test.weight", "10%");
    plan(&[])
        .refused(1, &["plan-refused version 2: the tag ab_test.weight is \"10%\"", "without %"]);
    model.tag("2", "ab_test.weight", "20");
    model.tag("2", "ab_test.experiment", "one");
    model.tag("3", "ab_test.experiment", "two");
    plan(&[]).refused(1, &["version 2 belongs to the experiment one, but version 3 to two"]);
    // A tag that would write YAML of its own stays a word, and the core refuses it as a name.
    for version in ["2", "3"] {
        model.tag(version, "ab_test.experiment", "a\nenabled: false");
    }
    plan(&[]).refused(1, &["experiments[0].name", "[bad-name]"]);
}

#[test]
fn a_model_that_is_not_there_or_has_no_champion_is_refused() {
    mlflow(&["plan", "--model", "plan-nowhere"])
        .refused(1, &["plan-nowhere: unknown registered model at http://"]);
    let server = server();
    server.post("registered-models/create", serde_json::json!({"name": "plan-unled"}));
    mlflow(&["plan", "--model", "plan-unled"])
        .refused(1, &["no version has the alias champion", "hint:"]);
}

#[test]
fn a_file_that_is_there_is_not_lost() {
    let model = server().model("plan-out", 2);
    model.tag("2", "ab_test_candidate", "true");
    let dir = tempfile::tempdir().unwrap();
    let path = planned(model.name, dir.path());
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, mlflow(&["plan", "--model", model.name]).good());
    let again = ["plan", "--model", model.name, "--out", path.to_str().unwrap()];
    assert!(mlflow(&again).good().contains("with the same contents"));
    std::fs::write(&path, "mine").unwrap();
    mlflow(&again).refused(1, &["exists with other contents", "sidetrack plan OLD NEW"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}
