//! A command with a time limit.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a command may take to clear up, such as the locks of Git, before it is killed.
const GRACE: Duration = Duration::from_secs(5);
const LONGEST_NAP: Duration = Duration::from_millis(50);

/// How a command ended, and what it wrote.
pub(super) struct Ended {
    /// `None`: it was stopped at the limit.
    pub(super) status: Option<ExitStatus>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Runs a command without input, and stops it and its children at the limit.
///
/// At a terminal, its children are not stopped: they must be able to ask there, for a passphrase, say.
pub(super) fn run(command: &mut Command, limit: Duration) -> std::io::Result<Ended> {
    // Not pipes: a grandchild that lives on would keep them open.
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let is_group = !std::io::stdin().is_terminal();
    if is_group {
        command.process_group(0);
    }
    let mut child = command.spawn()?;
    let status = ends(&mut child, limit)?;
    if status.is_none() {
        signal("TERM", &child, is_group);
        if ends(&mut child, GRACE)?.is_none() {
            signal("KILL", &child, is_group);
            child.kill()?;
            child.wait()?;
        }
    }
    Ok(Ended { status, stdout: content(&mut stdout)?, stderr: content(&mut stderr)? })
}

/// Waits for the end, so long.
fn ends(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut nap = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let Some(left) = limit.checked_sub(start.elapsed()) else { return Ok(None) };
        std::thread::sleep(nap.min(left));
        nap = nap.saturating_mul(2).min(LONGEST_NAP);
    }
}

/// Sends a signal, as far as it can be sent.
fn signal(name: &str, child: &Child, is_group: bool) {
    let target = if is_group { format!("-{}", child.id()) } else { child.id().to_string() };
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill -s \"$1\" -- \"$2\"", "sh", name, &target]);
    kill.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
}

fn content(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_command_that_ends_gives_its_status_and_its_words() {
        let limit = Duration::from_secs(30);
        let ended = run(&mut shell("echo out; echo err >&2; exit 3"), limit).unwrap();
        assert_eq!(ended.status.unwrap().code(), Some(3));
        assert_eq!(
            (ended.stdout.as_slice(), ended.stderr.as_slice()),
            (&b"out\n"[..], &b"err\n"[..])
        );
    }

    #[test]
    fn a_command_that_hangs_is_stopped_and_may_clear_up() {
        let start = Instant::now();
        let script = "trap 'echo cleared; exit' TERM; echo begun >&2; sleep 100 & wait";
        let ended = run(&mut shell(script), Duration::from_millis(500)).unwrap();
        assert!(ended.status.is_none() && start.elapsed() < Duration::from_secs(30));
        assert_eq!(
            (ended.stdout.as_slice(), ended.stderr.as_slice()),
            (&b"cleared\n"[..], &b"begun\n"[..])
        );
    }
}
