//! The steps of the decision, in the order of the core.

use std::io::Write;

use sidetrack::decide::{Gate, Outcome, Step};
use sidetrack::matching::Mismatch;
use sidetrack::plan::{BreakerMode, Experiment, MissingUnit};
use sidetrack::request::Request as _;
use sidetrack::rollout::{InForce, Schedule};
use sidetrack::unit::{UnitSource, minted_text};

use super::{Case, body};
use crate::bars::ruler;
use crate::out::{Ink, Out};
use crate::words::{
    body_value, buckets, conditions, header, hosts, percent, phase_now, quoted, text, units,
    variant,
};

/// A step's label and its lines.
type Entry = (&'static str, Vec<String>);

pub(super) fn write_text(case: &Case<'_>, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    let mut entries: Vec<Entry> = Vec::new();
    let mut current: Option<&Experiment> = None;
    for (i, step) in case.steps.iter().enumerate() {
        if let Step::Match(index) | Step::Mismatch(index, _) = step {
            current = Some(case.experiment(*index));
        }
        let Some(experiment) = current else { continue };
        let bucket = case.steps.get(i.saturating_sub(1)).and_then(|before| match before {
            Step::Drawn(bucket, _) => Some(*bucket),
            _ => None,
        });
        let (label, mut lines) = one(case, experiment, step);
        if let (Step::InSpan(..) | Step::NoSpan, Some(bucket)) = (step, bucket)
            && let InForce::Weights(weights, _) = experiment.schedule.at(case.now)
        {
            lines.extend(ruler(experiment, weights, bucket, ink));
        }
        entries.push((label, lines));
    }
    entries.extend(breaker_not_consulted(case));
    entries.extend(mirror(case));
    for (number, (label, lines)) in entries.iter().enumerate() {
        write(number + 1, label, lines, ink, out)?;
    }
    Ok(())
}

fn write(
    number: usize,
    label: &str,
    lines: &[String],
    ink: Ink,
    out: &mut Out,
) -> anyhow::Result<()> {
    for (i, line) in lines.iter().enumerate() {
        if i == 0 {
            writeln!(
                out,
                "{} {} {line}",
                ink.dim(format!("{number:>3}")),
                ink.mark(format!("{label:<9}"))
            )?;
        } else {
            writeln!(out, "{:13} {line}", "")?;
        }
    }
    Ok(())
}

fn one(case: &Case<'_>, experiment: &Experiment, step: &Step<'_>) -> Entry {
    let name = &experiment.name;
    let line = |label, text: String| (label, vec![text]);
    match step {
        Step::Mismatch(_, mismatch) => {
            line("no match", format!("{name}: {}", mismatch_text(case, experiment, *mismatch)))
        }
        Step::Match(_) => {
            line("match", format!("{name} matches {}", conditions(&experiment.conditions)))
        }
        Step::Disabled => {
            let who =
                if experiment.layer.is_some() { "all units in its slots" } else { "all units" };
            line("disabled", format!("enabled: false, so {who} get the baseline"))
        }
        Step::OverrideRefused(why) => line("override", format!("requested, but refused: {why}")),
        Step::Override(index, how) => {
            let how = if *how == "unit" {
                "overrides.units lists the unit"
            } else {
                "the header requests"
            };
            line("override", format!("{how}: {}; no draw", variant(experiment, *index)))
        }
        Step::NoValue(source) => {
            let why = match experiment.units.get(*source) {
                Some(UnitSource::Body(pointer)) => {
                    body::no_unit(&case.request, case.plan.settings.body_limit, pointer)
                }
                Some(source) if source.find(&case.request).is_some() => {
                    "empty, which is no value".to_owned()
                }
                _ => "absent".to_owned(),
            };
            line("unit", format!("{}: {why}", source_name(experiment, *source)))
        }
        Step::Unit(source, unit) => {
            line("unit", format!("{}: {}", source_name(experiment, *source), quoted(unit)))
        }
        Step::Minted(source, identity) => line(
            "unit",
            format!(
                "no value: {}; the client gets a new {}: {}",
                units(experiment),
                source_name(experiment, *source),
                minted_text(*identity)
            ),
        ),
        Step::MissingUnit(then) => {
            let then = match then {
                MissingUnit::Baseline => "so it gets the baseline",
                MissingUnit::Random => "so the draw is random",
                MissingUnit::Skip => "so it is not part of the experiment",
            };
            line(
                "unit",
                format!(
                    "no value: {}; missing_unit is {}, {then}",
                    units(experiment),
                    missing(experiment)
                ),
            )
        }
        Step::NoPlace(pointer) => {
            let why = body::no_place(&case.request, case.plan.settings.body_limit, pointer);
            line("body", format!("{pointer} cannot be set: {why}, so the baseline serves it"))
        }
        Step::Slot(slot, inside) => {
            let layer = experiment.layer.as_ref();
            let (layer_name, from, to) = layer.map_or(("", 0, 0), |layer| {
                (layer.name.as_str(), layer.from.get(), layer.to.get())
            });
            let holds = buckets(from, to.saturating_sub(from));
            let verdict = if *inside { "inside" } else { "outside" };
            let slot = slot.get();
            line(
                "layer",
                format!("{layer_name}: slot {slot} of 1000000; {name} has {holds}: {verdict}"),
            )
        }
        Step::NotStarted => line("rollout", not_started(case, experiment)),
        Step::Phase(_) => line("rollout", phase_now(experiment, case.now).unwrap_or_default()),
        Step::Drawn(bucket, true) => {
            let salt = quoted(experiment.salt.as_bytes());
            let bucket = bucket.get();
            line(
                "bucket",
                format!("{bucket} of 1000000, from the hash of the salt {salt} and the unit"),
            )
        }
        Step::Drawn(bucket, false) => {
            let how = if case.is_random { "drawn at random" } else { "from --random" };
            line("bucket", format!("{} of 1000000, {how}", bucket.get()))
        }
        Step::InSpan(span, offset, weight) => {
            let owner = variant(experiment, span.variant);
            let span_buckets = buckets(span.start, span.width.get());
            let holds = buckets(span.start, weight.get());
            let verdict = if *offset < weight.get() {
                format!("so {owner} serves it")
            } else {
                "so the baseline serves it for now".to_owned()
            };
            let all = if *weight == span.width {
                "all of it".to_owned()
            } else {
                format!("{holds} of it ({})", percent(*weight))
            };
            line("span", format!("{owner} owns {span_buckets} and holds {all}, {verdict}"))
        }
        Step::NoSpan => {
            line("span", "no candidate owns this bucket, so the baseline serves it".to_owned())
        }
        Step::Gate(gate, passes) => line("breaker", gate_text(*gate, *passes)),
    }
}

fn source_name(experiment: &Experiment, source: usize) -> String {
    experiment.units.get(source).map_or_else(String::new, ToString::to_string)
}

fn missing(experiment: &Experiment) -> &'static str {
    experiment.missing_unit.as_str()
}

fn mismatch_text(case: &Case<'_>, experiment: &Experiment, mismatch: Mismatch<'_>) -> String {
    let conditions = &experiment.conditions;
    let found = |value: Option<&[u8]>| value.map_or_else(|| "none".to_owned(), quoted);
    match mismatch {
        Mismatch::Path => {
            let wanted = conditions.path.as_ref().map(text).unwrap_or_default();
            format!("the path is {}, but must be {wanted}", found(case.request.path()))
        }
        Mismatch::Host => {
            format!(
                "the host is {}, but must be {}",
                found(case.request.host()),
                hosts(&conditions.hosts)
            )
        }
        Mismatch::Method => {
            let wanted = conditions.methods.join(" or ");
            format!("the method is {}, but must be {wanted}", found(case.request.first(":method")))
        }
        Mismatch::Header(name) => {
            let rule = conditions.headers.iter().find(|header| header.name == name).map(header);
            format!(
                "the header {name} is {}, but must be {}",
                found(case.request.first(name)),
                rule.unwrap_or_default()
            )
        }
        Mismatch::Body(pointer) => {
            let rule = conditions.body.iter().find(|value| value.pointer == pointer);
            let found = body::found(&case.request, case.plan.settings.body_limit, pointer);
            let rule = rule.map(body_value).unwrap_or_default();
            format!("{found}, but the experiment requires {rule}")
        }
    }
}

fn not_started(case: &Case<'_>, experiment: &Experiment) -> String {
    match &experiment.schedule {
        Schedule::Rollout(rollout) => {
            format!(
                "starts at {}, and now is {}: until then all units get the baseline",
                rollout.start, case.now
            )
        }
        Schedule::Fixed(_) => String::new(),
    }
}

fn gate_text(gate: Gate, passes: bool) -> String {
    match (gate, passes) {
        (Gate::Open, _) => "open: the baseline serves the candidate's units".to_owned(),
        (Gate::HalfOpen { share, from }, _) => {
            let including = if passes { "including" } else { "not including" };
            let range = match from.get() {
                0 => String::new(),
                from => format!(", from bucket {from} of the probe draw,"),
            };
            format!("half-open: {share} % of its units{range} try it, {including} this one")
        }
        (Gate::Closed, _) => "closed".to_owned(),
    }
}

/// The state of the breaker, if the decision did not have to consult it.
fn breaker_not_consulted(case: &Case<'_>) -> Option<Entry> {
    let (experiment, decision) = case.decided()?;
    let drawn = decision.bucket.is_some() && decision.assigned != experiment.baseline;
    if !drawn || case.steps.iter().any(|step| matches!(step, Step::Gate(..))) {
        return None;
    }
    let name = variant(experiment, decision.assigned);
    let given = case.asked.breakers.iter().any(|breaker| breaker.variant == name);
    let text = match experiment.breaker.mode {
        BreakerMode::Enforce if given => "closed".to_owned(),
        BreakerMode::Enforce => {
            format!("assumed closed; --breaker {name}=open shows the other case")
        }
        BreakerMode::DryRun => "dry_run: it does not change the decision".to_owned(),
        BreakerMode::Disabled => "disabled".to_owned(),
    };
    Some(("breaker", vec![text]))
}

fn mirror(case: &Case<'_>) -> Option<Entry> {
    let Outcome::Decided(_) = case.outcome else { return None };
    let (experiment, decision) = case.decided()?;
    let mirror = experiment.mirror.as_ref().filter(|_| decision.bucket.is_some())?;
    let share = percent(mirror.percent);
    let text = if decision.mirror {
        format!("{share} of the units: copied to {}", mirror.cluster)
    } else {
        format!("{share} of the units: not copied")
    };
    Some(("mirror", vec![text]))
}
