//! `--exposures`: files, and folders that stand for the access logs in them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::fault::Fault;
use crate::words::visible;

/// What the name of an access log contains, however it was rotated: `access.log`, `access.log.1`,
/// `access.log.2.gz`, `access.log-20261123.gz`.
const MARK: &str = ".log";
/// How many names of other files are shown.
const SHOWN: usize = 3;

/// The files to read: each path as it is, and of a folder all access logs in it, by name.
///
/// # Errors
///
/// A folder that cannot be read, or that has no access log.
pub(super) fn files(given: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in given {
        if path.is_dir() {
            files.extend(logs(path)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn logs(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let name = visible(&folder.to_string_lossy());
    let cannot = || format!("--exposures: cannot read the folder {name}");
    let (mut logs, mut others) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_file = entry.path().is_file();
        if is_file && !name.starts_with('.') && name.contains(MARK) {
            logs.push(entry.path());
        } else {
            others.push(visible(&name));
        }
    }
    if logs.is_empty() {
        others.sort();
        let more = if others.len() > SHOWN { ", …" } else { "" };
        let found = match others.get(..SHOWN.min(others.len())).unwrap_or_default() {
            [] => "it is empty".to_owned(),
            others => format!("it contains {}{more}", others.join(", ")),
        };
        return Err(Fault(format!(
            "--exposures {name}: the folder has no access log, a file with {MARK} in its name; {found}"
        ))
        .into());
    }
    logs.sort();
    Ok(logs)
}
