//! The template of `--template`: what an experiment has beside the versions that the registry names.

use std::path::Path;

use anyhow::Context as _;
use sidetrack::config::Node;

use super::Choices;
use crate::fault::Fault;
use crate::words::visible;
use crate::yaml;

/// Keys that come from the registry, and the weights that `advance` sets.
const RESERVED: [&str; 6] = ["name", "salt", "baseline", "variants", "rollout", "experiments"];

/// Further keys of the experiment and of the file.
#[derive(Default)]
pub(super) struct Pattern {
    keys: Vec<(String, Node)>,
    settings: Option<Node>,
}

impl Pattern {
    pub(super) fn read(path: &Path, choices: &Choices) -> anyhow::Result<Self> {
        let name = visible(&path.to_string_lossy());
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let node = yaml::parse(&text).map_err(|error| Fault(format!("{name}: {error}")))?;
        let Node::Map(mut keys) = node else {
            return Err(Fault(format!("{name} must have keys of an experiment")).into());
        };
        let refuse = |key: &str, why: &str| Err(Fault(format!("{name}: {key} {why}")).into());
        if let Some((key, _)) = keys.iter().find(|(key, _)| RESERVED.contains(&key.as_str())) {
            let why = "comes from the registry; remove it from the template";
            return refuse(key, why);
        }
        let has = |wanted: &str| keys.iter().any(|(key, _)| key == wanted);
        if has("match") && choices.path.is_some() {
            return refuse("match", "and --path exclude each other");
        }
        if has("unit") && !choices.unit.is_empty() {
            return refuse("unit", "and --unit exclude each other");
        }
        let settings = keys.iter().position(|(key, _)| key == "settings");
        let settings = settings.map(|at| keys.remove(at).1);
        Ok(Self { keys, settings })
    }

    pub(super) fn has_unit(&self) -> bool {
        self.keys.iter().any(|(key, _)| key == "unit")
    }

    /// The weight of the first step, if the template has steps.
    pub(super) fn first_weight(&self) -> Option<&str> {
        let (_, analysis) = self.keys.iter().find(|(key, _)| key == "analysis")?;
        let Node::List(steps) = analysis.get("steps")? else { return None };
        match steps.first()?.get("weight")? {
            Node::Number(weight) => Some(weight),
            _ => None,
        }
    }

    /// The keys of the experiment as YAML.
    pub(super) fn text(&self) -> anyhow::Result<Option<String>> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        yaml::write(&Node::Map(self.keys.clone())).map(Some)
    }

    /// The settings of the file as YAML.
    pub(super) fn settings(&self) -> anyhow::Result<Option<String>> {
        self.settings.as_ref().map(yaml::write).transpose()
    }
}
