//! The API server with istiod's webhook takes random renderings of each command, or `render` refuses them first.
//!
//! `corpora.rs` asks Istio's code directly; here the answers come through `kubectl apply
//! --dry-run=server`, also those about the kinds of Envoy Gateway.

use std::collections::BTreeSet;

use serde_json::Value;
use sidetrack_tests::mesh::{Mesh, program};

use crate::random;

/// How many renderings of each command.
const EACH: usize = 25;

#[test]
fn random_renderings_are_accepted() {
    let mesh = Mesh::shared();
    // Those of Istio and the Gateway API are there.
    let definitions =
        program("envoy-gateway").unwrap().with_file_name("../share/envoy-gateway.yaml");
    mesh.kubectl(&["apply", "--server-side", "-f", &definitions.to_string_lossy()]).unwrap();
    mesh.kubectl(&["wait", "--for=condition=established", "--timeout=60s", "crd", "--all"])
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (mut rendered, mut spaces) = (Vec::new(), BTreeSet::new());
    let mut numbers = random::COMMANDS.map(|(command, _)| (command, 0));
    for seed in 1000..1800 {
        let case = random::case(seed);
        let number =
            &mut numbers.iter_mut().find(|(command, _)| *command == case.command).unwrap().1;
        if *number == EACH {
            continue;
        }
        let Ok(text) = case.render(folder.path()) else { continue };
        *number += 1;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        spaces.extend(
            objects
                .iter()
                .filter_map(|object| object["metadata"]["namespace"].as_str().map(str::to_owned)),
        );
        rendered.push((seed, case, text));
    }
    assert_eq!(numbers.map(|(_, number)| number), [EACH; 4], "render refuses nearly everything");
    for space in spaces {
        // Other tests may have created it.
        let _ = mesh.kubectl(&["create", "namespace", &space]);
    }
    let refused: Vec<String> = rendered
        .iter()
        .filter_map(|(seed, case, text)| {
            let applied = mesh.try_apply(text, &["--dry-run=server"]).unwrap();
            (!applied.accepted).then(|| format!("seed {seed}: {applied:?}\n{case:?}"))
        })
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}
