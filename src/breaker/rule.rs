//! Tests that decide whether a candidate is bad, in integer arithmetic, so that every worker and
//! every replay agrees.

use super::event::Kind;
use super::streak::{Need, Recent};
use super::window::Counts;
use crate::plan;
use crate::plan::BreakerMode;
use crate::quantity::{Millis, Ppm};

/// The confidence that the candidate is worse than the baseline, as the square of the normal
/// quantile, in millionths: 99 percent if its share is at least four times the baseline's, 99.999
/// percent otherwise.
///
/// While an outage that both share fills the window, they are compared on every tick. With 99
/// percent alone, one such outage in ten would be a false positive; with 99.999 percent alone,
/// detection would take half as long again.
const FAR_WORSE_Z2: u64 = 5_411_894;
const WORSE_Z2: u64 = 18_189_293;

/// The smallest limit for the share of requests that clients abandon before a response. Clients
/// leave for reasons of their own, and a variant that is only slower loses more of them.
const ABANDONED_LIMIT: Ppm = Ppm::new(200_000).unwrap();

/// Longer streaks count as this long.
const LONGEST_STREAK: u32 = 64;

/// The compiled breaker of the experiment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(super) mode: BreakerMode,
    error_limit: Ppm,
    slow: Option<plan::Slow>,
    no_answer: Option<Millis>,
    pub(super) width: Millis,
    pub(super) min_requests: u32,
    /// The square of the normal quantile of the confidence, in millionths.
    z2: u64,
    pub(super) consecutive: u32,
    pub(super) compare: bool,
    pub(super) open_for: Millis,
    max_open_for: Millis,
}

impl Rule {
    /// Compiles the breaker of the experiment file.
    #[must_use]
    pub fn new(breaker: &plan::Breaker) -> Self {
        Self {
            mode: breaker.mode,
            error_limit: breaker.error_rate,
            slow: breaker.slow,
            no_answer: breaker.no_answer,
            width: Millis::new((breaker.window.get() / 10).max(1)),
            min_requests: breaker.min_requests,
            z2: squared_quantile(breaker.confidence),
            consecutive: breaker.consecutive_errors,
            compare: breaker.compare_to_baseline,
            open_for: breaker.open_for,
            max_open_for: breaker.max_open_for,
        }
    }

    /// Whether the breaker is enabled, if only for a dry run.
    #[inline]
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.mode != BreakerMode::Disabled
    }

    /// The time to the response headers above which a response is slow.
    #[must_use]
    pub fn slow_over(&self) -> Option<Millis> {
        self.slow.map(|slow| slow.over)
    }

    /// The time without an answer after which a request has failed.
    #[must_use]
    pub const fn no_answer(&self) -> Option<Millis> {
        self.no_answer
    }

    /// Whether a request that waits for an answer can count before it ends.
    #[inline]
    pub(super) fn limits_waiting(&self) -> bool {
        self.is_active() && (self.slow.is_some() || self.no_answer.is_some())
    }

    /// The length of the window in which requests count.
    #[must_use]
    pub const fn window(&self) -> Millis {
        self.width.times(10)
    }

    /// Whether the rate is above its limit with the confidence that is asked for.
    pub(super) fn is_above(&self, kind: Kind, seen: Counts, limit: Ppm) -> bool {
        let (count, of) = kind.of(seen);
        surely_above(count, of, limit, self.z2)
    }

    /// Whether a stage of the recovery exceeds its limit. Fails early, as soon as `min_requests`
    /// requests could not pass.
    pub(super) fn stage_fails(&self, kind: Kind, seen: Counts, limit: Ppm) -> bool {
        let (count, of) = kind.of(self.padded(seen));
        surely_above(count, of, limit, 0)
    }

    /// As if at least `min_requests` requests had ended, the others well.
    pub(super) fn padded(&self, seen: Counts) -> Counts {
        Counts { requests: seen.requests.max(self.min_requests), ..seen }
    }

    /// The failures of one unit that count among so many requests: a fifth of `min_requests`, or
    /// of what the limit allows if that is more. So it takes five units to trip where one alone
    /// could not be told from a bad client.
    pub(super) fn cap(&self, limit: Ppm, requests: u32) -> u32 {
        (self.min_requests / 5).max(part(limit, requests) / 5).max(1)
    }

    /// The failures of one unit that count in a stage of the recovery: as many as pass.
    pub(super) fn stage_cap(&self, limit: Ppm) -> u32 {
        part(limit, self.min_requests).max(1)
    }

    /// Whether the baseline has the same fault: the candidate is not significantly worse. Where the
    /// baseline has too few requests to judge it, the missing ones are taken to fail at the limit,
    /// unless at least two of its requests failed and its own share is no smaller than the candidate's.
    /// Without any, a failure is the candidate's own, but an abandoned request may be the client's.
    #[inline(never)]
    pub(super) fn shares(&self, kind: Kind, candidate: Counts, baseline: Option<Counts>) -> bool {
        let (count, of) = kind.of(baseline.unwrap_or_default());
        if of == 0 {
            return kind == Kind::Abandoned;
        }
        // What is assumed of the missing ones must not outweigh a baseline that fails as much.
        if count > 1 && !has_larger_share(kind.of(candidate), (count, of)) {
            return true;
        }
        let missing = self.min_requests.saturating_sub(of);
        let limit = self.limits().find(|(other, _)| *other == kind).map_or(Ppm::ZERO, |(_, it)| it);
        let assumed = part(limit, missing.saturating_mul(2)).div_ceil(2);
        !surely_worse(kind.of(candidate), (count.saturating_add(assumed), of + missing))
    }

    /// The failures in a row that open the breaker.
    #[inline]
    pub(super) const fn streak(&self, are_few: bool) -> Need {
        Need { failures: self.consecutive, is_capped: !are_few }
    }

    /// Whether a streak of this length is improbable at the rate of these outcomes, by the last 8
    /// and by the last 32 of them.
    pub(super) fn are_surprising(&self, streak: u32, recent: Recent) -> bool {
        [8, u32::BITS].into_iter().all(|latest| {
            let (failed, of) = recent.failures(latest);
            self.is_surprising(streak, failed, of)
        })
    }

    /// Whether `streak` failures in a row, at a rate of `failed` in `of`, are at most as probable
    /// as `consecutive` failures in a row are at the limit.
    fn is_surprising(&self, streak: u32, failed: u32, of: u32) -> bool {
        let limit = u64::from(self.error_limit.get()).max(10_000);
        let share = u64::from(failed) * u64::from(Ppm::ALL.get()) / u64::from(of.max(1));
        power(share.max(limit), streak) <= power(limit, self.consecutive)
    }

    /// The longest time that the breaker can stay open.
    pub(super) const fn longest(&self) -> Millis {
        self.max_open_for.thousandths(1100)
    }

    /// Whether one more trip in a row than `level` keeps it open for longer.
    pub(super) fn grows(&self, level: u8) -> bool {
        self.doubled(level) < self.max_open_for
    }

    fn doubled(&self, level: u8) -> Millis {
        self.open_for.times(1u64.checked_shl(u32::from(level)).unwrap_or(u64::MAX))
    }

    /// How long the breaker stays open after `level` trips in a row: doubles with each, ±10
    /// percent.
    pub(super) fn open_for(&self, level: u8, jitter: u64) -> Millis {
        let length = self.doubled(level).min(self.max_open_for);
        // 900 to 1100 thousandths.
        length.thousandths(900 + jitter % 201)
    }

    /// The rates that are limited.
    pub(super) fn limits(&self) -> impl Iterator<Item = (Kind, Ppm)> {
        let slow = self.slow.map(|slow| (Kind::Slow, slow.rate));
        let watches_abandoned = self.compare && self.no_answer.is_some();
        let abandoned = (Kind::Abandoned, self.error_limit.max(ABANDONED_LIMIT));
        core::iter::once((Kind::Errors, self.error_limit))
            .chain(slow)
            .chain(watches_abandoned.then_some(abandoned))
    }
}

/// This share of a number, rounded down.
fn part(share: Ppm, of: u32) -> u32 {
    let part = u64::from(share.get()) * u64::from(of) / u64::from(Ppm::ALL.get());
    u32::try_from(part).unwrap_or(u32::MAX)
}

/// Whether `count` of `of` is strictly above `limit`, with the confidence of `z2`.
///
/// Wilson's lower bound (E. B. Wilson, 1927) is above p₀ exactly when the score test rejects p₀:
/// p̂ > p₀ and n (p̂ − p₀)² > z² p₀ (1 − p₀). Multiplied out, nothing is left but integers.
#[inline(never)]
fn surely_above(count: u32, of: u32, limit: Ppm, z2: u64) -> bool {
    let whole = u128::from(Ppm::ALL.get());
    let (count, of, limit) = (u128::from(count), u128::from(of), u128::from(limit.get()));
    let Some(excess) = (count * whole).checked_sub(limit * of).filter(|&excess| excess > 0) else {
        return false;
    };
    let Some(square) = excess.checked_mul(excess).and_then(|square| square.checked_mul(1_000_000))
    else {
        return true;
    };
    square > u128::from(z2) * limit * (whole - limit) * of
}

/// A share to the power of `times`, in units of 2⁻¹⁰⁴.
fn power(share: u64, times: u32) -> u128 {
    let multiply = |power: u128, _| power * u128::from(share) / u128::from(Ppm::ALL.get());
    (0..times.min(LONGEST_STREAK)).fold(1 << 104, multiply)
}

/// Whether the candidate's share is significantly above the baseline's: the pooled two-proportion
/// test, one-sided, as z² = d² N / (n₁ n₂ e (N − e)) with d = e₁ n₂ − e₂ n₁.
#[inline(never)]
fn surely_worse(candidate: (u32, u32), baseline: (u32, u32)) -> bool {
    let ((e1, n1), (e2, n2)) = (small(candidate), small(baseline));
    let Some(d) = (e1 * n2).checked_sub(e2 * n1).filter(|&d| d > 0) else { return false };
    let (e, n) = (e1 + e2, n1 + n2);
    let z2 = if e1 * n2 >= 4 * e2 * n1 { FAR_WORSE_Z2 } else { WORSE_Z2 };
    d * d * n * 1_000_000 > u128::from(z2) * n1 * n2 * e * (n - e)
}

/// Whether the candidate's share is above the baseline's, significantly or not.
fn has_larger_share((e1, n1): (u32, u32), (e2, n2): (u32, u32)) -> bool {
    u64::from(e1) * u64::from(n2) > u64::from(e2) * u64::from(n1)
}

/// Counts of a million or less in the same proportion, so that no product above overflows.
fn small((count, of): (u32, u32)) -> (u128, u128) {
    let divisor = u128::from(of).div_ceil(1_000_000).max(1);
    let of = u128::from(of) / divisor;
    ((u128::from(count) / divisor).min(of), of)
}

/// The square of the normal quantile of a one-sided confidence, in millionths; 0 up to 50 percent.
///
/// Computed once when a configuration is loaded, by bisection of the upper tail.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 36 million")]
fn squared_quantile(confidence: Ppm) -> u64 {
    let tail = 1.0 - confidence.fraction();
    if tail >= 0.5 {
        return 0;
    }
    let (mut low, mut high) = (0.0_f64, 6.0_f64);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if upper_tail(middle) > tail { low = middle } else { high = middle }
    }
    (low * low * 1e6).round() as u64
}

/// The normal distribution's upper tail for 0 ≤ x ≤ 6, by the series φ(x) Σ x²ᵏ⁺¹ / (2k+1)!! (G.
/// Marsaglia, "Evaluating the Normal Distribution", 2004), whose terms are all positive; exact to
/// 1e-15 there.
fn upper_tail(x: f64) -> f64 {
    let density = (-x * x / 2.0).exp() / (2.0 * core::f64::consts::PI).sqrt();
    let terms = (1..100).scan(x, |term, k| {
        let this = *term;
        *term *= x * x / f64::from(2 * k + 1);
        Some(this)
    });
    0.5 - density * terms.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_is_the_tables() {
        // z(99.999 %) = 4.264891, z(99.9 %) = 3.090232, z(99 %) = 2.326348, z(95 %) = 1.644854.
        for (confidence, z2) in [
            (999_990, WORSE_Z2),
            (999_000, 9_549_536),
            (990_000, FAR_WORSE_Z2),
            (950_000, 2_705_543),
            (500_000, 0),
            (0, 0),
        ] {
            let ours = squared_quantile(Ppm::new(confidence).unwrap());
            assert!(ours.abs_diff(z2) <= 2, "{confidence}: {ours} is not {z2}");
        }
    }

    #[test]
    fn the_bare_rate_is_strictly_above_and_exact() {
        let limit = Ppm::new(50_000).unwrap();
        for of in 1..=2000_u32 {
            for count in 0..=of.min(200) {
                let by_hand = u64::from(count) * 100 > u64::from(of) * 5;
                assert_eq!(surely_above(count, of, limit, 0), by_hand, "{count} of {of}");
            }
        }
    }

    #[test]
    fn the_gate_is_wilsons_lower_bound() {
        let limit = Ppm::new(50_000).unwrap();
        let z2 = squared_quantile(Ppm::new(999_000).unwrap());
        let z = 3.090_232_306_f64;
        for of in [20_u32, 21, 50, 100, 333, 1000] {
            for count in 0..=of {
                let (n, p) = (f64::from(of), f64::from(count) / f64::from(of));
                let centre = p + z * z / (2.0 * n);
                let spread = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
                let bound = (centre - spread) / (1.0 + z * z / n);
                if (bound - 0.05).abs() > 1e-6 {
                    assert_eq!(
                        surely_above(count, of, limit, z2),
                        bound > 0.05,
                        "{count} of {of}: {bound}"
                    );
                }
            }
        }
        assert!(!surely_above(2, 20, limit, z2));
        assert!(!surely_above(65, 1000, limit, z2));
    }

    #[test]
    fn a_fault_that_both_have_is_shared() {
        assert!(!surely_worse((9, 100), (90, 900)));
        assert!(surely_worse((9, 100), (9, 900)));
        assert!(!surely_worse((100, 100), (900, 900)));
        assert!(surely_worse((u32::MAX, u32::MAX), (0, u32::MAX)));
    }

    #[test]
    fn no_count_overflows() {
        assert!(surely_above(u32::MAX, u32::MAX, Ppm::new(999_999).unwrap(), 36_000_000));
        assert!(!surely_above(0, u32::MAX, Ppm::ZERO, 0));
        assert!(!surely_above(u32::MAX, u32::MAX, Ppm::ALL, 0));
    }
}
