//! A real Envoy with istiod's configuration, a model behind each pod, and what a test asks of both.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sidetrack_lab::{
    Client, Envoy, EnvoyBinary, EnvoyOptions, ModelStub, Request, prometheus_value,
};
use sidetrack_tests::artifact;
use sidetrack_tests::istio::{Golden, Local, Release};

use super::{BASELINE, COPIES, Case, ENHANCED};

const USERS: usize = 300;
const LIMIT: Duration = Duration::from_secs(10);

/// A proxy with the models behind it.
pub(super) struct Running {
    pub(super) case: Case,
    pub(super) golden: Golden,
    pub(super) models: BTreeMap<&'static str, ModelStub>,
    pub(super) client: Client,
    envoy: Envoy,
    folder: tempfile::TempDir,
}

pub(super) fn users() -> Vec<String> {
    (0..USERS).map(|n| format!("user-{n}")).collect()
}

/// Headers of a client that must not decide anything.
pub(super) fn forged(request: Request) -> Request {
    request
        .header("x-ab-variant", ENHANCED)
        .header("X-Ab-Variant", ENHANCED)
        .header("x-ab-experiment", "financial-ab-test")
        .header("x-ab-assigned", ENHANCED)
        .header("x-ab-cluster", "outbound|8080||enhanced-predictor.models.svc.cluster.local")
        .header("x-ab-mirror", COPIES)
        .header("x-ab-force", ENHANCED)
}

impl Running {
    /// Starts the proxy of a case, with the plugin or without it.
    pub(super) async fn start(case: Case, plugin: bool) -> Self {
        let golden = case.golden();
        let folder = tempfile::Builder::new().prefix("sidetrack-istio-").tempdir().unwrap();
        let mut models = BTreeMap::new();
        let mut pods = BTreeMap::new();
        for pod in golden.pods().unwrap() {
            let name = case.model(&pod);
            if !models.contains_key(name) {
                models.insert(name, ModelStub::start(name).await.unwrap());
            }
            pods.insert(pod, models[name].addr());
        }
        let local = Local { wasm: artifact::wasm(), folder: folder.path(), pods: &pods, plugin };
        let bootstrap = golden.bootstrap(case.entry, local).unwrap();
        let mut options = EnvoyOptions::new(EnvoyBinary::find().unwrap(), bootstrap);
        options.concurrency = 2;
        options.extra_args = ["--file-flush-interval-msec", "50"].map(String::from).to_vec();
        let envoy = Envoy::start(options).await.unwrap();
        let port = envoy.listener_port("proxy").await.unwrap();
        let client = Client::new(([127, 0, 0, 1], port).into()).with_timeout(LIMIT);
        Self { case, golden, models, client, envoy, folder }
    }

    /// A request of a user, within the conditions of the experiment.
    pub(super) fn request(&self, user: &str) -> Request {
        Request::post("/v2/models/forecast/infer", "{}")
            .header("host", self.case.host)
            .header("x-user-id", user)
    }

    /// The variant of each user, by the command.
    pub(super) fn assigned(&self, experiment: &str) -> BTreeMap<String, String> {
        let units = self.folder.path().join("units.txt");
        fs::write(&units, users().join("\n") + "\n").unwrap();
        let run = Command::new(artifact::cli())
            .arg("assign")
            .arg(&self.golden.experiment)
            .args(["--experiment", experiment])
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
        assert_eq!(assigned.len(), USERS, "{text}");
        assigned
    }

    /// All users send forged headers. Each is served by the variant of the command, and the models
    /// see no header that is only for the proxy.
    pub(super) async fn the_split_is_that_of_the_command(
        &self,
        assigned: &BTreeMap<String, String>,
    ) {
        let mut answered = BTreeMap::new();
        for user in users() {
            let answer = self.client.send(forged(self.request(&user))).await.unwrap();
            assert_eq!(answer.status, 200, "{}\n{}", answer.text(), self.envoy.log_tail(40));
            answered.insert(user, answer.header_text("x-ab-variant").unwrap());
        }
        assert_eq!(answered, *assigned);
        let mut served = BTreeMap::new();
        for name in [BASELINE, ENHANCED] {
            for seen in self.models[name].requests() {
                served.insert(seen.header_text("x-user-id").unwrap(), name.to_owned());
                assert_eq!(seen.header_text("x-ab-variant").as_deref(), Some(name));
                for hidden in ["x-ab-cluster", "x-ab-mirror", "x-ab-force"] {
                    assert_eq!(seen.header_text(hidden), None, "{hidden} at {name}");
                }
            }
        }
        assert_eq!(served, *assigned);
        self.copies_are_counted().await;
    }

    /// The filter publishes its counts on the next tick, and a copy may arrive after the response.
    async fn copies_are_counted(&self) {
        let copies = || self.models.get(COPIES).map_or(0, ModelStub::count);
        let experiment = fs::read_to_string(&self.golden.experiment).unwrap();
        if !experiment.contains("mirror:") {
            assert_eq!(copies(), 0);
            return;
        }
        let labels = [("experiment", "financial-ab-test")];
        self.until("copies arrive and are counted", async || {
            let counted = self.metric("ab_test_mirrored_total", &labels).await;
            copies() > 0 && (self.golden.stats.is_null() || counted == Some(copies()))
        })
        .await;
        assert!(copies() < USERS as u64 / 4, "{}", copies());
    }

    async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        let page = self.envoy.prometheus().await.unwrap();
        prometheus_value(&page, name, labels).map(|value| format!("{value}").parse().unwrap())
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let begun = Instant::now();
        while !holds().await {
            let log = self.envoy.log_tail(40);
            assert!(begun.elapsed() < LIMIT, "{what}: not within 10 s\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The labels are those of the agent's bootstrap, which 1.29's data do not contain.
    pub(super) async fn metrics_have_labels(&self, assigned: &BTreeMap<String, String>) {
        if self.golden.stats.is_null() {
            return;
        }
        for name in [BASELINE, ENHANCED] {
            let expected = assigned.values().filter(|variant| *variant == name).count() as u64;
            let labels =
                [("experiment", "financial-ab-test"), ("model_name", name), ("status", "success")];
            self.until(&format!("{expected} requests of {name} are counted"), async || {
                self.metric("ab_test_requests_total", &labels).await == Some(expected)
            })
            .await;
        }
    }

    /// One line per request, by the rendered Telemetry and the mesh's settings.
    pub(super) async fn the_log_has_each_request(&self, assigned: &BTreeMap<String, String>) {
        let file = self.folder.path().join("stdout.log");
        let read = || fs::read_to_string(&file).unwrap_or_default();
        self.until("the log is written", async || read().lines().count() >= USERS).await;
        let lines: Vec<Value> =
            read().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), USERS);
        for name in [BASELINE, ENHANCED] {
            let expected = assigned.values().filter(|variant| *variant == name).count();
            assert_eq!(lines.iter().filter(|line| line["served"] == name).count(), expected);
        }
        for line in &lines {
            assert_eq!(line["experiment"], "financial-ab-test", "{line}");
            assert_eq!(line["assigned"], line["served"], "{line}");
            assert_eq!(line["status"], 200, "{line}");
            let texts = ["time", "request_id", "method", "path", "cluster"];
            assert!(texts.iter().all(|field| line[field].is_string()), "{line}");
            assert!(line["duration"].is_u64(), "{line}");
            let cluster = line["cluster"].as_str().unwrap();
            assert_eq!(line["served"] == ENHANCED, cluster.contains(ENHANCED), "{line}");
        }
        if self.case.release == Release::Istio1_29 {
            // Rendered by an older version, whose log has other fields for the exposure.
            return;
        }
        for line in &lines {
            assert_eq!(line["served"], assigned[&exposed(line, "unit")].as_str(), "{line}");
            assert_eq!(exposed(line, "reason"), "hash", "{line}");
            assert!(exposed(line, "bucket").parse::<u32>().unwrap() < 1_000_000, "{line}");
        }
    }

    /// Without the plugin. Forged headers have no effect where the guard removes them.
    pub(super) async fn all_users_get_the_baseline(&self) {
        for user in users().iter().take(40) {
            let mut request = self.request(user);
            if self.case.guard {
                request = forged(request);
            }
            let answer = self.client.send(request).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header_text("x-ab-variant"), None);
        }
        self.served(&[(BASELINE, 40)]);
    }

    /// The counter of requests without the filter, whose name Istio makes of the route's prefix.
    pub(super) async fn bypasses_are_counted(&self, expected: u64) {
        if self.golden.stats.is_null() {
            return;
        }
        let count = async || {
            let page = self.envoy.prometheus().await.unwrap();
            let is_it = |line: &&str| {
                line.starts_with("envoy_vhost_")
                    && line
                        .contains("_route_sidetrack_bypass_financial_ab_test_upstream_rq_completed")
            };
            let values = page.lines().filter(is_it).filter_map(|line| line.rsplit_once(' '));
            let counts: Vec<u64> = values.map(|(_, value)| value.parse().unwrap()).collect();
            counts.iter().sum::<u64>()
        };
        self.until(&format!("{expected} requests bypass the filter"), async || {
            count().await == expected
        })
        .await;
    }

    /// How many requests each model served since the start; the others none.
    pub(super) fn served(&self, expected: &[(&'static str, u64)]) {
        let counts: BTreeMap<&str, u64> = self
            .models
            .iter()
            .map(|(name, model)| (*name, model.count()))
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(counts, expected.iter().copied().collect(), "{}", self.case.name);
    }
}

/// A value of the exposure in a line of the log.
fn exposed(line: &Value, key: &str) -> String {
    let mut values = sidetrack::exposure::values(line["exposure"].as_str().unwrap());
    values.find(|(other, _)| *other == key).unwrap().1.to_owned()
}
