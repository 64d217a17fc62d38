//! A fake Envoy in the test's own process: a proxy-wasm 0.2.1 host on wasmtime that holds state.
//!
//! It runs the very module that ships, under a virtual clock and with chosen entropy, and is asked afterwards what
//! the filter did. It never scripts the order of host calls. Behavior follows Envoy's `context.cc` and
//! proxy-wasm-cpp-host; where the phase matters (which headers and properties can be seen when), so does ours.
//!
//! [`Proxy`] is a process, [`Vm`] a worker in it, [`Stream`] a request. Deliberately absent: calls out of the
//! filter (HTTP, gRPC), shared queues, TCP, WebAssembly reload; calling what is absent traps and names itself.

mod abi;
mod compiled;
mod exchange;
mod expressions;
mod guest;
mod headers;
mod imports;
mod metrics;
mod module;
mod shared;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod vm;
mod wasi;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

pub use abi::{Action, LogLevel, Status};
pub use exchange::{Exchange, Reply};
pub use headers::{HeaderMap, Pair};
pub use metrics::{MetricKind, MetricValue};
pub use module::Module;
pub use shared::LogLine;
use shared::{Shared, locked};
pub use state::LocalResponse;
pub use stream::Stream;
pub use vm::{Dead, Vm};

/// One fake Envoy process. Its VMs share metrics, shared data, clock and log; clones are the same process.
#[derive(Clone)]
pub struct Proxy {
    module: Module,
    shared: Arc<Mutex<Shared>>,
}

impl Proxy {
    /// A process with no VM yet, its clock at 2026-01-01T00:00:00Z, its entropy seeded with 1.
    #[must_use]
    pub fn new(module: &Module) -> Self {
        Self { module: module.clone(), shared: Arc::default() }
    }

    /// Starts another VM in this process.
    ///
    /// # Errors
    ///
    /// If the module traps while it starts.
    pub fn start_vm(&self) -> Result<Vm, Dead> {
        Vm::start(&self.module, &self.shared)
    }

    /// The same process with another module: metrics, shared data and clock live on, as after a code update.
    #[must_use]
    pub fn with_module(&self, module: &Module) -> Self {
        Self { module: module.clone(), shared: Arc::clone(&self.shared) }
    }

    /// The clock: nanoseconds since 1970.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.state().now_ns
    }

    /// Sets the clock: nanoseconds since 1970. No tick fires by itself; see [`Vm::tick`].
    pub fn set_now(&self, ns: u64) {
        self.state().now_ns = ns;
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        state.now_ns =
            state.now_ns.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Restarts the stream of random bytes.
    pub fn seed_entropy(&self, seed: u64) {
        let mut state = self.state();
        state.seed = seed;
        state.entropy.clear();
    }

    /// Bytes the guest gets before any others.
    pub fn push_entropy(&self, bytes: &[u8]) {
        self.state().entropy.extend(bytes);
    }

    /// A counter's value; none if it was never defined or is hidden.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<u64> {
        self.number(MetricKind::Counter, name)
    }

    /// A gauge's value; none if it was never defined or is hidden.
    #[must_use]
    pub fn gauge(&self, name: &str) -> Option<u64> {
        self.number(MetricKind::Gauge, name)
    }

    /// A histogram's samples, oldest first; none if it was never defined or is hidden.
    #[must_use]
    pub fn histogram(&self, name: &str) -> Option<Vec<u64>> {
        match self.state().metrics.value(MetricKind::Histogram, name) {
            Some(MetricValue::Samples(samples)) => Some(samples),
            _ => None,
        }
    }

    /// Every metric by name, hidden ones left out.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, MetricValue> {
        self.state().metrics.all()
    }

    /// Sets a gauge from outside, as another worker or plugin would.
    pub fn set_gauge(&self, name: &str, value: u64) {
        let mut state = self.state();
        let slot = state.metrics.define(MetricKind::Gauge, name);
        // A slot that was just made takes any value.
        let _ = state.metrics.record(slot, value);
    }

    /// Metrics whose name starts so become null statistics, as a stats matcher makes them: they read 0.
    pub fn hide_metrics(&self, prefix: &str) {
        self.state().metrics.hide(prefix);
    }

    /// A value of the shared data.
    #[must_use]
    pub fn shared_data(&self, key: &str) -> Option<Vec<u8>> {
        self.state().data.get(key.as_bytes()).map(|(value, _)| value.clone())
    }

    /// Writes shared data unconditionally, as another plugin would.
    pub fn set_shared_data(&self, key: &str, value: &[u8]) {
        // Without a number to compare, this cannot fail.
        let _ = self.state().set_data(key.as_bytes().to_vec(), value.to_vec(), 0);
    }

    /// Sets a property that all contexts see, such as `["xds", "node", "id"]`.
    pub fn set_property(&self, path: &[&str], value: impl AsRef<[u8]>) {
        self.state().properties.insert(path.join("\0").into_bytes(), value.as_ref().to_vec());
    }

    /// Adds an environment variable for VMs to see.
    pub fn set_environment(&self, name: &str, value: &str) {
        self.state().environment.push((name.to_owned(), value.to_owned()));
    }

    /// Makes a foreign function known (`Some`, with what it answers) or unknown (`None`, as on an older host).
    /// At first `clear_route_cache` and those for expressions are known.
    pub fn set_foreign(&self, name: &str, answer: Option<Status>) {
        let mut state = self.state();
        match answer {
            Some(status) => state.foreign.insert(name.to_owned(), status),
            None => state.foreign.remove(name),
        };
    }

    /// From now on that host call (as `proxy_get_property`) does nothing but return this status.
    pub fn fault(&self, call: &str, status: Status) {
        self.fault_times(call, status, u64::MAX);
    }

    /// As [`Self::fault`], for so many calls.
    pub fn fault_times(&self, call: &str, status: Status, times: u64) {
        self.state().set_fault(call, status, times);
    }

    /// The next time that this host call (as `proxy_get_header_map_pairs`) has bytes to hand over, it hands over these.
    pub fn lie(&self, call: &str, bytes: impl Into<Vec<u8>>) {
        self.state().add_lie(call, bytes.into());
    }

    /// Ends all faults and lies.
    pub fn clear_faults(&self) {
        self.state().clear_faults();
    }

    /// The log so far.
    #[must_use]
    pub fn log(&self) -> Vec<LogLine> {
        self.state().log.clone()
    }

    /// The log so far, a line each, for messages and snapshots.
    #[must_use]
    pub fn log_text(&self) -> String {
        let line = |line: &LogLine| format!("[vm {}] {:?} {}\n", line.vm, line.level, line.text);
        self.state().log.iter().map(line).collect()
    }

    /// Empties the log.
    pub fn clear_log(&self) {
        self.state().log.clear();
    }

    /// The proxy's log level: quieter lines are dropped. At first everything is kept.
    pub fn set_log_level(&self, level: LogLevel) {
        self.state().log_level = level;
    }

    /// How often each host call was made so far, by all VMs.
    #[must_use]
    pub fn host_calls(&self) -> BTreeMap<&'static str, u64> {
        self.state().calls.clone()
    }

    /// Wasm instructions so far, by all VMs (wasmtime fuel: about one each).
    #[must_use]
    pub fn fuel_used(&self) -> u64 {
        self.state().fuel_used
    }

    /// What one callback may use before it traps; at first 10 000 000 000.
    pub fn set_fuel_limit(&self, fuel: u64) {
        self.state().fuel_limit = fuel;
    }

    fn number(&self, kind: MetricKind, name: &str) -> Option<u64> {
        match self.state().metrics.value(kind, name) {
            Some(MetricValue::Number(value)) => Some(value),
            _ => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, Shared> {
        locked(&self.shared)
    }
}
