//! The fake host as a world: a canary VM and two workers, and routes as `sidetrack render envoy`
//! lays them.
//!
//! It is stricter than an Envoy with that bootstrap in two ways. A client's copies of the filter's
//! headers reach the filter, as they do where nothing removes them earlier. And the route is chosen
//! before the filter runs, and again only if the filter makes Envoy forget it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sidetrack::plan::Plan;
use sidetrack::unit::UnitSource;
use sidetrack_lab::Request;

use super::{Behavior, Exchange, Lines, Received, Response, first, lines_of, locked};
use crate::fake_host::{self, Action, HeaderMap, MetricValue, Module, Proxy, Reply, Vm};

/// A fake Envoy process with two workers and the models behind it.
pub struct InProcess {
    /// The process.
    pub proxy: Proxy,
    /// Its workers.
    pub workers: Vec<Vm>,
    next: AtomicUsize,
    /// The texts that a canary has taken: Envoy tries each once.
    tried: Mutex<BTreeSet<String>>,
    routes: Plan,
    models: Mutex<BTreeMap<String, Model>>,
}

#[derive(Default)]
struct Model {
    behaviour: Behavior,
    received: u64,
    headers: Vec<(&'static str, &'static str)>,
}

#[expect(clippy::expect_used, reason = "a harness fails loudly")]
impl InProcess {
    pub(super) fn start(routes: Plan, configuration: &str) -> Self {
        let proxy = Proxy::new(Module::sidetrack());
        let reads_bodies = |unit: &UnitSource| matches!(unit, UnitSource::Body(_));
        if routes.experiments.iter().flat_map(|e| &e.units).any(reads_bodies) {
            // As `render envoy` announces that the filter may wait.
            proxy.set_environment("SIDETRACK_WAIT_FOR_BODIES", "1");
        }
        let canary = proxy.start_vm().expect("a canary VM");
        let accepted = canary.configure(configuration).expect("a canary that lives");
        assert!(
            accepted,
            "Envoy would not start: the filter refused its first configuration\n{}",
            proxy.log_text()
        );
        let worker = |_| {
            let vm = proxy.start_vm().expect("a VM");
            assert!(
                vm.configure(configuration).expect("a VM that lives"),
                "a worker refused what the canary took"
            );
            // As `render envoy` lays the access log.
            assert!(vm.log_failures("failures").expect("a VM that lives"), "no access logger");
            vm
        };
        let workers = (0..2).map(worker).collect();
        let tried = Mutex::new(BTreeSet::from([configuration.to_owned()]));
        let next = AtomicUsize::new(0);
        Self { proxy, workers, next, tried, routes, models: Mutex::default() }
    }

    /// The next request is this worker's.
    fn worker(&self) -> &Vm {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.workers.len();
        self.workers.get(next).expect("a worker")
    }

    pub(super) fn send(&self, request: Request) -> Exchange {
        let lines = lines_of(&request);
        let stream = self.worker().stream();
        let action =
            stream.request_headers(map(&lines), request.body.is_empty()).expect("a VM that lives");
        assert!(
            stream.local_response().is_none(),
            "the filter answers itself: {:?}",
            stream.local_response()
        );
        if request.body.is_empty() {
            assert_eq!(action, Action::Continue, "the filter holds the request back");
        } else {
            // Headers may wait for the body, which comes in two pieces, and goes on whole.
            let (first, rest) = request.body.split_at(request.body.len() / 2);
            stream.request_body(first, false).expect("a VM that lives");
            let action = stream.request_body(rest, true).expect("a VM that lives");
            assert_eq!(action, Action::Continue, "the filter holds the body back");
            assert_eq!(stream.forwarded_body(), request.body, "the model gets another body");
        }
        let mut forwarded = plain(&stream.request());
        let cluster = self.route(if stream.route_cache_clears() > 0 { &forwarded } else { &lines });
        let names = &self.routes.settings.headers;
        let mut models = locked(&self.models);
        if let Some(mirror) = first(&forwarded, &names.mirror) {
            models.entry(mirror).or_default().received += 1;
        }
        let model = models.entry(cluster.clone()).or_default();
        model.received += 1;
        let (status, grpc, answers) = match model.behaviour {
            Behavior::Healthy => (200, None, true),
            Behavior::Status(status) => (status, None, true),
            Behavior::Grpc(code) => (200, Some(code), true),
            Behavior::Reset => (503, None, false),
        };
        let more = model.headers.clone();
        drop(models);
        let mut answer: Lines = vec![(":status".to_owned(), status.to_string().into_bytes())];
        if answers {
            answer.push(("x-model".to_owned(), cluster.clone().into_bytes()));
        }
        answer.extend(
            more.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())),
        );
        answer.extend(grpc.map(|code| ("grpc-status".to_owned(), code.to_string().into_bytes())));
        stream.response_headers(map(&answer), true).expect("a VM that lives");
        let returned = plain(&stream.response().expect("a response"));
        stream.finish().expect("a VM that lives");
        // The route removes these after it was chosen.
        let removed = [&names.cluster, &names.mirror, &names.force, &names.token, &names.debug];
        let overrides: Vec<&String> =
            self.routes.experiments.iter().filter_map(|e| e.overrides.header.as_ref()).collect();
        // What a client sent under these names must be gone already: only the filter's own values
        // are the route's.
        for (name, value) in &forwarded {
            let is_the_filters = [&names.cluster, &names.mirror].contains(&name);
            let is_testers = removed.contains(&name) || overrides.contains(&name);
            assert!(
                is_the_filters || !is_testers,
                "the filter let {name} through: {}",
                value.escape_ascii()
            );
        }
        forwarded.retain(|(name, _)| !removed.contains(&name) && !overrides.contains(&name));
        let response = Response {
            status,
            headers: returned.into_iter().filter(|(name, _)| name != ":status").collect(),
        };
        let path = first(&forwarded, ":path").expect("a path");
        let received = Received { cluster, path, headers: forwarded };
        Exchange { sent: request, response, model: Some(received) }
    }

    pub(super) fn hang_up(&self, request: &Request) {
        self.worker().exchange(map(&lines_of(request)), Reply::Abort).expect("a VM that lives");
    }

    pub(super) fn model(&self, cluster: &str, behaviour: Behavior) {
        let mut models = locked(&self.models);
        models.entry(cluster.to_owned()).or_default().behaviour = behaviour;
    }

    pub(super) fn model_responds_with(
        &self,
        cluster: &str,
        headers: &[(&'static str, &'static str)],
    ) {
        let mut models = locked(&self.models);
        models.entry(cluster.to_owned()).or_default().headers = headers.to_vec();
    }

    pub(super) fn received(&self, cluster: &str) -> u64 {
        locked(&self.models).get(cluster).map_or(0, |model| model.received)
    }

    /// As Envoy does it: a canary first, and only what it takes reaches the workers.
    pub(super) fn configure(&self, configuration: &str) -> bool {
        if locked(&self.tried).insert(configuration.to_owned()) {
            let canary = self.proxy.start_vm().expect("a canary VM");
            if !canary.configure(configuration).expect("a canary that lives") {
                return false;
            }
        }
        for worker in &self.workers {
            let accepted = worker.configure(configuration).expect("a VM that lives");
            assert!(accepted, "a worker refused what the canary took");
        }
        true
    }

    /// Its value after the workers had a second to publish it.
    pub(super) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        for worker in self.workers.iter().filter(|worker| !worker.is_dead()) {
            (0..10).for_each(|_| worker.tick().expect("a VM that lives"));
        }
        let metrics = self.proxy.metrics();
        let series = metrics.iter().filter_map(|(stat, value)| {
            let MetricValue::Number(value) = value else { return None };
            let mut parts: Vec<&str> = stat.split(";.;").collect();
            let metric = parts.pop()?;
            let has = |(label, value): &(&str, &str)| {
                parts.contains(&format!("{label}=.={value}").as_str())
            };
            (metric == name && labels.iter().all(has)).then_some(*value)
        });
        series.reduce(|sum, value| sum + value)
    }

    pub(super) fn story(&self) -> String {
        let metrics = self.proxy.metrics();
        let moved = metrics.iter().filter(|(_, value)| **value != MetricValue::Number(0));
        let moved: Vec<String> = moved.map(|(name, value)| format!("{name}: {value:?}")).collect();
        format!(
            "=== metrics that moved ===\n{}\n=== log ===\n{}",
            moved.join("\n"),
            self.proxy.log_text()
        )
    }

    /// The cluster of the route that matches.
    fn route(&self, lines: &Lines) -> String {
        let names = &self.routes.settings.headers;
        let by_cluster =
            self.routes.experiments.iter().any(|e| e.variants.iter().any(|v| v.cluster.is_some()));
        if let (true, Some(cluster)) = (by_cluster, first(lines, &names.cluster)) {
            return cluster;
        }
        let (experiment, variant) = (first(lines, &names.experiment), first(lines, &names.variant));
        for tagging in self
            .routes
            .experiments
            .iter()
            .filter(|e| e.variants.iter().all(|v| v.cluster.is_none()))
        {
            let chosen = tagging.variants.iter().find(|v| Some(&v.name) == variant.as_ref());
            if let (true, Some(chosen)) = (Some(&tagging.name) == experiment.as_ref(), chosen) {
                return chosen.name.clone();
            }
        }
        let matching =
            self.routes.experiments.iter().find(|e| e.conditions.mismatch(lines).is_none());
        let of =
            matching.or_else(|| self.routes.experiments.first()).expect("an experiment to route");
        let baseline = &of.variants[of.baseline];
        baseline.cluster.clone().unwrap_or_else(|| baseline.name.clone())
    }
}

fn map(lines: &Lines) -> HeaderMap {
    lines.iter().map(|(name, value)| (name, value)).collect()
}

fn plain(map: &fake_host::HeaderMap) -> Lines {
    let line = |(name, value): &fake_host::Pair| {
        (String::from_utf8_lossy(name).into_owned(), value.clone())
    };
    map.pairs().iter().map(line).collect()
}
