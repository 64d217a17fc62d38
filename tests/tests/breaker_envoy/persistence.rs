//! The state of a breaker survives updates, new code and crashes.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use sidetrack_lab::{Behavior, Client, Request};
use sidetrack_tests::artifact;
use tokio::time::sleep;

use crate::ALONE;
use crate::answers::Answers;
use crate::stand::{Stand, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_breaker_outlives_updates_new_code_and_crashes() -> Result<()> {
    let _alone = ALONE.lock().await;
    let stand = Stand::with_module(&json!({}), &[], artifact::crashing_wasm()).await?;
    let answers = Answers::default();
    let load = stand.load(&answers)?;
    sleep(Duration::from_millis(500)).await;
    stand.candidate.set(Behavior::Status(503));
    until("it is open", async || Ok(stand.state().await? == 2.0)).await?;
    load.stop().await;
    stand.candidate.set(Behavior::Healthy);
    // A connection each, so that both workers are asked.
    let clients: Vec<Client> = (0..16).map(|_| Client::new(stand.addr)).collect();
    let reaches_candidate = async || -> Result<bool> {
        let before = stand.candidate.count();
        for (user, client) in clients.iter().cycle().take(100).enumerate() {
            client
                .send(Request::post("/infer", "{}").header("x-user-id", user.to_string()))
                .await?;
        }
        Ok(stand.candidate.count() > before)
    };
    // The other worker learns of it on its next tick.
    until("no worker asks the candidate", async || Ok(!reaches_candidate().await?)).await?;

    stand.update(&json!({"error_rate": 6}), artifact::crashing_wasm()).await?;
    ensure!(!reaches_candidate().await?, "forgotten by an update\n{}", stand.envoy.report().await);

    // On each worker a request that crashes the filter; a new one is loaded for the next.
    for _ in 0..8 {
        let crash =
            Request::post("/infer", "{}").header("x-user-id", "1").header("x-test-crash", "1");
        Client::new(stand.addr).send(crash).await.ok();
    }
    let crashes = stand.stat("wasm.*vm_reload").await?;
    sleep(Duration::from_millis(1500)).await;
    ensure!(!reaches_candidate().await?, "forgotten by a crash\n{}", stand.envoy.report().await);
    let reloads = stand.stat("wasm.*vm_reload_success").await?;
    ensure!(
        reloads > 0,
        "nothing crashed: {crashes} reloads tried\n{}",
        stand.envoy.report().await
    );

    // The same module with another byte in a custom section is other code to Envoy.
    let mut other = fs::read(artifact::wasm())?;
    other.extend([0, 2, 1, b'x']);
    let path = stand.dir.path().join("other.wasm");
    fs::write(&path, other)?;
    stand.update(&json!({"error_rate": 6}), &path).await?;
    ensure!(!reaches_candidate().await?, "forgotten by new code\n{}", stand.envoy.report().await);
    // The last instance of the old code sets the gauges to zero, until one of the new code comes
    // into force.
    until("the state is published", async || Ok(stand.state().await? == 2.0)).await?;
    stand.envoy.stop().await
}
