//! A configuration in force on one worker: the plan, and everything resolved for it when it was
//! loaded.

use core::time::Duration;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sidetrack::breaker::Fleet;
use sidetrack::decide::Decision;
use sidetrack::effects::Reporter;
use sidetrack::exposure::Exposures;
use sidetrack::names::{filter_state, variable};
use sidetrack::plan::{Experiment, PerExperiment, Plan};
use sidetrack::quantity::Timestamp;
use sidetrack::rollout::Schedule;

use crate::configuration::Standing;
use crate::exposure::Keys;
use crate::gauges;
use crate::host::{Host, Level};
use crate::instance::Worker;
use crate::metrics::{Global, Metrics};
use crate::plugins::Plugin;
use crate::prefixes;

/// A loaded configuration. A request keeps the one that it began with.
pub struct Runtime<H: Host> {
    pub(crate) host: H,
    pub(crate) worker: Rc<Worker<H>>,
    pub(crate) plugin: Rc<Plugin<H>>,
    pub(crate) plan: Rc<Plan>,
    pub(crate) metrics: PerExperiment<Metrics>,
    pub(crate) global: Global,
    pub(crate) fleet: RefCell<Fleet>,
    /// What the last tick found about the configuration.
    pub(crate) standing: Cell<Standing>,
    /// A newer configuration has the same experiments, so this one's breakers only follow.
    pub(crate) is_retired: Cell<bool>,
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
    /// The filter removes its own headers from responses, because the routes do not.
    pub(crate) cleans_responses: bool,
    /// The filter state for the access log.
    pub(crate) keys: Keys,
    /// The connection of the next request is observed.
    pub(crate) observes_connections: Cell<bool>,
    /// New connections show that this configuration serves again, although a newer one is in force.
    pub(crate) resumes: Cell<bool>,
    /// Another plugin of the proxy has the same header prefix.
    pub(crate) shares_prefix: Cell<bool>,
    /// The filter state that marks a request as decided, while plugins share a prefix.
    pub(crate) mark: String,
}

/// What a variable announces: the file's `settings.proxy`, else the proxy's environment.
pub(crate) fn is_set(host: &impl Host, plan: &Plan, name: &str) -> bool {
    plan.settings.proxy.of(name).unwrap_or_else(|| host.is_set(name))
}

impl<H: Host> Runtime<H> {
    /// Resolves a plan.
    pub(crate) fn load(
        host: H,
        worker: Rc<Worker<H>>,
        plugin: Rc<Plugin<H>>,
        plan: Rc<Plan>,
        global: Global,
        has_ticks: bool,
    ) -> Self {
        let metrics = Metrics::define(&host, &plan);
        let fleet = Fleet::load(&plan, &host, timestamp(host.now()));
        let is_set = |name| is_set(&host, &plan, name);
        let fails_over = is_set(variable::FAILOVER);
        let is_rollout = |it: &Experiment| matches!(it.schedule, Schedule::Rollout(_));
        let exposures = is_set(variable::EXPOSURES)
            .then(|| plan.experiments.map(|_, experiment| Exposures::new(&plan, experiment)));
        let has_reporting_routes = is_set(variable::ROUTES_TELL);
        let waits_for_bodies = is_set(variable::WAIT_FOR_BODIES);
        let cleans_responses = !is_set(variable::ROUTES_CLEAN);
        Self {
            worker,
            observes_connections: Cell::new(!plugin.is_alone()),
            plugin,
            resumes: Cell::new(false),
            metrics,
            global,
            fleet: RefCell::new(fleet),
            standing: Cell::new(Standing::Due),
            is_retired: Cell::new(false),
            success_check: host.prepare_success_check(fails_over),
            needs_clock: plan.experiments.iter().any(is_rollout),
            has_ticks: Cell::new(has_ticks),
            fails_over,
            reporter: if has_reporting_routes { Reporter::Routes } else { Reporter::Filter },
            waits_for_bodies,
            exposures,
            cleans_responses,
            keys: Keys::new(&plan.settings.headers.prefix),
            shares_prefix: Cell::new(false),
            mark: format!("{}{}", filter_state::DECIDED, plan.settings.headers.prefix),
            plan,
            host,
        }
    }

    /// Ends the judgment of the breakers: from now on they only follow those of a newer
    /// configuration.
    pub(crate) fn retire(&self) {
        if !self.is_retired.replace(true) {
            self.fleet.borrow_mut().retire();
        }
    }

    /// Publishes the gauges of the experiments: the weights in force and the breakers' states.
    pub(crate) fn publish_gauges(&self) {
        self.publish_weights();
        self.publish_breaker_states();
    }

    /// Counts the other plugins with the same header prefix.
    pub(crate) fn find_prefix_sharers(&self, plugin: &str) {
        let prefix = &self.plan.settings.headers.prefix;
        let others = prefixes::others(&self.host, plugin, prefix).len();
        self.shares_prefix.set(others > 0);
        let others = u64::try_from(others).unwrap_or(u64::MAX);
        self.global.prefix_shared.set(&self.host, others);
    }

    /// Logs once that the proxy redirects requests internally. A redirected request has the
    /// filter's headers from its first pass.
    #[cold]
    pub(crate) fn report_redirect(&self) {
        if !self.worker.has_redirects.replace(true) {
            let text = "sidetrack: Envoy redirects requests of experiments internally \
                        (internal_redirect_policy): each pass is decided and counted as a request \
                        of its own, and overrides are lost";
            self.host.log(Level::Warning, text);
        }
    }

    /// Sets all gauges to zero: the plugin ends.
    pub(crate) fn clear_gauges(&self, plugin: &str) {
        gauges::end(&self.host, plugin, &self.plan);
        prefixes::replace(&self.host, plugin, None);
        self.global.config_hash.set(&self.host, 0);
        self.global.prefix_shared.set(&self.host, 0);
        self.clear_other_files(plugin);
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
