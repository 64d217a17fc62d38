//! Figures of models that are no means, in small and large groups of units with several predictions each.

use sidetrack_stats::accumulate::Pairs;
use sidetrack_stats::linearized::{Linearized, auc, f1, rmse};
use sidetrack_stats::ratio;
use sidetrack_stats::result::Estimate;

use super::*;

/// A prediction: its unit, the score, the label.
type Prediction = (usize, f64, bool);

/// Units with one to four predictions, whose scores share a part.
fn predictions(dice: &mut Dice, units: u64, positive: f64) -> Vec<Prediction> {
    let mut all = Vec::new();
    for unit in 0..units as usize {
        let mood = dice.normal();
        for _ in 0..=dice.bits() % 4 {
            let label = dice.happens(positive);
            let signal = if label { 1.2 } else { 0.0 };
            all.push((unit, signal + 0.7 * mood + dice.normal(), label));
        }
    }
    all
}

/// Each unit as the figure plus its influence times the number of units.
fn pairs(of: &[Prediction], found: &Linearized) -> Pairs {
    let units = of.last().map_or(0, |(unit, ..)| unit + 1);
    let mut influences = vec![0.0; units];
    for ((unit, ..), influence) in of.iter().zip(&found.influences) {
        influences[*unit] += influence;
    }
    let mut pairs = Pairs::default();
    for influence in influences {
        pairs.add((units as f64).mul_add(influence, found.value), 1.0).unwrap();
    }
    pairs
}

fn figure(name: &str, of: &[Prediction]) -> Option<Linearized> {
    let count = of.iter().filter(|(.., label)| *label).count();
    if count.min(of.len() - count) < 5 {
        return None;
    }
    match name {
        "auc" => auc(&of.iter().map(|(_, score, label)| (*score, *label)).collect::<Vec<_>>()),
        "f1" => f1(&of.iter().map(|(_, score, label)| (*score > 0.8, *label)).collect::<Vec<_>>()),
        _ => rmse(&of.iter().map(|(_, score, _)| *score).collect::<Vec<_>>()),
    }
}

/// Whether equal models are called different, by the larger of the groups' own and their common variance.
fn differs(name: &str, one: &[Prediction], two: &[Prediction]) -> bool {
    let Some((first, second)) = figure(name, one).zip(figure(name, two)) else { return false };
    let (first, second) = (pairs(one, &first), pairs(two, &second));
    let floors = ratio::common_variances(&first, &second);
    let (a, b) = (ratio::ratio(&first).unwrap(), ratio::ratio(&second).unwrap());
    let variance = a.variance.max(floors.0) + b.variance.max(floors.1);
    let estimate = Estimate { difference: b.value - a.value, variance, df: None };
    estimate.difference.abs() > estimate.critical(LEVEL) * variance.sqrt()
}

#[test]
fn equal_models_are_called_different_hardly_more_often_than_the_level() {
    const REPETITIONS: u64 = 1500;
    for (index, name) in (0u64..).zip(["auc", "f1", "rmse"]) {
        for (one, two, positive) in
            [(200, 200, 0.3), (950, 50, 0.3), (950, 50, 0.1), (1900, 100, 0.05)]
        {
            let found = rate(REPETITIONS, 77_000_000 * (index + 1) + one, |dice| {
                let groups = (predictions(dice, one, positive), predictions(dice, two, positive));
                differs(name, &groups.0, &groups.1)
            });
            is_at_most(&format!("{name}, {one} and {two}, {positive}"), found, 0.06, REPETITIONS);
        }
    }
}
