//! Scenarios: the behavior of the models, step by step, and the condition that ends each step.

use std::time::Duration;

use sidetrack_lab::Behavior;

use crate::breaker::Breaker;

/// How long the breaker stays open in the outage; the default of 30 s is too long for a demo.
pub(crate) const OPEN_FOR: &str = "4s";

/// How long the model keeps failing after the trip: shorter than [`OPEN_FOR`] less jitter, so the breaker trips once.
const FAILS_FOR: Duration = Duration::from_millis(2500);

/// The limit for each transition of the breaker. The slowest is the first half-open stage: 5 % of 30 % of 500 requests
/// per second are 7.5, and the stage needs 20.
const TRANSITION_LIMIT: Duration = Duration::from_secs(20);

/// The scenarios of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Healthy models, and users who each get one of them.
    Split,
    /// A candidate that fails and recovers.
    Outage,
}

/// A sequence of steps.
pub(crate) struct Scenario {
    pub(crate) kind: Kind,
    pub(crate) steps: Vec<Step>,
    /// The lowest rate, in requests per second, at which the breaker recovers in time.
    pub(crate) min_rate: u32,
}

/// The behavior of the models until a condition is met.
pub(crate) struct Step {
    pub(crate) description: &'static str,
    /// In the order of the variants.
    pub(crate) models: Vec<Behavior>,
    pub(crate) until: Until,
    /// The observation of the recovery begins with this step.
    pub(crate) starts_recovery: bool,
}

/// The condition that ends a step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// This much time has passed.
    Elapsed(Duration),
    /// The candidate's breaker is in one of these states. After this limit, the scenario ends instead.
    Breaker(&'static [Breaker], Duration),
}

impl Scenario {
    /// All models are healthy for this long.
    pub(crate) fn split(models: usize, length: Duration) -> Self {
        let step = Step {
            description: "all models are healthy",
            models: vec![Behavior::Healthy; models],
            until: Until::Elapsed(length),
            starts_recovery: false,
        };
        Self { kind: Kind::Split, steps: vec![step], min_rate: 1 }
    }

    /// The candidates return 503, then recover.
    pub(crate) fn outage(models: usize, baseline: usize) -> Self {
        let healthy = || vec![Behavior::Healthy; models];
        let failing = || {
            let mut models = vec![Behavior::Status(503); models];
            if let Some(baseline) = models.get_mut(baseline) {
                *baseline = Behavior::Healthy;
            }
            models
        };
        let step = |description, models, until| Step {
            description,
            models,
            until,
            starts_recovery: false,
        };
        let elapsed = |millis| Until::Elapsed(Duration::from_millis(millis));
        let breaker = |states| Until::Breaker(states, TRANSITION_LIMIT);
        let open = Until::Breaker(&[Breaker::Open], Duration::from_secs(5));
        let mut steps = vec![
            step("all models are healthy", healthy(), elapsed(2500)),
            step("the enhanced model returns 503", failing(), open),
            step("its users get the baseline", failing(), Until::Elapsed(FAILS_FOR)),
            step(
                "healthy again; the breaker is still open",
                healthy(),
                breaker(&[Breaker::HalfOpen, Breaker::Closed]),
            ),
            step("half-open: some of its users test it", healthy(), breaker(&[Breaker::Closed])),
            // Requests that were assigned before the transition end here.
            step("closed: its users are back", healthy(), elapsed(500)),
        ];
        let recovered = step("closed: its users are back", healthy(), elapsed(2500));
        steps.push(Step { starts_recovery: true, ..recovered });
        Self { kind: Kind::Outage, steps, min_rate: 500 }
    }

    /// The total time, if no step waits for the breaker.
    pub(crate) fn length(&self) -> Option<Duration> {
        let time = |step: &Step| match step.until {
            Until::Elapsed(time) => Some(time),
            Until::Breaker(..) => None,
        };
        self.steps.iter().map(time).sum()
    }
}
