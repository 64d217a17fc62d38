//! Where a test is, as its file says.

use sidetrack::exposure::trial;
use sidetrack::plan::Experiment;
use sidetrack::rollout::InForce;

use crate::advance::change::block;
use crate::fault::Fault;
use crate::load::{Loaded, Source};
use crate::mlflow::names;
use crate::set;
use crate::words::{variant, visible};

/// Two versions in a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) baseline: String,
    pub(super) candidate: String,
    /// The trial of the file, as the log names it.
    pub(super) trial: String,
}

/// Where the test of a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is no file.
    Nothing,
    /// The candidate gets traffic.
    Running(Pair),
    /// It was rolled back, and why.
    RolledBack(Pair, String),
    /// The weight is 0, and no comment says why: stopped by hand.
    Stopped(Pair),
    /// The file has no steps: its baseline won the test before, or a person wrote it so.
    Over(Pair),
}

impl Stage {
    /// Where the test of this file is.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if the file is not one test of two versions of the model.
    pub(super) fn of(source: &Source, loaded: &Loaded, model: &str) -> anyhow::Result<Self> {
        let plan = &loaded.plan;
        let refuse = |what: &str| {
            Fault(format!(
                "{} {what}\n  hint: `mlflow follow` needs a file of its own, which it writes itself",
                source.name
            ))
        };
        let mut experiments = plan.experiments.iter();
        let (Some(experiment), None) = (experiments.next(), experiments.next()) else {
            return Err(refuse("has several experiments").into());
        };
        let Some(pair) = pair(experiment, model) else {
            let name = visible(model);
            return Err(refuse(&format!("is not a test of two versions of {name}")).into());
        };
        let mut candidates = experiment.candidates();
        let Some(id) = candidates.next() else { return Err(refuse("has no candidate").into()) };
        let weight = match experiment.schedule.at(crate::moment::now()) {
            InForce::Weights(weights, _) => weights[id],
            _ => return Err(refuse("has a rollout").into()),
        };
        if weight > sidetrack::quantity::Ppm::ZERO {
            return Ok(Self::Running(pair));
        }
        let text = String::from_utf8_lossy(source.bytes());
        let name = variant(experiment, id);
        if let Some(comment) = block(&text, &experiment.name, name) {
            return Ok(Self::RolledBack(pair, why(&comment)));
        }
        let has_steps =
            set::analysis(loaded, &experiment.name).is_some_and(|plan| !plan.steps.is_empty());
        Ok(if has_steps { Self::Stopped(pair) } else { Self::Over(pair) })
    }
}

/// The two versions of an experiment with one candidate.
pub(super) fn pair(experiment: &Experiment, model: &str) -> Option<Pair> {
    let mut candidates = experiment.candidates();
    let (Some(candidate), None) = (candidates.next(), candidates.next()) else { return None };
    Some(Pair {
        baseline: names::version(model, variant(experiment, experiment.baseline))?,
        candidate: names::version(model, variant(experiment, candidate))?,
        trial: trial(experiment),
    })
}

/// The reason in the comment of a rollback: `… was rolled back at TIME: REASON`.
fn why(comment: &str) -> String {
    let reason = comment.split_once(" was rolled back at ").and_then(|(_, rest)| {
        let (_, reason) = rest.split_once(": ")?;
        Some(reason)
    });
    reason.unwrap_or(comment).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: &str = "\
experiments:
- name: digits-ab-test
  unit: [{header: x-user-id}]
  baseline: digits-v1
  variants:
  - name: digits-v1
  - name: digits-v2
    weight: 5
  analysis: {metrics: [accuracy], steps: [{weight: 5, min_for: 1d}, {weight: 30}]}
";

    fn stage(text: &str) -> anyhow::Result<Stage> {
        let source = Source::of_text("experiment.yaml".to_owned(), text.to_owned());
        Stage::of(&source, &source.good().unwrap(), "digits")
    }

    #[test]
    fn the_file_says_where_the_test_is() {
        let Stage::Running(pair) = stage(RUNNING).unwrap() else { panic!("it runs") };
        assert_eq!((pair.baseline.as_str(), pair.candidate.as_str()), ("1", "2"));
        let stopped = RUNNING.replace("weight: 5\n", "weight: 0\n");
        assert_eq!(stage(&stopped).unwrap(), Stage::Stopped(pair.clone()));
        let comment = "  # sidetrack advance: digits-ab-test/digits-v2 was rolled back at \
                       2026-11-25T09:00:00Z: errors: too many\n  - name: digits-v2";
        let rolled_back = stopped.replace("  - name: digits-v2", comment);
        let reason = "errors: too many".to_owned();
        assert_eq!(stage(&rolled_back).unwrap(), Stage::RolledBack(pair.clone(), reason));
        let steps = ", steps: [{weight: 5, min_for: 1d}, {weight: 30}]";
        assert_eq!(stage(&stopped.replace(steps, "")).unwrap(), Stage::Over(pair));
    }

    #[test]
    fn files_of_others_are_refused() {
        let foreign = RUNNING.replace("digits-v2", "other");
        let third = RUNNING.replace("  analysis", "  - {name: digits-v3, weight: 1}\n  analysis");
        for text in [foreign, third] {
            let error = stage(&text).unwrap_err().to_string();
            assert!(error.contains("not a test of two versions of digits"), "{error}");
        }
    }
}
