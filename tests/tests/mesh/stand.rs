//! A model in two versions behind one Service, an experiment with both, and the proxy that runs it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sidetrack_lab::{Client, Load, LoadOptions, Request, prometheus_value};
use sidetrack_tests::artifact;
use sidetrack_tests::mesh::{Mesh, Model, Pod, PodOptions, Port, Role};
use sidetrack_tests::world::sidetrack_command;

pub(crate) const HOST: &str = "predictor.example.com";
pub(crate) const BASELINE: &str = "baseline-predictor";
pub(crate) const ENHANCED: &str = "enhanced-predictor";
/// The port of the gateway.
pub(crate) const GATEWAY_PORT: u16 = 8080;

/// An experiment that gives the enhanced model to this percentage of users.
pub(crate) fn experiment(weight: f64) -> Value {
    json!({"experiments": [{
        "name": "financial-ab-test", "salt": "financial-2026-11",
        "match": {"path": {"prefix": "/v2/models/forecast"}},
        "unit": [{"header": "x-user-id"}],
        "baseline": BASELINE,
        "variants": [{"name": BASELINE}, {"name": ENHANCED, "weight": weight, "reserve": 50}],
    }]})
}

/// Two models, and the namespaces of a gateway and of the models.
pub(crate) struct Stand {
    pub(crate) mesh: &'static Mesh,
    /// The namespace of the proxies.
    pub(crate) ingress: String,
    /// The namespace of the models.
    pub(crate) models: String,
    pub(crate) baseline: Model,
    pub(crate) enhanced: Model,
}

impl Stand {
    pub(crate) async fn start(mesh: &'static Mesh) -> Self {
        let ingress = mesh.namespace("ingress").unwrap();
        let models = mesh.namespace("models").unwrap();
        let labels = |version: &str| json!({"app": "predictor", "version": version});
        let baseline = mesh.model(&models, BASELINE, &labels(BASELINE)).await.unwrap();
        let enhanced = mesh.model(&models, ENHANCED, &labels(ENHANCED)).await.unwrap();
        mesh.service(
            "predictor",
            &json!({"app": "predictor"}),
            &[Port::HTTP],
            &[&baseline, &enhanced],
        )
        .unwrap();
        Self { mesh, ingress, models, baseline, enhanced }
    }

    /// A gateway pod, and a Gateway for [`HOST`].
    pub(crate) fn gateway(&self) -> Pod {
        self.gateway_object();
        self.mesh.gateway(&self.ingress).unwrap()
    }

    /// A client with a sidecar, the application `app`.
    pub(crate) fn client(&self, app: &str) -> Pod {
        self.client_in(&self.models, app)
    }

    /// A client with a sidecar in this namespace, with the label of Istio's injection.
    pub(crate) fn client_in(&self, namespace: &str, app: &str) -> Pod {
        let labels = [("app", app), ("security.istio.io/tlsMode", "istio")];
        self.mesh.pod(PodOptions::new(Role::Sidecar, namespace, app, &labels)).unwrap()
    }

    /// The Service's name that callers in the mesh address.
    pub(crate) fn service(&self) -> String {
        format!("predictor.{}.svc.cluster.local", self.models)
    }

    /// The Service's address. Only sidecars reach it.
    pub(crate) fn service_addr(&self) -> SocketAddr {
        let service = self.mesh.get("service", &self.models, "predictor").unwrap();
        let ip: Ipv4Addr = service["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
        SocketAddr::from((ip, 8080))
    }

    /// The model that serves each of these users, who call the Service from this client.
    pub(crate) fn served_in(
        &self,
        client: &Pod,
        caller: &Caller,
        users: Vec<String>,
    ) -> BTreeMap<String, String> {
        let (addr, caller) = (self.service_addr(), caller.clone());
        let served = client
            .run_inside(move || async move { caller.served(&Client::new(addr), users).await });
        served.unwrap_or_else(|error| panic!("{error:?}\n{}", client.log_tail(20)))
    }

    /// The Gateway `predictors`.
    pub(crate) fn gateway_object(&self) {
        self.gateway_for(&[HOST]);
    }

    /// The Gateway `predictors` for these hosts.
    pub(crate) fn gateway_for(&self, hosts: &[&str]) {
        let gateway = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
            "metadata": {"name": "predictors", "namespace": self.ingress},
            "spec": {"selector": {"istio": self.ingress}, "servers": [{
                "port": {"number": GATEWAY_PORT, "name": "http", "protocol": "HTTP"}, "hosts": hosts}]},
        });
        self.mesh.apply_objects(&[gateway]).unwrap();
    }

    /// The manifests of `render istio` for the gateway.
    pub(crate) fn rendered(&self, experiment: &Value, more: &[&str]) -> String {
        let gateway = format!("{}/predictors", self.ingress);
        let selector = format!("istio={}", self.ingress);
        let options = ["--gateway", &gateway, "--selector", &selector, "--host", HOST];
        self.render(experiment, &[&options, more].concat())
    }

    /// The manifests of `render istio` with these options for the proxy.
    pub(crate) fn render(&self, experiment: &Value, options: &[&str]) -> String {
        let file = self.file(experiment);
        let mut arguments =
            vec!["render", "istio", &file, "--namespace", &self.models, "--service", "predictor"];
        arguments.extend(["--port", "8080"]);
        if !["--url", "--module-path"].iter().any(|given| options.contains(given)) {
            arguments.extend(["--url", self.mesh.image()]);
        }
        sidetrack_command(&[&arguments[..], options].concat()).unwrap()
    }

    /// Writes the experiment to a file.
    pub(crate) fn file(&self, experiment: &Value) -> String {
        self.mesh.file(&format!("{}.json", self.models), &experiment.to_string()).unwrap()
    }

    /// Which variant each user has, by `sidetrack assign`.
    pub(crate) fn assigned(&self, experiment: &Value, users: usize) -> BTreeMap<String, String> {
        let units: String = (0..users).map(|n| format!("user-{n}\n")).collect();
        let units = self.mesh.file(&format!("{}.units", self.models), &units).unwrap();
        let output = Command::new(artifact::cli())
            .args(["assign", &self.file(experiment)])
            .stdin(fs::File::open(units).unwrap())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let row = |line: &str| {
            let cells: Vec<&str> = line.split(',').collect();
            (cells[0].to_owned(), cells[2].to_owned())
        };
        let assigned: BTreeMap<String, String> = text.lines().skip(1).map(row).collect();
        assert_eq!(assigned.len(), users);
        assigned
    }

    /// Waits until the configuration with this weight is in force in the pod.
    pub(crate) async fn in_force(&self, pod: &Pod, experiment: &Value) {
        let hash = self.hash(experiment);
        let begun = Instant::now();
        loop {
            let page = pod.envoy_metrics().await.unwrap_or_default();
            let now = prometheus_value(&page, "ab_test_config_hash", &[]);
            if now == Some(hash) {
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "the hash is {now:?}, expected {hash}\n{}\n{}",
                pod.log_tail(30),
                self.mesh.log_of("istiod").lines().rev().take(10).collect::<Vec<_>>().join("\n")
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The value of `ab_test_config_hash` of what is rendered for this experiment.
    fn hash(&self, experiment: &Value) -> f64 {
        let text = sidetrack_command(&["check", &self.file(experiment), "--json"]).unwrap();
        let report: Value = serde_json::from_str(&text).unwrap();
        f64::from(u32::from_str_radix(&report["hash"].as_str().unwrap()[..8], 16).unwrap())
    }
}

/// Requests of the experiment to one host.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) host: String,
    /// Further headers of each request.
    pub(crate) headers: Vec<(String, String)>,
}

impl Caller {
    pub(crate) fn new(host: &str) -> Self {
        Self { host: host.to_owned(), headers: Vec::new() }
    }

    /// The same caller, which also sends these headers.
    pub(crate) fn with(&self, headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { headers: headers.collect(), ..self.clone() }
    }

    pub(crate) fn request(&self, user: &str) -> Request {
        let request = Request::post("/v2/models/forecast/infer", "{}").header("host", &self.host);
        let request = request.header("x-user-id", user);
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// 100 requests a second of so many users, on open connections. The second part collects the failures.
    pub(crate) fn load(self, addr: SocketAddr, users: u64) -> (Load, Arc<Mutex<Vec<String>>>) {
        let failures = Arc::new(Mutex::new(Vec::new()));
        let mut options =
            LoadOptions::new(addr, 100.0, move |n| self.request(&format!("user-{}", n % users)));
        options.connections = 8;
        let failed = Arc::clone(&failures);
        options.on_answer = Arc::new(move |number, _, answer| {
            let why = match answer {
                Ok(answer) if answer.status == 200 => return,
                Ok(answer) => format!("{number}: {} {}", answer.status, answer.text()),
                Err(error) => format!("{number}: {error:#}"),
            };
            failed.lock().unwrap().push(why);
        });
        (Load::run(options).unwrap(), failures)
    }

    /// Sends a request of each user. Returns the model that served each, and checks that the header names it.
    pub(crate) async fn served(
        &self,
        client: &Client,
        users: impl IntoIterator<Item = String>,
    ) -> Result<BTreeMap<String, String>> {
        let mut served = BTreeMap::new();
        for user in users {
            let answer = client.send(self.request(&user)).await?;
            ensure!(answer.status == 200, "{user}: {} {}", answer.status, answer.text());
            let model = answer.header_text("x-model").unwrap_or_default();
            if let Some(variant) = answer.header_text("x-ab-variant") {
                ensure!(variant == model, "{user} is told {variant}, but {model} has answered");
            }
            served.insert(user, model);
        }
        Ok(served)
    }
}
