//! A proxy in memory, as the traits of `sidetrack_proxy::host` see it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use sidetrack::breaker::{Store, SwapError};
use sidetrack::effects::{Effect, Op};
use sidetrack::request::Request;
use sidetrack_proxy::host::{Exchange, Headers, Host, Kind, Level, SeriesId, Sink};

/// A process. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Fake(pub(crate) Rc<Process>);

#[derive(Default)]
pub(crate) struct Process {
    /// Since 1970.
    pub(crate) now: Cell<Duration>,
    /// Of the clock that is never set.
    pub(crate) uptime: Cell<Duration>,
    pub(crate) random: Cell<u64>,
    pub(crate) variables: RefCell<BTreeSet<&'static str>>,
    pub(crate) log: RefCell<Vec<(Level, String)>>,
    /// `None` while no ticks are requested.
    pub(crate) tick_period: Cell<Option<Duration>>,
    pub(crate) has_no_timer: Cell<bool>,
    pub(crate) has_no_store: Cell<bool>,
    /// A stats matcher excludes the series, so they read 0.
    pub(crate) hides_series: Cell<bool>,
    /// By `name{label="value",…}`.
    pub(crate) series: RefCell<Vec<(String, Kind, u64)>>,
    /// How often a counter was added to.
    pub(crate) additions: Cell<u32>,
    values: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
}

impl Host for Fake {
    /// A request that was sent again is not a success.
    type SuccessCheck = bool;

    fn now(&self) -> Duration {
        self.0.now.get()
    }

    fn uptime(&self) -> Duration {
        self.0.uptime.get()
    }

    fn random(&self) -> u64 {
        self.0.random.get()
    }

    fn log(&self, level: Level, text: &str) {
        self.0.log.borrow_mut().push((level, text.to_owned()));
    }

    fn is_set(&self, variable: &str) -> bool {
        self.0.variables.borrow().contains(variable)
    }

    fn start_ticks(&self, period: Duration) -> bool {
        self.0.tick_period.set(Some(period).filter(|_| !self.0.has_no_timer.get()));
        !self.0.has_no_timer.get()
    }

    fn prepare_success_check(&self, once: bool) -> bool {
        once
    }
}

impl Store for Fake {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.0.values.borrow().get(key).cloned()
    }

    fn swap(&self, key: &str, value: &[u8], version: u32) -> Result<(), SwapError> {
        if self.0.has_no_store.get() {
            return Err(SwapError::Unavailable);
        }
        let mut values = self.0.values.borrow_mut();
        let now = values.get(key).map_or(0, |(_, version)| *version);
        if version != 0 && version != now {
            return Err(SwapError::Conflict);
        }
        values.insert(key.to_owned(), (value.to_vec(), now + 1));
        Ok(())
    }
}

impl Sink for Fake {
    const FAMILY: &'static str = "fake.*";

    fn define(&self, kind: Kind, labels: &[(&str, &str)], name: &str) -> Option<SeriesId> {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}={value:?}")).collect();
        let name = if labels.is_empty() {
            name.to_owned()
        } else {
            format!("{name}{{{}}}", labels.join(","))
        };
        let mut series = self.0.series.borrow_mut();
        let known = series.iter().position(|(other, ..)| *other == name);
        let id = known.unwrap_or(series.len());
        if known.is_none() {
            series.push((name, kind, 0));
        }
        assert_eq!(series[id].1, kind, "{}", series[id].0);
        Some(SeriesId(id.try_into().unwrap()))
    }

    fn add(&self, counter: SeriesId, count: u32) {
        let (name, kind, value) = &mut self.0.series.borrow_mut()[counter.0 as usize];
        assert_eq!(*kind, Kind::Counter, "{name}");
        *value += u64::from(count);
        self.0.additions.set(self.0.additions.get() + 1);
    }

    fn set(&self, gauge: SeriesId, new: u64) {
        let (name, kind, value) = &mut self.0.series.borrow_mut()[gauge.0 as usize];
        assert_eq!(*kind, Kind::Gauge, "{name}");
        *value = new;
    }

    fn value(&self, series: SeriesId) -> Option<u64> {
        let is_hidden = self.0.hides_series.get();
        Some(if is_hidden { 0 } else { self.0.series.borrow()[series.0 as usize].2 })
    }
}

type Pairs = Vec<(String, String)>;

/// A request and its response, as the proxy has them now.
#[derive(Default)]
pub(crate) struct Call {
    /// The proxy does not return the request's headers.
    pub(crate) hides_headers: Cell<bool>,
    pub(crate) connection: Cell<u64>,
    pub(crate) request: RefCell<Pairs>,
    pub(crate) body: RefCell<Vec<u8>>,
    pub(crate) trailers: RefCell<Pairs>,
    /// The proxy does not let its body be replaced.
    pub(crate) keeps_body: Cell<bool>,
    pub(crate) response: RefCell<Pairs>,
    pub(crate) filter_state: RefCell<BTreeMap<String, String>>,
    pub(crate) code: Cell<u32>,
    pub(crate) flags: Cell<u64>,
    pub(crate) response_trailers: RefCell<Pairs>,
    pub(crate) attempts: Cell<u64>,
    pub(crate) is_connect: Cell<bool>,
    pub(crate) is_http3: Cell<bool>,
    /// The proxy itself answered.
    pub(crate) is_local: Cell<bool>,
    pub(crate) route: Cell<&'static str>,
    /// How often the ending was queried, in any way.
    pub(crate) queries: Cell<u32>,
}

impl Call {
    fn count_query<T>(&self, answer: T) -> T {
        self.queries.set(self.queries.get() + 1);
        answer
    }
}

/// The values of a header in these pairs.
pub(crate) fn values(pairs: &RefCell<Pairs>, name: &str) -> Vec<String> {
    let pairs = pairs.borrow();
    pairs.iter().filter(|(other, _)| other == name).map(|(_, value)| value.clone()).collect()
}

fn write(pairs: &RefCell<Pairs>, effect: &Effect<'_>) {
    let value = String::from_utf8(effect.value.to_vec()).unwrap();
    let mut pairs = pairs.borrow_mut();
    if matches!(effect.op, Op::Set | Op::Remove) {
        pairs.retain(|(name, _)| name != effect.name);
    }
    if effect.op != Op::Remove {
        pairs.push((effect.name.to_owned(), value));
    }
}

impl Exchange for Call {
    type Headers = Copied;
    type Host = Fake;

    fn connection(&self) -> u64 {
        self.connection.get()
    }

    fn request_headers(&self) -> Option<Copied> {
        (!self.hides_headers.get()).then(|| Copied(self.request.borrow().clone()))
    }

    fn request_body(&self, most: usize) -> Vec<u8> {
        self.body.borrow().iter().take(most).copied().collect()
    }

    fn replace_request_body(&self, size: usize, body: &[u8]) -> bool {
        let is_possible = !self.keeps_body.get();
        assert_eq!(size, self.body.borrow().len());
        if is_possible {
            *self.body.borrow_mut() = body.to_vec();
        }
        is_possible
    }

    fn request_trailers(&self) -> Option<Copied> {
        Some(Copied(self.trailers.borrow().clone()))
    }

    fn remove_request_trailer(&self, name: &str) {
        self.trailers.borrow_mut().retain(|(other, _)| other != name);
    }

    fn remove_request_header(&self, name: &str) {
        self.request.borrow_mut().retain(|(other, _)| other != name);
    }

    fn write_request_header(&self, effect: &Effect<'_>) {
        write(&self.request, effect);
    }

    fn response_headers(&self) -> Option<Copied> {
        Some(Copied(self.response.borrow().clone()))
    }

    fn remove_response_header(&self, name: &str) {
        self.response.borrow_mut().retain(|(other, _)| other != name);
    }

    fn write_response_header(&self, effect: &Effect<'_>) {
        write(&self.response, effect);
    }

    fn write_filter_state(&self, key: &str, value: &[u8]) {
        let value = String::from_utf8(value.to_vec()).unwrap();
        self.filter_state.borrow_mut().insert(key.to_owned(), value);
    }

    fn has_filter_state(&self, key: &str) -> bool {
        self.filter_state.borrow().contains_key(key)
    }

    fn response_header(&self, name: &str) -> Option<Vec<u8>> {
        values(&self.response, name).into_iter().next().map(String::into_bytes)
    }

    fn response_trailers(&self) -> Option<Copied> {
        Some(Copied(self.response_trailers.borrow().clone()))
    }

    fn remove_response_trailer(&self, name: &str) {
        self.response_trailers.borrow_mut().retain(|(other, _)| other != name);
    }

    fn is_success(&self, once: &bool) -> bool {
        let is_plain = (1..400).contains(&self.code.get()) && self.flags.get() == 0;
        self.count_query(is_plain && (!once || self.attempts.get() < 2))
    }

    fn response_code(&self) -> u32 {
        self.count_query(self.code.get())
    }

    fn response_flags(&self) -> u64 {
        self.count_query(self.flags.get())
    }

    fn attempts(&self) -> u64 {
        self.attempts.get()
    }

    fn is_connect(&self) -> bool {
        self.is_connect.get()
    }

    fn is_http3(&self) -> bool {
        self.is_http3.get()
    }

    fn is_from_upstream(&self) -> bool {
        !self.is_local.get()
    }

    fn has_route(&self, prefix: &str) -> bool {
        self.route.get().starts_with(prefix)
    }
}

/// Headers as they were when they were read.
pub(crate) struct Copied(Pairs);

impl Request for Copied {
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_bytes())
    }
}

impl Headers for Copied {
    fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|(name, _)| name.as_bytes())
    }

    fn size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}
