//! An HTTPRoute that exists and stays: its rules for the baseline show which requests the rules for
//! tagged requests must take.

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value};
use sidetrack::matching::Text;
use sidetrack::plan::Experiment;
use sidetrack::rewrite::Rewrite;

use super::backend::{Backend, Kind};
use super::matches::{self, Target};
use crate::fault::Fault;
use crate::load::Source;
use crate::pointer::{list, number, text};
use crate::yaml;

/// A route in a cluster.
#[derive(Clone, Debug)]
pub(in crate::render) struct Existing {
    pub(in crate::render) name: String,
    pub(in crate::render) namespace: String,
    pub(super) parents: Vec<Value>,
    pub(super) hostnames: Vec<String>,
    rules: Vec<Value>,
}

/// A rule that sends requests to the baseline.
#[derive(Debug)]
pub(super) struct Taken {
    matches: Vec<Target>,
    filters: Vec<Value>,
    pub(super) timeouts: Option<Value>,
}

/// The HTTPRoutes of a file, such as the output of `kubectl get httproute -o yaml`.
pub(in crate::render) fn read(source: &Source) -> anyhow::Result<Vec<Existing>> {
    let name = &source.name;
    let contents = String::from_utf8_lossy(source.bytes());
    let documents: Vec<Value> =
        yaml::read_all(&contents).map_err(|error| Fault(format!("{name}: {error}")))?;
    let mut routes = Vec::new();
    for document in documents {
        match document.get("kind").and_then(Value::as_str) {
            Some("List" | "HTTPRouteList") => {
                routes.extend_from_slice(list(&document, "/items"));
            }
            _ => routes.push(document),
        }
    }
    routes.retain(|route| text(route, "/kind") == "HTTPRoute");
    ensure!(
        !routes.is_empty(),
        Fault(format!(
            "{name} has no HTTPRoute\n  hint: kubectl get httproute NAME -o yaml > {name}"
        ))
    );
    routes.iter().map(|route| Existing::of(route, name)).collect()
}

impl Existing {
    fn of(route: &Value, file: &str) -> anyhow::Result<Self> {
        let name = text(route, "/metadata/name").to_owned();
        let namespace = text(route, "/metadata/namespace");
        let namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
        let namespace = namespace.with_context(|| {
            format!(
                "{file}: the HTTPRoute {name} has no metadata.namespace\n  hint: add it, or use the output of kubectl get -o yaml"
            )
        })?;
        let hostnames = list(route, "/spec/hostnames")
            .iter()
            .filter_map(|it| it.as_str().map(ToOwned::to_owned))
            .collect();
        Ok(Self {
            name,
            namespace,
            parents: list(route, "/spec/parentRefs").to_vec(),
            hostnames,
            rules: list(route, "/spec/rules").to_vec(),
        })
    }

    /// The rules that send requests to the experiment's baseline.
    pub(super) fn rules_for(
        &self,
        baseline: &Backend,
        experiment: &Experiment,
    ) -> anyhow::Result<Vec<Taken>> {
        let mut taken = Vec::new();
        let mut others = Vec::new();
        for rule in &self.rules {
            let backends = list(rule, "/backendRefs");
            others.extend(
                backends
                    .iter()
                    .filter_map(|it| it.get("name").and_then(Value::as_str).map(ToOwned::to_owned)),
            );
            if !backends.iter().any(|it| self.is_backend(it, baseline)) {
                continue;
            }
            let mut matches: Vec<Target> =
                list(rule, "/matches").iter().filter_map(|it| it.as_object().cloned()).collect();
            if matches.is_empty() {
                matches.push(Map::new());
            }
            taken.push(Taken {
                matches,
                filters: list(rule, "/filters").to_vec(),
                timeouts: rule.get("timeouts").cloned(),
            });
        }
        others.sort_unstable();
        others.dedup();
        if taken.is_empty() {
            bail!(Fault(format!(
                "no rule of the HTTPRoute {}/{} routes to {baseline}, the baseline of {}; its backends are: {}\n  \
                 hint: name the baseline's service with --destination",
                self.namespace,
                self.name,
                experiment.name,
                others.join(", ")
            )));
        }
        Ok(taken)
    }

    /// The port of a service that the rules name.
    pub(in crate::render) fn port(&self) -> Option<u16> {
        let backends = self.rules.iter().flat_map(|rule| list(rule, "/backendRefs"));
        let mut ports: Vec<u64> = backends.filter_map(|it| number(it, "/port")).collect();
        ports.dedup();
        match ports.as_slice() {
            [port] => u16::try_from(*port).ok(),
            _ => None,
        }
    }

    fn is_backend(&self, reference: &Value, backend: &Backend) -> bool {
        let kind = match text(reference, "/kind") {
            "" | "Service" => Kind::Service,
            "InferencePool" => Kind::InferencePool,
            _ => return false,
        };
        let namespace = text(reference, "/namespace");
        let namespace = if namespace.is_empty() { &self.namespace } else { namespace };
        kind == backend.kind
            && text(reference, "/name") == backend.name
            && namespace == backend.namespace
            && (kind == Kind::InferencePool
                || number(reference, "/port") == backend.port.map(u64::from))
    }
}

impl Taken {
    /// The requests of the rule, with the paths that the filter writes for a variant.
    pub(super) fn targets(
        &self,
        experiment: &Experiment,
        rewrite: Option<&Rewrite>,
    ) -> Vec<Target> {
        let mut targets = Vec::new();
        for target in &self.matches {
            for path in paths(target, experiment, rewrite) {
                let mut target = target.clone();
                target.extend(path.map(|path| ("path".to_owned(), path)));
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
        }
        targets
    }

    /// Whether a filter replaces the prefix that the match names.
    pub(super) fn replaces_prefix(&self) -> bool {
        self.filters
            .iter()
            .any(|filter| text(filter, "/urlRewrite/path/type") == "ReplacePrefixMatch")
    }

    /// The rule's filters with ours: each kind may stand once.
    pub(super) fn merged(&self, ours: Vec<Value>) -> anyhow::Result<Vec<Value>> {
        let mut filters = self.filters.clone();
        for our in ours {
            let kind = text(&our, "/type");
            let theirs = filters.iter_mut().find(|it| text(it, "/type") == kind);
            match (kind, theirs) {
                ("RequestHeaderModifier", Some(theirs)) => {
                    const REMOVED: &str = "/requestHeaderModifier/remove";
                    let all = [list(theirs, REMOVED), list(&our, REMOVED)].concat();
                    ensure!(
                        all.len() <= 16,
                        "the existing rule and the filter would remove {} headers, but the Gateway API allows 16",
                        all.len()
                    );
                    set(theirs, "requestHeaderModifier", "remove", all.into());
                }
                ("URLRewrite", Some(theirs)) => {
                    let host = text(&our, "/urlRewrite/hostname").to_owned();
                    set(theirs, "urlRewrite", "hostname", host.into());
                }
                _ => filters.push(our),
            }
        }
        Ok(filters)
    }
}

/// Sets a value in a group of a filter.
fn set(filter: &mut Value, group: &str, key: &str, value: Value) {
    if let Some(group) = filter.get_mut(group).and_then(Value::as_object_mut) {
        group.insert(key.to_owned(), value);
    }
}

/// The paths of a match, before and after the filter's change; `None` keeps the match's own.
fn paths(
    target: &Target,
    experiment: &Experiment,
    rewrite: Option<&Rewrite>,
) -> Vec<Option<Value>> {
    let (Some(_), Some(path)) = (rewrite, target.get("path")) else { return vec![None] };
    let value = path.get("value").and_then(Value::as_str).unwrap_or("/").to_owned();
    let changed = match path.get("type").and_then(Value::as_str) {
        Some("Exact") => matches::tagged_paths(Some(&Text::Exact(value)), rewrite),
        None | Some("PathPrefix") => matches::tagged_paths(Some(&Text::Prefix(value)), rewrite),
        // What a regular expression matches after the change is unknown: the experiment's own paths.
        _ => matches::tagged_paths(experiment.conditions.path.as_ref(), rewrite),
    };
    core::iter::once(None).chain(changed.into_iter().map(Some)).collect()
}
