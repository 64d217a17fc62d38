//! The real kubectl against the API server.

use std::io::Write as _;
use std::process::{Output, Stdio};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::Mesh;

/// The answer to `kubectl apply`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Whether everything was accepted.
    pub accepted: bool,
    /// One line for each object, for example `wasmplugin.extensions.istio.io/sidetrack configured`.
    pub objects: String,
    /// Warnings and refusals, as a user sees them.
    pub messages: String,
}

impl Mesh {
    /// Runs kubectl with this input.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut command = self.command("kubectl")?;
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting kubectl")?;
        if let Some(mut stdin) = child.stdin.take() {
            // kubectl may end before it has read everything; its message says why.
            let _ = stdin.write_all(input.as_bytes());
        }
        child.wait_with_output().context("waiting for kubectl")
    }

    /// Runs kubectl. Returns what it prints.
    ///
    /// # Errors
    /// If it fails; the message has what it prints.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let output = self.kubectl_with(arguments, "")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {said}", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `kubectl apply -f -` of manifests, with more arguments, for example `--dry-run=server`.
    ///
    /// # Errors
    /// If kubectl cannot be started. A refusal is not an error.
    pub fn try_apply(&self, manifests: &str, more: &[&str]) -> Result<Applied> {
        let output = self.kubectl_with(&[&["apply", "-f", "-"], more].concat(), manifests)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Applied {
            accepted: output.status.success(),
            objects: text(&output.stdout),
            messages: text(&output.stderr),
        })
    }

    /// `kubectl apply -f -`. Returns its warnings.
    ///
    /// # Errors
    /// If anything is refused.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        let applied = self.try_apply(manifests, &[])?;
        ensure!(applied.accepted, "kubectl apply: {}\n{manifests}", applied.messages);
        Ok(applied.messages)
    }

    /// Applies objects.
    ///
    /// # Errors
    /// If anything is refused.
    pub fn apply_objects(&self, objects: &[Value]) -> Result<String> {
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())
    }

    /// `kubectl delete -f -`, without waiting for controllers.
    ///
    /// # Errors
    /// If kubectl fails.
    pub fn delete(&self, manifests: &str) -> Result<()> {
        let output = self.kubectl_with(
            &["delete", "--wait=false", "--ignore-not-found", "-f", "-"],
            manifests,
        )?;
        ensure!(
            output.status.success(),
            "kubectl delete: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// An object as the API server has it: `get("wasmplugin", "istio-ingress", "sidetrack")`.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Value> {
        let text = self.kubectl(&["get", kind, name, "-n", namespace, "-o", "json"])?;
        serde_json::from_str(&text).context("reading the output of kubectl")
    }

    /// Creates a namespace whose name begins with `prefix`.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub fn namespace(&self, prefix: &str) -> Result<String> {
        let name = format!("{prefix}-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        self.kubectl(&["create", "namespace", &name])?;
        Ok(name)
    }

    /// Repeats a look at the cluster until it succeeds.
    ///
    /// # Errors
    /// If it does not succeed within 30 seconds.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
        let begun = Instant::now();
        while !holds()? {
            if begun.elapsed() > Duration::from_secs(30) {
                bail!("{what}: not within 30 s");
            }
            sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}
