//! The proxies that run the filter: pods, and what their metrics say.

use serde_json::Value;
use sidetrack_lab::Scrape;

use super::connection::{Connection, Listed, Scope};
use super::live::Live;

/// The container of Istio's proxy.
const CONTAINER: &str = "istio-proxy";
/// The namespace whose objects are for all namespaces, unless the mesh configuration names another one.
const ROOT: &str = "istio-system";
/// The label of the pods that Istio creates for a Gateway or a waypoint.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// How many pods are asked at a time.
const AT_A_TIME: usize = 8;
/// The query that leaves out all other metrics.
const PATH: &str = "stats/prometheus?filter=ab_test_";

/// Where the filter runs.
pub(super) struct Proxies {
    /// Which pods these are, as the end of a sentence.
    pub(super) place: String,
    pub(super) pods: Vec<Value>,
    /// Why the pods are not known.
    pub(super) unknown: Option<String>,
    /// The port of their metrics.
    port: u16,
}

/// What one proxy says.
pub(super) struct Answer {
    pub(super) namespace: String,
    pub(super) name: String,
    /// Its metrics, or why they could not be read.
    pub(super) metrics: Result<Scrape, String>,
}

/// The pods that an object selects.
pub(super) fn of(live: &Live, connection: &Connection) -> anyhow::Result<Proxies> {
    if live.kind.name == "EnvoyExtensionPolicy" {
        return of_envoy_gateway(live, connection);
    }
    let labels = ["/spec/selector/matchLabels", "/spec/workloadSelector/labels"]
        .iter()
        .find_map(|place| live.object.pointer(place).and_then(Value::as_object));
    if let Some(labels) = labels {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
            .collect();
        let labels = labels.join(",");
        if live.namespace == ROOT {
            let place = format!("pods with {labels}, in all namespaces");
            return listed(place, Scope::All, &labels, connection);
        }
        return pods(&live.namespace, &labels, connection);
    }
    let targets = live.object.pointer("/spec/targetRefs").and_then(Value::as_array);
    let target = targets
        .and_then(|targets| targets.first())
        .or_else(|| live.object.pointer("/spec/targetRef"));
    if let Some(target) = target {
        return of_target(live, target, connection);
    }
    let (scope, place) = match live.namespace.as_str() {
        ROOT => (Scope::All, "sidecars and gateways in all namespaces".to_owned()),
        namespace => (Scope::Of(namespace), format!("sidecars in the namespace {namespace}")),
    };
    let mut all = listed(place, scope, "", connection)?;
    all.pods.retain(has_proxy);
    Ok(all)
}

/// The pods of the Gateway or waypoint that an object is attached to.
fn of_target(live: &Live, target: &Value, connection: &Connection) -> anyhow::Result<Proxies> {
    let text = |key: &str| target.get(key).and_then(Value::as_str);
    let (kind, name) = (text("kind").unwrap_or_default(), text("name").unwrap_or_default());
    let namespace = &live.namespace;
    if kind == "Gateway" {
        return pods(namespace, &format!("{GATEWAY_NAME}={name}"), connection);
    }
    if kind != "Service" {
        return Ok(unknown(format!("it is attached to the {kind} {name}")));
    }
    let service = connection.get("services", Some(namespace), name)?;
    let Some(service) = service else {
        return Ok(unknown(format!(
            "it is attached to the service {name}, which does not exist in {namespace}"
        )));
    };
    let label = |object: &Value, label: &str| {
        let labels = object.pointer("/metadata/labels")?;
        labels.get(label).and_then(Value::as_str).map(ToOwned::to_owned)
    };
    let mut holder = service;
    if label(&holder, "istio.io/use-waypoint").is_none() {
        holder = connection.get("namespaces", None, namespace)?.unwrap_or_default();
    }
    let Some(waypoint) = label(&holder, "istio.io/use-waypoint").filter(|name| name != "none")
    else {
        return Ok(unknown(format!(
            "neither the service {name} nor the namespace {namespace} has the label istio.io/use-waypoint"
        )));
    };
    let namespace =
        label(&holder, "istio.io/use-waypoint-namespace").unwrap_or_else(|| namespace.clone());
    pods(&namespace, &format!("{GATEWAY_NAME}={waypoint}"), connection)
}

/// The pods of the Gateways that a policy of Envoy Gateway is attached to.
fn of_envoy_gateway(live: &Live, connection: &Connection) -> anyhow::Result<Proxies> {
    const OWNER: &str = "gateway.envoyproxy.io/owning-gateway";
    let namespace = live.namespace.as_str();
    let targets = live.object.pointer("/spec/targetRefs").and_then(Value::as_array).cloned();
    let targets =
        targets.into_iter().flatten().chain(live.object.pointer("/spec/targetRef").cloned());
    let mut gateways: Vec<(String, String)> = Vec::new();
    for target in targets {
        let text = |value: &Value, key: &str| {
            value.get(key).and_then(Value::as_str).map(ToOwned::to_owned)
        };
        let name = text(&target, "name").unwrap_or_default();
        if text(&target, "kind").as_deref() == Some("Gateway") {
            gateways.push((namespace.to_owned(), name));
            continue;
        }
        let route =
            connection.get("httproutes.gateway.networking.k8s.io", Some(namespace), &name)?;
        let parents = route
            .as_ref()
            .and_then(|route| route.pointer("/spec/parentRefs"))
            .and_then(Value::as_array);
        for parent in parents.into_iter().flatten() {
            let of = text(parent, "namespace").unwrap_or_else(|| namespace.to_owned());
            gateways.extend(text(parent, "name").map(|name| (of, name)));
        }
    }
    gateways.sort();
    gateways.dedup();
    if gateways.is_empty() {
        return Ok(unknown("it is not attached to a Gateway".to_owned()));
    }
    let mut proxies =
        Proxies { place: String::new(), pods: Vec::new(), unknown: None, port: 19001 };
    let mut places = Vec::new();
    for (namespace, name) in gateways {
        let labels = format!("{OWNER}-name={name},{OWNER}-namespace={namespace}");
        match connection.list("pods", Scope::All, Some(&labels))? {
            Listed::Items(items) => proxies.pods.extend(items),
            Listed::Unknown => {}
            Listed::Forbidden(said) => return Ok(unknown(said)),
        }
        places.push(format!("{namespace}/{name}"));
    }
    proxies.place = format!("pods of the Gateway {}", places.join(" and "));
    Ok(proxies)
}

fn pods(namespace: &str, labels: &str, connection: &Connection) -> anyhow::Result<Proxies> {
    let place = format!("pods in {namespace} with {labels}");
    listed(place, Scope::Of(namespace), labels, connection)
}

fn listed(
    place: String,
    scope: Scope<'_>,
    labels: &str,
    connection: &Connection,
) -> anyhow::Result<Proxies> {
    let selector = Some(labels).filter(|labels| !labels.is_empty());
    let port = 15090;
    Ok(match connection.list("pods", scope, selector)? {
        Listed::Items(pods) => Proxies { place, pods, unknown: None, port },
        Listed::Unknown => Proxies { place, pods: Vec::new(), unknown: None, port },
        Listed::Forbidden(said) => unknown(said),
    })
}

fn unknown(why: String) -> Proxies {
    Proxies { place: String::new(), pods: Vec::new(), unknown: Some(why), port: 0 }
}

/// Whether a pod has Istio's proxy, as a container or as a sidecar among the init containers.
fn has_proxy(pod: &Value) -> bool {
    ["/spec/containers", "/spec/initContainers"].iter().any(|list| {
        let containers = pod.pointer(list).and_then(Value::as_array);
        let is_proxy = |it: &Value| it.get("name").and_then(Value::as_str) == Some(CONTAINER);
        containers.into_iter().flatten().any(is_proxy)
    })
}

impl Proxies {
    /// Asks the first pods for their metrics, several at a time.
    pub(super) fn ask(
        &self,
        limit: usize,
        port: Option<u16>,
        connection: &Connection,
    ) -> Vec<Answer> {
        let pods: Vec<&Value> = self.pods.iter().take(limit).collect();
        let port = port.unwrap_or(self.port);
        let mut answers = Vec::new();
        for some in pods.chunks(AT_A_TIME) {
            answers.extend(std::thread::scope(|threads| {
                let asked: Vec<_> = some
                    .iter()
                    .map(|pod| threads.spawn(move || answer(pod, port, connection)))
                    .collect();
                asked.into_iter().filter_map(|thread| thread.join().ok()).collect::<Vec<_>>()
            }));
        }
        answers
    }
}

fn answer(pod: &Value, port: u16, connection: &Connection) -> Answer {
    let text =
        |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let phase = text("/status/phase");
    let metrics = if phase.is_empty() || phase == "Running" {
        metrics(&namespace, &name, port, connection)
    } else {
        Err(format!("the pod is {phase}"))
    };
    Answer { namespace, name, metrics }
}

/// By way of the API server, which needs no shell in the pod; else by a command in the proxy's container.
fn metrics(
    namespace: &str,
    name: &str,
    port: u16,
    connection: &Connection,
) -> Result<Scrape, String> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/{PATH}");
    let direct = ["get", "--raw", &path, "--request-timeout=5s"];
    let command =
        ["exec", "--namespace", namespace, name, "--container", CONTAINER, "--request-timeout=10s"];
    let command = [&command[..], &["--", "pilot-agent", "request", "GET", PATH]].concat();
    let call = |arguments: &[&str]| {
        connection.call(arguments).unwrap_or_else(|error| Err(error.to_string()))
    };
    let text = call(&direct).or_else(|first| {
        call(&command)
            .map_err(|second| format!("port {port}: {}; exec: {}", line(&first), line(&second)))
    })?;
    Ok(Scrape::parse(&String::from_utf8_lossy(&text)))
}

/// The last line of a message, which has the cause.
fn line(said: &str) -> &str {
    let said = said.lines().last().unwrap_or(said);
    said.strip_prefix("Error from server ").or_else(|| said.strip_prefix("error: ")).unwrap_or(said)
}
