//! Random requests on a proxy whose workers tick at their own moments.

use super::proxy::{Ended, Proxy, START, Side};
use super::random::Random;
use crate::decide::Gate;
use crate::quantity::{Millis, Timestamp};

pub(crate) struct Traffic {
    pub(crate) proxy: Proxy,
    pub(crate) random: Random,
    /// Milliseconds since the start.
    pub(crate) time: f64,
    /// Requests per second.
    rate: f64,
    /// The candidate's share of units.
    weight: f64,
    /// When each worker has its next tick.
    ticks: Vec<u64>,
    tick: u64,
}

impl Traffic {
    pub(crate) fn new(proxy: Proxy, rate: f64, weight: f64, tick: Millis, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let phase = |_| u64::try_from(random.below(usize::try_from(tick.get()).unwrap())).unwrap();
        let ticks = (0..proxy.workers()).map(phase).collect();
        Self { proxy, random, time: 0.0, rate, weight, ticks, tick: tick.get() }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few weeks in milliseconds"
    )]
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::new(START + self.time as u64)
    }

    /// Sends requests until `end`, in milliseconds; `bad` is each side's probability to fail.
    pub(crate) fn run(&mut self, end: f64, bad: [f64; 2]) {
        self.run_until(end, bad, |_, _, _| false);
    }

    /// As [`Self::run`], but stops at the first transition. Returns whether there was one.
    pub(crate) fn run_to_event(&mut self, end: f64, bad: [f64; 2]) -> bool {
        let before = self.proxy.event_count();
        self.run_until(end, bad, |proxy, _, _| proxy.event_count() > before);
        self.proxy.event_count() > before
    }

    /// As [`Self::run`], but stops when `is_done` says so. It is called after each request, with
    /// the side that served it and whether it failed, and after each tick, with `None`.
    pub(crate) fn run_until(
        &mut self,
        end: f64,
        bad: [f64; 2],
        mut is_done: impl FnMut(&Proxy, Timestamp, Option<(Side, bool)>) -> bool,
    ) {
        loop {
            let arrival = self.time + self.random.gap(self.rate);
            let stop = arrival.min(end);
            while let Some((worker, at)) = self.next_tick(stop) {
                let now = Timestamp::new(START + at);
                self.proxy.tick(worker, now);
                self.ticks[worker] += self.tick;
                if is_done(&self.proxy, now, None) {
                    self.time = as_time(at);
                    return;
                }
            }
            self.time = stop;
            if arrival >= end {
                return;
            }
            let (worker, side) = self.route();
            let failed = self.random.chance(bad[side as usize]);
            let now = self.now();
            self.proxy.ended(worker, side, Ended { failed, slow: false }, now);
            if is_done(&self.proxy, now, Some((side, failed))) {
                return;
            }
        }
    }

    /// Who serves the next request.
    fn route(&mut self) -> (usize, Side) {
        let worker = self.random.below(self.proxy.workers());
        let passes = self.random.chance(self.weight)
            && match self.proxy.gate(worker) {
                Gate::Closed => true,
                Gate::Open => false,
                Gate::HalfOpen { share, .. } => self.random.chance(share.fraction()),
            };
        (worker, if passes { Side::Candidate } else { Side::Baseline })
    }

    /// The worker that ticks next, and when, if that is not after `time`.
    fn next_tick(&self, time: f64) -> Option<(usize, u64)> {
        let next = self.ticks.iter().copied().enumerate().min_by_key(|(_, at)| *at);
        next.filter(|(_, at)| as_time(*at) <= time)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few weeks in milliseconds")]
const fn as_time(milliseconds: u64) -> f64 {
    milliseconds as f64
}
