//! etcd, the API server, istiod and the registry.
//!
//! istiod gets the flags of an installation without TLS between its parts, as no certificate authority runs here, and
//! without the two filters that upstream Envoy lacks (ALPN, exchange of metadata).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rcgen::{CertificateParams, KeyPair, SanType};
use serde_json::{Value, json};

use super::image::PORT;
use super::node::{FOLDER, NODE, SERVICES};
use super::program::is_ok;
use super::{Program, Registry, built, program};
use crate::world::sidetrack_command;

const LIMIT: Duration = Duration::from_secs(120);
const TOKEN: &str = "token";
/// The Service that exposures are sent to over OTLP.
pub const RECEIVER: &str = "store.exposures.svc.cluster.local:8088";
/// The Service that spans are sent to.
pub(super) const TRACER: &str = "spans.tracing.svc.cluster.local";

/// The parts. They end in reverse order.
#[derive(Debug)]
pub(super) struct ControlPlane {
    pub(super) image: OnceLock<String>,
    pub(super) registry: Registry,
    _istiod: Program,
    _api_server: Program,
    _etcd: Program,
}

impl ControlPlane {
    pub(super) fn start() -> Result<Self> {
        credentials()?;
        mesh_config()?;
        let etcd = etcd()?;
        let api_server = api_server()?;
        definitions()?;
        let istiod = istiod()?;
        webhook()?;
        let registry = Registry::start(PORT)?;
        Ok(Self {
            image: OnceLock::new(),
            registry,
            _istiod: istiod,
            _api_server: api_server,
            _etcd: etcd,
        })
    }
}

/// Keys, a certificate for everything, a token for the administrator, and the kubeconfig.
fn credentials() -> Result<()> {
    let write = |name: &str, text: &str| fs::write(Path::new(FOLDER).join(name), text);
    let key = KeyPair::generate()?;
    let mut certificate = CertificateParams::new(["localhost".to_owned()])?;
    certificate.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    let certificate = certificate.self_signed(&key)?.pem();
    write("tls.key", &key.serialize_pem())?;
    write("tls.crt", &certificate)?;
    // istiod refuses to watch one file twice.
    write("ca.crt", &certificate)?;
    let accounts = KeyPair::generate()?;
    write("accounts.key", &accounts.serialize_pem())?;
    write("accounts.pub", &accounts.public_key_pem())?;
    write("tokens.csv", &format!("{TOKEN},admin,admin,\"system:masters\"\n"))?;
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "mesh",
        "clusters": [{"name": "mesh", "cluster": {
            "server": "https://127.0.0.1:6443", "certificate-authority": format!("{FOLDER}/ca.crt")}}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "mesh", "context": {"cluster": "mesh", "user": "admin"}}],
    });
    write("kubeconfig", &kubeconfig.to_string())?;
    Ok(())
}

/// The settings of the mesh, as `render istio --mesh-config` writes them.
fn mesh_config() -> Result<()> {
    let experiment = json!({"experiments": [{
        "name": "any", "unit": [{"header": "x-user-id"}], "baseline": "a",
        "variants": [{"name": "a"}, {"name": "b", "weight": 1}],
    }]});
    let file = format!("{FOLDER}/any.json");
    fs::write(&file, experiment.to_string())?;
    let rendered =
        sidetrack_command(&["render", "istio", &file, "--mesh-config", "--otlp", RECEIVER])?;
    let values: Value =
        serde_saphyr::from_str(&rendered).context("the rendered settings of the mesh")?;
    let mut config =
        values.get("meshConfig").cloned().context("the rendered settings have no meshConfig")?;
    let settings = config.as_object_mut().context("meshConfig")?;
    settings.insert("rootNamespace".to_owned(), json!("istio-system"));
    settings.insert("trustDomain".to_owned(), json!("cluster.local"));
    // A tracer, for the tests that start it as a Service.
    let tracer = json!({"name": "spans", "opentelemetry": {
        "service": TRACER, "port": 8080, "http": {"path": "/v1/traces", "timeout": "5s"}}});
    let providers = settings.get_mut("extensionProviders").and_then(Value::as_array_mut);
    providers.context("extensionProviders")?.push(tracer);
    fs::write(Path::new(FOLDER).join("mesh.yaml"), config.to_string())?;
    Ok(())
}

fn command(name: &str) -> Result<Command> {
    let mut command = Command::new(program(name)?);
    command
        .current_dir(FOLDER)
        .env("HOME", FOLDER)
        .env("KUBECONFIG", format!("{FOLDER}/kubeconfig"));
    Ok(command)
}

fn start(name: &str, command: Command) -> Result<Program> {
    Program::start_alone(name, Path::new(FOLDER).join(format!("{name}.log")), command)
}

fn kubectl(arguments: &[&str]) -> Result<()> {
    let output = command("kubectl")?.args(arguments).output()?;
    ensure!(
        output.status.success(),
        "kubectl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn etcd() -> Result<Program> {
    const CLIENTS: &str = "http://127.0.0.1:2379";
    const PEERS: &str = "http://127.0.0.1:2380";
    let mut etcd = command("etcd")?;
    etcd.args(["--name", "mesh", "--data-dir", "etcd", "--unsafe-no-fsync", "--log-level", "warn"])
        .args(["--listen-client-urls", CLIENTS, "--advertise-client-urls", CLIENTS])
        .args(["--listen-peer-urls", PEERS, "--initial-advertise-peer-urls", PEERS])
        .args(["--initial-cluster", &format!("mesh={PEERS}")]);
    start("etcd", etcd)
}

fn api_server() -> Result<Program> {
    let mut server = command("kube-apiserver")?;
    server
        .args([
            "--etcd-servers=http://127.0.0.1:2379",
            "--bind-address=127.0.0.1",
            "--secure-port=6443",
        ])
        .args(["--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"])
        .args([
            "--tls-cert-file=tls.crt",
            "--tls-private-key-file=tls.key",
            "--token-auth-file=tokens.csv",
        ])
        .args(["--service-account-issuer=https://kubernetes.default.svc"])
        .args([
            "--service-account-key-file=accounts.pub",
            "--service-account-signing-key-file=accounts.key",
        ])
        .args(["--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount"])
        .arg(format!("--service-cluster-ip-range={SERVICES}"));
    let mut server = start("kube-apiserver", server)?;
    server.wait_until(LIMIT, || kubectl(&["get", "--raw", "/readyz"]).is_ok())?;
    Ok(server)
}

fn definitions() -> Result<()> {
    for file in ["share/istio.yaml", "share/gateway-api.yaml"] {
        let file = built(file)?;
        kubectl(&["apply", "--server-side", "-f", &file.to_string_lossy()])?;
    }
    kubectl(&["wait", "--for=condition=established", "--timeout=60s", "crd", "--all"])?;
    kubectl(&["create", "namespace", "istio-system"])
}

fn istiod() -> Result<Program> {
    let mut istiod = command("pilot-discovery")?;
    istiod
        .args([
            "discovery",
            "--kubeconfig",
            "kubeconfig",
            "--meshConfig",
            "mesh.yaml",
            "--networksConfig",
            "none",
        ])
        .args([
            "--grpcAddr",
            &format!("{NODE}:15010"),
            "--secureGRPCAddr=",
            "--httpAddr",
            "127.0.0.1:8080",
        ])
        .args([
            "--monitoringAddr",
            &format!("{NODE}:15014"),
            "--httpsAddr",
            "127.0.0.1:15017",
            "--ctrlz_port",
            "0",
        ])
        .args([
            "--tlsCertFile",
            "tls.crt",
            "--tlsKeyFile",
            "tls.key",
            "--caCertFile",
            "ca.crt",
            "-n",
            "istio-system",
        ])
        .envs([
            ("ENABLE_CA_SERVER", "false"),
            ("PILOT_CERT_PROVIDER", "none"),
            ("PILOT_ENABLE_ALPN_FILTER", "false"),
            ("PILOT_ENABLE_METADATA_EXCHANGE", "false"),
            ("PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER", "false"),
            ("POD_NAME", "istiod-0"),
            ("POD_NAMESPACE", "istio-system"),
            ("REVISION", "default"),
            ("INJECT_ENABLED", "false"),
            ("VALIDATION_WEBHOOK_CONFIG_NAME", ""),
            ("ENABLE_LEADER_ELECTION", "false"),
        ]);
    let mut istiod = start("istiod", istiod)?;
    istiod.wait_until(LIMIT, || is_ok(([127, 0, 0, 1], 8080).into(), "/ready"))?;
    Ok(istiod)
}

/// istiod's webhook, by address instead of a Service. Pods accept mTLS only in namespaces that say so.
fn webhook() -> Result<()> {
    use base64::Engine as _;
    let ca = base64::engine::general_purpose::STANDARD
        .encode(fs::read(Path::new(FOLDER).join("ca.crt"))?);
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "istio-validator-istio-system", "labels": {"app": "istiod", "istio": "istiod"}},
        "webhooks": [{
            "name": "rev.validation.istio.io",
            "clientConfig": {"url": "https://127.0.0.1:15017/validate", "caBundle": ca},
            "rules": [{
                "operations": ["CREATE", "UPDATE"], "apiVersions": ["*"], "resources": ["*"],
                "apiGroups": ["security.istio.io", "networking.istio.io", "telemetry.istio.io", "extensions.istio.io"],
            }],
            "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }],
    });
    let peers = json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "istio-system"}, "spec": {"mtls": {"mode": "DISABLE"}},
    });
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [webhook, peers]});
    let file = Path::new(FOLDER).join("webhook.json");
    fs::write(&file, objects.to_string())?;
    kubectl(&["apply", "-f", &file.to_string_lossy()])
}
