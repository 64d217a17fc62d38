//! The terminal: a frame that is drawn over the one before, or, when nobody watches, a line now and then.

use std::io::{self, IsTerminal, Write};

use crate::out::{Ink, Out};

/// While frames are drawn: the other screen, no cursor, and lines that are too long are cut instead of wrapped.
const BEGIN: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const END: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// To the top left; and clear to the end of the line, or of the screen.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Where the demo is shown. Dropping it gives the terminal back as it was.
pub(super) struct Screen<'o> {
    out: &'o mut Out,
    live: bool,
    /// A frame is on the screen.
    drawn: bool,
}

impl<'o> Screen<'o> {
    pub(super) fn open(out: &'o mut Out) -> Self {
        let smart = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        Self { out, live: smart && io::stdout().is_terminal(), drawn: false }
    }

    /// Whether somebody watches.
    pub(super) const fn is_live(&self) -> bool {
        self.live
    }

    pub(super) const fn ink(&self) -> Ink {
        self.out.ink()
    }

    /// Draws a frame over the last one. What does not fit on the screen is left out at the bottom.
    pub(super) fn frame(&mut self, lines: &[String]) -> anyhow::Result<()> {
        let fits =
            terminal_size::terminal_size().map_or(usize::MAX, |(_, rows)| usize::from(rows.0));
        let lines = lines.get(..fits).unwrap_or(lines);
        if !self.drawn {
            self.drawn = true;
            write!(self.out, "{BEGIN}")?;
        }
        // No line break after the last line, which may be the screen's last one too.
        let lines = lines.join(&format!("{CLEAR_LINE}\r\n"));
        write!(self.out, "{HOME}{lines}{CLEAR_BELOW}")?;
        self.out.finish()
    }

    /// Writes lines that stay; the frames go.
    pub(super) fn write(&mut self, lines: &[String]) -> anyhow::Result<()> {
        if std::mem::take(&mut self.drawn) {
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
        if self.drawn {
            // A terminal that is gone needs nothing back.
            write!(self.out, "{END}").and_then(|()| self.out.flush()).ok();
        }
    }
}
