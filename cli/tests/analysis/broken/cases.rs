//! What happens to the story, and the verdict that must follow.

#[path = "cases/lines.rs"]
mod lines;
#[path = "cases/rows.rs"]
mod rows;
#[path = "cases/sound.rs"]
mod sound;
#[path = "cases/values.rs"]
mod values;
#[path = "cases/variants.rs"]
mod variants;

use super::story::{Purchase, Story, line, plain, rfc3339};

/// A data set.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) outcomes: &'static str,
    pub(super) options: &'static [&'static str],
    pub(super) change: fn(&mut Story),
    /// A decision, or `error` for input that is no data.
    pub(super) decision: &'static str,
}

impl Case {
    /// The exit status.
    pub(super) fn code(&self) -> i32 {
        i32::from(["invalid", "error"].contains(&self.decision))
    }
}

const UNITS: &str = "by_unit.csv";
const REQUESTS: &str = "by_request.csv";

const fn case(
    name: &'static str,
    outcomes: &'static str,
    decision: &'static str,
    change: fn(&mut Story),
) -> Case {
    Case { name, outcomes, options: &[], change, decision }
}

const fn with(options: &'static [&'static str], case: Case) -> Case {
    Case { options, ..case }
}

/// Every so-and-so-many'th purchase has another value.
fn spoil(story: &mut Story, each: usize, value: &str) {
    for row in story.purchases.iter_mut().step_by(each) {
        value.clone_into(&mut row.revenue);
    }
}

fn extra(text: &str) -> impl Fn(&Purchase) -> String {
    move |row| format!("{}{text}", row.revenue)
}

fn utf16(lines: &[String]) -> Vec<u8> {
    let text = format!("\u{feff}{}\r\n", lines.join("\r\n").replace(',', "\t"));
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Revenue in cents, as people write it.
fn thousands(story: &mut Story, separator: &str) {
    for row in &mut story.purchases {
        let cents = row.revenue.replace('.', "");
        let at = cents.len() - 3;
        let (head, tail) = cents.split_at(at);
        let text = [head, tail].join(if head.is_empty() { "" } else { separator });
        row.revenue = if separator == "," { format!("\"{text}\"") } else { text };
    }
}

/// Rows of CSV as objects of JSON, with numbers as numbers.
fn objects(lines: &[String]) -> Vec<String> {
    let names: Vec<&str> = lines[0].split(',').collect();
    let object = |line: &String| {
        let fields = names.iter().zip(line.split(',')).map(|(name, value)| {
            let value = if value.parse::<f64>().is_ok() { value.to_owned() } else { quoted(value) };
            format!("\"{name}\": {value}")
        });
        format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
    };
    lines[1..].iter().map(object).collect()
}

/// Predictions of two classes and their labels, in the spelling of each.
fn classes(story: &Story, predicted: [&str; 2], labels: [&str; 2]) -> Vec<String> {
    let rows = story.requests.iter().enumerate().map(|(at, row)| {
        let label = at % 2;
        let prediction = if row.correct { label } else { 1 - label };
        format!("{},{},{}", row.id, predicted[prediction], labels[label])
    });
    std::iter::once("request_id,prediction,label".to_owned()).chain(rows).collect()
}

/// Purchases without their times, so many times over.
fn untimed(story: &Story, copies: usize) -> Vec<String> {
    let rows = story.purchases.iter().map(|row| format!("{},{}", row.unit, row.revenue));
    let rows: Vec<String> = rows.collect();
    let all = std::iter::repeat_n(rows, copies).flatten();
    std::iter::once("unit,revenue".to_owned()).chain(all).collect()
}

/// All cases, the sound ones first.
pub(super) fn all() -> Vec<&'static Case> {
    let parts = [sound::CASES, values::CASES, rows::CASES, variants::CASES, lines::CASES];
    parts.into_iter().flatten().collect()
}
