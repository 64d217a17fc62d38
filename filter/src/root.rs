//! Loading a configuration, and keeping the good one when the next is bad.

use core::time::Duration;
use std::cell::RefCell;
use std::rc::Rc;

use sidetrack::config::{self, Problems};
use sidetrack::names::{shared, variable};
use sidetrack::plan::{PerExperiment, Plan};
use sidetrack::quantity::Timestamp;
use sidetrack::rollout::Schedule;

use crate::breakers::Breakers;
use crate::ending::Endings;
use crate::failures;
use crate::host::{self, Level, Property};
use crate::metrics::{Global, Metrics};

/// How often workers tell each other outcomes, learn of a trip, and tell Envoy what they counted.
const TICK_MILLISECONDS: u32 = 100;

/// After so many ticks Envoy is told the times of answers, and the published weights follow a rollout's clock.
const TICKS_PER_SECOND: u32 = 10;

/// What an empty plugin configuration means, and a first one that is bad.
const NO_EXPERIMENTS: &[u8] = br#"{"experiments": []}"#;

/// A loaded configuration. Requests keep the one they began with.
pub(crate) struct Runtime {
    pub(crate) plan: Plan,
    pub(crate) metrics: PerExperiment<Metrics>,
    pub(crate) global: Global,
    pub(crate) breakers: RefCell<Breakers>,
    pub(crate) endings: Endings,
    /// Whether a decision depends on the time.
    pub(crate) needs_clock: bool,
    /// Whether Envoy calls again without a request; if not, each request tells what it counted.
    pub(crate) has_ticks: bool,
    /// Whether a route may send a request that failed to the baseline.
    pub(crate) fails_over: bool,
    /// Whether the routes say which experiment and variant this is; all that is left is to choose one of them.
    pub(crate) routes_tell: bool,
    /// Whether a request may be held back until its body is there.
    pub(crate) waits_for_bodies: bool,
    /// Whether the access log is told of each decision.
    pub(crate) exposes: bool,
}

impl Runtime {
    fn new(plan: Plan, global: Global) -> Self {
        let metrics = Metrics::define(&plan);
        let breakers = RefCell::new(Breakers::new(&plan, &metrics, now()));
        let fails_over = host::is_set(variable::FAILOVER);
        let needs_clock =
            plan.experiments.iter().any(|e| matches!(e.schedule, Schedule::Rollout(_)));
        Self {
            plan,
            metrics,
            global,
            breakers,
            endings: Endings::prepare(fails_over),
            needs_clock,
            has_ticks: true,
            fails_over,
            routes_tell: host::is_set(variable::ROUTES_TELL),
            waits_for_bodies: host::is_set(variable::WAIT_FOR_BODIES),
            exposes: host::is_set(variable::EXPOSURES),
        }
    }

    pub(crate) fn tell_counts(&self) {
        self.metrics.iter().for_each(Metrics::tell_counts);
    }

    pub(crate) fn tell_times(&self) {
        self.metrics.iter().for_each(Metrics::tell_times);
    }

    fn publish_weights(&self) {
        let now = now();
        for (experiment, metrics) in self.plan.experiments.iter().zip(&self.metrics) {
            metrics.publish_weights(experiment, now);
        }
    }
}

/// The time; a host without a clock gives 1970, before any rollout's start, when everyone gets the baseline.
pub(crate) fn now() -> Timestamp {
    timestamp(since_1970())
}

/// The time, as exactly as Envoy gives it.
pub(crate) fn since_1970() -> Duration {
    Duration::from_nanos(host::now_nanoseconds().unwrap_or_default())
}

pub(crate) fn timestamp(since_1970: Duration) -> Timestamp {
    Timestamp::new(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}

/// One plugin configuration in one VM.
#[derive(Default)]
pub(crate) struct Root {
    runtime: Option<Rc<Runtime>>,
    /// This is no filter but the access logger that tells of failures.
    logger: Option<failures::Logger>,
    ticks: u32,
}

impl Root {
    /// What new requests are decided by.
    pub(crate) fn runtime(&self) -> Option<Rc<Runtime>> {
        self.runtime.clone()
    }

    /// Whether Envoy logs failures to this context.
    pub(crate) fn hears_of_failures(&self) -> bool {
        self.logger.is_some()
    }

    /// Loads the configuration; `false` refuses it.
    pub(crate) fn configure(&mut self) -> bool {
        let text = host::configuration().unwrap_or_default();
        if text.trim_ascii() == failures::CONFIGURATION {
            self.logger = Some(failures::Logger::new());
            return true;
        }
        let text = if text.trim_ascii().is_empty() { NO_EXPERIMENTS } else { &text };
        let global = Global::define();
        let plan = match config::parse_json(text) {
            Ok(plan) => {
                loaded(&plan, &global);
                plan
            }
            Err(problems) => match after_bad(&problems, &global) {
                Some(plan) => plan,
                None => return false,
            },
        };
        let mut runtime = Runtime::new(plan, global);
        runtime.publish_weights();
        let needs_ticks = !runtime.plan.experiments.is_empty();
        if needs_ticks && host::set_tick_period(TICK_MILLISECONDS).is_err() {
            host::log(
                Level::Error,
                "sidetrack: Envoy gives no ticks; breakers work on each worker alone, and only by streaks",
            );
            runtime.has_ticks = false;
        }
        self.runtime = Some(Rc::new(runtime));
        true
    }

    pub(crate) fn tick(&mut self) {
        let Some(runtime) = &self.runtime else { return };
        runtime.breakers.borrow_mut().tick(now(), &runtime.plan, &runtime.metrics);
        runtime.tell_counts();
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(TICKS_PER_SECOND) {
            runtime.tell_times();
            if runtime.needs_clock {
                runtime.publish_weights();
            }
        }
    }
}

/// Envoy lets go of a configuration when its last request has ended.
impl Drop for Root {
    fn drop(&mut self) {
        if let Some(runtime) = &self.runtime {
            runtime.tell_counts();
            runtime.tell_times();
        }
    }
}

/// Remembers, for all VMs of the proxy, that a good configuration is in force.
fn loaded(plan: &Plan, global: &Global) {
    let hash = u64::from(plan.hash.first_32_bits());
    global.config_hash.set(hash);
    if global.config_hash.value() != Some(hash) {
        host::log(
            Level::Error,
            "sidetrack: Envoy hides the filter's metrics: a stats matcher excludes wasmcustom.*, so ab_test_* will \
             be missing or zero; decisions and breakers do not depend on them",
        );
    }
    if host::set_shared(&loaded_key(), plan.hash.short().as_bytes(), 0).is_err() {
        host::log(
            Level::Warn,
            "sidetrack: shared data is not to be had; a bad update will pass all requests untouched",
        );
    }
    for notice in &plan.notices {
        host::log(Level::Warn, &format!("sidetrack: {}: {}", notice.path, notice.message));
    }
}

/// Shared data is one namespace for all plugins of a proxy, so the key says whose it is.
fn loaded_key() -> String {
    let plugin = host::bytes_property(&Property::PLUGIN_NAME).unwrap_or_default();
    format!("{}{}", shared::LOADED, String::from_utf8_lossy(&plugin))
}

/// What follows a configuration that cannot be used. `None` refuses it, so that Envoy keeps the one before; if there
/// is none before, refusing would fail all traffic, so every request passes untouched instead.
fn after_bad(problems: &Problems, global: &Global) -> Option<Plan> {
    for problem in &problems.0 {
        let problem = problem.to_string().replace('\n', ";");
        host::log(Level::Error, &format!("sidetrack: configuration rejected: {problem}"));
    }
    if host::shared(&loaded_key()).is_some() {
        global.config_rejected.count();
        return None;
    }
    // The proxy's first VM loads a configuration alone, before the workers do; it counts for all of them.
    if global.config_rejected.value() == Some(0) {
        global.config_rejected.count();
    }
    host::log(
        Level::Error,
        "sidetrack: no configuration was good yet; all requests pass untouched",
    );
    config::parse_json(NO_EXPERIMENTS).ok()
}
