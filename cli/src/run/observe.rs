//! What Envoy's metrics say: totals since the start of the command, also across restarts of Envoy, and the last seconds.

mod counts;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sidetrack::names::{label, metric, missing};
use sidetrack::plan::{BreakerMode, Plan};
use sidetrack_lab::{Envoy, Scrape};
use tokio::time::Instant;

use super::event::{Event, Kind};
use crate::breaker::Breaker;
use crate::words::variant;
pub(super) use counts::Counts;

/// The time that rates and latencies cover.
const WINDOW: Duration = Duration::from_secs(10);

/// A service without new connection failures for so long accepts connections again.
const CALM: Duration = Duration::from_secs(5);

/// Envoy's count of failed connections of a cluster, and its label.
const CONNECT_FAILURES: &str = "envoy_cluster_upstream_cx_connect_fail";
const CLUSTER: &str = "envoy_cluster_name";

/// The experiment and the variant.
type Key = (String, String);
/// All counters of one moment.
type Reading = BTreeMap<Key, Counts>;

/// Reads the metrics that an observer needs.
pub(super) async fn scrape(envoy: &Envoy) -> anyhow::Result<Scrape> {
    envoy.scrape(&format!("{}|upstream_cx_connect_fail$", metric::PREFIX)).await
}

/// Follows the metrics.
pub(super) struct Observer {
    started: Instant,
    /// Since the start.
    totals: Reading,
    /// The last reading of this Envoy; counters begin at 0 again in the next one.
    last: Reading,
    /// Totals of the last seconds, oldest first.
    history: VecDeque<(Instant, Reading)>,
    breakers: BTreeMap<Key, Breaker>,
    clusters: BTreeMap<String, Failing>,
    /// Requests without a unit, by experiment.
    missing: BTreeMap<String, u64>,
    hash: Option<u32>,
}

/// Failed connections to a cluster.
#[derive(Default)]
struct Failing {
    count: u64,
    /// When the last failure was seen; `None` while connections succeed.
    since: Option<Instant>,
}

impl Observer {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut observer = Self {
            started: Instant::now(),
            totals: Reading::new(),
            last: Reading::new(),
            history: VecDeque::new(),
            breakers: BTreeMap::new(),
            clusters: BTreeMap::new(),
            missing: BTreeMap::new(),
            hash: None,
        };
        observer.expect(plan);
        observer
    }

    /// Forgets the breakers of variants that the next file does not have.
    pub(super) fn expect(&mut self, plan: &Plan) {
        self.breakers.retain(|(experiment, variant), _| {
            plan.experiments.iter().any(|it| {
                it.name == *experiment && it.variants.iter().any(|it| it.name == *variant)
            })
        });
    }

    /// The next reading is that of another Envoy.
    pub(super) fn restarted(&mut self) {
        self.last.clear();
        self.clusters.clear();
        self.hash = None;
    }

    /// Adds a reading, and returns what changed.
    pub(super) fn observe(&mut self, metrics: &Scrape, plan: &Plan) -> Vec<Event> {
        let now = Instant::now();
        let reading = reading(metrics, plan);
        for (key, counts) in &reading {
            let before = self.last.get(key).cloned().unwrap_or_default();
            self.totals.entry(key.clone()).or_default().add(&counts.since(&before));
        }
        self.last = reading;
        self.history.push_back((now, self.totals.clone()));
        while self.history.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.history.pop_front();
        }
        self.hash = hash(metrics);
        for experiment in &plan.experiments {
            let labels =
                [(label::EXPERIMENT, experiment.name.as_str()), (label::REASON, missing::ABSENT)];
            let count = metrics.count(metric::MISSING_UNIT, &labels).unwrap_or_default();
            self.missing.insert(experiment.name.clone(), count);
        }
        let mut events = self.breakers(metrics, plan);
        events.extend(self.connections(metrics, plan, now));
        events
    }

    fn breakers(&mut self, metrics: &Scrape, plan: &Plan) -> Vec<Event> {
        let mut events = Vec::new();
        // A variant that became the baseline has no breaker; the filter's gauge of the last one remains.
        let is_candidate = |(experiment, name): &(String, String)| {
            let experiments = plan.experiments.iter().filter(|it| it.name == *experiment);
            experiments
                .flat_map(|it| it.candidates().map(move |id| variant(it, id)))
                .any(|it| it == name)
        };
        self.breakers.retain(|key, _| is_candidate(key));
        for experiment in &plan.experiments {
            if experiment.breaker.mode == BreakerMode::Disabled {
                continue;
            }
            for id in experiment.candidates() {
                let name = variant(experiment, id);
                let labels = [(label::EXPERIMENT, experiment.name.as_str()), (label::MODEL, name)];
                let Some(gauge) = metrics.count(metric::BREAKER_STATE, &labels) else { continue };
                let state = Breaker::of(gauge);
                let key = (experiment.name.clone(), name.to_owned());
                let before = self.breakers.insert(key, state).unwrap_or(Breaker::Closed);
                if before != state {
                    let meaning = match state {
                        Breaker::Open => "its users get the baseline",
                        Breaker::HalfOpen => "some of its users test it",
                        Breaker::Closed => "its users get it again",
                    };
                    let state = state.as_str();
                    let text = format!("the breaker of {name} is {state}: {meaning}");
                    events.push(Event::new(Kind::Breaker, text));
                }
            }
        }
        events
    }

    /// Reports services that begin or cease to refuse connections.
    fn connections(&mut self, metrics: &Scrape, plan: &Plan, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        let options = crate::render::Options::default();
        for cluster in crate::render::cluster_names(plan, &options) {
            let count = metrics.count(CONNECT_FAILURES, &[(CLUSTER, cluster)]).unwrap_or_default();
            let failing = self.clusters.entry(cluster.to_owned()).or_default();
            if count > failing.count {
                failing.count = count;
                if failing.since.replace(now).is_none() {
                    let text = format!("{cluster} does not accept connections");
                    events.push(Event::new(Kind::Endpoint, text));
                }
            } else if failing.since.is_some_and(|since| now.duration_since(since) >= CALM) {
                // Without traffic, nothing is known: it is no longer reported as failing.
                failing.since = None;
            }
        }
        events
    }

    /// The services that refuse connections now.
    pub(super) fn refusing(&self) -> impl Iterator<Item = &str> {
        self.clusters.iter().filter(|(_, it)| it.since.is_some()).map(|(name, _)| name.as_str())
    }

    /// The time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The first 32 bits of the hash in force in Envoy.
    pub(super) const fn hash(&self) -> Option<u32> {
        self.hash
    }

    /// All counts of a variant.
    pub(super) fn total(&self, experiment: &str, variant: &str) -> Counts {
        let key = (experiment.to_owned(), variant.to_owned());
        self.totals.get(&key).cloned().unwrap_or_default()
    }

    /// The counts of a variant in the last seconds, and how long these are.
    pub(super) fn recent(&self, experiment: &str, variant: &str) -> (Counts, Duration) {
        let key = (experiment.to_owned(), variant.to_owned());
        let of = |reading: &Reading| reading.get(&key).cloned().unwrap_or_default();
        let (Some((from, first)), Some((to, last))) = (self.history.front(), self.history.back())
        else {
            return Default::default();
        };
        (of(last).since(&of(first)), to.duration_since(*from))
    }

    /// The breaker of a candidate; `None` for the baseline, and if it is disabled.
    pub(super) fn breaker(&self, experiment: &str, variant: &str) -> Option<Breaker> {
        self.breakers.get(&(experiment.to_owned(), variant.to_owned())).copied()
    }

    /// Requests of an experiment without a unit.
    pub(super) fn missing(&self, experiment: &str) -> u64 {
        self.missing.get(experiment).copied().unwrap_or_default()
    }
}

fn reading(metrics: &Scrape, plan: &Plan) -> Reading {
    let mut reading = Reading::new();
    for experiment in &plan.experiments {
        for variant in &experiment.variants {
            let key = (experiment.name.clone(), variant.name.clone());
            reading.insert(key, Counts::read(metrics, &experiment.name, &variant.name));
        }
    }
    reading
}

/// The hash in force: a listener that drains has the same plugin, so there is one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates; hashes have 32 bits"
)]
fn hash(metrics: &Scrape) -> Option<u32> {
    metrics.values(metric::CONFIG_HASH).map(|value| value as u32).find(|hash| *hash != 0)
}
