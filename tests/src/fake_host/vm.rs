//! One VM: a worker thread of the fake Envoy, with its root contexts and streams.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wasmtime::{Instance, Store, Val};

use super::abi::LogLevel;
use super::guest::{Context, Host, Root};
use super::headers::word;
use super::module::Module;
use super::shared::{Shared, locked};
use super::state::StreamState;
use super::stream::Stream;

/// The guest trapped; the VM answers nothing any more. The text names the callback and the trap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead(pub String);

impl fmt::Display for Dead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Dead {}

/// A handle to one VM; clones are the same VM.
#[derive(Clone)]
pub struct Vm {
    pub(super) shared: Arc<Mutex<Shared>>,
    pub(super) inner: Arc<Mutex<Inner>>,
}

pub(super) struct Inner {
    store: Store<Host>,
    instance: Option<Instance>,
    dead: Option<Dead>,
    last_context: u32,
    started: bool,
    serving: Option<u32>,
    /// The root of the module as an access logger.
    logger: Option<u32>,
}

impl Vm {
    pub(super) fn start(module: &Module, shared: &Arc<Mutex<Shared>>) -> Result<Self, Dead> {
        let vm = {
            let mut shared = locked(shared);
            shared.vms += 1;
            shared.vms
        };
        let host = Host {
            shared: Arc::clone(shared),
            vm,
            contexts: BTreeMap::new(),
            current: 0,
            effective: 0,
            metric_slots: HashMap::new(),
            metrics_defined: 0,
            plugin_config: None,
            starting: true,
            stopped: false,
            done: BTreeSet::new(),
            counters: 0..0,
        };
        let store = Store::new(module.pre.module().engine(), host);
        let mut inner = Inner {
            store,
            instance: None,
            dead: None,
            last_context: 0,
            started: false,
            serving: None,
            logger: None,
        };
        inner.fuel_up()?;
        let instance =
            module.pre.instantiate(&mut inner.store).map_err(|error| Dead(format!("{error:?}")))?;
        inner.instance = Some(instance);
        if inner.call(0, "_initialize", &[])?.is_none() {
            inner.call(0, "_start", &[])?;
        }
        inner.store.data_mut().starting = false;
        Ok(Self { shared: Arc::clone(shared), inner: Arc::new(Mutex::new(inner)) })
    }

    /// Gives the VM a plugin configuration, as Envoy does at start and at every update: a new root
    /// context. If the filter refuses it (`false`), that root goes and the earlier one keeps
    /// serving. A root of the same text that is still alive serves again, and the filter is not
    /// called: Envoy finds plugins by the bytes of their configuration.
    ///
    /// # Errors
    ///
    /// If the VM is dead or dies.
    pub fn configure(&self, config: impl AsRef<[u8]>) -> Result<bool, Dead> {
        locked(&self.inner).configure(config.as_ref())
    }

    /// Puts the module among the access loggers too, for requests that failed: a status of 500 or
    /// more, or any response flag. `false` if it refuses.
    ///
    /// # Errors
    ///
    /// If the VM is dead or dies.
    pub fn log_failures(&self, config: impl AsRef<[u8]>) -> Result<bool, Dead> {
        locked(&self.inner).log_failures(config.as_ref())
    }

    /// The same, but on another listener: it runs in this VM, but receives no requests of this
    /// listener.
    ///
    /// # Errors
    ///
    /// If the VM is dead or dies.
    pub fn log_failures_elsewhere(&self, config: impl AsRef<[u8]>) -> Result<bool, Dead> {
        locked(&self.inner).new_root(config.as_ref()).map(|(_, accepted)| accepted)
    }

    /// Takes the access logger away again.
    ///
    /// # Errors
    ///
    /// If the VM is dead or dies.
    pub fn log_no_failures(&self) -> Result<(), Dead> {
        locked(&self.inner).log_no_failures()
    }

    /// Lets the tick timers fire once: on every living root that set a period.
    ///
    /// # Errors
    ///
    /// If the VM is dead or dies.
    pub fn tick(&self) -> Result<(), Dead> {
        let mut inner = locked(&self.inner);
        let ticking = |(id, context): (&u32, &Context)| match context {
            Context::Root(root) if root.tick_ms > 0 => Some(*id),
            _ => None,
        };
        let roots: Vec<u32> = inner.store.data().contexts.iter().filter_map(ticking).collect();
        for root in roots {
            inner.call(root, "proxy_on_tick", &[root])?;
        }
        inner.sweep()
    }

    /// The tick period of the serving root; none if it set none.
    #[must_use]
    pub fn tick_period(&self) -> Option<Duration> {
        let mut inner = locked(&self.inner);
        let serving = inner.serving?;
        let ms = inner.store.data_mut().root_mut(serving)?.tick_ms;
        (ms > 0).then(|| Duration::from_millis(ms.into()))
    }

    /// A new stream under the serving root. The filter learns of it with its first callback.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream::new(self.clone())
    }

    /// How many root contexts of the filter live: more than one while streams of an old
    /// configuration go on.
    #[must_use]
    pub fn roots(&self) -> usize {
        let inner = locked(&self.inner);
        let contexts = &inner.store.data().contexts;
        let is_filter = |(id, context): &(&u32, &Context)| {
            matches!(context, Context::Root(_)) && Some(**id) != inner.logger
        };
        contexts.iter().filter(is_filter).count()
    }

    /// Whether the guest has trapped.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        locked(&self.inner).dead.is_some()
    }

    /// What killed it.
    #[must_use]
    pub fn cause_of_death(&self) -> Option<Dead> {
        locked(&self.inner).dead.clone()
    }

    /// The guest's linear memory now, in bytes; it never shrinks.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let inner = &mut *locked(&self.inner);
        let memory =
            inner.instance.and_then(|instance| instance.get_memory(&mut inner.store, "memory"));
        memory.map_or(0, |memory| memory.data_size(&inner.store))
    }

    /// How often each edge of the code was taken, in a module that was built to count them; else
    /// nothing.
    #[must_use]
    pub fn edge_counters(&self) -> Vec<u8> {
        let inner = &mut *locked(&self.inner);
        let counters = inner.store.data().counters.clone();
        let memory =
            inner.instance.and_then(|instance| instance.get_memory(&mut inner.store, "memory"));
        let counted =
            memory.and_then(|memory| memory.data(&inner.store).get(counters).map(<[u8]>::to_vec));
        counted.unwrap_or_default()
    }
}

impl Inner {
    pub(super) fn host(&mut self) -> &mut Host {
        self.store.data_mut()
    }

    pub(super) fn new_context(&mut self, context: Context) -> u32 {
        self.last_context += 1;
        self.store.data_mut().contexts.insert(self.last_context, context);
        self.last_context
    }

    /// The root that new streams belong to.
    pub(super) fn serving(&self) -> Option<u32> {
        self.serving
    }

    /// Calls an export; `None` if the module does not have it.
    pub(super) fn call(
        &mut self,
        context: u32,
        name: &str,
        arguments: &[u32],
    ) -> Result<Option<u32>, Dead> {
        if let Some(dead) = &self.dead {
            return Err(dead.clone());
        }
        let instance = self.instance.ok_or_else(|| Dead("not started".to_owned()))?;
        let Some(function) = instance.get_func(&mut self.store, name) else {
            return Ok(None);
        };
        self.fuel_up()?;
        let host = self.store.data_mut();
        (host.current, host.effective, host.stopped) = (context, 0, false);
        let arguments: Vec<Val> =
            arguments.iter().map(|word| Val::I32(word.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        let outcome = function.call(&mut self.store, &arguments, &mut results);
        let left = self.store.get_fuel().unwrap_or_default();
        let host = self.store.data_mut();
        host.current = 0;
        let mut shared = locked(&host.shared);
        shared.fuel_used += shared.fuel_limit.saturating_sub(left);
        if let Err(error) = outcome {
            let dead = Dead(format!("{name}: {}", format!("{error:?}").trim()));
            shared.write_log(
                host.vm,
                LogLevel::Critical,
                format!("VM {} died: {dead}", host.vm).as_bytes(),
            );
            drop(shared);
            self.dead = Some(dead.clone());
            return Err(dead);
        }
        Ok(Some(results.first().and_then(Val::i32).unwrap_or_default().cast_unsigned()))
    }

    fn fuel_up(&mut self) -> Result<(), Dead> {
        let fuel = locked(&self.store.data().shared).fuel_limit;
        self.store.set_fuel(fuel).map_err(|error| Dead(format!("{error:?}")))
    }

    fn configure(&mut self, config: &[u8]) -> Result<bool, Dead> {
        if let Some(dead) = &self.dead {
            return Err(dead.clone());
        }
        let logger = self.logger;
        let alive = self.host().contexts.iter_mut().find_map(|(id, context)| match context {
            Context::Root(root) if root.text == config && Some(*id) != logger => {
                root.retired = false;
                Some(*id)
            }
            _ => None,
        });
        let (root, accepted) = match alive {
            Some(_) if self.serving == alive => return Ok(true),
            Some(root) => (root, true),
            None => self.new_root(config)?,
        };
        let leaving = if accepted { self.serving.replace(root) } else { Some(root) };
        if let Some(root) = leaving.and_then(|id| self.host().root_mut(id)) {
            root.retired = true;
        }
        self.sweep()?;
        Ok(accepted)
    }

    fn log_failures(&mut self, config: &[u8]) -> Result<bool, Dead> {
        let (root, accepted) = self.new_root(config)?;
        if accepted {
            self.logger = Some(root);
        }
        Ok(accepted)
    }

    fn log_no_failures(&mut self) -> Result<(), Dead> {
        if let Some(root) = self.logger.take().and_then(|id| self.host().root_mut(id)) {
            root.retired = true;
        }
        self.sweep()
    }

    /// The access logger logs a stream, if its filter passes it.
    pub(super) fn log(&mut self, stream: &Arc<Mutex<StreamState>>) -> Result<(), Dead> {
        let Some(logger) = self.logger.filter(|_| locked(stream).has_failed()) else {
            return Ok(());
        };
        let set = |inner: &mut Self, logged| {
            if let Some(root) = inner.host().root_mut(logger) {
                root.logged = logged;
            }
        };
        set(self, Some(Arc::clone(stream)));
        let outcome = self.call(logger, "proxy_on_log", &[logger]);
        set(self, None);
        outcome.map(drop)
    }

    fn new_root(&mut self, config: &[u8]) -> Result<(u32, bool), Dead> {
        let text = config.to_vec();
        let root = self.new_context(Context::Root(Root { text, ..Root::default() }));
        self.host().plugin_config = Some(config.to_vec());
        let accepted = self.open_root(root, word(config.len()));
        self.host().plugin_config = None;
        Ok((root, accepted?))
    }

    fn open_root(&mut self, root: u32, config_len: u32) -> Result<bool, Dead> {
        self.call(root, "proxy_on_context_create", &[root, 0])?;
        if !self.started {
            self.started = self.call(root, "proxy_on_vm_start", &[root, 0])? != Some(0);
        }
        Ok(self.started && self.call(root, "proxy_on_configure", &[root, config_len])? != Some(0))
    }

    /// Ends the roots that have retired and have no streams left.
    pub(super) fn sweep(&mut self) -> Result<(), Dead> {
        let idle = |(id, context): (&u32, &Context)| match context {
            Context::Root(root) if root.retired && root.streams == 0 => Some(*id),
            _ => None,
        };
        let roots: Vec<u32> = self.store.data().contexts.iter().filter_map(idle).collect();
        for id in roots {
            let waiting = self.host().root_mut(id).is_some_and(|root| root.waiting);
            if !waiting && self.call(id, "proxy_on_done", &[id])? == Some(0) {
                // The filter will say when, with `proxy_done`.
                if let Some(root) = self.host().root_mut(id) {
                    root.waiting = true;
                }
                continue;
            }
            if waiting && !self.host().done.remove(&id) {
                continue;
            }
            self.call(id, "proxy_on_delete", &[id])?;
            self.host().contexts.remove(&id);
        }
        Ok(())
    }
}
