//! A compiled filter module: checked as Envoy checks it at load, compiled once, run by many VMs.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context as _, bail};
use wasmtime::{Config, Engine, InstancePre, Linker};

use super::abi::UNSUPPORTED;
use super::compiled;
use super::guest::Host;
use super::imports;

/// A compiled module with its host functions linked. Cheap to clone.
#[derive(Clone)]
pub struct Module {
    pub(super) pre: InstancePre<Host>,
    module: wasmtime::Module,
}

impl Module {
    /// Compiles a module, binary or text.
    ///
    /// # Errors
    ///
    /// Whatever makes Envoy refuse it at load: not wasm, no or another ABI version, an import Envoy does not have.
    pub fn compile(wasm: impl AsRef<[u8]>) -> anyhow::Result<Self> {
        let engine = engine()?;
        let module = wasmtime::Module::new(&engine, wasm).map_err(plain)?;
        Self::link(&engine, module)
    }

    /// Links a module with the functions of the host.
    fn link(engine: &Engine, module: wasmtime::Module) -> anyhow::Result<Self> {
        if module.get_export("proxy_abi_version_0_2_1").is_none() {
            bail!("the module does not export proxy_abi_version_0_2_1");
        }
        let mut linker = Linker::new(engine);
        imports::link(&mut linker).map_err(plain)?;
        for import in module.imports().filter(|import| import.module() == "env") {
            let name = import.name().to_owned();
            if let (true, Some(ty)) = (UNSUPPORTED.contains(&import.name()), import.ty().func()) {
                let trap = move |_: wasmtime::Caller<'_, Host>, _: &[_], _: &mut [_]| {
                    wasmtime::bail!(
                        "{name} is a function of Envoy that the fake host does not have"
                    )
                };
                linker.func_new("env", import.name(), ty.clone(), trap).map_err(plain)?;
            }
        }
        let pre = linker
            .instantiate_pre(&module)
            .map_err(plain)
            .context("Envoy would not load the module")?;
        Ok(Self { pre, module })
    }

    /// Compiles the module in a file, or loads what an earlier test compiled.
    ///
    /// # Errors
    ///
    /// As [`Self::compile`], and if the file cannot be read.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let wasm = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let engine = engine()?;
        compiled::load(&engine, &wasm)
            .and_then(|module| Self::link(&engine, module))
            .with_context(|| format!("compiling {}", path.display()))
    }

    /// The product's own filter, built and compiled once per process.
    ///
    /// # Panics
    ///
    /// If it does not build or load: no test that asked for it can go on.
    #[must_use]
    #[expect(clippy::panic, reason = "a harness fails loudly")]
    pub fn sidetrack() -> &'static Self {
        static MODULE: OnceLock<Module> = OnceLock::new();
        MODULE.get_or_init(|| match Self::from_file(crate::artifact::wasm()) {
            Ok(module) => module,
            Err(error) => panic!("{error:?}"),
        })
    }

    /// Every import as `module.name`, sorted.
    #[must_use]
    pub fn imports(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .module
            .imports()
            .map(|import| format!("{}.{}", import.module(), import.name()))
            .collect();
        names.sort();
        names
    }

    /// Every export's name, sorted.
    #[must_use]
    pub fn exports(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.module.exports().map(|export| export.name().to_owned()).collect();
        names.sort();
        names
    }
}

fn engine() -> anyhow::Result<Engine> {
    let mut config = Config::new();
    // The module that ships is stripped: frames would be noise in every message.
    config.consume_fuel(true).wasm_backtrace_max_frames(None);
    Engine::new(&config).map_err(plain)
}

/// Keeps the whole chain of causes.
pub(super) fn plain(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:?}")
}
