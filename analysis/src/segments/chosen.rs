//! The segments of each dimension: its largest values, the others together, and the units without a value.

use std::collections::BTreeMap;

use super::Located;
use super::texts::{NO_VALUE, Texts};
use crate::figures::visible;
use crate::join::Unit;

/// How many values of a dimension are segments of their own.
pub const LARGEST: usize = 20;

/// How many units have each value, by its key.
pub(crate) type Sizes = BTreeMap<u64, u64>;

/// The segments of all dimensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) dimensions: Vec<ChosenValues>,
}

/// The segments of a dimension: its values in the order of their sizes, then the others, then the units without a value.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChosenValues {
    /// The dimension.
    pub(crate) name: String,
    /// Its values are in the outcomes, else in the access log.
    pub(crate) in_outcomes: bool,
    places: BTreeMap<u64, usize>,
    /// The largest values.
    pub(crate) values: Vec<String>,
    /// How many values there are.
    pub(crate) distinct: u64,
}

impl Chosen {
    /// Chooses the largest values; of equal sizes, the first by their text.
    pub(crate) fn new(located: &[Located], sizes: &[Sizes], texts: &[&Texts]) -> Self {
        let of = |(located, (sizes, texts)): (&Located, (&Sizes, &&Texts))| {
            let known =
                sizes.iter().filter_map(|(key, units)| Some((*key, *units, texts.get(*key)?)));
            let mut known: Vec<(u64, u64, &str)> = known.collect();
            known.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.2.cmp(b.2)));
            // Another one would be alone among the others.
            let kept =
                if known.len() == LARGEST + 1 && !texts.is_full() { LARGEST + 1 } else { LARGEST };
            known.truncate(kept);
            ChosenValues {
                name: located.name.clone(),
                in_outcomes: located.column.is_some(),
                places: known.iter().zip(0..).map(|((key, ..), place)| (*key, place)).collect(),
                values: known.iter().map(|(_, _, text)| visible(text)).collect(),
                distinct: sizes.keys().filter(|key| **key != NO_VALUE).count() as u64,
            }
        };
        let parts = located.iter().zip(sizes.iter().zip(texts));
        Self { dimensions: parts.map(of).collect() }
    }

    /// The segment of a unit in each dimension, and whether its value was recorded after its first request.
    pub(crate) fn of(&self, unit: Unit<'_>, first: u64) -> Vec<(usize, bool)> {
        let of = |(dimension, chosen): (usize, &ChosenValues)| {
            let value = unit.segment(dimension);
            if value.value == NO_VALUE {
                return (chosen.unknown(), false);
            }
            let place = chosen.places.get(&value.value).copied();
            (place.unwrap_or(chosen.values.len()), value.time > first)
        };
        self.dimensions.iter().enumerate().map(of).collect()
    }
}

impl ChosenValues {
    /// The place of the units without a value.
    pub(crate) const fn unknown(&self) -> usize {
        self.values.len() + 1
    }

    /// How many segments there are, those without units included.
    pub(crate) const fn len(&self) -> usize {
        self.values.len() + 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_values_are_segments() {
        let mut texts = Texts::default();
        let mut sizes = Sizes::new();
        for number in 1..=30u64 {
            texts.add(number, &format!("v{number:02}"));
            sizes.insert(number, if number == 25 { 900 } else { 100 - number / 10 });
        }
        sizes.insert(NO_VALUE, 5000);
        let located = [Located { name: "v".to_owned(), column: None }];
        let chosen = Chosen::new(&located, &[sizes.clone()], &[&texts]);
        let found = &chosen.dimensions[0];
        assert_eq!((found.values.len(), found.distinct, found.len()), (20, 30, 22));
        // The largest one, then equal ones by their texts.
        assert_eq!(found.values[..3], ["v25", "v01", "v02"]);
        assert!(!found.values.contains(&"v30".to_owned()) && found.places[&25] == 0);
        // A single other value is not an other one.
        sizes.retain(|key, _| *key <= 21);
        assert_eq!(Chosen::new(&located, &[sizes], &[&texts]).dimensions[0].values.len(), 21);
    }
}
