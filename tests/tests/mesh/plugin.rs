//! `kubectl sidetrack` as users run it: the real kubectl finds the plugin on the PATH and asks the real API server.

use std::os::unix::fs::symlink;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidetrack_tests::artifact;
use sidetrack_tests::mesh::{Mesh, Pod, program};
use sidetrack_tests::world::sidetrack_command;

use crate::stand::{BASELINE, Caller, ENHANCED, GATEWAY_PORT, HOST, Stand, experiment};

/// `kubectl sidetrack …`, with a PATH that has kubectl and the links of an installation.
pub(crate) fn plugin(mesh: &Mesh, arguments: &[&str]) -> Output {
    kubectl(mesh, &[&["sidetrack"], arguments].concat())
}

fn kubectl(mesh: &Mesh, arguments: &[&str]) -> Output {
    let folder = mesh.folder().join("plugin");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["kubectl-sidetrack", "kubectl_complete-sidetrack"] {
        // Tests run side by side.
        symlink(artifact::cli(), folder.join(name)).ok();
    }
    let kubectl = program("kubectl").unwrap();
    let system = std::env::var_os("PATH").unwrap();
    let path = [folder.as_path(), kubectl.parent().unwrap()];
    let path = path.map(ToOwned::to_owned).into_iter().chain(std::env::split_paths(&system));
    let mut command: Command = mesh.command("kubectl").unwrap();
    command
        .args(arguments)
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_experiment_is_explained_compared_and_checked() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    // Names of its own: without its routes, `check` looks at those of others.
    let named = |weight: f64| {
        let mut named = experiment(weight);
        named["experiments"][0]["baseline"] = json!("live-old");
        named["experiments"][0]["variants"] =
            json!([{"name": "live-old"}, {"name": "live-new", "weight": weight, "reserve": 50}]);
        named
    };
    let [old, new] = [("live-old", BASELINE), ("live-new", ENHANCED)]
        .map(|(variant, subset)| format!("{variant}={}/{subset}", stand.service()));
    let live = named(30.0);
    let options = ["--name", "live", "--destination", &old, "--destination", &new];
    let rendered = stand.rendered(&live, &options);
    mesh.apply(&rendered).unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &live).await;
    let ingress = stand.ingress.as_str();
    let request = ["--path", "/v2/models/forecast/infer", "--host", HOST, "--json", "--header"];

    // Each answer is that of the file.
    let file = mesh.file("plugin-live.json", &live.to_string()).unwrap();
    for user in 0..20 {
        let user = format!("x-user-id: user-{user}");
        let question = [&request[..], &[&user]].concat();
        let explained =
            json_of(&plugin(mesh, &[&["explain", "-n", ingress], &question[..]].concat()));
        let expected = sidetrack_command(&[&["explain", &file], &question[..]].concat()).unwrap();
        assert_eq!(explained, serde_json::from_str::<Value>(&expected).unwrap());
    }

    // The proxy's metrics come by way of the API server.
    let status = json_of(&plugin(mesh, &["status", "-n", ingress, "--json"]));
    assert_eq!(status["proxies"][0]["current"], true, "{status:#}");
    assert_eq!(status["proxies"][0]["breakers"][0]["state"], "closed", "{status:#}");
    assert_eq!(status["proxies"][0]["refused"], 0, "{status:#}");
    assert_eq!(status["experiments"][0]["variants"][1]["percent"], "30 %");
    assert!(status["applied_by"].as_str().unwrap().contains("kubectl"), "{status:#}");
    let shown = text(&plugin(mesh, &["status", "-n", ingress]));
    assert!(shown.contains("1 of 1 run this configuration"), "{shown}");

    // Everything that `render istio` writes is as it should be.
    let checked = plugin(mesh, &["check", "-n", ingress]);
    assert!(checked.status.success(), "{}", text(&checked));
    assert!(
        text(&checked).contains(&format!("live-new: VirtualService {}/live", stand.models)),
        "{}",
        text(&checked)
    );

    let next = mesh.file("plugin-next.json", &named(50.0).to_string()).unwrap();
    let moved = json_of(&plugin(
        mesh,
        &["plan", &next, "-n", ingress, "--name", "wasmplugin/live", "--json"],
    ));
    let step = &moved["experiments"][0]["moves"][0];
    assert_eq!(
        (step["from"].as_str(), step["to"].as_str(), step["percent"].as_str()),
        (Some("live-old"), Some("live-new"), Some("20"))
    );

    // A wrong file is applied: the proxy keeps the last good one, and the status says both.
    mesh.apply(&rendered.replace("weight: 30", "weight: 30.5")).unwrap();
    mesh.until("another hash is in force", || {
        let status = json_of(&plugin(mesh, &["status", "-n", ingress, "--json"]));
        Ok(status["proxies"][0]["current"] == true)
    })
    .unwrap();
    mesh.apply(&rendered.replace("weight: 30", "weight: 130")).unwrap();
    mesh.until("the refused configuration is counted", || {
        let output = plugin(mesh, &["status", "-n", ingress, "--json"]);
        assert_eq!(output.status.code(), Some(1));
        let status = json_of(&output);
        let proxy = &status["proxies"][0];
        Ok(status["ok"] == false
            && proxy["current"] == false
            && proxy["refused"].as_u64() > Some(0)
            && proxy["hash"].is_string())
    })
    .unwrap();
    let explained = plugin(mesh, &["explain", "-n", ingress]);
    assert_eq!(explained.status.code(), Some(1));
    assert!(text(&explained).contains("weight"), "{}", text(&explained));
    mesh.apply(&rendered).unwrap();

    // Without its routes, the candidate is counted and not served.
    mesh.kubectl(&["delete", "virtualservice", "live", "-n", &stand.models]).unwrap();
    let checked = plugin(mesh, &["check", "-n", ingress]);
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked));
    assert!(
        text(&checked).contains("no route matches x-ab-variant: live-new"),
        "{}",
        text(&checked)
    );
}

/// Waits until a request of the experiment gets this status.
async fn until_status(gateway: &Pod, status: u16) {
    let client = gateway.client(GATEWAY_PORT);
    let begun = Instant::now();
    loop {
        let answer = client.send(Caller::new(HOST).request("user-0")).await.unwrap();
        if answer.status == status {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{}, expected {status}\n{}",
            answer.status,
            gateway.log_tail(10)
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_rule_that_hides_the_subsets_is_reported() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let experiment = experiment(30.0);
    let rendered =
        |more: &[&str]| stand.rendered(&experiment, &[&["--name", "hidden"][..], more].concat());
    mesh.apply(&rendered(&[])).unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &experiment).await;
    until_status(&gateway, 200).await;
    let ingress = stand.ingress.as_str();
    let check = || plugin(mesh, &["check", "-n", ingress]);
    assert!(check().status.success(), "{}", text(&check()));

    // Rules elsewhere change nothing, and are not reported.
    let rule = |namespace: &str, name: &str, host: &str| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"host": host, "trafficPolicy": {"connectionPool": {"http": {"maxRetries": 7}}}},
        })
    };
    let harmless = [
        rule(&stand.models, "defaults", "*.local"),
        rule(&stand.models, "more", "predictor"),
        rule(ingress, "outside", "*.example.com"),
    ];
    mesh.apply_objects(&harmless).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    until_status(&gateway, 200).await;
    assert!(check().status.success(), "{}", text(&check()));

    mesh.apply_objects(&[rule(ingress, "defaults", "*.local")]).unwrap();
    until_status(&gateway, 503).await;
    let checked = check();
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked));
    let report = json_of(&plugin(mesh, &["check", "-n", ingress, "--json"]));
    let problems: Vec<String> = report["mesh"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["verdict"] == "problem")
        .map(|finding| format!("{} ({})", finding["message"], finding["hint"]))
        .collect();
    assert_eq!(problems.len(), 2, "{problems:#?}");
    for (problem, subset) in problems.iter().zip([ENHANCED, BASELINE]) {
        let by = format!("DestinationRule {ingress}/defaults (*.local) hides the subset {subset}");
        let hint = format!("--subset-namespace {ingress}");
        assert!(problem.contains(&by) && problem.contains(&hint), "{problem}");
    }

    // The hint helps.
    mesh.apply(&rendered(&["--subset-namespace", ingress])).unwrap();
    until_status(&gateway, 200).await;
    assert!(check().status.success(), "{}", text(&check()));
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_survive_the_way_through_the_api_server() {
    let mesh = Mesh::shared();
    let namespace = mesh.namespace("numbers").unwrap();
    let configuration = json!({"experiments": [{
        "name": "numbers", "unit": [{"header": "x-user-id"}], "baseline": "a",
        "variants": [{"name": "a"}, {"name": "b", "weight": 0.0001}, {"name": "c", "weight": 30.0}],
        "breaker": {"error_rate": 2.5, "min_requests": 1_000_000, "confidence": 99.9},
    }]});
    let object = json!({
        "apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin",
        "metadata": {"name": "numbers", "namespace": namespace},
        "spec": {"url": "oci://registry.example.com/sidetrack:1", "pluginConfig": configuration},
    });
    mesh.apply_objects(&[object]).unwrap();
    let file = mesh.file("numbers.json", &configuration.to_string()).unwrap();
    let expected: Value =
        serde_json::from_str(&sidetrack_command(&["check", &file, "--json"]).unwrap()).unwrap();
    let status = json_of(&plugin(mesh, &["status", "-n", &namespace, "--json"]));
    assert_eq!(status["hash"], expected["hash"], "{status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_completes_the_words_of_the_plugin() {
    let mesh = Mesh::shared();
    let completed = text(&kubectl(mesh, &["__complete", "sidetrack", "st"]));
    assert!(completed.starts_with("status\t"), "{completed}");
    let completed = text(&kubectl(mesh, &["__complete", "sidetrack", "explain", "--bre"]));
    assert!(completed.starts_with("--breaker\t"), "{completed}");
}

/// The only kind that reads bodies carries the experiments as a text. Its rollback stops them in that text.
#[tokio::test(flavor = "multi_thread")]
async fn an_envoyfilter_is_found_and_rolled_back() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let live = experiment(30.0);
    let options = ["--name", "live", "--kind", "envoyfilter"];
    let gateway = stand.gateway();
    mesh.apply(&stand.rendered(&live, &options)).unwrap();
    stand.in_force(&gateway, &live).await;
    let ingress = ["-n", stand.ingress.as_str()];
    let ask = |words: &[&str]| plugin(mesh, &[words, &ingress[..]].concat());

    let status = json_of(&ask(&["status", "--json"]));
    let object = format!("EnvoyFilter {}/live-filter", stand.ingress);
    assert_eq!(status["object"], object.as_str(), "{status:#}");
    assert_eq!(status["proxies"][0]["current"], true, "{status:#}");
    assert!(status["url"].as_str().unwrap().starts_with("oci://"), "{status:#}");
    let checked = ask(&["check"]);
    assert!(checked.status.success(), "{}", text(&checked));
    let request = [
        "--path",
        "/v2/models/forecast/infer",
        "--host",
        crate::stand::HOST,
        "--header",
        "x-user-id: user-1",
    ];
    let explained = json_of(&ask(&[&["explain", "--json"], &request[..]].concat()));
    assert_eq!(explained["experiment"], "financial-ab-test", "{explained:#}");
    let next = mesh.file("plugin-filter.json", &experiment(50.0).to_string()).unwrap();
    let moved = json_of(&ask(&["plan", &next, "--json"]));
    assert_eq!(moved["experiments"][0]["moves"][0]["percent"], "20", "{moved:#}");
    // What kubectl prints is a file for the command, too.
    let object = mesh
        .kubectl(&[&["get", "envoyfilter", "live-filter", "-o", "yaml"], &ingress[..]].concat());
    let file = mesh.file("plugin-filter.yaml", &object.unwrap()).unwrap();
    sidetrack_command(&["check", &file]).unwrap();

    let script = stand.rendered(&live, &[&options[..], &["--rollback"]].concat());
    let (first, _) = script.split_once("echo \"2.").unwrap();
    let shell = |script: &str| {
        let kubectl = program("kubectl").unwrap();
        let path =
            format!("{}:{}", kubectl.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let run = Command::new("sh")
            .args(["-c", script])
            .env("PATH", path)
            .env("KUBECONFIG", mesh.kubeconfig())
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", text(&run));
        text(&run)
    };
    let said = shell(first);
    assert!(said.contains("envoyfilter.networking.istio.io/live-filter patched"), "{said}");
    mesh.until("the proxy has stopped the experiment", || {
        let status = json_of(&ask(&["status", "--json"]));
        let state = status["experiments"][0]["state"].as_str().unwrap();
        assert!(state.starts_with("disabled"), "{status:#}");
        Ok(status["proxies"][0]["current"] == true)
    })
    .unwrap();
    shell(&script);
    let gone = ask(&["status"]);
    assert!(text(&gone).contains("has experiments; searched:"), "{}", text(&gone));
    // What was removed already is no failure.
    shell(&script);
}

/// Each of these is applied and repaired again.
#[tokio::test(flavor = "multi_thread")]
async fn check_names_what_keeps_users_from_the_candidate() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let (models, ingress) = (stand.models.as_str(), stand.ingress.as_str());
    let gateway_of = |hosts: &[&str], selector: &str| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
            "metadata": {"name": "predictors", "namespace": ingress},
            "spec": {"selector": {"istio": selector}, "servers": [{
                "port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": hosts}]},
        })
    };
    let older = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "a-team", "namespace": models},
        "spec": {"hosts": [crate::stand::HOST], "gateways": [format!("{ingress}/predictors")], "http": [
            {"match": [{"uri": {"prefix": "/other"}}], "route": [{"destination": {"host": "predictor"}}]}]},
    });
    mesh.apply_objects(&[older.clone(), gateway_of(&[crate::stand::HOST], ingress)]).unwrap();
    // Creation times have seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let rendered = stand.rendered(&experiment(30.0), &["--name", "live"]);
    mesh.apply(&rendered).unwrap();
    let _pod = stand.gateway();
    let good = plugin(mesh, &["check", "-n", ingress]);
    assert!(good.status.success(), "{}", text(&good));

    let mut unseen = Vec::new();
    let mut problem = |what: &str, expected: &str| {
        let checked = json_of(&plugin(mesh, &["check", "-n", ingress, "--json"]));
        let all = checked["mesh"].as_array().unwrap().iter();
        let problems: Vec<&Value> = all.filter(|one| one["verdict"] == "problem").collect();
        let has = |one: &&Value| one["message"].as_str().unwrap().contains(expected);
        if checked["ok"] != false || !problems.iter().any(has) {
            unseen.push(format!("{what}: {problems:#?}"));
        }
    };
    let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered).unwrap();
    let of = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap().clone();
    let (mut first, mut lacking) = (of("VirtualService"), of("DestinationRule"));
    let repaired = || mesh.apply(&rendered).unwrap();

    let all = json!({"name": "all", "route": [{"destination": {"host": "predictor"}}]});
    first["spec"]["http"].as_array_mut().unwrap().insert(0, all);
    mesh.apply_objects(&[first]).unwrap();
    problem(
        "a catch-all in front",
        &format!("VirtualService {models}/live, route all takes the requests of"),
    );
    repaired();

    let mut taking = older.clone();
    taking["spec"]["http"][0]["match"][0] = json!({"headers": {"x-ab-variant": {}}});
    mesh.apply_objects(&[taking]).unwrap();
    problem(
        "an older VirtualService",
        &format!("VirtualService {models}/a-team, route 1 takes requests for"),
    );
    mesh.apply_objects(&[older]).unwrap();

    lacking["spec"]["subsets"].as_array_mut().unwrap().retain(|subset| subset["name"] != ENHANCED);
    mesh.apply_objects(&[lacking]).unwrap();
    problem("no subset", &format!("no DestinationRule defines the subset {ENHANCED}"));
    repaired();

    mesh.kubectl(&["label", "pod", "-n", models, ENHANCED, "--overwrite", "version=other"])
        .unwrap();
    problem("no pods", &format!("{models} has none"));
    let label = format!("version={ENHANCED}");
    mesh.kubectl(&["label", "pod", "-n", models, ENHANCED, "--overwrite", &label]).unwrap();

    mesh.apply_objects(&[gateway_of(&["other.example.com"], ingress)]).unwrap();
    problem("a host of no server", "does not accept");
    mesh.apply_objects(&[gateway_of(&[crate::stand::HOST], "elsewhere")]).unwrap();
    problem(
        "other pods",
        &format!("no pod of the Gateway {ingress}/predictors (istio=elsewhere) runs the filter"),
    );
    mesh.kubectl(&["delete", "gateways.networking.istio.io", "predictors", "-n", ingress]).unwrap();
    problem("no Gateway", &format!("names the Gateway {ingress}/predictors, which does not exist"));
    assert!(unseen.is_empty(), "{}", unseen.join("\n"));
}
