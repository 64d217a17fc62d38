//! One request: asked about once, marked on its way up, marked on its way down, counted when it ends.

use core::time::Duration;
use std::rc::Rc;

use sidetrack::body::body_is_readable;
use sidetrack::breaker::Ended;
use sidetrack::decide::{Decision, Outcome, Reason, World, decide};
use sidetrack::effects::{Effect, Effects, Op, removals};
use sidetrack::names;
use sidetrack::outcome::Ending;
use sidetrack::plan::{BreakerMode, Experiment, ExposureUnit};
use sidetrack::request::{Body, Request};

use crate::ending::{self, Found};
use crate::exposure::{self, Exposure};
use crate::failures;
use crate::headers::Headers;
use crate::host::{self, Map, Property};
use crate::metrics::Metrics;
use crate::root::{Runtime, now, since_1970, timestamp};

/// What is remembered of a request until it ends.
pub(crate) struct Stream {
    runtime: Option<Rc<Runtime>>,
    decision: Option<Decision>,
    /// The request's headers, while it is held back until its body is there.
    waiting: Option<Headers>,
    is_grpc: bool,
    is_https: bool,
    /// The epoch of the served variant's breaker.
    epoch: u32,
    /// When the request was decided.
    began: Duration,
    /// How long the answer took.
    took: Option<Duration>,
    /// The baseline answered a request that its candidate had failed.
    rescued: bool,
    logged: bool,
    /// Whom it waits for between its log and its deletion.
    waits: Waits,
}

/// What the access logger has to say of a request that was logged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// Nothing: it is counted, or not to be counted.
    No,
    /// Whether it failed.
    ForFailure,
    /// That it failed: this is known, and a test of the logger.
    ForConfirmation,
}

impl Stream {
    pub(crate) fn new(runtime: Option<Rc<Runtime>>) -> Self {
        Self {
            runtime,
            decision: None,
            waiting: None,
            is_grpc: false,
            is_https: false,
            epoch: 0,
            began: Duration::ZERO,
            took: None,
            rescued: false,
            logged: false,
            waits: Waits::No,
        }
    }
}

/// Whether a request goes on.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    Continue,
    Pause,
}

impl Stream {
    pub(crate) fn request_headers(&mut self, end_of_stream: bool) -> Action {
        let Some(runtime) = self.runtime.clone() else { return Action::Continue };
        let Ok(block) = host::header_map(Map::Request) else {
            runtime.global.undecided.count();
            return Action::Continue;
        };
        let headers = Headers::new(block);
        #[cfg(feature = "crash-on-demand")]
        if headers.first("x-test-crash").is_some() {
            std::process::abort();
        }
        let body = match !end_of_stream && runtime.may_wait(&headers) {
            true => Body::Pending,
            false => Body::Absent,
        };
        self.ask(&runtime, headers, body)
    }

    pub(crate) fn request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let Some((runtime, headers)) = self.runtime.clone().zip(self.waiting.take()) else {
            return Action::Continue;
        };
        let limit = usize::try_from(runtime.plan.settings.body_limit).unwrap_or(usize::MAX);
        if !end_of_stream && size <= limit {
            self.waiting = Some(headers);
            return Action::Pause;
        }
        self.ask_with_body(&runtime, headers, limit)
    }

    pub(crate) fn request_trailers(&mut self) -> Action {
        let Some((runtime, headers)) = self.runtime.clone().zip(self.waiting.take()) else {
            return Action::Continue;
        };
        let limit = usize::try_from(runtime.plan.settings.body_limit).unwrap_or(usize::MAX);
        self.ask_with_body(&runtime, headers, limit)
    }

    pub(crate) fn response_headers(&mut self) {
        let Some((runtime, decision)) = self.decided() else { return };
        let (experiment, _) = runtime.of(&decision);
        // A clock that steps back makes an answer fast.
        let took = since_1970().saturating_sub(self.began);
        let rescued = runtime.fails_over && decision.served != experiment.baseline && was_rescued();
        let decision =
            if rescued { Decision { served: experiment.baseline, ..decision } } else { decision };
        let effects = Effects::new(&runtime.plan, decision, runtime.reporter);
        let breaker = || runtime.breakers.borrow().gate(decision.experiment, decision.assigned);
        effects.on_response(breaker, self.is_https, |effect| apply(Map::Response, &effect));
        if rescued && runtime.exposes {
            exposure::tell_rescued();
        }
        self.took = Some(took);
        self.rescued = rescued;
    }

    /// Counts the request, if it is known how it ended. Whether the stream must hear of a failure.
    pub(crate) fn log(&mut self) -> bool {
        if core::mem::replace(&mut self.logged, true) {
            return false;
        }
        let Some((runtime, decision)) = self.decided() else { return false };
        if decision.reason == Reason::Override {
            return false;
        }
        self.waits = match runtime.endings.find(self.took.is_some(), self.is_grpc) {
            Found::WellIfNobodyObjects => Waits::ForFailure,
            Found::SomebodyMustObject(ending) => {
                self.count(&ending);
                Waits::ForConfirmation
            }
            Found::Known(ending) => {
                self.count(&ending);
                Waits::No
            }
        };
        self.is_waiting()
    }

    /// The access logger tells that the request failed.
    pub(crate) fn failed(&mut self) {
        if self.waits == Waits::ForFailure {
            self.count(&ending::failure(self.took.is_some()));
        }
        self.waits = Waits::No;
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.waits != Waits::No
    }

    /// The stream goes; if the access logger had something to tell, it has.
    pub(crate) fn deleted(&mut self) {
        match self.waits {
            Waits::No if !self.logged => self.count_unlogged(),
            Waits::No => {}
            Waits::ForFailure => self.count(&ending::WELL),
            Waits::ForConfirmation => failures::disbelieve(),
        }
        self.waits = Waits::No;
    }

    /// Counts a request that Envoy will log only when this stream is gone, or never.
    fn count_unlogged(&self) {
        if let Some((runtime, decision)) = self.decided()
            && decision.reason != Reason::Override
        {
            // A gRPC status is not known yet, and Envoy would derive a false one.
            self.count(&runtime.endings.ask(self.took.is_some(), false));
        }
    }

    fn count(&self, ending: &Ending) {
        let Some((runtime, decision)) = self.decided() else { return };
        let (experiment, metrics) = runtime.of(&decision);
        if self.rescued {
            metrics.fell_back(decision.assigned);
            let served = Decision { served: experiment.baseline, ..decision };
            metrics.ended(&served, ending.status(), self.took);
        } else {
            metrics.ended(&decision, ending.status(), self.took);
        }
        if let Some(failed) = ending.failed() {
            let slow =
                runtime.slow_over(&decision).zip(self.took).is_some_and(|(over, took)| took > over);
            let ended = Ended { failed, slow };
            let (plan, metrics) = (&runtime.plan, &runtime.metrics);
            let mut breakers = runtime.breakers.borrow_mut();
            breakers.ended(&decision, self.epoch, ended, now, plan, metrics);
        }
        if !runtime.has_ticks.get() {
            metrics.tell_counts();
            metrics.tell_times();
        }
    }
}

impl Stream {
    /// Asks the core, and does what it says; holds the request back when its body must be read first.
    fn ask(&mut self, runtime: &Runtime, headers: Headers, body: Body<'_>) -> Action {
        let plan = &runtime.plan;
        let clock = runtime.needs_clock.then(since_1970);
        let mut world = World {
            now: clock.map(timestamp).unwrap_or_default(),
            entropy: || host::random().unwrap_or_default(),
            gate: &|experiment, variant| runtime.breakers.borrow().gate(experiment, variant),
        };
        let mut exposure = Exposure::new(if runtime.exposes {
            plan.settings.exposure_unit
        } else {
            ExposureUnit::None
        });
        let outcome = decide(plan, &Arrived { headers: &headers, body }, &mut world, &mut exposure);
        if matches!(outcome, Outcome::NeedsBody(_)) {
            self.waiting = Some(headers);
            return Action::Pause;
        }
        for name in removals(&plan.settings.headers, headers.iter().map(|(name, _)| name)) {
            host::remove_header(Map::Request, name).ok();
        }
        match outcome {
            Outcome::Unmatched | Outcome::NeedsBody(_) => {}
            Outcome::Skipped(experiment) => {
                runtime.metrics[experiment].skipped();
            }
            Outcome::Decided(decision) => {
                self.decision = Some(decision);
                self.is_grpc = is_grpc(&headers);
                self.is_https = decision.minted.is_some() && headers.is_https();
                self.epoch = runtime.breakers.borrow().epoch(&decision);
                self.began = clock.unwrap_or_else(since_1970);
                let (experiment, metrics) = runtime.of(&decision);
                metrics.decided(&decision);
                let effects = Effects::new(plan, decision, runtime.reporter);
                effects.on_request(&headers, |effect| apply(Map::Request, &effect));
                if runtime.exposes {
                    exposure.tell(experiment, &decision);
                }
            }
        }
        Action::Continue
    }

    /// Asks again with what has arrived; a body beyond the limit is none.
    fn ask_with_body(&mut self, runtime: &Runtime, headers: Headers, limit: usize) -> Action {
        let body = host::request_body(limit.saturating_add(1)).unwrap_or_default();
        let body = if body.len() <= limit { Body::Whole(&body) } else { Body::Absent };
        self.ask(runtime, headers, body)
    }

    fn decided(&self) -> Option<(&Runtime, Decision)> {
        Some((self.runtime.as_deref()?, self.decision?))
    }
}

impl Runtime {
    fn of(&self, decision: &Decision) -> (&Experiment, &Metrics) {
        (&self.plan.experiments[decision.experiment], &self.metrics[decision.experiment])
    }

    /// Whether this request may be held back until its body is there: its length must be known and small.
    fn may_wait(&self, headers: &Headers) -> bool {
        let length = || core::str::from_utf8(headers.first("content-length")?).ok()?.parse().ok();
        self.waits_for_bodies
            && length().is_some_and(|length| {
                body_is_readable(headers, length, self.plan.settings.body_limit)
            })
    }

    /// The time above which an answer of this experiment is slow, when that is watched.
    fn slow_over(&self, decision: &Decision) -> Option<Duration> {
        let breaker = &self.plan.experiments[decision.experiment].breaker;
        let slow = breaker.slow.filter(|_| breaker.mode != BreakerMode::Disabled)?;
        Some(Duration::from_millis(slow.over.get()))
    }
}

/// Writes a header. One that Envoy refuses is left out: without it the request takes the baseline's
/// route. The route is chosen again afterwards: for modules of this ABI Envoy does so by itself.
fn apply(map: Map, effect: &Effect<'_>) {
    let write = match effect.op {
        Op::Set => host::set_header,
        Op::Add | Op::Append => host::add_header,
    };
    write(map, effect.name, &effect.value).ok();
}

/// Whether this answer is another cluster's than the one that was tried first: the request was sent again, on a route
/// that sends failed requests to the baseline, as `render envoy --failover` names them.
fn was_rescued() -> bool {
    host::integer_property(&Property::ATTEMPTS).is_some_and(|attempts| attempts > 1)
        && host::bytes_property(&Property::ROUTE_NAME)
            .is_ok_and(|name| name.starts_with(names::route::FAILOVER.as_bytes()))
}

/// A request's headers and what has arrived of its body.
struct Arrived<'a> {
    headers: &'a Headers,
    body: Body<'a>,
}

impl Request for Arrived<'_> {
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.values(name)
    }

    fn path(&self) -> Option<&[u8]> {
        self.headers.path()
    }

    fn body(&self) -> Body<'_> {
        self.body
    }
}

fn is_grpc(headers: &Headers) -> bool {
    headers.first("content-type").is_some_and(|value| value.starts_with(b"application/grpc"))
}
