//! Checks of the lines of the logs: those that cannot be read, and requests that are delivered more than once.

use std::collections::BTreeMap;

use super::rows::LOST;
use super::share;
use crate::check::{Check, CheckName, CheckState};
use crate::join::Joined;
use crate::row::Excluded;

/// Where repeats cannot be removed, more than this share of them counts too many requests twice: the error of a mean may
/// be off by as much.
const REPEATS: f64 = 0.001;

/// All checks of the lines.
pub(super) fn lines(joined: &Joined) -> Vec<Check> {
    vec![damaged(joined), repeated(joined)]
}

/// Lines of the experiment that cannot be read.
fn damaged(joined: &Joined) -> Check {
    let tally = &joined.tally;
    let damaged = tally.damage.lines();
    let value = share(damaged, tally.used);
    let state = match damaged {
        0 => CheckState::Ok,
        _ if value > LOST => CheckState::Blocking,
        _ => CheckState::Warning,
    };
    let cut = &joined.notes;
    if !cut.is_empty() {
        let message = format!(
            "{}. Give the whole file, or leave it out for the time that it covers",
            cut.join("; ")
        );
        return check(CheckName::DamagedLines, CheckState::Blocking, value, LOST, message);
    }
    let first = tally.damage.first().filter(|_| damaged > 0);
    let first = first.map_or_else(String::new, |(place, problem)| {
        format!("; first: line {}: {problem}", place.line)
    });
    let message = format!(
        "{damaged} line{} of the experiment ({:.2} %) cannot be read{first}",
        if damaged == 1 { "" } else { "s" },
        value * 100.0
    );
    check(CheckName::DamagedLines, state, value, LOST, message)
}

/// Requests that are delivered more than once: removed, as far as they are known.
fn repeated(joined: &Joined) -> Check {
    let tally = &joined.tally;
    let repeated = tally.left_out(Excluded::Repeated);
    let checked = tally.used.saturating_sub(joined.unchecked);
    let value = share(repeated, checked);
    let state = match repeated {
        0 => CheckState::Ok,
        _ if joined.unchecked > 0 && value > REPEATS => CheckState::Blocking,
        _ => CheckState::Warning,
    };
    let message = match (repeated, joined.unchecked) {
        (0, _) => "no request is in two lines".to_owned(),
        (_, 0) => format!(
            "{repeated} lines repeat a request that another line has (a file that was delivered \
             twice, rotations that overlap); each request counts once"
        ),
        _ => format!(
            "{:.2} % of the requests are in several lines, and there are too many requests to find \
             all of these lines; remove the files that were delivered twice",
            value * 100.0
        ),
    };
    check(CheckName::RepeatedLines, state, value, REPEATS, message)
}

fn check(name: CheckName, state: CheckState, value: f64, limit: f64, message: String) -> Check {
    let (subject, variants) = (None, BTreeMap::new());
    Check { name, state, subject, value: Some(value), limit, variants, message }
}
