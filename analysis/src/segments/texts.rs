//! The values of a dimension, as a dictionary of bounded size.

use std::collections::BTreeMap;

use crate::row::key;

/// How many values are kept; units with others belong to the remaining segment.
const MOST: usize = 10_000;

/// How long a value is kept, in characters.
const LONGEST: usize = 60;

/// What stands for no value.
pub(crate) const NO_VALUE: u64 = 0;

/// Texts by their keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts(BTreeMap<u64, String>);

impl Texts {
    /// Keeps a text, unless there are too many.
    pub(crate) fn add(&mut self, key: u64, text: &str) {
        if self.0.len() < MOST && !self.0.contains_key(&key) {
            self.0.insert(key, text.chars().take(LONGEST).collect());
        }
    }

    /// Adds the texts of a later part.
    pub(crate) fn merge(&mut self, later: &Self) {
        later.0.iter().for_each(|(key, text)| self.add(*key, text));
    }

    pub(crate) fn get(&self, key: u64) -> Option<&str> {
        self.0.get(&key).map(String::as_str)
    }

    /// Whether values may be missing.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }
}

/// The key of a value; [`NO_VALUE`] if it says that there is none.
pub(crate) fn key_of(text: &str) -> u64 {
    let text = text.trim();
    if text.is_empty() || text == "-" || text.eq_ignore_ascii_case("null") {
        return NO_VALUE;
    }
    key(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_is_bounded_and_keeps_what_it_knows() {
        let mut texts = Texts::default();
        let long = "é".repeat(LONGEST + 1);
        for number in 0..MOST as u64 {
            texts.add(number + 1, &format!("v{number}"));
        }
        texts.add(1, "other");
        texts.add(0xffff_ffff, "late");
        assert_eq!((texts.get(1), texts.get(0xffff_ffff)), (Some("v0"), None));
        assert!(texts.is_full() && texts.0.len() == MOST);
        let mut more = Texts::default();
        more.add(7, &long);
        assert_eq!(more.get(7).map(|text| text.chars().count()), Some(LONGEST));
        assert!(!more.is_full());
        texts.merge(&more);
        assert_eq!(texts.get(7), Some("v6"));
    }

    #[test]
    fn nothing_has_no_key() {
        assert!(["", " ", "-", "null", "NULL"].iter().all(|text| key_of(text) == NO_VALUE));
        assert!(["NA", "none", "0", "–"].iter().all(|text| key_of(text) != NO_VALUE));
        assert_eq!(key_of(" DE "), key_of("DE"));
    }
}
