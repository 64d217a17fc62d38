//! Commands to copy, for the Envoy that is still running.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use sidetrack::names::metric::{BREAKER_STATE, PREFIX};
use sidetrack::plan::Plan;

use crate::demo::input::PATH;
use crate::out::Ink;
use crate::words::variant;

/// The traffic that keeps running while commands are tried.
pub(crate) struct Traffic {
    pub(crate) rate: u32,
    pub(crate) length: Duration,
}

/// What the commands refer to.
pub(crate) struct Targets<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// In the order of the variants.
    pub(crate) models: Vec<SocketAddr>,
    pub(crate) exposures: &'a Path,
    /// Without traffic, the breaker cannot be tried.
    pub(crate) traffic: Option<Traffic>,
}

/// The commands, and the addresses of all processes.
pub(crate) fn commands(targets: &Targets<'_>, ink: Ink) -> Vec<String> {
    let mut lines = vec![String::new(), format!(" {}", ink.bold("Try it yourself"))];
    for (purpose, command) in list(targets) {
        lines.push(String::new());
        lines.push(format!(" {}", ink.dim(format!("# {purpose}"))));
        lines.push(command);
    }
    lines.push(String::new());
    let Targets { addr, admin, .. } = targets;
    lines.push(format!(" {} {addr}   {} {admin}", ink.dim("Envoy"), ink.dim("admin interface")));
    let variants = targets.plan.experiments.iter().flat_map(|experiment| &experiment.variants);
    let models = variants.zip(&targets.models);
    let models: Vec<String> =
        models.map(|(variant, addr)| format!("{} {addr}", variant.name)).collect();
    lines.push(format!(" {} {}", ink.dim("models"), models.join("   ")));
    lines.push(String::new());
    if let Some(Traffic { rate, length }) = &targets.traffic {
        let minutes = length.as_secs() / 60;
        let text = format!("Traffic continues for {minutes} minutes, {rate} requests per second.");
        lines.push(format!(" {}", ink.dim(text)));
    }
    lines.push(format!(" {}", ink.note("Everything runs until you press Ctrl-C.")));
    lines
}

/// Purpose and command.
fn list(targets: &Targets<'_>) -> Vec<(String, String)> {
    let Targets { plan, addr, admin, .. } = targets;
    let names = &plan.settings.headers;
    let Some(experiment) = plan.experiments.first() else { return Vec::new() };
    let infer = format!("curl -si http://{addr}{PATH} -d '{{}}'");
    let user = "-H 'x-user-id: 4711'";
    let metrics = format!("curl -s http://{admin}/stats/prometheus");
    let mut list =
        vec![("A user. Repeat it: the same model responds.".to_owned(), format!("{infer} {user}"))];
    let candidate = experiment.candidates().next();
    if let (Some(header), Some(candidate)) = (&experiment.overrides.header, candidate) {
        list.push((
            "A tester requests the enhanced model with a header.".to_owned(),
            format!("{infer} -H '{header}: {}'", variant(experiment, candidate)),
        ));
    }
    list.push((
        "Why does this user get this model?".to_owned(),
        format!("{infer} {user} -H '{}: 1' | grep {}", names.debug, names.prefix),
    ));
    list.push((
        "The metrics that Prometheus scrapes.".to_owned(),
        format!("{metrics} | grep '^{PREFIX}'"),
    ));
    list.push((
        "The exposure log for `sidetrack analyze`: one line per request.".to_owned(),
        format!("tail -n 3 {}", targets.exposures.display()),
    ));
    let model = candidate.and_then(|candidate| targets.models.get(candidate.index()));
    if let Some(model) = model.filter(|_| targets.traffic.is_some()) {
        let set =
            |status| format!("curl -s -X POST 'http://{model}/_stub/behavior?status={status}'");
        let state = format!("{metrics} | grep ^{BREAKER_STATE}");
        let purposes = [
            ("Make the enhanced model fail.", set(503)),
            ("Within a second its breaker is open (2); the baseline serves its users.", state),
            (
                "Heal it: half-open (1) after 4 seconds, closed (0) about 10 seconds later.",
                set(200),
            ),
        ];
        list.extend(purposes.map(|(purpose, command)| (purpose.to_owned(), command)));
    }
    list
}
