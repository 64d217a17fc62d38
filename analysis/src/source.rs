//! Sources: where rows come from. A source is cut into pieces in a fixed order, which several threads turn into rows.
//!
//! Cutting is cheap and sequential (bytes up to a line end, a row group's offset); parsing is the work that is spread
//! over the cores.

mod blocks;
mod clock;
mod envelope;
mod line;
mod logs;
pub mod outcomes;
mod rules;
mod torn;

use std::collections::BTreeSet;

use sidetrack::names::log;
use sidetrack::plan::Experiment;

use crate::error::Error;
use crate::figures::visible;
use crate::phases::{Book, Timeline};
use crate::reason::Note;
use crate::row::{Place, Sink, Whose};
use crate::short::Short;
use crate::strata::Strata;
use crate::window::Window;
pub use blocks::Block;
pub use clock::Clock;
use envelope::Inside;
pub use logs::{Logs, Text};
use outcomes::Outcomes;
use rules::{Judged, LineRules};
pub use torn::Start;

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
    pub(crate) trial: Trial,
    pub(crate) window: Window,
    pub(crate) strata: &'a Strata,
    /// The sets of weights.
    pub(crate) book: &'a Book,
    /// The phases, when they are known; else each set of weights is one.
    pub(crate) timeline: Option<&'a Timeline>,
    pub(crate) outcomes: &'a Outcomes,
    /// Minutes to leave out.
    pub(crate) closed: &'a BTreeSet<u64>,
}

/// Which trial is analyzed, and which one is in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    pub(crate) wanted: Short,
    pub(crate) of_file: Short,
}

impl AccessLogs<'_> {
    /// The first values of a field, of lines that name the experiment. Empty if the logs cannot be read again.
    pub(crate) fn first(&self, field: &str) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        if !self.logs.can_repeat() {
            return found;
        }
        let experiment = Some(self.experiment.name.as_str());
        // The logs have been read before, so an error now only means that less is shown.
        let read = self.logs.read(&mut |block| {
            for line in block.text.split(|byte| *byte == b'\n') {
                let Ok(line) = envelope::without_prefix(line) else { continue };
                let inner = envelope::inside(line);
                let line = if let Inside::Line(inner) = &inner { inner } else { line };
                let Ok(line) = line::Line::parse(line) else { continue };
                let value = match field {
                    log::UNIT => line.unit.id(),
                    _ => line.request_id.id(),
                };
                let value = value.ok().flatten().filter(|_| line.experiment.text() == experiment);
                let value = value.map(|value| visible(&value));
                found.extend(value.filter(|value| !found.contains(value)));
                if found.len() == 3 {
                    return false;
                }
            }
            true
        });
        drop(read);
        found
    }
}

impl Source for AccessLogs<'_> {
    type Piece = Block;

    fn pieces(&self, take: &mut dyn FnMut(Block) -> bool) -> Result<Vec<Note>, Error> {
        self.logs.read(take)
    }

    fn rows(&self, block: &Block, sink: &mut impl Sink) {
        let mut rules = LineRules::new(*self);
        let place = |line: u64| Place { file: block.file, line };
        for _ in 0..block.too_long {
            let problem = "a line of more than 8 MiB".to_owned();
            sink.malformed(place(block.first_line), Whose::Unknown, problem);
        }
        let mut rest = block.text.as_slice();
        let mut number = block.first_line;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let (line, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = after.get(1..).unwrap_or_default();
            if !line.trim_ascii().is_empty() {
                let position = position(block.file, number);
                match envelope::without_prefix(line) {
                    Ok(line) => judged(&mut rules, line, position, place(number), sink),
                    Err(problem) => {
                        let whose = whose(line, &self.experiment.name);
                        sink.malformed(place(number), whose, problem);
                    }
                }
            }
            number += 1;
        }
    }

    fn file(&self, file: usize) -> String {
        self.logs.name(file)
    }
}

/// Judges a line and gives the result to the sink. A line of no experiment may be an envelope of one that is.
fn judged(
    rules: &mut LineRules<'_>,
    line: &[u8],
    position: u64,
    place: Place,
    sink: &mut impl Sink,
) {
    let found = rules.judge(line, position);
    if !matches!(found, Ok(Judged::OtherExperiment(None))) {
        return give(rules, line, found, place, sink);
    }
    match envelope::inside(line) {
        Inside::Line(inner) => {
            let found = rules.judge(&inner, position);
            // The envelope begins as other envelopes do, and the line as other lines.
            begins(line, is_ours(&found), sink);
            give(rules, &inner, found, place, sink);
        }
        Inside::Torn(inner) => {
            let problem = "the line within the JSON object breaks off".to_owned();
            sink.malformed(place, whose(&inner, rules.name()), problem);
        }
        Inside::Several(count) => {
            let problem = format!(
                "one JSON object with {count} lines of an access log, as log stores answer; write \
                 one per line"
            );
            sink.malformed(place, whose(line, rules.name()), problem);
        }
        Inside::Nothing => {
            if envelope::is_default_log(line) {
                sink.default_log();
            }
            give(rules, line, found, place, sink);
        }
    }
}

fn give(
    rules: &mut LineRules<'_>,
    line: &[u8],
    found: Result<Judged<'_>, String>,
    place: Place,
    sink: &mut impl Sink,
) {
    if found.is_ok() {
        begins(line, is_ours(&found), sink);
        rules.aside.take().into_iter().for_each(|aside| sink.aside(aside));
    }
    match found {
        Ok(Judged::Counts(row, plan)) => sink.row(&row, plan),
        Ok(Judged::Excluded(why)) => sink.excluded(why),
        Ok(Judged::OtherExperiment(name)) => sink.other_experiment(name.as_deref()),
        Ok(Judged::OtherTrial(line)) => sink.other_trial(&line),
        Err(problem) => sink.malformed(place, whose(line, rules.name()), problem),
    }
}

/// Whether a readable line is the experiment's.
const fn is_ours(found: &Result<Judged<'_>, String>) -> bool {
    matches!(found, Ok(Judged::Counts(..) | Judged::Excluded(_) | Judged::OtherTrial(..)))
}

fn begins(line: &[u8], is_ours: bool, sink: &mut impl Sink) {
    if let Some(start) = Start::of(line) {
        sink.readable(start, is_ours);
    }
}

/// Whose a line is that cannot be read.
fn whose(line: &[u8], experiment: &str) -> Whose {
    if torn::names(line, experiment) {
        Whose::Experiment
    } else {
        Start::of_torn(line).map_or(Whose::Unknown, Whose::BeginsLike)
    }
}

/// Where a line is in all files, as one number.
const fn position(file: usize, line: u64) -> u64 {
    ((file as u64) << 40) + line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Excluded, Row};

    /// What a source yields, in words.
    #[derive(Default)]
    struct Words(Vec<String>);

    impl Sink for Words {
        fn row(&mut self, row: &Row, _: Option<Short>) {
            self.0.push(format!("row {:x}", row.position));
        }

        fn other_experiment(&mut self, name: Option<&str>) {
            self.0.push(format!("experiment {name:?}"));
        }

        fn other_trial(&mut self, line: &crate::row::OtherLine) {
            self.0.push(format!("trial {:?}", line.trial));
        }

        fn readable(&mut self, _: Start, _: bool) {}

        fn default_log(&mut self) {
            self.0.push("default log".to_owned());
        }

        fn excluded(&mut self, why: Excluded) {
            self.0.push(format!("{why:?}"));
        }

        fn malformed(&mut self, place: Place, whose: Whose, problem: String) {
            self.0.push(format!("{}:{} {whose:?} {problem}", place.file, place.line));
        }
    }

    #[test]
    fn each_line_of_a_block_has_its_place() {
        let file = br#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
            "variants": [{"name": "b"}, {"name": "c", "weight": 50}]}]}"#;
        let plan = sidetrack::config::parse_json(file).unwrap();
        let experiment = plan.experiments.into_iter().next().unwrap();
        let strata = Strata::new(&experiment, "").unwrap();
        let trial: Short = sidetrack::exposure::trial(&experiment).parse().unwrap();
        let logs = AccessLogs {
            logs: &Logs::new(&[]).unwrap(),
            experiment: &experiment,
            trial: Trial { wanted: trial, of_file: trial },
            window: Window::default(),
            book: &Book::new(&experiment, &strata),
            strata: &strata,
            timeline: None,
            outcomes: &Outcomes::default(),
            closed: &BTreeSet::new(),
        };
        let line = r#"{"time":"2026-11-23T09:00:00.000Z","experiment":"e","assigned":"b","status":200,"duration":1}"#;
        let text = format!("{line}\n \r\n{{}}\n7\n{line}").into_bytes();
        let mut words = Words::default();
        logs.rows(&Block { file: 3, first_line: 16, text, too_long: 0 }, &mut words);
        let malformed = "3:19 Unknown not a JSON object";
        let wanted = ["row 30000000010", "experiment None", malformed, "row 30000000014"];
        assert_eq!(words.0, wanted);
        let mut words = Words::default();
        logs.rows(&Block { file: 0, first_line: 5, text: Vec::new(), too_long: 2 }, &mut words);
        assert_eq!(words.0, ["0:5 Unknown a line of more than 8 MiB"; 2]);
    }
}
