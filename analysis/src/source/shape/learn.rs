//! Learning a shape from a line that counts.

use sidetrack::exposure;
use sidetrack::names::log;

use super::scan::{Literal, decimal, digits};
use super::{
    CHOICES, COMBINATIONS, Form, LESSONS, LINES_PER_LESSON, MOST_CHOICES, Part, SHAPES, Shape,
    Shapes, Value,
};
use crate::source::line::Key;
use crate::source::rules::Common;
use crate::source::torn::Start;

/// The parts of a line, with the text that each choice has in it.
#[derive(Default)]
struct Lesson<'l> {
    line: &'l [u8],
    parts: Vec<(&'l [u8], Kind<'l>)>,
    /// What is read up to here.
    done: usize,
}

/// What a value is, and its text if that is a choice.
enum Kind<'l> {
    Choice(&'l [u8]),
    Own(Value),
}

/// A scalar of a line.
struct Scalar<'l> {
    form: Option<Form>,
    /// With quotes, if it has them.
    bytes: &'l [u8],
    /// Where it begins and ends in the line.
    start: usize,
    end: usize,
}

impl Shapes {
    /// Learns from a line that counts, without white space around it.
    pub(in crate::source) fn learn(&mut self, line: &[u8], common: Common) {
        if self.lessons > LESSONS + self.recognized / LINES_PER_LESSON {
            return;
        }
        self.lessons += 1;
        let Some(lesson) = Lesson::of(line) else { return };
        let same = self.list.iter().position(|shape| lesson.is_of(shape));
        let mut shape = match same {
            Some(at) => self.list.remove(at),
            None => Shape {
                parts: lesson.parts.iter().map(|(before, kind)| kind.part(before)).collect(),
                end: Literal::new(lesson.rest()),
                start: Start::of(line),
                known: Vec::new(),
            },
        };
        if let Some(choices) = lesson.choose(&mut shape) {
            shape.known.retain(|(known, _)| *known != choices);
            shape.known.truncate(COMBINATIONS - 1);
            shape.known.push((choices, common));
        }
        self.list.truncate(SHAPES - 1);
        self.list.insert(0, shape);
    }
}

impl Kind<'_> {
    fn part(&self, before: &[u8]) -> Part {
        let value = match self {
            Self::Choice(_) => Value::Choice(Vec::new()),
            Self::Own(value) => value.clone(),
        };
        Part { before: Literal::new(before), value }
    }
}

impl<'l> Lesson<'l> {
    /// The parts of a line; `None`: it is not written plainly.
    fn of(line: &'l [u8]) -> Option<Self> {
        let mut lesson = Self { line, ..Self::default() };
        let mut keys: Vec<&str> = Vec::new();
        let mut at = lesson.blank(1);
        let is_object = line.first() == Some(&b'{');
        is_object.then_some(())?;
        loop {
            let key = Scalar::of(line, at).filter(|key| key.form == Some(Form::Text))?;
            let name = std::str::from_utf8(key.inside()).ok()?;
            at = lesson.blank(key.end);
            (line.get(at) == Some(&b':')).then_some(())?;
            let value = Scalar::of(line, lesson.blank(at + 1))?;
            if Key::of(name).is_some() {
                // The parser refuses such a line, or takes the last value.
                (!keys.contains(&name)).then_some(())?;
                keys.push(name);
            }
            at = lesson.blank(value.end);
            lesson.value(name, &value)?;
            match line.get(at)? {
                b',' => at = lesson.blank(at + 1),
                b'}' => break,
                _ => return None,
            }
        }
        let choices = lesson.parts.iter().filter(|(_, kind)| matches!(kind, Kind::Choice(_)));
        (at + 1 == line.len() && choices.count() <= MOST_CHOICES).then_some(lesson)
    }

    /// The place after white space.
    fn blank(&self, at: usize) -> usize {
        let rest = self.line.get(at..).unwrap_or_default();
        at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
    }

    /// What follows the last value.
    fn rest(&self) -> &'l [u8] {
        self.line.get(self.done..).unwrap_or_default()
    }

    /// A part up to a place.
    fn add(&mut self, start: usize, end: usize, kind: Kind<'l>) -> Option<()> {
        self.parts.push((self.line.get(self.done..start)?, kind));
        self.done = end;
        Some(())
    }

    /// A text that decides what the line means.
    fn choice(&mut self, start: usize, end: usize) -> Option<()> {
        let text = self.line.get(start..end)?;
        self.add(start, end, Kind::Choice(text))
    }

    fn value(&mut self, name: &str, value: &Scalar<'l>) -> Option<()> {
        let inside = value.inside();
        let is_missing = inside.is_empty() || inside == b"-" || value.bytes == b"null";
        // The quote before a text belongs to what is before it.
        let (start, end) = (value.start + usize::from(value.is_text()), value.end);
        let own: fn(Form) -> Value = match name {
            log::TIME => Value::Time,
            log::UNIT => Value::Unit,
            log::REQUEST_ID => Value::Request,
            log::DURATION | log::BUCKET => {
                if is_missing {
                    return Some(());
                }
                let number = if name == log::DURATION { Value::Duration } else { Value::Bucket };
                let inside_end = start + inside.len();
                let is_whole = digits(self.line, start).is_some_and(|(_, end)| end == inside_end);
                is_whole.then_some(())?;
                return self.add(start, inside_end, Kind::Own(number));
            }
            log::EXPOSURE if value.is_text() && !is_missing => return self.exposure(inside, start),
            _ if Key::of(name).is_some() || value.form.is_none() => {
                // With what follows a number or a word, so that none is the beginning of another.
                return self.choice(value.start, end + usize::from(!value.is_text()));
            }
            _ => Value::Skipped,
        };
        if is_missing && name != log::TIME && Key::of(name).is_some() {
            // A line that has such a value is of another shape.
            return Some(());
        }
        self.add(start, end, Kind::Own(own(value.form?)))
    }

    /// The values of an exposure: its bucket and its unit are a line's own.
    fn exposure(&mut self, text: &'l [u8], start: usize) -> Option<()> {
        let text = std::str::from_utf8(text).ok()?;
        let end = start + text.len();
        let place = |value: &str| start + (value.as_ptr().addr() - text.as_ptr().addr());
        let values = |name: &'static str| {
            exposure::values(text).filter(move |(key, _)| *key == name).map(|(_, value)| value)
        };
        let is_missing = |value: &&str| value.is_empty() || *value == "-";
        // A field of its own counts instead of the exposure's.
        let has_own = |name: &str| {
            let key = format!("\"{name}\"");
            memchr::memmem::find(self.line, key.as_bytes()).is_some()
        };
        for name in [log::BUCKET, log::UNIT] {
            let mut found = values(name);
            let Some(value) = found.next() else { continue };
            (found.next().is_none() && !has_own(name)).then_some(())?;
            if is_missing(&value) {
                continue;
            }
            let (from, to) = (place(value), place(value) + value.len());
            self.choice(start.max(self.done), from)?;
            if name == log::BUCKET {
                digits(self.line, from).filter(|(_, end)| *end == to)?;
                self.add(from, to, Kind::Own(Value::Bucket))?;
            } else {
                // With its closing quote.
                self.add(from, to + 1, Kind::Own(Value::Unit(Form::Text)))?;
            }
        }
        if self.done <= end { self.choice(start.max(self.done), end + 1) } else { Some(()) }
    }

    /// Whether a shape has these parts, whatever the choices.
    fn is_of(&self, shape: &Shape) -> bool {
        self.parts.len() == shape.parts.len()
            && shape.end == Literal::new(self.rest())
            && self.parts.iter().zip(&shape.parts).all(|((before, kind), part)| {
                let same = match (kind, &part.value) {
                    (Kind::Choice(_), Value::Choice(_)) => true,
                    (Kind::Own(value), other) => value == other,
                    (Kind::Choice(_), _) => false,
                };
                same && part.before == Literal::new(before)
            })
    }

    /// The choices of the line, which may be new to the shape. `None`: it has too many already.
    fn choose(&self, shape: &mut Shape) -> Option<u64> {
        let mut choices = 0;
        for ((_, kind), part) in self.parts.iter().zip(&mut shape.parts) {
            let (Kind::Choice(text), Value::Choice(texts)) = (kind, &mut part.value) else {
                continue;
            };
            let text = Literal::new(text);
            let index = texts.iter().position(|known| *known == text).unwrap_or(texts.len());
            if index == CHOICES {
                return None;
            }
            if index == texts.len() {
                texts.push(text);
            }
            choices = choices << super::CHOICE_BITS | index as u64;
        }
        Some(choices)
    }
}

impl<'l> Scalar<'l> {
    /// The scalar at a place; `None`: it is a list or an object, or has an escape.
    fn of(line: &'l [u8], start: usize) -> Option<Self> {
        let rest = line.get(start..)?;
        if let [b'"', inside @ ..] = rest {
            let length = inside.iter().position(|byte| *byte == b'"')?;
            let bytes = rest.get(..length + 2)?;
            let is_plain = !bytes.iter().any(|byte| *byte < b' ' || *byte == b'\\');
            return is_plain.then_some(Self {
                form: Some(Form::Text),
                bytes,
                start,
                end: start + bytes.len(),
            });
        }
        let length = rest.iter().position(|byte| matches!(byte, b',' | b'}' | b' ' | b'\t'))?;
        let bytes = rest.get(..length)?;
        let is_word =
            bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
        let is_number = decimal(line, start) == Some(start + length);
        (is_word && length > 0).then_some(Self {
            form: is_number.then_some(Form::Number),
            bytes,
            start,
            end: start + length,
        })
    }

    const fn is_text(&self) -> bool {
        matches!(self.form, Some(Form::Text))
    }

    /// Without quotes.
    fn inside(&self) -> &'l [u8] {
        if self.is_text() {
            self.bytes.get(1..self.bytes.len() - 1).unwrap_or_default()
        } else {
            self.bytes
        }
    }
}
