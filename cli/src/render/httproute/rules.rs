//! The rules of the routes: for each experiment its variants, and its baseline for requests without
//! a tag.

use anyhow::ensure;
use serde_json::{Value, json};
use sidetrack::matching::Header;
use sidetrack::matching::ValueRule;
use sidetrack::plan::{Experiment, Plan, VariantId};

use super::backend::{self, Backend};
use super::matches::{self, Target};
use super::scope::{Scope, scopes};
use super::{Grant, Kind, Options, Parent, Route, Routes, Rule};
use crate::render::envoy::cluster;
use crate::render::headers;
use crate::render::istio::destination;

/// The most rules of a route, and the most matches of all of them.
const MOST_RULES: usize = 16;
const MOST_MATCHES: usize = 128;
/// The most hosts of a route.
const MOST_HOSTS: usize = 16;
/// The most headers that a rule removes.
const MOST_REMOVED: usize = 16;

/// The routes of all experiments.
pub(in crate::render) fn routes(plan: &Plan, options: &Options) -> anyhow::Result<Routes> {
    destination::known(plan, options.destination.iter().map(|it| it.of.as_str()))?;
    let mut writer = Writer { plan, options, removed: removed(plan)?, backends: Vec::new() };
    let mut routes = Vec::new();
    if options.beside.is_empty() {
        for scope in scopes(plan, options)? {
            let rules = writer.own_rules(&scope)?;
            for hosts in chunks(&scope.hosts) {
                let route = Route {
                    name: String::new(),
                    parents: vec![parent(options)],
                    hostnames: hosts,
                    rules: rules.clone(),
                };
                routes.extend(split(route));
            }
        }
    } else {
        for existing in &options.beside {
            let route = Route {
                name: String::new(),
                parents: existing.parents.clone(),
                hostnames: existing.hostnames.clone(),
                rules: writer.rules_beside(existing)?,
            };
            routes.extend(split(route));
        }
    }
    name(&mut routes, options);
    let grants = grants(&writer.backends, options);
    Ok(Routes { routes, backends: writer.backends, grants })
}

/// The parent of new routes.
fn parent(options: &Options) -> Value {
    match &options.parent {
        Parent::Gateway { namespace, name, listener } => {
            let mut parent = json!({"name": name});
            if let Some(parent) = parent.as_object_mut() {
                if *namespace != options.namespace {
                    parent.insert("namespace".to_owned(), json!(namespace));
                }
                parent.extend(listener.as_ref().map(|it| ("sectionName".to_owned(), json!(it))));
            }
            parent
        }
        Parent::Service { name } => {
            let mut parent = json!({"group": "", "kind": "Service", "name": name});
            if let (Some(parent), Some(port)) = (parent.as_object_mut(), options.port) {
                parent.insert("port".to_owned(), json!(port));
            }
            parent
        }
    }
}

/// The headers that must not reach a model.
fn removed(plan: &Plan) -> anyhow::Result<Vec<&str>> {
    let names = &plan.settings.headers;
    let mut removed = vec![names.cluster.as_str(), names.mirror.as_str()];
    removed.extend(headers::testers(plan));
    ensure!(
        removed.len() <= MOST_REMOVED,
        "{} headers would have to be removed from requests, but the Gateway API allows {MOST_REMOVED}\n  \
         hint: use the same overrides.header in several experiments",
        removed.len()
    );
    Ok(removed)
}

/// Writes rules, and collects their backends.
struct Writer<'a> {
    plan: &'a Plan,
    options: &'a Options,
    removed: Vec<&'a str>,
    backends: Vec<Backend>,
}

impl<'a> Writer<'a> {
    /// The rules of new routes: for tagged requests, and for those of the experiments without a tag.
    fn own_rules(&mut self, scope: &Scope<'_>) -> anyhow::Result<Vec<Rule>> {
        let mut rules = Vec::new();
        for experiment in &scope.experiments {
            let conditions = &experiment.conditions;
            for mirror in mirrors(experiment) {
                for (id, variant) in experiment.variants.entries() {
                    let paths =
                        matches::tagged_paths(conditions.path.as_ref(), variant.rewrite.as_ref());
                    let targets = matches::targets(&paths, &conditions.methods)?;
                    rules.push(self.tagged(experiment, id, mirror, &targets)?);
                }
            }
        }
        // First the exact conditions: with the filter, no request takes these rules.
        for experiment in &scope.experiments {
            let conditions = &experiment.conditions;
            let targets =
                matches::targets(&matches::paths(conditions.path.as_ref()), &conditions.methods)?;
            let matches = with_all(&targets, &matches::headers(&conditions.headers))?;
            let is_exact = !conditions.headers.iter().any(is_absence);
            if is_known(&rules, &matches) {
                continue;
            }
            let name = format!("{}.bypass", experiment.name);
            let note = format!("{} without the filter: its baseline.", experiment.name);
            let mut rule = self.rule(&name, note, matches, experiment, experiment.baseline)?;
            rule.bypass = is_exact.then(|| experiment.name.clone());
            rules.push(rule);
        }
        // Then all requests with their paths: a new route must not answer 404 to what it adjoins.
        for experiment in &scope.experiments {
            let conditions = &experiment.conditions;
            let targets = matches::targets(&matches::paths(conditions.path.as_ref()), &[])?;
            let matches = with_all(&targets, &[])?;
            if is_known(&rules, &matches) {
                continue;
            }
            let name = format!("{}.baseline", experiment.name);
            let note =
                format!("Other requests with the paths of {}: its baseline.", experiment.name);
            rules.push(self.rule(&name, note, matches, experiment, experiment.baseline)?);
        }
        if let Parent::Service { name } = &self.options.parent {
            let all = vec![json!({"path": {"type": "PathPrefix", "value": "/"}})];
            if !is_known(&rules, &all) && !is_known(&rules, &[json!({})]) {
                let service = backend::of(name, Some(name), self.options)?;
                rules.push(Rule {
                    name: "other".to_owned(),
                    note: "All other requests go where they went before.".to_owned(),
                    matches: all,
                    filters: Vec::new(),
                    backend: self.reference(&service),
                    timeouts: None,
                    bypass: None,
                });
            }
        }
        Ok(rules)
    }

    /// The rules for tagged requests beside a route that exists, which keeps all others.
    fn rules_beside(&mut self, existing: &super::Existing) -> anyhow::Result<Vec<Rule>> {
        let mut rules = Vec::new();
        for experiment in &self.plan.experiments {
            let baseline = self.backend(experiment, experiment.baseline)?;
            for taken in existing.rules_for(&baseline, experiment)? {
                for mirror in mirrors(experiment) {
                    for (id, variant) in experiment.variants.entries() {
                        let targets = taken.targets(experiment, variant.rewrite.as_ref());
                        // A rule that replaces a prefix may have one match only.
                        let groups: Vec<&[Target]> = if taken.replaces_prefix() {
                            targets.chunks(1).collect()
                        } else {
                            vec![&targets]
                        };
                        for targets in groups {
                            let mut rule = self.tagged(experiment, id, mirror, targets)?;
                            rule.filters = taken.merged(rule.filters)?;
                            rule.timeouts = rule.timeouts.or_else(|| taken.timeouts.clone());
                            rules.push(rule);
                        }
                    }
                }
            }
        }
        Ok(rules)
    }

    /// The rule for requests that the filter has tagged with a variant.
    fn tagged(
        &mut self,
        experiment: &Experiment,
        id: VariantId,
        mirror: Option<&str>,
        targets: &[Target],
    ) -> anyhow::Result<Rule> {
        let names = &self.plan.settings.headers;
        let variant = experiment.variants[id].name.as_str();
        let mut tags = vec![
            matches::header(&names.variant, variant),
            matches::header(&names.experiment, &experiment.name),
        ];
        tags.extend(mirror.map(|mirror| matches::header(&names.mirror, mirror)));
        // More headers than a rule with the same conditions.
        tags.extend(matches::headers(&experiment.conditions.headers));
        let name = match mirror {
            None => format!("{}.{variant}", experiment.name),
            Some(mirror) => format!("{}.{variant}.{mirror}", experiment.name),
        };
        let note = match mirror {
            None => String::new(),
            Some(mirror) => format!("The filter requests a copy for {mirror}."),
        };
        let mut rule = self.rule(&name, note, with_all(targets, &tags)?, experiment, id)?;
        if let Some(mirror) = mirror {
            let copies = backend::of(mirror, None, self.options)?;
            ensure!(
                copies.kind == Kind::Service,
                "the mirror {mirror} must be a service\n  hint: --destination {mirror}=service/NAME:PORT"
            );
            let copies = self.reference(&copies);
            rule.filters
                .push(json!({"type": "RequestMirror", "requestMirror": {"backendRef": copies}}));
        }
        if id != experiment.baseline {
            rule.timeouts = self.options.timeout.as_ref().map(|it| json!({"request": it}));
        }
        Ok(rule)
    }

    fn rule(
        &mut self,
        name: &str,
        note: String,
        matches: Vec<Value>,
        experiment: &Experiment,
        variant: VariantId,
    ) -> anyhow::Result<Rule> {
        let backend = self.backend(experiment, variant)?;
        let mut filters = vec![json!({
            "type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": self.removed},
        })];
        if self.options.rewrite_host {
            filters.push(json!({"type": "URLRewrite", "urlRewrite": {"hostname": backend.host()}}));
        }
        let backend = match &self.options.through {
            None => backend,
            Some(through) => through.clone().complete("--through", self.options)?,
        };
        Ok(Rule {
            name: name.to_owned(),
            note,
            matches,
            filters,
            backend: self.reference(&backend),
            timeouts: None,
            bypass: None,
        })
    }

    fn backend(&self, experiment: &Experiment, variant: VariantId) -> anyhow::Result<Backend> {
        let name = experiment.variants[variant].name.as_str();
        backend::of(cluster(experiment, variant), Some(name), self.options)
    }

    fn reference(&mut self, backend: &Backend) -> Value {
        if !self.backends.contains(backend) {
            self.backends.push(backend.clone());
        }
        backend.reference(&self.options.namespace)
    }
}

/// Without a copy first, then with one.
fn mirrors(experiment: &Experiment) -> Vec<Option<&str>> {
    let mirror = experiment.mirror.as_ref().map(|mirror| mirror.cluster.as_str());
    core::iter::once(None).chain(mirror.map(Some)).collect()
}

const fn is_absence(header: &Header) -> bool {
    matches!(header.rule, ValueRule::Present(false))
}

fn with_all(targets: &[Target], headers: &[Value]) -> anyhow::Result<Vec<Value>> {
    targets.iter().map(|target| matches::with_headers(target, headers)).collect()
}

/// Whether other rules take all of these requests.
fn is_known(rules: &[Rule], matches: &[Value]) -> bool {
    matches.iter().all(|it| rules.iter().any(|rule| rule.matches.contains(it)))
}

fn chunks(hosts: &[String]) -> Vec<Vec<String>> {
    if hosts.is_empty() {
        return vec![Vec::new()];
    }
    hosts.chunks(MOST_HOSTS).map(<[String]>::to_vec).collect()
}

/// Several routes where a single one would have too many rules.
fn split(route: Route) -> Vec<Route> {
    let mut parts: Vec<Vec<Rule>> = Vec::new();
    for rule in route.rules.iter() {
        let fits = |part: &&mut Vec<Rule>| {
            let matches: usize = part.iter().map(|rule| rule.matches.len()).sum();
            part.len() < MOST_RULES && matches + rule.matches.len() <= MOST_MATCHES
        };
        match parts.last_mut().filter(fits) {
            Some(part) => part.push(rule.clone()),
            None => parts.push(vec![rule.clone()]),
        }
    }
    parts.into_iter().map(|rules| Route { rules, ..route.clone() }).collect()
}

/// Names the routes and their rules, each once.
fn name(routes: &mut [Route], options: &Options) {
    let mut number = 0_usize;
    for route in routes {
        number += 1;
        route.name =
            if number == 1 { options.name.clone() } else { format!("{}-{number}", options.name) };
        let mut taken: Vec<String> = Vec::new();
        for rule in &mut route.rules {
            let base = rule_name(&rule.name);
            let mut name = base.clone();
            let mut next = 2_usize;
            while taken.contains(&name) {
                name = format!("{base}-{next}");
                next += 1;
            }
            taken.push(name.clone());
            rule.name = name;
        }
    }
}

/// As the Gateway API accepts it: lower-case letters, digits, `-` and `.`.
fn rule_name(text: &str) -> String {
    let text: String = text
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
        .collect();
    let labels = text.split('.').map(|label| label.trim_matches('-'));
    labels.filter(|label| !label.is_empty()).collect::<Vec<_>>().join(".")
}

/// The grants for backends in other namespaces than the routes'.
fn grants(backends: &[Backend], options: &Options) -> Vec<Grant> {
    let mut grants: Vec<Grant> = Vec::new();
    for backend in backends.iter().filter(|it| it.namespace != options.namespace) {
        let (group, kind) = match backend.kind {
            Kind::Service => ("", "Service"),
            Kind::InferencePool => ("inference.networking.k8s.io", "InferencePool"),
        };
        let same = |grant: &&mut Grant| grant.namespace == backend.namespace && grant.kind == kind;
        match grants.iter_mut().find(same) {
            Some(grant) => grant.names.push(backend.name.clone()),
            None => grants.push(Grant {
                namespace: backend.namespace.clone(),
                group,
                kind,
                names: vec![backend.name.clone()],
            }),
        }
    }
    for grant in &mut grants {
        grant.names.sort_unstable();
        grant.names.dedup();
    }
    grants
}
