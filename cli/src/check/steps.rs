//! Notices about the steps of an analysis plan that a candidate has no room for.

use sidetrack::plan::{Experiment, Notice};
use sidetrack_analysis::plan::AnalysisPlan;

use crate::load::Loaded;
use crate::words::{percent, visible};

/// A notice for each candidate whose span is smaller than a step.
pub(super) fn notices(loaded: &Loaded) -> Vec<Notice> {
    let plans = loaded.plan.experiments.iter().zip(&loaded.analyses).enumerate();
    plans
        .filter_map(|(index, (experiment, plan))| Some((index, experiment, plan.as_ref()?)))
        .flat_map(|(index, experiment, plan)| notices_of(index, experiment, plan))
        .collect()
}

fn notices_of(index: usize, experiment: &Experiment, plan: &AnalysisPlan) -> Vec<Notice> {
    let spans = experiment.layout.spans().iter();
    let notice = |span: &sidetrack::layout::Span| {
        let steps = plan.steps.iter().enumerate();
        let (step, weight) = steps
            .map(|(step, found)| (step, found.weight))
            .find(|(_, weight)| *weight > span.width)?;
        let name = visible(&experiment.variants[span.variant].name);
        let (weight, width) = (percent(weight), percent(span.width));
        Some(Notice {
            needs_bodies: false,
            path: format!("experiments[{index}].analysis.steps[{step}].weight"),
            message: format!(
                "{weight} is more than the {width} that {name} can grow to: at this step, users of \
                 other candidates would move. Give {name} a reserve of its largest step, before the \
                 experiment starts"
            ),
        })
    };
    spans.filter_map(notice).collect()
}
