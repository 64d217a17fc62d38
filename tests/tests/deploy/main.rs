//! Tests of deployments: rendered manifests, rules and dashboards, the image, the commands of the
//! handbook.
//!
//! To run one subject, pass its name: `cargo test --test deploy istio::`.

mod argocd;
mod grafana;
mod helm;
mod istio;
mod istio_envoy;
mod operations;
mod package;
mod prometheus;
