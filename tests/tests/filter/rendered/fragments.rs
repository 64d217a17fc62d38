//! The pieces, put into an Envoy that has a configuration already.

use super::*;

/// A piece of the file.
fn piece(dir: &TempDir, file: &Value, options: &[&str], name: &str) -> Value {
    let text = render(dir, file, &[options, &["--fragment", name]].concat());
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"))
}

/// An Envoy whose routes lead to `other`, and which does not know Sidetrack.
fn existing(other: SocketAddr) -> Value {
    let hcm = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    let address =
        |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    json!({
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": [{"name": "predictors", "address": address(0), "filter_chains": [{"filters": [{
                "name": "http", "typed_config": {"@type": hcm, "stat_prefix": "mine",
                    "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "other"}}]}]},
                    "http_filters": [{"name": "router", "typed_config": {"@type": router}}]}}]}]}],
            "clusters": [{"name": "other", "type": "STATIC", "load_assignment": {"cluster_name": "other",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(other.port())}}]}]}}],
        },
    })
}

fn put_first(list: &mut Value, piece: Value) {
    let (Value::Array(list), Value::Array(piece)) = (list, piece) else { panic!("not two lists") };
    list.splice(0..0, piece);
}

/// Puts pieces into their places.
fn with(mut bootstrap: Value, pieces: &[&str], piece: impl Fn(&str) -> Value) -> Value {
    for name in pieces {
        let piece = piece(name);
        let statics = &mut bootstrap["static_resources"];
        let manager =
            &mut statics["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        match *name {
            "filter" => put_first(&mut manager["http_filters"], piece),
            "guard" => {
                for (key, value) in piece.as_object().unwrap() {
                    manager[key] = value.clone();
                }
            }
            "routes" => {
                put_first(&mut manager["route_config"]["virtual_hosts"][0]["routes"], piece)
            }
            "access-log" => manager["access_log"] = piece,
            "clusters" => put_first(&mut statics["clusters"], piece),
            "stats-tags" => bootstrap["stats_config"] = json!({"stats_tags": piece}),
            _ => panic!("no place for {name}"),
        }
    }
    bootstrap
}

const ALL: [&str; 6] = ["filter", "guard", "routes", "clusters", "stats-tags", "access-log"];

/// Two experiments, by cluster and by tag, with a mirror and a host.
fn two() -> Value {
    let mut file = file();
    file["experiments"][0]["match"]["hosts"] = json!(["models.test"]);
    file["experiments"][0]["mirror"] = json!({"cluster": "shadow"});
    let tagging = json!({
        "name": "t", "match": {"path": {"prefix": "/tagged"}}, "unit": [{"header": "x-user-id"}],
        "baseline": "t-old", "variants": [{"name": "t-old"}, {"name": "t-new", "weight": 100}],
    });
    file["experiments"].as_array_mut().unwrap().push(tagging);
    file
}

struct Models(Vec<ModelStub>);

impl Models {
    async fn start() -> Self {
        let mut stubs = Vec::new();
        for name in ["old-cluster", "new-cluster", "shadow", "t-old", "t-new", "other"] {
            stubs.push(ModelStub::start(name).await.unwrap());
        }
        Self(stubs)
    }

    fn of(&self, name: &str) -> &ModelStub {
        self.0.iter().find(|stub| stub.name() == name).unwrap()
    }

    fn options(&self) -> Vec<String> {
        let known = self.0.iter().filter(|stub| stub.name() != "other");
        known
            .flat_map(|stub| ["--endpoint".to_owned(), format!("{}={}", stub.name(), stub.addr())])
            .collect()
    }
}

#[tokio::test]
async fn an_envoy_with_all_pieces_runs_the_experiment_beside_its_own_routes() {
    let models = Models::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (file, options) = (two(), models.options());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let bootstrap =
        with(existing(models.of("other").addr()), &ALL, |name| piece(&dir, &file, &options, name));
    let proxy = Rendered::of(dir, bootstrap.to_string()).await;
    let by = |path: &str| {
        Request::get(path).header("host", "Models.Test.:80").header("x-user-id", "4711")
    };
    let served = |answer: &Answer| {
        assert_eq!(answer.status, 200);
        (answer.header_text("x-model"), answer.header_text("x-ab-variant"))
    };
    let is = |model: &str, variant: &str| (Some(model.to_owned()), Some(variant.to_owned()));
    assert_eq!(served(&proxy.send(by("/infer")).await), is("new-cluster", "new"));
    assert_eq!(served(&proxy.send(by("/tagged")).await), is("t-new", "t-new"));
    let forged = by("/own").header("x-ab-cluster", "new-cluster").header("x-ab-force", "new");
    assert_eq!(served(&proxy.send(forged).await), (Some("other".to_owned()), None));
    for stub in &models.0 {
        for seen in stub.requests() {
            for hidden in ["x-ab-cluster", "x-ab-mirror", "x-ab-force"] {
                assert_eq!(seen.header(hidden), None, "{}: {hidden}", stub.name());
            }
        }
    }
    let begun = Instant::now();
    while models.of("shadow").count() == 0 {
        assert!(begun.elapsed() < DEADLINE, "the mirror gets nothing");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let line = proxy.log(1).await.remove(0);
    assert_eq!((&line["served"], &line["path"]), (&json!("new"), &json!("/infer")));

    // Failures reach the filter by the logger, and the metrics have labels.
    models.of("new-cluster").set(Behavior::Status(503));
    assert_eq!(proxy.send(by("/infer")).await.status, 503);
    let labels = [("experiment", "e"), ("model_name", "new"), ("status", "error")];
    let begun = Instant::now();
    loop {
        let text = proxy.envoy.prometheus().await.unwrap();
        let count = sidetrack_lab::prometheus_value(&text, "ab_test_requests_total", &labels);
        if count == Some(1.0) {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "{count:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The routes alone are what an Envoy has whose filter is absent.
#[tokio::test]
async fn without_the_filter_the_routes_lead_to_the_baseline() {
    let models = Models::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (file, options) = (two(), models.options());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let bootstrap =
        with(existing(models.of("other").addr()), &["guard", "routes", "clusters"], |name| {
            piece(&dir, &file, &options, name)
        });
    let proxy = Rendered::of(dir, bootstrap.to_string()).await;
    for (host, path, model) in [
        ("models.test", "/infer", "old-cluster"),
        ("MODELS.test.:8080", "/infer", "old-cluster"),
        ("models.test..", "/infer", "other"),
        ("a.test", "/infer", "other"),
        ("a.test", "/tagged", "t-old"),
    ] {
        let request = Request::get(path).header("host", host).header("x-ab-cluster", "new-cluster");
        let answer = proxy.send(request.header("x-ab-force", "new")).await;
        assert_eq!(answer.header_text("x-model").as_deref(), Some(model), "{host} {path}");
        let seen = models.of(model).requests().pop().unwrap();
        assert_eq!(seen.header("x-ab-force").is_some(), model == "other", "{host} {path}");
    }
}

/// Each piece says where it belongs, and differs only in its comment and its place from the whole.
#[test]
fn pieces_are_what_the_bootstrap_has() {
    let dir = tempfile::tempdir().unwrap();
    let whole: Value = serde_saphyr::from_str(&render(&dir, &two(), &[])).unwrap();
    let manager = &whole["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    for (name, found) in [
        ("clusters", &whole["static_resources"]["clusters"]),
        ("stats-tags", &whole["stats_config"]["stats_tags"]),
        ("access-log", &manager["access_log"]),
    ] {
        assert_eq!(piece(&dir, &two(), &[], name), *found, "{name}");
    }
    let filter = piece(&dir, &two(), &[], "filter");
    assert_eq!(filter[0], manager["http_filters"][0]);
    for name in ALL {
        let text = render(&dir, &two(), &["--fragment", name]);
        assert!(text.starts_with("# For "), "{name}: {text}");
    }
}
