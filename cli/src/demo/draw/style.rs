//! Numbers and states as text.

use std::time::Duration;

use crate::out::Ink;

/// A count of failures, green if 0.
pub(super) fn count_of_failures(count: u64, ink: Ink) -> String {
    if count == 0 { ink.good(count).to_string() } else { ink.bad(count).to_string() }
}

/// `3.2 ms` or `12 ms`.
pub(super) fn latency(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    if millis < 10.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
pub(super) fn fraction(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

pub(super) fn percent(fraction: f64) -> String {
    format!("{:.1} %", fraction * 100.0)
}

/// The number of full cells, rounded to the nearest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "0 to 100"
)]
pub(super) fn cells(fraction: f64, all: usize) -> usize {
    ((fraction.clamp(0.0, 1.0) * all as f64).round() as usize).min(all)
}
