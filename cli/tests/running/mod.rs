//! Starts the command, and reads its output with a time limit.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot run its command fails"
)]

use std::io::{PipeReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The limit for any output that a test waits for, and for the end of the command.
const LIMIT: Duration = Duration::from_secs(90);

/// A running command. Dropping it kills the process.
pub(super) struct Running {
    child: Child,
    chunks: Receiver<String>,
}

impl Running {
    /// Standard output and standard error are read as one stream.
    pub(super) fn start(command: &mut Command) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.spawn().unwrap();
        // The command holds the other end of the pipe: released, so that the stream ends with the child.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self { child, chunks: chunks_of(reader) }
    }

    /// The output up to this word, and what arrived with it.
    pub(super) fn read_until(&mut self, word: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        let mut text = String::new();
        while !text.contains(word) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.chunks.recv_timeout(left) {
                Ok(chunk) => text.push_str(&chunk),
                Err(RecvTimeoutError::Timeout) => panic!("no {word:?} within {LIMIT:?}\n{text}"),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended without {word:?}\n{text}"),
            }
        }
        text
    }

    pub(super) fn stdin(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().unwrap()
    }

    pub(super) fn signal(&self, name: &str) {
        assert!(shell(&format!("kill -{name} {} && echo sent", self.child.id())).contains("sent"));
    }

    /// Appends the rest of the output, and waits for the end.
    pub(super) fn finish(mut self, text: &mut String) -> ExitStatus {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.chunks.recv_timeout(left) {
                Ok(chunk) => text.push_str(&chunk),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it did not end within {LIMIT:?}\n{text}"),
            }
        }
        // The output has ended, so the process ends within moments.
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it closed its output and did not end\n{text}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
    }
}

/// Frames have no line breaks, so the output arrives in chunks, cut between characters.
fn chunks_of(mut reader: PipeReader) -> Receiver<String> {
    let (sender, chunks) = channel();
    thread::spawn(move || {
        let (mut buffer, mut pending) = ([0; 4096], Vec::new());
        while let Ok(length @ 1..) = reader.read(&mut buffer) {
            pending.extend_from_slice(&buffer[..length]);
            let valid = std::str::from_utf8(&pending).map_or_else(|e| e.valid_up_to(), str::len);
            let rest = pending.split_off(valid);
            let text = String::from_utf8(std::mem::replace(&mut pending, rest)).unwrap();
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    chunks
}

pub(super) fn shell(command: &str) -> String {
    text(&Command::new("sh").args(["-c", command]).output().unwrap())
}

pub(super) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The filter: `SIDETRACK_WASM`, or a build with the profile it ships with.
pub(super) fn wasm() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let given = std::env::var_os("SIDETRACK_WASM").filter(|path| !path.is_empty());
        if let Some(path) = given {
            return PathBuf::from(path).canonicalize().expect("SIDETRACK_WASM is a file");
        }
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
