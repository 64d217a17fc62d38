//! `--apply kube`: the experiment of a WasmPlugin or TrafficExtension in a cluster, changed by server-side apply.
//!
//! The object is the source of truth. Only its `experiments` and the annotation of rollbacks are applied, by a field
//! manager of our own and with the version that was read, so a change in between is never overwritten: the decision is
//! made again. Fields that another manager owns are a conflict, which names it.

mod events;
mod lease;
mod options;

use std::sync::Mutex;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use sidetrack::config::Node;

use super::Answer;
use crate::edit::Edited;
use crate::kube::api::{Api, Refused, Verb};
use crate::load::Source;
use crate::manifest;
use crate::words::visible;
use crate::yaml;
use events::Told;
pub(super) use lease::Elector;
pub(super) use options::ClusterOptions;
use options::{Kind, Target};

/// The field manager of all changes.
pub(super) const MANAGER: &str = "sidetrack-advance";
/// The annotation that blocks raises: a line for each rollback.
const ROLLED_BACK: &str = "sidetrack/rolled-back";
/// How often a decision is made again if the object changed meanwhile.
const ATTEMPTS: usize = 3;

/// A cluster, and the object in it.
pub(super) struct Cluster {
    api: Api,
    target: Target,
    /// The process, in leases and Events.
    identity: String,
    force: bool,
    told: Mutex<Told>,
}

/// The object as it was read.
pub(super) struct Plugin<'c> {
    cluster: &'c Cluster,
    elector: Option<&'c Elector>,
    object: Value,
}

/// The object changed between the decision and the change.
#[derive(Debug)]
struct Stale(Refused);

impl std::fmt::Display for Stale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Stale {}

impl Cluster {
    pub(super) fn connect(options: &ClusterOptions) -> anyhow::Result<Self> {
        let connection = options.connection();
        let target = options.target(&connection)?;
        let api = Api::connect(&connection)?;
        let (identity, force) = (lease::identity(), options.force_conflicts);
        Ok(Self { api, target, identity, force, told: Mutex::default() })
    }

    /// Makes a decision about the object; again, if the object changed meanwhile.
    pub(super) fn decide(
        &self,
        elector: Option<&Elector>,
        decide: impl Fn(&Plugin<'_>) -> anyhow::Result<Answer>,
    ) -> anyhow::Result<Answer> {
        let mut attempt = 1;
        loop {
            match decide(&self.read(elector)?) {
                Err(error) if error.is::<Stale>() && attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }

    fn read<'c>(&'c self, elector: Option<&'c Elector>) -> anyhow::Result<Plugin<'c>> {
        let target = &self.target;
        let read = self.api.send(Verb::Get, &target.path(), &Value::Null);
        let object = read.map_err(|error| match error.downcast_ref::<Refused>() {
            Some(refused) if refused.status == 404 => anyhow!("{target} does not exist: {error}"),
            _ => error,
        })?;
        Ok(Plugin { cluster: self, elector, object })
    }
}

impl std::fmt::Display for Plugin<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.cluster.target.fmt(f)
    }
}

impl Plugin<'_> {
    /// The experiments, as the text of a file.
    pub(super) fn source(&self) -> anyhow::Result<Source> {
        let mut object: Node = serde_json::from_value(self.object.clone())?;
        // Items of the API have their kind only in lists of some versions.
        if let (Node::Map(entries), None) = (&mut object, self.object.get("kind")) {
            entries.push(("kind".to_owned(), Node::Text(self.cluster.target.kind.name().into())));
        }
        let found = manifest::of(&object).into_iter().next();
        let experiments = found.with_context(|| format!("{self} has no experiments"))?;
        Ok(Source::of_text(self.to_string(), yaml::write(&experiments)?))
    }

    /// The notes of rollbacks.
    pub(super) fn notes(&self) -> &str {
        let annotation = ["metadata", "annotations", ROLLED_BACK]
            .iter()
            .try_fold(&self.object, |object, key| object.get(key));
        annotation.and_then(Value::as_str).unwrap_or_default()
    }

    /// How to remove the notes.
    pub(super) fn removal(&self) -> String {
        let Target { kind, namespace, name } = &self.cluster.target;
        let kind = kind.name().to_ascii_lowercase();
        format!(
            "to allow raises again, remove the annotation: kubectl -n {namespace} annotate {kind} {name} {ROLLED_BACK}-"
        )
    }

    /// Applies the edited experiments, and the note of a rollback.
    pub(super) fn apply(&self, edited: &Edited, note: Option<&str>) -> anyhow::Result<()> {
        let Self { cluster, elector, .. } = self;
        if let Some(elector) = elector {
            anyhow::ensure!(elector.leads(), "the lease was lost; nothing was changed");
        }
        let target = &cluster.target;
        let path = format!(
            "{}?fieldManager={MANAGER}&fieldValidation=Strict&force={}",
            target.path(),
            cluster.force
        );
        match cluster.api.send(Verb::Apply, &path, &self.applied(edited, note)?) {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.downcast::<Refused>() {
                Ok(refused) => refusal(refused, target),
                Err(error) => error,
            }),
        }
    }

    /// What is applied: all fields that this manager owns, and no others.
    fn applied(&self, edited: &Edited, note: Option<&str>) -> anyhow::Result<Value> {
        let target = &self.cluster.target;
        let experiments = edited.loaded.node.get("experiments").context("no experiments")?;
        let version = self.object.pointer("/metadata/resourceVersion").cloned();
        let notes: Vec<&str> = self.notes().lines().chain(note).collect();
        let annotations = (!notes.is_empty()).then(|| json!({ROLLED_BACK: notes.join("\n")}));
        let mut metadata = json!({
            "name": target.name, "namespace": target.namespace,
            "resourceVersion": version.context("the object has no resourceVersion")?,
        });
        if let (Some(annotations), Some(metadata)) = (annotations, metadata.as_object_mut()) {
            metadata.insert("annotations".to_owned(), annotations);
        }
        let configuration = json!({"pluginConfig": {"experiments": json!(experiments)}});
        let spec = match target.kind {
            Kind::WasmPlugin => configuration,
            Kind::TrafficExtension => json!({"wasm": configuration}),
        };
        Ok(json!({
            "apiVersion": "extensions.istio.io/v1alpha1", "kind": target.kind.name(),
            "metadata": metadata, "spec": spec,
        }))
    }
}

/// The error of a refused change.
fn refusal(refused: Refused, target: &Target) -> anyhow::Error {
    let owners = owners(&refused.body);
    match (refused.status, owners.as_slice()) {
        (409, []) => Stale(refused).into(),
        (409, owners) => anyhow!(
            "the experiments of {target} belong to {}; nothing was changed\n  hint: let one place decide about weights. \
             To take over, run it with --force-conflicts, and stop applying `experiments` from elsewhere. If a \
             controller applies the object from Git, use --apply git",
            owners.join(" and to ")
        ),
        _ => refused.into(),
    }
}

/// The managers of the fields that a refused change conflicts with.
fn owners(status: &Value) -> Vec<String> {
    let causes = status.pointer("/details/causes").and_then(Value::as_array);
    let mut owners: Vec<String> = Vec::new();
    for cause in causes.into_iter().flatten() {
        let text = |key: &str| cause.get(key).and_then(Value::as_str).unwrap_or_default();
        if text("reason") != "FieldManagerConflict" {
            continue;
        }
        // `conflict with "helm" using extensions.istio.io/v1alpha1`
        let owner = text("message").split('"').nth(1).unwrap_or("another manager");
        let owner = format!("{} ({})", visible(owner), visible(text("field")));
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_names_the_other_managers() {
        let cause = |manager: &str, reason: &str| {
            json!({"reason": reason, "field": ".spec.pluginConfig.experiments",
                "message": format!("conflict with \"{manager}\" using extensions.istio.io/v1alpha1")})
        };
        let causes = [
            cause("helm", "FieldManagerConflict"),
            cause("helm", "FieldManagerConflict"),
            cause("argocd-controller", "FieldManagerConflict"),
            cause("other", "FieldValueInvalid"),
        ];
        let owners = owners(&json!({"details": {"causes": causes}}));
        assert_eq!(
            owners,
            [
                "helm (.spec.pluginConfig.experiments)",
                "argocd-controller (.spec.pluginConfig.experiments)"
            ]
        );
        assert!(super::owners(&json!({"reason": "Conflict"})).is_empty());
    }
}
