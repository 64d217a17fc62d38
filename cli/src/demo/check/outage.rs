//! What must be true after a model has failed and come back.

use std::time::Duration;

use super::super::chronicle::Phase;
use super::super::sight::Sight;
use super::{Check, fits};
use crate::words::grouped;

/// How long after its fifth failure a model may still get requests.
const LEAVES_WITHIN: Duration = Duration::from_secs(1);

/// The failing model was left at once. It failed all the time, so its last failure is its last request.
pub(in super::super) fn left(sight: &Sight<'_>) -> Check {
    let (holds, found) = match sight.chronicle.last_after_fifth() {
        Some(Duration::ZERO) => {
            (true, "the failing model got no request after its fifth failure".to_owned())
        }
        Some(last) => {
            let millis = grouped(u64::try_from(last.as_millis()).unwrap_or(u64::MAX));
            let found = format!(
                "the failing model's last request came {millis} ms after its fifth failure"
            );
            (last <= LEAVES_WITHIN, found)
        }
        None => (false, "the model failed fewer than five times".to_owned()),
    };
    Check { name: "left", holds, found }
}

/// The breaker opened once, and closed in stages.
pub(in super::super) fn tripped(sight: &Sight<'_>) -> Check {
    let transitions = &sight.chronicle.transitions;
    let told: Vec<&Phase> = transitions.iter().map(|transition| &transition.phase).collect();
    let stage = |share: &str| Phase::HalfOpen(share.to_owned());
    let expected = [Phase::Open, stage("5"), stage("25"), stage("100"), Phase::Closed];
    let holds = sight.breaker.trips == 1 && told.iter().copied().eq(&expected);
    let words = told.iter().map(|phase| match phase {
        Phase::Open => "open".to_owned(),
        Phase::HalfOpen(share) => format!("{share} %"),
        Phase::Closed => "closed".to_owned(),
    });
    let words = words.collect::<Vec<_>>().join(", ");
    let trips = if sight.breaker.trips == 1 {
        "1 trip".to_owned()
    } else {
        format!("{} trips", sight.breaker.trips)
    };
    let found = if told.is_empty() {
        format!("{trips}; the log tells of none")
    } else {
        format!("{trips}: {words}")
    };
    Check { name: "tripped", holds, found }
}

/// Nobody changed the model but a candidate's users, and they got the baseline.
pub(in super::super) fn lent(sight: &Sight<'_>) -> Check {
    let sums = &sight.sums;
    let baseline =
        sums.variants.get(sight.stage.experiment().baseline.index()).map_or(0, |share| share.users);
    let strays = sums.unforeseen;
    let found = if strays == 0 {
        let others = sums.users().saturating_sub(baseline);
        let lent = grouped(sums.lent_users);
        format!(
            "the baseline kept its {} users, and was lent {lent} of {}",
            grouped(baseline),
            grouped(others)
        )
    } else {
        format!("{} answers were neither of the user's model nor of the baseline", grouped(strays))
    };
    Check { name: "lent", holds: strays == 0 && sums.changed == 0 && sums.lent_users > 0, found }
}

/// The model has its users back.
pub(in super::super) fn recovered(sight: &Sight<'_>) -> Check {
    let (holds, found) = match &sight.sums.recovery {
        Some(recovery) => {
            let users: u64 = recovery.users.iter().sum();
            let (fit, p_value) = fits(sight, recovery.users.iter().copied());
            let found = if recovery.lent > 0 {
                format!("{} answers of the baseline to the model's users", grouped(recovery.lent))
            } else {
                let fit = if fit { "fit" } else { "do not fit" };
                format!("the shares of {} users {fit} the weights: {p_value}", grouped(users))
            };
            (fit && recovery.lent == 0 && users > 0, found)
        }
        None => (false, "the breaker did not close".to_owned()),
    };
    Check { name: "recovered", holds, found }
}
