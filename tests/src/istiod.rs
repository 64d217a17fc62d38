//! What istiod makes of manifests for one proxy, and what the agent beside the proxy makes of that.
//!
//! There is no cluster here, so this is an account of Istio's translation, written from its source
//! (`pilot/pkg/model/extensions.go`, `pilot/pkg/networking/core`): which filters a proxy gets, what its clusters are
//! called, how routes come out of a VirtualService, how an EnvoyFilter is merged. It knows nothing of Sidetrack: it
//! reads manifests. Left out is all that the manifests under test do not touch: security, telemetry filters, EDS, TLS.
//! What it does not know it refuses, so that a test cannot pass because something was overlooked.

#![expect(clippy::indexing_slicing, reason = "a key that a manifest does not have reads as null")]

mod extension;
mod patch;
mod route;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// What is applied to the cluster.
#[derive(Clone, Debug, Default)]
pub struct Mesh {
    /// The manifests.
    pub manifests: Vec<Value>,
    /// `meshConfig` of Istio's chart.
    pub config: Value,
    /// The services.
    pub services: Vec<Service>,
}

/// A service with one port.
#[derive(Clone, Debug)]
pub struct Service {
    /// As the registry knows it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Labels and address of its pods.
    pub pods: Vec<(BTreeMap<String, String>, SocketAddr)>,
}

/// Where a proxy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<'a> {
    /// An ingress gateway, bound to this Gateway resource.
    Gateway(&'a str),
    /// A sidecar, on the way out.
    Sidecar,
    /// A waypoint of this service.
    Waypoint(&'a str),
}

/// A proxy.
#[derive(Clone, Debug)]
pub struct Proxy<'a> {
    /// Where it stands.
    pub role: Role<'a>,
    /// Its pod's namespace.
    pub namespace: &'a str,
    /// Its pod's labels.
    pub labels: &'a [(&'a str, &'a str)],
    /// Its pod's annotations.
    pub annotations: &'a [(&'a str, &'a str)],
}

/// Files of the machine that the proxy runs on.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// The module that the agent has fetched.
    pub wasm: &'a Path,
    /// A folder for what the agent hands to Envoy.
    pub folder: &'a Path,
}

impl Machine<'_> {
    /// What the proxy writes to its standard output.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("stdout.log")
    }
}

impl Mesh {
    /// The bootstrap of Envoy in this proxy. Its one listener is `proxy`.
    ///
    /// # Errors
    ///
    /// If a manifest holds what this account does not know, or cannot be written.
    pub fn bootstrap(&self, proxy: &Proxy<'_>, machine: Machine<'_>) -> Result<String> {
        let mut filters = Vec::new();
        for extension in extension::of(self, proxy)? {
            let file = machine.folder.join(format!("{}.json", extension.name));
            std::fs::write(&file, extension.discovery(machine.wasm).to_string())?;
            filters.push(json!({
                "name": extension.name,
                "config_discovery": {
                    "config_source": {"path_config_source": {"path": file}, "initial_fetch_timeout": "0s"},
                    "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
                },
            }));
        }
        let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
        filters
            .push(json!({"name": "envoy.filters.http.router", "typed_config": {"@type": router}}));
        let mut manager = json!({
            "@type": patch::CONNECTION_MANAGER,
            "stat_prefix": "proxy",
            "use_remote_address": matches!(proxy.role, Role::Gateway(_)),
            "access_log": self.access_log(proxy, &machine.log())?,
            "http_filters": filters,
            "route_config": {"name": "80", "validate_clusters": false, "virtual_hosts": route::hosts(self, proxy)?},
        });
        patch::apply(self, proxy, &mut manager)?;
        let tags: Vec<Value> = self
            .stat_tags(proxy)
            .iter()
            .map(|tag| json!({"tag_name": tag, "regex": format!(r"({tag}=\.=(.*?);\.;)")}))
            .collect();
        let listener = json!({
            "name": "proxy",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [
                {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
            ]}],
        });
        let bootstrap = json!({
            "node": {"id": "proxy", "cluster": "proxy"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "stats_config": {"stats_tags": tags},
            "static_resources": {"listeners": [listener], "clusters": self.clusters(proxy)?},
        });
        Ok(serde_json::to_string_pretty(&bootstrap)?)
    }

    fn of_kind<'m>(&'m self, kinds: &'m [&str]) -> impl Iterator<Item = &'m Value> {
        self.manifests.iter().filter(|manifest| kinds.iter().any(|kind| manifest["kind"] == **kind))
    }

    /// The clusters of all services and of their subsets.
    fn clusters(&self, proxy: &Proxy<'_>) -> Result<Vec<Value>> {
        let mut clusters = Vec::new();
        for service in &self.services {
            let mut subsets = vec![(None, Value::Null)];
            for rule in self.of_kind(&["DestinationRule"]) {
                if rule["spec"]["host"] == service.host.as_str() {
                    for subset in list(&rule["spec"]["subsets"]) {
                        subsets.push((Some(text(&subset["name"])?), subset["labels"].clone()));
                    }
                }
            }
            for (subset, labels) in subsets {
                let fits = |pod: &&(BTreeMap<String, String>, SocketAddr)| {
                    group(&labels).all(|(label, value)| {
                        pod.0.get(label).is_some_and(|has| *value == has.as_str())
                    })
                };
                let endpoint = |(_, addr): &(BTreeMap<String, String>, SocketAddr)| {
                    let address =
                        json!({"address": addr.ip().to_string(), "port_value": addr.port()});
                    json!({"endpoint": {"address": {"socket_address": address}}})
                };
                let endpoints: Vec<Value> =
                    service.pods.iter().filter(fits).map(endpoint).collect();
                let name = proxy.cluster(service, subset);
                clusters.push(json!({
                    "name": name, "type": "STATIC", "connect_timeout": "10s",
                    "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
                }));
            }
        }
        Ok(clusters)
    }

    fn service(&self, host: &str) -> Result<&Service> {
        let found = self.services.iter().find(|service| service.host == host);
        found.with_context(|| format!("no service {host} in the registry: {:?}", self.services))
    }

    /// The labels that the proxy's statistics may have beside Istio's own: the annotation's instead of the mesh's.
    fn stat_tags(&self, proxy: &Proxy<'_>) -> Vec<String> {
        let annotation =
            proxy.annotations.iter().find(|(name, _)| *name == "sidecar.istio.io/extraStatTags");
        match annotation {
            Some((_, tags)) => tags.split(',').map(ToOwned::to_owned).collect(),
            None => {
                let tags = list(&self.config["defaultConfig"]["extraStatTags"]);
                tags.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
            }
        }
    }

    /// The access loggers of the providers that a Telemetry names. A provider that the mesh does not know is nothing.
    fn access_log(&self, proxy: &Proxy<'_>, stdout: &Path) -> Result<Vec<Value>> {
        let mut loggers = Vec::new();
        for telemetry in self.of_kind(&["Telemetry"]).filter(|telemetry| proxy.is_meant(telemetry))
        {
            for logging in list(&telemetry["spec"]["accessLogging"]) {
                if !proxy.has_mode(&logging["match"]["mode"])? {
                    continue;
                }
                for provider in list(&logging["providers"]) {
                    let known = list(&self.config["extensionProviders"]);
                    let Some(known) = known.iter().find(|known| known["name"] == provider["name"])
                    else {
                        continue;
                    };
                    let log = &known["envoyFileAccessLog"];
                    let path = match text(&log["path"])? {
                        "/dev/stdout" => stdout,
                        other => bail!("an access log to {other}"),
                    };
                    let labels = &log["logFormat"]["labels"];
                    labels.as_object().context("an access log without labels")?;
                    loggers.push(json!({
                        "name": "envoy.access_loggers.file",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                            "path": path, "log_format": {"json_format": labels},
                        },
                    }));
                }
            }
        }
        Ok(loggers)
    }
}

impl Proxy<'_> {
    /// Whether a policy is for this proxy: by labels in its namespace or the root namespace, or, at a waypoint, by the
    /// service that it serves. A waypoint ignores selectors, the others ignore targets.
    fn is_meant(&self, policy: &Value) -> bool {
        let (spec, namespace) = (&policy["spec"], &policy["metadata"]["namespace"]);
        if let Role::Waypoint(host) = self.role {
            let mut parts = host.split('.');
            let (name, in_namespace) = (parts.next(), parts.next());
            let targets = list(&spec["targetRefs"]);
            return namespace.as_str() == in_namespace
                && targets.iter().any(|t| {
                    t["kind"] == "Service" && t["group"] == "" && t["name"].as_str() == name
                });
        }
        let labels = if spec["workloadSelector"].is_null() {
            &spec["selector"]["matchLabels"]
        } else {
            &spec["workloadSelector"]["labels"]
        };
        let has = |(label, value): (&str, &Value)| {
            self.labels.iter().any(|(l, v)| *l == label && *value == *v)
        };
        spec["targetRefs"].is_null()
            && (*namespace == self.namespace || *namespace == "istio-system")
            && group(labels).all(has)
    }

    /// Whether a `mode` holds here: gateways and the way out of a sidecar are CLIENT, waypoints are SERVER.
    fn has_mode(&self, mode: &Value) -> Result<bool> {
        let here = if matches!(self.role, Role::Waypoint(_)) { "SERVER" } else { "CLIENT" };
        Ok(match mode {
            Value::Null => true,
            Value::String(mode) if mode == "CLIENT_AND_SERVER" => true,
            Value::String(mode) if mode == "CLIENT" || mode == "SERVER" => mode == here,
            other => bail!("the mode {other}"),
        })
    }

    /// What istiod calls a cluster.
    fn cluster(&self, service: &Service, subset: Option<&str>) -> String {
        let (port, host, subset) = (service.port, &service.host, subset.unwrap_or_default());
        match self.role {
            Role::Waypoint(own) if own == service.host && subset.is_empty() => {
                format!("inbound-vip|{port}|http|{host}")
            }
            Role::Waypoint(own) if own == service.host => {
                format!("inbound-vip|{port}|http/{subset}|{host}")
            }
            _ => format!("outbound|{port}|{subset}|{host}"),
        }
    }
}

/// The items of a list; nothing when it is not given.
fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The keys and values of a group; nothing when it is not given.
fn group(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("found {value} where text stands"))
}

/// Refuses keys that this account does not know.
fn only(value: &Value, known: &[&str]) -> Result<()> {
    for (key, _) in group(value) {
        if !known.contains(&key) {
            bail!("no account of {key} in {value}");
        }
    }
    Ok(())
}
