//! The frame: what runs where, what is wrong, a table per experiment, the last events.

use std::time::Duration;

use super::{State, VariantState, request};
use crate::load::count;
use crate::out::Ink;
use crate::run::event::{Event, Kind};
use crate::run::folder::Folder;
use crate::run::follow::Follower;
use crate::run::observe::Observer;
use crate::run::supervise::Supervisor;
use crate::words::visible;
use crate::wrap::{self, wrapped};

/// The longest name of a variant that a line of 80 columns has room for.
const NAME: usize = 18;

/// What runs, and where.
pub(super) fn header(
    follower: &Follower,
    supervisor: &Supervisor,
    folder: &Folder,
    store: Option<&str>,
    ink: Ink,
) -> Vec<String> {
    let Supervisor { version, addr, admin, .. } = supervisor;
    let fact = |label: &str, text: String| format!(" {} {text}", ink.dim(format!("{label:<10}")));
    let mut lines = vec![
        format!(
            " {}  {}",
            ink.bold("Sidetrack"),
            ink.dim(format!("{}, Envoy {version} with the filter", follower.name()))
        ),
        String::new(),
        fact("send to", ink.bold(format!("http://{addr}")).to_string()),
        fact("admin", format!("http://{admin}")),
        fact("exposures", folder.shown_exposures().display().to_string()),
    ];
    let command = |label: &str, text: &str| {
        let text = wrap::command(&format!(" {label:<10} "), text);
        let painted = text.replacen(label, &ink.dim(label).to_string(), 1);
        painted.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let first = follower.plan().experiments.first();
    let example = first.map(|experiment| request::example(experiment, *addr));
    lines.extend(example.iter().flat_map(|example| command("try", example)));
    if let Some(store) = store {
        lines.push(fact("page", ink.bold(store).to_string()));
        let outcomes = format!(
            "curl {store}/v1/outcomes -H 'content-type: text/csv' --data-binary @outcomes.csv"
        );
        lines.extend(command("outcomes", &outcomes));
    }
    lines.push(String::new());
    lines
}

/// What is wrong now.
pub(super) fn problems(
    follower: &Follower,
    supervisor: &Supervisor,
    observer: &Observer,
    store_problem: Option<&str>,
    ink: Ink,
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |text: &str| {
        let text = wrapped(" ! ", text);
        lines.extend(text.lines().map(|line| ink.bad(line).to_string()));
    };
    if supervisor.envoy().is_none() {
        add("Envoy does not run.");
    }
    if let Some(problem) = follower.problem() {
        let hash = follower.plan().hash.short();
        add(&format!("{} does not take effect, {hash} stays in force: {problem}", follower.name()));
    }
    for cluster in observer.refusing() {
        add(&format!("{cluster} does not accept connections."));
    }
    if let Some(problem) = store_problem {
        add(&visible(problem));
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

/// The state of an experiment.
pub(super) fn table(state: &State, ink: Ink) -> Vec<String> {
    let phase = state.phase.as_ref().map_or_else(String::new, |phase| format!(", phase {phase}"));
    let mut lines = vec![format!(
        " {}  {}, {:.0} per second{phase}",
        ink.bold(&state.name),
        count(state.requests, "request"),
        state.rate,
    )];
    if !state.enabled {
        lines.push(ink.note(" It is disabled: all requests get the baseline.").to_string());
    }
    let width = state.variants.iter().map(|it| it.name.chars().count()).max().unwrap_or_default();
    let width = width.clamp("variant".len(), NAME);
    let head = format!(
        " {:<width$} {:>8} {:>7} {:>7} {:>6} {:>7} {:>7}  breaker",
        "variant", "requests", "share", "target", "errors", "p50", "p99"
    );
    lines.push(ink.dim(head).to_string());
    lines.extend(state.variants.iter().map(|it| row(it, width, ink)));
    for it in state.variants.iter().filter(|it| it.fallbacks > 0) {
        let text =
            format!("{} of {} got the baseline instead.", count(it.fallbacks, "request"), it.name);
        lines.extend(wrapped(" ", &text).lines().map(|line| ink.dim(line).to_string()));
    }
    if state.missing_unit > 0 {
        let text = format!(" {} had no unit.", count(state.missing_unit, "request"));
        lines.push(ink.note(text).to_string());
    }
    lines.push(String::new());
    lines
}

fn row(it: &VariantState, width: usize, ink: Ink) -> String {
    let name = match it.name.char_indices().nth(width) {
        Some(_) => it.name.chars().take(width - 1).chain(['…']).collect(),
        None => format!("{:<width$}", it.name),
    };
    let name = if it.is_baseline { ink.bold(name) } else { ink.mark(name) };
    let share = it.share.map_or_else(|| "–".to_owned(), |share| format!("{share:.1} %"));
    let errors = format!("{:>6}", it.errors);
    let errors = if it.errors == 0 { errors } else { ink.bad(errors).to_string() };
    let breaker = it.breaker.map_or_else(String::new, |state| state.painted(state.as_str(), ink));
    format!(
        " {name} {:>8} {share:>7} {:>7} {errors} {:>7} {:>7}  {breaker}",
        it.requests,
        format!("{} %", it.target),
        latency(it.p50_ms),
        latency(it.p99_ms),
    )
}

fn latency(millis: Option<f64>) -> String {
    match millis {
        None => "–".to_owned(),
        Some(millis) if millis < 10.0 => format!("{millis:.1} ms"),
        Some(millis) => format!("{millis:.0} ms"),
    }
}

/// How long it has run.
pub(super) fn time(elapsed: Duration, ink: Ink) -> String {
    let seconds = elapsed.as_secs();
    let time = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    ink.dim(format!(" running for {time}; Ctrl-C stops it; latency of the last 10 s")).to_string()
}

/// An event, with its time in UTC.
pub(super) fn event(event: &Event, ink: Ink) -> Vec<String> {
    let clock = event.clock().to_owned();
    let mut lines = event.text.lines();
    let start = format!(" {clock}  ");
    let mut out: Vec<String> = Vec::new();
    let first = wrapped(&start, &visible(lines.next().unwrap_or_default()));
    out.extend(first.lines().map(str::to_owned));
    let indent = " ".repeat(start.len());
    for line in lines {
        let line = wrapped(&indent, &visible(line.trim_start()));
        out.extend(line.lines().map(str::to_owned));
    }
    let paint = |line: &String| match event.kind {
        Kind::Rejected | Kind::Stopped | Kind::Store => ink.bad(line).to_string(),
        Kind::Endpoint | Kind::Breaker => ink.note(line).to_string(),
        Kind::InForce | Kind::Restarted => ink.good(line).to_string(),
    };
    out.iter().map(paint).collect()
}

/// After the end: where the data are, and what to do with them.
pub(super) fn farewell(
    follower: &Follower,
    folder: &Folder,
    is_stored: bool,
    ink: Ink,
) -> Vec<String> {
    if is_stored {
        let store = folder.shown_store();
        return vec![
            ink.dim(
                " Envoy has stopped. Exposures and outcomes are stored. To see the page again:",
            )
            .to_string(),
            wrap::command(
                "   ",
                &format!("sidetrack serve --store {} {}", store.display(), follower.name()),
            ),
        ];
    }
    let exposures = folder.shown_exposures();
    let command = format!(
        "sidetrack analyze run {} --exposures {} --outcomes outcomes.csv",
        follower.name(),
        exposures.display()
    );
    vec![
        ink.dim(" Envoy has stopped. Analyze the exposures with the outcomes of your predictions:")
            .to_string(),
        wrap::command("   ", &command),
    ]
}
