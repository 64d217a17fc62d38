//! A plugin instance: loads a configuration, follows the plugin's last good one, and ticks.

use core::time::Duration;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sidetrack::effects::Reporter;
use sidetrack::names::variable;
use sidetrack::plan::{PerExperiment, Plan};
use sidetrack::quantity::Timestamp;
use sidetrack::rollout::Schedule;
use sidetrack_proxy::configuration::{Configuration, Generations, Rejected};

use crate::breakers::{Breakers, SharedData};
use crate::ending::Endings;
use crate::failures;
use crate::host::{self, Level, Property};
use crate::metrics::{Global, Metrics};

/// How often workers tell each other outcomes, learn of a trip, and tell Envoy what they counted.
const TICK_MILLISECONDS: u32 = 100;

/// After so many ticks Envoy is told the times of answers, and the published weights follow a rollout's clock.
const TICKS_PER_SECOND: u32 = 10;

thread_local! {
    static GENERATIONS: RefCell<Generations> = RefCell::default();
}

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
    pub(crate) has_ticks: Cell<bool>,
    /// Whether a route may send a request that failed to the baseline.
    pub(crate) fails_over: bool,
    /// Which part reports the experiment and the variant.
    pub(crate) reporter: Reporter,
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
            has_ticks: Cell::new(true),
            fails_over,
            reporter: if host::is_set(variable::ROUTES_TELL) {
                Reporter::Routes
            } else {
                Reporter::Filter
            },
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

    fn tell(&self) {
        self.tell_counts();
        self.tell_times();
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
    configuration: Option<Configuration>,
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

    /// Loads the configuration, or the plugin's last good one in place of a bad one.
    pub(crate) fn configure(&mut self) {
        let text = host::configuration().unwrap_or_default();
        if text.trim_ascii() == failures::CONFIGURATION {
            self.logger = Some(failures::Logger::new());
            return;
        }
        let plugin = host::bytes_property(&Property::PLUGIN_NAME).unwrap_or_default();
        let plugin = String::from_utf8_lossy(&plugin);
        let loaded = GENERATIONS.with_borrow_mut(|generations| {
            Configuration::load(&SharedData, generations, &plugin, &text)
        });
        let global = Global::define(&plugin);
        if let Some(rejected) = loaded.rejected.filter(|rejected| rejected.is_new) {
            global.config_rejected.count();
            report(&rejected, &loaded.configuration);
        }
        if !loaded.is_shared {
            host::log(
                Level::Warn,
                "sidetrack: shared data is unavailable: after a bad update, all requests bypass the experiment",
            );
        }
        let ticks = host::set_tick_period(TICK_MILLISECONDS).is_ok();
        if !ticks {
            host::log(
                Level::Error,
                "sidetrack: Envoy gives no ticks: breakers work on each worker alone, and only by streaks",
            );
        }
        self.configuration = Some(loaded.configuration);
        if let Some(plan) = loaded.plan {
            self.run(plan, global, ticks);
        }
        if !ticks {
            self.publish_hash();
        }
    }

    /// Puts a plan in force. Requests keep the one that they began with.
    fn run(&mut self, plan: Plan, global: Global, has_ticks: bool) {
        for notice in &plan.notices {
            host::log(Level::Warn, &format!("sidetrack: {}: {}", notice.path, notice.message));
        }
        let runtime = Runtime::new(plan, global);
        runtime.has_ticks.set(has_ticks);
        runtime.publish_weights();
        if let Some(before) = self.runtime.replace(Rc::new(runtime)) {
            before.tell();
            // What its last requests count is reported at once from now on.
            before.has_ticks.set(false);
        }
    }

    /// Publishes the hash of the configuration that this worker serves, if it is the plugin's newest.
    fn publish_hash(&mut self) {
        let (Some(configuration), Some(runtime)) = (&mut self.configuration, &self.runtime) else {
            return;
        };
        let Some(hash) = configuration.publish(&SharedData).map(u64::from) else { return };
        let gauge = runtime.global.config_hash;
        gauge.set(hash);
        if hash != 0 && gauge.value().unwrap_or(0) == 0 {
            host::log(
                Level::Error,
                "sidetrack: Envoy hides the filter's metrics: a stats matcher excludes wasmcustom.*, so ab_test_* are \
                 missing or zero; decisions and breakers do not depend on them",
            );
        }
    }

    pub(crate) fn tick(&mut self) {
        if let Some(configuration) = &mut self.configuration
            && configuration.needs_ticks()
        {
            if let Some(plan) = configuration.follow(&SharedData) {
                let global = Global::define(configuration.plugin());
                self.run(plan, global, true);
            }
            self.publish_hash();
        }
        let Some(runtime) = &self.runtime else { return };
        let is_settled = !self.configuration.as_ref().is_some_and(Configuration::needs_ticks);
        if is_settled && runtime.plan.experiments.is_empty() {
            host::set_tick_period(0).ok();
            return;
        }
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
            runtime.tell();
        }
    }
}

/// Reports what is wrong with a configuration, and what serves instead.
fn report(rejected: &Rejected, configuration: &Configuration) {
    for problem in &rejected.problems.0 {
        let problem = problem.to_string().replace('\n', ";");
        host::log(Level::Error, &format!("sidetrack: configuration rejected: {problem}"));
    }
    let text = if configuration.is_good() {
        "sidetrack: the last good configuration stays in force"
    } else {
        "sidetrack: no configuration was good yet: all requests pass untouched"
    };
    host::log(Level::Error, text);
}
