//! `render istio --otlp`: a real gateway sends its exposures to a real `sidetrack serve`, which stores what the access log
//! has. Also the store for the tests of Envoy Gateway.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidetrack_lab::{Client, Request};
use sidetrack_tests::artifact;
use sidetrack_tests::mesh::{Mesh, Port, RECEIVER};
use sidetrack_tests::world::sidetrack_command;
use tokio::net::{TcpListener, TcpStream};

use crate::advance::setup::experiment;
use crate::stand::{Caller, GATEWAY_PORT, HOST, Stand};

const USERS: usize = 200;

/// `sidetrack serve` on loopback, behind a port that pods reach, as behind a sidecar of its own. It ends when it is
/// dropped.
pub(crate) struct Store {
    child: Child,
    folder: PathBuf,
    addr: SocketAddr,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Store {
    /// A store for this experiment.
    pub(crate) fn start(mesh: &Mesh, experiment: &Value) -> Self {
        let folder = tempfile::tempdir_in(mesh.folder()).unwrap().keep();
        std::fs::write(folder.join("experiment.json"), experiment.to_string()).unwrap();
        let mut child = Command::new(artifact::cli())
            .args(["serve", "--store", "data", "experiment.json", "--listen", "127.0.0.1:0"])
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let addr = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on http://")?.parse().ok())
            .unwrap();
        Self { child, folder, addr }
    }

    /// Takes connections at this address, and passes them to the store.
    pub(crate) async fn reachable_at(&self, addr: SocketAddr) -> SocketAddr {
        let (listener, store) = (TcpListener::bind(addr).await.unwrap(), self.addr);
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut to = TcpStream::connect(store).await?;
                    tokio::io::copy_bidirectional(&mut from, &mut to).await
                });
            }
        });
        addr
    }

    async fn get(&self, path: &str) -> String {
        let answer = Client::new(self.addr).send(Request::get(path)).await.unwrap();
        answer.text().clone()
    }

    /// Waits until as many exposures are stored as the log has; then the verdict is that of the log, and nothing else was
    /// sent. A proxy writes its log and sends its exposures in groups.
    pub(crate) async fn equals(&self, least: usize, log: impl Fn() -> Vec<Value>) {
        let begun = Instant::now();
        let log = loop {
            let log = log();
            let logged = log.iter().filter(|line| line["experiment"].is_string()).count();
            let all: Value = serde_json::from_str(&self.get("/v1/experiments").await).unwrap();
            let stored = all["experiments"][0]["live"]["requests"].as_u64().unwrap_or_default();
            if logged >= least && stored == logged as u64 {
                break log;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{logged} expected: {all:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let metrics = self.get("/metrics").await;
        for result in ["outside", "malformed", "unknown_experiment"] {
            let none = format!("{{result=\"{result}\"}} 0\n");
            assert!(metrics.contains(&none), "{metrics}");
        }
        let lines: String = log.iter().map(|line| format!("{line}\n")).collect();
        let (log, file) = (self.folder.join("access.log"), self.folder.join("experiment.json"));
        std::fs::write(&log, lines).unwrap();
        let [log, file] = [&log, &file].map(|path| path.to_str().unwrap());
        let analyze = ["analyze", "run", file, "--json", "--exposures", log];
        let mut logged: Value =
            serde_json::from_str(&sidetrack_command(&analyze).unwrap()).unwrap();
        let page = self.get("/v1/experiments/financial-ab-test").await;
        let mut stored: Value = serde_json::from_str(&page).unwrap();
        stored.as_object_mut().unwrap().remove("live");
        // The log also has the requests outside of the experiment.
        for lines in [&mut stored["lines"], &mut logged["lines"]] {
            let lines = lines.as_object_mut().unwrap();
            lines.remove("read");
            lines.remove("excluded");
        }
        // The order of the rows changes the last digit of a sum.
        [&mut stored, &mut logged].into_iter().for_each(rounded);
        assert_eq!(stored, logged);
    }
}

/// Numbers to ten digits.
fn rounded(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let text = format!("{:.9e}", number.as_f64().unwrap());
            *value = text.parse::<f64>().unwrap().into();
        }
        Value::Array(items) => items.iter_mut().for_each(rounded),
        Value::Object(fields) => fields.values_mut().for_each(rounded),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_sends_what_it_logs() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let experiment = experiment(30);
    let store = Store::start(mesh, &experiment);
    // The Service that the mesh's settings name.
    let (host, port) = RECEIVER.rsplit_once(':').unwrap();
    let mut names = host.split('.');
    let (name, namespace) = (names.next().unwrap(), names.next().unwrap());
    mesh.kubectl(&["create", "namespace", namespace]).unwrap();
    let labels = json!({"app": name});
    let pod = mesh.model(namespace, name, &labels).await.unwrap();
    let number = port.parse().unwrap();
    let port = Port { name: "grpc-otlp", number, target: number };
    mesh.service(name, &labels, &[port], &[&pod]).unwrap();
    store.reachable_at(SocketAddr::from((pod.ip(), number))).await;

    mesh.apply(&stand.rendered(&experiment, &["--otlp", RECEIVER, "--catch-all"])).unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &experiment).await;
    let client = gateway.client(GATEWAY_PORT);
    let assigned = stand.assigned(&experiment, USERS);
    // Before the plugin was in force, requests had no variant.
    let served = Caller::new(HOST).served(&client, assigned.keys().cloned()).await.unwrap();
    assert_eq!(served, assigned);
    for number in 0..20 {
        let other = Request::get(format!("/other/{number}")).header("host", HOST);
        assert_eq!(client.send(other).await.unwrap().status, 200);
    }
    mesh.until("the access log is complete", || Ok(gateway.access_log().len() >= USERS + 20))
        .unwrap();
    store.equals(USERS, || gateway.access_log()).await;
}
