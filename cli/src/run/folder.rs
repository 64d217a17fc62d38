//! The folder of a run: exposures, and Envoy's files. A lock keeps a second run out.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The names of the exposures and of the store in the folder.
const EXPOSURES: &str = "exposures.jsonl";
const STORE: &str = "store";

/// The file by which a folder is known as one that a run has made, and its content.
const MARK: (&str, &str) = (".gitignore", "*\n");

/// Makes a folder that only its owner reads, because exposures may have plain units. One that an earlier run made is
/// narrowed to its owner; any other that exists stays as it is.
fn create(path: &Path) -> std::io::Result<()> {
    let mut folder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
    folder.recursive(true).create(path)?;
    #[cfg(unix)]
    if fs::read(path.join(MARK.0)).is_ok_and(|content| content == MARK.1.as_bytes()) {
        use std::os::unix::fs::PermissionsExt as _;
        // Somebody else's folder cannot be changed, and is theirs to narrow.
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).ok();
    }
    Ok(())
}

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
        create(path).with_context(cannot)?;
        let path = path.canonicalize().with_context(cannot)?;
        if is_new {
            // The exposures are data, and not a part of the project.
            fs::write(path.join(MARK.0), MARK.1).with_context(cannot)?;
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

    /// The store of exposures and outcomes.
    pub(super) fn store(&self) -> PathBuf {
        self.path.join(STORE)
    }

    /// The same path as a user would write it.
    pub(super) fn shown_store(&self) -> PathBuf {
        self.given.join(STORE)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::Folder;

    #[test]
    fn only_the_owner_reads_a_new_folder() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        let folder = Folder::open(&path).unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&folder.path.clone())), (0o700, 0o700));
    }

    #[test]
    fn a_folder_of_an_earlier_run_is_narrowed_and_another_one_is_not() {
        let parent = tempfile::tempdir().unwrap();
        for (name, mark, wanted) in
            [("run", Some("*\n"), 0o700), ("mine", Some("target\n"), 0o755), ("other", None, 0o755)]
        {
            let path = parent.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            if let Some(mark) = mark {
                fs::write(path.join(".gitignore"), mark).unwrap();
            }
            drop(Folder::open(&path).unwrap());
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, wanted, "{name}");
        }
    }
}
