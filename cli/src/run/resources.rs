//! Envoy's configuration as files that it follows: listeners, clusters and the filter.
//!
//! The rendered bootstrap is taken apart, so that an edit of the file takes effect without a restart, whatever it
//! changes: weights and breakers are in the filter, match conditions also in the listener's routes, services in the
//! clusters. Each file is replaced as a whole, and only if it differs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use sidetrack::config::Node;
use sidetrack::plan::Plan;

use super::folder::Folder;
use crate::render;
use crate::{atomic, yaml};

const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

/// The files.
pub(super) struct Resources<'a> {
    folder: &'a Folder,
    wasm: PathBuf,
    /// The plugin keeps its name although the first experiment may change it: it is how the filter finds its last good
    /// file.
    plugin: Option<String>,
    /// All clusters so far, by name: a listener that drains may still use those of an earlier file.
    clusters: BTreeMap<String, Value>,
    /// The rendered parts of the last file that was written.
    parts: Option<Parts>,
    /// Where the listener listens; not known before the first start.
    listen: Option<SocketAddr>,
}

/// A rendered bootstrap, taken apart.
#[derive(Clone, Debug)]
struct Parts {
    bootstrap: Value,
    listeners: Vec<Value>,
    clusters: Vec<Value>,
    filter: String,
}

impl<'a> Resources<'a> {
    pub(super) fn new(folder: &'a Folder, wasm: &Path) -> Self {
        let (plugin, clusters, parts, listen) = (None, BTreeMap::new(), None, None);
        Self { folder, wasm: wasm.to_owned(), plugin, clusters, parts, listen }
    }

    /// Writes the files of an experiment file, and those that Envoy follows once it runs.
    ///
    /// # Errors
    ///
    /// If the options do not suit the file, or a file cannot be written.
    pub(super) fn write(
        &mut self,
        plan: &Plan,
        node: &Node,
        options: &render::Options,
    ) -> anyhow::Result<()> {
        let plugin = self.plugin.clone().or_else(|| {
            let first = plan.experiments.first()?;
            Some(format!("{}-{}", sidetrack::names::plugin::NAME, first.name))
        });
        let options = render::Options {
            wasm: self.wasm.to_string_lossy().into_owned(),
            access_log: self.folder.exposures().to_string_lossy().into_owned(),
            watch: Some(self.path("filter.yaml")),
            plugin: plugin.clone(),
            ..options.clone()
        };
        let parts = Parts::of(plan, node, &options)?;
        self.plugin = plugin;
        for cluster in &parts.clusters {
            let name = cluster.get("name").and_then(Value::as_str).unwrap_or_default();
            self.clusters.insert(name.to_owned(), cluster.clone());
        }
        // Clusters first: a route to an unknown cluster fails.
        let clusters = self.clusters.values().cloned().collect();
        self.publish("clusters.json", &resources(CLUSTER, clusters)?)?;
        self.publish("filter.yaml", &parts.filter)?;
        self.parts = Some(parts);
        if self.listen.is_some() {
            self.publish_listeners()?;
        }
        Ok(())
    }

    /// The bootstrap of an Envoy with these addresses. The listener's file has them as well.
    ///
    /// # Errors
    ///
    /// If the listener's file cannot be written.
    pub(super) fn bootstrap(
        &mut self,
        listen: SocketAddr,
        admin: SocketAddr,
    ) -> anyhow::Result<String> {
        self.listen = Some(listen);
        self.publish_listeners()?;
        let parts = self.parts.as_ref().context("no file was written")?;
        let mut bootstrap = parts.bootstrap.clone();
        let of = |name: &str| {
            let path = json!({"path": self.path(name), "watched_directory": {"path": self.folder.envoy()}});
            json!({"resource_api_version": "V3", "path_config_source": path})
        };
        let dynamic =
            json!({"lds_config": of("listeners.json"), "cds_config": of("clusters.json")});
        set(&mut bootstrap, "/dynamic_resources", dynamic);
        set(&mut bootstrap, "/admin/address", address(admin));
        Ok(serde_json::to_string_pretty(&bootstrap)?)
    }

    fn publish_listeners(&self) -> anyhow::Result<()> {
        let (Some(parts), Some(listen)) = (&self.parts, self.listen) else { return Ok(()) };
        let mut listeners = parts.listeners.clone();
        listeners.iter_mut().for_each(|listener| set(listener, "/address", address(listen)));
        self.publish("listeners.json", &resources(LISTENER, listeners)?)
    }

    /// Replaces a file if it differs.
    fn publish(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.path(name);
        if std::fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        atomic::write(&path, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.envoy().join(name)
    }
}

impl Parts {
    fn of(plan: &Plan, node: &Node, options: &render::Options) -> anyhow::Result<Self> {
        let text = render::bootstrap(plan, node, options)?;
        let mut bootstrap: Value = yaml::read(&text).map_err(anyhow::Error::msg)?;
        let resources = bootstrap
            .as_object_mut()
            .and_then(|bootstrap| bootstrap.remove("static_resources"))
            .unwrap_or_default();
        let list = |key: &str| resources.get(key).and_then(Value::as_array).cloned();
        Ok(Self {
            listeners: list("listeners").unwrap_or_default(),
            clusters: list("clusters").unwrap_or_default(),
            filter: render::filter(plan, node, options)?,
            bootstrap,
        })
    }
}

/// A discovery response, as Envoy reads it from a file.
fn resources(kind: &str, mut items: Vec<Value>) -> anyhow::Result<String> {
    items.iter_mut().for_each(|item| set(item, "/@type", kind.into()));
    Ok(serde_json::to_string_pretty(&json!({ "resources": items }))?)
}

fn address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

/// Sets a key of an object that exists.
fn set(value: &mut Value, pointer: &str, new: Value) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    if let Some(parent) = value.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.insert(key.to_owned(), new);
    }
}
