//! The request that is asked about, from the command line.

use std::ffi::OsString;

use anyhow::Context as _;
use sidetrack::body::unreadable;
use sidetrack::breaker::{STAGES, first_probe};
use sidetrack::decide::Gate;
use sidetrack::plan::Plan;
use sidetrack::quantity::Ppm;
use sidetrack::request::{Body, Request, Unread};

use super::Question;
use super::joined::is_joined;
use crate::words::visible;

/// A header, its name in lower case.
#[derive(Clone)]
pub(super) struct Header {
    pub(super) name: String,
    /// A client may send any bytes.
    pub(super) value: Vec<u8>,
}

/// 64 random bits that are not random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entropy(pub(super) u64);

/// What a candidate's breaker lets through.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Breaker {
    pub(super) variant: String,
    pub(super) gate: Gate,
}

/// Reads `name: value`.
pub(super) fn header(text: OsString) -> Result<Header, String> {
    let text = text.into_encoded_bytes();
    let colon = text.iter().position(|&byte| byte == b':');
    let expected = "expected 'NAME: VALUE', such as 'x-user-id: 4711'";
    let (name, value) = colon.map(|colon| text.split_at(colon)).ok_or(expected)?;
    let name = String::from_utf8_lossy(name);
    let value = value.get(1..).unwrap_or_default();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(
            "the name must be a header name: letters, digits and !#$%&'*+-.^_`|~".to_owned()
        );
    }
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | b'\0')) {
        return Err("the value must not contain line breaks".to_owned());
    }
    // White space around a value is not part of it (RFC 9110, 5.5).
    let value = trimmed(value).to_vec();
    Ok(Header { name: name.to_ascii_lowercase(), value })
}

fn trimmed(value: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = value.iter().position(is_text).unwrap_or(value.len());
    let end = value.iter().rposition(is_text).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

/// Reads a decimal r of [0, 1) and gives the smallest draw at or above it, so that the bucket is exactly
/// floor(r × 1000000).
pub(super) fn entropy(text: &str) -> Result<Entropy, String> {
    let expected = || "expected a decimal from 0 to below 1, such as 0.25".to_owned();
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let zero = whole.bytes().all(|byte| byte == b'0') && !(whole.is_empty() && decimals.is_empty());
    if !zero || !digits(decimals) {
        return Err(expected());
    }
    // Buckets are decided by six digits; eighteen are as many as the arithmetic below holds.
    let kept = decimals.get(..18).unwrap_or(decimals);
    let scale = 10u128.pow(u32::try_from(kept.len()).unwrap_or(0));
    let number: u128 = if kept.is_empty() { 0 } else { kept.parse().map_err(|_| expected())? };
    u64::try_from((number << 64).div_ceil(scale)).map(Entropy).map_err(|_| expected())
}

/// Reads `VARIANT=open`, `=half-open`, `=half-open:25`, `=half-open:25:3` or `=closed`.
pub(super) fn breaker(text: &str) -> Result<Breaker, String> {
    let expected = "expected VARIANT=STATE, with the state open, half-open, half-open:25, \
                    half-open:25:3 or closed";
    let (variant, state) = text.split_once('=').ok_or(expected)?;
    let [first_stage, ..] = STAGES;
    let gate = match state {
        "closed" => Gate::Closed,
        "open" => Gate::Open,
        "half-open" => Gate::HalfOpen { share: first_stage, from: first_probe(1) },
        _ => {
            let stage = state.strip_prefix("half-open:").ok_or(expected)?;
            let (share, trip) = stage.split_once(':').unwrap_or((stage, "1"));
            let share = share.parse().ok().and_then(|it: u32| Ppm::new(it.checked_mul(10_000)?));
            let trip = trip.parse().ok().filter(|&trip| trip > 0);
            let from = first_probe(trip.ok_or(expected)?);
            Gate::HalfOpen { share: share.ok_or(expected)?, from }
        }
    };
    Ok(Breaker { variant: variant.to_owned(), gate })
}

/// Rejects breakers of unknown candidates.
pub(super) fn known_breakers(breakers: &[Breaker], plan: &Plan) -> anyhow::Result<()> {
    for breaker in breakers {
        let mut candidates = Vec::new();
        for experiment in &plan.experiments {
            candidates.extend(
                experiment.candidates().map(|index| crate::words::variant(experiment, index)),
            );
        }
        anyhow::ensure!(
            candidates.contains(&breaker.variant.as_str()),
            "--breaker: unknown candidate \"{}\"; expected one of: {}",
            visible(&breaker.variant),
            candidates.join(", ")
        );
    }
    Ok(())
}

/// The request to explain.
pub(super) struct Asked {
    /// The headers, pseudo headers first.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    /// The body; empty without one.
    pub(super) body: Vec<u8>,
    unread: Option<Unread>,
}

impl Request for Asked {
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.values(name)
    }

    fn body(&self) -> Body<'_> {
        match self.unread {
            _ if self.body.is_empty() => Body::Absent,
            Some(reason) => Body::Unread(reason),
            None => Body::Whole(&self.body),
        }
    }
}

/// The request, with its body where the filter would read it.
pub(super) fn request(asked: &Question, limit: u64) -> anyhow::Result<Asked> {
    let headers = headers(asked);
    let body = match &asked.body {
        Some(path) => {
            let name = || format!("cannot read {}", visible(&path.to_string_lossy()));
            std::fs::read(path).with_context(name)?
        }
        None => Vec::new(),
    };
    let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
    // A client that sends chunks does not announce a length.
    let announced = headers.first("transfer-encoding").is_none().then_some(length);
    let too_large = (length > limit).then_some(Unread::TooLarge);
    let unread = unreadable(&headers, announced, limit).or(too_large);
    Ok(Asked { headers, body, unread })
}

fn headers(asked: &Question) -> Vec<(String, Vec<u8>)> {
    let or = |given: &Option<String>, default: &str| given.as_deref().unwrap_or(default).into();
    let mut request = vec![
        (":method".to_owned(), or(&asked.method, "POST")),
        (":path".to_owned(), or(&asked.path, "/")),
    ];
    // Envoy turns the header `host` into the authority.
    let host = || {
        asked.headers.iter().find(|header| header.name == "host").map(|header| header.value.clone())
    };
    let given = asked.host.clone().map(String::into_bytes);
    request.extend(given.or_else(host).map(|host| (":authority".to_owned(), host)));
    for Header { name, value } in asked.headers.iter().filter(|header| header.name != "host") {
        let first = request.iter_mut().find(|(other, _)| other == name);
        match first.filter(|_| is_joined(name)) {
            Some((_, values)) => {
                values.push(b',');
                values.extend_from_slice(value);
            }
            None => request.push((name.clone(), value.clone())),
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sidetrack::quantity::Bucket;

    use super::*;

    fn bucket(text: &str) -> Result<u32, String> {
        entropy(text).map(|entropy| Bucket::from_draw(entropy.0).get())
    }

    #[test]
    fn random_numbers_are_exact_decimals() {
        for (text, expected) in [
            ("0", 0),
            ("0.", 0),
            (".5", 500_000),
            ("0.3", 300_000),
            ("0.299999", 299_999),
            ("0.2999999999999999999999999", 299_999),
            ("0.999999999999999999999999", 999_999),
            ("0.000001", 1),
        ] {
            assert_eq!(bucket(text), Ok(expected), "{text}");
        }
        for text in ["1", "1.0", "-0.1", "", ".", "1e-3", "0.5x", "0,5", "+0.5"] {
            assert!(bucket(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_decimal_falls_into_its_bucket(digits in "[0-9]{1,24}") {
            let expected: u32 = format!("{digits:0<6}")[..6].parse().unwrap();
            prop_assert_eq!(bucket(&format!("0.{digits}")), Ok(expected));
        }
    }

    #[test]
    fn breakers_have_four_states() {
        let half_open = |share, trip| Gate::HalfOpen { share, from: first_probe(trip) };
        assert_eq!(breaker("a=open").unwrap().gate, Gate::Open);
        assert_eq!(breaker("a=half-open").unwrap().gate, half_open(STAGES[0], 1));
        assert_eq!(breaker("a=half-open:100").unwrap().gate, half_open(Ppm::ALL, 1));
        assert_eq!(breaker("a=half-open:100:3").unwrap().gate, half_open(Ppm::ALL, 3));
        assert_eq!(breaker("a=closed").unwrap().gate, Gate::Closed);
        for bad in ["a", "a=", "a=ajar", "a=half-open:101", "a=half-open:x", "a=half-open:5:0"] {
            assert!(breaker(bad).is_err(), "{bad}");
        }
    }
}
