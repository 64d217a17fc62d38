//! Phases: the contiguous runs of one set of weights. Data of different phases are never pooled.
//!
//! Each line of the log carries the weights that assigned it, so the log is cut into phases without the files that were
//! in force. Lines without weights (older logs) belong to the strata of the file.
//!
//! A first pass collects the sets of weights in a [`Book`]. The minutes in which each set was active give the
//! [`Timeline`]: a set that comes back after other weights were in force, as in 5, 20, 5 percent, has two phases. Proxies
//! take over a new file at different times, so two sets may alternate for a while; that does not make them new phases.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use sidetrack::plan::Experiment;
use sidetrack::quantity::Timestamp;

use crate::row::MINUTE;
use crate::strata::Strata;
use crate::weights::Weights;

/// How many sets of weights a log may have: a row has a byte for its phase.
const MOST_SETS: usize = 256;

/// More phases than this are merged as far as their weights are equal.
const MOST_PHASES: usize = 64;

/// A set that pauses no longer than this, in minutes, has not ended.
const PAUSE: u64 = 10;

/// How many lines of a set are expected in a pause before its absence says that it was not in force: by chance, none
/// comes in fewer than one of a hundred such pauses.
const EXPECTED: f64 = 5.0;

/// Weights under which lines were written, with the phase that the proxy named.
#[derive(Debug)]
pub(crate) struct Set {
    phase: Option<String>,
    pub(crate) weights: Weights,
    /// Its place in the file, and how the file names it.
    of_file: Option<(usize, Option<String>)>,
}

/// All sets of weights of a log, in the order in which they were met.
#[derive(Debug)]
pub(crate) struct Book {
    /// The set of each stratum of the file.
    of_file: Vec<Option<usize>>,
    sets: RwLock<Vec<Arc<Set>>>,
}

impl Book {
    /// With the strata of the file.
    pub(crate) fn new(experiment: &Experiment, strata: &Strata) -> Self {
        let mut sets: Vec<Arc<Set>> = Vec::new();
        let mut of_file = Vec::new();
        for (place, stratum) in strata.list.iter().enumerate() {
            let text = sidetrack::exposure::weights(experiment, &|id| stratum.weights[id]);
            let same = |set: &Arc<Set>| set.is(stratum.phase.as_deref(), &text);
            let mut index = sets.iter().position(same);
            if let (None, Some(weights)) = (index, Weights::parse(&text, experiment)) {
                let of_file = Some((place, stratum.name.clone()));
                index = Some(sets.len());
                sets.push(Arc::new(Set { phase: stratum.phase.clone(), weights, of_file }));
            }
            of_file.push(index);
        }
        Self { of_file, sets: RwLock::new(sets) }
    }

    /// The set of a stratum of the file.
    pub(crate) fn of_file(&self, stratum: usize) -> Option<(usize, Arc<Set>)> {
        let index = (*self.of_file.get(stratum)?)?;
        Some((index, Arc::clone(self.read().get(index)?)))
    }

    /// The set of this phase and these weights, which may be new.
    ///
    /// # Errors
    /// The weights cannot be read; why.
    pub(crate) fn find(
        &self,
        experiment: &Experiment,
        phase: Option<&str>,
        text: &str,
    ) -> Result<(usize, Arc<Set>), String> {
        let find = |sets: &[Arc<Set>]| {
            let index = sets.iter().position(|set| set.is(phase, text))?;
            Some((index, Arc::clone(sets.get(index)?)))
        };
        if let Some(found) = find(&self.read()) {
            return Ok(found);
        }
        let weights = Weights::parse(text, experiment).ok_or_else(|| {
            let text = crate::figures::visible(text);
            format!("weights: \"{text}\" is not as in fancy=300000/500000")
        })?;
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have met it meanwhile.
        if let Some(found) = find(&sets) {
            return Ok(found);
        }
        if sets.len() >= MOST_SETS {
            return Err(format!("weights: more than {MOST_SETS} sets of weights in one log"));
        }
        let set = Arc::new(Set { phase: phase.map(str::to_owned), weights, of_file: None });
        sets.push(Arc::clone(&set));
        Ok((sets.len() - 1, set))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Set>>> {
        self.sets.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Set {
    pub(crate) fn is(&self, phase: Option<&str>, text: &str) -> bool {
        self.weights.text() == text && self.phase.as_deref() == phase
    }
}

/// A contiguous run of one set of weights.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    /// The rollout's phase, the bandit's step, or the weights; `None` if it is the only one and has no name.
    pub(crate) name: Option<String>,
    /// The share of each variant, by its index.
    pub(crate) shares: Vec<f64>,
    /// The phase of the rollout that the proxies named.
    pub(crate) rollout: Option<String>,
    /// The weights, as the log carries them.
    pub(crate) weights: String,
    /// The first and the last minute with a request.
    pub(crate) minutes: (u64, u64),
}

impl Phase {
    /// A phase of these shares, for tests of what reads only them.
    #[cfg(test)]
    pub(crate) fn of_shares(shares: &[f64]) -> Self {
        Self {
            name: None,
            shares: shares.to_vec(),
            rollout: None,
            weights: String::new(),
            minutes: (0, 0),
        }
    }

    /// When it began and ended, rounded to the minute, in milliseconds since 1970.
    pub(crate) const fn span(&self) -> (u64, u64) {
        (self.minutes.0 * MINUTE, (self.minutes.1 + 1) * MINUTE)
    }
}

/// The phases of a log, in the order of their beginnings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    pub(crate) phases: Vec<Phase>,
    /// By set: since which minute each of its phases runs.
    starts: Vec<Vec<(u64, u8)>>,
    /// Some set has several phases.
    pub(crate) returns: bool,
}

impl Timeline {
    /// The phases of the sets by the minutes in which each was active. With `split`, a set that comes back has several.
    pub(crate) fn new(book: &Book, active: &[BTreeSet<u64>], split: bool) -> Self {
        let sets = book.read();
        let mut pause = if split { PAUSE } else { u64::MAX };
        let runs = loop {
            let runs: Vec<Vec<(u64, u64)>> =
                (0..sets.len()).map(|set| runs(active, set, pause)).collect();
            if pause == u64::MAX || runs.iter().map(Vec::len).sum::<usize>() <= MOST_PHASES {
                break runs;
            }
            pause = pause.saturating_mul(2);
        };
        // The order is that of time, whatever the order in which threads met the sets. Within a minute, the weights of
        // the file are the newest.
        let order = |(index, (from, to)): &(usize, (u64, u64))| {
            let set = sets.get(*index);
            let place = set.and_then(|set| Some(set.of_file.as_ref()?.0));
            let text = set.map(|set| (set.phase.clone(), set.weights.text().to_owned()));
            (*from, *to, place, text)
        };
        let each = runs.iter().enumerate();
        let mut all: Vec<(usize, (u64, u64))> =
            each.flat_map(|(set, runs)| runs.iter().map(move |run| (set, *run))).collect();
        all.sort_by_cached_key(order);
        Self::of_runs(&sets, &all)
    }

    /// The phases of these sets of weights, each with its first and its last minute, in the order of time.
    ///
    /// # Errors
    /// Weights that cannot be read; why.
    pub(crate) fn of_phases(
        experiment: &Experiment,
        strata: &Strata,
        phases: &[(Option<String>, String, (u64, u64))],
    ) -> Result<Self, String> {
        let book = Book::new(experiment, strata);
        let run = |(rollout, weights, minutes): &(Option<String>, String, (u64, u64))| {
            Ok((book.find(experiment, rollout.as_deref(), weights)?.0, *minutes))
        };
        let all: Vec<(usize, (u64, u64))> =
            phases.iter().map(run).collect::<Result<_, String>>()?;
        Ok(Self::of_runs(&book.read(), &all))
    }

    fn of_runs(sets: &[Arc<Set>], all: &[(usize, (u64, u64))]) -> Self {
        let mut timeline =
            Self { returns: false, starts: vec![Vec::new(); sets.len()], phases: Vec::new() };
        for (index, minutes) in all {
            let Some(set) = sets.get(*index) else { continue };
            // At most as many as there are sets, or MOST_PHASES.
            let number = u8::try_from(timeline.phases.len()).unwrap_or(u8::MAX);
            if let Some(starts) = timeline.starts.get_mut(*index) {
                starts.push((minutes.0, number));
                timeline.returns |= starts.len() > 1;
            }
            let name = if all.len() == 1 { set.title() } else { name(sets, all, set, *minutes) };
            timeline.phases.push(Phase {
                name,
                shares: set.weights.shares().to_vec(),
                rollout: set.phase.clone(),
                weights: set.weights.text().to_owned(),
                minutes: *minutes,
            });
        }
        timeline
    }

    /// The phase of a line of this set at this time, in milliseconds since 1970.
    pub(crate) fn phase(&self, set: usize, time: u64) -> Option<u8> {
        let starts = self.starts.get(set)?;
        let begun = starts.iter().rev().find(|(minute, _)| *minute <= time / MINUTE);
        begun.or_else(|| starts.first()).map(|(_, phase)| *phase)
    }

    /// The weights of the last phase.
    pub(crate) fn last(&self, book: &Book) -> Option<Arc<Set>> {
        let last = u8::try_from(self.phases.len().checked_sub(1)?).ok()?;
        let is_last = |starts: &Vec<(u64, u8)>| starts.iter().any(|(_, phase)| *phase == last);
        book.read().get(self.starts.iter().position(is_last)?).cloned()
    }

    /// Whether weights rose and fell again and again, as if outcomes had set them: one way and back twice, for some variant.
    ///
    /// A rollout and a person who raises, rolls back and raises again change the direction at most twice.
    pub(crate) fn wanders(&self) -> bool {
        let variants = self.phases.first().map_or(0, |phase| phase.shares.len());
        let turns = |variant: usize| {
            let shares: Vec<f64> =
                self.phases.iter().filter_map(|phase| phase.shares.get(variant).copied()).collect();
            let steps =
                shares.iter().zip(shares.iter().skip(1)).map(|(before, after)| after - before);
            let steps: Vec<f64> = steps.filter(|step| step.abs() > 1e-9).collect();
            steps.iter().zip(steps.iter().skip(1)).filter(|(one, two)| *one * *two < 0.0).count()
        };
        (0..variants).any(|variant| turns(variant) > 2)
    }

    /// By set: the number of its only phase.
    pub(crate) fn only(&self) -> Vec<Option<u8>> {
        self.starts.iter().map(|starts| Some(starts.first()?.1)).collect()
    }
}

impl Set {
    /// The name of the rollout's phase, or of the bandit's step.
    fn title(&self) -> Option<String> {
        let of_file = self.of_file.as_ref().and_then(|(_, name)| name.clone());
        self.phase.clone().or(of_file)
    }
}

/// A name that no other phase has: the set's own, with its weights and its beginning as far as they are needed.
fn name(
    sets: &[Arc<Set>],
    all: &[(usize, (u64, u64))],
    set: &Arc<Set>,
    (from, _): (u64, u64),
) -> Option<String> {
    let title = set.title();
    let others = || {
        let sets = all.iter().filter_map(|(index, _)| sets.get(*index));
        sets.filter(|other| other.title() == title)
    };
    let mut name = match &title {
        None => set.weights.label(),
        Some(title) if others().any(|other| !Arc::ptr_eq(other, set)) => {
            format!("{title} ({})", set.weights.label())
        }
        Some(title) => title.clone(),
    };
    let same = |other: &&Arc<Set>| other.weights.label() == set.weights.label();
    if others().filter(same).count() > 1 {
        name += &format!(" from {}", Timestamp::new(from * MINUTE));
    }
    Some(name)
}

/// The first and the last minute of each run of a set.
fn runs(active: &[BTreeSet<u64>], set: usize, pause: u64) -> Vec<(u64, u64)> {
    let Some(own) = active.get(set) else { return Vec::new() };
    let (Some(first), Some(last)) = (own.first(), own.last()) else { return Vec::new() };
    let others = |from: u64, to: u64| -> usize {
        let others = active.iter().enumerate().filter(|(index, _)| *index != set);
        others.map(|(_, minutes)| minutes.range(from..=to).count()).sum()
    };
    #[expect(clippy::cast_precision_loss, reason = "counts of minutes")]
    let share = own.len() as f64 / (own.len() + others(*first, *last)) as f64;
    let mut runs = vec![(*first, *first)];
    for (before, after) in own.iter().zip(own.iter().skip(1)) {
        #[expect(clippy::cast_precision_loss, reason = "counts of minutes")]
        let ended =
            after - before > pause && others(before + 1, after - 1) as f64 * share >= EXPECTED;
        match runs.last_mut() {
            Some(run) if !ended => run.1 = *after,
            _ => runs.push((*after, *after)),
        }
    }
    runs
}

#[cfg(test)]
mod tests;
