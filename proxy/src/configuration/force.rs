//! Which configuration of a plugin is in force: the one that judges, limits and publishes.
//!
//! A proxy may run several at a time: a listener that drains and a long stream keep an old one
//! alive. The newest that a worker serves is in force. Workers compare the digests of texts, not
//! generations, because a text that is published again may still have its old instances.
//!
//! A configuration comes into force on the first tick of an instance, never in the VM in which a
//! proxy tries a text. An instance that ends while its configuration is in force releases it; the
//! others of the same text take over, or else an older one that serves again.
//!
//! Each instance of the text in force claims it, already when it loads the text. So the instance
//! that ends before another one has taken over, as when new code replaces the old, knows that it is
//! not the last.

use sidetrack::breaker::{Store, announce};
use sidetrack::names::shared;

use super::history::{Digest, number};

/// How many ticks the instances of each newer text have to take over a released configuration.
pub(super) const RELEASED_TICKS: u32 = 5;

/// The configuration of a plugin that is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Force {
    pub(super) generation: u64,
    pub(super) digest: Digest,
    /// An instance of it has ended. All of them may have.
    pub(super) is_released: bool,
    /// The number of the instance that claimed it last.
    pub(super) claim: u64,
}

impl Force {
    fn key(plugin: &str) -> String {
        format!("{}{plugin}", shared::IN_FORCE)
    }

    /// What is in force and the version of the record; `None` before the first.
    pub(super) fn read(store: &dyn Store, plugin: &str) -> Option<(Self, u32)> {
        let (bytes, version) = store.get(&Self::key(plugin))?;
        let (generation, rest) = number(&bytes);
        let (digest, rest) = rest.split_first_chunk()?;
        let (&released, rest) = rest.split_first()?;
        let (claim, _) = number(rest);
        let is_released = released != 0;
        Some((Self { generation, digest: *digest, is_released, claim }, version))
    }

    /// Writes what is in force and announces it, unless another worker was faster. Returns whether
    /// it was written.
    pub(super) fn write(self, store: &dyn Store, plugin: &str, version: u32) -> bool {
        let Self { generation, digest, is_released, claim } = self;
        let mut bytes = generation.to_le_bytes().to_vec();
        bytes.extend(digest);
        bytes.push(is_released.into());
        bytes.extend(claim.to_le_bytes());
        // Whoever loses the race finds out on the next tick. Without a store, workers act alone.
        let is_written = store.swap(&Self::key(plugin), &bytes, version).is_ok();
        if is_written {
            announce(store);
        }
        is_written
    }
}
