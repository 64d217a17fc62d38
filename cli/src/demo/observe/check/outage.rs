//! Checks of an outage: a model failed and recovered.

use std::time::Duration;

use super::super::event_log::BreakerPhase;
use super::super::snapshot::Snapshot;
use super::{Check, Fit};

/// The limit for requests to a failing model after its fifth failure.
const ISOLATION_LIMIT: Duration = Duration::from_secs(1);

/// The failing model receives no more requests. It fails all the time, so its last failure is its last request.
pub(super) fn isolated(snapshot: &Snapshot<'_>) -> Check {
    let (holds, finding) = match snapshot.events.last_after_fifth {
        Some(Duration::ZERO) => {
            (true, "the failing model received no request after its fifth failure".to_owned())
        }
        Some(last) => (
            last <= ISOLATION_LIMIT,
            format!(
                "the failing model's last request: {} ms after its fifth failure",
                last.as_millis()
            ),
        ),
        None => (false, "the model failed fewer than five times".to_owned()),
    };
    Check { name: "isolated", holds, finding }
}

/// The breaker opens once, and closes in stages.
pub(super) fn breaker(snapshot: &Snapshot<'_>) -> Check {
    let phases: Vec<&BreakerPhase> =
        snapshot.events.transitions.iter().map(|transition| &transition.phase).collect();
    let stage = |share: &str| BreakerPhase::HalfOpen(share.to_owned());
    let expected =
        [BreakerPhase::Open, stage("5"), stage("25"), stage("100"), BreakerPhase::Closed];
    let trips = snapshot.scrape.breaker.trips;
    let holds = trips == 1 && phases.iter().copied().eq(&expected);
    let names = phases.iter().map(|phase| match phase {
        BreakerPhase::Open => "open".to_owned(),
        BreakerPhase::HalfOpen(share) => format!("{share} %"),
        BreakerPhase::Closed => "closed".to_owned(),
    });
    let names = names.collect::<Vec<_>>().join(", ");
    let plural = if trips == 1 { "" } else { "s" };
    let finding = if phases.is_empty() {
        format!("{trips} trip{plural}; Envoy's log contains no transition")
    } else {
        format!("{trips} trip{plural}: {names}")
    };
    Check { name: "breaker", holds, finding }
}

/// Only a candidate's users move, and only to the baseline.
pub(super) fn fallback(snapshot: &Snapshot<'_>) -> Check {
    let client = &snapshot.client;
    let baseline = client
        .variants
        .get(snapshot.experiment.baseline.index())
        .map_or(0, |variant| variant.users);
    let finding = if client.unexpected == 0 {
        format!(
            "the baseline kept {baseline} users and took over {} of {} others",
            client.fallback_users,
            client.users().saturating_sub(baseline)
        )
    } else {
        let unexpected = client.unexpected;
        format!("{unexpected} responses from neither the user's variant nor the baseline")
    };
    let holds = client.unexpected == 0 && client.switched == 0 && client.fallback_users > 0;
    Check { name: "fallback", holds, finding }
}

/// The model serves its users again.
pub(super) fn recovered(snapshot: &Snapshot<'_>) -> Check {
    let (holds, finding) = match &snapshot.client.recovery {
        Some(recovery) if recovery.fallbacks > 0 => {
            let fallbacks = recovery.fallbacks;
            (false, format!("{fallbacks} responses from the baseline to the candidate's users"))
        }
        Some(recovery) => {
            let users: u64 = recovery.users.iter().sum();
            let fit = Fit::of(&recovery.users, &snapshot.targets);
            let (verb, p_value) = (fit.verb(), &fit.p_value);
            let finding = format!("shares of {users} users {verb} the weights ({p_value})");
            (fit.holds && users > 0, finding)
        }
        None => (false, "the breaker did not close".to_owned()),
    };
    Check { name: "recovered", holds, finding }
}
