//! The account of the chart, the experiment, the traffic and its log.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidetrack::quantity::Timestamp;
use sidetrack_lab::{Load, LoadOptions, Totals};
use sidetrack_tests::artifact;
use sidetrack_tests::mesh::{Mesh, Pod, program};
use sidetrack_tests::world::sidetrack_command;

use crate::stand::{self, Caller, ENHANCED, GATEWAY_PORT, HOST, Stand};

/// Through 10, 30 and 50 %, three seconds each. The breaker is off: what it stops, `advance` never sees.
pub(crate) fn experiment(weight: u32) -> Value {
    let mut file = stand::experiment(0.0);
    let experiment = &mut file["experiments"][0];
    experiment["variants"][1]["weight"] = weight.into();
    experiment["breaker"] = json!({"mode": "disabled"});
    experiment["analysis"] = json!({
        "metrics": ["error_rate"], "guardrails": ["latency_p95:2s"], "planned_units": 1_000_000,
        "steps": [
            {"weight": 10, "min_for": "3s", "min_units": 50}, {"weight": 30, "min_for": "3s"},
            {"weight": 50, "min_for": "1h"},
        ],
    });
    file
}

pub(super) fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr].concat();
    // Without the breaks of lines.
    String::from_utf8_lossy(&all).replace("\n    ", " ")
}

/// The service account of a chart with `advance.enabled`.
pub(super) struct Account {
    mesh: &'static Mesh,
    namespace: String,
    name: String,
    kubeconfig: String,
    pub(super) token: String,
}

impl Account {
    /// Applies the manifests of the chart for the plugin of this name, and takes a token.
    pub(super) fn of_the_chart(stand: &Stand, name: &str) -> Self {
        let mesh = stand.mesh;
        mesh.apply(&manifests(stand, name)).unwrap();
        let account = format!("sidetrack-advance-{name}");
        let namespace = stand.ingress.clone();
        let token = mesh.kubectl(&["create", "token", &account, "-n", &namespace]).unwrap();
        let token = token.trim().to_owned();
        let text = std::fs::read_to_string(mesh.kubeconfig()).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["users"][0]["user"] = json!({"token": token});
        let kubeconfig =
            mesh.file(&format!("{namespace}-{name}.kubeconfig"), &config.to_string()).unwrap();
        Self { mesh, namespace, name: name.to_owned(), kubeconfig, token }
    }

    /// `sidetrack advance --apply kube` for the plugin.
    pub(super) fn advance(&self, more: &[&str]) -> Output {
        self.run(&[&["--name", &self.name, "-n", &self.namespace], more].concat())
    }

    pub(super) fn run(&self, more: &[&str]) -> Output {
        let kubectl = program("kubectl").unwrap();
        let path = std::env::var("PATH").unwrap();
        Command::new(artifact::cli())
            .args(["advance", "--apply", "kube", "--kubeconfig", &self.kubeconfig])
            .args(more)
            .env("PATH", format!("{}:{path}", kubectl.parent().unwrap().display()))
            .env("HOME", self.mesh.folder())
            .env("NO_COLOR", "1")
            .output()
            .unwrap()
    }

    /// What the account may do.
    pub(super) fn can(&self) -> String {
        let words = ["auth", "can-i", "--list", "-n", &self.namespace, "--token", &self.token];
        let plain = ["--kubeconfig", &self.kubeconfig];
        self.mesh.kubectl(&[&words[..], &plain].concat()).unwrap()
    }
}

/// The manifests of a chart with `advance.enabled`, for the plugin of this name.
fn manifests(stand: &Stand, name: &str) -> String {
    let file = stand.file(&experiment(10));
    let chart = stand.mesh.folder().join(format!("advance-{}-{name}", stand.models));
    let (chart, gateway) = (chart.to_str().unwrap(), format!("{}/predictors", stand.ingress));
    let options = ["--gateway", &gateway, "--host", HOST, "--name", name, "--service", "predictor"];
    let url = ["--url", stand.mesh.image(), "--namespace", &stand.models, "--out", chart];
    sidetrack_command(&[&["render", "helm", &file], &options[..], &url].concat()).unwrap();
    let set = "advance.enabled=true,advance.image=example.com/sidetrack:1,advance.store=http://s";
    let only = ["--set", set, "--show-only", "templates/advance.yaml"];
    let mut helm = stand.mesh.command("helm").unwrap();
    let output = helm.args(["template", "ab", chart]).args(only).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Requests of many users.
pub(super) struct Traffic<'p> {
    gateway: &'p Pod,
    load: Load,
}

impl<'p> Traffic<'p> {
    pub(super) fn start(gateway: &'p Pod) -> Self {
        let caller = Caller::new(HOST);
        let mut options = LoadOptions::new(gateway.addr(GATEWAY_PORT), 100.0, move |n| {
            caller.request(&format!("user-{n}"))
        });
        options.connections = 8;
        Self { gateway, load: Load::run(options).unwrap() }
    }

    /// The access log until now, in a file of its own, when it has five seconds with this weight.
    pub(super) async fn log_at(&self, stand: &Stand, weight: u32) -> String {
        const LASTS: u64 = 5000;
        let begun = Instant::now();
        let with = format!("{ENHANCED}={}/", weight * 10_000);
        loop {
            let log = self.gateway.access_log();
            let is_at =
                |line: &&Value| line["exposure"].as_str().is_some_and(|it| it.contains(&with));
            let time =
                |line: &Value| Timestamp::parse(line["time"].as_str().unwrap()).unwrap().get();
            let times: Vec<u64> = log.iter().filter(is_at).map(time).collect();
            let lasted = times.iter().max().zip(times.iter().min()).map(|(to, from)| to - from);
            if lasted > Some(LASTS) {
                let lines: String = log.iter().map(|line| format!("{line}\n")).collect();
                return stand.mesh.file(&format!("{}-{weight}.log", stand.models), &lines).unwrap();
            }
            assert!(
                begun.elapsed() < Duration::from_secs(90),
                "{} lines, {} at {weight} %: {:?}",
                log.len(),
                times.len(),
                log.last()
            );
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Waits until so many requests of the log have failed.
    pub(super) async fn fails(&self, requests: usize) {
        let begun = Instant::now();
        let failed = |line: &&Value| line["status"].to_string().trim_matches('"') == "500";
        while self.gateway.access_log().iter().filter(failed).count() < requests {
            assert!(begun.elapsed() < Duration::from_secs(90), "{}", self.gateway.log_tail(5));
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    pub(super) async fn pause(self) -> Totals {
        self.load.stop().await
    }
}

/// Two versions of a plugin are the same but for the weight of the candidate, the note, and what the API server counts.
pub(super) fn same_but_weight(before: &Value, after: &Value) {
    let plain = |plugin: &Value| {
        let mut plugin = plugin.clone();
        plugin["spec"]["pluginConfig"]["experiments"][0]["variants"][1]["weight"] = Value::Null;
        let metadata = plugin["metadata"].as_object_mut().unwrap();
        for key in ["managedFields", "resourceVersion", "generation"] {
            metadata.remove(key);
        }
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove("sidetrack/rolled-back");
        }
        plugin
    };
    assert_eq!(plain(before), plain(after));
}

/// A store whose answer is the analysis of a log, and which does something before its first answer.
pub(super) struct Store {
    pub(super) url: String,
    asked: Arc<AtomicUsize>,
}

impl Store {
    pub(super) fn start(stand: &Stand, log: &str, first: impl Fn() + Send + 'static) -> Self {
        let file = stand.file(&experiment(10));
        let analysis =
            sidetrack_command(&["analyze", "run", &file, "--exposures", log, "--json"]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // One request, without a body.
                let _ = stream.read(&mut [0; 4096]).unwrap();
                if count.fetch_add(1, Ordering::SeqCst) == 0 {
                    first();
                }
                let length = analysis.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(format!("{head}{analysis}").as_bytes()).unwrap();
            }
        });
        Self { url, asked }
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
