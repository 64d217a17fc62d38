//! A breaker on one worker, fed from a line of text.
//!
//! | word | what happens |
//! |---|---|
//! | `S` `F` `s` `sF` `X` | success, failure, slow success, slow failure, an aborted request, of which nothing is recorded |
//! | `40F` | forty of them |
//! | `F@3.2` | the time becomes 3.2 s, with all ticks on the way, then the failure; `@3.2` alone is the time only |
//! | `b:S` | of the baseline |
//! | `late:F` | of a request that was decided before the latest transition |
//! | `closed` `open` `5%` `25%` `100%` | a tick happens now; then the breaker must be this |
//! | `#5` | a tick happens now; then the window must hold five requests |
//! | `trips=1` | so many trips must have happened |
//! | `errors` `slow` `streak` | the latest trip must have been for this |

use crate::breaker::{Event, Kind, State, Why};
use crate::quantity::Timestamp;
use serde_json::Value;

use super::proxy::{Ended, Proxy, START, Side};

/// How often the worker ticks.
const TICK: u64 = 100;

/// One line of a table.
pub(crate) struct Row {
    /// The source's number and what happens.
    pub(crate) name: &'static str,
    /// Why we differ from the source, if we do.
    pub(crate) differs: &'static str,
    pub(crate) breaker: Value,
    pub(crate) script: &'static str,
}

/// Plays all rows and reports all that fail.
pub(crate) fn play(rows: &[Row]) {
    let mut failures = String::new();
    for Row { name, differs, breaker, script } in rows {
        if let Err(error) = run(breaker, script) {
            failures += &format!("\n{name}\n  {breaker}\n  {script}\n  {error}\n");
            if !differs.is_empty() {
                failures += &format!("  (unlike the source: {differs})\n");
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

pub(crate) fn run(breaker: &Value, script: &str) -> Result<Proxy, String> {
    let mut player = Player { proxy: Proxy::new(breaker, 1, 1), now: START };
    for (index, word) in script.split_whitespace().enumerate() {
        player.play(word).map_err(|error| format!("word {index}, {word:?}: {error}"))?;
    }
    Ok(player.proxy)
}

struct Player {
    proxy: Proxy,
    now: u64,
}

impl Player {
    fn play(&mut self, word: &str) -> Result<(), String> {
        let (word, time) =
            word.split_once('@').map_or((word, None), |(word, time)| (word, Some(time)));
        if let Some(time) = time {
            self.go_to(START + milliseconds(time)?);
        }
        match word {
            "" => Ok(()),
            "closed" | "open" | "5%" | "25%" | "100%" => self.must_be(word),
            "errors" | "slow" | "streak" => self.must_have_tripped_for(word),
            _ => match (word.strip_prefix('#'), word.strip_prefix("trips=")) {
                (Some(count), _) => self.must_hold(count.parse().map_err(|_| "no number")?),
                (_, Some(count)) => {
                    let trips = self.proxy.trips();
                    if trips.to_string() == count { Ok(()) } else { Err(format!("{trips} trips")) }
                }
                _ => self.outcome(word),
            },
        }
    }

    fn go_to(&mut self, end: u64) {
        while self.now / TICK < end / TICK {
            self.now = (self.now / TICK + 1) * TICK;
            self.tick();
        }
        self.now = end;
    }

    fn tick(&mut self) {
        self.proxy.tick(0, Timestamp::new(self.now));
    }

    fn outcome(&mut self, word: &str) -> Result<(), String> {
        let (side, word) =
            word.strip_prefix("b:").map_or((Side::Candidate, word), |word| (Side::Baseline, word));
        let (late, word) = word.strip_prefix("late:").map_or((0, word), |word| (1, word));
        let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
        let (times, word) = word.split_at(digits);
        let times = if times.is_empty() { 1 } else { times.parse().map_err(|_| "no number")? };
        let (failed, slow) = match word {
            "S" => (false, false),
            "F" => (true, false),
            "s" => (false, true),
            "sF" => (true, true),
            "X" => return Ok(()),
            _ => return Err("what is this?".to_owned()),
        };
        for _ in 0..times {
            let epoch = self.proxy.epoch(0, side) - late;
            self.proxy.ended_of(0, side, Ended { failed, slow }, epoch, Timestamp::new(self.now));
        }
        Ok(())
    }

    fn must_be(&mut self, expected: &str) -> Result<(), String> {
        self.tick();
        let found = match self.proxy.state() {
            State::Closed(_) => "closed",
            State::Open(_) => "open",
            State::HalfOpen(stage, _) => ["5%", "25%", "100%"][stage],
        };
        let counts = self.proxy.record(Side::Candidate).counts(Timestamp::new(self.now));
        if found == expected { Ok(()) } else { Err(format!("it is {found}, {counts:?}")) }
    }

    fn must_hold(&mut self, expected: u32) -> Result<(), String> {
        self.tick();
        let found = self.proxy.record(Side::Candidate).counts(Timestamp::new(self.now)).requests;
        if found == expected { Ok(()) } else { Err(format!("it holds {found}")) }
    }

    fn must_have_tripped_for(&self, expected: &str) -> Result<(), String> {
        let latest = self.proxy.events().iter().rev().find_map(|(_, _, event)| match event {
            Event::Opened { why: Why::Rate { kind: Kind::Errors, .. }, .. } => Some("errors"),
            Event::Opened { why: Why::Rate { kind: Kind::Slow, .. }, .. } => Some("slow"),
            Event::Opened { why: Why::Rate { kind: Kind::Abandoned, .. }, .. } => Some("abandoned"),
            Event::Opened { why: Why::Streak(_), .. } => Some("streak"),
            Event::Trying(..) | Event::Closed => None,
        });
        if latest == Some(expected) { Ok(()) } else { Err(format!("it was {latest:?}")) }
    }
}

/// Seconds with up to three decimals.
fn milliseconds(seconds: &str) -> Result<u64, String> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    format!("{whole}{fraction:0<3}").parse().map_err(|_| format!("no time: {seconds}"))
}
