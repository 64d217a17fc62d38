//! The temporary directory of one Envoy process: configuration, admin address, log.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// The files of one process. Dropping this removes them.
#[derive(Debug)]
pub(super) struct Files {
    dir: TempDir,
}

impl Files {
    pub(super) fn create(bootstrap_yaml: &str) -> Result<Self> {
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

    pub(super) fn config(&self) -> PathBuf {
        self.path().join("bootstrap.yaml")
    }

    pub(super) fn admin_path(&self) -> PathBuf {
        self.path().join("admin.txt")
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.path().join("envoy.log")
    }

    /// The admin address, once Envoy has written it.
    pub(super) fn admin_address(&self) -> Option<SocketAddr> {
        std::fs::read_to_string(self.admin_path()).ok()?.trim().parse().ok()
    }

    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// Keeps the directory after the drop, for diagnosis.
    pub(super) fn keep(&mut self) {
        self.dir.disable_cleanup(true);
    }
}

/// The last `lines` lines of `text`.
pub(super) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}
