//! Compare-and-swap storage shared by all workers of a proxy.
//!
//! In Envoy this is the shared data of its WebAssembly VMs; in a native module, a map behind a
//! lock. Keys and values are small: a few dozen keys, each with a record of about 600 bytes.

use crate::names::shared::GENERATION;

/// Values by key, each with a version that changes with every write.
pub trait Store {
    /// The value of a key and its version, which is never 0; `None` if the key was never written,
    /// or if the store is unavailable.
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)>;

    /// The version of a key; 0 if the key was never written, or if the store is unavailable.
    fn version(&self, key: &str) -> u32 {
        self.get(key).map_or(0, |(_, version)| version)
    }

    /// Writes a value if the key still has this version. Version 0 writes it in any case.
    ///
    /// # Errors
    ///
    /// [`SwapError::Conflict`] if the key has another version, [`SwapError::Unavailable`] if it
    /// cannot be written.
    fn swap(&self, key: &str, value: &[u8], version: u32) -> Result<(), SwapError>;
}

/// Announces a change of the store to the other workers: on their next tick, they find another
/// version of [`GENERATION`] and read the store again. If the write fails, they read it within a
/// second.
pub fn announce(store: &(impl Store + ?Sized)) {
    store.swap(GENERATION, &[], 0).ok();
}

/// Why a value was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapError {
    /// Lost the race: another worker wrote the key first. Reading it again and retrying can
    /// succeed.
    Conflict,
    /// The store does not work. Retrying is useless.
    Unavailable,
}
