//! `sidetrack simulate`: a test of the draw against the weights of the file.
//!
//! The units are `user-0`, `user-1` and so on, so the result is reproducible.

pub(crate) mod chi_square;
mod report;

use clap::Args as Arguments;
use serde::Serialize;
use sidetrack::plan::{Experiment, PerVariant};
use sidetrack::quantity::{Bucket, Ppm};
use sidetrack::rollout::Schedule;
use sidetrack_stats::float;

use crate::exit::ExitStatus;
use crate::load::{File, load};
use crate::out::Out;

/// Below this p-value, the shares are not due to chance.
const SUSPICIOUS: f64 = 1e-6;

/// Draw synthetic units and compare the shares with their targets
///
/// For each experiment and phase: the share of each variant, its target, and a chi-square test. The
/// p-value is the probability of differences at least this large if the draw is fair. Units outside the
/// experiment's slots of its layer and overrides are not counted. Exit 1 if a variant with weight 0 has
/// units.
#[derive(Arguments)]
#[command(after_help = "Example:\n  sidetrack simulate experiment.yaml --units 100000")]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// The number of units to draw
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    units: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let plan = load(&args.file.file)?.plan;
    let experiments: Vec<_> =
        plan.experiments.iter().map(|experiment| simulate(experiment, args.units)).collect();
    let report = Report { units: args.units, experiments };
    if args.json {
        out.json(&report)?;
    } else {
        report::write_text(&report, out)?;
    }
    let mut phases = report.experiments.iter().flat_map(|experiment| &experiment.phases);
    Ok(if phases.any(Phase::has_uninvited) { ExitStatus::Problems } else { ExitStatus::Success })
}

#[derive(Serialize)]
struct Report {
    units: u64,
    experiments: Vec<Simulated>,
}

#[derive(Serialize)]
struct Simulated {
    name: String,
    enabled: bool,
    /// The number of units in the slots of the layer.
    units: u64,
    phases: Vec<Phase>,
}

#[derive(Serialize)]
struct Phase {
    phase: Option<String>,
    variants: Vec<Variant>,
    chi_square: f64,
    df: u32,
    /// Null without a test: fewer than two variants with a weight, or no units.
    p_value: Option<f64>,
    suspicious: bool,
}

#[derive(Serialize)]
struct Variant {
    name: String,
    units: u64,
    /// Fractions of one.
    share: f64,
    target: f64,
    difference: f64,
    #[serde(skip)]
    weight: Ppm,
}

impl Phase {
    /// Whether a variant with weight 0 has units.
    fn has_uninvited(&self) -> bool {
        self.variants.iter().any(Variant::is_uninvited)
    }
}

impl Variant {
    fn is_uninvited(&self) -> bool {
        self.weight == Ppm::ZERO && self.units > 0
    }
}

fn simulate(experiment: &Experiment, units: u64) -> Simulated {
    let phases: Vec<(Option<String>, &PerVariant<Ppm>)> = match &experiment.schedule {
        Schedule::Fixed(weights) => vec![(None, weights)],
        Schedule::Rollout(rollout) => {
            rollout.phases.iter().map(|phase| (Some(phase.name.clone()), &phase.weights)).collect()
        }
    };
    let mut counts = vec![experiment.variants.map(|_, _| 0u64); phases.len()];
    let mut inside = 0u64;
    let mut unit = Vec::new();
    for number in 0..units {
        unit.clear();
        unit.extend_from_slice(b"user-");
        unit.extend_from_slice(number.to_string().as_bytes());
        let Some(bucket) = bucket(experiment, &unit) else { continue };
        inside += 1;
        for ((_, weights), counts) in phases.iter().zip(&mut counts) {
            let variant =
                experiment.layout.candidate(bucket, weights).unwrap_or(experiment.baseline);
            counts[variant] += 1;
        }
    }
    let phases = phases.into_iter().zip(counts);
    let phases = phases
        .map(|((name, weights), counts)| compare(experiment, name, weights, &counts))
        .collect();
    Simulated { name: experiment.name.clone(), enabled: experiment.enabled, units: inside, phases }
}

/// The unit's bucket; `None` when the layer leaves it out.
fn bucket(experiment: &Experiment, unit: &[u8]) -> Option<Bucket> {
    let inside = experiment.layer.as_ref().is_none_or(|layer| {
        let slot = layer.draw.bucket(unit).get();
        (layer.from.get()..layer.to.get()).contains(&slot)
    });
    inside.then(|| experiment.arm.bucket(unit))
}

fn compare(
    experiment: &Experiment,
    phase: Option<String>,
    weights: &PerVariant<Ppm>,
    counts: &PerVariant<u64>,
) -> Phase {
    let targets = experiment.shares_of(weights);
    let pairs: Vec<(u64, Ppm)> = counts.iter().copied().zip(targets).collect();
    let test = chi_square::test(&pairs);
    let sum: u64 = counts.iter().sum();
    let variants = experiment.variants.iter().zip(pairs).map(|(variant, (units, weight))| {
        let share = if sum == 0 { 0.0 } else { float(units) / float(sum) };
        let target = weight.fraction();
        Variant {
            name: variant.name.clone(),
            units,
            share,
            target,
            difference: share - target,
            weight,
        }
    });
    let suspicious = test.p_value.is_some_and(|p| p < SUSPICIOUS);
    let variants = variants.collect();
    Phase {
        phase,
        variants,
        chi_square: test.statistic,
        df: test.df,
        p_value: test.p_value,
        suspicious,
    }
}
