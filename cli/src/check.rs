//! `sidetrack check`: all problems of an experiment file, or a summary of a valid one.

mod headroom;
mod metrics;
mod steps;

use std::io::Write;

use clap::Args as Arguments;
use serde::Serialize;
use sidetrack::config::Problems;
use sidetrack::plan::{Assignment, Breaker, BreakerMode, Experiment, Notice, VariantId};
use sidetrack::quantity::{Ppm, Timestamp};

use crate::bars;
use crate::exit::ExitStatus;
use crate::load::{File, Loaded, Source, count};
use crate::moment::Moment;
use crate::out::Out;
use crate::words::{conditions, percent, phase_now, units, visible};
use crate::wrap::{self, wrapped};

/// Check an experiment file: print all problems, or a summary of the experiments
///
/// Each problem has its position, the value, the allowed values and a hint. docs/problems.md explains
/// the codes.
#[derive(Arguments)]
#[command(after_help = "Examples:\n  sidetrack check experiment.yaml\n  \
    kubectl get cm ab -o jsonpath='{.data.experiment}' | sidetrack check - --json")]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// Print JSON: {"ok", "hash", "problems", "notices"}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    moment: Moment,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let source = Source::read(&args.file.file)?;
    let checked = source.parse();
    if args.json {
        out.json(&Report::of(&checked))?;
    } else {
        print(&source, &checked, args.moment.get(), out)?;
    }
    Ok(if checked.is_ok() { ExitStatus::Success } else { ExitStatus::Problems })
}

/// Writes the problems, or the summary.
pub(crate) fn print(
    source: &Source,
    checked: &Result<Loaded, Problems>,
    now: Timestamp,
    out: &mut Out,
) -> anyhow::Result<()> {
    match checked {
        Ok(loaded) => summary(loaded, &source.name, now, out),
        Err(problems) => list(problems, source, out),
    }
}

/// The result for machines.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) ok: bool,
    hash: Option<String>,
    problems: Vec<JsonProblem>,
    notices: Vec<JsonNotice>,
}

#[derive(Serialize)]
struct JsonProblem {
    path: String,
    code: &'static str,
    message: String,
    hint: String,
}

#[derive(Serialize)]
struct JsonNotice {
    path: String,
    message: String,
}

impl Report {
    pub(crate) fn of(checked: &Result<Loaded, Problems>) -> Self {
        let problems = checked.as_ref().err().into_iter().flat_map(|problems| &problems.0);
        let notices = checked.as_ref().ok().into_iter().flat_map(notices);
        Self {
            ok: checked.is_ok(),
            hash: checked.as_ref().ok().map(|loaded| loaded.plan.hash.to_string()),
            problems: problems
                .map(|problem| JsonProblem {
                    path: problem.path.clone(),
                    code: problem.code.as_str(),
                    message: problem.message.clone(),
                    hint: problem.hint.clone(),
                })
                .collect(),
            notices: notices
                .map(|notice| JsonNotice { path: notice.path, message: notice.message })
                .collect(),
        }
    }
}

/// Those of the file, and those about what it asks of its surroundings.
fn notices(loaded: &Loaded) -> Vec<Notice> {
    let own = loaded.plan.notices.iter().cloned();
    own.chain(headroom::notices(&loaded.plan))
        .chain(steps::notices(loaded))
        .chain(metrics::notices(loaded))
        .collect()
}

fn list(problems: &Problems, source: &Source, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    for (place, problem) in source.placed(problems) {
        let path =
            if problem.path.is_empty() { "the file".to_owned() } else { visible(&problem.path) };
        let place = place.map(|place| format!("{}:{}:{}", source.name, place.line, place.column));
        let place = place.unwrap_or_else(|| source.name.clone());
        writeln!(out, "{} {}", ink.bad(format!("error[{}]", problem.code)), ink.bold(path))?;
        writeln!(out, "   {} {place}", ink.mark("at"))?;
        writeln!(out, "{}", wrapped("   ", &visible(&problem.message)))?;
        if !problem.hint.is_empty() {
            let hint = wrapped("   hint: ", &visible(&problem.hint));
            writeln!(out, "{}", hint.replacen("hint:", &ink.good("hint:").to_string(), 1))?;
        }
        writeln!(out)?;
    }
    let found = count(problems.0.len(), "problem");
    writeln!(out, "{} in {}; docs/problems.md explains each code", ink.bad(found), source.name)?;
    Ok(())
}

fn summary(loaded: &Loaded, name: &str, now: Timestamp, out: &mut Out) -> anyhow::Result<()> {
    let plan = &loaded.plan;
    let ink = out.ink();
    let experiments = count(plan.experiments.len(), "experiment");
    writeln!(out, "{} {name} is valid: {experiments}", ink.good("✓"))?;
    for experiment in &plan.experiments {
        let state = if experiment.enabled { "" } else { " (disabled: all units get the baseline)" };
        writeln!(out, "\n{}{}", ink.bold(&experiment.name), ink.note(state))?;
        for (label, text) in facts(experiment, now) {
            writeln!(out, "  {} {text}", ink.dim(format!("{label:<10}")))?;
        }
        let width = experiment.variants.iter().map(|variant| variant.name.len()).max().unwrap_or(0);
        let shares = experiment.shares(now);
        for (id, variant) in experiment.variants.entries() {
            let (share, is_baseline) = (shares[id], id == experiment.baseline);
            let role = if is_baseline { "baseline" } else { "candidate" };
            let name = format!("{:<width$}", variant.name);
            let share_text = format!("{:>9}", percent(share));
            let room = room(experiment, id, share);
            let bar = ink.mark(bars::share(share));
            writeln!(out, "  {} {name} {share_text}  {bar}{room}", ink.dim(format!("{role:<10}")))?;
        }
    }
    for notice in notices(loaded) {
        let text = format!("{}\n{}", visible(&notice.path), visible(&notice.message));
        writeln!(out, "\n{}", wrap::note("", &text, ink))?;
    }
    writeln!(out, "\nhash {}", plan.hash)?;
    Ok(())
}

fn facts(experiment: &Experiment, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut facts = vec![("matches", conditions(&experiment.conditions))];
    let unit = match experiment.assignment {
        Assignment::UserHash => {
            let missing = experiment.missing_unit.as_str();
            format!("{}; without one: {missing}", units(experiment))
        }
        Assignment::RequestRandom => "not needed: each request is drawn separately".to_owned(),
    };
    facts.push(("unit", unit));
    facts.extend(phase_now(experiment, now).map(|phase| ("phase", phase)));
    facts.extend(breaker(&experiment.breaker));
    if let Some(layer) = &experiment.layer {
        facts.push(("layer", format!("{}, slots {} to {} %", layer.name, layer.from, layer.to)));
    }
    if let Some(mirror) = &experiment.mirror {
        facts.push(("mirror", format!("{} to {}", percent(mirror.percent), mirror.cluster)));
    }
    facts
}

fn breaker(breaker: &Breaker) -> Vec<(&'static str, String)> {
    let opens = match breaker.mode {
        BreakerMode::Disabled => return vec![("breaker", "disabled".to_owned())],
        BreakerMode::DryRun => "dry run: would open",
        BreakerMode::Enforce => "opens",
    };
    let slow = breaker
        .slow
        .map_or_else(String::new, |slow| format!(" or {} % slower than {}", slow.rate, slow.over));
    let (window, requests) = (breaker.window, breaker.min_requests);
    let rates = format!(
        "{opens} above {} % errors{slow}, in {window} with {requests} requests or more",
        breaker.error_rate
    );
    let row = match breaker.consecutive_errors {
        0 => String::new(),
        errors => format!("or at {errors} errors in a row; "),
    };
    vec![("breaker", rates), ("", format!("{row}stays open for {}", breaker.open_for))]
}

/// How far a candidate can grow without moving units of other variants.
fn room(experiment: &Experiment, variant: VariantId, share: Ppm) -> String {
    let span = experiment.layout.spans().iter().find(|span| span.variant == variant);
    match span {
        Some(span) if span.width > share => format!(" can grow to {}", percent(span.width)),
        _ => String::new(),
    }
}
