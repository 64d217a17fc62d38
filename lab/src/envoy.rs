//! An Envoy child process: start, readiness, stop, restart.
//!
//! Envoy writes its admin address to a file, and its log to standard error, which is a file too: with `--log-path` it
//! would buffer lines for up to 10 seconds, and lose them in a crash. Both files are in a temporary directory that lives
//! as long as the process. The child has its own process group, so a Ctrl-C in the terminal reaches only this process,
//! which then stops Envoy in order. A [`Guard`] kills Envoy if this process dies before that.

mod admin;
pub(crate) mod binary;
mod files;
mod guard;
pub(crate) mod metrics;
mod report;

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use admin::Admin;
use files::{Files, tail};
pub use guard::Guard;

/// The limit for Envoy to return 200 on `/ready`. It compiles the filter before, on a machine that may be busy; one that
/// exits is noticed at once.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// The time between SIGTERM and SIGKILL.
const STOP_DEADLINE: Duration = Duration::from_secs(3);
/// The interval of readiness checks.
const POLL: Duration = Duration::from_millis(20);

/// The program, configuration and arguments of an Envoy process.
#[derive(Clone, Debug)]
pub struct EnvoyOptions {
    /// The program, usually from [`EnvoyBinary::find`](crate::EnvoyBinary::find).
    pub binary: PathBuf,
    /// The complete bootstrap configuration. It needs an `admin` address; every port in it may be 0.
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

/// A running Envoy. [`Envoy::stop`] ends it with SIGTERM; dropping it kills the process.
#[derive(Debug)]
pub struct Envoy {
    options: EnvoyOptions,
    // The drop order matters: kill the child, then release the guard, then remove the files.
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
                Ok(Self { options, child: Mutex::new(child), pid, guard, admin, files })
            }
            Err(error) => {
                // Killed before the log is read, so that the log is complete.
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
            "it has not opened its admin port; does the configuration contain `admin.address`?"
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
                        state =
                            "its admin port responds, but `/ready` does not return 200".to_owned()
                    }
                    Err(error) => state = format!("its admin port does not respond: {error:#}"),
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

    /// Whether the process is running. False after a crash.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(child.try_wait(), Ok(None))
    }

    /// The address of the admin interface.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.addr()
    }

    /// Ends Envoy with SIGTERM, and with SIGKILL after 3 seconds.
    ///
    /// # Errors
    /// If the process cannot be signaled or waited for.
    pub async fn stop(self) -> Result<()> {
        self.stop_for_restart().await.map(drop)
    }

    /// Stops this Envoy and starts another one with this bootstrap and the other options unchanged. Ports that the
    /// bootstrap names are free by then.
    ///
    /// # Errors
    /// If Envoy cannot be stopped or started; in the latter case none is running.
    pub async fn restart(self, bootstrap_yaml: impl Into<String>) -> Result<Self> {
        let options = self.stop_for_restart().await?;
        Self::start(EnvoyOptions { bootstrap_yaml: bootstrap_yaml.into(), ..options }).await
    }

    async fn stop_for_restart(self) -> Result<EnvoyOptions> {
        let Self { options, child, pid, guard, .. } = self;
        let mut child = child.into_inner().unwrap_or_else(PoisonError::into_inner);
        if child.try_wait()?.is_none() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // The process may end between the two calls; the signal then has no target.
                let _ = kill_process(pid, Signal::TERM);
            }
            if timeout(STOP_DEADLINE, child.wait()).await.is_err() {
                child.kill().await.context("killing Envoy")?;
            }
        }
        drop(guard);
        Ok(options)
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
