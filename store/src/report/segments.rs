//! Segments on the page: a forest plot for each metric and candidate, and the split of each segment.

use minijinja::{Value, context};
use sidetrack_analysis::answer::{Segment, SegmentResult};
use sidetrack_analysis::words::{p_text, segment_notes, segment_title};
use sidetrack_analysis::{Analysis, CheckName, CheckState};

use super::forest::forests;
use super::plot::Plot;

/// The sections, one for each dimension.
pub(super) fn segments(analysis: &Analysis, variants: &[String]) -> Vec<Value> {
    analysis.segments.iter().map(|result| section(analysis, result, variants)).collect()
}

fn section(analysis: &Analysis, result: &SegmentResult, variants: &[String]) -> Value {
    const OWN: [CheckName; 3] =
        [CheckName::SegmentValues, CheckName::SegmentSplit, CheckName::SegmentSum];
    let warnings = analysis.checks.iter().filter(|check| {
        OWN.contains(&check.name)
            && check.state != CheckState::Ok
            && check.subject.as_ref() == Some(&result.dimension)
    });
    let row = |segment: &Segment| {
        let units =
            variants.iter().map(|name| segment.units.get(name).copied().unwrap_or_default());
        context! {
            name => segment.name(),
            units => units.collect::<Vec<_>>(),
            p => segment.split_p_adjusted.map_or_else(|| "not tested".to_owned(), p_text),
        }
    };
    context! {
        title => segment_title(result),
        dimension => result.dimension.clone(),
        notes => segment_notes(result),
        warnings => warnings.map(|check| check.message.clone()).collect::<Vec<_>>(),
        variants => variants.to_vec(),
        rows => result.segments.iter().map(row).collect::<Vec<_>>(),
        plots => forests(analysis, result, variants).into_iter().map(Plot::value).collect::<Vec<_>>(),
    }
}
