//! Checks that a file is the filter, and that a proxy can load it.
//!
//! The filter has a custom section with its version, which proxies ignore; it identifies the module. A
//! proxy that cannot load a module serves errors, so problems must be found here.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context as _;
use wasmparser::{Parser, Payload, Validator};

use crate::fault::Fault;
use crate::words::visible;

/// The custom section that holds the filter's version.
const MARK: &str = "sidetrack";
/// What a module of the ABI that the filter speaks exports.
const ABI: &str = "proxy_abi_version_0_2_1";
/// The most that Istio's agent takes, in bytes (`ISTIO_WASM_MAX_BINARY_SIZE_BYTES`).
const LARGEST: u64 = 256 << 20;

/// A filter that a proxy would load.
pub(crate) struct Module {
    /// The file.
    pub(crate) bytes: Vec<u8>,
    /// The filter's version.
    pub(crate) version: String,
}

impl Module {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read; a [`Fault`] if it is not the filter.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let name = visible(&path.to_string_lossy());
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
        read.with_context(|| {
            format!("{name}: cannot be read; `make wasm` builds dist/sidetrack.wasm")
        })?;
        match version(&bytes) {
            Ok(version) => Ok(Self { bytes, version }),
            Err(why) => Err(Fault(format!("{name}: {why}")).into()),
        }
    }
}

/// The version of the filter in these bytes, or why they are not a filter.
fn version(bytes: &[u8]) -> Result<String, String> {
    if u64::try_from(bytes.len()).map_or(true, |size| size > LARGEST) {
        return Err(format!("is larger than {} MiB, the limit of Istio's agent", LARGEST >> 20));
    }
    if !bytes.starts_with(b"\0asm") {
        let found = match bytes.get(..4) {
            None => "is too short to be a module".to_owned(),
            Some([0x1f, 0x8b, ..]) => "is a gzip archive".to_owned(),
            Some(first) => format!("begins with \"{}\"", first.escape_ascii()),
        };
        return Err(format!(
            "{found}, but must be a WebAssembly module\n  hint: `make wasm` builds dist/sidetrack.wasm"
        ));
    }
    let broken = |error: wasmparser::BinaryReaderError| {
        format!(
            "is not a valid WebAssembly module, perhaps truncated: {error}\n  hint: `make wasm` builds dist/sidetrack.wasm"
        )
    };
    Validator::new().validate_all(bytes).map_err(broken)?;
    let (mut mark, mut abi) = (None, None);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(broken)? {
            Payload::CustomSection(section) if section.name() == MARK => {
                mark = Some(section.data().to_vec())
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let name = export.map_err(broken)?.name;
                    abi = abi.or_else(|| name.starts_with("proxy_abi_version_").then_some(name));
                }
            }
            _ => {}
        }
    }
    let Some(abi) = abi else {
        return Err(format!(
            "is a WebAssembly module, but not a proxy filter: it does not export {ABI}\n  \
             hint: `make wasm` builds dist/sidetrack.wasm"
        ));
    };
    if abi != ABI {
        return Err(format!(
            "exports {abi}, but must export {ABI}\n  hint: build the filter again with `make wasm`"
        ));
    }
    let version =
        mark.and_then(|mark| String::from_utf8(mark).ok()).filter(|version| named(version));
    let Some(version) = version else {
        return Err(format!(
            "is a proxy filter, but not Sidetrack's: it has no custom section \"{MARK}\" with a version\n  \
             hint: `make wasm` builds one; tools that compress or strip modules may remove the section"
        ));
    };
    if version.contains('+') {
        return Err(format!(
            "is a build for tests, {version}\n  hint: `make wasm` builds the one that ships"
        ));
    }
    Ok(version)
}

fn named(version: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    (1..=64).contains(&version.len()) && version.chars().all(plain)
}
