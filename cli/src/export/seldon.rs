//! `export seldon`: a Seldon Core v2 Experiment of the same split.
//!
//! Seldon's weights are whole numbers in proportion, so percentages with decimals are scaled up and stay exact. What
//! Seldon does not support is reported on stderr and in comments of the manifest.

use std::fmt::Write as _;
use std::io::Write as _;

use clap::ValueEnum;
use sidetrack::plan::Experiment;
use sidetrack::quantity::{Ppm, Timestamp};

use super::losses::{self, Loss};
use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::load;
use crate::moment::Moment;
use crate::out::{Ink, Out};
use crate::words::{percent, visible};
use crate::wrap;

/// Write a Seldon Core v2 Experiment for each experiment of a file
///
/// The weights are those in force now, or at --at. Everything that Seldon does not support is reported
/// on stderr and in comments.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  sidetrack export seldon experiment.yaml | kubectl apply -f -\n  \
    sidetrack export seldon experiment.yaml --strict \\\n    --models iris2=traffic-mirror --namespace seldon-mesh"
)]
pub(crate) struct Args {
    #[command(flatten)]
    file: load::File,
    /// Only this experiment
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// The model of a cluster, if it differs from the variant's name, or from the cluster of a mirror;
    /// may be repeated
    #[arg(long, value_name = "MODEL=CLUSTER", value_delimiter = ',', visible_alias = "clusters", value_parser = pair)]
    models: Vec<(String, String)>,
    /// The type of the variants in Seldon
    #[arg(long, value_enum, default_value_t)]
    resource_type: ResourceType,
    /// The namespace of the manifest [default: none]
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Write nothing and exit with 1 if Seldon does not support the whole file
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    moment: Moment,
}

/// The type of the variants in Seldon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ResourceType {
    #[default]
    Model,
    Pipeline,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let plan = load::load(&args.file.file)?.plan;
    let wanted = |experiment: &&Experiment| {
        args.experiment.as_ref().is_none_or(|name| *name == experiment.name)
    };
    let experiments: Vec<&Experiment> = plan.experiments.iter().filter(wanted).collect();
    if experiments.is_empty() {
        let known: Vec<&str> =
            plan.experiments.iter().map(|experiment| experiment.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(Fault(format!("no experiment to export; expected one of: {known}")).into());
    }
    if let Some(namespace) = &args.namespace {
        named("--namespace", namespace)?;
    }
    let mut documents = Vec::new();
    let mut lost = Vec::new();
    for experiment in experiments {
        let mut manifest = Manifest::new(experiment, args)?;
        manifest.losses.extend(losses::of_settings(&plan.settings));
        let path = |(key, why): &Loss| (format!("{}: {key}", experiment.name), why.clone());
        lost.extend(manifest.losses.iter().map(path));
        documents.push(manifest.text(args)?);
    }
    let ink = Ink::stderr();
    for (key, why) in &lost {
        let text = format!("{} is not exported: {}", visible(key), visible(why));
        writeln!(std::io::stderr().lock(), "{}", wrap::note("", &text, ink))?;
    }
    if args.strict && !lost.is_empty() {
        let count = load::count(lost.len(), "key");
        return Err(Fault(format!(
            "Seldon does not support {count} of this file; with --strict, nothing is written"
        ))
        .into());
    }
    out.write_all(documents.join("---\n").as_bytes())?;
    Ok(ExitStatus::Success)
}

/// The contents of a manifest.
struct Manifest<'a> {
    name: &'a str,
    default: String,
    candidates: Vec<(String, u32)>,
    mirror: Option<(String, u32)>,
    losses: Vec<Loss>,
}

impl<'a> Manifest<'a> {
    fn new(experiment: &'a Experiment, args: &Args) -> anyhow::Result<Self> {
        let now: Timestamp = args.moment.get();
        let mut losses = losses::of(experiment, now);
        named("the experiment's name", &experiment.name)?;
        let mut models: Vec<String> = Vec::new();
        for variant in &experiment.variants {
            let model = variant.cluster.as_ref().and_then(|cluster| model_of(cluster, args));
            let model = model.unwrap_or(&variant.name);
            named("a variant's name", model)?;
            if models.iter().any(|before| before == model) {
                return Err(Fault(format!(
                    "--models: \"{model}\" is the model of two variants, but each must have its own"
                ))
                .into());
            }
            models.push(model.to_owned());
        }
        let shares = experiment.shares(now);
        let default = models.get(experiment.baseline.index()).cloned().unwrap_or_default();
        let mut candidates: Vec<(String, Ppm)> = models.into_iter().zip(shares).collect();
        let mut mirror = None;
        if let Some(ours) = &experiment.mirror {
            let variant = experiment
                .variants
                .iter()
                .position(|variant| variant.cluster.as_ref() == Some(&ours.cluster));
            let same =
                variant.and_then(|index| candidates.get(index)).map(|(model, _)| model.as_str());
            let model = model_of(&ours.cluster, args).or(same).unwrap_or(&ours.cluster).to_owned();
            named("the mirror's cluster", &model)?;
            // Seldon rejects a model that is listed twice. A model with share 0 can be the mirror only.
            let share = candidates.iter().find(|(name, _)| *name == model).map(|(_, share)| *share);
            if share.is_some_and(|share| share > Ppm::ZERO) || model == default {
                losses.push((
                    "mirror".to_owned(),
                    format!("\"{model}\" is also a variant; Seldon lists a model only once"),
                ));
            } else {
                candidates.retain(|(name, _)| *name != model);
                losses.extend(mirror_losses(ours.percent, share.is_some(), &model));
                mirror = Some((model, whole(ours.percent)));
            }
        }
        Ok(Self {
            name: &experiment.name,
            default,
            candidates: scaled(&candidates),
            mirror,
            losses,
        })
    }

    fn text(&self, args: &Args) -> anyhow::Result<String> {
        let mut text = String::from("# Written by `sidetrack export seldon`.");
        if !self.losses.is_empty() {
            text += " Not supported by Seldon:";
        }
        text.push('\n');
        for (key, why) in &self.losses {
            writeln!(text, "#   {}: {}", visible(key), visible(why))?;
        }
        writeln!(
            text,
            "apiVersion: mlops.seldon.io/v1alpha1\nkind: Experiment\nmetadata:\n  name: \"{}\"",
            self.name
        )?;
        if let Some(namespace) = &args.namespace {
            writeln!(text, "  namespace: \"{namespace}\"")?;
        }
        writeln!(text, "spec:\n  default: \"{}\"", self.default)?;
        if args.resource_type == ResourceType::Pipeline {
            text += "  resourceType: pipeline\n";
        }
        text += "  candidates:\n";
        for (model, weight) in &self.candidates {
            writeln!(text, "    - name: \"{model}\"\n      weight: {weight}")?;
        }
        if let Some((model, percent)) = &self.mirror {
            writeln!(text, "  mirror:\n    name: \"{model}\"\n    percent: {percent}")?;
        }
        Ok(text)
    }
}

fn model_of<'a>(cluster: &str, args: &'a Args) -> Option<&'a str> {
    args.models.iter().find(|(_, named)| named == cluster).map(|(model, _)| model.as_str())
}

fn mirror_losses(share: Ppm, candidate: bool, model: &str) -> Vec<Loss> {
    let mut losses = Vec::new();
    if Ppm::new(whole(share) * 10_000) != Some(share) {
        losses.push((
            "mirror.percent".to_owned(),
            format!("{}: Seldon has whole percentages", percent(share)),
        ));
    }
    if candidate {
        let why = format!("\"{model}\" is only the mirror; Seldon lists a model only once");
        losses.push(("variants[].weight: 0".to_owned(), why));
    }
    losses
}

/// The nearest whole percentage, at least 1 for shares above 0.
fn whole(share: Ppm) -> u32 {
    let rounded = (share.get() + 5_000) / 10_000;
    if share > Ppm::ZERO { rounded.max(1) } else { 0 }
}

/// Shares as whole numbers in exactly the same proportion: percentages where they are whole, else as many decimals more
/// as they need.
fn scaled(candidates: &[(String, Ppm)]) -> Vec<(String, u32)> {
    let all_divide = |unit: &u32| candidates.iter().all(|(_, share)| share.get() % unit == 0);
    let unit = [10_000, 1_000, 100, 10].into_iter().find(all_divide).unwrap_or(1);
    candidates.iter().map(|(model, share)| (model.clone(), share.get() / unit)).collect()
}

/// Checks that a name is valid in Kubernetes.
fn named(what: &str, name: &str) -> Result<(), Fault> {
    let label = |label: &str| {
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        label.starts_with(edge)
            && label.ends_with(edge)
            && label.chars().all(|c| edge(c) || c == '-')
    };
    if name.len() <= 253 && name.split('.').all(label) {
        return Ok(());
    }
    Err(Fault(format!(
        "{what} is \"{}\", but a name in Kubernetes must consist of lower-case letters, digits, '-' and '.', with a \
         letter or digit first and last\n  hint: --models MODEL=CLUSTER sets another name for a cluster",
        visible(name)
    )))
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((model, cluster)) if !model.is_empty() && !cluster.is_empty() => {
            Ok((model.to_owned(), cluster.to_owned()))
        }
        _ => Err("expected MODEL=CLUSTER, such as iris2=traffic-mirror".to_owned()),
    }
}
