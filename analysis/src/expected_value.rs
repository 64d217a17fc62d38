//! The expected value of a candidate: "is 3.6 points of accuracy worth 17 ms?" The rate of exchange, and the net value at
//! the user's prices.
//!
//! A price is per step in the good direction: a percentage point of a share, a millisecond of a latency, one of anything
//! else, each per prediction. The interval of the net value adds up the errors of its parts, the worst case, since all
//! metrics are of the same units.

use std::str::FromStr;

use crate::answer::{CandidateResult, ExpectedValue, Goal, MetricResult, ValuePart};
use crate::figures::signed;
use crate::source::outcomes::ACCURACY;

/// The price of a metric: `NAME=AMOUNT`.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    pub(crate) metric: String,
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
            format!("\"{text}\" is not NAME=AMOUNT with an amount of 0 or more; for example accuracy=0.04")
        })
    }
}

/// The gain in steps of a price, positive if the candidate is better.
fn gain(metric: &MetricResult, difference: f64) -> f64 {
    let steps = difference * metric.scale().factor();
    match metric.goal {
        Goal::Increase => steps,
        Goal::Decrease => -steps,
    }
}

/// For each candidate with something to weigh.
pub(crate) fn expected_values(metrics: &[MetricResult], prices: &[Price]) -> Vec<ExpectedValue> {
    let Some(first) = metrics.first() else { return Vec::new() };
    first
        .candidates
        .iter()
        .filter_map(|candidate| of(&candidate.variant, metrics, prices))
        .collect()
}

fn of(variant: &str, metrics: &[MetricResult], prices: &[Price]) -> Option<ExpectedValue> {
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
        parts.push(ValuePart { metric: price.metric.clone(), gain, value_per: price.amount });
        net += gain * price.amount;
        match result.ci {
            [Some(low), Some(high)] => {
                half += 0.5 * (high - low) * metric.scale().factor() * price.amount
            }
            _ => complete = false,
        }
    }
    let ms_per_point =
        exchange.filter(|(points, ms)| *points > 0.0 && *ms < 0.0).map(|(points, ms)| -ms / points);
    let mut sentence = String::new();
    if let Some((points, ms)) = exchange {
        let costs = if ms < 0.0 {
            format!("costs {:.1} ms", -ms)
        } else {
            format!("saves {:.1} ms", ms.abs())
        };
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
    (!sentence.is_empty()).then(|| ExpectedValue {
        variant: variant.to_owned(),
        net: priced.then_some(net),
        net_ci: if priced && complete { [Some(net - half), Some(net + half)] } else { [None; 2] },
        parts,
        ms_per_point,
        sentence,
    })
}

#[cfg(test)]
mod tests;
