//! `render admission`: a ValidatingAdmissionPolicy that rejects wrong experiments at `kubectl apply`.
//!
//! Without it, a wrong `pluginConfig` reaches the proxies, which keep the last good one and count the
//! rejection. The policy is an early answer and not the last word: it checks what CEL can check at a
//! bounded cost, and the filter checks everything. So a policy that cannot be evaluated admits.
//!
//! The rules for single values are generated from those of the experiment file. The rules between
//! values are in [`relations`]. A rule adds a line to a text for each problem, because CEL as Kubernetes 1.33
//! has it can join texts, but cannot flatten lists.

mod args;
mod cel;
mod relations;
mod values;

use serde_json::{Value, json};
use sidetrack::names::plugin;

use crate::template;
pub(super) use args::{Args, run};

const TEMPLATES: [(&str, &str); 1] =
    [("admission", include_str!("../../templates/admission.yaml"))];

/// What the policy depends on.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The name of the policy and of its binding.
    pub(crate) name: String,
    /// The namespaces that the policy applies to; empty: all.
    pub(crate) namespaces: Vec<String>,
    pub(crate) action: Action,
}

/// What happens to a wrong experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The request fails.
    Deny,
    /// The request succeeds with a warning.
    Warn,
    /// The audit log gets an entry.
    Audit,
}

impl Action {
    /// The word in a ValidatingAdmissionPolicyBinding.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "Deny",
            Self::Warn => "Warn",
            Self::Audit => "Audit",
        }
    }
}

/// A named CEL expression that other expressions use as `variables.NAME`.
pub(super) struct Variable {
    name: String,
    expression: String,
}

/// The policy and its binding.
pub(crate) fn manifests(options: &Options) -> anyhow::Result<String> {
    let rules = sidetrack::config::rules();
    let mut variables = values::variables(&rules);
    variables.extend(relations::variables());
    let variables: Vec<Value> = variables
        .iter()
        .map(|Variable { name, expression }| json!({"name": name, "expression": expression}))
        .collect();
    let context = json!({
        "name": options.name,
        "namespaces": options.namespaces,
        "action": options.action.as_str(),
        "plugin": plugin::NAME,
        "variables": variables,
    });
    template::render(&TEMPLATES, "admission", &context)
}
