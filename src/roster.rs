//! Who gets which variant, for units without a request: the draw alone, at one moment.
//!
//! `decide` answers for requests; this answers for a million units a second, and a test holds the two together.

use crate::plan::{Experiment, PerVariant, VariantId};
use crate::quantity::{Bucket, Ppm, Timestamp};
use crate::rollout::InForce;

/// An experiment at a moment.
#[derive(Debug)]
pub struct Roster<'p> {
    experiment: &'p Experiment,
    /// `None` while all units get the baseline: disabled, or not started.
    weights: Option<&'p PerVariant<Ppm>>,
    /// The index of the phase in force.
    pub phase: Option<usize>,
}

/// What the experiment does with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It gets this variant; with the bucket, when one was drawn.
    Variant(VariantId, Option<Bucket>),
    /// It is outside the experiment's slots of its layer.
    Excluded,
}

impl<'p> Roster<'p> {
    /// The experiment as it is at this moment.
    #[must_use]
    pub fn new(experiment: &'p Experiment, now: Timestamp) -> Self {
        let (weights, phase) = match experiment.schedule.at(now) {
            InForce::NotStarted => (None, None),
            InForce::Weights(weights, phase) => (Some(weights), phase),
        };
        Self { experiment, weights: weights.filter(|_| experiment.enabled), phase }
    }

    /// What becomes of a unit.
    #[must_use]
    pub fn place(&self, unit: &[u8]) -> Place {
        let experiment = self.experiment;
        if !experiment.enabled {
            return Place::Variant(experiment.baseline, None);
        }
        if let Some(variant) = self.listed(unit) {
            return Place::Variant(variant, None);
        }
        if let Some(layer) = &experiment.layer {
            let slot = layer.draw.bucket(unit).get();
            if !(layer.from.get()..layer.to.get()).contains(&slot) {
                return Place::Excluded;
            }
        }
        let Some(weights) = self.weights else { return Place::Variant(experiment.baseline, None) };
        let bucket = experiment.arm.bucket(unit);
        let variant = experiment.layout.candidate(bucket, weights).unwrap_or(experiment.baseline);
        Place::Variant(variant, Some(bucket))
    }

    /// The variant that `overrides.units` gives the unit, if anybody may reach it now.
    fn listed(&self, unit: &[u8]) -> Option<VariantId> {
        let units = &self.experiment.overrides.units;
        let found = units.binary_search_by(|(name, _)| name.as_bytes().cmp(unit)).ok()?;
        let (_, variant) = *units.get(found)?;
        let weight = self.weights.map_or(Ppm::ZERO, |weights| weights[variant]);
        // Overrides respect weights: a candidate with weight 0 is not reachable by an override either.
        (variant == self.experiment.baseline || weight > Ppm::ZERO).then_some(variant)
    }
}

#[cfg(test)]
mod tests {
    use crate::decide::{Gate, Outcome, Reason, World, decide};
    use crate::plan::Plan;
    use proptest::prelude::*;

    use super::*;

    fn plan(enabled: bool) -> Plan {
        let json = format!(
            r#"{{"experiments": [{{"name": "e", "enabled": {enabled}, "unit": [{{"header": "u"}}], "baseline": "b",
            "variants": [{{"name": "b"}}, {{"name": "d", "reserve": 40}}, {{"name": "c"}}],
            "rollout": {{"start": "1970-01-01T00:00:01Z", "phases": [
                {{"name": "one", "for": "1s", "weights": {{"d": 10}}}},
                {{"name": "two", "weights": {{"c": 20, "d": 30}}}}]}},
            "layer": {{"name": "l", "from": 20, "to": 90}}, "overrides": {{"units": {{"qa": "c"}}}}}}]}}"#
        );
        crate::config::parse_json(json.as_bytes()).unwrap()
    }

    fn decided(plan: &Plan, unit: &[u8], now: Timestamp) -> (Place, Option<usize>) {
        let mut world = World { now, entropy: || 0, gate: &|_, _| Gate::Closed };
        match decide(plan, &vec![("u", unit)], &mut world, &mut ()) {
            Outcome::Decided(decision) if decision.reason == Reason::Excluded => {
                (Place::Excluded, decision.phase)
            }
            Outcome::Decided(decision) => {
                (Place::Variant(decision.served, decision.bucket), decision.phase)
            }
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn a_roster_says_what_a_request_gets(
            unit in prop_oneof!["[a-z0-9]{1,12}", Just("qa".to_owned())],
            now in 0u64..4000,
            enabled: bool,
        ) {
            let plan = plan(enabled);
            let roster = Roster::new(plan.experiments.first().unwrap(), Timestamp::new(now));
            let place = roster.place(unit.as_bytes());
            prop_assert_eq!((place, roster.phase), decided(&plan, unit.as_bytes(), Timestamp::new(now)));
        }
    }
}
