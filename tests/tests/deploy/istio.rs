//! The manifests in `istio/`: valid for Istio, and consistent with the experiment that they
//! contain.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use sidetrack::config;
use sidetrack::plan::Plan;
use sidetrack_tests::artifact;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join("istio").join(file)).unwrap()
}

fn value(file: &str) -> Value {
    serde_saphyr::from_str(&text(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn complaints(run: &Output) -> String {
    String::from_utf8_lossy(&run.stderr).into_owned()
}

/// The commands of the README, as a reader would run them, and the files that they write.
fn commands() -> Vec<(Vec<String>, PathBuf)> {
    let readme = text("README.md");
    let lines = readme.lines().map(str::trim).filter(|line| line.starts_with("sidetrack render "));
    let command = |line: &str| {
        let (command, file) = line.split_once(" > ").unwrap_or_else(|| panic!("no file: {line}"));
        let words = command.split_whitespace().skip(1).map(ToOwned::to_owned).collect();
        (words, root().join(file))
    };
    let commands: Vec<_> = lines.map(command).collect();
    assert_eq!(commands.len(), std::fs::read_dir(root().join("istio/rendered")).unwrap().count());
    commands
}

#[test]
fn the_rendered_examples_are_what_the_commands_in_the_readme_write() {
    for (arguments, file) in commands() {
        let run =
            Command::new(artifact::cli()).args(&arguments).current_dir(root()).output().unwrap();
        assert!(run.status.success(), "{arguments:?}\n{}", complaints(&run));
        let written = String::from_utf8(run.stdout).unwrap();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &written).unwrap();
        }
        let kept = std::fs::read_to_string(&file).unwrap();
        assert!(kept == written, "{}: UPDATE=1 writes it anew\n{written}", file.display());
    }
}

/// Two experiments with different baselines, conditions of every kind, words that YAML 1.1 reads
/// otherwise. `make test-mesh` renders it in every form.
fn everything() -> Value {
    let text = std::fs::read_to_string(root().join("tests/golden/istio/everything.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn what_cannot_work_is_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |experiments: &Value, options: &[&str], code: i32, words: [&str; 2]| {
        let file = folder.path().join("experiments.json");
        std::fs::write(&file, experiments.to_string()).unwrap();
        let run = Command::new(artifact::cli())
            .args(["render", "istio"])
            .arg(&file)
            .args(options)
            .output()
            .unwrap();
        assert_eq!(run.status.code(), Some(code), "{options:?}: {}", complaints(&run));
        assert!(run.stdout.is_empty(), "nothing is half written");
        for word in words {
            assert!(
                complaints(&run).contains(word),
                "{options:?} does not say {word}: {}",
                complaints(&run)
            );
        }
    };
    let mut body = everything();
    body["experiments"][0]["unit"][1] = serde_json::json!({"body": "/user"});
    refused(&body, &[], 1, ["experiments[0].unit[1].body", "a header, cookie or query parameter"]);
    let good = everything();
    let mut unnamed = everything();
    unnamed["experiments"][0]["variants"][1]["cluster"] = "New.Model".into();
    refused(&unnamed, &[], 2, ["New.Model cannot name a service", "--destination New_Model="]);
    refused(
        &unnamed,
        &["--service", "all"],
        2,
        ["cannot name a subset", "--destination New_Model="],
    );
    let waypoint = ["--topology", "waypoint"];
    refused(
        &good,
        &[&waypoint[..], &["--route", "envoyfilter"]].concat(),
        2,
        ["waypoint", "--route virtualservice"],
    );
    refused(
        &good,
        &[&waypoint[..], &["--selector", "a=b"]].concat(),
        2,
        ["ignores selectors", "--host"],
    );
    refused(&good, &["--route", "envoyfilter", "--no-guard"], 2, ["--no-guard", "any cluster"]);
    refused(&good, &["--route", "envoyfilter"], 2, ["requires a port", "--port"]);
    refused(
        &good,
        &["--destination", "nobody=a"],
        2,
        ["unknown variant or cluster \"nobody\"", "New_Model, copies, new, next, old"],
    );
    refused(&good, &["--namespace", "a\nb"], 2, ["--namespace", "lower-case letters"]);
    refused(&good, &["--host", "a b"], 2, ["--host", "a lower-case host name"]);
    refused(&good, &["--selector", "app=\n"], 2, ["--selector", "letters, digits"]);
    refused(&good, &["--sha256", "abc"], 2, ["--sha256", "64 hexadecimal"]);
    refused(&good, &["--gateway", "gateway"], 2, ["--gateway", "NAMESPACE/NAME"]);
}

#[test]
fn mesh_and_annotation_name_the_same_labels() {
    let mesh = value("rendered/mesh.yaml");
    let labels = mesh["meshConfig"]["defaultConfig"]["extraStatTags"].as_array().unwrap();
    let labels: Vec<&str> = labels.iter().map(|label| label.as_str().unwrap()).collect();
    let annotation = format!("sidecar.istio.io/extraStatTags: {}", labels.join(","));
    for file in ["rendered/mesh.yaml", "README.md"] {
        assert!(text(file).contains(&annotation), "{file} has no {annotation}");
    }
}

/// The experiments of the WasmPlugin, by the way of JSON that Istio sends them.
fn plan() -> Plan {
    let json = value("wasmplugin.yaml")["spec"]["pluginConfig"].to_string();
    let plan = config::parse_json(json.as_bytes());
    plan.unwrap_or_else(|problems| panic!("istio/wasmplugin.yaml:\n{problems}"))
}

#[test]
fn the_experiment_has_no_problem_and_only_tags() {
    let plan = plan();
    assert!(!plan.experiments.is_empty());
    assert_eq!(plan.notices, []);
    for variant in plan.experiments.iter().flat_map(|experiment| &experiment.variants) {
        assert_eq!(variant.cluster, None, "{}: in Istio the VirtualService routes", variant.name);
    }
}

#[test]
fn the_same_experiment_arrives_when_all_numbers_are_doubles() {
    let json = value("wasmplugin.yaml")["spec"]["pluginConfig"].to_string();
    let doubles = json.replace(":30,", ":30.0,").replace(":50,", ":5e1,").replace(":50}", ":5e1}");
    assert_ne!(json, doubles);
    assert_eq!(config::parse_json(doubles.as_bytes()).unwrap().hash, plan().hash);
}

#[test]
fn every_candidate_has_a_route_and_the_last_route_takes_the_rest() {
    let (plan, service) = (plan(), value("virtualservice.yaml"));
    let routes = service["spec"]["http"].as_array().unwrap();
    let (last, tagged) = routes.split_last().unwrap();
    assert!(last["match"].is_null(), "the default route has no condition");
    let header = plan.settings.headers.variant.as_str();
    for experiment in &plan.experiments {
        for candidate in experiment.candidates() {
            let name = experiment.variants[candidate].name.as_str();
            let matches = |route: &&Value| {
                let conditions = route["match"].as_array().unwrap();
                conditions.iter().any(|condition| condition["headers"][header]["exact"] == name)
            };
            assert_eq!(tagged.iter().filter(matches).count(), 1, "routes for {header}: {name}");
        }
        let hosts = service["spec"]["hosts"].as_array().unwrap();
        let host = vec![
            (":authority", hosts[0].as_str().unwrap()),
            (":path", "/v2/models/forecast/infer"),
        ];
        assert_eq!(
            experiment.conditions.mismatch(&host),
            None,
            "the routes' host is the experiment's"
        );
    }
}

#[test]
fn every_subset_that_a_route_names_exists_and_no_two_are_the_same_pods() {
    let (service, rule) = (value("virtualservice.yaml"), value("destinationrule.yaml"));
    let subsets = rule["spec"]["subsets"].as_array().unwrap();
    for route in service["spec"]["http"].as_array().unwrap() {
        for target in route["route"].as_array().unwrap() {
            let target = &target["destination"];
            assert_eq!(target["host"], rule["spec"]["host"]);
            assert!(subsets.iter().any(|subset| subset["name"] == target["subset"]), "{target}");
        }
    }
    let labels: std::collections::BTreeSet<String> =
        subsets.iter().map(|s| s["labels"].to_string()).collect();
    assert_eq!(labels.len(), subsets.len());
}

#[test]
fn the_filter_runs_once_and_after_authorization() {
    let plugin = value("wasmplugin.yaml");
    assert_eq!(plugin["spec"]["match"], serde_json::json!([{"mode": "CLIENT"}]));
    assert!(plugin["spec"]["phase"].is_null());
    assert_eq!(plugin["spec"]["failStrategy"], "FAIL_OPEN", "traffic goes on without the filter");
}
