//! A real Envoy sends its exposures to a real `sidetrack serve`: all are stored, and the verdict is that of the access log.

#![expect(clippy::indexing_slicing, reason = "a test that cannot go on may stop")]

mod durability;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sidetrack_lab::{Client, Envoy, EnvoyBinary, EnvoyOptions, ModelStub, Request};
use sidetrack_tests::artifact;

const REQUESTS: u64 = 1000;

/// A server that is killed when it is dropped.
struct Serve {
    child: Child,
    client: Client,
    addr: SocketAddr,
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Serve {
    fn start(folder: &Path, more: &[&str]) -> Result<Self> {
        let mut child = Command::new(artifact::cli())
            .args(["serve", "--store", "data", "experiment.json", "--listen", "127.0.0.1:0"])
            .args(more)
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let addr = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ")?.split_once("://")?.1.parse().ok())
            .context("it does not start")?;
        Ok(Self { child, client: Client::new(addr), addr })
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.client.send(Request::get(path)).await?;
        serde_json::from_slice(&answer.body).with_context(|| format!("{answer:?}"))
    }

    /// Waits until so many exposures are stored.
    async fn until(&self, requests: u64) -> Result<()> {
        let begun = Instant::now();
        loop {
            let all = self.get("/v1/experiments").await?;
            let stored = all["experiments"][0]["live"]["requests"].as_u64();
            if stored == Some(requests) {
                return Ok(());
            }
            ensure!(begun.elapsed() < Duration::from_secs(30), "{requests} wanted: {all:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn run(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(artifact::cli()).args(arguments).current_dir(folder).output()?;
    ensure!(output.status.code() != Some(2), "{arguments:?}: {output:?}");
    Ok(output.stdout)
}

/// Two models, an experiment with both, and an Envoy that sends to this receiver.
struct Stage {
    envoy: Envoy,
    client: Client,
    _models: [ModelStub; 2],
}

fn experiment() -> Value {
    json!({"experiments": [{
        "name": "forecast", "match": {"path": {"prefix": "/v2/"}},
        "unit": [{"header": "x-user-id"}], "baseline": "plain",
        "variants": [{"name": "plain", "cluster": "plain"}, {"name": "fancy", "cluster": "fancy", "weight": 40}],
        "breaker": {"mode": "disabled"},
        "analysis": {"metrics": ["error_rate"], "planned_units": 10000},
    }]})
}

impl Stage {
    async fn start(folder: &Path, more: &[&str]) -> Result<Self> {
        let models = [ModelStub::start("plain").await?, ModelStub::start("fancy").await?];
        models[1].set(sidetrack_lab::Behavior::ErrorEvery(20));
        let wasm = artifact::wasm().display().to_string();
        let mut arguments = vec!["render", "envoy", "experiment.json", "--wasm", &wasm];
        let endpoints = models.each_ref().map(|stub| format!("{}={}", stub.name(), stub.addr()));
        let log = folder.join("access.log").display().to_string();
        arguments.extend(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        arguments.extend(["--access-log", &log]);
        arguments.extend(more);
        for endpoint in &endpoints {
            arguments.extend(["--endpoint", endpoint]);
        }
        let bootstrap = String::from_utf8(run(folder, &arguments)?)?;
        let mut options = EnvoyOptions::new(EnvoyBinary::find()?, bootstrap);
        options.concurrency = 2;
        let envoy = Envoy::start(options).await?;
        let port = envoy.listener_port("predictors").await?;
        let client = Client::new(SocketAddr::from(([127, 0, 0, 1], port)));
        Ok(Self { envoy, client, _models: models })
    }

    /// Every tenth request is outside of the experiment.
    async fn requests(&self, number: u64) -> Result<()> {
        for number in 0..number {
            let user = format!("user-{}", number % 331);
            let path = if number % 10 == 9 { "/other" } else { "/v2/models/forecast/infer" };
            self.client.send(Request::post(path, "{}").header("x-user-id", user)).await?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_envoy_sends_is_what_it_logs() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let folder = dir.path();
    std::fs::write(folder.join("experiment.json"), experiment().to_string())?;
    let serve = Serve::start(folder, &[])?;
    let stage = Stage::start(folder, &["--otlp", &serve.addr.to_string()]).await?;
    stage.requests(REQUESTS).await?;
    // Requests outside of the experiment are not sent.
    serve.until(REQUESTS * 9 / 10).await?;
    stage.envoy.stop().await?;
    let outside = serve.client.send(Request::get("/metrics")).await?;
    let metrics = String::from_utf8_lossy(&outside.body).into_owned();
    ensure!(metrics.contains("{result=\"outside\"} 0\n"), "{metrics}");
    ensure!(metrics.contains("{result=\"malformed\"} 0\n"), "{metrics}");
    let mut stored = serve.get("/v1/experiments/forecast").await?;
    stored.as_object_mut().unwrap().remove("live");
    let report = ["analyze", "run", "experiment.json", "--json", "--exposures", "access.log"];
    let mut logged: Value = serde_json::from_slice(&run(folder, &report)?)?;
    // The log has the requests outside of the experiment as well.
    for (lines, wanted) in [(&mut stored["lines"], 900), (&mut logged["lines"], 1000)] {
        ensure!(lines["read"] == wanted, "{lines}");
        let lines = lines.as_object_mut().unwrap();
        lines.remove("read");
        lines.remove("excluded");
    }
    ensure!(stored == logged, "stored: {stored:#}\nlogged: {logged:#}");
    Ok(())
}

/// A store on another machine: TLS, and a token from a file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_sends_by_tls_with_the_token_of_a_file() -> Result<()> {
    const REQUESTS: usize = 100;
    let dir = tempfile::tempdir()?;
    let folder = dir.path();
    std::fs::write(folder.join("experiment.json"), experiment().to_string())?;
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    for (name, text) in [
        ("cert.pem", made.cert.pem()),
        ("key.pem", made.signing_key.serialize_pem()),
        ("token", "secret".to_owned()),
        ("wrong", "secrets".to_owned()),
    ] {
        std::fs::write(folder.join(name), text)?;
    }
    // printf %s secret | sha256sum
    let digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let tls = ["--tls-cert", "cert.pem", "--tls-key", "key.pem", "--token-sha256", digest];
    let serve = Serve::start(folder, &tls)?;
    let stored = || -> Result<Option<u64>> {
        let roots = ureq::tls::Certificate::from_pem(made.cert.pem().as_bytes())?;
        let tls = ureq::tls::TlsConfig::builder().root_certs(vec![roots].into()).build();
        let agent = ureq::Agent::config_builder().tls_config(tls).build().new_agent();
        let page = agent.get(format!("https://{}/v1/experiments", serve.addr));
        let all: Value =
            page.header("authorization", "Bearer secret").call()?.body_mut().read_json()?;
        Ok(all["experiments"][0]["live"]["requests"].as_u64())
    };
    let (receiver, ca) = (format!("https://{}", serve.addr), folder.join("cert.pem"));
    let ca = ca.display().to_string();
    for (token, expected) in [("wrong", 0), ("token", REQUESTS * 9 / 10)] {
        let token = folder.join(token).display().to_string();
        let options = ["--otlp", &receiver, "--otlp-token-file", &token, "--ca-file", &ca];
        let stage = Stage::start(folder, &options).await?;
        stage.requests(REQUESTS as u64).await?;
        let begun = Instant::now();
        // Whatever is sent with the wrong token arrives while the second Envoy sends.
        while expected > 0 && stored()? != Some(expected as u64) {
            ensure!(begun.elapsed() < Duration::from_secs(30), "{:?} stored", stored()?);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if expected == 0 {
            let refused = || async {
                let filter = "/stats?filter=sidetrack-store.upstream_rq_completed";
                let stats = stage.envoy.admin_get(filter).await?;
                anyhow::Ok(stats.lines().any(|line| !line.ends_with(": 0")))
            };
            while !refused().await? {
                ensure!(begun.elapsed() < Duration::from_secs(30), "nothing was sent");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            ensure!(stored()?.unwrap_or_default() == 0, "{:?} stored", stored()?);
        }
        stage.envoy.stop().await?;
    }
    Ok(())
}
