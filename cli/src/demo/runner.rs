//! The run of one scenario: sets the models' behavior, sends traffic, observes, checks and draws.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sidetrack_lab::{Behavior, Load, LoadOptions};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::draw;
use super::input::{Kind, Scenario, Step, Until, Visit};
use super::observe::{
    Check, EventLog, Expected, RateWindow, Recorder, Scrape, Snapshot, checks, per_second,
};
use super::testbed::Testbed;
use crate::breaker::Breaker;
use crate::fault::Fault;
use crate::interrupt::Interrupt;
use crate::moment;
use crate::screen::Screen;

/// The maximum number of requests in flight.
const CONNECTIONS: u8 = 16;
/// The interval of scrapes.
const SCRAPE_INTERVAL: Duration = Duration::from_millis(100);
/// The interval of frames on a terminal.
const FRAME_INTERVAL: Duration = Duration::from_millis(200);
/// The interval of lines in a pipe.
const LINE_INTERVAL: Duration = Duration::from_secs(1);
/// The limit for all counters to become equal after the last response.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);
/// The timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The last snapshot of a scenario, and its checks.
pub(super) struct Finished<'a> {
    pub(super) checks: Vec<Check>,
    pub(super) last: Snapshot<'a>,
}

impl Finished<'_> {
    pub(super) fn has_passed(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }
}

/// Counters and expectations of a scenario, made before its traffic starts.
pub(super) struct Observers {
    recorder: Arc<Recorder>,
    expected: Expected,
}

impl Observers {
    pub(super) async fn start(kind: Kind, testbed: &Testbed) -> anyhow::Result<Self> {
        let models = testbed.models.iter().map(|model| model.name().to_owned()).collect();
        let expected = Expected::fetch(&testbed.plan, &testbed.client).await?;
        let recorder = Recorder::new(testbed.plan.clone(), models, kind == Kind::Outage);
        recorder.record(&expected.visit, &expected.request, &Ok(expected.answer.clone()));
        Ok(Self { recorder: Arc::new(recorder), expected })
    }
}

/// Runs a scenario to its end or to the first signal.
pub(super) async fn run<'a>(
    scenario: &'a Scenario,
    testbed: &'a Testbed,
    observers: &'a Observers,
    rate: u32,
    screen: &mut Screen<'_>,
    interrupt: &mut Interrupt,
) -> anyhow::Result<Finished<'a>> {
    let rate = rate.max(scenario.min_rate);
    let mut runner = Runner {
        scenario,
        testbed,
        observers,
        screen,
        rate,
        event_log: EventLog::start(testbed),
        rate_window: RateWindow::new(),
        step: "",
        drawn: None,
    };
    let load = Load::run(load(testbed, rate, &observers.recorder))?;
    let interrupted = tokio::select! {
        done = runner.steps() => done.map(|()| false)?,
        () = interrupt.arrives() => true,
    };
    load.stop().await;
    testbed.models.iter().for_each(|model| model.set(Behavior::Healthy));
    runner.finish(interrupted).await
}

/// Starts traffic that nothing counts, for a user who tries commands: without traffic, a breaker stays as it is.
pub(super) fn background_load(
    testbed: &Testbed,
    rate: u32,
    length: Duration,
) -> anyhow::Result<Load> {
    let options = LoadOptions {
        duration: Some(length),
        ..LoadOptions::new(testbed.addr, f64::from(rate), move |n| Visit::number(n).request())
    };
    Load::run(options)
}

fn load(testbed: &Testbed, rate: u32, recorder: &Arc<Recorder>) -> LoadOptions {
    let recorder = Arc::clone(recorder);
    LoadOptions {
        connections: usize::from(CONNECTIONS),
        timeout: REQUEST_TIMEOUT,
        on_answer: Arc::new(move |n, request, answer| {
            recorder.record(&Visit::number(n), request, &answer);
        }),
        ..LoadOptions::new(testbed.addr, f64::from(rate), move |n| Visit::number(n).request())
    }
}

struct Runner<'a, 's, 'o> {
    scenario: &'a Scenario,
    testbed: &'a Testbed,
    observers: &'a Observers,
    screen: &'s mut Screen<'o>,
    rate: u32,
    event_log: EventLog,
    rate_window: RateWindow,
    /// The description of the current step.
    step: &'static str,
    /// When the last frame or line was due.
    drawn: Option<Instant>,
}

impl<'a> Runner<'a, '_, '_> {
    /// Runs the steps until one misses its condition.
    async fn steps(&mut self) -> anyhow::Result<()> {
        if !self.screen.is_live() {
            self.drawn = Some(Instant::now());
        }
        for step in &self.scenario.steps {
            if !self.run_step(step).await? {
                break;
            }
        }
        Ok(())
    }

    /// Runs a step, and returns whether its condition was met.
    async fn run_step(&mut self, step: &Step) -> anyhow::Result<bool> {
        if !self.screen.is_live() && self.step != step.description {
            self.screen.write(&[format!("         {}", step.description)])?;
        }
        self.step = step.description;
        let models = self.testbed.models.iter().zip(&step.models);
        models.for_each(|(model, behavior)| model.set(*behavior));
        let behavior =
            step.models.get(self.testbed.candidate().index()).copied().unwrap_or_default();
        self.event_log.set_behavior(behavior);
        if step.starts_recovery {
            self.observers.recorder.start_recovery();
        }
        let started = Instant::now();
        let mut ticks = interval(SCRAPE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let state = self.observe().await?;
            match step.until {
                Until::Elapsed(time) if started.elapsed() >= time => return Ok(true),
                Until::Breaker(states, _) if states.contains(&state) => return Ok(true),
                Until::Breaker(_, limit) if started.elapsed() >= limit => return Ok(false),
                _ => {}
            }
        }
    }

    /// Takes a snapshot, draws it when a frame is due, and returns the breaker's state.
    async fn observe(&mut self) -> anyhow::Result<Breaker> {
        let before = self.observers.recorder.stats().requests;
        let scrape = self.scrape().await?;
        let state = scrape.breaker.state;
        let every = if self.screen.is_live() { FRAME_INTERVAL } else { LINE_INTERVAL };
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < every) {
            return Ok(state);
        }
        // In step with the clock, not with the scrapes.
        let next = self.drawn.map(|drawn| (drawn + every).max(Instant::now() - SCRAPE_INTERVAL));
        self.drawn = next.or_else(|| Some(Instant::now()));
        let mut snapshot = self.snapshot(scrape);
        snapshot.rate = self.rate_window.rate(snapshot.elapsed, snapshot.client.requests);
        snapshot.in_flight = u64::from(CONNECTIONS) + snapshot.client.requests - before;
        if self.screen.is_live() {
            let frame = draw::frame(&snapshot, &checks(&snapshot), false, self.screen.ink());
            self.screen.frame(&[self.header(), frame].concat())?;
        } else {
            self.screen.write(&[draw::progress(&snapshot)])?;
        }
        Ok(state)
    }

    /// Waits until all counters agree, and writes the last frame.
    async fn finish(mut self, interrupted: bool) -> anyhow::Result<Finished<'a>> {
        let deadline = Instant::now() + SETTLE_LIMIT;
        let elapsed = self.event_log.elapsed();
        let mut last = loop {
            let scrape = self.scrape().await?;
            let snapshot = self.snapshot(scrape);
            if snapshot.counts_agree() || Instant::now() > deadline {
                break snapshot;
            }
            sleep(SCRAPE_INTERVAL).await;
        };
        last.elapsed = elapsed;
        last.interrupted = interrupted;
        last.rate = per_second(last.client.requests, elapsed);
        let checks = checks(&last);
        // In a pipe, the header is already above the lines.
        let above = if self.screen.is_live() { self.header() } else { vec![String::new()] };
        let frame = draw::frame(&last, &checks, true, self.screen.ink());
        self.screen.write(&[above, frame].concat())?;
        Ok(Finished { checks, last })
    }

    fn header(&self) -> Vec<String> {
        let Testbed { version, workers, addr, .. } = self.testbed;
        draw::header(version, *workers, *addr, self.screen.ink())
    }

    async fn scrape(&mut self) -> anyhow::Result<Scrape> {
        let testbed = self.testbed;
        let scrape = Scrape::fetch(testbed).await;
        if !testbed.envoy.is_running() {
            return Err(Fault(format!("Envoy exited\n{}", testbed.envoy.log_tail(20))).into());
        }
        if let Some(model) = testbed.models.get(testbed.candidate().index()) {
            self.event_log.update(model)?;
        }
        scrape.context("scraping Envoy's metrics")
    }

    fn snapshot(&self, scrape: Scrape) -> Snapshot<'a> {
        let experiment = self.testbed.experiment();
        Snapshot {
            kind: self.scenario.kind,
            plan: &self.testbed.plan,
            experiment,
            targets: experiment.shares(moment::now()).iter().copied().collect(),
            expected: &self.observers.expected,
            elapsed: self.event_log.elapsed(),
            length: self.scenario.length(),
            interrupted: false,
            step: self.step,
            rate: 0.0,
            target_rate: self.rate,
            client: self.observers.recorder.stats(),
            scrape,
            events: self.event_log.events().clone(),
            in_flight: 0,
        }
    }
}
