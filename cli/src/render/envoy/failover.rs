//! Failover: clusters that try a candidate and then the baseline.

use serde::Serialize;
use sidetrack::names::route;
use sidetrack::plan::Plan;

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
                continue;
            }
            let name = format!("{}{cluster}", route::FAILOVER);
            failovers.push(Aggregate {
                name,
                alone: format!("{cluster}~alone"),
                cluster,
                baseline,
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
