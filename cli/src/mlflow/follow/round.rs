//! One round: where the test is decides what is done.

use super::Args;
use super::begin::begin;
use super::ending::{self, Ending};
use super::report::{Act, Report};
use super::stage::{Pair, Stage, pair};
use crate::advance::decide::Action;
use crate::advance::{Look, Question, percents};
use crate::fault::Fault;
use crate::git::Repository;
use crate::load::Source;
use crate::mlflow::client::Client;
use crate::mlflow::registry::{Registry, Version};
use crate::mlflow::{CANDIDATE, CHAMPION, TRIAL};
use crate::moment;
use crate::words::visible;

/// Who makes the commits.
pub(super) const BY: &str = "sidetrack mlflow follow";

/// What a round works with.
pub(super) struct Context<'a> {
    pub(super) args: &'a Args,
    pub(super) repository: &'a Repository,
    pub(super) client: &'a Client,
    pub(super) registry: &'a Registry<'a>,
}

pub(super) fn round(args: &Args) -> anyhow::Result<Report> {
    let repository = Repository::of_new(&args.file)?;
    if !args.dry_run {
        if args.push {
            repository.synchronize()?;
        } else {
            repository.discard_unfinished()?;
        }
    }
    let client = Client::new(&args.server)?;
    let registry = Registry::new(&client, &args.model);
    let champion = registry.champion();
    let context = Context { args, repository: &repository, client: &client, registry: &registry };
    let mut report = context.step(champion)?;
    report.dry_run = args.dry_run;
    Ok(report)
}

impl Context<'_> {
    /// Does the next step. Without an answer of the registry, only a rollback is one.
    fn step(&self, champion: anyhow::Result<Version>) -> anyhow::Result<Report> {
        let (source, stage) = if self.args.file.exists() {
            let source = Source::read(&self.args.file)?;
            let stage = Stage::of(&source, &source.good()?, &self.args.model)?;
            (Some(source), stage)
        } else {
            (None, Stage::Nothing)
        };
        match (stage, source) {
            (Stage::Running(pair), Some(source)) => self.running(source, &pair, champion),
            (stage, source) => {
                let was = source.as_ref().map(Source::bytes);
                self.between(stage, champion?, was)
            }
        }
    }

    /// The next step when no candidate gets traffic; `was` is the file so far.
    fn between(
        &self,
        stage: Stage,
        champion: Version,
        was: Option<&[u8]>,
    ) -> anyhow::Result<Report> {
        let begin = || begin(self.args, self.repository, self.registry, champion, was);
        match stage {
            Stage::RolledBack(pair, reason) if !self.is_settled(&pair)? => {
                self.complete(&Ending::rolled_back(&pair, reason))
            }
            Stage::Stopped(pair) if self.is_candidate(&pair.candidate)? => {
                let reason = format!(
                    "the weight of version {} is 0 %: it was stopped by hand; set it to a step, or \
                     remove the tag {CANDIDATE}",
                    pair.candidate
                );
                let report = Report::new(&self.args.model, Act::Hold, vec![reason]);
                Ok(report.of(&pair.baseline, &pair.candidate))
            }
            Stage::Over(after) => match self.promotion(&after)? {
                Some(tested) => self.complete_promotion(&tested),
                None => begin(),
            },
            _ => begin(),
        }
    }

    fn is_candidate(&self, version: &str) -> anyhow::Result<bool> {
        Ok(self.registry.version(version)?.is_some_and(|version| version.is_candidate()))
    }

    /// Whether the registry knows how the trial of this pair ended.
    fn is_settled(&self, pair: &Pair) -> anyhow::Result<bool> {
        let version = self.registry.version(&pair.candidate)?;
        // A version that does not exist anymore has nothing to know.
        Ok(version.is_none_or(|version| version.tag(TRIAL) == Some(pair.trial.as_str())))
    }

    /// The test that the baseline of the file won, if the registry does not know it yet.
    fn promotion(&self, after: &Pair) -> anyhow::Result<Option<Pair>> {
        let Some(text) = self.repository.before()? else { return Ok(None) };
        let source = Source::of_text("the file before".to_owned(), text);
        let Ok(loaded) = source.parse() else { return Ok(None) };
        let tested = loaded.plan.experiments.iter().find_map(|it| pair(it, &self.args.model));
        let tested = tested.filter(|tested| {
            tested.baseline == after.candidate && tested.candidate == after.baseline
        });
        match tested {
            Some(tested) if !self.is_settled(&tested)? => Ok(Some(tested)),
            _ => Ok(None),
        }
    }

    fn complete_promotion(&self, tested: &Pair) -> anyhow::Result<Report> {
        if !self.args.promote {
            let reason = format!(
                "the file makes version {} the baseline, but the registry has another {CHAMPION}; --promote \
                 moves the alias",
                tested.candidate
            );
            let report = Report::new(&self.args.model, Act::Hold, vec![reason]);
            return Ok(report.of(&tested.baseline, &tested.candidate));
        }
        self.complete(&Ending::promoted(tested))
    }

    /// Completes an end whose commit was made: by an earlier round, or by another command.
    fn complete(&self, ending: &Ending<'_>) -> anyhow::Result<Report> {
        let mut report = Report::new(&self.args.model, Act::Complete, ending.reasons());
        if !self.args.dry_run {
            ending::settle(self, ending, &mut report)?;
        }
        Ok(report.of(&ending.pair.baseline, &ending.pair.candidate))
    }

    /// Advances a candidate that gets traffic. Harm does not wait for the registry.
    fn running(
        &self,
        source: Source,
        pair: &Pair,
        champion: anyhow::Result<Version>,
    ) -> anyhow::Result<Report> {
        let args = self.args;
        let (stop, mut away) = match champion.map(|champion| self.stop(pair, &champion)) {
            Ok(Ok(stop)) => (stop, None),
            // It answered, and a person must act.
            Ok(Err(error)) if error.is::<Fault>() => return Err(error),
            Ok(Err(error)) | Err(error) => (None, Some(error)),
        };
        let question = Question {
            experiment: None,
            candidate: None,
            evidence: &args.evidence,
            fleet: &args.fleet,
            max_age: args.max_age,
            stop: stop.as_deref(),
            notes: None,
            start: false,
            now: moment::now(),
        };
        let looked = Look::take(source, &question);
        let is_harm = |look: &Look| look.verdict.action == Action::RollBack;
        if !looked.as_ref().is_ok_and(is_harm)
            && let Some(error) = away
        {
            return Err(error);
        }
        let mut look = looked?;
        let from = percents(look.weight);
        if look.verdict.action == Action::End {
            look.verdict.action = Action::RollBack;
        }
        if matches!(look.verdict.action, Action::Raise(_) | Action::Promote)
            && let Some(missing) = args.fleet.missing(&look.loaded.plan)?
        {
            look.verdict.action = Action::Hold;
            look.verdict.reasons = vec![missing];
        }
        let reasons = look.verdict.reasons.clone();
        let (act, to) = match look.verdict.action {
            Action::Raise(to) => (Act::Raise, percents(to)),
            Action::RollBack => (Act::RollBack, 0.0),
            Action::Promote if args.promote => (Act::Promote, 100.0),
            Action::Promote | Action::Hold | Action::Invalid | Action::End => (Act::Hold, from),
        };
        let mut report = Report::new(&args.model, act, reasons).of(&pair.baseline, &pair.candidate);
        (report.from, report.to) = (Some(from), Some(to));
        match look.verdict.action {
            Action::Invalid => report.code = 1,
            Action::Promote if !args.promote => {
                report.reasons.push("--promote makes it the champion".to_owned());
            }
            _ => {}
        }
        let Some(edited) = look.edited(args.promote)?.filter(|_| !args.dry_run) else {
            return Ok(report);
        };
        let ends = matches!(act, Act::RollBack | Act::Promote);
        if ends && away.is_none() {
            match ending::write_run(self, &look, pair, act) {
                Err(error) if act == Act::RollBack => away = Some(error),
                written => written?,
            }
        }
        let (was, message) = (look.source.bytes(), look.message()?);
        report.commit = Some(self.repository.commit(Some(was), &edited.text, &message, BY)?);
        if args.push {
            self.repository.push()?;
        }
        if let Some(error) = away {
            report.reasons.push(format!("a later round updates the registry: {error:#}"));
        } else if ends {
            let ending = match act {
                Act::Promote => Ending::promoted(pair),
                _ => Ending::rolled_back(pair, look.verdict.reasons.join("; ")),
            };
            ending::settle(self, &ending, &mut report)?;
        }
        Ok(report)
    }

    /// Why the registry ends the test, if it does.
    fn stop(&self, pair: &Pair, champion: &Version) -> anyhow::Result<Option<String>> {
        if champion.version == pair.candidate {
            let text = format!(
                "{}: version {} is the {CHAMPION} already, but its test against version {} still runs\n  \
                 hint: someone moved the alias; finish with `sidetrack promote`, or move the alias back",
                visible(&self.args.model),
                pair.candidate,
                pair.baseline
            );
            return Err(Fault(text).into());
        }
        if champion.version != pair.baseline {
            return Ok(Some(format!(
                "the {CHAMPION} is version {} now, but the test has version {} as its baseline",
                visible(&champion.version),
                pair.baseline
            )));
        }
        let is_tagged = self.is_candidate(&pair.candidate)?;
        Ok((!is_tagged)
            .then(|| format!("version {} has no tag {CANDIDATE} anymore", pair.candidate)))
    }
}
