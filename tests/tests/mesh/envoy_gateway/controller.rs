//! Envoy Gateway's controller and one of its Envoys, in a network and a root folder of their own.
//!
//! The controller expects its certificates in `/certs`, and its Envoys expect it under the name of its Service. Nothing
//! runs the Deployment that the controller writes, so its bootstrap is taken from there.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use serde_json::Value;
use sidetrack_lab::{Client, EnvoyBinary};
use sidetrack_tests::mesh::{Mesh, Program, program};
use tokio::net::{TcpListener, TcpStream};

const NAMESPACE: &str = "envoy-gateway-system";
/// The node, as pods see it.
const NODE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
const IP: Ipv4Addr = Ipv4Addr::new(10, 244, 3, 1);
const LIMIT: Duration = Duration::from_secs(90);

/// Prepares the network and the root folder, then becomes the controller. `$1` is the folder, `$2` the address.
const START: &str = r#"set -e
folder=$1 ip=$2
shift 2
read -r _                     # the node has created the interface
ip link set lo up
ip addr add "$ip/32" dev eth0
ip link set eth0 up
ip route add 169.254.1.1 dev eth0
ip route add default via 169.254.1.1
root=$folder/root
mkdir -p "$root"
mount -t tmpfs tmpfs "$root"
for item in /*; do
    if [ -L "$item" ]; then
        cp -a "$item" "$root$item"
    elif [ -d "$item" ] && [ "$item" != /certs ]; then
        mkdir "$root$item"
        mount --rbind "$item" "$root$item"
    fi
done
mkdir -p "$root/certs" "$root/var/lib/eg"
cp "$folder"/envoy-gateway/* "$root/certs/"
cp /etc/hosts "$folder/hosts"
echo "127.0.0.1 envoy-gateway.envoy-gateway-system.svc.cluster.local" >> "$folder/hosts"
mount --bind "$folder/hosts" "$root/etc/hosts"
# No name server is reachable: refused queries end at once, and Envoy waits for those of the address family that the
# file of hosts lacks.
echo "nameserver 127.0.0.1" > "$folder/resolv.conf"
mount --bind "$folder/resolv.conf" "$root/etc/resolv.conf"
exec chroot "$root" "$@"
"#;

/// A running controller.
pub(super) struct Controller {
    folder: PathBuf,
    controller: Program,
    envoy: Option<Program>,
}

impl Controller {
    /// Starts the controller. The definitions of its resources are there afterwards.
    pub(super) async fn start(mesh: &Mesh) -> Result<Self> {
        let definitions = program("envoy-gateway")?.with_file_name("../share/envoy-gateway.yaml");
        let definitions = definitions.to_string_lossy();
        let apply = || mesh.kubectl(&["apply", "--server-side", "-f", &definitions]);
        // They are large: the API server of a busy machine may need more than its limit of time.
        apply().or_else(|_| apply()).or_else(|_| apply())?;
        mesh.kubectl(&["wait", "--for=condition=established", "--timeout=60s", "crd", "--all"])?;
        mesh.kubectl(&["create", "namespace", NAMESPACE])?;
        let folder = mesh.folder().join("envoy-gateway");
        fs::create_dir_all(&folder)?;
        let mut certgen = mesh.command("envoy-gateway")?;
        let output = certgen
            .args(["certgen", "--disable-topology-injector"])
            .env("ENVOY_GATEWAY_NAMESPACE", NAMESPACE)
            .output()?;
        ensure!(output.status.success(), "certgen: {}", String::from_utf8_lossy(&output.stderr));
        for name in ["envoy-gateway", "envoy"] {
            secret(mesh, name, &folder.join(name))?;
        }
        let api = forward(SocketAddr::from((Ipv4Addr::LOCALHOST, 6443))).await?;
        let mut kubeconfig: Value = serde_json::from_str(&fs::read_to_string(mesh.kubeconfig())?)?;
        let cluster = kubeconfig
            .pointer_mut("/clusters/0/cluster")
            .context("the cluster of the kubeconfig")?;
        *cluster = serde_json::json!({"server": format!("https://{api}"), "insecure-skip-tls-verify": true});
        fs::write(folder.join("kubeconfig"), kubeconfig.to_string())?;
        fs::write(
            folder.join("config.yaml"),
            "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyGateway\n\
             gateway: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}\n\
             provider: {type: Kubernetes, kubernetes: {leaderElection: {disable: true}}}\n",
        )?;
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--net", "--", "sh", "-c", START, "sh"])
            .arg(&folder)
            .arg(IP.to_string())
            .arg(program("envoy-gateway")?)
            .args(["server", "--config-path"])
            .arg(folder.join("config.yaml"))
            .env("KUBECONFIG", folder.join("kubeconfig"))
            .env("ENVOY_GATEWAY_NAMESPACE", NAMESPACE)
            .stdin(Stdio::piped());
        let mut controller =
            Program::start("envoy-gateway", folder.join("controller.log"), command)?;
        connect(&mut controller)?;
        Ok(Self { folder, controller, envoy: None })
    }

    /// Starts the Envoy of a Gateway, as the controller's Deployment describes it.
    pub(super) fn envoy(&mut self, mesh: &Mesh, namespace: &str, gateway: &str) -> Result<()> {
        let label = format!(
            "gateway.envoyproxy.io/owning-gateway-name={gateway},gateway.envoyproxy.io/owning-gateway-namespace={namespace}"
        );
        let owned = |kind: &str| -> Result<Value> {
            let text = mesh.kubectl(&["get", kind, "-n", NAMESPACE, "-l", &label, "-o", "json"])?;
            let mut list: Value = serde_json::from_str(&text)?;
            Ok(list.pointer_mut("/items/0").map(Value::take).unwrap_or_default())
        };
        let log = self.folder.join("controller.log");
        let is_written =
            || owned("deployment").is_ok_and(|it| it.to_string().contains("config-yaml"));
        self.controller
            .wait_until(LIMIT, is_written)
            .with_context(|| format!("see {}", log.display()))?;
        let deployment = owned("deployment")?;
        let args = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
        let mut args: Vec<String> = args
            .as_array()
            .context("args")?
            .iter()
            .filter_map(|arg| Some(arg.as_str()?.replace("$(ENVOY_POD_NAME)", "gateway-0")))
            .collect();
        let at = args.iter().position(|arg| arg == "--config-yaml").context("--config-yaml")?;
        let bootstrap = args.get_mut(at + 1).context("the bootstrap")?;
        let secrets = format!("{}/", self.folder.join("envoy").display());
        for (old, new) in [
            ("/sds/", secrets.as_str()),
            ("cluster.local.\n", "cluster.local\n"),
            // The controller has these ports in the same network.
            ("port_value: 19000", "port_value: 29000"),
            ("port_value: 19001", "port_value: 29001"),
        ] {
            *bootstrap = bootstrap.replace(old, new);
        }
        let files = owned("configmap")?;
        for (name, text) in files["data"].as_object().context("the ConfigMap of Envoy")? {
            let text = text.as_str().unwrap_or_default().replace("/certs/", &secrets);
            fs::write(self.folder.join("envoy").join(name), text)?;
        }
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.controller.pid().to_string(), "-m", "-n", "-r"])
            .arg(EnvoyBinary::find()?.canonicalize()?)
            .args(args)
            // Not the CPUs of a container, and the machine may run other Envoys.
            .args(["--use-dynamic-base-id", "--concurrency", "2"]);
        self.envoy = Some(Program::start_alone("envoy", self.folder.join("envoy.log"), command)?);
        Ok(())
    }

    /// A client of this port of Envoy.
    pub(super) fn client(port: u16) -> Client {
        Client::new(Self::addr(port)).with_timeout(Duration::from_secs(10))
    }

    /// The address of this port of Envoy.
    pub(super) fn addr(port: u16) -> SocketAddr {
        SocketAddr::from((IP, port))
    }

    /// The lines of Envoy's access log that are JSON objects.
    pub(super) fn access_log(&self) -> Vec<Value> {
        let log = self.envoy.as_ref().map(Program::log).unwrap_or_default();
        let lines = log.lines().filter(|line| line.starts_with('{'));
        lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The last lines of both logs.
    pub(super) fn logs(&self) -> String {
        let envoy = self.envoy.as_ref().map_or_else(String::new, |envoy| envoy.log_tail(20));
        format!("{envoy}\n{}", self.controller.log_tail(20))
    }
}

/// Writes the files of a Secret of Envoy Gateway into a folder.
fn secret(mesh: &Mesh, name: &str, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let secret = mesh.get("secret", NAMESPACE, name)?;
    for file in ["ca.crt", "tls.crt", "tls.key"] {
        let text = secret["data"][file].as_str().with_context(|| format!("{file} of {name}"))?;
        fs::write(folder.join(file), base64::engine::general_purpose::STANDARD.decode(text)?)?;
    }
    Ok(())
}

/// A port of the node that reaches this address.
async fn forward(to: SocketAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind((NODE, 0)).await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut to) = TcpStream::connect(to).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    Ok(addr)
}

/// Connects the controller's network with the node's.
fn connect(program: &mut Program) -> Result<()> {
    let pid = program.pid().to_string();
    let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let ours = network("self");
    program
        .wait_until(Duration::from_secs(20), || network(&pid).is_some_and(|it| Some(it) != ours))?;
    for words in [
        format!("link add eg0 type veth peer name eth0 netns {pid}"),
        "addr add 169.254.1.1/32 dev eg0".to_owned(),
        "link set eg0 up".to_owned(),
        format!("route add {IP} dev eg0 src {NODE}"),
    ] {
        let output = Command::new("ip").args(words.split_whitespace()).output()?;
        ensure!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    }
    program.send("go\n")
}
