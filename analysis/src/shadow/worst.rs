//! The worst disagreements: a bounded list, the same in every run.

use std::cmp::Ordering;

use super::answer::{Shadow, Worst};
use super::pairs::Pairs;
use crate::source::outcomes::{Cell, Cells};

/// The pairs that differ most. The first score of the file decides; without one, the classes that differ, in the order of
/// their requests.
pub(super) fn worst(cells: &Cells, pairs: &Pairs, found: &Shadow, most: usize) -> Vec<Worst> {
    let score = found.scores.first().and_then(|score| cells.named(&score.column));
    let classes: Vec<_> =
        found.classes.iter().filter_map(|class| cells.named(&class.column)).collect();
    let mut ranked: Vec<(f64, &str, usize)> = Vec::new();
    for (pair, [one, other]) in pairs.rows.iter().enumerate() {
        let number = |row: &usize| match score?.cells.get(*row)? {
            Cell::Number(number) => Some(*number),
            _ => None,
        };
        let distance = number(one).zip(number(other)).map(|(one, other)| (other - one).abs());
        let differs = classes.iter().any(|column| {
            let (one, other) = (column.cells.get(*one), column.cells.get(*other));
            one != other && one != Some(&Cell::Missing) && other != Some(&Cell::Missing)
        });
        let distance = distance.unwrap_or_default();
        if distance > 0.0 || differs {
            ranked.push((distance, cells.request(*one), pair));
        }
    }
    ranked.sort_by(|one, other| {
        other.0.partial_cmp(&one.0).unwrap_or(Ordering::Equal).then_with(|| one.1.cmp(other.1))
    });
    let names = classes.iter().chain(&score).copied().collect::<Vec<_>>();
    ranked
        .into_iter()
        .take(most)
        .filter_map(|(_, request, pair)| {
            let [one, other] = *pairs.rows.get(pair)?;
            let side = |row: usize| {
                names.iter().map(|column| (column.name.clone(), column.text(row))).collect()
            };
            Some(Worst { request_id: request.to_owned(), baseline: side(one), mirror: side(other) })
        })
        .collect()
}
