//! The exchange between a summary and its table: each number is listed once, for both directions.

use std::collections::BTreeMap;

use sidetrack_stats::accumulate::{Moments, Pairs};

use super::fields::{DAY, numbers, signed};
use super::table::{Cells, Key, Table};

/// Lists by phase, variant and place. An item has one number or several.
pub(super) type Lists = BTreeMap<(Option<u32>, Option<usize>, Option<i64>), Vec<Vec<i64>>>;

/// Writes numbers to a table, or reads them from it.
pub(super) struct Exchange<'v> {
    table: Table,
    writes: bool,
    /// 0: all data; 1: without open breakers.
    pub(super) pass: u8,
    variants: &'v [&'v str],
    /// How many phases there are.
    pub(super) phases: usize,
    problem: Option<String>,
}

impl<'v> Exchange<'v> {
    /// Writes to a new table.
    pub(super) fn write(variants: &'v [&'v str]) -> Self {
        Self { writes: true, ..Self::read(Table::default(), variants) }
    }

    /// Reads from a table.
    pub(super) const fn read(table: Table, variants: &'v [&'v str]) -> Self {
        Self { table, writes: false, pass: 0, variants, phases: 0, problem: None }
    }

    pub(super) const fn writes(&self) -> bool {
        self.writes
    }

    /// How many variants there are.
    pub(super) const fn variants(&self) -> usize {
        self.variants.len()
    }

    /// The table that was written.
    pub(super) fn into_table(self) -> Table {
        self.table
    }

    /// Something that was read makes no sense.
    pub(super) fn fail(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    /// What makes no sense in the rows so far.
    pub(super) fn problem(self) -> Option<String> {
        self.problem
    }

    /// The end of reading.
    ///
    /// # Errors
    /// A row that makes no sense, or that nothing has read.
    pub(super) fn end(self) -> Result<(), String> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        self.table.rows.keys().next().map_or(Ok(()), |key| {
            Err(format!(
                "unknown row: {}; another version made the table, or for another experiment",
                key.words()
            ))
        })
    }

    fn key(&self, kind: &str, name: &str) -> Key {
        let (kind, name) = (kind.to_owned(), name.to_owned());
        Key { kind, pass: self.pass, name, ..Key::default() }
    }

    /// A row: writes `cells` if they are given, else takes those of the table.
    fn row(&mut self, key: Key, cells: Option<Cells>) -> Option<Cells> {
        if !self.writes {
            return self.table.rows.remove(&key);
        }
        if let Some(cells) = cells {
            self.table.rows.insert(key, cells);
        }
        None
    }

    /// All rows of a kind, when reading.
    fn all(&mut self, kind: &str) -> Vec<(Key, Cells)> {
        let first = Key { kind: kind.to_owned(), pass: self.pass, ..Key::default() };
        let rows = self.table.rows.range(first..);
        let keys = rows.map(|(key, _)| key.clone());
        let is_own = |key: &Key| key.kind == kind && key.pass == self.pass;
        let keys: Vec<Key> = keys.take_while(is_own).collect();
        keys.into_iter().filter_map(|key| self.table.rows.remove_entry(&key)).collect()
    }

    /// A count; 0 has no row.
    pub(super) fn count(&mut self, kind: &str, name: &str, value: &mut u64) {
        let mut some = Some(*value).filter(|value| *value > 0);
        self.maybe(kind, name, &mut some);
        *value = some.unwrap_or_default();
    }

    /// A number that may not exist.
    pub(super) fn maybe(&mut self, kind: &str, name: &str, value: &mut Option<u64>) {
        let cells = value.map(|n| Cells { n: Some(n), ..Cells::default() });
        let found = self.row(self.key(kind, name), cells);
        if !self.writes {
            *value = found.and_then(|cells| cells.n);
        }
    }

    pub(super) fn flag(&mut self, kind: &str, name: &str, value: &mut bool) {
        let mut count = u64::from(*value);
        self.count(kind, name, &mut count);
        *value = count > 0;
    }

    /// The first and the last time.
    pub(super) fn span(&mut self, kind: &str, name: &str, value: &mut Option<(u64, u64)>) {
        let (mut first, mut last) = (value.map(|span| span.0), value.map(|span| span.1));
        self.maybe(kind, &format!("{name}first"), &mut first);
        self.maybe(kind, &format!("{name}last"), &mut last);
        *value = first.zip(last);
    }

    /// A fraction that may not exist.
    pub(super) fn fraction(&mut self, kind: &str, name: &str, value: &mut Option<f64>) {
        let cells = value.map(|value| with([value]));
        let found = self.row(self.key(kind, name), cells);
        if !self.writes {
            *value = found.and_then(|cells| cells.s[0]);
        }
    }

    pub(super) fn text(&mut self, kind: &str, name: &str, value: &mut Option<String>) {
        let cells = value.clone().map(|text| Cells { list: Some(text), ..Cells::default() });
        let found = self.row(self.key(kind, name), cells);
        if !self.writes {
            *value = found.and_then(|cells| cells.list);
        }
    }

    /// Numbers and texts by their place.
    pub(super) fn texts(&mut self, kind: &str, name: &str, values: &mut Vec<(u64, String)>) {
        for (place, (number, text)) in values.iter().enumerate().filter(|_| self.writes) {
            let key = Key { at: i64::try_from(place).ok(), ..self.key(kind, name) };
            let cells = Cells { n: Some(*number), list: Some(text.clone()), ..Cells::default() };
            self.table.rows.insert(key, cells);
        }
        if !self.writes {
            let mut all = self.all_named(kind, name);
            all.sort_by_key(|(key, _)| key.at);
            let one =
                |(_, cells): (Key, Cells)| (cells.n.unwrap_or(0), cells.list.unwrap_or_default());
            *values = all.into_iter().map(one).collect();
        }
    }

    fn all_named(&mut self, kind: &str, name: &str) -> Vec<(Key, Cells)> {
        let (own, others): (Vec<_>, Vec<_>) =
            self.all(kind).into_iter().partition(|(key, _)| key.name == name);
        self.table.rows.extend(others);
        own
    }

    /// Counts by name.
    pub(super) fn names(&mut self, kind: &str, values: &mut BTreeMap<String, u64>) {
        for (name, count) in values.iter().filter(|_| self.writes) {
            let cells = Cells { n: Some(*count), ..Cells::default() };
            self.table.rows.insert(self.key(kind, name), cells);
        }
        if !self.writes {
            let all = self.all(kind).into_iter();
            *values = all.map(|(key, cells)| (key.name, cells.n.unwrap_or(0))).collect();
        }
    }

    /// The key of each slot.
    fn slots(&self, kind: &str, name: &str, at: Option<u64>) -> Vec<Key> {
        let slot = |phase: usize, variant: &str| Key {
            phase: u32::try_from(phase).ok(),
            variant: Some(variant.to_owned()),
            at: at.and_then(|at| i64::try_from(at).ok()),
            ..self.key(kind, name)
        };
        let phases = 0..self.phases;
        phases.flat_map(|phase| self.variants.iter().map(move |name| slot(phase, name))).collect()
    }

    /// The key of each variant.
    fn arms(&self, kind: &str, name: &str) -> Vec<Key> {
        let arm =
            |variant: &&str| Key { variant: Some((*variant).to_owned()), ..self.key(kind, name) };
        self.variants.iter().map(arm).collect()
    }

    /// Values that each have a row; those that equal the default have none.
    fn each<T: Clone + Default>(
        &mut self,
        keys: Vec<Key>,
        values: &mut Vec<T>,
        to: impl Fn(&T) -> Option<Cells>,
        of: impl Fn(&Cells) -> T,
    ) {
        values.resize(keys.len(), T::default());
        for (key, value) in keys.into_iter().zip(values) {
            let cells = if self.writes { to(value) } else { None };
            if let Some(found) = self.row(key, cells) {
                *value = of(&found);
            }
        }
    }

    /// Counts by slot.
    pub(super) fn counts(
        &mut self,
        kind: &str,
        name: &str,
        at: Option<u64>,
        values: &mut Vec<u64>,
    ) {
        let to = |n: &u64| (*n > 0).then(|| Cells { n: Some(*n), ..Cells::default() });
        self.each(self.slots(kind, name, at), values, to, |cells| cells.n.unwrap_or(0));
    }

    /// Counts by variant.
    pub(super) fn by_arm(&mut self, kind: &str, name: &str, values: &mut Vec<u64>) {
        let to = |n: &u64| (*n > 0).then(|| Cells { n: Some(*n), ..Cells::default() });
        self.each(self.arms(kind, name), values, to, |cells| cells.n.unwrap_or(0));
    }

    /// Numbers by variant.
    pub(super) fn fractions(&mut self, kind: &str, name: &str, values: &mut Vec<f64>) {
        let to = |value: &f64| Some(with([*value]));
        self.each(self.arms(kind, name), values, to, |cells| cells.s[0].unwrap_or(0.0));
    }

    /// Numbers by slot that may not exist.
    pub(super) fn fractions_by_slot(
        &mut self,
        kind: &str,
        name: &str,
        at: u64,
        values: &mut Vec<Option<f64>>,
    ) {
        let to = |value: &Option<f64>| value.map(|value| with([value]));
        self.each(self.slots(kind, name, Some(at)), values, to, |cells| cells.s[0]);
    }

    /// Sums of pairs by slot.
    pub(super) fn pairs(
        &mut self,
        kind: &str,
        name: &str,
        at: Option<u64>,
        values: &mut Vec<Pairs>,
    ) {
        let to = |pairs: &Pairs| {
            let n = Some(pairs.count()).filter(|n| *n > 0)?;
            Some(Cells { n: Some(n), ..with(pairs.parts()) })
        };
        let of = |cells: &Cells| {
            Pairs::of_parts(cells.n.unwrap_or(0), cells.s.map(Option::unwrap_or_default))
        };
        self.each(self.slots(kind, name, at), values, to, of);
    }

    /// Sums of single numbers by slot.
    pub(super) fn moments(&mut self, kind: &str, name: &str, values: &mut Vec<Moments>) {
        let to = |moments: &Moments| {
            let n = Some(moments.count()).filter(|n| *n > 0)?;
            Some(Cells { n: Some(n), ..with(moments.parts()) })
        };
        let of = |cells: &Cells| {
            let [origin, offset, squares, ..] = cells.s.map(Option::unwrap_or_default);
            Moments::of_parts(cells.n.unwrap_or(0), [origin, offset, squares])
        };
        self.each(self.slots(kind, name, None), values, to, of);
    }

    /// Two sums by slot, with a count.
    pub(super) fn sums(&mut self, kind: &str, name: &str, values: &mut Vec<(u64, f64, f64)>) {
        let to = |(n, one, two): &(u64, f64, f64)| {
            (*n > 0).then(|| Cells { n: Some(*n), ..with([*one, *two]) })
        };
        let of = |cells: &Cells| {
            let [one, two, ..] = cells.s.map(Option::unwrap_or_default);
            (cells.n.unwrap_or(0), one, two)
        };
        self.each(self.slots(kind, name, None), values, to, of);
    }

    /// The places of a kind that the table has.
    pub(super) fn places(&self, kind: &str) -> Vec<u64> {
        let first = Key { kind: kind.to_owned(), pass: self.pass, ..Key::default() };
        let rows = self.table.rows.range(first..).map(|(key, _)| key);
        let own = rows.take_while(|key| key.kind == kind && key.pass == self.pass);
        let mut places: Vec<u64> = own.filter_map(|key| u64::try_from(key.at?).ok()).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Lists of numbers by slot and place, such as the bins of a histogram.
    pub(super) fn lists(&mut self, kind: &str, name: &str, values: &mut Lists) {
        if self.writes {
            for ((phase, arm, at), list) in values.iter() {
                let variant = arm.and_then(|arm| self.variants.get(arm).copied());
                let key = Key {
                    phase: *phase,
                    variant: variant.map(str::to_owned),
                    at: *at,
                    ..self.key(kind, name)
                };
                let item =
                    |item: &Vec<i64>| item.iter().map(i64::to_string).collect::<Vec<_>>().join(":");
                let list: Vec<String> = list.iter().map(item).collect();
                let cells = Cells { list: Some(list.join(" ")), ..Cells::default() };
                self.table.rows.insert(key, cells);
            }
            return;
        }
        for (key, cells) in self.all_named(kind, name) {
            let arm = key
                .variant
                .as_deref()
                .map(|variant| self.variants.iter().position(|name| *name == variant));
            if arm == Some(None) {
                self.fail(format!("unknown variant: {}", key.words()));
                continue;
            }
            let text = cells.list.unwrap_or_default();
            let item = |item: &str| item.split(':').map(|part| part.parse().ok()).collect();
            let list: Option<Vec<Vec<i64>>> = text.split_whitespace().map(item).collect();
            match list {
                Some(mut list) => {
                    // Engines give lists in no order.
                    list.sort_unstable();
                    values.insert((key.phase, arm.flatten(), key.at), list);
                }
                None => self.fail(format!("bad list: {}", key.words())),
            }
        }
    }
}

impl Exchange<'_> {
    /// Counts by minute and variant, in lists by day.
    pub(super) fn minutes(&mut self, kind: &str, values: &mut BTreeMap<u64, Vec<u64>>) {
        let mut lists = Lists::new();
        for (minute, arms) in values.iter() {
            for (arm, count) in arms.iter().enumerate().filter(|(_, count)| **count > 0) {
                let key = (None, Some(arm), Some(signed(minute / DAY)));
                lists.entry(key).or_default().push(vec![signed(*minute), signed(*count)]);
            }
        }
        self.lists(kind, "", &mut lists);
        if self.writes {
            return;
        }
        for ((_, arm, _), list) in lists {
            for item in list {
                let [minute, count] = numbers(&item);
                let arms = values.entry(minute).or_default();
                arms.resize(self.variants.len(), 0);
                if let Some(of) = arm.and_then(|arm| arms.get_mut(arm)) {
                    *of = count;
                }
            }
        }
    }

    /// Products by metric and two slots.
    pub(super) fn crossings(&mut self, name: &str, values: &mut BTreeMap<(usize, usize), f64>) {
        let slots = self.slots("crossing", name, None);
        let cells = |product: &f64| with([*product]);
        if self.writes {
            for ((one, two), product) in values.iter() {
                let Some(key) = slots.get(*one).cloned() else { continue };
                let key = Key { at: i64::try_from(*two).ok(), ..key };
                self.table.rows.insert(key, cells(product));
            }
            return;
        }
        for (key, cells) in self.all_named("crossing", name) {
            let one = slots
                .iter()
                .position(|slot| (slot.phase, &slot.variant) == (key.phase, &key.variant));
            let two =
                key.at.and_then(|at| usize::try_from(at).ok()).filter(|two| *two < slots.len());
            match (one.zip(two), cells.s[0]) {
                (Some(slots), Some(product)) => drop(values.insert(slots, product)),
                _ => self.fail(format!("unknown phase or variant: {}", key.words())),
            }
        }
    }
}

/// Cells with these numbers.
fn with<const N: usize>(numbers: [f64; N]) -> Cells {
    let mut cells = Cells::default();
    cells.s.iter_mut().zip(numbers).for_each(|(cell, number)| *cell = Some(number));
    cells
}
