//! Drawing: frames on a terminal, lines in a pipe, JSON for programs. All show the same [`State`].

mod frame;
mod json;
mod line;
mod present;
mod request;

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use sidetrack::plan::Plan;
use sidetrack::quantity::Ppm;
use tokio::time::Instant;

use super::event::Event;
use super::evidence::EvidenceStore;
use super::folder::Folder;
use super::follow::Follower;
use super::observe::{Counts, Observer};
use super::supervise::Supervisor;
use crate::breaker::Breaker;
use crate::moment;
use crate::screen::Screen;
use crate::words::phase;
use present::Present;

/// How many events a frame shows.
const SHOWN: usize = 6;
/// The interval of frames.
const FRAME: Duration = Duration::from_millis(500);

/// Text or JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

/// Writes events and states.
pub(super) struct Printer<'o> {
    screen: Screen<'o>,
    form: Form,
    interval: Duration,
    events: VecDeque<Event>,
    drawn: Option<Instant>,
    /// What runs where: the lines above each frame.
    header: Vec<String>,
    present: Present,
}

/// The state of an experiment.
#[derive(Serialize)]
pub(super) struct State {
    name: String,
    enabled: bool,
    phase: Option<String>,
    /// Requests per second in the last seconds.
    rate: f64,
    requests: u64,
    /// Requests without a unit.
    missing_unit: u64,
    variants: Vec<VariantState>,
}

/// The state of a variant.
#[derive(Serialize)]
pub(super) struct VariantState {
    name: String,
    is_baseline: bool,
    /// The declared share, in percent.
    target: f64,
    /// The share of the requests since this target is in force that were assigned to it, in percent; null without requests.
    share: Option<f64>,
    requests: u64,
    errors: u64,
    /// Of the last seconds, in percent; null without requests.
    error_rate: Option<f64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    /// Null for the baseline, if it is disabled, and if it is closed for a variant without a share: nothing passes it.
    breaker: Option<Breaker>,
    /// Requests that the baseline served instead.
    fallbacks: u64,
}

impl<'o> Printer<'o> {
    pub(super) fn new(screen: Screen<'o>, form: Form, interval: Duration) -> Self {
        let (events, drawn, header) = (VecDeque::new(), None, Vec::new());
        Self { screen, form, interval, events, drawn, header, present: Present::default() }
    }

    fn is_live(&self) -> bool {
        self.form == Form::Text && self.screen.is_live()
    }

    /// Envoy is ready.
    pub(super) fn started(
        &mut self,
        follower: &Follower,
        supervisor: &Supervisor,
        folder: &Folder,
        store: Option<&EvidenceStore>,
    ) -> anyhow::Result<()> {
        let store = store.map(|store| format!("http://{}", store.addr()));
        if self.form == Form::Json {
            let line = json::started(follower, supervisor, folder, store.as_deref())?;
            return self.screen.write(&[line]);
        }
        let ink = self.screen.ink();
        self.header = frame::header(follower, supervisor, folder, store.as_deref(), ink);
        if !self.is_live() {
            self.screen.write(&self.header)?;
        }
        Ok(())
    }

    pub(super) fn event(&mut self, event: &Event) -> anyhow::Result<()> {
        match self.form {
            Form::Json => return self.screen.write(&[serde_json::to_string(event)?]),
            Form::Text if self.is_live() => {}
            Form::Text => self.screen.write(&frame::event(event, self.screen.ink()))?,
        }
        self.events.push_back(event.clone());
        if self.events.len() > SHOWN {
            self.events.pop_front();
        }
        // The next frame shows it at once.
        if self.is_live() {
            self.drawn = None;
        }
        Ok(())
    }

    /// Writes the state when it is due.
    pub(super) fn state(
        &mut self,
        follower: &Follower,
        supervisor: &Supervisor,
        observer: &Observer,
        store_problem: Option<&str>,
    ) -> anyhow::Result<()> {
        // Also between two lines, so that new weights are compared with the requests since they took effect.
        let states = states(follower.plan(), observer, &mut self.present);
        let interval = if self.is_live() { FRAME } else { self.interval };
        let now = Instant::now();
        if self.drawn.is_none() && !self.is_live() {
            // The first line has something to say after the first interval.
            self.drawn = Some(now);
        }
        if self.drawn.is_some_and(|drawn| now.duration_since(drawn) < interval) {
            return Ok(());
        }
        self.drawn = Some(now);
        let ink = self.screen.ink();
        if self.form == Form::Json {
            let line = json::state(&states, follower, supervisor, store_problem)?;
            return self.screen.write(&[line]);
        }
        if !self.is_live() {
            let lines: Vec<String> = states.iter().map(line::state).collect();
            return self.screen.write(&lines);
        }
        let mut lines = self.header.clone();
        lines.extend(frame::problems(follower, supervisor, observer, store_problem, ink));
        lines.extend(states.iter().flat_map(|state| frame::table(state, ink)));
        lines.push(frame::time(observer.elapsed(), ink));
        lines.extend(self.events.iter().flat_map(|event| frame::event(event, ink)));
        self.screen.frame(&lines)
    }

    /// Everything has stopped.
    pub(super) fn ended(
        &mut self,
        follower: &Follower,
        observer: &Observer,
        folder: &Folder,
        is_stored: bool,
    ) -> anyhow::Result<()> {
        if self.form == Form::Json {
            return Ok(());
        }
        let ink = self.screen.ink();
        let states = states(follower.plan(), observer, &mut self.present);
        let mut lines: Vec<String> =
            states.iter().flat_map(|state| frame::table(state, ink)).collect();
        lines.extend(frame::farewell(follower, folder, is_stored, ink));
        self.screen.write(&lines)
    }
}

/// The states of all experiments.
fn states(plan: &Plan, observer: &Observer, present: &mut Present) -> Vec<State> {
    let now = moment::now();
    let experiments = plan.experiments.iter().map(|experiment| {
        let name = &experiment.name;
        let totals: Vec<Counts> =
            experiment.variants.iter().map(|it| observer.total(name, &it.name)).collect();
        let requests: u64 = totals.iter().map(|it| it.requests).sum();
        let shares = experiment.shares(now);
        let weights: Vec<u32> =
            experiment.variants.entries().map(|(id, _)| shares[id].get()).collect();
        let present = present.since(name, &weights, &totals);
        let fallbacks: u64 = present.iter().map(|it| it.fallbacks).sum();
        let of_present: u64 = present.iter().map(|it| it.requests).sum();
        let mut rate = 0.0;
        let counts = totals.iter().zip(&present);
        let variants = experiment.variants.entries().zip(counts).map(|((id, it), (total, own))| {
            let is_baseline = id == experiment.baseline;
            let is_idle =
                |breaker: &Breaker| shares[id] == Ppm::ZERO && *breaker == Breaker::Closed;
            let (recent, time) = observer.recent(name, &it.name);
            rate += per_second(recent.requests, time);
            let assigned = if is_baseline {
                own.requests.saturating_sub(fallbacks)
            } else {
                own.requests + own.fallbacks
            };
            VariantState {
                name: it.name.clone(),
                is_baseline,
                target: rounded(shares[id].fraction() * 100.0, 4),
                share: percent(assigned, of_present),
                requests: total.requests,
                errors: total.errors,
                error_rate: percent(recent.errors, recent.requests),
                p50_ms: millis(recent.quantile(0.50)),
                p99_ms: millis(recent.quantile(0.99)),
                breaker: observer.breaker(name, &it.name).filter(|breaker| !is_idle(breaker)),
                fallbacks: total.fallbacks,
            }
        });
        let variants = variants.collect();
        let index = match experiment.schedule.at(now) {
            sidetrack::rollout::InForce::Weights(_, index) => index,
            sidetrack::rollout::InForce::NotStarted => None,
        };
        State {
            name: name.clone(),
            enabled: experiment.enabled,
            phase: index.and_then(|index| phase(experiment, index)).map(str::to_owned),
            rate: rounded(rate, 1),
            requests,
            missing_unit: observer.missing(name),
            variants,
        }
    });
    experiments.collect()
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| rounded(part as f64 * 100.0 / whole as f64, 2))
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

fn millis(time: Option<Duration>) -> Option<f64> {
    time.map(|time| rounded(time.as_secs_f64() * 1000.0, 1))
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}
