//! The simulation as text.

use std::io::Write;

use super::{Phase, Report, SUSPICIOUS, Variant};
use crate::out::{Ink, Out};
use crate::table::{Align, Table};

pub(super) fn write_text(report: &Report, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    for (i, experiment) in report.experiments.iter().enumerate() {
        if i > 0 {
            writeln!(out)?;
        }
        let off = if experiment.enabled { "" } else { " (disabled; simulated as enabled)" };
        let drawn = experiment.units;
        let of = if experiment.units == report.units {
            format!("{drawn} units")
        } else {
            format!("{drawn} of {} units are in the slots of the layer", report.units)
        };
        writeln!(out, "{}{}  {}", ink.bold(&experiment.name), ink.note(off), ink.dim(of))?;
        for phase in &experiment.phases {
            writeln!(out)?;
            if let Some(name) = &phase.phase {
                writeln!(out, "  phase {}", ink.bold(name))?;
            }
            table(phase, ink).write(out)?;
            for variant in phase.variants.iter().filter(|variant| variant.is_uninvited()) {
                let name = &variant.name;
                writeln!(out, "  {} {name} has weight 0, but got units", ink.bad("error:"))?;
            }
            writeln!(out, "  {}", verdict(phase))?;
            if phase.suspicious {
                let text =
                    format!("p is below {SUSPICIOUS:e}, so these shares are not due to chance");
                writeln!(out, "  {} {text}", ink.bad("warning:"))?;
            }
        }
    }
    Ok(())
}

fn table(phase: &Phase, ink: Ink) -> Table {
    let mut table =
        Table::new(&[Align::Left, Align::Right, Align::Right, Align::Right, Align::Right]);
    table.head(["variant", "units", "share", "target", "difference"], ink);
    for Variant { name, units, share, target, difference, .. } in &phase.variants {
        table.row([
            name.as_str().into(),
            units.to_string().into(),
            format!("{:.4} %", share * 100.0).into(),
            format!("{:.4} %", target * 100.0).into(),
            format!("{:+.4} %", difference * 100.0).into(),
        ]);
    }
    table
}

fn verdict(phase: &Phase) -> String {
    match phase.p_value {
        Some(p) => {
            let p = if p < 1e-4 { format!("{p:.2e}") } else { format!("{p:.4}") };
            format!("chi-square {:.3}, df {}, p = {p}", phase.chi_square, phase.df)
        }
        None => "nothing to compare: fewer than two variants have a share".to_owned(),
    }
}
