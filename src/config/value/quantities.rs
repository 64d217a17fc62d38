//! The quantities of the schema: percentages, counts, durations and sizes.

use serde_json::{Value, json};

use crate::config::decode::{Decode, ruled, wrong_type};
use crate::config::node::{Node, quoted};
use crate::config::problem::{Code, Path, Problems};
use crate::quantity::{Millis, NotPercent, Ppm, bytes};

/// What a percentage looks like.
const PERCENT: &str = "a percentage from 0 to 100";

/// A percentage, 0 to 100 with up to four decimals, held in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Percent(pub(crate) Ppm);

impl Decode for Percent {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let Node::Number(number) = node else {
            let hint = "write a bare number: 30, not \"30\" or 30%";
            wrong_type(node, at, problems, PERCENT, hint);
            return None;
        };
        match number.parse() {
            Ok(ppm) => Some(Self(ppm)),
            Err(NotPercent::TooPrecise) => {
                let message = format!("found {number}; allowed: up to four decimals");
                problems.push(
                    at,
                    Code::TooPrecise,
                    message,
                    "one bucket of a million is 0.0001 percent",
                );
                None
            }
            Err(NotPercent::OutOfRange) => {
                let message = format!("found {number}; allowed: {PERCENT}");
                problems.push(at, Code::OutOfRange, message, "30 is thirty of a hundred");
                None
            }
        }
    }

    fn schema() -> Value {
        ruled(json!({"type": "number", "minimum": 0, "maximum": 100, "x-decimals": 4}), PERCENT)
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count<const MIN: u32, const MAX: u32>(pub(crate) u32);

impl<const MIN: u32, const MAX: u32> Decode for Count<MIN, MAX> {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let allowed = format!("a whole number from {MIN} to {MAX}");
        let Node::Number(number) = node else {
            wrong_type(node, at, problems, &allowed, "write a bare number");
            return None;
        };
        let count = number.parse().ok().filter(|count| (MIN..=MAX).contains(count));
        if count.is_none() {
            let hint = if number.contains('.') {
                "write it without decimals"
            } else {
                "write a number within these"
            };
            problems.push(
                at,
                Code::OutOfRange,
                format!("found {number}; allowed: {allowed}"),
                hint,
            );
        }
        count.map(Self)
    }

    fn schema() -> Value {
        let allowed = format!("a whole number from {MIN} to {MAX}");
        ruled(json!({"type": "integer", "minimum": MIN, "maximum": MAX}), &allowed)
    }
}

/// A time span from `MIN` to `MAX` milliseconds, as in `200ms`, `30s`, `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span<const MIN: u64, const MAX: u64>(pub(crate) Millis);

impl<const MIN: u64, const MAX: u64> Decode for Span<MIN, MAX> {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let allowed = format!("a time span from {} to {}", Millis::new(MIN), Millis::new(MAX));
        let hint = "a number with ms, s, m, h or d: 200ms, 30s, 1h30m";
        let Node::Text(text) = node else {
            wrong_type(node, at, problems, &allowed, hint);
            return None;
        };
        let found = format!("found {}; allowed: {allowed}", quoted(text));
        match Millis::parse(text) {
            Some(millis) if (MIN..=MAX).contains(&millis.get()) => return Some(Self(millis)),
            Some(millis) if millis.get() > MAX => {
                problems.push(at, Code::OutOfRange, found, "make it shorter")
            }
            Some(_) => problems.push(at, Code::OutOfRange, found, "make it longer"),
            None => problems.push(at, Code::BadDuration, found, hint),
        }
        None
    }

    fn schema() -> Value {
        let allowed = format!("a time span from {} to {}", Millis::new(MIN), Millis::new(MAX));
        let schema =
            json!({"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$", "x-span": [MIN, MAX]});
        ruled(schema, &allowed)
    }
}

/// A quantile above the median, as in `99.9%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quantile(pub(crate) Ppm);

/// Reads a quantile above 50% and below 100%, with up to four decimals: `99.9%`. `None` when it cannot be read.
#[must_use]
pub fn quantile(text: &str) -> Option<Ppm> {
    const MEDIAN: u32 = Ppm::ALL.get() / 2;
    let quantile: Ppm = text.strip_suffix('%')?.parse().ok()?;
    (quantile.get() > MEDIAN && quantile < Ppm::ALL).then_some(quantile)
}

impl Decode for Quantile {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let allowed = "a quantile above 50% and below 100%, such as 99.9%";
        let Node::Text(text) = node else {
            let hint = "write it with its unit: 99.9%";
            wrong_type(node, at, problems, allowed, hint);
            return None;
        };
        let quantile = quantile(text);
        if quantile.is_none() {
            let message = format!("found {}; allowed: {allowed}", quoted(text));
            let hint = "values above it count as much as the value at it";
            problems.push(at, Code::OutOfRange, message, hint);
        }
        quantile.map(Self)
    }

    fn schema() -> Value {
        let schema = json!({"type": "string", "pattern": "^[0-9]{2}([.][0-9]{1,4})?%$"});
        ruled(schema, "a quantile above 50% and below 100%, such as 99.9%")
    }
}

/// A size from 1 byte to 16 MiB: `64KiB`, `1MiB`, or a number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl Size {
    const MAX: u64 = 16 << 20;
}

impl Decode for Size {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let size = match node {
            Node::Number(number) => number.parse().ok(),
            Node::Text(text) => bytes(text),
            _ => None,
        };
        let size = size.filter(|size| (1..=Self::MAX).contains(size));
        if size.is_none() {
            let message = format!("found {}; allowed: a size from 1B to 16MiB", node.describe());
            problems.push(at, Code::BadSize, message, "a number with B, KiB or MiB: 64KiB");
        }
        size.map(Self)
    }

    fn schema() -> Value {
        let schema = json!({
            "type": ["string", "integer"], "pattern": "^([0-9]+(B|KiB|MiB))+$",
            "minimum": 1, "maximum": Self::MAX, "x-size": [1, Self::MAX],
        });
        ruled(schema, "a size from 1B to 16MiB")
    }
}
