//! The configuration of a plugin: the newest good text, shared by all workers of a proxy.
//!
//! No text is refused. While a refused one is pending, Envoy holds back all other listeners, and it
//! identifies a plugin by the bytes of its configuration: a plugin that accepts a text once and
//! refuses it later never starts again. So a text that cannot be used is counted and logged, and
//! the last good text of the same plugin serves instead, on this worker and on those that start
//! later.
//!
//! An empty text means that there is no configuration yet: the plugin has none, or the file that it
//! is read from cannot be read. It is treated as a bad one, but not counted.
//!
//! Generations give texts their order. A proxy gives all of its workers the same texts in the same
//! order, but at different times, and repeats a text when a worker starts. So a text keeps its
//! generation, unless a worker that has already loaded a newer one loads it again: then it was
//! published again, and is the newest. `docs/design.md` lists the cases that cannot be
//! distinguished.

mod force;
mod history;

use sidetrack::breaker::Store;
use sidetrack::config::{self, Problems};
use sidetrack::plan::Plan;

use force::{Force, RELEASED_TICKS};
pub use history::Generations;
use history::{Digest, Record, digest, keep, last_good, register, register_again};

/// What runs before the first good text.
const NO_EXPERIMENTS: &[u8] = br#"{"experiments": []}"#;

/// The configuration that a plugin instance on one worker runs.
#[derive(Debug)]
pub struct Configuration {
    plugin: String,
    /// The instance's own text, if it is good. If not, the instance follows the plugin's last good
    /// one.
    text: Option<Vec<u8>>,
    /// The generation of the instance's own text.
    registered: u64,
    /// The generation of the good text in use; 0 before the first one.
    generation: u64,
    /// The digest of the good text in use; zeros before the first one.
    digest: Digest,
    hash: u32,
    /// It has been in force since an earlier tick.
    is_in_force: bool,
    /// For how many ticks the configuration in force has been released.
    released: u32,
    /// What the last ticks found, until it must be found out again.
    found: Option<Found>,
    /// The number of the instance's claim to the configuration in force; 0 without one.
    claim: u64,
}

/// A text that was loaded.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration to run.
    pub configuration: Configuration,
    /// The plan to run. Without one, requests pass untouched.
    pub plan: Option<Plan>,
    /// No other worker has loaded the text before, so this one logs its notices.
    pub is_new: bool,
    /// Why the text itself cannot be used.
    pub unusable: Option<Unusable>,
    /// Whether other workers, and later ones, can fall back on this text or the last good one.
    pub is_shared: bool,
}

/// A text that cannot be used.
#[derive(Debug)]
pub struct Unusable {
    /// All problems of a bad text; `None` for an empty one, which is not a mistake.
    pub problems: Option<Problems>,
    /// No other worker has seen it before, so this one counts and reports it.
    pub is_new: bool,
}

/// What a tick finds about a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is due to come into force, see [`Configuration::take_force`].
    Due,
    /// It is in force.
    InForce,
    /// Another one of the plugin is in force.
    Superseded,
}

/// A standing that lasts until another one is announced.
#[derive(Clone, Copy, Debug)]
struct Found {
    standing: Standing,
    /// The version of the announcement before it was found out.
    generation: u32,
    /// How many ticks ago.
    age: u32,
}

/// After how many ticks a standing is found out again, in case an announcement was lost.
const FOUND_TICKS: u32 = 10;

impl Configuration {
    /// Loads a text for a plugin instance of this name.
    pub fn load(
        store: &dyn Store,
        generations: &mut Generations,
        plugin: &str,
        text: &[u8],
    ) -> Loaded {
        let is_empty = text.trim_ascii().is_empty();
        let parsed = if is_empty { Err(None) } else { config::parse_json(text).map_err(Some) };
        let digest = digest(text, parsed.is_ok());
        let registered = register(store, generations, plugin, digest, parsed.is_ok());
        let generation = registered.map_or(0, |registered| registered.generation);
        let is_new = registered.is_none_or(|registered| registered.is_new);
        let mut configuration = Self {
            plugin: plugin.to_owned(),
            text: None,
            registered: generation,
            generation: 0,
            digest: Digest::default(),
            hash: 0,
            is_in_force: false,
            released: 0,
            found: None,
            claim: 0,
        };
        let mut loaded = match parsed {
            Ok(plan) => {
                configuration.text = Some(text.to_vec());
                configuration.use_plan(generation, digest, Some(&plan));
                let is_shared = registered.is_some() && keep(store, plugin, generation, text);
                Loaded { configuration, plan: Some(plan), is_new, unusable: None, is_shared }
            }
            Err(problems) => {
                let plan = configuration.follow(store).or_else(no_experiments);
                let unusable = Some(Unusable { problems, is_new });
                let is_shared = registered.is_some();
                Loaded { configuration, plan, is_new, unusable, is_shared }
            }
        };
        loaded.configuration.claim_force(store);
        loaded
    }

    /// The name of the plugin.
    #[must_use]
    pub fn plugin(&self) -> &str {
        &self.plugin
    }

    /// Whether a good text is in use.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.text.is_some() || self.generation > 0
    }

    /// The first 32 bits of the configuration's hash; 0 without a good one.
    #[must_use]
    pub const fn hash(&self) -> u32 {
        self.hash
    }

    /// A newer plan to run, if the instance's own text is bad and another worker has loaded a good
    /// one.
    pub fn follow(&mut self, store: &dyn Store) -> Option<Plan> {
        if self.text.is_some() || Record::read(store, &self.plugin).0.good == self.generation {
            return None;
        }
        let (generation, text) = last_good(store, &self.plugin)?;
        // The text is written after the record.
        if generation == self.generation {
            return None;
        }
        // Another version of Sidetrack may accept texts that this one rejects.
        let good = config::parse_json(&text).ok();
        self.use_plan(generation, digest(&text, true), good.as_ref());
        good.or_else(no_experiments)
    }

    fn use_plan(&mut self, generation: u64, digest: Digest, plan: Option<&Plan>) {
        self.generation = generation;
        self.digest = digest;
        self.hash = plan.map_or(0, |plan| plan.hash.first_32_bits());
        self.is_in_force = false;
        self.found = None;
    }

    /// Whether this configuration is in force. To be called on each tick, and only by workers that
    /// serve requests. `generation` is the version of
    /// [`GENERATION`](sidetrack::names::shared::GENERATION), read before.
    pub fn standing(&mut self, store: &dyn Store, generation: u32) -> Standing {
        if let Some(found) = &mut self.found
            && found.generation == generation
            && found.age < FOUND_TICKS
        {
            found.age = found.age.saturating_add(1);
            return found.standing;
        }
        let standing = self.find_standing(store);
        let lasts = standing != Standing::Due && self.released == 0;
        self.found = lasts.then_some(Found { standing, generation, age: 1 });
        standing
    }

    fn find_standing(&mut self, store: &dyn Store) -> Standing {
        let Some((force, _)) = Force::read(store, &self.plugin) else { return self.due() };
        self.released = if force.is_released { self.released.saturating_add(1) } else { 0 };
        if force.digest == self.digest {
            return if force.is_released { Standing::Due } else { self.due() };
        }
        if force.is_released && self.released > self.patience(store) {
            return Standing::Due;
        }
        self.is_in_force = false;
        if force.generation < self.generation { Standing::Due } else { Standing::Superseded }
    }

    /// For how many ticks a newer configuration may take over before this one. Instances of the
    /// released text do so at once.
    fn patience(&self, store: &dyn Store) -> u32 {
        let newer = Record::read(store, &self.plugin).0.texts_after(self.digest);
        RELEASED_TICKS.saturating_mul(newer.saturating_add(1))
    }

    const fn due(&self) -> Standing {
        if self.is_in_force { Standing::InForce } else { Standing::Due }
    }

    /// Makes this configuration the newest one of the plugin: it was replaced, and serves again. A
    /// proxy that still has an instance reuses it. Returns `false` if the instance's own text is
    /// bad, or the store does not work.
    pub fn resume(&mut self, store: &dyn Store, generations: &mut Generations) -> bool {
        let Some(text) = &self.text else { return false };
        let registered = register_again(store, generations, &self.plugin, self.digest);
        let Some(registered) = registered else { return false };
        keep(store, &self.plugin, registered.generation, text);
        self.registered = registered.generation;
        self.generation = registered.generation;
        self.found = None;
        true
    }

    /// Brings this configuration into force.
    pub fn take_force(&mut self, store: &dyn Store, generations: &mut Generations) {
        let (force, version) = Force::read(store, &self.plugin).unwrap_or_default();
        if force.is_released && force.digest != self.digest {
            self.resume(store, generations);
        }
        let mut generation = self.generation;
        if force.digest == self.digest {
            generation = generation.max(force.generation);
        }
        let claim = force.claim.saturating_add(1);
        let force = Force { generation, digest: self.digest, is_released: false, claim };
        if force.write(store, &self.plugin, version) {
            self.claim = claim;
        }
        self.is_in_force = true;
        self.released = 0;
        self.found = None;
    }

    /// Claims the configuration in force for this instance, if it has the same text.
    fn claim_force(&mut self, store: &dyn Store) {
        let Some((force, version)) = Force::read(store, &self.plugin) else { return };
        let claim = force.claim.saturating_add(1);
        if force.digest == self.digest
            && (Force { claim, ..force }).write(store, &self.plugin, version)
        {
            self.claim = claim;
        }
    }

    /// Releases this configuration, because an instance of it ends. Returns whether the plugin may
    /// end with it: it is in force, its text is the plugin's newest, and no other instance has
    /// claimed it since.
    pub fn release(&self, store: &dyn Store) -> bool {
        let Some((force, version)) = Force::read(store, &self.plugin) else { return false };
        let is_claimed = force.claim == self.claim;
        // An instance that only tried the text releases its claim: others claim it again.
        if force.digest != self.digest || !(self.is_in_force || is_claimed) {
            return false;
        }
        Force { is_released: true, ..force }.write(store, &self.plugin, version);
        self.is_in_force
            && is_claimed
            && Record::read(store, &self.plugin).0.newest == self.registered
    }
}

fn no_experiments() -> Option<Plan> {
    config::parse_json(NO_EXPERIMENTS).ok()
}
