//! `sidetrack explain`: the variant of a request, with every step of the decision.
//!
//! The decision is made by the function that decides in the proxy, with a recorder of its steps. The
//! first line is the result; the steps follow.

mod advice;
mod answer;
mod body;
mod carries;
mod joined;
mod question;
mod steps;

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args as Arguments;
use clap::builder::TypedValueParser as _;
use serde::Serialize;
use sidetrack::decide::{Decision, Gate, Outcome, Step, World, decide};
use sidetrack::plan::{BreakerMode, Experiment, ExperimentId, Plan, VariantId};
use sidetrack::quantity::Timestamp;

use crate::load::{File, load};
use crate::moment::Moment;
use crate::out::Out;
use crate::words::{phase, variant};
use crate::wrap;
use question::{Breaker, Entropy, Header};

/// Explain which variant a request gets, and why
///
/// Describe the request as it would reach the proxy. The request contains only what the options set:
/// without --header, it has no headers. The first line of the output is the result, and the steps that
/// led to it follow.
#[derive(Arguments)]
#[command(after_help = "Examples:\n  \
    sidetrack explain experiment.yaml --path /v2/models/forecast/infer \\\n    \
    --header 'x-user-id: 4711'\n  \
    sidetrack explain experiment.yaml --header 'x-user-id: 4711' \\\n    \
    --breaker enhanced-predictor=open")]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    question: Question,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The request, and the circumstances under which it is decided.
#[derive(Arguments)]
pub(crate) struct Question {
    /// The request's method [default: POST]
    #[arg(long, value_name = "M")]
    method: Option<String>,
    /// The request's host [default: none]
    #[arg(long, value_name = "H")]
    host: Option<String>,
    /// The request's path, with the query [default: /]
    #[arg(long, value_name = "P")]
    path: Option<String>,
    /// A header; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE",
        value_parser = clap::builder::OsStringValueParser::new().try_map(question::header))]
    headers: Vec<Header>,
    /// A file with the request's body, for units and conditions in a body
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    #[command(flatten)]
    moment: Moment,
    /// The random number of a random draw, from 0 to below 1
    #[arg(long, value_name = "0..1", value_parser = question::entropy)]
    random: Option<Entropy>,
    /// The state of a candidate's breaker: open, half-open (the first stage, 5 %), half-open:25,
    /// half-open:25:3 (after trip 3; each recovery tries other units) or closed; may be repeated
    #[arg(long = "breaker", value_name = "VARIANT=STATE", value_parser = question::breaker)]
    breakers: Vec<Breaker>,
}

/// A request, its outcome, and the steps to it.
struct Case<'p> {
    asked: &'p Question,
    plan: &'p Plan,
    now: Timestamp,
    request: question::Asked,
    outcome: Outcome,
    steps: Vec<Step<'p>>,
    /// Whether the draw was random, so another request may be assigned differently.
    is_random: bool,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    let plan = load(&args.file.file)?.plan;
    explain(&args.question, &plan, args.json, out)
}

/// Answers the question for a plan, wherever its file came from.
pub(crate) fn explain(
    asked: &Question,
    plan: &Plan,
    json: bool,
    out: &mut Out,
) -> anyhow::Result<ExitCode> {
    question::known_breakers(&asked.breakers, plan)?;
    let now = asked.moment.get();
    let rolled = Cell::new(false);
    let mut steps = Vec::new();
    let request = question::request(asked, plan.settings.body_limit)?;
    let mut world = World {
        now,
        entropy: || match asked.random {
            Some(entropy) => entropy.0,
            None => {
                rolled.set(true);
                RandomState::new().build_hasher().finish()
            }
        },
        gate: &|experiment, variant| gate(asked, plan, experiment, variant),
    };
    let outcome = decide(plan, &request, &mut world, &mut steps);
    let case = Case { asked, plan, now, request, outcome, steps, is_random: rolled.get() };
    if json {
        out.json(&Json::of(&case))?;
    } else {
        write_text(&case, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the given breaker passes. A breaker that does not enforce passes all requests.
fn gate(asked: &Question, plan: &Plan, experiment: ExperimentId, variant: VariantId) -> Gate {
    let experiment = &plan.experiments[experiment];
    let name = &experiment.variants[variant].name;
    let given = asked.breakers.iter().rev().find(|breaker| breaker.variant == *name);
    given
        .filter(|_| experiment.breaker.mode == BreakerMode::Enforce)
        .map_or(Gate::Closed, |breaker| breaker.gate)
}

fn write_text(case: &Case<'_>, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    writeln!(out, "{}", ink.bold(answer::sentence(case)))?;
    for advice in advice::advice(case) {
        // Not wrapped: a reader copies the options.
        writeln!(out, "{} {advice}", ink.note("hint:"))?;
    }
    writeln!(out)?;
    steps::write_text(case, out)?;
    carries::write_text(case, out)?;
    if case.is_random {
        let text = "this used a random draw; another request may be assigned differently. Use --random to fix the draw";
        writeln!(out, "\n{}", wrap::note("", text, ink))?;
    }
    Ok(())
}

impl<'p> Case<'p> {
    fn experiment(&self, id: ExperimentId) -> &'p Experiment {
        &self.plan.experiments[id]
    }

    /// The decision and its experiment, when there is one.
    fn decided(&self) -> Option<(&'p Experiment, Decision)> {
        let Outcome::Decided(decision) = self.outcome else { return None };
        Some((self.experiment(decision.experiment), decision))
    }
}

/// The answer for machines: null where nothing applies.
#[derive(Default, Serialize)]
struct Json {
    experiment: Option<String>,
    assigned: Option<String>,
    served: Option<String>,
    reason: Option<&'static str>,
    bucket: Option<u32>,
    phase: Option<String>,
    unit_source: Option<String>,
    cluster: Option<String>,
    mirror: Option<String>,
}

impl Json {
    fn of(case: &Case<'_>) -> Self {
        if let Outcome::Skipped(..) = case.outcome {
            return Self { reason: Some("missing_unit"), ..Self::default() };
        }
        let Some((experiment, decision)) = case.decided() else { return Self::default() };
        let source = decision.unit_source.and_then(|source| experiment.units.get(source));
        let mirror = experiment.mirror.as_ref().filter(|_| decision.mirror);
        Self {
            experiment: Some(experiment.name.clone()),
            assigned: Some(variant(experiment, decision.assigned).to_owned()),
            served: Some(variant(experiment, decision.served).to_owned()),
            reason: Some(decision.reason.as_str()),
            bucket: decision.bucket.map(sidetrack::quantity::Bucket::get),
            phase: decision.phase.and_then(|index| phase(experiment, index)).map(ToOwned::to_owned),
            unit_source: source.map(ToString::to_string),
            cluster: experiment.variants[decision.served].cluster.clone(),
            mirror: mirror.map(|mirror| mirror.cluster.clone()),
        }
    }
}
