//! The folder of a run: exposures, and Envoy's files. A lock keeps a second run out.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The name of the exposures in the folder.
const EXPOSURES: &str = "exposures.jsonl";

/// The folder of this run. Dropping it releases the lock; its files stay.
pub(super) struct Folder {
    /// As it was given, for messages.
    given: PathBuf,
    path: PathBuf,
    envoy: PathBuf,
    _lock: File,
}

impl Folder {
    /// Creates the folder if it does not exist, and locks it.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or another run uses it.
    pub(super) fn open(given: &Path) -> anyhow::Result<Self> {
        let path = given;
        let cannot = || format!("--dir: cannot write to {}", path.display());
        let is_new = !path.exists();
        fs::create_dir_all(path).with_context(cannot)?;
        let path = path.canonicalize().with_context(cannot)?;
        if is_new {
            // The exposures are data, and not a part of the project.
            fs::write(path.join(".gitignore"), "*\n").with_context(cannot)?;
        }
        let lock = File::create(path.join("lock")).with_context(cannot)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "another `sidetrack run` uses the folder {}\n  hint: stop it, or choose another folder with --dir",
                path.display()
            ),
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
        }
        let envoy = path.join("envoy");
        fs::create_dir_all(&envoy).with_context(cannot)?;
        Ok(Self { given: given.to_owned(), path, envoy, _lock: lock })
    }

    /// Where Envoy reads its configuration.
    pub(super) fn envoy(&self) -> &Path {
        &self.envoy
    }

    /// The exposures: one JSON line per request.
    pub(super) fn exposures(&self) -> PathBuf {
        self.path.join(EXPOSURES)
    }

    /// The same path as a user would write it.
    pub(super) fn shown_exposures(&self) -> PathBuf {
        self.given.join(EXPOSURES)
    }
}
