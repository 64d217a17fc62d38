//! The host functions, linked once per module. Everything of ABI 0.2.1 that a traffic filter uses.

mod coverage;
mod general;
mod headers;
mod metrics;
mod streams;

use wasmtime::Linker;

use super::guest::Host;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    coverage::link(linker)?;
    general::link(linker)?;
    headers::link(linker)?;
    metrics::link(linker)?;
    streams::link(linker)?;
    super::wasi::link(linker)
}
