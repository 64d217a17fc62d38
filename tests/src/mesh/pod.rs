//! A pod with Istio's agent and Envoy: a gateway, or a client with a sidecar.
//!
//! The agent starts Envoy itself, with Istio's bootstrap and flags, as in a cluster. Both run in a network and a mount
//! namespace of their own. A sidecar intercepts all connections to Services, and those to port 8080 of the pod, by
//! iptables, as Istio's init container arranges it; [`Pod::run_inside`] and [`Pod::serve`] are the application.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use sidetrack_lab::{Client, EnvoyBinary, ModelStub, Request};

use super::node::{FOLDER, NODE, SERVICES};
use super::program::is_ok;
use super::{Mesh, Program, built, certificates, node, program};

/// Prepares the network and the agent's folder, then becomes the agent. `$1` is the address, `$2` the proxy's role.
const START: &str = r#"set -e
ip=$1 role=$2 services=$3 iptables=$4
shift 4
read -r _                     # the node has created the interface
ip link set lo up
ip addr add "$ip/32" dev eth0
ip link set eth0 up
ip route add 169.254.1.1 dev eth0
ip route add default via 169.254.1.1
if [ "$role" = sidecar ]; then
    # Only root may write to the usual place.
    export XTABLES_LOCKFILE="$PWD/xtables.lock"
    "$iptables" -w -t nat -A OUTPUT -p tcp -d "$services" -j REDIRECT --to-ports 15001
    "$iptables" -w -t nat -A PREROUTING -p tcp --dport 8080 -j REDIRECT --to-ports 15006
fi
mount -t tmpfs tmpfs /var/lib/istio
mkdir /var/lib/istio/data
exec "$@"
"#;
/// Installations that a busy machine compiles beside need this.
const READY: Duration = Duration::from_secs(60);

/// What a proxy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An ingress gateway.
    Gateway,
    /// The sidecar of a client.
    Sidecar,
}

impl Role {
    fn node_type(self) -> &'static str {
        match self {
            Self::Gateway => "router",
            Self::Sidecar => "sidecar",
        }
    }
}

/// The name, the place and the settings of a pod.
#[derive(Clone, Debug)]
pub struct PodOptions {
    /// Gateway or sidecar.
    pub role: Role,
    /// The namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// Labels, which gateways, plugins and routes select.
    pub labels: BTreeMap<String, String>,
    /// Annotations, for example `sidecar.istio.io/extraStatTags`.
    pub annotations: BTreeMap<String, String>,
    /// Variables of the agent's environment, for example `WASM_MODULE_EXPIRY`.
    pub env: Vec<(String, String)>,
    /// Its service account: the identity in mutual TLS.
    pub account: String,
}

impl PodOptions {
    /// A pod with these labels.
    #[must_use]
    pub fn new(role: Role, namespace: &str, name: &str, labels: &[(&str, &str)]) -> Self {
        let text = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Self {
            role,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: labels.iter().map(text).collect(),
            annotations: BTreeMap::new(),
            env: Vec::new(),
            account: "default".to_owned(),
        }
    }

    /// The same pod with this service account.
    #[must_use]
    pub fn account(mut self, name: &str) -> Self {
        name.clone_into(&mut self.account);
        self
    }

    /// The same pod with a variable in the agent's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running pod. It ends when it is dropped; its Pod object stays.
#[derive(Debug)]
pub struct Pod {
    ip: Ipv4Addr,
    options: PodOptions,
    program: Program,
}

impl Mesh {
    /// Starts a pod and waits until its agent says that it is ready.
    ///
    /// # Errors
    /// If it is not ready within a minute; the message has its log's tail.
    pub fn pod(&self, options: PodOptions) -> Result<Pod> {
        let mut pod = self.pod_unready(options)?;
        let agent = SocketAddr::from((pod.ip, 15021));
        pod.program.wait_until(READY, || is_ok(agent, "/healthz/ready"))?;
        Ok(pod)
    }

    /// A gateway `gateway` in this namespace with the label `istio: NAMESPACE`. So Gateways of other tests do not select
    /// it.
    ///
    /// # Errors
    /// As for [`Mesh::pod`].
    pub fn gateway(&self, namespace: &str) -> Result<Pod> {
        self.pod(PodOptions::new(Role::Gateway, namespace, "gateway", &[("istio", namespace)]))
    }

    /// Starts a pod and does not wait.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn pod_unready(&self, options: PodOptions) -> Result<Pod> {
        let number = Self::next(&self.pods)?;
        let ip = Ipv4Addr::new(10, 244, 2, number);
        self.pod_object(
            &options.namespace,
            &options.name,
            ip,
            &json!(options.labels),
            &json!(options.annotations),
            &options.account,
        )?;
        let folder = Path::new(FOLDER).join(format!("pod-{number}"));
        files(&folder)?;
        certificates::write(&folder, &options.namespace, &options.account)?;
        let log = folder.join("log");
        let mut program = Program::start(&options.name, log, command(&options, ip, &folder)?)?;
        connect(&mut program, number, ip)?;
        Ok(Pod { ip, options, program })
    }
}

/// What an image of the proxy contains, in the working directory.
fn files(folder: &Path) -> Result<()> {
    for name in [
        "etc/istio/config",
        "etc/istio/proxy",
        "var/lib/istio/envoy",
        "var/run/secrets/workload-spiffe-uds",
    ] {
        fs::create_dir_all(folder.join(name))?;
    }
    fs::copy(
        built("share/envoy_bootstrap_tmpl.json")?,
        folder.join("var/lib/istio/envoy/envoy_bootstrap_tmpl.json"),
    )?;
    fs::copy(Path::new(FOLDER).join("mesh.yaml"), folder.join("etc/istio/config/mesh"))?;
    Ok(())
}

fn command(options: &PodOptions, ip: Ipv4Addr, folder: &Path) -> Result<Command> {
    let role = options.role.node_type();
    let registries: Vec<String> = (5000..5010).map(|port| format!("{NODE}:{port}")).collect();
    let proxy_config = json!({
        "discoveryAddress": format!("{NODE}:15010"),
        "controlPlaneAuthPolicy": "NONE",
        "binaryPath": EnvoyBinary::find()?.canonicalize()?,
        "concurrency": 2,
    });
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--net", "--", "sh", "-c", START, "sh", &ip.to_string(), role, SERVICES])
        .arg(iptables(options.role)?)
        .arg(program("pilot-agent")?)
        .args(["proxy", role, "--domain", &format!("{}.svc.cluster.local", options.namespace)])
        .args(["--proxyLogLevel", "warning", "--proxyComponentLogLevel", "misc:error,wasm:info"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .envs([
            ("HOME", folder.to_string_lossy().as_ref()),
            ("FILE_MOUNTED_CERTS", "true"),
            ("JWT_POLICY", "none"),
            ("CREDENTIAL_FETCHER_TYPE", ""),
            ("POD_NAME", &options.name),
            ("POD_NAMESPACE", &options.namespace),
            ("SERVICE_ACCOUNT", &options.account),
            ("INSTANCE_IP", &ip.to_string()),
            ("ISTIO_META_CLUSTER_ID", "Kubernetes"),
            ("ISTIO_META_ISTIO_VERSION", "1.32.0"),
            ("ISTIO_META_INTERCEPTION_MODE", "REDIRECT"),
            ("ISTIO_METAJSON_LABELS", &json!(options.labels).to_string()),
            ("ISTIO_METAJSON_ANNOTATIONS", &json!(options.annotations).to_string()),
            ("WASM_INSECURE_REGISTRIES", &registries.join(",")),
            ("PROXY_CONFIG", &proxy_config.to_string()),
        ])
        .envs(options.env.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// Where iptables is; gateways need none.
fn iptables(role: Role) -> Result<PathBuf> {
    if role == Role::Gateway {
        return Ok(PathBuf::from("none"));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let installed =
        std::env::split_paths(&path).chain(system).map(|folder| folder.join("iptables"));
    installed
        .into_iter()
        .find(|file| file.is_file())
        .map_or_else(|| built("iptables/bin/iptables"), Ok)
}

/// Connects the pod's network with the node's.
fn connect(program: &mut Program, number: u8, ip: Ipv4Addr) -> Result<()> {
    let pid = program.pid();
    let network = move |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let ours = network("self");
    let is_apart = || network(&pid.to_string()).is_some_and(|theirs| Some(theirs) != ours);
    program.wait_until(Duration::from_secs(20), is_apart)?;
    node::ip(&format!("link add pod{number} type veth peer name eth0 netns {pid}"))?;
    node::ip(&format!("addr add 169.254.1.1/32 dev pod{number}"))?;
    node::ip(&format!("link set pod{number} up"))?;
    node::ip(&format!("route add {ip} dev pod{number} src {NODE}"))?;
    let mut stdin = program.child().stdin.take().context("the pod's input")?;
    stdin.write_all(b"go\n").context("starting the pod")
}

impl Pod {
    /// Its address.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.options.namespace
    }

    /// An address of this pod.
    #[must_use]
    pub fn addr(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.ip, port))
    }

    /// A client of this port, from outside.
    #[must_use]
    pub fn client(&self, port: u16) -> Client {
        Client::new(self.addr(port)).with_timeout(Duration::from_secs(10))
    }

    /// Whether its agent says that it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        is_ok(self.addr(15021), "/healthz/ready")
    }

    /// Runs this in the pod's network, as the application does.
    ///
    /// # Errors
    /// If the network cannot be entered.
    pub fn run_inside<T, F>(&self, work: impl FnOnce() -> F + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>>,
    {
        let file = self.network()?;
        // A namespace belongs to a thread, so this one is not used again.
        let thread = thread::spawn(move || {
            enter(&file)?;
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work())
        });
        thread.join().map_err(|_| anyhow::anyhow!("the work in the pod has panicked"))?
    }

    /// Starts a model in the pod, on port 8080. It ends with the process.
    ///
    /// # Errors
    /// If it cannot listen.
    pub fn serve(&self, name: &str) -> Result<Arc<ModelStub>> {
        let (send, started) = mpsc::channel();
        let (file, name) = (self.network()?, name.to_owned());
        thread::spawn(move || {
            let run = || -> Result<()> {
                enter(&file)?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    let addr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080));
                    let model = ModelStub::start_at(&name, addr).await.map(Arc::new);
                    let is_running = model.is_ok();
                    let _ = send.send(model);
                    if is_running {
                        std::future::pending::<()>().await;
                    }
                });
                Ok(())
            };
            if let Err(error) = run() {
                let _ = send.send(Err(error));
            }
        });
        started.recv_timeout(Duration::from_secs(20)).context("starting a model in a pod")?
    }

    fn network(&self) -> Result<fs::File> {
        Ok(fs::File::open(format!("/proc/{}/ns/net", self.program.pid()))?)
    }

    /// A page of Envoy's administration, for example `/config_dump`.
    ///
    /// # Errors
    /// If Envoy does not respond with 200.
    pub fn admin(&self, path: &str) -> Result<String> {
        let path = path.to_owned();
        self.run_inside(move || page(SocketAddr::from((Ipv4Addr::LOCALHOST, 15000)), path))
    }

    /// Envoy's metrics, as Prometheus gets them.
    ///
    /// # Errors
    /// If Envoy does not respond with 200.
    pub async fn envoy_metrics(&self) -> Result<String> {
        page(self.addr(15090), "/stats/prometheus".to_owned()).await
    }

    /// The agent's own metrics.
    ///
    /// # Errors
    /// If the agent does not respond with 200.
    pub async fn agent_metrics(&self) -> Result<String> {
        page(self.addr(15020), "/metrics".to_owned()).await
    }

    /// The log of the agent and Envoy, access log included.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.log()
    }

    /// The lines of the access log that are JSON objects.
    #[must_use]
    pub fn access_log(&self) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().filter(|line| line.starts_with('{'));
        lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The last lines of the log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        self.program.log_tail(lines)
    }
}

/// Moves this thread into a network.
fn enter(network: &fs::File) -> Result<()> {
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
        .context("entering the network of a pod")
}

async fn page(addr: SocketAddr, path: String) -> Result<String> {
    let client = Client::new(addr).with_timeout(Duration::from_secs(10));
    let answer = client.send(Request::get(path.clone())).await?;
    ensure!(answer.status == 200, "http://{addr}{path}: {}: {}", answer.status, answer.text());
    Ok(answer.text())
}
