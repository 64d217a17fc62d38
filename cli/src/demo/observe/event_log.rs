//! The events of a scenario: the model's health, and the breaker's transitions from Envoy's log.

use std::time::{Duration, Instant};

use sidetrack::breaker::Event;
use sidetrack_lab::{Behavior, LineReader, ModelStub};

use crate::breaker::Breaker;
use crate::demo::testbed::Testbed;
use crate::words::variant;

/// Follows Envoy's log and the failing model.
pub(crate) struct EventLog {
    started: Instant,
    reader: LineReader,
    events: Events,
}

/// The events so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events {
    /// The subject of the log lines: `experiment/variant`.
    pub(crate) subject: String,
    pub(crate) transitions: Vec<Transition>,
    /// When the model became healthy (true) or failing.
    pub(crate) health: Vec<(Duration, bool)>,
    /// The time from the model's fifth failure to its last one. The model fails all the time, so this is how long the
    /// breaker took.
    pub(crate) last_after_fifth: Option<Duration>,
}

/// A transition of the breaker.
#[derive(Clone, Debug)]
pub(crate) struct Transition {
    /// When the line was read, up to a tenth of a second after it was written.
    pub(crate) at: Duration,
    pub(crate) phase: BreakerPhase,
    /// The filter's message.
    pub(crate) text: String,
}

/// The state after a transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BreakerPhase {
    Closed,
    /// With the share of the candidate's units that test it, in percent.
    HalfOpen(String),
    Open,
}

impl BreakerPhase {
    pub(crate) const fn state(&self) -> Breaker {
        match self {
            Self::Closed => Breaker::Closed,
            Self::HalfOpen(_) => Breaker::HalfOpen,
            Self::Open => Breaker::Open,
        }
    }

    /// Parses the filter's message.
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

impl EventLog {
    /// Follows the first candidate from now on.
    pub(crate) fn start(testbed: &Testbed) -> Self {
        let experiment = testbed.experiment();
        let subject = format!("{}/{}", experiment.name, variant(experiment, testbed.candidate()));
        let reader = LineReader::new(testbed.envoy.log_path());
        let events = Events { subject, ..Events::default() };
        Self { started: Instant::now(), reader, events }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) const fn events(&self) -> &Events {
        &self.events
    }

    /// Records the model's behavior from now on.
    pub(crate) fn set_behavior(&mut self, behavior: Behavior) {
        let healthy = behavior == Behavior::Healthy;
        if self.events.health.last().is_none_or(|(_, before)| *before != healthy) {
            self.events.health.push((self.elapsed(), healthy));
        }
    }

    /// Reads the new log lines and the model's failures.
    pub(crate) fn update(&mut self, model: &ModelStub) -> anyhow::Result<()> {
        let failures = model.failures();
        self.events.last_after_fifth =
            failures.get(4).zip(failures.last()).map(|(fifth, last)| last.duration_since(*fifth));
        let at = self.elapsed();
        for line in self.reader.new_lines()? {
            self.events.read(&line, at);
        }
        Ok(())
    }
}

impl Events {
    /// Adds the transition that a line of Envoy's log reports, if it does.
    fn read(&mut self, line: &str, at: Duration) {
        let Some((_, text)) = line.split_once(&format!(" {}: ", self.subject)) else { return };
        if let Some(phase) = BreakerPhase::of(text) {
            self.transitions.push(Transition { at, phase, text: text.to_owned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use sidetrack::breaker::Why;
    use sidetrack::quantity::{Millis, Ppm};

    use super::*;

    #[test]
    fn messages_of_the_filter_become_transitions() {
        let opened =
            |would| Event::Opened { why: Why::Streak(5), length: Millis::new(4100), would };
        let trying = Event::Trying(Ppm::new(50_000).unwrap(), 1);
        let mut events = Events { subject: "test/new".to_owned(), ..Events::default() };
        let lines = [
            format!("[warn] wasm log: test/new: {}", opened(false)),
            format!("[warn] wasm log: other/new: {}", opened(false)),
            format!("[warn] wasm log: test/new: {}", opened(true)),
            format!("[warn] wasm log: test/new: {trying}"),
            format!("[warn] wasm log: test/new: {}", Event::Closed),
        ];
        lines.iter().for_each(|line| events.read(line, Duration::ZERO));
        let phases: Vec<BreakerPhase> = events.transitions.into_iter().map(|t| t.phase).collect();
        let half_open = BreakerPhase::HalfOpen("5".to_owned());
        assert_eq!(phases, [BreakerPhase::Open, half_open, BreakerPhase::Closed]);
    }
}
