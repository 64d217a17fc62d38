//! The conditions of routes, as `match` of a VirtualService writes them.

use serde_json::{Map, Value, json};
use sidetrack::matching::{Header, Host, Text, ValueRule};
use sidetrack::names::route;
use sidetrack::plan::{Experiment, HeaderNames};

use crate::render::hosts;
use crate::render::istio::Topology;
use crate::render::istio::hosts::spellings;
use crate::render::istio::place::Place;

/// The longest regular expression that istiod accepts, in bytes.
const LONGEST_REGEX: usize = 1024;

/// Writes the conditions of an experiment's routes.
pub(super) struct Matches<'a> {
    pub(super) names: &'a HeaderNames,
    pub(super) place: &'a Place,
    /// Whether the variant alone identifies the route.
    pub(super) is_alone: bool,
    /// The port that clients address, where a route must not serve others.
    pub(super) port: Option<u16>,
}

impl Matches<'_> {
    /// The requests that the filter has given to a variant. In sidecars, only those of the pods with the filter: other
    /// pods have no guard, so a client in them could choose the variant.
    pub(super) fn tagged(
        &self,
        experiment: &Experiment,
        variant: &str,
        mirror: Option<&str>,
    ) -> Value {
        self.with_headers(experiment, (&self.names.variant, json!({"exact": variant})), mirror)
    }

    /// The requests for which the filter has chosen a cluster.
    pub(super) fn chosen(&self, experiment: &Experiment, mirror: Option<&str>) -> Value {
        self.with_headers(experiment, (&self.names.cluster, json!({})), mirror)
    }

    fn with_headers(
        &self,
        experiment: &Experiment,
        choice: (&str, Value),
        mirror: Option<&str>,
    ) -> Value {
        let mut headers = Map::new();
        headers.insert(choice.0.to_owned(), choice.1);
        if !self.is_alone {
            headers.insert(self.names.experiment.clone(), json!({"exact": experiment.name}));
        }
        if let Some(mirror) = mirror {
            headers.insert(self.names.mirror.clone(), json!({"exact": mirror}));
        }
        let mut one = Map::from_iter([("headers".to_owned(), headers.into())]);
        self.limit_to_filter(&mut one);
        one.into()
    }

    /// The requests of an experiment that the filter has not seen. They are counted under their own prefix.
    pub(super) fn bypass(&self, experiment: &Experiment) -> Vec<Value> {
        let mut all = Vec::new();
        for mut one in self.conditions(experiment) {
            let mut others = one.clone();
            let without = one.entry("withoutHeaders").or_insert_with(|| json!({}));
            if let Some(without) = without.as_object_mut() {
                without.insert(self.names.experiment.clone(), json!({}));
            }
            one.insert("statPrefix".to_owned(), bypass_stat(experiment).into());
            self.limit_to_filter(&mut one);
            all.push(Value::from(one));
            // Pods without the filter bypass it too, but that is no fault to count. Nothing removes headers that
            // they forge, so this match does not depend on them.
            if self.place.topology == Topology::Sidecar {
                if others.is_empty() {
                    others.insert("uri".to_owned(), json!({"prefix": "/"}));
                }
                all.push(others.into());
            }
        }
        all
    }

    /// The requests of an experiment, in a mesh without the filter.
    pub(super) fn untagged(&self, experiment: &Experiment) -> Vec<Value> {
        self.conditions(experiment).into_iter().map(Value::from).collect()
    }

    /// The hosts and the path of an experiment, whatever the filter did; without conditions if it takes all requests.
    pub(super) fn surroundings(&self, experiment: &Experiment) -> Vec<Value> {
        let with_path = |mut one: Map<String, Value>| {
            one.extend(path(experiment));
            Value::from(one)
        };
        self.authorities(experiment).into_iter().map(with_path).collect()
    }

    /// The hosts of an experiment, whatever the path.
    pub(super) fn hosts(&self, experiment: &Experiment) -> Vec<Value> {
        self.authorities(experiment).into_iter().map(Value::from).collect()
    }

    /// The hosts of an experiment, in as many conditions as their length needs.
    fn authorities(&self, experiment: &Experiment) -> Vec<Map<String, Value>> {
        if !self.place.needs_authority(experiment) {
            return vec![Map::new()];
        }
        let all: Vec<Host> =
            experiment.conditions.hosts.iter().flat_map(|host| self.spelled(host)).collect();
        let one =
            |regex: String| Map::from_iter([("authority".to_owned(), json!({"regex": regex}))]);
        regexes(&all).into_iter().map(one).collect()
    }

    /// The names that clients use for a host.
    fn spelled(&self, host: &Host) -> Vec<Host> {
        match host {
            Host::Exact(name) if self.place.topology != Topology::Gateway => {
                spellings(name).into_iter().map(Host::Exact).collect()
            }
            _ => vec![host.clone()],
        }
    }

    /// All conditions of an experiment that a route can check.
    fn conditions(&self, experiment: &Experiment) -> Vec<Map<String, Value>> {
        let conditions = &experiment.conditions;
        let mut rest = Map::new();
        rest.extend(path(experiment));
        if !conditions.methods.is_empty() {
            rest.insert("method".to_owned(), json!({"regex": conditions.methods.join("|")}));
        }
        let (with, without) = headers(&conditions.headers);
        if !with.is_empty() {
            rest.insert("headers".to_owned(), with.into());
        }
        if !without.is_empty() {
            rest.insert("withoutHeaders".to_owned(), without.into());
        }
        let mut all = self.authorities(experiment);
        all.iter_mut().for_each(|one| one.extend(rest.clone()));
        all
    }

    /// Limits a route to the proxies that run the filter, and to the port that its destinations have.
    fn limit_to_filter(&self, one: &mut Map<String, Value>) {
        if let Some(port) = self.port {
            one.insert("port".to_owned(), port.into());
        }
        match (self.place.topology, &self.place.waypoint) {
            (Topology::Sidecar, _) => {
                one.insert("sourceNamespace".to_owned(), json!(self.place.filter_namespace));
                let labels: Map<String, Value> = self
                    .place
                    .selector
                    .iter()
                    .map(|(key, value)| (key.clone(), json!(value)))
                    .collect();
                if !labels.is_empty() {
                    one.insert("sourceLabels".to_owned(), labels.into());
                }
            }
            // Sidecars go past the waypoint, so they must not have these routes. Those of Istio's injection have routes
            // of their own before these; this is for others. At a waypoint, Istio drops conditions with labels.
            (Topology::Waypoint, Some((namespace, _))) => {
                one.insert("sourceNamespace".to_owned(), json!(namespace));
            }
            (Topology::Gateway | Topology::Waypoint, _) => {}
        }
    }
}

/// The stat prefix of an experiment's requests that bypass the filter. A dot would end the prefix.
fn bypass_stat(experiment: &Experiment) -> String {
    format!("{}{}", route::ISTIO_BYPASS, experiment.name.replace('.', "_"))
}

fn path(experiment: &Experiment) -> Option<(String, Value)> {
    let uri = match experiment.conditions.path.as_ref()? {
        Text::Exact(path) => json!({"exact": path}),
        Text::Prefix(path) => json!({"prefix": path}),
    };
    Some(("uri".to_owned(), uri))
}

/// The headers that a request must have and those that it must not have.
fn headers(headers: &[Header]) -> (Map<String, Value>, Map<String, Value>) {
    let (mut with, mut without) = (Map::new(), Map::new());
    for header in headers {
        let name = header.name.clone();
        match &header.rule {
            ValueRule::Value(Text::Exact(text)) => with.insert(name, json!({"exact": text})),
            ValueRule::Value(Text::Prefix(text)) => with.insert(name, json!({"prefix": text})),
            ValueRule::Present(true) => with.insert(name, json!({})),
            ValueRule::Present(false) => without.insert(name, json!({})),
        };
    }
    (with, without)
}

/// Regular expressions that together match these hosts, none of them longer than istiod accepts.
fn regexes(all: &[Host]) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = all;
    while !rest.is_empty() {
        let fits = |n: &usize| {
            let regex = rest.get(..*n).and_then(hosts::regex);
            regex.is_none_or(|regex| regex.len() <= LONGEST_REGEX)
        };
        let taken = (1..=rest.len()).take_while(fits).last().unwrap_or(1);
        let (these, others) = rest.split_at(taken);
        found.extend(hosts::regex(these));
        rest = others;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_hosts_become_several_expressions_that_istiod_accepts() {
        let hosts: Vec<Host> =
            (0..200).map(|n| Host::Exact(format!("host-{n}.example.com"))).collect();
        let all = regexes(&hosts);
        assert!(all.len() > 1);
        assert!(all.iter().all(|regex| regex.len() <= LONGEST_REGEX));
        let found: usize = all.iter().map(|regex| regex.matches("host-").count()).sum();
        assert_eq!(found, 200);
        assert!(regexes(&[]).is_empty());
    }
}
