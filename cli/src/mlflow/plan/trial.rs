//! The experiment of registered versions: each value with its source.

use std::fmt;

use serde::Serialize;
use sidetrack::quantity::Ppm;

use super::Choices;
use super::pattern::Pattern;
use crate::fault::Fault;
use crate::mlflow::registry::{Registry, Version};
use crate::mlflow::{CANDIDATE, CHAMPION, CLUSTER, EXPERIMENT, WEIGHT, names};
use crate::template::{environment, value};
use crate::unit::Unit;
use crate::words::visible;

const TEMPLATE: &str = include_str!("../../../templates/mlflow.yaml");
/// 10 %.
const DEFAULT_WEIGHT: u32 = 100_000;

/// A value and its source.
#[derive(Serialize)]
struct Sourced<T> {
    value: T,
    from: String,
}

/// A version as a variant.
#[derive(Serialize)]
struct Arm {
    name: String,
    version: String,
    cluster: Option<Sourced<String>>,
    /// In percent; `None` for the baseline.
    weight: Option<Sourced<String>>,
}

/// The contents of the file.
#[derive(Serialize)]
pub(in crate::mlflow) struct Trial {
    model: String,
    server: String,
    name: Sourced<String>,
    salt: String,
    path: Option<String>,
    units: Vec<Unit>,
    units_from: &'static str,
    champion: Arm,
    candidates: Vec<Arm>,
    /// Keys and settings of the template, as YAML.
    keys: Option<String>,
    settings: Option<String>,
}

impl Trial {
    /// Rejects versions that cannot be tested.
    pub(super) fn new(
        registry: &Registry<'_>,
        champion: Version,
        mut candidates: Vec<Version>,
        choices: &Choices,
        pattern: Pattern,
    ) -> anyhow::Result<Self> {
        let (model, server) = (registry.model, registry.server());
        candidates.retain(|candidate| candidate.version != champion.version);
        if candidates.is_empty() {
            let text = format!(
                "{model}: no version except the {CHAMPION} has the tag {CANDIDATE} with the value true at {server}\n  \
                 hint: set the tag on a version; in Python, MlflowClient().set_model_version_tag(\"{model}\", VERSION, \
                 \"{CANDIDATE}\", \"true\")",
                model = visible(model)
            );
            return Err(Fault(text).into());
        }
        let all = || std::iter::once(&champion).chain(&candidates);
        for version in all() {
            version.ready(model)?;
        }
        let stranger = choices
            .cluster
            .iter()
            .find(|(named, _)| all().all(|version| version.version != *named));
        if let Some((named, _)) = stranger {
            let there: Vec<&str> = all().map(|version| version.version.as_str()).collect();
            anyhow::bail!(
                "--cluster: unknown version \"{named}\"; expected one of: {}",
                there.join(", ")
            );
        }
        let name = experiment(model, &candidates)?;
        let versions: Vec<String> = all().map(|version| format!("v{}", version.version)).collect();
        let arm = |version: &Version| Arm {
            name: names::variant(model, &version.version),
            version: version.version.clone(),
            cluster: cluster(version, &choices.cluster),
            weight: None,
        };
        let mut arms = Vec::new();
        for candidate in &candidates {
            arms.push(Arm {
                weight: Some(match pattern.first_weight() {
                    Some(first) => {
                        let from = "the steps raise it".to_owned();
                        Sourced { value: first.to_owned(), from }
                    }
                    None => weight(model, candidate, choices.weight)?,
                }),
                ..arm(candidate)
            });
        }
        let trial = Self {
            model: model.to_owned(),
            server: server.to_owned(),
            salt: format!("{}/{}", name.value, versions.join("/")),
            name,
            path: choices.path.clone(),
            units_from: if choices.unit.is_empty() { "the default" } else { "--unit" },
            units: match choices.unit.as_slice() {
                [] if pattern.has_unit() => Vec::new(),
                [] => vec![Unit { kind: "body", name: "/user_id".to_owned() }],
                units => units.to_vec(),
            },
            champion: arm(&champion),
            candidates: arms,
            keys: pattern.text()?,
            settings: pattern.settings()?,
        };
        trial.fits_into_all()?;
        trial.clusters_for_all_or_none()?;
        Ok(trial)
    }

    /// The salt, which names the versions.
    pub(in crate::mlflow) fn salt(&self) -> &str {
        &self.salt
    }

    /// Another trial of the same versions: all users are drawn again.
    pub(in crate::mlflow) fn salted(mut self, salt: String) -> Self {
        self.salt = salt;
        self
    }

    /// The file.
    pub(in crate::mlflow) fn text(&self) -> anyhow::Result<String> {
        let mut environment = environment()?;
        // A line break in foreign text would end a comment.
        environment.add_filter("comment", |text: &str| visible(text));
        Ok(environment.render_str(TEMPLATE, value(self)?)?)
    }

    fn fits_into_all(&self) -> anyhow::Result<()> {
        let weights = self.candidates.iter().filter_map(|arm| Some((arm, arm.weight.as_ref()?)));
        let ppm =
            weights.clone().filter_map(|(_, weight)| Some(weight.value.parse::<Ppm>().ok()?.get()));
        let sum: u32 = ppm.sum();
        if sum <= Ppm::ALL.get() {
            return Ok(());
        }
        let each: Vec<String> = weights
            .map(|(arm, weight)| {
                format!("version {} {} % ({})", arm.version, weight.value, weight.from)
            })
            .collect();
        let text = format!(
            "{}: the weights of the candidates ({}) must sum to at most 100 %\n  \
             hint: lower {WEIGHT}, or remove the tag {CANDIDATE} from a version",
            visible(&self.model),
            visible(&each.join(", "))
        );
        Err(Fault(text).into())
    }

    fn clusters_for_all_or_none(&self) -> anyhow::Result<()> {
        let arms = || std::iter::once(&self.champion).chain(&self.candidates);
        let missing: Vec<&str> =
            arms().filter(|arm| arm.cluster.is_none()).map(|arm| arm.version.as_str()).collect();
        if missing.is_empty() || missing.len() == arms().count() {
            return Ok(());
        }
        let text = format!(
            "{}: version {} has no cluster, but either all versions or none must have one\n  \
             hint: use --cluster {}=NAME, or the tag {CLUSTER}",
            visible(&self.model),
            missing.join(", "),
            missing.first().unwrap_or(&"VERSION")
        );
        Err(Fault(text).into())
    }
}

/// `digits-ab-test, digits-v1 against digits-v2 (10 %)`
impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} against ", visible(&self.name.value), self.champion.name)?;
        for (index, arm) in self.candidates.iter().enumerate() {
            let weight = arm.weight.as_ref().map_or("?", |weight| weight.value.as_str());
            write!(f, "{}{} ({weight} %)", if index == 0 { "" } else { ", " }, arm.name)?;
        }
        Ok(())
    }
}

/// The experiment's name: that of the candidates' tags, or derived from the model.
fn experiment(model: &str, candidates: &[Version]) -> anyhow::Result<Sourced<String>> {
    let tagged: Vec<(&str, &str)> = candidates
        .iter()
        .filter_map(|version| Some((version.version.as_str(), version.tag(EXPERIMENT)?)))
        .collect();
    let Some((first, name)) = tagged.first() else {
        return Ok(Sourced {
            value: names::experiment(model),
            from: "the model's name".to_owned(),
        });
    };
    if let Some((other, another)) = tagged.iter().find(|(_, other)| other != name) {
        let text = format!(
            "{}: version {first} belongs to the experiment {}, but version {other} to {}\n  \
             hint: change the tag {EXPERIMENT}, or remove the tag {CANDIDATE} from one of them",
            visible(model),
            visible(name),
            visible(another)
        );
        return Err(Fault(text).into());
    }
    Ok(Sourced {
        value: (*name).to_owned(),
        from: format!("the tag {EXPERIMENT} of version {first}"),
    })
}

fn cluster(version: &Version, given: &[(String, String)]) -> Option<Sourced<String>> {
    let option = given.iter().find(|(named, _)| *named == version.version);
    let option =
        option.map(|(_, cluster)| Sourced { value: cluster.clone(), from: "--cluster".to_owned() });
    let tag = || {
        version
            .tag(CLUSTER)
            .map(|tag| Sourced { value: tag.to_owned(), from: format!("the tag {CLUSTER}") })
    };
    option.or_else(tag)
}

fn weight(model: &str, version: &Version, given: Option<Ppm>) -> anyhow::Result<Sourced<String>> {
    let sourced =
        |weight: Ppm, from: &str| Sourced { value: weight.to_string(), from: from.to_owned() };
    if let Some(tag) = version.tag(WEIGHT) {
        let weight = tag.trim().parse().map_err(|_| {
            let (model, number, tag) = (visible(model), visible(&version.version), visible(tag));
            Fault(format!(
                "{model} version {number}: the tag {WEIGHT} is \"{tag}\", but must be a percentage from 0 to 100 with \
                 up to four decimals, without %"
            ))
        })?;
        return Ok(sourced(weight, &format!("the tag {WEIGHT}")));
    }
    Ok(match given {
        Some(weight) => sourced(weight, "--weight"),
        None => sourced(Ppm::new(DEFAULT_WEIGHT).unwrap_or_default(), "the default"),
    })
}
