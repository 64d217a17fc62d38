//! The gauges of experiments that the plugins of a proxy publish, and those that none names any
//! more.
//!
//! A gauge keeps its value in the proxy until it is set. So the names of published gauges are in
//! the store, and a configuration that comes into force sets those to zero that it does not name.
//! Counters need nothing: they stop.

use sidetrack::names::shared::GAUGES;
use sidetrack::names::{label, metric};
use sidetrack::plan::{Plan, VariantId};

use crate::host::{Host, Kind, Sink};
use crate::roster::{self, Row};
use crate::series::Series;

/// Between the parts of a gauge's name. Names of experiments and variants have no spaces.
const SEPARATOR: char = ' ';

/// A gauge by its metric, experiment and variant.
pub(crate) struct Gauge(String);

impl Gauge {
    fn set_zero(&self, sink: &impl Sink) {
        let mut parts = self.0.split(SEPARATOR);
        if let (Some(metric), Some(experiment), Some(variant)) =
            (parts.next(), parts.next(), parts.next())
        {
            let labels = [(label::EXPERIMENT, experiment), (label::MODEL, variant)];
            Series::define(sink, Kind::Gauge, &labels, metric).set(sink, 0);
        }
    }
}

/// Records that a plugin publishes the gauges of this plan. Returns those that it published before
/// and no plugin publishes now.
pub(crate) fn replace(host: &impl Host, plugin: &str, plan: &Plan) -> Vec<Gauge> {
    let Some((before, after)) = roster::replace(host, GAUGES, plugin, &names(plan)) else {
        return Vec::new();
    };
    let is_gone = |(_, gauge): &Row| !after.iter().any(|(_, other)| other == gauge);
    before.into_iter().filter(is_gone).map(|(_, gauge)| Gauge(gauge)).collect()
}

/// Sets the gauges of a plugin that ends to zero, except those that another plugin publishes.
pub(crate) fn end(host: &impl Host, plugin: &str, plan: &Plan) {
    roster::replace(host, GAUGES, plugin, &[]);
    let others = roster::rows(host, GAUGES);
    let is_gone = |gauge: &String| !others.iter().any(|(_, other)| other == gauge);
    let gone: Vec<Gauge> = names(plan).into_iter().filter(is_gone).map(Gauge).collect();
    clear(host, &gone);
}

/// Sets gauges to zero.
pub(crate) fn clear(host: &impl Host, gauges: &[Gauge]) {
    gauges.iter().for_each(|gauge| gauge.set_zero(host));
}

/// Whether the configuration of the plugin that is in force has one of this plan's experiments.
pub(crate) fn name_any(host: &impl Host, plugin: &str, plan: &Plan) -> bool {
    let rows = roster::rows(host, GAUGES);
    let mut published = rows.iter().filter(|(owner, _)| owner == plugin);
    published.any(|(_, gauge)| {
        let experiment = gauge.split(SEPARATOR).nth(1);
        plan.experiments.iter().any(|it| Some(it.name.as_str()) == experiment)
    })
}

fn names(plan: &Plan) -> Vec<String> {
    let mut names = Vec::new();
    for experiment in &plan.experiments {
        let name = |metric: &str, variant: VariantId| {
            let variant = &experiment.variants[variant].name;
            format!("{metric}{SEPARATOR}{}{SEPARATOR}{variant}", experiment.name)
        };
        names.extend(experiment.variants.ids().map(|variant| name(metric::WEIGHT, variant)));
        names.extend(experiment.candidates().map(|variant| name(metric::BREAKER_STATE, variant)));
    }
    names
}
