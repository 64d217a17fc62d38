//! From KServe's services.

use serde_json::{Value, json};

use super::*;

const CANARY: &str = "
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: iris
  namespace: models
  annotations: {serving.kserve.io/deploymentMode: Standard}
spec:
  predictor:
    model: {modelFormat: {name: sklearn}, protocolVersion: v2, storageUri: 'gs://models/1'}
  canary:
  - trafficPercent: 25
    predictor: {name: v2, model: {storageUri: 'gs://models/2'}}
  - trafficPercent: 0
    predictor: {name: next}
status:
  url: http://iris-models.example.com
";

const KNATIVE: &str = "
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: iris
  namespace: models
  annotations: {serving.kserve.io/enable-tag-routing: 'true'}
spec:
  predictor: {canaryTrafficPercent: 10, model: {modelFormat: {name: sklearn}}}
status: {deploymentMode: Serverless}
";

const TWO: &str = "
apiVersion: v1
kind: List
items:
- apiVersion: serving.kserve.io/v1beta1
  kind: InferenceService
  metadata: {name: iris, namespace: models}
  spec: {predictor: {model: {modelFormat: {name: sklearn}}}}
- apiVersion: serving.kserve.io/v1beta1
  kind: InferenceService
  metadata: {name: iris-2, namespace: models}
  spec: {predictor: {model: {modelFormat: {name: sklearn}}}, transformer: {containers: []}}
";

const LLM: &str = "
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceService
metadata: {name: llama, namespace: llm}
spec: {router: {route: {group: chat, weight: 3}}}
---
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceService
metadata: {name: llama-next, namespace: llm}
spec: {router: {route: {group: chat, weight: 1}}}
";

fn import(manifests: &str, more: &[&str]) -> Output {
    run(&[&["import", "kserve", "-"], more].concat(), manifests.as_bytes())
}

/// The only experiment of the file, and the notes.
fn experiment(manifests: &str, more: &[&str]) -> (Value, String) {
    let output = import(manifests, more);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(code(&run(&["check", "-"], &output.stdout)), 0, "{}", stdout(&output));
    let file: Value = serde_saphyr::from_str(stdout(&output)).unwrap();
    (file["experiments"][0].clone(), notes(&output))
}

#[test]
fn canaries_of_standard_mode_are_services() {
    let (experiment, notes) = experiment(CANARY, &[]);
    assert_eq!(experiment["baseline"], "stable");
    assert_eq!(
        experiment["variants"],
        json!([
            {"name": "stable", "cluster": "iris-predictor"},
            {"name": "v2", "cluster": "iris-v2-predictor", "weight": 25},
            {"name": "next", "cluster": "iris-next-predictor", "weight": 0},
        ])
    );
    assert_eq!(
        experiment["match"],
        json!({"hosts": ["iris-models.example.com"], "path": {"prefix": "/v2/models/iris/"}})
    );
    assert!(notes.contains("--namespace models --port 80"), "{notes}");
    assert!(notes.contains("spec.canary: KServe still splits requests"), "{notes}");
}

#[test]
fn a_promoted_canary_is_the_baseline() {
    let promoted =
        CANARY.replace("  predictor:\n    model", "  predictor:\n    name: v1\n    model");
    let (experiment, _) = experiment(&promoted, &[]);
    assert_eq!(experiment["variants"][0], json!({"name": "v1", "cluster": "iris-v1-predictor"}));
}

#[test]
fn revisions_of_knative_are_reached_by_their_tags() {
    let (experiment, notes) = experiment(KNATIVE, &[]);
    assert_eq!(
        experiment["variants"],
        json!([
            {"name": "prev", "cluster": "prev-iris-predictor"},
            {"name": "latest", "cluster": "latest-iris-predictor", "weight": 10},
        ])
    );
    assert_eq!(experiment["match"]["path"], json!({"exact": "/v1/models/iris:predict"}));
    assert!(
        notes.contains("--rewrite-host --through knative-local-gateway.istio-system:80"),
        "{notes}"
    );
}

#[test]
fn two_services_are_a_baseline_and_a_candidate_with_its_own_model_in_the_path() {
    let (experiment, notes) = experiment(TWO, &["--weight", "iris-2=12.5"]);
    assert_eq!(
        experiment["variants"],
        json!([
            {"name": "iris", "cluster": "iris-predictor"},
            {
                "name": "iris-2", "cluster": "iris-2-transformer", "weight": 12.5,
                "path": {"replace_prefix": ["/v1/models/iris", "/v1/models/iris-2"]},
            },
        ])
    );
    assert!(!notes.contains("KServe still splits"), "{notes}");
    let (swapped, notes) = super::kserve::experiment(TWO, &["--baseline", "iris-2"]);
    assert_eq!(swapped["baseline"], "iris-2");
    assert!(notes.contains("iris has no weight, so it has 0"), "{notes}");
}

#[test]
fn model_servers_of_a_group_have_pools() {
    let (experiment, notes) = experiment(LLM, &["--unit", "cookie:session"]);
    assert_eq!(
        experiment["variants"],
        json!([
            {"name": "llama", "cluster": "llama-inference-pool"},
            {"name": "llama-next", "cluster": "llama-next-inference-pool", "weight": 25},
        ])
    );
    assert_eq!(experiment["unit"], json!([{"cookie": "session"}]));
    assert!(notes.contains("--backend-kind inferencepool --beside ROUTE"), "{notes}");
}

#[test]
fn what_cannot_work_is_refused() {
    let no_tags = KNATIVE.replace("'true'", "'false'");
    let standard = KNATIVE.replace("Serverless", "Standard");
    let transformer = CANARY.replace("  canary:", "  transformer: {containers: []}\n  canary:");
    let alone = TWO.split("- apiVersion").take(2).collect::<Vec<_>>().join("- apiVersion");
    let groups = LLM.replacen("chat", "other", 1);
    for (manifests, more, expected) in [
        (no_tags.as_str(), &[][..], "serving.kserve.io/enable-tag-routing=true"),
        (&standard, &[], "canaryTrafficPercent of iris has no effect in Standard mode"),
        (CANARY, &["--mode", "knative"], "spec.canary of iris works in Standard mode only"),
        (&transformer, &[], "has a transformer, which calls the predictor by itself"),
        (&alone, &[], "neither spec.canary nor canaryTrafficPercent"),
        (&groups, &[], "in different groups"),
        (&format!("{TWO}---{LLM}"), &[], "mixes InferenceServices and LLMInferenceServices"),
        ("kind: Pod", &[], "found apiVersion \"\", kind \"Pod\""),
        ("experiments: []", &[], "already an experiment file"),
        (TWO, &["--weight", "irsi=3"], "unknown name \"irsi\"; expected one of: iris, iris-2"),
    ] {
        let output = import(manifests, more);
        assert_ne!(code(&output), 0, "{expected}");
        assert!(stderr(&output).contains(expected), "{expected}: {}", stderr(&output));
    }
}
