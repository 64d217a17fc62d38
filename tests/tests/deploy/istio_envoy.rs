//! What `sidetrack render istio` writes, end to end: a real Envoy with the configuration that
//! istiod would derive from the rendered manifests, a model behind each cluster, and users.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

mod baselines;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidetrack_lab::{
    Client, Envoy, EnvoyBinary, EnvoyOptions, ModelStub, Request, prometheus_value,
};
use sidetrack_tests::artifact;
use sidetrack_tests::istiod::{Machine, Mesh, Proxy, Role, Service};
use sidetrack_tests::world::sidetrack_command;

const BASELINE: &str = "baseline-predictor";
const ENHANCED: &str = "enhanced-predictor";
const HOST: &str = "predictor.example.com";
const USERS: usize = 300;

/// Two versions of a model, half of the users each, and copies of a fifth of them.
fn experiment() -> Value {
    json!({"experiments": [{
        "name": "forecast",
        "salt": "2026",
        "match": {"path": {"prefix": "/v2/models/forecast"}},
        "unit": [{"header": "x-user-id"}],
        "baseline": BASELINE,
        "variants": [
            {"name": BASELINE, "cluster": "forecast-1"},
            {"name": ENHANCED, "cluster": "forecast-2", "weight": 50, "request_headers": {"x-model-version": "2.0.0"}},
        ],
        "mirror": {"cluster": "traffic-mirror", "percent": 20},
    }], "settings": {"exposure_unit": "plain"}})
}

const GATEWAY: Proxy<'_> = Proxy {
    role: Role::Gateway("istio-ingress/predictors"),
    namespace: "istio-ingress",
    labels: &[("istio", "ingressgateway"), ("app", "gateway")],
    annotations: &[],
};
const SIDECAR: Proxy<'_> = Proxy {
    role: Role::Sidecar,
    namespace: "models",
    labels: &[("app", "frontend")],
    // Instead of the mesh's list.
    annotations: &[(
        "sidecar.istio.io/extraStatTags",
        "experiment,model_name,phase,status,le,plugin,reason",
    )],
};
const WAYPOINT: Proxy<'_> = Proxy {
    role: Role::Waypoint("predictor.models.svc.cluster.local"),
    namespace: "models",
    labels: &[],
    annotations: &[],
};

/// A service for each version, or one for both.
enum Services {
    Two,
    OneWithSubsets,
}

/// A case: how it is rendered, and the proxy that gets it.
struct Case {
    proxy: Proxy<'static>,
    services: Services,
    /// What callers address.
    host: &'static str,
    options: &'static [&'static str],
    /// The cluster of the enhanced model, as istiod calls it.
    cluster: &'static str,
}

/// A proxy with the models behind it.
struct Running {
    models: BTreeMap<String, ModelStub>,
    envoy: Envoy,
    client: Client,
    folder: tempfile::TempDir,
    host: &'static str,
}

fn manifests(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

impl Case {
    /// Renders the experiment, lets `change` look at the mesh, and starts the proxy.
    async fn start(&self, change: impl FnOnce(&mut Mesh)) -> Running {
        let folder = tempfile::Builder::new().prefix("sidetrack-istio-").tempdir().unwrap();
        let file = folder.path().join("experiment.json");
        fs::write(&file, experiment().to_string()).unwrap();
        let file = file.to_str().unwrap();
        let mut arguments = vec!["render", "istio", file, "--namespace", "models"];
        arguments.extend(self.options);
        let text = sidetrack_command(&arguments).unwrap();
        let config =
            manifests(&sidetrack_command(&["render", "istio", file, "--mesh-config"]).unwrap());
        let mut models = BTreeMap::new();
        for name in [BASELINE, ENHANCED, "traffic-mirror"] {
            models.insert(name.to_owned(), ModelStub::start(name).await.unwrap());
        }
        let mut mesh = Mesh {
            manifests: manifests(&text),
            config: config[0]["meshConfig"].clone(),
            services: self.services(&models),
        };
        change(&mut mesh);
        let machine = Machine { wasm: artifact::wasm(), folder: folder.path() };
        let bootstrap = mesh.bootstrap(&self.proxy, machine).unwrap();
        let mut options = EnvoyOptions::new(EnvoyBinary::find().unwrap(), bootstrap);
        options.concurrency = 2;
        options.extra_args = ["--file-flush-interval-msec", "50"].map(String::from).to_vec();
        let envoy = Envoy::start(options).await.unwrap();
        let port = envoy.listener_port("proxy").await.unwrap();
        let client =
            Client::new(([127, 0, 0, 1], port).into()).with_timeout(Duration::from_secs(10));
        Running { models, envoy, client, folder, host: self.host }
    }

    fn services(&self, models: &BTreeMap<String, ModelStub>) -> Vec<Service> {
        // The clusters have other names than the variants, as in most meshes.
        let pod = |cluster: &str| {
            let name = match cluster {
                "forecast-1" => BASELINE,
                "forecast-2" => ENHANCED,
                other => other,
            };
            (BTreeMap::from([("version".to_owned(), cluster.to_owned())]), models[name].addr())
        };
        let service = |host: &str, pods: &[&str]| Service {
            host: format!("{host}.models.svc.cluster.local"),
            port: 8080,
            pods: pods.iter().map(|name| pod(name)).collect(),
        };
        let mut services = vec![service("traffic-mirror", &["traffic-mirror"])];
        match self.services {
            Services::Two => services.extend([
                service("forecast-1", &["forecast-1"]),
                service("forecast-2", &["forecast-2"]),
            ]),
            Services::OneWithSubsets => {
                services.push(service("predictor", &["forecast-1", "forecast-2"]))
            }
        }
        services
    }

    /// The whole life: split, headers, statistics, log; and the same without the filter.
    async fn works(&self) {
        let running = self.start(|_| ()).await;
        let assigned = running.assigned();
        running.the_split_is_that_of_the_command(&assigned).await;
        running.metrics_have_labels(&assigned).await;
        running.the_log_tells_each_request(&assigned, self.cluster).await;
        let filterless = |mesh: &mut Mesh| {
            mesh.manifests.retain(|manifest| {
                manifest["kind"] != "WasmPlugin" && manifest["kind"] != "TrafficExtension"
            });
        };
        let running = self.start(filterless).await;
        running.everyone_gets_the_baseline(self.proxy.role).await;
    }
}

fn users() -> Vec<String> {
    (0..USERS).map(|n| format!("user-{n}")).collect()
}

impl Running {
    fn request(&self, user: &str) -> Request {
        Request::post("/v2/models/forecast/infer", "{}")
            .header("host", self.host)
            .header("x-user-id", user)
    }

    /// Which variant each user has, by the command.
    fn assigned(&self) -> BTreeMap<String, String> {
        let units = self.folder.path().join("units.txt");
        fs::write(&units, users().join("\n") + "\n").unwrap();
        let run = Command::new(artifact::cli())
            .arg("assign")
            .arg(self.folder.path().join("experiment.json"))
            .stdin(fs::File::open(units).unwrap())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let text = String::from_utf8(run.stdout).unwrap();
        let row = |line: &str| {
            let cells: Vec<&str> = line.split(',').collect();
            (cells[0].to_owned(), cells[2].to_owned())
        };
        let assigned: BTreeMap<String, String> = text.lines().skip(1).map(row).collect();
        assert_eq!(assigned.len(), USERS);
        assigned
    }

    async fn the_split_is_that_of_the_command(&self, assigned: &BTreeMap<String, String>) {
        let mut told = BTreeMap::new();
        for user in users() {
            // Headers of a client have no effect and do not reach a model.
            let forged = self
                .request(&user)
                .header("x-ab-variant", "other")
                .header("x-ab-cluster", "traffic-mirror")
                .header("x-ab-mirror", "traffic-mirror")
                .header("x-ab-force", ENHANCED);
            let answer = self.client.send(forged).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            told.insert(user, answer.header_text("x-ab-variant").unwrap());
        }
        assert_eq!(told, *assigned);
        let mut served = BTreeMap::new();
        for name in [BASELINE, ENHANCED] {
            for seen in self.models[name].requests() {
                served.insert(seen.header_text("x-user-id").unwrap(), name.to_owned());
                assert_eq!(seen.header_text("x-ab-variant").as_deref(), Some(name));
                let version = (name == ENHANCED).then(|| "2.0.0".to_owned());
                assert_eq!(seen.header_text("x-model-version"), version);
                for hidden in ["x-ab-cluster", "x-ab-mirror", "x-ab-force"] {
                    assert_eq!(seen.header_text(hidden), None, "{hidden} at {name}");
                }
            }
        }
        assert_eq!(served, *assigned);
        let begun = Instant::now();
        // The filter publishes its counts on the next tick, and a copy may arrive after the
        // response.
        let (copies, counted) = loop {
            let counted =
                self.metric("ab_test_mirrored_total", &[("experiment", "forecast")]).await;
            let copies = self.models["traffic-mirror"].count();
            if copies == counted && counted > 0 || begun.elapsed() > Duration::from_secs(10) {
                break (copies, counted);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(copies, counted);
        assert!(copies < USERS as u64 / 2, "{copies}");
    }

    /// Waits until Envoy has counted every request that has ended.
    async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.until("no request is under way", || async {
            self.envoy
                .stats("^http.proxy.downstream_rq_active$")
                .await
                .unwrap()
                .values()
                .all(|active| *active == 0)
        })
        .await;
        let page = self.envoy.prometheus().await.unwrap();
        let value = prometheus_value(&page, name, labels);
        let value =
            value.unwrap_or_else(|| panic!("no {name}{labels:?} in {}", lines_with(&page, name)));
        format!("{value}").parse().unwrap()
    }

    async fn until<F: Future<Output = bool>>(&self, what: &str, mut holds: impl FnMut() -> F) {
        let begun = Instant::now();
        while !holds().await {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{what}: not within 10 s\n{}",
                self.envoy.log_tail(40)
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn metrics_have_labels(&self, assigned: &BTreeMap<String, String>) {
        for name in [BASELINE, ENHANCED] {
            let labels = [("experiment", "forecast"), ("model_name", name), ("status", "success")];
            let expected = assigned.values().filter(|variant| *variant == name).count() as u64;
            let begun = Instant::now();
            // The gauge of requests under way falls a moment before the filter counts.
            while self.metric("ab_test_requests_total", &labels).await != expected {
                assert!(begun.elapsed() < Duration::from_secs(10), "{name}: {expected}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    async fn the_log_tells_each_request(&self, assigned: &BTreeMap<String, String>, cluster: &str) {
        let file = self.folder.path().join("stdout.log");
        let read = || fs::read_to_string(&file).unwrap_or_default();
        self.until("the log is written", || async { read().lines().count() >= USERS }).await;
        let lines: Vec<Value> =
            read().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), USERS);
        let told: BTreeMap<String, String> = lines
            .iter()
            .map(|line| (exposed(line, "unit"), line["served"].as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(told, *assigned);
        for line in &lines {
            assert_eq!(line["experiment"], "forecast", "{line}");
            assert_eq!(line["assigned"], line["served"], "{line}");
            assert_eq!(exposed(line, "reason"), "hash", "{line}");
            let bucket: u32 = exposed(line, "bucket").parse().unwrap();
            assert_eq!(line["served"] == ENHANCED, bucket < 500_000, "{line}");
            assert_eq!(line["status"], 200, "{line}");
            assert!(
                line["duration"].is_u64()
                    && line["time"].is_string()
                    && line["request_id"].is_string(),
                "{line}"
            );
            assert_eq!(line["served"] == ENHANCED, line["cluster"] == cluster, "{line}");
        }
    }

    async fn everyone_gets_the_baseline(&self, role: Role<'_>) {
        for user in users().iter().take(40) {
            let mut request = self.request(user);
            // No EnvoyFilter takes a client's headers away before a waypoint.
            if !matches!(role, Role::Waypoint(_)) {
                request = request
                    .header("x-ab-variant", ENHANCED)
                    .header(
                        "x-ab-cluster",
                        "outbound|8080||traffic-mirror.models.svc.cluster.local",
                    )
                    .header("x-ab-mirror", "traffic-mirror");
            }
            let answer = self.client.send(request).await.unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header_text("x-ab-variant"), None);
        }
        let counts: Vec<u64> = self.models.values().map(ModelStub::count).collect();
        assert_eq!(counts, [40, 0, 0], "baseline, enhanced, mirror");
    }
}

fn lines_with(page: &str, name: &str) -> String {
    page.lines().filter(|line| line.contains(name)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_gateway_with_subsets() {
    let case = Case {
        proxy: GATEWAY,
        services: Services::OneWithSubsets,
        host: HOST,
        options: &[
            "--gateway",
            "istio-ingress/predictors",
            "--host",
            HOST,
            "--service",
            "predictor",
        ],
        cluster: "outbound|8080|forecast-2|predictor.models.svc.cluster.local",
    };
    case.works().await;
}

#[tokio::test]
async fn a_gateway_whose_clusters_come_from_a_header() {
    let case = Case {
        proxy: GATEWAY,
        services: Services::Two,
        host: HOST,
        options: &[
            "--gateway",
            "istio-ingress/predictors",
            "--route",
            "envoyfilter",
            "--port",
            "8080",
        ],
        cluster: "outbound|8080||forecast-2.models.svc.cluster.local",
    };
    case.works().await;
}

#[tokio::test]
async fn a_sidecar_with_a_traffic_extension() {
    let case = Case {
        proxy: SIDECAR,
        services: Services::Two,
        host: "forecast-1.models.svc.cluster.local",
        options: &[
            "--topology",
            "sidecar",
            "--selector",
            "app=frontend",
            "--kind",
            "trafficextension",
        ],
        cluster: "outbound|8080||forecast-2.models.svc.cluster.local",
    };
    case.works().await;
}

#[tokio::test]
async fn a_sidecar_whose_clusters_come_from_a_header() {
    let case = Case {
        proxy: SIDECAR,
        services: Services::OneWithSubsets,
        host: "predictor.models.svc.cluster.local",
        options: &[
            "--topology",
            "sidecar",
            "--route",
            "envoyfilter",
            "--service",
            "predictor",
            "--port",
            "8080",
        ],
        cluster: "outbound|8080|forecast-2|predictor.models.svc.cluster.local",
    };
    case.works().await;
}

#[tokio::test]
async fn a_waypoint() {
    let case = Case {
        proxy: WAYPOINT,
        services: Services::OneWithSubsets,
        host: "predictor.models",
        options: &["--topology", "waypoint", "--service", "predictor", "--port", "8080"],
        cluster: "inbound-vip|8080|http/forecast-2|predictor.models.svc.cluster.local",
    };
    case.works().await;
}

/// A value of the exposure in a line of the log.
fn exposed(line: &Value, key: &str) -> String {
    let mut values = sidetrack::exposure::values(line["exposure"].as_str().unwrap());
    values.find(|(other, _)| *other == key).unwrap().1.to_owned()
}
