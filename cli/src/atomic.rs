//! Atomic replacement of a file: write to a temporary file in the same folder, then rename it.
//!
//! Readers see the old content or the new one, never a part, also after a crash.

use std::fs::Permissions;
use std::io::{self, Write};
use std::path::Path;

/// Writes `content` to the file at `path`, replacing the one that is there.
///
/// The permissions of an existing file are kept; a new file is readable by all users (mode 644).
///
/// # Errors
///
/// A folder that does not exist or cannot be written; a full disk. The old file is then unchanged.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".sidetrack-").tempfile_in(folder)?;
    file.write_all(content)?;
    // A temporary file starts out readable by its owner only.
    if let Some(permissions) = permissions(path) {
        file.as_file().set_permissions(permissions)?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
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
    fn a_folder_that_does_not_exist_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(&folder.path().join("missing/page.html"), b"x").is_err());
    }
}
