//! The body of an outage: the chart, the effects of the failure, and the breaker's log.

use super::chart;
use super::style::count_of_failures;
use crate::demo::observe::Snapshot;
use crate::out::Ink;

pub(super) fn lines(snapshot: &Snapshot<'_>, ink: Ink) -> Vec<String> {
    let mut lines = chart::lines(snapshot, ink);
    lines.push(String::new());
    lines.extend(effects(snapshot, ink));
    lines.push(String::new());
    let subject = &snapshot.events.subject;
    lines.push(ink.dim(format!("   s  Envoy's log of {subject}")).to_string());
    lines.extend(snapshot.events.transitions.iter().map(|transition| {
        let at = ink.dim(format!("{:>4.1}", transition.at.as_secs_f64()));
        format!("{at}  {}", transition.phase.state().painted(&transition.text, ink))
    }));
    lines
}

fn effects(snapshot: &Snapshot<'_>, ink: Ink) -> Vec<String> {
    let client = &snapshot.client;
    let failures = snapshot.scrape.failures().to_string();
    let failures = match snapshot.events.last_after_fifth {
        Some(last) if last.is_zero() => format!("{failures}, no request after the fifth"),
        Some(last) => format!("{failures}, the last one {} ms after the fifth", last.as_millis()),
        None => failures,
    };
    let (requests, users) = (client.fallbacks, client.fallback_users);
    let fallbacks = format!("{requests} requests from {users} users");
    vec![
        format!("503s from the model              {}", ink.bold(failures)),
        format!("served by the baseline instead   {}", ink.bold(fallbacks)),
        format!("failures seen by clients         {}", count_of_failures(client.failed, ink)),
    ]
}
