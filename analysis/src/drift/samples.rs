//! Which rows are of which sample: the variant by the exposures, or by a column; the reference by its file, or by the time.

use std::collections::HashMap;

use sidetrack::plan::Experiment;

use super::answer::{Against, Drift};
use super::{DriftInput, DriftSettings};
use crate::row::{key, mix};
use crate::source::Clock;
use crate::source::exposed::Exposed;
use crate::source::outcomes::{Cell, Cells, Column};

/// Columns that name the variant, if no option says so.
const BY: [&str; 3] = ["assigned", "variant", "source"];
/// Columns that are no values.
const OTHERS: [&str; 3] = ["time", "timestamp", "source"];
/// The rows of all variants together.
const ALL: &str = "";

/// A sample: the number of its variant, and whether it is the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    variant: usize,
    is_reference: bool,
}

/// The variants of the rows.
#[derive(Debug)]
pub(super) struct Groups {
    names: Vec<String>,
    baseline: Option<usize>,
    by: Option<String>,
}

/// The rows of all samples.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// By row of the values: its sample and its unit.
    values: Vec<Option<(Group, u64)>>,
    /// The same of the reference's file.
    reference: Vec<Option<(Group, u64)>>,
    has_reference: bool,
    /// Whether the reference has variants of its own.
    reference_by_variant: bool,
    pub(super) used: u64,
    pub(super) unmatched: u64,
    pub(super) malformed: u64,
    pub(super) examples: Vec<String>,
    pub(super) by_unit: bool,
}

/// The values of a sample with their units; the words are those of all samples.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) numbers: Vec<(f64, u64)>,
    pub(super) words: Vec<(String, u64)>,
    /// The units of rows without a value.
    pub(super) missing: Vec<u64>,
}

impl Groups {
    pub(super) fn new(input: DriftInput<'_>, settings: &DriftSettings) -> Result<Self, String> {
        let by = match &settings.by {
            Some(by) if input.values.named(by).is_none() => {
                return Err(format!("--by: no column \"{}\"", crate::figures::visible(by)));
            }
            Some(by) => Some(by.clone()),
            None if input.exposures.is_some() => None,
            None => {
                BY.into_iter().find(|name| input.values.named(name).is_some()).map(str::to_owned)
            }
        };
        let experiment: &Experiment = input.experiment;
        let column = by.as_deref().and_then(|by| input.values.named(by));
        let (mut names, baseline): (Vec<String>, Option<usize>) = match column {
            None if input.exposures.is_none() => (vec![ALL.to_owned()], None),
            None => {
                let names = experiment.variants.iter().map(|variant| variant.name.clone());
                (names.collect(), Some(experiment.baseline.index()))
            }
            Some(column) => {
                let mut names: Vec<String> =
                    (0..input.values.rows).filter_map(|row| column.text(row)).collect();
                names.sort_unstable();
                names.dedup();
                let own = experiment.variants[experiment.baseline].name.as_str();
                let of = |wanted: &str| names.iter().position(|name| name == wanted);
                let baseline = of(own).or_else(|| of("baseline"));
                (names, baseline)
            }
        };
        const MOST: usize = 32;
        if names.len() > MOST {
            return Err(format!(
                "--by: the column has {} values; a column of variants has few",
                names.len()
            ));
        }
        if names.is_empty() {
            names.push(ALL.to_owned());
        }
        Ok(Self { names, baseline, by })
    }

    /// Whether a column is compared.
    pub(super) fn is_value(&self, column: &Column, settings: &DriftSettings) -> bool {
        let name = column.name.as_str();
        if !settings.columns.is_empty() {
            return settings.columns.iter().any(|wanted| wanted == name);
        }
        let identifies = name == "id" || name.ends_with("_id");
        !OTHERS.contains(&name) && self.by.as_deref() != Some(name) && !identifies
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }
}

impl Rows {
    pub(super) fn new(
        input: DriftInput<'_>,
        groups: &Groups,
        settings: &DriftSettings,
    ) -> Result<Self, String> {
        let mut rows = Self { by_unit: true, ..Self::default() };
        let mut clock = Clock::default();
        rows.values = rows.assign(input, input.values, groups, settings, &mut clock, false)?;
        rows.used = rows.values.iter().flatten().count() as u64;
        rows.unmatched = rows.values.iter().filter(|row| row.is_none()).count() as u64;
        let mut read = vec![input.values];
        if let Some(reference) = input.reference {
            rows.reference_by_variant =
                groups.by.as_deref().is_some_and(|by| reference.named(by).is_some());
            rows.reference = rows.assign(input, reference, groups, settings, &mut clock, true)?;
            rows.has_reference = true;
            read.push(reference);
        } else if settings.reference_until.is_some() {
            rows.has_reference = true;
            rows.reference_by_variant = true;
        }
        rows.malformed = read.iter().map(|cells| cells.malformed).sum();
        rows.examples = read.iter().flat_map(|cells| cells.examples.iter().cloned()).collect();
        if rows.used == 0 {
            return Err(format!(
                "none of the {} rows is of a variant that is known\n  hint: rows need a request_id or \
                 a unit of the exposures, or --by COLUMN names their variant",
                input.values.rows
            ));
        }
        Ok(rows)
    }

    /// The samples and units of a file's rows.
    fn assign(
        &mut self,
        input: DriftInput<'_>,
        cells: &Cells,
        groups: &Groups,
        settings: &DriftSettings,
        clock: &mut Clock,
        is_file: bool,
    ) -> Result<Vec<Option<(Group, u64)>>, String> {
        let by = groups.by.as_deref().and_then(|by| cells.named(by));
        let times = ["time", "timestamp"].into_iter().find_map(|name| cells.named(name));
        if settings.reference_until.is_some() && !is_file && times.is_none() {
            let known = input.exposures.is_some();
            if !known {
                return Err("--reference-until: the rows have no column time".to_owned());
            }
        }
        let digest = |unit: &str| key(&input.experiment.exposure.pseudonym(unit.as_bytes()));
        let mut found = Vec::with_capacity(cells.rows);
        for row in 0..cells.rows {
            let (request, unit) = (cells.request(row), cells.unit(row));
            let exposed = input.exposures.and_then(|all| -> Option<Exposed> {
                if !request.is_empty() {
                    return all.requests.get(&key(request)).copied();
                }
                all.units.get(&key(unit)).or_else(|| all.units.get(&digest(unit))).copied()
            });
            let variant = match (by, &groups.by) {
                (Some(by), _) => by.text(row).and_then(|name| groups.find(&name)),
                (None, _) if is_file => Some(0),
                (None, None) if input.exposures.is_none() => Some(0),
                _ => exposed.map(|exposed| usize::from(exposed.arm)),
            };
            let Some(variant) = variant else {
                found.push(None);
                continue;
            };
            let time = times
                .and_then(|times| clock.read(&times.text(row)?))
                .or_else(|| exposed.map(|exposed| exposed.time));
            let before = settings.reference_until.map(|until| {
                let window = crate::Window { since: None, until: Some(until) };
                time.map(|time| window.contains(time))
            });
            let is_reference = match before {
                _ if is_file => true,
                None => false,
                Some(Some(before)) => before,
                // Its time is unknown, so it is of neither.
                Some(None) => {
                    found.push(None);
                    continue;
                }
            };
            let unit = if unit.is_empty() {
                exposed.and_then(|exposed| exposed.unit)
            } else if input.exposures.is_some_and(|all| all.units.contains_key(&digest(unit))) {
                Some(digest(unit))
            } else {
                Some(key(unit))
            };
            self.by_unit &= unit.is_some();
            // A row without a unit is one of its own, in each file another.
            let own = mix(u64::from(is_file), row as u64);
            found.push(Some((Group { variant, is_reference }, unit.unwrap_or(own))));
        }
        Ok(found)
    }

    /// Whether there is to be a reference, and nothing was compared with it.
    pub(super) fn lacks_reference(&self, found: &Drift) -> bool {
        self.has_reference && found.compared.iter().all(|one| one.against != Against::Reference)
    }

    /// The pairs of samples: what with, the variant's name, the first and the second.
    pub(super) fn pairs(&self, groups: &Groups) -> Vec<(Against, String, Group, Group)> {
        let now = |variant| Group { variant, is_reference: false };
        let mut pairs = Vec::new();
        for (variant, name) in groups.names.iter().enumerate() {
            if let Some(baseline) = groups.baseline.filter(|baseline| *baseline != variant) {
                pairs.push((Against::Baseline, name.clone(), now(baseline), now(variant)));
            }
            if self.has_reference {
                let of = if self.reference_by_variant { variant } else { 0 };
                let reference = Group { variant: of, is_reference: true };
                pairs.push((Against::Reference, name.clone(), reference, now(variant)));
            }
        }
        pairs
    }

    /// The values of a sample; `None` if it has no rows, or if the reference's file does not have the column.
    pub(super) fn take(
        &self,
        group: Group,
        column: &Column,
        reference: Option<&Column>,
    ) -> Option<Values> {
        let of_file = group.is_reference && !self.reference.is_empty();
        let (rows, column) =
            if of_file { (&self.reference, reference?) } else { (&self.values, column) };
        let mut values = Values::default();
        let mut any = false;
        for (row, place) in rows.iter().enumerate() {
            let Some((own, unit)) = place else { continue };
            if *own != group {
                continue;
            }
            any = true;
            match column.cells.get(row) {
                Some(Cell::Number(number)) => values.numbers.push((*number, *unit)),
                Some(Cell::Word(word)) => {
                    let text = column.words.get(*word as usize).cloned().unwrap_or_default();
                    values.words.push((text, *unit));
                }
                None | Some(Cell::Missing) => values.missing.push(*unit),
            }
        }
        any.then_some(values)
    }
}

impl Values {
    /// Everything as words.
    pub(super) fn as_words(&self) -> Vec<(String, u64)> {
        let numbers = self.numbers.iter().map(|(number, unit)| (number.to_string(), *unit));
        numbers.chain(self.words.iter().cloned()).collect()
    }

    pub(super) fn units(&self) -> u64 {
        let units = self.numbers.iter().map(|(_, unit)| *unit);
        let units: HashMap<u64, ()> =
            units.chain(self.words.iter().map(|(_, unit)| *unit)).map(|unit| (unit, ())).collect();
        units.len() as u64
    }
}
