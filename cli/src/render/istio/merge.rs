//! `--merge-into`: our routes within a VirtualService that exists.
//!
//! Each of its routes that leads to an experiment's baseline gets a copy per variant in front of it: with the same
//! rewrites, timeouts and policies, for the filter's tag, to the variant. Its own routes stay as they are, so requests
//! without a tag take the route that they have today.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value, json};

use super::destination::{Destination, qualified};
use super::routes::Route;
use crate::yaml;

/// A VirtualService of a file.
#[derive(Clone, Debug)]
pub(crate) struct Existing {
    name: String,
    namespace: Option<String>,
    whole: Value,
}

impl Existing {
    /// Reads the only VirtualService of a file, such as the output of `kubectl get virtualservice NAME -o yaml`.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("--merge-into {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let documents: Vec<Value> = yaml::read_all(text).map_err(anyhow::Error::msg)?;
        let items = |document: Value| match document.get("items") {
            Some(Value::Array(items)) => items.clone(),
            _ => vec![document],
        };
        let mut found: Vec<Value> = documents
            .into_iter()
            .flat_map(items)
            .filter(|item| item.get("kind").is_some_and(|kind| kind == "VirtualService"))
            .collect();
        let (Some(mut whole), true) = (found.pop(), found.is_empty()) else {
            bail!(
                "expected exactly one VirtualService\n  hint: kubectl get virtualservice NAME -o yaml"
            );
        };
        let text = |key: &str| {
            whole
                .pointer(&format!("/metadata/{key}"))
                .and_then(Value::as_str)
                .map(ToOwned::to_owned)
        };
        let (name, namespace) =
            (text("name").context("the VirtualService has no name")?, text("namespace"));
        ensure!(
            whole
                .pointer("/spec/http")
                .and_then(Value::as_array)
                .is_some_and(|http| !http.is_empty()),
            "the VirtualService {name} has no `http` routes"
        );
        forget_server(&mut whole);
        Ok(Self { name, namespace, whole })
    }

    /// The hosts or gateways.
    pub(super) fn list(&self, key: &str) -> Vec<String> {
        let list = self.whole.pointer(&format!("/spec/{key}")).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The VirtualService as it was, without what the API server added.
    pub(super) fn original(&self) -> anyhow::Result<String> {
        yaml::write(&self.whole)
    }

    /// The VirtualService with our routes.
    pub(super) fn merged(&self, ours: &Ours<'_>) -> anyhow::Result<String> {
        let mut whole = self.whole.clone();
        let Some(Value::Array(http)) = whole.pointer_mut("/spec/http") else {
            bail!("no `http` routes")
        };
        let mut merged = Vec::new();
        let mut served: Vec<&str> = Vec::new();
        for (index, theirs) in http.iter().enumerate() {
            let Some(host) = self.only_host(theirs, ours.namespace) else {
                merged.push(theirs.clone());
                continue;
            };
            for route in ours.routes.iter().filter(|route| route.baseline.host == host) {
                served.push(&route.experiment);
                merged.extend(ours.copy(theirs, index, route));
            }
            merged.push(theirs.clone());
        }
        let lost = ours.routes.iter().find(|route| !served.contains(&route.experiment.as_str()));
        ensure!(
            lost.is_none(),
            "no route of the VirtualService {} leads to {} alone, the service of the baseline of {}\n  hint: name the \
             service that its routes lead to with --service or --destination",
            self.name,
            lost.map_or("", |route| &route.baseline.host),
            lost.map_or("", |route| &route.experiment),
        );
        *http = merged;
        yaml::write(&whole)
    }

    /// The service of a route whose destinations all belong to it.
    fn only_host(&self, route: &Value, namespace: &str) -> Option<String> {
        let namespace = self.namespace().unwrap_or(namespace);
        let host =
            |to: &Value| Some(qualified(to.pointer("/destination/host")?.as_str()?, namespace));
        let hosts: Vec<Option<String>> = route.get("route")?.as_array()?.iter().map(host).collect();
        let first = hosts.first()?.clone()?;
        hosts.iter().all(|host| host.as_ref() == Some(&first)).then_some(first)
    }
}

/// Removes what the API server added.
fn forget_server(whole: &mut Value) {
    if let Some(whole) = whole.as_object_mut() {
        whole.remove("status");
    }
    let Some(metadata) = whole.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    for key in
        ["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"]
    {
        metadata.remove(key);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

/// Our routes, and what they have in common.
pub(super) struct Ours<'a> {
    pub(super) routes: &'a [Route],
    pub(super) namespace: &'a str,
    /// Request headers that must not reach the model.
    pub(super) hidden: &'a [String],
    /// The limit for candidates, as Istio writes it.
    pub(super) timeout: Option<&'a str>,
}

impl Ours<'_> {
    /// A copy of their route for one of ours; `None` if no request matches both.
    fn copy(&self, theirs: &Value, index: usize, ours: &Route) -> Option<Value> {
        let mut copy = theirs.as_object()?.clone();
        let all = Vec::from([json!({})]);
        let their_matches = theirs.get("match").and_then(Value::as_array).unwrap_or(&all);
        let pairs = their_matches
            .iter()
            .flat_map(|theirs| ours.matches.iter().map(move |ours| (theirs, ours)));
        let both: Vec<Value> = pairs.filter_map(|(theirs, ours)| both(theirs, ours)).collect();
        if both.is_empty() {
            return None;
        }
        let of = theirs
            .get("name")
            .and_then(Value::as_str)
            .map_or_else(|| index.to_string(), ToOwned::to_owned);
        copy.insert("name".to_owned(), format!("{of}.{}", ours.name).into());
        copy.insert("match".to_owned(), both.into());
        // Without the filter, their own destination serves the requests, unless it has the pods of all versions.
        if !ours.is_bypass || ours.destination.subset.is_some() {
            // Ours has a port only if an option sets it.
            let port = theirs.pointer("/route/0/destination/port/number").and_then(Value::as_u64);
            let port = port.and_then(|port| u16::try_from(port).ok());
            let port = ours.destination.port.or(port);
            let destination = written(&Destination { port, ..ours.destination.clone() });
            copy.insert("route".to_owned(), json!([{"destination": destination}]));
            if let Some(host) = &ours.authority {
                let rewrite = copy.entry("rewrite").or_insert_with(|| json!({}));
                if let Some(rewrite) = rewrite.as_object_mut() {
                    rewrite.insert("authority".to_owned(), json!(host));
                }
            }
        }
        if let Some(mirror) = &ours.mirror {
            copy.remove("mirrors");
            copy.insert("mirror".to_owned(), written(mirror));
            copy.insert("mirrorPercentage".to_owned(), json!({"value": 100}));
        }
        let is_free = !copy.contains_key("timeout") && !copy.contains_key("retries");
        if let Some(timeout) = self.timeout.filter(|_| is_free && ours.is_limited) {
            copy.insert("retries".to_owned(), json!({"attempts": 2, "perTryTimeout": timeout}));
        }
        self.hide(&mut copy);
        Some(copy.into())
    }

    /// Adds the headers that must not reach the model to those that the route removes.
    fn hide(&self, route: &mut Map<String, Value>) {
        let removed = ["headers", "request"]
            .iter()
            .try_fold(route, |at, key| at.entry(*key).or_insert_with(|| json!({})).as_object_mut());
        let Some(request) = removed else { return };
        let list = request.entry("remove").or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.extend(self.hidden.iter().map(|name| Value::from(name.as_str())));
        }
    }
}

/// What requests that match both have; `None` if there are none, or if `match` cannot express it.
fn both(theirs: &Value, ours: &Value) -> Option<Value> {
    let mut both = theirs.as_object()?.clone();
    for (key, value) in ours.as_object()? {
        let merged = match both.get(key) {
            None => value.clone(),
            Some(_) if key == "statPrefix" => value.clone(),
            Some(theirs) if theirs == value => value.clone(),
            Some(theirs) => match key.as_str() {
                "uri" => narrower(theirs, value)?,
                "headers" | "withoutHeaders" | "sourceLabels" => united(theirs, value)?,
                _ => return None,
            },
        };
        both.insert(key.clone(), merged);
    }
    Some(both.into())
}

/// The condition on the path that implies the other one.
fn narrower(one: &Value, other: &Value) -> Option<Value> {
    let implies = |narrow: &Value, wide: &Value| {
        let path = narrow.get("exact").or_else(|| narrow.get("prefix")).and_then(Value::as_str);
        let prefix = wide.get("prefix").and_then(Value::as_str);
        path.zip(prefix).is_some_and(|(path, prefix)| path.starts_with(prefix))
    };
    if implies(one, other) { Some(one.clone()) } else { implies(other, one).then(|| other.clone()) }
}

fn united(one: &Value, other: &Value) -> Option<Value> {
    let mut all = one.as_object()?.clone();
    for (key, value) in other.as_object()? {
        if all.get(key).is_some_and(|existing| existing != value) {
            return None;
        }
        all.insert(key.clone(), value.clone());
    }
    Some(all.into())
}

fn written(destination: &Destination) -> Value {
    let mut all = Map::from_iter([("host".to_owned(), json!(destination.host))]);
    if let Some(subset) = &destination.subset {
        all.insert("subset".to_owned(), json!(subset));
    }
    if let Some(port) = destination.port {
        all.insert("port".to_owned(), json!({"number": port}));
    }
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_narrowed_and_what_excludes_each_other_is_left_out() {
        let (a, b) = (json!({"prefix": "/v2"}), json!({"prefix": "/v2/models"}));
        assert_eq!(narrower(&a, &b), Some(b.clone()));
        assert_eq!(narrower(&b, &a), Some(b.clone()));
        assert_eq!(narrower(&json!({"exact": "/v2/x"}), &a), Some(json!({"exact": "/v2/x"})));
        assert_eq!(narrower(&json!({"prefix": "/other"}), &a), None);
        assert_eq!(narrower(&json!({"regex": "/v2.*"}), &a), None);
        let header = |value: &str| json!({"headers": {"x-a": {"exact": value}}});
        assert_eq!(both(&header("1"), &header("2")), None);
        assert_eq!(
            both(&header("1"), &json!({"headers": {"x-b": {}}})),
            Some(json!({
                "headers": {"x-a": {"exact": "1"}, "x-b": {}},
            }))
        );
    }

    #[test]
    fn what_is_no_virtual_service_is_refused() {
        for (text, why) in [
            ("kind: Service\nmetadata: {name: a}", "exactly one VirtualService"),
            ("kind: VirtualService\nmetadata: {name: a}", "has no `http` routes"),
            ("kind: VirtualService\nspec: {http: [{}]}", "has no name"),
            ("a: b: c", "mapping"),
        ] {
            let error = format!("{:#}", Existing::parse(text).unwrap_err());
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
