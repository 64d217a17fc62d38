//! A baseline of fixed capacity: an open breaker moves the candidate's share onto it at once.

use serde_json::json;

use super::proxy::{Proxy, Side};
use super::traffic::Traffic;
use crate::breaker::State;
use crate::quantity::Millis;

/// Requests per second through the proxy, of which the candidate has 40 percent.
const RATE: f64 = 200.0;
const WEIGHT: f64 = 0.4;
/// How often the baseline's load is measured, in milliseconds.
const STEP: f64 = 500.0;
/// The candidate fails from 10 s to 40 s.
const OUTAGE: [f64; 2] = [10_000.0, 40_000.0];
const END: f64 = 180_000.0;

/// The share of requests that fail in each second, whoever serves them, and the breaker's state at
/// the end.
fn failures(capacity: f64, seed: u64) -> (Vec<f64>, State) {
    let proxy = Proxy::new(&json!({"open_for": "10s"}), 2, seed);
    let mut traffic = Traffic::new(proxy, RATE, WEIGHT, Millis::new(100), seed);
    let mut shares = Vec::new();
    let (mut load, mut failed, mut all) = (0.0, 0.0, 0.0);
    let mut time = 0.0;
    while time < END {
        // What is above the capacity fails.
        let overload = (1.0 - capacity * STEP / 1000.0 / f64::max(load, 1.0)).max(0.0);
        let outage = (OUTAGE[0]..OUTAGE[1]).contains(&time);
        load = 0.0;
        time += STEP;
        traffic.run_until(time, [overload, f64::from(outage)], |_, _, request| {
            if let Some((side, is_failed)) = request {
                load += f64::from(side == Side::Baseline);
                failed += f64::from(is_failed);
                all += 1.0;
            }
            false
        });
        if time % 1000.0 == 0.0 {
            shares.push(failed / all);
            (failed, all) = (0.0, 0.0);
        }
    }
    (shares, traffic.proxy.state())
}

/// The mean over some seconds.
fn mean(shares: &[f64], seconds: std::ops::Range<usize>) -> f64 {
    let part = &shares[seconds];
    part.iter().sum::<f64>() / f64::from(u32::try_from(part.len()).unwrap())
}

#[test]
fn a_baseline_that_carries_all_requests_hides_the_outage() {
    for seed in 0..20 {
        let (shares, state) = failures(RATE * 1.15, seed);
        // The first second has the failures until the trip; then only probes may fail.
        let rest = mean(&shares, 12..180);
        assert!(rest < 0.005 && matches!(state, State::Closed(_)), "{seed}: {rest} {state:?}");
    }
}

/// What the baseline cannot carry fails while the breaker is open. This neither keeps the breaker
/// from opening nor from closing, so the failures end with the candidate's outage.
#[test]
fn a_baseline_that_is_too_small_fails_until_the_candidate_is_back() {
    // A quarter more than its own share, where all requests are two thirds more.
    let capacity = RATE * (1.0 - WEIGHT) * 1.25;
    let excess = 1.0 - capacity / RATE;
    let mut during = Vec::new();
    for seed in 0..20 {
        let (shares, state) = failures(capacity, seed);
        let open = mean(&shares, 12..18);
        assert!((open - excess).abs() < 0.08, "{seed}: {open}, not {excess}");
        let after = mean(&shares, 150..180);
        assert!(after < 0.02 && matches!(state, State::Closed(_)), "{seed}: {after} {state:?}");
        during.push(open);
    }
    println!(
        "{:.0} % of all requests fail while the breaker is open",
        mean(&during, 0..20) * 100.0
    );
}
