//! The image registry, and the filter's image in it, as `sidetrack package` writes it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Mesh, Program, node, program};
use crate::artifact;

/// The shared registry. The agents of all pods accept it without TLS, and the others up to port 5009.
pub(super) const PORT: u16 = 5000;

/// A running registry. Its images are in memory: they are lost when it stops.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    _program: Program,
}

impl Registry {
    /// Starts a registry on a port from 5000 to 5009.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(port: u16) -> Result<Self> {
        let log = Path::new(node::FOLDER).join(format!("registry-{port}.log"));
        let mut command = Command::new(program("crane")?);
        command.args(["registry", "serve", "--address", &format!(":{port}")]);
        let mut program = Program::start_alone("registry", log, command)?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        program.wait_until(Duration::from_secs(20), || TcpStream::connect(addr).is_ok())?;
        Ok(Self { port, _program: program })
    }

    /// Packages a module and pushes the image. Returns the report of `sidetrack package --json`.
    ///
    /// # Errors
    /// If the command or the registry refuse it.
    pub fn push(&self, wasm: &Path, tag: &str) -> Result<Value> {
        let folder = tempfile::tempdir()?;
        let image = folder.path().join("image");
        let repository = format!("{}:{}/sidetrack", node::NODE, self.port);
        let output = Command::new(artifact::cli())
            .args(["package", "--json", "--tag", tag, "--repository", &repository, "--wasm"])
            .arg(wasm)
            .arg("--out")
            .arg(&image)
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "sidetrack package: {said}");
        let report: Value =
            serde_json::from_slice(&output.stdout).context("the report of sidetrack package")?;
        let pushed = Command::new(program("crane")?)
            .args(["push", "--insecure"])
            .arg(&image)
            .arg(format!("{repository}:{tag}"))
            .stdin(Stdio::null())
            .output()?;
        ensure!(pushed.status.success(), "crane push: {}", String::from_utf8_lossy(&pushed.stderr));
        Ok(report)
    }
}

impl Mesh {
    /// The address of the filter's image, for `render istio --url`.
    ///
    /// # Panics
    /// If it cannot be packaged and pushed.
    #[must_use]
    #[expect(clippy::panic, reason = "a harness fails loudly")]
    pub fn image(&self) -> &str {
        self.control_plane.image.get_or_init(|| {
            let registry = &self.control_plane.registry;
            match registry.push(artifact::wasm(), "v1") {
                Ok(_) => format!("oci://{}:{PORT}/sidetrack:v1", node::NODE),
                Err(error) => panic!("{error:?}"),
            }
        })
    }

    /// Writes a text into the folder of this mesh. Returns the path.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.folder().join(name);
        fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }
}
