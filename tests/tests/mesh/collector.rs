//! A real OpenTelemetry Collector reads an access log and sends it to `sidetrack serve`, while both are killed: each line is
//! stored once.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sidetrack::quantity::Timestamp;
use sidetrack_lab::{Client, Request, first_free_port};
use sidetrack_tests::artifact;

/// Lines of the log, and how many are written between two kills.
const LINES: u64 = 6000;
const PART: u64 = 1000;

const EXPERIMENT: &str = r#"{"experiments": [{"name": "forecast", "unit": [{"header": "x-user-id"}],
    "baseline": "plain", "variants": [{"name": "plain"}, {"name": "fancy", "weight": 40}]}]}"#;

/// A process that is killed when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

struct Scene {
    dir: tempfile::TempDir,
    store: SocketAddr,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Scene {
    /// With the shipped configuration, sending by this exporter to a port from this one on.
    fn new(exporter: &str, from: u16) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let shipped = std::fs::read_to_string(root().join("deploy/collector/collector.yaml"))?;
        let pipeline = "exporters: [otlp_grpc]";
        ensure!(shipped.contains(pipeline), "{shipped}");
        let text = shipped.replace(pipeline, &format!("exporters: [{exporter}]"));
        // Its own metrics would need a port.
        let text = text + "  telemetry: {metrics: {level: none}}\n";
        std::fs::write(dir.path().join("collector.yaml"), text)?;
        std::fs::write(dir.path().join("experiment.json"), EXPERIMENT)?;
        // Not an ephemeral port: while the store is away, a client that tries it again would connect to itself.
        let store = (Ipv4Addr::LOCALHOST, first_free_port(Ipv4Addr::LOCALHOST.into(), from)?);
        Ok(Self { dir, store: store.into() })
    }

    fn output(&self, name: &str) -> Result<File> {
        let path = self.dir.path().join(name);
        Ok(File::options().create(true).append(true).open(path)?)
    }

    fn serve(&self) -> Result<Process> {
        let mut command = Command::new(artifact::cli());
        command.args(["serve", "--store", "data", "experiment.json", "--listen"]);
        command.arg(self.store.to_string()).current_dir(self.dir.path());
        let output = self.output("serve.log")?;
        Ok(Process(command.stdout(output.try_clone()?).stderr(output).spawn()?))
    }

    fn collect(&self) -> Result<Process> {
        let program = root().join(".tools/mesh/bin/collector");
        let folder = self.dir.path();
        let output = self.output("collector.log")?;
        let child = Command::new(&program)
            .args(["--config", "collector.yaml"])
            .arg("--feature-gates=stanza.synchronousLogEmitter")
            .env("STORE", self.store.to_string())
            .env("LOG", folder.join("access.log"))
            .env("STATE", folder.join("state"))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{}; run scripts/setup.sh mesh", program.display()))?;
        Ok(Process(child))
    }

    /// What is stored; `None` while the store is away.
    async fn stored(&self) -> Option<u64> {
        let client = Client::new(self.store);
        let answer = client.send(Request::get("/v1/experiments")).await.ok()?;
        let all: Value = serde_json::from_slice(&answer.body).ok()?;
        all["experiments"][0]["live"]["requests"].as_u64()
    }

    /// Waits until so many lines are stored.
    async fn until(&self, lines: u64) -> Result<()> {
        let begun = Instant::now();
        loop {
            let stored = self.stored().await;
            if stored == Some(lines) {
                return Ok(());
            }
            let log = || {
                let log = std::fs::read_to_string(self.dir.path().join("collector.log"));
                log.unwrap_or_default().lines().rev().take(10).collect::<Vec<_>>().join("\n")
            };
            let is_late = begun.elapsed() > Duration::from_secs(120);
            ensure!(!is_late, "{stored:?} of {lines} lines are stored\n{}", log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn line(number: u64) -> Value {
    let time = Timestamp::new(1_795_424_400_000 + number * 10).to_string();
    let exposure = format!(
        "trial=5cda82bb config=0a1b2c3d weights=fancy=400000/400000 reason=hash bucket=7 unit=u{}",
        number % 500
    );
    json!({
        "time": time, "request_id": format!("r-{number}"), "experiment": "forecast",
        "assigned": "fancy", "served": "fancy", "status": 200, "duration": number % 90,
        "exposure": exposure,
    })
}

async fn story(exporter: &str, from: u16) -> Result<()> {
    let scene = Scene::new(exporter, from)?;
    let (mut server, mut collector) = (scene.serve()?, scene.collect()?);
    let mut log = scene.output("access.log")?;
    for part in 0..LINES / PART {
        for step in 0..10 {
            let first = part * PART + step * PART / 10;
            let lines = (first..first + PART / 10).map(|number| format!("{}\n", line(number)));
            log.write_all(lines.collect::<String>().as_bytes())?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // In turn, and not at the end.
        match part % 3 {
            0 => {
                drop(server);
                server = scene.serve()?;
            }
            1 => {
                drop(collector);
                collector = scene.collect()?;
            }
            _ => {}
        }
    }
    scene.until(LINES).await?;
    // Nothing arrives twice afterwards, as when the collector starts again.
    drop(collector);
    let collector = scene.collect()?;
    log.write_all(format!("{}\n", line(LINES)).as_bytes())?;
    scene.until(LINES + 1).await?;
    drop((collector, server));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_line_is_stored_once_over_grpc() -> Result<()> {
    story("otlp_grpc", 22_200).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_line_is_stored_once_over_http() -> Result<()> {
    story("otlp_http", 22_300).await
}
