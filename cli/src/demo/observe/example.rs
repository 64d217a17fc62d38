//! Observations of responses that a test makes up. They pass through the recorder and the checks as live ones do.

use std::time::Duration;

use sidetrack::plan::Plan;
use sidetrack::quantity::Timestamp;
use sidetrack_lab::{Answer, Bytes, Request};

use super::client::Recorder;
use super::event_log::{BreakerPhase, Events, Transition};
use super::expected::Expected;
use super::scrape::{Scrape, VariantCounts};
use super::snapshot::Snapshot;
use crate::demo::input::{Kind, Source, Visit};
use crate::demo::testbed::{Variation, experiments};

pub(crate) const BASELINE: usize = 0;
pub(crate) const CANDIDATE: usize = 1;
const MODELS: [&str; 2] = ["1.0.0", "2.0.0"];

/// A user of the candidate.
pub(crate) const USER: u64 = 4711;

pub(crate) struct Example {
    kind: Kind,
    plan: Plan,
    recorder: Recorder,
    expected: Expected,
    pub(crate) scrape: Scrape,
    pub(crate) events: Events,
}

impl Example {
    pub(crate) fn new(kind: Kind) -> Self {
        let (_, plan) = experiments(Variation::default()).unwrap();
        let models = MODELS.map(str::to_owned).to_vec();
        let recorder = Recorder::new(plan.clone(), models, kind == Kind::Outage);
        let visit = Visit { user: USER, source: Source::Header };
        let mut answer = response(&plan, CANDIDATE);
        answer.headers.push((plan.settings.headers.bucket.clone(), b"21263".to_vec()));
        let expected = Expected::compare(&plan, visit, visit.request(), answer).unwrap();
        let scrape = Scrape { variants: vec![VariantCounts::default(); 2], ..Scrape::default() };
        let subject = "financial-ab-test/enhanced-predictor".to_owned();
        let events = Events { subject, ..Events::default() };
        Self { kind, plan, recorder, expected, scrape, events }
    }

    /// The variant that the core assigns to a user.
    pub(crate) fn home(&self, user: u64) -> usize {
        let request = Visit { user, source: Source::Header }.request();
        super::expected::decide_locally(&self.plan, &request).unwrap().served.index()
    }

    /// The first users of a variant.
    pub(crate) fn users_of(&self, variant: usize, count: usize) -> Vec<u64> {
        (1..).filter(|user| self.home(*user) == variant).take(count).collect()
    }

    /// A request that this variant's model serves, counted by all.
    pub(crate) fn serve(&mut self, user: u64, variant: usize) {
        let answer = response(&self.plan, variant);
        self.record(user, Ok(answer));
        self.scrape.variants[variant].metrics += 1;
        self.scrape.variants[variant].model += 1;
    }

    /// A request with this result, counted by the client only.
    pub(crate) fn record(&self, user: u64, result: anyhow::Result<Answer>) {
        let visit = Visit { user, source: Source::Header };
        let request: Request = visit.request();
        self.recorder.record(&visit, &request, &result);
    }

    pub(crate) fn answer(&self, variant: usize) -> Answer {
        response(&self.plan, variant)
    }

    pub(crate) fn start_recovery(&self) {
        self.recorder.start_recovery();
    }

    pub(crate) fn transition(&mut self, millis: u64, phase: BreakerPhase, text: &str) {
        let at = Duration::from_millis(millis);
        self.events.transitions.push(Transition { at, phase, text: text.to_owned() });
    }

    pub(crate) fn snapshot(&self) -> Snapshot<'_> {
        let experiment = self.plan.experiments.first().unwrap();
        Snapshot {
            kind: self.kind,
            plan: &self.plan,
            experiment,
            targets: experiment.shares(Timestamp::default()).iter().copied().collect(),
            expected: &self.expected,
            elapsed: Duration::from_secs(20),
            length: (self.kind == Kind::Split).then_some(Duration::from_secs(20)),
            interrupted: false,
            step: "all models are healthy",
            rate: 500.0,
            target_rate: 500,
            client: self.recorder.stats(),
            scrape: self.scrape.clone(),
            events: self.events.clone(),
            in_flight: 0,
        }
    }
}

fn response(plan: &Plan, variant: usize) -> Answer {
    let variants = &plan.experiments.first().unwrap().variants;
    let name = variants.entries().nth(variant).unwrap().1.name.clone();
    Answer {
        status: 200,
        headers: vec![
            ("x-model".to_owned(), MODELS[variant].as_bytes().to_vec()),
            (plan.settings.headers.variant.clone(), name.into_bytes()),
        ],
        body: Bytes::new(),
        trailers: Vec::new(),
        elapsed: Duration::from_micros(1200),
    }
}
