//! The simulation as a table for people.

use std::io::Write;

use super::{Phase, Report, SUSPICIOUS, Variant};
use crate::out::Out;
use crate::words::grouped;

pub(super) fn tell(report: &Report, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    for (i, experiment) in report.experiments.iter().enumerate() {
        if i > 0 {
            writeln!(out)?;
        }
        let off = if experiment.enabled { "" } else { " (switched off; as if it were on)" };
        let drawn = grouped(experiment.units);
        let of = if experiment.units == report.units {
            format!("{drawn} units")
        } else {
            format!("{drawn} of {} units are in the layer's slots", grouped(report.units))
        };
        writeln!(out, "{}{}  {}", ink.bold(&experiment.name), ink.note(off), ink.dim(of))?;
        let names = experiment.phases.iter().flat_map(|phase| &phase.variants);
        let width = names.map(|variant| variant.name.len()).max().unwrap_or(0).max(7);
        for phase in &experiment.phases {
            writeln!(out)?;
            if let Some(name) = &phase.phase {
                writeln!(out, "  phase {}", ink.bold(name))?;
            }
            let head = format!(
                "  {:<width$} {:>12} {:>11} {:>11} {:>11}",
                "variant", "units", "share", "target", "difference"
            );
            writeln!(out, "{}", ink.dim(head))?;
            for variant in &phase.variants {
                writeln!(out, "  {}", row(variant, width))?;
                if variant.is_uninvited() {
                    writeln!(
                        out,
                        "  {} {} has weight 0 and got units",
                        ink.bad("error:"),
                        variant.name
                    )?;
                }
            }
            writeln!(out, "  {}", verdict(phase))?;
            if phase.suspicious {
                let text = format!("p is below {SUSPICIOUS:e}: these shares are no accident");
                writeln!(out, "  {} {text}", ink.bad("warning:"))?;
            }
        }
    }
    Ok(())
}

fn row(variant: &Variant, width: usize) -> String {
    format!(
        "{:<width$} {:>12} {:>9.4} % {:>9.4} % {:>+9.4} %",
        variant.name,
        grouped(variant.units),
        variant.share * 100.0,
        variant.target * 100.0,
        variant.difference * 100.0
    )
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
