//! `kubectl proxy` on a Unix socket that only this user can open, and an HTTP client for it.

use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use sidetrack_analysis::in_words;
use sidetrack_lab::Guard;
use tempfile::TempDir;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Error};

use crate::http;
use crate::kube::connection::Connection;
use crate::words::visible;

const SOCKET: &str = "socket";
const ERRORS: &str = "errors";

/// A running `kubectl proxy`. It ends with this process.
pub(super) struct Proxy {
    child: Child,
    _guard: Guard,
    /// A program that writes to a closed pipe ends.
    _stdout: BufReader<ChildStdout>,
    /// Readable by this user only.
    folder: TempDir,
}

impl Proxy {
    pub(super) fn start(connection: &Connection) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("sidetrack-kubectl-").tempdir()?;
        let mut child = Command::new("kubectl")
            .args(connection.flags())
            .arg("proxy")
            .arg(format!("--unix-socket={}", folder.path().join(SOCKET).display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.path().join(ERRORS))?)
            .spawn()
            .map_err(|error| {
                let why = in_words(&error);
                anyhow!(
                    "cannot run kubectl: {why}\n  hint: install kubectl, and put it on the PATH"
                )
            })?;
        let guard = Guard::watch(child.id())?;
        // It prints a line when it listens, and ends if it cannot.
        let mut line = String::new();
        let stdout = child.stdout.take().context("kubectl has no output")?;
        let mut stdout = BufReader::new(stdout);
        stdout.read_line(&mut line)?;
        let proxy = Self { child, _guard: guard, _stdout: stdout, folder };
        anyhow::ensure!(!line.is_empty(), "`kubectl proxy` failed: {}", proxy.errors());
        Ok(proxy)
    }

    fn errors(&self) -> String {
        let said = std::fs::read_to_string(self.folder.path().join(ERRORS)).unwrap_or_default();
        said.lines().map(visible).collect::<Vec<_>>().join("\n")
    }

    pub(super) fn agent(&self, answer: Duration) -> Agent {
        let socket = Socket(self.folder.path().join(SOCKET));
        Agent::with_parts(http::config(answer).build(), socket, DefaultResolver::default())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Connects to a Unix socket, whatever the address of the request.
#[derive(Debug)]
struct Socket(PathBuf);

impl Connector<()> for Socket {
    type Out = Stream;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Stream>, Error> {
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Stream { socket: UnixStream::connect(&self.0)?, buffers }))
    }
}

struct Stream {
    socket: UnixStream,
    buffers: LazyBuffers,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

/// The time that is left; zero is not a timeout of a socket.
fn left(timeout: NextTimeout) -> Result<Option<Duration>, Error> {
    match *timeout.after {
        _ if timeout.after.is_not_happening() => Ok(None),
        Duration::ZERO => Err(Error::Timeout(timeout.reason)),
        left => Ok(Some(left)),
    }
}

fn failed(error: std::io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}

impl Transport for Stream {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        self.socket.set_write_timeout(left(timeout)?)?;
        let output = self.buffers.output();
        let output = output.get(..amount).unwrap_or_default();
        self.socket.write_all(output).map_err(|error| failed(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        let amount = loop {
            self.socket.set_read_timeout(left(timeout)?)?;
            match self.socket.read(self.buffers.input_append_buf()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.map_err(|error| failed(error, timeout))?,
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // Bytes that were not asked for, and the end of the stream, both mean that it cannot be used again.
        let mut byte = [0];
        let quiet = self.socket.set_nonblocking(true).is_ok()
            && self
                .socket
                .read(&mut byte)
                .is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        quiet && self.socket.set_nonblocking(false).is_ok()
    }
}
