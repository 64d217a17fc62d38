//! Notices about the baseline's capacity: an open breaker moves a candidate's share onto it.

use sidetrack::plan::{BreakerMode, Experiment, Notice, PerVariant, Plan, VariantId};
use sidetrack::quantity::Ppm;
use sidetrack::rollout::Schedule;

use crate::words::percent;

/// The share of the traffic above which the baseline needs capacity that it does not use.
const NOTICED: u32 = 250_000;

/// A notice for each experiment whose candidates together have more than a quarter of the traffic.
pub(super) fn notices(plan: &Plan) -> Vec<Notice> {
    let experiments = plan.experiments.iter().enumerate();
    experiments.filter_map(|(index, experiment)| notice(index, experiment)).collect()
}

fn notice(index: usize, experiment: &Experiment) -> Option<Notice> {
    if !experiment.enabled || experiment.breaker.mode != BreakerMode::Enforce {
        return None;
    }
    let (share, place) = largest(experiment)?;
    if share.get() <= NOTICED {
        return None;
    }
    let baseline = &experiment.variants[experiment.baseline].name;
    let rest = Ppm::new(Ppm::ALL.get().saturating_sub(share.get())).unwrap_or_default();
    let (share, rest) = (percent(share), percent(rest));
    Some(Notice {
        path: format!("experiments[{index}].{place}"),
        message: format!(
            "the candidates take {share} of the traffic, and open breakers move it to {baseline} within a second: it \
             must be able to serve all requests, not only its {rest} (docs/operations.md, \"Size the baseline\")"
        ),
        needs_bodies: false,
    })
}

/// The largest share of the traffic that the candidates take together, and the part of the file that
/// sets it.
fn largest(experiment: &Experiment) -> Option<(Ppm, String)> {
    // Adapters of one server share its capacity, whichever of them serves.
    let cluster = |variant| experiment.variants[variant].cluster.as_ref();
    let baseline = cluster(experiment.baseline);
    let is_elsewhere = |id: &VariantId| baseline.is_none() || cluster(*id) != baseline;
    let share = |weights: &PerVariant<Ppm>| {
        let candidates = experiment.candidates().filter(is_elsewhere);
        let sum: u32 = candidates.map(|candidate| weights[candidate].get()).sum();
        // Units outside the slots of a layer have the baseline.
        let slots = experiment
            .layer
            .as_ref()
            .map_or(Ppm::ALL.get(), |layer| layer.to.get().saturating_sub(layer.from.get()));
        let of_all = u64::from(sum) * u64::from(slots) / u64::from(Ppm::ALL.get());
        Ppm::new(u32::try_from(of_all).ok()?)
    };
    match &experiment.schedule {
        Schedule::Fixed(weights) => Some((share(weights)?, "variants".to_owned())),
        Schedule::Rollout(rollout) => {
            let phases = rollout.phases.iter().enumerate();
            let shares = phases.filter_map(|(index, phase)| {
                Some((share(&phase.weights)?, format!("rollout.phases[{index}]")))
            });
            // The first of the phases with this share.
            shares.reduce(|largest, next| if next.0 > largest.0 { next } else { largest })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sidetrack::config::parse_json;

    use super::*;

    fn found(change: &Value) -> Vec<String> {
        let mut experiment = json!({
            "name": "e", "unit": [{"header": "u"}], "baseline": "old",
            "variants": [{"name": "old"}, {"name": "new", "weight": 20}, {"name": "newer", "weight": 6}],
        });
        for (key, value) in change.as_object().unwrap() {
            experiment[key] = value.clone();
        }
        let file = json!({"experiments": [experiment]}).to_string();
        let plan = parse_json(file.as_bytes()).unwrap();
        notices(&plan)
            .into_iter()
            .map(|notice| format!("{}: {}", notice.path, notice.message))
            .collect()
    }

    fn weights(new: u32, newer: u32) -> Value {
        json!([{"name": "old"}, {"name": "new", "weight": new}, {"name": "newer", "weight": newer}])
    }

    #[test]
    fn candidates_that_take_more_than_a_quarter_together_are_noticed() {
        let notice = found(&json!({})).concat();
        assert!(
            notice.starts_with("experiments[0].variants: the candidates take 26 %"),
            "{notice}"
        );
        assert!(
            notice.contains("move it to old") && notice.contains("not only its 74 %"),
            "{notice}"
        );
        assert_eq!(found(&json!({"variants": weights(20, 5)})), [""; 0]);
    }

    #[test]
    fn the_largest_phase_of_a_rollout_counts() {
        let variants = json!([{"name": "old"}, {"name": "new"}]);
        let phase = |weight: u32| json!({"name": format!("p{weight}"), "for": "1h", "weights": {"new": weight}});
        let rollout = |phases: &[u32]| {
            let phases: Vec<Value> = phases.iter().map(|weight| phase(*weight)).collect();
            json!({"variants": variants, "rollout": {"start": "2026-11-23T09:00:00Z", "phases": phases}})
        };
        assert_eq!(found(&rollout(&[5, 25])), [""; 0]);
        let notice = found(&rollout(&[5, 60, 50])).concat();
        assert!(
            notice.starts_with("experiments[0].rollout.phases[1]: the candidates take 60 %"),
            "{notice}"
        );
    }

    /// Two adapters of one server, as the model in the body chooses them.
    #[test]
    fn a_cluster_that_serves_both_needs_no_more_capacity() {
        let variants = |old: &str, new: &str| json!({"variants": [{"name": "old", "cluster": old}, {"name": "new", "cluster": new, "weight": 50}]});
        assert_eq!(found(&variants("pool", "pool")), [""; 0]);
        assert_eq!(found(&variants("pool", "other")).len(), 1);
    }

    #[test]
    fn what_moves_no_traffic_is_not_noticed() {
        for change in [
            json!({"enabled": false}),
            json!({"breaker": {"mode": "dry_run"}}),
            json!({"breaker": {"mode": "disabled"}}),
            json!({"layer": {"name": "l", "from": 0, "to": 50}}),
        ] {
            assert_eq!(found(&change), [""; 0], "{change}");
        }
        let half = json!({"layer": {"name": "l", "from": 0, "to": 50}, "variants": weights(50, 2)});
        assert!(found(&half).concat().contains("take 26 %"), "{:?}", found(&half));
    }
}
