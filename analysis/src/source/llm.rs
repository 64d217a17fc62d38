//! Metrics of language models from the fields of the log: a row of outcomes for each request that counts.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sidetrack::config::ModelPrice;
use sidetrack::names::{gen_ai, log};
use sidetrack::quantity::Timestamp;

use super::envelope::{self, Inside};
use super::line::{LLM_NAMES, Line, Llm, LlmField};
use super::outcomes::logged::Rows;
use super::outcomes::records::Record;
use super::outcomes::{Outcomes, Wanted};
use super::rules::{Judged, LineRules};
use super::{AccessLogs, Item, Piece};
use crate::answer::LoggedColumn;
use crate::error::{Error, Part};
use crate::figures::visible;
use crate::llm::LlmMetric;
use crate::row::Row;

/// How many models without a price are named.
const EXAMPLES: usize = 3;

/// What a request used.
#[derive(Debug)]
struct Usage<'l> {
    model: Option<Cow<'l, str>>,
    input: Amount,
    cached: Amount,
    output: Amount,
    /// Milliseconds.
    first: Amount,
    duration: f64,
}

/// A number of the log.
type Amount = Result<Option<f64>, String>;

/// Takes a line that counts: its number, its request, its row and its usage. False ends the reading.
type Take<'t> = dyn FnMut(u64, Option<&str>, &Row, &Llm<'_>) -> bool + 't;

/// A value of a metric.
#[derive(Clone, Debug, PartialEq)]
enum Found {
    Value(f64),
    /// The log does not say it.
    Missing,
    /// What it says instead.
    Unreadable(String),
    /// The model has no price.
    Unpriced,
}

impl<'l> Usage<'l> {
    fn new(llm: &'l Llm<'l>, duration: u32) -> Self {
        let real = |field| llm.get(field).real();
        Self {
            model: llm.get(LlmField::Model).id().ok().flatten(),
            input: real(LlmField::Input),
            cached: real(LlmField::Cached),
            output: real(LlmField::Output),
            first: real(LlmField::First),
            duration: f64::from(duration),
        }
    }

    fn find(&self, metric: LlmMetric, prices: &[ModelPrice]) -> Found {
        let of = match metric {
            LlmMetric::TokensIn => self.input.clone(),
            LlmMetric::TokensOut => self.output.clone(),
            LlmMetric::FirstToken => {
                self.first.clone().map(|first| first.map(|first| first / 1000.0))
            }
            LlmMetric::TokensPerSecond => both(&self.output, &self.first).map(|both| {
                let (output, first) = both?;
                let seconds = (self.duration - first) / 1000.0;
                // An answer that came at once has no speed.
                (seconds > 0.0).then(|| output / seconds)
            }),
            LlmMetric::Cost => return self.cost(prices),
        };
        of.map_or_else(Found::Unreadable, |value| value.map_or(Found::Missing, Found::Value))
    }

    fn cost(&self, prices: &[ModelPrice]) -> Found {
        let tokens = both(&self.input, &self.output).and_then(|tokens| {
            let cached = self.cached.clone()?.unwrap_or_default();
            Ok(tokens.map(|(input, output)| (input, cached, output)))
        });
        let (input, cached, output) = match tokens {
            Ok(Some(tokens)) => tokens,
            Ok(None) => return Found::Missing,
            Err(text) => return Found::Unreadable(text),
        };
        let Some(model) = self.model.as_deref() else { return Found::Missing };
        let Some(price) = prices.iter().find(|price| price.model == model) else {
            return Found::Unpriced;
        };
        let read = match price.cached_input {
            None => input * price.input,
            Some(_) if cached > input => {
                return Found::Unreadable(format!("{cached} cached tokens of {input}"));
            }
            Some(cheaper) => (input - cached) * price.input + cached * cheaper,
        };
        Found::Value((read + output * price.output) / 1e6)
    }
}

/// Two amounts, if both are there.
fn both(one: &Amount, other: &Amount) -> Result<Option<(f64, f64)>, String> {
    Ok(one.clone()?.zip(other.clone()?))
}

/// The rows so far, and what the requests have.
struct Reader<'a> {
    metrics: &'a [LlmMetric],
    prices: &'a [ModelPrice],
    rows: Rows<'a>,
    record: Record,
    /// Requests that count, and those of them with an id.
    requests: u64,
    with_id: u64,
    /// By field: requests that have it.
    fields: [u64; LLM_NAMES.len()],
    /// By metric: requests with a value, or with one that cannot be read.
    values: Vec<u64>,
    unpriced: BTreeMap<String, u64>,
}

impl Reader<'_> {
    /// Adds a request that counts.
    fn add(&mut self, line: u64, id: Option<&str>, row: &Row, llm: &Llm<'_>) -> Result<(), Error> {
        self.requests += 1;
        for ((field, _), count) in LLM_NAMES.iter().zip(&mut self.fields) {
            *count += u64::from(!matches!(llm.get(*field), super::line::Field::Nothing));
        }
        let Some(id) = id else { return Ok(()) };
        self.with_id += 1;
        let usage = Usage::new(llm, row.duration);
        self.record.clear();
        self.record.push(id.as_bytes(), false);
        self.record.push(Timestamp::new(row.time).to_string().as_bytes(), false);
        let mut any = false;
        for (metric, count) in self.metrics.iter().zip(&mut self.values) {
            let found = usage.find(*metric, self.prices);
            any |= matches!(found, Found::Value(_) | Found::Unreadable(_));
            *count += u64::from(matches!(found, Found::Value(_) | Found::Unreadable(_)));
            match found {
                Found::Value(value) => self.record.push(value.to_string().as_bytes(), true),
                Found::Unreadable(text) => self.record.push(text.as_bytes(), false),
                Found::Missing => self.record.push(b"", false),
                Found::Unpriced => {
                    let model = usage.model.as_deref().map(visible).unwrap_or_default();
                    *self.unpriced.entry(model).or_default() += 1;
                    self.record.push(b"", false);
                }
            }
        }
        if any { self.rows.add(line, &self.record) } else { Ok(()) }
    }

    /// The models without a price, with their requests.
    fn check_prices(&self) -> Result<(), Error> {
        if self.unpriced.is_empty() {
            return Ok(());
        }
        let mut models: Vec<(&String, &u64)> = self.unpriced.iter().collect();
        models.sort_by_key(|(_, requests)| std::cmp::Reverse(**requests));
        let named = models.iter().take(EXAMPLES);
        let mut named: Vec<String> =
            named.map(|(model, requests)| format!("\"{model}\" of {requests} requests")).collect();
        if let Some(more) = models.len().checked_sub(EXAMPLES).filter(|more| *more > 0) {
            named.push(format!("{more} more"));
        }
        let known: Vec<&str> = self.prices.iter().map(|price| price.model.as_str()).collect();
        let problem = format!(
            "no price for the model {}; analysis.prices has: {}\n  hint: name models as the log does",
            named.join(", "),
            known.join(", ")
        );
        Err(Error::input(Part::Exposures(None), problem))
    }

    /// Whether the required metrics have values.
    fn check_fields(&self, required: &[LlmMetric]) -> Result<(), Error> {
        // Logs without a request of the experiment are reported as such.
        if self.requests == 0 {
            return Ok(());
        }
        let values = self.metrics.iter().zip(&self.values);
        let empty =
            |(metric, values): &(&LlmMetric, &u64)| **values == 0 && required.contains(metric);
        let Some((metric, _)) = values.into_iter().find(empty) else { return Ok(()) };
        let requests = self.requests;
        let problem = if self.with_id == 0 {
            format!("{} is by {}, which no request has", metric.as_str(), log::REQUEST_ID)
        } else {
            self.without(*metric).unwrap_or_else(|| {
                format!(
                    "none of {requests} requests has all that {} is made of; see \"LLM metrics\" in \
                     docs/analysis.md",
                    metric.as_str()
                )
            })
        };
        Err(Error::input(Part::Exposures(None), problem))
    }

    /// Which fields of a metric no request has, and how to log them.
    fn without(&self, metric: LlmMetric) -> Option<String> {
        let needs: &[LlmField] = match metric {
            LlmMetric::TokensIn => &[LlmField::Input],
            LlmMetric::TokensOut => &[LlmField::Output],
            LlmMetric::Cost => &[LlmField::Model, LlmField::Input, LlmField::Output],
            LlmMetric::FirstToken => &[LlmField::First],
            LlmMetric::TokensPerSecond => &[LlmField::Output, LlmField::First],
        };
        let is_lost = |field: &LlmField| self.fields.get(*field as usize) == Some(&0);
        let lost: Vec<(&str, &str)> =
            needs.iter().filter(|field| is_lost(field)).map(|field| to_log(*field)).collect();
        let names: Vec<&str> = lost.iter().map(|(name, _)| *name).collect();
        let lines: Vec<String> =
            lost.iter().map(|(name, operator)| format!("\n    {name}: \"{operator}\"")).collect();
        (!lost.is_empty()).then(|| {
            format!(
                "{} is in no outcome, and the access log does not have what it is made of: none of {} \
                 requests has {}\n  hint: `sidetrack render` logs this if the plan has prices; by hand, \
                 behind Envoy AI Gateway, add:{}",
                metric.as_str(),
                self.requests,
                names.join(", "),
                lines.concat()
            )
        })
    }

    /// What became of each column.
    fn logged(&self) -> Vec<LoggedColumn> {
        let columns = self.metrics.iter().zip(&self.values);
        let column = |(metric, values): (&LlmMetric, &u64)| LoggedColumn {
            column: metric.as_str().to_owned(),
            requests: self.requests,
            missing: self.requests.saturating_sub(*values),
        };
        columns.map(column).collect()
    }
}

/// The name of a field, and what Envoy writes there.
fn to_log(field: LlmField) -> (&'static str, &'static str) {
    let name = match field {
        LlmField::Model => gen_ai::REQUEST_MODEL,
        LlmField::Input => gen_ai::INPUT_TOKENS,
        LlmField::Cached => gen_ai::CACHED_TOKENS,
        LlmField::Output => gen_ai::OUTPUT_TOKENS,
        LlmField::First => return (log::FIRST_BYTE, "%RESPONSE_DURATION%"),
    };
    let operator = gen_ai::OPERATORS.iter().find(|(known, _)| *known == name);
    (name, operator.map_or("", |(_, operator)| operator))
}

impl AccessLogs<'_> {
    /// Outcomes by request with these metrics; `None` if no request has any.
    ///
    /// # Errors
    /// A model has no price, or a required metric has no values.
    pub(crate) fn llm(
        &self,
        metrics: &[LlmMetric],
        required: &[LlmMetric],
        prices: &[ModelPrice],
    ) -> Result<Option<Outcomes>, Error> {
        let named: Vec<&str> = metrics.iter().map(|metric| metric.as_str()).collect();
        let columns = [log::REQUEST_ID, log::TIME].into_iter().chain(named.iter().copied());
        let columns: Vec<String> = columns.map(str::to_owned).collect();
        let wanted = Wanted { named: &named, ..Wanted::default() };
        let mut reader = Reader {
            metrics,
            prices,
            rows: Rows::new(&columns, self.experiment, wanted)?,
            record: Record::default(),
            requests: 0,
            with_id: 0,
            fields: [0; LLM_NAMES.len()],
            values: vec![0; metrics.len()],
            unpriced: BTreeMap::new(),
        };
        let mut failed = None;
        let mut rules = LineRules::new(*self);
        // What is damaged is told by the analysis, which reads the logs once more.
        self.logs.read(&mut |piece| {
            self.each(&mut rules, &piece, &mut |line, id, row, llm| {
                failed = reader.add(line, id, row, llm).err();
                failed.is_none()
            });
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        reader.check_prices()?;
        reader.check_fields(required)?;
        let logged = reader.logged();
        let outcomes = reader.rows.finish(logged)?;
        Ok((!outcomes.columns.is_empty()).then_some(outcomes))
    }

    /// Gives each line of a piece that counts to `take`, until one is refused.
    fn each(&self, rules: &mut LineRules<'_>, piece: &Piece, take: &mut Take<'_>) {
        self.items(piece, &mut |place, position, item| {
            let mut inner = Vec::new();
            let line = match item {
                Item::Fields(line, _) => Some(line),
                Item::Text(text) => parsed(text, &mut inner),
                Item::Lost(..) => None,
            };
            let Some(mut line) = line else { return true };
            let llm = std::mem::take(&mut line.llm);
            let id = line.request_id.id().ok().flatten().map(Cow::into_owned);
            match rules.judge_line(line, position) {
                Ok(Judged::Counts(row, _)) => take(place.line, id.as_deref(), &row, &llm),
                _ => true,
            }
        });
    }
}

/// A line, or the one within it.
fn parsed<'l>(text: &'l [u8], inner: &'l mut Vec<u8>) -> Option<Line<'l>> {
    let text = envelope::without_prefix(text).ok()?;
    let line = Line::parse(text).ok()?;
    if line.experiment.text().is_some() {
        return Some(line);
    }
    let Inside::Line(found) = envelope::inside(text) else { return None };
    *inner = found;
    Line::parse(inner).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str, metric: LlmMetric) -> Found {
        let price = |model: &str, input, output, cached_input| ModelPrice {
            model: model.to_owned(),
            input,
            output,
            cached_input,
        };
        let prices = [price("a", 2.0, 10.0, Some(0.5)), price("b", 1.0, 4.0, None)];
        let line = format!("{{\"duration\":2500,{line}}}");
        let line = Line::parse(line.as_bytes()).unwrap();
        let duration = u32::try_from(line.duration.whole().unwrap().unwrap()).unwrap();
        Usage::new(&line.llm, duration).find(metric, &prices)
    }

    #[test]
    fn values_are_made_of_the_fields() {
        let line = r#""model":"a","input_tokens":1000,"cached_tokens":400,"output_tokens":"300","first_byte":500"#;
        let of = |metric| found(line, metric);
        assert_eq!(of(LlmMetric::TokensIn), Found::Value(1000.0));
        assert_eq!(of(LlmMetric::TokensOut), Found::Value(300.0));
        assert_eq!(of(LlmMetric::FirstToken), Found::Value(0.5));
        assert_eq!(of(LlmMetric::TokensPerSecond), Found::Value(150.0));
        // 600 at 2, 400 at 0.5 and 300 at 10 per million.
        assert_eq!(of(LlmMetric::Cost), Found::Value(0.0044));
        // Without a price of their own, cached tokens cost as others.
        let other = line.replace("\"a\"", "\"b\"");
        assert_eq!(found(&other, LlmMetric::Cost), Found::Value(0.0022));
    }

    #[test]
    fn what_the_log_does_not_say_has_no_value() {
        let cost = |line: &str| found(line, LlmMetric::Cost);
        assert_eq!(cost(r#""model":"a","input_tokens":1,"output_tokens":null"#), Found::Missing);
        assert_eq!(cost(r#""model":"-","input_tokens":1,"output_tokens":1"#), Found::Missing);
        assert_eq!(cost(r#""model":"c","input_tokens":1,"output_tokens":1"#), Found::Unpriced);
        let unreadable = |text: &str| Found::Unreadable(text.to_owned());
        for (line, text) in [
            (r#""input_tokens":-1,"output_tokens":1"#, "the number -1"),
            (r#""input_tokens":1,"output_tokens":"x""#, "x"),
            (r#""input_tokens":1,"cached_tokens":2,"output_tokens":1"#, "2 cached tokens of 1"),
        ] {
            assert_eq!(cost(&format!("\"model\":\"a\",{line}")), unreadable(text));
        }
        let speed = |first: u64| {
            found(
                &format!("\"output_tokens\":5,\"first_body\":{first}"),
                LlmMetric::TokensPerSecond,
            )
        };
        assert_eq!([speed(2500), speed(3000)], [Found::Missing, Found::Missing]);
        assert_eq!(speed(2000), Found::Value(10.0));
    }
}
