//! The comparison as text.

use std::io::Write;

use super::{Change, Compared, Report};
use crate::out::{Ink, Out};
use crate::table::{Align, Table};
use crate::words::quoted;
use crate::wrap;

pub(super) fn write_text(report: &Report, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    writeln!(out, "{}", ink.dim(format!("at {}", report.at)))?;
    for experiment in &report.experiments {
        one(experiment, ink, out)?;
    }
    writeln!(out)?;
    if report.experiments.is_empty() {
        writeln!(out, "The files have no experiments.")?;
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
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Point, Align::Left]);
    for step in &experiment.moves {
        let mark = if step.swap { ink.bad("swap") } else { ink.bad("") };
        table.row([
            place(step.from.as_deref()).into(),
            format!("→ {}", place(step.to.as_deref())).into(),
            format!("{} %", step.percent).into(),
            mark.into(),
        ]);
    }
    for stay in &experiment.stays {
        table.row([
            ink.dim(place(stay.variant.as_deref())).into(),
            ink.dim("stays").into(),
            ink.dim(format!("{} %", stay.percent)).into(),
        ]);
    }
    table.write(out)?;
    if experiment.moves.is_empty() {
        writeln!(out, "  no unit moves")?;
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
        writeln!(out, "{}", wrap::note("  ", note, ink))?;
    }
    Ok(())
}

fn place(name: Option<&str>) -> String {
    name.unwrap_or("(not included)").to_owned()
}
