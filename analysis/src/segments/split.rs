//! Checks of segments: whether their values are there, whether each is split as configured, and whether the total and its
//! parts agree. They warn, since segments never decide.

use std::collections::BTreeMap;

use sidetrack_stats::srm::ALWAYS_LEVEL;

use super::Dimension;
use crate::answer::{SegmentKind, SegmentResult, SegmentSource};
use crate::check::{Check, CheckName, CheckState};
use crate::figures::{percent, visible};

/// The checks of each dimension.
pub(crate) fn checks(segments: &[SegmentResult]) -> Vec<Check> {
    let of = |result: &SegmentResult| {
        let mut checks = vec![values(result), split(result)];
        checks.extend(sum(result));
        checks
    };
    segments.iter().flat_map(of).collect()
}

/// That there are no segments of what is asked for: the log has no units, or a table of sums has no such segments.
pub(crate) fn missing(asked: &[Dimension], found: &[SegmentResult], units: bool) -> Option<Check> {
    let is_found = |name: &str| found.iter().any(|result| result.dimension == name);
    let names = asked.iter().filter(|it| !is_found(&it.name)).map(|it| visible(&it.name));
    let names: Vec<String> = names.collect();
    let why = if units {
        "the table of sums has no segments by"
    } else {
        "segments are of units, and the log has none, so nothing is compared by"
    };
    (!names.is_empty()).then(|| Check {
        name: CheckName::SegmentValues,
        state: CheckState::Warning,
        subject: None,
        value: None,
        limit: 0.5,
        variants: BTreeMap::new(),
        message: format!("{why} {}", names.join(", ")),
    })
}

fn check(name: CheckName, result: &SegmentResult, message: Result<String, String>) -> Check {
    Check {
        name,
        state: if message.is_ok() { CheckState::Ok } else { CheckState::Warning },
        subject: Some(result.dimension.clone()),
        value: None,
        limit: 0.0,
        variants: BTreeMap::new(),
        message: message.unwrap_or_else(|problem| problem),
    }
}

fn units(result: &SegmentResult, kind: Option<SegmentKind>) -> u64 {
    let own = result.segments.iter().filter(|segment| kind.is_none_or(|kind| segment.kind == kind));
    own.flat_map(|segment| segment.units.values()).sum()
}

/// Units with a value.
fn values(result: &SegmentResult) -> Check {
    let (all, unknown) = (units(result, None), units(result, Some(SegmentKind::Unknown)));
    let name = visible(&result.dimension);
    let share = sidetrack_stats::float(unknown) / sidetrack_stats::float(all.max(1));
    let limit = 0.5;
    let message = if unknown == all && all > 0 {
        Err(format!("no line of the logs and no row of the outcomes has a value of {name}"))
    } else if share > limit {
        Err(format!("{} of the units have no value of {name}", percent(share)))
    } else {
        Ok(format!("{} of the units have a value of {name}", percent(1.0 - share)))
    };
    Check { value: Some(share), limit, ..check(CheckName::SegmentValues, result, message) }
}

/// The split of each segment.
fn split(result: &SegmentResult) -> Check {
    let p = |segment: &crate::answer::Segment| segment.split_p_adjusted;
    let worst = result.segments.iter().filter(|it| p(it).is_some());
    let worst = worst.min_by(|a, b| p(a).unwrap_or(1.0).total_cmp(&p(b).unwrap_or(1.0)));
    let name = visible(&result.dimension);
    let message = match worst.filter(|it| p(it).is_some_and(|p| p < ALWAYS_LEVEL)) {
        Some(segment) => {
            let counts = segment.units.iter().map(|(variant, units)| format!("{variant} {units}"));
            let later = match (result.source, result.recorded_later) {
                (SegmentSource::Outcomes, later) if later > 0 => format!(
                    " {later} units got their value after their first request, so a variant may have \
                     changed it: then the segments compare different users."
                ),
                _ => String::new(),
            };
            Err(format!(
                "the split of {} \"{}\" differs from the configured one ({}). Data of it are lost in a \
                 variant, or the variants change who belongs to it; do not compare it.{later}",
                name,
                segment.name(),
                counts.collect::<Vec<_>>().join(", ")
            ))
        }
        None => Ok(format!("each segment of {name} is split as configured")),
    };
    Check {
        value: worst.and_then(p),
        limit: ALWAYS_LEVEL,
        variants: worst
            .into_iter()
            .flat_map(|it| &it.units)
            .map(|(name, units)| (name.clone(), sidetrack_stats::float(*units)))
            .collect(),
        ..check(CheckName::SegmentSplit, result, message)
    }
}

/// Whether the total and its parts agree.
fn sum(result: &SegmentResult) -> Option<Check> {
    let parts = result
        .metrics
        .iter()
        .flat_map(|metric| metric.candidates.iter().map(move |candidate| (metric, candidate)));
    let disagreeing: Vec<String> = parts
        .clone()
        .filter(|(_, candidate)| candidate.disagrees)
        .map(|(metric, candidate)| format!("{} of {}", metric.name, candidate.variant))
        .collect();
    parts.clone().next()?;
    let name = visible(&result.dimension);
    let message = if disagreeing.is_empty() {
        Ok(format!("the totals and the segments of {name} agree"))
    } else {
        Err(format!(
            "the total and its parts by {name} disagree in {} (Simpson's paradox): the variants have \
             different shares of the segments, so the total compares different users",
            disagreeing.join(", ")
        ))
    };
    let value = Some(sidetrack_stats::float(disagreeing.len() as u64));
    Some(Check { value, ..check(CheckName::SegmentSum, result, message) })
}
