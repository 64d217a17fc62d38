//! What an act looks like. Made for 80 columns and 24 lines.

use std::time::Duration;

use super::act::Act;
use super::check::Check;
use super::sight::Sight;
use super::stage::Stage;
use crate::moment;
use crate::out::Ink;
use crate::words::grouped;

const WIDTH: usize = 78;
const CLOCK: usize = 24;
const BAR: usize = 20;

/// What runs.
pub(super) fn head(stage: &Stage, ink: Ink) -> Vec<String> {
    let Stage { version, workers, addr, .. } = stage;
    let workers = if *workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") };
    let running = format!("a real Envoy {version} with the filter, {workers}, on {addr}");
    vec![format!(" {}  {}", ink.bold("Sidetrack"), ink.dim(running)), String::new()]
}

/// The whole of a moment. `over`: the act has ended.
pub(super) fn frame(
    act: &Act,
    sight: &Sight<'_>,
    checks: &[Check],
    over: bool,
    ink: Ink,
) -> Vec<String> {
    let mut lines = vec![title(act, sight, over, ink)];
    lines.extend(act.story.lines().map(|line| ink.dim(line).to_string()));
    lines.push(String::new());
    lines.extend((act.show)(sight, ink));
    if act.watched || over {
        lines.push(String::new());
        lines.extend(checks.iter().map(|check| verdict(check, ink)));
    }
    let footer = (act.footer)(sight, ink);
    if !footer.is_empty() {
        lines.push(String::new());
        lines.extend(footer);
    }
    lines.iter().map(|line| format!(" {line}")).collect()
}

/// The title, and how far the act is: a bar, or what goes on when nobody knows how long that takes.
fn title(act: &Act, sight: &Sight<'_>, over: bool, ink: Ink) -> String {
    let seconds = sight.elapsed.as_secs();
    let (right, width) = match sight.length {
        Some(length) => (clock(sight.elapsed, length, ink), CLOCK + 16),
        None if over => (format!("{seconds} s"), format!("{seconds} s").len()),
        None => {
            let seconds = format!("{seconds:>4} s");
            (
                format!("{}{}", ink.note(sight.now), seconds),
                sight.now.chars().count() + seconds.len(),
            )
        }
    };
    let room = WIDTH.saturating_sub(width);
    format!("{}{right}", ink.bold(format!("{:<room$}", act.title)))
}

/// How far an act is whose length is known.
fn clock(elapsed: Duration, length: Duration, ink: Ink) -> String {
    let done = elapsed.min(length);
    let full = cells(done.as_secs_f64() / length.as_secs_f64().max(f64::EPSILON), CLOCK);
    let (past, rest) = ("━".repeat(full), "━".repeat(CLOCK - full));
    let seconds = format!("{} s of {} s", done.as_secs(), length.as_secs());
    format!("{}{}  {seconds:>14}", ink.good(past), ink.dim(rest))
}

/// Requests, their rate, failures and latency.
pub(super) fn traffic(sight: &Sight<'_>, ink: Ink) -> Vec<String> {
    let sums = &sight.sums;
    let failed = grouped(sums.failed);
    let failed = if sums.failed == 0 { ink.good(failed) } else { ink.bad(failed) };
    let rate = match sight.is_starved() {
        true => ink.note(format!("{:.0} of {}", sight.rate, sight.asked)).to_string(),
        false => ink.bold(format!("{:.0}", sight.rate)).to_string(),
    };
    vec![format!(
        "{} requests   {rate} a second   {failed} failed   p50 {}   p99 {}",
        ink.bold(grouped(sums.requests)),
        ink.bold(time(sums.p50)),
        ink.bold(time(sums.p99)),
    )]
}

/// Who got which variant, and who should.
pub(super) fn shares(sight: &Sight<'_>, ink: Ink) -> Vec<String> {
    let experiment = sight.stage.experiment();
    let targets = experiment.shares(moment::now());
    let width =
        experiment.variants.iter().map(|variant| variant.name.len()).max().unwrap_or_default();
    let head = format!(
        "{:<width$}{:>8}{:>7}{:>10}{:>7}{:>BAR$}",
        "variant", "users", "", "requests", "", ""
    );
    let mut lines = vec![ink.dim(format!("{head}  target")).to_string()];
    let (users, answers) = (sight.sums.users(), sight.sums.answers());
    let rows = experiment.variants.entries().zip(&sight.sums.variants).zip(targets);
    lines.extend(rows.map(|(((id, variant), share), target)| {
        let of_users = fraction(share.users, users);
        let name = format!("{:<width$}", variant.name);
        let name = if id == experiment.baseline { ink.bold(name) } else { ink.mark(name) };
        format!(
            "{name}{:>8}{:>7}{:>10}{:>7}  {}{:>6}",
            grouped(share.users),
            percent(of_users),
            grouped(share.requests),
            percent(fraction(share.requests, answers)),
            bar(of_users, target.fraction(), id == experiment.baseline, ink),
            format!("{target} %"),
        )
    }));
    lines
}

/// A share as a bar with a mark where it should end.
fn bar(share: f64, target: f64, plain: bool, ink: Ink) -> String {
    let (full, mark) = (cells(share, BAR), cells(target, BAR).min(BAR - 1));
    let cell = |at: usize| match (at == mark, at < full) {
        (true, _) => ink.note('│').to_string(),
        (false, true) if plain => '█'.to_string(),
        (false, true) => ink.mark('█').to_string(),
        (false, false) => ink.dim('░').to_string(),
    };
    (0..BAR).map(cell).collect()
}

fn verdict(check: &Check, ink: Ink) -> String {
    let sign = if check.holds { ink.good('✓') } else { ink.bad('✗') };
    format!("{sign} {:<9} {}", check.name, check.found)
}

/// A moment in one line, for logs.
pub(super) fn line(sight: &Sight<'_>) -> String {
    let sums = &sight.sums;
    let users = sums.users();
    let shares: Vec<String> =
        sums.variants.iter().map(|share| percent(fraction(share.users, users))).collect();
    format!(
        "{:>4} s {:>8} requests {:>5.0}/s {:>3} failed   p99 {:>7} {:>7} users: {}   {} changed",
        sight.elapsed.as_secs(),
        grouped(sums.requests),
        sight.rate,
        grouped(sums.failed),
        time(sums.p99),
        grouped(users),
        shares.join(" | "),
        grouped(sums.changed),
    )
}

fn time(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    if millis < 10.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(super) fn fraction(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

pub(super) fn percent(fraction: f64) -> String {
    format!("{:.1} %", fraction * 100.0)
}

/// How many of `all` cells a fraction fills, to the nearest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "0 to 100"
)]
fn cells(fraction: f64, all: usize) -> usize {
    ((fraction.clamp(0.0, 1.0) * all as f64).round() as usize).min(all)
}
