//! What must be true of an act. Each check says in a line what it found, while the act goes on and at its end.

mod outage;

use sidetrack::quantity::Ppm;

use super::readings::Counted;
use super::sight::Sight;
use crate::moment;
use crate::simulate::chi_square;
use crate::words::grouped;
pub(super) use outage::{left, lent, recovered, tripped};

/// Shares that are less likely than this are no accident.
const SUSPICIOUS: f64 = 1e-6;

/// A statement about what was seen.
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) holds: bool,
    pub(super) found: String,
}

/// Every request got an answer from a model.
pub(super) fn answered(sight: &Sight<'_>) -> Check {
    let sums = &sight.sums;
    let holds = sums.failed == 0 && sums.requests > 0;
    let found = format!("{} requests, {} failed", grouped(sums.requests), grouped(sums.failed));
    Check { name: "answered", holds, found }
}

/// Nobody changed the model.
pub(super) fn sticky(sight: &Sight<'_>) -> Check {
    let sums = &sight.sums;
    let (returned, changed) = (grouped(sums.returned), grouped(sums.changed));
    let found = format!("{returned} users came more than once, {changed} changed their model");
    Check { name: "sticky", holds: sums.changed == 0, found }
}

/// The users are divided as the weights say, but for chance.
pub(super) fn fair(sight: &Sight<'_>) -> Check {
    let users = sight.sums.variants.iter().map(|share| share.users);
    let (holds, found) = fits(sight, users);
    let fit = if holds { "fit" } else { "do not fit" };
    Check { name: "fair", holds, found: format!("the users' shares {fit} the weights: {found}") }
}

/// Whether users by variant are as many as the weights say, but for chance.
fn fits(sight: &Sight<'_>, users: impl Iterator<Item = u64>) -> (bool, String) {
    let weights = sight.stage.experiment().shares(moment::now());
    let counts: Vec<(u64, Ppm)> = users.zip(weights).collect();
    let uninvited = counts.iter().any(|(users, weight)| *users > 0 && *weight == Ppm::ZERO);
    let p_value = chi_square::test(&counts).p_value;
    let found = match p_value {
        Some(p) if p < 0.001 => format!("chi-square p = {p:.0e}"),
        Some(p) => format!("chi-square p = {p:.3}"),
        None => "no users yet".to_owned(),
    };
    (!uninvited && p_value.is_none_or(|p| p >= SUSPICIOUS), found)
}

/// Every answer is of the model that the core names.
pub(super) fn foretold(sight: &Sight<'_>) -> Check {
    let sums = &sight.sums;
    let holds = sums.unforeseen == 0 && sight.explained.is_confirmed();
    let (same, all) = (sums.answers().saturating_sub(sums.unforeseen), sums.answers());
    let found = format!(
        "outside of Envoy the core names the same model: {} of {}",
        grouped(same),
        grouped(all)
    );
    Check { name: "foretold", holds, found }
}

/// Envoy's metrics, the models and the client counted the same, for each variant.
pub(super) fn counted(sight: &Sight<'_>) -> Check {
    let holds = sight.counts_agree();
    let by_variant = sight.counted.iter().zip(&sight.sums.variants);
    let all = by_variant.map(|(counted, share)| {
        let Counted { metrics, model, failures } = *counted;
        // What a model failed and another one answered counts where it was answered.
        [metrics, model.saturating_sub(failures) + share.failed, share.requests + share.failed]
    });
    // Sums are easier to read; where they would hide the difference, they are not.
    let told = |[metrics, models, client]: [u64; 3]| {
        format!(
            "Envoy's metrics {}, models {}, client {}",
            grouped(metrics),
            grouped(models),
            grouped(client)
        )
    };
    let lent = match (sight.breaker.fallbacks, sight.sums.lent) {
        (0, 0) => String::new(),
        (metrics, client) if metrics == client => format!("; fallbacks {}", grouped(metrics)),
        (metrics, client) => {
            format!("; fallbacks: Envoy's metrics {}, client {}", grouped(metrics), grouped(client))
        }
    };
    let found = if holds {
        told(all.fold([0; 3], |[a, b, c], [x, y, z]| [a + x, b + y, c + z]))
    } else {
        let names = sight.stage.experiment().variants.iter().map(|variant| &variant.name);
        names
            .zip(all)
            .map(|(name, counts)| format!("{name}: {}", told(counts)))
            .collect::<Vec<_>>()
            .join("; ")
    };
    Check { name: "counted", holds, found: found + &lent }
}
