//! The filter's module for an Envoy on this machine: a given file, the one inside this command, or a build nearby.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::package::Module;

/// The module inside this command. `build.rs` puts it there when `SIDETRACK_EMBED` names it, as `make cli` does.
#[cfg(sidetrack_embedded)]
const EMBEDDED: Option<&[u8]> = Some(include_bytes!(env!("SIDETRACK_EMBEDDED")));
#[cfg(not(sidetrack_embedded))]
const EMBEDDED: Option<&[u8]> = None;

/// What `make wasm` writes.
const BUILD: &str = "dist/sidetrack.wasm";

/// The option `--wasm`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Filter {
    /// The filter's module [default: the one inside this command]
    #[arg(long, value_name = "PATH")]
    wasm: Option<PathBuf>,
}

impl Filter {
    /// The path of a module that Envoy can load. The one inside this command is written to `folder`.
    ///
    /// # Errors
    ///
    /// If the module does not exist, or the given one is not the filter.
    pub(crate) fn find(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let path = match (&self.wasm, EMBEDDED) {
            (Some(path), _) => path.clone(),
            (None, Some(bytes)) => {
                let path = folder.join("sidetrack.wasm");
                std::fs::write(&path, bytes)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                path
            }
            (None, None) => nearby().context(
                "this build of the command does not contain the filter\n  \
                 hint: `make cli` builds one that does; or pass the module with --wasm, which `make wasm` builds",
            )?,
        };
        Module::read(&path)?;
        path.canonicalize().with_context(|| format!("cannot find {}", path.display()))
    }
}

/// A build of the module in the current folder, in that of this program, or above.
fn nearby() -> Option<PathBuf> {
    let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    let starts = starts.iter().flatten();
    let mut found = starts.flat_map(|start| start.ancestors()).map(|folder| folder.join(BUILD));
    found.find(|path| path.is_file())
}
