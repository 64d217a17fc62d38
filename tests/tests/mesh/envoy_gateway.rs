//! `render envoy-gateway` on the real controller of Envoy Gateway, with an Envoy that it configures.
//!
//! One test: a machine runs one controller.

mod controller;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidetrack_lab::{Request, Scrape};
use sidetrack_tests::artifact;
use sidetrack_tests::mesh::{Mesh, Port};
use sidetrack_tests::world::sidetrack_command;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::forged::forgeries;
use crate::identity::{keys, token};
use crate::otlp::Store;
use crate::plugin::{plugin, text};
use crate::stand::{BASELINE, Caller, ENHANCED, HOST, Stand, experiment};
use controller::Controller;

/// The listener's port. The controller itself has 8080 in the same network.
const PORT: u16 = 8888;
/// The port of Envoy's metrics.
const METRICS: u16 = 29001;
const USERS: usize = 200;
/// How long a change may take. A machine that compiles beside needs it.
const LIMIT: Duration = Duration::from_secs(60);
const GATEWAY: &str = "public";
const POLICY: &str = "sidetrack-financial-ab-test";

type Served = BTreeMap<String, String>;

/// The controller, one of its Envoys, and a server for modules and keys.
struct Scene<'s> {
    stand: &'s Stand,
    controller: Controller,
    files: SocketAddr,
    caller: Caller,
    store: Store,
}

impl<'s> Scene<'s> {
    async fn start(stand: &'s Stand) -> Self {
        let mesh = stand.mesh;
        for model in [&stand.baseline, &stand.enhanced] {
            let name = model.name();
            mesh.service(name, &json!({"version": name}), &[Port::HTTP], &[model]).unwrap();
        }
        let mut controller = Controller::start(mesh).await.unwrap();
        let store = Store::start(mesh, &exposed(30.0));
        let receiver = store.reachable_at(SocketAddr::from(([10, 244, 0, 1], 0))).await;
        let settings = ["--envoy-proxy", "--otlp", &receiver.to_string()];
        mesh.apply(&render(stand, &experiment(30.0), &settings)).unwrap();
        let class = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "eg"},
            "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
        });
        let settings =
            json!({"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": POLICY});
        let gateway = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": GATEWAY, "namespace": stand.models},
            "spec": {
                "gatewayClassName": "eg",
                "infrastructure": {"parametersRef": settings},
                "listeners": [{"name": "http", "port": PORT, "protocol": "HTTP"}],
            },
        });
        mesh.apply_objects(&[class, gateway]).unwrap();
        controller.envoy(mesh, &stand.models, GATEWAY).unwrap();
        let files = files(vec![
            ("/sidetrack.wasm", std::fs::read(artifact::wasm()).unwrap()),
            ("/keys", keys().to_string().into_bytes()),
        ]);
        Self { stand, controller, files: files.await, caller: Caller::new(HOST), store }
    }

    /// The manifests with this file of the server as the module.
    fn rendered(&self, experiment: &Value, module: &str, more: &[&str]) -> String {
        let url = format!("http://{}/{module}", self.files);
        render(self.stand, experiment, &[&["--url", &url], more].concat())
    }

    fn apply(&self, experiment: &Value) {
        self.stand.mesh.apply(&self.rendered(experiment, "sidetrack.wasm", &[])).unwrap();
    }

    /// The models of these users, on new connections: those that are open keep the old listener until they drain.
    async fn served(&self, caller: &Caller, expected: &Served) -> anyhow::Result<Served> {
        caller.served(&Controller::client(PORT), expected.keys().cloned()).await
    }

    /// Waits until the users are served so.
    async fn until(&self, what: &str, expected: &Served) {
        let begun = Instant::now();
        loop {
            let served = self.served(&self.caller, expected).await;
            if served.as_ref().is_ok_and(|served| served == expected) {
                println!("{what}: {:.1} s", begun.elapsed().as_secs_f64());
                return;
            }
            let differ = served.map(|served| {
                served.iter().filter(|(user, model)| expected.get(*user) != Some(model)).count()
            });
            assert!(
                begun.elapsed() < LIMIT,
                "{what}: {differ:?} of {} users get another model\n{}\n{}",
                expected.len(),
                self.policy(),
                self.controller.logs()
            );
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// No forged header chooses a model.
    async fn cannot_be_forged(&self, what: &str, expected: &Served) {
        for forged in forgeries() {
            let served = self.served(&self.caller.with(&forged), expected).await.unwrap();
            assert_eq!(served, *expected, "{what}: {forged:?}");
        }
    }

    async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let request = Request::get("/stats/prometheus".to_owned());
        let answer = Controller::client(METRICS).send(request).await.unwrap();
        Scrape::parse(&answer.text()).sum(name, labels).unwrap_or_default()
    }

    /// The condition `Accepted` of the EnvoyExtensionPolicy.
    fn policy(&self) -> Value {
        let policy = self.stand.mesh.get("envoyextensionpolicy", &self.stand.models, POLICY);
        let policy = policy.unwrap_or_default();
        let conditions = policy["status"]["ancestors"][0]["conditions"].as_array().cloned();
        let accepted =
            conditions.into_iter().flatten().find(|condition| condition["type"] == "Accepted");
        accepted.unwrap_or_default()
    }
}

fn render(stand: &Stand, experiment: &Value, more: &[&str]) -> String {
    let file = stand.mesh.file("envoy-gateway.json", &experiment.to_string()).unwrap();
    let gateway = format!("{}/{GATEWAY}", stand.models);
    let place = ["--gateway", &gateway, "--namespace", &stand.models, "--host", HOST];
    let command = ["render", "envoy-gateway", &file, "--port", "8080"];
    sidetrack_command(&[&command[..], &place, more].concat()).unwrap()
}

/// Serves these files by HTTP on the node.
async fn files(files: Vec<(&'static str, Vec<u8>)>) -> SocketAddr {
    let listener = TcpListener::bind(("10.244.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let file = files.iter().find(|(name, _)| *name == path);
            let (status, body) =
                file.map_or(("404 Not Found", &[][..]), |(_, body)| ("200 OK", body));
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(body).await;
        }
    });
    addr
}

fn baseline_of(users: &Served) -> Served {
    users.keys().map(|user| (user.clone(), BASELINE.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn envoy_gateway_splits_changes_and_cannot_be_forged() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let scene = Scene::start(&stand).await;
    let at = |weight: f64| stand.assigned(&experiment(weight), USERS);

    scene.apply(&experiment(30.0));
    scene.until("the first split", &at(30.0)).await;
    assert_eq!(scene.policy()["status"], "True", "{}", scene.policy());
    splits_as_the_command_says(&scene).await;
    scene.cannot_be_forged("with the filter", &at(30.0)).await;
    is_logged(&scene, &at(30.0)).await;
    is_sent(&scene).await;

    changes_under_load(&scene).await;
    without_the_filter(&scene).await;
    units_from_tokens(&scene).await;
    other_options_are_accepted(&scene);
}

async fn splits_as_the_command_says(scene: &Scene<'_>) {
    let assigned = scene.stand.assigned(&experiment(30.0), 3000);
    let before = [scene.stand.baseline.count(), scene.stand.enhanced.count()];
    let served = scene.served(&scene.caller, &assigned).await.unwrap();
    assert_eq!(served, assigned);
    let candidates = assigned.values().filter(|variant| *variant == ENHANCED).count() as u64;
    assert!((800..1000).contains(&candidates), "{candidates}");
    let after = [scene.stand.baseline.count(), scene.stand.enhanced.count()];
    assert_eq!([after[0] - before[0], after[1] - before[1]], [3000 - candidates, candidates]);
}

/// The EnvoyProxy is in force: its log format, and its labels of metrics.
async fn is_logged(scene: &Scene<'_>, users: &Served) {
    let candidate = users.iter().find(|(_, variant)| *variant == ENHANCED).unwrap().0;
    let labels = [("experiment", "financial-ab-test"), ("model_name", ENHANCED)];
    let begun = Instant::now();
    loop {
        scene.caller.served(&Controller::client(PORT), [candidate.clone()]).await.unwrap();
        let requests = scene.metric("ab_test_requests_total", &labels).await;
        let log = scene.controller.access_log();
        let last = log.iter().rev().find(|line| line["served"] == ENHANCED);
        if let Some(line) = last.filter(|_| requests > 0.0) {
            assert_eq!(line["experiment"], "financial-ab-test", "{line}");
            assert!(line["exposure"].as_str().is_some_and(|it| it.contains("trial")), "{line}");
            return;
        }
        assert!(begun.elapsed() < LIMIT, "{requests} requests, {:?}", log.last());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// The experiment with a plan, for the store's verdict. The trial is the same.
fn exposed(weight: f64) -> Value {
    let mut file = experiment(weight);
    file["experiments"][0]["analysis"] =
        json!({"metrics": ["error_rate"], "planned_units": 1_000_000});
    file
}

/// What the proxy sends over OTLP is what it logs.
async fn is_sent(scene: &Scene<'_>) {
    scene.store.equals(USERS, || scene.controller.access_log()).await;
}

/// Each change is made while requests arrive on open connections. None of them fails.
async fn changes_under_load(scene: &Scene<'_>) {
    const REJECTED: &str = "ab_test_config_rejected_total";
    let mesh = scene.stand.mesh;
    let at = |weight: f64| scene.stand.assigned(&experiment(weight), USERS);
    let (load, failures) = scene.caller.clone().load(Controller::addr(PORT), USERS as u64);

    scene.apply(&experiment(50.0));
    scene.until("the weight rises to 50", &at(50.0)).await;
    scene.apply(&experiment(10.0));
    scene.until("the weight falls to 10", &at(10.0)).await;

    // The controller accepts a wrong experiment. The filter does not: the last good one stays in force.
    let rejected = scene.metric(REJECTED, &[]).await;
    let good = scene.rendered(&experiment(10.0), "sidetrack.wasm", &[]);
    let wrong = good.replace("weight: 10", "weight: 130");
    assert!(wrong != good);
    mesh.apply(&wrong).unwrap();
    let begun = Instant::now();
    while scene.metric(REJECTED, &[]).await <= rejected {
        assert!(begun.elapsed() < LIMIT, "{}", scene.controller.logs());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    scene.until("a wrong experiment", &at(10.0)).await;
    assert_eq!(scene.policy()["status"], "True", "{}", scene.policy());
    scene.apply(&experiment(30.0));
    scene.until("repaired", &at(30.0)).await;

    // A module that cannot be fetched: all users get the baseline, and the policy says why.
    mesh.apply(&scene.rendered(&experiment(30.0), "none.wasm", &[])).unwrap();
    scene.until("a missing module", &baseline_of(&at(30.0))).await;
    let policy = scene.policy();
    assert_eq!(policy["status"], "False", "{policy}");
    assert!(policy["message"].as_str().is_some_and(|it| it.contains("404")), "{policy}");
    let checked = plugin(mesh, &["check", "--json", "-n", &scene.stand.models]);
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked));
    assert!(text(&checked).contains("its controller reports"), "{}", text(&checked));
    scene.apply(&experiment(30.0));
    scene.until("the module is back", &at(30.0)).await;

    let totals = load.stop().await;
    assert!(failures.lock().unwrap().is_empty(), "{:?}", failures.lock().unwrap());
    assert!(totals.done > 500 && totals.status(200) == totals.done, "{totals:?}");
    println!("{} requests", totals.done);
}

/// Without the EnvoyExtensionPolicy, all users get the baseline, and their requests are counted.
async fn without_the_filter(scene: &Scene<'_>) {
    const COUNTER: &str = "envoy_vhost_route_upstream_rq_total";
    let mesh = scene.stand.mesh;
    let manifests = scene.rendered(&experiment(30.0), "sidetrack.wasm", &[]);
    let policy = manifests
        .split("\n---\n")
        .find(|part| part.contains("\nkind: EnvoyExtensionPolicy\n"))
        .unwrap();
    let bypass = [("envoy_route", "sidetrack-bypass-financial-ab-test")];
    mesh.delete(policy).unwrap();
    let all = baseline_of(&scene.stand.assigned(&experiment(30.0), USERS));
    scene.until("without the filter", &all).await;
    let before = scene.metric(COUNTER, &bypass).await;
    scene.cannot_be_forged("without the filter", &all).await;
    let after = scene.metric(COUNTER, &bypass).await;
    let sent = (forgeries().len() * USERS) as f64;
    assert!((after - before - sent).abs() < 0.5, "{before} and {after}, expected {sent} more");
}

/// With `--jwt-issuer`, the unit is a claim of the token, whatever the client sends.
async fn units_from_tokens(scene: &Scene<'_>) {
    let uri = format!("http://{}/keys", scene.files);
    let issuer = "https://login.example.com";
    let options = ["--jwt-issuer", issuer, "--jwks-uri", &uri, "--jwt-claim", "email"];
    let manifests = scene.rendered(&experiment(30.0), "sidetrack.wasm", &options);
    scene.stand.mesh.apply(&manifests).unwrap();
    let assigned = scene.stand.assigned(&experiment(30.0), USERS);
    let candidate = assigned.iter().find(|(_, variant)| *variant == ENHANCED).unwrap().0;
    let send = async |token: Option<String>, user: &str| {
        let request = scene.caller.request(user);
        let request = token.iter().fold(request, |it, token| it.header("authorization", token));
        let answer = Controller::client(PORT).send(request).await.unwrap();
        (answer.status, answer.header_text("x-model").unwrap_or_default())
    };
    let of = |user: &str| Some(token(&json!({"email": user, "sub": "not this one"})));
    let begun = Instant::now();
    while send(Some("Bearer x.y.z".to_owned()), "user-0").await.0 != 401
        || send(of(candidate), "user-0").await != (200, ENHANCED.to_owned())
    {
        let said = scene.stand.mesh.get("securitypolicy", &scene.stand.models, POLICY);
        assert!(begun.elapsed() < LIMIT, "{said:?}\n{}", scene.controller.logs());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    for (user, variant) in &assigned {
        let served = send(of(user), candidate).await;
        assert_eq!(served, (200, variant.clone()), "{user}");
        let served = send(None, user).await;
        assert_eq!(served, (200, BASELINE.to_owned()), "{user} without a token");
    }
}

fn other_options_are_accepted(scene: &Scene<'_>) {
    let digest = "a".repeat(64);
    for options in [
        &[
            "--url",
            "oci://registry.example.com/sidetrack:1",
            "--sha256",
            &digest,
            "--pull-secret",
            "key",
        ][..],
        &["--listener", "http", "--no-guard"],
    ] {
        let manifests = render(scene.stand, &experiment(30.0), options);
        let applied = scene.stand.mesh.try_apply(&manifests, &["--dry-run=server"]).unwrap();
        assert!(applied.accepted, "{options:?}: {}", applied.messages);
    }
}
