//! The chart of an outage: the candidate's share of the responses, its model's health and its breaker's state by time.

use std::ops::Range;
use std::time::Duration;

use sidetrack::plan::VariantId;

use crate::breaker::Breaker;
use crate::demo::observe::{BreakerPhase, SLICE, Slice, Snapshot};
use crate::out::Ink;

/// The maximum number of cells side by side.
const WIDTH: usize = 70;
/// The chart's height in lines, each of eight levels.
const HEIGHT: usize = 3;
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The declared share is the upper edge of this line, counted from below.
const TARGET: usize = 2;
/// The width of the labels at the left.
const MARGIN: usize = 8;

/// The chart, and below it the states of model and breaker.
pub(super) fn lines(snapshot: &Snapshot<'_>, ink: Ink) -> Vec<String> {
    let slices = snapshot.client.slices.as_slice();
    let axis = Axis::of(slices.len());
    let target = target(snapshot);
    let breaker: Vec<Stretch> = breaker(snapshot);
    // Whether the breaker was half-open, and the height of the bar.
    let cells: Vec<(bool, f64)> = (0..axis.cells)
        .map(|cell| {
            let at = axis.time(cell);
            let state = breaker.iter().rfind(|stretch| stretch.from <= at).map(|s| s.state);
            let slices = slices.get(axis.slices(cell)).unwrap_or_default();
            (state == Some(Breaker::HalfOpen), share(slices) / target)
        })
        .collect();
    let mut lines: Vec<String> = (1..=HEIGHT)
        .rev()
        .map(|row| {
            let label =
                if row == TARGET { format!("{:.0} %", target * 100.0) } else { String::new() };
            let runs = cells.chunk_by(|a, b| a.0 == b.0).map(|run| {
                let bars: String = run.iter().map(|(_, height)| level(*height, row)).collect();
                match run.first() {
                    Some((true, _)) => ink.note(bars).to_string(),
                    _ => ink.mark(bars).to_string(),
                }
            });
            format!("{}{}", ink.dim(format!("{label:>6}  ")), runs.collect::<String>())
        })
        .collect();
    let health = snapshot.events.health.iter().map(|(from, healthy)| Stretch {
        from: *from,
        state: if *healthy { Breaker::Closed } else { Breaker::Open },
        labels: vec![if *healthy { "healthy" } else { "503" }.to_owned()],
    });
    for (name, stretches) in [("model", health.collect()), ("breaker", breaker)] {
        let drawn = band(&stretches, &axis, ink);
        lines.push(format!("{}{drawn}", ink.dim(format!("{name:<MARGIN$}"))));
    }
    lines
}

/// The time axis: a cell per slice or, beyond the width, several slices per cell.
struct Axis {
    slices: usize,
    cells: usize,
}

impl Axis {
    fn of(slices: usize) -> Self {
        Self { slices, cells: slices.min(WIDTH) }
    }

    fn slices(&self, cell: usize) -> Range<usize> {
        let start = |cell: usize| cell * self.slices / self.cells.max(1);
        start(cell)..start(cell + 1)
    }

    /// When a cell begins.
    fn time(&self, cell: usize) -> Duration {
        SLICE.saturating_mul(u32::try_from(self.slices(cell).start).unwrap_or(u32::MAX))
    }

    /// The cell at a time.
    fn cell(&self, at: Duration) -> usize {
        let slice = usize::try_from(at.as_millis() / SLICE.as_millis()).unwrap_or(usize::MAX);
        (slice.min(self.slices) * self.cells).checked_div(self.slices).unwrap_or_default()
    }
}

/// The declared share of all candidates.
fn target(snapshot: &Snapshot<'_>) -> f64 {
    let share = |id: VariantId| Some(snapshot.targets.get(id.index())?.fraction());
    snapshot.experiment.candidates().filter_map(share).sum::<f64>().max(0.01)
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn share(slices: &[Slice]) -> f64 {
    let (candidates, all) =
        slices.iter().fold((0, 0), |(c, a), s| (c + s.from_candidates, a + s.responses));
    if all == 0 { 0.0 } else { candidates as f64 / all as f64 }
}

/// The character of a bar in this row. Row 1 is the lowest, a height of 1 reaches the target, and a height above 0 is
/// always visible.
#[expect(clippy::cast_precision_loss, reason = "a few rows")]
fn level(height: f64, row: usize) -> char {
    let eighths = (height * TARGET as f64 * 8.0).clamp(0.0, 8.0 * HEIGHT as f64);
    let here = eighths - 8.0 * (row as f64 - 1.0);
    let shows = if row == 1 && height > 0.0 { here.max(1.0) } else { here };
    let full = (0..LEVELS.len()).rfind(|level| *level as f64 <= shows.round()).unwrap_or_default();
    LEVELS.get(full).copied().unwrap_or(' ')
}

/// A state that lasts until the next one.
struct Stretch {
    from: Duration,
    state: Breaker,
    /// The label, and shorter alternatives.
    labels: Vec<String>,
}

fn breaker(snapshot: &Snapshot<'_>) -> Vec<Stretch> {
    let closed =
        Stretch { from: Duration::ZERO, state: Breaker::Closed, labels: vec!["closed".to_owned()] };
    let later = snapshot.events.transitions.iter().map(|transition| Stretch {
        from: transition.at,
        state: transition.phase.state(),
        labels: match &transition.phase {
            BreakerPhase::Closed => vec!["closed".to_owned()],
            BreakerPhase::Open => vec!["open".to_owned()],
            BreakerPhase::HalfOpen(share) => {
                vec![format!("half-open {share} %"), format!("{share} %")]
            }
        },
    });
    std::iter::once(closed).chain(later).collect()
}

/// The stretches side by side, each with a label that fits.
fn band(stretches: &[Stretch], axis: &Axis, ink: Ink) -> String {
    let column = |at: Duration| axis.cell(at);
    let ends = stretches.iter().skip(1).map(|next| column(next.from)).chain([axis.cells]);
    let draw = |(index, (stretch, end)): (usize, (&Stretch, usize))| {
        let room = end.saturating_sub(column(stretch.from));
        // A gap to the previous stretch, unless only one column is left.
        let gap = usize::from(room > 1 && index > 0);
        let fits = |label: &&String| label.chars().count() + gap <= room;
        let label = stretch.labels.iter().find(fits).map_or("", String::as_str);
        let line = room.saturating_sub(label.chars().count() + gap);
        // A blank between the label and the line, if both are visible.
        let label = match (label.is_empty(), line) {
            (false, 1..) => format!("{label} "),
            _ => label.to_owned(),
        };
        let line = "━".repeat(room.saturating_sub(label.chars().count() + gap));
        format!("{}{}", " ".repeat(gap), stretch.state.painted(&format!("{label}{line}"), ink))
    };
    stretches.iter().zip(ends).enumerate().map(draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_the_right_height() {
        let bar =
            |height: f64| (1..=HEIGHT).rev().map(|row| level(height, row)).collect::<String>();
        assert_eq!(
            [0.0, 0.01, 0.25, 0.5, 1.0, 1.25, 9.0].map(bar),
            ["   ", "  ▁", "  ▄", "  █", " ██", "▄██", "███"]
        );
    }
}
