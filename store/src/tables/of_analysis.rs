//! Which tables an analysis has.

use sidetrack::quantity::Timestamp;
use sidetrack_analysis::answer::{
    CandidateResult, DailyCandidate, DayEffect, MetricResult, SegmentKind,
};
use sidetrack_analysis::{Analysis, Series};

use super::{Kind, Table, Value};

/// The columns of a comparison, behind those that say what is compared.
const COMPARISON: [(&str, Kind); 15] = [
    ("variant", Kind::Text),
    ("baseline_n", Kind::Count),
    ("n", Kind::Count),
    ("baseline_value", Kind::Number),
    ("value", Kind::Number),
    ("relative_lift", Kind::Number),
    ("relative_lift_low", Kind::Number),
    ("relative_lift_high", Kind::Number),
    ("diff", Kind::Number),
    ("ci_low", Kind::Number),
    ("ci_high", Kind::Number),
    ("p_value", Kind::Number),
    ("p_adjusted", Kind::Number),
    ("margin", Kind::Number),
    ("decision", Kind::Text),
];

const DAY: [(&str, Kind); 10] = [
    ("metric", Kind::Text),
    ("variant", Kind::Text),
    ("day", Kind::Text),
    ("baseline_n", Kind::Count),
    ("n", Kind::Count),
    ("baseline_value", Kind::Number),
    ("value", Kind::Number),
    ("diff", Kind::Number),
    ("ci_low", Kind::Number),
    ("ci_high", Kind::Number),
];

fn text(text: impl Into<String>) -> Value {
    Value::Text(Some(text.into()))
}

fn comparison(metric: &MetricResult, result: &CandidateResult) -> Vec<Value> {
    let [low, high] = result.ci;
    let [lift_low, lift_high] = result.relative_lift_ci;
    vec![
        text(&result.variant),
        Value::Count(metric.baseline.n),
        Value::Count(result.n),
        Value::Number(result.baseline_value),
        Value::Number(result.value),
        Value::Number(result.relative_lift),
        Value::Number(lift_low),
        Value::Number(lift_high),
        Value::Number(result.diff),
        Value::Number(low),
        Value::Number(high),
        Value::Number(result.p_value),
        Value::Number(result.p_adjusted),
        Value::Number(result.margin),
        text(result.decision.as_str()),
    ]
}

pub(super) fn tables(analysis: &Analysis, series: &Series) -> Vec<Table> {
    vec![
        metrics(analysis),
        phases(analysis),
        segments(analysis),
        segment_units(analysis),
        interactions(analysis),
        days(analysis, "days", |candidate| &candidate.days),
        days(analysis, "days_since_first_request", |candidate| &candidate.since),
        trends(analysis),
        over_time(series),
        split(series),
    ]
}

fn table(name: &'static str, columns: &[(&'static str, Kind)], rows: Vec<Vec<Value>>) -> Table {
    Table { name, columns: columns.to_vec(), rows }
}

fn metrics(analysis: &Analysis) -> Table {
    let own = [("metric", Kind::Text), ("role", Kind::Text), ("kind", Kind::Text)];
    let rows = analysis.metrics.iter().flat_map(|metric| {
        metric.candidates.iter().map(move |result| {
            let mut row =
                vec![text(&metric.name), text(metric.role.as_str()), text(metric.kind.as_str())];
            row.extend(comparison(metric, result));
            row
        })
    });
    table("metrics", &[&own[..], &COMPARISON[..]].concat(), rows.collect())
}

fn phases(analysis: &Analysis) -> Table {
    let columns = [
        ("metric", Kind::Text),
        ("variant", Kind::Text),
        ("phase", Kind::Text),
        ("baseline_n", Kind::Count),
        ("n", Kind::Count),
        ("diff", Kind::Number),
        ("ci_low", Kind::Number),
        ("ci_high", Kind::Number),
    ];
    let mut rows = Vec::new();
    for metric in &analysis.metrics {
        for result in &metric.candidates {
            rows.extend(result.phases.iter().map(|phase| {
                let ([baseline, own], [low, high]) = (phase.n, phase.ci);
                vec![
                    text(&metric.name),
                    text(&result.variant),
                    text(&phase.phase),
                    Value::Count(baseline),
                    Value::Count(own),
                    Value::Number(Some(phase.diff)),
                    Value::Number(low),
                    Value::Number(high),
                ]
            }));
        }
    }
    table("phases", &columns, rows)
}

const fn kind(kind: SegmentKind) -> &'static str {
    match kind {
        SegmentKind::Value => "value",
        SegmentKind::Other => "other",
        SegmentKind::Unknown => "unknown",
    }
}

fn segments(analysis: &Analysis) -> Table {
    let own = [
        ("dimension", Kind::Text),
        ("segment", Kind::Text),
        ("kind", Kind::Text),
        ("metric", Kind::Text),
    ];
    let mut rows = Vec::new();
    for result in &analysis.segments {
        for metric in &result.metrics {
            for (segment, found) in result.segments.iter().zip(&metric.segments) {
                rows.extend(found.candidates.iter().map(|candidate| {
                    let mut row = vec![
                        text(&result.dimension),
                        Value::Text(segment.value.clone()),
                        text(kind(segment.kind)),
                        text(&metric.name),
                    ];
                    row.extend(comparison(found, candidate));
                    row
                }));
            }
        }
    }
    table("segments", &[&own[..], &COMPARISON[..]].concat(), rows)
}

fn segment_units(analysis: &Analysis) -> Table {
    let columns = [
        ("dimension", Kind::Text),
        ("segment", Kind::Text),
        ("kind", Kind::Text),
        ("variant", Kind::Text),
        ("units", Kind::Count),
        ("split_p_value", Kind::Number),
        ("split_p_adjusted", Kind::Number),
    ];
    let mut rows = Vec::new();
    for result in &analysis.segments {
        for segment in &result.segments {
            rows.extend(segment.units.iter().map(|(variant, units)| {
                vec![
                    text(&result.dimension),
                    Value::Text(segment.value.clone()),
                    text(kind(segment.kind)),
                    text(variant),
                    Value::Count(*units),
                    Value::Number(segment.split_p_value),
                    Value::Number(segment.split_p_adjusted),
                ]
            }));
        }
    }
    table("segment_units", &columns, rows)
}

fn interactions(analysis: &Analysis) -> Table {
    let columns = [
        ("dimension", Kind::Text),
        ("metric", Kind::Text),
        ("variant", Kind::Text),
        ("statistic", Kind::Number),
        ("df", Kind::Number),
        ("p_value", Kind::Number),
        ("p_adjusted", Kind::Number),
        ("merged_diff", Kind::Number),
        ("merged_ci_low", Kind::Number),
        ("merged_ci_high", Kind::Number),
        ("disagrees", Kind::Text),
    ];
    let mut rows = Vec::new();
    for result in &analysis.segments {
        for metric in &result.metrics {
            rows.extend(metric.candidates.iter().map(|found| {
                let [low, high] = found.merged_ci;
                vec![
                    text(&result.dimension),
                    text(&metric.name),
                    text(&found.variant),
                    Value::Number(found.statistic),
                    Value::Number(found.df),
                    Value::Number(found.p_value),
                    Value::Number(found.p_adjusted),
                    Value::Number(found.merged_diff),
                    Value::Number(low),
                    Value::Number(high),
                    text(found.disagrees.to_string()),
                ]
            }));
        }
    }
    table("interactions", &columns, rows)
}

fn days(
    analysis: &Analysis,
    name: &'static str,
    of: fn(&DailyCandidate) -> &Vec<DayEffect>,
) -> Table {
    let mut rows = Vec::new();
    for daily in &analysis.daily {
        for candidate in &daily.candidates {
            rows.extend(of(candidate).iter().map(|effect| {
                let ([baseline, own], [low, high]) = (effect.n, effect.ci);
                vec![
                    text(&daily.metric),
                    text(&candidate.variant),
                    text(&effect.day),
                    Value::Count(baseline),
                    Value::Count(own),
                    Value::Number(Some(effect.baseline_value)),
                    Value::Number(Some(effect.value)),
                    Value::Number(Some(effect.diff)),
                    Value::Number(low),
                    Value::Number(high),
                ]
            }));
        }
    }
    table(name, &DAY, rows)
}

fn trends(analysis: &Analysis) -> Table {
    let columns = [
        ("metric", Kind::Text),
        ("variant", Kind::Text),
        ("slope", Kind::Number),
        ("ci_low", Kind::Number),
        ("ci_high", Kind::Number),
        ("statistic", Kind::Number),
        ("p_value", Kind::Number),
        ("p_adjusted", Kind::Number),
    ];
    let mut rows = Vec::new();
    for daily in &analysis.daily {
        for candidate in &daily.candidates {
            let Some(trend) = &candidate.trend else { continue };
            let [low, high] = trend.ci;
            rows.push(vec![
                text(&daily.metric),
                text(&candidate.variant),
                Value::Number(Some(trend.slope)),
                Value::Number(low),
                Value::Number(high),
                Value::Number(trend.statistic),
                Value::Number(trend.p_value),
                Value::Number(trend.p_adjusted),
            ]);
        }
    }
    table("trends", &columns, rows)
}

fn time(milliseconds: u64) -> Value {
    text(Timestamp::new(milliseconds).to_string())
}

fn over_time(series: &Series) -> Table {
    let columns = [
        ("metric", Kind::Text),
        ("variant", Kind::Text),
        ("time", Kind::Text),
        ("diff", Kind::Number),
        ("ci_low", Kind::Number),
        ("ci_high", Kind::Number),
    ];
    let mut rows = Vec::new();
    if let Some((metric, lines)) = &series.lift {
        for line in lines {
            rows.extend(line.points.iter().map(|point| {
                vec![
                    text(metric),
                    text(&line.variant),
                    time(point.time),
                    Value::Number(Some(point.difference)),
                    Value::Number(point.interval.map(|(low, _)| low)),
                    Value::Number(point.interval.map(|(_, high)| high)),
                ]
            }));
        }
    }
    table("effect_as_units_joined", &columns, rows)
}

fn split(series: &Series) -> Table {
    let columns = [
        ("variant", Kind::Text),
        ("time", Kind::Text),
        ("share", Kind::Number),
        ("target", Kind::Number),
    ];
    let mut rows = Vec::new();
    for line in &series.split {
        rows.extend(line.points.iter().map(|(at, share, target)| {
            let (share, target) = (Value::Number(Some(*share)), Value::Number(Some(*target)));
            vec![text(&line.variant), time(*at), share, target]
        }));
    }
    table("split_as_units_joined", &columns, rows)
}
