//! The object that installs the filter, and the experiments that it carries.

use std::fmt;

use clap::Args;
use serde_json::Value;
use sidetrack::config::Node;

use super::connection::{Connection, Listed, Scope};
use crate::load::{Loaded, Source};
use crate::manifest::{self, KINDS, Kind};
use crate::words::visible;

/// Which object to ask.
#[derive(Args, Debug)]
pub(crate) struct Target {
    /// The namespace of the object [default: all]
    #[arg(short, long, value_name = "NAMESPACE", global = true)]
    namespace: Option<String>,
    /// The name of the object, such as sidetrack or wasmplugin/sidetrack; required if there are several
    #[arg(long, value_name = "[KIND/]NAME", global = true)]
    name: Option<String>,
}

/// An object with experiments.
pub(super) struct Live {
    pub(super) kind: &'static Kind,
    pub(super) namespace: String,
    pub(super) name: String,
    /// The whole object.
    pub(super) object: Value,
    /// What it carries.
    pub(super) source: Source,
}

impl Live {
    /// The experiments, if they have no problem.
    pub(super) fn good(&self) -> anyhow::Result<Loaded> {
        self.source.good().map_err(|error| {
            error.context("the proxies keep the last good configuration, which is not this one")
        })
    }

    /// A text of the object, by its path.
    pub(super) fn text(&self, pointer: &str) -> Option<&str> {
        self.object.pointer(pointer).and_then(Value::as_str)
    }
}

/// `WasmPlugin istio-ingress/sidetrack`.
impl fmt::Display for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.name, self.namespace, self.name)
    }
}

/// The only object that the flags allow.
pub(super) fn find(target: &Target, connection: &Connection) -> anyhow::Result<Live> {
    let (mut found, _) = all(target, connection)?;
    if found.len() > 1 {
        let names: Vec<String> = found.iter().map(ToString::to_string).collect();
        anyhow::bail!(
            "several objects have experiments: {}\n  hint: choose one with -n NAMESPACE and --name [KIND/]NAME",
            names.join(", ")
        );
    }
    found.pop().ok_or_else(|| nothing(target))
}

/// All objects with experiments that the flags allow, and notes about what could not be searched.
pub(super) fn all(
    target: &Target,
    connection: &Connection,
) -> anyhow::Result<(Vec<Live>, Vec<String>)> {
    let (kind, name) = match target.name.as_deref().map(|name| name.split_once('/').ok_or(name)) {
        Some(Ok((kind, name))) => (Some(kind), Some(name)),
        Some(Err(name)) => (None, Some(name)),
        None => (None, None),
    };
    let kinds: Vec<&'static Kind> =
        KINDS.iter().filter(|known| kind.is_none_or(|kind| is_kind(known, kind))).collect();
    if let (Some(kind), true) = (kind, kinds.is_empty()) {
        let known = KINDS.map(|kind| kind.name.to_ascii_lowercase()).join(", ");
        anyhow::bail!("--name: unknown kind \"{}\"; expected one of: {known}", visible(kind));
    }
    let scope = target.namespace.as_deref().map_or(Scope::All, Scope::Of);
    // One question for each type, since a cluster that lacks one type answers none of them.
    let answers: Vec<anyhow::Result<Listed>> = std::thread::scope(|threads| {
        let ask = |kind: &&'static Kind| {
            let resource = kind.resource;
            threads.spawn(move || list(connection, resource, scope))
        };
        let asked: Vec<_> = kinds.iter().map(ask).collect();
        let lost = |_| Err(anyhow::anyhow!("a call of kubectl was lost"));
        asked.into_iter().map(|thread| thread.join().unwrap_or_else(lost)).collect()
    });
    let (mut found, mut notes, mut known) = (Vec::new(), Vec::new(), false);
    for (kind, answer) in kinds.iter().zip(answers) {
        match answer? {
            Listed::Items(items) => {
                known = true;
                found.extend(items.into_iter().filter_map(|item| live(kind, item)));
            }
            Listed::Forbidden(said) => {
                known = true;
                notes.push(said);
            }
            Listed::Unknown => {}
        }
    }
    if !known {
        let types: Vec<&str> = kinds.iter().map(|kind| kind.resource).collect();
        anyhow::bail!(
            "the cluster has no type that installs the filter: {}\n  hint: is this the right --context?",
            types.join(", ")
        );
    }
    found.retain(|live| name.is_none_or(|name| live.name == name));
    anyhow::ensure!(!found.is_empty() || notes.is_empty(), "{}", notes.join("\n"));
    Ok((found, notes))
}

/// Whether a user means this kind: `wasmplugin`, `WasmPlugin`, `wasmplugins` or the full name of the type.
fn is_kind(kind: &Kind, given: &str) -> bool {
    let plural = kind.resource.split('.').next().unwrap_or_default();
    given.eq_ignore_ascii_case(kind.name)
        || given.eq_ignore_ascii_case(plural)
        || given == kind.resource
}

/// The objects in the scope; in kubectl's own namespace for a user who may not list all of them.
fn list(connection: &Connection, resource: &str, scope: Scope<'_>) -> anyhow::Result<Listed> {
    let all = connection.list(resource, scope, None)?;
    match (&all, scope) {
        (Listed::Forbidden(_), Scope::All) => {
            match connection.list(resource, Scope::Current, None)? {
                Listed::Items(items) if !items.is_empty() => Ok(Listed::Items(items)),
                _ => Ok(all),
            }
        }
        _ => Ok(all),
    }
}

fn live(kind: &'static Kind, mut object: Value) -> Option<Live> {
    // kubectl prints items of a list with their kind, but an older one may not.
    if let Some(fields) = object.as_object_mut() {
        fields.entry("kind").or_insert_with(|| kind.name.into());
    }
    let tree: Node = serde_json::from_value(object.clone()).ok()?;
    let experiments = manifest::of(&tree).into_iter().next()?;
    let text =
        |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned);
    let (namespace, name) = (text("/metadata/namespace")?, text("/metadata/name")?);
    let title = format!("{} {namespace}/{name}", kind.name);
    Some(Live { kind, namespace, name, object, source: Source::of_tree(title, experiments) })
}

fn nothing(target: &Target) -> anyhow::Error {
    let place = match &target.namespace {
        Some(namespace) => format!("the namespace {}", visible(namespace)),
        None => "the cluster".to_owned(),
    };
    let name = target.name.as_ref().map_or_else(String::new, |name| format!(" {}", visible(name)));
    let kinds = KINDS.map(|kind| kind.name).join(", ");
    anyhow::anyhow!(
        "no object{name} in {place} has experiments; searched: {kinds}\n  \
         hint: `sidetrack render istio` writes one; -n and --context choose where to search"
    )
}
