//! The configurations of a plugin on one worker: which is the newest, and whether listeners have
//! different files under the plugin's name.
//!
//! A request that has waited for its body is decided by the newest configuration: a candidate that
//! was disabled in the meantime gets no request more.
//!
//! Each listener needs a plugin name of its own: all files under one name count as updates of one
//! file. An update leaves the old configuration to the connections that are open, and new
//! connections get the new one. So connections that take turns between two configurations, each
//! newer than all before, show that listeners with different files share the name. They are
//! observed only while a worker has several configurations of a plugin, once per second for each.
//!
//! If all new connections get an older configuration again, its text was published again: a proxy
//! reuses its instances without a callback, so connections are the only sign of it.

use core::time::Duration;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use sidetrack::names::shared::PLUGINS_SHARED;
use sidetrack::plan::Plan;

use crate::host::{Exchange, Host, Level};
use crate::roster;
use crate::runtime::Runtime;

/// How many turns of new connections show that two files share a plugin's name. While a listener is
/// replaced, the old one and the new one both accept connections for an instant.
const TURNS: u32 = 6;

/// How long turns count together. An operator may publish two files by turns, but not so often.
const TURNS_LAST: Duration = Duration::from_secs(60);

/// How many new connections in a row show that an older configuration serves again.
const RESUMED: u32 = 5;

/// The same where files share the plugin's name: then one of them may just have little traffic.
const RESUMED_SHARED: u32 = 30;

/// The plugins of a worker, by name.
pub(crate) struct Plugins<H: Host>(RefCell<Vec<(String, Rc<Plugin<H>>)>>);

impl<H: Host> Default for Plugins<H> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<H: Host> Plugins<H> {
    /// The plugin of this name.
    pub(crate) fn of(&self, name: &str) -> Rc<Plugin<H>> {
        let mut plugins = self.0.borrow_mut();
        if let Some((_, plugin)) = plugins.iter().find(|(other, _)| other == name) {
            return Rc::clone(plugin);
        }
        let plugin = Rc::<Plugin<H>>::default();
        plugins.push((name.to_owned(), Rc::clone(&plugin)));
        plugin
    }
}

/// What the instances of a plugin on one worker have in common.
pub(crate) struct Plugin<H: Host> {
    newest: RefCell<Weak<Runtime<H>>>,
    instances: Cell<u32>,
    connections: Connections,
    /// Listeners have different files under this name.
    pub(crate) is_shared: Cell<bool>,
}

impl<H: Host> Default for Plugin<H> {
    fn default() -> Self {
        Self {
            newest: RefCell::default(),
            instances: Cell::default(),
            connections: Connections::default(),
            is_shared: Cell::default(),
        }
    }
}

impl<H: Host> Plugin<H> {
    pub(crate) fn add_instance(&self) {
        self.connections.restart();
        self.instances.set(self.instances.get().saturating_add(1));
    }

    pub(crate) fn remove_instance(&self) {
        self.instances.set(self.instances.get().saturating_sub(1));
    }

    /// Whether the worker has one configuration of the plugin.
    pub(crate) fn is_alone(&self) -> bool {
        self.instances.get() <= 1
    }

    /// Declares a configuration the newest.
    pub(crate) fn set_newest(&self, runtime: &Rc<Runtime<H>>) {
        *self.newest.borrow_mut() = Rc::downgrade(runtime);
    }
}

impl<H: Host> Runtime<H> {
    /// The configuration that decides a request that has waited for its body under this one: the
    /// plugin's newest, unless that is another file under the same name.
    pub(crate) fn successor(self: &Rc<Self>) -> Rc<Self> {
        let newest = self.plugin.newest.borrow().upgrade();
        newest
            .filter(|it| !self.plugin.is_shared.get() && is_update(&it.plan, &self.plan))
            .unwrap_or_else(|| Rc::clone(self))
    }

    /// Observes the connection of a request that begins.
    #[cold]
    pub(crate) fn observe_connection(&self, exchange: &impl Exchange) {
        self.observes_connections.set(false);
        let (plugin, own) = (&self.plugin, core::ptr::from_ref(self));
        plugin.connections.observe(own.addr(), exchange.connection(), self.host.uptime());
        let (turns, row) = (plugin.connections.turns.get(), plugin.connections.row.get());
        if turns >= TURNS {
            plugin.is_shared.set(true);
        }
        let needed = if plugin.is_shared.get() { RESUMED_SHARED } else { RESUMED };
        let is_newest = plugin.newest.borrow().as_ptr() == own;
        // Before the first turn, the listener of the newest one may not be ready yet.
        self.resumes.set(!is_newest && turns > 1 && row >= needed);
    }
}

impl<H: Host> Runtime<H> {
    /// Publishes whether listeners have different files under the plugin's name, and observes the
    /// next connection while the worker has several configurations. To be called every second.
    /// `is_announced`: another worker may have published it.
    pub(crate) fn find_other_files(&self, name: &str, is_announced: bool) {
        let plugin = &self.plugin;
        if plugin.is_alone() {
            if plugin.is_shared.replace(false) || is_announced {
                self.clear_other_files(name);
            }
            return;
        }
        self.observes_connections.set(true);
        if plugin.is_shared.get()
            && roster::replace(&self.host, PLUGINS_SHARED, name, &[String::new()]).is_some()
        {
            self.global.plugin_shared.set(&self.host, 1);
            let text = format!(
                "listeners have different experiment files under the plugin name {name}: \
                 each file counts as an update of the others; give each listener's plugin a name \
                 of its own"
            );
            self.host.log(Level::Warning, &text);
        }
    }

    /// Publishes that no listener has another file under the plugin's name.
    pub(crate) fn clear_other_files(&self, name: &str) {
        if roster::replace(&self.host, PLUGINS_SHARED, name, &[]).is_some() {
            self.global.plugin_shared.set(&self.host, 0);
        }
    }
}

/// Whether one plan can be an update of another. A file for another listener has other experiments.
fn is_update(new: &Plan, old: &Plan) -> bool {
    let has = |name: &str| new.experiments.iter().any(|it| it.name == name);
    new.experiments.is_empty() || old.experiments.iter().any(|it| has(&it.name))
}

/// The connections of a plugin's requests.
#[derive(Debug, Default)]
struct Connections {
    /// The highest number so far. A proxy numbers connections in ascending order.
    newest: Cell<u64>,
    /// The configuration that it belongs to.
    owner: Cell<usize>,
    /// How often the owner has changed, with pauses below [`TURNS_LAST`].
    turns: Cell<u32>,
    /// When it last changed.
    turned: Cell<Duration>,
    /// How many connections in a row had this owner.
    row: Cell<u32>,
}

impl Connections {
    /// Counts anew: there is another configuration.
    fn restart(&self) {
        self.turns.set(0);
        self.row.set(0);
    }

    /// Observes a connection of this configuration. 0: its number is unknown.
    fn observe(&self, owner: usize, connection: u64, uptime: Duration) {
        if connection <= self.newest.get() {
            return;
        }
        self.newest.set(connection);
        if self.owner.replace(owner) != owner {
            let pause = uptime.saturating_sub(self.turned.replace(uptime));
            let before = self.turns.get().min(if pause > TURNS_LAST { 1 } else { u32::MAX });
            self.turns.set(before.saturating_add(1));
            self.row.set(0);
        }
        self.row.set(self.row.get().saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: usize = 1;
    const NEW: usize = 2;

    fn observe(connections: &Connections, all: &[(usize, u64)], second: u64) -> (u32, u32) {
        let uptime = Duration::from_secs(second);
        all.iter().for_each(|&(owner, connection)| connections.observe(owner, connection, uptime));
        (connections.turns.get(), connections.row.get())
    }

    #[test]
    fn only_new_connections_count() {
        let connections = Connections::default();
        assert_eq!(observe(&connections, &[(OLD, 1), (OLD, 2), (OLD, 2)], 1), (1, 2));
        assert_eq!(observe(&connections, &[(NEW, 7), (OLD, 3), (OLD, 4), (OLD, 7)], 2), (2, 1));
        assert_eq!(observe(&connections, &[(OLD, 8), (OLD, 9), (NEW, 0)], 3), (3, 2));
        connections.restart();
        assert_eq!(observe(&connections, &[(OLD, 9), (OLD, 10)], 4), (0, 1));
    }

    #[test]
    fn updates_by_turns_are_no_turns_of_connections() {
        let connections = Connections::default();
        for rollback in 1..20 {
            let second = 70 * rollback;
            let both = [(OLD, 2 * rollback), (NEW, 2 * rollback + 1)];
            assert!(observe(&connections, &both[..1], second).0 <= 2);
            assert!(observe(&connections, &both[1..], second + 5).0 <= 3);
        }
        let (turns, _) = observe(&connections, &[(OLD, 90), (NEW, 91), (OLD, 92), (NEW, 93)], 2000);
        assert!((4..TURNS).contains(&turns), "{turns}");
    }
}
