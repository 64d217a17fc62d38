//! From files to a ledger: one thread reads, all cores parse, one adds up in the order of the files.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use sidetrack::plan::Experiment;

use super::ledger::Ledger;
use super::outcomes::Outcomes;
use super::sieve::{Excluded, Record, Sieve, Sifted};
use super::source::{Block, Logs};
use super::strata::Strata;
use crate::words::grouped;

/// How many malformed lines are shown.
const EXAMPLES: usize = 5;

/// What became of the lines.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) read: u64,
    pub(super) used: u64,
    pub(super) malformed: u64,
    /// By `Excluded`.
    pub(super) excluded: [u64; Excluded::COUNT],
    /// The first malformed lines: where, and what is wrong.
    pub(super) examples: Vec<String>,
    /// Files that were damaged.
    pub(super) warnings: Vec<String>,
}

impl Lines {
    /// How many lines were left out for this reason.
    pub(super) fn excluded(&self, why: Excluded) -> u64 {
        self.excluded.get(why as usize).copied().unwrap_or(0)
    }
}

/// What is read, and by what it is judged.
pub(super) struct Reading<'p> {
    pub(super) experiment: &'p Experiment,
    pub(super) strata: &'p Strata,
    pub(super) outcomes: &'p Outcomes,
    /// Minutes to leave out.
    pub(super) closed: &'p BTreeSet<u64>,
    /// What to call this reading while it runs.
    pub(super) title: &'static str,
}

/// A block, parsed.
#[derive(Default)]
struct Parsed {
    number: u64,
    file: usize,
    lines: u64,
    malformed: u64,
    excluded: [u64; Excluded::COUNT],
    records: Vec<Record>,
    examples: Vec<(u64, String)>,
}

impl Reading<'_> {
    /// Reads all logs.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub(super) fn read(&self, logs: &Logs) -> anyhow::Result<(Lines, Ledger)> {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let (blocks, todo) = mpsc::sync_channel::<Block>(threads * 2);
        let (parsed, done) = mpsc::sync_channel::<Parsed>(threads * 2);
        let todo = Mutex::new(todo);
        let mut lines = Lines::default();
        let mut ledger =
            Ledger::new(self.strata.list.len(), self.experiment.variants.len(), self.outcomes);
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || logs.read(|block| blocks.send(block).is_ok()));
            for _ in 0..threads {
                let (todo, parsed) = (&todo, parsed.clone());
                scope.spawn(move || {
                    let find = |id: &str| self.outcomes.request(id);
                    let mut sieve = Sieve::new(self.experiment, self.strata, self.closed, &find);
                    loop {
                        let next = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok(block) = next else { break };
                        if parsed.send(parse(&mut sieve, &block)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(parsed);
            let mut progress = Progress::new(self.title, logs);
            let mut waiting: BTreeMap<u64, Parsed> = BTreeMap::new();
            let mut next = 0;
            for block in done {
                waiting.insert(block.number, block);
                while let Some(block) = waiting.remove(&next) {
                    next += 1;
                    self.apply(block, logs, &mut lines, &mut ledger);
                }
                progress.tell(lines.read);
            }
            progress.end();
            // A thread that panicked has ended the scope already.
            lines.warnings = reader.join().unwrap_or_else(|_| Ok(Vec::new()))?;
            anyhow::Ok(())
        })?;
        Ok((lines, ledger))
    }

    fn apply(&self, block: Parsed, logs: &Logs, lines: &mut Lines, ledger: &mut Ledger) {
        for record in &block.records {
            lines.used += 1;
            ledger.apply(record, lines.used, self.outcomes);
        }
        lines.read += block.lines;
        lines.malformed += block.malformed;
        for (sum, more) in lines.excluded.iter_mut().zip(block.excluded) {
            *sum += more;
        }
        for (line, what) in block.examples {
            if lines.examples.len() < EXAMPLES {
                lines.examples.push(format!("{}:{line}: {what}", logs.name(block.file)));
            }
        }
    }
}

fn parse(sieve: &mut Sieve<'_>, block: &Block) -> Parsed {
    let mut out = Parsed {
        number: block.number,
        file: block.file,
        lines: block.too_long,
        malformed: block.too_long,
        ..Parsed::default()
    };
    if block.too_long > 0 {
        out.examples.push((block.first_line, "a line of more than 8 MiB".to_owned()));
    }
    let mut rest = block.text.as_slice();
    let mut number = block.first_line;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let (line, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        rest = after.get(1..).unwrap_or_default();
        if !line.trim_ascii().is_empty() {
            out.lines += 1;
            match sieve.sift(line) {
                Ok(Sifted::Counts(record)) => out.records.push(record),
                Ok(Sifted::Excluded(why)) => {
                    if let Some(count) = out.excluded.get_mut(why as usize) {
                        *count += 1;
                    }
                }
                Err(what) => {
                    out.malformed += 1;
                    if out.examples.len() < EXAMPLES {
                        out.examples.push((number, what));
                    }
                }
            }
        }
        number += 1;
    }
    out
}

/// How far the reading is, on stderr, when somebody looks.
struct Progress<'l> {
    title: &'static str,
    logs: &'l Logs,
    begun: Instant,
    told: Instant,
    shown: bool,
    wanted: bool,
}

impl<'l> Progress<'l> {
    fn new(title: &'static str, logs: &'l Logs) -> Self {
        let wanted = std::io::stderr().is_terminal();
        Self { title, logs, begun: Instant::now(), told: Instant::now(), shown: false, wanted }
    }

    fn tell(&mut self, lines: u64) {
        if !self.wanted || self.told.elapsed() < Duration::from_millis(200) {
            return;
        }
        (self.told, self.shown) = (Instant::now(), true);
        let done = self.logs.done.load(Ordering::Relaxed);
        let share = done.saturating_mul(100).checked_div(self.logs.size);
        let share = share.map(|share| format!("{:>3} %  ", share.min(100))).unwrap_or_default();
        let rate = u128::from(lines) * 1000 / self.begun.elapsed().as_millis().max(1);
        let rate = grouped(u64::try_from(rate).unwrap_or(u64::MAX));
        // Nobody needs a progress that cannot be written.
        write!(
            std::io::stderr().lock(),
            "\r\x1b[K{}  {share}{} lines, {rate} a second",
            self.title,
            grouped(lines)
        )
        .ok();
    }

    fn end(&self) {
        if self.shown {
            write!(std::io::stderr().lock(), "\r\x1b[K").ok();
        }
    }
}
