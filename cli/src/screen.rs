//! The terminal: frames that replace each other on a terminal, lines in a pipe.

use std::io::{self, IsTerminal, Write};

use crate::out::{Ink, Out};

/// Alternate screen, no cursor, no line wrap.
const BEGIN: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const END: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Clear to the end of the line, and to the end of the screen.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// The output of a command that draws. Dropping it restores the terminal.
pub(crate) struct Screen<'o> {
    out: &'o mut Out,
    is_live: bool,
    /// The frame on the screen, and the rows of the terminal at that time.
    drawn: Option<(Vec<String>, usize)>,
}

impl<'o> Screen<'o> {
    pub(crate) fn open(out: &'o mut Out) -> Self {
        let has_escapes = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        Self { out, is_live: has_escapes && io::stdout().is_terminal(), drawn: None }
    }

    /// Whether frames can be drawn.
    pub(crate) const fn is_live(&self) -> bool {
        self.is_live
    }

    pub(crate) const fn ink(&self) -> Ink {
        self.out.ink()
    }

    /// Draws the lines that differ from the last frame, cut to the height of the terminal.
    pub(crate) fn frame(&mut self, lines: &[String]) -> anyhow::Result<()> {
        let rows =
            terminal_size::terminal_size().map_or(usize::MAX, |(_, rows)| usize::from(rows.0));
        let lines = lines.get(..rows).unwrap_or(lines);
        let before = match self.drawn.take() {
            // A resize may have moved the lines, so all are drawn again.
            Some((before, rows_before)) if rows_before == rows => before,
            Some(_) => Vec::new(),
            None => {
                write!(self.out, "{BEGIN}")?;
                Vec::new()
            }
        };
        for (row, line) in lines.iter().enumerate() {
            if before.get(row) != Some(line) {
                write!(self.out, "\x1b[{};1H{line}{CLEAR_LINE}", row + 1)?;
            }
        }
        if before.len() != lines.len() && lines.len() < rows {
            write!(self.out, "\x1b[{};1H{CLEAR_BELOW}", lines.len() + 1)?;
        }
        self.drawn = Some((lines.to_vec(), rows));
        self.out.finish()
    }

    /// Ends the frames and writes lines that stay.
    pub(crate) fn write(&mut self, lines: &[String]) -> anyhow::Result<()> {
        if self.drawn.take().is_some() {
            write!(self.out, "{END}")?;
        }
        for line in lines {
            writeln!(self.out, "{}", line.trim_end())?;
        }
        self.out.finish()
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            // An error means that the terminal is closed.
            write!(self.out, "{END}").and_then(|()| self.out.flush()).ok();
        }
    }
}
