//! Which DestinationRules define the subsets of a service for a proxy.
//!
//! istiod reads the rules of one namespace only: the first that has a rule for the host, of the proxy's, the service's
//! and the mesh's. There, the most specific host counts, and rules for the same host are united. So a rule of others,
//! also for a wildcard, hides a rule with subsets.

use std::fmt;

use serde_json::Value;

use super::routes::service_of;

/// The namespace of rules for the whole mesh.
const ROOT: &str = "istio-system";
/// The domain of the cluster.
const DOMAIN: &str = "svc.cluster.local";

/// A DestinationRule.
#[derive(Debug)]
struct Rule<'a> {
    namespace: &'a str,
    name: &'a str,
    host: &'a str,
    export_to: Vec<&'a str>,
    subsets: Vec<&'a str>,
}

/// `DestinationRule istio-ingress/default (*.local)`.
impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DestinationRule {}/{} ({})", self.namespace, self.name, self.host)
    }
}

impl<'a> Rule<'a> {
    fn of(object: &'a Value) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let list =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        Self {
            namespace: text("/metadata/namespace").unwrap_or_default(),
            name: text("/metadata/name").unwrap_or_default(),
            host: text("/spec/host").unwrap_or_default(),
            export_to: list("/spec/exportTo").filter_map(Value::as_str).collect(),
            subsets: list("/spec/subsets")
                .filter_map(|subset| subset.get("name").and_then(Value::as_str))
                .collect(),
        }
    }

    /// How specific the host is for this service; `None` if it is not for it.
    fn rank(&self, service: Service<'_>) -> Option<usize> {
        match self.host.strip_prefix('*') {
            Some(suffix) => {
                let host = format!("{}.{}.{DOMAIN}", service.name, service.namespace);
                host.ends_with(suffix).then_some(self.host.len())
            }
            None => (service_of(self.host, self.namespace)
                == Some((service.name, service.namespace)))
            .then_some(usize::MAX),
        }
    }

    fn is_exported_to(&self, namespace: &str) -> bool {
        let own = self.namespace == namespace;
        self.export_to.is_empty()
            || self.export_to.iter().any(|to| *to == "*" || *to == namespace || (*to == "." && own))
    }
}

/// A Kubernetes service.
#[derive(Clone, Copy)]
pub(super) struct Service<'a> {
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
}

/// Why a subset does not exist for a proxy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// No rule defines it.
    Undefined,
    /// A rule defines it, and another one counts for the proxies of this namespace.
    Hidden { namespace: String, by: String },
    /// A rule defines it, but proxies of this namespace do not get it.
    NotExported { namespace: String, rule: String },
}

/// What hides a subset of a service from the proxies of these namespaces; `None` if nothing does.
pub(super) fn lack(
    subset: &str,
    service: Service<'_>,
    proxies: &[&str],
    rules: &[Value],
) -> Option<Lack> {
    let rules: Vec<Rule<'_>> = rules.iter().map(Rule::of).collect();
    let own =
        |rule: &&Rule<'_>| rule.rank(service) == Some(usize::MAX) && rule.subsets.contains(&subset);
    let Some(ours) = rules.iter().find(own) else { return Some(Lack::Undefined) };
    for namespace in proxies {
        let counted = counted(&rules, service, namespace);
        if counted.iter().any(|rule| rule.subsets.contains(&subset)) {
            continue;
        }
        let namespace = (*namespace).to_owned();
        return Some(match counted.first() {
            Some(by) => Lack::Hidden { namespace, by: by.to_string() },
            None => Lack::NotExported { namespace, rule: ours.to_string() },
        });
    }
    None
}

/// The rules that count for the proxies of a namespace.
fn counted<'a>(rules: &'a [Rule<'a>], service: Service<'_>, proxy: &str) -> Vec<&'a Rule<'a>> {
    // Rules in the root namespace are for the mesh; for its own proxies, only private ones come first.
    let is_local = |rule: &Rule<'_>| proxy != ROOT || rule.export_to == ["."];
    for (namespace, is_proxys) in [(proxy, true), (service.namespace, false), (ROOT, false)] {
        let here = rules.iter().filter(|rule| rule.namespace == namespace);
        let here = here.filter(|rule| !is_proxys || is_local(rule));
        let ranked: Vec<(usize, &Rule<'_>)> =
            here.filter_map(|rule| Some((rule.rank(service)?, rule))).collect();
        let best = ranked.iter().map(|(rank, _)| *rank).max();
        let found: Vec<&Rule<'_>> = ranked
            .into_iter()
            .filter(|(rank, rule)| Some(*rank) == best && (is_proxys || rule.is_exported_to(proxy)))
            .map(|(_, rule)| rule)
            .collect();
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(namespace: &str, host: &str, subsets: &[&str], export_to: &[&str]) -> Value {
        let subsets: Vec<Value> = subsets.iter().map(|name| json!({"name": name})).collect();
        json!({
            "metadata": {"name": "rule", "namespace": namespace},
            "spec": {"host": host, "subsets": subsets, "exportTo": export_to},
        })
    }

    fn found(rules: &[Value], proxy: &str) -> Option<Lack> {
        lack("new", Service { name: "predictor", namespace: "models" }, &[proxy], rules)
    }

    fn hidden(namespace: &str, host: &str) -> Option<Lack> {
        let by = format!("DestinationRule {namespace}/rule ({host})");
        Some(Lack::Hidden { namespace: namespace.to_owned(), by })
    }

    #[test]
    fn the_first_namespace_with_a_rule_for_the_host_counts() {
        let ours = rule("models", "predictor.models.svc.cluster.local", &["old", "new"], &[]);
        let with = |more: Value| found(&[more, ours.clone()], "istio-ingress");
        assert_eq!(found(std::slice::from_ref(&ours), "istio-ingress"), None);
        assert_eq!(found(&[], "istio-ingress"), Some(Lack::Undefined));
        // Each of these was tried on istiod: tests/tests/mesh/hidden.rs.
        assert_eq!(
            with(rule("istio-ingress", "*.local", &[], &[])),
            hidden("istio-ingress", "*.local")
        );
        assert_eq!(with(rule("istio-ingress", "*.example.com", &[], &[])), None);
        assert_eq!(with(rule("istio-system", "*.local", &[], &[])), None);
        assert_eq!(with(rule("models", "*.local", &[], &[])), None);
        assert_eq!(with(rule("models", "predictor", &["v1"], &[])), None);
        assert_eq!(with(rule("other", "predictor.models.svc.cluster.local", &[], &[])), None);
        let host = "predictor.models.svc.cluster.local";
        assert_eq!(with(rule("istio-ingress", host, &["v1"], &[])), hidden("istio-ingress", host));
        assert_eq!(with(rule("istio-ingress", host, &["new"], &["."])), None);
    }

    #[test]
    fn a_private_rule_with_the_exact_host_comes_before_a_wildcard() {
        let host = "predictor.models.svc.cluster.local";
        let theirs = rule("istio-ingress", "*.local", &[], &[]);
        let ours = rule("istio-ingress", host, &["old", "new"], &["."]);
        assert_eq!(found(&[theirs, ours.clone()], "istio-ingress"), None);
        assert_eq!(
            found(std::slice::from_ref(&ours), "team-a"),
            Some(Lack::NotExported {
                namespace: "team-a".to_owned(),
                rule: format!("DestinationRule istio-ingress/rule ({host})")
            })
        );
    }

    #[test]
    fn proxies_of_the_root_namespace_read_the_rule_of_the_service_first() {
        let ours = rule("models", "predictor", &["new"], &[]);
        let theirs = rule("istio-system", "*.local", &[], &[]);
        assert_eq!(found(&[theirs, ours.clone()], "istio-system"), None);
        let private = rule("istio-system", "*.local", &[], &["."]);
        assert_eq!(found(&[private, ours], "istio-system"), hidden("istio-system", "*.local"));
    }
}
