//! `sidetrack promote`: the winner becomes the baseline, in the file itself.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args as Arguments;
use sidetrack::config::Node;
use sidetrack::plan::{Experiment, VariantId};
use sidetrack::quantity::Timestamp;
use sidetrack::rollout::Schedule;

use crate::edit::{Draft, Edited};
use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::load::{Loaded, Source, chosen};
use crate::moment::Moment;
use crate::out::Out;
use crate::plan;
use crate::set::{self, Form};
use crate::words::{variant, visible};
use crate::wrap::wrapped;

/// Make a variant the baseline
///
/// The variant becomes the baseline, and the old baseline becomes a candidate with weight 0. The experiment gets a new
/// salt, because the next test is a new trial. Comments and all other text are kept; the comment behind the weight moves
/// with it. If the file has `analysis.steps`, they become a comment: they belong to the test that ended. The command
/// shows which units move.
#[derive(Arguments)]
#[command(after_help = "Examples:\n  \
    sidetrack promote experiment.yaml candidate --dry-run\n  \
    sidetrack promote experiment.yaml candidate --salt checkout-2")]
pub(crate) struct Args {
    /// The experiment file
    file: PathBuf,
    /// The variant that becomes the baseline
    variant: String,
    /// The new salt [default: the experiment's name and the date]
    #[arg(long, value_name = "TEXT")]
    salt: Option<String>,
    #[command(flatten)]
    form: Form,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let source = set::read(&args.file)?;
    let old = source.good()?;
    let experiment = chosen(&old.plan, args.form.experiment.as_deref())?;
    let now = Moment::get(args.form.moment);
    let winner = winner(experiment, &args.variant)?;
    let edited = promoted(&source, &old, experiment, winner, args.salt.as_deref(), now)?;
    let report = plan::compare(&old.plan, &edited.loaded.plan, now);
    set::finish(&args.file, &source, &experiment.name, &edited, report, &args.form, out)?;
    if !args.form.is_quiet() {
        let (new, old) = (variant(experiment, winner), variant(experiment, experiment.baseline));
        let text = format!(
            "{new} is the baseline now, and {old} a candidate with weight 0. To go back: sidetrack promote {} {old}",
            args.file.display()
        );
        writeln!(out, "{}", wrapped("", &text))?;
    }
    Ok(ExitStatus::Success)
}

fn winner(experiment: &Experiment, name: &str) -> anyhow::Result<VariantId> {
    let id = experiment.variant(name.as_bytes()).ok_or_else(|| {
        let candidates: Vec<&str> =
            experiment.candidates().map(|id| variant(experiment, id)).collect();
        Fault(format!(
            "unknown variant \"{}\"; expected one of: {}",
            visible(name),
            candidates.join(", ")
        ))
    })?;
    anyhow::ensure!(
        id != experiment.baseline,
        Fault(format!("{name} is the baseline already; nothing was written"))
    );
    Ok(id)
}

/// The file in which a candidate is the baseline.
///
/// # Errors
///
/// A [`Fault`] if the weights belong to a rollout, or the file cannot be edited in place.
pub(crate) fn promoted(
    source: &Source,
    old: &Loaded,
    experiment: &Experiment,
    winner: VariantId,
    salt: Option<&str>,
    now: Timestamp,
) -> anyhow::Result<Edited> {
    let name = &experiment.name;
    anyhow::ensure!(
        matches!(experiment.schedule, Schedule::Fixed(_)),
        Fault(format!(
            "{name} has a rollout: its weights belong to the clock\n  \
             hint: replace the rollout by weights, then promote"
        ))
    );
    let salt = match salt {
        Some(salt) if salt == experiment.salt => {
            anyhow::bail!(Fault(format!("--salt is {}, which is the salt now", visible(salt))))
        }
        Some(salt) => salt.to_owned(),
        None => next_salt(experiment, now),
    };
    let path = format!("experiments[{}]", set::place(&old.plan, name));
    let of = |id: VariantId| format!("{path}.variants[{}]", id.index());
    let mut draft = Draft::new(source, old)?;
    draft.set(&path, "salt", &Node::Text(salt), "name");
    draft.set(&path, "baseline", &Node::Text(variant(experiment, winner).to_owned()), "name");
    let (winner_at, old_at) = (of(winner), of(experiment.baseline));
    draft.shift("weight", &winner_at, &old_at, &Node::Number("0".to_owned()), "name");
    draft.remove(&winner_at, "reserve");
    if set::analysis(old, name).is_some_and(|plan| !plan.steps.is_empty()) {
        let why = format!("Of the test that promoted {}:", variant(experiment, winner));
        draft.comment_out(&format!("{path}.analysis"), "steps", &why);
    }
    draft.finish()
}

/// The name and the date, with a number if the salt of today's last test has them already.
fn next_salt(experiment: &Experiment, now: Timestamp) -> String {
    let now = now.to_string();
    let date = now.split('T').next().unwrap_or_default();
    let salt = format!("{}-{date}", experiment.name);
    match experiment.salt.strip_prefix(&salt) {
        Some("") => format!("{salt}-2"),
        Some(rest) => match rest.strip_prefix('-').and_then(|number| number.parse::<u32>().ok()) {
            Some(number) => format!("{salt}-{}", number.saturating_add(1)),
            None => salt,
        },
        None => salt,
    }
}
