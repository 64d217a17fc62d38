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

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join("istio").join(file)).unwrap()
}

fn value(file: &str) -> Value {
    serde_saphyr::from_str(&text(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn complaints(run: &Output) -> String {
    String::from_utf8_lossy(&run.stderr).into_owned()
}

/// The commands of the README, as a reader would run them, and the files that they write.
fn commands() -> Vec<(Vec<String>, PathBuf)> {
    let readme = text("README.md");
    let lines = readme.lines().map(str::trim).filter(|line| line.starts_with("sidetrack render "));
    let command = |line: &str| {
        let (command, file) = line.split_once(" > ")?;
        let words = command.split_whitespace().skip(1).map(ToOwned::to_owned).collect();
        Some((words, root().join(file)))
    };
    let commands: Vec<_> = lines.filter_map(command).collect();
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

/// Two experiments with different baselines, conditions of every kind, words that YAML 1.1 reads
/// otherwise. `make test-mesh` renders it in every form.
fn everything() -> Value {
    let text = std::fs::read_to_string(root().join("tests/golden/istio/everything.json")).unwrap();
    serde_json::from_str(&text).unwrap()
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
    refused(&body, &[], 1, ["--kind envoyfilter", "--body-unit lua"]);
    let lua = ["--body-unit", "lua"];
    let with_lua = |more: &[&'static str]| [&lua[..], more].concat();
    refused(&body, &with_lua(&["--kind", "envoyfilter"]), 2, ["--kind envoyfilter", "remove"]);
    refused(
        &body,
        &with_lua(&["--istio", "1.29"]),
        2,
        ["requires Istio 1.30", "--kind envoyfilter"],
    );
    refused(&everything(), &lua, 2, ["nothing to read", "remove --body-unit"]);
    let mut large = body.clone();
    large["settings"]["body_limit"] = "2MiB".into();
    refused(&large, &lua, 2, ["at most 1MiB", "413"]);
    let mut condition = body.clone();
    condition["experiments"][0]["match"]["body"] =
        serde_json::json!([{"pointer": "/model", "exact": "a"}]);
    refused(&condition, &lua, 1, ["experiments[0].match.body", "--kind envoyfilter"]);
    let good = everything();
    let file = ["--module-path", "/var/lib/sidetrack.wasm"];
    refused(&good, &["--module-path", "x.wasm"], 2, ["--module-path", "an absolute path"]);
    refused(&good, &[&file[..], &["--url", "oci://a/b"]].concat(), 2, ["--module-path", "--url"]);
    refused(&good, &["--failure-logger"], 2, ["--failure-logger", "--module-path"]);
    let logger = [&file[..], &["--failure-logger"]].concat();
    refused(&good, &logger, 2, ["requires --kind envoyfilter", "virtual machine"]);
    refused(&good, &["--through", "a:80"], 2, ["--through", "--rewrite-host"]);
    refused(&good, &["--rewrite-host"], 2, ["does not work with a `mirror`", "remove `mirror`"]);
    let by_header = ["--rewrite-host", "--route", "envoyfilter", "--port", "80"];
    refused(&good, &by_header, 2, ["--route envoyfilter", "--route virtualservice"]);
    let mut alone = everything();
    for experiment in alone["experiments"].as_array_mut().unwrap() {
        experiment.as_object_mut().unwrap().remove("mirror");
    }
    let through = ["--rewrite-host", "--through", "local-gateway"];
    refused(&alone, &[&through[..], &["--service", "a"]].concat(), 2, ["--service", "by the host"]);
    let sidecar = ["--topology", "sidecar", "--host", "a"];
    refused(&alone, &[&through[..], &sidecar].concat(), 2, ["requires a port", "HOST:PORT"]);
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
    let mut anywhere = everything();
    anywhere["experiments"][1]["match"] = serde_json::json!({});
    refused(&anywhere, &[], 2, ["experiments[1] has no `match.hosts`", "--host '*'"]);
    let sidecar = ["--topology", "sidecar"];
    refused(&good, &sidecar, 2, ["match.hosts has \"*.example.org\"", "--host SERVICE"]);
    for host in ["*", "*.models.svc.cluster.local"] {
        for topology in [sidecar, waypoint] {
            refused(
                &good,
                &[&topology[..], &["--host", host]].concat(),
                2,
                ["works only with --topology gateway", "take the requests of all services"],
            );
        }
    }
    let at = ["--host", "predictor"];
    refused(&good, &[&sidecar[..], &at].concat(), 2, ["requires a port", "--port PORT"]);
    let waypoint = [&waypoint[..], &at].concat();
    refused(
        &good,
        &[&waypoint[..], &["--waypoint", "gateways/waypoint"]].concat(),
        2,
        ["requires Istio 1.30.3", "--istio 1.30.3"],
    );
    refused(
        &good,
        &[&waypoint[..], &["--waypoint", "gateways/waypoint", "--istio", "1.30"]].concat(),
        2,
        ["requires Istio 1.30.3", "use a waypoint in default"],
    );
    refused(
        &good,
        &["--topology", "waypoint", "--host", "predictor.other.svc.cluster.local"],
        2,
        ["is in the namespace other", "use --namespace other"],
    );
    refused(
        &good,
        &["--kind", "trafficextension", "--istio", "1.29.6"],
        2,
        ["requires Istio 1.30, but --istio is 1.29.6", "--kind wasmplugin"],
    );
    refused(&good, &["--istio", "1.27.9"], 2, ["older than 1.28", "--istio"]);
    refused(&good, &["--waypoint", "a/b"], 2, ["only with --topology waypoint", "remove"]);
    refused(&good, &[&waypoint[..], &["--catch-all"]].concat(), 2, ["--catch-all", "gateway"]);
    let broken = folder.path().join("cut.wasm");
    std::fs::write(&broken, b"\0asm\x01\0\0\0\x01").unwrap();
    let url = format!("file://{}", broken.display());
    refused(&good, &["--url", &url], 1, ["not a valid WebAssembly module", "truncated"]);
    let routes = folder.path().join("routes.yaml");
    std::fs::write(&routes, text("virtualservice.yaml")).unwrap();
    refused(
        &good,
        &["--merge-into", routes.to_str().unwrap()],
        2,
        [
            "no route of the VirtualService predictor leads to old.default.svc.cluster.local",
            "--service",
        ],
    );
    refused(&good, &["--merge-into", "none.yaml"], 2, ["cannot read none.yaml", "No such file"]);
}

/// The VirtualService that `render` writes for these experiments.
fn routes(experiments: &Value, options: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("experiments.json");
    std::fs::write(&file, experiments.to_string()).unwrap();
    let run = Command::new(artifact::cli())
        .args(["render", "istio", "--namespace", "models"])
        .arg(&file)
        .args(options)
        .output()
        .unwrap();
    assert!(run.status.success(), "{options:?}\n{}", complaints(&run));
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&String::from_utf8(run.stdout).unwrap()).unwrap();
    documents.into_iter().find(|document| document["kind"] == "VirtualService").unwrap()
}

/// Destination and conditions of the routes with these names.
fn named(service: &Value, suffix: &str) -> Vec<(String, String)> {
    let routes = service["spec"]["http"].as_array().unwrap().iter();
    let routes = routes.filter(|route| route["name"].as_str().unwrap().ends_with(suffix));
    let text = |route: &Value| {
        let host = route["route"][0]["destination"]["host"].as_str().unwrap();
        (host.split('.').next().unwrap().to_owned(), route["match"].to_string())
    };
    routes.map(text).collect()
}

fn pair(hosts: [&str; 2], paths: [Option<&str>; 2]) -> Value {
    let one = |index: usize| {
        let mut conditions = serde_json::json!({"hosts": [hosts[index]]});
        if let Some(path) = paths[index] {
            conditions["path"] = serde_json::json!({"prefix": path});
        }
        let (old, new) = (format!("old-{index}"), format!("new-{index}"));
        serde_json::json!({
            "name": format!("e{index}"), "unit": [{"header": "x-user-id"}], "match": conditions,
            "baseline": old, "variants": [{"name": old}, {"name": new, "weight": 10}],
        })
    };
    serde_json::json!({"experiments": [one(0), one(1)]})
}

/// A request outside an experiment's conditions takes the baseline of its own host, never another's.
#[test]
fn each_host_has_its_own_baseline() {
    let experiments = pair(["a.example.com", "b.example.com"], [None, Some("/b")]);
    let rest = named(&routes(&experiments, &[]), ".rest");
    assert_eq!(rest.len(), 2, "{rest:?}");
    for ((service, conditions), (expected, host)) in
        rest.iter().zip([("old-0", "a\\\\.example"), ("old-1", "b\\\\.example")])
    {
        assert_eq!(service, expected);
        assert!(conditions.contains(host), "{conditions}");
    }
    assert!(rest[1].1.contains("/b"), "limited to the experiment's path: {}", rest[1].1);
    let all = routes(&experiments, &["--catch-all"]);
    let hosts = named(&all, ".hosts");
    assert_eq!(
        hosts.iter().map(|(service, _)| service.as_str()).collect::<Vec<_>>(),
        ["old-0", "old-1"]
    );
    let last = all["spec"]["http"].as_array().unwrap().last().unwrap();
    assert!(last["match"].is_null(), "{last}");
}

/// istiod refuses hosts that include one another, and expressions of more than 1024 bytes.
#[test]
fn hosts_are_such_that_istiod_accepts_them() {
    let included = pair(["a.example.com", "*.example.com"], [None, None]);
    let service = routes(&included, &[]);
    assert_eq!(service["spec"]["hosts"], serde_json::json!(["*.example.com"]));
    let mut many = pair(["a.example.com", "b.example.com"], [None, None]);
    let hosts: Vec<String> = (0..99).map(|n| format!("host-{n}.example.com")).collect();
    many["experiments"][0]["match"]["hosts"] = serde_json::json!(hosts);
    let service = routes(&many, &[]);
    let regexes: Vec<&str> = service["spec"]["http"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|route| route["match"].as_array().into_iter().flatten())
        .filter_map(|one| one["authority"]["regex"].as_str())
        .collect();
    assert!(regexes.len() > 4 && regexes.iter().all(|regex| regex.len() <= 1024), "{regexes:?}");
}

/// Two teams with two files on one gateway: no resource of one has the name of the other's.
#[test]
fn resources_are_named_after_the_file() {
    let one = pair(["a.example.com", "b.example.com"], [None, None]);
    let name = |options: &[&str]| routes(&one, options)["metadata"]["name"].clone();
    assert_eq!(name(&[]), "sidetrack-e0");
    assert_eq!(name(&["--name", "mine"]), "mine");
    let labeled = routes(&one, &["--label", "team=a", "--istio-revision", "1-31"]);
    let labels = &labeled["metadata"]["labels"];
    assert_eq!(
        (&labels["team"], &labels["istio.io/rev"]),
        (&"a".into(), &"1-31".into()),
        "{labels}"
    );
    assert_eq!(labels["app.kubernetes.io/part-of"], "sidetrack-e0");
}

/// What the script of `--rollback` leaves are the routes to the baselines, whether or not the filter is there.
#[test]
fn a_rollback_leaves_the_routes_to_the_baseline() {
    let folder = tempfile::tempdir().unwrap();
    let file = root().join("istio/experiment.yaml");
    let script = |options: &[&str]| {
        let run = Command::new(artifact::cli())
            .args(["render", "istio", "--namespace", "models", "--rollback"])
            .arg(&file)
            .args(options)
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", complaints(&run));
        String::from_utf8(run.stdout).unwrap()
    };
    let left = |script: &str| -> Value {
        let (_, rest) = script.split_once("<<'YAML'\n").unwrap();
        serde_saphyr::from_str(rest.split_once("\nYAML\n").unwrap().0).unwrap()
    };
    let own = script(&["--host", "predictor.example.com", "--service", "predictor"]);
    let text = left(&own).to_string();
    for gone in ["x-ab-variant", "x-ab-experiment", "enhanced-predictor", "statPrefix"] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
    assert!(text.contains("\"subset\":\"baseline-predictor\""), "{text}");
    let by_filter = script(&["--host", "predictor.example.com", "--kind", "envoyfilter"]);
    let (_, patch) = by_filter.split_once("<<'JSON' ||\n").unwrap();
    let patch: Value = serde_json::from_str(patch.split_once("\nJSON\n").unwrap().0).unwrap();
    let stopped = config::parse_json(patch[0]["value"].as_str().unwrap().as_bytes()).unwrap();
    assert!(stopped.experiments.iter().all(|experiment| !experiment.enabled), "{patch:#}");
    let stops = own.find("/spec/pluginConfig/experiments/0/enabled").unwrap();
    let order = ["kubectl apply", "delete wasmplugin/", "delete envoyfilter/"]
        .map(|step| own.find(step).unwrap());
    assert!(stops < order[0] && order.is_sorted(), "{own}");
    let existing = folder.path().join("routes.yaml");
    let theirs = root().join("tests/golden/istio/newest/given/virtualservice.yaml");
    std::fs::copy(&theirs, &existing).unwrap();
    let merged = script(&["--merge-into", existing.to_str().unwrap()]);
    let before: Value = serde_saphyr::from_str(&std::fs::read_to_string(theirs).unwrap()).unwrap();
    assert_eq!(left(&merged), before);
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
    assert!(last["route"][0]["destination"]["subset"].is_null(), "{last}");
    let baseline = &tagged.last().unwrap();
    assert_eq!(baseline["match"][0]["uri"]["prefix"], "/v2/models/forecast", "{baseline}");
    assert_eq!(baseline["route"][0]["destination"]["subset"], "baseline", "{baseline}");
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
            let of = |subset: &Value| subset["name"] == target["subset"];
            assert!(target["subset"].is_null() || subsets.iter().any(of), "{target}");
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
