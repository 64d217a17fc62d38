//! `sidetrack plan`: the units that a change of the file moves, before it is applied.

mod moves;
mod report;

use std::path::PathBuf;

use clap::Args as Arguments;
use serde::Serialize;
use sidetrack::plan::{Experiment, Plan};
use sidetrack::quantity::Timestamp;

use crate::exit::ExitStatus;
use crate::load::load;
use crate::moment::Moment;
use crate::out::Out;
use moves::{Move, Stay, moves};
use sidetrack::roster::{Place, Roster};

/// Compare two versions of a file: which units move
///
/// The shares are exact, computed from the ranges of buckets of both versions. Experiments are matched
/// by name. A swap is a unit that moves from one candidate to another. Swaps invalidate the comparison,
/// because the outcomes of such a unit belong to both candidates. Breakers are live state of a proxy
/// and are not considered.
#[derive(Arguments)]
#[command(
    after_help = "Example:\n  sidetrack plan <(git show HEAD:experiment.yaml) experiment.yaml --fail-on-swap"
)]
pub(crate) struct Args {
    /// The current file
    old: PathBuf,
    /// The new file
    new: PathBuf,
    #[command(flatten)]
    form: Form,
}

/// When to compare, and what to print.
#[derive(Arguments)]
pub(crate) struct Form {
    #[command(flatten)]
    moment: Moment,
    /// Exit 1 if any unit moves between two candidates
    #[arg(long)]
    fail_on_swap: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    anyhow::ensure!(
        args.old.as_os_str() != "-" || args.new.as_os_str() != "-",
        "only one of the two files can be stdin"
    );
    let (old, new) = (load(&args.old)?.plan, load(&args.new)?.plan);
    report(&old, &new, &args.form, out)
}

impl Form {
    /// Whether machines read the output.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }
}

/// Reports the units that move when `new` replaces `old`, in the form that was asked for.
pub(crate) fn report(
    old: &Plan,
    new: &Plan,
    form: &Form,
    out: &mut Out,
) -> anyhow::Result<ExitStatus> {
    let report = compare(old, new, form.moment.get());
    if form.json {
        out.json(&report)?;
    } else {
        report::write_text(&report, out)?;
    }
    Ok(if form.fail_on_swap && report.swap { ExitStatus::Problems } else { ExitStatus::Success })
}

/// Reports the units that move when `new` replaces `old`.
pub(crate) fn write_text(
    old: &Plan,
    new: &Plan,
    now: Timestamp,
    out: &mut Out,
) -> anyhow::Result<()> {
    report::write_text(&compare(old, new, now), out)
}

/// The moves in one line: `old → new 10 %`, and what else the change means. Empty if nothing moves.
pub(crate) fn in_words(old: &Plan, new: &Plan, now: Timestamp) -> String {
    let mut parts = Vec::new();
    for experiment in compare(old, new, now).experiments {
        let several = old.experiments.len() + new.experiments.len() > 2;
        let of = if several { format!("{}: ", experiment.name) } else { String::new() };
        let place = |name: &Option<String>| name.clone().unwrap_or_else(|| "(none)".to_owned());
        let moves = experiment.moves.iter();
        parts.extend(moves.map(|step| {
            format!("{of}{} → {} {} %", place(&step.from), place(&step.to), step.percent)
        }));
        parts.extend(experiment.notes.iter().map(|note| format!("{of}{note}")));
    }
    parts.join("; ")
}

/// The units that move, by experiment.
#[derive(Serialize)]
pub(crate) struct Report {
    at: String,
    /// Whether any unit moves between two candidates.
    swap: bool,
    experiments: Vec<Compared>,
}

#[derive(Serialize)]
struct Compared {
    name: String,
    change: Change,
    swap: bool,
    moves: Vec<Move>,
    stays: Vec<Stay>,
    /// Units that a change of overrides.units moves, independent of their bucket.
    units: Vec<Listed>,
    notes: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Change {
    Kept,
    Added,
    Removed,
}

#[derive(Serialize)]
struct Listed {
    unit: String,
    from: Option<String>,
    to: Option<String>,
    swap: bool,
}

impl Report {
    /// Whether any unit moves between two candidates.
    pub(crate) const fn has_swap(&self) -> bool {
        self.swap
    }
}

/// Writes the report as text.
pub(crate) fn write_report(report: &Report, out: &mut Out) -> anyhow::Result<()> {
    report::write_text(report, out)
}

/// Compares two versions of a file at a moment.
pub(crate) fn compare(old: &Plan, new: &Plan, now: Timestamp) -> Report {
    let mut experiments = Vec::new();
    for experiment in &old.experiments {
        let twin = new.experiments.iter().find(|other| other.name == experiment.name);
        experiments.push(compared(Some(experiment), twin, now));
    }
    for experiment in &new.experiments {
        if !old.experiments.iter().any(|other| other.name == experiment.name) {
            experiments.push(compared(None, Some(experiment), now));
        }
    }
    let swap = experiments.iter().any(|experiment| experiment.swap);
    Report { at: now.to_string(), swap, experiments }
}

fn compared(old: Option<&Experiment>, new: Option<&Experiment>, now: Timestamp) -> Compared {
    let name = old.or(new).map_or_else(String::new, |experiment| experiment.name.clone());
    let change = match (old, new) {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        _ => Change::Kept,
    };
    let (moves, stays) = moves(old, new, now);
    let (units, notes) = match (old, new) {
        (Some(old), Some(new)) => (listed(old, new, now), notes(old, new)),
        _ => (Vec::new(), Vec::new()),
    };
    let swap = moves.iter().any(|step| step.swap) || units.iter().any(|unit| unit.swap);
    Compared { name, change, swap, moves, stays, units, notes }
}

/// Units in overrides.units of either version that move.
fn listed(old: &Experiment, new: &Experiment, now: Timestamp) -> Vec<Listed> {
    let mut units: Vec<&str> = old
        .overrides
        .units
        .iter()
        .chain(&new.overrides.units)
        .map(|(unit, _)| unit.as_str())
        .collect();
    units.sort_unstable();
    units.dedup();
    let get = |experiment: &Experiment, unit: &str| match Roster::new(experiment, now)
        .place(unit.as_bytes())
    {
        Place::Variant(variant, _) => {
            let name = crate::words::variant(experiment, variant).to_owned();
            Some((name, variant != experiment.baseline))
        }
        Place::Excluded => None,
    };
    let step = |unit: &str| {
        let (from, to) = (get(old, unit), get(new, unit));
        let name = |place: &Option<(String, bool)>| place.as_ref().map(|(name, _)| name.clone());
        let candidate = |place: &Option<(String, bool)>| {
            place.as_ref().is_some_and(|(_, candidate)| *candidate)
        };
        let (swap, from, to) = (candidate(&from) && candidate(&to), name(&from), name(&to));
        (from != to).then(|| Listed { unit: unit.to_owned(), from, to, swap })
    };
    units.into_iter().filter_map(step).collect()
}

/// Changes that are not visible in the shares.
fn notes(old: &Experiment, new: &Experiment) -> Vec<String> {
    let mut notes = Vec::new();
    if old.salt != new.salt && !(moves::is_random(old) && moves::is_random(new)) {
        notes.push(format!(
            "the salt changes from \"{}\" to \"{}\": all units are drawn again, so the shares are those of two \
             independent draws",
            crate::words::visible(&old.salt),
            crate::words::visible(&new.salt)
        ));
    }
    let layer = |experiment: &Experiment| experiment.layer.as_ref().map(|layer| layer.name.clone());
    if let (Some(before), Some(after)) = (layer(old), layer(new))
        && before != after
    {
        notes
            .push(format!("the layer changes from {before} to {after}: all slots are drawn again"));
    }
    if old.assignment != new.assignment {
        let (before, after) = (old.assignment.as_str(), new.assignment.as_str());
        notes.push(format!(
            "the assignment changes from {before} to {after}: all units are drawn again"
        ));
    } else if moves::is_random(new) {
        notes.push(
            "each request is drawn separately: no unit keeps a variant, so only the shares change"
                .to_owned(),
        );
    }
    if old.units != new.units {
        notes.push(
            "the unit sources change: the moves are those of units that keep their value; other units are drawn \
             again"
                .to_owned(),
        );
    }
    if old.conditions != new.conditions {
        notes.push(
            "the conditions change: the moves are those of requests that match both".to_owned(),
        );
    }
    if old.enabled != new.enabled {
        notes.push(
            if new.enabled {
                "the experiment is enabled"
            } else {
                "the experiment is disabled: all units get the baseline"
            }
            .to_owned(),
        );
    }
    notes
}
