//! Several plugins in one proxy: in one filter chain, and in listeners of their own.

use std::time::Instant;

use sidetrack_lab::{Envoy, EnvoyOptions, ModelStub};

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

/// An experiment of this name on this path, in which all users get this variant.
pub(super) fn on_path(name: &str, path: &str, percent: u32) -> Value {
    json!({"experiments": [{
        "name": name,
        "match": {"path": {"prefix": path}},
        "unit": [{"header": "x-user-id"}],
        "baseline": "old",
        "variants": [
            {"name": "old", "cluster": "old-cluster"},
            {"name": "new", "cluster": "new-cluster", "weight": percent},
        ],
    }]})
}

/// The bootstrap that `render envoy` writes for a file, with an inline configuration.
pub(super) fn bootstrap(file: &Value, models: &[ModelStub]) -> Value {
    let path = tempfile::NamedTempFile::new().unwrap();
    fs::write(path.path(), file.to_string()).unwrap();
    let mut arguments = vec!["render".to_owned(), "envoy".to_owned()];
    arguments.push(path.path().display().to_string());
    arguments.extend(["--wasm".to_owned(), artifact::wasm().display().to_string()]);
    for option in ["--listen", "--admin"] {
        arguments.extend([option.to_owned(), "127.0.0.1:0".to_owned()]);
    }
    for model in models {
        arguments.extend(["--endpoint".to_owned(), format!("{}={}", model.name(), model.addr())]);
    }
    arguments.extend(["--access-log".to_owned(), "/dev/null".to_owned()]);
    serde_saphyr::from_str(&sidetrack_command(&arguments).unwrap()).unwrap()
}

pub(super) fn manager(listener: &mut Value) -> &mut Value {
    &mut listener["filter_chains"][0]["filters"][0]["typed_config"]
}

/// Removes the routes' removal of a model's own headers, and the variable that announces it.
fn leave_headers_to_the_filter(bootstrap: &mut Value) {
    let manager = manager(&mut bootstrap["static_resources"]["listeners"][0]);
    let routes = manager["route_config"].as_object_mut().unwrap();
    routes.remove("response_headers_to_remove").unwrap();
    for vm in [
        "/http_filters/0/typed_config/config/vm_config",
        "/access_log/1/typed_config/config/vm_config",
    ] {
        let variables = &mut manager.pointer_mut(vm).unwrap()["environment_variables"];
        let variables = variables["key_values"].as_object_mut().unwrap();
        variables.remove("SIDETRACK_ROUTES_CLEAN").unwrap();
    }
}

pub(super) async fn start(bootstrap: &Value) -> Envoy {
    let mut options = EnvoyOptions::new(EnvoyBinary::find().unwrap(), bootstrap.to_string());
    options.concurrency = 2;
    Envoy::start(options).await.unwrap()
}

pub(super) async fn models() -> [ModelStub; 2] {
    [ModelStub::start("old-cluster").await, ModelStub::start("new-cluster").await]
        .map(Result::unwrap)
}

pub(super) async fn client(envoy: &Envoy, listener: &str) -> Client {
    Client::new(([127, 0, 0, 1], envoy.listener_port(listener).await.unwrap()).into())
}

/// Waits until a metric of a plugin has this value.
async fn expect(envoy: &Envoy, metric: &str, plugin: &str, value: f64) {
    let begun = Instant::now();
    loop {
        let text = envoy.prometheus().await.unwrap();
        let found = sidetrack_lab::prometheus_value(&text, metric, &[("plugin", plugin)]);
        if found == Some(value) {
            return;
        }
        assert!(
            begun.elapsed() < DEADLINE,
            "{metric} of {plugin} is {found:?}, not {value}\n{}",
            envoy.report().await
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Two teams have put a filter into one chain, both with the default prefix. No route removes a
/// model's headers here, so the filters do.
#[tokio::test]
async fn two_plugins_with_one_prefix_in_one_chain_do_not_contradict_each_other() {
    let models = models().await;
    let mut rendered = bootstrap(&on_path("first", "/first", 100), &models);
    leave_headers_to_the_filter(&mut rendered);
    let manager = manager(&mut rendered["static_resources"]["listeners"][0]);
    let first = manager["http_filters"][0].clone();
    let mut second = first.clone();
    let plugin = &mut second["typed_config"]["config"];
    plugin["name"] = json!("sidetrack-second");
    plugin["root_id"] = json!("sidetrack-second");
    plugin["configuration"]["value"] = json!(on_path("second", "/", 0).to_string());
    second["name"] = json!("second");
    let router = manager["http_filters"][1].clone();
    manager["http_filters"] = json!([first, second, router]);
    let envoy = start(&rendered).await;

    for plugin in ["sidetrack-first", "sidetrack-second"] {
        expect(&envoy, "ab_test_prefix_shared", plugin, 1.0).await;
    }
    let reports = envoy.log().matches("has the same header prefix x-ab-").count();
    assert_eq!(reports, 1, "{}", envoy.log());
    models.iter().for_each(|model| {
        model.respond_with(&[("x-ab-variant", "forged"), ("x-ab-reason", "forged")]);
    });
    // All workers know of it within a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for (path, experiment, variant) in [("/first/x", "first", "new"), ("/x", "second", "old")] {
        for _ in 0..10 {
            let client = client(&envoy, "predictors").await;
            let answer = client.send(Request::get(path).header("x-user-id", "1")).await.unwrap();
            let seen = models.iter().find_map(|model| {
                let requests = model.requests();
                model.clear();
                Some((model.name().to_owned(), requests.into_iter().next()?))
            });
            let (model, seen) = seen.unwrap();
            let text = |name: &str| (answer.header_text(name), seen.header_text(name));
            let both = |text: &str| (Some(text.to_owned()), Some(text.to_owned()));
            assert_eq!(text("x-ab-experiment"), both(experiment), "{}", envoy.report().await);
            assert_eq!(text("x-ab-variant"), both(variant), "{}", envoy.report().await);
            assert_eq!(answer.header_text("x-ab-reason"), None);
            assert_eq!(model, format!("{variant}-cluster"));
        }
    }
    expect(&envoy, "ab_test_yielded_total", "sidetrack-second", 10.0).await;
    expect(&envoy, "ab_test_yielded_total", "sidetrack-first", 0.0).await;
    envoy.stop().await.unwrap();
}

/// Where no route removes a model's own headers from responses, the filter does, on every path.
#[tokio::test]
async fn without_the_routes_removal_the_filter_removes_what_a_model_forges() {
    const FORGED: [&str; 10] = [
        "experiment",
        "variant",
        "assigned",
        "phase",
        "cluster",
        "mirror",
        "reason",
        "bucket",
        "breaker",
        "config",
    ];
    let models = models().await;
    let forged = FORGED.map(|name| (&*format!("x-ab-{name}").leak(), "forged"));
    models.iter().for_each(|model| model.respond_with(&forged));
    for response_headers in [true, false] {
        let mut file = on_path("e", "/e", 50);
        file["settings"] = json!({"response_headers": response_headers, "debug": "allowed"});
        file["experiments"][0]["missing_unit"] = json!("skip");
        let mut rendered = bootstrap(&file, &models);
        leave_headers_to_the_filter(&mut rendered);
        let envoy = start(&rendered).await;
        let mut served = std::collections::BTreeSet::new();
        for (path, user, debug) in (0..10)
            .flat_map(|user| [("/e", Some(user), false), ("/e", Some(user), true)])
            .chain([("/e", None, false), ("/other", Some(1), false)])
        {
            let mut request = Request::get(path);
            if let Some(user) = user {
                request = request.header("x-user-id", user.to_string());
            }
            if debug {
                request = request.header("x-ab-debug", "1");
            }
            let answer = client(&envoy, "predictors").await.send(request).await.unwrap();
            let values =
                FORGED.iter().filter_map(|name| answer.header_text(&format!("x-ab-{name}")));
            assert!(values.clone().all(|value| value != "forged"), "{path}: {answer:?}");
            let is_told = path == "/e" && user.is_some() && (response_headers || debug);
            assert_eq!(values.count() > 0, is_told, "{path} {user:?} {debug}: {answer:?}");
            served.insert(answer.header_text("x-model"));
        }
        assert_eq!(served.len(), 2, "{served:?}");
        envoy.stop().await.unwrap();
    }
}

/// Two listeners with files of their own, as `render envoy` names their plugins. One of them starts
/// with a bad file, and must not serve the other's experiment.
#[tokio::test]
async fn a_bad_file_of_one_listener_does_not_serve_the_experiment_of_another() {
    let models = models().await;
    let mut good = bootstrap(&on_path("good", "/", 100), &models);
    let mut bad = bootstrap(&on_path("bad", "/", 100), &models);
    let mut listener = bad["static_resources"]["listeners"][0].take();
    listener["name"] = json!("other");
    let filter = &mut manager(&mut listener)["http_filters"][0]["typed_config"]["config"];
    assert_eq!(filter["name"], json!("sidetrack-bad"));
    filter["configuration"]["value"] = json!(on_path("bad", "/", 130).to_string());
    good["static_resources"]["listeners"].as_array_mut().unwrap().push(listener);
    let envoy = start(&good).await;
    expect(&envoy, "ab_test_config_rejected_total", "sidetrack-bad", 1.0).await;
    expect(&envoy, "ab_test_config_hash", "sidetrack-bad", 0.0).await;
    for (listener, variant) in [("predictors", Some("new")), ("other", None)] {
        for _ in 0..8 {
            let client = client(&envoy, listener).await;
            let answer = client.send(Request::get("/x").header("x-user-id", "1")).await.unwrap();
            let told = answer.header_text("x-ab-variant");
            assert_eq!((answer.status, told.as_deref()), (200, variant), "{listener}");
        }
    }
    envoy.stop().await.unwrap();
}

/// Two listeners whose files have been put under one plugin name by hand.
#[tokio::test]
async fn two_files_under_one_plugin_name_are_reported() {
    let models = models().await;
    let mut rendered = bootstrap(&on_path("first", "/", 100), &models);
    let mut other = bootstrap(&on_path("second", "/", 100), &models);
    let mut listener = other["static_resources"]["listeners"][0].take();
    listener["name"] = json!("other");
    let filter = &mut manager(&mut listener)["http_filters"][0]["typed_config"]["config"];
    filter["name"] = json!("sidetrack-first");
    filter["root_id"] = json!("sidetrack-first");
    rendered["static_resources"]["listeners"].as_array_mut().unwrap().push(listener);
    let envoy = start(&rendered).await;
    let begun = Instant::now();
    let shared = || async {
        let text = envoy.prometheus().await.unwrap();
        let labels = [("plugin", "sidetrack-first")];
        sidetrack_lab::prometheus_value(&text, "ab_test_plugin_shared", &labels)
    };
    while shared().await != Some(1.0) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", envoy.report().await);
        for (listener, experiment) in [("predictors", "first"), ("other", "second")] {
            let client = client(&envoy, listener).await;
            let answer = client.send(Request::get("/x").header("x-user-id", "1")).await.unwrap();
            assert_eq!(answer.header_text("x-ab-experiment").as_deref(), Some(experiment));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let reports = envoy.log().matches("under the plugin name sidetrack-first").count();
    assert_eq!(reports, 1, "{}", envoy.log());
    envoy.stop().await.unwrap();
}
