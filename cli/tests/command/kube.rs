//! `kubectl sidetrack`, with a stand-in for kubectl that answers from files. `tests/tests/mesh/` has the real one.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{json as run_json, *};

/// Answers `get TYPE` from TYPE.json, `get --raw PATH` from the file of the path's words, and writes down each call.
const KUBECTL: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 9
echo "$@" >> calls
while case "$1" in --*) true ;; *) false ;; esac; do shift; done
case "$1 $2" in
"get --raw") file=$(echo "$3" | tr -c 'a-zA-Z0-9\n' _) ;;
get\ *) file=$2.json ;;
"exec "*) file=exec_$4 ;;
esac
if [ -f "$file" ]; then cat "$file"; exit 0; fi
if [ -f "$file.error" ]; then cat "$file.error" >&2; exit 1; fi
case "$1 $2" in
get\ *-*raw) echo "Error from server (ServiceUnavailable): dial tcp 10.0.0.9:15090: i/o timeout" >&2 ;;
get\ *) echo "error: the server doesn't have a resource type \"${2%%.*}\"" >&2 ;;
*) echo 'error: unable to upgrade connection: container not found ("istio-proxy")' >&2 ;;
esac
exit 1
"#;

struct Cluster(TempDir);

impl Cluster {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("kubectl");
        std::fs::write(&program, KUBECTL).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn list(&self, resource: &str, items: &[Value]) -> &Self {
        self.file(&format!("{resource}.json"), &json!({"kind": "List", "items": items}).to_string())
    }

    fn file(&self, name: &str, text: &str) -> &Self {
        std::fs::write(self.0.path().join(name), text).unwrap();
        self
    }

    /// The metrics of a pod, as the API server passes them on.
    fn metrics(&self, pod: &str, text: &str) -> &Self {
        let path = format!(
            "/api/v1/namespaces/istio-ingress/pods/{pod}:15090/proxy/stats/prometheus?filter=ab_test_"
        );
        let name: String =
            path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        self.file(&name, text)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let path = std::env::join_paths(
            std::iter::once(self.0.path().to_owned())
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        Command::new(env!("CARGO_BIN_EXE_sidetrack"))
            .arg0("/usr/bin/kubectl-sidetrack")
            .args(arguments)
            .current_dir(data())
            .env("NO_COLOR", "1")
            .env("PATH", path.unwrap())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn seen(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = if output.stderr.is_empty() {
            String::new()
        } else {
            format!("--- stderr\n{}", stderr(&output))
        };
        format!(
            "$ kubectl sidetrack {}\n{}{errors}--- exit {}",
            arguments.join(" "),
            stdout(&output),
            code(&output)
        )
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    fn calls(&self) -> String {
        std::fs::read_to_string(self.0.path().join("calls")).unwrap()
    }
}

/// simple.yaml, as it is in a cluster that keeps numbers as doubles.
fn experiments() -> Value {
    json!({"experiments": [{
        "baseline": "old", "name": "forecast", "unit": [{"header": "x-user-id"}],
        "variants": [{"name": "old"}, {"name": "new", "weight": 30.0}],
    }]})
}

fn plugin(namespace: &str, name: &str, configuration: Value) -> Value {
    json!({
        "apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin",
        "metadata": {
            "name": name, "namespace": namespace, "generation": 3, "creationTimestamp": "2026-11-20T09:00:00Z",
            "managedFields": [
                {"manager": "helm", "time": "2026-11-22T09:00:00Z"},
                {"manager": "kubectl-client-side-apply", "time": "2026-11-23T09:00:00Z"},
                {"manager": "istiod", "time": "2026-11-24T09:00:00Z", "subresource": "status"},
            ],
        },
        "spec": {
            "url": "oci://registry.example.com/sidetrack:0.1.0", "pluginConfig": configuration,
            "selector": {"matchLabels": {"istio": "ingressgateway"}},
        },
    })
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "istio-ingress"}, "status": {"phase": "Running"}})
}

fn one(configuration: Value) -> Cluster {
    let cluster = Cluster::new();
    cluster.list(
        "wasmplugins.extensions.istio.io",
        &[plugin("istio-ingress", "sidetrack", configuration)],
    );
    cluster
}

/// A mesh in which everything is as it should be.
fn mesh() -> Cluster {
    let cluster = one(experiments());
    let destination =
        |subset: &str| json!([{"destination": {"host": "predictor", "subset": subset}}]);
    cluster
        .list("pods", &[pod("gw-0"), pod("gw-1")])
        .list("services", &[json!({"metadata": {"name": "predictor", "namespace": "models"}})])
        .list("destinationrules.networking.istio.io", &[json!({
            "metadata": {"name": "sidetrack", "namespace": "models"},
            "spec": {"host": "predictor.models.svc.cluster.local", "subsets": [{"name": "old"}, {"name": "new"}]},
        })])
        .list("envoyfilters.networking.istio.io", &[json!({
            "metadata": {"name": "sidetrack", "namespace": "istio-ingress"},
            "spec": {"configPatches": [{"patch": {"value": {"early_header_mutation_extensions": [{"remove": "x-ab-variant"}]}}}]},
        })])
        .list("virtualservices.networking.istio.io", &[json!({
            "metadata": {"name": "sidetrack", "namespace": "models"},
            "spec": {
                "hosts": ["predictor.example.com"], "gateways": ["istio-ingress/gateway"],
                "http": [
                    {"name": "new", "match": [{"headers": {"x-ab-variant": {"exact": "new"}}}], "route": destination("new")},
                    {"name": "baseline", "route": destination("old")},
                ],
            },
        })]);
    cluster
}

fn hash() -> String {
    let file = json!({"experiments": experiments()["experiments"]}).to_string();
    run_json(&["check", "-", "--json"], file.as_bytes())["hash"].as_str().unwrap().to_owned()
}

#[test]
fn explain_asks_the_live_experiment() {
    let cluster = mesh();
    snapshot("kube_explain", cluster.seen(&["explain", "--header", "x-user-id: 4711"]));
    let answer = cluster.json(&["explain", "--header", "x-user-id: 4711", "--json"]);
    let of_file =
        run_json(&["explain", "simple.yaml", "--header", "x-user-id: 4711", "--json"], b"");
    for key in ["served", "bucket", "reason"] {
        assert_eq!(answer[key], of_file[key], "{key}");
    }
}

#[test]
fn the_flags_for_the_connection_reach_every_call_of_kubectl() {
    let cluster = mesh();
    cluster.run(&["status", "--context", "prod", "-n", "istio-ingress", "--as=sre"]);
    cluster.run(&["--context=prod", "--as", "sre", "check"]);
    let calls = cluster.calls();
    assert!(calls.lines().count() > 10, "{calls}");
    for call in calls.lines() {
        assert!(call.starts_with("--context=prod --as=sre "), "{call}");
    }
    assert!(calls.contains("get wasmplugins.extensions.istio.io --output=json --show-managed-fields --namespace istio-ingress"));
    assert!(calls.contains(
        "get wasmplugins.extensions.istio.io --output=json --show-managed-fields --all-namespaces"
    ));
}

#[test]
fn plan_compares_the_live_experiment_with_a_file() {
    let cluster = mesh();
    let at = ["--at", "2026-11-23T10:30:00Z"];
    snapshot("kube_plan", cluster.seen(&["plan", "simple-grown.yaml", at[0], at[1]]));
    let report = cluster.json(&["plan", "simple-grown.yaml", "--json"]);
    assert_eq!(report["experiments"][0]["moves"][0]["percent"], "12.3456");
    assert_eq!(code(&cluster.run(&["plan", "broken.yaml"])), 1);
    assert_eq!(code(&cluster.run(&["plan", "missing.yaml"])), 2);
}

#[test]
fn status_shows_what_is_applied_and_what_each_proxy_runs() {
    let cluster = mesh();
    let applied = u32::from_str_radix(&hash()[..8], 16).unwrap();
    let metrics = |hash: u32, state: u32| {
        format!(
            "# TYPE ab_test_config_hash gauge\nab_test_config_hash{{plugin=\"sidetrack\"}} {hash}\n\
             ab_test_config_rejected_total{{plugin=\"sidetrack\"}} 1\n\
             ab_test_breaker_state{{experiment=\"forecast\",model_name=\"new\"}} {state}\n"
        )
    };
    cluster
        .list(
            "pods",
            &[pod("gw-0"), pod("gw-1"), pod("gw-2"), pod("gw-3"), pod("gw-4"), pod("gw-5")],
        )
        .metrics("gw-0", &metrics(applied, 0))
        .metrics("gw-1", &metrics(applied, 2))
        .metrics("gw-2", &metrics(17, 0))
        .metrics("gw-3", "")
        // Reached by a command in the pod, with the labels in the names.
        .file("exec_gw-4", &format!("ab_test_config_hash_plugin___sidetrack__{{}} {applied}\n"));
    snapshot("kube_status", cluster.seen(&["status"]));
    let report = cluster.json(&["status", "--json"]);
    let current: Vec<_> = report["proxies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["current"].as_bool().unwrap())
        .collect();
    assert_eq!(current, [true, true, false, false, true, false]);
    assert_eq!(report["proxies"][1]["breakers"][0]["state"], "open");
    assert_eq!(report["proxies"][4]["breakers"][0]["state"], "unknown");
    assert!(report["proxies"][5]["error"].as_str().unwrap().contains("i/o timeout"), "{report}");
    let few = cluster.json(&["status", "--proxies", "1", "--json"]);
    assert_eq!((few["proxies"].as_array().unwrap().len(), few["pods"].as_u64()), (1, Some(6)));
}

#[test]
fn status_says_when_no_candidate_gets_traffic() {
    let state = |change: &dyn Fn(&mut Value)| {
        let mut configuration = experiments();
        change(&mut configuration["experiments"][0]);
        let cluster = one(configuration);
        cluster.list("pods", &[]);
        cluster.json(&["status", "--json"])["experiments"][0]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(&|_| {}), "running");
    assert!(state(&|it| it["enabled"] = false.into()).starts_with("disabled"));
    assert!(state(&|it| it["variants"][1]["weight"] = 0.into()).starts_with("paused"));
}

#[test]
fn check_examines_the_mesh_around_the_experiment() {
    snapshot("kube_check", mesh().seen(&["check"]));
    assert_eq!(mesh().json(&["check", "--json"])["ok"], true);
    // Each thing that can be missing, alone.
    let none: &[Value] = &[];
    let with = |resource: &str, from: &str, to: &str| {
        let cluster = mesh();
        let file = cluster.0.path().join(format!("{resource}.json"));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{resource}: {from}");
        std::fs::write(&file, text.replace(from, to)).unwrap();
        let report = cluster.json(&["check", "--json"]);
        assert_eq!(code(&cluster.run(&["check"])), i32::from(report["ok"] == false));
        report["mesh"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["verdict"] != "good")
            .cloned()
            .collect::<Vec<_>>()
    };
    for (resource, from, to, message) in [
        (
            "virtualservices.networking.istio.io",
            "\"exact\":\"new\"",
            "\"exact\":\"New\"",
            "no route matches x-ab-variant: new",
        ),
        (
            "virtualservices.networking.istio.io",
            "\"name\":\"baseline\"",
            "\"match\":[{\"headers\":{\"x-ab-variant\":{\"exact\":\"old\"}}}]",
            "no route for requests without x-ab-variant",
        ),
        (
            "virtualservices.networking.istio.io",
            "\"host\":\"predictor\"",
            "\"host\":\"predicter\"",
            "the service models/predicter, which does not exist",
        ),
        (
            "destinationrules.networking.istio.io",
            "\"name\":\"new\"",
            "\"name\":\"next\"",
            "no DestinationRule defines the subset new",
        ),
        (
            "envoyfilters.networking.istio.io",
            "early_header",
            "late_header",
            "no EnvoyFilter in istio-ingress removes",
        ),
    ] {
        let found = with(resource, from, to);
        let said = found.iter().any(|it| it["message"].as_str().unwrap().contains(message));
        assert!(said, "{resource} {from}: {found:?}");
        assert!(!found[0]["hint"].as_str().unwrap().is_empty(), "{found:?}");
    }
    let cluster = mesh();
    cluster.list(
        "destinationrules.networking.istio.io",
        &[
            json!({
                "metadata": {"name": "sidetrack", "namespace": "models"},
                "spec": {"host": "predictor.models.svc.cluster.local",
                    "subsets": [{"name": "old"}, {"name": "new"}]},
            }),
            json!({"metadata": {"name": "mtls", "namespace": "istio-ingress"}, "spec": {"host": "*.local"}}),
        ],
    );
    snapshot("kube_check_hidden", cluster.seen(&["check"]));
    let cluster = mesh();
    cluster.list("pods", none);
    let report = cluster.json(&["check", "--json"]);
    assert_eq!(report["ok"], false);
    assert!(
        report["mesh"][0]["message"].as_str().unwrap().contains("no proxy runs the filter"),
        "{report}"
    );
    let mut hosts = experiments();
    hosts["experiments"][0]["match"] = json!({"hosts": ["other.example.com"]});
    let cluster = mesh();
    cluster.list("wasmplugins.extensions.istio.io", &[plugin("istio-ingress", "sidetrack", hosts)]);
    snapshot("kube_check_hosts", cluster.seen(&["check"]));
}

#[test]
fn a_route_of_the_gateway_api_counts_too() {
    let cluster = mesh();
    cluster.list("virtualservices.networking.istio.io", &[]);
    let rule =
        |name: &str| json!({"name": name, "backendRefs": [{"name": "predictor", "port": 80}]});
    let mut tagged = rule("new");
    tagged["matches"] = json!([{"headers": [{"name": "X-AB-Variant", "value": "new"}]}]);
    let route = json!({
        "metadata": {"name": "ab", "namespace": "models"},
        "spec": {"parentRefs": [{"name": "gateway"}], "rules": [tagged, rule("baseline")]},
    });
    cluster.list("httproutes.gateway.networking.k8s.io", &[route]);
    let report = cluster.json(&["check", "--json"]);
    assert_eq!(report["ok"], true, "{report}");
    assert!(report["mesh"].to_string().contains("HTTPRoute models/ab, route new"), "{report}");
}

#[test]
fn a_live_experiment_with_problems_is_shown_as_a_file_would_be() {
    let mut broken = experiments();
    broken["experiments"][0]["variants"][1]["weight"] = 130.into();
    let cluster = one(broken);
    cluster.list("pods", &[]);
    snapshot("kube_broken_check", cluster.seen(&["check"]));
    snapshot("kube_broken_explain", cluster.seen(&["explain"]));
    assert_eq!(code(&cluster.run(&["status"])), 1);
}

#[test]
fn the_object_is_found_or_the_message_says_how_to() {
    let cluster = Cluster::new();
    snapshot("kube_no_types", cluster.seen(&["explain"]));
    cluster.list("wasmplugins.extensions.istio.io", &[plugin("other", "headers", json!({"a": 1}))]);
    snapshot("kube_nothing", cluster.seen(&["explain", "-n", "other"]));
    let two = [plugin("a", "sidetrack", experiments()), plugin("b", "sidetrack", experiments())];
    cluster.list("wasmplugins.extensions.istio.io", &two);
    snapshot("kube_several", cluster.seen(&["explain"]));
    snapshot("kube_unknown_kind", cluster.seen(&["explain", "--name", "pod/sidetrack"]));
    let extension = json!({
        "kind": "TrafficExtension", "metadata": {"name": "next", "namespace": "c"},
        "spec": {"wasm": {"pluginConfig": experiments()}},
    });
    let policy = json!({
        "kind": "EnvoyExtensionPolicy", "metadata": {"name": "third", "namespace": "d"},
        "spec": {"wasm": [{"name": "other"}, {"config": experiments()}]},
    });
    let filter = json!({
        "kind": "EnvoyFilter", "metadata": {"name": "fourth", "namespace": "e"},
        "spec": {"configPatches": [{"patch": {"value": {"typed_config": {"config": {
            "configuration": {"value": experiments().to_string()},
        }}}}}]},
    });
    cluster.list("envoyfilters.networking.istio.io", &[filter]);
    cluster.list("trafficextensions.extensions.istio.io", &[extension]);
    cluster.list("envoyextensionpolicies.gateway.envoyproxy.io", &[policy]);
    for (name, object) in [
        ("next", "TrafficExtension c/next"),
        ("trafficextension/next", "TrafficExtension c/next"),
        ("EnvoyExtensionPolicy/third", "EnvoyExtensionPolicy d/third"),
        ("fourth", "EnvoyFilter e/fourth"),
    ] {
        let output = cluster.run(&["explain", "--name", name]);
        assert!(stdout(&output).starts_with(object), "{name}: {output:?}");
    }
}

#[test]
fn a_user_who_may_not_list_everything_gets_kubectls_own_words() {
    let cluster = Cluster::new();
    let said = "Error from server (Forbidden): wasmplugins.extensions.istio.io is forbidden: User \"dev\" cannot list\n";
    cluster.file("wasmplugins.extensions.istio.io.json.error", said);
    let output = cluster.run(&["explain"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("User \"dev\" cannot list"), "{}", stderr(&output));
}

#[test]
fn without_kubectl_the_message_says_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_sidetrack"))
        .arg0("kubectl-sidetrack")
        .args(["status"])
        .env("PATH", "/nowhere")
        .output()
        .unwrap();
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("cannot run kubectl"), "{}", stderr(&output));
}

#[test]
fn the_help_speaks_of_kubectl() {
    let cluster = Cluster::new();
    for command in ["status", "check", "explain", "plan"] {
        let output = cluster.run(&[command, "--help"]);
        assert_eq!(code(&output), 0);
        let help = stdout(&output);
        assert!(help.contains(&format!("Usage: kubectl sidetrack {command}")), "{help}");
        assert!(help.contains(&format!("\n  kubectl sidetrack {command}")), "{help}");
    }
}

#[test]
fn kubectl_gets_completions() {
    let complete = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_sidetrack"))
            .arg0("/opt/kubectl_complete-sidetrack")
            .args(words)
            .output()
            .unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        stdout(&output).to_owned()
    };
    assert!(complete(&["st"]).starts_with("status\tShow what is applied"), "{}", complete(&["st"]));
    assert!(complete(&["st"]).ends_with("\n:4\n"));
    assert_eq!(complete(&["plan", ""]), ":0\n");
}
