//! One request: decided once, written on the request and on the response, and counted when it ends.
//!
//! The proxy calls [`request_headers`](Stream::request_headers), and `request_body` and
//! `request_trailers` as long as a call returned [`Action::Pause`]; then `response_headers`, `log`
//! and `delete`. Callbacks may be missing: a request that the proxy logs late (HTTP/3) or never is
//! counted when its stream is deleted.

use core::time::Duration;
use std::rc::Rc;

use sidetrack::body::DIGESTS;
use sidetrack::breaker::{End, Ticket};
use sidetrack::decide::{Decision, Outcome, Reason, World, decide};
use sidetrack::effects::{Effects, removals};
use sidetrack::names::route;
use sidetrack::outcome::Ending;
use sidetrack::plan::ExposureUnit;
use sidetrack::request::{Body, Request as _, Unread};

use crate::arrived::{Arrived, is_grpc};
use crate::ending::{self, Found};
use crate::exposure::{self, Exposure};
use crate::held::Hold;
use crate::host::{Exchange, Headers as _, Host as _};
use crate::runtime::{Runtime, timestamp};

/// A request from its headers to its end.
pub struct Stream<X: Exchange> {
    /// The proxy's number for this stream, unique on the worker.
    number: u32,
    runtime: Option<Rc<Runtime<X::Host>>>,
    decision: Option<Decision>,
    /// Its place among those that wait for their bodies.
    waiting: Option<Hold>,
    /// Its variant has set values in its body.
    has_new_body: bool,
    is_grpc: bool,
    is_https: bool,
    /// The request as the breakers see it; `None` if it does not count for them.
    ticket: Option<Ticket>,
    /// When the request was decided.
    began: Duration,
    /// The time until the response's headers.
    response_time: Option<Duration>,
    /// The baseline answered a request that its candidate failed.
    is_rescued: bool,
    is_logged: bool,
    expected: Expected,
}

/// What the access logger for failures may report between a request's log and its deletion.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Nothing: the request is counted, or is not to be counted.
    Nothing,
    /// A failure. Without a report, the request succeeded.
    Failure,
    /// A failure that is known and counted. Without a report, the logger cannot be trusted.
    Confirmation,
}

/// Whether a request continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It continues.
    Continue,
    /// It is held back until more of it has arrived.
    Pause,
}

impl<X: Exchange> Stream<X> {
    /// A stream with the configuration of a plugin instance. `number` identifies it on its worker,
    /// see [`Instance::take_failed_streams`](crate::instance::Instance::take_failed_streams).
    #[must_use]
    pub const fn new(number: u32, runtime: Option<Rc<Runtime<X::Host>>>) -> Self {
        Self {
            number,
            runtime,
            decision: None,
            waiting: None,
            has_new_body: false,
            is_grpc: false,
            is_https: false,
            ticket: None,
            began: Duration::ZERO,
            response_time: None,
            is_rescued: false,
            is_logged: false,
            expected: Expected::Nothing,
        }
    }

    /// Decides the request, or holds it back if its body must be read first. `end_of_stream`: it
    /// has no body.
    pub fn request_headers(&mut self, exchange: &X, end_of_stream: bool) -> Action {
        let Some(runtime) = self.runtime.clone() else { return Action::Continue };
        let Some(headers) = exchange.request_headers() else {
            runtime.global.undecided.count(&runtime.host);
            return Action::Continue;
        };
        let body = if end_of_stream { Body::Absent } else { runtime.expect_body(&headers) };
        self.decide(exchange, &runtime, &headers, body)
    }

    /// Decides a request that waits for its body, once `end_of_stream` says that all of it has
    /// arrived, or `size`, the number of bytes so far, is above the limit.
    pub fn request_body(&mut self, exchange: &X, size: usize, end_of_stream: bool) -> Action {
        let is_complete = |limit| end_of_stream || size > limit;
        self.decide_with_body(exchange, is_complete)
    }

    /// Decides a request that waits for its body: trailers follow a complete body.
    pub fn request_trailers(&mut self, exchange: &X) -> Action {
        let action = self.decide_with_body(exchange, |_| true);
        if self.has_new_body {
            DIGESTS.iter().for_each(|name| exchange.remove_request_trailer(name));
        }
        action
    }

    /// Takes the response time and writes the headers that report the variant.
    pub fn response_headers(&mut self, exchange: &X) {
        let Some((runtime, decision)) = self.decided() else { return };
        let baseline = runtime.experiment(&decision).baseline;
        // Zero if the clock was set back.
        let time = runtime.host.now().saturating_sub(self.began);
        let is_rescued = runtime.fails_over && decision.served != baseline && was_rescued(exchange);
        let decision =
            if is_rescued { Decision { served: baseline, ..decision } } else { decision };
        let effects = Effects::new(&runtime.plan, decision, runtime.reporter);
        let gate = || runtime.gate(decision.experiment, decision.assigned);
        effects.on_response(gate, self.is_https, |effect| exchange.write_response_header(&effect));
        if is_rescued && runtime.exposes {
            exposure::write_rescued(exchange);
        }
        let uptime = self.began + time;
        if let (Some(runtime), Some(ticket)) = (&self.runtime, &mut self.ticket) {
            runtime.answered(ticket, uptime);
        }
        self.response_time = Some(time);
        self.is_rescued = is_rescued;
    }

    /// Counts the request, or waits for the access logger to report its failure.
    pub fn log(&mut self, exchange: &X) {
        if core::mem::replace(&mut self.is_logged, true) {
            return;
        }
        let Some((runtime, decision)) = self.decided() else { return };
        if decision.reason == Reason::Override {
            return;
        }
        let expected = match runtime.find_ending(exchange, self.is_answered(), self.is_grpc) {
            Found::Presumed => Expected::Failure,
            Found::Confirmable(ending) => {
                self.count(&ending);
                Expected::Confirmation
            }
            Found::Known(ending) => return self.count(&ending),
        };
        if let Some(runtime) = &self.runtime {
            runtime.worker.failures.add_waiting(self.number);
        }
        self.expected = expected;
    }

    /// Counts the failure that the access logger reports.
    pub fn report_failure(&mut self, exchange: &X) {
        if self.expected == Expected::Failure {
            self.count(&ending::failure(exchange, self.is_answered()));
        }
        self.expected = Expected::Nothing;
    }

    /// Counts the request if it is not counted yet. The stream ends.
    pub fn delete(&mut self, exchange: &X) {
        let Some((runtime, decision)) = self.decided() else { return };
        match self.expected {
            Expected::Nothing if self.is_logged || decision.reason == Reason::Override => {}
            Expected::Nothing => {
                // The proxy logs it later or never. It would derive a wrong gRPC status now.
                self.count(&runtime.query_ending(exchange, self.is_answered(), false));
            }
            Expected::Failure => {
                runtime.worker.failures.remove_waiting(self.number);
                self.count(&ending::SUCCESS);
            }
            Expected::Confirmation => {
                runtime.worker.failures.remove_waiting(self.number);
                runtime.report_missed_failure();
            }
        }
        self.expected = Expected::Nothing;
        self.is_logged = true;
    }

    const fn is_answered(&self) -> bool {
        self.response_time.is_some()
    }

    fn decided(&self) -> Option<(&Runtime<X::Host>, Decision)> {
        Some((self.runtime.as_deref()?, self.decision?))
    }
}

impl<X: Exchange> Stream<X> {
    /// Decides the request and applies the effects; holds it back if its body must be read first.
    fn decide(
        &mut self,
        exchange: &X,
        runtime: &Runtime<X::Host>,
        headers: &X::Headers,
        body: Body<'_>,
    ) -> Action {
        let (plan, host) = (&runtime.plan, &runtime.host);
        let clock = runtime.needs_clock.then(|| host.now());
        let mut world = World {
            now: clock.map(timestamp).unwrap_or_default(),
            entropy: || host.random(),
            gate: &|experiment, variant| runtime.gate(experiment, variant),
        };
        let shown = if runtime.exposes { plan.settings.exposure_unit } else { ExposureUnit::None };
        let mut exposure = Exposure::new(shown);
        let arrived = Arrived { headers, body };
        let outcome = decide(plan, &arrived, &mut world, &mut exposure);
        if matches!(outcome, Outcome::NeedsBody(_)) {
            self.waiting = runtime.hold(headers);
            return match self.waiting {
                Some(_) => Action::Pause,
                None => self.decide(exchange, runtime, headers, Body::Unread(Unread::TooManyHeld)),
            };
        }
        for name in removals(&plan.settings.headers, headers.names()) {
            exchange.remove_request_header(name);
        }
        match outcome {
            Outcome::Unmatched | Outcome::NeedsBody(_) => {}
            Outcome::Skipped(experiment, missing) => {
                runtime.metrics[experiment].count_skipped(missing);
            }
            Outcome::Decided(decision) => {
                self.decision = Some(decision);
                self.is_grpc = is_grpc(headers);
                self.is_https = decision.minted.is_some() && headers.is_https();
                self.began = clock.unwrap_or_else(|| host.now());
                if decision.reason != Reason::Override {
                    self.ticket = Some(runtime.begin(&decision, self.began));
                }
                runtime.metrics[decision.experiment].count_decision(&decision);
                let effects = Effects::new(plan, decision, runtime.reporter);
                effects.on_request(headers, |effect| exchange.write_request_header(&effect));
                if let Body::Whole(old) = body
                    && let Some(new) = effects.new_body(&arrived)
                    && exchange.replace_request_body(old.len(), &new)
                {
                    Effects::on_new_body(headers, new.len(), |effect| {
                        exchange.write_request_header(&effect);
                    });
                    self.has_new_body = true;
                }
                if runtime.exposes {
                    exposure.write(exchange, runtime.experiment(&decision), &decision);
                }
            }
        }
        Action::Continue
    }

    /// Decides a waiting request with the body that has arrived, if it is complete for this limit
    /// in bytes. A body above the limit counts as absent.
    #[cold]
    fn decide_with_body(
        &mut self,
        exchange: &X,
        is_complete: impl FnOnce(usize) -> bool,
    ) -> Action {
        let Some((runtime, hold)) = self.runtime.clone().zip(self.waiting.take()) else {
            return Action::Continue;
        };
        let limit = usize::try_from(runtime.plan.settings.body_limit).unwrap_or(usize::MAX);
        if !is_complete(limit) {
            self.waiting = Some(hold);
            return Action::Pause;
        }
        let Some(headers) = exchange.request_headers() else {
            runtime.global.undecided.count(&runtime.host);
            return Action::Continue;
        };
        let body = exchange.request_body(limit.saturating_add(1));
        let body = match body.len() {
            0 => Body::Absent,
            length if length <= limit => Body::Whole(&body),
            _ => Body::Unread(Unread::TooLarge),
        };
        self.decide(exchange, &runtime, &headers, body)
    }

    /// Counts how the request ended: for metrics as the client saw it, for the breaker as the
    /// variant caused it.
    fn count(&mut self, ending: &Ending) {
        let ticket = self.ticket.take();
        let Some((runtime, decision)) = self.decided() else { return };
        let metrics = &runtime.metrics[decision.experiment];
        if self.is_rescued {
            metrics.count_fallback(decision.assigned);
            let served = runtime.experiment(&decision).baseline;
            let decision = Decision { served, ..decision };
            metrics.count_request(&decision, ending.status(), self.response_time);
        } else {
            metrics.count_request(&decision, ending.status(), self.response_time);
        }
        if let Some(ticket) = ticket {
            let end = match ending.failed() {
                Some(true) => End::Failed,
                Some(false) => End::Completed,
                None => End::Unknown,
            };
            runtime.ended(ticket, end);
        }
        if !runtime.has_ticks.get() {
            metrics.publish_counts(&runtime.host);
            metrics.publish_times(&runtime.host);
        }
    }
}

/// Whether the baseline's cluster answered: the request was sent again, on a route that sends
/// failed requests to the baseline, as `render envoy --failover` names it.
fn was_rescued(exchange: &impl Exchange) -> bool {
    exchange.attempts() > 1 && exchange.has_route(route::FAILOVER)
}
