//! Envoy's metrics while the filter is absent or crashed: the facts that the alerts rely on.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use sidetrack::names::metric;
use sidetrack_lab::{
    Client, Envoy, EnvoyBinary, EnvoyOptions, ModelStub, Request, prometheus_value,
};
use sidetrack_tests::artifact;
use sidetrack_tests::world::sidetrack_command;

use crate::stand::{BASELINE, CANDIDATE, until};

const BYPASS: &str = "envoy_vhost_route_upstream_rq_total";
const RELOADED: &str = "envoy_wasm_sidetrack_a_b_vm_reload_success";

struct Proxy {
    envoy: Envoy,
    clients: Vec<Client>,
    _stubs: [ModelStub; 2],
    _dir: tempfile::TempDir,
}

/// An Envoy with two workers whose bootstrap went through `change`. A request without a unit skips the
/// experiment.
async fn proxy(wasm: &Path, change: impl FnOnce(String) -> String) -> Result<Proxy> {
    let dir = tempfile::Builder::new().prefix("sidetrack-missing-").tempdir()?;
    let stubs = [ModelStub::start(BASELINE).await?, ModelStub::start(CANDIDATE).await?];
    let file = dir.path().join("experiment.json");
    let experiments = json!({"experiments": [{
        "name": "a.b", "unit": [{"header": "x-user-id"}], "missing_unit": "skip", "baseline": BASELINE,
        "variants": [{"name": BASELINE, "cluster": BASELINE}, {"name": CANDIDATE, "cluster": CANDIDATE, "weight": 50}],
    }]});
    fs::write(&file, experiments.to_string())?;
    let text = |path: &Path| path.display().to_string();
    let [file, wasm, log] = [text(&file), text(wasm), text(&dir.path().join("access.log"))];
    let endpoints = stubs.each_ref().map(|stub| format!("{}={}", stub.name(), stub.addr()));
    let mut arguments = vec!["render", "envoy", &file, "--wasm", &wasm, "--access-log", &log];
    arguments.extend(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    for endpoint in &endpoints {
        arguments.extend(["--endpoint", endpoint]);
    }
    let bootstrap = change(sidetrack_command(&arguments)?);
    let mut options = EnvoyOptions::new(EnvoyBinary::find()?, bootstrap);
    options.concurrency = 2;
    let envoy = Envoy::start(options).await?;
    let addr = (std::net::Ipv4Addr::LOCALHOST, envoy.listener_port("predictors").await?).into();
    // Connections of their own, so that both workers get some.
    let clients = (0..16).map(|_| Client::new(addr)).collect();
    Ok(Proxy { envoy, clients, _stubs: stubs, _dir: dir })
}

impl Proxy {
    async fn send(&self, client: usize, crash: bool) -> Result<sidetrack_lab::Answer> {
        let request = Request::get("/").header("x-user-id", client.to_string());
        let request = if crash { request.header("x-test-crash", "1") } else { request };
        self.clients[client].send(request).await
    }

    /// How many answers of a round carry the filter's mark, and how many do not.
    async fn round(&self) -> Result<(u32, u32)> {
        let (mut marked, mut plain) = (0, 0);
        for client in 0..self.clients.len() {
            let answer = self.send(client, false).await?;
            ensure!(answer.status == 200, "{}", answer.status);
            *(if answer.header("x-ab-variant").is_some() { &mut marked } else { &mut plain }) += 1;
        }
        Ok((marked, plain))
    }

    async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Result<Option<f64>> {
        Ok(prometheus_value(&self.envoy.prometheus().await?, name, labels))
    }
}

const ROUTE: [(&str, &str); 1] = [("envoy_route", "sidetrack-bypass:a_b")];

/// Neither the number of VMs nor anything else of Envoy's changes when a worker loses its filter;
/// the route's counter does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_without_its_filter_shows_in_the_route_that_only_such_requests_take() -> Result<()>
{
    let open =
        |text: String| text.replace("failure_policy: FAIL_RELOAD", "failure_policy: FAIL_OPEN");
    let proxy = proxy(artifact::crashing_wasm(), open).await?;
    ensure!(proxy.round().await? == (16, 0), "the filter is on both workers");
    ensure!(proxy.metric(BYPASS, &ROUTE).await? == Some(0.0), "nothing passes it");
    let vms = proxy.metric("envoy_wasm_wasm_vm_count", &[]).await?;
    ensure!(proxy.send(0, true).await?.status == 503, "the request that crashes it fails");
    let (marked, plain) = proxy.round().await?;
    ensure!(plain > 0, "after the crash all {marked} requests met a filter");
    ensure!(
        proxy.metric(BYPASS, &ROUTE).await? == Some(f64::from(plain)),
        "{}",
        proxy.envoy.report().await
    );
    ensure!(
        vms.is_some() && proxy.metric("envoy_wasm_wasm_vm_count", &[]).await? == vms,
        "Envoy counts its VMs after all"
    );
    Ok(())
}

/// So the alert for the route subtracts what the filter counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skipped_request_is_counted_by_the_route_and_by_the_filter() -> Result<()> {
    let proxy = proxy(artifact::wasm(), |text| text).await?;
    ensure!(proxy.round().await? == (16, 0), "the filter is on both workers");
    for client in &proxy.clients {
        let answer = client.send(Request::get("/")).await?;
        ensure!(answer.status == 200 && answer.header("x-ab-variant").is_none(), "{answer:?}");
    }
    ensure!(proxy.metric(BYPASS, &ROUTE).await? == Some(16.0), "{}", proxy.envoy.report().await);
    until("the filter has counted the same requests", async || {
        Ok(proxy.metric(metric::MISSING_UNIT, &[("experiment", "a.b")]).await? == Some(16.0))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_after_a_crash_is_counted() -> Result<()> {
    let proxy = proxy(artifact::crashing_wasm(), |text| text).await?;
    ensure!(proxy.metric(RELOADED, &[]).await? == Some(0.0), "no reload yet");
    ensure!(proxy.send(0, true).await?.status == 503, "the request that crashes it fails");
    until("the filter was loaded again", async || {
        proxy.send(0, false).await?;
        Ok(proxy.metric(RELOADED, &[]).await? == Some(1.0))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stats_matcher_hides_every_series_and_nothing_else() -> Result<()> {
    let hide = |text: String| {
        let matcher = "stats_config:\n  stats_matcher: { exclusion_list: { patterns: [{ prefix: wasmcustom. }] } }\n";
        text.replacen("stats_config:\n", matcher, 1)
    };
    let proxy = proxy(artifact::wasm(), hide).await?;
    ensure!(proxy.round().await? == (16, 0), "the filter decides as ever");
    let text = proxy.envoy.prometheus().await?;
    ensure!(!text.contains("ab_test_"), "something of the filter shows:\n{text}");
    prometheus_value(&text, BYPASS, &ROUTE).context("Envoy's own series show")?;
    Ok(())
}
