//! Checks: statements about a snapshot that must hold, each with its finding in one line.

mod outage;
#[cfg(test)]
mod tests;

use sidetrack::quantity::Ppm;

use super::scrape::VariantCounts;
use super::snapshot::Snapshot;
use crate::demo::input::Kind;
use crate::simulate::chi_square;

/// A mismatch of the shares is reported below this p-value.
const P_VALUE_LIMIT: f64 = 1e-6;

/// A statement, whether it holds, and what was found.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) holds: bool,
    pub(crate) finding: String,
}

/// All checks of the scenario. An interrupted outage has only those that hold at any time.
pub(crate) fn all(snapshot: &Snapshot<'_>) -> Vec<Check> {
    match (snapshot.kind, snapshot.interrupted) {
        (Kind::Split, _) => vec![
            answered(snapshot),
            sticky(snapshot),
            split(snapshot),
            predicted(snapshot),
            counted(snapshot),
        ],
        (Kind::Outage, true) => vec![answered(snapshot), counted(snapshot)],
        (Kind::Outage, false) => vec![
            answered(snapshot),
            outage::isolated(snapshot),
            outage::breaker(snapshot),
            outage::fallback(snapshot),
            outage::recovered(snapshot),
            counted(snapshot),
        ],
    }
}

/// Every request has a response from a model.
fn answered(snapshot: &Snapshot<'_>) -> Check {
    let client = &snapshot.client;
    let holds = client.failed == 0 && client.requests > 0;
    let finding = format!("{} requests, {} failed", client.requests, client.failed);
    Check { name: "answered", holds, finding }
}

/// Every user keeps the variant.
fn sticky(snapshot: &Snapshot<'_>) -> Check {
    let client = &snapshot.client;
    let (returned, switched) = (client.returned, client.switched);
    let finding = format!("{returned} users returned, {switched} of them switched variants");
    Check { name: "sticky", holds: client.switched == 0, finding }
}

/// The users are divided by the weights, within random variation.
fn split(snapshot: &Snapshot<'_>) -> Check {
    let users: Vec<u64> = snapshot.client.variants.iter().map(|variant| variant.users).collect();
    let fit = Fit::of(&users, &snapshot.targets);
    let finding = format!("user shares {} the weights ({})", fit.verb(), fit.p_value);
    Check { name: "split", holds: fit.holds, finding }
}

/// Every response is from the variant that the core predicts.
fn predicted(snapshot: &Snapshot<'_>) -> Check {
    let client = &snapshot.client;
    let holds = client.unexpected == 0 && snapshot.expected.is_confirmed();
    let all = client.responses();
    let (same, all) = (all.saturating_sub(client.unexpected), all);
    let finding = format!("the core predicts the variant of {same} of {all} requests");
    Check { name: "predicted", holds, finding }
}

/// Envoy's metrics, the models and the client counted the same requests, for each variant.
fn counted(snapshot: &Snapshot<'_>) -> Check {
    let holds = snapshot.counts_agree();
    let by_variant = snapshot.scrape.variants.iter().zip(&snapshot.client.variants);
    let all = by_variant.map(|(counts, client)| {
        let VariantCounts { metrics, model, failures } = *counts;
        // A request that failed at one model and succeeded at another counts for the latter.
        let models = model.saturating_sub(failures) + client.failed;
        [metrics, models, client.requests + client.failed]
    });
    let counts = |[metrics, models, client]: [u64; 3]| {
        format!("metrics {metrics}, models {models}, client {client}")
    };
    let fallbacks = match (snapshot.scrape.breaker.fallbacks, snapshot.client.fallbacks) {
        (0, 0) => String::new(),
        (metrics, client) if metrics == client => format!("; fallbacks {metrics}"),
        (metrics, client) => format!("; fallbacks: metrics {metrics}, client {client}"),
    };
    // The sums are easier to read; a difference shows only by variant.
    let finding = if holds {
        counts(all.fold([0; 3], |[a, b, c], [x, y, z]| [a + x, b + y, c + z]))
    } else {
        let names = snapshot.experiment.variants.iter().map(|variant| &variant.name);
        let lines = names.zip(all).map(|(name, all)| format!("{name}: {}", counts(all)));
        lines.collect::<Vec<_>>().join("; ")
    };
    Check { name: "counted", holds, finding: finding + &fallbacks }
}

/// How well users by variant fit the weights.
struct Fit {
    holds: bool,
    p_value: String,
}

impl Fit {
    fn of(users: &[u64], weights: &[Ppm]) -> Self {
        let counts: Vec<(u64, Ppm)> = users.iter().copied().zip(weights.iter().copied()).collect();
        let unexpected = counts.iter().any(|(users, weight)| *users > 0 && *weight == Ppm::ZERO);
        let p_value = chi_square::test(&counts).p_value;
        let holds = !unexpected && p_value.is_none_or(|p| p >= P_VALUE_LIMIT);
        let p_value = match p_value {
            Some(p) if p < 0.001 => format!("chi-square p = {p:.0e}"),
            Some(p) => format!("chi-square p = {p:.3}"),
            None => "no users yet".to_owned(),
        };
        Self { holds, p_value }
    }

    const fn verb(&self) -> &'static str {
        if self.holds { "match" } else { "do not match" }
    }
}
