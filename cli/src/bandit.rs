//! `sidetrack bandit`: the next weights from the rewards of each variant, and the file with them.
//!
//! Thompson sampling by batches: the weight of a variant is the probability that it is the best, above
//! a floor, with a limited change per step. Proxies draw nothing per request: the hash assigns, so users
//! keep their variant, and each weight can be recomputed. Tests that assume fixed weights are invalid
//! for such data, so the file keeps a note of each step, and `sidetrack analyze run` separates the
//! steps. Deliberately, there is no p-value.

mod edit;
mod rewards;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args as Arguments;
use serde::Serialize;
use sidetrack::plan::{Experiment, PerVariant, VariantId};
use sidetrack::quantity::Ppm;
use sidetrack::rollout::Schedule;
use sidetrack_stats::bandit::{Rule, State, weights};
use sidetrack_stats::distribution::beta::Beta;
use sidetrack_stats::posterior;

use crate::analyze::named;
use crate::atomic;
use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::load::{File, Source, chosen};
use crate::moment::Moment;
use crate::out::Out;
use crate::table::{Align, Table};
use crate::words::variant;
use crate::wrap;
use rewards::Rewards;

/// Set the next weights from the rewards so far (Thompson sampling by batches)
///
/// Reads successes and trials of each variant by batch. The new weight of a variant is the probability
/// that it is the best. Only the weights of the file change; all other text and comments are kept. A
/// note in the file records the step for `sidetrack analyze run`: do not remove it.
#[derive(Arguments)]
#[command(after_help = "The CSV has a header: variant,successes,trials and optionally batch.\n\n\
    Example:\n  sidetrack bandit experiment.yaml --rewards rewards.csv --out experiment.yaml")]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// The CSV of successes and trials; batches in order
    #[arg(long, value_name = "CSV")]
    rewards: PathBuf,
    /// The experiment; required if the file has several
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// The smallest weight of a variant, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    floor: f64,
    /// The largest change of a weight in one step, in points
    #[arg(long, value_name = "POINTS", default_value_t = 10.0)]
    max_change: f64,
    /// The factor by which a batch counts less with each later batch, above 0 and at most 1
    #[arg(long, value_name = "G", default_value_t = 1.0)]
    discount: f64,
    /// The trials that each variant needs before the first step; until then, all weights are equal
    #[arg(long, value_name = "N", default_value_t = 100)]
    warm_up: u32,
    /// Fewer successes are better: errors, complaints
    #[arg(long)]
    lower_is_better: bool,
    /// A variant whose breaker is open: its weight is kept, and the other variants share the rest; may
    /// be repeated
    #[arg(long, value_name = "VARIANT=open", value_parser = open)]
    breaker: Vec<String>,
    #[command(flatten)]
    moment: Moment,
    /// The file to write, which may be the experiment file [default: none, nothing is written]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn open(text: &str) -> Result<String, String> {
    let name = text.strip_suffix("=open").filter(|name| !name.is_empty());
    name.map(str::to_owned).ok_or_else(|| "expected VARIANT=open".to_owned())
}

#[derive(Serialize)]
struct Step {
    experiment: String,
    at: String,
    adaptive: bool,
    variants: Vec<Arm>,
    /// The path of the new file; null if none was written.
    file: Option<String>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Arm {
    name: String,
    /// Of all batches, without discounting.
    successes: u64,
    trials: u64,
    /// With discounting; null for a variant that is left out.
    mean: Option<f64>,
    p_best: Option<f64>,
    /// Percent.
    old_weight: f64,
    new_weight: f64,
    #[serde(skip)]
    weight: Ppm,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let source = Source::read(&args.file.file)?;
    let old = source.good()?.plan;
    let experiment = chosen(&old, args.experiment.as_deref())?;
    let Schedule::Fixed(in_force) = &experiment.schedule else {
        return Err(Fault(format!(
            "{} has a rollout, but must have weights\n  hint: replace the rollout by weights after its last phase has begun",
            experiment.name
        ))
        .into());
    };
    let rewards = Rewards::read(&args.rewards, experiment)?;
    let (arms, mut notes) = decide(args, experiment, in_force, &rewards)?;
    let now = args.moment.get();
    let next = arms.map(|_, arm| arm.weight);
    let edited = edit::edited(&source, &old, experiment, &next, now)?;
    let new = source.with(edited.clone()).good()?.plan;
    if let Some(path) = &args.out {
        atomic::write(path, edited.as_bytes())
            .with_context(|| format!("--out: cannot write {}", path.display()))?;
    } else {
        notes.push("nothing was written; --out FILE writes the new file".to_owned());
    }
    let step = Step {
        experiment: experiment.name.clone(),
        at: now.to_string(),
        adaptive: true,
        variants: arms.into_iter().collect(),
        file: args.out.as_ref().map(|path| path.display().to_string()),
        notes,
    };
    if args.json {
        out.json(&step)?;
    } else {
        write_text(&step, out)?;
        crate::plan::write_text(&old, &new, now, out)?;
    }
    Ok(ExitStatus::Success)
}

/// The next weight of each variant.
fn decide(
    args: &Args,
    experiment: &Experiment,
    in_force: &PerVariant<Ppm>,
    rewards: &Rewards,
) -> anyhow::Result<(PerVariant<Arm>, Vec<String>)> {
    let shares = experiment.shares_of(in_force);
    let mut left_out = shares.map(|_, _| false);
    for name in &args.breaker {
        let candidate = experiment.variant(name.as_bytes()).filter(|id| *id != experiment.baseline);
        let candidate = candidate.ok_or_else(|| {
            let names: Vec<&str> =
                experiment.candidates().map(|id| variant(experiment, id)).collect();
            Fault(format!(
                "--breaker: unknown candidate \"{name}\"; expected one of: {}",
                names.join(", ")
            ))
        })?;
        left_out[candidate] = true;
    }
    let taking: Vec<VariantId> = shares.ids().filter(|id| !left_out[*id]).collect();
    let whole: f64 = taking.iter().map(|id| shares[*id].fraction()).sum();
    let mut notes = Vec::new();
    let Learned { next, posteriors, best } = learn(args, rewards, &shares, &taking, &mut notes)?;
    for id in shares.ids().filter(|id| left_out[*id]) {
        notes.push(format!(
            "{} keeps its weight, because its breaker is open",
            variant(experiment, id)
        ));
    }
    let mut arms = shares.map(|id, &old| {
        let place = taking.iter().position(|taking| *taking == id);
        let mut new = match place.and_then(|place| next.get(place)) {
            Some(weight) => hundredth(weight * whole),
            None => old,
        };
        let reserve = edit::reserve(experiment, id).filter(|reserve| new > *reserve);
        if let Some(reserve) = reserve.filter(|_| id != experiment.baseline) {
            notes.push(format!(
                "{} is limited to its reserve of {reserve} %; more would move users of other variants",
                variant(experiment, id)
            ));
            new = reserve;
        }
        let (successes, trials) = rewards.sums(id);
        Arm {
            name: variant(experiment, id).to_owned(),
            successes,
            trials,
            mean: place.and_then(|place| posteriors.get(place)).map(|beta| beta.mean()),
            p_best: place.and_then(|place| best.get(place)).copied(),
            old_weight: old.fraction() * 100.0,
            new_weight: new.fraction() * 100.0,
            weight: new,
        }
    });
    fit(experiment, &mut arms, &mut notes);
    // The baseline gets the exact rest.
    let candidates: u32 = experiment.candidates().map(|id| arms[id].weight.get()).sum();
    let arm = &mut arms[experiment.baseline];
    arm.weight = Ppm::new(Ppm::ALL.get().saturating_sub(candidates)).unwrap_or_default();
    arm.new_weight = arm.weight.fraction() * 100.0;
    Ok((arms, notes))
}

/// What the rewards say, in the order of the variants that take part. Empty where fewer than two do:
/// a single one cannot take weight from another.
#[derive(Default)]
struct Learned {
    /// Shares of what these variants have together.
    next: Vec<f64>,
    posteriors: Vec<Beta>,
    best: Vec<f64>,
}

fn learn(
    args: &Args,
    rewards: &Rewards,
    shares: &PerVariant<Ppm>,
    taking: &[VariantId],
    notes: &mut Vec<String>,
) -> anyhow::Result<Learned> {
    if taking.len() < 2 {
        return Ok(Learned::default());
    }
    let whole: f64 = taking.iter().map(|id| shares[*id].fraction()).sum();
    let mut state = State::new(taking.len(), args.discount)
        .map_err(|error| named("--discount", &args.discount.to_string(), &error))?;
    for batch in &rewards.batches {
        let outcomes: Vec<_> = taking.iter().map(|id| batch[*id]).collect();
        state.batch(&outcomes)?;
    }
    let count = sidetrack_stats::float(u64::try_from(taking.len()).unwrap_or(u64::MAX));
    anyhow::ensure!(
        args.floor >= 0.0 && args.floor / 100.0 * count < whole,
        Fault(format!(
            "--floor is {}, but must be 0 or more, and less than {:.2} with {} variants",
            args.floor,
            100.0 * whole / count,
            taking.len()
        ))
    );
    // Floor and step refer to all traffic; the weights refer to what the variants share.
    let rule = Rule {
        floor: args.floor / 100.0 / whole,
        step: (args.max_change / 100.0 / whole).min(1.0),
        warm_up: f64::from(args.warm_up),
        lowest: args.lower_is_better,
    };
    anyhow::ensure!(
        args.max_change > 0.0,
        Fault(format!("--max-change is {}, but must be more than 0", args.max_change))
    );
    let current: Vec<f64> = taking.iter().map(|id| shares[*id].fraction() / whole).collect();
    let next = weights(&state, rule, &current)?;
    let posteriors = state.posteriors();
    let best = posterior::best(&posteriors, args.lower_is_better);
    if state.units().iter().any(|units| *units < rule.warm_up) {
        notes.push(format!(
            "warm-up: a variant has fewer than {} trials, so all weights are equal",
            args.warm_up
        ));
    }
    Ok(Learned { next, posteriors, best })
}

/// Reduces growth that would not leave room for the reserves of other variants.
fn fit(experiment: &Experiment, arms: &mut PerVariant<Arm>, notes: &mut Vec<String>) {
    let width = |id: VariantId, weight: Ppm| edit::reserve(experiment, id).unwrap_or(weight).get();
    let wide: u32 = experiment.candidates().map(|id| width(id, arms[id].weight)).sum();
    let mut over = wide.saturating_sub(Ppm::ALL.get());
    for index in experiment.candidates().filter(|index| edit::reserve(experiment, *index).is_none())
    {
        let arm = &mut arms[index];
        let old = hundredth(arm.old_weight / 100.0);
        let back = over.min(arm.weight.get().saturating_sub(old.get()));
        if back > 0 {
            over -= back;
            arm.weight = Ppm::new(arm.weight.get() - back).unwrap_or_default();
            arm.new_weight = arm.weight.fraction() * 100.0;
            notes.push(format!(
                "{} is limited to {} %; the rest is reserved for other variants",
                arm.name, arm.weight
            ));
        }
    }
}

/// Rounded to a hundredth of a percent.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share between 0 and 1"
)]
fn hundredth(share: f64) -> Ppm {
    Ppm::new((share.clamp(0.0, 1.0) * 10_000.0).round() as u32 * 100).unwrap_or_default()
}

fn write_text(step: &Step, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    writeln!(
        out,
        "{}  {}",
        ink.bold(&step.experiment),
        ink.dim("adaptive: weights by Thompson sampling")
    )?;
    let percent = |share: Option<f64>| {
        share.map_or_else(|| "–".to_owned(), |share| format!("{:.2} %", share * 100.0))
    };
    let mut table = Table::new(&[
        Align::Left,
        Align::Right,
        Align::Right,
        Align::Right,
        Align::Right,
        Align::Right,
    ]);
    table.head(["variant", "successes of trials", "mean", "P(best)", "old", "new"], ink);
    for arm in &step.variants {
        table.row([
            arm.name.as_str().into(),
            format!("{} of {}", arm.successes, arm.trials).into(),
            percent(arm.mean).into(),
            percent(arm.p_best).into(),
            format!("{:.2} %", arm.old_weight).into(),
            format!("{:.2} %", arm.new_weight).into(),
        ]);
    }
    table.write(out)?;
    for note in &step.notes {
        writeln!(out, "{}", wrap::note("  ", note, ink))?;
    }
    Ok(())
}
