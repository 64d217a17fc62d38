//! A real mesh on this machine: etcd, the API server of Kubernetes, istiod, an image registry, and pods with Istio's
//! agent and Envoy. `scripts/setup.sh mesh` builds the programs.
//!
//! The test process runs in namespaces of its own ([`Mesh::shared`] restarts it there): ports are fixed and free, pods
//! have addresses and networks of their own, the agent's cache is private, and everything ends with the process. Nothing
//! outside is changed, and root is not needed.
//!
//! | address | program |
//! |---|---|
//! | `127.0.0.1:6443` | API server; [`Mesh::kubectl`], [`Mesh::apply`] |
//! | `10.244.0.1:15010`, `:15014` | istiod: configuration, metrics |
//! | `10.244.0.1:5000` | registry; [`Mesh::image`] is the filter's image in it |
//! | `10.244.1.0/24` | [`Model`]s: stubs of this process, with Pod objects |
//! | `10.244.2.0/24` | [`Pod`]s: agent and Envoy in a network of their own |
//! | `10.96.0.0/16` | Services; only sidecars reach them |
//!
//! No controllers run: Deployments create no pods, and deleted namespaces stay `Terminating`. So each test uses its own
//! namespaces ([`Mesh::namespace`]).
//!
//! Use `#[tokio::test(flavor = "multi_thread")]`: most calls of this module block.

mod certificates;
mod control_plane;
mod image;
mod kubectl;
mod model;
mod node;
mod pod;
mod program;
mod scrape;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};

use control_plane::ControlPlane;
pub use control_plane::RECEIVER;
pub use image::Registry;
pub use kubectl::Applied;
pub use model::{Model, Port};
pub use pod::{Pod, PodOptions, Role};
pub use program::Program;

/// A control plane, shared by all tests of a process.
#[derive(Debug)]
pub struct Mesh {
    control_plane: ControlPlane,
    namespaces: AtomicUsize,
    models: AtomicU8,
    pods: AtomicU8,
}

impl Mesh {
    /// The control plane of this process. The first call restarts the process in namespaces of its own, with the same
    /// arguments, and starts it. So call it before anything else.
    ///
    /// # Panics
    /// If a program is missing or does not start, or the machine does not allow the namespaces.
    #[must_use]
    #[expect(clippy::panic, reason = "a harness fails loudly")]
    pub fn shared() -> &'static Self {
        static MESH: OnceLock<Result<Mesh, String>> = OnceLock::new();
        match MESH.get_or_init(|| Self::start().map_err(|error| format!("{error:?}"))) {
            Ok(mesh) => mesh,
            Err(error) => panic!("the mesh does not start: {error}"),
        }
    }

    fn start() -> Result<Self> {
        node::enter()?;
        Ok(Self {
            control_plane: ControlPlane::start()?,
            namespaces: AtomicUsize::new(1),
            models: AtomicU8::new(1),
            pods: AtomicU8::new(1),
        })
    }

    /// A program of `scripts/setup.sh mesh`, for example `helm`, that uses this cluster.
    ///
    /// # Errors
    /// If it is not built.
    pub fn command(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(program(name)?);
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", self.folder());
        Ok(command)
    }

    /// The file with the address and the credentials of the API server.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder().join("kubeconfig")
    }

    /// A folder for the files of tests. It ends with the process.
    #[must_use]
    pub fn folder(&self) -> &Path {
        Path::new(node::FOLDER)
    }

    /// The log of a part: `kube-apiserver`, `istiod`, `registry` or `etcd`.
    #[must_use]
    pub fn log_of(&self, part: &str) -> String {
        std::fs::read_to_string(self.folder().join(format!("{part}.log"))).unwrap_or_default()
    }

    fn next(counter: &AtomicU8) -> Result<u8> {
        let number = counter.fetch_add(1, Ordering::Relaxed);
        ensure!(number < 250, "the network has no free address");
        Ok(number)
    }
}

/// The path of a program that `scripts/setup.sh mesh` builds.
///
/// # Errors
/// If it is not built.
pub fn program(name: &str) -> Result<PathBuf> {
    built(&format!("bin/{name}"))
}

/// A file of other projects that `scripts/setup.sh mesh` copies, such as the definitions `flagger.yaml`.
///
/// # Errors
/// If it is not there.
pub fn share(name: &str) -> Result<PathBuf> {
    built(&format!("share/{name}"))
}

/// The path of a file below `.tools/mesh`.
fn built(name: &str) -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/mesh").join(name);
    path.canonicalize()
        .with_context(|| format!("{} is missing: run scripts/setup.sh mesh", path.display()))
}
