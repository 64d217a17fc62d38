//! `sidetrack set`: new weights in the file itself, with the units that move.

use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context as _;
use clap::Args as Arguments;
use serde::Serialize;
use sidetrack::config::Node;
use sidetrack::plan::{Experiment, Plan};
use sidetrack::quantity::Ppm;
use sidetrack::rollout::Schedule;
use sidetrack_analysis::plan::AnalysisPlan;

use crate::edit::{Draft, Edited};
use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::load::{Loaded, Source, chosen};
use crate::moment::Moment;
use crate::out::Out;
use crate::plan::Report;
use crate::words::variant;
use crate::{atomic, plan, wrap};

/// Change weights in an experiment file
///
/// Only the numbers change; comments and all other text are kept. The command shows which units move, and refuses a
/// change that moves units between two candidates. The baseline receives the rest. To stop a candidate, set its weight
/// to 0; of a file with `analysis.steps`, only this can be set.
#[derive(Arguments)]
#[command(after_help = "Examples:\n  \
    sidetrack set experiment.yaml candidate=20\n  \
    sidetrack set experiment.yaml candidate=0        # all users get the baseline\n  \
    sidetrack set experiment.yaml a=10 b=12.5 --experiment checkout --dry-run")]
pub(crate) struct Args {
    /// The experiment file
    file: PathBuf,
    /// New weights in percent
    #[arg(value_name = "VARIANT=WEIGHT", required = true)]
    weights: Vec<Weight>,
    /// Accept that units move from one candidate to another
    #[arg(long)]
    allow_swap: bool,
    #[command(flatten)]
    form: Form,
}

/// What the commands that edit a file have in common.
#[derive(Arguments)]
pub(crate) struct Form {
    /// The experiment; required if the file has several
    #[arg(long, value_name = "NAME")]
    pub(crate) experiment: Option<String>,
    /// Show what would change, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(crate) moment: Moment,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Form {
    /// Nothing is written, or machines read the result.
    pub(crate) const fn is_quiet(&self) -> bool {
        self.dry_run || self.json
    }
}

/// `VARIANT=WEIGHT`.
#[derive(Clone, Debug)]
struct Weight {
    variant: String,
    weight: Ppm,
}

impl FromStr for Weight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (variant, weight) =
            text.split_once('=').ok_or("expected VARIANT=WEIGHT, such as candidate=20")?;
        let number = weight.strip_suffix('%').unwrap_or(weight).trim();
        let weight = number.parse().map_err(|error| {
            format!("the weight is {error}; expected percent, such as 20 or 0.5")
        })?;
        Ok(Self { variant: variant.to_owned(), weight })
    }
}

/// The result for machines.
#[derive(Serialize)]
struct Answer<'a> {
    file: String,
    experiment: &'a str,
    /// Whether the file was changed.
    written: bool,
    hash: String,
    plan: Report,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let source = read(&args.file)?;
    let old = source.good()?;
    let experiment = chosen(&old.plan, args.form.experiment.as_deref())?;
    let edited = edited(&source, &old, experiment, &args.weights)?;
    let report = plan::compare(&old.plan, &edited.loaded.plan, args.form.moment.get());
    if report.has_swap() && !args.allow_swap {
        if !args.form.json {
            plan::write_report(&report, out)?;
        }
        out.finish()?;
        return Err(Fault(
            "units would move from one candidate to another, and their outcomes would count for both; nothing was \
             written\n  hint: give candidates a `reserve` before the test begins, or accept it with --allow-swap"
                .to_owned(),
        )
        .into());
    }
    finish(&args.file, &source, &experiment.name, &edited, report, &args.form, out)?;
    Ok(ExitStatus::Success)
}

/// Reads a file that is to be edited.
pub(crate) fn read(path: &std::path::Path) -> anyhow::Result<Source> {
    anyhow::ensure!(
        path.as_os_str() != "-",
        "the file is edited in place, so it cannot be stdin; pass the path of a file"
    );
    Source::read(path)
}

fn edited(
    source: &Source,
    old: &Loaded,
    experiment: &Experiment,
    weights: &[Weight],
) -> anyhow::Result<Edited> {
    let name = &experiment.name;
    refuse_schedules(old, experiment, weights)?;
    let at = place(&old.plan, name);
    let mut draft = Draft::new(source, old)?;
    for Weight { variant: wanted, weight } in weights {
        let candidates: Vec<&str> =
            experiment.candidates().map(|id| variant(experiment, id)).collect();
        let expected = candidates.join(", ");
        let wanted_text = crate::words::visible(wanted);
        let id = experiment.variant(wanted.as_bytes()).ok_or_else(|| {
            Fault(format!("unknown variant \"{wanted_text}\"; expected one of: {expected}"))
        })?;
        anyhow::ensure!(
            id != experiment.baseline,
            Fault(format!(
                "{wanted} is the baseline, which gets what the candidates leave\n  \
                 hint: set the weights of the candidates: {expected}"
            ))
        );
        let path = format!("experiments[{at}].variants[{}]", id.index());
        draft.set(&path, "weight", &Node::Number(weight.to_string()), "name");
    }
    draft.finish()
}

/// Refuses files whose weights are not the user's to set. A candidate with steps can be stopped: `advance` then holds.
fn refuse_schedules(
    old: &Loaded,
    experiment: &Experiment,
    weights: &[Weight],
) -> anyhow::Result<()> {
    let name = &experiment.name;
    let is_fixed = matches!(experiment.schedule, Schedule::Fixed(_));
    anyhow::ensure!(
        is_fixed,
        Fault(format!(
            "{name} has a rollout: its weights belong to the clock\n  \
             hint: edit the phases, or replace the rollout by weights"
        ))
    );
    let has_steps = analysis(old, name).is_some_and(|plan| !plan.steps.is_empty());
    let is_stop = weights.iter().all(|weight| weight.weight.get() == 0);
    anyhow::ensure!(
        !has_steps || is_stop,
        Fault(format!(
            "{name} has analysis.steps: its weights belong to `sidetrack advance`\n  \
             hint: run `sidetrack advance`, or edit the steps; a weight of 0 stops a candidate at once"
        ))
    );
    Ok(())
}

/// The analysis plan of an experiment.
pub(crate) fn analysis<'l>(loaded: &'l Loaded, name: &str) -> Option<&'l AnalysisPlan> {
    loaded.analyses.get(place(&loaded.plan, name))?.as_ref()
}

/// The index of an experiment in the file.
pub(crate) fn place(plan: &Plan, name: &str) -> usize {
    plan.experiments.iter().position(|other| other.name == name).unwrap_or_default()
}

/// Writes the file, and says what changes.
pub(crate) fn finish(
    path: &std::path::Path,
    source: &Source,
    experiment: &str,
    edited: &Edited,
    report: Report,
    form: &Form,
    out: &mut Out,
) -> anyhow::Result<()> {
    let name = path.display().to_string();
    let is_changed = edited.text.as_bytes() != source.bytes();
    if !form.dry_run && is_changed {
        // A link stays a link.
        let path = path.canonicalize().with_context(|| format!("cannot write {name}"))?;
        atomic::write(&path, edited.text.as_bytes())
            .with_context(|| format!("cannot write {name}"))?;
    }
    let hash = edited.loaded.plan.hash;
    if form.json {
        let (written, hash) = (!form.dry_run && is_changed, hash.to_string());
        return out.json(&Answer { file: name, experiment, written, hash, plan: report });
    }
    plan::write_report(&report, out)?;
    let ink = out.ink();
    if !is_changed {
        writeln!(out, "{} {name} is unchanged, hash {}", ink.good("✓"), hash.short())?;
    } else if form.dry_run {
        let text = "this is a dry run, nothing was written; without --dry-run, the file changes";
        writeln!(out, "{}", wrap::note("", text, ink))?;
    } else {
        writeln!(out, "{} {name} is written, hash {}", ink.good("✓"), hash.short())?;
    }
    Ok(())
}
