//! The API server with istiod's webhook takes random renderings, or `render` refuses them first.
//!
//! `corpora.rs` asks Istio's code directly; here the answers come through `kubectl apply --dry-run=server`.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
use sidetrack_tests::artifact;
use sidetrack_tests::mesh::Mesh;

use crate::random;

#[test]
fn random_renderings_are_accepted() {
    let mesh = Mesh::shared();
    let folder = tempfile::tempdir().unwrap();
    let (mut rendered, mut spaces) = (Vec::new(), BTreeSet::new());
    for seed in 1000..1300 {
        let case = random::case(seed);
        let file = folder.path().join("experiments.json");
        fs::write(&file, case.experiments.to_string()).unwrap();
        let run = Command::new(artifact::cli())
            .args(["render", "istio"])
            .arg(&file)
            .args(&case.options)
            .output()
            .unwrap();
        if !run.status.success() {
            continue;
        }
        let text = String::from_utf8(run.stdout).unwrap();
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        spaces.extend(
            objects
                .iter()
                .filter_map(|object| object["metadata"]["namespace"].as_str().map(str::to_owned)),
        );
        rendered.push((seed, text));
        if rendered.len() == 100 {
            break;
        }
    }
    assert!(rendered.len() >= 100, "render refuses nearly everything: {}", rendered.len());
    for space in spaces {
        // Other tests may have created it.
        let _ = mesh.kubectl(&["create", "namespace", &space]);
    }
    let refused: Vec<String> = rendered
        .iter()
        .filter_map(|(seed, text)| {
            let applied = mesh.try_apply(text, &["--dry-run=server"]).unwrap();
            (!applied.accepted).then(|| format!("seed {seed}: {applied:?}"))
        })
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}
