//! What is said of the data beside the metrics: who counted, what was left out, when a breaker was open, what to beware of.

use std::collections::BTreeSet;

use sidetrack::quantity::Timestamp;

use super::analysis::{Breaker, ExcludedCounts, LineCounts, OpenInterval, OutcomeCounts, Variant};
use super::ledger::{Ledger, Totals};
use super::sieve::{Excluded, MINUTE};
use super::{Pass, Work, verdict};

impl Work<'_> {
    /// Units and requests of each variant.
    pub(super) fn variants(&self, pass: &Pass, observed: &[Vec<u64>]) -> Vec<Variant> {
        let sum = |arm: usize, what: fn(&Totals) -> u64| -> u64 {
            (0..self.strata.list.len())
                .filter_map(|stratum| pass.ledger.totals(stratum, arm))
                .map(what)
                .sum()
        };
        let variant = |(arm, variant): (usize, &sidetrack::plan::Variant)| Variant {
            name: variant.name.clone(),
            role: if arm == self.experiment.baseline.index() { "baseline" } else { "candidate" },
            units: observed.iter().filter_map(|counts| counts.get(arm)).sum(),
            requests: sum(arm, |totals| totals.requests),
            served_elsewhere: sum(arm, |totals| totals.elsewhere),
        };
        self.experiment.variants.iter().enumerate().map(variant).collect()
    }

    /// When a breaker was open, from one minute to the next, for each candidate.
    pub(super) fn breaker(&self, ledger: &Ledger) -> Breaker {
        let mut breaker = Breaker::default();
        let mut of_candidates = 0;
        let mut minutes = BTreeSet::new();
        for arm in self.experiment.candidates() {
            let mut last: Option<(u64, u64, u64)> = None;
            let mut intervals = Vec::new();
            for (minute, counts) in &ledger.minutes {
                let Some(counts) = counts.get(arm.index()) else { continue };
                of_candidates += u64::from(counts.requests);
                let touched = u64::from(counts.breaker);
                if touched == 0 {
                    continue;
                }
                minutes.insert(*minute);
                breaker.requests += touched;
                match &mut last {
                    Some((_, end, sum)) if *minute <= *end + 1 => {
                        (*end, *sum) = (*minute, *sum + touched)
                    }
                    last => intervals.extend(last.replace((*minute, *minute, touched))),
                }
            }
            intervals.extend(last);
            breaker.intervals.extend(intervals.into_iter().map(|(from, to, requests)| {
                OpenInterval {
                    variant: crate::words::variant(self.experiment, arm).to_owned(),
                    from: Timestamp::new(from * MINUTE).to_string(),
                    to: Timestamp::new((to + 1) * MINUTE).to_string(),
                    requests,
                }
            }));
        }
        breaker.minutes = minutes.len() as u64;
        breaker.share = share(breaker.requests, of_candidates.saturating_sub(breaker.requests));
        breaker
    }

    /// What became of the outcomes' rows.
    pub(super) fn outcome_counts(&self, pass: &Pass) -> Option<OutcomeCounts> {
        self.args.outcomes.as_ref()?;
        let met =
            |at_least: u8| pass.ledger.met.iter().filter(|met| **met >= at_least).count() as u64;
        let rows = self.outcomes.rows() as u64;
        let (matched, unmatched, early) = match &pass.placed {
            Some(placed) => (placed.matched, placed.unmatched, placed.early),
            None => (met(1), rows - met(1), 0),
        };
        Some(OutcomeCounts {
            rows,
            matched,
            unmatched,
            malformed: self.outcomes.malformed,
            repeated: self.outcomes.repeated,
            shared: met(2),
            early,
            examples: self.outcomes.examples.clone(),
        })
    }

    /// What a reader must know before the numbers.
    pub(super) fn warnings(
        &self,
        pass: &Pass,
        breaker: &Breaker,
        other_weights: f64,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        let lines = &pass.lines;
        let mut warn = |text: String| warnings.push(text);
        if lines.used == 0 {
            warn(format!("no line of the logs is an exposure of {}", self.experiment.name));
        }
        if self.strata.adaptive {
            warn(format!(
                "adaptive: a bandit set the weights in {} steps; each is compared within itself and the differences are merged, never pooled",
                self.strata.list.len()
            ));
        }
        if breaker.requests > 0 {
            warn(format!(
                "a breaker was open or recovering in {} of the candidates' requests ({:.1} %), in {} minutes; they count for the variant they were assigned to",
                crate::words::grouped(breaker.requests),
                breaker.share * 100.0,
                breaker.minutes
            ));
        }
        if (0.0..=verdict::TOLERATED).contains(&other_weights)
            && lines.excluded(Excluded::OtherWeights) > 0
        {
            warn(format!(
                "{} requests were assigned by other weights than the file's and are left out",
                crate::words::grouped(lines.excluded(Excluded::OtherWeights))
            ));
        }
        let torn = torn(&pass.ledger);
        if torn > 0 {
            warn(format!(
                "{} units were assigned to two variants within one phase (another salt? two files?); each counts for its first",
                crate::words::grouped(torn)
            ));
        }
        let nameless: u64 = if pass.units { lines.used - pass.ledger.named } else { 0 };
        if nameless > 0 {
            warn(format!(
                "{} requests name no unit and are left out of everything by unit",
                crate::words::grouped(nameless)
            ));
        }
        if let Some(counts) = self.outcome_counts(pass) {
            for (count, what) in [
                (counts.unmatched, "rows of the outcomes match nothing in the logs"),
                (counts.malformed, "rows of the outcomes are malformed and were skipped"),
                (counts.repeated, "rows of the outcomes repeat a request_id and were skipped"),
                (counts.shared, "rows of the outcomes match several requests and count for each"),
                (
                    counts.early,
                    "rows of the outcomes are from before the unit's first request and were skipped",
                ),
            ] {
                if count > 0 {
                    warn(format!("{} {what}", crate::words::grouped(count)));
                }
            }
        }
        warnings
    }
}

/// Units that were assigned to two variants within one phase.
pub(super) fn torn(ledger: &Ledger) -> u64 {
    ledger.units().filter(|unit| unit.cells().any(|(_, cell)| cell.torn)).count() as u64
}

/// What became of the lines.
pub(super) fn line_counts(pass: &Pass) -> LineCounts {
    let lines = &pass.lines;
    let aborted =
        pass.ledger.minutes.values().flatten().map(|minute| u64::from(minute.aborted)).sum();
    LineCounts {
        read: lines.read,
        used: lines.used - aborted,
        malformed: lines.malformed,
        excluded: ExcludedCounts {
            other_experiment: lines.excluded(Excluded::OtherExperiment),
            overridden: lines.excluded(Excluded::Override),
            missing_unit: lines.excluded(Excluded::MissingUnit),
            breaker: lines.excluded(Excluded::Breaker),
            not_started: lines.excluded(Excluded::NotStarted),
            disabled: lines.excluded(Excluded::Disabled),
            excluded: lines.excluded(Excluded::OutsideLayer),
            aborted,
            other_weights: lines.excluded(Excluded::OtherWeights),
        },
        examples: lines.examples.clone(),
    }
}

/// `part` of `part + rest`.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(super) fn share(part: u64, rest: u64) -> f64 {
    if part + rest == 0 { 0.0 } else { part as f64 / (part + rest) as f64 }
}
