//! What `render argo-rollouts` and `render flagger` write, against the definitions of both projects.

use serde_json::{Value, json};
use sidetrack_tests::mesh::{Mesh, share};
use sidetrack_tests::world::sidetrack_command;

/// Everything that changes the metrics: an enforced breaker with a latency limit, a dry run, a layer, no breaker.
fn experiments() -> Value {
    let one = |name: &str, more: Value| {
        let mut experiment = json!({
            "name": name, "unit": [{"header": "x-user-id"}], "baseline": "old",
            "variants": [{"name": "old"}, {"name": format!("New_{name}"), "weight": 30}],
            "match": {"hosts": [format!("{}.example.com", name.to_lowercase())]},
        });
        experiment.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        experiment
    };
    json!({"experiments": [
        one("Slow.1", json!({"breaker": {"slow": {"over": "200ms", "rate": 5}}})),
        one("dry", json!({"breaker": {"mode": "dry_run"}})),
        one("layered", json!({"layer": {"name": "all", "from": 0, "to": 50}, "breaker": {"mode": "disabled"}})),
    ]})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_definitions_of_argo_rollouts_and_flagger_accept_the_objects() {
    let mesh = Mesh::shared();
    let namespace = mesh.namespace("delivery").unwrap();
    for definitions in ["argo-rollouts.yaml", "flagger.yaml"] {
        let file = share(definitions).unwrap();
        mesh.kubectl(&["apply", "--server-side", "-f", file.to_str().unwrap()]).unwrap();
    }
    mesh.kubectl(&["wait", "--for=condition=established", "--timeout=60s", "crd", "--all"])
        .unwrap();
    let file = mesh.file("delivery.json", &experiments().to_string()).unwrap();
    for (target, kind, more, number) in [
        ("argo-rollouts", "analysistemplates.argoproj.io", ["--count", "10"], 3),
        ("flagger", "metrictemplates.flagger.app", ["--secret", "prometheus"], 11),
    ] {
        let rendered = sidetrack_command(
            &[&["render", target, &file, "--namespace", &namespace], &more[..]].concat(),
        )
        .unwrap();
        let warnings = mesh.apply(&rendered).unwrap();
        assert_eq!(warnings, "", "{rendered}");
        let list: Value = serde_json::from_str(
            &mesh.kubectl(&["get", kind, "-n", &namespace, "-o", "json"]).unwrap(),
        )
        .unwrap();
        assert_eq!(list["items"].as_array().unwrap().len(), number, "{list:#}");
        // The API server looks: strict checks refuse another field, and the schema another type.
        for (from, to) in [("query:", "qwery:"), ("address: ", "address: 17 #")] {
            let broken = rendered.replace(from, to);
            assert!(
                !mesh.try_apply(&broken, &["--dry-run=server"]).unwrap().accepted,
                "{target}: {to}"
            );
        }
    }
}
