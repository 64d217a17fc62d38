//! One column of two samples: its bins or categories, and the distances.

use std::collections::BTreeMap;

use sidetrack_stats::drift::{
    Cells, Distance, kolmogorov_exceeded, kolmogorov_p, kolmogorov_smirnov,
};
use sidetrack_stats::float;
use sidetrack_stats::result::Undefined;

use super::answer::{Against, Bin, Compared, DriftState, Kind, Sample};
use super::samples::Values;
use super::{Counts, DriftSettings};
use crate::figures::digits;

/// Bins of numbers.
const BINS: usize = 10;
/// Categories; all others are one.
const CATEGORIES: usize = 30;
/// The label of all other categories.
const OTHER: &str = "(other)";
/// A distance that is exceeded by chance this often is shown.
const TAIL: f64 = 0.05;

/// Compares how often a column has no value. `None` if it always has one, or never.
pub(super) fn missing(name: &str, first: &Values, second: &Values) -> Option<Compared> {
    let sides = [first, second];
    let known = |values: &Values| values.numbers.len() + values.words.len();
    if sides.iter().all(|values| values.missing.is_empty())
        || sides.iter().all(|values| known(values) == 0)
    {
        return None;
    }
    let mut counts = Counts::new();
    for (side, values) in sides.into_iter().enumerate() {
        let numbers = values.numbers.iter().map(|(_, unit)| unit);
        let known = numbers.chain(values.words.iter().map(|(_, unit)| unit));
        known.for_each(|unit| count(&mut counts, *unit, side, 0));
        values.missing.iter().for_each(|unit| count(&mut counts, *unit, side, 1));
    }
    let labels = ["known", "missing"].map(str::to_owned).to_vec();
    let name = format!("{name} (missing)");
    of_counts(&name, Kind::Category, first, second, (labels, counts))
}

/// Compares a column. `None` if a sample has no values.
pub(super) fn compare(
    name: &str,
    first: &Values,
    second: &Values,
    _: &DriftSettings,
) -> Option<Compared> {
    let has_words = !first.words.is_empty() || !second.words.is_empty();
    let kind =
        if has_words || crate::shadow::is_class(name) { Kind::Category } else { Kind::Number };
    let binned = match kind {
        Kind::Number => numbers(first, second),
        Kind::Category => words(first, second),
    };
    of_counts(name, kind, first, second, binned)
}

fn of_counts(
    name: &str,
    kind: Kind,
    first: &Values,
    second: &Values,
    (labels, counts): (Vec<String>, Counts),
) -> Option<Compared> {
    let mut cells = Cells::new(labels.len());
    counts.values().for_each(|[one, other]| cells.add(one, other));
    let [rows, more] = cells.rows().map(|rows| rows.iter().sum::<u64>());
    if rows == 0 || more == 0 {
        return None;
    }
    let (distance, state) = match cells.distance() {
        Ok(distance) => (Some(distance), DriftState::Undefined),
        // The same value everywhere, or the same shares of all units: nothing differs.
        Err(Undefined::ZeroVariance) => (None, DriftState::Stable),
        Err(_) => (None, DriftState::Undefined),
    };
    let same = (state == DriftState::Stable).then_some(0.0);
    let shares = |rows: &[u64], all: u64| {
        rows.iter().map(|rows| float(*rows) / float(all)).collect::<Vec<f64>>()
    };
    let [ours, theirs] = cells.rows();
    let shares = shares(ours, rows).into_iter().zip(shares(theirs, more));
    let bins = labels.into_iter().zip(shares);
    let bins = bins.map(|(label, (first, second))| Bin { label, first, second }).collect();
    let sample = |values: &Values, rows: u64| Sample {
        rows,
        missing: values.missing.len() as u64,
        units: values.units(),
        mean: mean(values).filter(|_| kind == Kind::Number),
    };
    let mut found = Compared {
        column: name.to_owned(),
        kind,
        against: Against::Baseline,
        variant: String::new(),
        state,
        psi: distance.map(|distance| distance.psi).or(same),
        psi_by_chance: distance.map(|distance| distance.psi_by_chance),
        psi_exceeded: distance.map(|distance| distance.psi_exceeded(TAIL)),
        jensen_shannon: distance.map(|distance| distance.jensen_shannon).or(same),
        jensen_shannon_exceeded: distance.map(|distance| distance.jensen_shannon_exceeded(TAIL)),
        kolmogorov_smirnov: same.filter(|_| kind == Kind::Number),
        kolmogorov_smirnov_exceeded: None,
        kolmogorov_smirnov_p: None,
        p_value: distance.map(|distance| distance.p_value.get()),
        p_adjusted: None,
        design_effect: distance.map(|distance| distance.design_effect),
        first: sample(first, rows),
        second: sample(second, more),
        bins,
    };
    if let Some(distance) = distance.filter(|_| kind == Kind::Number) {
        steps(&mut found, first, second, &distance);
    }
    Some(found)
}

/// The Kolmogorov-Smirnov distance, with the design effect of the bins.
fn steps(found: &mut Compared, first: &Values, second: &Values, distance: &Distance) {
    let sorted = |values: &Values| {
        let mut numbers: Vec<f64> = values.numbers.iter().map(|(number, _)| *number).collect();
        numbers.sort_by(f64::total_cmp);
        numbers
    };
    let steps = kolmogorov_smirnov(&sorted(first), &sorted(second));
    let rows = [found.first.rows, found.second.rows];
    found.kolmogorov_smirnov = Some(steps);
    found.kolmogorov_smirnov_exceeded =
        Some(kolmogorov_exceeded(TAIL, rows, distance.design_effect));
    found.kolmogorov_smirnov_p = Some(kolmogorov_p(steps, rows, distance.design_effect).get());
}

/// The mean, in the order of the values.
fn mean(values: &Values) -> Option<f64> {
    let count = values.numbers.len() as u64;
    let sum: f64 = values.numbers.iter().map(|(number, _)| *number).sum();
    (count > 0).then(|| sum / float(count))
}

fn count(counts: &mut Counts, unit: u64, side: usize, cell: usize) {
    let Some(cells) = counts.entry(unit).or_default().get_mut(side) else { return };
    match cells.iter_mut().find(|(known, _)| *known == cell) {
        Some((_, rows)) => *rows += 1,
        None => cells.push((cell, 1)),
    }
}

/// Bins between the deciles of the first sample. A value that many rows have may be several deciles; then it is a bin of its
/// own, so that values on both sides of it are seen, and there are fewer bins.
fn numbers(first: &Values, second: &Values) -> (Vec<String>, Counts) {
    let mut sorted: Vec<f64> = first.numbers.iter().map(|(number, _)| *number).collect();
    sorted.sort_by(f64::total_cmp);
    let deciles = (1..BINS).filter_map(|decile| {
        let rank = (decile * sorted.len()).div_ceil(BINS).max(1);
        sorted.get(rank - 1).copied()
    });
    let mut edges: Vec<f64> = Vec::new();
    for decile in deciles {
        match edges.as_slice() {
            [.., last] if *last == decile => {
                let below = decile.next_down();
                if !edges.contains(&below) {
                    edges.insert(edges.len() - 1, below);
                }
            }
            _ => edges.push(decile),
        }
    }
    let mut counts = Counts::new();
    for (side, values) in [first, second].into_iter().enumerate() {
        for (number, unit) in &values.numbers {
            let cell = edges.partition_point(|edge| edge < number);
            count(&mut counts, *unit, side, cell);
        }
    }
    let show = |edge: &f64| digits(*edge, 4);
    let mut labels: Vec<String> = Vec::new();
    let mut before: Option<&f64> = None;
    for edge in &edges {
        let is_own = |below: &f64| below.next_up() == *edge;
        let next_is_own = edges.iter().any(|next| edge.next_up() == *next);
        labels.push(match before {
            None if next_is_own => format!("< {}", show(&edge.next_up())),
            None => format!("≤ {}", show(edge)),
            Some(before) if is_own(before) => format!("= {}", show(edge)),
            Some(before) => format!("{} … {}", show(before), show(edge)),
        });
        before = Some(edge);
    }
    labels.push(before.map_or_else(String::new, |edge| format!("> {}", show(edge))));
    (labels, counts)
}

/// The most common categories of both samples, and all others.
fn words(first: &Values, second: &Values) -> (Vec<String>, Counts) {
    let sides = [first.as_words(), second.as_words()];
    let mut all: BTreeMap<&str, u64> = BTreeMap::new();
    for (word, _) in sides.iter().flatten() {
        *all.entry(word).or_default() += 1;
    }
    let mut ranked: Vec<(&str, u64)> = all.into_iter().collect();
    ranked.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
    let has_others = ranked.len() > CATEGORIES;
    ranked.truncate(if has_others { CATEGORIES - 1 } else { CATEGORIES });
    let places: BTreeMap<&str, usize> =
        ranked.iter().enumerate().map(|(place, (word, _))| (*word, place)).collect();
    let mut counts = Counts::new();
    for (side, words) in sides.iter().enumerate() {
        for (word, unit) in words {
            let cell = places.get(word.as_str()).copied().unwrap_or(ranked.len());
            count(&mut counts, *unit, side, cell);
        }
    }
    let labels = ranked.iter().map(|(word, _)| crate::figures::visible(word));
    (labels.chain(has_others.then(|| OTHER.to_owned())).collect(), counts)
}
