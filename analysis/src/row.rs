//! Rows: a request that counts, as every source gives it, and why other lines do not count.

use crate::short::Short;

/// A request that counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// 64 bits of the unit's hash (see [`key`]); `None` if the source names no unit.
    pub unit: Option<u64>,
    /// Where the row is in its source: spreads rows without a unit over the groups of the jackknife.
    pub position: u64,
    /// Milliseconds since 1970.
    pub time: u64,
    /// Milliseconds from the first byte of the request to the last byte of the response.
    pub duration: u32,
    /// The row of the outcomes about this request.
    pub outcome: Option<u32>,
    /// The index of the stratum.
    pub stratum: u8,
    /// The index of the assigned variant.
    pub arm: u8,
    /// What happened to the request.
    pub marks: Marks,
}

/// What happened to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts of one request")]
pub struct Marks {
    /// No response, a 5xx, or a failure that was retried on the baseline.
    pub failed: bool,
    /// The client disconnected before the response.
    pub aborted: bool,
    /// Another variant than the assigned one served it.
    pub elsewhere: bool,
    /// A breaker diverted it or let it through as a probe.
    pub breaker: bool,
}

/// Why a well-formed line does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excluded {
    /// Of another experiment, or of none.
    OtherExperiment,
    /// An override chose the variant.
    Override,
    /// It has no unit, and users were randomized.
    MissingUnit,
    /// In a minute in which a breaker was open, and such minutes are left out.
    Breaker,
    /// Before the rollout.
    NotStarted,
    /// The experiment was disabled.
    Disabled,
    /// Outside the experiment's slots of its layer.
    OutsideLayer,
    /// Its phase is not in the file, or other weights than the file's assigned it.
    OtherWeights,
    /// Of another trial of the experiment.
    OtherTrial,
    /// Before or after the time that is analyzed.
    OtherTime,
    /// Its variant is not in the file.
    OtherVariant,
}

impl Excluded {
    /// How many there are.
    pub const COUNT: usize = 11;
}

/// Takes what a source yields, in the source's order.
pub trait Sink {
    /// A request that counts, and the analysis plan that was in force.
    fn row(&mut self, row: &Row, plan: Option<Short>);

    /// A line that does not count.
    fn excluded(&mut self, why: Excluded);

    /// A line of another experiment, or of none.
    fn other_experiment(&mut self, name: Option<&str>);

    /// A line of another trial of the experiment, or of none, and its time.
    fn other_trial(&mut self, trial: Option<Short>, time: Option<u64>);

    /// A line that cannot be read, and why.
    fn malformed(&mut self, place: Place, problem: String);
}

/// Where a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The index of its file.
    pub file: usize,
    /// Its number, from 1.
    pub line: u64,
}

/// A minute in milliseconds: the resolution of breaker intervals.
pub(crate) const MINUTE: u64 = 60_000;

/// What identifies a unit or a request in memory: 64 bits of its hash. Two of ten million share one with a probability
/// of three in a million.
#[must_use]
pub fn key(text: &str) -> u64 {
    // A digest is a hash already.
    let digest = text.get(..16).filter(|_| is_digest(text));
    if let Some(Ok(key)) = digest.map(|digits| u64::from_str_radix(digits, 16)) {
        return key;
    }
    sidetrack::draw::sha256(text.as_bytes()).first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// Whether this is how `exposure_unit: digest` names a unit.
fn is_digest(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_first_half_of_a_digest_or_of_the_texts_own_hash() {
        assert_eq!(key("0123456789abcdef0123456789abcdef"), 0x0123_4567_89ab_cdef);
        // SHA-256 of each: printf %s TEXT | sha256sum.
        for (text, hash) in [
            ("", 0xe3b0_c442_98fc_1c14),
            ("abc", 0xba78_16bf_8f01_cfea),
            ("0123456789ABCDEF0123456789ABCDEF", 0xcd6c_1f7d_1dc6_717d),
            ("0123456789abcdef", 0x9f9f_5111_f7b2_7a78),
            ("0123456789abcdefg123456789abcdef", 0x326b_29ef_57e8_8820),
        ] {
            assert_eq!(key(text), hash, "{text}");
        }
    }
}
