//! Drawing: a snapshot becomes lines of text, for a terminal of 80 columns and 24 lines.

mod chart;
mod commands;
mod explanation;
mod outage;
mod progress;
mod style;
mod verdict;
mod view;

pub(crate) use commands::{Targets, Traffic, commands};
pub(crate) use progress::progress;
pub(crate) use verdict::verdict;
pub(crate) use view::{frame, header};

#[cfg(test)]
mod tests;
