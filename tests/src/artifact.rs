//! What ships, built once per test process: the module with the very profile it ships with, and the command.
//!
//! `SIDETRACK_WASM` and `SIDETRACK_CLI` name files to test instead of building: a release, or a broken one that the
//! tests must notice.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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
    const ARGUMENTS: &[&str] =
        &["-p", "sidetrack-filter", "--profile", "wasm", "--target", "wasm32-wasip1"];
    once(&BUILT, "SIDETRACK_WASM", || {
        build(ARGUMENTS, "sidetrack_filter", |file| file.ends_with(".wasm"))
    })
}

/// The path of a filter that crashes at a request with the header `x-test-crash`; otherwise it is the one that ships.
///
/// # Panics
///
/// If it does not build, with cargo's own words.
#[must_use]
pub fn crashing_wasm() -> &'static Path {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    // In a directory of its own, so that it is never taken for the real one.
    const ARGUMENTS: &[&str] = &[
        "-p",
        "sidetrack-filter",
        "--profile",
        "wasm",
        "--target",
        "wasm32-wasip1",
        "--features",
        "crash-on-demand",
        "--target-dir",
        "target/crash-on-demand",
    ];
    once(&BUILT, "SIDETRACK_CRASHING_WASM", || {
        build(ARGUMENTS, "sidetrack_filter", |file| file.ends_with(".wasm"))
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
    const ARGUMENTS: &[&str] = &["-p", "sidetrack-cli", "--bin", "sidetrack"];
    once(&BUILT, "SIDETRACK_CLI", || {
        build(ARGUMENTS, "sidetrack", |file| Path::new(file).extension().is_none())
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

fn build(
    arguments: &[&str],
    target: &str,
    is_it: impl Fn(&str) -> bool,
) -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&root).stdin(Stdio::null()).arg("build").args(arguments);
    cargo.arg("--message-format=json-render-diagnostics");
    // What the outer cargo or a coverage tool set for its own code is not meant for this build.
    for inherited in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        let of_package =
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_", "CARGO_FEATURE_"];
        let of_compiler =
            ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"];
        if of_package.iter().any(|prefix| inherited.starts_with(prefix))
            || of_compiler.contains(&inherited.as_str())
        {
            cargo.env_remove(&inherited);
        }
    }
    if arguments.contains(&"wasm32-wasip1") {
        // As scripts/build-wasm.sh: the same flags give the same bytes, and nothing is built twice.
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
        let (home, root) =
            (home.context("neither CARGO_HOME nor HOME is set")?, root.canonicalize()?);
        let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
        cargo
            .env("RUSTFLAGS", format!("{} {}", remap(&home, "/cargo"), remap(&root, "/sidetrack")));
    }
    let output = cargo.output().context("starting cargo")?;
    if !output.status.success() {
        bail!("{cargo:?}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    artifact_of(&String::from_utf8_lossy(&output.stdout), target, is_it)
        .with_context(|| format!("cargo named no file of {target}"))
}

/// The file that cargo says it made, wherever its target directory is.
fn artifact_of(messages: &str, target: &str, is_it: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let messages =
        messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let of_target = |message: &serde_json::Value| {
        message.pointer("/target/name").and_then(|name| name.as_str()) == Some(target)
    };
    messages
        .filter(of_target)
        .filter_map(|message| {
            let files = message.get("filenames")?.as_array()?.clone();
            files
                .iter()
                .filter_map(|file| file.as_str())
                .find(|file| is_it(file))
                .map(PathBuf::from)
        })
        .next_back()
}
