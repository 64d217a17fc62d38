//! Sources: where rows come from. A source is cut into pieces in a fixed order, which several threads turn into rows.
//!
//! Cutting is cheap and sequential (bytes up to a line end, a row group's offset); parsing is the work that is spread
//! over the cores.

mod blocks;
mod clock;
mod envelope;
pub mod exposed;
mod fields;
mod file;
mod line;
mod llm;
mod logs;
pub mod outcomes;
mod rules;
mod shape;
mod table;
mod torn;

use std::collections::BTreeSet;

use sidetrack::names::log;
use sidetrack::plan::Experiment;

use crate::error::Error;
use crate::figures::visible;
use crate::phases::{Book, Timeline};
use crate::reason::Note;
use crate::row::{Place, Sink, Whose};
use crate::segments::Located;
use crate::short::Short;
use crate::strata::Strata;
use crate::window::Window;
use blocks::Block;
pub use clock::Clock;
use envelope::Inside;
pub use file::{Count, Counted, Entry, Opened, Opener, Record, Records, Value};
use line::Line;
pub use line::Slot;
pub use logs::{Logs, Text, name as file_name};
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

/// A part of the logs that one thread reads.
pub enum Piece {
    /// Whole lines.
    Text(Block),
    /// Records of another format.
    Records {
        /// Which file.
        file: usize,
        /// What decodes them.
        records: Box<dyn Records>,
    },
}

/// What is judged by itself.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on the stack: a box would cost an allocation per row"
)]
enum Item<'a> {
    /// A line of text.
    Text(&'a [u8]),
    /// A record, or a row of a table, with the number that records have that are alike.
    Fields(Line<'a>, Option<u64>),
    /// What cannot be read.
    Lost(Whose, String),
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
    /// What units are segmented by.
    pub(crate) dimensions: &'a [Located],
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
        let read = self.logs.read(&mut |piece| {
            self.items(&piece, &mut |_, _, item| {
                let value = match item {
                    Item::Fields(line, _) => value_of(&line, field, experiment),
                    Item::Text(line) => {
                        let Ok(line) = envelope::without_prefix(line) else { return true };
                        let inner = envelope::inside(line);
                        let line = if let Inside::Line(inner) = &inner { inner } else { line };
                        let line = Line::parse(line).ok();
                        line.and_then(|line| value_of(&line, field, experiment))
                    }
                    Item::Lost(..) => None,
                };
                found.extend(value.filter(|value| !found.contains(value)));
                found.len() < 3
            });
            found.len() < 3
        });
        drop(read);
        found
    }

    /// Gives each line, row or record of a piece to `take`, with its place and its position, until one is refused.
    fn items(&self, piece: &Piece, take: &mut dyn FnMut(Place, u64, Item<'_>) -> bool) {
        let name = &self.experiment.name;
        let unknown = |ours: bool| {
            if ours { Whose::Experiment } else { Whose::BeginsLike(Start::RECORD) }
        };
        match piece {
            Piece::Text(block) => {
                let place = |line: u64| Place { file: block.file, line };
                for _ in 0..block.too_long {
                    let lost = "a line of more than 8 MiB".to_owned();
                    take(place(block.first_line), 0, Item::Lost(Whose::Unknown, lost));
                }
                if let Some(head) = &block.head {
                    return table::rows(head, block, name, &mut |line, row| {
                        let item = match row {
                            table::Row::Fields(line) => Item::Fields(line, None),
                            table::Row::Lost(problem, ours) => Item::Lost(unknown(ours), problem),
                        };
                        // Without the header, so that the rows have the numbers of lines of JSON.
                        take(place(line), position(block.file, line - 1), item)
                    });
                }
                each_line(block, &mut |number, line| {
                    take(place(number), position(block.file, number), Item::Text(line))
                });
            }
            Piece::Records { file, records } => records.read(&mut |line, entry| {
                let item = match entry {
                    Entry::Fields(Record { mut line, alike }) => {
                        line.take_exposure();
                        Item::Fields(line, alike)
                    }
                    Entry::Line(line) => Item::Text(line),
                    Entry::Lost(problem) => Item::Lost(unknown(false), problem),
                };
                take(Place { file: *file, line }, position(*file, line), item)
            }),
        }
    }
}

/// The unit or request id of a line of the experiment.
fn value_of(line: &Line<'_>, field: &str, experiment: Option<&str>) -> Option<String> {
    let value = match field {
        log::UNIT => line.unit.id(),
        _ => line.request_id.id(),
    };
    let value = value.ok().flatten().filter(|_| line.experiment.text() == experiment);
    value.map(|value| visible(&value))
}

/// Judges the lines of a block. Those that are written as former ones are recognized, and all others parsed.
fn text_rows(rules: &mut LineRules<'_>, block: &Block, sink: &mut impl Sink) {
    let mut rest = block.text.as_slice();
    let mut number = block.first_line;
    while !rest.is_empty() {
        let position = position(block.file, number);
        if let Some(line) = rules.recognize(rest, position) {
            rest = rest.get(line.length..).unwrap_or_default();
            line.start.into_iter().for_each(|start| sink.readable(start, true));
            rules.aside.take().into_iter().for_each(|aside| sink.aside(aside));
            sink.row(&line.row, line.plan);
        } else {
            let line;
            (line, rest) = first_line(rest);
            if !line.trim_ascii().is_empty() {
                let place = Place { file: block.file, line: number };
                text_row(rules, line, position, place, sink);
            }
        }
        number += 1;
    }
}

/// Judges a line of text.
fn text_row(
    rules: &mut LineRules<'_>,
    line: &[u8],
    position: u64,
    place: Place,
    sink: &mut impl Sink,
) {
    match envelope::without_prefix(line) {
        Ok(bare) => judged(rules, bare, position, place, sink),
        Err(problem) => sink.malformed(place, whose(line, rules.name()), problem),
    }
}

/// The first line of a text, and what follows it.
fn first_line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'\n', text).unwrap_or(text.len());
    let (line, after) = text.split_at_checked(end).unwrap_or((text, &[]));
    (line, after.get(1..).unwrap_or_default())
}

/// Gives the lines of a block that are not empty, each with its number, until one is refused.
fn each_line(block: &Block, take: &mut dyn FnMut(u64, &[u8]) -> bool) {
    let mut rest = block.text.as_slice();
    let mut number = block.first_line;
    while !rest.is_empty() {
        let line;
        (line, rest) = first_line(rest);
        if !line.trim_ascii().is_empty() && !take(number, line) {
            return;
        }
        number += 1;
    }
}

impl Source for AccessLogs<'_> {
    type Piece = Piece;

    fn pieces(&self, take: &mut dyn FnMut(Piece) -> bool) -> Result<Vec<Note>, Error> {
        self.logs.read(take)
    }

    fn rows(&self, piece: &Piece, sink: &mut impl Sink) {
        let mut rules = LineRules::new(*self);
        if let Piece::Text(block @ Block { head: None, too_long: 0, .. }) = piece {
            return text_rows(&mut rules, block, sink);
        }
        self.items(piece, &mut |place, position, item| {
            match item {
                Item::Text(line) => text_row(&mut rules, line, position, place, sink),
                Item::Fields(line, alike) => {
                    let found = rules.judge_record(line, alike, position);
                    if found.is_ok() {
                        sink.readable(Start::RECORD, is_ours(&found));
                    }
                    give(&mut rules, found, place, || Whose::Experiment, sink);
                }
                Item::Lost(whose, problem) => sink.malformed(place, whose, problem),
            }
            true
        });
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
        let counts = matches!(found, Ok(Judged::Counts(..)));
        give_line(rules, line, found, place, sink);
        if counts {
            rules.learn(line);
        }
        return;
    }
    match envelope::inside(line) {
        Inside::Line(inner) => {
            let found = rules.judge(&inner, position);
            // The envelope begins as other envelopes do, and the line as other lines.
            begins(line, is_ours(&found), sink);
            give_line(rules, &inner, found, place, sink);
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
            give_line(rules, line, found, place, sink);
        }
    }
}

fn give_line(
    rules: &mut LineRules<'_>,
    line: &[u8],
    found: Result<Judged<'_>, String>,
    place: Place,
    sink: &mut impl Sink,
) {
    if found.is_ok() {
        begins(line, is_ours(&found), sink);
    }
    let name = rules.name();
    give(rules, found, place, || whose(line, name), sink);
}

fn give(
    rules: &mut LineRules<'_>,
    found: Result<Judged<'_>, String>,
    place: Place,
    whose: impl FnOnce() -> Whose,
    sink: &mut impl Sink,
) {
    if found.is_ok() {
        rules.aside.take().into_iter().for_each(|aside| sink.aside(aside));
        for (value, text) in rules.segments.drain(..) {
            sink.segment(&value, text.as_deref());
        }
    }
    match found {
        Ok(Judged::Counts(row, plan)) => sink.row(&row, plan),
        Ok(Judged::Excluded(why)) => sink.excluded(why),
        Ok(Judged::OtherExperiment(name)) => sink.other_experiment(name.as_deref()),
        Ok(Judged::OtherTrial(line)) => sink.other_trial(&line),
        Err(problem) => sink.malformed(place, whose(), problem),
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
            dimensions: &[],
            closed: &BTreeSet::new(),
        };
        let line = r#"{"time":"2026-11-23T09:00:00.000Z","experiment":"e","assigned":"b","status":200,"duration":1}"#;
        let text = format!("{line}\n \r\n{{}}\n7\n{line}").into_bytes();
        let mut words = Words::default();
        let block = Block { file: 3, first_line: 16, text, too_long: 0, head: None };
        logs.rows(&Piece::Text(block), &mut words);
        let malformed = "3:19 Unknown not a JSON object";
        let wanted = ["row 30000000010", "experiment None", malformed, "row 30000000014"];
        assert_eq!(words.0, wanted);
        let mut words = Words::default();
        let block = Block { file: 0, first_line: 5, text: Vec::new(), too_long: 2, head: None };
        logs.rows(&Piece::Text(block), &mut words);
        assert_eq!(words.0, ["0:5 Unknown a line of more than 8 MiB"; 2]);
    }
}
