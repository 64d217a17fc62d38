//! A child process with a log. It ends when it is dropped, at the latest with the test process.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// A running program.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts a command that writes to this log, which begins anew.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(name: &str, log: PathBuf, mut command: Command) -> Result<Self> {
        // For appending: Envoy opens its standard output again for the access log.
        let _ = fs::remove_file(&log);
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("creating {}", log.display()))?;
        // Its own group: a program that starts others ends with them.
        command.stdout(file.try_clone()?).stderr(file).process_group(0);
        let child = command.spawn().with_context(|| format!("starting {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Starts a command without input.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_alone(name: &str, log: PathBuf, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null());
        Self::start(name, log, command)
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes this to the program's input, and closes it.
    ///
    /// # Errors
    /// If the program has no input or has ended.
    pub fn send(&mut self, text: &str) -> Result<()> {
        let mut stdin = self.child.stdin.take().context("the program has no input")?;
        stdin.write_all(text.as_bytes()).with_context(|| format!("writing to {}", self.name))
    }

    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits until the condition holds.
    ///
    /// # Errors
    /// If the program ends, or the condition does not hold in time. The message has the log's tail.
    pub fn wait_until(&mut self, limit: Duration, mut holds: impl FnMut() -> bool) -> Result<()> {
        let begun = Instant::now();
        while !holds() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended: {status}\n{}", self.name, self.log_tail(40));
            }
            if begun.elapsed() > limit {
                bail!("{} is not ready after {limit:?}\n{}", self.name, self.log_tail(40));
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The whole log.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The last lines of the log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The group, by the shell: a kill of a group needs unsafe code or another library.
        let _ =
            Command::new("kill").args(["-KILL", "--", &format!("-{}", self.child.id())]).status();
        let _ = self.child.wait();
    }
}

/// Whether a server answers a GET with 200.
pub(super) fn is_ok(addr: SocketAddr, path: &str) -> bool {
    let answer = || -> std::io::Result<String> {
        let limit = Some(Duration::from_secs(2));
        let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(2))?;
        stream.set_read_timeout(limit)?;
        stream.write_all(
            format!("GET {path} HTTP/1.1\r\nhost: mesh\r\nconnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut first = [0; 12];
        stream.read_exact(&mut first)?;
        Ok(String::from_utf8_lossy(&first).into_owned())
    };
    answer().is_ok_and(|first| first.ends_with(" 200"))
}
