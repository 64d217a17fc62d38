//! An act in pictures: which share the candidate served at each time, how its model was, and what its breaker did.

use std::time::Duration;

use super::act::State;
use super::chronicle::Phase;
use super::pages::{SLICE, Slice};
use super::sight::Sight;
use crate::moment;
use crate::out::Ink;

/// The most cells side by side.
const WIDTH: usize = 70;
/// The chart's height in lines, each of eight levels.
const HEIGHT: usize = 3;
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The declared share is the upper edge of this line, counted from below.
const TARGET: usize = 2;
/// The width of what stands before each line.
const MARGIN: usize = 8;

/// The chart, and below it the model's and the breaker's states.
pub(super) fn lines(sight: &Sight<'_>, ink: Ink) -> Vec<String> {
    // A cell is as many slices as needed for all to fit.
    let slices = sight.sums.slices.as_slice();
    let per_cell = slices.len().div_ceil(WIDTH).max(1);
    let cell = SLICE.saturating_mul(u32::try_from(per_cell).unwrap_or(u32::MAX));
    let target = declared(sight);
    let cells: Vec<f64> = slices.chunks(per_cell).map(|slices| share(slices) / target).collect();

    let breaker: Vec<Stretch> = breaker(sight);
    let health = sight.chronicle.health.iter().map(|(from, well)| Stretch {
        from: *from,
        state: if *well { State::Closed } else { State::Open },
        labels: vec![if *well { "well".to_owned() } else { "503".to_owned() }],
    });
    let mut lines: Vec<String> = (1..=HEIGHT)
        .rev()
        .map(|row| {
            let label =
                if row == TARGET { format!("{:.0} %", target * 100.0) } else { String::new() };
            let bars: String = cells
                .iter()
                .enumerate()
                .map(|(index, height)| {
                    let at = cell.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX));
                    let state = breaker.iter().rfind(|stretch| stretch.from <= at).map(|s| s.state);
                    let bar = level(*height, row);
                    match state {
                        Some(State::HalfOpen) => ink.note(bar).to_string(),
                        _ => ink.mark(bar).to_string(),
                    }
                })
                .collect();
            format!("{}{bars}", ink.dim(format!("{label:>6}  ")))
        })
        .collect();
    for (name, stretches) in [("model", health.collect()), ("breaker", breaker)] {
        let drawn = band(&stretches, cell, cells.len(), ink);
        lines.push(format!("{}{drawn}", ink.dim(format!("{name:<MARGIN$}"))));
    }
    lines
}

/// Text in the colour of a state.
pub(super) fn painted(state: State, text: &str, ink: Ink) -> String {
    match state {
        State::Closed => ink.good(text).to_string(),
        State::HalfOpen => ink.note(text).to_string(),
        State::Open => ink.bad(text).to_string(),
    }
}

/// The share that all candidates should have.
fn declared(sight: &Sight<'_>) -> f64 {
    let experiment = sight.stage.experiment();
    let shares = experiment.shares(moment::now());
    let all: f64 = experiment.candidates().map(|id| shares[id].fraction()).sum();
    all.max(0.01)
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn share(slices: &[Slice]) -> f64 {
    let (candidates, all) =
        slices.iter().fold((0, 0), |(c, a), s| (c + s.of_candidates, a + s.answers));
    if all == 0 { 0.0 } else { candidates as f64 / all as f64 }
}

/// What a bar shows in this row: 1 is the lowest, and a height of 1 reaches the target. What is not nothing shows.
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
    state: State,
    /// Its name, and shorter ones.
    labels: Vec<String>,
}

fn breaker(sight: &Sight<'_>) -> Vec<Stretch> {
    let closed =
        Stretch { from: Duration::ZERO, state: State::Closed, labels: vec!["closed".to_owned()] };
    let later = sight.chronicle.transitions.iter().map(|transition| Stretch {
        from: transition.at,
        state: transition.phase.state(),
        labels: match &transition.phase {
            Phase::Closed => vec!["closed".to_owned()],
            Phase::Open => vec!["open".to_owned()],
            Phase::HalfOpen(share) => vec![format!("half-open {share} %"), format!("{share} %")],
        },
    });
    std::iter::once(closed).chain(later).collect()
}

/// The stretches side by side, each with its name if there is room.
fn band(stretches: &[Stretch], cell: Duration, cells: usize, ink: Ink) -> String {
    let column = |at: Duration| {
        usize::try_from(at.as_millis() / cell.as_millis().max(1)).unwrap_or(usize::MAX).min(cells)
    };
    let ends = stretches.iter().skip(1).map(|next| column(next.from)).chain([cells]);
    let draw = |(index, (stretch, end)): (usize, (&Stretch, usize))| {
        let room = end.saturating_sub(column(stretch.from));
        // A gap to the one before, unless nothing else would be left.
        let gap = usize::from(room > 1 && index > 0);
        let fits = |label: &&String| label.chars().count() + 2 + gap <= room;
        let label =
            stretch.labels.iter().find(fits).map_or_else(String::new, |label| format!("{label} "));
        let line = "━".repeat(room.saturating_sub(label.chars().count() + gap));
        format!("{}{}", " ".repeat(gap), painted(stretch.state, &format!("{label}{line}"), ink))
    };
    stretches.iter().zip(ends).enumerate().map(draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_end_where_they_should() {
        let bar =
            |height: f64| (1..=HEIGHT).rev().map(|row| level(height, row)).collect::<String>();
        assert_eq!(
            [0.0, 0.01, 0.25, 0.5, 1.0, 1.25, 9.0].map(bar),
            ["   ", "  ▁", "  ▄", "  █", " ██", "▄██", "███"]
        );
    }
}
