//! The draw: the one source of every assignment. Frozen.
//!
//! A changed answer for any input would move users between models in the middle of their experiments.
//! `tests/golden/draw.json` holds answers computed in another language; they are checked natively and in wasm.

use sha2::{Digest, Sha256};

use crate::quantity::Bucket;

/// What a draw is for. Each purpose draws independently; the digit in its name is the recipe's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Which variant a unit gets. Salt: the experiment's.
    Arm,
    /// Which slot of a layer a unit falls in. Salt: the layer's name.
    Layer,
    /// Whether a unit's requests are mirrored. Salt: the experiment's.
    Mirror,
    /// Which units return first to a recovering candidate. Salt: the experiment's.
    Probe,
    /// What stands for the unit in the access log. Salt: the experiment's.
    Exposure,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Arm => "arm1",
            Self::Layer => "layer1",
            Self::Mirror => "mirror1",
            Self::Probe => "probe1",
            Self::Exposure => "exposure1",
        }
    }
}

/// A purpose and a salt, hashed once when the configuration is loaded; each draw continues from there.
#[derive(Clone, Debug)]
pub struct Draw {
    prefix: Sha256,
}

impl Draw {
    /// Prepares draws for a purpose and a salt.
    #[must_use]
    pub fn new(purpose: Purpose, salt: &str) -> Self {
        let prefix = Sha256::new()
            .chain_update(purpose.name())
            .chain_update([0])
            .chain_update(salt)
            .chain_update([0]);
        Self { prefix }
    }

    /// The first eight bytes, big-endian, of SHA-256 over purpose, NUL, salt, NUL, unit.
    #[inline]
    #[must_use]
    pub fn draw(&self, unit: &[u8]) -> u64 {
        self.digest(unit).iter().take(8).fold(0, |draw, &byte| draw << 8 | u64::from(byte))
    }

    /// The first sixteen bytes in hexadecimal digits: a name for the unit that does not say who it is.
    #[must_use]
    pub fn pseudonym(&self, unit: &[u8]) -> String {
        let head =
            self.digest(unit).iter().take(16).fold(0, |head, &byte| head << 8 | u128::from(byte));
        format!("{head:032x}")
    }

    #[inline]
    fn digest(&self, unit: &[u8]) -> [u8; 32] {
        self.prefix.clone().chain_update(unit).finalize().into()
    }

    /// The bucket that the unit falls in.
    #[inline]
    #[must_use]
    pub fn bucket(&self, unit: &[u8]) -> Bucket {
        Bucket::from_draw(self.draw(unit))
    }
}

/// SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
