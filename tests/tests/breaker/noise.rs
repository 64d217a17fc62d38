//! How often a healthy candidate trips, and how fast a bad one does.
//!
//! Random arrivals, judged each second; the breaker's own parts, without records and workers, so that weeks pass in
//! seconds.

use serde_json::json;
use sidetrack::breaker::{Breaker, Ended, Event, LocalOutcomes, Rule, Streak, Why};
use sidetrack::quantity::Timestamp;

use crate::proxy::{START, median_and_max, rule};
use crate::random::Random;

/// A candidate and a baseline of the same rate.
struct Pair {
    rule: Rule,
    sides: [(Breaker, LocalOutcomes); 2],
    random: Random,
    number: u64,
    /// Milliseconds.
    time: f64,
    second: u64,
}

impl Pair {
    fn new(rule: Rule, seed: u64) -> Self {
        let side = || (Breaker::new(&rule, Timestamp::new(START)), LocalOutcomes::default());
        let sides = [side(), side()];
        Self { rule, sides, random: Random::new(seed), number: 0, time: 0.0, second: 0 }
    }

    /// Lets time pass until `end` or the first trip.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "weeks"
    )]
    fn run(&mut self, end: f64, rates: [f64; 2], bad: [f64; 2]) -> Option<Event> {
        let rate = rates[0] + rates[1];
        while self.time < end {
            let gap = self.random.gap(rate);
            while (self.second as f64) * 1000.0 <= self.time + gap {
                let event = self.tick();
                self.second += 1;
                if matches!(event, Some(Event::Opened { .. })) {
                    self.time = self.second as f64 * 1000.0 - 1000.0;
                    return event;
                }
            }
            self.time += gap;
            let side = usize::from(self.random.chance(rates[1] / rate));
            let failed = self.random.chance(bad[side]);
            self.number += 1;
            self.sides[side].1.count(Ended { failed, slow: false }, 0, self.number);
            if failed && side == 1 {
                let now = Timestamp::new(START + self.time as u64);
                if let Some(event) = self.judge_streak(now) {
                    return Some(event);
                }
            }
        }
        None
    }

    fn judge_streak(&mut self, now: Timestamp) -> Option<Event> {
        let [(_, baseline), (candidate, local)] = &mut self.sides;
        let Streak::Trips(failures) = local.streak(&self.rule, baseline) else {
            return None;
        };
        candidate.trip_on_streak(&self.rule, now, failures, 0)
    }

    fn tick(&mut self) -> Option<Event> {
        let now = Timestamp::new(START + self.second * 1000);
        let [(baseline, heard), (candidate, local)] = &mut self.sides;
        baseline.observe(&self.rule, now, heard.pending());
        heard.clear_pending();
        let new = local.pending();
        local.clear_pending();
        let event = candidate.advance(&self.rule, now, new, || baseline.counts(now), 0);
        local.count_wait(&self.rule);
        event.or_else(|| self.judge_streak(now))
    }
}

fn healthy_days(compare: bool) {
    let rule = rule(&json!({"compare_to_baseline": compare}));
    let (days, mut trips, mut seed) = (50.0, Vec::new(), 1);
    let mut passed = 0.0;
    while passed < days * 86_400_000.0 {
        let mut pair = Pair::new(rule.clone(), seed);
        let event = pair.run(days * 86_400_000.0 - passed, [5.0, 5.0], [0.02, 0.02]);
        passed += pair.time;
        seed += 1;
        trips.extend(event);
    }
    println!(
        "{days} healthy days, 2 % errors, 5 requests/s, compared: {compare}: trips: {trips:?}"
    );
    assert!(trips.len() <= 1, "{trips:?}");
}

#[test]
fn a_healthy_candidate_keeps_its_units_for_weeks() {
    healthy_days(true);
}

#[test]
fn a_healthy_candidate_without_comparison_keeps_its_units_for_weeks() {
    healthy_days(false);
}

#[test]
fn a_step_is_detected() {
    const SEEDS: u64 = 400;
    for (bad, median_allowed) in [(0.1, 100.0), (0.2, 20.0), (0.5, 8.0), (1.0, 3.0)] {
        for (candidate, baseline) in [(5.0, 5.0), (1.5, 3.5), (20.0, 20.0), (1.0, 1.0), (0.2, 0.0)]
        {
            for compare in [true, false] {
                let rule = rule(&json!({"compare_to_baseline": compare}));
                let mut streaks = 0;
                let times = (0..SEEDS).map(|seed| {
                    let mut pair = Pair::new(rule.clone(), 1000 + seed);
                    let rates = [baseline, candidate];
                    assert!(pair.run(60_000.0, rates, [0.02, 0.0]).is_none());
                    let begin = pair.time;
                    let event = pair.run(begin + 600_000.0, rates, [0.02, bad]);
                    streaks +=
                        u32::from(matches!(event, Some(Event::Opened { why: Why::Streak(_), .. })));
                    if event.is_some() { (pair.time - begin) / 1000.0 } else { f64::INFINITY }
                });
                let (median, max) = median_and_max(times.collect());
                println!(
                    "step 0 → {:3.0} %, {candidate:4} + {baseline:3} requests/s, compared: {compare:5}: \
                     median {median:6.1} s, max {max:6.1} s, {:3} % by streak",
                    bad * 100.0,
                    streaks * 100 / u32::try_from(SEEDS).unwrap()
                );
                if candidate >= 5.0 {
                    assert!(median < median_allowed, "{bad}: {median} s");
                }
            }
        }
    }
}
