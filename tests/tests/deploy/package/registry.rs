//! A real registry on a free port, and skopeo to copy images with.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sidetrack_lab::{Client, Request};
use tempfile::TempDir;
use tokio::process::Child;

/// A busy machine may take a while to start a program.
const DEADLINE: Duration = Duration::from_secs(60);

/// `docker-registry`, which ends with this value.
pub(crate) struct Registry {
    _process: Child,
    dir: TempDir,
    pub(crate) addr: SocketAddr,
    client: Client,
}

impl Registry {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage = dir.path().join("storage");
        let configuration = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {storage:?}}}\n  delete: {{enabled: false}}\n\
             http: {{addr: \"127.0.0.1:0\"}}\n"
        );
        let file = dir.path().join("config.yml");
        fs::write(&file, configuration).unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let process = tokio::process::Command::new(program("REGISTRY_PATH", "docker-registry"))
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let addr = listening(&dir.path().join("log")).await;
        Self { _process: process, dir, addr, client: Client::new(addr) }
    }

    /// Any path of the registry; a failure shows its log.
    pub(crate) async fn get(&self, path: &str) -> sidetrack_lab::Answer {
        let accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
        let answer = self.client.send(Request::get(path).header("accept", accept)).await.unwrap();
        let log = || fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        assert_eq!(answer.status, 200, "GET {path}: {:?}\n{}", answer.body, log());
        answer
    }
}

/// The address in the registry's log, once it is there.
async fn listening(log: &Path) -> SocketAddr {
    let begun = Instant::now();
    loop {
        let text = fs::read_to_string(log).unwrap();
        let address = text
            .split("listening on ")
            .nth(1)
            .and_then(|rest| rest.split(['"', ' ', '\n', ',']).next());
        if let Some(address) = address.and_then(|address| address.parse().ok()) {
            return address;
        }
        assert!(begun.elapsed() < DEADLINE, "the registry does not listen:\n{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Copies an image from one place to another, and says what skopeo said if it does not.
pub(crate) fn copy(from: &str, to: &str) {
    let mut skopeo = Command::new(program("SKOPEO_PATH", "skopeo"));
    skopeo.args(["copy", "--insecure-policy", "--preserve-digests"]);
    skopeo.args(["--src-tls-verify=false", "--dest-tls-verify=false", from, to]);
    let run = skopeo.output().unwrap();
    assert!(run.status.success(), "{skopeo:?}\n{}", String::from_utf8_lossy(&run.stderr));
}

/// The program that a variable names, that `make setup` has unpacked, or that is installed.
fn program(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) {
        return path.into();
    }
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/registry/bin").join(name);
    let installed = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
    };
    let found = Some(unpacked).filter(|file| file.is_file()).or_else(installed);
    found.unwrap_or_else(|| {
        panic!("there is no {name}: run make setup, or set {variable} to the program")
    })
}
