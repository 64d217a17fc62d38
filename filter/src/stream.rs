//! One request: asked about once, marked on its way up, marked on its way down, counted when it ends.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use sidetrack::body::body_is_readable;
use sidetrack::breaker::Ended;
use sidetrack::config::{BreakerMode, ExposureUnit};
use sidetrack::decide::{Decision, Outcome, Reason, World, decide, may_explain};
use sidetrack::outcome::Ending;
use sidetrack::plan::{Experiment, HeaderNames};
use sidetrack::quantity::{Millis, Timestamp};
use sidetrack::request::{Body, Request};

use crate::breakers;
use crate::exposure::{self, Exposure};
use crate::headers::Headers;
use crate::host::{self, Map, Property};
use crate::metrics::Metrics;
use crate::root::{Runtime, now};

/// What is remembered of a request until it ends.
pub(crate) struct Stream {
    runtime: Option<Rc<Runtime>>,
    decision: Option<Decision>,
    explain: bool,
    /// The request's headers, while it is held back until its body is there.
    waiting: Option<Headers>,
    is_grpc: bool,
    is_https: bool,
    answered: bool,
    /// The epoch of the served variant's breaker.
    epoch: u32,
    /// When the request came; only while a breaker watches for slow answers.
    began: Option<Timestamp>,
    slow: bool,
    /// How often the request was sent upstream.
    attempts: u64,
    /// The baseline answered a request that its candidate had failed.
    rescued: bool,
}

impl Stream {
    pub(crate) fn new(runtime: Option<Rc<Runtime>>) -> Self {
        Self {
            runtime,
            decision: None,
            explain: false,
            waiting: None,
            is_grpc: false,
            is_https: false,
            answered: false,
            epoch: 0,
            began: None,
            slow: false,
            attempts: 0,
            rescued: false,
        }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        let Some(runtime) = self.runtime.clone() else { return Action::Continue };
        let Ok(block) = host::header_map(Map::Request) else {
            runtime.global.undecided.count();
            return Action::Continue;
        };
        let headers = Headers(block);
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

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
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

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        let Some((runtime, headers)) = self.runtime.clone().zip(self.waiting.take()) else {
            return Action::Continue;
        };
        let limit = usize::try_from(runtime.plan.settings.body_limit).unwrap_or(usize::MAX);
        self.ask_with_body(&runtime, headers, limit)
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.answered = true;
        let Some((runtime, decision)) = self.decided() else { return Action::Continue };
        let Some((experiment, _)) = runtime.of(&decision) else { return Action::Continue };
        let slow = runtime
            .slow_over(&decision)
            .zip(self.began)
            .is_some_and(|(over, began)| now().since(began) > over);
        let attempts = host::integer_property(&Property::ATTEMPTS).unwrap_or(0).cast_unsigned();
        let rescued = attempts > 1 && decision.served != experiment.baseline && on_failover_route();
        let decision = if rescued { Decision { served: experiment.baseline, ..decision } } else { decision };
        let settings = &runtime.plan.settings;
        if settings.response_headers {
            mark(Map::Response, &settings.headers, experiment, &decision);
        }
        if let Some(variant) = experiment.variants.get(decision.served) {
            set_all(Map::Response, &variant.response_headers);
        }
        if let Some((mint, identity)) = experiment.mint.as_ref().zip(decision.minted) {
            host::add_header(Map::Response, "set-cookie", &mint.set_cookie(identity, self.is_https)).ok();
        }
        if self.explain {
            let names = &settings.headers;
            set(Map::Response, &names.reason, decision.reason.as_str());
            set(Map::Response, &names.config, &runtime.plan.hash.short());
            if let Some(bucket) = decision.bucket {
                set(Map::Response, &names.bucket, &bucket.to_string());
            }
            if decision.assigned != experiment.baseline {
                let gate = runtime.breakers.borrow().gate(decision.experiment, decision.assigned);
                set(Map::Response, &names.breaker, breakers::word(gate));
            }
        }
        if rescued && runtime.exposes {
            exposure::tell_rescued();
        }
        self.slow = slow;
        self.attempts = attempts;
        self.rescued = rescued;
        Action::Continue
    }

    fn on_log(&mut self) {
        let Some((runtime, decision)) = self.decided() else { return };
        if decision.reason == Reason::Override {
            return;
        }
        let Some((_, metrics)) = runtime.of(&decision) else { return };
        let ending = self.ending();
        match runtime.of(&decision) {
            Some((experiment, _)) if self.rescued => {
                metrics.fell_back(decision.assigned);
                metrics.ended(&Decision { served: experiment.baseline, ..decision }, ending.status());
            }
            _ => metrics.ended(&decision, ending.status()),
        }
        if let Some(failed) = ending.failed() {
            let ended = Ended { failed, slow: self.slow };
            runtime.breakers.borrow_mut().ended(&decision, self.epoch, ended, metrics);
        }
    }
}

impl Stream {
    /// Asks the core, and does what it says; holds the request back when its body must be read first.
    fn ask(&mut self, runtime: &Runtime, headers: Headers, body: Body<'_>) -> Action {
        let plan = &runtime.plan;
        let mut world = World {
            now: if runtime.needs_clock { now() } else { Timestamp::default() },
            entropy: || host::random().unwrap_or_default(),
            gate: &|experiment, variant| runtime.breakers.borrow().gate(experiment, variant),
        };
        let mut exposure =
            Exposure::new(if runtime.exposes { plan.settings.exposure_unit } else { ExposureUnit::None });
        let outcome = decide(plan, &Arrived { headers: &headers, body }, &mut world, &mut exposure);
        if matches!(outcome, Outcome::NeedsBody(_)) {
            self.waiting = Some(headers);
            return Action::Pause;
        }
        remove_own(&plan.settings.headers, &headers);
        match outcome {
            Outcome::Unmatched | Outcome::NeedsBody(_) => {}
            Outcome::Skipped(experiment) => {
                if let Some(metrics) = runtime.metrics.get(experiment) {
                    metrics.missing_unit.count();
                }
            }
            Outcome::Decided(decision) => {
                self.decision = Some(decision);
                self.explain = may_explain(plan, &headers);
                self.is_grpc = is_grpc(&headers);
                self.is_https = is_https(&headers);
                self.epoch = runtime.breakers.borrow().epoch(&decision);
                self.began = runtime.slow_over(&decision).map(|_| now());
                if let Some((experiment, metrics)) = runtime.of(&decision) {
                    count_decision(metrics, &decision);
                    mark(Map::Request, &plan.settings.headers, experiment, &decision);
                    route(&plan.settings.headers, experiment, &decision);
                    if runtime.exposes {
                        exposure.tell(experiment, &decision);
                    }
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

    /// What Envoy knows of the request when it has ended.
    fn ending(&self) -> Ending {
        let number = |property| host::integer_property(&property).unwrap_or(0);
        Ending {
            answered: self.answered,
            code: u32::try_from(number(Property::RESPONSE_CODE)).unwrap_or(0),
            flags: number(Property::RESPONSE_FLAGS).cast_unsigned(),
            // Envoy derives this from the HTTP status when there is none, so only a gRPC request may be asked for it.
            grpc_status: self.is_grpc.then(|| u32::try_from(number(Property::GRPC_STATUS)).unwrap_or(0)),
            attempts: self.attempts,
        }
    }
}

impl Runtime {
    fn of(&self, decision: &Decision) -> Option<(&Experiment, &Metrics)> {
        Some((self.plan.experiments.get(decision.experiment)?, self.metrics.get(decision.experiment)?))
    }

    /// Whether this request may be held back until its body is there: its length must be known and small.
    fn may_wait(&self, headers: &Headers) -> bool {
        let length = || core::str::from_utf8(headers.first("content-length")?).ok()?.parse().ok();
        self.waits_for_bodies
            && length().is_some_and(|length| body_is_readable(headers, length, self.plan.settings.body_limit))
    }

    /// The time above which an answer of this experiment is slow, when that is watched.
    fn slow_over(&self, decision: &Decision) -> Option<Millis> {
        let breaker = &self.plan.experiments.get(decision.experiment)?.breaker;
        breaker.slow.filter(|_| breaker.mode != BreakerMode::Disabled).map(|slow| slow.over)
    }
}

fn count_decision(metrics: &Metrics, decision: &Decision) {
    if decision.reason == Reason::Override {
        metrics.overrides.count();
    }
    if decision.reason == Reason::BreakerOpen {
        metrics.fell_back(decision.assigned);
    }
    if decision.missing_unit {
        metrics.missing_unit.count();
    }
    if decision.mirror {
        metrics.mirrored.count();
    }
}

/// Removes what a client sent under the filter's names. One that sent nothing of it costs nothing here.
fn remove_own(names: &HeaderNames, headers: &Headers) {
    let is_own = |name: &[u8]| names.owned.iter().any(|own| own.as_bytes() == name);
    if headers.iter().any(|(name, _)| is_own(name)) {
        for name in &names.owned {
            host::remove_header(Map::Request, name).ok();
        }
        // The route may have been chosen by one of them.
        host::clear_route_cache();
    }
}

/// Says which experiment and variant this is.
fn mark(map: Map, names: &HeaderNames, experiment: &Experiment, decision: &Decision) {
    set(map, &names.experiment, &experiment.name);
    if let Some(served) = experiment.variants.get(decision.served) {
        set(map, &names.variant, &served.name);
    }
    if decision.assigned != decision.served
        && let Some(assigned) = experiment.variants.get(decision.assigned)
    {
        set(map, &names.assigned, &assigned.name);
    }
    if let Some(phase) = decision.phase.and_then(|phase| experiment.schedule.phases().get(phase)) {
        set(map, &names.phase, &phase.name);
    }
}

/// Tells Envoy where the request goes, and to choose the route anew.
fn route(names: &HeaderNames, experiment: &Experiment, decision: &Decision) {
    if let Some(served) = experiment.variants.get(decision.served) {
        if let Some(cluster) = &served.cluster {
            set(Map::Request, &names.cluster, cluster);
        }
        set_all(Map::Request, &served.request_headers);
    }
    if decision.mirror
        && let Some(mirror) = &experiment.mirror
    {
        set(Map::Request, &names.mirror, &mirror.cluster);
    }
    host::clear_route_cache();
}

fn set_all(map: Map, headers: &[(String, String)]) {
    for (name, value) in headers {
        set(map, name, value);
    }
}

/// A header that Envoy refuses is left out: without it the request takes the baseline's route.
fn set(map: Map, name: &str, value: &str) {
    host::set_header(map, name, value).ok();
}

/// Whether the route is one that sends a failed request to the baseline: `render envoy --failover` names them so.
fn on_failover_route() -> bool {
    host::bytes_property(&Property::ROUTE_NAME).is_ok_and(|name| name.starts_with(b"sidetrack-failover:"))
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

    fn body(&self) -> Body<'_> {
        self.body
    }
}

/// Whether the caller's side is encrypted, as far as Envoy knows.
fn is_https(headers: &Headers) -> bool {
    headers.first("x-forwarded-proto").or_else(|| headers.first(":scheme")) == Some(b"https")
}

fn is_grpc(headers: &Headers) -> bool {
    headers.first("content-type").is_some_and(|value| value.starts_with(b"application/grpc"))
}
