//! Segments in words.

use super::{concluded, p_text};
use crate::answer::{
    Conclusion, Interaction, MetricResult, Role, SegmentKind, SegmentResult, SegmentSource,
};
use crate::figures::visible;

/// A section's title.
#[must_use]
pub fn segment_title(result: &SegmentResult) -> String {
    let planned = if result.planned { "planned" } else { "exploratory" };
    format!("By {} ({planned})", visible(&result.dimension))
}

/// How to read results by segment, and what they are made of.
#[must_use]
pub fn segment_notes(result: &SegmentResult) -> Vec<String> {
    let mut notes =
        vec!["segments decide nothing; p-values adjusted for all segments (Holm)".to_owned()];
    let shown = result.segments.iter().filter(|it| it.kind == SegmentKind::Value).count() as u64;
    if result.values > shown {
        notes.push(format!("the {shown} largest of {} values; the others together", result.values));
    }
    let later = result.recorded_later;
    match result.source {
        SegmentSource::Outcomes if later > 0 => notes.push(format!(
            "{later} units got their value after their first request: if a variant can change it, the \
             segments compare different users"
        )),
        SegmentSource::Exposures if later > 0 => {
            notes.push(format!("{later} units have no value at their first request, but later"));
        }
        _ => {}
    }
    notes
}

/// The conclusion within a segment.
#[must_use]
pub const fn segment_concluded(conclusion: Conclusion) -> &'static str {
    concluded(Role::Exploratory, conclusion)
}

/// Whether the effect of a candidate on a metric depends on the segment.
#[must_use]
pub fn interaction(metric: &MetricResult, found: &Interaction, alpha: f64) -> String {
    let test = match found.p_adjusted {
        Some(p) if p < alpha => format!("the effect depends on the segment (p {})", p_text(p)),
        Some(p) => format!("no significant difference between the segments (p {})", p_text(p)),
        None => "too few data to compare the segments".to_owned(),
    };
    let merged = found.merged_diff.filter(|_| found.disagrees).map(|diff| {
        format!(
            "; the total disagrees with its parts, which are {} together",
            metric.scale().change(diff)
        )
    });
    format!("{test}{}", merged.unwrap_or_default())
}
