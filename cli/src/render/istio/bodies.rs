//! Units in request bodies, for resources that do not let the filter wait: `--body-unit lua`.
//!
//! A Lua script in front of the filter copies the unit into a header, and the file for the filter names the header. The
//! script reads a unit as `sidetrack::body` does; `tests/tests/mesh/bodies.rs` compares the two.

use std::fmt::Write as _;

use anyhow::{bail, ensure};
use serde_json::{Value, json};
use sidetrack::config::Node;
use sidetrack::matching::{Host, Text};
use sidetrack::plan::{Experiment, Plan};
use sidetrack::unit::UnitSource;

use super::release::Release;
use super::{BodyUnit, Kind, Options};
use crate::render::headers::own as own_headers;
use crate::template;

const SCRIPT: [(&str, &str); 1] = [("body.lua", include_str!("../../../templates/istio/body.lua"))];

/// The largest body that Envoy buffers for a script with Istio's settings; beyond it, Envoy answers 413.
const LARGEST: u64 = 1 << 20;

/// Refuses options that cannot work together.
pub(super) fn possible(plan: &Plan, options: &Options) -> anyhow::Result<()> {
    if options.body_unit == BodyUnit::Filter {
        return Ok(());
    }
    ensure!(
        options.kind != Kind::EnvoyFilter,
        "--body-unit lua does not work with --kind envoyfilter\n  hint: there, the filter itself waits for bodies; \
         remove --body-unit"
    );
    let needed = Release::TRAFFIC_EXTENSION;
    if let Some(release) = options.istio.filter(|release| *release < needed) {
        bail!(
            "--body-unit lua requires Istio {needed}, but --istio is {release}\n  hint: use --kind envoyfilter, if your \
             installation allows EnvoyFilters"
        );
    }
    ensure!(
        !pointers(plan).is_empty(),
        "--body-unit lua has nothing to read: no experiment has a `body` in its `unit`\n  hint: remove --body-unit"
    );
    let limit = plan.settings.body_limit;
    ensure!(
        limit <= LARGEST,
        "--body-unit lua requires a settings.body_limit of at most 1MiB, but it is {limit} bytes\n  hint: Envoy answers \
         413 to larger bodies that a script waits for; lower the limit, or use --kind envoyfilter"
    );
    Ok(())
}

/// The headers that the script sets: only it may set them, and the models do not get them.
pub(super) fn headers(plan: &Plan, options: &Options) -> Vec<String> {
    if options.body_unit == BodyUnit::Filter {
        return Vec::new();
    }
    (1..=pointers(plan).len()).map(|number| named(plan, number)).collect()
}

/// Names the headers in the file for the filter, in place of the bodies.
pub(super) fn rewrite(plan: &Plan, experiment: &mut Node) {
    let pointers = pointers(plan);
    let Some(Node::List(sources)) = experiment.get_mut("unit") else { return };
    for source in sources {
        let Node::Map(keys) = source else { continue };
        for (key, value) in keys {
            let Node::Text(pointer) = &*value else { continue };
            let number = pointers.iter().position(|known| known == pointer);
            if let (true, Some(index)) = (key == "body", number) {
                "header".clone_into(key);
                *value = Node::Text(named(plan, index + 1));
            }
        }
    }
}

/// The values for the template: the script and its rules; without them, no script is written.
pub(super) fn values(plan: &Plan, options: &Options) -> anyhow::Result<Value> {
    if options.body_unit == BodyUnit::Filter {
        return Ok(Value::Null);
    }
    let pointers = pointers(plan);
    let mut rules = Vec::new();
    for experiment in &plan.experiments {
        for (index, source) in experiment.units.iter().enumerate() {
            let UnitSource::Body(pointer) = source else { continue };
            let number = pointers.iter().position(|known| known == pointer).unwrap_or_default();
            rules.push(rule(experiment, index, pointer, &named(plan, number + 1)));
        }
    }
    let mut own = headers(plan, options);
    if !options.guard {
        // The script also does what the guard does, which is an EnvoyFilter.
        own.extend(own_headers(plan).into_iter().map(ToOwned::to_owned));
    }
    let context = json!({
        "body_limit": plan.settings.body_limit,
        "lua_headers": list(own.iter().map(String::as_str)),
        "lua_rules": rules,
    });
    Ok(template::render(&SCRIPT, "body.lua", &context)?.into())
}

/// The places in bodies that hold units, each once.
fn pointers(plan: &Plan) -> Vec<&str> {
    let mut pointers = Vec::new();
    for source in plan.experiments.iter().flat_map(|experiment| &experiment.units) {
        if let UnitSource::Body(pointer) = source
            && !pointers.contains(&pointer.as_str())
        {
            pointers.push(pointer.as_str());
        }
    }
    pointers
}

fn named(plan: &Plan, number: usize) -> String {
    format!("{}unit-{number}", plan.settings.headers.prefix)
}

/// Which requests the script reads for a source of a unit, as fields of a table in Lua. It may read more than the filter
/// needs, but not less.
fn rule(experiment: &Experiment, index: usize, pointer: &str, header: &str) -> String {
    let keys = pointer.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~"));
    let mut rule = format!("header = {}, keys = {}", text(header), list(keys));
    let conditions = &experiment.conditions;
    if let Some(path) = &conditions.path {
        let (field, path) = match path {
            Text::Exact(path) => ("exact", path),
            Text::Prefix(path) => ("prefix", path),
        };
        write!(rule, ", {field} = {}", text(path)).ok();
    }
    // A pattern begins with a dot.
    let hosts = conditions.hosts.iter().map(|host| match host {
        Host::Exact(host) | Host::Below(host) => host.to_ascii_lowercase(),
    });
    let earlier = experiment.units.iter().take(index).filter_map(|source| match source {
        UnitSource::Header(name) => Some(name.as_str()),
        _ => None,
    });
    for (field, items) in [
        ("hosts", list(hosts)),
        ("methods", list(conditions.methods.iter().map(String::as_str))),
        ("unless", list(earlier)),
    ] {
        write!(rule, ", {field} = {items}").ok();
    }
    rule
}

fn list<S: AsRef<str>>(items: impl Iterator<Item = S>) -> String {
    let items: Vec<String> = items.map(|item| text(item.as_ref())).collect();
    if items.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", items.join(", ")) }
}

/// A string of Lua.
fn text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..=b'~' => quoted.push(char::from(byte)),
            _ => {
                write!(quoted, "\\{byte:03}").ok();
            }
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_one_string_of_lua() {
        for (plain, quoted) in [
            ("user_id", r#""user_id""#),
            ("a\"]\\n", r#""a\"]\\n""#),
            ("é\n{{", "\"\\195\\169\\010{{\""),
        ] {
            assert_eq!(text(plain), quoted);
        }
        assert_eq!(list(["a", "b"].into_iter()), r#"{ "a", "b" }"#);
    }
}
