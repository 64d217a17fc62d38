//! An Envoy whose listeners and experiment file change while it runs.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
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

use super::scenarios::{FORECAST, forecast_with};

/// How long an update may take. Only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(20);
/// The plugin's name, as `render envoy` derives it.
const PLUGIN: &str = "sidetrack-forecast-ab";

/// How the filter gets its configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Source {
    /// From a file of its own, as `render envoy --watch` writes it.
    Watched,
    /// Inside the listeners, which come from a file.
    Listener,
}

/// An Envoy whose listeners are a file, with the stubs of both models.
pub(crate) struct Stand {
    pub(crate) envoy: Envoy,
    /// Where the first listener listens, across restarts.
    pub(crate) addr: SocketAddr,
    bootstrap: String,
    pub(crate) source: Source,
    /// The listener, as rendered.
    listener: Value,
    /// The filter's discovery file, as rendered.
    discovery: Value,
    configuration: String,
    neighbor: bool,
    dir: TempDir,
    pub(crate) models: [ModelStub; 2],
}

/// All users on the old model, or all on the new one, or a bad file.
pub(crate) fn text(percent: u32) -> String {
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
    pub(crate) async fn start(source: Source, configuration: String) -> Self {
        Self::start_with_drain_time(source, configuration, 2).await
    }

    /// A stand whose old listeners live on for so many seconds.
    pub(crate) async fn start_with_drain_time(
        source: Source,
        configuration: String,
        seconds: u32,
    ) -> Self {
        Self::start_rendered(source, &text(0), configuration, seconds).await
    }

    /// A stand with the bootstrap of this experiment file.
    pub(crate) async fn start_rendered(
        source: Source,
        rendered: &str,
        configuration: String,
        seconds: u32,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let (file, watched) = (path("experiments.json"), path("filter.yaml"));
        fs::write(&file, rendered).unwrap();
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
        let mut listener = listeners[0].take();
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        listener["address"]["socket_address"]["port_value"] = json!(port);
        bootstrap["static_resources"].as_object_mut().unwrap().remove("listeners");
        bootstrap["dynamic_resources"]["lds_config"] = json!({"path_config_source": {
            "path": path("listeners.yaml"), "watched_directory": {"path": dir.path()},
        }});
        let bootstrap = bootstrap.to_string();
        let mut options = EnvoyOptions::new(EnvoyBinary::find().unwrap(), bootstrap.clone());
        options.concurrency = 2;
        // The connections of old listeners end with the next response.
        options.extra_args =
            ["--drain-time-s", &seconds.to_string(), "--drain-strategy", "immediate"]
                .map(ToOwned::to_owned)
                .into();
        let write = Files { source, listener: &listener, discovery: &discovery, dir: dir.path() };
        write.filter(&configuration);
        write.listeners(&configuration, false);
        let envoy = Envoy::start(options).await.unwrap();
        Self {
            envoy,
            addr: (Ipv4Addr::LOCALHOST, port).into(),
            bootstrap,
            source,
            listener,
            discovery,
            configuration,
            neighbor: false,
            dir,
            models,
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
    pub(crate) async fn publish(&mut self, configuration: String) {
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

    /// Adds another listener with the same file, or removes it.
    pub(crate) fn set_neighbor(&mut self, neighbor: bool) {
        self.neighbor = neighbor;
        self.files().listeners(&self.configuration, neighbor);
    }

    /// Replaces the whole file that the filter is read from, or removes it.
    pub(crate) fn set_file(&self, content: Option<&str>) {
        let path = self.dir.path().join("filter.yaml");
        match content {
            Some(content) => {
                let next = path.with_extension("next");
                fs::write(&next, content).unwrap();
                fs::rename(next, path).unwrap();
            }
            None => fs::remove_file(path).unwrap(),
        }
    }

    /// Publishes the same configuration with another build of the module.
    pub(crate) fn set_module(&mut self, module: &Path) {
        let code = "/resources/0/typed_config/config/vm_config/code/local/filename";
        *self.discovery.pointer_mut(code).unwrap() = json!(module);
        match self.source {
            Source::Watched => self.files().filter(&self.configuration),
            Source::Listener => self.files().listeners(&self.configuration, self.neighbor),
        }
    }

    /// A process with the files as they are now.
    pub(crate) async fn restart(self) -> Self {
        let envoy = self.envoy.restart(&self.bootstrap).await.unwrap();
        Self { envoy, ..self }
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
    pub(crate) async fn expect(&self, listener: &str, variant: Option<&str>, text: Option<&str>) {
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

    /// Waits until this text is in force.
    pub(crate) async fn expect_hash(&self, text: &str) {
        let hash = f64::from(config::parse_json(text.as_bytes()).unwrap().hash.first_32_bits());
        let begun = Instant::now();
        while self.metric("ab_test_config_hash").await != Some(hash) {
            assert!(begun.elapsed() < DEADLINE, "{text}\n{}", self.envoy.report().await);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a metric of the plugin has this value.
    pub(crate) async fn expect_rejected(&self, count: u32) {
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

    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        prometheus_value(&self.envoy.prometheus().await.unwrap(), name, &[("plugin", PLUGIN)])
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
            listener["address"]["socket_address"]["port_value"] = json!(0);
            listeners.push(listener);
        }
        replace(&self.dir.join("listeners.yaml"), &json!({"resources": listeners}));
    }
}
