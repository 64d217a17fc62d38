//! The edit of the file for a decision, and the comment of a rollback.

use std::path::Path;

use anyhow::Context as _;
use sidetrack::config::Node;
use sidetrack::plan::Experiment;
use sidetrack::quantity::{Ppm, Timestamp};

use super::decide::{Action, Verdict};
use crate::edit::{Draft, Edited};
use crate::fault::Fault;
use crate::load::{Loaded, Source};
use crate::words::{percent, visible};
use crate::{atomic, plan, promote, set};

/// What is edited.
pub(super) struct Change<'a> {
    pub(super) source: &'a Source,
    pub(super) old: &'a Loaded,
    pub(super) experiment: &'a Experiment,
    pub(super) candidate: &'a str,
    pub(super) weight: Ppm,
    pub(super) now: Timestamp,
}

/// The start of the comment that blocks raises of a candidate.
fn mark(experiment: &str, candidate: &str) -> String {
    format!("sidetrack advance: {experiment}/{candidate} was rolled back at ")
}

/// The comment that blocks raises of a candidate, if the file has it.
pub(crate) fn block(text: &str, experiment: &str, candidate: &str) -> Option<String> {
    let comments = text.lines().filter_map(|line| line.trim().strip_prefix('#'));
    note_of(comments, experiment, candidate)
}

/// The note that blocks raises of a candidate, among others.
pub(super) fn note_of<'n>(
    mut notes: impl Iterator<Item = &'n str>,
    experiment: &str,
    candidate: &str,
) -> Option<String> {
    let mark = mark(experiment, candidate);
    notes.find_map(|note| note.trim().starts_with(&mark).then(|| visible(note.trim())))
}

impl Change<'_> {
    /// The edited file; `None` if the decision changes nothing.
    pub(super) fn edited(
        &self,
        verdict: &Verdict,
        promote: bool,
    ) -> anyhow::Result<Option<Edited>> {
        let Self { source, old, experiment, candidate, now, .. } = *self;
        let Some(id) = experiment.variant(candidate.as_bytes()) else { return Ok(None) };
        let path = format!(
            "experiments[{}].variants[{}]",
            set::place(&old.plan, &experiment.name),
            id.index()
        );
        let mut draft = Draft::new(source, old)?;
        match verdict.action {
            Action::Hold | Action::Invalid | Action::End => return Ok(None),
            Action::Promote if !promote => return Ok(None),
            Action::Promote => {
                return promote::promoted(source, old, experiment, id, None, now).map(Some);
            }
            Action::Raise(to) => {
                draft.set(&path, "weight", &Node::Number(to.to_string()), "name");
            }
            Action::RollBack => {
                draft.set(&path, "weight", &Node::Number("0".to_owned()), "name");
                let how = "Raises are blocked until you remove these two lines.".to_owned();
                draft.comment_above(&path, "name", &[self.note(verdict), how]);
            }
        }
        let edited = draft.finish()?;
        let swaps = plan::compare(&old.plan, &edited.loaded.plan, now).has_swap();
        anyhow::ensure!(
            !swaps || verdict.action == Action::RollBack,
            Fault(format!(
                "at the next step of {candidate}, units would move from one candidate to another; nothing was \
                 written\n  hint: give each candidate a `reserve` of its largest step, with a new salt"
            ))
        );
        Ok(Some(edited))
    }

    /// The note of a rollback, which blocks raises.
    pub(super) fn note(&self, verdict: &Verdict) -> String {
        let why = one_line(&verdict.reasons.join("; "));
        format!("{}{}: {why}", mark(&self.experiment.name, self.candidate), self.now)
    }

    /// The message of the commit: what happens, then why.
    pub(super) fn message(&self, verdict: &Verdict) -> String {
        let Self { experiment, candidate, weight, .. } = *self;
        let name = &experiment.name;
        let from = percent(weight);
        let what = match verdict.action {
            Action::Raise(to) => format!("raise {candidate} from {from} to {}", percent(to)),
            Action::RollBack => format!("roll {candidate} back from {from} to 0 %"),
            Action::Promote => format!("promote {candidate}"),
            Action::Hold | Action::Invalid | Action::End => format!("hold {candidate} at {from}"),
        };
        let reasons: Vec<String> =
            verdict.reasons.iter().map(|reason| format!("- {}", one_line(reason))).collect();
        format!("{name}: {what}\n\n{}\n", reasons.join("\n"))
    }
}

/// Text in one line, without control characters.
fn one_line(text: &str) -> String {
    visible(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Replaces the file, if it is still as it was. A link stays a link.
pub(super) fn write(path: &Path, was: &[u8], text: &str) -> anyhow::Result<()> {
    let name = visible(&path.to_string_lossy());
    let path = path.canonicalize().with_context(|| format!("cannot write {name}"))?;
    atomic::replace(&path, Some(was), text.as_bytes())
}
