//! A configuration in force on one worker: the plan, and everything resolved for it when it was
//! loaded.

use core::time::Duration;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sidetrack::breaker::Fleet;
use sidetrack::decide::Decision;
use sidetrack::effects::Reporter;
use sidetrack::exposure::Exposures;
use sidetrack::names::variable;
use sidetrack::plan::{Experiment, PerExperiment, Plan};
use sidetrack::quantity::Timestamp;
use sidetrack::rollout::Schedule;

use crate::host::Host;
use crate::instance::Worker;
use crate::metrics::{Global, Metrics};

/// A loaded configuration. A request keeps the one that it began with.
pub struct Runtime<H: Host> {
    pub(crate) host: H,
    pub(crate) worker: Rc<Worker>,
    pub(crate) plan: Plan,
    pub(crate) metrics: PerExperiment<Metrics>,
    pub(crate) global: Global,
    pub(crate) fleet: RefCell<Fleet>,
    pub(crate) success_check: H::SuccessCheck,
    /// Decisions depend on the time.
    pub(crate) needs_clock: bool,
    /// Counts are published on ticks. If not, each request publishes its own.
    pub(crate) has_ticks: Cell<bool>,
    /// Routes may send a failed request to the baseline.
    pub(crate) fails_over: bool,
    /// The part of the proxy that reports experiment and variant.
    pub(crate) reporter: Reporter,
    /// Requests may be held back until their body has arrived.
    pub(crate) waits_for_bodies: bool,
    /// What decisions write for the access log; `None` without one.
    pub(crate) exposures: Option<PerExperiment<Exposures>>,
}

impl<H: Host> Runtime<H> {
    /// Resolves a plan, and publishes the weights and the breakers' states.
    pub(crate) fn load(
        host: H,
        worker: Rc<Worker>,
        plan: Plan,
        global: Global,
        has_ticks: bool,
    ) -> Self {
        let metrics = Metrics::define(&host, &plan);
        let fleet = Fleet::load(&plan, &host, timestamp(host.now()));
        let fails_over = host.is_set(variable::FAILOVER);
        let is_rollout = |it: &Experiment| matches!(it.schedule, Schedule::Rollout(_));
        let exposures = host
            .is_set(variable::EXPOSURES)
            .then(|| plan.experiments.map(|_, experiment| Exposures::new(&plan, experiment)));
        let has_reporting_routes = host.is_set(variable::ROUTES_TELL);
        let runtime = Self {
            worker,
            metrics,
            global,
            fleet: RefCell::new(fleet),
            success_check: host.prepare_success_check(fails_over),
            needs_clock: plan.experiments.iter().any(is_rollout),
            has_ticks: Cell::new(has_ticks),
            fails_over,
            reporter: if has_reporting_routes { Reporter::Routes } else { Reporter::Filter },
            waits_for_bodies: host.is_set(variable::WAIT_FOR_BODIES),
            exposures,
            plan,
            host,
        };
        runtime.publish_breaker_states();
        runtime.publish_weights();
        runtime
    }

    /// Publishes the counts of requests since the last call.
    pub(crate) fn publish_counts(&self) {
        self.metrics.iter().for_each(|metrics| metrics.publish_counts(&self.host));
    }

    /// Publishes the response times since the last call.
    pub(crate) fn publish_times(&self) {
        self.metrics.iter().for_each(|metrics| metrics.publish_times(&self.host));
    }

    /// Publishes the weights in force.
    pub(crate) fn publish_weights(&self) {
        let now = self.now();
        for (experiment, metrics) in self.plan.experiments.iter().zip(&self.metrics) {
            metrics.publish_weights(&self.host, experiment, now);
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        timestamp(self.host.now())
    }

    #[inline]
    pub(crate) fn experiment(&self, decision: &Decision) -> &Experiment {
        &self.plan.experiments[decision.experiment]
    }
}

/// A time since 1970 as decisions use it.
#[inline]
pub(crate) fn timestamp(since_1970: Duration) -> Timestamp {
    Timestamp::new(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}
