//! The demo as a process: its files, its processes, its ports.
#![expect(clippy::unwrap_used, reason = "a test that cannot run its command fails")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use sidetrack_lab::EnvoyBinary;

use super::running::{Running, shell, text, wasm};

/// A demo with its own temporary directory, which identifies its files and processes.
pub(super) struct Demo {
    dir: tempfile::TempDir,
}

impl Demo {
    pub(super) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// The temporary directory.
    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// On free ports, so that tests run side by side.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command_on_default_ports(arguments);
        command.args(["--port", "0", "--admin", "127.0.0.1:0"]);
        command
    }

    pub(super) fn command_on_default_ports(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidetrack"));
        command.arg("demo").args(arguments).env("TMPDIR", self.dir.path()).stdin(Stdio::null());
        if !arguments.contains(&"--wasm") {
            command.arg("--wasm").arg(wasm());
        }
        command
    }

    /// Runs it to its end.
    pub(super) fn run(&self, arguments: &[&str]) -> (ExitStatus, String) {
        let mut text = String::new();
        let status = self.start(arguments).finish(&mut text);
        (status, text)
    }

    pub(super) fn start(&self, arguments: &[&str]) -> Running {
        Running::start(&mut self.command(arguments))
    }

    /// Asserts that no file is left, and no process with this directory in its environment.
    pub(super) fn left_nothing(&self) {
        let files: Vec<_> = std::fs::read_dir(self.dir.path()).unwrap().collect();
        assert!(files.is_empty(), "{files:?}");
        let mark = format!("TMPDIR={}", self.dir.path().display());
        let processes = Command::new("ps").args(["axeww", "-o", "pid,args"]).output().unwrap();
        let processes = text(&processes);
        let left: Vec<&str> = processes.lines().filter(|line| line.contains(&mark)).collect();
        assert!(left.is_empty(), "{left:#?}");
    }
}

/// An Envoy that gets another configuration than the demo wrote.
pub(super) struct Sabotaged {
    path: String,
    _dir: tempfile::TempDir,
}

impl Sabotaged {
    /// Changed by this command of `sed`.
    pub(super) fn new(change: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let envoy = EnvoyBinary::find().unwrap();
        let script =
            format!("#!/bin/sh\nsed -i.bak '{change}' \"$2\"\nexec '{}' \"$@\"\n", envoy.display());
        let path = dir.path().join("envoy");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { path: path.to_str().unwrap().to_owned(), _dir: dir }
    }

    /// The program.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// Starts a demo, sends a request by the first command that it prints, and returns the port of the command.
pub(super) fn port_of_demo(arguments: &[&str]) -> u16 {
    let demo = Demo::new();
    let scenario = ["--scenario", "split", "--for", "1s", "--rate", "50", "--keep"];
    let mut command = demo.command_on_default_ports(&[arguments, &scenario].concat());
    let mut child = Running::start(&mut command);
    let mut text = child.read_until("until you press Ctrl-C");
    let curl = text.lines().find(|line| line.starts_with("curl ")).unwrap();
    assert!(shell(curl).contains("\"model_version\":\"2.0.0\""), "{text}");
    let (_, rest) = curl.split_once("http://127.0.0.1:").unwrap();
    let port = rest.split('/').next().unwrap().parse().unwrap();
    assert!(
        text.contains(&format!("with the filter, 2 workers, http://127.0.0.1:{port}\n")),
        "{text}"
    );
    child.signal("INT");
    let status = child.finish(&mut text);
    assert!(status.success(), "{status}\n{text}");
    demo.left_nothing();
    port
}
