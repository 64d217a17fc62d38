//! VirtualServices, as routes.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Mesh, Proxy, Role, Service, group, list, only, text};

/// The virtual hosts of a proxy: those of VirtualServices, then one for each service without any.
pub(super) fn hosts(mesh: &Mesh, proxy: &Proxy<'_>) -> Result<Vec<Value>> {
    let mut hosts = Vec::new();
    let mut taken: Vec<&str> = Vec::new();
    for manifest in mesh.of_kind(&["VirtualService"]) {
        let spec = &manifest["spec"];
        only(spec, &["hosts", "gateways", "http"])?;
        let gateways = list(&spec["gateways"]);
        let here = match proxy.role {
            Role::Gateway(gateway) => gateways.iter().any(|g| g == gateway),
            Role::Sidecar | Role::Waypoint(_) => {
                gateways.is_empty() || gateways.iter().any(|g| g == "mesh")
            }
        };
        if !here {
            continue;
        }
        let mut routes = Vec::new();
        for http in list(&spec["http"]) {
            routes.extend(translated(mesh, proxy, http)?);
            // Istio leaves out what follows a route that takes everything.
            if list(&http["match"]).is_empty() {
                break;
            }
        }
        let mut domains = Vec::new();
        for host in list(&spec["hosts"]) {
            let host = text(host)?;
            taken.push(host);
            match proxy.role {
                // The listener of a waypoint belongs to the service: whatever the request's host says.
                Role::Waypoint(own) if own == host => domains.push("*".to_owned()),
                Role::Waypoint(_) => {}
                _ if host == "*" => domains.push("*".to_owned()),
                _ => domains.extend([host.to_owned(), format!("{host}:*")]),
            }
        }
        if !domains.is_empty() {
            hosts.push(
                json!({"name": manifest["metadata"]["name"], "domains": domains, "routes": routes}),
            );
        }
    }
    for service in &mesh.services {
        let served = match proxy.role {
            Role::Gateway(_) => false,
            Role::Sidecar => true,
            Role::Waypoint(own) => own == service.host,
        };
        if served && !taken.contains(&service.host.as_str()) {
            let route = json!({"match": {"prefix": "/"}, "route": {"cluster": proxy.cluster(service, None)}});
            let domains =
                if proxy.role == Role::Sidecar { json!([service.host]) } else { json!(["*"]) };
            hosts.push(json!({"name": service.host, "domains": domains, "routes": [route]}));
        }
    }
    Ok(hosts)
}

/// An entry of `http`: a route for each of its matches.
fn translated(mesh: &Mesh, proxy: &Proxy<'_>, http: &Value) -> Result<Vec<Value>> {
    only(http, &["name", "match", "route", "mirror", "mirrorPercentage", "headers"])?;
    only(&http["headers"], &["request"])?;
    only(&http["headers"]["request"], &["remove"])?;
    let conditions = list(&http["match"]);
    let everything = [Value::Null];
    let mut routes = Vec::new();
    for condition in if conditions.is_empty() { &everything } else { conditions } {
        let mut route = json!({
            "name": http["name"],
            "match": matched(condition)?,
            "route": action(mesh, proxy, http)?,
        });
        if let Some(remove) = http["headers"]["request"]["remove"].as_array() {
            route["request_headers_to_remove"] = json!(remove);
        }
        routes.push(route);
    }
    Ok(routes)
}

fn matched(condition: &Value) -> Result<Value> {
    only(condition, &["headers", "withoutHeaders", "uri", "method", "authority"])?;
    let mut matched = json!({});
    let uri = &condition["uri"];
    only(uri, &["exact", "prefix"])?;
    match (&uri["exact"], &uri["prefix"]) {
        (Value::String(path), _) => matched["path"] = json!(path),
        (_, Value::String(prefix)) => matched["prefix"] = json!(prefix),
        _ => matched["prefix"] = json!("/"),
    }
    let mut headers = Vec::new();
    for (name, rule) in [(":method", &condition["method"]), (":authority", &condition["authority"])]
    {
        if !rule.is_null() {
            headers.push(header(name, rule)?);
        }
    }
    for (name, rule) in group(&condition["headers"]) {
        headers.push(header(name, rule)?);
    }
    for (name, rule) in group(&condition["withoutHeaders"]) {
        let mut header = header(name, rule)?;
        header["invert_match"] = json!(true);
        headers.push(header);
    }
    if !headers.is_empty() {
        matched["headers"] = json!(headers);
    }
    Ok(matched)
}

/// A StringMatch; an empty one asks only whether the header is there.
fn header(name: &str, rule: &Value) -> Result<Value> {
    let rule = rule.as_object().with_context(|| format!("{name} compares with {rule}"))?;
    Ok(match rule.iter().next() {
        None => json!({"name": name, "present_match": true}),
        Some((kind, value)) => match kind.as_str() {
            "exact" | "prefix" => json!({"name": name, "string_match": {kind: value}}),
            "regex" => json!({"name": name, "string_match": {"safe_regex": {"regex": value}}}),
            other => bail!("{name} compares by {other}"),
        },
    })
}

fn action(mesh: &Mesh, proxy: &Proxy<'_>, http: &Value) -> Result<Value> {
    let mut action = json!({
        "timeout": "0s",
        // What Istio gives a route without `retries`.
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
            "num_retries": 2,
            "retriable_status_codes": [503],
        },
    });
    let destinations = list(&http["route"]);
    if let [one] = destinations {
        action["cluster"] = json!(cluster(mesh, proxy, &one["destination"])?);
    } else {
        let mut clusters = Vec::new();
        for destination in destinations {
            only(destination, &["destination", "weight"])?;
            let name = cluster(mesh, proxy, &destination["destination"])?;
            if destination["weight"] != 0 {
                clusters.push(json!({"name": name, "weight": destination["weight"]}));
            }
        }
        action["weighted_clusters"] = json!({"clusters": clusters});
    }
    if !http["mirror"].is_null() {
        let percent = http["mirrorPercentage"]["value"]
            .as_f64()
            .context("a mirror without its percentage")?;
        action["request_mirror_policies"] = json!([{
            "cluster": cluster(mesh, proxy, &http["mirror"])?,
            "runtime_fraction": {"default_value": {"numerator": percent * 10_000.0, "denominator": "MILLION"}},
            "trace_sampled": false,
        }]);
    }
    Ok(action)
}

fn cluster(mesh: &Mesh, proxy: &Proxy<'_>, destination: &Value) -> Result<String> {
    only(destination, &["host", "subset", "port"])?;
    let service: &Service = mesh.service(text(&destination["host"])?)?;
    let port = &destination["port"]["number"];
    if !port.is_null() && *port != service.port {
        bail!("{} has no port {port}", service.host);
    }
    Ok(proxy.cluster(service, destination["subset"].as_str()))
}
