//! Failover: clusters that try a candidate and then the baseline.
//!
//! The filter wrote the candidate's headers before the first attempt. So the pair has a filter of its
//! own, which Envoy runs for each attempt: the second one carries what the baseline's requests
//! carry.

use serde::Serialize;
use serde_json::{Value, json};
use sidetrack::names::route;
use sidetrack::plan::{Experiment, Plan, VariantId};

use super::baseline;
use crate::fault::Fault;

/// An aggregate cluster: the candidate, then the baseline.
#[derive(Serialize)]
pub(super) struct Aggregate {
    /// The route's name, which announces to the filter that another cluster may have answered.
    name: String,
    /// The aggregate, which the filter chooses.
    pub(super) cluster: String,
    /// The candidate alone.
    pub(super) alone: String,
    pub(super) baseline: String,
    /// The changes of a request's headers before the second attempt.
    mutations: Vec<Value>,
}

/// The aggregate clusters of all candidates.
///
/// # Errors
///
/// An experiment whose requests cannot be retried on the baseline.
pub(super) fn clusters(plan: &Plan) -> anyhow::Result<Vec<Aggregate>> {
    let mut failovers: Vec<Aggregate> = Vec::new();
    for experiment in &plan.experiments {
        if let Some(variant) = experiment.variants.iter().find(|v| v.rewrite.is_some()) {
            return Err(Fault(format!(
                "--failover: {} of {} has a `path`, and Envoy would retry on the baseline with the \
                 candidate's path\n  hint: remove `path`, or render without --failover",
                variant.name, experiment.name
            ))
            .into());
        }
        if let Some(variant) = experiment.variants.iter().find(|v| !v.body.is_empty()) {
            return Err(Fault(format!(
                "--failover: {} of {} has a `body`, and Envoy would retry on the baseline with the \
                 candidate's values\n  hint: remove `body`, or render without --failover",
                variant.name, experiment.name
            ))
            .into());
        }
        for candidate in experiment.candidates() {
            let Some(cluster) = experiment.variants[candidate].cluster.clone() else {
                anyhow::bail!(
                    "--failover requires variants with clusters, but {} of {} does not name one",
                    experiment.variants[candidate].name,
                    experiment.name
                );
            };
            let baseline = baseline(experiment).to_owned();
            if let Some(other) = failovers.iter().find(|other| other.cluster == cluster) {
                anyhow::ensure!(
                    other.baseline == baseline,
                    "--failover: {cluster} is a candidate of two baselines, {} and {baseline}",
                    other.baseline
                );
                anyhow::ensure!(
                    other.mutations == mutations(plan, experiment, candidate),
                    "--failover: {cluster} is a candidate of two experiments that differ in the \
                     baseline's name or in request_headers, so Envoy could not correct the headers \
                     of a retry\n  hint: give them the same names and headers, or different clusters"
                );
                continue;
            }
            let name = format!("{}{cluster}", route::FAILOVER);
            failovers.push(Aggregate {
                name,
                alone: format!("{cluster}~alone"),
                cluster,
                baseline,
                mutations: mutations(plan, experiment, candidate),
            });
        }
    }
    let aggregate = |name: &String| failovers.iter().any(|other| other.cluster == *name);
    if let Some(failover) = failovers.iter().find(|failover| aggregate(&failover.baseline)) {
        anyhow::bail!(
            "--failover: {} is the baseline of one experiment and a candidate of another",
            failover.baseline
        );
    }
    Ok(failovers)
}

/// What turns the headers of a candidate's request into those of a request that is assigned to the
/// candidate and served by the baseline.
fn mutations(plan: &Plan, experiment: &Experiment, candidate: VariantId) -> Vec<Value> {
    let names = &plan.settings.headers;
    let [candidate, baseline] =
        [candidate, experiment.baseline].map(|variant| &experiment.variants[variant]);
    let set =
        |name: &str, value: &str| json!({"set": {"name": name, "value": value}, "remove": null});
    let mut mutations = vec![
        set(&names.assigned, &format!("%REQ({})%", names.variant)),
        set(&names.variant, &baseline.name),
    ];
    let is_kept = |name: &str| baseline.request_headers.iter().any(|(other, _)| other == name);
    let removed = candidate.request_headers.iter().filter(|(name, _)| !is_kept(name));
    mutations.extend(removed.map(|(name, _)| json!({"remove": name})));
    let literal = |(name, value): &(String, String)| set(name, &value.replace('%', "%%"));
    mutations.extend(baseline.request_headers.iter().map(literal));
    mutations
}
