//! Strata of the file: periods with constant weights, for lines of the log that do not carry their own.
//!
//! The phases of a rollout are strata, and the log names them. If a bandit sets the weights, each of its updates begins a
//! stratum, and its comments in the file say when: fixed weights have no other history. Everything else is one stratum.

use sidetrack::plan::{Experiment, PerVariant};
use sidetrack::quantity::{Ppm, Timestamp};
use sidetrack::rollout::{InForce, Schedule};

use crate::error::{Error, Part};

/// What begins the comment line of an epoch: `# sidetrack bandit: …`.
pub const MARK: &str = "# sidetrack bandit:";

/// Constant weights.
#[derive(Clone, Debug)]
pub(crate) struct Stratum {
    /// The phase's name, or the epoch's beginning; `None` when there is only one stratum.
    pub(crate) name: Option<String>,
    /// The rollout's phase, as the log names it.
    pub(crate) phase: Option<String>,
    /// The candidates' weights; the baseline's is not among them.
    pub(crate) weights: PerVariant<Ppm>,
    /// When an epoch began; `None`: from the start.
    from: Option<Timestamp>,
}

/// All strata of an experiment file.
#[derive(Clone, Debug)]
pub struct Strata {
    pub(crate) list: Vec<Stratum>,
    /// A bandit set the weights.
    pub(crate) adaptive: bool,
}

impl Strata {
    /// From the experiment and, for the notes of a bandit, the text of its file.
    ///
    /// # Errors
    /// A note that cannot be read.
    pub fn new(experiment: &Experiment, text: &str) -> Result<Self, Error> {
        let epochs =
            epochs(experiment, text).map_err(|problem| Error::input(Part::Experiment, problem))?;
        let adaptive = !epochs.is_empty();
        let stratum = |name: Option<&String>, weights: &PerVariant<Ppm>| Stratum {
            name: name.cloned(),
            phase: name.cloned(),
            weights: weights.clone(),
            from: None,
        };
        let list = match &experiment.schedule {
            Schedule::Rollout(rollout) => rollout
                .phases
                .iter()
                .map(|phase| stratum(Some(&phase.name), &phase.weights))
                .collect(),
            Schedule::Fixed(_) if adaptive => epochs,
            Schedule::Fixed(weights) => vec![stratum(None, weights)],
        };
        Ok(Self { list, adaptive })
    }

    /// The weights of the file, as the log names them: of each phase of a rollout, or the fixed ones without a phase.
    #[must_use]
    pub fn weights(&self, experiment: &Experiment) -> Vec<(Option<String>, String)> {
        let text = |stratum: &Stratum| {
            let weights = sidetrack::exposure::weights(experiment, &|id| stratum.weights[id]);
            (stratum.phase.clone(), weights)
        };
        self.list.iter().map(text).collect()
    }

    /// Whether a bandit set the weights.
    #[must_use]
    pub const fn is_adaptive(&self) -> bool {
        self.adaptive
    }

    /// The stratum of a line, by the phase that the proxy logged, else by the time. `None` if the file has no such phase.
    pub(crate) fn of(
        &self,
        experiment: &Experiment,
        phase: Option<&str>,
        time: u64,
    ) -> Option<usize> {
        match (&experiment.schedule, phase) {
            (Schedule::Rollout(_), Some(phase)) => {
                self.list.iter().position(|stratum| stratum.name.as_deref() == Some(phase))
            }
            (Schedule::Rollout(_), None) => match experiment.schedule.at(Timestamp::new(time)) {
                InForce::Weights(_, phase) => phase,
                InForce::NotStarted => None,
            },
            (Schedule::Fixed(_), Some(_)) => None,
            (Schedule::Fixed(_), None) => {
                let begun = |stratum: &Stratum| stratum.from.is_none_or(|from| from.get() <= time);
                self.list.iter().rposition(begun)
            }
        }
    }
}

/// The epochs that the text's comments note for this experiment, in order.
fn epochs(experiment: &Experiment, text: &str) -> Result<Vec<Stratum>, String> {
    let mut epochs: Vec<Stratum> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some(note) = line.trim_start().strip_prefix(MARK) else { continue };
        let mut words = note.split_whitespace();
        if words.next() != Some(experiment.name.as_str()) {
            continue;
        }
        let bad = |what: &str| {
            format!(
                "line {}: a note of `sidetrack bandit` has {what}; restore the line as it was written",
                number + 1
            )
        };
        let from = match (words.next(), words.next()) {
            (Some("from"), Some("the-start")) => None,
            (Some("from"), Some(time)) => {
                Some(Timestamp::parse(time).ok_or_else(|| bad("no time after \"from\""))?)
            }
            _ => return Err(bad("no \"from\"")),
        };
        if epochs.last().is_some_and(|last| last.from >= from) {
            return Err(bad("an epoch that begins before the one above"));
        }
        let mut weights = experiment.variants.map(|_, _| Ppm::ZERO);
        for word in words {
            let read = || {
                let (name, percent) = word.split_once('=')?;
                Some((experiment.variant(name.as_bytes())?, percent.parse().ok()?))
            };
            let (variant, weight) =
                read().ok_or_else(|| bad(&format!("\"{}\"", crate::figures::visible(word))))?;
            weights[variant] = weight;
        }
        let name = from.map_or_else(|| "the start".to_owned(), |from| from.to_string());
        epochs.push(Stratum { name: Some(name), phase: None, weights, from });
    }
    Ok(epochs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
        "variants": [{"name": "b"}, {"name": "c", "weight": 20, "reserve": 50}, {"name": "d", "weight": 10}]}]}"#;

    fn experiment() -> Experiment {
        let plan = sidetrack::config::parse_json(FILE.as_bytes()).unwrap();
        plan.experiments.into_iter().next().unwrap()
    }

    #[test]
    fn a_line_belongs_to_the_phase_that_it_names_or_else_to_its_time() {
        let nine = Timestamp::parse("2026-11-23T09:00:00Z").unwrap().get();
        let of = |file: &str| {
            let plan = sidetrack::config::parse_json(file.as_bytes()).unwrap();
            let experiment = plan.experiments.into_iter().next().unwrap();
            let strata = Strata::new(&experiment, "").unwrap();
            move |phase: Option<&str>, time| strata.of(&experiment, phase, time)
        };
        let fixed = of(FILE);
        assert_eq!((fixed(None, 0), fixed(Some("one"), 0)), (Some(0), None));
        let rollout = FILE
            .replace("\"weight\": 20, ", "")
            .replace(", \"weight\": 10", "")
            .replace(
                "}]}]}",
                r#"}], "rollout": {"start": "2026-11-23T09:00:00Z", "phases": [
                {"name": "one", "for": "1h", "weights": {"c": 5}}, {"name": "two", "weights": {"c": 9}}]}}]}"#,
            );
        let phased = of(&rollout);
        assert_eq!([phased(Some("two"), nine), phased(Some("three"), nine)], [Some(1), None]);
        let by_time = [nine - 1, nine, nine + 3_599_999, nine + 3_600_000];
        assert_eq!(by_time.map(|time| phased(None, time)), [None, Some(0), Some(0), Some(1)]);
    }

    #[test]
    fn a_bad_note_is_named_by_its_line() {
        let text = "experiments:\n  # sidetrack bandit: e from the-start c=1 x\n";
        let error = Strata::new(&experiment(), text).unwrap_err().to_string();
        assert_eq!(
            error,
            "line 2: a note of `sidetrack bandit` has \"x\"; restore the line as it was written"
        );
    }

    #[test]
    fn a_bandits_notes_are_epochs() {
        let text = "# sidetrack bandit: e from the-start c=10 d=10\n\
            # sidetrack bandit: other from the-start c=99\n\
            # sidetrack bandit: e from 2026-11-23T09:00:00Z c=20.5 d=10\n";
        let strata = Strata::new(&experiment(), text).unwrap();
        let nine = Timestamp::parse("2026-11-23T09:00:00Z").unwrap().get();
        let of = |time| strata.of(&experiment(), None, time);
        assert_eq!([of(0), of(nine - 1), of(nine)], [Some(0), Some(0), Some(1)]);
        let weights = |stratum: usize| {
            let weights = strata.list[stratum].weights.iter();
            weights.map(|weight| weight.get()).collect::<Vec<_>>()
        };
        assert_eq!(weights(0), [0, 100_000, 100_000]);
        assert_eq!(weights(1), [0, 205_000, 100_000]);
        assert!(strata.adaptive && !Strata::new(&experiment(), "").unwrap().adaptive);
        for bad in [
            "e from noon c=1",
            "e c=1",
            "e from the-start c=1x",
            "e from the-start z=1",
            "e from the-start c=101",
            "e until 2026-11-23T09:00:00Z c=1",
            "e from 2026-11-23T09:00:00Z c=1\n# sidetrack bandit: e from the-start c=1",
            "e from 2026-11-23T09:00:00Z c=1\n# sidetrack bandit: e from 2026-11-23T09:00:00Z c=2",
            "e from 2026-11-23T09:00:00Z c=1\n# sidetrack bandit: e from 2026-11-23T08:00:00Z c=2",
        ] {
            assert!(
                Strata::new(&experiment(), &format!("# sidetrack bandit: {bad}")).is_err(),
                "{bad}"
            );
        }
    }
}
