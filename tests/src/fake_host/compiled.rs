//! Cache of compiled modules on disk, so that each test binary loads in milliseconds what one of
//! them compiled.
//!
//! A file is named by the hash of the wasm it was compiled from, in `target/wasmtime/`. Wasmtime
//! checks on its own that a file fits its version and configuration; one that does not is compiled
//! again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, Module};

/// Loads the compiled form of a module, or compiles the module and keeps the result.
pub(super) fn load(engine: &Engine, wasm: &[u8]) -> anyhow::Result<Module> {
    let folder = folder();
    let path = folder.join(format!("{}.cwasm", name(wasm)));
    if path.is_file()
        && let Ok(module) = deserialize(engine, &path)
    {
        return Ok(module);
    }
    let module = Module::new(engine, wasm).map_err(super::module::plain)?;
    let bytes = module.serialize().map_err(super::module::plain)?;
    // Written to a temporary file and renamed, so that another process never reads a partial file.
    let scratch = path.with_extension(std::process::id().to_string());
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&scratch, bytes))
        .and_then(|()| fs::rename(&scratch, &path))
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(module)
}

/// The first half of a SHA-256: enough to distinguish builds.
fn name(wasm: &[u8]) -> String {
    Sha256::digest(wasm).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))
        .join("wasmtime")
}

#[expect(unsafe_code, reason = "the file holds machine code, which only `load` writes")]
fn deserialize(engine: &Engine, path: &Path) -> wasmtime::Result<Module> {
    // SAFETY: `load` wrote the file from `Module::serialize`, and nothing changes a file under this
    // name.
    unsafe { Module::deserialize_file(engine, path) }
}
