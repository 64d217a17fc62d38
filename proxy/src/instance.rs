//! A plugin instance: loads a configuration, follows the plugin's last good one, and publishes
//! counts on its ticks.

use core::time::Duration;
use std::cell::RefCell;
use std::rc::Rc;

use sidetrack::plan::Plan;

use crate::configuration::{Configuration, Generations, Rejected};
use crate::failures::{self, Failures};
use crate::held::Held;
use crate::host::{Host, Level};
use crate::metrics::Global;
use crate::runtime::Runtime;

/// How often a worker shares outcomes, adopts transitions of other workers and publishes counts.
pub const TICK: Duration = Duration::from_millis(100);

/// How many ticks pass until response times, and the weights of a rollout, are published.
const TICKS_PER_SECOND: u32 = 10;

/// What all plugin instances of one worker share.
#[derive(Debug, Default)]
pub struct Worker {
    generations: RefCell<Generations>,
    pub(crate) failures: Failures,
    pub(crate) held: Held,
}

/// One plugin configuration on one worker.
pub struct Instance<H: Host> {
    host: H,
    worker: Rc<Worker>,
    configuration: Option<Configuration>,
    runtime: Option<Rc<Runtime<H>>>,
    /// The access logger that reports failures, and not a filter.
    is_logger: bool,
    ticks: u32,
}

impl<H: Host> Instance<H> {
    /// An instance without a configuration: requests pass untouched.
    #[must_use]
    pub fn new(host: H, worker: Rc<Worker>) -> Self {
        let (configuration, runtime) = (None, None);
        Self { host, worker, configuration, runtime, is_logger: false, ticks: 0 }
    }

    /// The configuration for new requests; `None` if they pass untouched.
    #[must_use]
    pub fn runtime(&self) -> Option<Rc<Runtime<H>>> {
        self.runtime.clone()
    }

    /// The streams of a failed request, if this instance is the access logger that reports
    /// failures. To be called when the proxy logs to this instance; each stream's
    /// [`report_failure`](crate::stream::Stream::report_failure) follows.
    #[must_use]
    pub fn take_failed_streams(&self) -> Vec<u32> {
        if self.is_logger { self.worker.failures.take_waiting() } else { Vec::new() }
    }

    /// Loads a configuration, or the last good one of this plugin in place of a bad one. No text is
    /// refused, see [`crate::configuration`].
    pub fn load(&mut self, plugin: &str, text: &[u8]) {
        if text.trim_ascii() == failures::CONFIGURATION {
            if !self.is_logger {
                self.worker.failures.add_logger(self.host.random());
            }
            self.is_logger = true;
            return;
        }
        let loaded = {
            let mut generations = self.worker.generations.borrow_mut();
            Configuration::load(&self.host, &mut generations, plugin, text)
        };
        let global = Global::define(&self.host, plugin);
        if let Some(rejected) = loaded.rejected.filter(|rejected| rejected.is_new) {
            global.config_rejected.count(&self.host);
            self.report_rejected(&rejected, &loaded.configuration);
        }
        if !loaded.is_shared {
            self.host.log(
                Level::Warning,
                "sidetrack: shared data is unavailable: after a bad update, all requests bypass \
                 the experiment",
            );
        }
        let has_ticks = self.host.start_ticks(TICK);
        if !has_ticks {
            self.host.log(
                Level::Error,
                "sidetrack: the proxy provides no timer: the breakers of each worker work alone, \
                 and open only after consecutive failures",
            );
        }
        self.configuration = Some(loaded.configuration);
        if let Some(plan) = loaded.plan {
            self.run(plan, global, has_ticks);
        }
        if !has_ticks {
            self.publish_hash();
        }
    }

    /// Runs a plan for all requests that begin from now on.
    fn run(&mut self, plan: Plan, global: Global, has_ticks: bool) {
        for notice in &plan.notices {
            let text = format!("sidetrack: {}: {}", notice.path, notice.message);
            self.host.log(Level::Warning, &text);
        }
        let worker = Rc::clone(&self.worker);
        let runtime = Runtime::load(self.host.clone(), worker, plan, global, has_ticks);
        if let Some(before) = self.runtime.replace(Rc::new(runtime)) {
            before.publish_counts();
            before.publish_times();
            // It gets no more ticks, so its last requests publish their own counts.
            before.has_ticks.set(false);
        }
    }

    /// Publishes the hash of the configuration that this worker serves, if it is the plugin's
    /// newest.
    fn publish_hash(&mut self) {
        let (Some(configuration), Some(runtime)) = (&mut self.configuration, &self.runtime) else {
            return;
        };
        let Some(hash) = configuration.publish(&self.host).map(u64::from) else { return };
        let gauge = runtime.global.config_hash;
        gauge.set(&self.host, hash);
        if hash != 0 && gauge.value(&self.host).unwrap_or(0) == 0 {
            let text = format!(
                "sidetrack: Envoy hides the filter's metrics: a stats matcher excludes {}, so \
                 ab_test_* are missing or zero; decisions and breakers do not depend on them",
                H::FAMILY
            );
            self.host.log(Level::Error, &text);
        }
    }

    /// Does what is due by the clock. To be called every [`TICK`], with or without requests.
    pub fn tick(&mut self) {
        if let Some(configuration) = &mut self.configuration
            && configuration.needs_ticks()
        {
            if let Some(plan) = configuration.follow(&self.host) {
                let global = Global::define(&self.host, configuration.plugin());
                self.run(plan, global, true);
            }
            self.publish_hash();
        }
        let Some(runtime) = &self.runtime else { return };
        let is_settled = !self.configuration.as_ref().is_some_and(Configuration::needs_ticks);
        if is_settled && runtime.plan.experiments.is_empty() {
            self.host.stop_ticks();
            return;
        }
        runtime.tick_breakers();
        runtime.publish_counts();
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(TICKS_PER_SECOND) {
            runtime.publish_times();
            if runtime.needs_clock {
                runtime.publish_weights();
            }
        }
    }

    /// Logs the problems of a configuration, and what serves instead.
    #[cold]
    fn report_rejected(&self, rejected: &Rejected, configuration: &Configuration) {
        for problem in &rejected.problems.0 {
            let problem = problem.to_string().replace('\n', ";");
            let text = format!("sidetrack: configuration rejected: {problem}");
            self.host.log(Level::Error, &text);
        }
        let text = if configuration.is_good() {
            "sidetrack: the last good configuration stays in force"
        } else {
            "sidetrack: no good configuration has been loaded yet: all requests bypass the experiments"
        };
        self.host.log(Level::Error, text);
    }
}

/// A proxy drops an instance when its last request has ended.
impl<H: Host> Drop for Instance<H> {
    fn drop(&mut self) {
        if let Some(runtime) = &self.runtime {
            runtime.publish_counts();
            runtime.publish_times();
        }
        if self.is_logger {
            self.worker.failures.remove_logger();
        }
    }
}
