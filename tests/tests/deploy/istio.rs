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

/// All manifests, by hand and rendered; the experiment and the mesh's settings are none.
fn manifests() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["istio", "istio/rendered"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        files.extend(entries.map(|entry| entry.unwrap().path()));
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.retain(|file| {
        !file.ends_with("istio/experiment.yaml") && !file.ends_with("rendered/mesh.yaml")
    });
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
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
    Command::new(python)
        .arg("-B")
        .arg(root().join("tests/istio/validate.py"))
        .args(files)
        .output()
        .unwrap()
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
        (
            "wasmplugin.yaml",
            "failStrategy",
            "failStrategi",
            "spec.failStrategi: Istio has no such field",
        ),
        ("wasmplugin.yaml", "FAIL_OPEN", "FAIL_OFTEN", "spec.failStrategy: "),
        ("wasmplugin.yaml", "matchLabels", "match_labels", "spec.selector.match_labels: "),
        ("wasmplugin.yaml", "mode: CLIENT", "mode: OUTBOUND", "spec.match[0].mode: "),
        ("wasmplugin.yaml", "v1alpha1", "v7", "Istio has no apiVersion"),
        ("virtualservice.yaml", "exact:", "exactly:", "headers.x-ab-variant.exactly: "),
        ("virtualservice.yaml", "hosts: [predictor.example.com]", "hosts: 17", "spec.hosts: "),
        ("destinationrule.yaml", "namespace:", "namespaces:", "metadata.namespaces: "),
        ("destinationrule.yaml", "DestinationRule", "DestinationRole", "has no kind"),
        ("destinationrule.yaml", "  host:", "  subsets: []\n  host:", "subsets stands here twice"),
        (
            "rendered/trafficextension.yaml",
            "failStrategy",
            "failStrategi",
            "'failStrategi' was unexpected",
        ),
        ("rendered/trafficextension.yaml", "url: oci", "url: ftp", "spec.wasm.url: "),
        (
            "rendered/waypoint.yaml",
            "  targetRefs:",
            "  selector: {}\n  targetRefs:",
            "only one of targetRefs or selector",
        ),
        (
            "rendered/gateway.yaml",
            "accessLogging:",
            "accesslogging:",
            "spec.accesslogging: Istio has no such field",
        ),
        ("rendered/cluster-header.yaml", "HTTP_ROUTE", "HTTP_ROUTES", "applyTo: "),
    ];
    // Importing the schemas takes Python a second or two, so all go into one run.
    let folder = tempfile::tempdir().unwrap();
    let mut copies = Vec::new();
    for (i, (file, good, broken, _)) in cases.iter().enumerate() {
        let whole = text(file);
        assert!(whole.contains(good), "{file} has no {good}");
        let copy = folder.path().join(format!("{i}-{}", file.replace('/', "-")));
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

/// Whatever a file may hold that Istio can carry, in every form: the schemas take it.
#[test]
fn istio_would_take_whatever_is_rendered() {
    let folder = tempfile::tempdir().unwrap();
    let experiments = folder.path().join("experiments.json");
    std::fs::write(&experiments, everything().to_string()).unwrap();
    let mut files = Vec::new();
    for kind in ["wasmplugin", "trafficextension"] {
        for place in [
            ["gateway", "virtualservice"],
            ["gateway", "envoyfilter"],
            ["sidecar", "virtualservice"],
            ["sidecar", "envoyfilter"],
            ["waypoint", "virtualservice"],
        ] {
            let [topology, route] = place;
            let digest = format!("sha256:{}", "0a".repeat(32));
            let run = Command::new(artifact::cli())
                .args(["render", "istio"])
                .arg(&experiments)
                .args([
                    "--kind",
                    kind,
                    "--topology",
                    topology,
                    "--route",
                    route,
                    "--port",
                    "80",
                    "--sha256",
                ])
                .args([&digest, "--pull-secret", "registry", "--fail-strategy", "reload"])
                .args(["--destination", "New_Model=models.other.svc.cluster.local:81/v2"])
                .output()
                .unwrap();
            assert!(run.status.success(), "{kind} {place:?}\n{}", complaints(&run));
            let file = folder.path().join(format!("{kind}-{topology}-{route}.yaml"));
            std::fs::write(&file, run.stdout).unwrap();
            files.push(file);
        }
    }
    let run = validate(&files);
    assert!(run.status.success(), "{}", complaints(&run));
}

/// Two experiments with different baselines, conditions of every kind, words that YAML 1.1 reads
/// otherwise.
fn everything() -> Value {
    serde_json::json!({
        "experiments": [
            {
                "name": "first", "salt": "0123", "unit": [{"header": "x-user-id"}, {"cookie": "on"}],
                "match": {
                    "hosts": ["a.example.com", "*.example.org"], "path": {"exact": "/v2/a"}, "methods": ["GET", "POST"],
                    "headers": [
                        {"name": "x-a", "exact": "yes"}, {"name": "x-b", "prefix": "1e3"},
                        {"name": "x-c", "present": true}, {"name": "x-d", "present": false},
                    ],
                },
                "baseline": "old", "variants": [
                    {"name": "old", "cluster": "old"},
                    {"name": "New_Model", "cluster": "new", "weight": 0.5, "request_headers": {"x-e": "~", "x-f": "\"é\" # no: comment"}},
                ],
                "mirror": {"cluster": "copies"},
                "overrides": {"header": "x-choose", "units": {"null": "New_Model", "2026-11-23T09:00:00Z": "old"}},
            },
            {
                "name": "second", "unit": [{"query": "u"}], "match": {"hosts": ["a.example.com"]},
                "baseline": "stable", "variants": [{"name": "stable"}, {"name": "next", "weight": 10}],
            },
        ],
    })
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
