//! One request: decided once, written on the request and on the response, and counted when it ends.
//!
//! The proxy calls [`request_headers`](Stream::request_headers), `request_body` and
//! `request_trailers`; then `response_headers`, `response_trailers`, `log` and `delete`. Callbacks
//! may be missing: a request that the proxy logs late (HTTP/3) or never is counted when its stream
//! is deleted.
//!
//! The response time runs from the end of the request to the response's headers: a slow upload is
//! not a slow answer. If the headers come before the request's end, it runs from the decision.

use core::time::Duration;
use std::rc::Rc;

use sidetrack::body::DIGESTS;
use sidetrack::breaker::Ticket;
use sidetrack::decide::{self, Decision, Reason, World, decide};
use sidetrack::effects::{Effects, removals};
use sidetrack::names::route;
use sidetrack::outcome::{Ending, Outcome};
use sidetrack::plan::ExposureUnit;
use sidetrack::quantity::Timestamp;
use sidetrack::request::{Body, Request as _, Unread};

use crate::arrived::Arrived;
use crate::ending::Found;
use crate::exposure::Exposure;
use crate::grpc::{self, GRPC_STATUS, Grpc};
use crate::held::Hold;
use crate::host::{Exchange, Headers as _, Host as _};
use crate::runtime::Runtime;

/// How long a response lasts until its status is read, which is not free. Most are over by then.
const LONG: Duration = Duration::from_millis(500);

/// Where Envoy keeps the URL of a request that it redirects internally.
const REDIRECTED: &str = "x-envoy-original-url";

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
    /// The protocol that the request claims, by which the response may have a gRPC status.
    grpc: Grpc,
    is_https: bool,
    /// The request's share in the breaker; `None` if it is counted, or is not to be counted.
    ticket: Option<Ticket>,
    /// All of the request has arrived.
    is_whole: bool,
    /// When the response time began, by the clock that is never set.
    began: Duration,
    /// The time until the response's headers.
    response_time: Option<Duration>,
    /// The gRPC status of the response.
    grpc_status: Option<u32>,
    /// The response has begun, its end has not come, and its status has not been read.
    is_open: bool,
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
            grpc: Grpc::No,
            is_https: false,
            ticket: None,
            is_whole: false,
            began: Duration::ZERO,
            response_time: None,
            grpc_status: None,
            is_open: false,
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
        if runtime.observes_connections.get() {
            runtime.observe_connection(exchange);
        }
        self.is_whole = end_of_stream;
        let body = if end_of_stream { Body::Absent } else { runtime.expect_body(&headers) };
        self.decide(exchange, &runtime, &headers, body)
    }

    /// Notes the end of the request's body. Decides a request that waits for its body, once
    /// `end_of_stream` says that all of it has arrived, or `size`, the number of bytes so far, is
    /// above the limit.
    pub fn request_body(&mut self, exchange: &X, size: usize, end_of_stream: bool) -> Action {
        if end_of_stream {
            self.note_end_of_request();
        } else if let (Some(runtime), Some(ticket)) = (&self.runtime, &self.ticket) {
            runtime.progressed(ticket);
        }
        self.decide_with_body(exchange, size, end_of_stream)
    }

    /// Notes the end of the request, and decides it if it waits for its body: trailers follow a
    /// complete body. Removes the filter's headers that the client sent as trailers.
    pub fn request_trailers(&mut self, exchange: &X) -> Action {
        self.note_end_of_request();
        let action = self.decide_with_body(exchange, 0, true);
        if self.has_new_body {
            DIGESTS.iter().for_each(|name| exchange.remove_request_trailer(name));
        }
        if let Some(runtime) = &self.runtime
            && let Some(trailers) = exchange.request_trailers()
        {
            runtime.own_among(&trailers).iter().for_each(|it| exchange.remove_request_trailer(it));
        }
        action
    }

    /// Removes the filter's headers that the model sent, takes the response time and writes the
    /// headers that report the variant. `end_of_stream`: the response has no body and no trailers.
    pub fn response_headers(&mut self, exchange: &X, end_of_stream: bool) {
        if let Some(runtime) = self.runtime.as_deref().filter(|it| it.cleans_responses)
            && (self.decision.is_some() || !runtime.is_decided_elsewhere(exchange))
        {
            runtime.clean_response(exchange);
        }
        let Some((runtime, decision)) = self.decided() else { return };
        let baseline = runtime.experiment(&decision).baseline;
        let now = runtime.host.uptime();
        let is_rescued = runtime.fails_over && decision.served != baseline && was_rescued(exchange);
        let decision =
            if is_rescued { Decision { served: baseline, ..decision } } else { decision };
        let effects = Effects::new(&runtime.plan, decision, runtime.reporter);
        let gate = || runtime.gate(decision.experiment, decision.assigned);
        effects.on_response(gate, self.is_https, |effect| exchange.write_response_header(&effect));
        if is_rescued && runtime.exposures.is_some() {
            runtime.keys.write_rescued(exchange);
        }
        if end_of_stream && self.grpc != Grpc::No {
            self.grpc_status = exchange.response_header(GRPC_STATUS).as_deref().map(grpc::status);
        }
        self.response_time = Some(now.saturating_sub(self.began));
        self.is_rescued = is_rescued;
        self.is_open = !end_of_stream;
        if let (Some(runtime), Some(ticket)) = (&self.runtime, &mut self.ticket) {
            runtime.responded(ticket, now);
        }
    }

    /// Removes the filter's headers that the model sent as trailers, and takes the gRPC status.
    /// Responses have trailers in few other protocols.
    pub fn response_trailers(&mut self, exchange: &X) {
        let Some(runtime) = &self.runtime else { return };
        let Some(trailers) = exchange.response_trailers() else { return };
        runtime.own_among(&trailers).iter().for_each(|it| exchange.remove_response_trailer(it));
        if self.grpc != Grpc::No {
            self.grpc_status = trailers.first(GRPC_STATUS).map(grpc::status);
        }
    }

    /// Whether to [`look`](Self::look) at this stream: its response has begun some time ago and has
    /// not ended. `uptime` is that of the host.
    #[must_use]
    pub fn is_long(&self, uptime: Duration) -> bool {
        let began = || self.response_time.map_or(uptime, |time| self.began.saturating_add(time));
        self.is_open && self.ticket.is_some() && uptime.saturating_sub(began()) >= LONG
    }

    /// Reads the status of a response that has not ended. A good one counts as a success, so that a
    /// long answer does not hide it. A bad one counts at once.
    pub fn look(&mut self, exchange: &X) {
        self.is_open = false;
        let Some((runtime, _)) = self.decided() else { return };
        let ending = runtime.read_ending(exchange, self.seen());
        let outcome = ending.outcome();
        if outcome == Outcome::SUCCESS {
            if let (Some(runtime), Some(ticket)) = (&self.runtime, &mut self.ticket) {
                runtime.answered(ticket, runtime.host.uptime());
            }
        } else if outcome == Outcome::FAILURE {
            self.is_logged = true;
            self.count(outcome);
        }
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
        let found = runtime.find_outcome(exchange, self.seen_at_end(exchange));
        if !matches!(found, Found::Known(_)) {
            runtime.worker.failures.add_waiting(self.number);
        }
        match found {
            Found::Known(outcome) => self.count(outcome),
            Found::Presumed => self.expected = Expected::Failure,
            Found::Confirmable(outcome) => {
                self.count(outcome);
                self.expected = Expected::Confirmation;
            }
        }
    }

    /// Counts the request that the access logger reports: probably a failure.
    pub fn report_failure(&mut self, exchange: &X) {
        let expected = core::mem::replace(&mut self.expected, Expected::Nothing);
        if expected == Expected::Failure
            && let Some((runtime, _)) = self.decided()
        {
            let outcome = runtime.read_ending(exchange, self.seen()).outcome();
            self.count(outcome);
        }
    }

    /// Counts the request if it is not counted yet. The stream ends.
    pub fn delete(&mut self, exchange: &X) {
        let is_logged = core::mem::replace(&mut self.is_logged, true);
        let expected = core::mem::replace(&mut self.expected, Expected::Nothing);
        let Some((runtime, decision)) = self.decided() else { return };
        let outcome = match expected {
            Expected::Nothing if is_logged || decision.reason == Reason::Override => return,
            // The proxy logs it later or never.
            Expected::Nothing => runtime.query_outcome(exchange, self.seen_at_end(exchange)),
            Expected::Failure => {
                runtime.worker.failures.remove_waiting(self.number);
                Outcome::SUCCESS
            }
            Expected::Confirmation => {
                runtime.worker.failures.remove_waiting(self.number);
                return runtime.report_missed_failure();
            }
        };
        self.count(outcome);
    }

    /// What this stream knows of how the request ended.
    fn seen(&self) -> Ending {
        Ending {
            answered: self.response_time.is_some(),
            uploaded: self.is_whole,
            grpc_status: self.grpc_status,
            ..Ending::default()
        }
    }

    /// What this stream knows of how the request ended, once it has.
    fn seen_at_end(&self, exchange: &X) -> Ending {
        let seen = self.seen();
        let is_unclear = self.grpc != Grpc::No && seen.answered && seen.grpc_status.is_none();
        if is_unclear { self.grpc.examine(exchange, seen) } else { seen }
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
        let (plan, host) = (&*runtime.plan, &runtime.host);
        let sent = removals(&plan.settings.headers, headers.names());
        if !sent.is_empty() && runtime.is_decided_elsewhere(exchange) {
            runtime.global.yielded.count(host);
            self.runtime = None;
            return Action::Continue;
        }
        if !sent.is_empty() && headers.first(REDIRECTED).is_some() {
            runtime.report_redirect();
        }
        let mut world = World {
            now: if runtime.needs_clock { runtime.now() } else { Timestamp::default() },
            entropy: || host.random(),
            gate: &|experiment, variant| runtime.gate(experiment, variant),
        };
        let shown = match runtime.exposures {
            Some(_) => plan.settings.exposure_unit,
            None => ExposureUnit::None,
        };
        let mut exposure = Exposure::new(shown);
        let arrived = Arrived { headers, body };
        let outcome = decide(plan, &arrived, &mut world, &mut exposure);
        if matches!(outcome, decide::Outcome::NeedsBody(_)) {
            self.waiting = runtime.hold(headers);
            return match self.waiting {
                Some(_) => Action::Pause,
                None => self.decide(exchange, runtime, headers, Body::Unread(Unread::TooManyHeld)),
            };
        }
        for name in sent {
            exchange.remove_request_header(name);
        }
        match outcome {
            decide::Outcome::Unmatched | decide::Outcome::NeedsBody(_) => {}
            decide::Outcome::Unread(experiment, missing)
            | decide::Outcome::Skipped(experiment, missing) => {
                runtime.metrics[experiment].count_skipped(missing);
            }
            decide::Outcome::Decided(decision) => {
                self.decision = Some(decision);
                self.grpc = Grpc::of(headers.first("content-type"));
                self.is_https = decision.minted.is_some() && headers.is_https();
                self.began = host.uptime();
                if decision.reason != Reason::Override {
                    self.ticket = Some(runtime.begin(&decision, self.began, self.is_whole));
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
                if runtime.shares_prefix.get() {
                    exchange.write_filter_state(&runtime.mark, b"1");
                }
                if let Some(exposures) = &runtime.exposures {
                    let (experiment, prepared) =
                        (runtime.experiment(&decision), &exposures[decision.experiment]);
                    exposure.write(exchange, &runtime.keys, experiment, prepared, &decision);
                }
            }
        }
        Action::Continue
    }

    /// Decides a waiting request by the newest configuration, once its body is complete
    /// (`is_whole`) or above the limit. A body above the limit counts as absent.
    #[cold]
    fn decide_with_body(&mut self, exchange: &X, size: usize, is_whole: bool) -> Action {
        let Some((before, hold)) = self.runtime.clone().zip(self.waiting.take()) else {
            return Action::Continue;
        };
        let runtime = before.successor();
        let [least, limit] = [&before, &runtime].map(|runtime| runtime.body_limit());
        if !is_whole && size <= least.min(limit) {
            self.waiting = Some(hold);
            return Action::Pause;
        }
        self.runtime = Some(Rc::clone(&runtime));
        let Some(headers) = exchange.request_headers() else {
            runtime.global.undecided.count(&runtime.host);
            return Action::Continue;
        };
        let body =
            if is_whole { exchange.request_body(limit.saturating_add(1)) } else { Vec::new() };
        let body = match body.len() {
            _ if !is_whole => Body::Unread(Unread::TooLarge),
            0 => Body::Absent,
            length if length <= limit => Body::Whole(&body),
            _ => Body::Unread(Unread::TooLarge),
        };
        self.decide(exchange, &runtime, &headers, body)
    }

    /// The response time begins with the end of the request.
    fn note_end_of_request(&mut self) {
        if core::mem::replace(&mut self.is_whole, true) || self.response_time.is_some() {
            return;
        }
        if let (Some(runtime), Some(ticket)) = (&self.runtime, &mut self.ticket) {
            self.began = runtime.host.uptime();
            runtime.uploaded(ticket, self.began);
        }
    }

    /// Counts how the request ended: for metrics as the client saw it, for the breaker as the
    /// variant caused it.
    fn count(&mut self, outcome: Outcome) {
        let ticket = self.ticket.take();
        let Some((runtime, decision)) = self.decided() else { return };
        let metrics = &runtime.metrics[decision.experiment];
        let decision = if self.is_rescued {
            metrics.count_fallback(decision.assigned);
            Decision { served: runtime.experiment(&decision).baseline, ..decision }
        } else {
            decision
        };
        if let Some(status) = outcome.status {
            metrics.count_request(&decision, status, self.response_time);
        }
        if let Some(ticket) = ticket {
            runtime.ended(ticket, outcome.end);
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
