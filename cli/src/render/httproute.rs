//! HTTPRoutes of the Gateway API that send each variant's requests to its backend.
//!
//! The filter tags requests with headers. A rule for each variant matches the tag, and wins over rules
//! for the same path by its headers. Rules without the tag send the requests of an experiment to its
//! baseline, so that traffic flows without the filter.
//!
//! `render gateway-api` and `render envoy-gateway` share these routes and differ in how they install
//! the filter.

mod args;
mod backend;
mod existing;
mod matches;
mod rules;
mod scope;

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::Value;
use sidetrack::config::Node;
use sidetrack::names::plugin;
use sidetrack::plan::Plan;
use sidetrack::unit::UnitSource;

use crate::fault::Fault;
use crate::load::Loaded;
pub(super) use args::Flags;
pub(super) use backend::Backend;
pub(crate) use backend::{Kind, Mapping, Written};
pub(super) use existing::Existing;
pub(super) use rules::routes;

/// What the routes depend on besides the experiments.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// The name of the resources.
    pub(super) name: String,
    /// The namespace of the routes and, unless they say otherwise, of the backends.
    pub(super) namespace: String,
    pub(super) parent: Parent,
    /// The hosts of the routes; empty: those of the experiments.
    pub(super) host: Vec<String>,
    /// Whether experiments without hosts take the requests of all hosts.
    pub(super) any_host: bool,
    /// The kind of the backends.
    pub(super) kind: Kind,
    /// The port of the services.
    pub(super) port: Option<u16>,
    /// Backends that differ from the clusters in the experiment file.
    pub(super) destination: Vec<Mapping>,
    /// Whether each variant's requests get its service as their host.
    pub(super) rewrite_host: bool,
    /// The service through which all variants are reached.
    pub(super) through: Option<Written>,
    /// The longest time for a response of a candidate, as the Gateway API writes it.
    pub(super) timeout: Option<String>,
    /// Routes that exist and stay.
    pub(super) beside: Vec<Existing>,
    /// Labels of all resources.
    pub(super) label: Vec<(String, String)>,
}

impl Options {
    /// The labels of all resources.
    pub(super) fn labels(&self) -> Value {
        let mut labels = serde_json::Map::new();
        labels.insert("app.kubernetes.io/name".to_owned(), plugin::NAME.into());
        labels.insert("app.kubernetes.io/part-of".to_owned(), self.name.clone().into());
        labels.extend(self.label.iter().map(|(key, value)| (key.clone(), value.clone().into())));
        labels.into()
    }
}

/// What the routes are attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    /// A gateway, and optionally one of its listeners.
    Gateway { namespace: String, name: String, listener: Option<String> },
    /// A service in the routes' namespace, for its waypoint.
    Service { name: String },
}

/// The routes, and what follows from them.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) routes: Vec<Route>,
    /// The backends, each once.
    pub(super) backends: Vec<Backend>,
    /// Namespaces of backends that must allow the routes to refer to them.
    pub(super) grants: Vec<Grant>,
}

/// One HTTPRoute.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Route {
    pub(super) name: String,
    pub(super) parents: Vec<Value>,
    pub(super) hostnames: Vec<String>,
    pub(super) rules: Vec<Rule>,
}

/// A rule of a route.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Rule {
    pub(super) name: String,
    /// The purpose of the rule.
    pub(super) note: String,
    pub(super) matches: Vec<Value>,
    pub(super) filters: Vec<Value>,
    pub(super) backend: Value,
    pub(super) timeouts: Option<Value>,
    /// The experiment whose requests take this rule only while the filter is absent.
    pub(super) bypass: Option<String>,
}

/// A ReferenceGrant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Grant {
    pub(super) namespace: String,
    pub(super) group: &'static str,
    pub(super) kind: &'static str,
    pub(super) names: Vec<String>,
}

/// Rejects experiments that need the body of a request. `platform` is for the message.
pub(super) fn check_bodies(plan: &Plan, platform: &str) -> anyhow::Result<()> {
    for (i, experiment) in plan.experiments.iter().enumerate() {
        let unit = experiment.units.iter().position(|unit| matches!(unit, UnitSource::Body(_)));
        let variant = experiment.variants.iter().position(|variant| !variant.body.is_empty());
        let feature = if let Some(unit) = unit {
            format!("unit[{unit}].body")
        } else if let Some(variant) = variant {
            format!("variants[{variant}].body")
        } else if !experiment.conditions.body.is_empty() {
            "match.body".to_owned()
        } else {
            continue;
        };
        bail!(Fault(format!(
            "experiments[{i}].{feature} needs the body of a request, but in {platform} a filter cannot wait for it\n  \
             hint: let clients or your gateway send the value in a header, and name that header here"
        )));
    }
    Ok(())
}

/// The file for a filter that only tags: without clusters, and with these settings added.
pub(super) fn tagging(loaded: &Loaded, settings: &[(&str, Node)]) -> anyhow::Result<Loaded> {
    let mut node = loaded.node.clone();
    let experiments = node.get_mut("experiments").context("the file has no experiments")?;
    let Node::List(experiments) = experiments else { bail!("`experiments` must be a list") };
    for experiment in experiments {
        let Some(Node::List(variants)) = experiment.get_mut("variants") else { continue };
        for variant in variants {
            if let Node::Map(keys) = variant {
                keys.retain(|(key, _)| key != "cluster");
            }
        }
    }
    if let (Node::Map(top), false) = (&mut node, settings.is_empty()) {
        if !top.iter().any(|(key, _)| key == "settings") {
            top.push(("settings".to_owned(), Node::Map(Vec::new())));
        }
        let written = top.iter_mut().find(|(key, _)| key == "settings");
        if let Some((_, Node::Map(written))) = written {
            for (key, value) in settings {
                if !written.iter().any(|(written, _)| written == key) {
                    written.push(((*key).to_owned(), value.clone()));
                }
            }
        }
    }
    let (plan, analyses) = sidetrack_analysis::plan::parse(&node)
        .map_err(|problems| anyhow::anyhow!("without its clusters: {problems}"))?;
    Ok(Loaded { node, plan, analyses })
}
