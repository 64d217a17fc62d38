//! The requests since the weights in force took effect, which alone can be compared with them.

use std::collections::BTreeMap;

use crate::run::observe::Counts;

/// By experiment, in parts per million and by variant: the weights in force, and the counts when they took effect.
#[derive(Debug, Default)]
pub(super) struct Present(BTreeMap<String, (Vec<u32>, Vec<Counts>)>);

impl Present {
    /// Takes note of the weights in force and of all counts so far, and returns the counts since these weights took effect.
    pub(super) fn since(
        &mut self,
        experiment: &str,
        weights: &[u32],
        now: &[Counts],
    ) -> Vec<Counts> {
        let begin = || (weights.to_vec(), now.to_vec());
        // All requests so far are of the first weights.
        let first = || (weights.to_vec(), vec![Counts::default(); now.len()]);
        let known = self.0.entry(experiment.to_owned()).or_insert_with(first);
        if known.0 != weights || known.1.len() != now.len() {
            *known = begin();
        }
        now.iter().zip(&known.1).map(|(now, before)| now.since(before)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(requests: u64, fallbacks: u64) -> Counts {
        Counts { requests, fallbacks, ..Counts::default() }
    }

    #[test]
    fn after_a_raise_only_the_requests_since_then_count() {
        let mut present = Present::default();
        let mut since = |weights: [u32; 2], now: [u64; 2]| {
            let now = now.map(|requests| counts(requests, 0));
            let found = present.since("e", &weights, &now);
            found.iter().map(|counts| counts.requests).collect::<Vec<_>>()
        };
        assert_eq!(since([950_000, 50_000], [95, 5]), [95, 5]);
        assert_eq!(since([950_000, 50_000], [190, 10]), [190, 10]);
        assert_eq!(since([500_000, 500_000], [190, 10]), [0, 0]);
        assert_eq!(since([500_000, 500_000], [240, 60]), [50, 50]);
        // Other experiments have their own weights.
        assert_eq!(present.since("f", &[1], &[counts(7, 2)]), [counts(7, 2)]);
    }
}
