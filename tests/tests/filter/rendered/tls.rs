//! Models behind TLS.

use super::*;

/// An Envoy that ends TLS in front of a model, for clients that ask for `localhost`.
struct Front {
    envoy: Envoy,
    /// The certificate, which is its own authority.
    certificate: std::path::PathBuf,
    /// Another one, which has signed nothing.
    stranger: std::path::PathBuf,
    _dir: TempDir,
}

impl Front {
    async fn start(model: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [key, other] =
            [(); 2].map(|()| rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap());
        let inline = |text: String| json!({"inline_string": text});
        let hcm = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
        let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
        let inspector =
            "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
        let tls =
            "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
        let address =
            |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
        let bootstrap = json!({
            "admin": {"address": address(0)},
            "static_resources": {
                "listeners": [{
                    "name": "tls", "address": address(0),
                    "listener_filters": [{"name": "inspector", "typed_config": {"@type": inspector}}],
                    "filter_chains": [{
                        "filter_chain_match": {"server_names": ["localhost"]},
                        "transport_socket": {"name": "tls", "typed_config": {"@type": tls, "common_tls_context": {
                            "alpn_protocols": ["h2", "http/1.1"],
                            "tls_certificates": [{"certificate_chain": inline(key.cert.pem()),
                                "private_key": inline(key.signing_key.serialize_pem())}]}}},
                        "filters": [{"name": "http", "typed_config": {"@type": hcm, "stat_prefix": "tls",
                            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"],
                                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "model"}}]}]},
                            "http_filters": [{"name": "router", "typed_config": {"@type": router}}]}}],
                    }],
                }],
                "clusters": [{"name": "model", "type": "STATIC", "load_assignment": {"cluster_name": "model",
                    "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(model.port())}}]}]}}],
            },
        });
        let options = EnvoyOptions::new(EnvoyBinary::find().unwrap(), bootstrap.to_string());
        let envoy = Envoy::start(options).await.unwrap();
        let [certificate, stranger] = ["a.pem", "b.pem"].map(|name| dir.path().join(name));
        fs::write(&certificate, key.cert.pem()).unwrap();
        fs::write(&stranger, other.cert.pem()).unwrap();
        Self { envoy, certificate, stranger, _dir: dir }
    }
}

#[tokio::test]
async fn a_model_behind_tls_gets_its_name_and_its_host() {
    let stub = ModelStub::start("new").await.unwrap();
    let front = Front::start(stub.addr()).await;
    let port = front.envoy.listener_port("tls").await.unwrap();
    let [good, stranger] =
        [&front.certificate, &front.stranger].map(|path| path.display().to_string());
    let host = format!("localhost:{port}");
    for (scheme, ca, status, protocol) in [
        ("https", &good, 200, "http2"),
        ("grpcs", &good, 200, "http2"),
        ("https", &stranger, 503, ""),
    ] {
        let endpoint = new_at(format!("{scheme}://{host}"));
        let options = ["--endpoint", &endpoint, "--ca-file", ca];
        let proxy = Rendered::start(&file(), &options).await;
        let answer = proxy.send(infer().header("host", "models.test")).await;
        assert_eq!(answer.status, status, "{scheme} {ca}\n{}", proxy.envoy.report().await);
        if status == 200 {
            assert_eq!(stub.requests().last().unwrap().authority, host, "{scheme}");
            let stat = format!(r"^cluster\.new-cluster\.upstream_cx_{protocol}_total$");
            let counts = proxy.envoy.stats(&stat).await.unwrap();
            assert!(counts.values().any(|count| *count > 0), "{scheme}: {counts:?}");
        }
    }
    // With upgrades, a model is asked for HTTP/1.1.
    let endpoint = new_at(format!("https://{host}"));
    let options = ["--endpoint", &endpoint, "--ca-file", &good, "--upgrade", "websocket"];
    let proxy = Rendered::start(&file(), &options).await;
    assert_eq!(proxy.send(infer()).await.status, 200);
    let counts =
        proxy.envoy.stats(r"^cluster\.new-cluster\.upstream_cx_http1_total$").await.unwrap();
    assert!(counts.values().any(|count| *count > 0), "{counts:?}");
}

/// The certificate is for localhost, so it is not accepted for an address.
#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let stub = ModelStub::start("new").await.unwrap();
    let front = Front::start(stub.addr()).await;
    let port = front.envoy.listener_port("tls").await.unwrap();
    let endpoint = new_at(format!("https://127.0.0.1:{port}"));
    let ca = front.certificate.display().to_string();
    let proxy = Rendered::start(&file(), &["--endpoint", &endpoint, "--ca-file", &ca]).await;
    assert_eq!(proxy.send(infer()).await.status, 503);
}

/// Only a URL changes the host.
#[tokio::test]
async fn a_url_sets_the_host_and_an_address_leaves_it() {
    let stub = ModelStub::start("new").await.unwrap();
    let old = ModelStub::start("old").await.unwrap();
    let (port, old_port) = (stub.addr().port(), old.addr().port());
    let named = format!("localhost:{port}");
    for (endpoint, expected) in [
        (format!("http://localhost:{port}"), named.as_str()),
        (format!("localhost:{port}"), "models.test"),
        (format!("http://127.0.0.1:{port}"), "models.test"),
    ] {
        let (new, old_at) = (new_at(&endpoint), format!("old-cluster=http://localhost:{old_port}"));
        let proxy = Rendered::start(&file(), &["--endpoint", &new, "--endpoint", &old_at]).await;
        assert_eq!(proxy.send(infer().header("host", "models.test")).await.status, 200);
        assert_eq!(stub.requests().last().unwrap().authority, expected, "{endpoint}");
        // The routes to the baseline and for other requests rewrite the host as well.
        for path in ["/infer", "/elsewhere"] {
            let request = Request::get(path).header("host", "models.test");
            assert_eq!(proxy.send(request).await.status, 200);
            let seen = old.requests().pop().unwrap();
            assert_eq!(
                (seen.path.as_str(), seen.authority),
                (path, format!("localhost:{old_port}"))
            );
        }
    }
}

/// Options that change the same routes and clusters.
#[tokio::test]
async fn envoy_accepts_the_options_together() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&ca, key.cert.pem()).unwrap();
    let ca = ca.display().to_string();
    let mut mirrored = file();
    mirrored["experiments"][0]["mirror"] = json!({"cluster": "shadow"});
    let mut tagging = file();
    for variant in tagging["experiments"][0]["variants"].as_array_mut().unwrap() {
        variant.as_object_mut().unwrap().remove("cluster");
    }
    let both =
        ["--endpoint", "new-cluster=https://a.test", "--endpoint", "old-cluster=grpcs://b.test"];
    let tagged = ["--endpoint", "new=https://a.test", "--endpoint", "old=http://[::1]:80"];
    let limits =
        ["--timeout", "1m", "--idle-timeout", "0s", "--upgrade", "websocket", "--upgrade", "other"];
    let methods = ["--failover", "--failover-methods", "GET,PUT"];
    for (file, options) in [
        (&mirrored, [&both[..], &limits, &["--failover"]].concat()),
        (&mirrored, [&both[..], &limits, &methods].concat()),
        (
            &mirrored,
            [&both[..], &["--upstream-protocol", "auto", "--default-cluster", "other"]].concat(),
        ),
        (&mirrored, vec!["--endpoint", "shadow=https://c.test", "--upstream-protocol", "client"]),
        (&tagging, [&tagged[..], &limits].concat()),
        (&tagging, [&tagged[..], &limits, &["--lean"]].concat()),
    ] {
        let bootstrap = render(&dir, file, &[&options[..], &["--ca-file", &ca]].concat());
        let valid = sidetrack_lab::validate(&EnvoyBinary::find().unwrap(), &bootstrap).await;
        valid.unwrap_or_else(|error| panic!("{options:?}: {error:?}\n{bootstrap}"));
    }
}

/// The second attempt goes to the baseline's own host.
#[tokio::test]
async fn failover_rewrites_the_host_for_each_attempt() {
    let (new, old) =
        (ModelStub::start("new").await.unwrap(), ModelStub::start("old").await.unwrap());
    new.set(Behavior::Status(503));
    let url = |stub: &ModelStub| format!("localhost:{}", stub.addr().port());
    let [new_url, old_url] = [&new, &old].map(url);
    let endpoints =
        [format!("new-cluster=http://{new_url}"), format!("old-cluster=http://{old_url}")];
    let [one, two] = &endpoints;
    let proxy =
        Rendered::start(&file(), &["--failover", "--endpoint", one, "--endpoint", two]).await;
    assert_eq!(proxy.send(infer().header("host", "models.test")).await.status, 200);
    for (stub, host) in [(new, new_url), (old, old_url)] {
        let hosts: Vec<String> = stub.requests().into_iter().map(|seen| seen.authority).collect();
        assert_eq!(hosts, [host], "{}", stub.name());
    }
}
