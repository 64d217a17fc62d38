//! The alerts, each with the case that makes it fire and the one that must not.
//!
//! `critical` means that clients are affected, `warning` that the experiment is not in the expected
//! state, `info` that a decision is due. The text of an alert names the first action; the runbook has
//! the others.

mod experiment;
mod headroom;
mod proxies;

use std::collections::BTreeMap;

use serde::Serialize;

pub(super) use self::experiment::of_experiment;
pub(super) use self::headroom::headroom;
pub(super) use self::proxies::of_proxies;
use super::Clock;

/// An alert and its proof.
#[derive(Serialize)]
pub(super) struct Alert {
    alert: &'static str,
    expr: String,
    /// How long it must hold before it fires, as Prometheus writes it.
    hold: &'static str,
    /// Among them `severity`.
    labels: BTreeMap<&'static str, String>,
    summary: String,
    description: String,
    pub(super) case: Case,
}

/// What makes an alert fire, and what must not.
#[derive(Serialize)]
pub(super) struct Case {
    pub(super) clock: Clock,
    /// Series and their values, in promtool's notation, one value a step of the clock.
    fires: Vec<Input>,
    quiet: Vec<Input>,
    /// When to look.
    at: String,
    /// All labels of the alert that fires.
    labels: BTreeMap<&'static str, String>,
    summary: String,
    description: String,
}

/// A series of a test.
#[derive(Serialize)]
struct Input {
    series: String,
    values: String,
}

fn input(series: String, values: &str) -> Input {
    Input { series, values: values.to_owned() }
}

/// What is written down for an alert; [`Draft::alert`] works out what its test expects.
struct Draft {
    alert: &'static str,
    severity: &'static str,
    hold: &'static str,
    expr: String,
    /// Labels that the rule adds.
    adds: Vec<(&'static str, String)>,
    summary: String,
    description: String,
    fires: Vec<Input>,
    quiet: Vec<Input>,
    at: String,
    clock: Clock,
    /// Labels that the expression keeps, in the case.
    keeps: Vec<(&'static str, String)>,
    /// The text of `{{ $value … }}` in the case.
    value: String,
}

impl Draft {
    fn alert(self) -> Alert {
        let severity = ("severity", self.severity.to_owned());
        let labels: BTreeMap<_, _> = self.adds.iter().cloned().chain([severity]).collect();
        let all: BTreeMap<_, _> = labels.clone().into_iter().chain(self.keeps).collect();
        let fill = |text: &str| filled(text, &all, &self.value);
        let (summary, description) = (fill(&self.summary), fill(&self.description));
        let (clock, fires, quiet, at) = (self.clock, self.fires, self.quiet, self.at);
        let case = Case { clock, fires, quiet, at, labels: all, summary, description };
        let Self { alert, expr, hold, summary, description, .. } = self;
        Alert { alert, expr, hold, labels, summary, description, case }
    }
}

/// The text as Prometheus fills it in: `{{ $labels.x }}` by a label, every other `{{ … }}` by the value.
fn filled(text: &str, labels: &BTreeMap<&str, String>, value: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{ ") {
        let (inside, next) = after.split_once(" }}").unwrap_or((after, ""));
        out.push_str(before);
        out.push_str(match inside.strip_prefix("$labels.") {
            Some(label) => labels.get(label).map_or("", String::as_str),
            None => value,
        });
        rest = next;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_filled_in() {
        let labels = BTreeMap::from([("model_name", "a".to_owned())]);
        let text = "{{ $labels.model_name }}: {{ $value | humanizePercentage }} of {{ $value }}.";
        assert_eq!(filled(text, &labels, "5%"), "a: 5% of 5%.");
        assert_eq!(filled("nothing", &labels, "5%"), "nothing");
    }
}
