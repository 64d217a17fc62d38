//! Whether each variant writes its predictions as the labels are written.
//!
//! A variant whose classes are written in another way, or counted from another number, is always wrong, whatever it
//! predicts. The first shows in classes that no label has. The second shows in the table of its predictions and labels:
//! with other names for its classes, one for each, far more of its predictions would be right.

use std::collections::{BTreeMap, BTreeSet};

use sidetrack_stats::float;

use super::share;
use crate::answer::OutcomeCounts;
use crate::check::{Check, CheckName, CheckState};
use crate::figures::visible;
use crate::summary::RowFacts;

/// Above this share of predictions whose class no label has, the classes are not written like the labels.
const STRANGE: f64 = 0.95;
/// If so many more of the predictions would be right under other names, the names are wrong.
const RENAMED: f64 = 0.2;
/// Fewer predictions show nothing.
const ENOUGH: u64 = 100;
/// Fewer predictions of one class with one label may be chance.
const CELL: u64 = 5;

/// A variant's predictions under other names.
struct Renamed {
    /// The share that is right, and the share that would be.
    right: f64,
    would: f64,
    /// The same of the classes that get another name alone: of five classes, two may be swapped.
    of_renamed: (f64, f64),
    /// A class that is renamed, and its new name.
    example: Option<(String, String)>,
}

/// `None` without predictions and labels.
pub(crate) fn classes(facts: &RowFacts, counts: &OutcomeCounts, names: &[&str]) -> Option<Check> {
    let other = |[known, other]: &[u64; 2]| share(*other, *known);
    let variants: BTreeMap<String, f64> =
        counts.classes.iter().map(|(name, counts)| (name.clone(), other(counts))).collect();
    let (worst, value) = variants.iter().max_by(|one, two| one.1.total_cmp(two.1))?;
    let rows: u64 = counts.classes.get(worst)?.iter().sum();
    let is_strange = *value > STRANGE && rows >= 10;
    let name = CheckName::PredictedClasses;
    let all = names.iter().enumerate();
    let renamed = all.filter_map(|(arm, name)| Some((*name, renamed(facts, arm)?)));
    let gain = |found: &Renamed| found.would - found.right;
    let most = renamed.max_by(|a, b| gain(&a.1).total_cmp(&gain(&b.1)));
    let renamed = most.filter(|(_, found)| {
        gain(found) > RENAMED && found.of_renamed.1 > 2.0 * found.of_renamed.0
    });
    if let Some((variant, found)) = renamed.filter(|_| !is_strange) {
        let example = found.example.as_ref().map_or_else(String::new, |(class, label)| {
            format!(" (\"{}\" for \"{}\")", visible(class), visible(label))
        });
        let message = format!(
            "{:.1} % of the predictions of {variant} are right, and {:.1} % would be with other names \
             for its classes{example}: its classes are numbered or ordered in another way than the \
             labels. Write both in the same way",
            found.right * 100.0,
            found.would * 100.0
        );
        let (value, state) = (Some(gain(&found)), CheckState::Blocking);
        return Some(Check {
            name,
            state,
            subject: None,
            value,
            limit: RENAMED,
            variants,
            message,
        });
    }
    let state = if is_strange { CheckState::Blocking } else { CheckState::Ok };
    let message = format!(
        "{:.1} % of the predictions of {worst} are of a class that no label has{}",
        value * 100.0,
        if is_strange { ": write predictions and labels in the same way" } else { "" }
    );
    let value = Some(*value);
    Some(Check { name, state, subject: None, value, limit: STRANGE, variants, message })
}

/// The best names for the classes of a variant: each class gets one label, and each label one class, the most frequent
/// combinations first.
fn renamed(facts: &RowFacts, variant: usize) -> Option<Renamed> {
    let table = facts.tables.get(variant)?;
    let (mut all, mut right) = (0, BTreeMap::<u16, u64>::new());
    for (pair, (rows, of_right)) in table {
        all += rows;
        *right.entry(pair[0]).or_default() += of_right;
    }
    let cells = table.iter().map(|(pair, (rows, _))| (*pair, *rows));
    let mut cells: Vec<([u16; 2], u64)> = cells.filter(|(_, count)| *count >= CELL).collect();
    cells.sort_by_key(|(pair, count)| (std::cmp::Reverse(*count), *pair));
    let (mut classes, mut labels) = (BTreeSet::new(), BTreeSet::new());
    let right_of = |class: u16| right.get(&class).copied().unwrap_or_default();
    let (mut would, mut of_renamed, mut example) = (0, (0, 0), None);
    for ([class, label], count) in cells {
        if classes.contains(&class) || labels.contains(&label) {
            continue;
        }
        classes.insert(class);
        labels.insert(label);
        would += count;
        // Classes in other letters are the same: as many are right as the cell has.
        if class == label || right_of(class) >= count {
            continue;
        }
        of_renamed = (of_renamed.0 + right_of(class), of_renamed.1 + count);
        if example.is_none() {
            example = facts.class(class).zip(facts.class(label));
        }
    }
    let share = |count: u64| float(count) / float(all);
    (all >= ENOUGH).then(|| Renamed {
        right: share(right.values().sum()),
        would: share(would),
        of_renamed: (share(of_renamed.0), share(of_renamed.1)),
        example: example.map(|(class, label)| (class.to_owned(), label.to_owned())),
    })
}
