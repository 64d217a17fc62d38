//! The experiment file as Istio carries it.
//!
//! With routes per variant, the filter only tags, and the clusters are removed: an unused header would
//! reach the model. With `cluster_header`, they become the names that istiod gives to clusters.

use anyhow::{Context, bail};
use sidetrack::config::Node;
use sidetrack::plan::Plan;
use sidetrack::unit::UnitSource;

use super::destination::{self, Destination};
use super::{BodyUnit, Kind, Options, Routing, bodies};
use crate::fault::Fault;
use crate::load::Loaded;
use crate::render::envoy::cluster;

/// Rejects experiments that cannot work in Istio, before anything is written.
pub(super) fn possible(plan: &Plan, options: &Options) -> anyhow::Result<()> {
    let (kind, has_script) = (options.kind, options.body_unit == BodyUnit::Lua);
    if kind == Kind::EnvoyFilter {
        return Ok(());
    }
    for (i, experiment) in plan.experiments.iter().enumerate() {
        for (j, unit) in experiment.units.iter().enumerate() {
            if let (UnitSource::Body(pointer), false) = (unit, has_script) {
                bail!(Fault(format!(
                    "experiments[{i}].unit[{j}].body is \"{pointer}\", but with --kind {} a unit must come from a \
                     header, cookie or query parameter\n  hint: there, a filter cannot wait for a request's body; use \
                     --kind envoyfilter or --body-unit lua, or let clients send the identifier in a header",
                    kind.name()
                )));
            }
        }
        let feature = if !experiment.conditions.body.is_empty() {
            "match.body".to_owned()
        } else if let Some((id, _)) =
            experiment.variants.entries().find(|(_, v)| !v.body.is_empty())
        {
            format!("variants[{}].body", id.index())
        } else {
            continue;
        };
        bail!(Fault(format!(
            "experiments[{i}].{feature} needs the request's body, which a filter cannot wait for with --kind {}\n  \
             hint: use --kind envoyfilter; or if your gateway puts the model into a header, match that header, and let \
             each variant name its own in request_headers or path",
            kind.name()
        )));
    }
    Ok(())
}

/// The file with the clusters that the routes need, and its plan.
pub(super) fn rewritten(loaded: &Loaded, options: &Options) -> anyhow::Result<Loaded> {
    let mut node = loaded.node.clone();
    let experiments = node.get_mut("experiments").context("the file has no experiments")?;
    let Node::List(experiments) = experiments else { bail!("`experiments` must be a list") };
    for (experiment, written) in loaded.plan.experiments.iter().zip(experiments) {
        if options.body_unit == BodyUnit::Lua {
            bodies::rewrite(&loaded.plan, written);
        }
        let Some(Node::List(variants)) = written.get_mut("variants") else { continue };
        for ((id, variant), written) in experiment.variants.entries().zip(variants) {
            let Node::Map(keys) = written else { continue };
            keys.retain(|(key, _)| key != "cluster");
            if options.route == Routing::Envoyfilter {
                let destination =
                    destination::of(cluster(experiment, id), Some(&variant.name), options)?;
                keys.push(("cluster".to_owned(), Node::Text(named(&destination, &variant.name)?)));
            }
        }
    }
    let (plan, analyses) = sidetrack_analysis::plan::parse(&node)
        .map_err(|problems| anyhow::anyhow!("after the clusters were named: {problems}"))?;
    Ok(Loaded { node, plan, analyses })
}

fn named(destination: &Destination, variant: &str) -> anyhow::Result<String> {
    destination.cluster().with_context(|| {
        format!(
            "--route envoyfilter requires a port, but {variant} has none at {destination}\n  \
             hint: add --port PORT, or --destination {variant}={}:PORT",
            destination.host
        )
    })
}
