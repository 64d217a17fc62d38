//! The chart of `render helm`, by the real helm, on the real API server.

use std::process::Output;

use serde_json::{Value, json};
use sidetrack_tests::mesh::Mesh;
use sidetrack_tests::world::sidetrack_command;

use crate::stand::{Stand, experiment};

fn helm(mesh: &Mesh, arguments: &[&str]) -> Output {
    mesh.command("helm").unwrap().args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn done(mesh: &Mesh, arguments: &[&str]) -> String {
    let output = helm(mesh, arguments);
    assert!(output.status.success(), "helm {}\n{}", arguments.join(" "), text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The objects of a stream of manifests, by kind and name.
fn objects(manifests: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(manifests).unwrap();
    let mut all: Vec<Value> = all.into_iter().filter(|object| !object.is_null()).collect();
    all.iter_mut().for_each(doubles);
    all.sort_by_key(|object| format!("{}/{}", object["kind"], object["metadata"]["name"]));
    all
}

/// Helm writes large numbers with an exponent.
fn doubles(value: &mut Value) {
    match value {
        Value::Number(number) => *value = number.as_f64().unwrap().into(),
        Value::Array(items) => items.iter_mut().for_each(doubles),
        Value::Object(fields) => fields.values_mut().for_each(doubles),
        _ => {}
    }
}

/// An experiment with everything that a release may change.
fn rich(weight: f64) -> Value {
    json!({
        "experiments": [{
            "name": "financial-ab-test", "salt": "0123",
            "match": {"hosts": ["predictor.example.com"], "path": {"prefix": "/v2/models"}},
            "unit": [{"header": "x-user-id"}, {"cookie": "on"}], "baseline": "old",
            "variants": [
                {"name": "old", "cluster": "old"},
                {
                    "name": "new", "cluster": "new", "weight": weight, "reserve": 50,
                    "request_headers": {"x-a": "{{ yes }}", "x-b": "\"é\" # no"},
                },
            ],
            "breaker": {"error_rate": 2.5, "min_requests": 1_000_000, "slow": {"over": "200ms", "rate": 5}},
            "mirror": {"cluster": "copies", "percent": 10},
            "overrides": {"header": "x-choose", "units": {"null": "new", "2026-11-23": "old"}},
        }],
        "settings": {"exposure_unit": "none"},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chart_is_what_render_istio_writes() {
    let mesh = Mesh::shared();
    let folder = mesh.folder().join("charts");
    let file = mesh.file("chart.json", &rich(30.0).to_string()).unwrap();
    let digest = "0a".repeat(32);
    for (index, options) in [
        vec!["--gateway", "ingress/predictors", "--namespace", "models", "--port", "8080"],
        vec![
            "--gateway",
            "ingress/predictors",
            "--service",
            "predictor",
            "--kind",
            "trafficextension",
        ],
        vec![
            "--topology",
            "sidecar",
            "--selector",
            "app=frontend",
            "--port",
            "8080",
            "--host",
            "predictor",
            "--sha256",
            &digest,
        ],
        vec![
            "--topology",
            "waypoint",
            "--host",
            "predictor",
            "--port",
            "8080",
            "--pull-secret",
            "registry",
        ],
        vec![
            "--gateway",
            "ingress/predictors",
            "--no-guard",
            "--fail-strategy",
            "reload",
            "--service",
            "predictor",
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let chart = folder.join(index.to_string());
        let chart = chart.to_str().unwrap();
        sidetrack_command(&[&["render", "helm", &file, "--out", chart], &options[..]].concat())
            .unwrap();
        done(mesh, &["lint", "--strict", chart]);
        // The defaults, and a file with other weights, limits and settings.
        for weight in [30.0, 12.3456] {
            let mut changed = rich(weight);
            changed["experiments"][0]["enabled"] = (weight > 20.0).into();
            let values = mesh.file("values.json", &changed.to_string()).unwrap();
            let expected =
                sidetrack_command(&[&["render", "istio", &values], &options[..]].concat()).unwrap();
            let written = done(mesh, &["template", "ab", chart, "-f", &values]);
            assert_eq!(objects(&written), objects(&expected), "{options:?}");
        }
        let expected =
            sidetrack_command(&[&["render", "istio", &file], &options[..]].concat()).unwrap();
        assert_eq!(
            objects(&done(mesh, &["template", "ab", chart])),
            objects(&expected),
            "{options:?}"
        );
        // A file without settings is not merged with the chart's own.
        let mut bare = rich(30.0);
        bare.as_object_mut().unwrap().remove("settings");
        let values = mesh.file("bare.json", &bare.to_string()).unwrap();
        let expected =
            sidetrack_command(&[&["render", "istio", &values], &options[..]].concat()).unwrap();
        let written = done(mesh, &["template", "ab", chart, "-f", &values]);
        assert_eq!(objects(&written), objects(&expected), "{options:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_installed_upgraded_rolled_back_and_removed() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let first = experiment(30.0);
    let file = mesh.file(&format!("{}-first.json", stand.models), &first.to_string()).unwrap();
    let chart = mesh.folder().join(format!("chart-{}", stand.models));
    let chart = chart.to_str().unwrap();
    let (gateway, selector) =
        (format!("{}/predictors", stand.ingress), format!("istio={}", stand.ingress));
    let options = [
        "--namespace",
        &stand.models,
        "--service",
        "predictor",
        "--port",
        "8080",
        "--url",
        mesh.image(),
    ];
    let place = [
        "--gateway",
        &gateway,
        "--selector",
        &selector,
        "--host",
        crate::stand::HOST,
        "--name",
        "ab",
    ];
    sidetrack_command(&[&["render", "helm", &file, "--out", chart], &options[..], &place].concat())
        .unwrap();
    let namespace = ["-n", stand.models.as_str()];
    let notes = done(mesh, &[&["install", "ab", chart], &namespace[..]].concat());
    let next = format!("kubectl sidetrack status -n {} --name ab", stand.ingress);
    assert!(notes.contains(&next), "{notes}");
    let proxy = stand.gateway();
    stand.in_force(&proxy, &first).await;

    // The experiment file is the values.
    let second = experiment(40.0);
    let values = mesh.file(&format!("{}-second.json", stand.models), &second.to_string()).unwrap();
    let upgrade =
        |more: &[&str]| helm(mesh, &[&["upgrade", "ab", chart], &namespace[..], more].concat());
    let upgraded = upgrade(&["-f", &values, "--set", "labels.team=forecast"]);
    assert!(upgraded.status.success(), "{}", text(&upgraded));
    stand.in_force(&proxy, &second).await;
    let plugin = mesh.get("wasmplugin", &stand.ingress, "ab").unwrap();
    assert_eq!(plugin["metadata"]["labels"]["team"], "forecast", "{plugin:#}");

    // Refused values leave the release and the object as they were.
    for (path, value, message) in [
        ("/experiments/0/variants/1/weight", json!(130), "/experiments/0/variants/1/weight"),
        ("/experiments/0/variants/1/wait", json!(1), "additional properties 'wait' not allowed"),
        ("/experiments/0/variants/1/name", json!("other"), "but the routes of this chart are for"),
        ("/experiments/0/match", json!({"methods": ["POST"]}), "experiments[0].match is"),
        ("/experiments/0/unit", json!([{"body": "/user"}]), "cannot wait for in Istio"),
    ] {
        let mut wrong = second.clone();
        let (parent, key) = path.rsplit_once('/').unwrap();
        wrong.pointer_mut(parent).unwrap()[key] = value;
        let values =
            mesh.file(&format!("{}-wrong.json", stand.models), &wrong.to_string()).unwrap();
        let refused = upgrade(&["-f", &values]);
        assert!(!refused.status.success(), "{path}");
        assert!(text(&refused).contains(message), "{path}: {}", text(&refused));
    }
    let history = done(mesh, &[&["history", "ab", "-o", "json"], &namespace[..]].concat());
    let history: Value = serde_json::from_str(&history).unwrap();
    assert_eq!(history.as_array().unwrap().len(), 2, "{history:#}");

    done(mesh, &[&["rollback", "ab", "1"], &namespace[..]].concat());
    stand.in_force(&proxy, &first).await;
    done(mesh, &[&["uninstall", "ab"], &namespace[..]].concat());
    assert!(mesh.get("wasmplugin", &stand.ingress, "ab").is_err());
}

/// With `advance.enabled`, the chart also has the Deployment of `sidetrack advance`, which the API server accepts.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_has_a_deployment_that_advances_its_candidate() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let file = mesh.file(&format!("{}-first.json", stand.models), &experiment(30.0).to_string());
    let (file, chart) = (file.unwrap(), mesh.folder().join(format!("advance-{}", stand.models)));
    let chart = chart.to_str().unwrap();
    let gateway = format!("{}/predictors", stand.ingress);
    let place = ["--gateway", &gateway, "--host", crate::stand::HOST, "--name", "ab"];
    let more = ["--namespace", &stand.models, "--kind", "trafficextension", "--out", chart];
    sidetrack_command(&[&["render", "helm", &file], &place[..], &more].concat()).unwrap();
    let values = json!({
        "labels": {"team": "forecast"},
        "advance": {
            "enabled": true, "image": "registry.example.com/sidetrack-cli:1", "replicas": 2,
            "store": "https://store.models:8088", "storeTokenSecret": "store-token",
            "prometheus": "http://prometheus:9090", "ready": "sum(up{job=\"a b\"})",
        },
    });
    let values = mesh.file(&format!("{}-advance.json", stand.models), &values.to_string()).unwrap();
    done(mesh, &["lint", "--strict", chart, "-f", &values]);
    let namespace = ["-n", stand.models.as_str()];
    let install = ["install", "ab", chart, "-f", &values];
    done(mesh, &[&install[..], &namespace, &["--dry-run=server"]].concat());
    done(mesh, &[&install[..], &namespace].concat());
    let name = "sidetrack-advance-ab";
    let pod = mesh.get("deployment", &stand.ingress, name).unwrap()["spec"]["template"].clone();
    let container = &pod["spec"]["containers"][0];
    let arguments: Vec<&str> =
        container["args"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let name_of = "--name=trafficextension/ab";
    for argument in [name_of, "--force-conflicts", "--ready=sum(up{job=\"a b\"})", "--every=5m"] {
        assert!(arguments.contains(&argument), "no {argument} in {arguments:?}");
    }
    // The command takes these arguments: it fails for want of a cluster.
    let started = std::process::Command::new(sidetrack_tests::artifact::cli())
        .args(&arguments)
        .args(["--kubeconfig", "/dev/null"])
        .env("PATH", "/nowhere")
        .output()
        .unwrap();
    assert!(text(&started).contains("cannot run kubectl"), "{}", text(&started));
    assert_eq!(pod["metadata"]["labels"]["team"], "forecast");
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
    let role = mesh.get("role", &stand.ingress, name).unwrap();
    assert_eq!(role["rules"][0]["resources"], json!(["trafficextensions"]));
    assert_eq!(role["rules"][0]["resourceNames"], json!(["ab"]));

    // What cannot work is refused with a sentence.
    for (set, message) in [
        ("advance.image=", "advance.image is missing"),
        ("advance.store=,advance.prometheus=", "advance.store is missing"),
        ("advance.every=often", "every"),
        ("advance.weight=1", "additional properties 'weight' not allowed"),
    ] {
        let refused = helm(mesh, &["template", "ab", chart, "-f", &values, "--set", set]);
        assert!(!refused.status.success(), "{set}");
        assert!(text(&refused).contains(message), "{set}: {}", text(&refused));
    }
    done(mesh, &[&["uninstall", "ab"], &namespace[..]].concat());
}
