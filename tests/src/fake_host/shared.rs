//! What all VMs of one fake Envoy process share: metrics, shared data, clock, entropy, log, faults.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::abi::{LogLevel, Status};
use super::metrics::Metrics;

/// A line of the proxy's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The VM that wrote it; the first is 1.
    pub vm: u32,
    /// How loud.
    pub level: LogLevel,
    /// The text, broken UTF-8 replaced.
    pub text: String,
}

struct Fault {
    status: Status,
    left: u64,
}

pub(super) struct Shared {
    pub(super) metrics: Metrics,
    pub(super) data: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    last_cas: u32,
    pub(super) now_ns: u64,
    pub(super) seed: u64,
    pub(super) entropy: VecDeque<u8>,
    pub(super) log: Vec<LogLine>,
    pub(super) log_level: LogLevel,
    faults: HashMap<String, Fault>,
    lies: HashMap<String, VecDeque<Vec<u8>>>,
    pub(super) calls: BTreeMap<&'static str, u64>,
    pub(super) foreign: BTreeMap<String, Status>,
    pub(super) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) fuel_used: u64,
    pub(super) fuel_limit: u64,
    pub(super) vms: u32,
}

impl Default for Shared {
    fn default() -> Self {
        let name = (b"plugin_name".to_vec(), b"sidetrack".to_vec());
        Self {
            metrics: Metrics::default(),
            data: BTreeMap::new(),
            last_cas: 0,
            // 2026-01-01T00:00:00Z
            now_ns: 1_767_225_600_000_000_000,
            seed: 1,
            entropy: VecDeque::new(),
            log: Vec::new(),
            log_level: LogLevel::Trace,
            faults: HashMap::new(),
            lies: HashMap::new(),
            calls: BTreeMap::new(),
            foreign: ["clear_route_cache", "expr_create", "expr_evaluate", "expr_delete"]
                .map(|name| (name.to_owned(), Status::Ok))
                .into(),
            properties: BTreeMap::from([name, (b"plugin_root_id".to_vec(), Vec::new())]),
            environment: Vec::new(),
            fuel_used: 0,
            fuel_limit: 10_000_000_000,
            vms: 0,
        }
    }
}

impl Shared {
    pub(super) fn set_fault(&mut self, call: &str, status: Status, times: u64) {
        self.faults.insert(call.to_owned(), Fault { status, left: times });
    }

    pub(super) fn clear_faults(&mut self) {
        self.faults.clear();
        self.lies.clear();
    }

    pub(super) fn add_lie(&mut self, call: &str, bytes: Vec<u8>) {
        self.lies.entry(call.to_owned()).or_default().push_back(bytes);
    }

    /// What the call hands over instead of the truth.
    pub(super) fn lie(&mut self, call: &str) -> Option<Vec<u8>> {
        self.lies.get_mut(call)?.pop_front()
    }

    /// Counts the call, and says whether it is to fail.
    pub(super) fn enter(&mut self, call: &'static str) -> Option<Status> {
        *self.calls.entry(call).or_default() += 1;
        let fault = self.faults.get_mut(call)?;
        fault.left = fault.left.checked_sub(1)?;
        Some(fault.status)
    }

    /// An absent key takes any number; 0 overwrites unconditionally.
    pub(super) fn set_data(
        &mut self,
        key: Vec<u8>,
        value: Vec<u8>,
        cas: u32,
    ) -> Result<(), Status> {
        if self.data.get(&key).is_some_and(|(_, now)| cas != 0 && cas != *now) {
            return Err(Status::CasMismatch);
        }
        self.last_cas = self.last_cas.checked_add(1).unwrap_or(1);
        self.data.insert(key, (value, self.last_cas));
        Ok(())
    }

    /// Bytes set by the test first, then a SplitMix64 stream of the seed.
    pub(super) fn random(&mut self, len: usize) -> Vec<u8> {
        while self.entropy.len() < len {
            self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            self.entropy.extend((z ^ (z >> 31)).to_le_bytes());
        }
        self.entropy.drain(..len).collect()
    }

    pub(super) fn write_log(&mut self, vm: u32, level: LogLevel, text: &[u8]) {
        if level >= self.log_level {
            self.log.push(LogLine { vm, level, text: String::from_utf8_lossy(text).into_owned() });
        }
    }
}

/// Locks; a test that panicked elsewhere does not make the state unreadable.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
