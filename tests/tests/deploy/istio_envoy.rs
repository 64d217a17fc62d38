//! What `sidetrack render istio` writes, end to end: a real Envoy with the listeners, routes and
//! clusters that a real istiod made of the rendered manifests, a model behind each pod, and users.
//!
//! The manifests and istiod's answers are in `tests/golden/istio/`. `sidetrack_tests::istio` says
//! what is replaced so that they run without a control plane.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

mod hosts;
mod otlp;
mod running;
mod tokens;

use std::collections::BTreeMap;

use running::Running;
use serde_json::Value;
use sidetrack_tests::istio::{Entry, Golden, Release, commands};
use sidetrack_tests::world::sidetrack_command;

const BASELINE: &str = "baseline-predictor";
const ENHANCED: &str = "enhanced-predictor";
const COPIES: &str = "traffic-mirror";

/// A case of `tests/golden/istio/`, and how a caller reaches the experiment in it.
#[derive(Clone, Copy, Debug)]
struct Case {
    release: Release,
    name: &'static str,
    entry: Entry<'static>,
    host: &'static str,
    /// Whether the proxy removes headers that only the filter may set, whatever happens to it.
    guard: bool,
}

impl Case {
    const fn new(release: Release, name: &'static str, host: &'static str) -> Self {
        let entry = Entry { listener: "0.0.0.0_8080", chain: None };
        Self { release, name, entry, host, guard: true }
    }

    const fn gateway(release: Release, name: &'static str) -> Self {
        Self::new(release, name, "predictor.example.com")
    }

    const fn sidecar(release: Release, name: &'static str, host: &'static str) -> Self {
        Self::new(release, name, host)
    }

    const fn waypoint(name: &'static str) -> Self {
        let chain = Some("inbound-vip|8080|http|predictor.models.svc.cluster.local");
        let entry = Entry { listener: "main_internal", chain };
        Self { release: Release::Newest, name, entry, host: "predictor.models", guard: true }
    }

    const fn without_guard(self) -> Self {
        Self { guard: false, ..self }
    }

    const fn with_guard(self) -> Self {
        Self { guard: true, ..self }
    }

    fn golden(&self) -> Golden {
        Golden::read(self.release, self.name).unwrap()
    }

    /// The model in a pod.
    fn model(&self, pod: &str) -> &'static str {
        match (self.release, pod) {
            (_, "127.0.0.2" | "127.0.1.2") => BASELINE,
            (_, "127.0.0.3" | "127.0.1.3") => ENHANCED,
            (Release::Newest, "127.0.1.9") | (Release::Istio1_29, "127.0.0.6") => COPIES,
            (Release::Newest, "127.0.1.4") => "old",
            (Release::Newest, "127.0.1.5") => "new",
            (Release::Newest, "127.0.1.6") => "stable",
            (Release::Newest, "127.0.1.7") => "next",
            (Release::Newest, "127.0.1.8") => "copies",
            (Release::Istio1_29, "127.0.0.4") => "churn-v1",
            (Release::Istio1_29, "127.0.0.5") => "churn-v2",
            _ => "other",
        }
    }

    /// The whole life: split, headers, statistics, log; and the same without the filter.
    async fn works(self) {
        let golden = self.golden();
        let guard = &golden.manager(self.entry).unwrap()["early_header_mutation_extensions"];
        assert_eq!(guard.is_array(), self.guard, "{}: {guard}", self.name);
        let running = Running::start(self, true).await;
        let assigned = running.assigned("financial-ab-test");
        running.the_split_is_that_of_the_command(&assigned).await;
        running.metrics_have_labels(&assigned).await;
        running.the_log_has_each_request(&assigned).await;
        running.bypasses_are_counted(0).await;
        let running = Running::start(self, false).await;
        running.all_users_get_the_baseline().await;
        // An HTTPRoute has no prefix for a counter, and no EnvoyFilter reaches the routes of a waypoint.
        let counted = if self.name == "httproute-waypoint" { 0 } else { 40 };
        running.bypasses_are_counted(counted).await;
    }
}

macro_rules! works {
    ($($test:ident: $case:expr;)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                $case.works().await;
            }
        )*
    };
}

const OF_PREDICTOR: &str = "predictor.models.svc.cluster.local:8080";
const OF_BASELINE: &str = "baseline-predictor.models.svc.cluster.local:8080";

works! {
    gateway_with_subsets_and_mtls: Case::gateway(Release::Newest, "gateway-subsets");
    gateway_with_services: Case::gateway(Release::Newest, "gateway-services");
    gateway_with_a_traffic_extension: Case::gateway(Release::Newest, "gateway-trafficextension");
    gateway_with_clusters_from_a_header: Case::gateway(Release::Newest, "gateway-cluster-header");
    gateway_with_a_mirror: Case::gateway(Release::Newest, "gateway-mirror");
    gateway_that_reloads: Case::gateway(Release::Newest, "gateway-reload");
    gateway_without_the_guard: Case::gateway(Release::Newest, "gateway-no-guard").without_guard();
    sidecar_with_subsets: Case::sidecar(Release::Newest, "sidecar-selector", OF_PREDICTOR);
    sidecar_with_services: Case::sidecar(Release::Newest, "sidecar-services", OF_PREDICTOR);
    sidecar_with_a_traffic_extension:
        Case::sidecar(Release::Newest, "sidecar-trafficextension", OF_PREDICTOR);
    sidecar_with_clusters_from_a_header:
        Case::sidecar(Release::Newest, "sidecar-cluster-header", OF_PREDICTOR);
    gateway_with_hosts_of_the_variants: Case::gateway(Release::Newest, "gateway-rewrite-host");
    gateway_that_sends_its_exposures: Case::gateway(Release::Newest, "gateway-otlp");
    gateway_with_routes_of_its_own: Case::gateway(Release::Newest, "gateway-merged");
    gateway_with_a_rule_that_hides_others:
        Case::gateway(Release::Newest, "gateway-hidden-destinationrule");
    waypoint_with_subsets: Case::waypoint("waypoint-subsets");
    waypoint_with_services: Case::waypoint("waypoint-services");
    waypoint_with_a_traffic_extension: Case::waypoint("waypoint-trafficextension");
    waypoint_of_another_namespace: Case::waypoint("waypoint-elsewhere");
    gateway_of_the_gateway_api: Case::gateway(Release::Newest, "httproute-gateway");
    waypoint_with_http_routes: Case::waypoint("httproute-waypoint").with_guard();
    istio_1_29_gateway_with_subsets: Case::gateway(Release::Istio1_29, "gateway-subsets");
    istio_1_29_gateway_with_services: Case::gateway(Release::Istio1_29, "gateway-services");
    istio_1_29_gateway_with_clusters_from_a_header:
        Case::gateway(Release::Istio1_29, "cluster-header");
    istio_1_29_gateway_with_a_mirror: Case::gateway(Release::Istio1_29, "mirror");
    istio_1_29_gateway_that_reloads: Case::gateway(Release::Istio1_29, "fail-reload");
    istio_1_29_gateway_without_the_guard:
        Case::gateway(Release::Istio1_29, "no-guard").without_guard();
    istio_1_29_sidecar_with_subsets:
        Case::sidecar(Release::Istio1_29, "sidecar-selector", OF_PREDICTOR);
    istio_1_29_sidecar_with_services:
        Case::sidecar(Release::Istio1_29, "sidecar-services", OF_BASELINE);
    istio_1_29_sidecar_with_clusters_from_a_header:
        Case::sidecar(Release::Istio1_29, "sidecar-envoyfilter", OF_BASELINE);
}

/// istiod's answers are for what the command writes today. Otherwise the tests here would pass for
/// manifests that no user gets.
#[test]
fn goldens_are_of_what_the_command_renders() {
    let folder = Release::Newest.folder();
    let mut compared = 0;
    for case in Release::Newest.cases().unwrap() {
        for command in commands(Release::Newest, &case).unwrap() {
            let Some(output) = command.output.filter(|_| command.program == "sidetrack") else {
                continue;
            };
            let mut arguments = command.arguments.clone();
            for argument in arguments.iter_mut().filter(|argument| argument.starts_with("given/")) {
                *argument = folder.join(&argument).to_str().unwrap().to_owned();
            }
            let written = sidetrack_command(&arguments).unwrap_or_else(|error| panic!("{error}"));
            let kept = std::fs::read_to_string(folder.join(&output)).unwrap();
            let difference = written.lines().zip(kept.lines()).find(|(new, old)| new != old);
            assert!(
                written.replace(folder.to_str().unwrap(), "") == kept,
                "{output} is not what the command writes: {difference:?}\nmake golden-istio writes it and istiod's \
                 answers again",
            );
            compared += 1;
        }
    }
    assert!(compared > 15, "{compared}");
}

/// The API server and istiod's webhook accepted every manifest of the cases.
#[test]
fn a_cluster_accepts_the_rendered_manifests() {
    for case in Release::Newest.cases().unwrap() {
        let verdict = Release::Newest.folder().join(&case).join("verdict.txt");
        let Ok(verdict) = std::fs::read_to_string(verdict) else { continue };
        let expected = if case == "refused" { "refused " } else { "accepted" };
        let objects = verdict.lines().filter(|line| !line.starts_with(' '));
        let other: Vec<&str> = objects.filter(|line| !line.starts_with(expected)).collect();
        assert!(other.is_empty(), "{case}: {other:?}\n{verdict}");
    }
}

/// Each candidate has a cluster with pods, and no route names a cluster that does not exist.
#[test]
fn routes_name_clusters_that_exist() {
    let mirrored = |action: &Value| -> Vec<String> {
        let policies = action["request_mirror_policies"].as_array();
        let names = policies.into_iter().flatten().filter_map(|policy| policy["cluster"].as_str());
        names.map(str::to_owned).collect()
    };
    for (name, entry) in [
        ("gateway-subsets", Case::gateway(Release::Newest, "").entry),
        ("gateway-two-experiments", Case::gateway(Release::Newest, "").entry),
        ("gateway-hidden-destinationrule", Case::gateway(Release::Newest, "").entry),
        ("gateway-merged", Case::gateway(Release::Newest, "").entry),
        ("sidecar-services", Case::gateway(Release::Newest, "").entry),
        ("waypoint-services", Case::waypoint("").entry),
        ("httproute-gateway", Case::gateway(Release::Newest, "").entry),
        ("httproute-waypoint", Case::waypoint("").entry),
    ] {
        let golden = Golden::read(Release::Newest, name).unwrap();
        let existing: BTreeMap<&str, &Value> = golden
            .clusters
            .iter()
            .map(|cluster| (cluster["name"].as_str().unwrap(), cluster))
            .collect();
        let hosts = golden.route_configuration(entry).unwrap()["virtual_hosts"].clone();
        let routes = hosts.as_array().unwrap().iter().flat_map(|host| host["routes"].as_array());
        let mut seen = 0;
        for action in routes.flatten().map(|route| &route["route"]) {
            let mut named = mirrored(action);
            named.extend(action["cluster"].as_str().map(str::to_owned));
            for cluster in named {
                assert!(existing.contains_key(cluster.as_str()), "{name}: no cluster {cluster}");
                seen += 1;
            }
        }
        assert!(seen >= 2, "{name}: {seen}");
    }
}

/// A pod without the filter has no guard, so it must have no route that a header selects.
#[tokio::test]
async fn sidecar_without_the_filter() {
    let case = Case::sidecar(Release::Newest, "sidecar-other", OF_PREDICTOR);
    let running = Running::start(case, false).await;
    for user in running::users().iter().take(40) {
        let mut forged = running.request(user);
        for name in ["x-ab-variant", "x-ab-assigned", "x-ab-force"] {
            forged = forged.header(name, ENHANCED);
        }
        assert_eq!(running.client.send(forged).await.unwrap().status, 200);
    }
    running.served(&[(BASELINE, 40)]);
    running.bypasses_are_counted(0).await;
}

/// The time of a candidate is limited until its response begins, not until it ends, and only its.
#[test]
fn only_candidates_have_a_limit() {
    let golden = Golden::read(Release::Newest, "gateway-subsets").unwrap();
    let entry = Case::gateway(Release::Newest, "").entry;
    let hosts = golden.route_configuration(entry).unwrap()["virtual_hosts"].clone();
    let routes = hosts.as_array().unwrap().iter().flat_map(|host| host["routes"].as_array());
    let mut limits = BTreeMap::new();
    for route in routes.flatten() {
        assert_eq!(route["route"]["timeout"], "0s", "{route}");
        let name = route["name"].as_str().unwrap().to_owned();
        limits.insert(name, route["route"]["retry_policy"]["per_try_timeout"].clone());
    }
    assert_eq!(limits.remove(ENHANCED).unwrap(), "300s");
    assert!(limits.len() > 2 && limits.values().all(Value::is_null), "{limits:?}");
}

/// Requests to the pod keep the mesh's access log, although the sidecar's own requests have ours.
#[test]
fn sidecars_keep_the_log_of_incoming_requests() {
    let golden = Golden::read(Release::Newest, "sidecar-default-log").unwrap();
    let listener = |name: &str| golden.listeners.iter().find(|it| it["name"] == name).unwrap();
    let logs = |name: &str| {
        let chains = listener(name)["filter_chains"].as_array().unwrap().iter();
        let filters = chains.flat_map(|chain| chain["filters"].as_array().unwrap());
        let managers =
            filters.filter(|filter| filter["typed_config"].get("http_filters").is_some());
        managers.map(|manager| manager["typed_config"]["access_log"].clone()).collect::<Vec<_>>()
    };
    let inbound = logs("virtualInbound");
    assert!(!inbound.is_empty());
    for log in inbound {
        assert!(log[0]["typed_config"]["path"] == "/dev/stdout", "{log}");
        assert!(!log.to_string().contains("json_format"), "{log}");
    }
    assert!(logs("0.0.0.0_8080")[0].to_string().contains("json_format"));
}
