//! The phases as overlays, and the experiment file as their base.
//!
//! In base and overlays, each experiment has a rollout with a single phase that began in the past. So
//! the proxies report the phase's name in headers, metrics and logs, and a patch refers to a weight by
//! the candidate's name, not by a list index.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{Context, anyhow, bail, ensure};
use sidetrack::config::Node;
use sidetrack::plan::{Experiment, PerVariant, Plan, VariantId};
use sidetrack::quantity::Ppm;
use sidetrack::rollout::Schedule;

use crate::load::Loaded;

/// The phase before all others: the filter runs, and all users get the baseline.
pub(super) const OFF: &str = "off";

/// The phase of a file that has none.
const LIVE: &str = "live";

/// When the phases of a file without a rollout began.
const START: &str = "2026-01-01T00:00:00Z";

/// `canary=5`, or `canary=enhanced:5,other:10`.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    name: String,
    /// Weights by candidate; `None`: the only candidate.
    shares: Vec<(Option<String>, Ppm)>,
}

impl FromStr for Phase {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, rest) =
            text.split_once('=').context("expected NAME=PERCENT or NAME=VARIANT:PERCENT,…")?;
        let share = |part: &str| {
            let (variant, percent) = match part.split_once(':') {
                Some((variant, percent)) => (Some(variant.to_owned()), percent),
                None => (None, part),
            };
            let weight = percent.parse().map_err(|error| anyhow!("\"{percent}\" is {error}"))?;
            Ok((variant, weight))
        };
        let shares = rest.split(',').map(share).collect::<anyhow::Result<_>>()?;
        Ok(Self { name: name.to_owned(), shares })
    }
}

/// The weights of an experiment by candidate.
pub(super) type Weights = BTreeMap<String, Ppm>;

/// An overlay: its name, and the weights of each experiment in the file's order.
pub(super) struct Overlay {
    pub(super) name: String,
    pub(super) weights: Vec<Weights>,
}

/// The overlays, first to last.
pub(super) fn overlays(plan: &Plan, given: &[Phase]) -> anyhow::Result<Vec<Overlay>> {
    let mut names: Vec<&str> = Vec::new();
    if given.is_empty() {
        let rollouts = plan.experiments.iter().map(|experiment| experiment.schedule.phases());
        names.extend(rollouts.flatten().map(|phase| phase.name.as_str()));
    } else {
        names.extend(given.iter().map(|phase| phase.name.as_str()));
    }
    let mut seen = Vec::new();
    for name in names {
        ensure!(
            given.is_empty() || !seen.contains(&name),
            "--phase {name} is given twice, but must be given once"
        );
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    let mut names = seen;
    if names.is_empty() {
        names.push(LIVE);
    }
    let overlay = |name: &str| {
        ensure!(
            name != OFF && name.starts_with(|c: char| c.is_ascii_alphanumeric()),
            "the name of the phase is \"{name}\", but must begin with a letter or digit and not be \"{OFF}\"\n  \
             hint: it becomes the name of a folder; the folder \"{OFF}\" is for the time before all phases"
        );
        let weights = plan.experiments.iter().map(|experiment| weights(experiment, name, given));
        Ok(Overlay { name: name.to_owned(), weights: weights.collect::<anyhow::Result<_>>()? })
    };
    let overlays: Vec<Overlay> = names.into_iter().map(overlay).collect::<anyhow::Result<_>>()?;
    for (variant, name) in given.iter().flat_map(|phase| {
        phase.shares.iter().filter_map(|(variant, _)| Some((variant.as_ref()?, &phase.name)))
    }) {
        let known =
            plan.experiments.iter().any(|e| e.candidates().any(|c| name_of(e, c) == variant));
        ensure!(
            known,
            "--phase {name}: unknown candidate \"{variant}\"; expected one of: {}",
            candidates(plan)
        );
    }
    Ok(overlays)
}

fn weights(experiment: &Experiment, phase: &str, given: &[Phase]) -> anyhow::Result<Weights> {
    let candidates: Vec<&str> =
        experiment.candidates().map(|index| name_of(experiment, index)).collect();
    if let Some(given) = given.iter().find(|given| given.name == phase) {
        let mut weights = Weights::new();
        for (variant, weight) in &given.shares {
            match (variant, candidates.as_slice()) {
                (Some(variant), _) if candidates.contains(&variant.as_str()) => {
                    weights.insert(variant.clone(), *weight);
                }
                (Some(_), _) => {}
                (None, [only]) => {
                    weights.insert((*only).to_owned(), *weight);
                }
                (None, several) => bail!(
                    "--phase {phase}={weight} names no candidate, but {} has several: {}\n  \
                     hint: use --phase {phase}=VARIANT:PERCENT,…",
                    experiment.name,
                    several.join(", ")
                ),
            }
        }
        return Ok(weights);
    }
    let by_variant: &PerVariant<Ppm> = match &experiment.schedule {
        Schedule::Fixed(weights) => weights,
        Schedule::Rollout(rollout) => match rollout.phases.iter().find(|p| p.name == phase) {
            Some(phase) => &phase.weights,
            None => bail!(
                "{} has no phase {phase}, but all experiments of a file must have the same phases\n  \
                 hint: set the phases with --phase, or put the experiments into separate files",
                experiment.name
            ),
        },
    };
    let weight = |id: VariantId| (name_of(experiment, id).to_owned(), by_variant[id]);
    Ok(experiment.candidates().map(weight).filter(|(_, weight)| *weight > Ppm::ZERO).collect())
}

fn name_of(experiment: &Experiment, variant: VariantId) -> &str {
    &experiment.variants[variant].name
}

fn candidates(plan: &Plan) -> String {
    let names = plan.experiments.iter().flat_map(|e| e.candidates().map(|index| name_of(e, index)));
    names.collect::<Vec<_>>().join(", ")
}

/// The phases of one experiment in this overlay, in the format of a rollout.
pub(super) fn written(phase: &str, weights: &Weights) -> Node {
    let weights =
        weights.iter().map(|(name, weight)| (name.clone(), Node::Number(weight.to_string())));
    Node::List(vec![Node::Map(vec![
        ("name".to_owned(), Node::Text(phase.to_owned())),
        ("weights".to_owned(), Node::Map(weights.collect())),
    ])])
}

/// The file in this phase. In all phases, a span has the width of the largest weight, so a promotion
/// moves no user between candidates.
pub(super) fn in_phase(
    loaded: &Loaded,
    overlays: &[Overlay],
    phase: Option<&Overlay>,
) -> anyhow::Result<Loaded> {
    let mut node = loaded.node.clone();
    let Some(Node::List(experiments)) = node.get_mut("experiments") else {
        bail!("the file has no experiments")
    };
    for (index, (experiment, written)) in
        loaded.plan.experiments.iter().zip(experiments).enumerate()
    {
        let start = written.get("rollout").and_then(|rollout| rollout.get("start")).cloned();
        let Node::Map(keys) = written else { continue };
        keys.retain(|(key, _)| key != "rollout");
        for (key, value) in keys.iter_mut() {
            if let ("variants", Node::List(variants)) = (key.as_str(), value) {
                reserve(
                    experiment,
                    variants,
                    overlays.iter().filter_map(|overlay| overlay.weights.get(index)),
                );
            }
        }
        let nothing = Weights::new();
        let (name, weights) = phase.map_or((OFF, &nothing), |phase| {
            (&phase.name, phase.weights.get(index).unwrap_or(&nothing))
        });
        let rollout = vec![
            ("start".to_owned(), start.unwrap_or_else(|| Node::Text(START.to_owned()))),
            ("phases".to_owned(), self::written(name, weights)),
        ];
        keys.push(("rollout".to_owned(), Node::Map(rollout)));
    }
    let (plan, analyses) = sidetrack_analysis::plan::parse(&node).map_err(|problems| {
        let name = phase.map_or(OFF, |phase| &phase.name);
        crate::fault::Fault(format!("phase {name} is not a valid experiment file: {problems}"))
    })?;
    Ok(Loaded { node, plan, analyses })
}

/// Replaces the weight of each candidate by a reserve of the width of its span.
fn reserve<'a>(
    experiment: &Experiment,
    variants: &mut [Node],
    phases: impl Iterator<Item = &'a Weights> + Clone,
) {
    for (variant, written) in experiment.variants.ids().zip(variants) {
        let Node::Map(keys) = written else { continue };
        keys.retain(|(key, _)| key != "weight" && key != "reserve");
        if variant == experiment.baseline {
            continue;
        }
        let name = name_of(experiment, variant);
        let span = experiment.layout.spans().iter().find(|span| span.variant == variant);
        let width = span.map_or(Ppm::ZERO, |span| span.width);
        let widest =
            phases.clone().filter_map(|weights| weights.get(name).copied()).fold(width, Ppm::max);
        keys.push(("reserve".to_owned(), Node::Number(widest.to_string())));
    }
}
