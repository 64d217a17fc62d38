//! A simulated experiment, decided by the code that decides real ones.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sidetrack_stats::accumulate::Pairs;
use sidetrack_stats::bandit::{Rule, State, weights};
use sidetrack_stats::dice::Dice;
use sidetrack_stats::float;
use sidetrack_stats::input::{Fraction, Proportion};

use super::arm::Arm;
use super::cell::{Cell, Looks};
use super::crowd::Crowd;
use crate::analyze::look;
use crate::answer::{Conclusion, Decision, MetricResult, Role};
use crate::cap;
use crate::checks::few_units;
use crate::compare::Data;
use crate::join::Shape;
use crate::judge::{Look, Names, Planned, conclude_only};
use crate::metric::Metric;
use crate::sums::{Adjusting, Gaps, MetricSums, Sums, threshold};
use crate::verdict::{Grounds, verdict};

/// What is true of the candidates, and what they are asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Truth {
    /// All variants are equal.
    Equal,
    /// The first candidate is better by this much, in the direction of the goal.
    Better(f64),
    /// The candidates are worse by this much, which is the margin of the guardrail.
    AtMargin(f64),
}

/// What was decided, at any look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Decided {
    /// A candidate was promoted.
    pub(super) promoted: bool,
    /// A candidate was worse.
    pub(super) worse: bool,
    /// An interval missed the truth.
    pub(super) missed: bool,
    /// A guardrail was within its margin.
    pub(super) non_inferior: bool,
    /// A guardrail was beyond its margin.
    pub(super) inferior: bool,
    /// A test that knows the variances would have promoted.
    pub(super) oracle: bool,
}

const LEVEL: Fraction = Fraction::FIVE_PERCENT;
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Runs an experiment to its end, or to the first decision.
pub(super) fn run(cell: &Cell, truth: Truth, dice: &mut Dice) -> Decided {
    let role = if cell.margin.is_some() { Role::Guardrail } else { Role::Primary };
    let metric = cell.crowd.metric(role, cell.margin);
    let days = if cell.looks == Looks::Fixed { 1 } else { super::DAYS };
    let adaptive = cell.looks == Looks::Bandit;
    let mut bandit = Bandit::new(cell);
    let mut strata = vec![vec![Arm::default(); cell.arms]];
    let mut decided = Decided::default();
    let mut units = 0;
    for day in 0..days {
        if adaptive && day > 0 {
            // Each batch has its own weights, so it is a phase.
            bandit.learn(strata.last().map_or(&[], Vec::as_slice));
            strata.push(vec![Arm::default(); cell.arms]);
        }
        let Some(arms) = strata.last_mut() else { break };
        units += join(cell, truth, arms, (day, days), bandit.shares(), dice);
        let Some((look, reached)) = look_at(cell, units) else { continue };
        let seen = Seen { cell, truth, strata: &strata, metric: &metric, look, reached };
        seen.decide(&mut decided);
        let done = match truth {
            Truth::Better(_) => decided.promoted && decided.oracle,
            Truth::AtMargin(_) => decided.non_inferior && decided.inferior && decided.missed,
            Truth::Equal if cell.margin.is_some() => decided.inferior,
            Truth::Equal => decided.promoted && decided.worse && decided.missed,
        };
        if done {
            break;
        }
    }
    decided
}

/// The look at so many units, and whether the plan is reached. The bounds of planned looks take long, and all runs of an
/// experiment have the same.
fn look_at(cell: &Cell, units: u64) -> Option<(Look, bool)> {
    static KNOWN: Mutex<BTreeMap<(u64, u64), (Look, bool)>> = Mutex::new(BTreeMap::new());
    let adaptive = cell.looks == Looks::Bandit;
    let find = || look(cell.planned(), LEVEL, units, adaptive, cell.looks.planned()).ok();
    let key = cell.looks.planned().and_then(|_| Some((cell.planned()?, units)));
    let Some(key) = key else { return find().map(|(look, reached, _)| (look, reached)) };
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = known().get(&key) {
        return Some(*found);
    }
    let (look, reached, _) = find()?;
    known().insert(key, (look, reached));
    Some((look, reached))
}

/// The weights of the variants, which a bandit changes.
struct Bandit {
    shares: Vec<f64>,
    state: Option<State>,
}

impl Bandit {
    fn new(cell: &Cell) -> Self {
        let mut shares = vec![cell.share; cell.arms];
        if let Some(baseline) = shares.first_mut() {
            *baseline = 1.0 - cell.share * float(cell.arms as u64 - 1);
        }
        Self { shares, state: State::new(cell.arms, 1.0).ok() }
    }

    fn shares(&self) -> &[f64] {
        &self.shares
    }

    /// Thompson's weights with a floor of 5 %.
    fn learn(&mut self, arms: &[Arm]) {
        let Some(state) = &mut self.state else { return };
        let outcomes = arms.iter().map(|arm| Proportion::new(arm.events().0, arm.events().1).ok());
        let next = state
            .batch(&outcomes.collect::<Vec<_>>())
            .and_then(|()| weights(state, Rule::default(), &self.shares));
        self.shares = next.unwrap_or_else(|_| self.shares.clone());
    }
}

/// How much higher a candidate's value is.
fn shift(cell: &Cell, truth: Truth, arm: usize) -> f64 {
    match truth {
        Truth::Better(by) if arm == 1 => by * cell.crowd.sign(),
        Truth::AtMargin(by) if arm > 0 => -by * cell.crowd.sign(),
        _ => 0.0,
    }
}

/// The users of a day; how many.
fn join(
    cell: &Cell,
    truth: Truth,
    arms: &mut [Arm],
    (day, days): (u64, u64),
    shares: &[f64],
    dice: &mut Dice,
) -> u64 {
    let all = cell.units * (day + 1) / days - cell.units * day / days;
    let (mut rest, mut share) = (all, 1.0);
    for (index, (arm, own)) in arms.iter_mut().zip(shares).enumerate().skip(1) {
        let n = dice.binomial(rest, own / share);
        rest -= n;
        share -= own;
        cell.crowd.join(arm, n, shift(cell, truth, index), dice);
    }
    if let Some(baseline) = arms.first_mut() {
        cell.crowd.join(baseline, rest, 0.0, dice);
    }
    all
}

/// An experiment at a look.
struct Seen<'s> {
    cell: &'s Cell,
    truth: Truth,
    /// By stratum and variant.
    strata: &'s [Vec<Arm>],
    metric: &'s Metric,
    look: Look,
    reached: bool,
}

impl Seen<'_> {
    fn decide(&self, decided: &mut Decided) {
        let slots = || self.strata.iter().flatten();
        let values = || slots().flat_map(Arm::values).copied().collect();
        let cap = self.metric.cap.and_then(|quantile| cap::value(values(), quantile));
        let pairs = slots().map(|arm| arm.pairs(cap.unwrap_or(f64::INFINITY))).collect();
        let shape = Shape { strata: self.strata.len(), arms: self.cell.arms, baseline: 0 };
        let sums = Sums {
            totals: slots().map(Arm::totals).collect(),
            answered: slots().map(Arm::count).collect(),
            metrics: vec![MetricSums {
                pairs,
                light: self.light(),
                covariates: self.covariates(),
                ..MetricSums::default()
            }],
            ..Sums::default()
        };
        let data = Data { sums: &sums, shape, units: true, level: LEVEL };
        let compared =
            sums.metrics.iter().map(|of| (self.metric.clone(), data.compare(self.metric, of)));
        let compared: Vec<_> = compared.collect();
        let variants: Vec<&str> = NAMES.into_iter().take(self.cell.arms).collect();
        let candidates = variants.get(1..).unwrap_or_default();
        let strata = vec![None; self.strata.len()];
        let names = Names { variants: variants.clone(), baseline: 0, strata };
        // Which of several winners is the best is not asked.
        let results = conclude_only(&compared, self.look, LEVEL, &names);
        let few = few_units(&data, std::slice::from_ref(self.metric), &results, &variants);
        let verdict = verdict(&Grounds {
            metrics: &results,
            without_breaker: None,
            checks: &few,
            srm_mismatch: false,
            allow_srm: false,
            request_level: false,
            other_weights: 0.0,
            planned_reached: self.reached,
            candidates,
            baseline: "a",
        });
        decided.promoted |= verdict.decision == Decision::Promote;
        decided.oracle |= matches!(self.truth, Truth::Better(_)) && self.is_clear();
        if verdict.decision != Decision::Invalid {
            results.iter().for_each(|result| self.note(result, decided));
        }
    }

    /// The sums of the covariate.
    fn covariates(&self) -> Option<Box<Adjusting>> {
        let mut slots = self.strata.iter().flatten();
        let is_adjusted = slots.clone().any(|arm| arm.vectors().is_some());
        let of = |arm: &Arm| arm.vectors().cloned().unwrap_or_default();
        is_adjusted.then(|| {
            let vectors = slots.by_ref().map(of).collect();
            Box::new(Adjusting { vectors, gaps: vec![Gaps::default()], ..Adjusting::default() })
        })
    }

    /// Of users with heavy tails: the sums without the heaviest, as the check for them needs.
    fn light(&self) -> Vec<Pairs> {
        if !matches!(self.cell.crowd, Crowd::Heavy | Crowd::VeryHeavy) {
            return Vec::new();
        }
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        let slots = || self.strata.iter().flatten();
        for requests in slots().flat_map(Arm::weights) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let requests = requests as u64;
            *counts.entry(requests).or_default() += 1;
        }
        let most = float(threshold(vec![counts]));
        slots().map(|arm| arm.light(most)).collect()
    }

    fn note(&self, result: &MetricResult, decided: &mut Decided) {
        for (arm, candidate) in result.candidates.iter().enumerate() {
            let truth = shift(self.cell, self.truth, arm + 1);
            decided.worse |= candidate.decision == Conclusion::Worse;
            decided.non_inferior |= candidate.decision == Conclusion::NonInferior;
            decided.inferior |= candidate.decision == Conclusion::Inferior;
            // The level of an interval is that of each.
            if let (0, [Some(low), Some(high)]) = (arm, candidate.ci) {
                decided.missed |= !(low..=high).contains(&truth);
            }
        }
    }

    /// Whether the first candidate is better by a test that knows the true variances.
    fn is_clear(&self) -> bool {
        // Between two planned looks, no test decides.
        if matches!(self.look, Look::Planned(Planned { at: None, .. })) {
            return false;
        }
        let [arms] = self.strata else { return false };
        let [baseline, candidate, ..] = arms.as_slice() else { return false };
        let units = baseline.count() + candidate.count();
        let Ok(critical) = self.look.critical(LEVEL, units) else { return false };
        let crowd = self.cell.crowd;
        let variance = crowd.variance(0.0) / float(baseline.count())
            + crowd.variance(shift(self.cell, self.truth, 1)) / float(candidate.count());
        let difference = candidate.value(crowd) - baseline.value(crowd);
        difference * crowd.sign() > critical * variance.sqrt()
    }
}
