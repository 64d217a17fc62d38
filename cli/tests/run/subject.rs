//! A folder with an experiment file, two services, and the command that runs it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot run its command fails"
)]

use std::io::Write;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sidetrack_lab::{Client, ModelStub, Request};
use tokio::runtime::Runtime;

use super::running::{Running, shell, wasm};

/// The limit for a state that is waited for.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) const EXPERIMENT: &str = "\
experiments:
  - name: ab
    match: {path: {prefix: /predict}}
    unit: [{header: x-user-id}]
    baseline: old
    variants:
      - {name: old, cluster: old}
      - {name: new, cluster: new, weight: 50}
    breaker: {open_for: 60s}
";

/// What a request got: the status, the variant that the filter reports, and the model that answered.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: u16,
    variant: String,
    model: String,
}

/// A folder that the command runs in.
pub(super) struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    /// With this experiment file.
    pub(super) fn new(experiment: &str) -> Self {
        let folder = Self { dir: tempfile::tempdir().unwrap() };
        folder.write(experiment);
        folder
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn write(&self, experiment: &str) {
        std::fs::write(self.path().join("experiment.yaml"), experiment).unwrap();
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidetrack"));
        command.args(arguments).current_dir(self.path()).env("TMPDIR", self.tmp());
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    fn tmp(&self) -> std::path::PathBuf {
        let tmp = self.path().join("tmp");
        std::fs::create_dir_all(&tmp).unwrap();
        tmp
    }

    /// Runs another command of Sidetrack, which must succeed, and returns what it prints.
    pub(super) fn sidetrack(&self, arguments: &[&str], stdin: &str) -> String {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that ends by itself.
    pub(super) fn ended(&self, arguments: &[&str]) -> (i32, String) {
        let mut text = String::new();
        let status = Running::start(&mut self.command(arguments)).finish(&mut text);
        (status.code().unwrap(), text)
    }

    /// The exposures that were written.
    pub(super) fn exposures(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path().join(".sidetrack/exposures.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How many exposures the store has, after the run.
    pub(super) fn stored(&self) -> u64 {
        let info = self.sidetrack(&["store", "info", ".sidetrack/store", "--json"], "");
        let info: Value = serde_json::from_str(&info).unwrap();
        info["trials"].as_array().unwrap().iter().map(|it| it["exposures"].as_u64().unwrap()).sum()
    }

    /// Asserts that no temporary file is left, and no process of this folder.
    pub(super) fn left_nothing(&self) {
        let files: Vec<_> = std::fs::read_dir(self.tmp()).unwrap().collect();
        assert!(files.is_empty(), "{files:?}");
        let mark = format!("TMPDIR={}", self.tmp().display());
        let processes = shell("ps axeww -o pid,args");
        let left: Vec<&str> = processes.lines().filter(|line| line.contains(&mark)).collect();
        assert!(left.is_empty(), "{left:#?}");
    }
}

/// A running experiment with two services.
pub(super) struct Live {
    pub(super) folder: Folder,
    pub(super) old: ModelStub,
    pub(super) new: ModelStub,
    child: Running,
    /// All that was printed, and how much of it was looked at.
    text: String,
    seen: usize,
    started: Option<Value>,
    runtime: Runtime,
}

impl Live {
    /// With JSON lines.
    pub(super) fn start(experiment: &str, options: &[&str]) -> Self {
        Self::start_in(Folder::new(experiment), options, None)
    }

    /// The candidate's service has another address, where nothing listens.
    pub(super) fn start_in(folder: Folder, options: &[&str], new: Option<SocketAddr>) -> Self {
        let json = ["--json", "--interval", "250ms"];
        Self::with(folder, &[&json, options].concat(), new)
    }

    /// With lines for people.
    pub(super) fn start_text(folder: Folder, options: &[&str]) -> Self {
        Self::with(folder, options, None)
    }

    fn with(folder: Folder, options: &[&str], at: Option<SocketAddr>) -> Self {
        Self::launch(folder, options, |new| format!("new={}", at.unwrap_or_else(|| new.addr())))
    }

    /// With this endpoint of the candidate.
    pub(super) fn with_candidate(folder: Folder, options: &[&str], endpoint: &str) -> Self {
        Self::launch(folder, options, |_| endpoint.to_owned())
    }

    fn launch(folder: Folder, options: &[&str], new_at: impl Fn(&ModelStub) -> String) -> Self {
        let runtime = Runtime::new().unwrap();
        let (old, new) = runtime
            .block_on(async { (ModelStub::start("old").await, ModelStub::start("new").await) });
        let (old, new) = (old.unwrap(), new.unwrap());
        let mut command = folder.command(&["run", "experiment.yaml"]);
        command.args(["--endpoint", &format!("old={}", old.addr())]);
        command.args(["--endpoint", &new_at(&new)]);
        command.args(["--port", "0", "--admin", "127.0.0.1:0", "--wasm"]).arg(wasm());
        if !options.iter().any(|option| option.contains("store")) {
            command.args(["--store-listen", "127.0.0.1:0"]);
        }
        command.args(options);
        let child = Running::start(&mut command);
        let (text, seen, started) = (String::new(), 0, None);
        Self { folder, old, new, child, text, seen, started, runtime }
    }

    /// Reads up to this word.
    pub(super) fn read_until(&mut self, word: &str) {
        let read = self.child.read_until(word);
        self.text.push_str(&read);
    }

    /// The next line about this event.
    pub(super) fn until(&mut self, event: &str) -> Value {
        let deadline = Instant::now() + LIMIT;
        loop {
            while let Some(line) = self.next_line() {
                let value: Value = serde_json::from_str(&line)
                    .unwrap_or_else(|error| panic!("{error}: {line}\n{}", self.text));
                if value["event"] == "started" {
                    self.started = Some(value.clone());
                }
                if value["event"] == event {
                    return value;
                }
            }
            assert!(Instant::now() < deadline, "no {event} within {LIMIT:?}\n{}", self.text);
            self.read_until("\n");
        }
    }

    /// The next state that has this property.
    pub(super) fn state(&mut self, has: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + LIMIT;
        loop {
            let state = self.until("state");
            if has(&state) {
                return state;
            }
            assert!(Instant::now() < deadline, "not within {LIMIT:?}: {state}\n{}", self.text);
        }
    }

    fn next_line(&mut self) -> Option<String> {
        let rest = self.text.get(self.seen..)?;
        let end = rest.find('\n')?;
        let line = rest.get(..end)?.to_owned();
        self.seen += end + 1;
        Some(line)
    }

    pub(super) fn url(&mut self) -> String {
        if self.started.is_none() {
            self.until("started");
        }
        self.started.as_ref().unwrap()["url"].as_str().unwrap().to_owned()
    }

    /// The address of Envoy's admin interface.
    pub(super) fn admin(&self) -> String {
        self.started.as_ref().unwrap()["admin"].as_str().unwrap().to_owned()
    }

    /// The address of the store.
    pub(super) fn store(&mut self) -> SocketAddr {
        self.url();
        let url = self.started.as_ref().unwrap()["store"].as_str().unwrap().to_owned();
        url.strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// What the store answers.
    pub(super) fn ask(&mut self, request: Request) -> (u16, Value) {
        let (status, text) = self.answer(request);
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    /// A page of the store.
    pub(super) fn page(&mut self, path: &str) -> (u16, String) {
        self.answer(Request::get(path))
    }

    fn answer(&mut self, request: Request) -> (u16, String) {
        let client = Client::new(self.store());
        let answer = self.runtime.block_on(client.send(request)).unwrap();
        (answer.status, answer.text())
    }

    /// Waits until the store has so many exposures of the experiment.
    pub(super) fn until_stored(&mut self, requests: u64) {
        let what = format!("{requests} requests");
        self.until_store(&what, |all| all["experiments"][0]["live"]["requests"] == requests);
    }

    /// Waits until the store's experiments have this property.
    pub(super) fn until_store(&mut self, what: &str, has: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let (_, all) = self.ask(Request::get("/v1/experiments"));
            if has(&all) {
                return;
            }
            assert!(Instant::now() < deadline, "{what} wanted: {all:#}\n{}", self.text);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The process id of Envoy.
    pub(super) fn envoy(&self) -> u64 {
        self.started.as_ref().unwrap()["pid"].as_u64().unwrap()
    }

    /// One request for each of these users.
    pub(super) fn send(&mut self, path: &str, users: Range<usize>) -> Vec<Got> {
        let addr: SocketAddr = self.url().strip_prefix("http://").unwrap().parse().unwrap();
        let client = Client::new(addr);
        self.runtime.block_on(async {
            let mut answers = Vec::new();
            for user in users {
                let request = Request::post(path, "{}").header("x-user-id", format!("user-{user}"));
                let answer = client.send(request).await.unwrap();
                let text = |name: &str| answer.header_text(name).unwrap_or_default();
                let (variant, model) = (text("x-ab-variant"), text("x-model"));
                answers.push(Got { status: answer.status, variant, model });
            }
            answers
        })
    }

    /// Sends requests until the answers have this property: Envoy takes over a new route within moments.
    pub(super) fn eventually(&mut self, path: &str, has: impl Fn(&[Got]) -> bool) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let answers = self.send(path, 0..20);
            if has(&answers) {
                return;
            }
            assert!(Instant::now() < deadline, "not within {LIMIT:?}: {answers:?}\n{}", self.text);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The users of [`Self::send`], one per line.
    pub(super) fn users(&self, users: Range<usize>) -> String {
        users.map(|user| format!("user-{user}\n")).collect()
    }

    /// Sends a signal, and waits for the end, which must be a success.
    pub(super) fn stop(self, signal: &str) -> Folder {
        let Self { folder, child, mut text, .. } = self;
        child.signal(signal);
        let status = child.finish(&mut text);
        assert!(status.success(), "{status}\n{text}");
        folder
    }

    /// Sends a signal, and waits for the end: its exit status, and all that was printed.
    pub(super) fn ended(self, signal: &str) -> (Option<i32>, String) {
        let Self { folder, child, mut text, .. } = self;
        child.signal(signal);
        let status = child.finish(&mut text);
        folder.left_nothing();
        (status.code(), text)
    }

    /// The same for an end that must be a success.
    pub(super) fn finish(self, signal: &str) -> String {
        let (code, text) = self.ended(signal);
        assert_eq!(code, Some(0), "{text}");
        text
    }
}

/// How many requests a variant served: the filter says so, and its model answered.
pub(super) fn served(answers: &[Got], variant: &str) -> u64 {
    answers.iter().filter(|got| got.variant == variant && got.model == variant).count() as u64
}
