//! What Envoy does with texts, as far as a plugin can see it: workers, and the instances of the plugin on them.

use std::collections::BTreeSet;

use sidetrack::breaker::Store as _;
use sidetrack::names::shared::GENERATION;
use sidetrack_proxy::configuration::{Configuration, Generations, Standing};

use super::{Memory, PLUGIN, TEXTS, hash};

/// A plugin instance: Envoy makes one for each text on each worker.
pub(crate) struct Instance {
    pub(crate) text: usize,
    pub(crate) configuration: Configuration,
    pub(crate) hash: Option<u32>,
    pub(crate) standing: Option<Standing>,
    pub(crate) streams: usize,
}

#[derive(Default)]
pub(crate) struct Worker {
    pub(crate) generations: Generations,
    pub(crate) instances: Vec<Instance>,
    pub(crate) serving: usize,
}

/// What Envoy does with texts, as far as a plugin can see it.
#[derive(Default)]
pub(crate) struct Proxy {
    pub(crate) store: Memory,
    /// Envoy tries each text once, in a VM of its own, and remembers what came of it.
    pub(crate) tried: BTreeSet<usize>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) rejected: u32,
    pub(crate) gauge: Option<u32>,
}

impl Proxy {
    pub(crate) fn load(&mut self, generations: &mut Generations, text: usize) -> Instance {
        let loaded = Configuration::load(&self.store, generations, PLUGIN, TEXTS[text].as_bytes());
        assert_eq!(loaded.unusable.is_some(), hash(text).is_none());
        assert!(loaded.is_shared);
        self.rejected +=
            u32::from(loaded.unusable.is_some_and(|it| it.is_new && it.problems.is_some()));
        let hash = loaded.plan.as_ref().map(|plan| plan.hash.first_32_bits());
        Instance { text, configuration: loaded.configuration, hash, standing: None, streams: 0 }
    }

    pub(crate) fn try_text(&mut self, text: usize) {
        if self.tried.insert(text) {
            let tried = self.load(&mut Generations::default(), text);
            self.end(&tried);
        }
    }

    /// A worker takes a text: an instance of the same text that is still alive serves again,
    /// without a word to it.
    pub(crate) fn deliver(&mut self, worker: usize, text: usize) {
        let mut it = std::mem::take(&mut self.workers[worker]);
        let alive = it.instances.iter().position(|instance| instance.text == text);
        it.serving = alive.unwrap_or_else(|| {
            let instance = self.load(&mut it.generations, text);
            it.instances.push(instance);
            it.instances.len() - 1
        });
        self.workers[worker] = it;
        self.drop_unused(worker);
    }

    /// A worker drops the instances that do not serve and have no requests.
    pub(crate) fn drop_unused(&mut self, worker: usize) {
        let it = &mut self.workers[worker];
        let text = it.instances[it.serving].text;
        let is_used = |instance: &Instance| instance.text == text || instance.streams > 0;
        let (kept, dropped): (Vec<_>, Vec<_>) =
            std::mem::take(&mut it.instances).into_iter().partition(is_used);
        it.instances = kept;
        it.serving = it.instances.iter().position(|instance| instance.text == text).unwrap();
        dropped.iter().for_each(|instance| self.end(instance));
    }

    pub(crate) fn end(&mut self, instance: &Instance) {
        if instance.configuration.release(&self.store) {
            self.gauge = Some(0);
        }
    }

    /// Other code runs the text that is there already: it has loaded the text before the old code
    /// ends.
    pub(crate) fn replace_code(&mut self, text: usize) {
        self.tried.clear();
        self.try_text(text);
        for number in 0..self.workers.len() {
            let before = std::mem::take(&mut self.workers[number]);
            self.deliver(number, text);
            before.instances.iter().for_each(|instance| self.end(instance));
        }
    }

    pub(crate) fn end_streams(&mut self) {
        for worker in 0..self.workers.len() {
            self.workers[worker].instances.iter_mut().for_each(|instance| instance.streams = 0);
            self.drop_unused(worker);
        }
    }

    pub(crate) fn publish(&mut self, text: usize) {
        self.try_text(text);
        (0..self.workers.len()).for_each(|worker| self.deliver(worker, text));
    }

    pub(crate) fn tick(&mut self) {
        for worker in &mut self.workers {
            for instance in &mut worker.instances {
                if let Some(plan) = instance.configuration.follow(&self.store) {
                    instance.hash = Some(plan.hash.first_32_bits());
                }
                let mut standing =
                    instance.configuration.standing(&self.store, self.store.version(GENERATION));
                if standing == Standing::Due {
                    instance.configuration.take_force(&self.store, &mut worker.generations);
                    self.gauge = Some(instance.configuration.hash());
                    standing = Standing::InForce;
                }
                instance.standing = Some(standing);
            }
        }
    }

    pub(crate) fn check(&mut self, newest_good: Option<usize>, story: &impl std::fmt::Debug) {
        // A worker may find out only on its next tick what another one has brought into force.
        self.tick();
        self.tick();
        let expected = hash(newest_good.unwrap_or(4));
        for (number, worker) in self.workers.iter().enumerate() {
            let serving = &worker.instances[worker.serving];
            assert_eq!(serving.hash, expected, "worker {number} after {story:?}");
            for instance in &worker.instances {
                let is_newest = instance.hash == expected;
                let standing = if is_newest { Standing::InForce } else { Standing::Superseded };
                assert_eq!(instance.standing, Some(standing), "worker {number} after {story:?}");
            }
        }
        let gauge = newest_good.map_or(0, |text| hash(text).unwrap());
        assert_eq!(self.gauge, Some(gauge), "the gauge after {story:?}");
    }
}
