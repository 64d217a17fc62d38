//! What istiod sent to a proxy, as a configuration that a plain Envoy runs without a control plane.
//!
//! `tests/golden/istio/` contains what real istiods made of rendered manifests. [`Golden::bootstrap`] makes a static
//! bootstrap of one proxy's listener. Routes, filters, clusters, loggers and statistics are istiod's. Only what needs a
//! control plane, certificates or Istio's build of Envoy is replaced:
//!
//! | istiod | here |
//! |---|---|
//! | discovery of routes and filters | the same resources, inline or in a file |
//! | a listener that matches redirected connections | one filter chain of it, on a free port |
//! | an image that the agent fetches | a file, and without the agent's variables, as the agent passes it on |
//! | addresses of pods | addresses that the test names |
//! | mTLS and tunnels to pods | plain HTTP |
//! | clusters of unknown destinations (`PassthroughCluster`) | none |
//! | filters that upstream Envoy lacks | none, see [`ISTIO_ONLY`] |

#![expect(clippy::indexing_slicing, reason = "a missing key reads as null")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// Filters of Istio's build of Envoy: telemetry and negotiation between proxies. None of them chooses a route.
pub const ISTIO_ONLY: &[&str] = &[
    "connect_authority",
    "istio.alpn",
    "istio.metadata_exchange",
    "istio.stats",
    "waypoint_upstream_peer_metadata",
];

const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";

/// A release of Istio, by the name of its folder in `tests/golden/istio/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// 1.29.6. Frozen.
    Istio1_29,
    /// The version in `tests/mesh/go.mod`. `make golden-istio` writes it again.
    Newest,
}

impl Release {
    /// The folder of its cases.
    #[must_use]
    pub fn folder(self) -> PathBuf {
        let name = match self {
            Self::Istio1_29 => "1.29",
            Self::Newest => "newest",
        };
        Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/istio").join(name)
    }

    /// The names of its cases, sorted.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub fn cases(self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.folder())? {
            let entry = entry?;
            if entry.path().join("command.txt").is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

/// A line of a `command.txt`: a program, its arguments, and the file for its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// `sidetrack` or `sidetrack-istiod`.
    pub program: String,
    /// Separated by blanks, and without quotes.
    pub arguments: Vec<String>,
    /// Relative to the folder of the release.
    pub output: Option<String>,
}

/// The commands of a case. They run in the folder of the release (1.29: of the case).
///
/// # Errors
///
/// If the case does not exist.
pub fn commands(release: Release, case: &str) -> Result<Vec<Command>> {
    let file = release.folder().join(case).join("command.txt");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    text.lines().map(command).collect()
}

fn command(line: &str) -> Result<Command> {
    let (line, output) = match line.split_once(" > ") {
        Some((line, output)) => (line, Some(output.trim().to_owned())),
        None => (line, None),
    };
    let mut words = line.split_whitespace().map(|word| word.trim_matches('\'').to_owned());
    let program = words.next().context("an empty line")?;
    Ok(Command { program, arguments: words.collect(), output })
}

/// The place in a proxy where requests enter.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The listener's name.
    pub listener: &'a str,
    /// The filter chain's name. `None` is the first one with HTTP.
    pub chain: Option<&'a str>,
}

/// What a test adds.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// The module.
    pub wasm: &'a Path,
    /// A folder for the extension's file and for the proxy's standard output.
    pub folder: &'a Path,
    /// The address of a server for the IP address of each pod.
    pub pods: &'a BTreeMap<String, SocketAddr>,
    /// Whether the proxy has the plugin. Without it, istiod leaves out the filter, and nothing else.
    pub plugin: bool,
}

impl Local<'_> {
    /// What the proxy writes to its standard output.
    #[must_use]
    pub fn stdout(&self) -> PathBuf {
        self.folder.join("stdout.log")
    }
}

/// What istiod sent to one proxy.
#[derive(Clone, Debug)]
pub struct Golden {
    /// The experiment file that was rendered.
    pub experiment: PathBuf,
    /// Listeners.
    pub listeners: Vec<Value>,
    /// Route configurations.
    pub routes: Vec<Value>,
    /// Clusters.
    pub clusters: Vec<Value>,
    /// Cluster load assignments.
    pub endpoints: Vec<Value>,
    /// Configurations of filters, by discovery.
    pub extensions: Vec<Value>,
    /// `stats_config` of the agent's bootstrap; null in 1.29.
    pub stats: Value,
}

impl Golden {
    /// Reads a case.
    ///
    /// # Errors
    ///
    /// If a file is missing or is not JSON.
    pub fn read(release: Release, case: &str) -> Result<Self> {
        let folder = release.folder().join(case);
        let json = |name: &str| -> Result<Value> {
            let file = folder.join(name);
            let text =
                std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            serde_json::from_str(&text).with_context(|| file.display().to_string())
        };
        let list = |name: &str| -> Result<Vec<Value>> {
            let mut list = json(name)?;
            let list = list.as_array_mut().with_context(|| format!("{name} is not a list"))?;
            // 1.29's are messages of any type; in a bootstrap, each has its place.
            list.iter_mut()
                .filter_map(Value::as_object_mut)
                .for_each(|one| drop(one.remove("@type")));
            Ok(std::mem::take(list))
        };
        let render = commands(release, case)?.into_iter().next().context("no commands")?;
        let written = render.arguments.get(2).context("no experiment file")?;
        let (experiment, stats) = match release {
            Release::Istio1_29 => (folder.join(written), Value::Null),
            Release::Newest => (release.folder().join(written), json("stats.json")?),
        };
        Ok(Self {
            experiment,
            listeners: list("listeners.json")?,
            routes: list("routes.json")?,
            clusters: list("clusters.json")?,
            endpoints: list("endpoints.json")?,
            extensions: list("extensions.json")?,
            stats,
        })
    }

    /// The IP addresses of all pods behind the clusters.
    ///
    /// # Errors
    ///
    /// If an endpoint has another kind of address.
    pub fn pods(&self) -> Result<BTreeSet<String>> {
        let mut pods = BTreeSet::new();
        for cluster in &self.endpoints {
            for endpoint in lists(cluster, "endpoints").flat_map(|e| lists(e, "lb_endpoints")) {
                pods.insert(pod(&endpoint["endpoint"]["address"])?);
            }
        }
        Ok(pods)
    }

    /// The bootstrap of an Envoy with one listener, `proxy`.
    ///
    /// # Errors
    ///
    /// If istiod sent something that this reader does not know, or a file cannot be written.
    pub fn bootstrap(&self, entry: Entry<'_>, local: Local<'_>) -> Result<String> {
        let mut bootstrap = json!({
            "node": {"id": "proxy", "cluster": "proxy"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "static_resources": {
                "listeners": [self.listener(entry, local)?],
                "clusters": self.static_clusters(local)?,
            },
        });
        if !self.stats.is_null() {
            bootstrap["stats_config"] = self.stats.clone();
        }
        write_stdout_to(&mut bootstrap, &local.stdout());
        Ok(serde_json::to_string_pretty(&bootstrap)?)
    }

    /// The HTTP connection manager of an entry, as istiod sent it.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn manager(&self, entry: Entry<'_>) -> Result<&Value> {
        let listener = named(&self.listeners, entry.listener)?;
        let http =
            |chain: &&Value| lists(chain, "filters").any(|f| f["name"] == CONNECTION_MANAGER);
        let chain = lists(listener, "filter_chains")
            .filter(http)
            .find(|chain| entry.chain.is_none_or(|name| chain["name"] == name));
        let chain = chain.with_context(|| format!("{entry:?} has no HTTP filter chain"))?;
        let mut filters = lists(chain, "filters").filter(|filter| !is_istio_only(filter));
        let manager = filters.next().context("an empty chain")?;
        ensure!(filters.next().is_none(), "more than one filter in {chain}");
        Ok(&manager["typed_config"])
    }

    /// The virtual hosts of an entry, as istiod sent them.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn route_configuration(&self, entry: Entry<'_>) -> Result<&Value> {
        let manager = self.manager(entry)?;
        match manager["rds"]["route_config_name"].as_str() {
            Some(name) => named(&self.routes, name),
            None if manager["route_config"].is_object() => Ok(&manager["route_config"]),
            None => bail!("{entry:?} has no routes"),
        }
    }

    fn listener(&self, entry: Entry<'_>, local: Local<'_>) -> Result<Value> {
        let mut manager = self.manager(entry)?.clone();
        let routes = self.route_configuration(entry)?.clone();
        let object = manager.as_object_mut().context("a manager that is not an object")?;
        object.remove("rds");
        object.insert("route_config".to_owned(), routes);
        let mut filters = Vec::new();
        for filter in lists(&manager, "http_filters").filter(|filter| !is_istio_only(filter)) {
            let mut filter = filter.clone();
            if filter["config_discovery"].is_object() {
                if !local.plugin {
                    continue;
                }
                let file = self.extension(&filter, local)?;
                filter["config_discovery"]["config_source"] =
                    json!({"path_config_source": {"path": file}, "initial_fetch_timeout": "0s"});
            }
            filters.push(filter);
        }
        manager["http_filters"] = Value::Array(filters);
        let from = named(&self.listeners, entry.listener)?;
        let mut listener = json!({
            "name": "proxy",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [{"name": CONNECTION_MANAGER, "typed_config": manager}]}],
        });
        for kept in ["access_log", "traffic_direction", "per_connection_buffer_limit_bytes"] {
            if !from[kept].is_null() {
                listener[kept] = from[kept].clone();
            }
        }
        Ok(listener)
    }

    /// Writes the resource of a filter to a file, as the agent passes it on: the module is a file on its machine.
    fn extension(&self, filter: &Value, local: Local<'_>) -> Result<PathBuf> {
        let name = filter["name"].as_str().context("a filter without a name")?;
        let mut resource = named(&self.extensions, name)?.clone();
        resource["@type"] = json!("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig");
        let vm = resource.pointer_mut("/typed_config/config/vm_config").context("not Wasm")?;
        vm["code"] = json!({"local": {"filename": local.wasm}});
        if let Some(variables) = vm["environment_variables"]["key_values"].as_object_mut() {
            variables.retain(|variable, _| !variable.starts_with("ISTIO_META_WASM_"));
        }
        let file = local.folder.join(format!("{}.json", name.replace('/', "-")));
        std::fs::write(&file, json!({"resources": [resource]}).to_string())?;
        Ok(file)
    }

    fn static_clusters(&self, local: Local<'_>) -> Result<Vec<Value>> {
        let mut clusters = Vec::new();
        for cluster in &self.clusters {
            let name = &cluster["name"];
            if cluster["type"] != "EDS" {
                continue;
            }
            let mut cluster = cluster.clone();
            let object = cluster.as_object_mut().context("a cluster that is not an object")?;
            for left_out in
                ["eds_cluster_config", "transport_socket", "transport_socket_matches", "filters"]
            {
                object.remove(left_out);
            }
            let mut assignment = json!({"cluster_name": name, "endpoints": []});
            if let Some(found) = self.endpoints.iter().find(|one| one["cluster_name"] == *name) {
                assignment = found.clone();
                for locality in items(&mut assignment, "endpoints") {
                    for endpoint in items(locality, "lb_endpoints") {
                        let address = &mut endpoint["endpoint"]["address"];
                        let pod = pod(address)?;
                        let server =
                            local.pods.get(&pod).with_context(|| format!("no server for {pod}"))?;
                        *address = json!({"socket_address": {
                            "address": server.ip().to_string(), "port_value": server.port(),
                        }});
                    }
                }
            }
            cluster["type"] = json!("STATIC");
            cluster["load_assignment"] = assignment;
            clusters.push(cluster);
        }
        Ok(clusters)
    }
}

/// The IP address of an endpoint: directly, or behind a waypoint's tunnel.
fn pod(address: &Value) -> Result<String> {
    if let Some(direct) = address["socket_address"]["address"].as_str() {
        return Ok(direct.to_owned());
    }
    let tunneled = address["envoy_internal_address"]["endpoint_id"].as_str();
    let tunneled = tunneled.with_context(|| format!("the address {address}"))?;
    Ok(tunneled.parse::<SocketAddr>()?.ip().to_string())
}

fn is_istio_only(filter: &Value) -> bool {
    ISTIO_ONLY.iter().any(|name| filter["name"] == *name)
}

fn named<'v>(resources: &'v [Value], name: &str) -> Result<&'v Value> {
    let found = resources.iter().find(|resource| resource["name"] == name);
    found.with_context(|| {
        let names: Vec<&Value> = resources.iter().map(|resource| &resource["name"]).collect();
        format!("no {name} among {names:?}")
    })
}

/// The items of a list; none if it is missing.
fn lists<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value[key].as_array().into_iter().flatten()
}

fn items<'v>(value: &'v mut Value, key: &str) -> impl Iterator<Item = &'v mut Value> {
    value.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Access logs to the container's output go to a file.
fn write_stdout_to(value: &mut Value, file: &Path) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| write_stdout_to(item, file)),
        Value::Object(keys) => {
            for (key, value) in keys {
                if key == "path" && value == "/dev/stdout" {
                    *value = json!(file);
                } else {
                    write_stdout_to(value, file);
                }
            }
        }
        _ => {}
    }
}
