//! A plugin instance: loads a configuration, follows the plugin's last good one, and publishes
//! counts on its ticks.

use core::time::Duration;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sidetrack::names::shared::GENERATION;
use sidetrack::names::variable;
use sidetrack::plan::Plan;

use crate::configuration::{Configuration, Generations, Standing, Unusable};
use crate::failures::{self, Failures};
use crate::gauges::{self, Gauge};
use crate::held::Held;
use crate::host::{Host, Level};
use crate::metrics::Global;
use crate::plugins::{Plugin, Plugins};
use crate::prefixes;
use crate::runtime::{Runtime, is_set};

/// How often a worker shares outcomes, adopts transitions of other workers and publishes counts.
pub const TICK: Duration = Duration::from_millis(100);

/// How many ticks pass until response times, and the weights of a rollout, are published.
const TICKS_PER_SECOND: u32 = 10;

/// How many ticks pass until the rosters of other plugins are read, in case an announcement was lost.
const ROSTER_TICKS: u32 = 100;

/// What all plugin instances of one worker share.
pub struct Worker<H: Host> {
    generations: RefCell<Generations>,
    plugins: Plugins<H>,
    pub(crate) failures: Failures,
    pub(crate) held: Rc<Held>,
    /// The proxy redirects requests internally, and that was logged.
    pub(crate) has_redirects: Cell<bool>,
}

impl<H: Host> Default for Worker<H> {
    fn default() -> Self {
        let (generations, plugins) = (RefCell::default(), Plugins::default());
        let (failures, held, has_redirects) = Default::default();
        Self { generations, plugins, failures, held, has_redirects }
    }
}

/// One plugin configuration on one worker.
pub struct Instance<H: Host> {
    host: H,
    worker: Rc<Worker<H>>,
    /// `None` before a configuration is loaded, as the next two.
    plugin: Option<Rc<Plugin<H>>>,
    configuration: Option<Configuration>,
    runtime: Option<Rc<Runtime<H>>>,
    /// The access logger that reports failures, and not a filter.
    is_logger: bool,
    ticks: u32,
    /// The version of the announcement when the rosters of other plugins were last read.
    read_rosters: Option<u32>,
    /// The gauges that were set to zero when the configuration came into force, until they are set
    /// once more.
    gone: Option<Vec<Gauge>>,
}

impl<H: Host> Instance<H> {
    /// An instance without a configuration: requests pass untouched.
    #[must_use]
    pub fn new(host: H, worker: Rc<Worker<H>>) -> Self {
        Self {
            host,
            worker,
            plugin: None,
            configuration: None,
            runtime: None,
            is_logger: false,
            ticks: 0,
            read_rosters: None,
            gone: None,
        }
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
        let is_good = loaded.unusable.is_none();
        if let Some(unusable) = loaded.unusable.filter(|unusable| unusable.is_new) {
            self.report_unusable(&unusable, &loaded.configuration);
        }
        if !loaded.is_shared {
            self.host.log(
                Level::Warning,
                "shared data is unavailable: after a bad update, all requests bypass \
                 the experiment",
            );
        }
        let has_ticks = self.host.start_ticks(TICK);
        if !has_ticks {
            self.host.log(
                Level::Error,
                "the proxy provides no timer: the breakers of each worker work alone, \
                 and open only after consecutive failures",
            );
        }
        self.configuration = Some(loaded.configuration);
        self.join(plugin);
        if let Some(plan) = loaded.plan {
            if loaded.is_new && is_good {
                self.log_notices(&plan);
            }
            self.run(Rc::new(plan), has_ticks);
        }
        if !has_ticks {
            self.come_into_force();
        }
    }

    /// Logs what works only in part here.
    fn log_notices(&self, plan: &Plan) {
        let waits = is_set(&self.host, plan, variable::WAIT_FOR_BODIES);
        for notice in plan.notices.iter().filter(|notice| !(waits && notice.needs_bodies)) {
            self.host.log(Level::Warning, &format!("{}: {}", notice.path, notice.message));
        }
    }

    /// Runs a plan for all requests that begin from now on.
    fn run(&mut self, plan: Rc<Plan>, has_ticks: bool) {
        let Some(plugin) = self.plugin.clone() else { return };
        let global = Global::define(&self.host, self.name());
        let worker = Rc::clone(&self.worker);
        let runtime = Rc::new(Runtime::load(
            self.host.clone(),
            worker,
            Rc::clone(&plugin),
            plan,
            global,
            has_ticks,
        ));
        plugin.set_newest(&runtime);
        if let Some(before) = self.runtime.replace(runtime) {
            before.publish_counts();
            before.publish_times();
            // It gets no more ticks, so its last requests publish their own counts.
            before.has_ticks.set(false);
            before.retire();
        }
    }

    fn name(&self) -> &str {
        self.configuration.as_ref().map_or("", Configuration::plugin)
    }

    /// Joins the instances of the plugin of this name on the worker.
    fn join(&mut self, name: &str) {
        self.leave();
        let plugin = self.worker.plugins.of(name);
        plugin.add_instance();
        self.plugin = Some(plugin);
    }

    fn leave(&mut self) {
        if let Some(plugin) = self.plugin.take() {
            plugin.remove_instance();
        }
    }

    /// Does what is due by the clock. To be called every [`TICK`], with or without requests.
    pub fn tick(&mut self) {
        let Some(configuration) = &mut self.configuration else { return };
        if let Some(plan) = configuration.follow(&self.host) {
            self.run(Rc::new(plan), true);
        }
        self.ticks = self.ticks.wrapping_add(1);
        let is_second = self.ticks.is_multiple_of(TICKS_PER_SECOND);
        // Read once, and before what it announces.
        let generation = self.host.version(GENERATION);
        self.check_standing(generation, is_second);
        let Some(runtime) = &self.runtime else { return };
        runtime.tick_breakers(generation);
        runtime.publish_counts();
        if is_second {
            runtime.publish_times();
            let is_announced = self.read_rosters.replace(generation) != Some(generation)
                || self.ticks.is_multiple_of(ROSTER_TICKS);
            runtime.find_other_files(self.name(), is_announced);
            if runtime.standing.get() == Standing::InForce {
                self.publish_every_second(is_announced);
            }
        }
    }

    /// Finds out whether the configuration is in force, and acts on a change.
    fn check_standing(&mut self, generation: u32, is_second: bool) {
        let (Some(configuration), Some(runtime)) = (&mut self.configuration, &self.runtime) else {
            return;
        };
        let mut standing = configuration.standing(&self.host, generation);
        if runtime.resumes.take() && standing == Standing::Superseded {
            let mut generations = self.worker.generations.borrow_mut();
            if configuration.resume(&self.host, &mut generations) {
                standing = Standing::Due;
            }
        }
        let before = runtime.standing.replace(standing);
        match standing {
            Standing::Due => self.come_into_force(),
            Standing::InForce => {}
            Standing::Superseded if before == standing && !is_second => {}
            // Two files under one plugin name supersede each other; each judges its experiments.
            Standing::Superseded => {
                if gauges::name_any(&self.host, configuration.plugin(), &runtime.plan) {
                    runtime.retire();
                }
            }
        }
    }

    /// Brings the configuration into force: from now on it judges and publishes, and older ones of
    /// the plugin do not.
    fn come_into_force(&mut self) {
        if let Some(runtime) = self.runtime.as_ref().filter(|it| it.is_retired.get()) {
            // Nothing that it counted before is evidence now.
            let (plan, has_ticks) = (Rc::clone(&runtime.plan), runtime.has_ticks.get());
            self.run(plan, has_ticks);
        }
        let (Some(configuration), Some(runtime)) = (&mut self.configuration, &self.runtime) else {
            return;
        };
        let (host, plugin) = (&self.host, configuration.plugin());
        let gone = gauges::replace(host, plugin, &runtime.plan);
        prefixes::replace(host, plugin, Some(&runtime.plan.settings.headers.prefix));
        configuration.take_force(host, &mut self.worker.generations.borrow_mut());
        runtime.plugin.set_newest(runtime);
        runtime.standing.set(Standing::InForce);
        gauges::clear(host, &gone);
        runtime.publish_gauges();
        runtime.find_prefix_sharers(configuration.plugin());
        let (gauge, hash) = (runtime.global.config_hash, configuration.hash());
        gauge.set(host, hash.into());
        if hash != 0 && gauge.value(host).unwrap_or(0) == 0 {
            let text = format!(
                "Envoy hides the filter's metrics: a stats matcher excludes {}, so \
                 ab_test_* are missing or zero; decisions and breakers do not depend on them",
                H::FAMILY
            );
            host.log(Level::Error, &text);
        }
        self.gone = Some(gone);
    }

    /// Publishes what changes by the clock. The first time, publishes all gauges once more: until
    /// its next tick, an older configuration on another worker could still write them.
    fn publish_every_second(&mut self, is_announced: bool) {
        let (Some(configuration), Some(runtime)) = (&self.configuration, &self.runtime) else {
            return;
        };
        if let Some(gone) = self.gone.take() {
            gauges::clear(&self.host, &gone);
            runtime.publish_gauges();
            runtime.global.config_hash.set(&self.host, configuration.hash().into());
        } else if runtime.needs_clock {
            runtime.publish_weights();
        }
        if is_announced {
            runtime.find_prefix_sharers(configuration.plugin());
        }
    }

    /// Counts a bad text, and logs its problems and what serves instead.
    #[cold]
    fn report_unusable(&self, unusable: &Unusable, configuration: &Configuration) {
        let Some(problems) = &unusable.problems else {
            // Nothing is wrong before the first configuration.
            if configuration.is_good() {
                let text = "the configuration is empty: the last good one stays in force";
                self.host.log(Level::Warning, text);
            }
            return;
        };
        Global::define(&self.host, configuration.plugin()).config_rejected.count(&self.host);
        for problem in &problems.0 {
            let problem = problem.to_string().replace('\n', ";");
            let text = format!("configuration rejected: {problem}");
            self.host.log(Level::Error, &text);
        }
        let text = if configuration.is_good() {
            "the last good configuration stays in force"
        } else {
            "no good configuration has been loaded yet: all requests bypass the experiments"
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
            if let Some(configuration) = &self.configuration
                && configuration.release(&self.host)
            {
                runtime.clear_gauges(configuration.plugin());
            }
        }
        if self.is_logger {
            self.worker.failures.remove_logger();
        }
        self.leave();
    }
}
