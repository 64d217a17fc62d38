//! A running `sidetrack serve`, and a client of it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A folder with an experiment file, and the store in it.
pub(crate) struct Folder(tempfile::TempDir);

/// A process that is killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

/// An answer: the status, the headers that matter and the body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) retry_after: Option<u32>,
    pub(crate) etag: Option<String>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Folder {
    pub(crate) fn new(experiment: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("experiment.json", experiment);
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidetrack"));
        command.args(arguments).current_dir(self.path()).env("NO_COLOR", "1");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What `analyze run --json` says of files in the folder.
    pub(crate) fn analysis(&self, more: &[&str]) -> Value {
        let run = ["analyze", "run", "experiment.json", "--json", "--exposures", "access.log"];
        let output = self.run(&[&run[..], more].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// Starts a server on a free port.
    pub(crate) fn serve(&self, more: &[&str]) -> Server {
        self.try_serve(more).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, or what it says when it does not start.
    pub(crate) fn try_serve(&self, more: &[&str]) -> Result<Server, String> {
        let mut arguments = vec!["serve", "--store", "data", "experiment.json"];
        if !more.contains(&"--listen") {
            arguments.extend(["--listen", "127.0.0.1:0"]);
        }
        arguments.extend(more);
        let mut command = self.command(&arguments);
        let errors = self.path().join("serve.err");
        let file = std::fs::File::create(&errors).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(file).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        match url {
            Some(url) => Ok(Server { child, url }),
            None => {
                let code = child.wait().unwrap().code();
                Err(format!("{code:?} {}", std::fs::read_to_string(errors).unwrap()))
            }
        }
    }

    pub(crate) fn errors(&self) -> String {
        std::fs::read_to_string(self.path().join("serve.err")).unwrap_or_default()
    }
}

impl Server {
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it as an operator does.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not stop");
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], &[]).unwrap()
    }

    pub(crate) fn post(&self, path: &str, kind: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send("POST", path, &[("content-type", kind)], body.as_ref()).unwrap()
    }

    /// The body of a good answer.
    pub(crate) fn read(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Sends a request; an error if the server is gone.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, String> {
        send(&format!("{}{path}", self.url), method, headers, body)
    }

    /// Waits until a value of the answer is as it should be.
    pub(crate) fn until(&self, path: &str, is: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.get(path);
            let value = serde_json::from_str(&answer.text).unwrap_or(Value::Null);
            if is(&value) {
                return value;
            }
            assert!(Instant::now() < end, "{path}: {answer:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A metric of the server.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let text = self.get("/metrics").text;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series}: {text}")).parse().unwrap()
    }
}

pub(crate) fn send(
    url: &str,
    method: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = if method == "GET" {
        agent.run(request.body(()).unwrap())
    } else {
        agent.run(request.body(body).unwrap())
    };
    let mut answer = answer.map_err(|error| error.to_string())?;
    let header = |name: &str| {
        answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let (kind, retry_after, etag) = (header("content-type"), header("retry-after"), header("etag"));
    Ok(Answer {
        status: answer.status().as_u16(),
        kind: kind.unwrap_or_default(),
        retry_after: retry_after.and_then(|seconds| seconds.parse().ok()),
        etag,
        text: answer.body_mut().read_to_string().map_err(|error| error.to_string())?,
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
