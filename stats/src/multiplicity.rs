//! Many metrics or many candidates at once: p-values adjusted so that one level holds for all.
//!
//! Holm for what decides: the probability of any false finding stays below the level, whatever the dependence. Benjamini and Hochberg for what
//! explores: the share of false ones among the findings does. Bonferroni is absent, since Holm is never worse.

use crate::numeric::float;
use crate::result::PValue;

/// Holm's adjusted p-values, in the order of the input (Holm 1979).
#[must_use]
pub fn holm(p_values: &[PValue]) -> Vec<PValue> {
    let count = p_values.len();
    let mut largest = f64::NEG_INFINITY;
    adjusted(p_values, order(p_values), |rank, ln| {
        largest = largest.max(ln + float((count - rank) as u64).ln());
        largest
    })
}

/// Benjamini and Hochberg's adjusted p-values, in the order of the input (1995).
#[must_use]
pub fn benjamini_hochberg(p_values: &[PValue]) -> Vec<PValue> {
    let count = p_values.len();
    let mut smallest = 0.0f64;
    let mut order = order(p_values);
    order.reverse();
    adjusted(p_values, order, |step, ln| {
        // From the largest down: the rank falls from `count` to 1.
        smallest = smallest.min(ln + float(count as u64).ln() - float((count - step) as u64).ln());
        smallest
    })
}

/// Indices from the smallest p-value to the largest.
fn order(p_values: &[PValue]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    let ln = |index: &usize| p_values.get(*index).map_or(0.0, |p| p.ln());
    order.sort_by(|a, b| ln(a).total_cmp(&ln(b)));
    order
}

fn adjusted(
    p_values: &[PValue],
    order: Vec<usize>,
    mut step: impl FnMut(usize, f64) -> f64,
) -> Vec<PValue> {
    let mut out = p_values.to_vec();
    for (rank, index) in order.into_iter().enumerate() {
        if let Some(p) = out.get_mut(index) {
            *p = PValue::of_ln(step(rank, p.ln()));
        }
    }
    out
}
