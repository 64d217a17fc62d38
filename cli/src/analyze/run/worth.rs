//! "Is 3.6 points of accuracy worth 17 ms?" The rate of exchange, and with the user's own prices the answer.
//!
//! A price is per step in the good direction: a percentage point of a share, a millisecond of a latency, one of anything
//! else, each per prediction. The interval of the net value takes the parts as if their errors added up, the worst that
//! can be, since the metrics are those of the same units.

use std::str::FromStr;

use super::super::figures::signed;
use super::analysis::{CandidateResult, MetricResult, Worth, WorthPart};
use super::outcomes::ACCURACY;

/// `NAME=AMOUNT`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Price {
    pub(super) metric: String,
    amount: f64,
}

impl FromStr for Price {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (metric, amount) = text.split_once('=')?;
            let amount =
                amount.parse().ok().filter(|amount: &f64| amount.is_finite() && *amount >= 0.0)?;
            Some(Self { metric: metric.to_owned(), amount })
        };
        read().ok_or_else(|| {
            format!("found \"{text}\", allowed: NAME=AMOUNT with an amount of 0 or more, as in accuracy=0.04")
        })
    }
}

/// How many steps of a price a metric's own unit has.
fn steps(metric: &MetricResult) -> f64 {
    if metric.is_share {
        100.0
    } else if metric.unit == Some("s") {
        1000.0
    } else {
        1.0
    }
}

/// The gain in steps, positive where the candidate is better.
fn gain(metric: &MetricResult, difference: f64) -> f64 {
    if metric.goal == "increase" { difference * steps(metric) } else { -difference * steps(metric) }
}

/// For each candidate, where there is something to weigh.
pub(super) fn worth(metrics: &[MetricResult], prices: &[Price]) -> Vec<Worth> {
    let Some(first) = metrics.first() else { return Vec::new() };
    first
        .candidates
        .iter()
        .filter_map(|candidate| of(&candidate.variant, metrics, prices))
        .collect()
}

fn of(variant: &str, metrics: &[MetricResult], prices: &[Price]) -> Option<Worth> {
    let find = |name: &str| -> Option<(&MetricResult, &CandidateResult)> {
        let metric = metrics.iter().find(|metric| metric.name == name)?;
        Some((metric, metric.candidates.iter().find(|result| result.variant == variant)?))
    };
    let change =
        |name: &str| find(name).and_then(|(metric, result)| Some(gain(metric, result.diff?)));
    let exchange = change(ACCURACY).zip(change("latency_mean"));
    let (mut parts, mut net, mut half, mut complete) = (Vec::new(), 0.0, 0.0, true);
    for price in prices {
        let Some((metric, result)) = find(&price.metric) else { continue };
        let Some(difference) = result.diff else { continue };
        let gain = gain(metric, difference);
        parts.push(WorthPart { metric: price.metric.clone(), gain, value_per: price.amount });
        net += gain * price.amount;
        match result.ci {
            [Some(low), Some(high)] => half += 0.5 * (high - low) * steps(metric) * price.amount,
            _ => complete = false,
        }
    }
    let ms_per_point =
        exchange.filter(|(points, ms)| *points > 0.0 && *ms < 0.0).map(|(points, ms)| -ms / points);
    let mut sentence = String::new();
    if let Some((points, ms)) = exchange {
        let costs =
            if ms < 0.0 { format!("costs {:.1} ms", -ms) } else { format!("saves {ms:.1} ms") };
        let brings = if points >= 0.0 { "brings" } else { "loses" };
        sentence = format!(
            "{variant} {brings} {:.2} points of accuracy and {costs} of mean latency",
            points.abs()
        );
        if let Some(rate) = ms_per_point {
            sentence +=
                &format!("; worth it where a point of accuracy is worth more than {rate:.1} ms");
        }
    }
    if !parts.is_empty() {
        if !sentence.is_empty() {
            sentence += ". ";
        }
        sentence += &format!("{variant}: {} net per prediction, at your prices", signed(net, 3));
        if complete {
            sentence += &format!(" (from {} to {})", signed(net - half, 3), signed(net + half, 3));
        }
    }
    let priced = !parts.is_empty();
    (!sentence.is_empty()).then(|| Worth {
        variant: variant.to_owned(),
        net: priced.then_some(net),
        net_ci: if priced && complete { [Some(net - half), Some(net + half)] } else { [None; 2] },
        parts,
        ms_per_point,
        sentence,
    })
}
