//! The comparison for people.

use std::io::Write;

use super::{Change, Compared, Report};
use crate::out::{Ink, Out};
use crate::words::quoted;

pub(super) fn tell(report: &Report, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    writeln!(out, "{}", ink.dim(format!("at {}", report.at)))?;
    for experiment in &report.experiments {
        one(experiment, ink, out)?;
    }
    writeln!(out)?;
    if report.experiments.is_empty() {
        writeln!(out, "Neither file has an experiment.")?;
    } else if report.swap {
        let swapped = report.experiments.iter().filter(|experiment| experiment.swap);
        let names: Vec<&str> = swapped.map(|experiment| experiment.name.as_str()).collect();
        writeln!(
            out,
            "{} units of {} move between two candidates",
            ink.bad("swap:"),
            names.join(", ")
        )?;
    } else {
        writeln!(out, "{} no unit moves between two candidates", ink.good("✓"))?;
    }
    Ok(())
}

fn one(experiment: &Compared, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let change = match experiment.change {
        Change::Kept => "",
        Change::Added => "  (new)",
        Change::Removed => "  (removed)",
    };
    writeln!(out, "\n{}{}", ink.bold(&experiment.name), ink.note(change))?;
    let mut rows: Vec<[String; 4]> = Vec::new();
    for step in &experiment.moves {
        let mark = if step.swap { "swap" } else { "" };
        rows.push([
            place(step.from.as_deref()),
            format!("→ {}", place(step.to.as_deref())),
            step.percent.clone(),
            mark.to_owned(),
        ]);
    }
    for stay in &experiment.stays {
        rows.push([
            place(stay.variant.as_deref()),
            "stays".to_owned(),
            stay.percent.clone(),
            String::new(),
        ]);
    }
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let (from_width, to_width) = (width(0), width(1));
    let whole = |percent: &str| percent.find('.').unwrap_or(percent.len());
    let whole_width = rows.iter().map(|[_, _, percent, _]| whole(percent)).max().unwrap_or(0);
    let fraction_width =
        rows.iter().map(|[_, _, percent, _]| percent.len() - whole(percent)).max().unwrap_or(0);
    for [from, to, percent, mark] in &rows {
        let (ones, decimals) = percent.split_at(whole(percent));
        let share = format!("{ones:>whole_width$}{decimals:<fraction_width$} %");
        let line = format!("  {from:<from_width$}  {to:<to_width$}  {share}");
        if to == "stays" {
            writeln!(out, "{}", ink.dim(line))?;
        } else {
            let mark = if mark.is_empty() { String::new() } else { format!("  {}", ink.bad(mark)) };
            writeln!(out, "{line}{mark}")?;
        }
    }
    if experiment.moves.is_empty() {
        writeln!(out, "  nobody moves")?;
    }
    for listed in &experiment.units {
        let (from, to) = (place(listed.from.as_deref()), place(listed.to.as_deref()));
        let mark = if listed.swap { format!("  {}", ink.bad("swap")) } else { String::new() };
        writeln!(
            out,
            "  unit {}: {from} → {to} (overrides.units){mark}",
            quoted(listed.unit.as_bytes())
        )?;
    }
    for note in &experiment.notes {
        writeln!(out, "  {} {note}", ink.note("note:"))?;
    }
    Ok(())
}

fn place(name: Option<&str>) -> String {
    name.unwrap_or("(not in it)").to_owned()
}
