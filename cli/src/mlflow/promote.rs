//! `mlflow promote`: the winner becomes the champion.
//!
//! Only on a decision, and only when what the experiment tested is still what the registry holds: a champion that somebody
//! else moved in the meantime was never compared with the winner. MLflow has no compare-and-swap, so the champion is read
//! again right before it is moved and once more afterwards.
//!
//! The alias moves before any tag says so. Cut short anywhere, the same command goes on where it was.

mod step;

use std::io::Write;
use std::path::PathBuf;

use sidetrack_analysis::Analysis;
use sidetrack_analysis::answer::Decision;

use super::analysis;
use super::client::{Client, Server};
use super::plan::pair;
use super::registry::Registry;
use super::{CANDIDATE, CHAMPION, FORCE_REASON, PREVIOUS, RESULT, RUN_ID, names};
use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::out::Out;
use crate::words::visible;
use step::Step;

/// Make the winner of an analysis the champion
///
/// Moves the alias champion to the winner, keeps the former one as previous_champion, writes ab_test.result and ab_test.run_id
/// to the versions that were tested, and removes their tag ab_test_candidate. Without --yes it shows what it would do, and
/// exits with 0. It refuses, with exit code 1, unless the analysis says promote and the champion is still the baseline of the
/// experiment.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  sidetrack mlflow promote --model digits --analysis analysis.json --yes\n\n\
                        To go back, give the alias champion to the version with the alias previous_champion."
)]
pub(crate) struct Args {
    /// The registered model
    #[arg(long, value_name = "NAME")]
    model: String,
    /// What `sidetrack analyze run … --json` wrote
    #[arg(long, value_name = "FILE")]
    analysis: PathBuf,
    /// Do it
    #[arg(long)]
    yes: bool,
    /// Promote although the analysis does not say so; the reason is kept in the tag ab_test.force_reason
    #[arg(long, value_name = "TEXT")]
    force_reason: Option<String>,
    /// With --force-reason, the variant to promote, where the analysis names none and there are several
    #[arg(long, value_name = "VARIANT", requires = "force_reason")]
    winner: Option<String>,
    /// Which version a variant is, where `mlflow plan` did not name it; may be repeated
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
        Some(folder) => client.run_of(folder, &read.digest)?.filter(super::tracking::Run::finished),
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
        "is the champion already; what is left to do:"
    } else {
        "becomes the champion:"
    };
    writeln!(out, "{} version {} ({}) {to}", ink.bold(&model), tested.winner.1, tested.winner.0)?;
    for step in &steps {
        writeln!(out, "  {step}")?;
    }
    if let Some(reason) = forced {
        let decision = analysis.decision.as_str();
        writeln!(
            out,
            "{} the analysis says {decision}, not this; forced: {}",
            ink.note("note:"),
            visible(reason)
        )?;
    }
    if run.is_none() {
        writeln!(
            out,
            "{} no run of this analysis is logged, so {RUN_ID} is not set; see mlflow log",
            ink.note("note:")
        )?;
    }
    if !args.yes {
        writeln!(out, "{}", ink.dim("nothing was changed; --yes does it"))?;
        return Ok(ExitStatus::Success);
    }
    for step in &steps {
        // As late as can be.
        if step.moves_champion() {
            self::state(&registry, &tested)?;
        }
        step.take(&registry)?;
    }
    let now = registry.champion()?.version;
    anyhow::ensure!(
        now == tested.winner.1,
        "{model}: version {} was made the champion, and now it is version {}: somebody else moved the alias at the same \
         time\nhint: look at the registry; nothing was taken back",
        tested.winner.1,
        visible(&now)
    );
    writeln!(out, "{} version {now} is the champion of {model}", ink.good("✓"))?;
    Ok(ExitStatus::Success)
}

/// The variant that wins: the analysis's, or with a reason somebody's.
fn winner<'a>(args: &'a Args, analysis: &'a Analysis) -> anyhow::Result<&'a str> {
    let mut candidates = analysis.candidates();
    let only = || candidates.next().filter(|_| candidates.next().is_none());
    let decided = analysis.winner.as_deref();
    let named = match &args.force_reason {
        Some(reason) if reason.trim().is_empty() => {
            return Err(Fault(
                "--force-reason is empty; allowed: why it is right to promote".to_owned(),
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
                "the analysis says {}; allowed: promote{}\n\
                 hint: nothing was changed; --force-reason promotes all the same, and keeps the reason",
                analysis.decision.as_str(),
                reasons.concat()
            );
            return Err(Fault(text).into());
        }
    };
    let known = named.filter(|named| analysis.candidates().any(|candidate| candidate == *named));
    known.ok_or_else(|| {
        let found = named.map_or_else(|| "none".to_owned(), visible);
        let there: Vec<String> = analysis.candidates().map(visible).collect();
        let text = format!(
            "the winner: found {found}; allowed: a candidate of the analysis ({})\n\
             hint: with --force-reason, --winner names one",
            there.join(", ")
        );
        Fault(text).into()
    })
}

/// The versions that were tested: variant and version.
struct Tested {
    baseline: (String, String),
    winner: (String, String),
    losers: Vec<(String, String)>,
    /// Whether the winner's version was told by hand.
    by_hand: bool,
}

impl Tested {
    fn new(args: &Args, analysis: &Analysis, winner: &str) -> anyhow::Result<Self> {
        let told = |name: &str| args.variant.iter().find(|(variant, _)| variant == name);
        let version = |name: &str| -> anyhow::Result<(String, String)> {
            let version = told(name).map(|(_, version)| version.clone());
            let version = version.or_else(|| names::version(&args.model, name)).ok_or_else(|| {
                Fault(format!(
                    "variant {name}: which version of {} it is cannot be told; allowed: names as `mlflow plan` writes \
                     them, such as {}\nhint: --variant {name}=VERSION says it",
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
            by_hand: told(winner).is_some(),
        };
        let others = std::iter::once(&tested.baseline).chain(&tested.losers);
        if let Some((name, number)) =
            others.into_iter().find(|(_, number)| *number == tested.winner.1)
        {
            let text = format!(
                "variants {name} and {} are both version {number}; allowed: one each",
                tested.winner.0
            );
            return Err(Fault(text).into());
        }
        Ok(tested)
    }
}

/// How far the registry is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The champion is what the experiment tested.
    Tested,
    /// The winner is the champion already, by this command.
    Moved,
}

/// Refuses a registry that is not the one that was tested.
fn state(registry: &Registry<'_>, tested: &Tested) -> anyhow::Result<State> {
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
            "the champion is version {}, the experiment tested version {} ({}); allowed: the champion that was tested\n\
             hint: nothing was changed; test the winner against the new champion: sidetrack mlflow plan",
            visible(&champion),
            baseline.1,
            baseline.0
        ));
    }
    let Some(winner) = registry.version(number)? else {
        return refuse(format!(
            "there is no version {number} ({name}) any more\nhint: nothing was changed"
        ));
    };
    winner.ready(registry.model)?;
    if !tested.by_hand && !winner.is_candidate() {
        return refuse(format!(
            "version {number} ({name}) is no candidate any more: its tag {CANDIDATE} is {}; allowed: true\n\
             hint: nothing was changed; somebody withdrew it, ask why, or say --variant {name}={number}",
            winner.tag(CANDIDATE).map_or_else(|| "gone".to_owned(), visible)
        ));
    }
    Ok(State::Tested)
}

/// Everything that is to be done, in order.
fn steps(tested: &Tested, state: State, run: Option<&str>, forced: Option<&str>) -> Vec<Step> {
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
    // The winner serves now, and the others had their test.
    for version in std::iter::once(winner).chain(tested.losers.iter().map(|(_, version)| version)) {
        steps.push(Step::untag(version, CANDIDATE));
    }
    steps
}
