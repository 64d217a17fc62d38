//! The manifests in `istio/`: valid for Istio, and of one mind with the experiment that they carry.

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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn manifests() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("istio")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() >= 3);
    files
}

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join("istio").join(file)).unwrap()
}

fn value(file: &str) -> Value {
    serde_saphyr::from_str(&text(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn validate(files: &[PathBuf]) -> Output {
    let python = root().join(".tools/py/bin/python");
    assert!(python.exists(), "{} is missing: run make setup", python.display());
    Command::new(python).arg("-B").arg(root().join("tests/istio/validate.py")).args(files).output().unwrap()
}

fn complaints(run: &Output) -> String {
    String::from_utf8_lossy(&run.stderr).into_owned()
}

#[test]
fn istio_would_take_every_manifest() {
    let run = validate(&manifests());
    assert!(run.status.success(), "{}", complaints(&run));
}

#[test]
fn istio_would_take_none_of_the_broken_ones() {
    let cases = [
        ("wasmplugin.yaml", "failStrategy", "failStrategi", "spec.failStrategi: Istio has no such field"),
        ("wasmplugin.yaml", "FAIL_RELOAD", "FAIL_OFTEN", "spec.failStrategy: "),
        ("wasmplugin.yaml", "matchLabels", "match_labels", "spec.selector.match_labels: "),
        ("wasmplugin.yaml", "mode: CLIENT", "mode: OUTBOUND", "spec.match[0].mode: "),
        ("wasmplugin.yaml", "v1alpha1", "v7", "Istio has no apiVersion"),
        ("virtualservice.yaml", "exact:", "exactly:", "headers.x-ab-variant.exactly: "),
        ("virtualservice.yaml", "hosts: [predictor.example.com]", "hosts: 17", "spec.hosts: "),
        ("destinationrule.yaml", "namespace:", "namespaces:", "metadata.namespaces: "),
        ("destinationrule.yaml", "DestinationRule", "DestinationRole", "has no kind"),
        ("destinationrule.yaml", "  host:", "  subsets: []\n  host:", "subsets stands here twice"),
    ];
    // Importing the schemas takes Python a second or two, so all go into one run.
    let folder = tempfile::tempdir().unwrap();
    let mut copies = Vec::new();
    for (i, (file, good, broken, _)) in cases.iter().enumerate() {
        let whole = text(file);
        assert!(whole.contains(good), "{file} has no {good}");
        let copy = folder.path().join(format!("{i}-{file}"));
        std::fs::write(&copy, whole.replace(good, broken)).unwrap();
        copies.push(copy);
    }
    let run = validate(&copies);
    let said = complaints(&run);
    assert_eq!(run.status.code(), Some(1), "{said}");
    for (copy, (_, _, broken, complaint)) in copies.iter().zip(cases) {
        let name = copy.display().to_string();
        let about = |line: &str| line.starts_with(&name) && line.contains(complaint);
        assert!(said.lines().any(about), "{broken}:\n{said}");
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
        let host = vec![(":authority", hosts[0].as_str().unwrap()), (":path", "/v2/models/forecast/infer")];
        assert_eq!(experiment.conditions.mismatch(&host), None, "the routes' host is the experiment's");
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
    assert_eq!(plugin["spec"]["failStrategy"], "FAIL_RELOAD");
}
