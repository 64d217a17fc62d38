//! An experiment file in a Git repository: commits of this file alone, with a decision as the message.
//!
//! Git itself does the work, so hooks, signatures and identities are the user's own. A process that is killed at any
//! point leaves nothing that stops the next one: what it wrote and did not commit is discarded, what it committed and
//! did not push is pushed, or dropped if others changed the same lines meanwhile. Only a lock that Git left behind stops
//! all commits until a person removes it; the file is then as before, and the message names the lock.

mod limited;

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::atomic;
use crate::digest::sha256;
use crate::fault::Fault;
use crate::words::visible;

/// The trailer of all commits that are made here. Only such commits are ever dropped.
const TRAILER: &str = "Decided-by";
/// Names the file in Git's folder with the digest of what is about to be committed.
const INTENT: &str = "sidetrack-change";
/// The lock in Git's folder, held by the command that pulls, or writes and commits. Without it, one that begins would
/// discard what another one has written and not committed yet.
const LOCK: &str = "sidetrack-lock";
/// How long a command of Git may take. Hooks may be slow, but a remote that never answers must not stop all decisions.
const LIMIT: Duration = Duration::from_secs(120);
/// How often a command that waits for another one looks again.
const LOOK: Duration = Duration::from_millis(20);

/// The repository of a file.
pub(crate) struct Repository {
    folder: PathBuf,
    file: PathBuf,
}

impl Repository {
    /// The repository that tracks this file.
    pub(crate) fn of(file: &Path) -> anyhow::Result<Self> {
        let name = visible(&file.to_string_lossy());
        // A link stays a link, and belongs to the repository of what it names.
        let file = file.canonicalize().with_context(|| format!("cannot read {name}"))?;
        let folder = file.parent().unwrap_or_else(|| Path::new("/")).to_owned();
        let found = Self { folder, file };
        found.on_file(&["ls-files", "--error-unmatch", "--"]).map_err(|error| {
            Fault(format!(
                "--apply git: {name} is not tracked in a Git repository: {error:#}\n  \
                 hint: commit the file first, or use --apply file"
            ))
        })?;
        Ok(found)
    }

    /// The repository of a file that need not exist yet.
    pub(crate) fn of_new(file: &Path) -> anyhow::Result<Self> {
        if file.exists() {
            let file = file.canonicalize()?;
            let folder = file.parent().unwrap_or_else(|| Path::new("/")).to_owned();
            return Self { folder, file }.inside();
        }
        let name = visible(&file.to_string_lossy());
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = parent.unwrap_or_else(|| Path::new("."));
        let folder = folder.canonicalize().with_context(|| format!("cannot write {name}"))?;
        let last = file.file_name().with_context(|| format!("{name} is not the path of a file"))?;
        Self { file: folder.join(last), folder }.inside()
    }

    fn inside(self) -> anyhow::Result<Self> {
        self.git(&["rev-parse", "--is-inside-work-tree"]).map_err(|error| {
            Fault(format!(
                "{} is not in a Git repository: {error:#}\n  hint: pass a path in a clone",
                visible(&self.file.to_string_lossy())
            ))
        })?;
        Ok(self)
    }

    /// Takes over the commits of others, so that the decision is about the newest file, and pushes what an earlier run
    /// could not push.
    pub(crate) fn synchronize(&self) -> anyhow::Result<()> {
        let _alone = self.alone()?;
        self.discard()?;
        // A rebase in which a person is must not be aborted.
        let is_rebasing = self.is_rebasing()?;
        if let Err(error) = self.git(&["pull", "--rebase", "--quiet"]) {
            if is_rebasing || !self.is_rebasing()? {
                return Err(error);
            }
            let is_conflict = !self.git(&["ls-files", "--unmerged"])?.is_empty();
            self.git(&["rebase", "--abort"])?;
            if !is_conflict || !self.is_all_ours()? {
                return Err(error);
            }
            // The decision was about an older file; it is made again.
            self.git(&["reset", "--quiet", "--keep", "@{upstream}"])?;
        }
        self.push()
    }

    /// Discards what a killed process wrote and did not commit. Changes of others stay.
    pub(crate) fn discard_unfinished(&self) -> anyhow::Result<()> {
        let _alone = self.alone()?;
        self.discard()
    }

    fn discard(&self) -> anyhow::Result<()> {
        let intent = self.intent()?;
        let Ok(digest) = std::fs::read_to_string(&intent) else { return Ok(()) };
        let is_ours = std::fs::read(&self.file).is_ok_and(|text| sha256(&text) == digest);
        if is_ours && !self.on_file(&["status", "--porcelain", "--"])?.is_empty() {
            self.restore()
                .context("cannot discard what an earlier run wrote and did not commit")?;
        }
        std::fs::remove_file(&intent).with_context(|| format!("cannot remove {}", intent.display()))
    }

    /// Waits until no other command changes the repository, and keeps others out as long as the result is held. The
    /// lock of a process that was killed is free.
    fn alone(&self) -> anyhow::Result<File> {
        let path = self.in_git(LOCK)?;
        let cannot = || format!("cannot lock {}", visible(&path.to_string_lossy()));
        let lock = File::create(&path).with_context(cannot)?;
        let begun = Instant::now();
        loop {
            match lock.try_lock() {
                // A file system without locks.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(lock),
                Err(TryLockError::WouldBlock) if begun.elapsed() < LIMIT => {
                    std::thread::sleep(LOOK);
                }
                Err(TryLockError::WouldBlock) => anyhow::bail!(
                    "another sidetrack command has been changing this repository for {} s; nothing was written\n  \
                     hint: run the command again when it has ended",
                    LIMIT.as_secs()
                ),
            }
        }
    }

    fn is_rebasing(&self) -> anyhow::Result<bool> {
        for name in ["rebase-merge", "rebase-apply"] {
            if self.in_git(name)?.exists() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The file as the last commit has it; a file that no commit has is removed.
    fn restore(&self) -> anyhow::Result<()> {
        if self.is_committed() {
            return self.on_file(&["checkout", "--quiet", "HEAD", "--"]).map(drop);
        }
        self.on_file(&["rm", "--quiet", "--cached", "--ignore-unmatch", "--"])?;
        std::fs::remove_file(&self.file).ok();
        Ok(())
    }

    fn is_committed(&self) -> bool {
        self.on_file(&["ls-tree", "--name-only", "HEAD", "--"]).is_ok_and(|found| !found.is_empty())
    }

    /// Refuses a file with changes that are not committed: they would become part of the commit.
    pub(crate) fn ensure_clean(&self) -> anyhow::Result<()> {
        let status = self.on_file(&["status", "--porcelain", "--"])?;
        anyhow::ensure!(
            status.is_empty(),
            Fault(format!(
                "{} has changes that are not committed; nothing was written\n  \
                 hint: commit or discard them first",
                visible(&self.file.to_string_lossy())
            ))
        );
        Ok(())
    }

    /// Writes the file and commits it; returns the commit's hash. Refuses a file that is not as it was when the
    /// decision was made.
    pub(crate) fn commit(
        &self,
        was: Option<&[u8]>,
        text: &str,
        message: &str,
        by: &str,
    ) -> anyhow::Result<String> {
        let _alone = self.alone()?;
        self.ensure_clean()?;
        let head = self.head().ok();
        let intent = self.intent()?;
        let note = sha256(text.as_bytes());
        atomic::write(&intent, note.as_bytes())
            .with_context(|| format!("cannot write {}", intent.display()))?;
        if let Err(error) = atomic::replace(&self.file, was, text.as_bytes()) {
            std::fs::remove_file(&intent).ok();
            return Err(error);
        }
        let message = format!("{}\n\n{TRAILER}: {by}\n", message.trim_end());
        let committed = self.on_file(&["add", "--intent-to-add", "--"]).and_then(|_| {
            self.on_file(&["commit", "--quiet", "--message", &message, "--only", "--"])
        });
        if let Err(error) = committed
            && !self.is_made_since(head.as_deref())?
        {
            self.undo(text, was)?;
            return Err(error.context("nothing was committed, and the file is as before"));
        }
        std::fs::remove_file(&intent).ok();
        self.head()
    }

    /// Whether the file is committed, and was not when this was the last commit: a hook after the commit was stopped.
    fn is_made_since(&self, head: Option<&str>) -> anyhow::Result<bool> {
        let status = self.on_file(&["status", "--porcelain", "--"])?;
        Ok(status.is_empty() && self.head().ok().as_deref() != head)
    }

    /// The file as it was, without Git's index: that may be what failed.
    fn undo(&self, text: &str, was: Option<&[u8]>) -> anyhow::Result<()> {
        if std::fs::read(&self.file).is_ok_and(|now| now == text.as_bytes()) {
            match was {
                Some(was) => atomic::write(&self.file, was),
                None => std::fs::remove_file(&self.file),
            }
            .with_context(|| format!("cannot write {}", visible(&self.file.to_string_lossy())))?;
        }
        if was.is_none() {
            self.on_file(&["rm", "--quiet", "--cached", "--ignore-unmatch", "--"]).ok();
        }
        let intent = self.intent()?;
        std::fs::remove_file(&intent).with_context(|| format!("cannot remove {}", intent.display()))
    }

    fn head(&self) -> anyhow::Result<String> {
        Ok(self.git(&["rev-parse", "--verify", "--quiet", "HEAD"])?.trim().to_owned())
    }

    /// Pushes what the upstream branch does not have yet.
    pub(crate) fn push(&self) -> anyhow::Result<()> {
        if self.git(&["rev-list", "--count", "@{upstream}..HEAD"])?.trim() == "0" {
            return Ok(());
        }
        let pushed = self.git(&["push", "--quiet"]);
        pushed.map(drop).context("the commit is not pushed yet; the next run with --push pushes it")
    }

    /// Whether a file ever had this text, in any commit of the branch.
    pub(crate) fn ever_had(&self, text: &str) -> anyhow::Result<bool> {
        if self.head().is_err() {
            return Ok(false);
        }
        let pick = format!("-S{text}");
        Ok(!self.on_file(&["log", "-n1", "--format=%H", &pick, "--"])?.is_empty())
    }

    /// The file before its last change.
    pub(crate) fn before(&self) -> anyhow::Result<Option<String>> {
        let found = self.on_file(&["log", "-n1", "--skip=1", "--format=%H", "--"])?;
        if found.trim().is_empty() {
            return Ok(None);
        }
        let name = self.file.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        self.git(&["show", &format!("{}:./{name}", found.trim())]).map(Some)
    }

    /// Whether all commits that are not pushed were made here, and change this file only.
    fn is_all_ours(&self) -> anyhow::Result<bool> {
        let range = "@{upstream}..HEAD";
        let trailers = format!("--format=%(trailers:key={TRAILER},valueonly,separator=%x2C)");
        let commits = self.git(&["log", &trailers, range])?;
        let name = self.file.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        let others = format!(":(exclude,literal){name}");
        let diff = ["diff", "--name-only", "@{upstream}...HEAD", "--", ":/", &others];
        Ok(!commits.trim().is_empty()
            && commits.lines().all(|by| by.starts_with("sidetrack "))
            && self.git(&diff)?.is_empty())
    }

    fn intent(&self) -> anyhow::Result<PathBuf> {
        self.in_git(INTENT)
    }

    /// A path in Git's folder.
    fn in_git(&self, name: &str) -> anyhow::Result<PathBuf> {
        Ok(self.folder.join(self.git(&["rev-parse", "--git-path", name])?.trim_end()))
    }

    fn git(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.run(arguments, None)
    }

    fn on_file(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.run(arguments, Some(&self.file))
    }

    fn run(&self, arguments: &[&str], file: Option<&Path>) -> anyhow::Result<String> {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.folder).args(arguments).args(file);
        // It must never wait for a password, or for a server that sends nothing.
        command.env("GIT_TERMINAL_PROMPT", "0");
        command.env("GIT_HTTP_LOW_SPEED_LIMIT", "1").env("GIT_HTTP_LOW_SPEED_TIME", "30");
        let ended = limited::run(&mut command, LIMIT).context("cannot run git")?;
        let name = arguments.first().unwrap_or(&"");
        let Some(status) = ended.status else {
            let limit = LIMIT.as_secs();
            anyhow::bail!("git {name}: it did not end within {limit} s, and was stopped");
        };
        anyhow::ensure!(
            status.success(),
            "git {name}: {}",
            visible(String::from_utf8_lossy(&ended.stderr).trim())
        );
        Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
    }
}
