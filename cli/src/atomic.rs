//! Atomic replacement of a file: write to a temporary file in the same folder, then rename it.
//!
//! Readers see the old content or the new one, never a part, also after a crash.

use std::fs::{File, Permissions, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::words::visible;

/// Writes `content` to the file at `path`, replacing the one that is there.
///
/// The permissions of an existing file are kept; a new file is readable by all users (mode 644).
///
/// # Errors
///
/// A folder that does not exist or cannot be written; a full disk. The old file is then unchanged.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".sidetrack-").tempfile_in(folder(path))?;
    file.write_all(content)?;
    // A temporary file starts out readable by its owner only.
    if let Some(permissions) = permissions(path) {
        file.as_file().set_permissions(permissions)?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// The same, for a file that is still as it was; `None`: there was none. Of several commands that do so at once, one writes.
///
/// # Errors
///
/// Also a file that somebody else changed, whose change would be lost.
pub(crate) fn replace(path: &Path, was: Option<&[u8]>, content: &[u8]) -> anyhow::Result<()> {
    let name = visible(&path.to_string_lossy());
    let _alone = Alone::wait(path).with_context(|| format!("cannot write {name}"))?;
    let now = match std::fs::read(path) {
        Ok(now) => Some(now),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
    };
    anyhow::ensure!(
        now.as_deref() == was,
        "{name} was changed while the decision was made; nothing was written\n  \
         hint: run the command again, so that it decides about the changed file"
    );
    write(path, content).with_context(|| format!("cannot write {name}"))
}

/// How long another command may take to replace a file.
const LONGEST: Duration = Duration::from_secs(10);

/// A lock on the folder of a file, so that it does not change between the look at it and the rename. The file itself is another one
/// after each rename, and a file for the lock would stay.
struct Alone {
    _folder: Option<File>,
}

impl Alone {
    fn wait(path: &Path) -> io::Result<Self> {
        // Where folders cannot be opened, nothing is locked.
        let Ok(folder) = File::open(folder(path)) else { return Ok(Self { _folder: None }) };
        let begun = Instant::now();
        loop {
            match folder.try_lock() {
                Ok(()) => return Ok(Self { _folder: Some(folder) }),
                Err(TryLockError::WouldBlock) if begun.elapsed() < LONGEST => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::other("another command holds its folder"));
                }
                // A file system without locks.
                Err(TryLockError::Error(_)) => return Ok(Self { _folder: None }),
            }
        }
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn permissions(path: &Path) -> Option<Permissions> {
    std::fs::metadata(path).ok().map(|old| old.permissions()).or_else(readable)
}

#[cfg(unix)]
fn readable() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt as _;
    Some(Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
const fn readable() -> Option<Permissions> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_stays_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn an_existing_file_keeps_its_permissions_and_a_new_one_is_readable() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("experiment.yaml");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        write(&path, b"one").unwrap();
        assert_eq!(mode(), 0o644);
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(mode(), 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn a_reader_that_opened_the_old_file_reads_it_to_its_end() {
        use std::io::Read as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        write(&path, b"the old page").unwrap();
        let mut reader = std::fs::File::open(&path).unwrap();
        write(&path, b"new").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "the old page");
    }

    #[test]
    fn a_file_that_somebody_changed_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("experiment.yaml");
        replace(&path, None, b"one").unwrap();
        replace(&path, Some(b"one"), b"two").unwrap();
        for was in [None, Some(&b"one"[..])] {
            let error = replace(&path, was, b"three").unwrap_err().to_string();
            assert!(error.contains("nothing was written"), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), b"two");
        }
    }

    #[test]
    fn of_several_that_replace_a_file_at_once_one_writes() {
        for round in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("experiment.yaml");
            write(&path, b"one").unwrap();
            let begin = std::sync::Barrier::new(8);
            let replaced = |number: usize| {
                begin.wait();
                replace(&path, Some(b"one"), format!("by {number}").as_bytes()).is_ok()
            };
            let all: Vec<bool> = std::thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..8).map(|number| scope.spawn(move || replaced(number))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(all.iter().filter(|is_ok| **is_ok).count(), 1, "round {round}");
            let winner = all.iter().position(|is_ok| *is_ok).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), format!("by {winner}").as_bytes());
        }
    }

    #[test]
    fn a_folder_that_does_not_exist_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(&folder.path().join("missing/page.html"), b"x").is_err());
    }
}
