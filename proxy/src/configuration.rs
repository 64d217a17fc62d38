//! The configuration in force: the newest good text of a plugin, shared by all workers of a proxy.
//!
//! No text is refused. While a refused one is pending, Envoy holds back all other listeners, and it
//! identifies a plugin by the bytes of its configuration: a plugin that accepts a text once and
//! refuses it later never starts again. So a text that cannot be used is counted and logged, and
//! the last good text of the same plugin serves instead, on this worker and on those that start
//! later.
//!
//! Generations give texts their order. A proxy gives all of its workers the same texts in the same
//! order, but at different times, and repeats a text when a worker starts. So a text keeps its
//! generation, unless a worker that has already loaded a newer one loads it again: then it was
//! published again, and is the newest. `docs/design.md` lists the cases that cannot be
//! distinguished.

use sidetrack::breaker::{Store, SwapError};
use sidetrack::config::{self, Problems};
use sidetrack::draw::sha256;
use sidetrack::names::shared;
use sidetrack::plan::Plan;

/// The meaning of an empty text, and of a bad one before the first good one.
const NO_EXPERIMENTS: &[u8] = br#"{"experiments": []}"#;

/// How often a write is tried that loses the race.
const TRIES: u32 = 16;

/// How many texts keep their generation. A draining listener may hold an old one.
const REMEMBERED: usize = 32;

/// The newest generation that a worker has loaded, by plugin.
#[derive(Debug, Default)]
pub struct Generations(Vec<(String, u64)>);

impl Generations {
    /// Before the first text.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    fn of(&mut self, plugin: &str) -> Option<&mut u64> {
        let index = self.0.iter().position(|(name, _)| name == plugin);
        let index = index.unwrap_or(self.0.len());
        if index == self.0.len() {
            self.0.push((plugin.to_owned(), 0));
        }
        self.0.get_mut(index).map(|(_, generation)| generation)
    }
}

/// The configuration that a plugin instance on one worker runs.
#[derive(Debug)]
pub struct Configuration {
    plugin: String,
    /// The generation of the good text in use; 0 before the first one.
    generation: u64,
    hash: u32,
    /// The instance's own text is bad, so it follows the plugin's last good one.
    follows: bool,
    is_published: bool,
}

/// A text that was loaded.
#[derive(Debug)]
pub struct Loaded {
    /// For [`Configuration::follow`] and [`Configuration::publish`].
    pub configuration: Configuration,
    /// The plan to run. Without one, requests pass untouched.
    pub plan: Option<Plan>,
    /// The problems of a bad text.
    pub rejected: Option<Rejected>,
    /// Whether other workers, and later ones, can fall back on this text or the last good one.
    pub is_shared: bool,
}

/// A text that cannot be used.
#[derive(Debug)]
pub struct Rejected {
    /// All of its problems.
    pub problems: Problems,
    /// No other worker has seen it before, so this one counts and reports it.
    pub is_new: bool,
}

impl Configuration {
    /// Loads a text for a plugin instance of this name.
    pub fn load(
        store: &dyn Store,
        generations: &mut Generations,
        plugin: &str,
        text: &[u8],
    ) -> Loaded {
        let text = if text.trim_ascii().is_empty() { NO_EXPERIMENTS } else { text };
        let parsed = config::parse_json(text);
        let registered = register(store, generations, plugin, text, parsed.is_ok());
        let generation = registered.map_or(0, |registered| registered.generation);
        let mut configuration = Self {
            plugin: plugin.to_owned(),
            generation,
            hash: 0,
            follows: parsed.is_err(),
            is_published: false,
        };
        match parsed {
            Ok(plan) => {
                configuration.hash = plan.hash.first_32_bits();
                let is_shared = registered.is_some() && keep(store, plugin, generation, text);
                Loaded { configuration, plan: Some(plan), rejected: None, is_shared }
            }
            Err(problems) => {
                configuration.generation = 0;
                let plan = configuration.follow(store).or_else(no_experiments);
                let is_new = registered.is_none_or(|registered| registered.is_new);
                let rejected = Some(Rejected { problems, is_new });
                Loaded { configuration, plan, rejected, is_shared: registered.is_some() }
            }
        }
    }

    /// The name of the plugin.
    #[must_use]
    pub fn plugin(&self) -> &str {
        &self.plugin
    }

    /// Whether a good text is in use.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.follows || self.generation > 0
    }

    /// Whether [`Self::follow`] or [`Self::publish`] may still have something to do.
    #[must_use]
    pub fn needs_ticks(&self) -> bool {
        self.follows || !self.is_published
    }

    /// A newer plan to run, if the instance's own text is bad and another worker has loaded a good
    /// one.
    pub fn follow(&mut self, store: &dyn Store) -> Option<Plan> {
        if !self.follows || Record::read(store, &self.plugin).0.good == self.generation {
            return None;
        }
        let (bytes, _) = store.get(&text_key(&self.plugin))?;
        let (generation, text) = number(&bytes);
        // The text is written after the record.
        if generation == self.generation {
            return None;
        }
        self.generation = generation;
        self.is_published = false;
        // Another version of Sidetrack may accept texts that this one rejects.
        let good = config::parse_json(text).ok();
        self.hash = good.as_ref().map_or(0, |plan| plan.hash.first_32_bits());
        good.or_else(no_experiments)
    }

    /// The first 32 bits of the configuration's hash, 0 without a good one: once, and only while it
    /// is the plugin's newest. Only workers that serve requests call this.
    pub fn publish(&mut self, store: &dyn Store) -> Option<u32> {
        if self.is_published {
            return None;
        }
        self.is_published = true;
        (Record::read(store, &self.plugin).0.good == self.generation).then_some(self.hash)
    }
}

#[derive(Clone, Copy)]
struct Registered {
    generation: u64,
    is_new: bool,
}

/// Gives a text its generation; `None` if the store does not work.
fn register(
    store: &dyn Store,
    generations: &mut Generations,
    plugin: &str,
    text: &[u8],
    is_good: bool,
) -> Option<Registered> {
    let loaded = generations.of(plugin)?;
    let digest = digest(text, is_good);
    for _ in 0..TRIES {
        let (mut record, version) = Record::read(store, plugin);
        let known = record.generation(digest).filter(|&generation| generation >= *loaded);
        let generation = known.unwrap_or_else(|| record.newest.max(*loaded).saturating_add(1));
        if known.is_none() {
            record.add(digest, generation, is_good);
            match store.swap(&Record::key(plugin), &record.encode(), version) {
                Ok(()) => {}
                Err(SwapError::Conflict) => continue,
                Err(SwapError::Unavailable) => return None,
            }
        }
        *loaded = generation;
        return Some(Registered { generation, is_new: known.is_none() });
    }
    None
}

/// Identifies a text, and whether this version of Sidetrack accepts it.
fn digest(text: &[u8], is_good: bool) -> Digest {
    let digest = sha256(&[&[u8::from(is_good)], text].concat());
    digest.first_chunk().copied().unwrap_or_default()
}

type Digest = [u8; 16];

/// The generations of a plugin's texts.
#[derive(Debug, Default)]
struct Record {
    newest: u64,
    /// The newest good one; 0 before the first.
    good: u64,
    /// Oldest first.
    texts: Vec<(Digest, u64)>,
}

impl Record {
    fn key(plugin: &str) -> String {
        format!("{}{plugin}", shared::CONFIGURATIONS)
    }

    /// The record and its version; an empty one if the plugin has none.
    fn read(store: &dyn Store, plugin: &str) -> (Self, u32) {
        let found = store.get(&Self::key(plugin));
        found.map_or_else(Default::default, |(bytes, version)| (Self::decode(&bytes), version))
    }

    fn generation(&self, digest: Digest) -> Option<u64> {
        self.texts.iter().find(|(other, _)| *other == digest).map(|(_, generation)| *generation)
    }

    fn add(&mut self, digest: Digest, generation: u64, is_good: bool) {
        self.texts.retain(|(other, _)| *other != digest);
        self.texts.push((digest, generation));
        let surplus = self.texts.len().saturating_sub(REMEMBERED);
        self.texts.drain(..surplus);
        self.newest = generation;
        if is_good {
            self.good = generation;
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = [self.newest.to_le_bytes(), self.good.to_le_bytes()].concat();
        for (digest, generation) in &self.texts {
            bytes.extend(digest);
            bytes.extend(generation.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        let (newest, rest) = number(bytes);
        let (good, mut rest) = number(rest);
        let mut texts = Vec::new();
        while let Some((digest, generation)) = rest.split_first_chunk::<16>() {
            let (generation, next) = number(generation);
            texts.push((*digest, generation));
            rest = next;
        }
        Self { newest, good, texts }
    }
}

fn number(bytes: &[u8]) -> (u64, &[u8]) {
    bytes.split_first_chunk().map_or((0, &[]), |(number, rest)| (u64::from_le_bytes(*number), rest))
}

fn text_key(plugin: &str) -> String {
    format!("{}{plugin}", shared::LAST_GOOD)
}

/// Keeps a good text in case a bad one follows. Returns whether this one or a newer one is kept.
fn keep(store: &dyn Store, plugin: &str, generation: u64, text: &[u8]) -> bool {
    let key = text_key(plugin);
    let value = [&generation.to_le_bytes(), text].concat();
    for _ in 0..TRIES {
        let kept = store.get(&key);
        let (kept, version) = kept.map_or((0, 0), |(bytes, version)| (number(&bytes).0, version));
        if kept >= generation {
            return true;
        }
        match store.swap(&key, &value, version) {
            Ok(()) => return true,
            Err(SwapError::Conflict) => {}
            Err(SwapError::Unavailable) => return false,
        }
    }
    false
}

fn no_experiments() -> Option<Plan> {
    config::parse_json(NO_EXPERIMENTS).ok()
}
