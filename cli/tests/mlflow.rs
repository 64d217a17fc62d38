//! `sidetrack mlflow` against a real MLflow server, and against stubs for what a real one does too rarely.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails may say so abruptly"
)]

#[path = "mlflow/analysis.rs"]
mod analysis;
#[path = "mlflow/errors.rs"]
mod errors;
#[path = "mlflow/follow.rs"]
mod follow;
#[path = "mlflow/log.rs"]
mod log;
#[path = "mlflow/plan.rs"]
mod plan;
#[path = "mlflow/promote.rs"]
mod promote;
#[path = "mlflow/server.rs"]
mod server;

use std::path::Path;
use std::process::Command;

use server::server;

/// What a command did.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// The stdout of a command that went well.
    #[track_caller]
    fn good(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// It ended with this code, and said each of these on stderr.
    #[track_caller]
    fn refused(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in\n{}", self.stderr);
        }
    }
}

/// A command without what the surroundings say of MLflow.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidetrack"));
    command.args(arguments).env("NO_COLOR", "1");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MLFLOW_") {
            command.env_remove(name);
        }
    }
    command
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().unwrap();
    Ran { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// `sidetrack mlflow …` with the shared server.
fn mlflow(arguments: &[&str]) -> Ran {
    let mut all = vec!["mlflow"];
    all.extend(arguments);
    ran(command(&all).env("MLFLOW_TRACKING_URI", &server().uri))
}

/// `sidetrack mlflow plan` of a model into a new file.
fn planned(model: &str, dir: &Path) -> std::path::PathBuf {
    let file = dir.join("experiment.yaml");
    mlflow(&["plan", "--model", model, "--out", file.to_str().unwrap()]).good();
    file
}
