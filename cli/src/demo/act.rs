//! Acts: what a demo shows, one after another.

use std::time::Duration;

use sidetrack_lab::Behaviour;

use super::check::{self, Check};
use super::crowd::Visit;
use super::sight::Sight;
use super::stage::Stage;
use super::view;
use crate::moment;
use crate::out::Ink;
use crate::words::grouped;

/// One thing to see: who comes, what the models do meanwhile, what is shown, and what must be true of it.
pub(super) struct Act {
    pub(super) title: &'static str,
    /// What to watch for.
    pub(super) story: String,
    pub(super) scenes: Vec<Scene>,
    /// A breaker may send a candidate's users to the baseline.
    pub(super) lends: bool,
    /// Requests per second below which the act cannot be played.
    pub(super) least_rate: u32,
    /// Who sends request number `n`.
    pub(super) visit: fn(u64) -> Visit,
    /// The numbers below the title.
    pub(super) show: fn(&Sight<'_>, Ink) -> Vec<String>,
    /// A moment in one line, for logs.
    pub(super) line: fn(&Sight<'_>) -> String,
    /// They hold at the end or, if they are to be watched, all the time.
    pub(super) checks: fn(&Sight<'_>) -> Vec<Check>,
    pub(super) watched: bool,
    /// Below the checks.
    pub(super) footer: fn(&Sight<'_>, Ink) -> Vec<String>,
    /// What it comes down to, when all checks hold.
    pub(super) moral: fn(&Sight<'_>) -> String,
}

/// How the models behave until something happens.
pub(super) struct Scene {
    /// What goes on, in a few words.
    pub(super) now: &'static str,
    /// All of them, in the order of the variants.
    pub(super) models: Vec<Behaviour>,
    pub(super) until: Cue,
    /// What is seen from its beginning on is the recovery.
    pub(super) recovered: bool,
}

/// What ends a scene.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cue {
    /// Its time is over.
    After(Duration),
    /// The candidate's breaker is in one of these states. If that does not come to pass in this time, the act ends.
    Breaker(&'static [State], Duration),
}

/// The state of a breaker, as `ab_test_breaker_state` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Closed,
    HalfOpen,
    Open,
}

impl Act {
    /// How long all scenes take, when that is known.
    pub(super) fn length(&self) -> Option<Duration> {
        let time = |scene: &Scene| match scene.until {
            Cue::After(time) => Some(time),
            Cue::Breaker(..) => None,
        };
        self.scenes.iter().map(time).sum()
    }
}

/// Both models are well, and each user is served by one of them.
pub(super) fn live_test(stage: &Stage, length: Duration) -> Act {
    let experiment = stage.experiment();
    let shares = experiment.shares(moment::now());
    let candidates = experiment.candidates().filter_map(|index| {
        Some(format!(
            "{} % of the users get forecast {}",
            shares[index],
            stage.models.get(index.index())?.name()
        ))
    });
    let who = candidates.collect::<Vec<_>>().join(", ");
    Act {
        title: "An A/B test on live traffic",
        story: format!(
            "{who}: the same users each time they come,\nwhether a header, a cookie or the query says who they are."
        ),
        scenes: vec![Scene {
            now: "both models are well",
            models: vec![Behaviour::Healthy; stage.models.len()],
            until: Cue::After(length),
            recovered: false,
        }],
        lends: false,
        least_rate: 1,
        visit: Visit::of_growing_crowd,
        show: |sight, ink| {
            let mut lines = view::traffic(sight, ink);
            lines.push(String::new());
            lines.extend(view::shares(sight, ink));
            lines
        },
        line: view::line,
        checks: |sight| {
            vec![
                check::answered(sight),
                check::sticky(sight),
                check::fair(sight),
                check::foretold(sight),
                check::counted(sight),
            ]
        },
        watched: true,
        footer: |sight, ink| sight.explained.lines(sight.stage, ink),
        moral: |sight| {
            let (requests, users) = (grouped(sight.sums.requests), grouped(sight.sums.users()));
            format!("{requests} requests of {users} users, each served by one model.")
        },
    }
}
