//! A watchdog that kills a child process when this process dies without stopping it: SIGKILL, a crash, a closed terminal.
//!
//! Linux has a call for this (`PR_SET_PDEATHSIG`), but it fires when the *thread* that started the child ends, and it
//! needs unsafe code. Instead, a shell waits on a pipe whose other end only this process holds: a line releases the
//! child, the end of the pipe means that this process has died.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};

const SCRIPT: &str = r#"if read -r _; then exit 0; fi; kill -KILL "$1""#;

/// A shell that kills a process when this process dies. Dropping the guard releases the process.
#[derive(Debug)]
pub struct Guard {
    shell: Child,
    line: Option<ChildStdin>,
}

impl Guard {
    /// Watches the process `pid`.
    ///
    /// # Errors
    /// If the shell does not start.
    pub fn watch(pid: u32) -> Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sidetrack-guard", &pid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("starting the shell that guards a child process")?;
        let line = shell.stdin.take();
        Ok(Self { shell, line })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut line) = self.line.take() {
            // If the shell has exited, nothing remains to release.
            let _ = line.write_all(b"\n");
        }
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    #[test]
    fn the_end_of_the_pipe_kills_the_process() {
        let mut child = sleeper();
        let mut guard = Guard::watch(child.id()).unwrap();
        drop(guard.line.take());
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn a_drop_releases_the_process() {
        let mut child = sleeper();
        drop(Guard::watch(child.id()).unwrap());
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
