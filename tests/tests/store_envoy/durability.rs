//! Minutes of traffic through a real Envoy, with stores that are killed again and again, a disk that is full for a while, and
//! restarts of Envoy. Nothing that was acknowledged is lost, nothing counts twice, and the verdict is that of the raw log.
//!
//! Three stores take the same traffic: one follows Envoy's log, one gets the log from a sender that tries again and sends
//! each batch twice, and one gets OTLP from Envoy itself, which keeps nothing for a store that is away.
//!
//! `SIDETRACK_LONG=1` runs ten minutes at 500 requests per second, with a kill every 30 s.

mod disk;
mod node;
mod sender;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sidetrack_lab::{
    Behavior, Envoy, EnvoyBinary, EnvoyOptions, Load, LoadOptions, ModelStub, Request,
    first_free_port,
};
use sidetrack_tests::artifact;

use crate::run;
use disk::Disk;
use node::Node;
use sender::Sender;

/// How long, how much, and how often something breaks.
struct Scale {
    seconds: u64,
    rate: f64,
    /// Seconds from one kill to the next.
    kill: u64,
    /// Seconds of a full disk.
    full: u64,
    /// The size of the disk, of which the stores need less than half.
    disk: &'static str,
}

impl Scale {
    fn of_environment() -> Self {
        match std::env::var_os("SIDETRACK_LONG") {
            Some(_) => Self { seconds: 600, rate: 500.0, kill: 30, full: 20, disk: "3g" },
            None => Self { seconds: 30, rate: 200.0, kill: 5, full: 4, disk: "256m" },
        }
    }
}

/// The experiment, as a file in this folder.
fn write_experiment(folder: &Path) -> Result<()> {
    let experiment = json!({"experiments": [{
        "name": "forecast", "match": {"path": {"prefix": "/v2/"}},
        "unit": [{"header": "x-user-id"}], "baseline": "plain",
        "variants": [{"name": "plain", "cluster": "plain"}, {"name": "fancy", "cluster": "fancy", "weight": 40}],
        "breaker": {"mode": "disabled"},
        "analysis": {"metrics": ["accuracy"], "guardrails": ["error_rate:1pt"], "planned_units": 1_000_000},
    }]});
    Ok(std::fs::write(folder.join("experiment.json"), experiment.to_string())?)
}

/// The bootstrap of an Envoy that logs to a file and sends to a store.
fn bootstrap(
    folder: &Path,
    models: &[ModelStub],
    listen: &str,
    otlp: SocketAddr,
) -> Result<String> {
    let wasm = artifact::wasm().display().to_string();
    let endpoints: Vec<String> =
        models.iter().map(|stub| format!("{}={}", stub.name(), stub.addr())).collect();
    let (otlp, log) = (otlp.to_string(), folder.join("access.log").display().to_string());
    let mut arguments = vec!["render", "envoy", "experiment.json", "--wasm", &wasm];
    arguments.extend(["--listen", listen, "--admin", "127.0.0.1:0"]);
    arguments.extend(["--otlp", &otlp, "--access-log", &log]);
    for endpoint in &endpoints {
        arguments.extend(["--endpoint", endpoint]);
    }
    Ok(String::from_utf8(run(folder, &arguments)?)?)
}

async fn start_envoy(bootstrap: &str) -> Result<Envoy> {
    let mut options = EnvoyOptions::new(EnvoyBinary::find()?, bootstrap);
    options.concurrency = 2;
    options.extra_args = ["--file-flush-interval-msec", "500"].map(String::from).to_vec();
    Envoy::start(options).await
}

/// Keeps everything that breaks at its times, until the traffic ends.
async fn break_things(
    scale: &Scale,
    nodes: &mut [Node; 3],
    disk: &mut Disk,
    mut envoy: Envoy,
    bootstrap: &str,
) -> Result<(Envoy, u64)> {
    let begun = Instant::now();
    let (mut kills, mut restarts) = (0, 0);
    let full = scale.seconds / 2..scale.seconds / 2 + scale.full;
    loop {
        let at = begun.elapsed().as_secs();
        if at >= scale.seconds {
            return Ok((envoy, kills));
        }
        if at >= (kills + 1) * scale.kill {
            kills += 1;
            for node in nodes.iter_mut() {
                node.kill_and_start().await?;
            }
        }
        // In order, and as in a crash, which loses what Envoy had not written.
        if restarts == 0 && at >= scale.seconds / 3 {
            restarts = 1;
            envoy = envoy.restart(bootstrap).await?;
        } else if restarts == 1 && at >= scale.seconds * 3 / 4 {
            restarts = 2;
            drop(envoy);
            envoy = start_envoy(bootstrap).await?;
        }
        if full.contains(&at) != disk.is_full() {
            disk.toggle(nodes).await?;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_or_counted_twice() -> Result<()> {
    let scale = Scale::of_environment();
    let dir = tempfile::tempdir()?;
    let folder = dir.path();
    write_experiment(folder)?;
    let models = [ModelStub::start("plain").await?, ModelStub::start("fancy").await?];
    models.iter().for_each(|model| model.record(false));
    models[1].set(Behavior::ErrorEvery(50));
    let mut disk = Disk::new(&folder.join("stores"), scale.disk)?;
    println!("full disk: {}", disk.kind());
    let mut nodes = [
        Node::new("followed", folder, &["--follow", "access.log"]).await?,
        Node::new("delivered", folder, &[]).await?,
        Node::new("direct", folder, &[]).await?,
    ];
    let [followed, delivered, direct] = nodes.each_ref().map(Node::addr);
    let listen: SocketAddr =
        ([127, 0, 0, 1], first_free_port([127, 0, 0, 1].into(), 21_000)?).into();
    let bootstrap = bootstrap(folder, &models, &listen.to_string(), direct)?;
    let envoy = start_envoy(&bootstrap).await?;
    let sender = Sender::start(folder.join("access.log"), delivered, vec![followed, delivered]);
    let request = |number: u64| {
        let user = format!("user-{}", number.wrapping_mul(2_654_435_761) % 20_011);
        Request::post("/v2/models/forecast/infer", "{}").header("x-user-id", user)
    };
    let load = Load::run(LoadOptions::new(listen, scale.rate, request))?;
    let broken = break_things(&scale, &mut nodes, &mut disk, envoy, &bootstrap).await;
    let sent = load.stop().await;
    let (envoy, kills) = broken?;
    envoy.stop().await?;
    let log = std::fs::read_to_string(folder.join("access.log"))?;
    let lines = log.lines().count() as u64;
    let delivery = sender.finish().await?;
    println!(
        "{} requests, {} without an answer; {lines} lines; {kills} kills of each store; {delivery:?}",
        sent.done, sent.errors
    );
    ensure!(delivery.exposures == lines && delivery.outcomes == lines, "{delivery:?} of {lines}");
    ensure!(delivery.retries > 0, "nothing was ever away: {delivery:?}");

    // Each line once, in the log's own words.
    std::fs::write(folder.join("outcomes.csv"), sender::table(log.lines()))?;
    let mut report = vec!["analyze", "run", "experiment.json", "--json"];
    report.extend(["--exposures", "access.log", "--outcomes", "outcomes.csv"]);
    let wanted: Value = serde_json::from_slice(&run(folder, &report)?)?;
    ensure!(
        wanted["lines"]["read"] == lines && wanted["outcomes"]["matched"] == lines,
        "{wanted:#}"
    );
    for node in &nodes[..2] {
        node.until(lines).await?;
        let mut verdict = node.get("/v1/experiments/forecast").await?;
        verdict.as_object_mut().context("no object")?.remove("live");
        ensure!(verdict == wanted, "{}: {verdict:#}\nof the log: {wanted:#}", node.name());
    }
    for node in nodes {
        let name = node.name();
        let (rows, requests) = node.stop_and_count()?;
        ensure!(rows == requests, "{name}: {rows} exposures of {requests} requests");
        let missing = lines - rows;
        println!("{name}: {rows} of {lines} exposures, {missing} missing");
        // What Envoy could not send itself was never acknowledged.
        ensure!(missing == 0 || name == "direct", "{name}: {missing} are lost");
    }
    Ok(())
}
