//! The command line of `render admission`.

use std::io::Write;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::{Action, Options, manifests};
use crate::exit::ExitStatus;
use crate::out::Out;

/// Write an admission policy for Kubernetes that rejects wrong experiments
///
/// With the policy, `kubectl apply` of a WasmPlugin or TrafficExtension with a wrong experiment
/// fails and says what is wrong. The policy is the same for all experiments. It needs Kubernetes
/// 1.33 and checks most of what `sidetrack check` checks; the filter checks everything.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    sidetrack render admission | kubectl apply -f -\n  \
    sidetrack render admission --namespace models --action warn")]
pub(crate) struct Args {
    /// The name of the policy and of its binding
    #[arg(long, default_value = "sidetrack")]
    name: String,
    /// A namespace that the policy applies to; may be repeated [default: all namespaces]
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Vec<String>,
    /// What happens to a wrong experiment
    #[arg(long, value_enum, default_value = "deny")]
    action: Action,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let options = Options {
        name: args.name.clone(),
        namespaces: args.namespace.clone(),
        action: args.action,
    };
    out.write_all(manifests(&options)?.as_bytes())?;
    Ok(ExitStatus::Success)
}

impl ValueEnum for Action {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Deny, Self::Warn, Self::Audit]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Deny => PossibleValue::new("deny").help("The request fails"),
            Self::Warn => PossibleValue::new("warn").help("The request succeeds with a warning"),
            Self::Audit => PossibleValue::new("audit")
                .help("The request succeeds, and the audit log of the API server has an entry"),
        })
    }
}
