//! A real Envoy with a plain route to a stub. The tests fail without Envoy on this machine: see `make setup`.

use std::path::Path;
use std::time::Duration;

use sidetrack_lab::{
    Client, Envoy, EnvoyBinary, EnvoyOptions, ModelStub, Request, prometheus_value, validate,
};
use tokio::time::{Instant, sleep};

const BOOTSTRAP: &str = r#"
node: { id: lab, cluster: lab }
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
    - name: front
      address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: front
                route_config:
                  virtual_hosts:
                    - { name: all, domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: model } }] }
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
  clusters:
    - name: model
      type: STATIC
      load_assignment:
        cluster_name: model
        endpoints:
          - lb_endpoints:
              - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: MODEL_PORT } } }
"#;

fn bootstrap(stub: &ModelStub) -> String {
    BOOTSTRAP.replace("MODEL_PORT", &stub.addr().port().to_string())
}

async fn start(stub: &ModelStub) -> anyhow::Result<Envoy> {
    Envoy::start(EnvoyOptions::new(EnvoyBinary::find()?, bootstrap(stub))).await
}

async fn gone(pid: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return true;
        }
        sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test]
async fn carries_traffic_and_answers_questions() {
    let stub = ModelStub::start("v1").await.unwrap();
    let envoy = start(&stub).await.unwrap();
    let port = envoy.listener_port("front").await.unwrap();
    let client = Client::new(([127, 0, 0, 1], port).into());
    for _ in 0..3 {
        let answer = client
            .send(Request::post("/v2/models/m/infer", "{}").header("x-a", b"\xe9"))
            .await
            .unwrap();
        assert_eq!(answer.json().unwrap()["model_version"], "v1", "{}", envoy.report().await);
    }
    assert_eq!(stub.count(), 3);
    assert_eq!(stub.requests()[0].header("x-a"), Some(b"\xe9".as_slice()));

    let stats = envoy.stats(r"^cluster\.model\.upstream_rq_(200|time)$").await.unwrap();
    assert_eq!(
        stats.into_iter().collect::<Vec<_>>(),
        [("cluster.model.upstream_rq_200".to_owned(), 3)]
    );
    let page = envoy.prometheus().await.unwrap();
    let labels = [("envoy_cluster_name", "model"), ("envoy_response_code", "200")];
    assert_eq!(prometheus_value(&page, "envoy_cluster_upstream_rq", &labels), Some(3.0));

    let scrape = envoy.scrape(r"^cluster\.model\.upstream_rq").await.unwrap();
    assert_eq!(scrape.count("envoy_cluster_upstream_rq", &labels), Some(3));
    assert_eq!(scrape.count("envoy_server_live", &[]), None);

    let version = envoy.version().await.unwrap().unwrap();
    assert_eq!(version.split('.').count(), 3, "{version}");
    assert!(envoy.admin_get("/nonsense").await.is_err());
    envoy.admin_post("/logging?level=debug").await.unwrap();
    client.send(Request::get("/")).await.unwrap();
    assert!(envoy.log_tail(50).contains("[http]"), "{}", envoy.log());
    let report = envoy.report().await;
    assert!(
        report.contains("stat_prefix: front")
            && report.contains("cluster.model.upstream_rq_200: 4"),
        "{report}"
    );
    let error = envoy.listener_port("back").await.unwrap_err().to_string();
    assert!(error.contains("it has: [front]"), "{error}");

    let pid = envoy.pid();
    assert!(envoy.is_running());
    let begun = Instant::now();
    envoy.stop().await.unwrap();
    assert!(gone(pid).await && begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_drop_ends_it_and_a_crash_is_seen() {
    let stub = ModelStub::start("v1").await.unwrap();
    let envoy = start(&stub).await.unwrap();
    let pid = envoy.pid();
    drop(envoy);
    assert!(gone(pid).await);

    let envoy = start(&stub).await.unwrap();
    let _ = envoy.admin_post("/quitquitquit").await;
    assert!(gone(envoy.pid()).await);
    assert!(!envoy.is_running());
    assert!(envoy.report().await.contains("NOT RUNNING"));
    let error = envoy.scrape(".").await.unwrap_err().to_string();
    assert!(error.contains("Envoy has exited"), "{error}");
    envoy.stop().await.unwrap();
}

#[tokio::test]
async fn a_restart_replaces_the_process_and_the_bootstrap() {
    let [old, new] = [ModelStub::start("v1").await.unwrap(), ModelStub::start("v2").await.unwrap()];
    let envoy = start(&old).await.unwrap();
    let (pid, port) = (envoy.pid(), envoy.listener_port("front").await.unwrap());
    // The listener keeps its port: it is free once the old process has ended.
    let front = format!("port_value: {port} }} }}\n      filter_chains");
    let fixed = bootstrap(&new).replace("port_value: 0 } }\n      filter_chains", &front);
    let envoy = envoy.restart(fixed).await.unwrap();
    assert!(gone(pid).await && envoy.is_running());
    assert_eq!(envoy.listener_port("front").await.unwrap(), port);
    let client = Client::new(([127, 0, 0, 1], port).into());
    let answer = client.send(Request::get("/")).await.unwrap();
    assert_eq!(answer.header_text("x-model").as_deref(), Some("v2"), "{}", envoy.report().await);
    envoy.stop().await.unwrap();
}

#[tokio::test]
async fn a_bad_configuration_says_why() {
    let binary = EnvoyBinary::find().unwrap();
    let stub = ModelStub::start("v1").await.unwrap();
    let good = bootstrap(&stub);
    let bad = good.replace("stat_prefix", "stat_prefixx");
    validate(&binary, &good).await.unwrap();
    let error = validate(&binary, &bad).await.unwrap_err().to_string();
    assert!(error.contains("stat_prefixx"), "{error}");

    let begun = Instant::now();
    let error = format!("{:#}", Envoy::start(EnvoyOptions::new(binary, bad)).await.unwrap_err());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(error.contains("stat_prefixx") && error.contains("the process ended"), "{error}");
    let path = error.lines().find_map(|line| line.trim().strip_prefix("configuration: ")).unwrap();
    assert!(std::fs::read_to_string(path).unwrap().contains("stat_prefixx"));
    std::fs::remove_dir_all(Path::new(path).parent().unwrap()).unwrap();

    let error = format!(
        "{:#}",
        Envoy::start(EnvoyOptions::new("/no/such/envoy".into(), good)).await.unwrap_err()
    );
    assert!(error.contains("starting /no/such/envoy"), "{error}");
}
