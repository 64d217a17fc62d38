//! Paths that a user gives: files, folders that stand for the exposures in them, and patterns that the shell did not expand.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use sidetrack_analysis::figures::visible;

use crate::remote;

/// What the name of an access log contains, however it was rotated: `access.log`, `access.log.1`,
/// `access.log.2.gz`, `access.log-20261123.gz`.
const MARK: &str = ".log";
/// How the names of Parquet files end.
const PARQUET: &str = ".parquet";
/// How many names of other files are shown.
const SHOWN: usize = 3;

/// A path that stands for no file.
#[derive(Debug)]
pub enum Mistake {
    /// A folder cannot be read.
    Folder(String, io::Error),
    /// What is wrong, in words.
    Words(String),
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(name, _) => write!(f, "cannot read the folder {name}"),
            Self::Words(words) => f.write_str(words),
        }
    }
}

/// The files to read: a path as it is; of a folder its access logs or, if it has none, its Parquet files with those in
/// `key=value` folders, by name; of a pattern with `*`, `?`, `[…]` or `**` the files that match.
///
/// # Errors
/// A folder that cannot be read, or a folder or pattern without files.
pub fn expand(given: &[PathBuf]) -> Result<Vec<PathBuf>, Mistake> {
    let mut files = Vec::new();
    for path in given {
        if remote::is_remote(path) {
            files.extend(of_store(path)?);
        } else if path.is_dir() {
            files.extend(of_folder(path)?);
        } else if !path.exists() && is_pattern(path) {
            files.extend(of_pattern(path)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// What names may be, for a pattern.
const OPTIONS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Objects of a store: one, those that match a pattern, or those of a folder, whose path ends in `/`.
fn of_store(path: &Path) -> Result<Vec<PathBuf>, Mistake> {
    let text = path.to_string_lossy();
    let name = visible(&text);
    let list = || remote::list(path).map_err(|error| Mistake::Folder(name.clone(), error));
    if text.ends_with('/') {
        let mut found = Found::default();
        for object in list()? {
            let object_name = object.to_string_lossy();
            let inner = object_name.strip_prefix(&*text).unwrap_or_default().to_owned();
            let (folders, file) = inner.rsplit_once('/').unwrap_or(("", &inner));
            let is_part =
                folders.split('/').all(|folder| folder.is_empty() || folder.contains('='));
            if is_part {
                found.add(object.clone(), file);
            }
        }
        return found.files(&name);
    }
    if !is_pattern(path) {
        return Ok(vec![path.to_owned()]);
    }
    let pattern = pattern(&text)?;
    let mut files = list()?;
    files.retain(|file| pattern.matches_with(&file.to_string_lossy(), OPTIONS));
    if files.is_empty() {
        return Err(Mistake::Words(format!("{name}: no object matches the pattern")));
    }
    Ok(files)
}

fn pattern(text: &str) -> Result<glob::Pattern, Mistake> {
    let bad = |error: glob::PatternError| {
        Mistake::Words(format!("{}: not a pattern: {}", visible(text), error.msg))
    };
    glob::Pattern::new(text).map_err(bad)
}

fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

fn of_pattern(pattern: &Path) -> Result<Vec<PathBuf>, Mistake> {
    let name = visible(&pattern.to_string_lossy());
    let found = glob::glob_with(&pattern.to_string_lossy(), OPTIONS)
        .map_err(|error| Mistake::Words(format!("{name}: not a pattern: {}", error.msg)))?;
    let mut files = Vec::new();
    for path in found {
        let path = path.map_err(|error| {
            let name = visible(&error.path().to_string_lossy());
            Mistake::Folder(name, error.into())
        })?;
        if path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Mistake::Words(format!("{name}: no file matches the pattern")));
    }
    files.sort();
    Ok(files)
}

fn of_folder(folder: &Path) -> Result<Vec<PathBuf>, Mistake> {
    let mut found = Found::default();
    found.search(folder)?;
    found.files(&visible(&folder.to_string_lossy()))
}

/// What a folder has.
#[derive(Default)]
struct Found {
    logs: Vec<PathBuf>,
    tables: Vec<PathBuf>,
    others: Vec<String>,
}

impl Found {
    fn search(&mut self, folder: &Path) -> Result<(), Mistake> {
        let fail = |error| Mistake::Folder(visible(&folder.to_string_lossy()), error);
        for entry in std::fs::read_dir(folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_file() {
                self.add(path, &name);
            } else if path.is_dir() && name.contains('=') {
                self.search(&path)?;
            } else {
                self.others.push(visible(&name));
            }
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf, name: &str) {
        let is_hidden = name.starts_with(['.', '_']);
        if !is_hidden && name.contains(MARK) {
            self.logs.push(path);
        } else if !is_hidden && name.ends_with(PARQUET) {
            self.tables.push(path);
        } else {
            self.others.push(visible(name));
        }
    }

    /// The files to read, by name.
    fn files(self, name: &str) -> Result<Vec<PathBuf>, Mistake> {
        let mut files = if self.logs.is_empty() { self.tables } else { self.logs };
        if files.is_empty() {
            let mut others = self.others;
            others.sort();
            let more = if others.len() > SHOWN { ", …" } else { "" };
            let found = match others.get(..SHOWN.min(others.len())).unwrap_or_default() {
                [] => "it is empty".to_owned(),
                others => format!("it contains {}{more}", others.join(", ")),
            };
            return Err(Mistake::Words(format!(
                "{name}: the folder has no access log, a file with {MARK} in its name, and no \
                 {PARQUET} file; {found}"
            )));
        }
        files.sort();
        Ok(files)
    }
}
