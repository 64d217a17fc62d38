//! The rows of the outcomes: their columns, what became of them, and how they match the logs.

use super::super::RowFacts;
use super::super::exchange::{Exchange, Lists};
use super::{numbers, signed};
use crate::analyze::Read;
use crate::answer::LoggedColumn;
use crate::sizes::Sizes;
use crate::source::outcomes::{EqualRows, Ignored, NoMetric, Unreadable};
use crate::sums::{Echoes, Placed};

impl RowFacts {
    /// The names of the columns, and which of them have nothing but 0 and 1.
    pub(super) fn columns(&mut self, x: &mut Exchange<'_>) {
        let columns = self.columns.iter().zip(&self.binary);
        let mut columns: Vec<(u64, String)> =
            columns.map(|(name, binary)| (u64::from(*binary), name.clone())).collect();
        x.texts("column", "binary", &mut columns);
        let columns = columns.into_iter().map(|(binary, name)| (name, binary > 0));
        (self.columns, self.binary) = columns.unzip();
    }

    pub(super) fn exchange(&mut self, x: &mut Exchange<'_>) {
        x.flag("outcomes", "by_request", &mut self.by_request);
        self.columns(x);
        self.not_read(x);
        let (mut nameless, mut modeled) = (self.nameless as u64, self.modeled as u64);
        x.count("outcomes", "columns_of_model", &mut modeled);
        self.modeled = usize::try_from(modeled).unwrap_or_default();
        self.logged(x);
        let [once, twice] = &mut self.met;
        for (name, count) in [
            ("read", &mut self.read),
            ("rows", &mut self.rows),
            ("malformed", &mut self.malformed),
            ("repeated", &mut self.repeated),
            ("conflicting", &mut self.conflicting),
            ("nameless_columns", &mut nameless),
            ("untimed_repeated", &mut self.untimed.repeated),
            ("untimed_in_runs", &mut self.untimed.in_runs),
            ("timed_scattered", &mut self.timed.scattered),
            ("timed_alike", &mut self.timed.alike),
            ("matched_by_request", once),
            ("matched_by_several", twice),
            ("requests_with_row", &mut self.sharing.0),
            ("requests_that_share", &mut self.sharing.1),
            ("about_no_line", &mut self.unknown),
            ("about_other_trials", &mut self.of_other_trials),
        ] {
            x.count("outcome_rows", name, count);
        }
        self.nameless = usize::try_from(nameless).unwrap_or_default();
        x.flag("outcome_rows", "untimed_diverse", &mut self.untimed.diverse);
        let mut counts_each = self.timed.equal == EqualRows::Count;
        x.flag("outcome_rows", "equal_rows_count", &mut counts_each);
        self.timed.equal = if counts_each { EqualRows::Count } else { EqualRows::Skip };
        plain(x, "malformed", &mut self.examples);
        plain(x, "first", &mut self.first);
        plain(x, "class", &mut self.classes);
        by_arm(x, "classes_known", &mut self.known);
        let mut tables = Lists::new();
        for (arm, table) in self.tables.iter().enumerate() {
            let item = |(pair, (rows, right)): (&[u16; 2], &(u64, u64))| {
                let [one, two] = pair.map(i64::from);
                vec![one, two, signed(*rows), signed(*right)]
            };
            tables.insert((None, Some(arm), None), table.iter().map(item).collect());
        }
        x.lists("classes", "", &mut tables);
        let small = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
        for ((_, arm, _), list) in tables.into_iter().filter(|_| !x.writes()) {
            let arm = arm.unwrap_or_default();
            self.tables.resize(self.tables.len().max(arm + 1), Default::default());
            let table = self.tables.get_mut(arm).into_iter();
            for table in table {
                for item in &list {
                    let [one, two, rows, right] = numbers(item);
                    table.insert([small(one), small(two)], (rows, right));
                }
            }
        }
        if self.by_request {
            sizes(x, &self.columns, &mut self.sizes);
        } else {
            // Requests match no row about units.
            self.sizes = vec![vec![Sizes::default(); x.variants()]; self.columns.len()];
        }
    }

    /// Columns that are made from fields of the log.
    fn logged(&mut self, x: &mut Exchange<'_>) {
        let logged = self.logged.iter();
        let (mut names, mut missing): (Vec<_>, Vec<_>) = logged
            .map(|it| ((it.requests, it.column.clone()), (it.missing, it.column.clone())))
            .unzip();
        x.texts("column", "of_log", &mut names);
        x.texts("column", "of_log_missing", &mut missing);
        let both = names.into_iter().zip(missing);
        let logged = both.map(|((requests, column), (missing, _))| LoggedColumn {
            column,
            requests,
            missing,
        });
        self.logged = logged.collect();
    }

    /// Columns that are no metrics, and values that cannot be read.
    fn not_read(&mut self, x: &mut Exchange<'_>) {
        const WHY: [NoMetric; 4] =
            [NoMetric::Text, NoMetric::Empty, NoMetric::Identifiers, NoMetric::Times];
        let why = |ignored: &Ignored| WHY.iter().position(|why| *why == ignored.why).unwrap_or(0);
        let ignored = self.ignored.iter();
        let (mut names, mut examples): (Vec<_>, Vec<_>) =
            ignored.map(|it| ((why(it) as u64, it.name.clone()), (0, it.example.clone()))).unzip();
        x.texts("column", "no_metric", &mut names);
        x.texts("column", "no_metric_value", &mut examples);
        let both = names.into_iter().zip(examples);
        let ignored = both.map(|((why, name), (_, example))| Ignored {
            name,
            why: WHY.get(usize::try_from(why).unwrap_or(0)).copied().unwrap_or(NoMetric::Text),
            example,
        });
        self.ignored = ignored.collect();
        self.unreadable.resize(self.columns.len(), Unreadable::default());
        for (unreadable, column) in self.unreadable.iter_mut().zip(&self.columns) {
            x.count("unreadable_values", column, &mut unreadable.rows);
            let name = format!("unreadable {column}");
            plain(x, &name, &mut unreadable.examples);
        }
    }
}

/// What the pass over the data found of the rows.
pub(super) fn exchange(of: &mut Read, x: &mut Exchange<'_>, facts: &RowFacts) {
    // A text, since nothing but the report and a check of both classes reads it.
    let mut model = of.model.as_ref().and_then(|model| serde_json::to_string(model).ok());
    x.text("outcomes", "predictions", &mut model);
    of.model = model.and_then(|text| serde_json::from_str(&text).ok());
    x.count("outcome_rows", "late_by_request", &mut of.settled.late);
    x.count("outcome_rows", "untimed_by_request", &mut of.settled.untimed);
    let [twice, all] = &mut of.twice;
    x.count("units", "named_twice", twice);
    x.count("units", "looked_up_as_digests", all);
    sample(of, x);
    let mut is_placed = of.placed.is_some();
    x.flag("outcomes", "by_unit", &mut is_placed);
    if is_placed {
        placed(of.placed.get_or_insert_with(Placed::default), x, &facts.columns);
    }
}

fn sample(of: &mut Read, x: &mut Exchange<'_>) {
    let sample = &mut of.sample;
    x.count("units_of_outcomes", "looked_up", &mut sample.all);
    x.count("units_of_outcomes", "respelled", &mut sample.respelled);
    let (mut unit, mut known) = sample.example.clone().unzip();
    x.text("units_of_outcomes", "example", &mut unit);
    x.text("units_of_outcomes", "example_in_logs", &mut known);
    sample.example = unit.zip(known);
    by_arm(x, "units_of_outcomes", &mut sample.arms);
    let mut is_drawn = !sample.shares.is_empty();
    x.flag("units_of_outcomes", "drawn", &mut is_drawn);
    if is_drawn {
        x.fractions("units_of_outcomes", "share", &mut sample.shares);
    }
}

/// Rows about units.
fn placed(placed: &mut Placed, x: &mut Exchange<'_>, columns: &[String]) {
    for (name, count) in [
        ("matched", &mut placed.matched),
        ("unmatched", &mut placed.unmatched),
        ("early", &mut placed.early),
        ("shortly_before", &mut placed.shortly),
        ("after_first", &mut placed.before.after),
        ("hours_before", &mut placed.before.hours),
        ("earlier", &mut placed.before.earlier),
        ("rounded", &mut placed.before.rounded),
        ("other_time", &mut placed.other_time),
        ("late", &mut placed.late),
        ("untimed", &mut placed.untimed),
        ("other_trial", &mut placed.other_trial),
        ("ambiguous", &mut placed.ambiguous),
    ] {
        x.count("outcome_rows", name, count);
    }
    x.maybe("outcome_rows", "resolution", &mut placed.before.resolution);
    x.flag("outcome_rows", "timed", &mut placed.timed);
    x.minutes("outcome_minutes", &mut placed.minutes);
    let echoes = placed.echoes.iter().map(|of| [of.rows, of.again, of.units]);
    let mut echoes: Vec<[u64; 3]> = echoes.collect();
    by_arm(x, "echoes", &mut echoes);
    let echoes = echoes.into_iter().map(|[rows, again, units]| Echoes { rows, again, units });
    placed.echoes = echoes.collect();
    sizes(x, columns, &mut placed.sizes);
}

/// Texts in their order.
fn plain(x: &mut Exchange<'_>, name: &str, texts: &mut Vec<String>) {
    let mut all: Vec<(u64, String)> = texts.drain(..).map(|text| (0, text)).collect();
    x.texts("outcome_text", name, &mut all);
    texts.extend(all.into_iter().map(|(_, text)| text));
}

/// Some counts of each variant.
fn by_arm<const N: usize>(x: &mut Exchange<'_>, name: &str, counts: &mut Vec<[u64; N]>) {
    let list = |counts: &[u64; N]| vec![counts.map(signed).to_vec()];
    let mut lists: Lists =
        counts.iter().enumerate().map(|(arm, of)| ((None, Some(arm), None), list(of))).collect();
    x.lists("by_variant", name, &mut lists);
    for ((_, arm, _), list) in lists.into_iter().filter(|_| !x.writes()) {
        let arm = arm.unwrap_or_default();
        counts.resize(counts.len().max(arm + 1), [0; N]);
        if let Some((of, item)) = counts.get_mut(arm).zip(list.first()) {
            *of = numbers(item);
        }
    }
}

/// The sizes of the values by column and variant.
fn sizes(x: &mut Exchange<'_>, columns: &[String], sizes: &mut Vec<Vec<Sizes>>) {
    sizes.resize(columns.len(), Vec::new());
    for (arms, column) in sizes.iter_mut().zip(columns) {
        let mut lists = Lists::new();
        for (arm, of) in arms.iter().enumerate() {
            let steps = of.steps.iter();
            let list = steps.map(|(step, count)| vec![i64::from(*step), signed(*count)]).collect();
            lists.insert((None, Some(arm), None), list);
        }
        x.lists("sizes", column, &mut lists);
        for ((_, arm, _), list) in lists.into_iter().filter(|_| !x.writes()) {
            let arm = arm.unwrap_or_default();
            arms.resize(arms.len().max(arm + 1), Sizes::default());
            let Some(of) = arms.get_mut(arm) else { continue };
            for item in list {
                let (step, count) = (item.first().copied(), item.get(1).copied());
                let step = step.and_then(|step| i32::try_from(step).ok());
                let count = count.and_then(|count| u64::try_from(count).ok());
                if let Some((step, count)) = step.zip(count) {
                    of.steps.insert(step, count);
                    of.count += count;
                }
            }
        }
    }
}
