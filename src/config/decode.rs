//! From the tree to what was written, typed: every mistake is reported, and reading goes on.
//!
//! serde's derive stops at the first error of a file; people mend files faster when they see all of them.
//! So each type of the schema says how it is read and which JSON Schema describes it, in one place.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::node::Node;
use super::problem::{Code, Path, Problems};

/// A type of the schema.
pub(crate) trait Decode: Sized {
    /// Reads a value; a mistake is pushed and gives `None`.
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self>;

    /// The JSON Schema of what [`Decode::decode`] reads.
    fn schema() -> Value;
}

/// What a key of the file held.
#[derive(Clone, Debug, Default)]
pub(crate) enum Given<T> {
    /// The key was left out.
    #[default]
    Absent,
    /// It held a mistake, which is reported already.
    Bad,
    /// It held this.
    Is(T),
}

impl<T> Given<T> {
    pub(crate) fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Self
    where
        T: Decode,
    {
        T::decode(node, at, problems).map_or(Self::Bad, Self::Is)
    }

    pub(crate) const fn get(&self) -> Option<&T> {
        if let Self::Is(value) = self { Some(value) } else { None }
    }

    pub(crate) const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// How a group of keys is written.
pub(crate) const GROUP: &str = "write one \"key: value\" per line, indented below this key";

/// Reports that `node` is not of the kind that `allowed` says.
pub(crate) fn wrong_type(
    node: &Node,
    at: &Path<'_>,
    problems: &mut Problems,
    allowed: &str,
    hint: &str,
) {
    let hint = match (node, at) {
        (_, Path::Root) => "an experiment file begins with \"experiments:\"",
        (Node::Null, _) => "remove the key, or give it a value",
        _ => hint,
    };
    problems.push(
        at,
        Code::WrongType,
        format!("found {}; allowed: {allowed}", node.describe()),
        hint,
    );
}

/// The longest text that may be a mistyped word.
const LONGEST_TYPO: usize = 63;

/// The word of `known` that `found` was probably meant to be, as a question; empty when there is none.
#[must_use]
pub fn did_you_mean(found: &str, known: &[&str]) -> String {
    // The distance takes time and memory in proportion to the length; a text that long is no slip of a short word.
    if found.len() > LONGEST_TYPO {
        return String::new();
    }
    let best = known.iter().map(|word| (strsim::damerau_levenshtein(found, word), *word)).min();
    match best {
        Some((distance, word)) if distance <= 2.max(word.len() / 3) && distance < word.len() => {
            format!("did you mean \"{word}\"?")
        }
        _ => String::new(),
    }
}

/// The hint, or another one where it is empty.
pub(crate) fn or_else(hint: String, otherwise: &str) -> String {
    if hint.is_empty() { otherwise.to_owned() } else { hint }
}

pub(crate) fn unknown_key(at: &Path<'_>, key: &str, known: &[&str], problems: &mut Problems) {
    let message = format!("found an unknown key; allowed: {}", known.join(", "));
    let hint = or_else(did_you_mean(key, known), "remove it, or take one of these");
    problems.push(&at.key(key), Code::UnknownKey, message, hint);
}

/// Reports keys that exclude each other, or that none of them is there.
pub(crate) fn exactly_one(at: &Path<'_>, known: &[&str], given: &[&str], problems: &mut Problems) {
    let known = known.join(", ");
    match given {
        [_] => {}
        [] => {
            let message = format!("found none of the keys {known}; one is needed");
            problems.push(at, Code::MissingKey, message, "choose the one that fits")
        }
        [first, ..] => problems.push(
            at,
            Code::Conflict,
            format!("found {} together; allowed: one of {known}", given.join(" and ")),
            format!("keep one, for example \"{first}\""),
        ),
    }
}

/// A list. Entries keep their number in the file, also when one before them could not be read.
#[derive(Clone, Debug)]
pub(crate) struct List<T>(pub(crate) Vec<(usize, T)>, usize);

impl<T> List<T> {
    /// How many entries were written, those that could not be read among them.
    pub(crate) const fn written(&self) -> usize {
        self.1
    }
}

impl<T: Decode> Decode for List<T> {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let Node::List(items) = node else {
            wrong_type(
                node,
                at,
                problems,
                "a list",
                "write one entry per line, each behind \"- \"",
            );
            return None;
        };
        let read = |(i, item)| T::decode(item, &at.item(i), problems).map(|value| (i, value));
        Some(Self(items.iter().enumerate().filter_map(read).collect(), items.len()))
    }

    fn schema() -> Value {
        json!({"type": "array", "items": T::schema()})
    }
}

/// A group of keys that the user chooses, in the file's order.
#[derive(Clone, Debug)]
pub(crate) struct Pairs<T>(pub(crate) Vec<(String, T)>);

impl<T: Decode> Decode for Pairs<T> {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let Node::Map(entries) = node else {
            wrong_type(node, at, problems, "a group of keys and values", GROUP);
            return None;
        };
        let mut pairs: Vec<(String, T)> = Vec::new();
        let mut keys = BTreeSet::new();
        for (key, value) in entries {
            if !keys.insert(key) {
                duplicate_key(&at.key(key), problems);
            } else if let Some(value) = T::decode(value, &at.key(key), problems) {
                pairs.push((key.clone(), value));
            }
        }
        Some(Self(pairs))
    }

    fn schema() -> Value {
        json!({"type": "object", "additionalProperties": T::schema()})
    }
}

pub(crate) fn duplicate_key(at: &Path<'_>, problems: &mut Problems) {
    let message = "found the same key a second time; allowed: once";
    problems.push(at, Code::DuplicateKey, message, "remove one of the two");
}

/// A group of known keys: the struct that holds what was written, how it is read, and its JSON Schema.
macro_rules! object {
    ($(#[doc = $doc:literal])* $name:ident {
        $($(#[doc = $field_doc:literal])* $field:ident: $type:ty = $key:literal $($required:ident)?,)*
    } $(one of [$($one:literal),*])?) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Default)]
        pub(crate) struct $name {
            $($(#[doc = $field_doc])* pub(crate) $field: $crate::config::decode::Given<$type>,)*
        }

        impl $crate::config::decode::Decode for $name {
            fn decode(
                node: &$crate::config::node::Node,
                at: &$crate::config::problem::Path<'_>,
                problems: &mut $crate::config::problem::Problems,
            ) -> Option<Self> {
                use $crate::config::decode;
                const KEYS: &[&str] = &[$($key),*];
                let $crate::config::node::Node::Map(entries) = node else {
                    decode::wrong_type(node, at, problems, &format!("a group of keys: {}", KEYS.join(", ")), decode::GROUP);
                    return None;
                };
                let mut out = Self::default();
                let mut keys = std::collections::BTreeSet::new();
                for (key, value) in entries {
                    if !keys.insert(key) {
                        decode::duplicate_key(&at.key(key), problems);
                        continue;
                    }
                    match key.as_str() {
                        $($key => out.$field = decode::Given::decode(value, &at.key(key), problems),)*
                        _ => decode::unknown_key(at, key, KEYS, problems),
                    }
                }
                $($(if out.$field.is_absent() {
                    decode::$required(&at.key($key), problems);
                })?)*
                $(
                    let given: Vec<&str> = [$($one),*].into_iter()
                        .filter(|one| entries.iter().any(|(key, _)| key == one)).collect();
                    decode::exactly_one(at, &[$($one),*], &given, problems);
                )?
                Some(out)
            }

            fn schema() -> serde_json::Value {
                use $crate::config::decode::{Decode, described};
                let mut properties = serde_json::Map::new();
                let needed: Vec<&str> = vec![$($({ let _ = $crate::config::decode::$required; $key },)?)*];
                $(
                    let doc = concat!($($field_doc),*);
                    properties.insert($key.to_owned(), described(<$type as Decode>::schema(), doc));
                )*
                let mut schema = serde_json::json!({
                    "type": "object", "properties": properties, "additionalProperties": false,
                });
                if let Some(object) = schema.as_object_mut() {
                    if !needed.is_empty() {
                        object.insert("required".to_owned(), needed.into());
                    }
                    $(
                        let one: Vec<serde_json::Value> =
                            [$($one),*].iter().map(|key| serde_json::json!({"required": [key]})).collect();
                        object.insert("oneOf".to_owned(), one.into());
                    )?
                }
                described(schema, concat!($($doc),*))
            }
        }
    };
}
pub(crate) use object;

/// Reports a key that must be there and is not. Named for how `object!` reads.
pub(crate) fn required(at: &Path<'_>, problems: &mut Problems) {
    problems.push(at, Code::MissingKey, "found nothing; this key is required", "add it");
}

/// `schema` with a description.
pub(crate) fn described(mut schema: Value, doc: &str) -> Value {
    if let Some(object) = schema.as_object_mut()
        && !doc.is_empty()
    {
        object.insert("description".to_owned(), doc.trim().into());
    }
    schema
}

/// `schema` with the words for what it allows, and with other keys that begin with `x-`: for [`crate::config::rules`].
pub(crate) fn ruled(mut schema: Value, allowed: &str) -> Value {
    if let Some(object) = schema.as_object_mut() {
        object.insert("x-allowed".to_owned(), allowed.into());
    }
    schema
}

/// Reads the plan's choices: each is one of its words.
macro_rules! choices {
    ($($choice:ty),*) => {$(
        impl $crate::config::decode::Decode for $choice {
            fn decode(
                node: &$crate::config::node::Node,
                at: &$crate::config::problem::Path<'_>,
                problems: &mut $crate::config::problem::Problems,
            ) -> Option<Self> {
                $crate::config::decode::one_of(node, at, Self::ALL, Self::as_str, problems)
            }

            fn schema() -> serde_json::Value {
                let words: Vec<&str> = Self::ALL.iter().map(|choice| choice.as_str()).collect();
                serde_json::json!({"enum": words})
            }
        }
    )*};
}
pub(crate) use choices;

pub(crate) fn one_of<T: Copy>(
    node: &Node,
    at: &Path<'_>,
    all: &[T],
    word: impl Fn(T) -> &'static str,
    problems: &mut Problems,
) -> Option<T> {
    let is_written = |choice: &T| matches!(node, Node::Text(text) if text == word(*choice));
    let found = all.iter().copied().find(is_written);
    if found.is_none() {
        let words: Vec<&str> = all.iter().copied().map(word).collect();
        not_one_of(node, at, &words, problems);
    }
    found
}

pub(crate) fn not_one_of(node: &Node, at: &Path<'_>, words: &[&str], problems: &mut Problems) {
    let hint = match node {
        Node::Text(text) => {
            or_else(did_you_mean(text, words), "use one of the words, as it stands here")
        }
        Node::Bool(_) => {
            "YAML reads a bare yes, no, on or off as true or false; use one of the words".to_owned()
        }
        _ => "use one of the words, as it stands here".to_owned(),
    };
    let message = format!("found {}; allowed: {}", node.describe(), words.join(", "));
    problems.push(at, Code::NotOneOf, message, hint);
}
