//! A real Prometheus as a child process, and promtool.
//!
//! `SIDETRACK_PROMETHEUS` names a folder with both programs; else they are on `PATH`, or where `scripts/setup.sh tests` puts
//! them.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use sidetrack_lab::{Client, Request};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::sleep;

const START_DEADLINE: Duration = Duration::from_secs(30);

/// A program of the Prometheus package.
///
/// # Errors
/// If it is not on this machine.
pub fn program(name: &str) -> Result<PathBuf> {
    let given = std::env::var_os("SIDETRACK_PROMETHEUS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/prometheus");
    let folders = given.into_iter().chain(std::env::split_paths(&path)).chain([fetched]);
    folders
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is missing: run scripts/setup.sh tests"))
}

/// Runs promtool in a folder.
///
/// # Errors
/// If there is no promtool.
pub fn promtool(folder: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = std::process::Command::new(program("promtool")?);
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command.output().context("starting promtool")
}

/// A running Prometheus; it ends when this is dropped.
pub struct Prometheus {
    child: Child,
    addr: SocketAddr,
    client: Client,
    dir: TempDir,
}

impl Prometheus {
    /// Starts Prometheus with this configuration and rule file, which the configuration names `rules.yaml`.
    ///
    /// # Errors
    /// If it does not start within 30 seconds; the message has its log.
    pub async fn start(configuration: &str, rules: &str) -> Result<Self> {
        let program = program("prometheus")?;
        let mut dir = tempfile::Builder::new().prefix("sidetrack-prometheus-").tempdir()?;
        fs::write(dir.path().join("prometheus.yaml"), configuration)?;
        fs::write(dir.path().join("rules.yaml"), rules)?;
        // Prometheus does not say which port it took, so it gets one that was free a moment ago; should another
        // program have taken it meanwhile, it gets the next.
        for _ in 0..5 {
            let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            let log = fs::File::create(dir.path().join("log"))?;
            let child = Command::new(&program)
                .current_dir(dir.path())
                .args([
                    "--config.file=prometheus.yaml",
                    "--storage.tsdb.path=data",
                    "--log.level=warn",
                ])
                .arg(format!("--web.listen-address={addr}"))
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .process_group(0)
                .kill_on_drop(true)
                .spawn()
                .with_context(|| format!("starting {}", program.display()))?;
            let client = Client::new(addr).with_timeout(Duration::from_secs(20));
            let mut this = Self { child, addr, client, dir };
            if this.is_ready().await? {
                return Ok(this);
            }
            ensure!(
                this.log().contains("address already in use"),
                "Prometheus ended:\n{}",
                this.log()
            );
            Self { dir, .. } = this;
        }
        bail!("Prometheus found no free port")
    }

    /// False when the process has ended.
    async fn is_ready(&mut self) -> Result<bool> {
        let begun = Instant::now();
        while begun.elapsed() < START_DEADLINE {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            let answer = self.client.send(Request::get("/-/ready")).await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                return Ok(true);
            }
            sleep(Duration::from_millis(50)).await;
        }
        bail!("Prometheus is not ready after {START_DEADLINE:?}:\n{}", self.log())
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The `data` of an answer of the HTTP API, for example of `/api/v1/rules`.
    ///
    /// # Errors
    /// If Prometheus does not answer, or with an error, such as one in a query.
    pub async fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let form: Vec<String> = parameters
            .iter()
            .map(|(key, value)| format!("{key}={}", percent_encoded(value)))
            .collect();
        let path =
            if form.is_empty() { path.to_owned() } else { format!("{path}?{}", form.join("&")) };
        let answer = self.client.send(Request::get(path.clone())).await?;
        let mut body = answer.json().with_context(|| format!("{path}: {}", answer.text()))?;
        let good = body.get("status").and_then(Value::as_str) == Some("success");
        ensure!(good, "{parameters:?}: {}", answer.text());
        Ok(body.get_mut("data").map(Value::take).unwrap_or_default())
    }

    /// The series that a query has at this moment.
    ///
    /// # Errors
    /// If the query is not good.
    pub async fn query(&self, expr: &str) -> Result<Vec<Value>> {
        result(self.api("/api/v1/query", &[("query", expr)]).await?)
    }

    /// The series that a query has between two moments, in seconds since 1970.
    ///
    /// # Errors
    /// If the query is not good.
    pub async fn query_range(
        &self,
        expr: &str,
        from: f64,
        to: f64,
        step: f64,
    ) -> Result<Vec<Value>> {
        let [from, to, step] = [from, to, step].map(|number| number.to_string());
        let parameters = [("query", expr), ("start", &from), ("end", &to), ("step", &step)];
        result(self.api("/api/v1/query_range", &parameters).await?)
    }

    /// The only value that a query has now; `None` when it has no series.
    ///
    /// # Errors
    /// If the query is not good, or has more than one series.
    pub async fn value(&self, expr: &str) -> Result<Option<f64>> {
        let series = self.query(expr).await?;
        ensure!(series.len() <= 1, "{expr} has {} series", series.len());
        let Some(series) = series.first() else { return Ok(None) };
        let value = series.pointer("/value/1").and_then(Value::as_str).context("a value")?;
        Ok(Some(value.parse()?))
    }
}

fn result(mut data: Value) -> Result<Vec<Value>> {
    let result = data.get_mut("result").map(Value::take).context("a result")?;
    Ok(serde_json::from_value(result)?)
}

/// Everything but RFC 3986's unreserved characters as `%XX`.
fn percent_encoded(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    });
    encoded.collect()
}
