//! A real Envoy as a child process.
//!
//! Envoy writes where its admin port is into a file, and its log to the standard error, which is a file too: with
//! `--log-path` it would keep lines back for up to 10 seconds, and lose them when it crashes. Both lie in a temporary
//! directory that lives as long as the process. The child has a process group of its own, so that a Ctrl-C in the terminal reaches
//! us and not Envoy: we stop it, in our order. A `Guard` kills it if we die without getting that far.

pub(crate) mod admin;
pub(crate) mod binary;
mod guard;
pub(crate) mod metrics;
mod report;

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use admin::Admin;
use guard::Guard;

/// How long Envoy may take to answer 200 on `/ready`.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// How long Envoy may take to end after SIGTERM, before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(3);
/// How often the start looks whether Envoy is ready.
const POLL: Duration = Duration::from_millis(20);

/// What to start, and how.
#[derive(Clone, Debug)]
pub struct EnvoyOptions {
    /// The program, usually from [`EnvoyBinary::find`](crate::EnvoyBinary::find).
    pub binary: PathBuf,
    /// The whole bootstrap configuration. It needs an `admin` address; every port in it may be 0.
    pub bootstrap_yaml: String,
    /// Worker threads.
    pub concurrency: u32,
    /// `trace`, `debug`, `info`, `warning`, `error`, `critical` or `off`.
    pub log_level: String,
    /// Further arguments, for example `--component-log-level wasm:debug`.
    pub extra_args: Vec<String>,
}

impl EnvoyOptions {
    /// One worker, and warnings in the log.
    #[must_use]
    pub fn new(binary: PathBuf, bootstrap_yaml: impl Into<String>) -> Self {
        Self {
            binary,
            bootstrap_yaml: bootstrap_yaml.into(),
            concurrency: 1,
            log_level: "warning".to_owned(),
            extra_args: Vec::new(),
        }
    }
}

/// A running Envoy. Dropping it kills the process; [`Envoy::stop`] ends it in good order.
#[derive(Debug)]
pub struct Envoy {
    // The order matters for a drop: the child dies, then the guard is told so, then the files go.
    child: Mutex<Child>,
    pid: u32,
    guard: Guard,
    admin: Admin,
    files: Files,
}

impl Envoy {
    /// Starts Envoy and returns when it is ready for traffic.
    ///
    /// # Errors
    /// If the program cannot be started, ends early, or is not ready within 20 seconds. The message contains the
    /// log's tail and the path of the configuration, which is kept in that case.
    pub async fn start(options: EnvoyOptions) -> Result<Self> {
        let mut files = Files::create(&options.bootstrap_yaml)?;
        let mut child = spawn(&options, &files)?;
        match Self::wait_until_ready(&mut child, &files).await {
            Ok((pid, guard, admin)) => {
                Ok(Self { child: Mutex::new(child), pid, guard, admin, files })
            }
            Err(error) => {
                // Ended before the log is read, so that the log is whole.
                let _ = child.kill().await;
                files.keep();
                let tail = tail(&files.log(), 40);
                Err(error.context(format!(
                    "Envoy did not start\n  program: {}\n  configuration: {}\n--- log ---\n{tail}\n---",
                    options.binary.display(),
                    files.config().display(),
                )))
            }
        }
    }

    async fn wait_until_ready(child: &mut Child, files: &Files) -> Result<(u32, Guard, Admin)> {
        let pid = child.id().context("the process ended at once")?;
        let guard = Guard::watch(pid)?;
        let deadline = Instant::now() + START_DEADLINE;
        let mut state =
            "it has not opened its admin port; does the configuration have `admin.address`?"
                .to_owned();
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait()? {
                bail!("the process ended: {status}");
            }
            if let Some(address) = files.admin_address() {
                let admin = Admin::new(address);
                match admin.ready().await {
                    Ok(true) => return Ok((pid, guard, admin)),
                    Ok(false) => {
                        state = "its admin port answers, but `/ready` does not say 200".to_owned()
                    }
                    Err(error) => state = format!("its admin port does not answer: {error:#}"),
                }
            }
            sleep(POLL).await;
        }
        bail!("not ready after {} s: {state}", START_DEADLINE.as_secs())
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process still runs. False after a crash.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(child.try_wait(), Ok(None))
    }

    /// Where the admin interface listens.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.addr()
    }

    /// Ends Envoy with SIGTERM, and with SIGKILL if it is still there after 3 seconds.
    ///
    /// # Errors
    /// If the process can be neither signalled nor waited for.
    pub async fn stop(self) -> Result<()> {
        let Self { child, pid, guard, .. } = self;
        let mut child = child.into_inner().unwrap_or_else(PoisonError::into_inner);
        if child.try_wait()?.is_none() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // It may end by itself between the two calls: then there is nobody to signal.
                let _ = kill_process(pid, Signal::TERM);
            }
            if timeout(STOP_DEADLINE, child.wait()).await.is_err() {
                child.kill().await.context("killing Envoy")?;
            }
        }
        drop(guard);
        Ok(())
    }
}

fn spawn(options: &EnvoyOptions, files: &Files) -> Result<Child> {
    let log = File::create(files.log_path()).context("creating a file for Envoy's log")?;
    Command::new(&options.binary)
        .arg("--config-path")
        .arg(files.config())
        .arg("--disable-hot-restart")
        .args(["--concurrency", &options.concurrency.to_string()])
        .args(["-l", &options.log_level])
        .arg("--admin-address-path")
        .arg(files.admin_path())
        .args(&options.extra_args)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {}", options.binary.display()))
}

/// The files of one run.
#[derive(Debug)]
struct Files {
    dir: TempDir,
}

impl Files {
    fn create(bootstrap_yaml: &str) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("sidetrack-envoy-")
            .tempdir()
            .context("creating a directory")?;
        let files = Self { dir };
        std::fs::write(files.config(), bootstrap_yaml).context("writing Envoy's configuration")?;
        Ok(files)
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn config(&self) -> PathBuf {
        self.path().join("bootstrap.yaml")
    }

    fn admin_path(&self) -> PathBuf {
        self.path().join("admin.txt")
    }

    fn log_path(&self) -> PathBuf {
        self.path().join("envoy.log")
    }

    /// The admin address, once Envoy has written it.
    fn admin_address(&self) -> Option<SocketAddr> {
        std::fs::read_to_string(self.admin_path()).ok()?.trim().parse().ok()
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// Leaves the directory behind, for a person to look at.
    fn keep(&mut self) {
        self.dir.disable_cleanup(true);
    }
}

/// The last `lines` lines of `text`.
fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}
