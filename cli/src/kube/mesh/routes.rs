//! Routes by headers, from a VirtualService or an HTTPRoute.

use std::fmt;

use serde_json::Value;

/// One way to reach a route: each condition of it counts as one.
#[derive(Debug)]
pub(super) struct Route {
    /// The object, as `VirtualService models/sidetrack`.
    pub(super) owner: String,
    /// The name of the route, or its position.
    name: String,
    /// The headers that must have a value, in lower case, with the value if it is exact.
    headers: Vec<(String, Option<String>)>,
    pub(super) destinations: Vec<Destination>,
    pub(super) hosts: Vec<String>,
    /// Whether it is a gateway's, and not one inside the mesh.
    pub(super) at_gateway: bool,
    /// The whole condition, as a VirtualService writes it; null: all requests.
    pub(super) condition: Value,
}

/// Where a route leads.
#[derive(Debug)]
pub(super) struct Destination {
    host: String,
    /// The namespace of a short host.
    namespace: String,
    pub(super) subset: Option<String>,
}

impl Route {
    /// Whether the header must have this value.
    pub(super) fn requires(&self, header: &str, value: &str) -> bool {
        self.headers.iter().any(|(name, exact)| name == header && exact.as_deref() == Some(value))
    }

    /// Whether the header may have this value.
    pub(super) fn allows(&self, header: &str, value: &str) -> bool {
        !self.headers.iter().any(|(name, exact)| {
            name == header && exact.as_ref().is_some_and(|exact| exact != value)
        })
    }

    /// Whether there is a condition about the header.
    pub(super) fn names(&self, header: &str) -> bool {
        self.headers.iter().any(|(name, _)| name == header)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, route {}", self.owner, self.name)
    }
}

impl Destination {
    /// Name and namespace of a Kubernetes service; `None` for another host.
    pub(super) fn service(&self) -> Option<(&str, &str)> {
        service_of(&self.host, &self.namespace)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.subset.as_ref().map_or(Ok(()), |subset| write!(f, ", subset {subset}"))
    }
}

/// Name and namespace of the Kubernetes service behind a host in an object of this namespace.
pub(super) fn service_of<'a>(host: &'a str, namespace: &'a str) -> Option<(&'a str, &'a str)> {
    let Some((name, rest)) = host.split_once('.') else { return Some((host, namespace)) };
    let (namespace, rest) = rest.split_once('.').unwrap_or((rest, "svc"));
    (rest == "svc" || rest.starts_with("svc.")).then_some((name, namespace))
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn texts(value: &Value, pointer: &str) -> Vec<String> {
    list(value, pointer).iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

/// The name of an object, as `VirtualService models/sidetrack`, and its namespace.
pub(super) fn owner(kind: &str, object: &Value) -> (String, String) {
    let namespace = text(object, "/metadata/namespace").unwrap_or_default();
    let name = text(object, "/metadata/name").unwrap_or_default();
    (format!("{kind} {namespace}/{name}"), namespace.to_owned())
}

/// The routes of a VirtualService.
pub(super) fn of_service(object: &Value) -> Vec<Route> {
    let (owner, namespace) = owner("VirtualService", object);
    let hosts = texts(object, "/spec/hosts");
    let gateways = texts(object, "/spec/gateways");
    let at_gateway = !gateways.is_empty() && !gateways.iter().any(|gateway| gateway == "mesh");
    let mut routes = Vec::new();
    for (index, http) in list(object, "/spec/http").iter().enumerate() {
        let destination = |route: &Value| {
            let to = route.get("destination")?;
            let subset = text(to, "/subset").map(ToOwned::to_owned);
            Some(Destination {
                host: text(to, "/host")?.to_owned(),
                namespace: namespace.clone(),
                subset,
            })
        };
        let headers_of = |condition: &Value| {
            let headers = condition.get("headers").and_then(Value::as_object);
            let header = |(name, rule): (&String, &Value)| {
                (name.to_ascii_lowercase(), text(rule, "/exact").map(ToOwned::to_owned))
            };
            headers.into_iter().flatten().map(header).collect::<Vec<_>>()
        };
        let mut conditions: Vec<_> =
            list(http, "/match").iter().map(|one| (headers_of(one), one.clone())).collect();
        if conditions.is_empty() {
            conditions.push((Vec::new(), Value::Null));
        }
        for (headers, condition) in conditions {
            routes.push(Route {
                condition,
                owner: owner.clone(),
                name: text(http, "/name")
                    .map_or_else(|| (index + 1).to_string(), ToOwned::to_owned),
                headers,
                destinations: list(http, "/route").iter().filter_map(destination).collect(),
                hosts: hosts.clone(),
                at_gateway,
            });
        }
    }
    routes
}

/// The routes of an HTTPRoute.
pub(super) fn of_gateway_api(object: &Value) -> Vec<Route> {
    let (owner, namespace) = owner("HTTPRoute", object);
    let mut hosts = texts(object, "/spec/hostnames");
    if hosts.is_empty() {
        hosts.push("*".to_owned());
    }
    let at_gateway = list(object, "/spec/parentRefs")
        .iter()
        .all(|parent| text(parent, "/kind").unwrap_or("Gateway") == "Gateway");
    let mut routes = Vec::new();
    for (index, rule) in list(object, "/spec/rules").iter().enumerate() {
        let destination = |to: &Value| {
            let is_service = text(to, "/kind").unwrap_or("Service") == "Service";
            let namespace = text(to, "/namespace").unwrap_or(&namespace).to_owned();
            let host = text(to, "/name").filter(|_| is_service)?.to_owned();
            Some(Destination { host, namespace, subset: None })
        };
        let headers_of = |condition: &Value| {
            let header = |rule: &Value| {
                let exact = text(rule, "/type").unwrap_or("Exact") == "Exact";
                let value = text(rule, "/value").filter(|_| exact).map(ToOwned::to_owned);
                Some((text(rule, "/name")?.to_ascii_lowercase(), value))
            };
            list(condition, "/headers").iter().filter_map(header).collect::<Vec<_>>()
        };
        let mut conditions: Vec<_> = list(rule, "/matches").iter().map(headers_of).collect();
        if conditions.is_empty() {
            conditions.push(Vec::new());
        }
        for headers in conditions {
            routes.push(Route {
                condition: Value::Null,
                owner: owner.clone(),
                name: text(rule, "/name")
                    .map_or_else(|| (index + 1).to_string(), ToOwned::to_owned),
                headers,
                destinations: list(rule, "/backendRefs").iter().filter_map(destination).collect(),
                hosts: hosts.clone(),
                at_gateway,
            });
        }
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_names_a_service_of_the_cluster_or_something_else() {
        assert_eq!(service_of("a", "models"), Some(("a", "models")));
        assert_eq!(service_of("a.other", "models"), Some(("a", "other")));
        assert_eq!(service_of("a.other.svc.cluster.local", "models"), Some(("a", "other")));
        assert_eq!(service_of("api.example.com", "models"), None);
    }
}
