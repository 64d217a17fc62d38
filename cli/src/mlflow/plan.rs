//! `mlflow plan`: an experiment file from the registry.
//!
//! The file has comments with the source of each value. The same registry gives the same file, byte for
//! byte. The core checks it before it is written, because registry values are untrusted input.

mod pattern;
mod trial;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sidetrack::quantity::Ppm;

use super::client::{Client, Server};
use super::registry::{Registry, Version};
use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::load::count;
use crate::out::Out;
use crate::unit::Unit;
use crate::yaml;
use pattern::Pattern;
pub(super) use trial::Trial;

/// Write an experiment file: the champion against the tagged candidates
///
/// The baseline is the version with the alias champion. Candidates are the versions with the tag
/// ab_test_candidate set to true. Their tags ab_test.weight, ab_test.cluster and ab_test.experiment set
/// the values of the file. --cluster takes precedence over a tag, and a tag over --weight.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  sidetrack mlflow plan --model digits --out experiment.yaml \\\n    \
                        --tracking-uri http://127.0.0.1:5000"
)]
pub(crate) struct Args {
    /// The registered model
    #[arg(long, value_name = "NAME")]
    model: String,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    choices: Choices,
    /// Write to this file, which must not exist [default: stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What the registry does not say.
#[derive(clap::Args)]
pub(super) struct Choices {
    /// The weight of candidates without the tag ab_test.weight and without steps [default: 10]
    #[arg(long, value_name = "PERCENT")]
    weight: Option<Ppm>,
    /// The source of the unit: header, cookie, query or body; may be repeated [default: that of the template, or
    /// body:/user_id]
    #[arg(long, value_name = "KIND:NAME")]
    unit: Vec<Unit>,
    /// The Envoy cluster of a version, for all versions or none; may be repeated
    #[arg(long, value_name = "VERSION=CLUSTER", value_parser = pair)]
    cluster: Vec<(String, String)>,
    /// The prefix of the paths that the experiment matches [default: all paths]
    #[arg(long, value_name = "PREFIX")]
    path: Option<String>,
    /// Further keys of the experiment in YAML, such as match, breaker and analysis, and settings
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
}

impl Choices {
    /// The experiment of these versions.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if they cannot be tested, or the template cannot be used.
    pub(super) fn trial(
        &self,
        registry: &Registry<'_>,
        champion: Version,
        candidates: Vec<Version>,
    ) -> anyhow::Result<Trial> {
        let pattern = match &self.template {
            Some(path) => Pattern::read(path, self)?,
            None => Pattern::default(),
        };
        Trial::new(registry, champion, candidates, self, pattern)
    }
}

/// `KEY=VALUE`, neither of them empty.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let client = Client::new(&args.server)?;
    let registry = Registry::new(&client, &args.model);
    let trial = args.choices.trial(&registry, registry.champion()?, registry.candidates()?)?;
    let text = trial.text()?;
    let hash = checked(&text)?;
    let Some(path) = &args.out else {
        write!(out, "{text}")?;
        return Ok(ExitStatus::Success);
    };
    let news = write_new(path, &text)?;
    writeln!(out, "{} {}: {trial}\nhash {hash}", out.ink().good("✓"), path.display())?;
    writeln!(out, "{}", out.ink().dim(news))?;
    Ok(ExitStatus::Success)
}

/// The hash of the configuration.
///
/// # Errors
///
/// The problems of values from the registry, the options or the template.
pub(super) fn checked(text: &str) -> anyhow::Result<String> {
    let node = yaml::parse(text)
        .map_err(anyhow::Error::msg)
        .context("the generated file is not valid YAML")?;
    match sidetrack_analysis::plan::parse(&node) {
        Ok((plan, _)) => Ok(plan.hash.to_string()),
        Err(problems) => {
            let mut text =
                format!("the generated file would have {}:", count(problems.0.len(), "problem"));
            for problem in &problems.0 {
                let path = crate::words::visible(&problem.path);
                let message = crate::words::visible(&problem.message);
                text.push_str(&format!("\n  {path}: {message} [{}]", problem.code));
            }
            Err(Fault(format!(
                "{text}\n  hint: the values come from the tags in the registry, the options and the template"
            ))
            .into())
        }
    }
}

/// Writes a new file. An existing file with the same contents is not changed.
fn write_new(path: &Path, text: &str) -> anyhow::Result<&'static str> {
    if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok("the file already existed with the same contents");
    }
    let name = path.display();
    let mut file = match std::fs::File::create_new(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let text = format!(
                "{name} exists with other contents; nothing was written\n  \
                 hint: write to another file, and compare both with `sidetrack plan OLD NEW`"
            );
            return Err(Fault(text).into());
        }
        Err(error) => return Err(error).with_context(|| format!("cannot write {name}")),
    };
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {name}"))?;
    Ok("next: sidetrack render …")
}
