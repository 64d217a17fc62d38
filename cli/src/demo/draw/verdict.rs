//! The conclusion below the last frame.

use crate::demo::input::Kind;
use crate::demo::observe::{Check, Snapshot};
use crate::out::Ink;

/// The result of all checks, and what limits it.
pub(crate) fn verdict(snapshot: &Snapshot<'_>, checks: &[Check], ink: Ink) -> Vec<String> {
    let failed = checks.iter().filter(|check| !check.holds).count();
    let interrupted = if snapshot.interrupted { " (interrupted)" } else { "" };
    let mut lines = vec![String::new()];
    if failed == 0 {
        let summary = format!("All checks passed{interrupted}: {}", summary(snapshot));
        lines.push(format!(" {}", ink.good(summary)));
    } else {
        let text = format!("{failed} of {} checks failed{interrupted}.", checks.len());
        lines.push(format!(" {}", ink.bad(text)));
        let problem = snapshot.client.first_problem.as_ref();
        lines.extend(problem.map(|problem| format!(" First problem: {problem}.")));
    }
    if snapshot.is_starved() {
        let (rate, target) = (snapshot.rate, snapshot.target_rate);
        let text = format!(
            "This machine is busy: it sent {rate:.0} instead of {target} requests per second."
        );
        lines.push(format!(" {}", ink.note(text)));
    }
    lines
}

fn summary(snapshot: &Snapshot<'_>) -> String {
    let client = &snapshot.client;
    match (snapshot.kind, snapshot.interrupted) {
        (Kind::Split, _) => {
            let (requests, users) = (client.requests, client.users());
            format!("{requests} requests from {users} users, one model per user.")
        }
        (Kind::Outage, true) => "no client saw a failure.".to_owned(),
        (Kind::Outage, false) => {
            let users = client.fallback_users;
            format!("the baseline took over {users} users; no client saw a failure.")
        }
    }
}
