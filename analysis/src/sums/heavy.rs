//! The heaviest units: those with the most requests, of all variants together.
//!
//! Which units these are depends on no variant, so leaving them out is fair to all.

use std::collections::BTreeMap;

use crate::join::{Unit, UnitTable};

/// One unit of so many is among the heaviest,
const ONE_OF: u64 = 100;
/// and at least so many are,
const LEAST: u64 = 10;
/// but at most one of so many.
const MOST_ONE_OF: u64 = 20;
/// Whoever has so many times the requests of the lightest of that twentieth is among the heaviest, too: of users with
/// Pareto tails of shape 1.05 to 1.2 these are about a hundredth as well, and of lighter tails none.
const TIMES: u64 = 4;

/// A unit's requests in all phases.
pub(super) fn requests(unit: Unit<'_>) -> u64 {
    unit.cells().map(|(_, cell)| u64::from(cell.requests)).sum()
}

/// Units by their number of requests.
pub(super) fn counts(table: &UnitTable) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    for unit in table.units() {
        *counts.entry(requests(unit)).or_default() += 1;
    }
    counts
}

/// The number of requests above which a unit is among the heaviest. There may be none, if many have equally many.
pub(crate) fn threshold(shards: Vec<BTreeMap<u64, u64>>) -> u64 {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for (requests, units) in shards.into_iter().flatten() {
        *counts.entry(requests).or_default() += units;
    }
    let all: u64 = counts.values().sum();
    let most = all / MOST_ONE_OF;
    let wanted = (all / ONE_OF).max(LEAST).min(most);
    let mut above = 0;
    let mut limit = None;
    for (requests, units) in counts.into_iter().rev() {
        // Bots of one kind have equally many, so a large group must not end the search before it has begun.
        if above + units > wanted && 2 * above >= wanted {
            limit = limit.or(Some(requests));
        }
        if above + units > most {
            return limit.unwrap_or(requests).min(TIMES * requests);
        }
        above += units;
    }
    limit.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_are_a_hundredth_of_the_units() {
        let of = |counts: &[(u64, u64)]| threshold(vec![counts.iter().copied().collect()]);
        // 20 of 2000, 10 of 300, and 5 of 100.
        assert_eq!(of(&[(1, 1000), (2, 980), (9, 15), (70, 5)]), 2);
        assert_eq!(of(&[(1, 290), (9, 5), (70, 5)]), 1);
        assert_eq!(of(&[(1, 90), (9, 5), (70, 5)]), 9);
        // Those with equally many requests are in or out together.
        assert_eq!(of(&[(1, 1000), (2, 980), (9, 16), (70, 5)]), 2);
        assert_eq!(of(&[(1, 1000), (2, 980), (9, 100), (70, 15)]), 9);
        assert_eq!(of(&[(1, 1000), (2, 960), (190, 40)]), 2);
        // So heavy that they are not the heaviest of many.
        assert_eq!(of(&[(1, 1000), (5, 940), (30, 40), (90, 20)]), 20);
        assert_eq!(of(&[(3, 1000)]), 3);
        assert_eq!(of(&[]), u64::MAX);
        let apart = vec![[(1, 500), (9, 40)].into(), [(1, 500), (9, 20)].into()];
        assert_eq!(threshold(apart), 9);
    }
}
