//! Loading a configuration, and keeping the good one when the next is bad.

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use sidetrack::config::{self, Problems};
use sidetrack::plan::Plan;
use sidetrack::quantity::Timestamp;
use sidetrack::rollout::Schedule;

use crate::breakers::Breakers;
use crate::host::{self, Property};
use crate::metrics::{Global, Metrics};
use crate::stream::Stream;

/// How often workers tell each other outcomes, and learn of a trip.
const TICK_MILLISECONDS: u32 = 100;

/// After how many ticks the published weights follow a rollout's clock.
const TICKS_PER_PUBLICATION: u32 = 10;

/// Set where Envoy lets a filter hold headers back (`allow_on_headers_stop_iteration`). Nothing else tells the filter,
/// and without that switch a request that is held back never goes on.
const WAIT_FOR_BODIES: &str = "SIDETRACK_WAIT_FOR_BODIES";

/// Set where Envoy writes an access log of the exposures. The filter state that it is read from costs every request.
const EXPOSURES: &str = "SIDETRACK_EXPOSURES";

/// What an empty plugin configuration means, and a first one that is bad.
const NO_EXPERIMENTS: &[u8] = br#"{"experiments": []}"#;

/// A loaded configuration. Requests keep the one they began with.
pub(crate) struct Runtime {
    pub(crate) plan: Plan,
    /// By experiment.
    pub(crate) metrics: Vec<Metrics>,
    pub(crate) global: Global,
    pub(crate) breakers: RefCell<Breakers>,
    /// Whether a decision depends on the time.
    pub(crate) needs_clock: bool,
    /// Whether a request may be held back until its body is there.
    pub(crate) waits_for_bodies: bool,
    /// Whether the access log is told of each decision.
    pub(crate) exposes: bool,
}

impl Runtime {
    fn new(plan: Plan, global: Global) -> Self {
        let metrics = Metrics::define(&plan);
        let breakers = RefCell::new(Breakers::new(&plan, &metrics, now()));
        let needs_clock = plan.experiments.iter().any(|e| matches!(e.schedule, Schedule::Rollout(_)));
        let (waits_for_bodies, exposes) = (host::is_set(WAIT_FOR_BODIES), host::is_set(EXPOSURES));
        Self { plan, metrics, global, breakers, needs_clock, waits_for_bodies, exposes }
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
    Timestamp(host::now_nanoseconds().unwrap_or_default() / 1_000_000)
}

/// One plugin configuration in one VM.
#[derive(Default)]
pub(crate) struct Root {
    runtime: Option<Rc<Runtime>>,
    ticks: u32,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let text = host::configuration().unwrap_or_default();
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
        let runtime = Runtime::new(plan, global);
        runtime.publish_weights();
        let needs_ticks = runtime.needs_clock || runtime.breakers.borrow().are_active();
        if needs_ticks && host::set_tick_period(TICK_MILLISECONDS).is_err() {
            log::error!(
                "sidetrack: Envoy gives no ticks; breakers work on each worker alone, and only by streaks"
            );
        }
        self.runtime = Some(Rc::new(runtime));
        true
    }

    fn on_tick(&mut self) {
        let Some(runtime) = &self.runtime else { return };
        runtime.breakers.borrow_mut().tick(now(), &runtime.metrics);
        self.ticks = self.ticks.wrapping_add(1);
        if runtime.needs_clock && self.ticks.is_multiple_of(TICKS_PER_PUBLICATION) {
            runtime.publish_weights();
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(self.runtime.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Remembers, for all VMs of the proxy, that a good configuration is in force.
fn loaded(plan: &Plan, global: &Global) {
    let hash = u64::from(plan.hash.first_32_bits());
    global.config_hash.set(hash);
    if global.config_hash.value() != Some(hash) {
        log::error!(
            "sidetrack: Envoy hides the filter's metrics: a stats matcher excludes wasmcustom.*, so ab_test_* will \
             be missing or zero; decisions and breakers do not depend on them"
        );
    }
    if host::set_shared(&loaded_key(), plan.hash.short().as_bytes(), 0).is_err() {
        log::warn!("sidetrack: shared data is not to be had; a bad update will pass all requests untouched");
    }
    for notice in &plan.notices {
        log::warn!("sidetrack: {}: {}", notice.path, notice.message);
    }
}

/// Shared data is one namespace for all plugins of a proxy, so the key says whose it is.
fn loaded_key() -> String {
    let plugin = host::bytes_property(&Property::PLUGIN_NAME).unwrap_or_default();
    format!("sidetrack.loaded.{}", String::from_utf8_lossy(&plugin))
}

/// What follows a configuration that cannot be used. `None` refuses it, so that Envoy keeps the one before; if there
/// is none before, refusing would fail all traffic, so every request passes untouched instead.
fn after_bad(problems: &Problems, global: &Global) -> Option<Plan> {
    for problem in &problems.0 {
        log::error!("sidetrack: configuration rejected: {}", problem.to_string().replace('\n', ";"));
    }
    if host::shared(&loaded_key()).is_some() {
        global.config_rejected.count();
        return None;
    }
    // The proxy's first VM loads a configuration alone, before the workers do; it counts for all of them.
    if global.config_rejected.value() == Some(0) {
        global.config_rejected.count();
    }
    log::error!("sidetrack: no configuration was good yet; all requests pass untouched");
    config::parse_json(NO_EXPERIMENTS).ok()
}
