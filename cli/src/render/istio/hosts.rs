//! Hosts of routes: which one includes another, and the names of a service.

use sidetrack::matching::Host;

/// The hosts without repetition and without those that another one includes, which istiod refuses; and the latter.
pub(super) fn reduced(mut hosts: Vec<String>) -> (Vec<String>, Vec<String>) {
    hosts.sort();
    hosts.dedup();
    let is_included =
        |host: &String| hosts.iter().any(|other| other != host && includes(other, host));
    let included: Vec<String> = hosts.iter().filter(|host| is_included(host)).cloned().collect();
    hosts.retain(|host| !included.contains(host));
    (hosts, included)
}

/// Whether a host of routes, such as `*.example.com`, includes all that another one does.
fn includes(wide: &str, narrow: &str) -> bool {
    wide.strip_prefix('*').is_some_and(|suffix| {
        let rest = narrow.strip_prefix('*').unwrap_or(narrow);
        rest.len() >= suffix.len() && rest.ends_with(suffix)
    })
}

/// Whether an experiment's host includes all requests for a host of the routes.
pub(super) fn covers(pattern: &Host, host: &str) -> bool {
    match pattern {
        Host::Exact(name) => spellings(host).contains(name),
        Host::Below(suffix) => includes(&format!("*{suffix}"), host),
    }
}

/// The service with this host and its namespace: `predictor.models.svc.cluster.local`.
pub(super) fn service_of(host: &str) -> Option<(String, String)> {
    let (service, namespace) = host.strip_suffix(".svc.cluster.local")?.split_once('.')?;
    Some((service.to_owned(), namespace.to_owned()))
}

/// The names by which clients call a host: those of a service are its short forms too.
pub(super) fn spellings(host: &str) -> Vec<String> {
    let mut all = vec![host.to_owned()];
    if let Some((service, namespace)) = service_of(host) {
        all.extend([
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}"),
            service,
        ]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_another_one_includes_are_left_out() {
        let reduced = |hosts: &[&str]| {
            let (kept, included) = reduced(hosts.iter().map(|&host| host.to_owned()).collect());
            (kept.join(" "), included.join(" "))
        };
        let pair = |kept: &str, included: &str| (kept.to_owned(), included.to_owned());
        assert_eq!(reduced(&["b.c", "*.c", "*.b.c"]), pair("*.c", "*.b.c b.c"));
        assert_eq!(reduced(&["b.c", "*", "*.c"]), pair("*", "*.c b.c"));
        assert_eq!(reduced(&["c", "*.c", "bc", "c"]), pair("*.c bc c", ""));
    }

    #[test]
    fn the_short_names_of_a_service_are_the_service() {
        let host = "predictor.models.svc.cluster.local";
        for name in ["predictor", "predictor.models", "predictor.models.svc", host] {
            assert!(covers(&Host::Exact(name.to_owned()), host), "{name}");
        }
        assert!(!covers(&Host::Exact("predictor.other".to_owned()), host));
        assert!(covers(&Host::Below(".example.com".to_owned()), "a.example.com"));
        assert!(!covers(&Host::Below(".example.com".to_owned()), "*"));
    }
}
