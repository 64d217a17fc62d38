//! A folder of files, as `render argocd` and `render helm` write it.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::atomic;
use crate::out::Out;

/// A file of the folder.
pub(super) struct File {
    /// Relative to the folder.
    pub(super) path: String,
    pub(super) text: String,
}

impl File {
    /// Whether it must be executable.
    pub(super) fn is_script(&self) -> bool {
        self.path.ends_with(".sh")
    }
}

/// Writes the files and prints their paths. Files with other contents are replaced only by force.
pub(super) fn write(
    folder: &Path,
    files: &[File],
    force: bool,
    out: &mut Out,
) -> anyhow::Result<()> {
    // Checked before the first write, so a refusal leaves the folder as it was.
    let lost: Vec<&str> = files
        .iter()
        .filter(|file| differs(&folder.join(&file.path), &file.text))
        .map(|file| file.path.as_str())
        .collect();
    anyhow::ensure!(
        force || lost.is_empty(),
        "--out {} has other contents in: {}\n  hint: --force replaces these files; review the changes with git",
        folder.display(),
        lost.join(", ")
    );
    for file in files {
        let path = folder.join(&file.path);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        atomic::write(&path, file.text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
        if file.is_script() {
            executable(&path)?;
        }
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}

/// Whether the path exists with other contents.
fn differs(path: &Path, text: &str) -> bool {
    path.exists() && std::fs::read(path).ok().as_deref() != Some(text.as_bytes())
}

#[cfg(unix)]
fn executable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", path.display()))
}

#[cfg(not(unix))]
fn executable(_: &Path) -> anyhow::Result<()> {
    Ok(())
}
