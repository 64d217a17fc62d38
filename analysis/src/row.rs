//! Rows: a request that counts, as every source gives it, and why other lines do not count.

use crate::short::Short;
use crate::source::Start;

/// A request that counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// 64 bits of the unit's hash (see [`key`]); `None` if the source names no unit.
    pub unit: Option<u64>,
    /// Where the row is in its source: spreads rows without a unit over the groups of histograms.
    pub position: u64,
    /// Milliseconds since 1970.
    pub time: u64,
    /// Milliseconds from the first byte of the request to the last byte of the response.
    pub duration: u32,
    /// What the lines of one request have in common, however often it is delivered; `None` without a request id.
    pub print: Option<u64>,
    /// The row of the outcomes about this request.
    pub outcome: Option<u32>,
    /// The group of the unit in histograms (see [`Id::group`]).
    pub group: u8,
    /// The index of the stratum.
    pub stratum: u8,
    /// The index of the assigned variant.
    pub arm: u8,
    /// What happened to the request.
    pub marks: Marks,
}

/// What happened to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one request")]
pub struct Marks {
    /// No response, a 5xx, an answer that broke off, or a failure that was retried on the baseline.
    pub failed: bool,
    /// The client left before the end of the response.
    pub aborted: bool,
    /// The response is not that of a model: a redirect, or a 4xx, which blames the client.
    pub refused: bool,
    /// Another variant than the assigned one served it.
    pub elsewhere: bool,
    /// A breaker diverted it or let it through as a probe.
    pub breaker: bool,
    /// Its line names no trial, as logs of older versions.
    pub untold: bool,
    /// The draw of the file's salt gives its unit another bucket. Only known of lines without a trial, with plain units.
    pub foreign: bool,
}

/// The value of a dimension of segments at a request of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentValue {
    /// The index of the dimension.
    pub dimension: u8,
    /// The [`key`] of the value.
    pub value: u64,
    /// 64 bits of the unit's hash.
    pub unit: u64,
    /// Milliseconds since 1970.
    pub time: u64,
    /// Where the row is in its source.
    pub position: u64,
}

/// What else is known of a line, for the checks of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    /// The [`key`] of the digest of a plain unit, of a sample of units.
    Digest(u64),
    /// The row of the outcomes about the request of a line that does not count.
    Outcome(u32),
    /// The same, and the line is of another trial.
    OtherTrial(u32),
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
    /// The same request in another line.
    Repeated,
}

impl Excluded {
    /// How many there are.
    pub const COUNT: usize = 12;
}

/// A line of another trial of the experiment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtherLine {
    /// The trial; `None`: the line names none.
    pub trial: Option<Short>,
    /// Milliseconds since 1970.
    pub time: Option<u64>,
    /// The [`key`] of the unit that was exposed. Only read if outcomes about units may belong to it.
    pub unit: Option<u64>,
    /// The unit looks like a digest, which depends on the salt: other trials have another one for the same user.
    pub digest: bool,
}

/// Whose a line is that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// It names the experiment.
    Experiment,
    /// It breaks off, and begins like this.
    BeginsLike(Start),
    /// It is nothing that an access log contains, as far as one can see.
    Unknown,
}

/// Takes what a source yields, in the source's order.
pub trait Sink {
    /// A request that counts, and the analysis plan that was in force.
    fn row(&mut self, row: &Row, plan: Option<Short>);

    /// How a line begins that can be read, and whether it is the experiment's.
    fn readable(&mut self, start: Start, is_ours: bool);

    /// A line is Envoy's or Istio's default access log, without exposures.
    fn default_log(&mut self);

    /// A line that does not count.
    fn excluded(&mut self, why: Excluded);

    /// A line of another experiment, or of none.
    fn other_experiment(&mut self, name: Option<&str>);

    /// A line of another trial of the experiment, or of none.
    fn other_trial(&mut self, line: &OtherLine);

    /// The value of a unit in a dimension of segments; with its text, if the piece has not had it before.
    fn segment(&mut self, _: &SegmentValue, _: Option<&str>) {}

    /// What else is known of a line.
    fn aside(&mut self, _: Aside) {}

    /// A line that cannot be read, whose it is, and why.
    fn malformed(&mut self, place: Place, whose: Whose, problem: String);
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

/// What identifies a unit or a request in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    /// 64 bits of its hash, whatever its form. Two of ten million share one with a probability of three in a million.
    pub key: u64,
    /// The group of 100 in histograms. SQL computes it as well, so it needs products and remainders only: of the 32
    /// hexadecimal digits of the text, or of the first 32 of its SHA-256, as four numbers.
    pub group: u8,
}

impl Id {
    /// The identity of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self::of_bytes(text.as_bytes())
    }

    /// The identity of a text that is given as bytes.
    #[inline]
    pub(crate) fn of_bytes(text: &[u8]) -> Self {
        Self::of_digits(text).unwrap_or_else(|| Self::of_hash(text))
    }

    /// The identity of a digest or a UUID; `None`: the text is neither.
    #[inline]
    pub(crate) fn of_digits(text: &[u8]) -> Option<Self> {
        // Digests and UUIDs are many, and cheaper to mix than to hash. All digits count: such ids may share their first
        // half (times, padding) or their second.
        let (form, [high, low]) = hexadecimal(text)?;
        Some(Self { key: mix(mix(form, high), low), group: group([high, low]) })
    }

    fn of_hash(text: &[u8]) -> Self {
        let digest = sidetrack::draw::sha256(text);
        let [high, low] = digest
            .first_chunk()
            .map_or([0; 2], |digits| {
                let number = u128::from_be_bytes(*digits);
                [number >> 64, number & u128::from(u64::MAX)]
            })
            .map(|half| u64::try_from(half).unwrap_or_default());
        Self { key: high, group: group([high, low]) }
    }
}

/// The group of 32 hexadecimal digits. The products are below 2^53; the modulus is prime.
fn group([high, low]: [u64; 2]) -> u8 {
    const HALF: u64 = 0xffff_ffff;
    let sum = (high >> 32) * 500_009
        + (high & HALF) * 300_007
        + (low >> 32) * 200_003
        + (low & HALF) * 100_003;
    u8::try_from(sum % 2_147_483_647 % 100).unwrap_or_default()
}

/// [`Id::key`] of a text.
#[must_use]
pub fn key(text: &str) -> u64 {
    Id::of(text).key
}

/// Whether a unit has the form of a digest: 32 lowercase hexadecimal digits. Some plain ids have it, too.
#[must_use]
pub(crate) fn is_digest(unit: &[u8]) -> bool {
    matches!(hexadecimal(unit), Some((1, _)))
}

/// Mixes a number into a hash (the finalizer of SplitMix64: Steele, Lea and Flood, OOPSLA 2014). A bijection of the number.
#[must_use]
pub(crate) const fn mix(hash: u64, number: u64) -> u64 {
    let mut z = hash.wrapping_add(0x9e37_79b9_7f4a_7c15).rotate_left(23) ^ number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// 32 lowercase hexadecimal digits, as they are (1) or with the hyphens of a UUID (2): which of both, and both halves.
fn hexadecimal(text: &[u8]) -> Option<(u64, [u64; 2])> {
    let digits = |at: usize| text.get(at..at + 8)?.first_chunk().and_then(|it| number(*it));
    // Eight digits with a hyphen in between, as two times four.
    let split = |at: usize| {
        let (first, second) = (text.get(at..at + 4)?, text.get(at + 5..at + 9)?);
        let [a, b, c, d] = *first.first_chunk()?;
        let [e, f, g, h] = *second.first_chunk()?;
        number([a, b, c, d, e, f, g, h])
    };
    match text.len() {
        32 => Some((1, [digits(0)? << 32 | digits(8)?, digits(16)? << 32 | digits(24)?])),
        36 => {
            let hyphens = [8, 13, 18, 23].map(|at| text.get(at) == Some(&b'-'));
            let halves = [digits(0)? << 32 | split(9)?, split(19)? << 32 | digits(28)?];
            (hyphens == [true; 4]).then_some((2, halves))
        }
        _ => None,
    }
}

/// Eight digits as a number, all at once: the digits are the bytes of a word.
fn number(digits: [u8; 8]) -> Option<u64> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let word = u64::from_be_bytes(digits);
    // A letter has the bit 0x40, and its low bits begin with 1 for ten.
    let values = (word & (0x0f * ONES)) + ((word >> 6) & ONES) * 9;
    let letters = ((values + 0x76 * ONES) >> 7) & ONES;
    // Only the digits themselves are written like this.
    let written = values + u64::from(b'0') * ONES + letters * u64::from(b'a' - b'0' - 10);
    if written != word || values & (0xf0 * ONES) != 0 {
        return None;
    }
    let pairs = (values | values >> 4) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    Some((fours | fours >> 16) & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_id_is_told_apart() {
        // Ids that share a head or a tail: padded trace ids and numbers, UUIDv7, digests.
        let mut ids = Vec::new();
        for number in 0..20_000u128 {
            let time = 0x0192_f5a1_b3c4_7000_u128 << 64;
            ids.push(format!("{number:032x}"));
            ids.push(format!("{:032x}", number << 64));
            ids.push(format!("{:032x}", time | number));
            let text = format!("{:032x}", time | number << 40);
            let parts = [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]];
            ids.push(parts.join("-"));
            ids.push(format!("{number:016x}"));
            ids.push(format!("{number}"));
            ids.push(format!("{number:032X}x"));
        }
        let ids: BTreeSet<String> = ids.into_iter().collect();
        let keys: BTreeSet<u64> = ids.iter().map(|id| key(id)).collect();
        assert_eq!(keys.len(), ids.len());
        // The keys spread units over shards by their highest bits.
        let mut spread = [0_usize; 16];
        ids.iter().for_each(|id| spread[(key(id) >> 60) as usize] += 1);
        let even = ids.len() / 16;
        assert!(spread.iter().all(|count| count.abs_diff(even) < even / 10), "{spread:?}");
    }

    #[test]
    fn groups_are_those_of_sql() {
        // SELECT … of `analyze sql` in DuckDB; sequential ids fill all groups alike.
        for (text, group) in [
            ("abc", 72),
            ("0192f5a1b3c470008000000000000001", 91),
            ("0192f5a1-b3c4-7000-8000-000000000001", 91),
        ] {
            assert_eq!(Id::of(text).group, group, "{text}");
        }
        let mut counts = [0; 100];
        (0..10_000u32).for_each(|id| counts[usize::from(Id::of(&format!("{id:032x}")).group)] += 1);
        assert!(counts.iter().all(|count| (80..120).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_form_of_an_id_is_a_part_of_it() {
        let plain = "0192f5a1b3c470008000000000000001";
        let hyphens = "0192f5a1-b3c4-7000-8000-000000000001";
        let upper = "0192F5A1B3C470008000000000000001";
        let keys: BTreeSet<u64> = [plain, hyphens, upper].map(key).into();
        assert_eq!(keys.len(), 3);
    }

    #[test]
    fn only_eight_digits_are_a_number() {
        for (text, wanted) in
            [("00000000", 0), ("0123abcf", 0x0123_abcf), ("ffffffff", 0xffff_ffff)]
        {
            let digits = *text.as_bytes().first_chunk().unwrap();
            assert_eq!(number(digits), Some(wanted));
            for (at, byte) in (0..8).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
                let mut digits = digits;
                digits[at] = byte;
                let lower = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                let text = std::str::from_utf8(&digits).unwrap_or_default();
                let wanted = u64::from_str_radix(text, 16).ok().filter(|_| lower);
                assert_eq!(number(digits), wanted, "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn other_texts_are_hashed() {
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
