//! From Seldon's Experiment and back. The manifests are our own; Seldon's are under its licence.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SPLIT: &str = "apiVersion: mlops.seldon.io/v1alpha1
kind: Experiment
metadata:
  name: iris-test
  namespace: seldon-mesh
spec:
  default: iris
  candidates:
    - {name: iris, weight: 50}
    - {name: iris2, weight: 50}
";

fn import(manifest: &str, more: &[&str]) -> Output {
    run(&[&["import", "seldon", "-"], more].concat(), manifest.as_bytes())
}

fn file(manifest: &str, more: &[&str]) -> Value {
    let output = import(manifest, more);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    serde_saphyr::from_str(stdout(&output)).unwrap()
}

fn export(file: &str, more: &[&str]) -> Output {
    run(&[&["export", "seldon", "-"], more].concat(), file.as_bytes())
}

fn manifest(file: &str, more: &[&str]) -> Value {
    let output = export(file, more);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let manifest = serde_saphyr::from_str(stdout(&output)).unwrap();
    conforms(&manifest);
    manifest
}

/// The shape that Seldon's CustomResourceDefinition demands, and the rules of its scheduler: whole numbers that fit into
/// 32 bits, no model twice, a default that is a candidate. No key that the API server would drop.
fn conforms(manifest: &Value) {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let within = |value: &Value, needed: &[&str], allowed: &[&str]| {
        let keys = keys(value);
        assert!(keys.iter().all(|key| allowed.contains(&key.as_str())), "{keys:?}");
        assert!(needed.iter().all(|key| value.get(key).is_some()), "{keys:?}");
    };
    within(
        manifest,
        &["apiVersion", "kind", "metadata", "spec"],
        &["apiVersion", "kind", "metadata", "spec"],
    );
    assert_eq!(manifest["apiVersion"], "mlops.seldon.io/v1alpha1");
    assert_eq!(manifest["kind"], "Experiment");
    within(&manifest["metadata"], &["name"], &["name", "namespace"]);
    let spec = &manifest["spec"];
    within(spec, &["candidates"], &["candidates", "default", "mirror", "resourceType"]);
    let whole = |value: &Value| i32::try_from(value.as_i64().unwrap()).unwrap() >= 0;
    let mut names: Vec<&str> = Vec::new();
    for candidate in spec["candidates"].as_array().unwrap() {
        within(candidate, &["name", "weight"], &["name", "weight"]);
        assert!(whole(&candidate["weight"]));
        names.push(candidate["name"].as_str().unwrap());
    }
    assert!(names.contains(&spec["default"].as_str().unwrap()), "{spec}");
    if let Some(mirror) = spec.get("mirror") {
        within(mirror, &["name", "percent"], &["name", "percent"]);
        assert!(whole(&mirror["percent"]));
        names.push(mirror["name"].as_str().unwrap());
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a model twice: {spec}");
    assert!(spec.get("resourceType").is_none_or(|kind| kind == "model" || kind == "pipeline"));
}

#[test]
fn a_split_becomes_a_file_and_what_stays_behind_is_named() {
    let output =
        import(SPLIT, &["--clusters", "iris=iris-v1,iris2=iris-v2", "--unit", "cookie:session_id"]);
    snapshot("import_seldon", format!("{}--- stderr\n{}", stdout(&output), stderr(&output)));
    assert_eq!(code(&run(&["check", "-"], &output.stdout)), 0);
}

#[test]
fn what_seldon_does_not_say_is_asked_for() {
    let said = |manifest: &str, more: &[&str], asked: &str| {
        let output = import(manifest, more);
        assert_eq!((code(&output), stdout(&output)), (2, ""), "{}", stderr(&output));
        assert!(stderr(&output).contains(asked), "{}", stderr(&output));
    };
    said(SPLIT, &[], "--clusters iris=CLUSTER,iris2=CLUSTER");
    said(SPLIT, &["--clusters", "iris=a"], "--clusters iris2=CLUSTER");
    said(SPLIT, &["--clusters", "irsi=a"], "did you mean \"iris\"?");
    said(SPLIT, &["--clusters", "iris=a,iris=b"], "\"iris\" is given twice");
    let open = SPLIT.replace("  default: iris\n", "");
    said(&open, &["--tag-only"], "--baseline with one of: iris, iris2");
    said(&open, &["--tag-only", "--baseline", "iris3"], "unknown model \"iris3\"");
    assert_eq!(
        file(&open, &["--tag-only", "--baseline", "iris2"])["experiments"][0]["baseline"],
        "iris2"
    );
}

#[test]
fn an_option_that_makes_the_file_invalid_is_refused() {
    for (options, problem) in [
        (["--tag-only", "--unit", "header:x id"], "[bad-header]"),
        (["--tag-only", "--unit", "body:user"], "experiments[0].unit[0].body"),
        (["--tag-only", "--salt", ""], "experiments[0].salt"),
    ] {
        let output = import(SPLIT, &options);
        assert_eq!((code(&output), stdout(&output)), (1, ""), "{options:?}");
        assert!(stderr(&output).contains(problem), "{}", stderr(&output));
    }
}

#[test]
fn options_end_up_in_the_file() {
    let file = file(
        SPLIT,
        &["--tag-only", "--unit", "header:x-id", "--unit", "body:/user", "--salt", "yes"],
    );
    let experiment = &file["experiments"][0];
    assert_eq!(experiment["unit"], json!([{"header": "x-id"}, {"body": "/user"}]));
    assert_eq!(experiment["salt"], "yes");
    assert!(experiment["variants"][0].get("cluster").is_none());
    let random = &self::file(SPLIT, &["--tag-only", "--per-request"])["experiments"][0];
    assert_eq!(random["assignment"], "request_random");
    assert!(random.get("unit").is_none());
}

#[test]
fn weights_become_percent_and_rounding_is_said() {
    let weights = |weights: &[u32]| {
        let mut text = SPLIT.split("    - ").next().unwrap().to_owned();
        for (i, weight) in weights.iter().enumerate() {
            let name = if i == 0 { "iris".to_owned() } else { format!("m{i}") };
            text += &format!("    - {{name: {name}, weight: {weight}}}\n");
        }
        let output = import(&text, &["--tag-only"]);
        let file: Value = serde_saphyr::from_str(stdout(&output)).unwrap();
        let variants = file["experiments"][0]["variants"].as_array().unwrap().clone();
        let found: Vec<f64> =
            variants.iter().skip(1).map(|v| v["weight"].as_f64().unwrap()).collect();
        (found, stderr(&output).contains("rounded"))
    };
    assert_eq!(weights(&[70, 30]), (vec![30.0], false));
    assert_eq!(weights(&[999, 1]), (vec![0.1], false));
    assert_eq!(weights(&[2, 1]), (vec![33.3333], true));
    assert_eq!(weights(&[1, 2]), (vec![66.6667], true));
    assert_eq!(weights(&[1, 1, 1]), (vec![33.3333, 33.3333], true));
    assert_eq!(weights(&[0, 1, 0]), (vec![100.0, 0.0], false));
    assert_eq!(weights(&[u32::MAX, u32::MAX, u32::MAX]), (vec![33.3333, 33.3333], true));
}

#[test]
fn a_mirror_alone_becomes_a_candidate_without_weight_and_comes_back() {
    let text = SPLIT
        .replace("    - {name: iris2, weight: 50}\n", "  mirror: {name: iris2, percent: 100}\n");
    let output = import(&text, &["--clusters", "iris=a,iris2=b"]);
    assert!(notes(&output).contains("\"iris2\" is one, with weight 0"), "{}", stderr(&output));
    let file: Value = serde_saphyr::from_str(stdout(&output)).unwrap();
    assert_eq!(
        file["experiments"][0]["variants"][1],
        json!({"name": "iris2", "cluster": "b", "weight": 0})
    );
    assert_eq!(file["experiments"][0]["mirror"], json!({"cluster": "b", "percent": 100}));
    let back = manifest(stdout(&output), &[]);
    assert_eq!(back["spec"]["candidates"], json!([{"name": "iris", "weight": 100}]));
    assert_eq!(back["spec"]["mirror"], json!({"name": "iris2", "percent": 100}));
}

#[test]
fn every_mistake_of_a_manifest_is_told() {
    let text = "apiVersion: mlops.seldon.io/v1alpha1
kind: Experiment
metadata: {labels: {}}
spec:
  default: irsi
  candidates:
    - {name: iris, weight: 1.5}
    - {name: iris, weight: -1}
    - {nam: iris2, weight: \"3\"}
    - {name: a b, weight: 3}
  candidate: []
  mirror: {name: m, percent: 101}
  resourceType: modle
";
    let output = import(text, &[]);
    assert_eq!(code(&output), 1);
    snapshot("import_seldon_problems", stderr(&output));
    let problems = [
        ("{name: iris2, weight: 50}", "{name: iris, weight: 50}", "found \"iris\" a second time"),
        ("default: iris", "default: irsi", "did you mean \"iris\"?"),
        ("spec:", "spec:\n  mirror: {name: iris2, percent: 1}", "which is a candidate"),
        ("weight: 50", "weight: 0", "all weights are 0"),
        ("    - {name: iris2, weight: 50}\n", "", "neither a second candidate nor a mirror"),
        ("kind: Experiment", "kind: Model", "kind Model; allowed: apiVersion"),
        (
            "mlops.seldon.io/v1alpha1\nkind: Experiment",
            "machinelearning.seldon.io/v1\nkind: SeldonDeployment",
            "Core v1",
        ),
        ("spec:", "spec: &a\n  <<: *b", "syntax"),
    ];
    for (good, bad, said) in problems {
        let output = import(&SPLIT.replace(good, bad), &["--tag-only"]);
        assert_eq!((code(&output), stdout(&output)), (1, ""), "{bad}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{bad}: {}", stderr(&output));
    }
    assert_eq!(code(&import(SPLIT, &["--clusters", "iris=a b,iris2=c"])), 1);
}

#[test]
fn what_seldon_cannot_say_is_named_and_strict_stops() {
    let at = ["--at", "2026-11-23T10:30:00Z"];
    let text = std::fs::read_to_string(data().join("full.yaml")).unwrap();
    let output = export(&text, &at);
    assert_eq!(code(&output), 0);
    snapshot("export_seldon_full", format!("{}--- stderr\n{}", stdout(&output), stderr(&output)));
    conforms(&serde_saphyr::from_str(stdout(&output)).unwrap());
    let strict = export(&text, &[&at[..], &["--strict"]].concat());
    assert_eq!((code(&strict), stdout(&strict)), (1, ""), "{}", stderr(&strict));
    let sayable = r#"{"experiments": [{"name": "e", "assignment": "request_random", "baseline": "a",
        "breaker": {"mode": "disabled"}, "variants": [{"name": "a"}, {"name": "b", "weight": 30}]}]}"#;
    let strict = export(sayable, &["--strict"]);
    assert_eq!((code(&strict), stderr(&strict)), (0, ""));
}

#[test]
fn each_loss_has_a_line() {
    let base = json!({"name": "e", "assignment": "request_random", "baseline": "a", "breaker": {"mode": "disabled"},
        "variants": [{"name": "a", "cluster": "ca"}, {"name": "b", "cluster": "cb", "weight": 30}]});
    let lost = |change: &dyn Fn(&mut Value)| {
        let mut experiment = base.clone();
        change(&mut experiment);
        let output = export(&json!({"experiments": [experiment]}).to_string(), &[]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        notes(&output)
    };
    assert_eq!(lost(&|_| {}), "");
    let cases: [(&str, Value, &str); 9] = [
        ("enabled", json!(false), "e: enabled is not"),
        ("salt", json!("x"), "e: salt is not"),
        ("match", json!({"methods": ["POST"]}), "e: match is not exported: POST"),
        ("breaker", json!({}), "e: breaker is not"),
        ("layer", json!({"name": "l", "from": 0, "to": 50}), "e: layer is not"),
        ("overrides", json!({"header": "x-choose"}), "e: overrides is not"),
        (
            "mirror",
            json!({"cluster": "m", "percent": 12.5}),
            "e: mirror.percent is not exported: 12.5 %",
        ),
        ("mirror", json!({"cluster": "cb"}), "e: mirror is not exported: \"b\" is also a variant"),
        ("mirror", json!({"cluster": "ca"}), "e: mirror is not exported: \"a\" is also a variant"),
    ];
    for (key, value, line) in cases {
        let said = lost(&|experiment| experiment[key] = value.clone());
        assert!(said.contains(line) && said.lines().count() == 1, "{key}: {said}");
    }
    let reserve = lost(&|experiment| experiment["variants"][1]["reserve"] = json!(50));
    assert!(reserve.contains("e: variants[1].reserve is not exported: 50 %"), "{reserve}");
    let hashed = lost(&|experiment| {
        experiment["assignment"] = json!("user_hash");
        experiment["unit"] = json!([{"cookie": "c", "mint": {"max_age": "1d"}}]);
        experiment["missing_unit"] = json!("skip");
    });
    for key in ["unit", "missing_unit", "unit[].mint"] {
        assert!(hashed.contains(&format!("e: {key} is not")), "{hashed}");
    }
    let settings =
        json!({"experiments": [base.clone()], "settings": {"exposure_unit": "plain"}}).to_string();
    assert!(stderr(&export(&settings, &[])).contains("e: settings is not"));
}

#[test]
fn names_that_kubernetes_refuses_are_refused() {
    let text = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "Old",
        "variants": [{"name": "Old", "cluster": "c-old"}, {"name": "new", "cluster": "c-new", "weight": 0.5}]}]}"#;
    let output = export(text, &[]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("a variant's name is \"Old\", but a name in Kubernetes"),
        "{}",
        stderr(&output)
    );
    let renamed = manifest(
        text,
        &["--models", "old=c-old", "--namespace", "mesh", "--resource-type", "pipeline"],
    );
    assert_eq!(renamed["spec"]["default"], "old");
    assert_eq!(renamed["spec"]["resourceType"], "pipeline");
    assert_eq!(renamed["metadata"]["namespace"], "mesh");
    assert_eq!(
        renamed["spec"]["candidates"],
        json!([{"name": "old", "weight": 995}, {"name": "new", "weight": 5}])
    );
    assert_eq!(code(&export(text, &["--models", "old=c-old", "--namespace", "Mesh"])), 1);
    assert_eq!(code(&export(text, &["--models", "x=c-old,x=c-new"])), 1);
    assert_eq!(code(&export(text, &["--experiment", "f"])), 1);
    assert_eq!(code(&export(&text.replace("\"e\"", "\"e_f\""), &["--models", "old=c-old"])), 1);
}

#[test]
fn several_experiments_are_several_documents() {
    let text = std::fs::read_to_string(data().join("two.yaml")).unwrap();
    let output = export(&text, &[]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let documents: Vec<&str> = stdout(&output).split("---\n").collect();
    assert_eq!(documents.len(), 2, "{}", stdout(&output));
    documents.iter().for_each(|document| conforms(&serde_saphyr::from_str(document).unwrap()));
}

/// What both can say: names, clusters, a baseline, weights to four decimals, a mirror with a whole percentage.
fn common() -> impl Strategy<Value = Value> {
    let name = "[a-z]([a-z0-9-]{0,8}[a-z0-9])?";
    let names = proptest::collection::btree_set(name, 3..6);
    (names, proptest::collection::vec(0u32..=250_000, 5), proptest::option::of(0u32..=100), any::<prop::sample::Index>())
        .prop_map(|(names, weights, mirror, baseline)| {
            let mut names: Vec<String> = names.into_iter().collect();
            let mirror = mirror.map(|percent| (names.pop().unwrap(), percent));
            let baseline = names[baseline.index(names.len())].clone();
            let variants = names.iter().zip(&weights).map(|(name, weight)| {
                let mut variant = json!({"name": name, "cluster": format!("c-{name}")});
                if *name != baseline {
                    variant["weight"] = json!(f64::from(*weight) / 10_000.0);
                }
                variant
            });
            let variants: Vec<Value> = variants.collect();
            let mut experiment = json!({"name": "e", "unit": [{"header": "x-user-id"}], "baseline": baseline, "variants": variants});
            if let Some((name, percent)) = mirror {
                experiment["mirror"] = json!({"cluster": format!("c-{name}"), "percent": percent});
            }
            json!({"experiments": [experiment]})
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_both_can_say_comes_back_exactly(file in common()) {
        let experiment = &file["experiments"][0];
        let clusters = experiment["variants"].as_array().unwrap().iter().map(|variant| &variant["cluster"]);
        let clusters = clusters.chain(experiment.get("mirror").map(|mirror| &mirror["cluster"]));
        let clusters: Vec<String> = clusters
            .map(|cluster| {
                let cluster = cluster.as_str().unwrap();
                format!("{}={cluster}", cluster.strip_prefix("c-").unwrap())
            })
            .collect();
        let clusters = clusters.join(",");
        let exported = export(&file.to_string(), &["--models", &clusters]);
        prop_assert_eq!(code(&exported), 0, "{}", stderr(&exported));
        conforms(&serde_saphyr::from_str(stdout(&exported)).unwrap());
        let imported = import(stdout(&exported), &["--clusters", &clusters]);
        prop_assert_eq!(code(&imported), 0, "{}", stderr(&imported));
        let hash = |text: &[u8]| json(&["check", "-", "--json"], text)["hash"].clone();
        prop_assert_eq!(hash(&imported.stdout), hash(file.to_string().as_bytes()), "{}", stdout(&imported));
    }
}
