//! Shapes of lines: the lines of one proxy have the same keys in the same order, and few values for most of them.
//!
//! A line that counts teaches its shape: the bytes between its values, the texts that repeat, and which values are its
//! own. The next lines are compared with that, sixteen bytes at a time, and only their own values are read: the time,
//! the ids, the bucket and the duration. What a line has in common with the one that taught it needs no second judgment.
//!
//! A line that differs in any other byte, has an escape, a control character, a value that is missing, or a number with
//! a sign is left to the parser. So a shape never decides by itself whether a line can be read: it recognizes lines
//! that are known to be read in one way.

mod learn;
mod scan;

use super::clock::Clock;
use super::rules::{Common, Ids};
use super::torn::Start;
use scan::{Literal, decimal, digits, id, text};

/// So many shapes are kept.
const SHAPES: usize = 4;
/// So many texts of a value are kept: what fits in the bits of a choice.
const CHOICES: usize = 1 << CHOICE_BITS;
const CHOICE_BITS: u32 = 3;
/// So many choices fit in a word.
const MOST_CHOICES: usize = (u64::BITS / CHOICE_BITS) as usize;
/// So many combinations of texts are kept.
const COMBINATIONS: usize = 64;
/// Lines from which nothing but their own texts can be learned must not cost more than parsing: this many lines teach,
/// and one more for each so many that were recognized.
const LESSONS: u64 = 16;
const LINES_PER_LESSON: u64 = 16;

/// The shapes of the lines of a log, the last one that was met first.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    list: Vec<Shape>,
    recognized: u64,
    lessons: u64,
}

/// How lines are written.
#[derive(Debug)]
struct Shape {
    parts: Vec<Part>,
    /// What follows the last value.
    end: Literal,
    start: Option<Start>,
    /// What lines with these choices have in common.
    known: Vec<(u64, Common)>,
}

/// A value with what is written before it.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    before: Literal,
    value: Value,
}

/// How a value is read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    /// One of few texts, which decide what the line means.
    Choice(Vec<Literal>),
    Time(Form),
    Unit(Form),
    Request(Form),
    Duration,
    Bucket,
    /// Of no interest.
    Skipped(Form),
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Text that ends with a quote.
    Text,
    /// A number without an exponent.
    Number,
}

/// What is a line's own, and how far the line goes.
#[derive(Clone, Copy, Debug, Default)]
struct Values<'t> {
    time: u64,
    duration: u64,
    bucket: Option<u64>,
    ids: Ids<'t>,
    /// The choices, in the order of the parts.
    choices: u64,
    end: usize,
}

/// A line that was recognized.
#[derive(Debug)]
pub(super) struct Recognized<'s, 't> {
    pub(super) common: &'s Common,
    /// Milliseconds since 1970.
    pub(super) time: u64,
    /// Milliseconds.
    pub(super) duration: u32,
    pub(super) bucket: Option<u64>,
    pub(super) ids: Ids<'t>,
    pub(super) start: Option<Start>,
    /// The bytes of the line and its end.
    pub(super) length: usize,
}

impl Shapes {
    /// How many lines were recognized.
    #[cfg(test)]
    pub(super) const fn recognized(&self) -> u64 {
        self.recognized
    }

    /// Recognizes the line that the text begins with. `None`: it must be parsed.
    #[inline]
    pub(super) fn recognize<'t>(
        &mut self,
        text: &'t [u8],
        clock: &mut Clock,
    ) -> Option<Recognized<'_, 't>> {
        let found = self.list.iter().enumerate().find_map(|(at, shape)| {
            let values = shape.read(text, clock)?;
            let known = shape.known.iter().position(|(choices, _)| *choices == values.choices)?;
            Some((at, known, values))
        });
        let (at, known, values) = found?;
        self.recognized += 1;
        if at > 0 {
            self.list.swap(0, at);
        }
        let shape = self.list.first()?;
        Some(Recognized {
            common: &shape.known.get(known)?.1,
            time: values.time,
            duration: u32::try_from(values.duration).ok()?,
            bucket: values.bucket,
            ids: values.ids,
            start: shape.start,
            length: values.end,
        })
    }
}

impl Shape {
    /// Reads a line of this shape and its end.
    #[inline]
    fn read<'t>(&self, line: &'t [u8], clock: &mut Clock) -> Option<Values<'t>> {
        let mut values = Values::default();
        let mut at = 0;
        for Part { before, value } in &self.parts {
            at = before.after(line, at)?;
            match value {
                Value::Choice(texts) => {
                    let known = (0..).zip(texts).find_map(|(index, text): (u64, _)| {
                        text.after(line, at).map(|after| (index, after))
                    });
                    let (index, after) = known?;
                    values.choices = values.choices << CHOICE_BITS | index;
                    at = after;
                }
                Value::Time(form) => (values.time, at) = time(line, at, *form, clock)?,
                Value::Unit(form) => {
                    let (unit, bytes, after) = id(line, at, *form)?;
                    values.ids.unit = Some((unit, bytes));
                    at = after;
                }
                Value::Request(form) => {
                    let (request, _, after) = id(line, at, *form)?;
                    values.ids.request = Some(request);
                    at = after;
                }
                Value::Duration => (values.duration, at) = digits(line, at)?,
                Value::Bucket => {
                    let (bucket, after) = digits(line, at)?;
                    values.bucket = Some(bucket);
                    at = after;
                }
                Value::Skipped(Form::Text) => at = text(line, at)?.1,
                Value::Skipped(Form::Number) => at = decimal(line, at)?,
            }
        }
        at = self.end.after(line, at)?;
        values.end = match line.get(at..)? {
            [b'\n', ..] => at + 1,
            [b'\r', b'\n', ..] => at + 2,
            _ => return None,
        };
        Some(values)
    }
}

/// A time, and the place after it.
#[inline]
fn time(line: &[u8], at: usize, form: Form, clock: &mut Clock) -> Option<(u64, usize)> {
    /// The length of a time as Envoy writes it.
    const LENGTH: usize = 24;
    if form == Form::Text
        && line.get(at + LENGTH) == Some(&b'"')
        && let Some(time) = clock.fast(line.get(at..at + LENGTH)?)
    {
        return Some((time, at + LENGTH + 1));
    }
    let (bytes, after) = match form {
        Form::Text => text(line, at)?,
        Form::Number => {
            let (_, after) = digits(line, at)?;
            (line.get(at..after)?, after)
        }
    };
    Some((clock.read(std::str::from_utf8(bytes).ok()?)?, after))
}

#[cfg(test)]
mod tests;
