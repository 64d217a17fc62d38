//! The options for routes, which `render gateway-api` and `render envoy-gateway` share.

use std::path::PathBuf;

use anyhow::ensure;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use sidetrack::plan::Plan;

use super::{Existing, Kind, Mapping, Options, Parent, Written, existing};
use crate::load::Source;
use crate::render::labels::{is_label, label, name, name_of};

/// The flags for [`Options`].
#[derive(clap::Args)]
pub(in crate::render) struct Flags {
    /// The name of the resources [default: sidetrack- and the first experiment]
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// The namespace of the routes and of the backends [default: that of --beside, else default]
    #[arg(long, value_name = "NAMESPACE", value_parser = name)]
    namespace: Option<String>,
    /// A listener of the gateway [default: all that accept the hosts]
    #[arg(long, value_name = "NAME", value_parser = name)]
    listener: Option<String>,
    /// A host of the routes; may be repeated [default: the hosts of the experiments]
    #[arg(long, value_name = "HOST", value_parser = host)]
    host: Vec<String>,
    /// Let experiments without hosts take the requests of all hosts of the gateway
    #[arg(long, conflicts_with = "host")]
    any_host: bool,
    /// The port of the services
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The kind of the backends: services, or pools of the Inference Gateway
    #[arg(long, value_enum, default_value = "service")]
    backend_kind: Kind,
    /// The backend of a variant or mirror [default: a backend with the name of its cluster]; may be
    /// repeated
    #[arg(long, value_name = "VARIANT=[KIND/]NAME[.NAMESPACE][:PORT]")]
    destination: Vec<Mapping>,
    /// Send each variant's requests with its service as their host, as Knative needs it
    #[arg(long)]
    rewrite_host: bool,
    /// The service through which all variants are reached, such as
    /// knative-local-gateway.istio-system:80
    #[arg(long, value_name = "NAME[.NAMESPACE][:PORT]", requires = "rewrite_host")]
    through: Option<Written>,
    /// The longest time for a whole response of a candidate, such as 60s [default: none]. It also
    /// ends streams
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    timeout: Option<String>,
    /// A file with the HTTPRoutes that route to the baseline now. They stay as they are: only rules
    /// for tagged requests are written, with their hosts, paths, filters and parents
    #[arg(long, value_name = "FILE", conflicts_with_all = ["host", "any_host", "listener"])]
    beside: Option<PathBuf>,
    /// A label of all resources; may be repeated
    #[arg(long, value_name = "LABEL=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
}

impl Flags {
    /// `parent` makes what the routes are attached to from the listener.
    pub(in crate::render) fn options(
        &self,
        plan: &Plan,
        parent: impl FnOnce(Option<String>) -> Parent,
    ) -> anyhow::Result<Options> {
        let beside: Vec<Existing> = match &self.beside {
            None => Vec::new(),
            Some(file) => existing::read(&Source::read(file)?)?,
        };
        let found = beside.first().map(|route| route.namespace.clone());
        let one = beside.iter().all(|route| Some(&route.namespace) == found.as_ref());
        ensure!(one, "--beside: the HTTPRoutes are in several namespaces, but must be in one");
        if let (Some(found), Some(given)) = (&found, &self.namespace) {
            ensure!(
                found == given,
                "--namespace is {given}, but must be {found}, the namespace of the HTTPRoutes\n  \
                 hint: remove --namespace"
            );
        }
        let namespace = self.namespace.clone().or(found).unwrap_or_else(|| "default".to_owned());
        let port = self.port.or_else(|| beside.first().and_then(Existing::port));
        Ok(Options {
            name: self.name.clone().unwrap_or_else(|| name_of(plan)),
            namespace,
            parent: parent(self.listener.clone()),
            host: self.host.clone(),
            any_host: self.any_host,
            kind: self.backend_kind,
            port,
            destination: self.destination.clone(),
            rewrite_host: self.rewrite_host,
            through: self.through.clone(),
            timeout: self.timeout.clone(),
            beside,
            label: self.label.clone(),
        })
    }
}

impl ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Service, Self::InferencePool]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Service => "service",
            Self::InferencePool => "inferencepool",
        }))
    }
}

fn host(text: &str) -> anyhow::Result<String> {
    let rest = text.strip_prefix("*.").unwrap_or(text);
    ensure!(
        rest.split('.').all(is_label),
        "must be a lower-case host name, optionally with \"*.\" in front\n  \
         hint: use --any-host for all hosts of the gateway"
    );
    Ok(text.to_owned())
}

/// A duration of the Gateway API: numbers of at most five digits with units.
fn timeout(text: &str) -> anyhow::Result<String> {
    let mut rest = text;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let unit = ["ms", "h", "m", "s"].iter().find_map(|unit| after.strip_prefix(unit));
        let (Some(after), true) = (unit, (1..=5).contains(&number.len())) else {
            parts = 9;
            break;
        };
        (rest, parts) = (after, parts + 1);
    }
    ensure!((1..=4).contains(&parts), "must be a duration such as 60s, 1m30s or 500ms");
    Ok(text.to_owned())
}
