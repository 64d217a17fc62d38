//! What a column of predictions means: by its name, else by its values.

use crate::source::outcomes::{Cell, Column};

/// The meaning of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Neither side has a value, or it is the source or a time.
    Nothing,
    /// Milliseconds that the model took.
    Latency,
    /// The status of the model's answer.
    Status,
    /// Equal or not.
    Class,
    /// A number with a difference.
    Score,
}

const LATENCIES: [&str; 4] = ["latency", "latency_ms", "duration", "duration_ms"];
const CLASSES: [&str; 7] =
    ["prediction", "label", "class", "predicted", "y_pred", "predicted_label", "predicted_class"];

/// Whether a column of whole numbers is one of classes, by its name.
pub(crate) fn is_class(name: &str) -> bool {
    CLASSES.contains(&name)
}

/// The meaning of a column, of whose pairs these are the values.
pub(super) fn role(column: &Column, values: &[[Cell; 2]]) -> Role {
    let name = column.name.as_str();
    let cells = || values.iter().flatten();
    let (mut numbers, mut words) = (0u64, 0u64);
    for cell in cells() {
        match cell {
            Cell::Missing => {}
            Cell::Number(_) => numbers += 1,
            Cell::Word(_) => words += 1,
        }
    }
    if ["source", "time", "timestamp"].contains(&name) || numbers + words == 0 {
        return Role::Nothing;
    }
    if words == 0 && LATENCIES.contains(&name) {
        return Role::Latency;
    }
    if words == 0 && name == "status" {
        return Role::Status;
    }
    let whole = || cells().all(|cell| !matches!(cell, Cell::Number(x) if x.fract() != 0.0));
    if words > 0 || (is_class(name) && whole()) { Role::Class } else { Role::Score }
}
