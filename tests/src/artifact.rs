//! Builds of the shipped artifacts, made once per test process: the module with its release profile, and the command.
//!
//! `SIDETRACK_WASM`, `SIDETRACK_CRASHING_WASM` and `SIDETRACK_CLI` name files to test instead: `scripts/test.py` builds
//! them once for all binaries, and a release or a deliberately broken build can be tested in the same way.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, bail};

/// The path of the filter's `.wasm`.
///
/// # Panics
///
/// If it does not build, with cargo's own words: no test that asked for it can go on.
#[must_use]
pub fn wasm() -> &'static Path {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, "SIDETRACK_WASM", || module(&[], "dist/sidetrack.wasm"))
}

/// The path of a filter that crashes at a request with the header `x-test-crash`; otherwise it equals the shipped one.
///
/// # Panics
///
/// If it does not build, with cargo's own words.
#[must_use]
pub fn crashing_wasm() -> &'static Path {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, "SIDETRACK_CRASHING_WASM", || {
        module(&["crashing"], "dist/sidetrack-crashing.wasm")
    })
}

/// The path of the `sidetrack` program.
///
/// # Panics
///
/// If it does not build, with cargo's own words.
#[must_use]
pub fn cli() -> &'static Path {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    // The packages and the kinds of targets that `cargo test` in the root selects: with fewer, cargo turns features of
    // dependencies off and compiles nearly all of them again.
    const ARGUMENTS: &[&str] = &[
        "build",
        "--bin",
        "sidetrack",
        "--test",
        "command",
        "--message-format=json-render-diagnostics",
    ];
    once(&BUILT, "SIDETRACK_CLI", || {
        let output = run(Command::new(cargo()).args(ARGUMENTS))?;
        executable(&String::from_utf8_lossy(&output.stdout), "sidetrack")
            .context("cargo did not name the executable `sidetrack`")
    })
}

#[expect(clippy::panic, reason = "a harness fails loudly")]
fn once(
    cell: &'static OnceLock<Result<PathBuf, String>>,
    variable: &str,
    build: impl FnOnce() -> anyhow::Result<PathBuf>,
) -> &'static Path {
    let given = || std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    let found = cell.get_or_init(|| match given() {
        // Tests run in the directory of their package, the person who gave the path does not.
        Some(path) if path.is_file() => path.canonicalize().map_err(|error| error.to_string()),
        Some(path) => {
            Err(format!("{variable} is {}, which is not a file from here", path.display()))
        }
        None => build().map_err(|error| format!("it does not build: {error:?}")),
    });
    match found {
        Ok(path) => path,
        Err(error) => panic!("{error}"),
    }
}

fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Builds a module with the script that releases use too, so that no flag differs and nothing is built twice.
fn module(arguments: &[&str], goal: &str) -> anyhow::Result<PathBuf> {
    run(Command::new(root().join("scripts/build-wasm.sh")).args(arguments))?;
    Ok(root().join(goal).canonicalize()?)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs a build in the root of the repository, without what an outer cargo or a coverage tool set for its own code.
fn run(command: &mut Command) -> anyhow::Result<Output> {
    let of_package =
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_", "CARGO_FEATURE_"];
    let of_compiler =
        ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"];
    for inherited in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        if of_package.iter().any(|prefix| inherited.starts_with(prefix))
            || of_compiler.contains(&inherited.as_str())
        {
            command.env_remove(&inherited);
        }
    }
    let output = command
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output)
}

/// The executable of a binary target among cargo's messages, wherever its target directory is.
fn executable(messages: &str, target: &str) -> Option<PathBuf> {
    let messages =
        messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let of_target = |message: &serde_json::Value| {
        message.pointer("/target/name").and_then(|name| name.as_str()) == Some(target)
            && message.pointer("/profile/test") == Some(&serde_json::Value::Bool(false))
    };
    messages
        .filter(of_target)
        .filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)))
        .next_back()
}
