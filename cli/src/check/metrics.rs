//! Notices about names of an analysis plan that look like misspelled metrics.
//!
//! Which columns the outcomes will have is not known before the data exist, so a name that is no built-in metric is
//! taken for a column. One that resembles a built-in metric is probably a mistake, and it would be found only after
//! weeks.

use sidetrack::config::did_you_mean;
use sidetrack::plan::Notice;
use sidetrack_analysis::plan::AnalysisPlan;
use sidetrack_analysis::{ACCURACY, BUILT_IN, MetricRequest};

use crate::load::Loaded;
use crate::words::visible;

/// A notice for each doubtful name.
pub(super) fn notices(loaded: &Loaded) -> Vec<Notice> {
    let plans = loaded.analyses.iter().enumerate();
    plans
        .filter_map(|(index, plan)| Some((index, plan.as_ref()?)))
        .flat_map(|(index, plan)| notices_of(index, plan))
        .collect()
}

fn notices_of(index: usize, plan: &AnalysisPlan) -> Vec<Notice> {
    let lists = [("metrics", &plan.metrics), ("guardrails", &plan.guardrails)];
    let all = lists.into_iter().flat_map(|(key, requests)| {
        requests.iter().enumerate().map(move |(at, request)| (key, at, request))
    });
    let notice = |(key, at, request): (&str, usize, &MetricRequest)| {
        let question = question(request.name());
        (!question.is_empty()).then(|| Notice {
            needs_bodies: false,
            path: format!("experiments[{index}].analysis.{key}[{at}]"),
            message: format!(
                "{} is not a built-in metric, so it must be a column of the outcomes; {question}",
                visible(request.name()),
            ),
        })
    };
    all.filter_map(notice).collect()
}

/// Which metric is meant by a name that resembles one without being it; empty if it resembles none.
fn question(name: &str) -> String {
    let known: Vec<&str> = BUILT_IN.into_iter().chain([ACCURACY, "latency"]).collect();
    if known.contains(&name) {
        return String::new();
    }
    did_you_mean(&name.to_lowercase().replace(['-', '.', ' '], "_"), &known)
}

#[cfg(test)]
mod tests {
    use super::question;

    #[test]
    fn names_that_resemble_a_metric_are_doubtful() {
        for (name, metric) in [
            ("eror_rate", "error_rate"),
            ("error-rate", "error_rate"),
            ("Error_Rate", "error_rate"),
            ("errors_rate", "error_rate"),
            ("latency_p59", "latency_p50"),
            ("latency_p90", "latency_p50"),
            ("latency_P99", "latency_p99"),
            ("latencymean", "latency_mean"),
            ("acuracy", "accuracy"),
            ("abort_rates", "abort_rate"),
        ] {
            assert_eq!(question(name), format!("did you mean \"{metric}\"?"), "{name}");
        }
        for name in [
            "error_rate",
            "latency",
            "accuracy",
            "revenue",
            "error_ratio_5xx",
            "rate",
            "hit_rate",
            "p95",
        ] {
            assert_eq!(question(name), "", "{name}");
        }
    }
}
