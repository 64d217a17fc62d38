//! What Prometheus scrapes in a mesh.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::node::NODE;
use super::{Mesh, Pod};
use crate::prometheus::Prometheus;

impl Mesh {
    /// The job of the proxies.
    pub const JOB: &'static str = "istio-proxy";

    /// Starts a Prometheus with these rules. Each second, it scrapes istiod under the job `istiod`, and these pods
    /// under [`Mesh::JOB`]: their agents, which add Envoy's metrics to their own.
    ///
    /// # Errors
    /// If Prometheus does not start.
    pub async fn prometheus(&self, pods: &[&Pod], rules: &str) -> Result<Prometheus> {
        let target = |pod: &&Pod| {
            json!({"targets": [pod.addr(15020).to_string()],
                "labels": {"namespace": pod.namespace(), "pod": pod.name()}})
        };
        let proxies: Vec<Value> = pods.iter().map(target).collect();
        let job = |name: &str, path: &str, targets: Vec<Value>| json!({"job_name": name, "metrics_path": path, "static_configs": targets});
        let configuration = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                job(Self::JOB, "/stats/prometheus", proxies),
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
