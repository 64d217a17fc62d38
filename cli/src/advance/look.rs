//! One look at a candidate: its file, the evidence, the decision and the edit. It changes nothing.

use sidetrack::plan::{Experiment, VariantId};
use sidetrack::quantity::{Millis, Ppm, Timestamp};
use sidetrack::rollout::{InForce, Schedule};
use sidetrack_analysis::Analysis;
use sidetrack_analysis::plan::AnalysisPlan;

use super::change::{self, Change};
use super::decide::{Action, Facts, Fleet, Verdict, decide};
use super::evidence::{EvidenceOptions, Found, Subject, evidence};
use super::fleet::ProxyOptions;
use crate::edit::Edited;
use crate::fault::Fault;
use crate::load::{Loaded, Source, chosen};
use crate::set;
use crate::words::{variant, visible};

const NO_EVIDENCE: &str = "no evidence is given; pass --exposures LOG or --store URL";

const IN_THE_FILE: &str = "remove this comment from the file to allow raises again";

/// What to look at.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) experiment: Option<&'a str>,
    pub(crate) candidate: Option<&'a str>,
    pub(crate) evidence: &'a EvidenceOptions,
    pub(crate) fleet: &'a ProxyOptions,
    pub(crate) max_age: Millis,
    /// Why the candidate must get no traffic, whatever the evidence says.
    pub(crate) stop: Option<&'a str>,
    pub(crate) start: bool,
    /// Notes of rollbacks outside of the file; `None`: its comments.
    pub(crate) notes: Option<Notes<'a>>,
    pub(crate) now: Timestamp,
}

/// Notes of rollbacks, a line each.
#[derive(Clone, Copy)]
pub(crate) struct Notes<'a> {
    pub(crate) text: &'a str,
    /// How to remove them, as words.
    pub(crate) removal: &'a str,
}

/// What was found.
pub(crate) struct Look {
    pub(crate) source: Source,
    pub(crate) loaded: Loaded,
    pub(crate) weight: Ppm,
    pub(crate) verdict: Verdict,
    /// What the evidence says; `None` without evidence.
    pub(crate) analysis: Option<Analysis>,
    /// Primary metrics that cannot be judged yet.
    pub(crate) unjudged: Vec<String>,
    place: usize,
    id: VariantId,
    now: Timestamp,
}

impl Look {
    /// Reads the evidence and decides.
    ///
    /// A source that cannot be read is an error, unless the other one shows that the candidate must be rolled back: then
    /// the decision does not wait for it.
    ///
    /// # Errors
    ///
    /// A file that cannot be advanced, or a source that cannot be read.
    pub(crate) fn take(source: Source, question: &Question<'_>) -> anyhow::Result<Self> {
        anyhow::ensure!(
            !source.is_json(),
            Fault(format!(
                "{} is JSON, which has no comments, but a rollback leaves one that blocks raises\n  \
                 hint: write the experiment in YAML",
                source.name
            ))
        );
        let loaded = source.good()?;
        let experiment = chosen(&loaded.plan, question.experiment)?;
        let (id, weight) = candidate(experiment, question.candidate)?;
        let planned = steps(&loaded, experiment)?;
        let name = variant(experiment, id);
        let subject = Subject {
            source: &source,
            loaded: &loaded,
            experiment,
            planned,
            candidate: name,
            weight,
        };
        let (analysis, why, unread) = match question.evidence.read(&subject) {
            Ok(Found::Analysis(analysis)) => (Some(*analysis), NO_EVIDENCE.to_owned(), None),
            Ok(Found::Nothing) => (None, NO_EVIDENCE.to_owned(), None),
            Ok(Found::NotYet(why)) => (None, format!("there is no verdict yet: {why}"), None),
            Err(error) => (None, NO_EVIDENCE.to_owned(), Some(error)),
        };
        let found = analysis.as_ref().map(|analysis| evidence(analysis, &subject));
        let cluster = experiment.variants[id].cluster.as_deref();
        let (fleet, unseen) = match question.fleet.read(&experiment.name, name, cluster) {
            Ok(fleet) => (fleet, None),
            Err(error) => (Fleet::default(), Some(error)),
        };
        let text = String::from_utf8_lossy(source.bytes());
        let (block, removal) = match question.notes {
            None => (change::block(&text, &experiment.name, name), IN_THE_FILE),
            Some(Notes { text, removal }) => {
                (change::note_of(text.lines(), &experiment.name, name), removal)
            }
        };
        let block = block.map(|note| format!("{note}; {removal}"));
        let verdict = decide(&Facts {
            candidate: name,
            steps: &planned.steps,
            weight,
            enabled: experiment.enabled,
            block: block.as_deref(),
            stop: question.stop,
            start: question.start,
            evidence: found.as_ref(),
            no_evidence: &why,
            fleet,
            now: question.now,
            max_age: question.max_age,
        });
        if verdict.action != Action::RollBack
            && let Some(error) = unread.or(unseen)
        {
            return Err(error);
        }
        let place = set::place(&loaded.plan, &experiment.name);
        let unjudged = found.into_iter().flat_map(|found| found.unjudged);
        let unjudged = unjudged.map(|(name, _)| name).collect();
        Ok(Self {
            unjudged,
            weight,
            verdict,
            analysis,
            place,
            id,
            now: question.now,
            source,
            loaded,
        })
    }

    /// The experiment that was looked at.
    pub(crate) fn experiment(&self) -> anyhow::Result<&Experiment> {
        let found = self.loaded.plan.experiments.iter().nth(self.place);
        found.ok_or_else(|| anyhow::anyhow!("{} has no experiment", self.source.name))
    }

    /// The candidate's name.
    pub(crate) fn candidate(&self) -> anyhow::Result<&str> {
        Ok(variant(self.experiment()?, self.id))
    }

    /// The candidate's step, from 1, and the number of steps.
    pub(crate) fn step(&self) -> anyhow::Result<(Option<usize>, usize)> {
        let steps = &steps(&self.loaded, self.experiment()?)?.steps;
        let at = steps.iter().position(|step| step.weight == self.weight);
        Ok((at.map(|at| at + 1), steps.len()))
    }

    /// The file after the decision; `None` if the decision changes nothing.
    pub(crate) fn edited(&self, promote: bool) -> anyhow::Result<Option<Edited>> {
        self.change()?.edited(&self.verdict, promote)
    }

    /// The message of the commit.
    pub(crate) fn message(&self) -> anyhow::Result<String> {
        Ok(self.change()?.message(&self.verdict))
    }

    /// The note of a rollback, for places without comments.
    pub(super) fn note(&self) -> anyhow::Result<Option<String>> {
        let is_rollback = self.verdict.action == Action::RollBack;
        is_rollback.then(|| Ok(self.change()?.note(&self.verdict))).transpose()
    }

    fn change(&self) -> anyhow::Result<Change<'_>> {
        Ok(Change {
            source: &self.source,
            old: &self.loaded,
            experiment: self.experiment()?,
            candidate: self.candidate()?,
            weight: self.weight,
            now: self.now,
        })
    }
}

/// The candidate to advance, and its weight.
fn candidate(experiment: &Experiment, wanted: Option<&str>) -> anyhow::Result<(VariantId, Ppm)> {
    let ids: Vec<_> = experiment.candidates().collect();
    let names: Vec<&str> = ids.iter().map(|id| variant(experiment, *id)).collect();
    let id = match (wanted, ids.as_slice()) {
        (None, [only]) => *only,
        (None, _) => anyhow::bail!(
            "{} has several candidates; choose one with --candidate: {}",
            experiment.name,
            names.join(", ")
        ),
        (Some(wanted), ids) => {
            let found = ids.iter().find(|id| variant(experiment, **id) == wanted);
            *found.ok_or_else(|| {
                let wanted = visible(wanted);
                Fault(format!(
                    "--candidate: unknown candidate \"{wanted}\"; expected one of: {}",
                    names.join(", ")
                ))
            })?
        }
    };
    let InForce::Weights(weights, _) = experiment.schedule.at(crate::moment::now()) else {
        return Ok((id, Ppm::ZERO));
    };
    Ok((id, weights[id]))
}

/// The plan of the experiment, which must have steps.
fn steps<'l>(loaded: &'l Loaded, experiment: &Experiment) -> anyhow::Result<&'l AnalysisPlan> {
    let name = &experiment.name;
    anyhow::ensure!(
        matches!(experiment.schedule, Schedule::Fixed(_)),
        Fault(format!(
            "{name} has a rollout: its weights belong to the clock\n  \
             hint: replace the rollout by weights and analysis.steps"
        ))
    );
    let planned = set::analysis(loaded, name).filter(|plan| !plan.steps.is_empty());
    let missing = || {
        let example = "analysis: {steps: [{weight: 5, min_for: 1d}, {weight: 30}]}";
        let hint = format!("hint: write the weights to go through, such as {example}");
        Fault(format!("{name} has no analysis.steps\n  {hint}"))
    };
    Ok(planned.ok_or_else(missing)?)
}
