//! Envoy's life: started once, restarted on the same ports with backoff when it dies, stopped in order.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use sidetrack_lab::Envoy;
use tokio::time::Instant;

use super::event::{Event, Kind};
use super::resources::Resources;
use crate::local::{self, Local};

/// The wait before the first restart; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// An Envoy that ran this long is healthy: the next wait is the first one again.
const HEALTHY: Duration = Duration::from_secs(60);

/// How long to wait before a restart: an Envoy that dies at once must not spin.
struct Backoff {
    next: Duration,
}

impl Backoff {
    const fn new() -> Self {
        Self { next: FIRST_WAIT }
    }

    /// The wait after an Envoy that ran for so long.
    fn after(&mut self, ran: Duration) -> Duration {
        if ran >= HEALTHY {
            self.next = FIRST_WAIT;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST_WAIT);
        wait
    }
}

/// Envoy, or the wait for its next start.
pub(super) struct Supervisor {
    args: local::Options,
    state: State,
    backoff: Backoff,
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
        Ok(Self { args, state, backoff: Backoff::new(), version, addr, admin })
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
                let wait = self.backoff.after(now.duration_since(*since));
                let log = local.envoy.log_tail(3);
                let log = if log.is_empty() { String::new() } else { format!("\n{log}") };
                let text = format!("Envoy exited; it restarts in {} s{log}", wait.as_secs());
                self.state = State::Waiting(now + wait);
                vec![Event::new(Kind::Stopped, text)]
            }
            State::Waiting(until) if now < *until => Vec::new(),
            State::Waiting(_) => {
                let started = start(&self.args, resources).await;
                let now = Instant::now();
                match started {
                    Ok(local) => {
                        self.state = State::Running(Box::new(local), now);
                        vec![Event::new(Kind::Restarted, "Envoy runs again")]
                    }
                    Err(error) => {
                        let wait = self.backoff.after(Duration::ZERO);
                        self.state = State::Waiting(now + wait);
                        let text = format!(
                            "Envoy did not start, the next attempt is in {} s: {error:#}",
                            wait.as_secs()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_limit_and_begins_again_after_a_healthy_time() {
        let mut backoff = Backoff::new();
        let waits: Vec<u64> =
            (0..7).map(|_| backoff.after(Duration::from_secs(3)).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(backoff.after(HEALTHY).as_secs(), 1);
        assert_eq!(backoff.after(HEALTHY.saturating_sub(Duration::from_millis(1))).as_secs(), 2);
    }
}
