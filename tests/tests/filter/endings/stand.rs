//! An Envoy with a listener for each way in, the models behind it, and an experiment for each case.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sidetrack_lab::{Envoy, EnvoyBinary, EnvoyOptions};
use sidetrack_tests::artifact;
use sidetrack_tests::world::sidetrack_command;
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::time::sleep;

use super::model::Model;
use super::transcoder::{file_set, transcoder};

const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters.http.";
const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

pub(super) struct Stand {
    pub(super) envoy: Envoy,
    pub(super) http1: Model,
    pub(super) http2: Model,
    dir: TempDir,
    /// The port of the cluster that refuses connections.
    _reserved: TcpSocket,
}

impl Stand {
    /// With or without the access logger for failures.
    pub(super) async fn start(experiments: &Value, has_logger: bool) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("sidetrack-endings-").tempdir()?;
        let (http1, http2) = (Model::start(false).await?, Model::start(true).await?);
        let file = dir.path().join("experiments.json");
        fs::write(&file, experiments.to_string())?;
        let mut arguments =
            vec!["render".to_owned(), "envoy".to_owned(), file.display().to_string()];
        let mut option = |name: &str, value: String| {
            arguments.extend([name.to_owned(), value]);
        };
        option("--wasm", artifact::wasm().display().to_string());
        option("--listen", "127.0.0.1:0".to_owned());
        option("--admin", "127.0.0.1:0".to_owned());
        option("--access-log", dir.path().join("access.log").display().to_string());
        // A port that is only reserved refuses connections. A free one could become another stand's.
        let reserved = TcpSocket::new_v4()?;
        reserved.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let closed = reserved.local_addr()?;
        for (cluster, addr) in [
            ("http1", http1.addr),
            ("http2", http2.addr),
            ("longest", http1.addr),
            ("closed", closed),
            ("empty", closed),
            ("missing", closed),
        ] {
            option("--endpoint", format!("{cluster}={addr}"));
        }
        let descriptor = dir.path().join("models.pb");
        fs::write(&descriptor, file_set())?;
        let rendered = sidetrack_command(&arguments)?;
        let bootstrap = bootstrap(&rendered, &descriptor, has_logger)?;
        let mut options = EnvoyOptions::new(EnvoyBinary::find()?, bootstrap);
        options.concurrency = 2;
        let envoy = Envoy::start(options).await?;
        Ok(Self { envoy, http1, http2, dir, _reserved: reserved })
    }

    pub(super) async fn addr(&self, listener: &str) -> Result<SocketAddr> {
        Ok((Ipv4Addr::LOCALHOST, self.envoy.listener_port(listener).await?).into())
    }

    /// The access log, once Envoy has written so many lines: it writes in the background.
    pub(super) async fn access_log(&self, count: usize) -> Result<String> {
        let began = Instant::now();
        loop {
            self.envoy.admin_post("/reopen_logs").await?;
            let text = fs::read_to_string(self.dir.path().join("access.log"))?;
            if text.ends_with('\n') && text.lines().count() >= count {
                return Ok(text);
            }
            let lines = text.lines().count();
            ensure!(began.elapsed() < Duration::from_secs(10), "{lines} of {count} lines");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The rendered bootstrap, with more listeners and other clusters.
fn bootstrap(rendered: &str, descriptor: &Path, has_logger: bool) -> Result<String> {
    let mut tree: Value = serde_saphyr::from_str(rendered)?;
    let statics = &mut tree["static_resources"];
    let mut plain = statics["listeners"][0].take();
    let manager = self::manager(&mut plain);
    manager["upgrade_configs"] =
        json!([{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}]);
    manager["stream_idle_timeout"] = json!("30s");
    manager["http_protocol_options"] = json!({"enable_trailers": true});
    // For people who read a failed test.
    let format = &mut manager["access_log"][0]["typed_config"]["log_format"]["json_format"];
    format["details"] = json!("%RESPONSE_CODE_DETAILS%");
    if !has_logger {
        let logs = manager["access_log"].as_array_mut().context("no access logs")?;
        logs.retain(|log| log["name"] != "envoy.access_loggers.wasm");
    }
    change_routes(manager, &json!({"timeout": "0s"}))?;
    let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut();
    let routes = routes.context("no routes")?;
    let mut connect = routes[0].clone();
    connect["match"].as_object_mut().context("no match")?.remove("prefix");
    connect["match"]["connect_matcher"] = json!({});
    routes.insert(0, connect);

    let mut listeners: Vec<Value> = Vec::new();
    for (name, filter) in filters(descriptor) {
        let mut listener = named(&plain, name);
        let filters = self::manager(&mut listener)["http_filters"].as_array_mut();
        let filters = filters.context("no filters")?;
        let is_first = matches!(name, "web" | "transcoded-before");
        filters.insert(if is_first { 0 } else { filters.len() - 1 }, filter);
        listeners.push(listener);
    }
    for (name, route) in [
        ("timeout", json!({"timeout": "1s"})),
        ("duration", json!({"max_stream_duration": {"max_stream_duration": "1s"}})),
        ("idle", json!({"idle_timeout": "1s"})),
    ] {
        let mut listener = named(&plain, name);
        change_routes(self::manager(&mut listener), &route)?;
        listeners.push(listener);
    }
    let mut routeless = named(&plain, "route");
    let hosts = &mut self::manager(&mut routeless)["route_config"]["virtual_hosts"];
    hosts[0]["routes"] = json!([{"match": {"prefix": "/none"}, "route": {"cluster": "http1"}}]);
    listeners.push(routeless);
    listeners.push(named(&plain, "plain"));
    statics["listeners"] = json!(listeners);
    crate::http3::add_http3(statics, plain, "http3");

    let clusters = statics["clusters"].as_array_mut().context("no clusters")?;
    clusters.retain(|cluster| cluster["name"] != "missing");
    for cluster in clusters.iter_mut().filter(|cluster| cluster["name"] != "http3") {
        if cluster["name"] == "empty" {
            cluster["load_assignment"]["endpoints"] = json!([]);
        }
        let protocol = if cluster["name"] == "http2" {
            json!({"http2_protocol_options": {}})
        } else {
            json!({"http_protocol_options": {"enable_trailers": true}})
        };
        let mut options = json!({
            "@type": format!("type.googleapis.com/{OPTIONS}"),
            "explicit_http_config": protocol,
        });
        // A case that breaks its connection must not break others.
        options["common_http_protocol_options"] = json!({"max_requests_per_connection": 1});
        if cluster["name"] == "longest" {
            options["common_http_protocol_options"]["max_stream_duration"] = json!("1s");
        }
        cluster["typed_extension_protocol_options"] = json!({OPTIONS: options});
    }
    Ok(tree.to_string())
}

/// Filters that answer by themselves, each in a listener of this name.
fn filters(descriptor: &Path) -> Vec<(&'static str, Value)> {
    let filter = |name: &str, kind: &str, mut config: Value| {
        config["@type"] = json!(format!("{FILTERS}{name}.v3.{kind}"));
        json!({"name": format!("envoy.filters.http.{name}"), "typed_config": config})
    };
    let always = json!({"default_value": {"numerator": 100}});
    let any = json!({"permissions": [{"any": true}], "principals": [{"any": true}]});
    let nowhere = json!({"uri": "http://127.0.0.1:1", "cluster": "closed", "timeout": "1s"});
    let lua = "function envoy_on_request(it) it:respond({[':status'] = '500'}, '') end";
    vec![
        ("web", filter("grpc_web", "GrpcWeb", json!({}))),
        (
            "transcoded-before",
            filter("grpc_json_transcoder", "GrpcJsonTranscoder", transcoder(descriptor)),
        ),
        (
            "transcoded-behind",
            filter("grpc_json_transcoder", "GrpcJsonTranscoder", transcoder(descriptor)),
        ),
        (
            "rbac",
            filter("rbac", "RBAC", json!({"rules": {"action": "DENY", "policies": {"all": any}}})),
        ),
        (
            "authz",
            filter("ext_authz", "ExtAuthz", json!({"http_service": {"server_uri": nowhere}})),
        ),
        (
            "limit",
            filter(
                "local_ratelimit",
                "LocalRateLimit",
                json!({
                    "stat_prefix": "limit",
                    "token_bucket": {"max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "3600s"},
                    "filter_enabled": always,
                    "filter_enforced": always,
                }),
            ),
        ),
        ("lua", filter("lua", "Lua", json!({"default_source_code": {"inline_string": lua}}))),
        (
            "fault",
            filter(
                "fault",
                "HTTPFault",
                json!({
                    "abort": {"http_status": 503, "percentage": {"numerator": 100}},
                }),
            ),
        ),
        ("buffer", filter("buffer", "Buffer", json!({"max_request_bytes": 2}))),
    ]
}

fn named(listener: &Value, name: &str) -> Value {
    let mut listener = listener.clone();
    listener["name"] = json!(name);
    listener
}

/// The connection manager of a listener.
fn manager(listener: &mut Value) -> &mut Value {
    &mut listener["filter_chains"][0]["filters"][0]["typed_config"]
}

fn change_routes(manager: &mut Value, more: &Value) -> Result<()> {
    let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut();
    for route in routes.context("no routes")? {
        let route = route["route"].as_object_mut().context("no route")?;
        route.extend(more.as_object().context("no object")?.clone());
    }
    Ok(())
}
