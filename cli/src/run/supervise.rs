//! Envoy's life: started once, restarted on the same ports with backoff when it dies, stopped in order.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use sidetrack_lab::Envoy;
use tokio::time::Instant;

use super::event::{Event, Kind};
use super::resources::Resources;
use crate::local::{self, Local};

/// The wait before the first restart; it doubles with each failed one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// An Envoy that ran this long is healthy: the next wait is the first one again.
const HEALTHY: Duration = Duration::from_secs(60);

/// Envoy, or the wait for its next start.
pub(super) struct Supervisor {
    args: local::Options,
    state: State,
    wait: Duration,
    /// Of the last start that succeeded.
    pub(super) version: String,
    pub(super) addr: SocketAddr,
    pub(super) admin: SocketAddr,
}

enum State {
    Running(Box<Local>, Instant),
    Waiting(Instant),
}

impl Supervisor {
    /// Starts Envoy for the first time.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(super) async fn start(
        args: &local::Options,
        resources: &mut Resources<'_>,
    ) -> anyhow::Result<Self> {
        let local = start(args, resources).await?;
        let (version, addr, admin) = (local.version.clone(), local.addr, local.envoy.admin_addr());
        // From now on with these ports: clients know them.
        let args = args.on_ports_of(&local);
        let state = State::Running(Box::new(local), Instant::now());
        Ok(Self { args, state, wait: FIRST_WAIT, version, addr, admin })
    }

    /// The running Envoy.
    pub(super) fn envoy(&self) -> Option<&Envoy> {
        match &self.state {
            State::Running(local, _) => Some(&local.envoy),
            State::Waiting(_) => None,
        }
    }

    /// Restarts Envoy if it has died and the wait is over. Returns what happened.
    pub(super) async fn check(&mut self, resources: &mut Resources<'_>) -> Vec<Event> {
        let now = Instant::now();
        match &self.state {
            State::Running(local, _) if local.envoy.is_running() => Vec::new(),
            State::Running(local, since) => {
                if now.duration_since(*since) >= HEALTHY {
                    self.wait = FIRST_WAIT;
                }
                let log = local.envoy.log_tail(3);
                let log = if log.is_empty() { String::new() } else { format!("\n{log}") };
                let text = format!("Envoy exited; it restarts in {} s{log}", self.wait.as_secs());
                self.state = State::Waiting(now + self.wait);
                vec![Event::new(Kind::Stopped, text)]
            }
            State::Waiting(until) if now < *until => Vec::new(),
            State::Waiting(_) => {
                let started = start(&self.args, resources).await;
                let now = Instant::now();
                // Also after a success: an Envoy that dies again at once must not spin.
                self.wait = (self.wait * 2).min(LONGEST_WAIT);
                match started {
                    Ok(local) => {
                        self.state = State::Running(Box::new(local), now);
                        vec![Event::new(Kind::Restarted, "Envoy runs again")]
                    }
                    Err(error) => {
                        self.state = State::Waiting(now + self.wait);
                        let text = format!(
                            "Envoy did not start, the next attempt is in {} s: {error:#}",
                            self.wait.as_secs()
                        );
                        vec![Event::new(Kind::Stopped, text)]
                    }
                }
            }
        }
    }

    /// Ends Envoy in order.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        match self.state {
            State::Running(local, _) => local.envoy.stop().await,
            State::Waiting(_) => Ok(()),
        }
    }
}

async fn start(args: &local::Options, resources: &mut Resources<'_>) -> anyhow::Result<Local> {
    let resources = RefCell::new(resources);
    Local::start(args, |listen, admin| resources.borrow_mut().bootstrap(listen, admin)).await
}
