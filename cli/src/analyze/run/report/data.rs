//! Whether the data can be trusted: the split, the checks, the lines and rows that were read.

use std::io::Write;

use sidetrack_analysis::answer::{LineCounts, OutcomeCounts, SrmPhase, SrmVerdict};
use sidetrack_analysis::{Analysis, Check, CheckState};

use crate::analyze::figures::percent;
use crate::out::{Ink, Out};
use crate::table::{Align, Cell, Table};
use crate::wrap::{self, wrapped};
use sidetrack_analysis::words::{
    left_out, outcome_rows, p_text, result, share, skipped, unreadable_rows,
};

/// How many phases are shown; a bandit makes many.
const MOST_PHASES: usize = 12;

/// The split between the variants, and each phase's.
pub(super) fn split(analysis: &Analysis, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let srm = &analysis.srm;
    let verdict = match srm.verdict {
        SrmVerdict::Ok => ink.good("split as configured").to_string(),
        SrmVerdict::Mismatch => ink.bad("SAMPLE RATIO MISMATCH").to_string(),
        SrmVerdict::Undefined => ink.note("split not tested").to_string(),
    };
    let p = srm.p_value.map(|p| format!("  p = {}", p_text(p))).unwrap_or_default();
    writeln!(out, "{verdict}{p}")?;
    if let Some(note) = &srm.note {
        writeln!(out, "{}", wrap::note("  ", note, ink))?;
    }
    let width = analysis.variants.iter().map(|variant| variant.name.len()).max().unwrap_or(0);
    let noun = format!("{}s", analysis.unit_of_analysis.as_str());
    for variant in &analysis.variants {
        let share = share(variant, &analysis.variants);
        let (units, requests) = (variant.units, variant.requests);
        let name = &variant.name;
        writeln!(out, "  {name:<width$}  {units:>11} {noun} ({share})  {requests:>11} requests")?;
        if variant.served_elsewhere > 0 {
            let elsewhere = variant.served_elsewhere;
            writeln!(out, "    {elsewhere} of them served by another variant")?;
        }
    }
    if srm.phases.len() > 1 { phases(analysis, &noun, ink, out) } else { Ok(()) }
}

fn phases(analysis: &Analysis, noun: &str, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let phases = &analysis.srm.phases;
    let left = phases.len().saturating_sub(MOST_PHASES);
    let names = || analysis.variants.iter().map(|variant| variant.name.as_str());
    let mut columns = vec![Align::Left, Align::Left];
    columns.extend(names().map(|_| Align::Right));
    columns.push(Align::Right);
    let mut table = Table::new(&columns);
    let head = ["phase", "from"].into_iter().chain(names()).chain(["p"]);
    table.row(head.map(|title| ink.dim(title).into()));
    for phase in phases.iter().skip(left) {
        table.row(phase_row(phase, names()));
    }
    let of = format!("{noun} (and target)");
    let more = if left > 0 {
        format!("; the last {MOST_PHASES} of {} phases (--json has all)", phases.len())
    } else {
        String::new()
    };
    writeln!(out, "  {}", ink.dim(format!("by phase: {of}{more}")))?;
    Ok(table.write(out)?)
}

/// `canary`, its first minute, `45 (95 %)` of each variant, the p-value.
fn phase_row<'n>(phase: &SrmPhase, names: impl Iterator<Item = &'n str>) -> Vec<Cell> {
    let from = phase.from.as_deref().unwrap_or_default();
    // Weights that return are told apart by their time, which has its own column.
    let name = phase.phase.as_deref().unwrap_or("all");
    let name = name.strip_suffix(from).and_then(|name| name.strip_suffix(" from ")).unwrap_or(name);
    let mut row = vec![name.into(), from.replace(":00Z", "Z").into()];
    row.extend(names.map(|name| {
        let units = phase.seen.get(name).copied().unwrap_or_default();
        let target = phase.expected.get(name).copied().unwrap_or_default();
        Cell::from(format!("{units} ({})", percent(target)))
    }));
    row.push(phase.p_value.map_or_else(|| "–".to_owned(), p_text).into());
    row
}

/// What the checks found. The messages of those that did not pass are among the reasons.
pub(super) fn checks(checks: &[Check], ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let states = [CheckState::Blocking, CheckState::Accepted, CheckState::Warning];
    for state in states.into_iter().chain([CheckState::NotChecked, CheckState::Ok]) {
        let names = named(checks.iter().filter(|check| check.state == state));
        if names.is_empty() {
            continue;
        }
        let word = result(state);
        let start = format!("checks {word}: ");
        let painted = match state {
            CheckState::Blocking => ink.bad(word),
            CheckState::Accepted | CheckState::Warning | CheckState::NotChecked => ink.note(word),
            CheckState::Ok => ink.good(word),
        };
        let text = wrapped(&start, &names);
        writeln!(out, "{}", text.replacen(word, &painted.to_string(), 1))?;
    }
    Ok(())
}

/// `few_units, unreadable_values (revenue)`.
fn named<'c>(checks: impl Iterator<Item = &'c Check>) -> String {
    let mut names: Vec<(&str, Vec<&str>)> = Vec::new();
    for check in checks {
        let name = check.name.as_str();
        let subject = check.subject.as_deref();
        match names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, subjects)) => subjects.extend(subject),
            None => names.push((name, subject.into_iter().collect())),
        }
    }
    let words = names.into_iter().map(|(name, subjects)| {
        if subjects.is_empty() {
            name.to_owned()
        } else {
            format!("{name} ({})", subjects.join(", "))
        }
    });
    words.collect::<Vec<_>>().join(", ")
}

/// The lines of the logs.
pub(super) fn lines(lines: &LineCounts, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let parts = left_out(lines);
    let left =
        if parts.is_empty() { String::new() } else { format!("; left out: {}", parts.join(", ")) };
    let text = format!("{} lines read, {} used{left}", lines.read, lines.used);
    writeln!(out, "{}", ink.dim(wrapped("", &text)))?;
    if lines.malformed > 0 {
        writeln!(out, "{}", wrap::note("", &skipped(lines), ink))?;
        for example in &lines.examples {
            writeln!(out, "{}", wrapped("  ", example))?;
        }
    }
    Ok(())
}

/// The rows of the outcomes.
pub(super) fn rows(outcomes: &OutcomeCounts, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    writeln!(out, "{}", ink.dim(wrapped("", &outcome_rows(outcomes))))?;
    for (what, examples) in unreadable_rows(outcomes) {
        writeln!(out, "{}", wrap::note("", &what, ink))?;
        examples.iter().try_for_each(|example| writeln!(out, "{}", wrapped("  ", example)))?;
    }
    Ok(())
}
