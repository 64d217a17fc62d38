//! The frame: title, traffic, table or chart, checks.

use std::net::SocketAddr;
use std::time::Duration;

use super::style::{cells, count_of_failures, fraction, latency, percent};
use super::{explanation, outage};
use crate::demo::input::Kind;
use crate::demo::observe::{Check, Snapshot};
use crate::out::Ink;
use crate::words::variant;

const WIDTH: usize = 78;
const CLOCK: usize = 24;
const BAR: usize = 20;

/// What runs, and where.
pub(crate) fn header(version: &str, workers: u32, addr: SocketAddr, ink: Ink) -> Vec<String> {
    let plural = if workers == 1 { "" } else { "s" };
    let running =
        format!("Envoy {version} with the filter, {workers} worker{plural}, http://{addr}");
    vec![format!(" {}  {}", ink.bold("Sidetrack"), ink.dim(running)), String::new()]
}

/// A snapshot as lines. `is_final`: the scenario has ended.
pub(crate) fn frame(
    snapshot: &Snapshot<'_>,
    checks: &[Check],
    is_final: bool,
    ink: Ink,
) -> Vec<String> {
    let mut lines = vec![title(snapshot, is_final, ink)];
    lines.extend(intro(snapshot).iter().map(|line| ink.dim(line).to_string()));
    lines.push(String::new());
    lines.push(traffic(snapshot, ink));
    lines.push(String::new());
    match snapshot.kind {
        Kind::Split => {
            lines.extend(shares(snapshot, ink));
            lines.push(String::new());
            lines.extend(checks.iter().map(|check| line_of(check, ink)));
            lines.push(String::new());
            lines.extend(explanation::lines(snapshot, ink));
        }
        Kind::Outage => {
            lines.extend(outage::lines(snapshot, ink));
            if is_final {
                lines.push(String::new());
                lines.extend(checks.iter().map(|check| line_of(check, ink)));
            }
        }
    }
    lines.iter().map(|line| format!(" {line}")).collect()
}

/// The title, and the progress: a bar or, if the length is unknown, the current step.
fn title(snapshot: &Snapshot<'_>, is_final: bool, ink: Ink) -> String {
    let title = match snapshot.kind {
        Kind::Split => "A/B test on live traffic",
        Kind::Outage => "Model failure and recovery",
    };
    let seconds = snapshot.elapsed.as_secs();
    let (right, width) = match snapshot.length {
        Some(length) => (clock(snapshot.elapsed, length, ink), CLOCK + 16),
        None if is_final => (format!("{seconds} s"), format!("{seconds} s").len()),
        None => {
            let seconds = format!("{seconds:>4} s");
            let width = snapshot.step.chars().count() + seconds.len();
            (format!("{}{seconds}", ink.note(snapshot.step)), width)
        }
    };
    let room = WIDTH.saturating_sub(width);
    format!("{}{right}", ink.bold(format!("{title:<room$}")))
}

/// What the scenario shows, in two lines.
fn intro(snapshot: &Snapshot<'_>) -> Vec<String> {
    match snapshot.kind {
        Kind::Split => {
            let experiment = snapshot.experiment;
            let shares = experiment.candidates().filter_map(|id| {
                let share = snapshot.targets.get(id.index())?;
                Some(format!("{share} % of the users get {}", variant(experiment, id)))
            });
            let shares = shares.collect::<Vec<_>>().join(", ");
            vec![
                format!("{shares}, the others the baseline. A user gets"),
                "the same model every time: the ID is in a header, a cookie or the query."
                    .to_owned(),
            ]
        }
        Kind::Outage => vec![
            "The enhanced model starts to return 503. The breaker moves its users to the"
                .to_owned(),
            "baseline and back in stages; failover retries failed requests at the baseline."
                .to_owned(),
        ],
    }
}

/// A bar of a time whose length is known.
fn clock(elapsed: Duration, length: Duration, ink: Ink) -> String {
    let done = elapsed.min(length);
    let full = cells(done.as_secs_f64() / length.as_secs_f64().max(f64::EPSILON), CLOCK);
    let (past, rest) = ("━".repeat(full), "━".repeat(CLOCK - full));
    let seconds = format!("{} s of {} s", done.as_secs(), length.as_secs());
    format!("{}{}  {seconds:>14}", ink.good(past), ink.dim(rest))
}

/// Requests, rate, failures and latency.
fn traffic(snapshot: &Snapshot<'_>, ink: Ink) -> String {
    let client = &snapshot.client;
    let failed = count_of_failures(client.failed, ink);
    let rate = if snapshot.is_starved() {
        ink.note(format!("{:.0} of {}", snapshot.rate, snapshot.target_rate)).to_string()
    } else {
        ink.bold(format!("{:.0}", snapshot.rate)).to_string()
    };
    format!(
        "{} requests   {rate} per second   {failed} failed   p50 {}   p99 {}",
        ink.bold(client.requests),
        ink.bold(latency(client.p50)),
        ink.bold(latency(client.p99)),
    )
}

/// Users and requests by variant, next to the targets.
fn shares(snapshot: &Snapshot<'_>, ink: Ink) -> Vec<String> {
    let experiment = snapshot.experiment;
    let width =
        experiment.variants.iter().map(|variant| variant.name.len()).max().unwrap_or_default();
    let head = format!(
        "{:<width$}{:>7}{:>8}{:>9}{:>8}{:>BAR$}",
        "variant", "users", "", "requests", "", ""
    );
    let mut lines = vec![ink.dim(format!("{head}  target")).to_string()];
    let (users, responses) = (snapshot.client.users(), snapshot.client.responses());
    let counts = snapshot.client.variants.iter().zip(&snapshot.targets);
    let rows = experiment.variants.entries().zip(counts);
    lines.extend(rows.map(|((id, variant), (counts, target))| {
        let is_baseline = id == experiment.baseline;
        let of_users = fraction(counts.users, users);
        let name = format!("{:<width$}", variant.name);
        let name = if is_baseline { ink.bold(name) } else { ink.mark(name) };
        format!(
            "{name}{:>7}{:>8}{:>9}{:>8}  {}{:>6}",
            counts.users,
            percent(of_users),
            counts.requests,
            percent(fraction(counts.requests, responses)),
            bar(of_users, target.fraction(), is_baseline, ink),
            format!("{target} %"),
        )
    }));
    lines
}

/// A share as a bar, with a mark at the target.
fn bar(share: f64, target: f64, is_baseline: bool, ink: Ink) -> String {
    let (full, mark) = (cells(share, BAR), cells(target, BAR).min(BAR - 1));
    // A run of cells on one side of the mark: full, then empty.
    let run = |from: usize, to: usize| {
        let (bars, rest) =
            ("█".repeat(full.clamp(from, to) - from), "░".repeat(to - full.clamp(from, to)));
        let bars = if is_baseline { bars } else { ink.mark(bars).to_string() };
        format!("{bars}{}", ink.dim(rest))
    };
    format!("{}{}{}", run(0, mark), ink.note('│'), run(mark + 1, BAR))
}

fn line_of(check: &Check, ink: Ink) -> String {
    let sign = if check.holds { ink.good('✓') } else { ink.bad('✗') };
    format!("{sign} {:<9} {}", check.name, check.finding)
}
