//! `render envoy-gateway`: HTTPRoutes, and the filter in Envoy Gateway.
//!
//! The routes are those of [`super::httproute`]. An EnvoyExtensionPolicy installs the filter, a
//! ClientTrafficPolicy removes the filter's headers from clients' requests, a BackendTrafficPolicy
//! counts the requests that pass without the filter, and a SecurityPolicy takes the unit from a token.
//! Envoy Gateway passes no environment to a filter, so what other renderings set there stands in the
//! experiment file's `settings.proxy`.

mod args;

use anyhow::ensure;
use serde_json::{Value, json};
use sidetrack::config::Node;
use sidetrack::names::proxy_setting;

use super::httproute::{self, Routes};
use super::istio::identity;
use super::otlp::Receiver;
use super::{headers, image, vocabulary};
use crate::load::Loaded;
use crate::{template, yaml};
pub(super) use args::{Args, run};

const TEMPLATES: [(&str, &str); 5] = [
    ("exposure.yaml", include_str!("../../templates/exposure.yaml")),
    ("stats_tags", include_str!("../../templates/envoy/stats_tags.yaml")),
    ("httproutes.yaml", include_str!("../../templates/gateway-api/httproutes.yaml")),
    ("envoy-gateway.yaml", include_str!("../../templates/envoy-gateway/envoy-gateway.yaml")),
    ("envoy-proxy.yaml", include_str!("../../templates/envoy-gateway/envoy-proxy.yaml")),
];

/// What the manifests depend on besides the experiments.
#[derive(Clone, Debug)]
struct Options {
    routes: httproute::Options,
    /// Namespace and name of the Gateway.
    gateway: (String, String),
    listener: Option<String>,
    /// The module, by HTTP or as an image; `None`: a placeholder.
    url: Option<String>,
    /// The digest of the module or of the image's manifest, in hexadecimal.
    sha256: Option<String>,
    /// The Secret to pull the image with.
    pull_secret: Option<String>,
    /// Whether to write the ClientTrafficPolicy.
    guard: bool,
    jwt: Option<Jwt>,
    /// Where exposures are sent besides the access log.
    otlp: Option<Receiver>,
}

/// The token that carries the unit.
#[derive(Clone, Debug)]
struct Jwt {
    issuer: String,
    jwks_uri: String,
    claim: String,
    audiences: Vec<String>,
}

/// All manifests as one text.
fn manifests(loaded: &Loaded, options: &Options) -> anyhow::Result<String> {
    let plan = &loaded.plan;
    httproute::check_bodies(plan, "Envoy Gateway")?;
    let routes = httproute::routes(plan, &options.routes)?;
    let proxy = Node::Map(vec![(proxy_setting::EXPOSURES.to_owned(), Node::Bool(true))]);
    let carried = httproute::tagging(loaded, &[("proxy", proxy)])?;
    let mut guard: Vec<String> = headers::own(plan).into_iter().map(ToOwned::to_owned).collect();
    let mut jwt = Value::Null;
    if let Some(it) = &options.jwt {
        ensure!(
            options.guard,
            "--jwt-issuer does not work with --no-guard\n  \
             hint: without the guard, a client without a token could send any identity"
        );
        let header = identity::unit_header(plan)?;
        guard.push(header.to_owned());
        jwt = json!({
            "issuer": it.issuer, "jwks_uri": it.jwks_uri, "claim": it.claim, "audiences": it.audiences,
            "header": header,
        });
    }
    let (namespace, name) = &options.gateway;
    let mut context = json!({
        "name": options.routes.name,
        "namespace": options.routes.namespace,
        "resource_labels": options.routes.labels(),
        "gateway": {"namespace": namespace, "name": name},
        "listener": options.listener,
        "routes": routes.routes,
        "grants": routes.grants,
        "targets": targets(options, &routes),
        "bypasses": bypasses(options, &routes),
        "url": image::url(options.url.as_ref()),
        "image": image_name(options),
        "sha256": options.sha256,
        "pull_secret": options.pull_secret,
        "plugin_config": yaml::write(&carried.node)?,
        "hash": carried.plan.hash.to_string(),
        "experiments": plan.experiments.iter().map(|e| e.name.as_str()).collect::<Vec<_>>().join(", "),
        "guarded": options.guard,
        "guard": guard,
        "jwt": jwt,
        "checks": checks(options, &routes),
    });
    vocabulary::add(&mut context, &plan.settings.headers.prefix);
    template::render(&TEMPLATES, "envoy-gateway.yaml", &context)
}

/// The settings of the proxies: an EnvoyProxy.
fn envoy_proxy(loaded: &Loaded, options: &Options) -> anyhow::Result<String> {
    let names = &loaded.plan.settings.headers;
    let (namespace, _) = &options.gateway;
    let mut context = json!({
        "name": options.routes.name,
        "otlp": options.otlp,
        "gen_ai": vocabulary::gen_ai(&loaded.node),
        "gateway": {"namespace": namespace},
        "resource_labels": options.routes.labels(),
        "names": {
            "experiment": names.experiment, "variant": names.variant, "assigned": names.assigned,
            "phase": names.phase,
        },
    });
    vocabulary::add(&mut context, &names.prefix);
    template::render(&TEMPLATES, "envoy-proxy.yaml", &context)
}

/// The HTTPRoutes whose requests run the filter: ours, and those that stay for requests without a tag.
fn targets(options: &Options, routes: &Routes) -> Vec<String> {
    let existing = options.routes.beside.iter().map(|route| route.name.clone());
    let mut targets: Vec<String> =
        routes.routes.iter().map(|route| route.name.clone()).chain(existing).collect();
    targets.dedup();
    targets
}

/// The rules that only requests without the filter take, and the names of their counters.
fn bypasses(options: &Options, routes: &Routes) -> Vec<Value> {
    let mut bypasses = Vec::new();
    for route in &routes.routes {
        for rule in &route.rules {
            let Some(experiment) = &rule.bypass else { continue };
            let number = bypasses.len() + 1;
            let policy = if number == 1 {
                format!("{}-bypass", options.routes.name)
            } else {
                format!("{}-bypass-{number}", options.routes.name)
            };
            bypasses.push(json!({
                "policy": policy, "route": route.name, "rule": rule.name,
                "name": format!("sidetrack-bypass-{experiment}"),
            }));
        }
    }
    bypasses
}

/// The name of the image, unless the module is fetched by HTTP.
fn image_name(options: &Options) -> Option<String> {
    let url = image::url(options.url.as_ref());
    if url.starts_with("http://") || url.starts_with("https://") {
        return None;
    }
    Some(url.strip_prefix("oci://").unwrap_or(&url).to_owned())
}

/// The assumptions of the manifests, each with a way to check it.
fn checks(options: &Options, routes: &Routes) -> Vec<String> {
    let mut checks = Vec::new();
    let (namespace, gateway) = &options.gateway;
    let services = &options.routes.namespace;
    checks.extend(image::guess(options.url.as_ref()));
    checks.push(format!(
        "The Gateway exists and is programmed: kubectl -n {namespace} get gateway {gateway}"
    ));
    checks.push(format!(
        "Its listeners accept routes from the namespace {services} (allowedRoutes)."
    ));
    if options.guard {
        checks.push(format!(
            "No other ClientTrafficPolicy targets it: kubectl -n {namespace} get clienttrafficpolicy. The older one wins; \
             add the headers to it, and use --no-guard."
        ));
    }
    checks.push(
        "No EnvoyExtensionPolicy of the Gateway has other extensions for these routes: kubectl get envoyextensionpolicy -A. \
         A policy for a route replaces it."
            .to_owned(),
    );
    if options.routes.beside.is_empty() {
        checks.push(
            "No other HTTPRoute has rules for the same hosts with longer paths: see --beside."
                .to_owned(),
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
    if let Some(jwt) = &options.jwt {
        checks.push(format!("Envoy Gateway reaches {}.", jwt.jwks_uri));
    }
    checks.push(
        "The proxies have the log format and the metric labels: sidetrack render envoy-gateway FILE --envoy-proxy"
            .to_owned(),
    );
    checks
}
