//! An experiment's hosts as a regular expression for `:authority`, as Envoy and Istio both match it.

use sidetrack::matching::Host;

/// Matches any of these hosts in any case, with or without a last dot and a port; `None` without hosts.
pub(super) fn regex(hosts: &[Host]) -> Option<String> {
    let one = |host: &Host| match host {
        Host::Exact(name) => escaped(name),
        Host::Below(suffix) => format!(".+{}", escaped(suffix)),
    };
    let any: Vec<String> = hosts.iter().map(one).collect();
    (!any.is_empty()).then(|| format!("(?i)({})\\.?(:[0-9]+)?", any.join("|")))
}

/// The core accepts only letters, digits, `-`, `_`, `.`, `:` and brackets in a host.
fn escaped(name: &str) -> String {
    name.replace('.', "\\.").replace('[', "\\[").replace(']', "\\]")
}
