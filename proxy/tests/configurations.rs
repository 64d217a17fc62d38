//! Good and bad texts in any order, on workers that start, crash and lag: the newest good one is in
//! force, and it alone.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use sidetrack::breaker::{Store, SwapError};
use sidetrack::config;
use sidetrack::names::shared::GENERATION;
use sidetrack_proxy::configuration::{Configuration, Generations, Standing};

const PLUGIN: &str = "sidetrack";
const TEXTS: [&str; 6] = [
    r#"{"experiments": [{"name": "a", "unit": [{"header": "x-user-id"}], "baseline": "old",
        "variants": [{"name": "old"}, {"name": "new", "weight": 10}]}]}"#,
    r#"{"experiments": [{"name": "b", "unit": [{"header": "x-user-id"}], "baseline": "old",
        "variants": [{"name": "old"}, {"name": "new", "weight": 20}]}]}"#,
    r#"{"experiments": [{"name": "x"}]}"#,
    "{",
    r#"{"experiments": []}"#,
    " ",
];
/// It means that there is no configuration yet.
const EMPTY: usize = 5;

/// The hash that each text puts in force, if it is good, and that of a configuration without
/// experiments.
static HASHES: LazyLock<[Option<u32>; 6]> = LazyLock::new(|| {
    TEXTS.map(|text| config::parse_json(text.as_bytes()).ok().map(|plan| plan.hash.first_32_bits()))
});

fn hash(text: usize) -> Option<u32> {
    HASHES[text]
}

#[derive(Default)]
struct Memory(RefCell<BTreeMap<String, (Vec<u8>, u32)>>);

impl Store for Memory {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.0.borrow().get(key).cloned()
    }

    fn swap(&self, key: &str, value: &[u8], version: u32) -> Result<(), SwapError> {
        let mut values = self.0.borrow_mut();
        let now = values.get(key).map_or(0, |(_, version)| *version);
        if version != 0 && version != now {
            return Err(SwapError::Conflict);
        }
        values.insert(key.to_owned(), (value.to_vec(), now + 1));
        Ok(())
    }
}

/// A plugin instance: Envoy makes one for each text on each worker.
struct Instance {
    text: usize,
    configuration: Configuration,
    hash: Option<u32>,
    standing: Option<Standing>,
    streams: usize,
}

#[derive(Default)]
struct Worker {
    generations: Generations,
    instances: Vec<Instance>,
    serving: usize,
}

/// What Envoy does with texts, as far as a plugin can see it.
#[derive(Default)]
struct Proxy {
    store: Memory,
    /// Envoy tries each text once, in a VM of its own, and remembers what came of it.
    tried: BTreeSet<usize>,
    workers: Vec<Worker>,
    rejected: u32,
    gauge: Option<u32>,
}

impl Proxy {
    fn load(&mut self, generations: &mut Generations, text: usize) -> Instance {
        let loaded = Configuration::load(&self.store, generations, PLUGIN, TEXTS[text].as_bytes());
        assert_eq!(loaded.unusable.is_some(), hash(text).is_none());
        assert!(loaded.is_shared);
        self.rejected +=
            u32::from(loaded.unusable.is_some_and(|it| it.is_new && it.problems.is_some()));
        let hash = loaded.plan.as_ref().map(|plan| plan.hash.first_32_bits());
        Instance { text, configuration: loaded.configuration, hash, standing: None, streams: 0 }
    }

    fn try_text(&mut self, text: usize) {
        if self.tried.insert(text) {
            let tried = self.load(&mut Generations::default(), text);
            self.end(&tried);
        }
    }

    /// A worker takes a text: an instance of the same text that is still alive serves again,
    /// without a word to it.
    fn deliver(&mut self, worker: usize, text: usize) {
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
    fn drop_unused(&mut self, worker: usize) {
        let it = &mut self.workers[worker];
        let text = it.instances[it.serving].text;
        let is_used = |instance: &Instance| instance.text == text || instance.streams > 0;
        let (kept, dropped): (Vec<_>, Vec<_>) =
            std::mem::take(&mut it.instances).into_iter().partition(is_used);
        it.instances = kept;
        it.serving = it.instances.iter().position(|instance| instance.text == text).unwrap();
        dropped.iter().for_each(|instance| self.end(instance));
    }

    fn end(&mut self, instance: &Instance) {
        if instance.configuration.release(&self.store) {
            self.gauge = Some(0);
        }
    }

    /// Other code runs the text that is there already: it has loaded the text before the old code
    /// ends.
    fn replace_code(&mut self, text: usize) {
        self.tried.clear();
        self.try_text(text);
        for number in 0..self.workers.len() {
            let before = std::mem::take(&mut self.workers[number]);
            self.deliver(number, text);
            before.instances.iter().for_each(|instance| self.end(instance));
        }
    }

    fn end_streams(&mut self) {
        for worker in 0..self.workers.len() {
            self.workers[worker].instances.iter_mut().for_each(|instance| instance.streams = 0);
            self.drop_unused(worker);
        }
    }

    fn publish(&mut self, text: usize) {
        self.try_text(text);
        (0..self.workers.len()).for_each(|worker| self.deliver(worker, text));
    }

    fn tick(&mut self) {
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

    fn check(&mut self, newest_good: Option<usize>, story: &impl std::fmt::Debug) {
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

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Publish(usize),
    /// The text that is there already.
    Again,
    /// A request begins on the first worker, and does not end.
    Stream,
    /// Those requests end.
    End,
    NewWorker,
    Crash,
    CrashAll,
}

const STEPS: [Step; 11] = [
    Step::Publish(0),
    Step::Publish(1),
    Step::Publish(2),
    Step::Publish(3),
    Step::Publish(EMPTY),
    Step::Again,
    Step::Stream,
    Step::End,
    Step::NewWorker,
    Step::Crash,
    Step::CrashAll,
];

fn play(steps: &[Step]) {
    let Some(Step::Publish(first)) = steps.first().copied() else { return };
    let mut proxy =
        Proxy { workers: vec![Worker::default(), Worker::default()], ..Proxy::default() };
    let (mut current, mut newest_good, mut rejected) = (first, None, 0);
    for (played, step) in steps.iter().enumerate() {
        match *step {
            Step::Publish(text) => {
                let is_new = played == 0 || text != current;
                rejected += u32::from(is_new && hash(text).is_none() && text != EMPTY);
                newest_good = hash(text).map(|_| text).or(newest_good);
                current = text;
                proxy.publish(text);
            }
            Step::Again => proxy.publish(current),
            Step::Stream => {
                let worker = &mut proxy.workers[0];
                worker.instances[worker.serving].streams += 1;
            }
            Step::End => proxy.end_streams(),
            Step::NewWorker => {
                proxy.workers.push(Worker::default());
                proxy.deliver(proxy.workers.len() - 1, current);
            }
            Step::Crash => {
                proxy.workers[0] = Worker::default();
                proxy.deliver(0, current);
            }
            Step::CrashAll => {
                proxy.workers.iter_mut().for_each(|worker| *worker = Worker::default());
                (0..proxy.workers.len()).for_each(|worker| proxy.deliver(worker, current));
            }
        }
        proxy.check(newest_good, &&steps[..=played]);
        assert_eq!(proxy.rejected, rejected, "rejected files after {:?}", &steps[..=played]);
    }
}

#[test]
fn any_order_ends_in_the_newest_good_text() {
    const LENGTH: u32 = 5;
    for number in 0..STEPS.len().pow(LENGTH) {
        let digit = |place: u32| STEPS[number / STEPS.len().pow(place) % STEPS.len()];
        let steps: Vec<Step> = (0..LENGTH).map(digit).collect();
        // Steps that a shorter sequence has shown already.
        if matches!(steps[0], Step::Publish(_)) && matches!(steps[4], Step::Publish(_)) {
            play(&steps);
        }
    }
}

/// A listener that drains keeps the instances of its text on all workers. If that text is published
/// again, they serve again, and no callback says so.
#[test]
fn a_text_that_serves_again_takes_over_when_the_one_after_it_has_ended() {
    let mut proxy =
        Proxy { workers: vec![Worker::default(), Worker::default()], ..Proxy::default() };
    let drain = |proxy: &mut Proxy| {
        for worker in &mut proxy.workers {
            worker.instances[worker.serving].streams += 1;
        }
    };
    // An even older one drains as well, and must not take over.
    proxy.publish(4);
    proxy.check(Some(4), &"the first");
    drain(&mut proxy);
    proxy.publish(0);
    proxy.check(Some(0), &"the second");
    drain(&mut proxy);
    proxy.publish(1);
    proxy.check(Some(1), &"the third");
    drain(&mut proxy);
    proxy.publish(0);
    for worker in &mut proxy.workers {
        let third = worker.instances.iter_mut().find(|instance| instance.text == 1);
        third.unwrap().streams = 0;
    }
    (0..2).for_each(|worker| proxy.drop_unused(worker));
    (0..12).for_each(|_| proxy.tick());
    proxy.check(Some(0), &"the second again");
    // A bad one falls back on it.
    proxy.end_streams();
    proxy.publish(2);
    proxy.check(Some(0), &"a bad one");
    // The third one is the newest when it comes again.
    proxy.publish(1);
    proxy.check(Some(1), &"the third again");
}

/// Nothing is in force when the filter has been removed.
#[test]
fn the_gauge_is_zero_when_the_last_instance_has_ended() {
    let mut proxy = Proxy { workers: vec![Worker::default()], ..Proxy::default() };
    proxy.publish(0);
    proxy.check(Some(0), &"the first");
    for instance in std::mem::take(&mut proxy.workers[0].instances) {
        assert!(instance.configuration.release(&proxy.store));
    }
}

/// New code loads the text in force before the old code ends, and ticks only afterwards.
#[test]
fn the_gauge_stays_when_new_code_runs_the_same_text() {
    for has_canary_last in [false, true] {
        let mut proxy =
            Proxy { workers: vec![Worker::default(), Worker::default()], ..Proxy::default() };
        proxy.publish(0);
        proxy.check(Some(0), &"the first code");
        for _ in 0..3 {
            proxy.replace_code(0);
            assert_eq!(proxy.gauge, hash(0), "the new code has not ticked");
            proxy.check(Some(0), &"the new code");
        }
        if has_canary_last {
            // It claims the text and ends, and the workers never see this code.
            proxy.tried.clear();
            proxy.try_text(0);
            assert_eq!(proxy.gauge, hash(0));
            proxy.check(Some(0), &"code that was only tried");
        }
        for worker in std::mem::take(&mut proxy.workers) {
            worker.instances.iter().for_each(|instance| proxy.end(instance));
        }
        assert_eq!(proxy.gauge, Some(0), "the plugin has ended");
    }
}

/// The main thread and two workers each take the same texts in order, but at their own pace.
#[test]
fn workers_that_lag_end_in_the_newest_good_text() {
    const TEXTS_PUBLISHED: usize = 4;
    let mut seed = 1_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for _ in 0..5_000 {
        let texts: Vec<usize> = (0..TEXTS_PUBLISHED).map(|_| random(4)).collect();
        let mut proxy =
            Proxy { workers: vec![Worker::default(), Worker::default()], ..Proxy::default() };
        let mut story = Vec::new();
        let mut taken = [0; 3];
        while taken != [TEXTS_PUBLISHED; 3] {
            let who = random(3);
            // A worker takes no text before the main thread has tried it.
            if taken[who] == TEXTS_PUBLISHED || who > 0 && taken[who] == taken[0] {
                continue;
            }
            let text = texts[taken[who]];
            match who {
                0 => proxy.try_text(text),
                worker => proxy.deliver(worker - 1, text),
            }
            taken[who] += 1;
            story.push((who, text));
            if random(3) == 0 {
                proxy.tick();
            }
        }
        let newest_good = texts.iter().rev().find(|&&text| hash(text).is_some());
        proxy.check(newest_good.copied(), &story);
    }
}

#[test]
fn plugins_of_one_proxy_keep_their_own_texts() {
    let store = Memory::default();
    let load = |plugin: &str, text: usize| {
        Configuration::load(&store, &mut Generations::default(), plugin, TEXTS[text].as_bytes())
    };
    load("one", 0);
    load("two", 1);
    for (plugin, text) in [("one", 0), ("two", 1)] {
        let loaded = load(plugin, 2);
        let plan = loaded.plan.unwrap();
        assert_eq!(Some(plan.hash.first_32_bits()), hash(text), "{plugin}");
    }
    assert!(!load("three", 2).configuration.is_good());
}

/// A store that does not work costs the way back, not the configuration itself.
#[test]
fn without_a_store_a_good_text_serves_and_a_bad_one_passes_requests() {
    struct Broken;
    impl Store for Broken {
        fn get(&self, _: &str) -> Option<(Vec<u8>, u32)> {
            None
        }

        fn swap(&self, _: &str, _: &[u8], _: u32) -> Result<(), SwapError> {
            Err(SwapError::Unavailable)
        }
    }
    let mut generations = Generations::default();
    let mut load =
        |text: &str| Configuration::load(&Broken, &mut generations, PLUGIN, text.as_bytes());
    let mut good = load(TEXTS[0]);
    assert!(!good.is_shared && good.unusable.is_none());
    assert_eq!(good.configuration.standing(&Broken, 0), Standing::Due);
    good.configuration.take_force(&Broken, &mut Generations::default());
    assert_eq!(good.configuration.standing(&Broken, 0), Standing::InForce);
    assert_eq!(Some(good.configuration.hash()), hash(0));
    let bad = load(TEXTS[2]);
    assert!(bad.unusable.unwrap().is_new);
    assert_eq!(bad.plan.unwrap().experiments.len(), 0);
    assert_eq!(bad.configuration.hash(), 0);
}

/// Texts beyond those that are remembered are new again, and the record does not grow.
#[test]
fn a_long_history_stays_small() {
    let store = Memory::default();
    let mut generations = Generations::default();
    for round in 0..200 {
        let text = TEXTS[0].replace("10", &format!("{}", round % 100 + 1));
        let loaded = Configuration::load(&store, &mut generations, PLUGIN, text.as_bytes());
        assert!(loaded.is_shared);
    }
    let sizes: Vec<usize> = store.0.borrow().values().map(|(value, _)| value.len()).collect();
    assert!(sizes.iter().sum::<usize>() < 2000, "{sizes:?}");
}

/// A store that counts the values that it returns, and can lose announcements.
#[derive(Default)]
struct Counting {
    memory: Memory,
    reads: Cell<u32>,
    loses_announcements: Cell<bool>,
}

impl Store for Counting {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.reads.set(self.reads.get() + 1);
        self.memory.get(key)
    }

    fn version(&self, key: &str) -> u32 {
        self.memory.version(key)
    }

    fn swap(&self, key: &str, value: &[u8], version: u32) -> Result<(), SwapError> {
        match key {
            GENERATION if self.loses_announcements.get() => Err(SwapError::Unavailable),
            _ => self.memory.swap(key, value, version),
        }
    }
}

/// Reading a value is the most expensive part of a tick.
#[test]
fn a_tick_reads_no_value_while_nothing_is_announced_but_for_one_in_ten() {
    let store = Counting::default();
    let load = |text: usize| {
        let text = TEXTS[text].as_bytes();
        Configuration::load(&store, &mut Generations::default(), PLUGIN, text).configuration
    };
    let mut old = load(0);
    assert_eq!(old.standing(&store, store.version(GENERATION)), Standing::Due);
    old.take_force(&store, &mut Generations::default());
    store.reads.set(0);
    for tick in 0..100 {
        assert_eq!(old.standing(&store, store.version(GENERATION)), Standing::InForce);
        assert_eq!(store.reads.get(), tick / 10 + 1, "tick {tick}");
    }
    assert!(store.memory.get(GENERATION).unwrap().0.is_empty(), "its version is read alone");
    // What another worker announces is found out at once, and without the announcement in a second.
    for (loses, latest) in [(false, 1), (true, 10)] {
        store.loses_announcements.set(loses);
        let mut old = load(0);
        old.take_force(&store, &mut Generations::default());
        (0..3).for_each(|_| {
            assert_eq!(old.standing(&store, store.version(GENERATION)), Standing::InForce)
        });
        load(1).take_force(&store, &mut Generations::default());
        let finds =
            |_: &u32| old.standing(&store, store.version(GENERATION)) == Standing::Superseded;
        let found = (1..=20).find(finds);
        assert!(found.is_some_and(|tick| tick <= latest && (tick > 1) == loses), "{found:?}");
    }
}
