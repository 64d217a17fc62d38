//! Rows: a request that counts, as every source gives it, and why other lines do not count.

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
}

impl Excluded {
    /// How many there are.
    pub const COUNT: usize = 8;
}

/// Takes what a source yields, in the source's order.
pub trait Sink {
    /// A request that counts.
    fn row(&mut self, row: &Row);

    /// A line that does not count.
    fn excluded(&mut self, why: Excluded);

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
    let bytes = text.as_bytes();
    if is_digest(text) {
        // A digest is a hash already.
        return bytes.iter().take(16).fold(0, |key, &digit| {
            let value = if digit > b'9' { digit - b'a' + 10 } else { digit - b'0' };
            key << 4 | u64::from(value)
        });
    }
    sidetrack::draw::sha256(bytes).iter().take(8).fold(0, |key, &byte| key << 8 | u64::from(byte))
}

/// Whether this is how `exposure_unit: digest` names a unit.
fn is_digest(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}
