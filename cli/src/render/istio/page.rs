//! The manifests: the values for the templates, and the guesses to review.

use serde_json::{Value, json};
use sidetrack::config::Node;
use sidetrack::plan::Plan;
use sidetrack::quantity::Millis;

use super::checks::{checks, guesses};
use super::merge::{Existing, Ours};
use super::place::Place;
use super::routes::{Route, Routes, routes};
use super::subsets::rules;
use super::{FailStrategy, Kind, Options, bodies, identity};
use crate::load::Loaded;
use crate::render::envoy::seconds;
use crate::render::otlp::Receiver;
use crate::render::{headers, image, vocabulary};
use crate::{template, yaml};

/// A template with the macros that all resources share in front of it.
macro_rules! resource {
    ($name:literal) => {
        (
            $name,
            concat!(
                include_str!("../../../templates/istio/macros.yaml"),
                include_str!(concat!("../../../templates/istio/", $name))
            ),
        )
    };
}

/// The parts of the page, in the order in which they are applied.
const PARTS: [(&str, &str); 9] = [
    resource!("head.yaml"),
    resource!("destinationrule.yaml"),
    resource!("guard.yaml"),
    resource!("identity.yaml"),
    resource!("virtualservice.yaml"),
    resource!("body.yaml"),
    resource!("filter.yaml"),
    resource!("envoyfilter.yaml"),
    resource!("telemetry.yaml"),
];

/// The part with the filter in an EnvoyFilter.
const FILTER: &str = "envoyfilter.yaml";

/// The part that `--merge-into` replaces.
const ROUTES: &str = "virtualservice.yaml";

const ROLLBACK: [(&str, &str); 1] =
    [("rollback.sh", include_str!("../../../templates/istio/rollback.sh"))];

const MESH: [(&str, &str); 2] = [
    ("mesh.yaml", include_str!("../../../templates/istio/mesh.yaml")),
    ("exposure.yaml", include_str!("../../../templates/exposure.yaml")),
];

/// What the templates need.
pub(super) struct Page<'a> {
    options: &'a Options,
    place: Place,
    routes: Routes,
    hidden: Vec<String>,
    timeout: Option<String>,
    /// The file for the filter.
    carried: Node,
    context: Value,
}

impl<'a> Page<'a> {
    /// `plan` is the plan of the original file; `carried` is the file for the filter.
    pub(super) fn new(
        plan: &'a Plan,
        carried: &Loaded,
        options: &'a Options,
        waves: bool,
    ) -> anyhow::Result<Self> {
        let place = Place::of(plan, options)?;
        let routes = routes(plan, options, &place)?;
        let names = &plan.settings.headers;
        let mut hidden = vec![names.cluster.clone(), names.mirror.clone()];
        hidden.extend(headers::testers(plan).into_iter().map(ToOwned::to_owned));
        hidden.extend(bodies::headers(plan, options));
        let timeout = (options.timeout > Millis::ZERO).then(|| seconds(options.timeout));
        let mut context = json!({
            "topology": options.topology,
            "kind": options.kind,
            "extension": options.kind == Kind::TrafficExtension,
            "waves": waves,
            "group": options.name,
            "label": options.label,
            "revision": options.revision,
            "name": options.name,
            "namespace": options.namespace,
            "filter_namespace": place.filter_namespace,
            "selector": place.selector,
            "target": place.target,
            "waypoint": place.waypoint,
            "gateway": place.gateway,
            "hosts": place.hosts,
            "url": image::url(options.url.as_ref()),
            "sha256": options.sha256,
            "pull_secret": options.pull_secret,
            "reload": options.fail_strategy == FailStrategy::Reload,
            "timeout": timeout,
            "access_log_providers": options.access_log_provider,
            "filter_name": filter_name(options),
            "configuration": serde_json::to_string_pretty(&carried.node)?,
            "bodies": plan.reads_bodies(),
            "held": plan.settings.body_limit + HELD_MARGIN,
            "plugin_config": yaml::write(&carried.node)?,
            "hash": carried.plan.hash.to_string(),
            "experiments": plan.experiments.iter().map(|e| e.name.as_str()).collect::<Vec<_>>().join(", "),
            "by_header": routes.tagged.iter().any(|route| route.by_header),
            "rules": rules(&routes.destinations, options),
            "hidden": hidden,
            "guarded": options.guard,
            "own": removed(plan, options)?,
            "identity": identity::values(plan, options)?,
            "trace_tags": options.trace_tags,
            "names": {"experiment": names.experiment, "variant": names.variant, "assigned": names.assigned},
            "cluster_header": names.cluster,
            "guesses": guesses(&place, options),
            "checks": checks(plan, &place, options, &routes.destinations),
            "routes": routes.all(),
        });
        if let Some(context) = context.as_object_mut() {
            context
                .insert("otlp".to_owned(), options.otlp.as_ref().map(ToString::to_string).into());
            context.insert("failure_logger".to_owned(), options.failure_logger.into());
            context.insert("lua".to_owned(), bodies::values(plan, options)?);
        }
        vocabulary::add(&mut context, &names.prefix);
        Ok(Self { options, place, routes, hidden, timeout, carried: carried.node.clone(), context })
    }

    /// All manifests.
    pub(super) fn manifests(&self) -> anyhow::Result<String> {
        let mut page = String::new();
        for (name, _) in PARTS {
            match &self.options.merge_into {
                Some(existing) if name == ROUTES => page.push_str(&self.merged(existing)?),
                _ => page.push_str(&template::render(&PARTS, name, &self.context)?),
            }
        }
        Ok(page)
    }

    fn merged(&self, existing: &Existing) -> anyhow::Result<String> {
        let routes: Vec<Route> = self.routes.added().cloned().collect();
        let merged = existing.merged(&Ours {
            routes: &routes,
            namespace: &self.options.namespace,
            hidden: &self.hidden,
            timeout: self.timeout.as_deref(),
        })?;
        Ok(format!(
            "---\n# The VirtualService {} with copies of its routes for the filter's headers, in front of each route that\n\
             # leads to a baseline. Its own routes are unchanged.\n{merged}",
            existing.name()
        ))
    }

    /// A script that removes the experiments and leaves the routes to the baseline.
    pub(super) fn rollback(&self, experiments: usize) -> anyhow::Result<String> {
        let mut context = self.context.clone();
        let Some(values) = context.as_object_mut() else { return Ok(String::new()) };
        values.insert("routes".to_owned(), json!(self.routes.left));
        let left = match &self.options.merge_into {
            Some(existing) => existing.original()?,
            None => template::render(&PARTS, ROUTES, &values)?,
        };
        values.insert("patch".to_owned(), self.stop(experiments)?.to_string().into());
        values.insert("routes_left".to_owned(), left.trim_start_matches("---\n").into());
        values.insert("restored".to_owned(), self.options.merge_into.is_some().into());
        template::render(&ROLLBACK, "rollback.sh", &context)
    }

    /// The JSON Patch that disables the experiments of the resource that installs the filter.
    fn stop(&self, experiments: usize) -> anyhow::Result<Value> {
        let root = match self.options.kind {
            Kind::WasmPlugin => "/spec/pluginConfig",
            Kind::TrafficExtension => "/spec/wasm/pluginConfig",
            Kind::EnvoyFilter => return self.stop_text(),
        };
        let off = |index| {
            let path = format!("{root}/experiments/{index}/enabled");
            json!({"op": "add", "path": path, "value": false})
        };
        Ok((0..experiments).map(off).collect())
    }

    /// The configuration is a text in an EnvoyFilter, and is replaced as a whole.
    fn stop_text(&self) -> anyhow::Result<Value> {
        let text = template::render(&PARTS, FILTER, &self.context)?;
        let objects: Vec<Value> =
            yaml::read_all(&text).map_err(|error| anyhow::anyhow!("the manifests: {error}"))?;
        let mut paths = Vec::new();
        objects.iter().for_each(|object| texts(object, "", &mut paths));
        let disabled = self.disabled()?;
        let replace = |path| json!({"op": "replace", "path": path, "value": disabled});
        Ok(paths.into_iter().map(replace).collect())
    }

    /// The file for the filter with all experiments disabled, as a text.
    fn disabled(&self) -> anyhow::Result<String> {
        let mut node = self.carried.clone();
        if let Some(Node::List(experiments)) = node.get_mut("experiments") {
            for experiment in experiments {
                if let Node::Map(keys) = experiment {
                    keys.retain(|(key, _)| key != "enabled");
                    keys.push(("enabled".to_owned(), Node::Bool(false)));
                }
            }
        }
        Ok(serde_json::to_string_pretty(&node)?)
    }

    /// What no option sets.
    pub(super) fn guesses(&self) -> Vec<String> {
        guesses(&self.place, self.options)
    }
}

/// What Envoy may hold of a request beyond a body of `settings.body_limit`: all that it reads at once, and what the edits
/// of a variant add.
const HELD_MARGIN: u64 = (1 << 20) + (512 << 10);

/// The JSON Pointers of the texts with experiments.
fn texts(value: &Value, at: &str, paths: &mut Vec<String>) {
    match value {
        Value::String(text) if text.starts_with('{') && text.contains("\"experiments\"") => {
            paths.push(at.to_owned());
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                texts(item, &format!("{at}/{index}"), paths);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                texts(field, &format!("{at}/{key}"), paths);
            }
        }
        _ => {}
    }
}

/// The name of the resource that installs the filter. The guard is an EnvoyFilter too.
fn filter_name(options: &Options) -> String {
    let suffix = if options.kind == Kind::EnvoyFilter { "-filter" } else { "" };
    format!("{}{suffix}", options.name)
}

/// The headers that the guard removes from clients' requests.
fn removed(plan: &Plan, options: &Options) -> anyhow::Result<Vec<String>> {
    let mut headers: Vec<String> = headers::own(plan).into_iter().map(ToOwned::to_owned).collect();
    if options.tokens.is_some() {
        headers.push(identity::unit_header(plan)?.to_owned());
    }
    headers.extend(bodies::headers(plan, options));
    Ok(headers)
}

/// The mesh's settings, optionally with a receiver of exposures.
pub(super) fn mesh(loaded: &Loaded, otlp: Option<&Receiver>) -> anyhow::Result<String> {
    let names = &loaded.plan.settings.headers;
    let mut context = json!({
        "otlp": otlp,
        "gen_ai": vocabulary::gen_ai(&loaded.node),
        "names": {
            "experiment": names.experiment, "variant": names.variant, "assigned": names.assigned,
            "phase": names.phase,
        },
    });
    vocabulary::add(&mut context, &names.prefix);
    template::render(&MESH, "mesh.yaml", &context)
}
