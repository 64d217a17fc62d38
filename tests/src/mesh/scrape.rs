//! What Prometheus scrapes in a mesh.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::node::NODE;
use super::{Mesh, Pod};
use crate::prometheus::Prometheus;

impl Mesh {
    /// Starts a Prometheus with this rule file that scrapes Envoy and the agent of these pods, and istiod, twice a second.
    ///
    /// The jobs have the names and labels that Istio's documentation uses: `envoy-stats`, `istio-agent` and `istiod`, with the
    /// labels `namespace` and `pod`.
    ///
    /// # Errors
    /// If Prometheus does not start.
    pub async fn prometheus(&self, pods: &[&Pod], rules: &str) -> Result<Prometheus> {
        let targets = |port: u16| -> Vec<Value> {
            let target = |pod: &&Pod| {
                json!({"targets": [pod.addr(port).to_string()],
                    "labels": {"namespace": pod.namespace(), "pod": pod.name()}})
            };
            pods.iter().map(target).collect()
        };
        let job = |name: &str, path: &str, targets: Vec<Value>| json!({"job_name": name, "metrics_path": path, "static_configs": targets});
        let configuration = json!({
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                job("envoy-stats", "/stats/prometheus", targets(15090)),
                job("istio-agent", "/metrics", targets(15020)),
                job("istiod", "/metrics", vec![json!({"targets": [format!("{NODE}:15014")]})]),
            ],
        });
        Prometheus::start(&configuration.to_string(), rules).await
    }

    /// The path of a file of this repository.
    #[must_use]
    pub fn repository(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
    }
}
