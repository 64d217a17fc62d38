//! Sources: where rows come from. A source is cut into pieces in a fixed order, which several threads turn into rows.
//!
//! Cutting is cheap and sequential (bytes up to a line end, a row group's offset); parsing is the work that is spread
//! over the cores.

mod blocks;
mod clock;
mod line;
mod logs;
pub mod outcomes;
mod rules;

use std::collections::BTreeSet;

use sidetrack::plan::Experiment;

use crate::error::Error;
use crate::reason::Note;
use crate::row::{Place, Sink};
use crate::strata::Strata;
pub use blocks::Block;
pub use logs::Logs;
use outcomes::Outcomes;
use rules::{Judged, LineRules};

/// Where rows come from.
pub trait Source: Sync {
    /// A part of the source that one thread reads.
    type Piece: Send;

    /// Gives every piece to `take`, in order, until it refuses one.
    ///
    /// # Errors
    /// The source cannot be read.
    fn pieces(&self, take: &mut dyn FnMut(Self::Piece) -> bool) -> Result<Vec<Note>, Error>;

    /// Gives the rows of a piece to the sink, in order.
    fn rows(&self, piece: &Self::Piece, sink: &mut impl Sink);

    /// The name of a file in messages.
    fn file(&self, file: usize) -> String;
}

/// Access logs as `sidetrack render` configures them.
#[derive(Clone, Copy)]
pub(crate) struct AccessLogs<'a> {
    pub(crate) logs: &'a Logs,
    pub(crate) experiment: &'a Experiment,
    pub(crate) strata: &'a Strata,
    pub(crate) outcomes: &'a Outcomes,
    /// Minutes to leave out.
    pub(crate) closed: &'a BTreeSet<u64>,
}

impl Source for AccessLogs<'_> {
    type Piece = Block;

    fn pieces(&self, take: &mut dyn FnMut(Block) -> bool) -> Result<Vec<Note>, Error> {
        self.logs.read(take)
    }

    fn rows(&self, block: &Block, sink: &mut impl Sink) {
        let mut rules = LineRules::new(self.experiment, self.strata, self.closed, self.outcomes);
        let place = |line: u64| Place { file: block.file, line };
        for _ in 0..block.too_long {
            let problem = "a line of more than 8 MiB".to_owned();
            sink.malformed(place(block.first_line), problem);
        }
        let mut rest = block.text.as_slice();
        let mut number = block.first_line;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let (line, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = after.get(1..).unwrap_or_default();
            if !line.trim_ascii().is_empty() {
                match rules.judge(line, (block.file as u64) << 40 | number) {
                    Ok(Judged::Counts(row)) => sink.row(&row),
                    Ok(Judged::Excluded(why)) => sink.excluded(why),
                    Err(problem) => sink.malformed(place(number), problem),
                }
            }
            number += 1;
        }
    }

    fn file(&self, file: usize) -> String {
        self.logs.name(file)
    }
}
