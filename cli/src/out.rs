//! Where output goes: stdout behind one buffer and one lock, colored only on a terminal that wants colors.

use std::fmt::{self, Display};
use std::io::{self, BufWriter, StdoutLock, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// The command's stdout.
pub(crate) struct Out {
    writer: BufWriter<StdoutLock<'static>>,
    ink: Ink,
}

impl Out {
    /// Stdout. `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE` and `TERM` are respected.
    pub(crate) fn stdout() -> Self {
        let colors = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
        Self { writer: BufWriter::with_capacity(1 << 18, io::stdout().lock()), ink: Ink { colors } }
    }

    /// The colors of this output.
    pub(crate) const fn ink(&self) -> Ink {
        self.ink
    }

    /// Writes `value` as JSON for machines.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer_pretty(&mut *self, value).map_err(io::Error::from)?;
        Ok(writeln!(self)?)
    }

    /// Sends what is still buffered.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        Ok(self.writer.flush()?)
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Paints text, or leaves it plain.
#[derive(Clone, Copy)]
pub(crate) struct Ink {
    colors: bool,
}

impl Ink {
    /// No colors, wherever the text goes.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { colors: false };
    /// Colors, wherever the text goes.
    #[cfg(test)]
    pub(crate) const COLORS: Self = Self { colors: true };

    /// The colors for stderr.
    pub(crate) fn stderr() -> Self {
        Self { colors: AutoStream::choice(&io::stderr()) != ColorChoice::Never }
    }

    pub(crate) const fn bold<T: Display>(self, text: T) -> Painted<T> {
        self.paint(Style::new().bold(), text)
    }

    pub(crate) const fn dim<T: Display>(self, text: T) -> Painted<T> {
        self.paint(Style::new().dimmed(), text)
    }

    pub(crate) const fn good<T: Display>(self, text: T) -> Painted<T> {
        self.paint(AnsiColor::Green.on_default().bold(), text)
    }

    pub(crate) const fn bad<T: Display>(self, text: T) -> Painted<T> {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }

    pub(crate) const fn note<T: Display>(self, text: T) -> Painted<T> {
        self.paint(AnsiColor::Yellow.on_default(), text)
    }

    pub(crate) const fn mark<T: Display>(self, text: T) -> Painted<T> {
        self.paint(AnsiColor::Cyan.on_default(), text)
    }

    const fn paint<T>(self, style: Style, text: T) -> Painted<T> {
        Painted { style: if self.colors { style } else { Style::new() }, text }
    }
}

/// Text in a style.
pub(crate) struct Painted<T> {
    style: Style,
    text: T,
}

impl<T> Painted<T> {
    /// Text without a style.
    pub(crate) const fn plain(text: T) -> Self {
        Self { style: Style::new(), text }
    }

    /// Another text in the same style.
    pub(crate) fn map<U>(self, to: impl FnOnce(T) -> U) -> Painted<U> {
        Painted { style: self.style, text: to(self.text) }
    }

    /// The text without its style.
    pub(crate) const fn text(&self) -> &T {
        &self.text
    }
}

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.style)?;
        self.text.fmt(f)?;
        write!(f, "{:#}", self.style)
    }
}
