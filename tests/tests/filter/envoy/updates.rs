//! Bad files on a real Envoy: listeners of others open, and any order of files ends in the newest good one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidetrack::config;
use sidetrack_lab::{
    Client, Envoy, EnvoyBinary, EnvoyOptions, ModelStub, Request, prometheus_value,
};
use sidetrack_tests::artifact;
use sidetrack_tests::world::sidetrack_command;
use tempfile::TempDir;
use tokio::time::sleep;

use super::{FORECAST, forecast_with};

const DEADLINE: Duration = Duration::from_secs(10);

/// How the filter gets its configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    /// From a file of its own, as `render envoy --watch` writes it.
    Watched,
    /// Inside the listeners, which come from a file.
    Listener,
}

/// An Envoy whose listeners are a file, with the stubs of both models.
struct Stand {
    envoy: Envoy,
    source: Source,
    /// The listener, as rendered.
    listener: Value,
    /// The filter's discovery file, as rendered.
    discovery: Value,
    configuration: String,
    neighbor: bool,
    dir: TempDir,
    _models: Vec<ModelStub>,
}

/// All users on the old model, or all on the new one, or a bad file.
fn text(percent: u32) -> String {
    let variants = json!([
        {"name": "old", "cluster": "old-cluster"},
        {"name": "new", "cluster": "new-cluster", "weight": percent},
    ]);
    forecast_with(json!({"variants": variants})).to_string()
}

fn replace(path: &Path, content: &Value) {
    let next = path.with_extension("next");
    fs::write(&next, content.to_string()).unwrap();
    fs::rename(next, path).unwrap();
}

impl Stand {
    async fn start(source: Source, configuration: String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let (file, watched) = (path("experiments.json"), path("filter.yaml"));
        fs::write(&file, text(0)).unwrap();
        let models = [ModelStub::start("old-cluster").await, ModelStub::start("new-cluster").await]
            .map(Result::unwrap);
        let shown = |path: &PathBuf| path.display().to_string();
        let mut arguments: Vec<String> = ["render", "envoy"].map(ToOwned::to_owned).into();
        arguments.extend([
            shown(&file),
            "--wasm".to_owned(),
            artifact::wasm().display().to_string(),
        ]);
        arguments.extend(["--watch".to_owned(), shown(&watched)]);
        for option in ["--listen", "--admin"] {
            arguments.extend([option.to_owned(), "127.0.0.1:0".to_owned()]);
        }
        for model in &models {
            arguments
                .extend(["--endpoint".to_owned(), format!("{}={}", model.name(), model.addr())]);
        }
        let mut bootstrap: Value =
            serde_saphyr::from_str(&sidetrack_command(&arguments).unwrap()).unwrap();
        arguments.push("--filter-only".to_owned());
        let discovery = serde_saphyr::from_str(&sidetrack_command(&arguments).unwrap()).unwrap();
        let mut listeners = bootstrap["static_resources"]["listeners"].take();
        let listener = listeners[0].take();
        bootstrap["static_resources"].as_object_mut().unwrap().remove("listeners");
        bootstrap["dynamic_resources"]["lds_config"] = json!({"path_config_source": {
            "path": path("listeners.yaml"), "watched_directory": {"path": dir.path()},
        }});
        let mut options = EnvoyOptions::new(EnvoyBinary::find().unwrap(), bootstrap.to_string());
        options.concurrency = 2;
        let write = Files { source, listener: &listener, discovery: &discovery, dir: dir.path() };
        write.filter(&configuration);
        write.listeners(&configuration, false);
        let envoy = Envoy::start(options).await.unwrap();
        Self {
            envoy,
            source,
            listener,
            discovery,
            configuration,
            neighbor: false,
            dir,
            _models: models.into(),
        }
    }

    fn files(&self) -> Files<'_> {
        Files {
            source: self.source,
            listener: &self.listener,
            discovery: &self.discovery,
            dir: self.dir.path(),
        }
    }

    /// Publishes a configuration and waits until Envoy has read the file.
    async fn publish(&mut self, configuration: String) {
        let before = self.updates().await;
        self.configuration = configuration;
        match self.source {
            Source::Watched => self.files().filter(&self.configuration),
            Source::Listener => self.files().listeners(&self.configuration, self.neighbor),
        }
        let begun = Instant::now();
        while self.updates().await == before {
            assert!(begun.elapsed() < DEADLINE, "no update\n{}", self.envoy.report().await);
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn updates(&self) -> i64 {
        self.envoy.stats(r"\.update_attempt$").await.unwrap().values().sum()
    }

    fn add_neighbor(&mut self) {
        self.neighbor = true;
        self.files().listeners(&self.configuration, true);
    }

    /// What a user gets at a listener: the variant's name, none if the filter leaves no trace, or why there is no answer.
    async fn served(&self, listener: &str) -> Result<Option<String>, String> {
        let port = self.envoy.listener_port(listener).await.map_err(|error| error.to_string())?;
        let client = Client::new(([127, 0, 0, 1], port).into());
        let answer = client.send(Request::get(FORECAST).header("x-user-id", "1")).await;
        let answer = answer.map_err(|error| error.to_string())?;
        assert_eq!(answer.status, 200);
        Ok(answer.header_text("x-ab-variant"))
    }

    /// Waits until new connections of both workers get this, and the published hash is that of `text`.
    async fn expect(&self, listener: &str, variant: Option<&str>, text: Option<&str>) {
        let hash = text
            .map_or(0, |text| config::parse_json(text.as_bytes()).unwrap().hash.first_32_bits());
        let begun = Instant::now();
        let mut seen = Vec::new();
        while begun.elapsed() < DEADLINE {
            seen.clear();
            for _ in 0..8 {
                seen.push(self.served(listener).await);
            }
            let gauge = self.metric("ab_test_config_hash").await;
            let is_right = |it: &Result<Option<String>, String>| {
                it.as_ref().is_ok_and(|served| served.as_deref() == variant)
            };
            if seen.iter().all(is_right) && gauge == Some(f64::from(hash)) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        let gauge = self.metric("ab_test_config_hash").await;
        panic!(
            "{listener}: expected {variant:?} and the hash {hash}, got {gauge:?}, {seen:?}\n{}",
            self.envoy.report().await
        );
    }

    /// Waits until a metric of the plugin has this value.
    async fn expect_rejected(&self, count: u32) {
        let begun = Instant::now();
        let mut found = None;
        while begun.elapsed() < DEADLINE {
            found = self.metric("ab_test_config_rejected_total").await;
            if found == Some(f64::from(count)) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("{found:?} files were rejected, not {count}\n{}", self.envoy.report().await);
    }

    async fn metric(&self, name: &str) -> Option<f64> {
        prometheus_value(&self.envoy.prometheus().await.unwrap(), name, &[("plugin", "sidetrack")])
    }
}

/// The files that an Envoy follows.
struct Files<'a> {
    source: Source,
    listener: &'a Value,
    discovery: &'a Value,
    dir: &'a Path,
}

impl Files<'_> {
    fn filter(&self, configuration: &str) {
        let mut discovery = self.discovery.clone();
        discovery["resources"][0]["typed_config"]["config"]["configuration"]["value"] =
            json!(configuration);
        replace(&self.dir.join("filter.yaml"), &discovery);
    }

    fn listeners(&self, configuration: &str, neighbor: bool) {
        let mut listener = self.listener.clone();
        listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        if self.source == Source::Listener {
            let mut filter = self.discovery["resources"][0]["typed_config"].clone();
            filter["config"]["configuration"]["value"] = json!(configuration);
            let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
            manager["http_filters"][0] = json!({"name": "sidetrack", "typed_config": filter});
        }
        let mut listeners = vec![listener.clone()];
        if neighbor {
            listener["name"] = json!("neighbor");
            listeners.push(listener);
        }
        replace(&self.dir.join("listeners.yaml"), &json!({"resources": listeners}));
    }
}

/// The proxy starts with a bad file, gets a good one, and the same bad one again. Then another listener opens.
async fn good_and_bad_files(source: Source) {
    let (bad, old, new) = (text(130), text(0), text(100));
    let mut stand = Stand::start(source, bad.clone()).await;
    stand.expect("predictors", None, None).await;
    stand.expect_rejected(1).await;
    stand.publish(old.clone()).await;
    stand.expect("predictors", Some("old"), Some(&old)).await;
    stand.publish(bad.clone()).await;
    if source == Source::Watched {
        stand.expect_rejected(2).await;
    }
    stand.expect("predictors", Some("old"), Some(&old)).await;
    stand.add_neighbor();
    stand.expect("neighbor", Some("old"), Some(&old)).await;
    for listener in ["predictors", "neighbor"] {
        stand.publish(new.clone()).await;
        stand.expect(listener, Some("new"), Some(&new)).await;
        stand.publish(bad.clone()).await;
        stand.expect(listener, Some("new"), Some(&new)).await;
    }
    let stats = stand.envoy.stats("update_rejected$|config_fail$|lds.*rejected").await.unwrap();
    assert!(stats.values().all(|count| *count == 0), "{stats:?}");
    stand.envoy.stop().await.unwrap();
}

#[tokio::test]
async fn bad_files_hold_back_no_listener_and_no_later_file() {
    good_and_bad_files(Source::Watched).await;
}

#[tokio::test]
async fn bad_files_inside_listeners_hold_back_no_listener_and_no_later_file() {
    good_and_bad_files(Source::Listener).await;
}
