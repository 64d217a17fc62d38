//! `render`: complete configuration for the systems around an experiment.
//!
//! Each target has a plain `Options` and functions that render, and a module `args` with its command
//! line: clap is known only there.

mod admission;
mod argocd;
mod delivery;
mod envoy;
mod envoy_gateway;
mod folder;
mod gateway_api;
mod grafana;
mod headers;
mod helm;
mod hosts;
mod httproute;
mod image;
mod istio;
mod labels;
mod otlp;
mod prometheus;
mod vocabulary;

use clap::Subcommand;

pub(crate) use envoy::{
    Address, Endpoint, Failover, Options, Upstreams, bootstrap, cluster_names, filter,
};

use crate::exit::ExitStatus;
use crate::out::Out;

/// Write the configuration of another system for an experiment file
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    target: Target,
}

#[derive(Subcommand)]
enum Target {
    Envoy(Box<envoy::Args>),
    Istio(Box<istio::Args>),
    GatewayApi(Box<gateway_api::Args>),
    EnvoyGateway(Box<envoy_gateway::Args>),
    Argocd(Box<argocd::Args>),
    Admission(admission::Args),
    Helm(Box<helm::Args>),
    ArgoRollouts(Box<delivery::ArgoRollouts>),
    Flagger(Box<delivery::Flagger>),
    Prometheus(prometheus::Args),
    Grafana(grafana::Args),
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    match &args.target {
        Target::Envoy(args) => envoy::run(args, out),
        Target::Prometheus(args) => prometheus::run(args, out),
        Target::Grafana(args) => grafana::run(args, out),
        Target::Istio(args) => istio::run(args, out),
        Target::GatewayApi(args) => gateway_api::run(args, out),
        Target::EnvoyGateway(args) => envoy_gateway::run(args, out),
        Target::Argocd(args) => argocd::run(args, out),
        Target::Admission(args) => admission::run(args, out),
        Target::Helm(args) => helm::run(args, out),
        Target::ArgoRollouts(args) => delivery::argo_rollouts(args, out),
        Target::Flagger(args) => delivery::flagger(args, out),
    }
}
