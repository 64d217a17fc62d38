//! The positions of values in the text, for the line numbers of problems.
//!
//! The core's tree knows no lines: a configuration inside Envoy has none that anybody could look up. Here the text
//! is read a second time, only when there is a problem to place.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use sidetrack::config::{Code, Problem};

use crate::yaml;

/// A line and a column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

/// As it follows a path: ` (line 3)`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " (line {})", self.line)
    }
}

/// The positions of all values, by the paths of problems.
#[derive(Debug, Default)]
pub(crate) struct Lines(HashMap<String, Vec<Place>>);

impl Lines {
    /// Reads the positions. Invalid YAML has none.
    pub(crate) fn of(text: &str) -> Self {
        let mut lines = Self::default();
        if let Ok(tree) = yaml::read::<Spanned<Tree>>(text) {
            lines.add(String::new(), &tree.value);
        }
        lines
    }

    /// The place that a problem is about: the value at its path, or what surrounds it when it is not there.
    pub(crate) fn place(&self, problem: &Problem) -> Option<Place> {
        let mut path = problem.path.as_str();
        while !path.is_empty() {
            if let Some(places) = self.0.get(path) {
                // Of a repeated key the first is the one that was read; the last is the one too many.
                let place =
                    if problem.code == Code::DuplicateKey { places.last() } else { places.first() };
                return place.copied();
            }
            path = path.rfind(['.', '[']).and_then(|end| path.get(..end)).unwrap_or_default();
        }
        None
    }

    /// The position of the key of a path.
    pub(crate) fn key(&self, path: &str) -> Option<Place> {
        self.0.get(path)?.first().copied()
    }

    fn add(&mut self, at: String, tree: &Tree) {
        match tree {
            Tree::Leaf => {}
            Tree::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    let at = format!("{at}[{i}]");
                    self.insert(&at, &item.referenced);
                    self.add(at, &item.value);
                }
            }
            Tree::Map(entries) => {
                for (key, value) in entries {
                    let at = if at.is_empty() {
                        key.value.clone()
                    } else {
                        format!("{at}.{}", key.value)
                    };
                    self.insert(&at, &key.referenced);
                    self.add(at, &value.value);
                }
            }
        }
    }

    fn insert(&mut self, at: &str, location: &Location) {
        if *location != Location::UNKNOWN {
            let place = Place { line: location.line(), column: location.column() };
            self.0.entry(at.to_owned()).or_default().push(place);
        }
    }
}

/// The file's shape.
enum Tree {
    Leaf,
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

macro_rules! leaves {
    ($($visit:ident: $type:ty,)*) => {
        $(fn $visit<E: serde::de::Error>(self, _: $type) -> Result<Tree, E> { Ok(Tree::Leaf) })*
    };
}

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    leaves! { visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str, }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Tree::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_line() {
        let lines = Lines::of("a: 1\nlist:\n  - name: x\n    b: [1,\n      2]\n  - {name: y}\n");
        let at = |path: &str| {
            let problem = Problem {
                path: path.to_owned(),
                code: Code::OutOfRange,
                message: String::new(),
                hint: String::new(),
            };
            lines.place(&problem).map(|place| (place.line, place.column))
        };
        assert_eq!(at("a"), Some((1, 1)));
        assert_eq!(at("list[0].name"), Some((3, 5)));
        assert_eq!(at("list[0].b[1]"), Some((5, 7)));
        assert_eq!(at("list[1].name"), Some((6, 6)));
        assert_eq!(at("list[1].missing.deeper"), Some((6, 5)), "what surrounds it");
        assert_eq!(at(""), None);
    }
}
