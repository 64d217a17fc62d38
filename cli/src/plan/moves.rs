//! The shares of units that move between variants, exactly.
//!
//! In a single draw, a version of an experiment is a few ranges of buckets. Two versions with the same
//! salt share the draw, so their ranges are intersected. Versions with different salts draw
//! independently, so their shares are multiplied. The same holds for the slots of a layer. All shares
//! are integers: parts of 10^24.

use std::collections::BTreeMap;

use serde::Serialize;
use sidetrack::plan::{Assignment, Experiment, Layer, VariantId};
use sidetrack::quantity::{Bucket, Timestamp};
use sidetrack::rollout::InForce;

/// Buckets of one draw, and pairs of buckets of two.
const BUCKETS: u32 = Bucket::COUNT;
const PAIRS: u128 = 1_000_000_000_000;

/// Units that move.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Move {
    /// The variant before; null for units outside the experiment.
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    /// The fraction of all units.
    pub(super) share: f64,
    /// The same in percent, exact.
    pub(super) percent: String,
    /// From one candidate to another.
    pub(super) swap: bool,
}

/// Units that keep their variant.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Stay {
    pub(super) variant: Option<String>,
    pub(super) share: f64,
    pub(super) percent: String,
}

/// The place of a unit: the variant and whether it is a candidate; `None` outside the experiment.
type Place = Option<(String, bool)>;

/// Ranges of one draw: the end and the value of each.
type Ranges<T> = Vec<(u32, T)>;

/// The units that move, largest share first, and those that stay.
pub(super) fn moves(
    old: Option<&Experiment>,
    new: Option<&Experiment>,
    now: Timestamp,
) -> (Vec<Move>, Vec<Stay>) {
    let mut flows: BTreeMap<(Place, Place), u128> = BTreeMap::new();
    let slots = joint(&slots(old), &slots(new), same_layer(old, new));
    let arms = joint(&arms(old, now), &arms(new, now), same_arm(old, new));
    for (was_in, is_in, slots) in &slots {
        for (from, to, arms) in &arms {
            let from = from.clone().filter(|_| *was_in);
            let to = to.clone().filter(|_| *is_in);
            *flows.entry((from, to)).or_default() += slots * arms;
        }
    }
    let name = |place: &Place| place.as_ref().map(|(name, _)| name.clone());
    let candidate = |place: &Place| place.as_ref().is_some_and(|(_, candidate)| *candidate);
    let mut flows: Vec<((Place, Place), u128)> =
        flows.into_iter().filter(|(_, share)| *share > 0).collect();
    flows.sort_by_key(|(_, share)| core::cmp::Reverse(*share));
    let (mut moves, mut stays) = (Vec::new(), Vec::new());
    for ((from, to), parts) in flows {
        let (share, percent) = (fraction(parts), percent(parts));
        if name(&from) == name(&to) {
            stays.push(Stay { variant: name(&to), share, percent });
        } else {
            let swap = candidate(&from) && candidate(&to);
            moves.push(Move { from: name(&from), to: name(&to), share, percent, swap });
        }
    }
    (moves, stays)
}

/// Whether each request draws anew.
pub(super) fn is_random(experiment: &Experiment) -> bool {
    experiment.assignment == Assignment::RequestRandom
}

/// Whether both versions draw the same bucket for a unit.
fn same_arm(old: Option<&Experiment>, new: Option<&Experiment>) -> bool {
    match (old, new) {
        // Random draws have no units, so only the change of the shares is known, as for a single draw.
        (Some(old), Some(new)) if is_random(old) && is_random(new) => true,
        (Some(old), Some(new)) => old.salt == new.salt && !is_random(old) && !is_random(new),
        _ => true,
    }
}

fn layer(experiment: Option<&Experiment>) -> Option<&Layer> {
    experiment.and_then(|experiment| experiment.layer.as_ref())
}

fn same_layer(old: Option<&Experiment>, new: Option<&Experiment>) -> bool {
    match (layer(old), layer(new)) {
        (Some(old), Some(new)) => old.name == new.name,
        _ => true,
    }
}

fn slots(experiment: Option<&Experiment>) -> Ranges<bool> {
    match layer(experiment) {
        Some(layer) => vec![(layer.from.get(), false), (layer.to.get(), true), (BUCKETS, false)],
        None => vec![(BUCKETS, true)],
    }
}

fn arms(experiment: Option<&Experiment>, now: Timestamp) -> Ranges<Place> {
    let Some(experiment) = experiment else { return vec![(BUCKETS, None)] };
    let place = |index: VariantId| {
        Some((crate::words::variant(experiment, index).to_owned(), index != experiment.baseline))
    };
    let mut ranges = Vec::new();
    if let InForce::Weights(weights, _) = experiment.schedule.at(now)
        && experiment.enabled
    {
        for span in experiment.layout.spans() {
            let weight = weights[span.variant];
            ranges.push((span.start.saturating_add(weight.get()), place(span.variant)));
            ranges.push((span.start.saturating_add(span.width.get()), place(experiment.baseline)));
        }
    }
    ranges.push((BUCKETS, place(experiment.baseline)));
    ranges
}

/// All pairs of values in two draws, with the number of their pairs of buckets, of 10^12.
fn joint<T: Clone>(old: &Ranges<T>, new: &Ranges<T>, same_draw: bool) -> Vec<(T, T, u128)> {
    let mut pairs = Vec::new();
    let mut old_start = 0;
    for (old_end, a) in old {
        let mut new_start = 0;
        for (new_end, b) in new {
            let parts = if same_draw {
                let common = (*old_end).min(*new_end).saturating_sub(old_start.max(new_start));
                u128::from(common) * u128::from(BUCKETS)
            } else {
                u128::from(old_end.saturating_sub(old_start))
                    * u128::from(new_end.saturating_sub(new_start))
            };
            if parts > 0 {
                pairs.push((a.clone(), b.clone(), parts));
            }
            new_start = new_start.max(*new_end);
        }
        old_start = old_start.max(*old_end);
    }
    pairs
}

/// Parts of 10^24 as percent, exact: `9.5`.
fn percent(parts: u128) -> String {
    // One percent is 10^22 parts.
    let whole = PAIRS * PAIRS / 100;
    let decimals = format!("{:022}", parts % whole);
    let decimals = decimals.trim_end_matches('0');
    let point = if decimals.is_empty() { "" } else { "." };
    format!("{}{point}{decimals}", parts / whole)
}

/// As a float, for JSON.
#[expect(clippy::cast_precision_loss, reason = "JSON also has the exact share")]
fn fraction(parts: u128) -> f64 {
    parts as f64 / 1e24
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn experiment(
        salt: &str,
        c: u32,
        d: u32,
        reserve: u32,
        layer: Option<(&str, u32, u32)>,
    ) -> Experiment {
        let layer = layer.map_or_else(String::new, |(name, from, to)| {
            format!(r#", "layer": {{"name": "{name}", "from": {from}, "to": {to}}}"#)
        });
        let json = format!(
            r#"{{"experiments": [{{"name": "e", "salt": "{salt}", "unit": [{{"header": "u"}}], "baseline": "b",
            "variants": [{{"name": "b"}}, {{"name": "c", "weight": {c}, "reserve": {reserve}}},
            {{"name": "d", "weight": {d}}}]{layer}}}]}}"#
        );
        sidetrack::config::parse_json(json.as_bytes())
            .unwrap()
            .experiments
            .into_iter()
            .next()
            .unwrap()
    }

    fn moved(old: &Experiment, new: &Experiment) -> Vec<String> {
        let (moves, _) = moves(Some(old), Some(new), Timestamp::new(0));
        let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
        moves
            .iter()
            .map(|step| format!("{}>{} {}", name(&step.from), name(&step.to), step.percent))
            .collect()
    }

    #[test]
    fn a_weight_within_its_span_moves_only_from_the_baseline() {
        let (old, new) = (experiment("s", 10, 20, 50, None), experiment("s", 25, 20, 50, None));
        assert_eq!(moved(&old, &new), ["b>c 15"]);
        assert_eq!(moved(&new, &old), ["c>b 15"]);
    }

    #[test]
    fn a_span_that_grows_pushes_its_neighbor() {
        let (old, new) = (experiment("s", 10, 20, 10, None), experiment("s", 15, 20, 15, None));
        assert_eq!(moved(&old, &new), ["b>d 5", "d>c 5"]);
    }

    #[test]
    fn another_salt_multiplies_the_shares() {
        let (old, new) = (experiment("s", 10, 0, 10, None), experiment("t", 10, 0, 10, None));
        assert_eq!(moved(&old, &new), ["b>c 9", "c>b 9"]);
    }

    #[test]
    fn layers_are_cut_or_multiplied() {
        let old = experiment("s", 50, 0, 50, Some(("l", 0, 50)));
        assert_eq!(
            moved(&old, &experiment("s", 50, 0, 50, Some(("l", 20, 60)))),
            ["b>- 10", "c>- 10", "->b 5", "->c 5"]
        );
        let other = experiment("s", 50, 0, 50, Some(("m", 0, 50)));
        assert_eq!(moved(&old, &other), ["->b 12.5", "->c 12.5", "b>- 12.5", "c>- 12.5"]);
    }

    proptest! {
        #[test]
        fn what_moves_and_what_stays_is_everything_and_agrees_with_the_draw(
            a in 0u32..40, b in 0u32..40, c in 0u32..40, d in 0u32..40, more in 0u32..20, other: bool,
            l in 0u32..99, m in 1u32..99, same_layer: bool,
        ) {
            let old = experiment("s", a, b, a + more, Some(("l", l, l + 1)));
            let layer = if same_layer { "l" } else { "m" };
            let new = experiment(if other { "t" } else { "s" }, c, d, c, Some((layer, 0, m)));
            let (moves, stays) = moves(Some(&old), Some(&new), Timestamp::new(0));
            let shares = moves.iter().map(|step| step.share).chain(stays.iter().map(|stay| stay.share));
            prop_assert!((shares.sum::<f64>() - 1.0).abs() < 1e-9);
            // Whatever a unit does is among the moves and stays.
            for unit in 0..200u32 {
                let unit = unit.to_string();
                let name = |experiment: &Experiment| match sidetrack::roster::Roster::new(experiment, Timestamp::new(0)).place(unit.as_bytes()) {
                    sidetrack::roster::Place::Variant(variant, _) => Some(experiment.variants[variant].name.clone()),
                    sidetrack::roster::Place::Excluded => None,
                };
                let (from, to) = (name(&old), name(&new));
                let known = moves.iter().any(|step| step.from == from && step.to == to)
                    || (from == to && stays.iter().any(|stay| stay.variant == from));
                prop_assert!(known, "{from:?} {to:?}");
            }
        }
    }
}
