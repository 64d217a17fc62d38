//! `render gateway-api`: HTTPRoutes, and the filter on an Istio gateway or waypoint of the Gateway API.
//!
//! The routes are those of [`super::httproute`]. A WasmPlugin installs the filter, an EnvoyFilter
//! removes the filter's headers from clients' requests, and a Telemetry writes the access log. All of
//! them select the proxies with `targetRefs`.

mod args;

use serde_json::{Value, json};
use sidetrack::plan::Plan;

use super::httproute::{self, Parent, Routes};
use super::istio::{FailStrategy, Kind};
use super::otlp::Receiver;
use super::{headers, image, vocabulary};
use crate::load::Loaded;
use crate::{template, yaml};
pub(super) use args::{Args, run};

const TEMPLATES: [(&str, &str); 2] = [
    ("istio.yaml", include_str!("../../templates/gateway-api/istio.yaml")),
    ("httproutes.yaml", include_str!("../../templates/gateway-api/httproutes.yaml")),
];

/// What the manifests depend on besides the experiments.
#[derive(Clone, Debug)]
struct Options {
    routes: httproute::Options,
    /// Namespace and name of the Gateway: an ingress gateway, or a waypoint.
    gateway: (String, String),
    kind: Kind,
    /// The filter's image; `None`: a placeholder.
    url: Option<String>,
    /// The digest of the image's manifest, in hexadecimal.
    sha256: Option<String>,
    /// The Secret to pull the image with.
    pull_secret: Option<String>,
    fail_strategy: FailStrategy,
    /// Whether to write the EnvoyFilter.
    guard: bool,
    /// More providers of the access log.
    providers: Vec<String>,
    /// Where exposures are sent besides the access log.
    otlp: Option<Receiver>,
}

/// All manifests as one text.
fn manifests(loaded: &Loaded, options: &Options) -> anyhow::Result<String> {
    let plan = &loaded.plan;
    anyhow::ensure!(
        options.kind != Kind::EnvoyFilter,
        "--kind envoyfilter does not work with render gateway-api\n  hint: use --kind wasmplugin, or render istio"
    );
    httproute::check_bodies(plan, "Istio")?;
    let routes = httproute::routes(plan, &options.routes)?;
    let carried = httproute::tagging(loaded, &[])?;
    let waypoint = matches!(options.routes.parent, Parent::Service { .. });
    let (namespace, name) = &options.gateway;
    let mut context = json!({
        "waypoint": waypoint,
        "name": options.routes.name,
        "namespace": options.routes.namespace,
        "resource_labels": options.routes.labels(),
        "gateway": {"namespace": namespace, "name": name},
        "plugin_namespace": plugin_namespace(options),
        "target": target(options),
        "routes": routes.routes,
        "grants": routes.grants,
        // Istio does not apply such patches to the routes of a waypoint.
        "bypasses": if waypoint { Vec::new() } else { bypasses(&routes) },
        "kind": options.kind,
        "extension": options.kind == Kind::TrafficExtension,
        "url": image::url(options.url.as_ref()),
        "sha256": options.sha256,
        "pull_secret": options.pull_secret,
        "reload": options.fail_strategy == FailStrategy::Reload,
        "plugin_config": yaml::write(&carried.node)?,
        "hash": carried.plan.hash.to_string(),
        "experiments": plan.experiments.iter().map(|e| e.name.as_str()).collect::<Vec<_>>().join(", "),
        "guarded": options.guard,
        "own": headers::own(plan),
        "providers": options.providers,
        "otlp": options.otlp.as_ref().map(ToString::to_string),
        "names": {"experiment": plan.settings.headers.experiment},
        "checks": checks(plan, options, &routes),
    });
    vocabulary::add(&mut context, &plan.settings.headers.prefix);
    template::render(&TEMPLATES, "istio.yaml", &context)
}

/// The plugin and the access log of a waypoint belong to the service, so that other services behind the
/// waypoint are not touched.
fn target(options: &Options) -> Value {
    match &options.routes.parent {
        Parent::Gateway { name, .. } => {
            json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name})
        }
        Parent::Service { name } => json!({"group": "", "kind": "Service", "name": name}),
    }
}

fn plugin_namespace(options: &Options) -> &str {
    match &options.routes.parent {
        Parent::Gateway { .. } => &options.gateway.0,
        Parent::Service { .. } => &options.routes.namespace,
    }
}

/// The rules that only requests without the filter take, and the names of their counters.
fn bypasses(routes: &Routes) -> Vec<Value> {
    let rules = routes.routes.iter().flat_map(|route| &route.rules);
    let named = rules.filter_map(|rule| rule.bypass.as_ref().map(|experiment| (rule, experiment)));
    let mut bypasses: Vec<Value> = named
        .map(|(rule, experiment)| {
            json!({"rule": rule.name, "name": format!("sidetrack-bypass-{experiment}")})
        })
        .collect();
    bypasses.dedup();
    bypasses
}

/// The assumptions of the manifests, each with a way to check it.
fn checks(plan: &Plan, options: &Options, routes: &Routes) -> Vec<String> {
    let mut checks = Vec::new();
    let (namespace, gateway) = &options.gateway;
    checks.extend(image::guess(options.url.as_ref()));
    checks.push(format!(
        "The Gateway exists and is programmed: kubectl -n {namespace} get gateway {gateway}"
    ));
    match &options.routes.parent {
        Parent::Gateway { .. } => checks.push(format!(
            "Its listeners accept routes from the namespace {} (allowedRoutes).",
            options.routes.namespace
        )),
        Parent::Service { name } => {
            let services = &options.routes.namespace;
            checks.push(format!(
                "The service {name} uses the waypoint: kubectl -n {services} get service {name} --show-labels \
                 (istio.io/use-waypoint)"
            ));
            checks.push(format!(
                "Requests from an ingress gateway pass the waypoint: kubectl -n {services} label service {name} \
                 istio.io/ingress-use-waypoint=true"
            ));
            checks.push(format!(
                "No client of the service has a sidecar. It goes past the waypoint and its guard, but has these routes, \
                 so its own {}variant chooses the variant. With sidecars, use render istio --topology waypoint.",
                plan.settings.headers.prefix
            ));
            if services != namespace {
                checks.push(
                    "The waypoint is in another namespace than the service, so Istio is 1.30.3, 1.31 or newer: older \
                     waypoints do not start."
                        .to_owned(),
                );
            }
        }
    }
    if options.routes.beside.is_empty() {
        checks.push(
            "No other HTTPRoute or VirtualService has rules for the same hosts with longer paths: see --beside.".to_owned(),
        );
    } else {
        for route in &options.routes.beside {
            checks.push(format!(
                "The HTTPRoute {}/{} is still as it was. Requests without the filter's headers take its rules.",
                route.namespace, route.name
            ));
        }
    }
    let backends = routes.backends.iter().map(ToString::to_string).collect::<Vec<_>>();
    checks.push(format!("The backends exist: {}", backends.join(", ")));
    if routes.backends.iter().any(|backend| backend.kind == httproute::Kind::InferencePool) {
        checks.push("istiod runs with ENABLE_GATEWAY_API_INFERENCE_EXTENSION=true.".to_owned());
    }
    if plan.experiments.iter().any(|it| it.mirror.is_some()) {
        checks.push(
            "The mirror is a service: a copy of a request has no endpoint picker.".to_owned(),
        );
    }
    checks.extend(options.otlp.as_ref().map(Receiver::check));
    checks.push(
        "The mesh has the log format and the metric labels: sidetrack render istio FILE --mesh-config"
            .to_owned(),
    );
    checks
}
