//! Pages, each made once for all of its readers.
//!
//! A verdict can take seconds on all cores. So a page is kept while nothing changes, and if something does, it is made
//! again after a rest that is four times as long as the work: readers cost at most a fifth of the machine, however many
//! there are. A reader who comes while it is being made gets the last one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use tokio::sync::{Semaphore, watch};

use super::{VERSION, asset, view};
use crate::http::Problem;
use crate::store::Store;

/// How often the board looks for changes, while there are readers.
const LOOK: Duration = Duration::from_millis(300);
/// A page that changes all the time is made again after this.
const LEAST: Duration = Duration::from_secs(2);
/// How much longer the rest is than the work.
const REST: u32 = 4;
/// What depends on the clock alone, such as the phase of a rollout, is at most so old.
const CLOCK: Duration = Duration::from_secs(10);
/// How many readers are told of changes at the same time.
const STREAMS: usize = 256;

/// What a page is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// All experiments.
    All,
    /// The experiment of this name.
    One(String),
}

/// A page that was made.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) html: String,
    /// Changes with what the page says.
    pub(super) id: String,
    /// The version of the store.
    version: u64,
    made: Instant,
    cost: Duration,
}

impl Page {
    fn is_fresh(&self, version: u64) -> bool {
        let longest = if self.version == version { CLOCK } else { LEAST };
        self.made.elapsed() < longest.max(self.cost * REST)
    }
}

/// A page and its readers.
#[derive(Debug)]
pub(super) struct Slot {
    subject: Subject,
    last: Mutex<Option<Arc<Page>>>,
    /// Held while the page is made.
    work: tokio::sync::Mutex<()>,
    /// The version that the readers have.
    pub(super) id: watch::Sender<String>,
}

impl Slot {
    fn last(&self) -> Option<Arc<Page>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The page, made again if it is old.
    async fn refreshed(&self, store: &Arc<Store>) -> Arc<Page> {
        let fresh = || self.last().filter(|page| page.is_fresh(store.version()));
        if let Some(page) = fresh() {
            return page;
        }
        let _alone = match (self.work.try_lock(), self.last()) {
            (Ok(alone), _) => alone,
            (Err(_), Some(old)) => return old,
            (Err(_), None) => self.work.lock().await,
        };
        if let Some(page) = fresh() {
            return page;
        }
        // Before the work: what changes meanwhile makes the page an old one.
        let (version, begun) = (store.version(), Instant::now());
        let (subject, store) = (self.subject.clone(), Arc::clone(store));
        let made = tokio::task::spawn_blocking(move || view::render(&store, &subject)).await;
        let (status, html) = made.unwrap_or_else(|_| view::interrupted());
        let id = asset::digest(&html);
        let html = html.replace(VERSION, &id);
        let (made, cost) = (Instant::now(), begun.elapsed());
        let page = Arc::new(Page { status, html, id: id.clone(), version, made, cost });
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&page));
        self.id.send_if_modified(|known| {
            let is_new = *known != id;
            *known = id;
            is_new
        });
        page
    }
}

/// All pages.
#[derive(Debug)]
pub(crate) struct Board {
    address: SocketAddr,
    slots: Mutex<BTreeMap<Subject, Arc<Slot>>>,
    pub(super) streams: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

impl Board {
    /// A board without pages. The address is where the server listens.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            slots: Mutex::default(),
            streams: Arc::new(Semaphore::new(STREAMS)),
            stop: watch::Sender::new(false),
        }
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The page and its readers. The subject must exist.
    pub(super) fn slot(&self, subject: &Subject) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.entry(subject.clone()).or_insert_with(|| {
            Arc::new(Slot {
                subject: subject.clone(),
                last: Mutex::default(),
                work: tokio::sync::Mutex::default(),
                id: watch::Sender::new(String::new()),
            })
        });
        Arc::clone(slot)
    }

    /// The page, as it is now or was a moment ago.
    pub(super) async fn page(
        &self,
        store: &Arc<Store>,
        subject: &Subject,
    ) -> Result<Arc<Page>, Problem> {
        let (slot, store) = (self.slot(subject), Arc::clone(store));
        // A task of its own, so that the work is not lost with a client that goes away.
        let made = tokio::spawn(async move { slot.refreshed(&store).await }).await;
        made.map_err(|_| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request was interrupted")
        })
    }

    /// Whether the server stops; changes once.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Ends all streams of events.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Makes the pages again that have readers, until the server stops.
    pub(crate) async fn watch(self: Arc<Self>, store: Arc<Store>) {
        let mut stop = self.stopping();
        loop {
            tokio::select! {
                _ = stop.wait_for(|stops| *stops) => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for slot in slots.into_values().filter(|slot| slot.id.receiver_count() > 0) {
                slot.refreshed(&store).await;
            }
        }
    }
}
