//! `--apply git`: a commit of the file, with the decision as its message.
//!
//! Git itself does the work, so hooks, signatures and identities are the user's own. Only the experiment file is
//! committed. If the commit fails, the file is as before.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::atomic;
use crate::fault::Fault;
use crate::words::visible;

/// The repository of a file.
pub(super) struct Repository {
    folder: PathBuf,
    file: PathBuf,
}

impl Repository {
    /// The repository that tracks this file.
    pub(super) fn of(file: &Path) -> anyhow::Result<Self> {
        let name = visible(&file.to_string_lossy());
        // A link stays a link, and belongs to the repository of what it names.
        let file = file.canonicalize().with_context(|| format!("cannot read {name}"))?;
        let folder = file.parent().unwrap_or_else(|| Path::new("/")).to_owned();
        let found = Self { folder, file };
        let tracked = found.git(["ls-files", "--error-unmatch", "--"].map(OsStr::new), true);
        tracked.map_err(|error| {
            Fault(format!(
                "--apply git: {name} is not tracked in a Git repository: {error:#}\n  \
                 hint: commit the file first, or use --apply file"
            ))
        })?;
        Ok(found)
    }

    /// Takes over the commits of others, so that the decision is about the newest file.
    pub(super) fn pull(&self) -> anyhow::Result<()> {
        self.git(["pull", "--rebase", "--quiet"].map(OsStr::new), false).map(drop)
    }

    /// Refuses a file with changes that are not committed: they would become part of the commit.
    pub(super) fn ensure_clean(&self) -> anyhow::Result<()> {
        let status = self.git(["status", "--porcelain", "--"].map(OsStr::new), true)?;
        anyhow::ensure!(
            status.is_empty(),
            Fault(format!(
                "--apply git: {} has changes that are not committed; nothing was written\n  \
                 hint: commit or discard them first",
                visible(&self.file.to_string_lossy())
            ))
        );
        Ok(())
    }

    /// Writes the file and commits it; returns the commit's hash.
    pub(super) fn commit(&self, text: &str, message: &str) -> anyhow::Result<String> {
        self.ensure_clean()?;
        let name = || format!("cannot write {}", visible(&self.file.to_string_lossy()));
        let before = std::fs::read(&self.file).with_context(name)?;
        atomic::write(&self.file, text.as_bytes()).with_context(name)?;
        let arguments = ["commit", "--quiet", "--message", message, "--only", "--"].map(OsStr::new);
        if let Err(error) = self.git(arguments, true) {
            atomic::write(&self.file, &before).with_context(name)?;
            return Err(error.context("nothing was committed, and the file is as before"));
        }
        let hash = self.git(["rev-parse", "HEAD"].map(OsStr::new), false)?;
        Ok(hash.trim().to_owned())
    }

    /// Pushes what the upstream branch does not have yet.
    pub(super) fn push(&self) -> anyhow::Result<()> {
        let ahead =
            self.git(["rev-list", "--count", "@{upstream}..HEAD"].map(OsStr::new), false)?;
        if ahead.trim() == "0" {
            return Ok(());
        }
        let pushed = self.git(["push", "--quiet"].map(OsStr::new), false);
        pushed.map(drop).context("the commit is not pushed yet; the next run with --push pushes it")
    }

    fn git<const N: usize>(&self, arguments: [&OsStr; N], file: bool) -> anyhow::Result<String> {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.folder).args(arguments);
        if file {
            command.arg(&self.file);
        }
        // It must never wait for a password.
        command.env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null());
        let output = command.output().context("cannot run git")?;
        let word = arguments.first().map(|word| word.to_string_lossy()).unwrap_or_default();
        anyhow::ensure!(
            output.status.success(),
            "git {word}: {}",
            visible(String::from_utf8_lossy(&output.stderr).trim())
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
