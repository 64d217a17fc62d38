//! The border to the guest: what a VM's store holds, and reading and writing its memory in a host call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use wasmtime::{Caller, Extern, Memory};

use super::abi::{ALLOWED_AT_START, Status};
use super::expressions::Expressions;
use super::headers::word;
use super::shared::{Shared, locked};
use super::state::StreamState;

/// A context of the VM.
pub(super) enum Context {
    Root(Root),
    Stream { root: u32, state: Arc<Mutex<StreamState>> },
}

/// A root context: one plugin configuration in this VM.
#[derive(Default)]
pub(super) struct Root {
    /// The text that it was configured with.
    pub(super) text: Vec<u8>,
    pub(super) tick_ms: u32,
    pub(super) streams: usize,
    /// A later configuration took over, or this one was refused.
    pub(super) retired: bool,
    /// `proxy_on_done` was called and answered "not yet".
    pub(super) waiting: bool,
    pub(super) expressions: Expressions,
    /// For an access logger: the stream whose log callback runs.
    pub(super) logged: Option<Arc<Mutex<StreamState>>>,
}

/// What the store of one VM holds.
pub(super) struct Host {
    pub(super) shared: Arc<Mutex<Shared>>,
    pub(super) vm: u32,
    pub(super) contexts: BTreeMap<u32, Context>,
    pub(super) current: u32,
    pub(super) effective: u32,
    pub(super) metric_slots: HashMap<u32, usize>,
    pub(super) metrics_defined: u32,
    pub(super) plugin_config: Option<Vec<u8>>,
    pub(super) starting: bool,
    pub(super) stopped: bool,
    pub(super) done: BTreeSet<u32>,
    /// Where in its memory a module that was built to be fuzzed counts the edges it took.
    pub(super) counters: std::ops::Range<usize>,
}

impl Host {
    /// The context that host calls act on.
    pub(super) fn context(&self) -> u32 {
        if self.effective == 0 { self.current } else { self.effective }
    }

    pub(super) fn root_mut(&mut self, id: u32) -> Option<&mut Root> {
        match self.contexts.get_mut(&id) {
            Some(Context::Root(root)) => Some(root),
            _ => None,
        }
    }

    /// The root of the context that host calls act on.
    pub(super) fn current_root(&self) -> u32 {
        match self.contexts.get(&self.context()) {
            Some(Context::Stream { root, .. }) => *root,
            _ => self.context(),
        }
    }
}

/// Why a host call ends early.
pub(super) enum Stop {
    Status(Status),
    Trap(wasmtime::Error),
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<wasmtime::Error> for Stop {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

pub(super) type Answer<T = ()> = Result<T, Stop>;

/// The guest as a host call sees it.
pub(super) struct Guest<'a> {
    caller: Caller<'a, Host>,
    memory: Memory,
    /// The host call that is made.
    name: &'static str,
}

/// Runs the body of a host call: counts it, lets a fault take its place, and turns its end into a status.
pub(super) fn host_call(
    mut caller: Caller<'_, Host>,
    name: &'static str,
    body: impl FnOnce(&mut Guest<'_>) -> Answer,
) -> wasmtime::Result<u32> {
    if caller.data().starting && !ALLOWED_AT_START.contains(&name) {
        wasmtime::bail!("{name} was called during _initialize, where Envoy does not allow it");
    }
    if let Some(status) = locked(&caller.data().shared).enter(name) {
        return Ok(status as u32);
    }
    let Some(memory) = caller.get_export("memory").and_then(Extern::into_memory) else {
        wasmtime::bail!("the module exports no memory");
    };
    match body(&mut Guest { caller, memory, name }) {
        Ok(()) => Ok(Status::Ok as u32),
        Err(Stop::Status(status)) => Ok(status as u32),
        Err(Stop::Trap(error)) => Err(error),
    }
}

impl Guest<'_> {
    pub(super) fn host(&self) -> &Host {
        self.caller.data()
    }

    pub(super) fn host_mut(&mut self) -> &mut Host {
        self.caller.data_mut()
    }

    pub(super) fn shared(&self) -> MutexGuard<'_, Shared> {
        locked(&self.host().shared)
    }

    /// The state of the stream that the call acts on; none in a root context that logs none.
    pub(super) fn stream(&self) -> Option<MutexGuard<'_, StreamState>> {
        match self.host().contexts.get(&self.host().context())? {
            Context::Stream { state, .. } => Some(locked(state)),
            Context::Root(root) => root.logged.as_deref().map(locked),
        }
    }

    pub(super) fn read(&self, at: u32, len: u32) -> Answer<Vec<u8>> {
        let end = (at as usize).checked_add(len as usize).ok_or(Status::InvalidMemoryAccess)?;
        let bytes = self.memory.data(&self.caller).get(at as usize..end);
        Ok(bytes.ok_or(Status::InvalidMemoryAccess)?.to_vec())
    }

    pub(super) fn read_u32(&self, at: u32) -> Answer<u32> {
        let bytes = self.read(at, 4)?.try_into().map_err(|_| Status::InvalidMemoryAccess)?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub(super) fn write(&mut self, at: u32, bytes: &[u8]) -> Answer {
        let written = self.memory.write(&mut self.caller, at as usize, bytes);
        Ok(written.map_err(|_| Status::InvalidMemoryAccess)?)
    }

    /// Hands bytes over: memory of the guest's own allocator, its address and length in the given slots.
    pub(super) fn give(&mut self, bytes: &[u8], address_at: u32, len_at: u32) -> Answer {
        let lie = self.shared().lie(self.name);
        let bytes = lie.as_deref().unwrap_or(bytes);
        let mut address = 0;
        if !bytes.is_empty() {
            let exported = self.caller.get_export("proxy_on_memory_allocate");
            let Some(allocate) =
                exported.or_else(|| self.caller.get_export("malloc")).and_then(Extern::into_func)
            else {
                return Err(wasmtime::format_err!("the module exports no allocator").into());
            };
            let allocate = allocate.typed::<u32, u32>(&self.caller)?;
            address = allocate.call(&mut self.caller, word(bytes.len()))?;
            if address == 0 {
                return Err(Status::InvalidMemoryAccess.into());
            }
            self.write(address, bytes)?;
        }
        self.write(address_at, &address.to_le_bytes())?;
        self.write(len_at, &word(bytes.len()).to_le_bytes())
    }
}
