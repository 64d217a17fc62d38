//! What a round did, and why.

use std::io::Write as _;

use serde::Serialize;

use crate::out::Out;
use crate::words::visible;
use crate::wrap;

/// What a round did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Act {
    /// No version is tagged.
    Idle,
    Begin,
    Raise,
    Hold,
    RollBack,
    Promote,
    /// An end that an earlier round did not complete.
    Complete,
}

/// A round for machines.
#[derive(Serialize)]
pub(super) struct Report {
    /// RFC 3339.
    pub(super) at: String,
    pub(super) model: String,
    /// The versions under test.
    pub(super) baseline: Option<String>,
    pub(super) candidate: Option<String>,
    pub(super) action: Act,
    /// Percent, before and after; null outside of a test.
    pub(super) from: Option<f64>,
    pub(super) to: Option<f64>,
    pub(super) reasons: Vec<String>,
    /// The commit of this round.
    pub(super) commit: Option<String>,
    /// The run of MLflow with the result.
    pub(super) run: Option<String>,
    /// Changes of the registry.
    pub(super) registry: Vec<String>,
    pub(super) dry_run: bool,
    #[serde(skip)]
    pub(super) code: u8,
}

impl Report {
    pub(super) fn new(model: &str, action: Act, reasons: Vec<String>) -> Self {
        Self {
            at: crate::moment::now().to_string(),
            model: model.to_owned(),
            baseline: None,
            candidate: None,
            action,
            from: None,
            to: None,
            reasons,
            commit: None,
            run: None,
            registry: Vec::new(),
            dry_run: false,
            code: match action {
                Act::Begin | Act::Raise | Act::Promote | Act::Complete => 0,
                Act::RollBack => 3,
                Act::Idle | Act::Hold => 4,
            },
        }
    }

    /// The versions under test.
    pub(super) fn of(mut self, baseline: &str, candidate: &str) -> Self {
        self.baseline = Some(baseline.to_owned());
        self.candidate = Some(candidate.to_owned());
        self
    }

    /// Writes it for people.
    pub(super) fn write(&self, out: &mut Out) -> anyhow::Result<()> {
        let ink = out.ink();
        let what = match self.action {
            Act::Idle => ink.dim("Nothing to test"),
            Act::Begin => ink.good("Begin"),
            Act::Raise => ink.good("Raise"),
            Act::Hold => ink.note("Hold"),
            Act::RollBack => ink.bad("Roll back"),
            Act::Promote => ink.good("Promote"),
            Act::Complete => ink.note("Complete"),
        };
        let model = visible(&self.model);
        let pair = match (&self.candidate, &self.baseline) {
            (Some(candidate), Some(baseline)) => {
                format!(", version {candidate} against {baseline}")
            }
            _ => String::new(),
        };
        let weight = match (self.from, self.to) {
            (Some(from), Some(to)) if from == to => format!(", {from} %"),
            (Some(from), Some(to)) => format!(", {from} % → {to} %"),
            (None, Some(to)) => format!(", {to} %"),
            _ => String::new(),
        };
        let dry = if self.dry_run { " (dry run)" } else { "" };
        writeln!(out, "{}  {what}{dry}  {model}{pair}{weight}", ink.dim(&self.at))?;
        let commit =
            self.commit.iter().map(|hash| format!("commit {}", hash.get(..10).unwrap_or(hash)));
        let run = self.run.iter().map(|run| format!("run {}", visible(run)));
        let lines = self.reasons.iter().map(|reason| visible(reason));
        for line in lines.chain(commit).chain(run).chain(self.registry.iter().cloned()) {
            writeln!(out, "{}", wrap::wrapped("  - ", &line))?;
        }
        Ok(())
    }
}
