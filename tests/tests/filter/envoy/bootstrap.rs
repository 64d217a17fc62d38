//! Bootstraps that `render envoy` writes: a real Envoy accepts them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sidetrack_lab::{EnvoyBinary, validate};
use sidetrack_tests::artifact;
use sidetrack_tests::world::sidetrack_command;

use super::golden;
use crate::scenarios::{experiment, forecast, forecast_with, merge};

/// Files of every shape, by name.
fn shapes() -> Vec<(&'static str, Value)> {
    let tagging = json!([{"name": "old"}, {"name": "new", "weight": 30}]);
    let unweighted = json!([{"name": "old", "cluster": "o"}, {"name": "new", "cluster": "n"}]);
    let conditions = json!({
        "hosts": ["models.test", "*.example.com", "[::1]"], "path": {"exact": "/a\"quoted\"'path"},
        "methods": ["GET", "M-SEARCH"],
        "headers": [{"name": "x-tenant", "exact": "a \"b\" \\ c"}, {"name": "x-region", "prefix": "eu-"},
                    {"name": "x-internal", "present": false}, {"name": "x-external", "present": true}],
    });
    let rollout = json!({
        "start": "2026-11-23T09:00:00Z",
        "phases": [{"name": "canary", "for": "1h", "weights": {"new": 5}}, {"name": "all", "weights": {"new": 30}}],
    });
    let mut prefixed = forecast();
    prefixed["settings"] = json!({"header_prefix": "x-trial-"});
    let (mut one, mut two) = (experiment(), experiment());
    merge(
        &mut one,
        &json!({"layer": {"name": "models", "from": 0, "to": 50}, "mirror": {"cluster": "shadow"}}),
    );
    let layer = json!({"name": "models", "from": 50, "to": 100});
    merge(
        &mut two,
        &json!({"name": "other", "layer": layer, "mirror": {"cluster": "shadow-2", "percent": 1}}),
    );
    vec![
        ("simple", forecast()),
        ("tag only", forecast_with(json!({"variants": tagging}))),
        ("conditions", forecast_with(json!({"match": conditions}))),
        ("mirror", forecast_with(json!({"mirror": {"cluster": "shadow", "percent": 5}}))),
        (
            "tag only with a mirror",
            forecast_with(json!({"variants": tagging, "mirror": {"cluster": "shadow"}})),
        ),
        ("layers, several", json!({"experiments": [one, two]})),
        ("rollout", forecast_with(json!({"variants": unweighted, "rollout": rollout}))),
        ("another prefix", prefixed),
        (
            "everything disabled",
            forecast_with(json!({"enabled": false, "breaker": {"mode": "disabled"}})),
        ),
    ]
}

#[tokio::test]
async fn envoy_accepts_what_is_rendered_for_files_of_every_shape() {
    let envoy = EnvoyBinary::find().unwrap();
    let wasm = artifact::wasm().display().to_string();
    let dir = tempfile::tempdir().unwrap();
    let watched = dir.path().join("filter.yaml");
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for (name, file) in shapes() {
        let path = dir.path().join(format!("{name}.json"));
        fs::write(&path, file.to_string()).unwrap();
        files.push((name.to_owned(), path));
    }
    let good = golden("config/good");
    for entry in fs::read_dir(&good).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // Without experiments there is nothing to route.
        if name != "no-experiments.yaml" {
            files.push((name, path));
        }
    }
    for (name, path) in files {
        let path = path.display().to_string();
        let render = ["render", "envoy", &path, "--wasm", &wasm];
        let fixed = sidetrack_command(&render).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        validate(&envoy, &fixed).await.unwrap_or_else(|error| panic!("{name}: {error:?}\n{fixed}"));
        let watched_path = watched.display().to_string();
        let render = [&render[..], &["--watch", &watched_path]].concat();
        let filter = sidetrack_command(&[&render[..], &["--filter-only"]].concat()).unwrap();
        fs::write(&watched, filter).unwrap();
        let watching = sidetrack_command(&render).unwrap();
        validate(&envoy, &watching)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error:?}\n{watching}"));
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[tokio::test]
async fn the_committed_bootstrap_is_what_the_command_writes() {
    let committed = repository().join("envoy/quickstart.yaml");
    let rendered = Command::new(artifact::cli())
        .current_dir(repository())
        .args(["render", "envoy", "envoy/experiment.yaml"])
        .args([
            "--endpoint",
            "baseline-predictor=127.0.0.1:9001",
            "--endpoint",
            "enhanced-predictor=127.0.0.1:9002",
        ])
        .output()
        .unwrap();
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    let rendered = String::from_utf8(rendered.stdout).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&committed, &rendered).unwrap();
    }
    let found = fs::read_to_string(&committed).unwrap_or_default();
    assert!(
        found == rendered,
        "envoy/quickstart.yaml is not what the command writes; UPDATE=1 writes it anew"
    );
    let wasm = artifact::wasm().display().to_string();
    let here = found.replace("dist/sidetrack.wasm", &wasm);
    assert_ne!(here, found);
    validate(&EnvoyBinary::find().unwrap(), &here).await.unwrap();
}
