//! Text bars: shares, and the position of a bucket.

use sidetrack::plan::{Experiment, PerVariant};
use sidetrack::quantity::{Bucket, Ppm};

use crate::out::Ink;
use crate::words::{percent, variant};

/// The width of 100 %, in characters.
const WIDTH: u32 = 60;

/// A share as a bar: `████████`. A share above 0 has at least one character.
pub(crate) fn share(share: Ppm) -> String {
    let cells = (u64::from(share.get()) * 40).div_ceil(u64::from(Ppm::ALL.get()));
    "█".repeat(usize::try_from(cells).unwrap_or_default())
}

/// All buckets in a line: the variants that hold them under these weights, the position of `bucket`, and
/// a legend.
pub(crate) fn ruler(
    experiment: &Experiment,
    weights: &PerVariant<Ppm>,
    bucket: Bucket,
    ink: Ink,
) -> Vec<String> {
    let middle = |i: u32| Bucket::new((i * 2 + 1) * (Bucket::COUNT / WIDTH / 2));
    // The cell of the bucket shows its own variant, even in a span narrower than a cell.
    let at = |i| if i == column(bucket) { bucket } else { middle(i).unwrap_or(bucket) };
    let cells: Vec<Cell> = (0..WIDTH).map(|i| Cell::of(experiment, weights, at(i))).collect();
    let bar: String = cells
        .chunk_by(|a, b| a == b)
        .filter_map(|run| Some(run.first()?.drawn(run.len(), ink)))
        .collect();
    let blanks = usize::try_from(column(bucket)).unwrap_or_default();
    let label = format!("bucket {}", bucket.get());
    let pointer = if blanks > 35 {
        format!("{}{} ▲", " ".repeat(blanks.saturating_sub(label.chars().count() + 1)), label)
    } else {
        format!("{}▲ {label}", " ".repeat(blanks))
    };
    let mut lines = vec![format!("0 {bar} 1000000"), format!("  {}", ink.bold(pointer))];
    lines.push(format!("  {}", legend(experiment, weights, ink)));
    lines
}

fn column(bucket: Bucket) -> u32 {
    let scaled = u64::from(bucket.get()) * u64::from(WIDTH) / u64::from(Bucket::COUNT);
    u32::try_from(scaled).unwrap_or_default().min(WIDTH - 1)
}

fn legend(experiment: &Experiment, weights: &PerVariant<Ppm>, ink: Ink) -> String {
    let shares = experiment.shares_of(weights);
    let mut parts = Vec::new();
    let mut reserved = false;
    for (order, span) in experiment.layout.spans().iter().enumerate() {
        let share = shares[span.variant];
        reserved |= share < span.width;
        let cell = Cell::Held(order).drawn(1, ink);
        parts.push(format!("{cell} {} {}", variant(experiment, span.variant), percent(share)));
    }
    let rest = shares[experiment.baseline];
    let baseline = variant(experiment, experiment.baseline);
    parts.push(format!("{} {baseline} {}", Cell::Baseline.drawn(1, ink), percent(rest)));
    if reserved {
        parts.push(format!("{} reserve (baseline)", Cell::Reserved.drawn(1, ink)));
    }
    parts.join("   ")
}

/// The owner of a bucket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// The candidate at this index of the layout.
    Held(usize),
    /// The baseline, in the reserve of a candidate.
    Reserved,
    Baseline,
}

impl Cell {
    fn of(experiment: &Experiment, weights: &PerVariant<Ppm>, at: Bucket) -> Self {
        let Some((span, _)) = experiment.layout.span_of(at) else { return Self::Baseline };
        let order = experiment.layout.spans().iter().position(|other| *other == span);
        match experiment.layout.candidate(at, weights).and(order) {
            Some(order) => Self::Held(order),
            None => Self::Reserved,
        }
    }

    /// This number of cells.
    fn drawn(self, cells: usize, ink: Ink) -> String {
        match self {
            Self::Held(0) => ink.mark("█".repeat(cells)).to_string(),
            Self::Held(1) => ink.note("▓".repeat(cells)).to_string(),
            Self::Held(order) => {
                // Letters from the third candidate on, beginning with A.
                let letter =
                    u32::try_from(order).ok().and_then(|order| char::from_digit(order + 8, 36));
                letter.unwrap_or('#').to_ascii_uppercase().to_string().repeat(cells)
            }
            Self::Reserved => ink.dim("░".repeat(cells)).to_string(),
            Self::Baseline => ink.dim("·".repeat(cells)).to_string(),
        }
    }
}
