//! The rotation of Envoy's log: renamed at a size, then opened again by Envoy.
//!
//! No line is lost. Envoy goes on in the renamed file until it opens the new one. The file of an earlier rotation is
//! replaced only if the follower is in the present one, so that its lines are stored.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use sidetrack_lab::Envoy;
use sidetrack_store::Follower;

/// When the log is renamed, and to what.
pub(super) struct Rotation {
    log: PathBuf,
    old: PathBuf,
    /// In bytes.
    limit: u64,
    /// The log was renamed, and Envoy does not know yet.
    is_renamed: bool,
}

impl Rotation {
    pub(super) fn new(log: PathBuf, limit: u64) -> Self {
        let mut old = log.clone().into_os_string();
        old.push(".1");
        Self { log, old: old.into(), limit, is_renamed: false }
    }

    /// Rotates the log if it is large.
    ///
    /// # Errors
    ///
    /// If the log cannot be renamed, or Envoy does not answer; the next call tries again.
    pub(super) async fn check(&mut self, follower: &Follower, envoy: &Envoy) -> anyhow::Result<()> {
        if !self.is_renamed {
            // Without a log, Envoy has not opened the new one yet.
            let Ok(about) = fs::metadata(&self.log) else { return Ok(()) };
            if about.len() < self.limit || !follower.is_in(&about) {
                return Ok(());
            }
            let renamed = fs::rename(&self.log, &self.old);
            renamed.with_context(|| format!("{} cannot be renamed", self.log.display()))?;
            self.is_renamed = true;
        }
        envoy.admin_post("/reopen_logs").await?;
        self.is_renamed = false;
        Ok(())
    }
}
