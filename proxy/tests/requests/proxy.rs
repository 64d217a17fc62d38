//! A worker with one filter, and requests to it, for tests that name only what they are about.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use sidetrack_proxy::host::Level;
use sidetrack_proxy::instance::{Instance, TICK, Worker};
use sidetrack_proxy::stream::{Action, Stream};

use crate::fake::{Call, Fake, values};

/// 2026-01-01T00:00:00Z.
pub(crate) const NEW_YEAR: Duration = Duration::from_secs(1_767_225_600);

pub(crate) struct Proxy {
    pub(crate) host: Fake,
    pub(crate) worker: Rc<Worker<Fake>>,
    pub(crate) filter: Instance<Fake>,
    streams: Cell<u32>,
}

/// An experiment `e` in which all units get the candidate `new`, with more keys.
pub(crate) fn file(more: &Value) -> Value {
    let mut experiment = json!({
        "name": "e",
        "unit": [{"header": "x-user-id"}],
        "baseline": "old",
        "variants": [
            {"name": "old", "cluster": "old-cluster"},
            {"name": "new", "cluster": "new-cluster", "weight": 100},
        ],
        "breaker": {"mode": "disabled"},
    });
    for (key, value) in more.as_object().unwrap() {
        experiment[key] = value.clone();
    }
    json!({"experiments": [experiment]})
}

/// With settings.
pub(crate) fn with_settings(mut file: Value, settings: &Value) -> Value {
    file["settings"] = settings.clone();
    file
}

/// A process at New Year 2026 that sets these variables.
pub(crate) fn host(variables: &[&'static str]) -> Fake {
    let host = Fake::default();
    host.0.now.set(NEW_YEAR);
    host.0.variables.borrow_mut().extend(variables);
    host
}

impl Proxy {
    pub(crate) fn new(file: &Value) -> Self {
        Self::on(&host(&[]), file)
    }

    /// A new worker of this process.
    pub(crate) fn on(host: &Fake, file: &Value) -> Self {
        let worker = Rc::<Worker<Fake>>::default();
        let filter = Instance::new(host.clone(), Rc::clone(&worker));
        let mut proxy = Self { host: host.clone(), worker, filter, streams: Cell::new(0) };
        proxy.filter.load("sidetrack", file.to_string().as_bytes());
        proxy
    }

    /// Another plugin instance on this worker.
    pub(crate) fn instance(&self, text: &str) -> Instance<Fake> {
        self.plugin("sidetrack", text)
    }

    /// An instance of another plugin on this worker.
    pub(crate) fn plugin(&self, name: &str, text: &str) -> Instance<Fake> {
        let mut instance = Instance::new(self.host.clone(), Rc::clone(&self.worker));
        instance.load(name, text.as_bytes());
        instance
    }

    /// Moves the clock on and ticks, for this long.
    pub(crate) fn run(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / TICK.as_millis() {
            self.advance(TICK);
            self.filter.tick();
        }
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.host.0.now.set(self.host.0.now.get() + time);
        self.host.0.uptime.set(self.host.0.uptime.get() + time);
    }

    /// A request with these headers, and the usual ones that are not among them, before the filter
    /// has seen it.
    pub(crate) fn open(&self, headers: &[(&str, &str)]) -> Open {
        self.open_by(&self.filter, headers)
    }

    /// A request to another instance on this worker.
    pub(crate) fn open_by(&self, filter: &Instance<Fake>, headers: &[(&str, &str)]) -> Open {
        self.streams.set(self.streams.get() + 1);
        let number = self.streams.get();
        let call = Call::default();
        let usual = [(":method", "GET"), (":authority", "models.test"), (":path", "/infer")];
        let is_new = |(name, _): &&(&str, &str)| headers.iter().all(|(other, _)| other != name);
        let all = usual.iter().filter(is_new).chain(headers);
        let all = all.map(|(name, value)| ((*name).into(), (*value).into()));
        call.request.borrow_mut().extend(all);
        call.attempts.set(1);
        Open { number, call, stream: Stream::new(number, filter.runtime()) }
    }

    /// A whole request of this user, answered with this status.
    pub(crate) fn send(&self, user: &str, status: u32) -> Open {
        let mut request = self.open(&[("x-user-id", user)]);
        request.decide();
        request.respond(status);
        request.end();
        request
    }

    /// The value of a series, by `name{label="value",…}`.
    pub(crate) fn value(&self, name: &str) -> u64 {
        let series = self.host.0.series.borrow();
        let found = series.iter().find(|(other, ..)| other == name);
        found.unwrap_or_else(|| panic!("no series {name} among {series:#?}")).2
    }

    /// The published requests of a variant: success, error, aborted.
    pub(crate) fn requests(&self, variant: &str) -> [u64; 3] {
        ["success", "error", "aborted"].map(|status| {
            self.value(&format!(
                "ab_test_requests_total{{experiment=\"e\",model_name={variant:?},status={status:?}}}"
            ))
        })
    }

    /// The value of a series of an experiment's variant.
    pub(crate) fn of(&self, metric: &str, variant: &str) -> u64 {
        self.value(&format!("{metric}{{experiment=\"e\",model_name={variant:?}}}"))
    }

    /// The value of a series of the experiment.
    pub(crate) fn of_experiment(&self, metric: &str) -> u64 {
        self.value(&format!("{metric}{{experiment=\"e\"}}"))
    }

    /// The requests without a unit for this reason.
    pub(crate) fn missing(&self, reason: &str) -> u64 {
        self.value(&format!("ab_test_missing_unit_total{{experiment=\"e\",reason={reason:?}}}"))
    }

    /// The lines of the log at this level.
    pub(crate) fn log(&self, level: Level) -> Vec<String> {
        let log = self.host.0.log.borrow();
        log.iter().filter(|(other, _)| *other == level).map(|(_, text)| text.clone()).collect()
    }
}

/// A request on its way.
pub(crate) struct Open {
    pub(crate) number: u32,
    pub(crate) call: Call,
    pub(crate) stream: Stream<Call>,
}

impl Open {
    /// The filter gets the headers of a request without a body.
    pub(crate) fn decide(&mut self) {
        assert_eq!(self.stream.request_headers(&self.call, true), Action::Continue);
    }

    /// The headers of a response with a body arrive.
    pub(crate) fn respond(&mut self, status: u32) {
        self.call.code.set(status);
        self.stream.response_headers(&self.call, false);
    }

    /// The gRPC status arrives, in trailers or in the headers of a response without a body.
    pub(crate) fn respond_with_grpc(&mut self, status: u32, in_trailers: bool) {
        let part = if in_trailers { &self.call.response_trailers } else { &self.call.response };
        part.borrow_mut().push(("grpc-status".to_owned(), status.to_string()));
        self.call.code.set(200);
        self.stream.response_headers(&self.call, !in_trailers);
        if in_trailers {
            self.stream.response_trailers(&self.call);
        }
    }

    /// Some time has passed since the response's headers: the proxy looks at it on a tick.
    pub(crate) fn last(&mut self, proxy: &mut Proxy, time: Duration) {
        proxy.run(time);
        if self.stream.is_long(proxy.host.0.uptime.get()) {
            self.stream.look(&self.call);
        }
    }

    pub(crate) fn log(&mut self) {
        self.stream.log(&self.call);
    }

    pub(crate) fn delete(&mut self) {
        self.stream.delete(&self.call);
    }

    pub(crate) fn end(&mut self) {
        self.log();
        self.delete();
    }

    /// The request's headers with this name, as they go to the model.
    pub(crate) fn sent(&self, name: &str) -> Vec<String> {
        values(&self.call.request, name)
    }

    /// The response's headers with this name, as they go to the client.
    pub(crate) fn received(&self, name: &str) -> Vec<String> {
        values(&self.call.response, name)
    }

    /// The filter state: reason, bucket and unit of the exposure, and whether it was rescued.
    pub(crate) fn exposed(&self) -> [Option<String>; 4] {
        let state = |key| self.call.filter_state.borrow().get(key).cloned();
        let exposure = state("sidetrack.exposure");
        let [reason, bucket, unit] = ["reason", "bucket", "unit"].map(|wanted| {
            let mut values = sidetrack::exposure::values(exposure.as_deref()?);
            values.find(|(key, _)| *key == wanted).map(|(_, value)| value.to_owned())
        });
        [reason, bucket, unit, state("sidetrack.rescued")]
    }
}
