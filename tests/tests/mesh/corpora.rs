//! A cluster accepts all manifests that the project ships or renders, or `render` refuses first.
//!
//! The answers are those of Kubernetes' validation on Istio's definitions and of istiod's webhook, both
//! by the program of `tests/mesh/istiod/`. It gets many files at once, as it needs most of its time to
//! start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, str};

use serde_json::Value;
use sidetrack_tests::artifact;

use super::goldens::istiod;
use super::random;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The reason for each object that is refused, by file; all files are keys.
fn refusals(files: &[PathBuf]) -> BTreeMap<PathBuf, Vec<String>> {
    let run = istiod().args(["check", "--json"]).args(files).output().unwrap();
    let text = str::from_utf8(&run.stdout).unwrap();
    let verdicts: Vec<Value> = serde_json::from_str(text).unwrap_or_else(|error| {
        panic!("{error}: {text}\n{}", String::from_utf8_lossy(&run.stderr))
    });
    let mut refusals: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for verdict in verdicts {
        let of_file = refusals.entry(verdict["file"].as_str().unwrap().into()).or_default();
        if verdict["accepted"] == false {
            let (object, reason) = (&verdict["object"], &verdict["reason"]);
            of_file.push(format!("{}: {}", object.as_str().unwrap(), reason.as_str().unwrap()));
        }
    }
    let judged: Vec<&PathBuf> = refusals.keys().collect();
    let mut given: Vec<&PathBuf> = files.iter().collect();
    given.sort();
    assert_eq!(judged, given, "a file has no object");
    refusals
}

fn all_accepted(files: &[PathBuf]) {
    let refused: Vec<_> = refusals(files).into_iter().filter(|(_, all)| !all.is_empty()).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

/// By hand and rendered; the experiment and the mesh's settings are not manifests.
#[test]
fn shipped_manifests_are_accepted() {
    let mut files = Vec::new();
    for folder in ["istio", "istio/rendered"] {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        files.extend(entries.map(|entry| entry.unwrap().path()));
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    let other = ["istio/experiment.yaml", "rendered/mesh.yaml"];
    files.retain(|file| other.iter().all(|other| !file.ends_with(other)));
    assert!(files.len() >= 8, "{files:?}");
    all_accepted(&files);
}

/// Whatever a file can contain that Istio can carry, in every form.
#[test]
fn every_form_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for kind in ["wasmplugin", "trafficextension"] {
        for (topology, route) in [
            ("gateway", "virtualservice"),
            ("gateway", "envoyfilter"),
            ("sidecar", "virtualservice"),
            ("sidecar", "envoyfilter"),
            ("waypoint", "virtualservice"),
        ] {
            let digest = format!("sha256:{}", "0a".repeat(32));
            let options =
                ["--kind", kind, "--topology", topology, "--route", route, "--port", "80"];
            let run = Command::new(artifact::cli())
                .args(["render", "istio", "tests/golden/istio/everything.json"])
                .args(options)
                // The file has hosts that only a gateway can serve.
                .args(
                    (topology != "gateway")
                        .then_some(["--host", "predictor"])
                        .into_iter()
                        .flatten(),
                )
                .args(["--sha256", &digest, "--pull-secret", "registry"])
                .args(["--fail-strategy", "reload"])
                .args(["--destination", "New_Model=models.other.svc.cluster.local:81/v2"])
                .current_dir(root())
                .output()
                .unwrap();
            assert!(run.status.success(), "{options:?}\n{}", String::from_utf8_lossy(&run.stderr));
            let file = folder.path().join(format!("{kind}-{topology}-{route}.yaml"));
            fs::write(&file, run.stdout).unwrap();
            files.push(file);
        }
    }
    all_accepted(&files);
}

/// The overlays of `render argocd`, as the real kubectl builds them.
#[test]
fn overlays_of_argo_cd_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let experiments = folder.path().join("experiment.yaml");
    fs::write(
        &experiments,
        r#"
experiments:
- name: forecast
  unit: [{header: x-user-id}]
  baseline: stable
  variants: [{name: stable}, {name: next, reserve: 40}]
  rollout:
    start: 2026-01-05T09:00:00Z
    phases: [{name: canary, for: 1h, weights: {next: 5}}, {name: wide, weights: {next: 20.5}}]
"#,
    )
    .unwrap();
    let mut files = Vec::new();
    for kind in ["wasmplugin", "trafficextension"] {
        let tree = folder.path().join(kind);
        let run = Command::new(artifact::cli())
            .args(["render", "argocd", "--host", "predictor.example.com", "--kind", kind])
            .arg("--out")
            .arg(&tree)
            .arg(&experiments)
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        for overlay in ["off", "canary", "wide"] {
            let kubectl = root().join(".tools/mesh/bin/kubectl");
            let run = Command::new(kubectl)
                .arg("kustomize")
                .arg(tree.join("overlays").join(overlay))
                .output()
                .unwrap();
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
            let file = folder.path().join(format!("{kind}-{overlay}.yaml"));
            fs::write(&file, run.stdout).unwrap();
            files.push(file);
        }
    }
    all_accepted(&files);
}

/// The program would notice: each of these differs from a shipped manifest by a mistake.
#[test]
fn mistakes_are_refused() {
    let cases = [
        ("wasmplugin.yaml", "failStrategy", "failStrategi", "spec.failStrategi"),
        ("wasmplugin.yaml", "FAIL_OPEN", "FAIL_OFTEN", "spec.failStrategy"),
        ("wasmplugin.yaml", "matchLabels", "match_labels", "spec.selector.match_labels"),
        ("wasmplugin.yaml", "mode: CLIENT", "mode: OUTBOUND", "spec.match[0].mode"),
        ("virtualservice.yaml", "exact:", "exactly:", "exactly"),
        ("virtualservice.yaml", "hosts: [predictor.example.com]", "hosts: 17", "spec.hosts"),
        ("destinationrule.yaml", "  host:", "  hosts:", "spec.host"),
        ("rendered/trafficextension.yaml", "url: oci", "url: ftp", "url"),
        (
            "rendered/waypoint.yaml",
            "  targetRefs:",
            "  selector: {}\n  targetRefs:",
            "only one of targetRefs or selector",
        ),
        ("rendered/gateway.yaml", "accessLogging:", "accesslogging:", "spec.accesslogging"),
        ("rendered/cluster-header.yaml", "HTTP_ROUTE", "HTTP_ROUTES", "applyTo"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (i, (file, good, broken, _)) in cases.iter().enumerate() {
        let whole = fs::read_to_string(root().join("istio").join(file)).unwrap();
        assert!(whole.contains(good), "{file} has no {good}");
        let copy = folder.path().join(format!("{i:02}-{}", file.replace('/', "-")));
        fs::write(&copy, whole.replace(good, broken)).unwrap();
        files.push(copy);
    }
    for ((file, reasons), (_, _, broken, expected)) in refusals(&files).iter().zip(cases) {
        let found = reasons.iter().any(|reason| reason.contains(expected));
        assert!(found, "{broken} in {}: {reasons:?}", file.display());
    }
}

/// Random files with random options of each command: `render` refuses them with a message, or a cluster accepts the
/// result. Of Envoy Gateway's own kinds, `server.rs` asks the API server.
#[test]
fn random_renderings_are_accepted_or_refused_by_render() {
    let folder = tempfile::tempdir().unwrap();
    let mut rendered = BTreeMap::new();
    let mut refused = BTreeMap::new();
    let mut numbers = random::COMMANDS.map(|(command, _)| (command, 0));
    for seed in 0..2000 {
        if numbers == random::COMMANDS {
            break;
        }
        let case = random::case(seed);
        let number =
            &mut numbers.iter_mut().find(|(command, _)| *command == case.command).unwrap().1;
        if random::COMMANDS.contains(&(case.command, *number)) {
            continue;
        }
        match case.render(folder.path()) {
            Ok(text) => {
                let file = folder.path().join(format!("{seed:03}.yaml"));
                fs::write(&file, text).unwrap();
                rendered.insert(file, case);
                *number += 1;
            }
            Err(message) => *refused.entry(kind_of(&message)).or_insert(0) += 1,
        }
    }
    assert_eq!(numbers, random::COMMANDS, "{refused:#?}");
    let files: Vec<PathBuf> = rendered.keys().cloned().collect();
    let bad: Vec<String> = refusals(&files)
        .into_iter()
        .filter(|(_, reasons)| !reasons.is_empty())
        .map(|(file, reasons)| format!("{reasons:#?}\n{:?}", rendered[&file]))
        .collect();
    assert!(bad.is_empty(), "{} are refused by the cluster:\n{}", bad.len(), bad.join("\n"));
    println!("{} renderings accepted; refused by render: {refused:#?}", files.len());
}

/// The first line of an error, without values.
fn kind_of(message: &str) -> String {
    let line = message.lines().find(|line| line.contains("error")).unwrap_or(message);
    let words = line.split_whitespace().filter(|word| !word.contains(['/', '.', '"', ',']));
    words.collect::<Vec<_>>().join(" ")
}
