//! What happened when: to the failing model, and to its breaker as Envoy's log tells it.

use std::time::{Duration, Instant};

use sidetrack::breaker::Event;
use sidetrack_lab::{Behaviour, Envoy, ModelStub};

use super::act::State;
use super::stage::Stage;
use crate::words::variant;

/// The events of an act.
#[derive(Clone, Debug)]
pub(super) struct Chronicle {
    begun: Instant,
    /// Whose: `experiment/variant`, as the log has it.
    pub(super) subject: String,
    pub(super) transitions: Vec<Transition>,
    /// When the model began to be well, or not.
    pub(super) health: Vec<(Duration, bool)>,
    /// When the model answered 5xx.
    failures: Vec<Instant>,
}

/// A transition of the breaker.
#[derive(Clone, Debug)]
pub(super) struct Transition {
    /// When it was read, about a tenth of a second late at most.
    pub(super) at: Duration,
    pub(super) phase: Phase,
    /// The filter's words.
    pub(super) text: String,
}

/// What a transition leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Closed,
    /// The share of its units that try it, in percent.
    HalfOpen(String),
    Open,
}

impl Phase {
    pub(super) const fn state(&self) -> State {
        match self {
            Self::Closed => State::Closed,
            Self::HalfOpen(_) => State::HalfOpen,
            Self::Open => State::Open,
        }
    }

    /// What the filter's words mean.
    fn of(text: &str) -> Option<Self> {
        if text == Event::Closed.to_string() {
            return Some(Self::Closed);
        }
        match text.split_once(" half-open: ") {
            Some((_, share)) => Some(Self::HalfOpen(share.split_once(" percent")?.0.to_owned())),
            None => text.starts_with("the breaker opens ").then_some(Self::Open),
        }
    }
}

impl Chronicle {
    /// Of the first candidate, from now on.
    pub(super) fn begin(stage: &Stage) -> Self {
        let experiment = stage.experiment();
        let subject = format!("{}/{}", experiment.name, variant(experiment, stage.candidate()));
        let (transitions, health, failures) = (Vec::new(), Vec::new(), Vec::new());
        Self { begun: Instant::now(), subject, transitions, health, failures }
    }

    /// How long it has been going on.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The model behaves like this from now on.
    pub(super) fn behaves(&mut self, behaviour: Behaviour) {
        let well = behaviour == Behaviour::Healthy;
        if self.health.last().is_none_or(|(_, before)| *before != well) {
            self.health.push((self.elapsed(), well));
        }
    }

    /// Reads what is new.
    pub(super) fn read(&mut self, envoy: &Envoy, model: &ModelStub) {
        self.failures = model.failures();
        let mark = format!(" {}: ", self.subject);
        let log = envoy.log();
        // A last line without its end is read when it is whole.
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let told = whole.lines().filter_map(|line| line.split_once(&mark));
        let told = told.filter_map(|(_, text)| Some((Phase::of(text)?, text.to_owned())));
        let at = self.elapsed();
        let new =
            told.skip(self.transitions.len()).map(|(phase, text)| Transition { at, phase, text });
        self.transitions.extend(new.collect::<Vec<_>>());
    }

    /// From the model's fifth failure to its last: how long the breaker took, since the model failed all the time.
    pub(super) fn last_after_fifth(&self) -> Option<Duration> {
        Some(self.failures.last()?.duration_since(*self.failures.get(4)?))
    }
}

#[cfg(test)]
mod tests {
    use sidetrack::breaker::{Event, Why};
    use sidetrack::quantity::{Millis, Ppm};

    use super::*;

    #[test]
    fn the_filters_words_are_understood() {
        let opened = Event::Opened { why: Why::Streak(5), length: Millis::new(4100), would: false };
        assert_eq!(Phase::of(&opened.to_string()), Some(Phase::Open));
        let trying = Event::Trying(Ppm::new(50_000).unwrap());
        assert_eq!(Phase::of(&trying.to_string()), Some(Phase::HalfOpen("5".to_owned())));
        assert_eq!(Phase::of(&Event::Closed.to_string()), Some(Phase::Closed));
        let would = Event::Opened { why: Why::Streak(5), length: Millis::new(4100), would: true };
        assert_eq!(Phase::of(&would.to_string()), None);
    }
}
