//! What would change a decision: missing units, time and data, failed checks and the options that accept them.

use sidetrack::quantity::{Millis, Timestamp};

use crate::answer::{Analysis, Decision, SrmVerdict};
use crate::reason::{Effect, Reason};

/// Spans shorter than this say nothing about a rate, in milliseconds.
const SHORTEST: u64 = 60_000;
const DAY: u64 = 86_400_000;

/// What would change the decision, most important first.
#[must_use]
pub fn what_would_change(analysis: &Analysis) -> Vec<String> {
    let mut all = match analysis.decision {
        Decision::Promote => vec![
            "A guardrail that breaks its margin, or a check of the data that fails, withdraws the \
             decision."
                .to_owned(),
        ],
        Decision::KeepBaseline => vec![kept(analysis).to_owned()],
        Decision::Inconclusive => missing(analysis),
        Decision::Invalid => distrusted(analysis),
    };
    if analysis.decision != Decision::Invalid && !analysis.plan.exploratory.is_empty() {
        all.push(
            "A new trial (another `salt`) whose plan (`analysis`) is in the file before the first \
             request: its result is as planned, and not exploratory."
                .to_owned(),
        );
    }
    all
}

fn kept(analysis: &Analysis) -> &'static str {
    let is_null = |reason: &Reason| matches!(reason, Reason::NothingBetter { .. });
    if analysis.reasons.iter().any(is_null) {
        "A new trial (another `salt`) with more `planned_units`, which shows smaller effects."
    } else {
        "Another candidate: the harm of this one is significant. Test it in a new trial (another \
         `salt`)."
    }
}

/// Why the data cannot be trusted, as a task.
fn distrusted(analysis: &Analysis) -> Vec<String> {
    let mut all = Vec::new();
    if analysis.reasons.iter().any(|reason| matches!(reason, Reason::Unusable(_))) {
        all.push("Data to decide from: the first reason says what is missing.".to_owned());
    }
    if analysis.reasons.iter().any(|reason| matches!(reason, Reason::WeightsChanged { .. })) {
        all.push("A log with the weights of each request, as `sidetrack render` writes it.".into());
    }
    if analysis.srm.verdict == SrmVerdict::Mismatch {
        all.push(
            "A split as configured: find the cause, then start a new trial (another `salt`). \
             `sidetrack analyze run --allow-srm` decides anyway, and its result is exploratory."
                .to_owned(),
        );
    }
    let mut failed: Vec<&str> = analysis
        .checks
        .iter()
        .filter(|check| check.blocks())
        .map(|check| check.name.as_str())
        .collect();
    failed.dedup();
    if !failed.is_empty() {
        let options: Vec<String> = failed.iter().map(|name| format!("--allow {name}")).collect();
        all.push(format!(
            "Data that pass: {}. `sidetrack analyze run {}` decides anyway, and its result is \
             exploratory.",
            failed.join(", "),
            options.join(" ")
        ));
    }
    all
}

/// What a decision waits for.
fn missing(analysis: &Analysis) -> Vec<String> {
    let units: u64 = analysis.variants.iter().map(|variant| variant.units).sum();
    let mut all = Vec::new();
    match analysis.planned_units {
        Some(planned) if units < planned => {
            let missing = planned - units;
            let at_least = time_for(analysis, units, missing)
                .map(|time| format!(", at the rate so far in {} or more", about(time)));
            all.push(format!(
                "More units: {missing} are missing to the planned {planned}{}.",
                at_least.unwrap_or_default()
            ));
        }
        Some(_) => {}
        None => all.push(
            "A planned number of units (`analysis.planned_units`), after which a fixed test \
             decides."
                .to_owned(),
        ),
    }
    if let Some(attribution) = &analysis.attribution
        && let Some(closes) = &attribution.last_closes
    {
        let open: u64 = attribution.open_units.values().sum();
        all.push(format!("Time: outcomes of {open} units still count, until {closes}."));
    }
    all.extend(analysis.reasons.iter().filter_map(|reason| wanted(analysis, reason)));
    all
}

/// What would answer an open question.
fn wanted(analysis: &Analysis, reason: &Reason) -> Option<String> {
    let now = |variant: &str, metric: &str| {
        let metric = analysis.metrics.iter().find(|it| it.name == metric)?;
        let result = metric.candidates.iter().find(|it| it.variant == variant)?;
        let range = Effect::of(metric, result).range()?;
        Some(format!(" It is {range} now."))
    };
    match reason {
        Reason::GuardrailUnsettled { variant, metric, margin, scale } => Some(format!(
            "An interval of {metric} for {variant} on one side of its margin of {}.{}",
            scale.margin(*margin),
            now(variant, metric).unwrap_or_default()
        )),
        Reason::NoDifference { variant, metric } => Some(format!(
            "An interval of {metric} for {variant} without zero.{}",
            now(variant, metric).unwrap_or_default()
        )),
        Reason::NotJudged { variant, metric, why, .. } => {
            let why = why.map_or_else(String::new, |why| format!(": {}", why.reason()));
            Some(format!("Data by which {metric} can be judged for {variant}{why}."))
        }
        Reason::RequestsDoNotDecide { .. } => Some(
            "Units in the log (`settings.exposure_unit: digest`). `sidetrack analyze run \
             --assume-independent-requests` decides by requests."
                .to_owned(),
        ),
        _ => None,
    }
}

/// How long this many units take at the rate so far; users who return make it longer.
fn time_for(analysis: &Analysis, units: u64, missing: u64) -> Option<Millis> {
    let parse = |text: &Option<String>| Timestamp::parse(text.as_deref()?);
    let span = parse(&analysis.to)?.since(parse(&analysis.from)?).get();
    if units == 0 || span < SHORTEST {
        return None;
    }
    let time = u128::from(span) * u128::from(missing) / u128::from(units);
    u64::try_from(time).ok().map(Millis::new)
}

/// `3d4h`, `2h10m`, `5m`: no more precise than a rate allows.
fn about(time: Millis) -> Millis {
    let step = match time.get() {
        long if long >= 2 * DAY => DAY / 24,
        _ => SHORTEST,
    };
    Millis::new(time.get().div_ceil(step).saturating_mul(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up() {
        let shown = |milliseconds| about(Millis::new(milliseconds)).to_string();
        assert_eq!([1, 61_000, 7_200_001, 3 * DAY + 1].map(shown), ["1m", "2m", "2h1m", "3d1h"]);
    }
}
