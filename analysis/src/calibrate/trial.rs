//! A simulated experiment, decided by the code that decides real ones.

use sidetrack_stats::float;
use sidetrack_stats::input::Fraction;

use super::cell::{Cell, Looks};
use super::crowd::Arm;
use super::dice::Dice;
use crate::analyze::look;
use crate::answer::{Conclusion, Decision, MetricResult, Role};
use crate::compare::Data;
use crate::join::{Shape, Totals};
use crate::judge::{Look, Names, judge};
use crate::metric::Metric;
use crate::sums::{MetricSums, Sums};
use crate::verdict::{Grounds, verdict};

/// What is true of the candidates, and what they are asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Truth {
    /// All variants are equal; a primary metric.
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
    /// A test that knows the variances would have promoted.
    pub(super) oracle: bool,
}

const LEVEL: Fraction = Fraction::FIVE_PERCENT;
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Runs an experiment to its end, or to the first decision.
pub(super) fn run(cell: &Cell, truth: Truth, dice: &mut Dice) -> Decided {
    let (role, margin) = match truth {
        Truth::AtMargin(margin) => (Role::Guardrail, Some(margin)),
        _ => (Role::Primary, None),
    };
    let metric = cell.crowd.metric(role, margin);
    let days = if cell.looks == Looks::Fixed { 1 } else { super::DAYS };
    let mut arms = vec![Arm::default(); cell.arms];
    let mut decided = Decided::default();
    for day in 0..days {
        join(cell, truth, &mut arms, (day, days), dice);
        let units = arms.iter().map(Arm::count).sum();
        let planned = (cell.looks != Looks::Daily).then_some(cell.units);
        let Ok((look, reached)) = look(planned, LEVEL, units) else { continue };
        let seen = Seen { cell, truth, arms: &arms, metric: &metric, look, reached };
        seen.decide(&mut decided);
        if decided.promoted && decided.worse {
            break;
        }
    }
    decided
}

/// How much higher a candidate's value is.
fn shift(cell: &Cell, truth: Truth, arm: usize) -> f64 {
    match truth {
        Truth::Better(by) if arm == 1 => by * cell.crowd.sign(),
        Truth::AtMargin(by) if arm > 0 => -by * cell.crowd.sign(),
        _ => 0.0,
    }
}

/// The users of a day.
fn join(cell: &Cell, truth: Truth, arms: &mut [Arm], (day, days): (u64, u64), dice: &mut Dice) {
    let mut rest = cell.units * (day + 1) / days - cell.units * day / days;
    let mut share = 1.0;
    for (index, arm) in arms.iter_mut().enumerate().skip(1) {
        let n = dice.binomial(rest, cell.share / share);
        rest -= n;
        share -= cell.share;
        cell.crowd.join(arm, n, shift(cell, truth, index), dice);
    }
    if let Some(baseline) = arms.first_mut() {
        cell.crowd.join(baseline, rest, 0.0, dice);
    }
}

/// An experiment at a look.
struct Seen<'s> {
    cell: &'s Cell,
    truth: Truth,
    arms: &'s [Arm],
    metric: &'s Metric,
    look: Look,
    reached: bool,
}

impl Seen<'_> {
    fn decide(&self, decided: &mut Decided) {
        let pairs = self.arms.iter().map(Arm::pairs).collect();
        let metrics = vec![MetricSums { pairs, ..MetricSums::default() }];
        let shape = Shape { strata: 1, arms: self.arms.len(), baseline: 0 };
        let totals = vec![Totals::default(); shape.slots()];
        let sums = Sums { totals, metrics, ..Sums::default() };
        let data = Data { sums: &sums, shape, units: true, level: LEVEL };
        let compared =
            sums.metrics.iter().map(|of| (self.metric.clone(), data.compare(self.metric, of)));
        let compared: Vec<_> = compared.collect();
        let variants: Vec<&str> = NAMES.into_iter().take(self.arms.len()).collect();
        let candidates = variants.get(1..).unwrap_or_default();
        let names = Names { variants: variants.clone(), baseline: 0, strata: vec![None] };
        let results = judge(&compared, self.look, LEVEL, &names);
        let verdict = verdict(&Grounds {
            metrics: &results,
            without_breaker: None,
            checks: &[],
            srm_mismatch: false,
            allow_srm: false,
            request_level: false,
            other_weights: 0.0,
            planned_reached: self.reached,
            candidates,
            baseline: "a",
        });
        decided.promoted |= verdict.decision == Decision::Promote;
        decided.oracle |= self.is_clear();
        for result in &results {
            self.note(result, decided);
        }
    }

    fn note(&self, result: &MetricResult, decided: &mut Decided) {
        for (arm, candidate) in result.candidates.iter().enumerate() {
            let truth = shift(self.cell, self.truth, arm + 1);
            decided.worse |= candidate.decision == Conclusion::Worse;
            decided.non_inferior |= candidate.decision == Conclusion::NonInferior;
            // The level of an interval is that of each.
            if let (0, [Some(low), Some(high)]) = (arm, candidate.ci) {
                decided.missed |= !(low..=high).contains(&truth);
            }
        }
    }

    /// Whether the first candidate is better by a test that knows the true variances.
    fn is_clear(&self) -> bool {
        let [baseline, candidate, ..] = self.arms else { return false };
        let units = baseline.count() + candidate.count();
        let Ok(critical) = self.look.critical(LEVEL, units) else { return false };
        let crowd = self.cell.crowd;
        let variance = crowd.variance(0.0) / float(baseline.count())
            + crowd.variance(shift(self.cell, self.truth, 1)) / float(candidate.count());
        (candidate.value() - baseline.value()) * crowd.sign() > critical * variance.sqrt()
    }
}
