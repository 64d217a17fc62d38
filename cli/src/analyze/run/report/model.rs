//! Predictions of each variant: how many are labeled, and how well their scores are calibrated.

use std::io::Write as _;

use sidetrack_analysis::answer::{ModelResult, ModelVariant};
use sidetrack_analysis::figures::{short, signed};

use crate::out::{Ink, Out};
use crate::table::{Align, Table};
use crate::wrap::wrapped;

/// Nothing without predictions.
pub(super) fn model(found: Option<&ModelResult>, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let Some(found) = found else { return Ok(()) };
    let unlabeled = found.predictions - found.labeled;
    let unpredicted = found.labels - found.labeled;
    let text = format!(
        "{} with a label, {unlabeled} without; {unpredicted} labels without a prediction",
        found.labeled
    );
    let text = wrapped("Predictions  ", &text);
    writeln!(out, "\n{}", text.replacen("Predictions", &ink.bold("Predictions").to_string(), 1))?;
    let mut table = Table::new(&[
        Align::Left,
        Align::Right,
        Align::Right,
        Align::Right,
        Align::Right,
        Align::Right,
    ]);
    let positive =
        found.positive.as_deref().map_or_else(String::new, |class| format!("{class} labels"));
    let head = ["", "labeled", &positive, "bias", "ECE", "by chance"];
    table.row(head.map(|title| ink.dim(title).into()));
    for variant in &found.variants {
        table.row(row(variant).map(Into::into));
    }
    table.write(out)?;
    for variant in found.variants.iter().filter(|variant| !variant.calibration.is_empty()) {
        let bins = variant.calibration.iter();
        let bins = bins.map(|bin| format!("{} → {}", short(bin.score, 2), short(bin.share, 2)));
        let text = bins.collect::<Vec<_>>().join(", ");
        let text = wrapped("    ", &format!("{}, score → share: {text}", variant.variant));
        writeln!(out, "{}", ink.dim(text))?;
    }
    Ok(())
}

fn row(variant: &ModelVariant) -> [String; 6] {
    let or_nothing = |value: Option<String>| value.unwrap_or_default();
    [
        format!("  {}", variant.variant),
        variant.labeled.to_string(),
        or_nothing(variant.positives.map(|count| count.to_string())),
        or_nothing(variant.bias.map(|bias| signed(bias, 3))),
        or_nothing(variant.ece.map(|ece| short(ece, 3))),
        or_nothing(variant.ece_by_chance.map(|ece| short(ece, 3))),
    ]
}
