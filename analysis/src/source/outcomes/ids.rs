//! A sample of the units that the outcomes name, as they are written: to find out why some match nothing.
//!
//! The units with the smallest keys are a random sample, and the same for each order of the rows.

use std::collections::BTreeMap;

/// How many units are kept.
const MOST: usize = 4096;

/// The sample: units by their keys.
#[derive(Debug, Default)]
pub(crate) struct Ids(BTreeMap<u64, String>);

impl Ids {
    pub(super) fn add(&mut self, key: u64, unit: &str) {
        let is_full = self.0.len() >= MOST;
        if is_full && self.0.last_key_value().is_none_or(|(last, _)| key >= *last) {
            return;
        }
        if self.0.insert(key, unit.to_owned()).is_none() && is_full {
            self.0.pop_last();
        }
    }

    /// Adds the sample of another file.
    pub(super) fn merge(&mut self, other: Self) {
        other.0.into_iter().for_each(|(key, unit)| self.add(key, &unit));
    }

    pub(crate) fn units(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }
}

/// Other spellings of a unit that programs make of it: letters in one case, a number as a float or without its leading
/// zeros, quotes around a text, a prefix that names its kind (`web:17`).
pub(crate) fn spellings(unit: &str) -> Vec<String> {
    let trimmed =
        unit.trim_matches(|letter: char| "\"'".contains(letter) || letter.is_whitespace());
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut all = vec![trimmed.to_lowercase(), trimmed.to_uppercase(), trimmed.to_owned()];
    if let Some(whole) = trimmed.strip_suffix(".0").filter(|whole| is_number(whole)) {
        all.push(whole.to_owned());
    }
    if let Some((_, rest)) = trimmed.rsplit_once([':', '|', '/']) {
        all.push(rest.to_owned());
    }
    if is_number(trimmed) {
        all.extend([trimmed.trim_start_matches('0').to_owned(), format!("{trimmed}.0")]);
    }
    all.retain(|other| other != unit && !other.is_empty());
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_bounded_and_does_not_depend_on_the_order() {
        let key = |number: u64| crate::row::mix(3, number);
        let (mut one, mut two) = (Ids::default(), Ids::default());
        for number in 0..20_000 {
            one.add(key(number), &number.to_string());
            two.add(key(19_999 - number), &(19_999 - number).to_string());
            two.add(key(19_999 - number), &(19_999 - number).to_string());
        }
        assert_eq!(one.0.len(), MOST);
        assert_eq!(one.0, two.0);
    }

    #[test]
    fn spellings_are_those_of_programs() {
        assert_eq!(spellings("User-7"), ["USER-7", "user-7"]);
        assert_eq!(spellings("17.0"), ["17"]);
        assert_eq!(spellings("0017"), ["0017.0", "17"]);
        assert_eq!(spellings("'a'"), ["A", "a"]);
        assert_eq!(spellings("web:7"), ["7", "WEB:7"]);
        assert!(spellings("17").contains(&"17.0".to_owned()));
    }
}
