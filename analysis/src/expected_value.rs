//! The expected value of a candidate: "is 3.6 points of accuracy worth 17 ms?" The rate of exchange, and the net value at
//! the user's prices.
//!
//! A price is per step in the good direction: a percentage point of a share, a millisecond of a latency, one of anything
//! else, each per prediction. The interval of the net value adds up the ends of its parts' intervals, the worst case, since
//! all metrics are of the same units. A gain whose interval contains zero is not stated as a fact.

use std::str::FromStr;

use crate::answer::{
    CandidateResult, Conclusion, ExpectedValue, Goal, MetricResult, Role, ValuePart,
};
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

/// A change in steps of a price, positive if the candidate is better.
#[derive(Clone, Copy)]
struct Gain {
    steps: f64,
    /// From the worst to the best end of the interval.
    interval: Option<(f64, f64)>,
    /// The report calls the difference not significant: its p-value is adjusted, its interval is not.
    is_open: bool,
}

impl Gain {
    /// `None` if the difference cannot be estimated.
    fn of(metric: &MetricResult, result: &CandidateResult) -> Option<Self> {
        let factor = metric.scale().factor();
        let steps = |difference: f64| match metric.goal {
            Goal::Increase => difference * factor,
            Goal::Decrease => -difference * factor,
        };
        let interval = match (metric.goal, result.ci) {
            (Goal::Increase, [Some(low), Some(high)]) => Some((steps(low), steps(high))),
            (Goal::Decrease, [Some(low), Some(high)]) => Some((steps(high), steps(low))),
            _ => None,
        };
        // A guardrail's conclusion is about its margin.
        let is_open =
            metric.role != Role::Guardrail && result.decision == Conclusion::NoDifferenceShown;
        Some(Self { steps: steps(result.diff?), interval, is_open })
    }

    /// Whether the interval excludes zero, and the difference is significant. Only then is the gain a fact.
    fn is_settled(self) -> bool {
        !self.is_open && self.interval.is_some_and(|(low, high)| low > 0.0 || high < 0.0)
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
    let find = |name: &str| -> Option<Gain> {
        let metric = metrics.iter().find(|metric| metric.name == name)?;
        Gain::of(metric, metric.candidates.iter().find(|result| result.variant == variant)?)
    };
    let (mut parts, mut net, mut interval) = (Vec::new(), 0.0, Some((0.0, 0.0)));
    for price in prices {
        let Some(gain) = find(&price.metric) else { continue };
        let (metric, amount) = (price.metric.clone(), price.amount);
        parts.push(ValuePart { metric, gain: gain.steps, value_per: amount });
        net += gain.steps * amount;
        interval = interval
            .zip(gain.interval)
            .map(|(sum, ends)| (sum.0 + ends.0 * amount, sum.1 + ends.1 * amount));
    }
    let priced = !parts.is_empty();
    let interval = interval.filter(|_| priced);
    let (exchange, ms_per_point) = find(ACCURACY).zip(find("latency_mean")).map_or_else(
        || (None, None),
        |(points, ms)| {
            let (sentence, rate) = exchange(variant, points, ms);
            (Some(sentence), rate)
        },
    );
    let net_sentence = priced.then(|| at_prices(variant, net, interval));
    let sentences: Vec<String> = exchange.into_iter().chain(net_sentence).collect();
    (!sentences.is_empty()).then(|| ExpectedValue {
        variant: variant.to_owned(),
        net: priced.then_some(net),
        net_ci: interval.map_or([None; 2], |(low, high)| [Some(low), Some(high)]),
        parts,
        ms_per_point,
        sentence: sentences.join(". "),
    })
}

/// What a point of accuracy costs in mean latency: the sentence, and the rate if both are settled and opposed.
fn exchange(variant: &str, points: Gain, ms: Gain) -> (String, Option<f64>) {
    if !points.is_settled() && !ms.is_settled() {
        let neither = "shows no significant difference in accuracy or mean latency";
        return (format!("{variant} {neither}"), None);
    }
    let accuracy = if points.is_settled() {
        let brings = if points.steps >= 0.0 { "brings" } else { "loses" };
        format!("{brings} {:.2} points of accuracy", points.steps.abs())
    } else {
        "shows no significant difference in accuracy".to_owned()
    };
    let latency = if ms.is_settled() {
        let costs = if ms.steps < 0.0 { "costs" } else { "saves" };
        format!("{costs} {:.1} ms of mean latency", ms.steps.abs())
    } else {
        "shows no significant difference in mean latency".to_owned()
    };
    let settled = points.is_settled() && ms.is_settled();
    let rate = (settled && points.steps > 0.0 && ms.steps < 0.0).then(|| -ms.steps / points.steps);
    let worth = rate.map_or_else(String::new, |rate| {
        format!("; worth it where a point of accuracy is worth more than {rate:.1} ms")
    });
    (format!("{variant} {accuracy} and {latency}{worth}"), rate)
}

/// The net value at the prices, if its interval excludes zero.
fn at_prices(variant: &str, net: f64, interval: Option<(f64, f64)>) -> String {
    match interval {
        Some((low, high)) if low > 0.0 || high < 0.0 => format!(
            "{variant}: {} net per prediction, at your prices (from {} to {})",
            signed(net, 3),
            signed(low, 3),
            signed(high, 3)
        ),
        Some((low, high)) => format!(
            "{variant}: whether it gains or loses at your prices is not settled (from {} to {} net \
             per prediction)",
            signed(low, 3),
            signed(high, 3)
        ),
        None => format!(
            "{variant}: whether it gains or loses at your prices is not settled, because a metric \
             has no interval"
        ),
    }
}

#[cfg(test)]
mod tests;
