//! Running the command, and looking for what it left.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot run its command fails"
)]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;

use sidetrack_lab::EnvoyBinary;

/// A demo whose files and processes can be told from all others by their temporary directory.
pub(super) struct Demo {
    dir: tempfile::TempDir,
}

impl Demo {
    pub(super) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// Where its temporary files are.
    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidetrack"));
        command.arg("demo").args(arguments).env("TMPDIR", self.dir.path()).stdin(Stdio::null());
        if !arguments.contains(&"--wasm") {
            command.arg("--wasm").arg(wasm());
        }
        command
    }

    pub(super) fn start(&self, arguments: &[&str]) -> Running {
        Running::start(&mut self.command(arguments))
    }

    /// No file, and no process with our directory in its environment.
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

/// An Envoy that is given another configuration than the demo wrote.
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

/// A demo that is under way; ended if the test fails.
pub(super) struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    pub(super) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    pub(super) fn read_until(&mut self, word: &str) -> String {
        let mut text = String::new();
        while !text.contains(word) {
            assert_ne!(
                self.lines.read_line(&mut text).unwrap(),
                0,
                "it ended without {word:?}\n{text}"
            );
        }
        text
    }

    pub(super) fn stdin(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().unwrap()
    }

    pub(super) fn signal(&self, name: &str) {
        assert!(shell(&format!("kill -{name} {} && echo sent", self.child.id())).contains("sent"));
    }

    pub(super) fn finish(mut self, text: &mut String) -> ExitStatus {
        self.lines.read_to_string(text).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
    }
}

pub(super) fn shell(command: &str) -> String {
    text(&Command::new("sh").args(["-c", command]).output().unwrap())
}

pub(super) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The filter, built with the profile it ships with.
pub(super) fn wasm() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(root).args(["build", "-p", "sidetrack-filter", "--profile", "wasm"]);
        cargo.args(["--target", "wasm32-wasip1", "--message-format=json-render-diagnostics"]);
        // What a coverage tool set for native code is not meant for this build.
        for name in
            ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"]
        {
            cargo.env_remove(name);
        }
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let messages = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut files = messages.lines().filter_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            let file = message.pointer("/filenames/0")?.as_str()?.to_owned();
            Some(PathBuf::from(file))
                .filter(|file| file.extension().is_some_and(|kind| kind == "wasm"))
        });
        files.next_back().expect("cargo names the module")
    })
}
