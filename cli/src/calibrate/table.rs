//! The tables of a calibration.

use sidetrack_analysis::calibrate::{Calibration, Row, Wrong};
use sidetrack_analysis::figures;

/// Rows of cells; the first one is the head.
pub(super) type Rows = Vec<Vec<String>>;

const NONE: &str = "–";

/// An experiment a row.
pub(super) fn all(found: &Calibration) -> Rows {
    const HEAD: [&str; 14] = [
        "metric",
        "rate",
        "looks",
        "variants",
        "share",
        "units",
        "margin",
        "promoted",
        "worse",
        "passed",
        "broken",
        "harmed",
        "missed",
        "power / oracle",
    ];
    let head = HEAD.map(str::to_owned).to_vec();
    std::iter::once(head).chain(found.cells.iter().map(cells)).collect()
}

/// The highest rates of each metric and way of looking, and where the power is lowest.
pub(super) fn worst(found: &Calibration) -> Rows {
    const HEAD: [&str; 10] = [
        "metric",
        "looks",
        "experiments",
        "promoted",
        "worse",
        "passed",
        "broken",
        "harmed",
        "missed",
        "power lost",
    ];
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    let mut kinds: Vec<(&str, &str)> = Vec::new();
    for row in &found.cells {
        if !kinds.contains(&(row.metric, row.looks)) {
            kinds.push((row.metric, row.looks));
        }
    }
    kinds.sort_by_key(|(metric, _)| found.cells.iter().position(|row| row.metric == *metric));
    for (metric, looks) in kinds {
        let of = || found.cells.iter().filter(|row| (row.metric, row.looks) == (metric, looks));
        let highest = |rate: fn(&Row) -> Option<f64>, name: &str| {
            let of = of().filter_map(|row| Some((rate(row)?, row)));
            let highest = of.max_by(|(one, _), (two, _)| one.total_cmp(two));
            highest.map_or_else(
                || NONE.to_owned(),
                |(rate, row)| format!("{} ({})", rated(row, name, Some(rate)), place(row)),
            )
        };
        let lost =
            |row: &Row| (row.share >= 0.5 && row.units >= 2000).then_some(row.oracle? - row.power?);
        rows.push(vec![
            metric.to_owned(),
            looks.to_owned(),
            of().count().to_string(),
            highest(|row| row.false_promotions, "false_promotions"),
            highest(|row| row.false_worse, "false_worse"),
            highest(|row| row.false_non_inferior, "false_non_inferior"),
            highest(|row| row.false_inferior, "false_inferior"),
            highest(|row| row.false_harm, "false_harm"),
            highest(|row| Some(row.missed), "missed"),
            highest(lost, "power"),
        ]);
    }
    rows
}

/// The cases in which the usual formulas err most, with the rate at which they do.
pub(super) fn corners(found: &Calibration) -> Rows {
    const HEAD: [&str; 11] = [
        "decision", "metric", "rate", "looks", "share", "units", "margin", "before", "now",
        "nominal", "runs",
    ];
    let cells = |row: &Row| {
        let corner = row.corner?;
        let wrong = match corner.wrong {
            Wrong::Promoted => "promoted",
            Wrong::Different => "better or worse",
            Wrong::Passed => "passed",
            Wrong::Broken => "broken",
        };
        let [from, to] = corner.before.map(figures::percent);
        let before =
            if from == to { to } else { format!("{} to {to}", from.trim_end_matches(" %")) };
        let [metric, rate, looks, _, share, units, margin] = experiment(row);
        let now = rated(row, "corner", Some(corner.now));
        let (nominal, runs) = (figures::percent(corner.nominal), row.runs.to_string());
        let wrong = wrong.to_owned();
        Some(vec![wrong, metric, rate, looks, share, units, margin, before, now, nominal, runs])
    };
    let head = HEAD.map(str::to_owned).to_vec();
    std::iter::once(head).chain(found.cells.iter().filter_map(cells)).collect()
}

/// As CSV: an experiment a line, and rates as numbers from 0 to 1.
pub(super) fn csv(found: &Calibration) -> anyhow::Result<Vec<u8>> {
    const HEAD: [&str; 16] = [
        "metric",
        "rate",
        "looks",
        "variants",
        "share",
        "units",
        "margin",
        "runs",
        "false_promotions",
        "false_worse",
        "false_non_inferior",
        "false_inferior",
        "false_harm",
        "missed",
        "power",
        "oracle",
    ];
    let mut lines = csv::Writer::from_writer(Vec::new());
    lines.write_record(HEAD)?;
    for row in &found.cells {
        lines.serialize((
            (row.metric, row.rate, row.looks, row.variants, row.share, row.units, row.margin),
            (row.runs, row.false_promotions, row.false_worse, row.false_non_inferior),
            (row.false_inferior, row.false_harm, row.missed, row.power, row.oracle),
        ))?;
    }
    Ok(lines.into_inner()?)
}

/// Where a rate was found.
fn place(row: &Row) -> String {
    let rate = row.rate.map(|rate| format!("rate {}, ", figures::percent(rate)));
    let variants =
        if row.variants > 2 { format!(", {} variants", row.variants) } else { String::new() };
    let (rate, share) = (rate.unwrap_or_default(), figures::percent(row.share));
    format!("{rate}{share} of {}{variants}", row.units)
}

/// Aligned for a terminal.
pub(super) fn plain(rows: &Rows) -> String {
    lines(rows, |cells| cells.join("  ").trim_end().to_owned(), false)
}

/// In Markdown.
pub(super) fn markdown(rows: &Rows) -> String {
    lines(rows, |cells| format!("| {} |", cells.join(" | ")), true)
}

fn lines(rows: &Rows, line: impl Fn(&[String]) -> String, ruled: bool) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text += &line(&padded.collect::<Vec<_>>());
        text.push('\n');
        if ruled && index == 0 {
            text += &format!("|{}\n", "---|".repeat(columns));
        }
    }
    text
}

/// A rate in percent; `!` marks one that fails.
fn rated(row: &Row, name: &str, value: Option<f64>) -> String {
    let mark = if row.failed.contains(&name) { " !" } else { "" };
    value.map_or_else(|| NONE.to_owned(), |value| format!("{:.1} %{mark}", 100.0 * value))
}

/// What is simulated.
fn experiment(row: &Row) -> [String; 7] {
    let margin = match row.margin {
        Some(margin) if row.metric.starts_with("latency") => format!("{:.0} ms", 1000.0 * margin),
        Some(margin) => format!("{:.1} pt", 100.0 * margin),
        None => NONE.to_owned(),
    };
    [
        row.metric.to_owned(),
        row.rate.map_or_else(|| NONE.to_owned(), figures::percent),
        row.looks.to_owned(),
        row.variants.to_string(),
        figures::percent(row.share),
        row.units.to_string(),
        margin,
    ]
}

/// An experiment's cells.
fn cells(row: &Row) -> Vec<String> {
    let power = match (row.power, row.oracle) {
        (Some(power), Some(oracle)) => {
            let mark = if row.failed.contains(&"power") { " !" } else { "" };
            format!("{:.0} / {:.0} %{mark}", 100.0 * power, 100.0 * oracle)
        }
        _ => NONE.to_owned(),
    };
    let rates = [
        rated(row, "false_promotions", row.false_promotions),
        rated(row, "false_worse", row.false_worse),
        rated(row, "false_non_inferior", row.false_non_inferior),
        rated(row, "false_inferior", row.false_inferior),
        rated(row, "false_harm", row.false_harm),
        rated(row, "missed", Some(row.missed)),
        power,
    ];
    experiment(row).into_iter().chain(rates).collect()
}
