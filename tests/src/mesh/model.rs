//! Models: stubs of this process with an address of the cluster, their Pod objects, and Services.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;

use anyhow::Result;
use serde_json::{Value, json};
use sidetrack_lab::ModelStub;

use super::{Mesh, node};

/// The port that all models listen on.
const MODEL_PORT: u16 = 8080;

/// A running model with a Pod object.
#[derive(Debug)]
pub struct Model {
    stub: ModelStub,
    ip: Ipv4Addr,
    namespace: String,
}

impl Deref for Model {
    type Target = ModelStub;

    fn deref(&self) -> &ModelStub {
        &self.stub
    }
}

impl Model {
    /// Its address in the cluster.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }
}

/// A port of a Service: its name, its number, and the port of the pods.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// Istio reads the protocol from it.
    pub name: &'static str,
    /// What callers address.
    pub number: u16,
    /// What the pods listen on.
    pub target: u16,
}

impl Port {
    /// The port 8080 of HTTP, which models listen on.
    pub const HTTP: Self = Self { name: "http", number: 8080, target: MODEL_PORT };
}

impl Mesh {
    /// Starts a model that is called `name`, as a pod of this namespace with these labels.
    ///
    /// # Errors
    /// If the address is in use, or the API server refuses the pod.
    pub async fn model(&self, namespace: &str, name: &str, labels: &Value) -> Result<Model> {
        let ip = Ipv4Addr::new(10, 244, 1, Self::next(&self.models)?);
        node::ip(&format!("addr add {ip}/32 dev lo"))?;
        let stub = ModelStub::start_at(name, SocketAddr::from((ip, MODEL_PORT))).await?;
        self.pod_object(namespace, name, ip, labels, &json!({}), "default")?;
        Ok(Model { stub, ip, namespace: namespace.to_owned() })
    }

    /// A Service of this name whose endpoints are these models.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub fn service(
        &self,
        name: &str,
        selector: &Value,
        ports: &[Port],
        models: &[&Model],
    ) -> Result<()> {
        let namespace = models.first().map_or("default", |model| model.namespace.as_str());
        let endpoints: Vec<(Ipv4Addr, &str)> =
            models.iter().map(|model| (model.ip, model.name())).collect();
        self.service_of(namespace, name, selector, ports, &endpoints)
    }

    /// A Service whose endpoints are pods with these addresses and names.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub fn service_of(
        &self,
        namespace: &str,
        name: &str,
        selector: &Value,
        ports: &[Port],
        pods: &[(Ipv4Addr, &str)],
    ) -> Result<()> {
        let service_port = |port: &Port| json!({"name": port.name, "port": port.number, "targetPort": port.target});
        let slice_port =
            |port: &Port| json!({"name": port.name, "port": port.target, "protocol": "TCP"});
        let endpoint = |(ip, pod): &(Ipv4Addr, &str)| {
            json!({"addresses": [ip], "conditions": {"ready": true},
                "targetRef": {"kind": "Pod", "name": pod, "namespace": namespace}})
        };
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": namespace, "labels": selector},
            "spec": {"selector": selector, "ports": ports.iter().map(service_port).collect::<Vec<_>>()},
        });
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
            "ports": ports.iter().map(slice_port).collect::<Vec<_>>(),
            "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>(),
        });
        self.apply_objects(&[service, slice]).map(drop)
    }

    /// The Pod object of a running pod: no kubelet writes it.
    pub(super) fn pod_object(
        &self,
        namespace: &str,
        name: &str,
        ip: Ipv4Addr,
        labels: &Value,
        annotations: &Value,
        account: &str,
    ) -> Result<()> {
        self.apply_objects(&[json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations},
            "spec": {"nodeName": "node", "serviceAccountName": account,
                "containers": [{"name": "main", "image": "none"}]},
        })])?;
        let status = json!({"status": {
            "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }});
        let patch =
            ["patch", "pod", name, "-n", namespace, "--subresource=status", "--type=merge", "-p"];
        self.kubectl(&[&patch[..], &[&status.to_string()]].concat()).map(drop)
    }
}
