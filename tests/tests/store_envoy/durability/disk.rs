//! The disk of the stores, which is full for a while: a file system of its own for root, otherwise the stores' own limit.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use super::node::Node;

/// What a store may have when its own limit is the full disk.
const LIMIT: &str = "64KiB";

/// The disk.
pub(super) struct Disk {
    path: PathBuf,
    is_mounted: bool,
    is_full: bool,
}

impl Disk {
    /// A disk of this size, such as `1g`, which lies in memory.
    pub(super) fn new(path: &Path, size: &str) -> Result<Self> {
        fs::create_dir_all(path)?;
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output();
        let is_mounted = mount.is_ok_and(|output| output.status.success());
        Ok(Self { path: path.to_owned(), is_mounted, is_full: false })
    }

    pub(super) const fn kind(&self) -> &'static str {
        if self.is_mounted {
            "a tmpfs without a free byte"
        } else {
            "--max-size, because only root mounts a file system"
        }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Fills the disk, or frees it. A store that gets something meanwhile says so, and is ready again afterwards.
    pub(super) async fn toggle(&mut self, nodes: &mut [Node]) -> Result<()> {
        self.is_full = !self.is_full;
        let ballast = self.path.join("ballast");
        match (self.is_mounted, self.is_full) {
            (true, true) => fill(&ballast)?,
            (true, false) => fs::remove_file(&ballast)?,
            (false, is_full) => {
                for node in nodes.iter_mut() {
                    node.set_limit(is_full.then_some(LIMIT));
                    node.kill_and_start().await?;
                }
            }
        }
        // The first one always has something to write: what Envoy logs.
        if let Some(node) = nodes.first() {
            let status = if self.is_full { 503 } else { 200 };
            node.until_ready_is(status).await?;
        }
        Ok(())
    }
}

/// Writes a file until nothing more fits.
fn fill(path: &Path) -> Result<()> {
    let mut file = File::create(path)?;
    for size in [1 << 20, 4096, 1] {
        let part = vec![0; size];
        loop {
            match file.write_all(&part) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    ensure!(fs::metadata(path)?.len() > 0, "the disk was full before");
    Ok(())
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            Command::new("umount").arg("-l").arg(&self.path).status().ok();
        }
    }
}
