//! The generations of a plugin's texts, and its last good text: shared by all workers.

use sidetrack::breaker::{Store, SwapError};
use sidetrack::draw::sha256;
use sidetrack::names::shared;

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

/// A text that has its generation.
#[derive(Clone, Copy)]
pub(super) struct Registered {
    pub(super) generation: u64,
    /// No other worker has registered it before.
    pub(super) is_new: bool,
}

/// Gives a text its generation; `None` if the store does not work.
pub(super) fn register(
    store: &dyn Store,
    generations: &mut Generations,
    plugin: &str,
    digest: Digest,
    is_good: bool,
) -> Option<Registered> {
    let loaded = generations.of(plugin)?;
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

/// Registers a text again, as the newest: its instances serve again, which no callback reports.
pub(super) fn register_again(
    store: &dyn Store,
    generations: &mut Generations,
    plugin: &str,
    digest: Digest,
) -> Option<Registered> {
    let newest = Record::read(store, plugin).0.newest;
    if let Some(loaded) = generations.of(plugin) {
        *loaded = newest.max(*loaded);
    }
    register(store, generations, plugin, digest, true)
}

/// Identifies a text, and whether this version of Sidetrack accepts it.
pub(super) fn digest(text: &[u8], is_good: bool) -> Digest {
    let digest = sha256(&[&[u8::from(is_good)], text].concat());
    digest.first_chunk().copied().unwrap_or_default()
}

pub(super) type Digest = [u8; 16];

/// The generations of a plugin's texts.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) newest: u64,
    /// The newest good one; 0 before the first.
    pub(super) good: u64,
    /// Oldest first.
    texts: Vec<(Digest, u64)>,
}

impl Record {
    fn key(plugin: &str) -> String {
        format!("{}{plugin}", shared::CONFIGURATIONS)
    }

    /// The record and its version; an empty one if the plugin has none.
    pub(super) fn read(store: &dyn Store, plugin: &str) -> (Self, u32) {
        let found = store.get(&Self::key(plugin));
        found.map_or_else(Default::default, |(bytes, version)| (Self::decode(&bytes), version))
    }

    fn generation(&self, digest: Digest) -> Option<u64> {
        self.texts.iter().find(|(other, _)| *other == digest).map(|(_, generation)| *generation)
    }

    /// How many texts were registered after this one.
    pub(super) fn texts_after(&self, digest: Digest) -> u32 {
        let newer = self.texts.iter().rev().take_while(|(other, _)| *other != digest).count();
        u32::try_from(newer).unwrap_or(u32::MAX)
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

pub(super) fn number(bytes: &[u8]) -> (u64, &[u8]) {
    bytes.split_first_chunk().map_or((0, &[]), |(number, rest)| (u64::from_le_bytes(*number), rest))
}

fn text_key(plugin: &str) -> String {
    format!("{}{plugin}", shared::LAST_GOOD)
}

/// The plugin's last good text and its generation.
pub(super) fn last_good(store: &dyn Store, plugin: &str) -> Option<(u64, Vec<u8>)> {
    let (bytes, _) = store.get(&text_key(plugin))?;
    let (generation, text) = number(&bytes);
    Some((generation, text.to_vec()))
}

/// Keeps a good text in case a bad one follows. Returns whether this one or a newer one is kept.
pub(super) fn keep(store: &dyn Store, plugin: &str, generation: u64, text: &[u8]) -> bool {
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
