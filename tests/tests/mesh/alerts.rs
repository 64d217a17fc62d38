//! The rendered alerts fire in a real Prometheus on the metrics of Envoy, the agent and istiod.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use sidetrack_lab::Request;
use sidetrack_tests::mesh::{Mesh, Pod};
use sidetrack_tests::prometheus::Prometheus;
use sidetrack_tests::world::sidetrack_command;

use crate::stand::{BASELINE, Caller, GATEWAY_PORT, HOST, Stand, experiment};

/// The rules for this experiment, without their holds.
fn rules(stand: &Stand, experiment: &Value) -> String {
    let file = stand.file(experiment);
    let rules = sidetrack_command(&["render", "prometheus", &file, "--job", Mesh::JOB]).unwrap();
    let line = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        let held = line.trim_start().starts_with("for: ");
        if held { format!("{}for: 0s\n", " ".repeat(indent)) } else { format!("{line}\n") }
    };
    rules.lines().map(line).collect()
}

async fn firing(prometheus: &Prometheus) -> BTreeSet<String> {
    let page = prometheus.api("/api/v1/alerts", &[]).await.unwrap();
    let alerts = page["alerts"].as_array().cloned().unwrap_or_default();
    let is_firing = |alert: &&Value| alert["state"] == "firing";
    let name = |alert: &Value| alert["labels"]["alertname"].as_str().unwrap().to_owned();
    alerts.iter().filter(is_firing).map(name).collect()
}

/// Sends requests until the alert fires.
async fn fires(alert: &str, prometheus: &Prometheus, gateway: &Pod) {
    let client = gateway.client(GATEWAY_PORT);
    let begun = Instant::now();
    loop {
        for user in 0..20 {
            let answer =
                client.send(Caller::new(HOST).request(&format!("user-{user}"))).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let firing = firing(prometheus).await;
        if firing.contains(alert) {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{alert} does not fire: {firing:?}\n{}",
            gateway.log_tail(10)
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Waits until the proxy is scraped. Without a hold, an alert fires before that.
async fn quiet(prometheus: &Prometheus) {
    let begun = Instant::now();
    loop {
        let early = firing(prometheus).await;
        let scraped = prometheus.value("count(up == 1)").await.unwrap() == Some(2.0);
        if scraped && early.is_empty() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing is wrong yet: {early:?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// With `missing_unit: skip`, requests without a unit take the route of requests without the filter. The
/// filter counts them, and the alert subtracts them.
#[tokio::test(flavor = "multi_thread")]
async fn skipped_requests_are_no_bypass() {
    const BYPASS: &str = "sum({__name__=~\"envoy_vhost_.+_route_sidetrack_bypass_financial_ab_test_upstream_rq_total\"})";
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let mut skipping = experiment(30.0);
    skipping["experiments"][0]["missing_unit"] = "skip".into();
    mesh.apply(&stand.rendered(&skipping, &[])).unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &skipping).await;
    let prometheus = mesh.prometheus(&[&gateway], &rules(&stand, &skipping)).await.unwrap();
    quiet(&prometheus).await;
    let client = gateway.client(GATEWAY_PORT);
    let begun = Instant::now();
    let counted =
        async |expression: &str| prometheus.value(expression).await.unwrap().unwrap_or(0.0);
    loop {
        let request = Request::post("/v2/models/forecast/infer", "{}").header("host", HOST);
        let answer = client.send(request).await.unwrap();
        assert_eq!(
            (answer.status, answer.header("x-ab-variant"), answer.header_text("x-model")),
            (200, None, Some(BASELINE.to_owned()))
        );
        let firing = firing(&prometheus).await;
        assert!(!firing.contains("SidetrackFilterMissing"), "{firing:?}");
        let skipped = counted("sum(ab_test_missing_unit_total)").await;
        let passed = counted(BYPASS).await;
        // The alert without the subtraction would fire above 5.
        if skipped >= 20.0 && passed >= 20.0 {
            break;
        }
        let late = begun.elapsed() > Duration::from_secs(40);
        assert!(!late, "{skipped} skipped, {passed} past the filter\n{}", gateway.log_tail(10));
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    mesh.kubectl(&["delete", "wasmplugin", "--all", "-n", &stand.ingress]).unwrap();
    fires("SidetrackFilterMissing", &prometheus, &gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alerts_fire() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let good = stand.rendered(&experiment(30.0), &[]);
    mesh.apply(&good).unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &experiment(30.0)).await;
    let prometheus = mesh.prometheus(&[&gateway], &rules(&stand, &experiment(30.0))).await.unwrap();
    quiet(&prometheus).await;

    mesh.apply(&good.replace("weight: 30", "weight: 130")).unwrap();
    fires("SidetrackConfigRejected", &prometheus, &gateway).await;
    mesh.apply(&good).unwrap();

    mesh.apply(
        &stand.rendered(&experiment(30.0), &["--url", "file:///var/lib/istio/data/missing.wasm"]),
    )
    .unwrap();
    fires("SidetrackModuleRefused", &prometheus, &gateway).await;
    mesh.apply(&good).unwrap();
    stand.in_force(&gateway, &experiment(30.0)).await;

    mesh.kubectl(&["delete", "wasmplugin", "--all", "-n", &stand.ingress]).unwrap();
    fires("SidetrackFilterMissing", &prometheus, &gateway).await;
    mesh.apply(&good).unwrap();
    stand.in_force(&gateway, &experiment(30.0)).await;

    mesh.apply(&good.replace("/sidetrack:v1", "/sidetrack:none")).unwrap();
    fires("SidetrackModuleNotFetched", &prometheus, &gateway).await;
}
