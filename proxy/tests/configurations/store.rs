//! What the texts leave in the store that the workers share, and how often they read it.

use std::cell::Cell;

use sidetrack::breaker::{Store, SwapError};
use sidetrack::names::shared::GENERATION;
use sidetrack_proxy::configuration::{Configuration, Generations, Standing};

use super::{Memory, PLUGIN, TEXTS, hash};

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
