//! `mlflow promote`: the winner becomes the champion.
//!
//! Only on a decision, and only if the registry still has the versions that the experiment tested: a
//! champion that has changed in the meantime was never compared with the winner. MLflow has no
//! compare-and-swap, so the champion is read again immediately before the alias is moved, and once
//! afterwards.
//!
//! The alias is moved before any tag is set. After an interruption, the same command continues.

mod step;

use std::io::Write;
use std::path::PathBuf;

use sidetrack_analysis::Analysis;
use sidetrack_analysis::answer::Decision;

use super::analysis;
use super::client::{Client, Server};
use super::plan::pair;
use super::registry::Registry;
use super::tracking::DIGEST;
use super::{CANDIDATE, CHAMPION, FORCE_REASON, PREVIOUS, RESULT, RUN_ID, names};
use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::out::Out;
use crate::words::visible;
use crate::wrap;
pub(super) use step::Step;

/// Make the winner of an analysis the champion
///
/// Moves the alias champion to the winner, sets the alias previous_champion on the former champion, sets
/// the tags ab_test.result and ab_test.run_id of the tested versions, and removes their tag
/// ab_test_candidate. Without --yes, it prints these changes and exits with 0. It fails with exit code 1
/// unless the decision is promote and the champion is still the baseline of the experiment.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  sidetrack mlflow promote --model digits --analysis analysis.json --yes\n\n\
                        To roll back, move the alias champion to the version with the alias\nprevious_champion."
)]
pub(crate) struct Args {
    /// The registered model
    #[arg(long, value_name = "NAME")]
    model: String,
    /// The output of `sidetrack analyze run … --json`
    #[arg(long, value_name = "FILE")]
    analysis: PathBuf,
    /// Make the changes
    #[arg(long)]
    yes: bool,
    /// Promote despite another decision; the reason is stored in the tag ab_test.force_reason
    #[arg(long, value_name = "TEXT")]
    force_reason: Option<String>,
    /// With --force-reason, the variant to promote; required if the analysis has no winner and several
    /// candidates
    #[arg(long, value_name = "VARIANT", requires = "force_reason")]
    winner: Option<String>,
    /// The version of a variant that `mlflow plan` did not name; may be repeated
    #[arg(long, value_name = "NAME=VERSION", value_parser = pair)]
    variant: Vec<(String, String)>,
    /// The MLflow experiment with the run that `mlflow log` wrote [default: the experiment's name]
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    #[command(flatten)]
    server: Server,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let read = analysis::read(&args.analysis)?;
    let analysis = &read.analysis;
    let winner = winner(args, analysis)?;
    let tested = Tested::new(args, analysis, winner)?;

    let client = Client::new(&args.server)?;
    let registry = Registry::new(&client, &args.model);
    let state = state(&registry, &tested)?;
    let folder = client.folder(args.experiment.as_ref().unwrap_or(&analysis.experiment))?;
    let run = match &folder {
        Some(folder) => {
            client.run_with(folder, DIGEST, &read.digest)?.filter(super::tracking::Run::finished)
        }
        None => None,
    };
    let run = run.as_ref().map(|run| run.info.run_id.as_str());
    let decided =
        analysis.decision == Decision::Promote && analysis.winner.as_deref() == Some(winner);
    let forced = args.force_reason.as_deref().filter(|_| !decided);
    let steps = steps(&tested, state, run, forced);

    let ink = out.ink();
    let model = visible(&args.model);
    let to = if state == State::Moved {
        "is already the champion; remaining changes:"
    } else {
        "becomes the champion:"
    };
    writeln!(out, "{} version {} ({}) {to}", ink.bold(&model), tested.winner.1, tested.winner.0)?;
    for step in &steps {
        writeln!(out, "  {step}")?;
    }
    if let Some(reason) = forced {
        let decision = analysis.decision.as_str();
        let text = format!("the decision is {decision}; promoted because: {}", visible(reason));
        writeln!(out, "{}", wrap::note("", &text, ink))?;
    }
    if run.is_none() {
        let text = format!("this analysis is not logged, so {RUN_ID} is not set; see mlflow log");
        writeln!(out, "{}", wrap::note("", &text, ink))?;
    }
    if !args.yes {
        writeln!(out, "{}", ink.dim("nothing was changed; use --yes to make these changes"))?;
        return Ok(ExitStatus::Success);
    }
    take(&registry, &tested, &steps)?;
    writeln!(out, "{} version {} is the champion of {model}", ink.good("✓"), tested.winner.1)?;
    Ok(ExitStatus::Success)
}

/// Makes the changes.
///
/// # Errors
///
/// The champion is no longer the version that was tested, before or after the changes.
pub(super) fn take(registry: &Registry<'_>, tested: &Tested, steps: &[Step]) -> anyhow::Result<()> {
    for step in steps {
        // As late as possible.
        if step.moves_champion() {
            state(registry, tested)?;
        }
        step.take(registry)?;
    }
    let now = registry.champion()?.version;
    anyhow::ensure!(
        now == tested.winner.1,
        "{}: version {} became the champion, but now version {} is: another client moved the alias at the \
         same time\n  hint: check the registry; nothing was rolled back",
        visible(registry.model),
        tested.winner.1,
        visible(&now)
    );
    Ok(())
}

/// The variant to promote: the winner of the analysis, or the variant of --winner.
fn winner<'a>(args: &'a Args, analysis: &'a Analysis) -> anyhow::Result<&'a str> {
    let mut candidates = analysis.candidates();
    let only = || candidates.next().filter(|_| candidates.next().is_none());
    let decided = analysis.winner.as_deref();
    let named = match &args.force_reason {
        Some(reason) if reason.trim().is_empty() => {
            return Err(Fault(
                "--force-reason is empty, but must be the reason for the promotion".to_owned(),
            )
            .into());
        }
        Some(_) => args.winner.as_deref().or(decided).or_else(only),
        None if analysis.decision == Decision::Promote => decided,
        None => {
            let reasons: Vec<String> = analysis
                .reasons
                .iter()
                .map(|reason| format!("\n  - {}", visible(&reason.to_string())))
                .collect();
            let text = format!(
                "the decision is {}, but must be promote{}\n  \
                 hint: nothing was changed; --force-reason promotes anyway and stores the reason",
                analysis.decision.as_str(),
                reasons.concat()
            );
            return Err(Fault(text).into());
        }
    };
    let known = named.filter(|named| analysis.candidates().any(|candidate| candidate == *named));
    known.ok_or_else(|| {
        let names: Vec<String> = analysis.candidates().map(visible).collect();
        let names = names.join(", ");
        Fault(match named {
            Some(named) => format!(
                "--winner: unknown candidate \"{}\"; expected one of: {names}",
                visible(named)
            ),
            None => format!(
                "the analysis has no winner and several candidates: {names}\n  \
                 hint: choose one with --winner"
            ),
        })
        .into()
    })
}

/// The versions that were tested: variant and version.
pub(super) struct Tested {
    baseline: (String, String),
    winner: (String, String),
    losers: Vec<(String, String)>,
    /// Whether --variant gave the version of the winner.
    by_hand: bool,
}

impl Tested {
    /// One candidate that won against the baseline: two versions.
    pub(super) fn pair(model: &str, baseline: &str, winner: &str) -> Self {
        let named = |version: &str| (names::variant(model, version), version.to_owned());
        Self {
            baseline: named(baseline),
            winner: named(winner),
            losers: Vec::new(),
            by_hand: false,
        }
    }

    fn new(args: &Args, analysis: &Analysis, winner: &str) -> anyhow::Result<Self> {
        let given = |name: &str| args.variant.iter().find(|(variant, _)| variant == name);
        let version = |name: &str| -> anyhow::Result<(String, String)> {
            let version = given(name).map(|(_, version)| version.clone());
            let version = version.or_else(|| names::version(&args.model, name)).ok_or_else(|| {
                Fault(format!(
                    "variant {name}: the version of {} is unknown, because the name has not the form {}\n  \
                     hint: use --variant {name}=VERSION",
                    visible(&args.model),
                    names::variant(&args.model, "3"),
                    name = visible(name),
                ))
            })?;
            Ok((visible(name), version))
        };
        let baseline = analysis
            .baseline()
            .ok_or_else(|| Fault("the analysis names no baseline".to_owned()))?;
        let losers = analysis.candidates().filter(|name| *name != winner).map(version);
        let tested = Self {
            baseline: version(baseline)?,
            winner: version(winner)?,
            losers: losers.collect::<Result<_, _>>()?,
            by_hand: given(winner).is_some(),
        };
        let others = std::iter::once(&tested.baseline).chain(&tested.losers);
        if let Some((name, number)) =
            others.into_iter().find(|(_, number)| *number == tested.winner.1)
        {
            let text = format!(
                "variants {name} and {} are both version {number}, but must be different versions",
                tested.winner.0
            );
            return Err(Fault(text).into());
        }
        Ok(tested)
    }
}

/// The state of the registry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The champion is what the experiment tested.
    Tested,
    /// This command has already made the winner the champion.
    Moved,
}

/// Rejects a registry that has changed since the test.
pub(super) fn state(registry: &Registry<'_>, tested: &Tested) -> anyhow::Result<State> {
    let (model, champion) = (visible(registry.model), registry.champion()?.version);
    let (baseline, (name, number)) = (&tested.baseline, &tested.winner);
    let refuse = |text: String| Err(Fault(format!("{model}: {text}")).into());
    if champion == *number {
        let previous = registry.aliased(PREVIOUS)?.map(|version| version.version);
        if previous.as_ref() == Some(&baseline.1) {
            return Ok(State::Moved);
        }
    }
    if champion != baseline.1 {
        return refuse(format!(
            "the champion is version {}, but must be version {} ({}), the baseline of the experiment\n  \
             hint: nothing was changed; test the winner against the new champion with `sidetrack mlflow plan`",
            visible(&champion),
            baseline.1,
            baseline.0
        ));
    }
    let Some(winner) = registry.version(number)? else {
        return refuse(format!(
            "version {number} ({name}) does not exist anymore\n  hint: nothing was changed"
        ));
    };
    winner.ready(registry.model)?;
    if !tested.by_hand && !winner.is_candidate() {
        return refuse(format!(
            "version {number} ({name}) is not a candidate anymore: the tag {CANDIDATE} is {}, but must be true\n  \
             hint: nothing was changed; find out why it was withdrawn, or use --variant {name}={number}",
            winner.tag(CANDIDATE).map_or_else(|| "missing".to_owned(), visible)
        ));
    }
    Ok(State::Tested)
}

/// All changes, in order.
pub(super) fn steps(
    tested: &Tested,
    state: State,
    run: Option<&str>,
    forced: Option<&str>,
) -> Vec<Step> {
    let (baseline, winner) = (&tested.baseline.1, &tested.winner.1);
    let mut steps = Vec::new();
    if state == State::Tested {
        steps.push(Step::alias(PREVIOUS, baseline));
        steps.push(Step::alias(CHAMPION, winner));
    }
    let losers = tested.losers.iter().map(|(_, version)| (version, "not_promoted"));
    for (version, result) in
        [(winner, "promoted"), (baseline, "replaced")].into_iter().chain(losers)
    {
        steps.push(Step::tag(version, RESULT, result));
        steps.extend(run.map(|run| Step::tag(version, RUN_ID, run)));
    }
    steps.extend(forced.map(|reason| Step::tag(winner, FORCE_REASON, reason)));
    // The test is over for all candidates.
    for version in std::iter::once(winner).chain(tested.losers.iter().map(|(_, version)| version)) {
        steps.push(Step::untag(version, CANDIDATE));
    }
    steps
}
