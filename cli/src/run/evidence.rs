//! The store of a run: it follows Envoy's log, takes outcomes, and serves the verdict and the page on this machine.
//!
//! The traffic does not depend on it: what is wrong with the store is reported, and Envoy goes on. What Envoy has logged
//! meanwhile is stored later, by this run or by the next one.

mod rotation;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use sidetrack_lab::{Envoy, first_free_port};
use sidetrack_store::{
    Access, BreakerWatch, Catalog, Error, ExperimentFile, Follower, Limits, Server, Store,
};

use super::folder::Folder;
use crate::serve::{Proxies, size};
use rotation::Rotation;

/// The port that is tried first, as in `sidetrack serve`.
const PORT: u16 = 8088;

/// Where the store listens, and how long the log of the requests grows.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct StoreOptions {
    /// Address and port of the store, which takes outcomes and serves the verdict and the page; a loopback address
    /// [default: 127.0.0.1:8088, or the next free port]
    #[arg(long, value_name = "IP:PORT")]
    store_listen: Option<SocketAddr>,
    /// No store: exposures are in the log only, which then grows without a limit
    #[arg(long, conflicts_with = "store_listen")]
    no_store: bool,
    /// Rename exposures.jsonl to exposures.jsonl.1 at this size, in place of the one before
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "256MiB")]
    log_size: u64,
}

/// A store that runs.
pub(super) struct EvidenceStore {
    store: Arc<Store>,
    server: Server,
    follower: Follower,
    rotation: Rotation,
    addr: SocketAddr,
    /// Reads the breakers from Envoy's metrics.
    breakers: Option<BreakerWatch>,
    /// What is wrong now, as it was reported.
    problem: Option<String>,
}

impl StoreOptions {
    /// Takes the port; `None` without a store.
    ///
    /// # Errors
    ///
    /// If the port is in use, or other machines could reach it.
    pub(super) fn listen(&self) -> anyhow::Result<Option<TcpListener>> {
        if self.no_store {
            return Ok(None);
        }
        let Some(addr) = self.store_listen else {
            let ip = Ipv4Addr::LOCALHOST;
            let port = first_free_port(ip.into(), PORT)?;
            return Ok(Some(TcpListener::bind((ip, port))?));
        };
        ensure!(
            addr.ip().is_loopback(),
            "--store-listen: other machines can reach {addr}\n  hint: `sidetrack serve` has TLS and \
             tokens; follow the log of this run with it"
        );
        let listener = TcpListener::bind(addr);
        Ok(Some(listener.with_context(|| format!("--store-listen: cannot listen on {addr}"))?))
    }
}

impl EvidenceStore {
    /// Opens the store in the folder of the run, and begins to follow and to serve.
    ///
    /// # Errors
    ///
    /// If another process uses the store, it is damaged, or the disk is full.
    pub(super) async fn start(
        options: &StoreOptions,
        listener: TcpListener,
        folder: &Folder,
        file: ExperimentFile,
    ) -> Result<Self, Error> {
        let (path, log) = (folder.store(), folder.exposures());
        let addr = listener.local_addr().map_err(io(&path))?;
        let rotation = Rotation::new(log.clone(), options.log_size);
        // The database is checked when it is opened, which takes a while if it is large.
        let opened = tokio::task::spawn_blocking(move || {
            Store::open(&path, Catalog::new(vec![file])?, Limits::default())
        });
        let store = opened.await.map_err(|_| Error::Closed)??;
        let follower = store.follow(log)?;
        let server = Server::start(Arc::clone(&store), listener, Access::local())?;
        Ok(Self { store, server, follower, rotation, addr, breakers: None, problem: None })
    }

    /// Where it listens.
    pub(super) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Names the proxy on the page, and shows the exact state of the breakers, as the admin interface of Envoy has it.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub(super) fn observe_proxy(
        &mut self,
        addr: SocketAddr,
        admin: SocketAddr,
    ) -> Result<(), Error> {
        self.store.name_proxy(format!("http://{addr}"));
        self.breakers = Proxies::of_admin(format!("http://{admin}")).watch(&self.store)?;
        Ok(())
    }

    /// Takes a new version of the file.
    ///
    /// # Errors
    ///
    /// If its salts cannot be stored; the version before stays in force in the store.
    pub(super) fn replace(&self, file: ExperimentFile) -> Result<(), Error> {
        self.store.replace(Catalog::new(vec![file])?)
    }

    /// Rotates the log if it is time, and says what is wrong now if that has changed.
    pub(super) async fn check(&mut self, envoy: Option<&Envoy>) -> Option<String> {
        let rotated = match envoy {
            Some(envoy) => self.rotation.check(&self.follower, envoy).await,
            None => Ok(()),
        };
        let rotated = rotated.err().map(|error| format!("cannot rotate the log: {error:#}"));
        let problem = self.follower.problem().or(rotated);
        let is_news = problem != self.problem;
        let was_wrong = self.problem.is_some();
        self.problem = problem;
        match &self.problem {
            _ if !is_news => None,
            Some(problem) => Some(format!(
                "{problem}\nThe traffic goes on, and its log is stored when this is over."
            )),
            None => was_wrong.then(|| "the store works again".to_owned()),
        }
    }

    /// What is wrong now.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Stores the rest of the log, and ends in order. Envoy must have stopped.
    ///
    /// # Errors
    ///
    /// Why the rest was not stored; the next run stores it.
    pub(super) async fn stop(self) -> Result<(), String> {
        let Self { store, server, follower, breakers, .. } = self;
        drop(breakers);
        let finished = tokio::task::spawn_blocking(move || follower.finish());
        let finished = finished.await.unwrap_or(Ok(()));
        server.stop().await;
        store.close();
        finished
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let file = path.to_owned();
    move |source| Error::Io { file, source }
}
