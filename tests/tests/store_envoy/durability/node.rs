//! A `sidetrack serve` that is killed, and starts again at the same address.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sidetrack_lab::{Client, Request, first_free_port};
use sidetrack_tests::artifact;

/// The limit for anything that is waited for; a verdict on ten minutes takes seconds.
const LIMIT: Duration = Duration::from_secs(120);

pub(super) struct Node {
    name: &'static str,
    folder: PathBuf,
    options: Vec<String>,
    max_size: Option<&'static str>,
    addr: SocketAddr,
    child: Child,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Node {
    /// Starts a store in `stores/NAME` of the folder.
    pub(super) async fn new(name: &'static str, folder: &Path, options: &[&str]) -> Result<Self> {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        // Not an ephemeral port: while the store is away, a client that tries it again and again would connect to itself.
        let port = first_free_port([127, 0, 0, 1].into(), 22_000)?;
        let (child, addr) = start(name, folder, &options, None, &format!("127.0.0.1:{port}"))?;
        Ok(Self { name, folder: folder.to_owned(), options, max_size: None, addr, child })
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The largest size of the database, from the next start on.
    pub(super) const fn set_limit(&mut self, size: Option<&'static str>) {
        self.max_size = size;
    }

    /// `kill -9`, and a start at once. On a full disk, a start may fail until there is room.
    pub(super) async fn kill_and_start(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        let begun = Instant::now();
        let listen = self.addr.to_string();
        loop {
            match start(self.name, &self.folder, &self.options, self.max_size, &listen) {
                Ok((child, _)) => {
                    self.child = child;
                    return Ok(());
                }
                Err(error) if begun.elapsed() > LIMIT => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        let client = Client::new(self.addr).with_timeout(LIMIT);
        let answer = client.send(Request::get(path)).await?;
        serde_json::from_slice(&answer.body).with_context(|| format!("{answer:?}"))
    }

    /// Waits for an answer of `/readyz`.
    pub(super) async fn until_ready_is(&self, status: u16) -> Result<()> {
        let begun = Instant::now();
        let client = Client::new(self.addr);
        loop {
            let answer = client.send(Request::get("/readyz")).await;
            if answer.as_ref().is_ok_and(|answer| answer.status == status) {
                return Ok(());
            }
            ensure!(begun.elapsed() < LIMIT, "{}: /readyz is not {status}: {answer:?}", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until so many exposures are stored.
    pub(super) async fn until(&self, requests: u64) -> Result<()> {
        let begun = Instant::now();
        loop {
            let all = self.get("/v1/experiments").await?;
            if all["experiments"][0]["live"]["requests"] == requests {
                return Ok(());
            }
            ensure!(begun.elapsed() < LIMIT, "{}: {requests} wanted: {all:#}", self.name);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Stops the store in order, and counts its exposures and their requests.
    pub(super) fn stop_and_count(mut self) -> Result<(u64, u64)> {
        let pid = self.child.id().to_string();
        ensure!(Command::new("kill").args(["-TERM", &pid]).status()?.success(), "kill {pid}");
        ensure!(self.child.wait()?.success(), "{} does not stop in order", self.name);
        let count = "import sqlite3, sys; \
            print(*sqlite3.connect(sys.argv[1]).execute(\"select count(*), \
            count(distinct json_extract(line, '$.request_id')) from exposure\").fetchone())";
        let database = self.folder.join("stores").join(self.name).join("store.sqlite");
        let output = Command::new("python3").args(["-c", count]).arg(database).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers = text.trim().split_once(' ').with_context(|| format!("{output:?}"))?;
        Ok((numbers.0.parse()?, numbers.1.parse()?))
    }
}

fn start(
    name: &str,
    folder: &Path,
    options: &[String],
    max_size: Option<&str>,
    listen: &str,
) -> Result<(Child, SocketAddr)> {
    let store = format!("stores/{name}");
    let mut command = Command::new(artifact::cli());
    command.args(["serve", "--store", &store, "experiment.json", "--listen", listen]);
    command.args(options).current_dir(folder).stdout(Stdio::piped());
    if let Some(size) = max_size {
        command.args(["--max-size", size]);
    }
    let errors = folder.join(format!("{name}.err"));
    let mut child = command.stderr(File::create(&errors)?).spawn()?;
    let lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
    let addr = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("listening on http://")?.parse().ok());
    let Some(addr) = addr else {
        child.wait()?;
        anyhow::bail!("{name} does not start: {}", std::fs::read_to_string(errors)?);
    };
    Ok((child, addr))
}
