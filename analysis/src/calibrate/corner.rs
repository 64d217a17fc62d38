//! The cases in which the usual formulas err most, each with the rate at which they do.

use serde::Serialize;

use super::cell::{Cell, Looks, errors, latency, primary};
use super::crowd::Crowd;
use super::rates::Counts;
use super::{BOTH_SIDES, ONE_SIDE};

/// A case, and how often the decision in question is wrong.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Corner {
    /// What is simulated and decided.
    pub name: &'static str,
    /// How often the usual formulas err: Wald's tests with each arm's own variance, and the jackknife of quantiles.
    pub before: &'static str,
    /// How often `analyze run` errs.
    pub now: f64,
    /// How often it may.
    pub nominal: f64,
    #[serde(skip)]
    wrong: Wrong,
}

/// The decision that is wrong.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    /// An equal candidate is promoted.
    Promoted,
    /// An equal candidate is promoted, or found worse.
    Different,
    /// A candidate that is worse by the margin is within it.
    Passed,
    /// A candidate that is worse by the margin is beyond it.
    Broken,
}

impl Corner {
    /// How often the wrong decision was made.
    pub(super) const fn count(&self, counts: &Counts) -> u64 {
        match self.wrong {
            Wrong::Promoted => counts.promoted,
            Wrong::Different => counts.promoted + counts.worse,
            Wrong::Passed => counts.non_inferior,
            Wrong::Broken => counts.inferior,
        }
    }

    pub(super) const fn with(self, now: f64) -> Self {
        Self { now, ..self }
    }
}

/// All of them.
pub(super) fn corners() -> Vec<Cell> {
    use Wrong::{Broken, Different, Passed, Promoted};
    let canary = Crowd::Errors(0.02);
    [
        (
            "2 % errors, canary of 5 %, 500 users a day, a look a day for two weeks: promoted",
            Promoted,
            "a third",
            primary(canary, Looks::Daily, 0.05, 7000),
        ),
        ("the same at 50 %: promoted", Promoted, "0 of 100", primary(canary, Looks::Daily, 0.5, 7000)),
        (
            "2 % errors, canary of 50 of 1000 users, once: promoted",
            Promoted,
            "36 to 38 %",
            primary(canary, Looks::Fixed, 0.05, 1000),
        ),
        (
            "2 % errors, canary of 200 of 4000 users, once: promoted",
            Promoted,
            "36 to 38 %",
            primary(canary, Looks::Fixed, 0.05, 4000),
        ),
        (
            "2 % errors, 2 points more in a canary of 50 of 1000: passes the guardrail of 2 points",
            Passed,
            "8.5 %",
            errors((0.02, 0.02), Looks::Fixed, 0.05, 1000),
        ),
        (
            "0.5 % errors, 1 point more in a canary of 100 of 2000: passes the guardrail of 1 point",
            Passed,
            "21 %",
            errors((0.005, 0.01), Looks::Fixed, 0.05, 2000),
        ),
        (
            "revenue, 95 % zero, canary of 5 % of 7000, a look a day: better or worse",
            Different,
            "36 %",
            primary(Crowd::ZeroInflated, Looks::Daily, 0.05, 7000),
        ),
        (
            "revenue, lognormal (σ 2), canary of 5 % of 7000, a look a day: better or worse",
            Different,
            "23 %",
            primary(Crowd::Skewed, Looks::Daily, 0.05, 7000),
        ),
        (
            "revenue, 95 % zero, canary of 50 of 1000, once: better or worse",
            Different,
            "15 to 27 %",
            primary(Crowd::ZeroInflated, Looks::Fixed, 0.05, 1000),
        ),
        (
            "revenue, lognormal (σ 2), canary of 50 of 1000, once: better or worse",
            Different,
            "15 to 27 %",
            primary(Crowd::Skewed, Looks::Fixed, 0.05, 1000),
        ),
        (
            "95th percentile of the latency, canary of 100 of 2000 users: better or worse",
            Different,
            "8 to 22 %",
            primary(Crowd::Latency(0.95), Looks::Fixed, 0.05, 2000),
        ),
        (
            "99th percentile of the latency, canary of 500 of 10000 users: better or worse",
            Different,
            "8 to 22 %",
            primary(Crowd::Latency(0.99), Looks::Fixed, 0.05, 10_000),
        ),
        (
            "95th percentile, 10 % more in a canary of 50 of 1000: beyond the guardrail of 10 %",
            Broken,
            "5 of 110, with equal variants",
            latency(0.95, Looks::Fixed, 0.05, 1000),
        ),
        (
            "a share of 10 %, 50/50, planned 3500, a look a day to 7000: better or worse",
            Different,
            "13 %",
            primary(Crowd::Share(0.1), Looks::Beyond, 0.5, 7000),
        ),
        (
            "heavy users (Pareto 1.05 requests), 20 % of 2000, once: better or worse",
            Different,
            "12 to 18 %",
            primary(Crowd::Heavy(1.05), Looks::Fixed, 0.2, 2000),
        ),
        (
            "heavy users (Pareto 1.2 requests), 20 % of 2000, once: better or worse",
            Different,
            "12 to 18 %",
            primary(Crowd::Heavy(1.2), Looks::Fixed, 0.2, 2000),
        ),
    ]
    .into_iter()
    .map(|(name, wrong, before, cell)| {
        let nominal = if matches!(wrong, Different) { BOTH_SIDES } else { ONE_SIDE };
        Cell { corner: Some(Corner { name, before, now: 0.0, nominal, wrong }), ..cell }
    })
    .collect()
}
