//! Progress of reading the logs, on stderr if it is a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sidetrack_analysis::{Logs, Pass};

/// How often the line is drawn again.
const INTERVAL: Duration = Duration::from_millis(200);

/// A line that is drawn again and again.
pub(super) struct Progress<'l> {
    logs: &'l Logs,
    begun: Instant,
    /// When the line was last drawn; `None`: never. Threads that find it locked skip their turn.
    drawn: Mutex<Option<Instant>>,
    wanted: bool,
}

impl<'l> Progress<'l> {
    pub(super) fn new(logs: &'l Logs) -> Self {
        let wanted = std::io::stderr().is_terminal();
        Self { logs, begun: Instant::now(), drawn: Mutex::new(None), wanted }
    }

    /// Draws the line if it is due.
    pub(super) fn report(&self, pass: Pass, lines: u64) {
        if !self.wanted {
            return;
        }
        let Ok(mut drawn) = self.drawn.try_lock() else { return };
        if drawn.unwrap_or(self.begun).elapsed() < INTERVAL {
            return;
        }
        *drawn = Some(Instant::now());
        let title = match pass {
            Pass::All => "reading",
            Pass::ByPhase => "reading again, by phase",
            Pass::WithoutBreaker => "reading again, without open breakers",
        };
        let share = self.logs.bytes_read().saturating_mul(100).checked_div(self.logs.size());
        let share = share.map(|share| format!("{:>3} %  ", share.min(100))).unwrap_or_default();
        // Progress that cannot be written is not worth an error.
        write!(std::io::stderr().lock(), "\r\x1b[K{title}  {share}{lines} lines").ok();
    }

    /// Removes the line.
    pub(super) fn end(&self) {
        if self.drawn.lock().is_ok_and(|drawn| drawn.is_some()) {
            write!(std::io::stderr().lock(), "\r\x1b[K").ok();
        }
    }
}
